"""Figures that compare systems by dots and bars.

Scores are fractions in the tables and percent in the figures. A dot is the estimate, a line its 95 % interval over
speakers, a dashed line the chance level. Parameters that mean the same in all functions about scores: `metric` is
drawn (and chosen, where the table has a column `metric`); `chance` is the score of guessing, a fraction:
`1 / number of emotions` for UAR; `title` and `ax` are those of `style`. Systems get their display names.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from ser_utils.plots.style import BLUE, INK, PAPER_GREY, PER_SPEAKER, VERMILION, axes_of, display_name, with_finding

#: What a metric is called on an axis.
METRIC_NAMES = {
    "uar": "UAR", "wa": "WA (accuracy)", "macro_f1": "macro-F1", "cross_entropy": "cross-entropy with the votes",
    "js_distance": "Jensen–Shannon distance to the votes",
}  # fmt: skip


def draw_chance(ax: Axes, chance: float | None, *, vertical: bool = False) -> None:
    """Draw the score of guessing, a fraction, as a dashed line with its name; nothing where it is not given."""
    if chance is None:
        return
    look = dict(textcoords="offset points", fontsize=8.5, zorder=1)
    if vertical:
        place = dict(xy=(100 * chance, 0), xycoords=ax.get_xaxis_transform(), xytext=(4, 2))
        ax.axvline(100 * chance, color=INK, linestyle="--", linewidth=1, zorder=1)
    else:
        place = dict(xy=(1, 100 * chance), xycoords=ax.get_yaxis_transform(), xytext=(-2, 2), ha="right")
        ax.axhline(100 * chance, color=INK, linestyle="--", linewidth=1, zorder=1)
    ax.annotate(f"chance {100 * chance:.1f} %", **place, **look)


def _rows_from_the_top(ax: Axes, names: Sequence[str]) -> np.ndarray:
    """Name horizontal rows, the first one at the top, and return their places on the y axis."""
    y = np.arange(len(names))
    ax.set_yticks(y, names)
    ax.set_ylim(len(names) - 0.5, -0.5)
    ax.grid(axis="x")
    return y


def _write_values(ax: Axes, x: np.ndarray, y: np.ndarray, texts: Sequence[str]) -> None:
    """Write one text per row, right of `x`."""
    for end, place, text in zip(x, y, texts, strict=True):
        ax.annotate(text, (end, place), (6, 0), textcoords="offset points", va="center", fontsize=8.5)


def scores(scores: pd.DataFrame, *, title: str, chance: float | None = None) -> Axes:
    """Dot and 95 % interval of every system's UAR at clip level, with the chance line; the best system at the top.

    Systems with per-speaker statistics are another condition: where both occur, they stand below the others under a
    heading of their own.

    Parameters
    ----------
    scores : DataFrame
        As `evaluation.scores` returns it: `system, level, metric, value, low, high`.
    """
    rows = scores[(scores["metric"] == "uar") & (scores["level"] == "clip")].set_index("system", drop=False)
    rows = rows.sort_values("value", ascending=False, kind="stable")
    own = rows.index.str.endswith(PER_SPEAKER)
    rows, own = rows.iloc[np.argsort(own, kind="stable")], np.sort(own)
    two = own.any() and not own.all()
    ax = axes_of(8, 1.3 + 0.36 * (len(rows) + 2 * two))
    names = rows["system"].str.removesuffix(PER_SPEAKER) if two else rows["system"]
    y = np.arange(len(rows)) + 1.0 * (two & own)
    ax.set_yticks(y, names.map(display_name))
    ax.set_ylim(y[-1] + 0.5 + 0.4 * (chance is not None), -0.5 - two)
    ax.grid(axis="x")
    low, value, high = (100 * rows[["low", "value", "high"]].to_numpy(float)).T
    ax.hlines(y, low, high, color=INK, linewidth=2)
    ax.plot(value, y, "o", color=INK, markersize=7)
    _write_values(ax, np.fmax(value, high), y, [f"{v:.1f}" for v in value])
    draw_chance(ax, chance, vertical=True)
    ax.set_xlabel("UAR [%], clip level; 95 % interval over speakers")
    firsts = [0, int(own.argmax())] if two else [0]
    best = "\nper speaker: ".join(f"{display_name(rows.index[i]).split(' · ')[0]}, {value[i]:.1f} %" for i in firsts)
    ax.set_title(with_finding(title, f"highest: {best if two else f'{display_name(rows.index[0])}, {value[0]:.1f} %'}"))
    for label, system in zip(ax.get_yticklabels(), rows.index, strict=True):  # the proposed system
        label.set_fontweight("bold" if system.removesuffix(PER_SPEAKER) == "encoder-cnn" else "normal")
    ax.set_xlim(right=min(106, ax.get_xlim()[1] + 0.06 * np.ptp(ax.get_xlim())))
    if two:
        for place, text in ((-1, "statistics of the training speakers"), (y[own][0] - 1, "statistics per speaker")):
            look = dict(ha="right", va="center", fontweight="bold")
            ax.annotate(text, (1, place), xycoords=ax.get_yaxis_transform(), **look)
    return ax


def smallest_p(differences: pd.DataFrame) -> str:
    """Say below which value no corrected p of these comparisons can fall; empty where that is 0.01 or less.

    The permutation test swaps two systems speaker by speaker: with n speakers its p is at least 2 / 2**n, which Holm's
    correction multiplies by the number of comparisons.

    >>> smallest_p(pd.DataFrame({"p": [0.04] * 8, "speakers": 9}))
    'With 9 speakers and 8 comparisons, no corrected p can be below 0.031.'
    """
    comparisons, speakers = int(differences["p"].notna().sum()), int(differences["speakers"].max())
    least = min(1.0, comparisons * 2 / 2**speakers)
    plural = "s" * (comparisons != 1)
    text = f"With {speakers} speakers and {comparisons} comparison{plural}, no corrected p can be below {least:.3f}."
    return text if least > 0.01 else ""


def differences(differences: pd.DataFrame, *, title: str) -> Axes:
    """Paired differences in points with 95 % intervals and the zero line; coloured where p is below 0.05.

    Intervals are not corrected for the number of comparisons, p is: where an interval excludes zero and p is not
    below 0.05, the difference is drawn as not significant.

    Parameters
    ----------
    differences : DataFrame
        One row per comparison, as `evaluation.compare` returns it, with `p` corrected by `evaluation.holm`:
        `difference`, `low`, `high` as fractions, `p`, `speakers`; named by `comparison` or by `system` and `other`.
    """
    rows = differences.reset_index(drop=True)
    names = rows["comparison"].astype(str) if "comparison" in rows else rows["system"] + " − " + rows["other"]
    ax = axes_of(8, 1.3 + 0.38 * len(rows))
    pairs = [list(map(display_name, name.split(" − "))) for name in names]
    y = _rows_from_the_top(ax, [("\n− " if len("".join(pair)) > 44 else " − ").join(pair) for pair in pairs])
    centre, low, high, p = (rows[["difference", "low", "high", "p"]].to_numpy(float) * [100, 100, 100, 1]).T
    ax.axvline(0, color=INK, linewidth=1)
    for mask, colour, face in ((p < 0.05, BLUE, BLUE), (~(p < 0.05), PAPER_GREY, "white")):
        ax.hlines(y[mask], low[mask], high[mask], color=colour, linewidth=2)
        ax.plot(centre[mask], y[mask], "o", color=colour, markerfacecolor=face, markersize=7)
    ax.set_title(f"{title}\n{(p < 0.05).sum()} of {len(rows)} significant (corrected p < 0.05, filled)")
    ax.set_xlabel(f"difference in UAR [points]; 95 % interval over speakers\n{smallest_p(rows)}".rstrip())
    left, right = ax.get_xlim()
    ax.set_xlim(min(left, 0), max(right, 0))
    for place, value in zip(y, p, strict=True):
        text = "" if np.isnan(value) else "p < 0.001" if value < 0.001 else f"p = {value:.3f}"
        ax.annotate(text, (1.01, place), va="center", fontsize=8.5, xycoords=ax.get_yaxis_transform())
    return ax


def mistakes(mistakes: pd.DataFrame, *, title: str) -> Axes:
    """Bars of points gained by each evaluation mistake, largest first, with 95 % intervals and the zero line.

    Parameters
    ----------
    mistakes : DataFrame
        One row per mistake: `mistake`, `gain`, `low`, `high` as fractions, and `significant` (bool): other bars are
        pale.
    """
    rows = mistakes.sort_values("gain", ascending=False, kind="stable").reset_index(drop=True)
    ax = axes_of(8, 1.2 + 0.42 * len(rows))
    y = _rows_from_the_top(ax, rows["mistake"])
    gain, low, high = (100 * rows[["gain", "low", "high"]].to_numpy(float)).T
    ax.barh(y, gain, color=np.where(rows["significant"].astype(bool), VERMILION, "#E8C4AC"), height=0.62)
    ax.hlines(y, low, high, color=INK, linewidth=1.4)
    _write_values(ax, np.fmax(0, np.fmax(gain, high)), y, [f"{g:+.1f}" for g in gain])
    ax.axvline(0, color=INK, linewidth=1)
    ax.margins(x=0.12)
    significant = f"{rows['significant'].astype(bool).sum()} of {len(rows)} significant"
    ax.set_title(f"{title}\n{significant}; largest: {gain[0]:+.1f} points")
    ax.set_xlabel("UAR gained [points], 95 % interval; pale: corrected p is 0.05 or more")
    return ax


def published(published: pd.DataFrame, own: pd.DataFrame, *, label: str) -> Axes:
    """Published scores, one row per corpus and kind of split, above our own scores: every score is a dot.

    The median of each row is a line, and its highest score is named.

    Parameters
    ----------
    published : DataFrame
        As `analysis.published_results` returns it, one metric: `corpus, source, system, value` [%], `leaky`.
    own : DataFrame
        Scores of our systems, one metric: `system, value, low, high` as fractions.
    label : str
        Name of the corpus that our scores are from.
    """
    kinds = {
        "yes": (VERMILION, "white", "speakers on both sides"),
        "unknown": (PAPER_GREY, PAPER_GREY, "split not known"),
        "no": (BLUE, BLUE, "speaker-disjoint"),
    }
    rows = [
        (f"{corpus}, {words}", part["value"].to_numpy(), part["system"].iloc[part["value"].argmax()], edge, face)
        for corpus, scores in published.groupby("corpus", sort=False)
        for kind, (edge, face, words) in kinds.items()
        if len(part := scores[scores["leaky"] == kind])
    ]
    best = own.loc[own["value"].idxmax()]
    rows.append((f"{label}, ours", 100 * own["value"].to_numpy(), display_name(best["system"]), "#009E73", "#009E73"))
    ax = axes_of(9, 1.2 + 0.5 * len(rows))
    y = _rows_from_the_top(ax, [f"{name} ({len(values)})" for name, values, *_ in rows])
    for place, (_, values, highest, edge, face) in zip(y, rows, strict=True):
        ax.plot(values, np.full(len(values), place), "o", color=edge, markerfacecolor=face, markersize=6, alpha=0.8)
        ax.plot([np.median(values)] * 2, [place - 0.3, place + 0.3], color=INK, linewidth=1.5)
        words = textwrap.shorten(highest, 44, placeholder=" …")
        ax.annotate(words, (values.max(), place), (6, 0), textcoords="offset points", va="center", fontsize=8)
    ax.set(xlabel="UAR [%]; line: median of the row; named: its highest", xlim=(0, 135), xticks=range(0, 101, 20))
    medians = published.pivot_table(index="corpus", columns="leaky", values="value", aggfunc="median", sort=False)
    known = medians.reindex(columns=["yes", "no"]).dropna()
    found = ", ".join(f"{corpus} {leaky:.0f} and {fair:.0f} %" for corpus, leaky, fair in known.itertuples())
    finding = f"median with speakers on both sides, and disjoint:\n{found}" if found else ""
    ax.set_title(with_finding("The same corpus, other splits: how high are published scores?", finding))
    return ax
