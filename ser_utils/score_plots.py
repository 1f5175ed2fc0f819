"""Figures of scores: one function a figure, tables in, matplotlib objects out.

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

from ser_utils.plots import INK, PAPER_GREY, _axes, _mark_outside

#: What a metric is called on an axis.
METRIC_NAMES = {"uar": "UAR", "wa": "WA (accuracy)", "macro_f1": "macro-F1"}
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


def metric_label(metric: str) -> str:
    """Name a metric for an axis, in percent: `"UAR [%]"`, `"recall of anger [%]"`."""
    name = METRIC_NAMES.get(metric) or metric.replace("recall_", "recall of ").replace("_", " ")
    return f"{name} [%]"


def _sample(scores: pd.DataFrame) -> str:
    """Say how many clips and speakers stand behind scores; a range where rows differ."""
    parts = []
    for column in ("clips", "speakers"):
        if column in scores and scores[column].notna().any():
            low, high = int(scores[column].min()), int(scores[column].max())
            parts.append(f"{low} {column}" if low == high else f"{low} to {high} {column}")
    return " · ".join(parts)


def _chance(ax: Axes, chance: float | None, *, vertical: bool = False) -> None:
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


def scores_plot(
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
    ax = _axes(ax, 7, 1.3 + 0.36 * len(rows))
    y = np.arange(len(rows))
    low, value, high = (100 * rows[["low", "value", "high"]].to_numpy(float)).T
    ax.hlines(y, low, high, color=INK, linewidth=2)
    ax.plot(value, y, "o", color=INK, markersize=7)
    for yi, v, h in zip(y, value, np.fmax(value, high), strict=True):
        ax.annotate(f"{v:.1f}", (h, yi), (6, 0), textcoords="offset points", va="center", fontsize=8.5)
    _chance(ax, chance, vertical=True)
    ax.set_yticks(y, rows["system"])
    ax.set_ylim(len(rows) - 0.5, -0.5)
    ax.set(
        xlabel=f"{metric_label(metric)}, {level} level; 95 % interval over speakers",
        title=f"{title}\n{_sample(rows)}".rstrip(),
    )
    ax.set_xlim(right=min(106, ax.get_xlim()[1] + 0.06 * np.ptp(ax.get_xlim())))
    ax.grid(axis="x")
    if chance is not None:
        ax.legend(loc="lower right")
    return ax


def _interval_rows(table: pd.DataFrame, names: str, value: str, xlabel: str, title: str, ax: Axes | None) -> Axes:
    """Horizontal dots with intervals around a zero line; filled where the interval excludes zero."""
    ax = _axes(ax, 7, 1.3 + 0.36 * len(table))
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


def differences_plot(
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


def mistakes_plot(
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
    ax = _axes(ax, 8, 1.2 + 0.42 * len(rows))
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
    ax = _axes(ax, 7, 3.6)
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
    _mark_outside(ax, ax.get_legend_handles_labels()[0])
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
    _chance(ax, chance)
    ax.set(xlabel=xlabel, ylabel=metric_label(metric), title=f"{title}\n{_sample(rows)}".rstrip())
    ax.grid(axis="y")
    handles = ax.get_legend_handles_labels()[0]
    if handles:
        _mark_outside(ax, handles)
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
    ax = _axes(ax, 8, 3.8)
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
    ax = _axes(ax, 7, 3.6)
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
    ax = _axes(ax, 7, 3.6)
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
    ax = _axes(ax, 7, 3.6)
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
    ax = _axes(ax, 6, 3.6)
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
    ax = _axes(ax, 6.4, 3.2)
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
    _mark_outside(ax, ax.get_legend_handles_labels()[0])
    return ax


def published_plot(published: pd.DataFrame, own: pd.DataFrame, *, label: str, most: int = 16) -> Figure:
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
