"""Figures that explain decisions: confused pairs, moments that decide, deletion, what-if, agreement of systems."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from ser_utils.analysis import VALENCE_AROUSAL
from ser_utils.plots.style import (
    EMOTION_COLOURS,
    EMOTION_MARKERS,
    INK,
    PAPER_GREY,
    axes_of,
    emotion_handles,
    emotion_order,
    mark_outside,
)


def confusion_plane(
    confusion: pd.DataFrame,
    *,
    least: float = 0.08,
    title: str = "Are neighbours in feeling confused more?",
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
    shares = confusion.div(confusion.sum(axis=1).replace(0, np.nan), axis=0)
    names = emotion_order(confusion.index)
    for true in names:
        for predicted in names:
            share = shares.loc[true, predicted]
            if true == predicted or not share >= least:
                continue
            style = dict(arrowstyle="-|>", color=PAPER_GREY, alpha=0.75, linewidth=14 * share, mutation_scale=12)
            style |= dict(connectionstyle="arc3,rad=0.18", shrinkA=9, shrinkB=11)
            ax.annotate("", VALENCE_AROUSAL[predicted], VALENCE_AROUSAL[true], arrowprops=style)
    for name in names:
        x, y = VALENCE_AROUSAL[name]
        ax.plot(x, y, EMOTION_MARKERS[name], color=EMOTION_COLOURS[name], markersize=11, markeredgecolor=INK)
        # Anger, fear and disgust lie on one spot of this plane: their names step aside.
        aside = {"fear": (-10, 9, "right"), "anger": (10, -4, "left"), "disgust": (-10, -12, "right")}
        dx, dy, align = aside.get(name, (9, 7, "left"))
        text = f"{name} ({100 * shares.loc[name, name]:.0f} %)"
        ax.annotate(text, (x, y), (dx, dy), textcoords="offset points", ha=align, fontsize=8.5)
    ax.axhline(0, color="#DDDDDD", zorder=0)
    ax.axvline(0, color="#DDDDDD", zorder=0)
    ax.set(
        xlim=(-1.15, 1.15),
        ylim=(-0.85, 0.95),
        xlabel="valence (unpleasant to pleasant)",
        ylabel="arousal (sleepy to excited)",
    )
    ax.set_title(f"{title}\narrows: at least {100 * least:.0f} % of an emotion's clips; in brackets its recall")
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
    colours = ["#0072B2", "#009E73", "#CC79A7", "#E69F00"]
    for i, (order, part) in enumerate(curves.groupby("order", sort=False)):
        random = order == "random order"
        colour = PAPER_GREY if random else colours[i % len(colours)]
        x = 100 * part["deleted"]
        ax.plot(x, part["value"], "--o" if random else "-o", color=colour, markersize=4, label=order)
        ax.fill_between(x, part["low"], part["high"], color=colour, alpha=0.15, linewidth=0)
    ax.set(
        xlabel="frames deleted, most important first [%]",
        ylabel="probability of the decision",
        title=title,
        ylim=(0, None),
    )
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
        Column `x` (the change), one probability column an emotion; a row a change.
    """
    ax = axes_of(ax, 5.4, 3.5)
    names = emotion_order(table.columns)
    for name in names:
        ax.plot(table[x], 100 * table[name], EMOTION_MARKERS[name] + "-", color=EMOTION_COLOURS[name], markersize=5)
    ax.set(xlabel=label, ylabel="mean probability [%]", title=title, ylim=(0, None))
    ax.grid()
    mark_outside(ax, emotion_handles(names))
    return ax


def agreement(
    correlation: pd.DataFrame, *, title: str = "Do the systems fail on the same clips?", ax: Axes | None = None
) -> Axes:
    """Correlation between the errors of every two systems, as a table of shades with its numbers.

    Parameters
    ----------
    correlation : DataFrame, shape=(systems, systems)
        As `error_analysis.agreement` gives it.
    """
    n = len(correlation)
    ax = axes_of(ax, 2.2 + 0.85 * n, 1.5 + 0.5 * n)
    ax.imshow(correlation, cmap="Greys", vmin=0, vmax=1.4)
    for i in range(n):
        for j in range(n):
            ax.text(j, i, f"{correlation.iloc[i, j]:.2f}", ha="center", va="center", fontsize=8.5)
    ax.set_xticks(range(n), correlation.columns, rotation=30, ha="right", rotation_mode="anchor")
    ax.set_yticks(range(n), correlation.index)
    ax.spines[:].set_visible(False)
    ax.tick_params(length=0)
    ax.set_title(f"{title}\ncorrelation of errors")
    return ax
