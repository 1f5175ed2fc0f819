"""What is right in the exercises of 04_cnn.ipynb; see `ser_utils.checks`."""

from numbers import Real

import numpy as np
import pandas as pd

from ser_utils import evaluation
from ser_utils.checks import difference, own_system, uar


def exercise_1(answer, network):
    """Parameters follow from the shape of a layer, so a printed number can be checked."""
    right = sum(p.numel() for p in network.parameters())
    norms = sum(p.numel() for m in network.modules() if "BatchNorm" in type(m).__name__ for p in m.parameters())
    hints = {
        "batch normalisation has two parameters per channel": right - norms,
        "the linear layer has one bias per class": right - network[-1].bias.numel(),
    }
    return difference(answer, right, hints)


def exercise_2(answer, ordered):
    """What the network loses now is what it had learned from the order of the frames."""
    if not isinstance(answer, np.ndarray) or answer.shape != ordered.shape:
        return f"an array of shape {ordered.shape} is needed"
    if np.array_equal(answer, ordered):
        return "the frames are still in their order"
    if not np.allclose(*(np.sort(frames.sum(axis=2)) for frames in (answer, ordered)), atol=1e-2):
        return "a segment must keep its frames, each of them whole: shuffle along axis 1"
    order = np.abs(answer[0][:, None] - ordered[0][None]).sum(axis=2).argmin(axis=1)
    same = np.array_equal(answer, ordered[:, order])
    return "all segments have the same new order: draw one for each of them" if same else None


def exercise_3(answer, table):
    """A vote discards how sure each segment is, and needs a rule for ties."""
    votes = pd.crosstab([table.seed, table["clip"]], evaluation.decided(table))
    truth = table.groupby(["seed", "clip"]).emotion.first()
    most, own = votes.eq(votes.max(axis=1), axis=0), truth.to_numpy()[:, None] == votes.columns.to_numpy()
    among, winners = (most & own).any(axis=1), most.sum(axis=1)
    low, high = ((among & (winners <= tied)).groupby(truth).mean().mean() for tied in (1, most.shape[1]))
    if isinstance(answer, Real) and low - 1e-6 <= answer <= high + 1e-6:  # a tie may be decided either way
        return None
    single = (evaluation.decided(table) == table.emotion).groupby(table.emotion).mean().mean()
    hints = {"that is the score of the mean log-probability": uar(table), "that is the score of segments": single}
    return difference(answer, (low + high) / 2, hints)


def exercise_4(answer, clips, earlier):
    """A system with such a table can be compared with every other one."""
    return own_system(answer, clips, earlier)
