"""Figures of scores as dots and bars: one function a figure, tables in, matplotlib objects out.

Scores are fractions in the tables and percent in the figures. A dot is the estimate, a line its 95 % interval
over speakers; chance is a dashed line. Parameters that mean the same in all functions: `title` and `ax` as in
`plots`; `metric` is drawn (and chosen, where the table has a column `metric`); `chance` is the score of
guessing, a fraction: `1 / number of emotions` for UAR.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ser_utils.plots.style import INK, PAPER_GREY, axes_of

#: What a metric is called on an axis.
METRIC_NAMES = {"uar": "UAR", "wa": "WA (accuracy)", "macro_f1": "macro-F1"}


def metric_label(metric: str) -> str:
    """Name a metric for an axis, in percent: `"UAR [%]"`, `"recall of anger [%]"`."""
    name = METRIC_NAMES.get(metric) or metric.replace("recall_", "recall of ").replace("_", " ")
    return f"{name} [%]"


def sample_of(scores: pd.DataFrame) -> str:
    """Say how many clips and speakers stand behind scores; a range where rows differ, nothing where it is not known."""
    parts = []
    for column in ("clips", "speakers"):
        if column in scores and scores[column].notna().any():
            low, high = int(scores[column].min()), int(scores[column].max())
            parts.append(f"{low} {column}" if low == high else f"{low} to {high} {column}")
    return " · ".join(parts)


def draw_chance(ax: Axes, chance: float | None, *, vertical: bool = False) -> None:
    """Draw the score of guessing, a fraction, as a dashed line; nothing where it is not given."""
    if chance is not None:
        line = ax.axvline if vertical else ax.axhline
        line(
            100 * chance,
            color=INK,
            linestyle="--",
            linewidth=1,
            label=f"chance {100 * chance:.1f} %",
            zorder=1,
        )


def scores(
    scores: pd.DataFrame,
    metric: str = "uar",
    *,
    chance: float | None = None,
    level: str = "clip",
    order: Sequence[str] | None = None,
    title: str = "Which system recognises emotion best?",
    ax: Axes | None = None,
) -> Axes:
    """Dot and 95 % interval of every system, with the chance line; the best system at the top.

    Parameters
    ----------
    scores : DataFrame
        As `evaluation.scores` gives it: `system, level, metric, value, low, high, speakers, clips`.
    level : str
        `"clip"` or `"segment"`.
    order : sequence of str, optional
        Systems from top to bottom; by score when left out.

    Raises
    ------
    ValueError
        If no row has this metric and level.
    """
    rows = scores[(scores["metric"] == metric) & (scores["level"] == level)].set_index("system", drop=False)
    if rows.empty:
        raise ValueError(
            f"no score with metric {metric!r} and level {level!r}; "
            f"there are {sorted(scores['metric'].unique())} at {sorted(scores['level'].unique())}"
        )
    rows = rows.loc[list(order)] if order is not None else rows.sort_values("value", ascending=False, kind="stable")
    ax = axes_of(ax, 7, 1.3 + 0.36 * len(rows))
    y = np.arange(len(rows))
    low, value, high = (100 * rows[["low", "value", "high"]].to_numpy(float)).T
    ax.hlines(y, low, high, color=INK, linewidth=2)
    ax.plot(value, y, "o", color=INK, markersize=7)
    for yi, v, h in zip(y, value, np.fmax(value, high), strict=True):
        ax.annotate(f"{v:.1f}", (h, yi), (6, 0), textcoords="offset points", va="center", fontsize=8.5)
    draw_chance(ax, chance, vertical=True)
    ax.set_yticks(y, rows["system"])
    ax.set_ylim(len(rows) - 0.5, -0.5)
    ax.set(
        xlabel=f"{metric_label(metric)}, {level} level; 95 % interval over speakers",
        title=f"{title}\n{sample_of(rows)}".rstrip(),
    )
    ax.set_xlim(right=min(106, ax.get_xlim()[1] + 0.06 * np.ptp(ax.get_xlim())))
    ax.grid(axis="x")
    if chance is not None:
        ax.legend(loc="lower right")
    return ax


def _interval_rows(table: pd.DataFrame, names: str, value: str, xlabel: str, title: str, ax: Axes | None) -> Axes:
    """Horizontal dots with intervals around a zero line; filled where the interval excludes zero."""
    ax = axes_of(ax, 7, 1.3 + 0.36 * len(table))
    y = np.arange(len(table))
    centre, low, high = (100 * table[[value, "low", "high"]].to_numpy(float)).T
    clear = (low > 0) | (high < 0)
    ax.axvline(0, color=INK, linewidth=1)
    ax.hlines(y, low, high, color=np.where(clear, "#0072B2", PAPER_GREY), linewidth=2)
    for mask, colour, face, label in (
        (clear, "#0072B2", "#0072B2", "interval excludes zero"),
        (~clear, PAPER_GREY, "white", "interval includes zero"),
    ):
        if mask.any():
            ax.plot(centre[mask], y[mask], "o", color=colour, markerfacecolor=face, markersize=7, label=label)
    ax.set_yticks(y, table[names].astype(str))
    ax.set_ylim(len(table) - 0.5, -0.5)
    ax.grid(axis="x")
    ax.set(xlabel=xlabel, title=title)
    reach = ax.get_xlim()
    ax.set_xlim(min(reach[0], 0), max(reach[1], 0))
    return ax


def differences(
    differences: pd.DataFrame,
    *,
    metric: str = "uar",
    title: str = "How far apart are two systems on the same clips?",
    ax: Axes | None = None,
) -> Axes:
    """Paired differences in points with 95 % intervals and the zero line; filled where zero is outside.

    Parameters
    ----------
    differences : DataFrame
        One row a comparison, as `evaluation.compare` gives it: `difference`, `low`, `high` as fractions,
        optionally `p`; named by `comparison`, by `a` and `b` (the difference is a minus b), or by the index.
    """
    rows = differences.reset_index(drop=True)
    if "comparison" not in rows:
        pairs = rows["a"] + " − " + rows["b"] if {"a", "b"} <= set(rows) else differences.index.astype(str)
        rows = rows.assign(comparison=pairs)
    unit = metric_label(metric).replace(" [%]", "")
    ax = _interval_rows(
        rows,
        "comparison",
        "difference",
        f"difference in {unit} [points]; 95 % interval over speakers",
        title,
        ax,
    )
    if "p" in rows:
        for i, p in enumerate(rows["p"].astype(float)):
            if np.isfinite(p):
                ax.annotate(
                    "p < 0.001" if p < 0.001 else f"p = {p:.3f}",
                    (1.01, i),
                    va="center",
                    fontsize=8.5,
                    xycoords=ax.get_yaxis_transform(),
                )
    _legend_below(ax)
    return ax


def _legend_below(ax: Axes) -> None:
    ax.legend(
        loc="upper center",
        bbox_to_anchor=(0.5, -0.5 / max(ax.figure.get_figheight() - 1, 1)),  # half an inch below the axis
        ncols=2,
    )


def mistakes(
    mistakes: pd.DataFrame,
    *,
    metric: str = "uar",
    title: str = "How many points does each mistake buy?",
    ax: Axes | None = None,
) -> Axes:
    """Bars of points gained by each evaluation mistake, largest first, with 95 % intervals and the zero line.

    Parameters
    ----------
    mistakes : DataFrame
        One row a mistake: `mistake`, `gain`, `low`, `high` as fractions.
    """
    rows = mistakes.sort_values("gain", ascending=False, kind="stable").reset_index(drop=True)
    ax = axes_of(ax, 8, 1.2 + 0.42 * len(rows))
    y = np.arange(len(rows))
    gain, low, high = (100 * rows[["gain", "low", "high"]].to_numpy(float)).T
    clear = (low > 0) | (high < 0)
    ax.barh(y, gain, color=np.where(clear, "#D55E00", "#E8C4AC"), height=0.62)
    ax.hlines(y, low, high, color=INK, linewidth=1.4)
    for yi, g, h in zip(y, gain, np.fmax(gain, np.nan_to_num(high, nan=-np.inf)), strict=True):
        ax.annotate(f"{g:+.1f}", (max(h, 0), yi), (5, 0), textcoords="offset points", va="center", fontsize=8.5)
    ax.axvline(0, color=INK, linewidth=1)
    ax.set_yticks(y, rows["mistake"])
    ax.invert_yaxis()
    ax.grid(axis="x")
    ax.margins(x=0.12)
    ax.set(
        xlabel=f"{metric_label(metric).replace(' [%]', '')} gained [points]; 95 % interval over speakers; "
        "pale = interval includes zero",
        title=title,
    )
    return ax


def published(published: pd.DataFrame, own: pd.DataFrame, *, label: str, most: int = 16) -> Figure:
    """Published scores by corpus, hollow where speakers leak into the test, beside scores of our own with intervals.

    Parameters
    ----------
    published : DataFrame
        As `evaluation.published_results` gives it, one metric: `corpus, source, system, value` [%], `leaky`.
    own : DataFrame
        Scores of our systems, one metric: `system, value, low, high` as fractions.
    label : str
        Name of the corpus that our scores are from.
    most : int
        Rows of a panel at most; the highest scores are kept.
    """
    panels = [(name, rows.nlargest(most, "value")) for name, rows in published.groupby("corpus", sort=False)]
    heights = [len(rows) for _, rows in panels] + [len(own)]
    figure, axes = plt.subplots(
        len(heights), 1, figsize=(9, 1.2 * len(heights) + 0.2 * sum(heights)), sharex=True, layout="constrained",
        height_ratios=[h + 2 for h in heights],
    )  # fmt: skip
    kinds = {
        "yes": ("white", "#D55E00", "o", "speakers on both sides"),
        "no": ("#0072B2", "#0072B2", "o", "speaker-disjoint"),
        "unknown": (PAPER_GREY, PAPER_GREY, "X", "protocol unknown"),
    }
    for ax, (name, rows) in zip(axes, panels, strict=False):
        rows = rows.iloc[::-1].reset_index(drop=True)
        for kind, (face, edge, marker, text) in kinds.items():
            part = rows[rows["leaky"] == kind]
            ax.plot(part["value"], part.index, marker, color=edge, markerfacecolor=face, markersize=6.5, label=text)
        names = rows["source"].str.split("(").str[0].str.strip() + ": " + rows["system"]
        ax.set_yticks(rows.index, [textwrap.shorten(name, 56, placeholder=" …") for name in names])
        ax.set_title(f"{name}, published" + (f" (highest {most})" if len(rows) == most else ""))
        ax.grid(axis="x")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper left", ncols=3)
    rows = own.sort_values("value").reset_index(drop=True)
    axes[-1].hlines(rows.index, 100 * rows["low"], 100 * rows["high"], color="#0072B2", linewidth=1.6)
    axes[-1].plot(100 * rows["value"], rows.index, "o", color="#0072B2", markersize=6.5)
    axes[-1].set_yticks(rows.index, rows["system"])
    axes[-1].set(
        xlabel="UAR [%]", title=f"{label}, ours (speaker-disjoint, 95 % interval over speakers)", xlim=(0, 102)
    )
    axes[-1].grid(axis="x")
    return figure
