"""Figures of a corpus: what it holds, how it is dealt into folds, how emotions differ acoustically.

`title` and `ax` mean the same as in `plots`; so do colours, markers and hatches.
"""

from __future__ import annotations

from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from ser_utils.plots.style import (
    EMOTION_COLOURS,
    EMOTION_HATCHES,
    EMOTION_MARKERS,
    GENDER_GREYS,
    INK,
    PAPER_GREY,
    axes_of,
    corpus_size,
    emotion_handles,
    emotion_order,
    genders_of,
    mark_outside,
)


def emotion_counts(
    clips: pd.DataFrame, *, title: str = "How many clips does each emotion have?", ax: Axes | None = None
) -> Axes:
    """Stacked bars: clips by emotion, in the emotion's colour; a gender is a shade.

    Parameters
    ----------
    clips : DataFrame
        A clips table.
    """
    ax = axes_of(ax, 7, 3.4)
    names, gender = emotion_order(clips["emotion"]), genders_of(clips)
    shades = {"female": 1.0, "male": 0.55, "unknown": 0.25}
    shown = [g for g in shades if (gender == g).any()]
    base = np.zeros(len(names))
    for g in shown:
        counts = clips.loc[gender == g, "emotion"].value_counts().reindex(names, fill_value=0).to_numpy()
        bars = ax.bar(
            names,
            counts,
            bottom=base,
            alpha=shades[g],
            edgecolor=INK,
            linewidth=0.6,
            color=[EMOTION_COLOURS[n] for n in names],
            label=g,
        )
        for bar, name in zip(bars, names, strict=True):
            bar.set_hatch(EMOTION_HATCHES[name])
        base += counts
    for x, total in enumerate(base):
        ax.annotate(
            f"{total:.0f}\n{total / len(clips):.0%}",
            (x, total),
            (0, 2),
            textcoords="offset points",
            ha="center",
            va="bottom",
            fontsize=8.5,
        )
    ax.set(title=f"{title}\n{corpus_size(clips)}", ylabel="clips", ylim=(0, base.max() * 1.22))
    if len(shown) > 1:
        mark_outside(ax, [Patch(facecolor=INK, alpha=shades[g], edgecolor=INK, label=g) for g in shown], "gender")
    return ax


def clips_per_speaker(clips: pd.DataFrame, *, title: str = "Who speaks how often?", ax: Axes | None = None) -> Axes:
    """Stacked bars: each speaker's clips by emotion, most heard speaker first.

    Parameters
    ----------
    clips : DataFrame
        A clips table.
    """
    ax = axes_of(ax, 8, 3.4)
    names = emotion_order(clips["emotion"])
    counts = pd.crosstab(clips["speaker"], clips["emotion"])[names]
    counts = counts.loc[counts.sum(axis=1).sort_values(ascending=False, kind="stable").index]
    base = np.zeros(len(counts))
    for name in names:
        ax.bar(
            np.arange(len(counts)),
            counts[name],
            bottom=base,
            width=0.86,
            color=EMOTION_COLOURS[name],
            hatch=EMOTION_HATCHES[name],
            edgecolor="white" if name not in ("disgust",) else INK,
            linewidth=0.3,
        )
        base += counts[name].to_numpy()
    every = int(np.ceil(len(counts) / 30))
    ax.set_xticks(np.arange(0, len(counts), every), counts.index[::every], rotation=90 if len(counts) > 14 else 0)
    ax.set(
        title=f"{title}\n{corpus_size(clips)}",
        ylabel="clips",
        xlim=(-0.7, len(counts) - 0.3),
        xlabel="speaker" + (f" (1 in {every} is named)" if every > 1 else ""),
    )
    mark_outside(ax, emotion_handles(names, bars=True), "emotion")
    return ax


