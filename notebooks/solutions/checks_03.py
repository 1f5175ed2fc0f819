"""What is right in the exercises of 03_baselines.ipynb; see `ser_utils.checks`."""

import pandas as pd

from ser_utils import evaluation, features
from ser_utils.checks import difference, own_system, probe, uar


def exercise_1(answer, comparisons):
    """With few speakers no difference can be significant, however large it is."""

    def fewest(factor):
        return next(n for n in range(1, 99) if factor / 2**n < 0.05)

    hints = {
        "that is enough for one comparison; Holm multiplies the smallest p by their number": fewest(2),
        "two of all exchanges give the largest difference, one in each direction": fewest(comparisons),
    }
    return difference(answer, fewest(2 * comparisons), hints)


def exercise_2(answer, functionals, names, whole, clips):
    """A few measures of one kind are a baseline, too: all others must add to it."""
    table = probe(functionals[:, ["loudness" in name for name in names]], whole, clips)
    accuracy = (evaluation.decided(table) == table.emotion).mean()
    hints = {"that is accuracy (WA): average the recalls of the emotions": accuracy}
    return difference(answer, uar(table), hints, tolerance=0.002)


def exercise_3(answer, functionals, speakers, test, one_emotion):
    """Statistics of one emotion remove that emotion, and shift all others."""
    has_it = pd.Series(one_emotion).groupby(speakers).transform("any").to_numpy()
    right = features.normalise_by_speaker(functionals, speakers, reference=~test | one_emotion | ~has_it)
    usual = features.normalise_by_speaker(functionals, speakers)
    hints = {"the statistics of the test speakers still come from all their emotions": usual}
    return difference(answer, right, hints, tolerance=1e-3)


def exercise_4(answer, clips, earlier):
    """A system with such a table can be compared with every other one."""
    return own_system(answer, clips, earlier)
