"""Figures of scores as curves: against epochs, segment lengths, layers, hours, labels and settings.

Parameters that mean the same in all functions (`metric`, `chance`, `title`, `ax`) are those of `comparisons`. Bands and
error bars are 95 % intervals over speakers. A table of scores has the column that runs along x, `value`, and
optionally `low`, `high`, `metric`, and `system` and `level`: one curve each.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from ser_utils.plots.comparisons import METRIC_NAMES, draw_chance
from ser_utils.plots.style import (
    CURVE_STYLES,
    INK,
    PAPER_GREY,
    axes_of,
    curves_of,
    draw_band,
    mark_outside,
    with_finding,
)

#: Columns that may run along x, and the axis's label.
_LABELS = {
    "seconds": "used from the clip's start [s]",
    "layer": "layer of the encoder (0 = before the transformer)",
    "hours": "speech in pre-training [h] (0 = before it)",
    "share": "share of the labels",
}


def learning_curves(history: pd.DataFrame, *, measures: Sequence[str], label: str, ax: Axes | None = None) -> Axes:
    """Each measure by epoch: a thin line per run (fold and seed), a thick one for their mean, a dot at epochs kept.

    Runs that stopped early keep their last value in the mean, so that it does not jump where runs end.

    Parameters
    ----------
    history : DataFrame
        One row per epoch of a run: `seed`, `fold`, `epoch` (from 1), one column per measure, and `chosen`
        (bool: the epoch whose weights were kept) when there is one.
    measures : sequence of str
        Columns to draw.
    label : str
        Label of the y axis, with its unit.
    """
    ax = axes_of(7, 3.6, ax)
    kept = history[history["chosen"].astype(bool)] if "chosen" in history else history[:0]
    for measure, (colour, style, _) in zip(measures, CURVE_STYLES, strict=False):
        runs = history.pivot_table(index="epoch", columns=["seed", "fold"], values=measure)
        mean = runs.ffill().mean(axis=1)
        ax.plot(runs.index, runs, color=colour, linewidth=0.8, alpha=0.5)
        several = runs.shape[1] > 1
        ax.plot(mean.index, mean, color=colour, linestyle=style, linewidth=2.2, label=measure + ", mean" * several)
        label_of_dots = "epoch kept" if len(kept) else None
        ax.plot(kept["epoch"], kept[measure], "o", color=colour, markeredgecolor=INK, label=label_of_dots)
    runs = history.groupby(["seed", "fold"]).ngroups
    ax.set(xlabel="epoch", ylabel=label, title=f"{runs} run{'s' * (runs != 1)} (folds × seeds)")
    ax.xaxis.get_major_locator().set_params(integer=True)
    ax.grid(axis="y")
    mark_outside(ax)
    return ax


def _finish(ax: Axes, metric: str, chance: float | None) -> Axes:
    draw_chance(ax, chance)
    ax.set_ylabel(f"{METRIC_NAMES.get(metric, metric)} [%]")
    ax.grid(axis="y")
    if ax.get_legend_handles_labels()[0]:
        mark_outside(ax)
    return ax


def score_curve(
    scores: pd.DataFrame,
    x: str,
    metric: str = "uar",
    *,
    chance: float | None = None,
    chosen: float | None = None,
    label: str = "",
    title: str = "",
    ax: Axes | None = None,
) -> Axes:
    """Score against the column `x`, with a band.

    Parameters
    ----------
    scores : DataFrame
    x : {"seconds", "layer", "hours", "share"}
        Seconds used from a clip's start, the encoder's layer, hours of speech in pre-training (0 has a place on the
        logarithmic axis), or the share of labels used in training (above 0, up to 1; logarithmic).
    chosen : float, optional
        Value of `x` in use, marked by a vertical line.
    label : str
        Label of the x axis; by default, one that suits the column.
    """
    rows = scores[scores["metric"] == metric] if "metric" in scores else scores
    ax = axes_of(7, 3.6, ax)
    for name, part, (colour, style, marker) in curves_of(rows):
        part = part.sort_values(x)
        look = dict(color=colour, linestyle=style, marker=marker, markersize=5)
        ax.plot(part[x], 100 * part["value"], label=name or None, **look)
        draw_band(ax, part[x], part, colour)
    if chosen is not None:
        ax.axvline(chosen, color=PAPER_GREY, linewidth=1.2, linestyle=":", label=f"{x} in use: {chosen:g}")
    ticks = np.sort(rows[x].unique())
    if x == "layer":
        ax.xaxis.get_major_locator().set_params(integer=True)
    elif x == "seconds":
        ax.set_xlim(left=0)
    elif x == "share":
        ax.set_xscale("log", base=2)
        ax.set_xticks(ticks, [f"{100 * t:.3g} %" for t in ticks])
    elif (ticks > 0).any():  # symmetric log: zero hours has a place, octaves are equally wide
        ax.set_xscale("symlog", linthresh=ticks[ticks > 0][0], base=2)
        named = [ticks[-1]]  # of names that would overlap, the last is written
        for tick in ticks[-2::-1]:
            if tick < 0.6 * named[-1]:
                named.append(tick)
        ax.set_xticks(ticks, [f"{t:.3g}" if t in named else "" for t in ticks])
    ax.minorticks_off()
    ax.set(xlabel=label or _LABELS[x], title=with_finding(title, _ends(rows, x, chosen)))
    return _finish(ax, metric, chance)


def _ends(rows: pd.DataFrame, x: str, chosen: float | None) -> str:
    """Say the values of all curves at the `x` in use, or else at both ends."""
    found = []
    for name, part, _ in curves_of(rows):
        part = part.sort_values(x)
        value = 100 * (part[part[x] == chosen] if chosen is not None else part.iloc[[0, -1]])["value"]
        found.append(f"{name} {' → '.join(f'{v:.0f}' for v in value)} %".strip())
    place = "" if chosen is None else f"{x} {chosen:g}: "
    return textwrap.fill(place + ", ".join(found), 62)


def length_curve(scores: pd.DataFrame, *, title: str, chance: float | None = None) -> Axes:
    """Score against segment length (logarithmic), with error bars side by side; the whole clip stands apart.

    Parameters
    ----------
    scores : DataFrame
        Scores with a column `segment_seconds` [s]; NaN or None means the whole clip.
    """
    ax = axes_of(8, 3.8)
    rows = scores[scores["metric"] == "uar"]
    seconds = rows["segment_seconds"].astype(float)
    whole = 2 * seconds.max()  # a place of its own, one octave further
    rows = rows.assign(length=seconds.fillna(whole))
    for i, (name, part, (colour, style, marker)) in enumerate(curves_of(rows)):
        part = part.sort_values("length")
        across = part["length"] * 1.05**i
        low, value, high = (100 * part[["low", "value", "high"]].to_numpy(float)).T
        look = dict(color=colour, marker=marker, linestyle="", elinewidth=1.5)
        ax.errorbar(across, value, (value - low, high - value), label=name or None, **look)
        cut = (part["length"] < whole).to_numpy()
        ax.plot(across[cut], value[cut], color=colour, linestyle=style)
    ax.set_xscale("log")
    ticks = sorted(rows["length"].unique())
    ax.set_xticks(ticks, [f"{t:g}" if t < whole else "whole\nclip" for t in ticks])
    ax.minorticks_off()
    clip = rows[rows["level"] == "clip"].sort_values("value") if "level" in rows else rows[:0]
    ends = (f"{100 * row.value:.0f} % ({f'{row.length:g} s' if row.length < whole else 'whole clip'})"
            for row in clip.iloc[[0, -1]].itertuples()) if len(clip) else ()  # fmt: skip
    ax.set_title(with_finding(title, "score of the clip from " + " to ".join(ends) if len(clip) else ""))
    ax.set_xlabel("segment length [s]")
    return _finish(ax, "uar", chance)


def inner_curve(search: pd.DataFrame, *, title: str) -> Axes:
    """UAR on the inner folds of training speakers against the penalty C, one line per kernel and space of features.

    Parameters
    ----------
    search : DataFrame
        `SVM.search_`: `whiten`, `kernel`, `C`, and `uar` as a fraction. The best choice is marked.
    """
    ax = axes_of(6.4, 3.2)
    groups = search.groupby(["kernel", "whiten"], sort=False)
    for ((kernel, whiten), part), (colour, line, marker) in zip(groups, CURVE_STYLES, strict=False):
        look = dict(color=colour, linestyle=line, marker=marker, markersize=4)
        ax.plot(part["C"], 100 * part["uar"], label=f"{kernel}, {'whitened' if whiten else 'standardised'}", **look)
    best = search.loc[search["uar"].idxmax()]
    look = dict(markersize=13, fillstyle="none", color=INK, linestyle="", label=f"chosen: C = {best['C']:g}")
    ax.plot(best["C"], 100 * best["uar"], "o", **look)
    chosen = f"{best['kernel']}, {'whitened' if best['whiten'] else 'standardised'}, C = {best['C']:g}"
    ax.set_title(with_finding(title, f"highest: {chosen}, {100 * best['uar']:.1f} %"))
    ax.set(xscale="log", xlabel="C (no unit)", ylabel="UAR on inner folds [%]")
    ax.grid(axis="y")
    mark_outside(ax)
    return ax
