"""What is right in the exercises of 01_data_exploration.ipynb; see `ser_utils.checks`."""

import pandas as pd

from ser_utils import analysis
from ser_utils.checks import difference


def eta_squared(table):
    """Share of the variance of `pitch` that the emotion explains."""
    table = table.dropna(subset="pitch")
    rest = table.pitch - table.groupby("emotion").pitch.transform("mean")
    return 1 - (rest**2).sum() / ((table.pitch - table.pitch.mean()) ** 2).sum()


def exercise_1(answer, toy):
    """Eta squared needs only means, and it says how much is left for other causes."""
    right = eta_squared(toy)
    return difference(answer, right, {"that is the share left within the emotions": 1 - right})


def exercise_2(answer, measured):
    """Much of the variance of pitch is between speakers, and a classifier has to ignore it."""
    within = eta_squared(analysis.centre_by_speaker(measured, ["pitch"]))
    hints = {"that is the share within speakers, as in section 5": within}
    return difference(answer, eta_squared(measured), hints, tolerance=0.002)


def exercise_3(answer, files, clips):
    """UAR, a mean over emotions, hides such a leak; the recall of that emotion shows it."""
    if not isinstance(answer, pd.DataFrame) or len(answer) != len(files):
        return "a table like `files` is needed, with one row per clip"
    changed = (answer.sample_rate != clips.sample_rate.to_numpy()).to_numpy()
    if not changed.any():
        return "every clip still has its own sample rate"
    if files.sample_rate.equals(answer.sample_rate):
        return "`files` itself is changed: run the cell that makes it again, and change a copy"
    if set(answer.sample_rate[changed]) != {8000} or clips.emotion[changed].nunique() != 1:
        return "clips of one emotion, and no others, must have 8000 Hz"
    share = changed.sum() / (clips.emotion == clips.emotion[changed].iloc[0]).sum()
    return None if 0.4 <= share <= 0.6 else f"half of the emotion's clips are needed, not {share:.0%}"
