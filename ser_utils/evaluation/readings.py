"""What scores and comparisons say, in words: notebooks print these, so that their cells show the method."""

import pandas as pd


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
