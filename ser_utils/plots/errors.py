"""Figures of errors: confusion, who is understood, calibration, abstention, and one clip over time.

Parameters that mean the same in all functions (`title`, `ax`, `metric`, `chance`) are those of `score_plots`.
"""

from __future__ import annotations

from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ser_utils.plots.comparisons import draw_chance, metric_label
from ser_utils.plots.curves import CURVE_STYLES
from ser_utils.plots.style import (
    GENDER_GREYS,
    INK,
    PAPER_GREY,
    axes_of,
    mark_outside,
)


def confusion_matrix(
    confusion: pd.DataFrame, *, title: str = "Which emotions are taken for which?", ax: Axes | None = None
) -> Axes:
    """Confusion matrix: shade and percent are shares of the true emotion's clips, counts below.

    Parameters
    ----------
    confusion : DataFrame, shape (emotions, emotions)
        Counts (fractional when averaged over seeds): index = true emotion, columns = predicted.
    """
    counts = confusion.to_numpy(float)
    totals = counts.sum(axis=1, keepdims=True)
    shares = np.divide(counts, totals, out=np.zeros_like(counts), where=totals > 0)
    n = len(counts)
    ax = axes_of(ax, 1.6 + 0.72 * n, 1.3 + 0.6 * n)
    ax.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    for i in range(n):
        for j in range(n):
            ax.text(
                j,
                i,
                f"{100 * shares[i, j]:.0f} %\n{counts[i, j]:.0f}",
                ha="center",
                va="center",
                fontsize=8,
                color="white" if shares[i, j] > 0.55 else INK,
                fontweight="bold" if i == j else "normal",
            )
    ax.set_xticks(range(n), confusion.columns, rotation=35, ha="right", rotation_mode="anchor")
    ax.set_yticks(range(n), confusion.index)
    ax.set(xlabel="predicted emotion", ylabel="true emotion", title=f"{title}\n{counts.sum():.0f} clips")
    ax.spines[:].set_visible(False)
    ax.tick_params(length=0)
    return ax


