"""What is right in the exercises of 06_error_analysis.ipynb; see `ser_utils.checks`."""

import numpy as np

from ser_utils import analysis
from ser_utils.checks import difference


def exercise_1(answer, toy):
    """Each bin counts by its number of predictions, so a rare confidence cannot dominate."""
    gaps = (toy.confidence - toy.right).abs()
    hints = {"weight each bin by its number of predictions": gaps.mean()}
    return difference(answer, np.average(gaps, weights=toy.predictions), hints)


def exercise_2(answer, decisions):
    """Two numbers can be compared if guessing reaches the same in both."""
    right, shares = {}, {}
    for column, axis in enumerate(("valence", "arousal")):
        side = {name: np.sign(place[column]) for name, place in analysis.VALENCE_AROUSAL.items()}
        true, predicted = (decisions[name].map(side) for name in ("emotion", "predicted"))
        hit = (true == predicted)[true.abs() == 1]
        right[axis], shares[axis] = hit.groupby(true).mean().mean(), hit.mean()
    hints = {"that is accuracy: average the recalls of the two classes": shares}
    return difference(answer, right, hints, tolerance=0.002)


def exercise_3(answer, cnn, maps, decided, shares, options):
    """If this order were no worse than a random one, the explanation would say nothing."""
    right, guided = (analysis.deletion_curves(cnn, maps, decided, sign * shares, **options)[0] for sign in (-1, 1))
    return difference(answer, right, {"that is the explanation itself: turn its sign": guided}, tolerance=1e-3)
