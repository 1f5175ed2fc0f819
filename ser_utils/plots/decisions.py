"""Figures of decisions: which are wrong, for whom, how confident they are, and what explains them.

Parameters that mean the same in all functions (`title`, `ax`, `metric`, `chance`) are those of `comparisons`.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ser_utils.plots.comparisons import METRIC_NAMES
from ser_utils.plots.style import (
    BLUE,
    CURVE_STYLES,
    EMOTION_COLOURS,
    EMOTION_MARKERS,
    GENDER_GREYS,
    INK,
    PAPER_GREY,
    VERMILION,
    axes_of,
    curves_of,
    display_name,
    draw_band,
    emotion_order,
    genders_of,
    mark_outside,
    panel_grid,
    shaded_table,
    title_figure,
    with_finding,
)


def confusion_matrix(confusion: pd.DataFrame, *, title: str, ax: Axes | None = None) -> Axes:
    """Confusion matrix: shade and percent are shares of the true emotion's clips, counts below.

    Parameters
    ----------
    confusion : DataFrame, shape (emotions, emotions)
        Counts (fractional when averaged over seeds): index = true emotion, columns = predicted.
    """
    names = emotion_order(confusion.index)
    confusion, n = confusion.loc[names, names], len(names)
    shares = confusion.div(confusion.sum(axis=1).replace(0, np.nan), axis=0).fillna(0)
    ax = axes_of(1.6 + 0.72 * n, 1.3 + 0.6 * n, ax)
    cells = zip(shares.to_numpy(float), confusion.to_numpy(float), strict=True)
    texts = [[f"{100 * share:.0f} %\n{count:.0f}" for share, count in zip(*row, strict=True)] for row in cells]
    shaded_table(ax, shares, texts, white=0.55, cmap="Blues", vmin=0, vmax=1)
    for text in ax.texts[:: n + 1]:
        text.set_fontweight("bold")
    wrong = shares.to_numpy(float) * (1 - np.eye(n))
    true, predicted = np.unravel_index(wrong.argmax(), wrong.shape)
    largest = f"most often: {names[true]} as {names[predicted]}, {100 * wrong.max():.0f} %" if wrong.any() else ""
    ax.set(xlabel="predicted emotion", ylabel="true emotion", title=f"{title}\n{largest}")
    return ax


def confusions(matrices: Mapping[str, pd.DataFrame]) -> Figure:
    """Confusion matrices of several systems side by side, three in a row.

    Parameters
    ----------
    matrices : mapping of str to DataFrame
        System → counts as `confusion_matrix` takes them.
    """
    n = max(len(m) for m in matrices.values())
    figure, axes = panel_grid(len(matrices), 3, 1.3 + 0.56 * n, 1.4 + 0.5 * n)
    for i, (ax, (name, counts)) in enumerate(zip(axes, matrices.items(), strict=True)):
        confusion_matrix(counts, title=display_name(name), ax=ax)
        if i % 3:
            ax.set(ylabel="", yticklabels=[])
    title_figure(figure, "Which emotions are confused with which?")
    return figure


def confusion_pairs(pairs: pd.DataFrame) -> Figure:
    """Confusion of every two emotions against their distance in arousal and in valence; the four largest are named.

    Parameters
    ----------
    pairs : DataFrame
        As `analysis.confusion_pairs` returns it: `first`, `second`, `rate` (fraction), `arousal`, `valence`
        (distances, no unit).
    """
    figure, axes = panel_grid(2, 2, 4.8, 3.6)
    for ax, distance in zip(axes, ("arousal", "valence"), strict=True):
        ax.plot(pairs[distance], 100 * pairs["rate"], "o", color=BLUE, alpha=0.8)
        for row in pairs.nlargest(4, "rate").itertuples():
            x, y = getattr(row, distance), 100 * row.rate
            right = x < pairs[distance].max() / 2
            # Names to the left hang lower than those to the right: two that meet do not overlap.
            look = dict(textcoords="offset points", fontsize=8.5)
            look |= dict(va="bottom", ha="left") if right else dict(va="top", ha="right")
            ax.annotate(f"{row.first}, {row.second}", (x, y), (6 if right else -6, 0), **look)
        ax.set(xlabel=f"distance in {distance} (no unit)", ylim=(0, None), xlim=(-0.05, None))
        ax.grid()
    axes[0].set_ylabel("confused with each other [%]")
    found = (f"{name} {pairs['rate'].corr(pairs[name], method='spearman'):+.2f}" for name in ("arousal", "valence"))
    finding = f"rank correlation of confusion and distance: {', '.join(found)}"
    title_figure(figure, f"Are emotions with similar arousal or valence confused more?\n{finding}")
    return figure


def caterpillar(groups: pd.DataFrame, metric: str, *, title: str, name: str = "speaker") -> Axes:
    """One dot and interval for each speaker or other group, with the mean over groups.

    Speakers are sorted by score; other groups keep their order, from the top.

    Parameters
    ----------
    groups : DataFrame
        One row per group: the column `name`, `value`, `low`, `high`; when present, `gender` shades the dots,
        `clips` is printed beside the name, `shrunken` (an estimate shrunk towards the mean) is drawn as a tick.
    name : str
        Column that names the groups.
    """
    rows = groups.sort_values("value", kind="stable") if name == "speaker" else groups[::-1]
    rows = rows.reset_index(drop=True)
    ax = axes_of(7, min(1.4 + 0.26 * len(rows), 9.5))
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
    every = -(-len(rows) // 45)
    names = rows[name].astype(str) + (" (" + rows["clips"].astype(int).astype(str) + ")" if "clips" in rows else "")
    ax.set_yticks(rows.index[::every], names[::every])
    ends = (f"{value[i]:.0f} % ({rows[name][i]})" for i in (np.nanargmin(value), np.nanargmax(value)))
    span = "from " + (" to " if name == "speaker" else "\nto ").join(ends)  # names of groups are long
    ax.set(xlabel=f"{METRIC_NAMES[metric]} [%]; 95 % interval", title=f"{title}\n{span}", ylim=(-0.7, len(rows) - 0.3))
    ax.set_ylabel(name + (" (clips)" if "clips" in rows else ""))
    ax.grid(axis="x")
    mark_outside(ax)
    return ax


def reliability(bins: pd.DataFrame) -> Axes:
    """Reliability diagram: accuracy against confidence by bin; perfectly calibrated on the diagonal.

    Parameters
    ----------
    bins : DataFrame
        One row per bin, as `evaluation.reliability` returns it: `confidence` (mean), `accuracy`, `n` (clips),
        optionally `low`, `high` of the accuracy and `system`. The area of a dot grows with its number of clips.
    """
    ax = axes_of(5.6, 4.2)
    ax.plot([0, 100], [0, 100], color=INK, linestyle="--", linewidth=1, label="perfectly calibrated")
    gaps = {}
    for name, part, (colour, style, marker) in curves_of(bins.dropna(subset=["confidence", "accuracy"])):
        x, y = 100 * part["confidence"], 100 * part["accuracy"]
        ax.plot(x, y, color=colour, linestyle=style, linewidth=1.2)
        if {"low", "high"} <= set(part):
            ax.vlines(x, 100 * part["low"], 100 * part["high"], color=colour, alpha=0.5)
        size = 12 + 160 * part["n"] / part["n"].max()
        gaps[name or "system"] = np.average((x - y).abs(), weights=part["n"])
        ax.scatter(x, y, s=size, color=colour, marker=marker, alpha=0.75, linewidths=0, label=name or "system")
    ax.set(xlim=(0, 100), ylim=(0, 102), xlabel="confidence (probability of the predicted emotion) [%]")
    smallest = min(gaps, key=gaps.get)
    which = f"smallest mean gap: {smallest}," if len(gaps) > 1 else "mean gap"
    ax.set_title(f"Does confidence match accuracy?\n{which} {gaps[smallest]:.1f} points")
    ax.set_ylabel("accuracy [%] (larger dot = more clips)")
    ax.grid()
    mark_outside(ax)
    return ax


def risk_coverage(curve: pd.DataFrame) -> Axes:
    """Error rate among the most confident share of clips, one curve per system.

    The first tenth is left out: there a single clip moves the curve by many points.

    Parameters
    ----------
    curve : DataFrame
        Columns `coverage` and `risk` as fractions, optionally `low`, `high` of the risk, and `system`.
    """
    ax = axes_of(6.4, 3.6)
    areas = {}
    for name, part, (colour, style, _) in curves_of(curve):
        areas[name] = 100 * part["risk"].mean()
        part = part[part["coverage"] >= 0.1].sort_values("coverage")
        x = 100 * part["coverage"]
        ax.plot(x, 100 * part["risk"], color=colour, linestyle=style, label=name or None)
        draw_band(ax, x, part, colour)
    least = min(areas, key=areas.get)
    finding = f"smallest area under the curve: {f'{least}, ' if least else ''}{areas[least]:.0f} %"
    ax.set(xlim=(10, 100), ylim=(0, None), title=f"How many errors does abstaining avoid?\n{finding}")
    ax.set(xlabel="coverage, most confident clips first [%]", ylabel="risk: wrong decisions [%]")
    ax.grid()
    if ax.get_legend_handles_labels()[0]:
        mark_outside(ax)
    return ax


def agreement(correlation: pd.DataFrame) -> Axes:
    """Correlation between the errors of every two systems, each pair once, as a table of shades with its numbers.

    Parameters
    ----------
    correlation : DataFrame, shape=(systems, systems)
    """
    named = correlation.rename(index=display_name, columns=display_name)
    below = named.where(np.tri(len(named), k=-1, dtype=bool)).iloc[1:, :-1]
    ax = axes_of(3.6 + max(3, 0.75 * len(below)), 2.2 + 0.5 * len(below))
    texts = [["" if np.isnan(value) else f"{value:.2f}" for value in row] for row in below.to_numpy(float)]
    shaded_table(ax, below, texts, white=0.6, cmap="Blues", vmin=0, vmax=1)
    most = np.nanmax(below.to_numpy(float))
    ax.set_title(f"Do the systems fail on the same clips?\ncorrelation of errors up to {most:.2f}; 0: independent")
    return ax


def deletion(curves: pd.DataFrame) -> Axes:
    """Probability that remains while frames are deleted, for each order of deletion.

    Parameters
    ----------
    curves : DataFrame
        Columns `order` (a method, or "random order"), `deleted` (fraction), `value`, `low`, `high` (probability).
    """
    ax = axes_of(6.4, 3.6)
    for (order, part), (colour, _, _) in zip(curves.groupby("order", sort=False), CURVE_STYLES, strict=False):
        random = order == "random order"
        colour = PAPER_GREY if random else colour
        x = 100 * part["deleted"]
        ax.plot(x, 100 * part["value"], "--o" if random else "-o", color=colour, markersize=4, label=order)
        draw_band(ax, x, part, colour)
    ax.set(xlabel="frames deleted, most important first [%]", ylabel="probability of the prediction [%]")
    at = curves[curves["deleted"] == 0.2]
    found = ", ".join(f"{row.order} {100 * row.value:.0f} %" for row in at.itertuples())
    finding = f"left after deleting 20 %: {found}" if found else ""
    ax.set(title=with_finding("Does the explanation point to what matters?", finding), ylim=(0, None))
    ax.grid()
    mark_outside(ax)
    return ax


def what_if(table: pd.DataFrame, *, x: str, label: str, title: str) -> Axes:
    """Mean probability of each emotion against a change made to the recordings.

    Parameters
    ----------
    table : DataFrame
        One row per change: column `x` (the change) and one probability column per emotion.
    x, label : str
        Column of the change, and the label of its axis.
    """
    ax = axes_of(5.4, 3.5)
    names = emotion_order(table.columns.drop(x))
    for name in names:
        look = dict(marker=EMOTION_MARKERS[name], color=EMOTION_COLOURS[name], markersize=5)
        ax.plot(table[x], 100 * table[name], label=name, **look)
    ax.set(xlabel=label, ylabel="mean probability [%]", title=title, ylim=(0, None))
    ax.grid()
    mark_outside(ax)
    return ax
