"""What is right in the exercises of 10_adapting_the_encoder.ipynb; see `ser_utils.checks`."""

import numpy as np

from ser_utils import evaluation
from ser_utils.checks import difference


def exercise_1(answer, size):
    """A low-rank update grows with the width of a layer, a full one with its square: LoRA pays off for wide encoders."""
    pair = size["dims"] * size["rank"]  # one of the two thin matrices
    hints = {
        "that is one thin matrix per weight: there are two, down and up": size["layers"] * 2 * pair,
        "that is the queries alone: the values are updated, too": size["layers"] * 2 * pair,
        "that is one layer": 4 * pair,
        "these are the full weights": size["layers"] * 2 * size["dims"] ** 2,
    }
    return difference(answer, size["layers"] * 4 * pair, hints)


def exercise_2(answer, models, X):
    """Frames that hardly move keep what they held for other tasks; those that move far may have forgotten it."""
    frames = {how: model.frames(X).astype(np.float32) for how, model in models.items()}
    spread = float(frames["frozen"].std())
    right = {how: float(np.abs(own - frames["frozen"]).mean()) / spread for how, own in frames.items() if how != "frozen"}
    hints = {"divide by the standard deviation of the frozen frames": {how: far * spread for how, far in right.items()}}
    return difference(answer, right, hints, tolerance=1e-3)


def exercise_3(answer, tuned, frozen):
    """A mean gain can come from a few speakers: the interval over speakers is about exactly that."""
    correct = []
    for table in (tuned, frozen):
        clips = evaluation.to_clips(table)
        names = evaluation.emotions_of(clips)
        hits = clips[names].astype(float).idxmax(axis=1) == clips["emotion"]
        correct.append(hits.groupby(clips["speaker"].to_numpy()).mean())
    right = float((correct[0] > correct[1]).mean())
    return difference(answer, right, {"that is the share of speakers who lose or stay": 1 - right})
