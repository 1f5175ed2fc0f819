"""What is right in the exercises of 08_evaluation_pitfalls.ipynb; see `ser_utils.checks`."""

import numpy as np
import pandas as pd

from ser_utils.checks import difference, found


def exercise_1(answer, systems, true, noise):
    """The best of many equal systems looks better than each of them is."""
    best = np.random.default_rng(0).normal(true, noise, (20_000, systems)).max(axis=1)
    hints = {"that is what one system scores on average: take the highest of each draw": true}
    return difference(answer, best.mean(), hints, tolerance=0.3)


def exercise_2(answer, correct, clips):
    """How large this leak is depends on how much there is to learn about each voice."""
    if not all(isinstance(table, pd.DataFrame) and "fold" in table for table in (answer, correct)):
        return "two predictions tables are needed"
    if set(answer["clip"]) != set(correct["clip"]):
        return "the two tables have different clips, so their difference has two causes"
    kept = clips[clips["clip"].isin(answer["clip"])].groupby(["speaker", "emotion"]).size()
    if not (kept <= clips.groupby(["speaker", "emotion"]).size().div(2).clip(lower=1).apply(np.ceil)[kept.index]).all():
        return f"half of the clips of every speaker and emotion are needed; yours are {answer['clip'].nunique()} of {len(clips)}"
    shared = [(table.groupby("speaker").fold.nunique() > 1).any() for table in (answer, correct)]
    return None if shared == [True, False] else "speakers must be in several folds of the first table, and in one of the second"


def exercise_3(answer, correct, clips):
    """An audit knows some mistakes, and this is one of them."""
    if not isinstance(answer, pd.DataFrame):
        return f"a predictions table is needed, not {type(answer).__name__}"
    problems = found(answer, clips)
    if "invalid table" in problems:
        return f"that is noticed at once: {problems['invalid table']}"
    return None if set(problems) - set(found(correct, clips)) else "the audit finds nothing new in it"
