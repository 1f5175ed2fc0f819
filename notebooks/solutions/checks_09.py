"""What is right in the exercises of 09_your_own_recordings.ipynb; see `ser_utils.checks`."""

from numbers import Real

import pandas as pd

from ser_utils.checks import difference


def exercise_1(answer, toy, accuracy):
    """A threshold exchanges answers for errors, and the use decides which exchange is right."""
    if isinstance(answer, bool) or not isinstance(answer, Real):
        return f"a number is needed, not {type(answer).__name__}"
    reached = [toy.right[toy.score >= score] for score in toy.score]
    most = max(len(right) for right in reached if right.mean() >= accuracy)
    answered = toy.right[toy.score >= answer]
    if answered.empty or answered.mean() < accuracy:
        return f"from {answer:g} on, {answered.sum()} of {len(answered)} answers are right: too few"
    return None if len(answered) == most else f"a lower threshold gives {most} answers instead of {len(answered)}"


def exercise_2(answer, listener, sound):
    """Where segments start is arbitrary, so what depends on it is uncertain."""
    if not isinstance(answer, pd.DataFrame) or answer.shape[1] < 3:
        return "a table with one row per emotion and one column per hop is needed, three hops at least"
    for hop in answer:
        right = {said["label"]: said["score"] for said in listener.predict(sound, hop=float(hop)).scores}
        if problem := difference(answer[hop], right, tolerance=1e-3):
            return f"for a hop of {hop} s, {problem}"
    return None


def exercise_3(answer, neutral, so_far, minute):
    """A recording that is scored must not be in the reference."""
    if not isinstance(answer, set):
        return f"a set of clips is needed, not {type(answer).__name__}"
    right = set(neutral["clip"][so_far < 10]) & minute
    if answer - minute:
        return f"{len(answer - minute)} of these clips are scored: take clips of the minute only"
    return None if answer == right else f"{len(answer)} clips are too {'many' if answer > right else 'few, or the wrong ones'}"
