"""Figures of scores as curves: against epochs, lengths, layers, hours, labels and settings.

As in `score_plots`: scores are fractions in the tables and percent in the figures, bands and lines are 95 % intervals
over speakers, chance is a dashed line; `title`, `ax`, `metric` and `chance` mean the same in all functions.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from ser_utils.plots.comparisons import draw_chance, metric_label, sample_of
from ser_utils.plots.style import INK, PAPER_GREY, axes_of, mark_outside

#: Colour, line style and marker of curves that are not emotions: systems, levels, conditions.
CURVE_STYLES = (
    ("#0072B2", "-", "o"),
    ("#D55E00", "--", "s"),
    ("#009E73", "-.", "^"),
    ("#CC79A7", ":", "D"),
    ("#E69F00", "-", "v"),
    ("#56B4E9", "--", "P"),
    ("#000000", "-.", "X"),
    ("#999999", ":", "d"),
)


def learning_curves(
    history: pd.DataFrame,
    *,
    measures: Sequence[str] = ("training", "validation"),
    label: str = "loss",
    title: str = "When does training stop helping new speakers?",
    ax: Axes | None = None,
) -> Axes:
    """Mean over folds and seeds of each measure by epoch, spread as a band, epochs kept as ticks below.

    Runs that stopped early keep their last value in the mean, so that the curve does not jump where runs end.

    Parameters
    ----------
    history : DataFrame
        One row an epoch of a run: `seed`, `fold`, `epoch` (from 1), a column for each measure, and `chosen`
        (bool: the epoch whose weights were kept) when there is one.
    measures : sequence of str
        Columns to draw.
    label : str
        Label of the y axis, with its unit.
    """
    ax = axes_of(ax, 7, 3.6)
    for measure, (colour, style, _) in zip(measures, CURVE_STYLES, strict=False):
        runs = history.pivot_table(index="epoch", columns=["seed", "fold"], values=measure).ffill()
        mean, spread = runs.mean(axis=1), runs.std(axis=1, ddof=0).fillna(0)
        ax.plot(runs.index, runs, color=colour, linewidth=0.5, alpha=0.25)
        ax.plot(mean.index, mean, color=colour, linestyle=style, linewidth=2.2, label=f"{measure}, mean")
        ax.fill_between(mean.index, mean - spread, mean + spread, color=colour, alpha=0.18, linewidth=0)
    if "chosen" in history:
        chosen = history.loc[history["chosen"].astype(bool), "epoch"]
        ax.plot(
            chosen,
            np.full(len(chosen), 0.02),
            "|",
            transform=ax.get_xaxis_transform(),
            color=INK,
            markersize=10,
            label="epoch kept (one run each)",
        )
        ax.axvline(chosen.median(), color=INK, linewidth=1, linestyle=":", label=f"median {chosen.median():.0f}")
    runs = history.groupby(["seed", "fold"]).ngroups
    ax.set(
        xlabel="epoch",
        ylabel=label,
        title=f"{title}\n{runs} run{'s' * (runs != 1)} (folds × seeds); band = one standard deviation",
    )
    ax.xaxis.get_major_locator().set_params(integer=True)
    ax.grid(axis="y")
    mark_outside(ax, ax.get_legend_handles_labels()[0])
    return ax


def _curves(table: pd.DataFrame, x: str, by: Sequence[str], ax: Axes, *, band: bool = True) -> None:
    """Draw `value` with `low` and `high` against column `x`, a curve for each combination of columns `by`."""
    by = [c for c in by if c in table and (table[c].nunique() > 1)]
    groups = table.groupby(by, sort=False) if by else [("", table)]
    for (key, part), (colour, style, marker) in zip(groups, CURVE_STYLES, strict=False):
        part = part.sort_values(x)
        name = ", ".join(map(str, key)) if isinstance(key, tuple) else str(key)
        ax.plot(
            part[x],
            100 * part["value"],
            color=colour,
            linestyle=style,
            marker=marker,
            markersize=5,
            label=name or None,
        )
        if {"low", "high"} <= set(part):
            low, high = 100 * part["low"].astype(float), 100 * part["high"].astype(float)
            if band:
                ax.fill_between(part[x].to_numpy(float), low, high, color=colour, alpha=0.15, linewidth=0)
            else:
                ax.vlines(part[x], low, high, color=colour, alpha=0.6, linewidth=1.5)


def _metric_rows(scores: pd.DataFrame, metric: str) -> pd.DataFrame:
    return scores[scores["metric"] == metric] if "metric" in scores else scores


def _finish_curve(ax: Axes, rows: pd.DataFrame, metric: str, chance: float | None, xlabel: str, title: str) -> Axes:
    draw_chance(ax, chance)
    ax.set(xlabel=xlabel, ylabel=metric_label(metric), title=f"{title}\n{sample_of(rows)}".rstrip())
    ax.grid(axis="y")
    handles = ax.get_legend_handles_labels()[0]
    if handles:
        mark_outside(ax, handles)
    return ax


def length_curve(
    scores: pd.DataFrame,
    metric: str = "uar",
    *,
    chance: float | None = None,
    title: str = "How long must a segment be?",
    ax: Axes | None = None,
) -> Axes:
    """Score against segment length (logarithmic), a curve for each system and level; the whole clip last.

    Parameters
    ----------
    scores : DataFrame
        Scores with a column `segment_seconds` [s]; NaN or None means the whole clip.
    """
    ax = axes_of(ax, 8, 3.8)
    rows = _metric_rows(scores, metric).copy()
    seconds = rows["segment_seconds"].astype(float)
    cut, whole = seconds[seconds.notna()], seconds.isna()
    place = 2 * (cut.max() if len(cut) else 1.0)  # the whole clip gets a place of its own, one octave further
    rows["length"] = seconds.fillna(place)
    _curves(rows[~whole], "length", ("system", "level"), ax)
    by = [c for c in ("system", "level") if c in rows and rows[c].nunique() > 1]
    keys = [k for k, _ in rows[~whole].groupby(by, sort=False)] if by else [None]
    for key, part in rows[whole].groupby(by, sort=False) if by else [(None, rows[whole])]:
        if len(part):
            colour, _, marker = CURVE_STYLES[(keys.index(key) if key in keys else len(keys)) % len(CURVE_STYLES)]
            across = place * (1.0 + 0.05 * (keys.index(key) if key in keys else len(keys)))
            ax.vlines(
                across,
                100 * part["low"].astype(float),
                100 * part["high"].astype(float),
                color=colour,
                linewidth=1.5,
            )
            ax.plot([across] * len(part), 100 * part["value"], marker, color=colour, markersize=6)
    ax.set_xscale("log")
    ticks = sorted(rows["length"].unique())
    ax.set_xticks(ticks, [f"{t:g}" if t in set(cut) else "whole\nclip" for t in ticks])
    ax.minorticks_off()
    if whole.any() and len(cut):
        ax.axvline(place / np.sqrt(2), color=PAPER_GREY, linewidth=0.8)
    return _finish_curve(ax, rows, metric, chance, "segment length [s]", title)


def seconds_heard(
    scores: pd.DataFrame,
    metric: str = "uar",
    *,
    chance: float | None = None,
    title: str = "How much of a clip must be heard?",
    ax: Axes | None = None,
) -> Axes:
    """Score against seconds heard from the clip's start, a curve for each system.

    Parameters
    ----------
    scores : DataFrame
        Columns `seconds` [s], `value`, `low`, `high`, optionally `system`, `metric`, `clips`, `speakers`.
    """
    ax = axes_of(ax, 7, 3.6)
    rows = _metric_rows(scores, metric)
    _curves(rows, "seconds", ("system",), ax)
    ax.set_xlim(left=0)
    return _finish_curve(ax, rows, metric, chance, "heard from the clip's start [s]", title)


def layer_curve(
    scores: pd.DataFrame,
    metric: str = "uar",
    *,
    chance: float | None = None,
    chosen: int | None = None,
    title: str = "Which layer knows the emotion?",
    ax: Axes | None = None,
) -> Axes:
    """Score against the encoder's layer (0 = input of the first transformer layer), a curve for each system.

    Parameters
    ----------
    scores : DataFrame
        Columns `layer`, `value`, `low`, `high`, optionally `system`, `metric`, `clips`, `speakers`.
    chosen : int, optional
        Layer in use, marked by a vertical line.
    """
    ax = axes_of(ax, 7, 3.6)
    rows = _metric_rows(scores, metric)
    _curves(rows, "layer", ("system",), ax)
    if chosen is not None:
        ax.axvline(chosen, color=PAPER_GREY, linewidth=1.2, linestyle=":", label=f"layer in use: {chosen}")
    ax.xaxis.get_major_locator().set_params(integer=True)
    return _finish_curve(ax, rows, metric, chance, "layer of the encoder (0 = before the transformer)", title)


def hours_heard(
    scores: pd.DataFrame,
    metric: str = "uar",
    *,
    chance: float | None = None,
    title: str = "What do more hours of unlabelled speech buy?",
    ax: Axes | None = None,
) -> Axes:
    """Score against hours of unlabelled speech heard in pre-training, a curve for each system.

    Parameters
    ----------
    scores : DataFrame
        Columns `hours` [h], `value`, `low`, `high`, optionally `system`, `metric`, `clips`, `speakers`.
    """
    ax = axes_of(ax, 7, 3.6)
    rows = _metric_rows(scores, metric)
    _curves(rows, "hours", ("system",), ax)
    positive = rows.loc[rows["hours"] > 0, "hours"]
    if len(positive):  # symmetric log: zero hours has a place, octaves are equally wide
        ax.set_xscale("symlog", linthresh=float(positive.min()), base=2)
        ticks = sorted(rows["hours"].unique())
        ax.set_xticks(ticks, [f"{t:.3g}" for t in ticks])
        ax.minorticks_off()
    return _finish_curve(ax, rows, metric, chance, "speech heard in pre-training [h] (0 = before it)", title)


def labels_curve(
    scores: pd.DataFrame,
    metric: str = "uar",
    *,
    share: str,
    chance: float | None = None,
    title: str = "How many labels does it take?",
    ax: Axes | None = None,
) -> Axes:
    """Score against the share of labels used in training (logarithmic), a curve for each system.

    Parameters
    ----------
    scores : DataFrame
        Columns `share` (above 0, up to 1), `value`, `low`, `high`, optionally `system`, `metric`, `clips`, `speakers`.
    share : str
        Of what it is the share, such as "training speakers".
    """
    ax = axes_of(ax, 6, 3.6)
    rows = _metric_rows(scores, metric)
    _curves(rows, "share", ("system",), ax)
    ax.set_xscale("log", base=2)
    ticks = sorted(rows["share"].unique())
    ax.set_xticks(ticks, [f"{100 * t:.3g} %" for t in ticks])
    ax.minorticks_off()
    return _finish_curve(ax, rows, metric, chance, f"share of the {share}", title)


def inner_curve(
    inner: pd.DataFrame,
    *,
    setting: str = "C",
    chosen: float | None = None,
    title: str = "Which setting do the training speakers choose?",
    ax: Axes | None = None,
) -> Axes:
    """Score of the inner, training-side folds against a setting on a logarithmic axis; mean and each fold.

    Parameters
    ----------
    inner : DataFrame
        One row a setting and inner fold: the column `setting`, and `score` as a fraction; a column `gamma` or
        another second setting gives a curve of its own when it varies.
    setting : str
        Column that runs along x.
    chosen : float, optional
        Value in use, marked by a vertical line.
    """
    ax = axes_of(ax, 6.4, 3.2)
    second = [c for c in inner if c not in (setting, "score", "fold") and inner[c].nunique() > 1]
    groups = inner.groupby(second[0]) if second else [("mean of inner folds", inner)]
    for (name, part), (colour, style, marker) in zip(groups, CURVE_STYLES, strict=False):
        mean = 100 * part.groupby(setting)["score"].mean()
        ax.plot(part[setting], 100 * part["score"], marker, color=colour, markersize=3, alpha=0.4)
        ax.plot(
            mean.index,
            mean,
            color=colour,
            linestyle=style,
            marker=marker,
            label=f"{second[0]} = {name}" if second else name,
        )
    if chosen is not None:
        ax.axvline(chosen, color=PAPER_GREY, linestyle=":", label=f"chosen: {setting} = {chosen:g}")
    ax.set(xscale="log", xlabel=f"{setting} (no unit)", ylabel="UAR on inner folds [%]", title=title)
    ax.grid(axis="y")
    mark_outside(ax, ax.get_legend_handles_labels()[0])
    return ax