def fold_map(
    clips: pd.DataFrame,
    folds: pd.Series,
    *,
    title: str = "Who is tested in which fold?",
    ax: Axes | None = None,
) -> Axes:
    """Draw which speakers are tested in which fold: a row a fold, a cell a speaker, with the number of clips.

    Parameters
    ----------
    clips : DataFrame
        A clips table.
    folds : Series
        Fold of each clip, indexed by `clip`.
    """
    fold = clips["clip"].map(folds)
    counts = pd.crosstab(fold, clips["speaker"])
    # speakers in the order in which their folds test them, so that fair folds show a staircase
    counts = counts[counts.idxmax().sort_values(kind="stable").index]
    ax = axes_of(ax, 8, 1.4 + 0.24 * len(counts))
    shown = counts.to_numpy(float)
    ax.pcolormesh(
        np.where(shown > 0, shown, np.nan),
        cmap="Greys",
        vmin=0,
        vmax=3 * shown.max(),
        edgecolors="white",
        linewidth=1,
    )
    if counts.shape[1] <= 30:
        for (i, j), n in np.ndenumerate(shown):
            if n:
                ax.text(j + 0.5, i + 0.5, f"{n:.0f}", ha="center", va="center", fontsize=8)
    every = int(np.ceil(counts.shape[1] / 30))
    ax.set_xticks(
        np.arange(0, counts.shape[1], every) + 0.5,
        counts.columns[::every],
        rotation=90 if counts.shape[1] > 14 else 0,
    )
    ax.set_yticks(np.arange(len(counts)) + 0.5, counts.index)
    ax.invert_yaxis()
    ax.tick_params(length=0)
    ax.set(
        xlabel="speaker" + (f" (1 in {every} is named)" if every > 1 else "; a cell gives their clips"),
        ylabel="test fold",
        title=f"{title}\n{corpus_size(clips)}",
    )
    return ax


def durations(clips: pd.DataFrame, *, title: str = "How long are the clips?") -> Figure:
    """Histogram of durations (left) and boxes by emotion (right), both in seconds on a logarithmic axis.

    Boxes span the quartiles, whiskers the 5th to the 95th percentile.

    Parameters
    ----------
    clips : DataFrame
        A clips table.
    """
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.4), layout="constrained")
    seconds = clips["duration"].to_numpy(float)
    low, high = max(seconds.min(), 1e-2), seconds.max()
    left.hist(seconds, bins=np.geomspace(low * 0.98, high * 1.02, 40), color=PAPER_GREY)
    for value, name in ((np.median(seconds), "median"), (seconds.mean(), "mean")):
        left.axvline(value, color=INK, linestyle="-" if name == "median" else ":", label=f"{name} {value:.2f} s")
    left.legend(loc="upper right")
    left.set(ylabel="clips", title=corpus_size(clips))
    left.set_ylim(top=left.get_ylim()[1] * 1.25)
    names = emotion_order(clips["emotion"])
    emotion_boxes(clips, "duration", ax=right, vertical=False, points=False)
    right.set(title="by emotion", ylabel="")
    for ax in (left, right):
        ax.set(xscale="log", xlabel="duration [s]")
        ticks = [t for t in (0.1, 0.25, 0.5, 1, 2, 3, 4, 6, 8, 12, 16, 24, 32) if low * 0.8 <= t <= high * 1.2]
        ax.set_xticks(ticks, [f"{t:g}" for t in ticks])
        ax.minorticks_off()
    right.set_yticks(range(1, len(names) + 1), names)
    figure.suptitle(title, x=0.01, ha="left")
    return figure


