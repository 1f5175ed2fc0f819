"""How many speakers does it take to show a difference?"""

import numpy as np
import pandas as pd
from scipy.optimize import brentq
from scipy.special import stdtrit
from scipy.stats import nct

from ser_utils import SerError
from ser_utils.evaluation.intervals import difference, interval, uar, weighted
from ser_utils.evaluation.predictions import counts, one_system, to_clips
from ser_utils.evaluation.scoring import compare

LEVEL, POWER = 0.05, 0.8


def power(a: pd.DataFrame, b: pd.DataFrame, *, points: float = 3.0) -> pd.Series:
    """The smallest difference in UAR that these speakers could show, and the number of speakers that `points` need.

    For a paired t-test over speakers at the 5 % level that finds the difference in 80 % of experiments. The spread of
    the difference between speakers comes from the jackknife of these predictions: with few speakers it is itself
    uncertain.

    Parameters
    ----------
    a, b : DataFrame
        Predictions of one system each for the same clips.
    points : float
        A difference of interest in points of UAR (percent), above 0.

    Returns
    -------
    Series
        `system, other, difference` (observed), `smallest` (that can be shown), as fractions; `points, needed` (speakers
        for them), `speakers` (that there are).

    Raises
    ------
    SerError
        If the tables do not have predictions for the same clips, if there is one speaker, or `points` is not above 0.
    """
    if not points > 0:
        raise SerError(f"points={points}: give a difference above 0, in points of UAR")
    observed = compare(a, b, resamples=1)["difference"]
    speakers = a["speaker"].nunique()
    if speakers < 2:
        raise SerError(f"the predictions are for one speaker, '{a['speaker'].iloc[0]}': a spread needs two or more")
    estimate = difference(*(weighted(counts(to_clips(table))[0], uar) for table in (a, b)))
    _, (low,), (high,) = interval(estimate, speakers, method="t")
    error = (high - low) / 2 / stdtrit(speakers - 1, 1 - LEVEL / 2)
    spread = error * np.sqrt(speakers)
    needed = max(2, int((2.8 * spread / (points / 100)) ** 2))  # with normal tails, which are thinner than Student's
    while spread * _reach(needed) / np.sqrt(needed) > points / 100:
        needed += 1
    return pd.Series({
        "system": one_system(a), "other": one_system(b), "difference": observed, "smallest": error * _reach(speakers),
        "points": points, "needed": needed, "speakers": speakers,
    })  # fmt: skip


def _reach(speakers: int) -> float:
    """Smallest true difference that a two-sided t-test finds with that power, in standard errors."""
    critical = stdtrit(speakers - 1, 1 - LEVEL / 2)
    return brentq(lambda shift: nct.sf(critical, speakers - 1, shift) - POWER, 0, 100)
