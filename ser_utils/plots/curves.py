"""Figures of scores as curves: against epochs, lengths, layers, hours, labels and settings.

As in `comparisons`: scores are fractions in the tables and percent in the figures, bands and lines are 95 % intervals
over speakers, chance is a dashed line; `title`, `ax`, `metric` and `chance` mean the same in all functions. The table
of scores of a curve has columns `value`, `low`, `high`, and optionally `system`, `metric`, `clips`, `speakers`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from ser_utils.plots.comparisons import draw_chance, metric_name, sample_of
from ser_utils.plots.style import CURVE_STYLES, INK, PAPER_GREY, axes_of, display_name, mark_outside


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
        One row per epoch of a run: `seed`, `fold`, `epoch` (from 1), one column per measure, and `chosen`
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
        look = dict(color=INK, markersize=10, label="epoch kept (one run each)")
        ax.plot(chosen, np.full(len(chosen), 0.02), "|", transform=ax.get_xaxis_transform(), **look)
        ax.axvline(chosen.median(), color=INK, linewidth=1, linestyle=":", label=f"median {chosen.median():.0f}")
    runs = history.groupby(["seed", "fold"]).ngroups
    size = f"{runs} run{'s' * (runs != 1)} (folds × seeds); band = one standard deviation"
    ax.set(xlabel="epoch", ylabel=label, title=f"{title}\n{size}")
    ax.xaxis.get_major_locator().set_params(integer=True)
    ax.grid(axis="y")
    mark_outside(ax)
    return ax


def _groups(table: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    """Rows of each system and level, named by whichever of the two varies."""
    by = [c for c in ("system", "level") if c in table and table[c].nunique() > 1]
    groups = table.groupby(by, sort=False) if by else [((), table)]
    return [(", ".join(display_name(str(part)) for part in key), rows) for key, rows in groups]


def _curves(groups: list[tuple[str, pd.DataFrame]], x: str, ax: Axes) -> None:
    """Draw `value` with a band from `low` to `high` against column `x`, one curve per group."""
    for (name, part), (colour, style, marker) in zip(groups, CURVE_STYLES, strict=False):
        part = part.sort_values(x)
        look = dict(color=colour, linestyle=style, marker=marker, markersize=5)
        ax.plot(part[x], 100 * part["value"], label=name or None, **look)
        if {"low", "high"} <= set(part):
            low, high = 100 * part["low"].astype(float), 100 * part["high"].astype(float)
            ax.fill_between(part[x].to_numpy(float), low, high, color=colour, alpha=0.15, linewidth=0)


def _curve(scores: pd.DataFrame, metric: str, x: str, ax: Axes | None, width: float = 7) -> tuple[Axes, pd.DataFrame]:
    """Draw the curves of one metric against column `x`; returns the axes and the rows drawn."""
    rows = _metric_rows(scores, metric)
    ax = axes_of(ax, width, 3.6)
    _curves(_groups(rows), x, ax)
    return ax, rows


def _metric_rows(scores: pd.DataFrame, metric: str) -> pd.DataFrame:
    return scores[scores["metric"] == metric] if "metric" in scores else scores


def _finish(ax: Axes, rows: pd.DataFrame, metric: str, chance: float | None, xlabel: str, title: str) -> Axes:
    draw_chance(ax, chance)
    title = f"{title}\n{sample_of(rows)}".rstrip()
    ax.set(xlabel=xlabel, ylabel=f"{metric_name(metric)} [%]", title=title)
    ax.grid(axis="y")
    if ax.get_legend_handles_labels()[0]:
        mark_outside(ax)
    return ax


def length_curve(
    scores: pd.DataFrame,
    metric: str = "uar",
    *,
    chance: float | None = None,
    title: str = "How long must a segment be?",
    ax: Axes | None = None,
) -> Axes:
    """Score against segment length (logarithmic), one curve per system and level; the whole clip last.

    Parameters
    ----------
    scores : DataFrame
        Scores with a column `segment_seconds` [s]; NaN or None means the whole clip.
    """
    ax = axes_of(ax, 8, 3.8)
    rows = _metric_rows(scores, metric).copy()
    seconds = rows["segment_seconds"].astype(float)
    cut, whole = seconds.dropna(), seconds.isna()
    place = 2 * (cut.max() if len(cut) else 1.0)  # the whole clip gets a place of its own, one octave further
    rows["length"] = seconds.fillna(place)
    groups = _groups(rows)
    _curves([(name, part[part["segment_seconds"].notna()]) for name, part in groups], "length", ax)
    for i, ((_, part), (colour, _, marker)) in enumerate(zip(groups, CURVE_STYLES, strict=False)):
        part = part[part["segment_seconds"].isna()]
        across = [place * (1 + 0.05 * i)] * len(part)  # side by side
        ax.vlines(across, *(100 * part[c].astype(float) for c in ("low", "high")), color=colour, linewidth=1.5)
        ax.plot(across, 100 * part["value"], marker, color=colour, markersize=6)
    ax.set_xscale("log")
    ticks = sorted(rows["length"].unique())
    ax.set_xticks(ticks, [f"{t:g}" if t in set(cut) else "whole\nclip" for t in ticks])
    ax.minorticks_off()
    if whole.any() and len(cut):
        ax.axvline(place / np.sqrt(2), color=PAPER_GREY, linewidth=0.8)
    return _finish(ax, rows, metric, chance, "segment length [s]", title)


def seconds_heard(
    scores: pd.DataFrame,
    metric: str = "uar",
    *,
    chance: float | None = None,
    title: str = "How much of a clip is needed?",
    ax: Axes | None = None,
) -> Axes:
    """Score against seconds used from the clip's start, one curve per system.

    Parameters
    ----------
    scores : DataFrame
        Scores with a column `seconds` [s].
    """
    ax, rows = _curve(scores, metric, "seconds", ax)
    ax.set_xlim(left=0)
    return _finish(ax, rows, metric, chance, "used from the clip's start [s]", title)


def layer_curve(
    scores: pd.DataFrame,
    metric: str = "uar",
    *,
    chance: float | None = None,
    chosen: int | None = None,
    title: str = "Which layer encodes the emotion best?",
    ax: Axes | None = None,
) -> Axes:
    """Score against the encoder's layer (0 = input of the first transformer layer), one curve per system.

    Parameters
    ----------
    scores : DataFrame
        Scores with a column `layer`.
    chosen : int, optional
        Layer in use, marked by a vertical line.
    """
    ax, rows = _curve(scores, metric, "layer", ax)
    if chosen is not None:
        ax.axvline(chosen, color=PAPER_GREY, linewidth=1.2, linestyle=":", label=f"layer in use: {chosen}")
    ax.xaxis.get_major_locator().set_params(integer=True)
    return _finish(ax, rows, metric, chance, "layer of the encoder (0 = before the transformer)", title)


def hours_heard(
    scores: pd.DataFrame,
    metric: str = "uar",
    *,
    chance: float | None = None,
    title: str = "What do more hours of unlabelled speech add?",
    ax: Axes | None = None,
) -> Axes:
    """Score against hours of unlabelled speech in pre-training, one curve per system.

    Parameters
    ----------
    scores : DataFrame
        Scores with a column `hours` [h].
    """
    ax, rows = _curve(scores, metric, "hours", ax)
    positive = rows.loc[rows["hours"] > 0, "hours"]
    if len(positive):  # symmetric log: zero hours has a place, octaves are equally wide
        ax.set_xscale("symlog", linthresh=float(positive.min()), base=2)
        ticks = sorted(rows["hours"].unique())
        ax.set_xticks(ticks, [f"{t:.3g}" for t in ticks])
        ax.minorticks_off()
    return _finish(ax, rows, metric, chance, "speech in pre-training [h] (0 = before it)", title)


def labels_curve(
    scores: pd.DataFrame,
    metric: str = "uar",
    *,
    share: str,
    chance: float | None = None,
    title: str = "How many labels are needed?",
    ax: Axes | None = None,
) -> Axes:
    """Score against the share of labels used in training (logarithmic), one curve per system.

    Parameters
    ----------
    scores : DataFrame
        Scores with a column `share` (above 0, up to 1).
    share : str
        What it is the share of, such as "training speakers".
    """
    ax, rows = _curve(scores, metric, "share", ax, width=6)
    ax.set_xscale("log", base=2)
    ticks = sorted(rows["share"].unique())
    ax.set_xticks(ticks, [f"{100 * t:.3g} %" for t in ticks])
    ax.minorticks_off()
    return _finish(ax, rows, metric, chance, f"share of the {share}", title)


def inner_curve(
    inner: pd.DataFrame,
    *,
    setting: str = "C",
    chosen: float | None = None,
    title: str = "Which setting do the training speakers choose?",
    ax: Axes | None = None,
) -> Axes:
    """Score of the inner folds of training speakers against a setting on a logarithmic axis; mean and each fold.

    Parameters
    ----------
    inner : DataFrame
        One row per setting and inner fold: the column `setting`, and `score` as a fraction; a second setting that
        varies, such as `gamma`, gives curves of its own.
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
        label = f"{second[0]} = {name}" if second else name
        ax.plot(part[setting], 100 * part["score"], marker, color=colour, markersize=3, alpha=0.4)
        ax.plot(mean.index, mean, color=colour, linestyle=style, marker=marker, label=label)
    if chosen is not None:
        ax.axvline(chosen, color=PAPER_GREY, linestyle=":", label=f"chosen: {setting} = {chosen:g}")
    ax.set(xscale="log", xlabel=f"{setting} (no unit)", ylabel="UAR on inner folds [%]", title=title)
    ax.grid(axis="y")
    mark_outside(ax, ax.get_legend_handles_labels()[0])
    return ax