def emotion_boxes(
    table: pd.DataFrame,
    value: str,
    *,
    label: str | None = None,
    vertical: bool = True,
    points: bool = True,
    title: str = "",
    ax: Axes | None = None,
) -> Axes:
    """Box and points of one measure for each emotion; whiskers reach the 5th and the 95th percentile.

    Parameters
    ----------
    table : DataFrame
        One row a clip, with `emotion` and the column `value`; rows without a value are left out.
    value : str
        Column to draw.
    label : str, optional
        Axis label with its unit; the column's name when left out.
    vertical : bool
        Boxes stand (emotions along x) or lie (emotions along y).
    points : bool
        Draw at most 150 clips an emotion beside the box.
    """
    ax = axes_of(ax, 6, 3.2)
    names = emotion_order(table["emotion"])
    groups = [table.loc[table["emotion"] == n, value].dropna().to_numpy(float) for n in names]
    boxes = ax.boxplot(
        groups,
        orientation="vertical" if vertical else "horizontal",
        whis=(5, 95),
        widths=0.55,
        showfliers=False,
        patch_artist=True,
        medianprops={"color": INK, "linewidth": 1.6},
    )
    for patch, name in zip(boxes["boxes"], names, strict=True):
        patch.set(
            facecolor=(*plt.matplotlib.colors.to_rgb(EMOTION_COLOURS[name]), 0.55),
            edgecolor=INK,
            linewidth=0.7,
            hatch=EMOTION_HATCHES[name],
        )
    if points:
        rng = np.random.default_rng(0)  # jitter only; the values are drawn as they are
        for i, (name, group) in enumerate(zip(names, groups, strict=True), start=1):
            kept = rng.choice(group, min(len(group), 150), replace=False)
            across = i + rng.uniform(-0.2, 0.2, len(kept))
            ax.scatter(
                *((across, kept) if vertical else (kept, across)),
                s=4,
                color=EMOTION_COLOURS[name],
                alpha=0.45,
                linewidths=0,
                zorder=0.5,
            )
    if vertical:
        ax.set_xticks(range(1, len(names) + 1), names, rotation=30 if len(names) > 4 else 0)
        ax.set_ylabel(label or value)
    else:
        ax.set_yticks(range(1, len(names) + 1), names)
        ax.set_xlabel(label or value)
        ax.invert_yaxis()
    ax.set_title(title)
    return ax


