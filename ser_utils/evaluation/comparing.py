"""Comparisons of systems: the difference, how many speakers it takes to show one, and both in words."""

import numpy as np
import pandas as pd
from scipy.optimize import brentq
from scipy.special import stdtrit
from scipy.stats import nct

from ser_utils import SerError
from ser_utils.evaluation.intervals import difference, interval, permutation_test, uar, weighted
from ser_utils.evaluation.predictions import at_level, counts, need_same_rows, one_system, to_clips

LEVEL, POWER = 0.05, 0.8


def compare(a: pd.DataFrame, b: pd.DataFrame, *, level: str = "clip", resamples: int = 10_000) -> pd.Series:
    """Difference a − b in UAR of two systems on the same clips, paired over speakers.

    The interval resamples the same speakers for both systems, so what makes a speaker difficult for both cancels out.
    The p-value is `permutation_test`, two-sided, on counts averaged over seeds.

    Parameters
    ----------
    a, b : DataFrame
        Predictions of one system each, for the same clips (or segments). Seeds may differ.

    Returns
    -------
    Series
        `system, other, metric, difference, low, high, p, speakers, clips`.

    Raises
    ------
    SerError
        If the tables do not have predictions for the same clips with the same labels.
    """
    systems = one_system(a), one_system(b)
    a, b = at_level(a, level), at_level(b, level)
    need_same_rows(a, b, level)
    (counts_a, units), (counts_b, _) = counts(a), counts(b)
    gain = difference(*(weighted(part, uar) for part in (counts_a, counts_b)))
    value, low, high = interval(gain, len(units), resamples=resamples)
    p = permutation_test(counts_a.mean(0), counts_b.mean(0), uar, resamples=resamples)
    return pd.Series({
        "system": systems[0], "other": systems[1], "metric": "uar", "difference": value[0], "low": low[0],
        "high": high[0], "p": p, "speakers": len(units), "clips": a["clip"].nunique(),
    })  # fmt: skip


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
    observed = compare(a, b, resamples=1)[["system", "other", "difference"]].to_dict()
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
    found = {"smallest": error * _reach(speakers), "points": points, "needed": needed, "speakers": speakers}
    return pd.Series(observed | found)


def _reach(speakers: int) -> float:
    """Smallest true difference that a two-sided t-test finds with that power, in standard errors."""
    critical = stdtrit(speakers - 1, 1 - LEVEL / 2)
    return brentq(lambda shift: nct.sf(critical, speakers - 1, shift) - POWER, 0, 100)


def in_points(gain: pd.Series) -> str:
    """Write a difference in points of UAR with its interval.

    Parameters
    ----------
    gain : Series or row of a table
        `difference, low, high` as fractions, such as `compare` returns.

    >>> in_points(pd.Series({"difference": 0.031, "low": -0.012, "high": 0.074}))
    '+3.1 points [-1.2, +7.4]'
    """
    return f"{100 * gain.difference:+.1f} points [{100 * gain.low:+.1f}, {100 * gain.high:+.1f}]"


def in_percent(score: pd.Series) -> str:
    """Write a score in percent with its interval.

    Parameters
    ----------
    score : Series or row of a table
        `value, low, high` as fractions, such as a row of `scores`.

    >>> in_percent(pd.Series({"value": 0.512, "low": 0.44, "high": 0.58}))
    '51.2 % [44.0, 58.0]'
    """
    return f"{100 * score.value:.1f} % [{100 * score.low:.1f}, {100 * score.high:.1f}]"


def read_differences(differences: pd.DataFrame) -> list[str]:
    """Say of each difference how large it is and whether it is significant (p below 0.05, never the interval).

    Parameters
    ----------
    differences : DataFrame
        As from `compare`, one row per comparison, `p` corrected by `holm`; named by `comparison`, where there is such a
        column, else by `system` and `other`.

    Returns
    -------
    list of str
        One sentence per row.

    Examples
    --------
    >>> row = {"system": "a", "other": "b", "difference": 0.031, "low": 0.012, "high": 0.05, "p": 0.004}
    >>> read_differences(pd.DataFrame([row]))
    ['a − b: +3.1 points [+1.2, +5.0], p = 0.004: better']
    """
    names, lines = differences.get("comparison", differences["system"] + " − " + differences["other"]), []
    for name, row in zip(names, differences.itertuples(), strict=True):
        finding = "not significant" if not row.p < 0.05 else "better" if row.difference > 0 else "worse"
        lines.append(f"{name}: {in_points(row)}, p = {row.p:.3f}: {finding}")
    return lines
