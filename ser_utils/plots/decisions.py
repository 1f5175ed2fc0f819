"""Figures of decisions: which are wrong, for whom, how confident they are, and what explains them.

Parameters that mean the same in all functions (`title`, `ax`, `metric`, `chance`) are those of `comparisons`.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ser_utils.analysis import VALENCE_AROUSAL
from ser_utils.plots.comparisons import draw_chance, metric_name
from ser_utils.plots.style import (
    BLUE,
    EMOTION_COLOURS,
    EMOTION_MARKERS,
    GENDER_GREYS,
    INK,
    PAPER_GREY,
    VERMILION,
    axes_of,
    by_system,
    display_name,
    emotion_handles,
    emotion_order,
    genders_of,
    mark_outside,
    panel_grid,
    shaded_table,
    title_figure,
)


def confusion_matrix(
    confusion: pd.DataFrame, *, title: str = "Which emotions are confused with which?", ax: Axes | None = None
) -> Axes:
    """Confusion matrix: shade and percent are shares of the true emotion's clips, counts below.

    Parameters
    ----------
    confusion : DataFrame, shape (emotions, emotions)
        Counts (fractional when averaged over seeds): index = true emotion, columns = predicted.
    """
    shares, n = _shares(confusion).fillna(0), len(confusion)
    ax = axes_of(ax, 1.6 + 0.72 * n, 1.3 + 0.6 * n)
    cells = zip(shares.to_numpy(float), confusion.to_numpy(float), strict=True)
    texts = [[f"{100 * share:.0f} %\n{count:.0f}" for share, count in zip(*row, strict=True)] for row in cells]
    shaded_table(ax, shares, texts, white=0.55, cmap="Blues", vmin=0, vmax=1)
    for text in ax.texts[:: n + 1]:
        text.set_fontweight("bold")
    total = confusion.to_numpy(float).sum()
    ax.set(xlabel="predicted emotion", ylabel="true emotion", title=f"{title}\n{total:.0f} clips")
    return ax


def _shares(confusion: pd.DataFrame) -> pd.DataFrame:
    """Counts as shares of each true emotion; NaN for an emotion without clips."""
    return confusion.div(confusion.sum(axis=1).replace(0, np.nan), axis=0)


def confusions(
    matrices: Mapping[str, pd.DataFrame], *, title: str = "Which emotions are confused with which?", columns: int = 3
) -> Figure:
    """Confusion matrices of several systems side by side.

    Parameters
    ----------
    matrices : mapping of str to DataFrame
        System → counts as `confusion_matrix` takes them.
    columns : int
        Panels in a row.
    """
    n = max(len(m) for m in matrices.values())
    figure, axes = panel_grid(len(matrices), columns, 1.3 + 0.56 * n, 1.3 + 0.5 * n)
    for i, (ax, (name, counts)) in enumerate(zip(axes, matrices.items(), strict=True)):
        confusion_matrix(counts, title=display_name(name), ax=ax)
        if i % columns:
            ax.set(ylabel="", yticklabels=[])
    title_figure(figure, title)
    return figure


def confusion_plane(
    confusion: pd.DataFrame,
    *,
    least: float = 0.08,
    title: str = "Are emotions with similar valence and arousal confused more?",
    ax: Axes | None = None,
) -> Axes:
    """Emotions on the plane of valence and arousal, an arrow from the true to the predicted one for every confusion.

    Parameters
    ----------
    confusion : DataFrame, shape=(emotions, emotions)
        Counts, rows the true emotion.
    least : float
        Shares of the true emotion's clips below this get no arrow.
    """
    ax = axes_of(ax, 6.6, 4.6)
    shares, names = _shares(confusion), emotion_order(confusion.index)
    for true, predicted in ((a, b) for a in names for b in names if a != b):
        share = shares.loc[true, predicted]
        if share >= least:
            style = dict(arrowstyle="-|>", color=PAPER_GREY, alpha=0.75, linewidth=14 * share, mutation_scale=12)
            style |= dict(connectionstyle="arc3,rad=0.18", shrinkA=9, shrinkB=11)
            ax.annotate("", VALENCE_AROUSAL[predicted], VALENCE_AROUSAL[true], arrowprops=style)
    # Anger, fear and disgust lie close together on this plane: their names are moved aside.
    aside = {"fear": (-10, 9, "right"), "anger": (10, -4, "left"), "disgust": (-10, -12, "right")}
    for name in names:
        x, y = VALENCE_AROUSAL[name]
        ax.plot(x, y, EMOTION_MARKERS[name], color=EMOTION_COLOURS[name], markersize=11, markeredgecolor=INK)
        dx, dy, align = aside.get(name, (9, 7, "left"))
        text = f"{name} ({100 * shares.loc[name, name]:.0f} %)"
        ax.annotate(text, (x, y), (dx, dy), textcoords="offset points", ha=align, fontsize=8.5)
    ax.axhline(0, color="#DDDDDD", zorder=0)
    ax.axvline(0, color="#DDDDDD", zorder=0)
    ax.set(xlim=(-1.15, 1.15), ylim=(-0.85, 0.95))
    ax.set(xlabel="valence (unpleasant to pleasant)", ylabel="arousal (sleepy to excited)")
    ax.set_title(f"{title}\narrows: at least {100 * least:.0f} % of an emotion's clips; in brackets its recall")
    return ax


def caterpillar(
    groups: pd.DataFrame,
    metric: str = "uar",
    *,
    name: str = "speaker",
    chance: float | None = None,
    title: str = "Which speakers are recognised best?",
    ax: Axes | None = None,
) -> Axes:
    """One dot and interval for each speaker (or other group), sorted by score, with the mean over groups.

    Parameters
    ----------
    groups : DataFrame
        One row per group: the column `name`, `value`, `low`, `high`; when present, `gender` shades the dots,
        `clips` is printed beside the name, `shrunken` (an estimate shrunk towards the mean) is drawn as a tick.
    name : str
        Column that names the groups.
    """
    rows = groups.sort_values("value", kind="stable").reset_index(drop=True)
    ax = axes_of(ax, 7, min(1.4 + 0.26 * len(rows), 9.5))
    low, value, high = (100 * rows[["low", "value", "high"]].to_numpy(float)).T
    ax.hlines(rows.index, low, high, color=PAPER_GREY, linewidth=1.4)
    gender = genders_of(rows)
    for g in (g for g in GENDER_GREYS if (gender == g).any()):
        look = dict(marker="s" if g == "male" else "o", color=GENDER_GREYS[g], markeredgecolor=INK, markersize=6)
        label = g if gender.nunique() > 1 else None
        ax.plot(value[gender == g], rows.index[gender == g], linestyle="", label=label, **look)
    if "shrunken" in rows:
        look = dict(color=VERMILION, markersize=9, markeredgewidth=2, label="shrunk towards the mean")
        ax.plot(100 * rows["shrunken"], rows.index, "|", **look)
    ax.axvline(np.nanmean(value), color=BLUE, linewidth=1, label=f"mean {np.nanmean(value):.1f} %")
    draw_chance(ax, chance, vertical=True)
    every = -(-len(rows) // 45)
    names = rows[name].astype(str) + (" (" + rows["clips"].astype(int).astype(str) + ")" if "clips" in rows else "")
    ax.set_yticks(rows.index[::every], names[::every])
    ax.set(xlabel=f"{metric_name(metric)} [%]; 95 % interval", title=title, ylim=(-0.7, len(rows) - 0.3))
    ax.set_ylabel(name + (" (clips)" if "clips" in rows else ""))
    ax.grid(axis="x")
    mark_outside(ax)
    return ax


def reliability(bins: pd.DataFrame, *, title: str = "Does confidence match accuracy?", ax: Axes | None = None) -> Axes:
    """Reliability diagram: accuracy against confidence by bin; perfectly calibrated on the diagonal.

    Parameters
    ----------
    bins : DataFrame
        One row per bin, as `evaluation.reliability` returns it: `confidence` (mean), `accuracy`, `n` (clips),
        optionally `low`, `high` of the accuracy and `system`. The area of a dot grows with its number of clips.
    """
    ax = axes_of(ax, 5.6, 4.2)
    ax.plot([0, 100], [0, 100], color=INK, linestyle="--", linewidth=1, label="perfectly calibrated")
    rows = bins.dropna(subset=["confidence", "accuracy"])
    total = 0
    for system, part, (colour, style, marker) in by_system(rows):
        x, y = 100 * part["confidence"], 100 * part["accuracy"]
        ax.plot(x, y, color=colour, linestyle=style, linewidth=1.2)
        if {"low", "high"} <= set(part):
            ax.vlines(x, 100 * part["low"], 100 * part["high"], color=colour, alpha=0.5)
        size = 12 + 160 * part["n"] / part["n"].max()
        ax.scatter(x, y, s=size, color=colour, marker=marker, alpha=0.75, linewidths=0, label=system or "system")
        total = max(total, round(part["n"].sum()))
    ax.set(xlim=(0, 100), ylim=(0, 102), xlabel="confidence (probability of the predicted emotion) [%]")
    ax.set(ylabel="accuracy [%]", title=f"{title}\n{total} clips; larger dot = more clips")
    ax.grid()
    ax.legend(loc="upper left")
    return ax


def risk_coverage(
    curve: pd.DataFrame, *, title: str = "How many errors does abstaining avoid?", ax: Axes | None = None
) -> Axes:
    """Error rate among the most confident share of clips, one curve per system.

    Parameters
    ----------
    curve : DataFrame
        Columns `coverage` and `risk` as fractions, optionally `low`, `high` of the risk, and `system`.
    """
    ax = axes_of(ax, 6.4, 3.6)
    for system, part, (colour, style, _) in by_system(curve):
        part = part.sort_values("coverage")
        x = 100 * part["coverage"]
        ax.plot(x, 100 * part["risk"], color=colour, linestyle=style, label=system)
        if {"low", "high"} <= set(part):
            ax.fill_between(x, 100 * part["low"], 100 * part["high"], color=colour, alpha=0.15, linewidth=0)
    ax.set(xlim=(0, 100), ylim=(0, None), title=title)
    ax.set(xlabel="coverage: share of clips decided, most confident first [%]", ylabel="risk: wrong decisions [%]")
    ax.grid()
    if "system" in curve:
        mark_outside(ax, ax.lines)
    return ax


def agreement(
    correlation: pd.DataFrame, *, title: str = "Do the systems fail on the same clips?", ax: Axes | None = None
) -> Axes:
    """Correlation between the errors of every two systems, as a table of shades with its numbers.

    Parameters
    ----------
    correlation : DataFrame, shape=(systems, systems)
        As `analysis.agreement` returns it.
    """
    named = correlation.rename(index=display_name, columns=display_name)
    ax = axes_of(ax, 3.6 + max(3, 0.75 * len(named)), 2.2 + 0.5 * len(named))
    texts = [[f"{value:.2f}" for value in row] for row in named.to_numpy(float)]
    shaded_table(ax, named, texts, white=0.8, cmap="Greys", vmin=0, vmax=1.4)
    ax.set_title(f"{title}\ncorrelation of errors")
    return ax


def deletion(
    curves: pd.DataFrame, *, title: str = "Does the explanation point to what matters?", ax: Axes | None = None
) -> Axes:
    """Probability that remains while frames are deleted, for each order of deletion.

    Parameters
    ----------
    curves : DataFrame
        Columns `order` (a method, or "random order"), `deleted` (fraction), `value`, `low`, `high` (probability).
    """
    ax = axes_of(ax, 6.4, 3.6)
    colours = [BLUE, "#009E73", "#CC79A7", "#E69F00"]
    for i, (order, part) in enumerate(curves.groupby("order", sort=False)):
        random = order == "random order"
        colour = PAPER_GREY if random else colours[i % len(colours)]
        x = 100 * part["deleted"]
        ax.plot(x, part["value"], "--o" if random else "-o", color=colour, markersize=4, label=order)
        ax.fill_between(x, part["low"], part["high"], color=colour, alpha=0.15, linewidth=0)
    ax.set(xlabel="frames deleted, most important first [%]", ylabel="probability of the prediction")
    ax.set(title=title, ylim=(0, None))
    ax.grid()
    ax.legend()
    return ax


def what_if(
    table: pd.DataFrame, *, x: str, label: str, title: str = "What if the voice were different?", ax: Axes | None = None
) -> Axes:
    """Mean probability of each emotion against a change made to the recordings.

    Parameters
    ----------
    table : DataFrame
        One row per change: column `x` (the change) and one probability column per emotion.
    x, label : str
        Column of the change, and the label of its axis.
    """
    ax = axes_of(ax, 5.4, 3.5)
    names = emotion_order(table.columns)
    for name in names:
        ax.plot(table[x], 100 * table[name], EMOTION_MARKERS[name] + "-", color=EMOTION_COLOURS[name], markersize=5)
    ax.set(xlabel=label, ylabel="mean probability [%]", title=title, ylim=(0, None))
    ax.grid()
    mark_outside(ax, emotion_handles(names))
    return ax