def acoustics_by_emotion(
    table: pd.DataFrame, measures: Mapping[str, str], *, title: str = "", columns: int = 3
) -> Figure:
    """Boxes by emotion, one panel a measure; a line at zero, which is the speaker's mean in centred values.

    Parameters
    ----------
    table : DataFrame
        One row a clip: `emotion`, `speaker` and a column for each measure.
    measures : mapping of str to str
        Column → axis label with unit.
    columns : int
        Panels in a row.
    """
    columns = min(columns, len(measures))
    rows = -(-len(measures) // columns)
    figure, axes = plt.subplots(rows, columns, figsize=(3.3 * columns, 2.9 * rows), squeeze=False, layout="constrained")
    for ax, (column, label) in zip(axes.flat, measures.items(), strict=False):
        emotion_boxes(table, column, label=label, ax=ax)
        ax.tick_params(axis="x", labelrotation=40)
        plt.setp(ax.get_xticklabels(), ha="right", rotation_mode="anchor")
        low, high = np.nanpercentile(table[column].to_numpy(float), [0.5, 99.5])
        ax.set_ylim(low - 0.05 * (high - low), high + 0.05 * (high - low))
        if low < 0 < high:
            ax.axhline(0, color=INK, linewidth=0.8, linestyle=":")
    for ax in list(axes.flat)[len(measures) :]:
        ax.set_visible(False)
    figure.suptitle(f"{title}\n{corpus_size(table)}", x=0.01, ha="left")
    return figure


def effect_sizes(
    effects: pd.DataFrame,
    *,
    label: str = "variance explained by emotion, η² [%]",
    title: str = "",
    scale: float = 100.0,
    ax: Axes | None = None,
) -> Axes:
    """Dots with intervals: how much each measure differs between emotions, largest first.

    Parameters
    ----------
    effects : DataFrame
        Columns `measure`, `value`, and `low`, `high` (95 % interval), for instance from
        `acoustics.effect_sizes`; a column `bias` (what shuffled labels give) is drawn as a tick.
    label : str
        Axis label.
    scale : float
        Factor on the values: 100 for percent.
    """
    ax = axes_of(ax, 8, 0.9 + 0.3 * len(effects))
    rows = effects.sort_values("value").reset_index(drop=True)
    y = np.arange(len(rows))
    values = rows[["low", "value", "high"]].to_numpy(float) * scale
    ax.hlines(y, values[:, 0], values[:, 2], color=INK, linewidth=1.5)
    ax.plot(values[:, 1], y, "o", color=INK, label="measured, with 95 %\ninterval over speakers")
    if "bias" in rows:
        ax.plot(
            rows["bias"] * scale,
            y,
            "|",
            color="#D55E00",
            markersize=11,
            markeredgewidth=2,
            label="emotion labels\nshuffled",
        )
    ax.set_yticks(y, rows["measure"])
    ax.set_ylim(-0.6, len(rows) - 0.4)
    ax.set(xlabel=label, title=title, xlim=(min(0, values.min()), None))
    ax.grid(axis="x")
    mark_outside(ax, ax.get_legend_handles_labels()[0])
    return ax


def contrast_map(
    contrasts: pd.DataFrame,
    *,
    title: str = "How does each emotion differ from the others?",
    label: str = "difference [standard deviations]",
    ax: Axes | None = None,
) -> Axes:
    """Draw a matrix of signed differences, blue below and red above zero, each with its value.

    Parameters
    ----------
    contrasts : DataFrame, shape (emotions, measures)
        For instance from `acoustics.contrasts`; index = emotion, columns = measure.
    label : str
        What the colours mean, with its unit.
    """
    values = contrasts.to_numpy(float)
    ax = axes_of(ax, 2.4 + 0.95 * values.shape[1], 1.5 + 0.36 * values.shape[0])
    reach = max(1.0, np.nanmax(np.abs(values)))
    image = ax.imshow(values, cmap="RdBu_r", vmin=-reach, vmax=reach)
    for (i, j), value in np.ndenumerate(values):
        shade = "white" if abs(value) > 0.6 * reach else INK
        ax.text(j, i, f"{round(value, 1) + 0.0:+.1f}", ha="center", va="center", fontsize=8.5, color=shade)
    ax.set_xticks(range(values.shape[1]), contrasts.columns, rotation=30, ha="right", rotation_mode="anchor")
    ax.set_yticks(range(values.shape[0]), contrasts.index)
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    ax.figure.colorbar(image, ax=ax, label=label, pad=0.02)
    ax.set_title(title)
    return ax


def embedding_scatter(
    embedding: pd.DataFrame, *, colour: str = "emotion", title: str = "", ax: Axes | None = None
) -> Axes:
    """Scatter of a two-dimensional map, coloured by `emotion`, `speaker`, `gender` or another column.

    Parameters
    ----------
    embedding : DataFrame
        One row a piece: `x`, `y` (no unit) and the column `colour`.
    colour : str
        Column that gives the colours.
    """
    ax = axes_of(ax, 5, 4)
    size = np.clip(9000 / max(len(embedding), 1), 5, 30)
    if colour == "emotion":
        names = emotion_order(embedding["emotion"])
        order = np.random.default_rng(0).permutation(len(embedding))  # no emotion lies on top of all others
        rows = embedding.iloc[order]
        for name in names:
            part = rows[rows["emotion"] == name]
            ax.scatter(
                part["x"],
                part["y"],
                s=size,
                marker=EMOTION_MARKERS[name],
                alpha=0.7,
                color=EMOTION_COLOURS[name],
                linewidths=0,
                zorder=2,
            )
        mark_outside(ax, emotion_handles(names), "emotion")
    else:
        values = genders_of(embedding) if colour == "gender" else embedding[colour].astype(str)
        names = sorted(values.unique())
        colours = (
            [GENDER_GREYS.get(n, INK) for n in names]
            if colour == "gender"
            else plt.get_cmap("turbo")(np.linspace(0.04, 0.96, len(names)))
        )
        for name, rgb, marker in zip(names, colours, ("osD^vPX<>p" * (len(names) // 10 + 1)), strict=False):
            part = embedding[(values == name).to_numpy()]
            ax.scatter(part["x"], part["y"], s=size, marker=marker, color=rgb, alpha=0.75, linewidths=0, label=name)
        if len(names) <= 24:
            ax.legend(
                title=colour,
                loc="upper left",
                bbox_to_anchor=(1.01, 1.0),
                borderaxespad=0,
                ncols=1 if len(names) <= 12 else 2,
                handletextpad=0.2,
                markerscale=1.6,
                columnspacing=0.6,
            )
        else:
            ax.text(0.01, 0.01, f"{len(names)} {colour}s", transform=ax.transAxes)
    ax.set(xticks=[], yticks=[], xlabel="map, first axis (no unit)", ylabel="second axis", title=title)
    return ax