def confusions(
    matrices: Mapping[str, pd.DataFrame],
    *,
    title: str = "Which emotions are taken for which?",
    columns: int = 3,
) -> Figure:
    """Confusion matrices of several systems side by side.

    Parameters
    ----------
    matrices : mapping of str to DataFrame
        System → counts as `confusion_matrix` takes them.
    columns : int
        Panels in a row.
    """
    columns = min(columns, len(matrices))
    rows = -(-len(matrices) // columns)
    n = max(len(m) for m in matrices.values())
    width, height = (1.3 + 0.56 * n) * columns, (1.2 + 0.5 * n) * rows + 0.3
    figure, axes = plt.subplots(rows, columns, figsize=(width, height), squeeze=False, layout="constrained")
    for i, (ax, (name, counts)) in enumerate(zip(axes.flat, matrices.items(), strict=False)):
        confusion_matrix(counts, title=name, ax=ax)
        if i % columns:
            ax.set(ylabel="", yticklabels=[])
    for ax in list(axes.flat)[len(matrices) :]:
        ax.set_visible(False)
    figure.suptitle(title, x=0.01, ha="left")
    return figure


def caterpillar(
    groups: pd.DataFrame,
    metric: str = "uar",
    *,
    name: str = "speaker",
    chance: float | None = None,
    title: str = "Whom does the system understand?",
    ax: Axes | None = None,
) -> Axes:
    """One dot and interval for each speaker (or other group), sorted by score, with the mean over groups.

    Parameters
    ----------
    groups : DataFrame
        One row a group: the column `name`, `value`, `low`, `high`; when present, `gender` shades the dots,
        `clips` is printed beside the name, `shrunken` (an estimate pulled to the mean) is drawn as a tick.
    name : str
        Column that names the groups.
    """
    rows = groups.sort_values("value", kind="stable").reset_index(drop=True)
    ax = axes_of(ax, 7, min(1.4 + 0.26 * len(rows), 9.5))
    y = np.arange(len(rows))
    low, value, high = (100 * rows[["low", "value", "high"]].to_numpy(float)).T
    gender = (
        rows["gender"].astype(object).where(rows["gender"].notna(), "unknown")
        if "gender" in rows
        else pd.Series(["unknown"] * len(rows))
    )
    ax.hlines(y, low, high, color=PAPER_GREY, linewidth=1.4)
    for g in GENDER_GREYS:
        mask = (gender == g).to_numpy()
        if mask.any():
            ax.plot(
                value[mask],
                y[mask],
                "s" if g == "male" else "o",
                color=GENDER_GREYS[g],
                markeredgecolor=INK,
                markersize=6,
                label=g if gender.nunique() > 1 else None,
            )
    if "shrunken" in rows:
        ax.plot(
            100 * rows["shrunken"],
            y,
            "|",
            color="#D55E00",
            markersize=9,
            markeredgewidth=2,
            label="shrunken to the mean",
        )
    ax.axvline(np.nanmean(value), color="#0072B2", linewidth=1, label=f"mean {np.nanmean(value):.1f} %")
    draw_chance(ax, chance, vertical=True)
    every = int(np.ceil(len(rows) / 45))
    names = rows[name].astype(str) + (" (" + rows["clips"].astype(int).astype(str) + ")" if "clips" in rows else "")
    ax.set_yticks(y[::every], names[::every])
    ax.set(
        xlabel=f"{metric_label(metric)}; 95 % interval",
        title=title,
        ylim=(-0.7, len(rows) - 0.3),
        ylabel=name + (" (clips)" if "clips" in rows else ""),
    )
    ax.grid(axis="x")
    mark_outside(ax, ax.get_legend_handles_labels()[0])
    return ax


def reliability(
    bins: pd.DataFrame, *, title: str = "Is the system as often right as it is sure?", ax: Axes | None = None
) -> Axes:
    """Reliability diagram: accuracy against confidence by bin; on the diagonal, confidence is honest.

    Parameters
    ----------
    bins : DataFrame
        One row a bin, as `evaluation.reliability` gives it: `confidence` (mean), `accuracy`, `n` (clips), optionally
        `low`, `high` of the accuracy and `system`. The area of a dot grows with its number of clips.
    """
    ax = axes_of(ax, 5.6, 4.2)
    ax.plot([0, 100], [0, 100], color=INK, linestyle="--", linewidth=1, label="honest")
    rows = bins.dropna(subset=["confidence", "accuracy"])
    groups = rows.groupby("system", sort=False) if "system" in rows else [("system", rows)]
    for (system, part), (colour, style, marker) in zip(groups, CURVE_STYLES, strict=False):
        x, y = 100 * part["confidence"], 100 * part["accuracy"]
        ax.plot(x, y, color=colour, linestyle=style, linewidth=1.2)
        if {"low", "high"} <= set(part):
            ax.vlines(x, 100 * part["low"], 100 * part["high"], color=colour, alpha=0.5)
        ax.scatter(
            x,
            y,
            s=12 + 160 * part["n"] / part["n"].max(),
            color=colour,
            marker=marker,
            alpha=0.75,
            linewidths=0,
            label=system,
        )
    total = round(rows.groupby("system")["n"].sum().max() if "system" in rows else rows["n"].sum())
    ax.set(
        xlim=(0, 100),
        ylim=(0, 102),
        xlabel="confidence (probability of the chosen emotion) [%]",
        ylabel="accuracy [%]",
        title=f"{title}\n{total} clips; larger dot = more clips",
    )
    ax.grid()
    ax.legend(loc="upper left")
    return ax


def risk_coverage(
    curve: pd.DataFrame, *, title: str = "What does it cost to decide every clip?", ax: Axes | None = None
) -> Axes:
    """Error rate among the most confident share of clips, a curve for each system.

    Parameters
    ----------
    curve : DataFrame
        Columns `coverage` and `risk` as fractions, optionally `low`, `high` of the risk, and `system`.
    """
    ax = axes_of(ax, 6.4, 3.6)
    groups = curve.groupby("system", sort=False) if "system" in curve else [(None, curve)]
    for (system, part), (colour, style, _) in zip(groups, CURVE_STYLES, strict=False):
        part = part.sort_values("coverage")
        ax.plot(100 * part["coverage"], 100 * part["risk"], color=colour, linestyle=style, label=system)
        if {"low", "high"} <= set(part):
            ax.fill_between(
                100 * part["coverage"],
                100 * part["low"],
                100 * part["high"],
                color=colour,
                alpha=0.15,
                linewidth=0,
            )
    ax.set(
        xlim=(0, 100),
        ylim=(0, None),
        xlabel="coverage: share of clips decided, most confident first [%]",
        ylabel="risk: wrong decisions [%]",
        title=title,
    )
    ax.grid()
    if "system" in curve:
        mark_outside(ax, ax.lines)
    return ax
