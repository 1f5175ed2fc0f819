"""What is right in the exercises of 07_self_supervision.ipynb; see `ser_utils.checks`."""

import numpy as np

from ser_utils.checks import difference, halves, probe, uar


def exercise_1(answer, loss):
    """The exponential of a loss in nats is a number of choices, which is easy to imagine."""
    hints = {"the loss is in nats, so the base is e, not 2": 2**loss}
    return difference(answer, np.exp(loss), hints, tolerance=0.05)


def exercise_2(answer, states, layer):
    """More dimensions do not help by themselves: LDA estimates all of them from the same clips."""
    first, second = states[:, 0], states[:, layer]
    hints = {"the first layer comes first": np.concatenate([second, first], axis=1)}
    return difference(answer, np.concatenate([first, second], axis=1), hints, tolerance=1e-3)


def exercise_3(answer, states, whole, clips):
    """Means describe a level, standard deviations a movement; the voice has both."""
    right = halves(states, ("means", "standard deviations"), lambda half: uar(probe(half, whole, clips)))
    return difference(answer, right, tolerance=0.005)
