"""Figures of a corpus: its contents, its folds, and how emotions differ acoustically.

`clips` is a clips table in all functions; other parameters are those of `style`.
"""

from __future__ import annotations

from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from ser_utils.plots.style import (
    EMOTION_COLOURS,
    EMOTION_HATCHES,
    EMOTION_MARKERS,
    INK,
    PAPER_GREY,
    VERMILION,
    axes_of,
    emotion_order,
    genders_of,
    mark_outside,
    panel_grid,
    shaded_table,
    title_figure,
    with_finding,
)

_MOST_NAMES = 30  # speakers named along an axis; of more, every second, third, …


def emotion_counts(clips: pd.DataFrame) -> Axes:
    """Stacked bars: clips by emotion, in the emotion's colour; gender is shown by shade."""
    ax = axes_of(7, 3.4)
    names, gender = emotion_order(clips["emotion"]), genders_of(clips)
    shades = {"female": 1.0, "male": 0.55, "unknown": 0.25}
    shown = [g for g in shades if (gender == g).any()]
    look = dict(color=[EMOTION_COLOURS[n] for n in names], hatch=[EMOTION_HATCHES[n] for n in names])
    look |= dict(edgecolor=INK, linewidth=0.6)
    base = np.zeros(len(names))
    for g in shown:
        counts = clips.loc[gender == g, "emotion"].value_counts().reindex(names, fill_value=0).to_numpy()
        ax.bar(names, counts, bottom=base, alpha=shades[g], **look)
        base += counts
    above = dict(textcoords="offset points", ha="center", va="bottom", fontsize=8.5)
    for x, total in enumerate(base):
        ax.annotate(f"{total:.0f}\n{total / len(clips):.0%}", (x, total), (0, 2), **above)
    few, many = (f"{names[i]} {base[i] / len(clips):.0%}" for i in (base.argmin(), base.argmax()))
    ax.set_title(f"How many clips does each emotion have?\nfewest: {few}; most: {many}")
    ax.set(ylabel="clips", ylim=(0, base.max() * 1.22))
    if len(shown) > 1:
        mark_outside(ax, [Patch(facecolor=INK, alpha=shades[g], edgecolor=INK, label=g) for g in shown], "gender")
    return ax


def clips_per_speaker(clips: pd.DataFrame) -> Axes:
    """Stacked bars: each speaker's clips by emotion, most frequent speaker first."""
    ax = axes_of(8, 3.4)
    names = emotion_order(clips["emotion"])
    counts = pd.crosstab(clips["speaker"], clips["emotion"])[names]
    counts = counts.loc[counts.sum(axis=1).sort_values(ascending=False, kind="stable").index]
    base, x = np.zeros(len(counts)), np.arange(len(counts))
    for name in names:
        look = dict(color=EMOTION_COLOURS[name], hatch=EMOTION_HATCHES[name], linewidth=0.3)
        edge = INK if name == "disgust" else "white"
        ax.bar(x, counts[name], bottom=base, width=0.86, edgecolor=edge, label=name, **look)
        base += counts[name].to_numpy()
    every = _name_speakers(ax, x, counts.index)
    span = f"{base.min():.0f}" + (f" to {base.max():.0f}" if base.min() < base.max() else "")
    ax.set_title(f"Who speaks how often?\n{span} clips per speaker")
    ax.set(ylabel="clips", xlim=(-0.7, len(counts) - 0.3))
    ax.set_xlabel("speaker" + (f" (1 in {every} is named)" if every > 1 else ""))
    mark_outside(ax, title="emotion")
    return ax


def _name_speakers(ax: Axes, places: np.ndarray, names: pd.Index) -> int:
    """Name speakers along the x axis, one in so many, and return how many."""
    every = -(-len(names) // _MOST_NAMES)
    ax.set_xticks(places[::every], names[::every], rotation=90 if len(names) > 14 else 0)
    return every


def fold_map(clips: pd.DataFrame, folds: pd.Series) -> Axes:
    """Draw which speakers are tested in which fold: one row per fold, one column per speaker, clips in the cells.

    Parameters
    ----------
    folds : Series
        Fold of each clip, indexed by `clip`.
    """
    counts = pd.crosstab(clips["clip"].map(folds), clips["speaker"])
    # Speakers in the order in which their folds test them, so that valid folds show a staircase.
    counts = counts[counts.idxmax().sort_values(kind="stable").index]
    ax = axes_of(8, 1.4 + 0.24 * len(counts))
    shown = counts.to_numpy(float)
    look = dict(cmap="Greys", vmin=0, vmax=3 * shown.max(), edgecolors="white", linewidth=1)
    ax.pcolormesh(np.where(shown > 0, shown, np.nan), **look)
    if counts.shape[1] <= _MOST_NAMES:
        for i, j in np.argwhere(shown):
            ax.text(j + 0.5, i + 0.5, f"{shown[i, j]:.0f}", ha="center", va="center", fontsize=8)
    every = _name_speakers(ax, np.arange(counts.shape[1]) + 0.5, counts.columns)
    ax.set_yticks(np.arange(len(counts)) + 0.5, counts.index)
    ax.invert_yaxis()
    ax.tick_params(length=0)
    low, high = counts.sum(axis=1).agg(["min", "max"])
    ax.set(ylabel="test fold", title=f"Who is tested in which fold?\n{len(counts)} folds of {low} to {high} clips")
    ax.set_xlabel("speaker" + (f" (1 in {every} is named)" if every > 1 else "; cells: number of clips"))
    return ax


def durations(clips: pd.DataFrame) -> Figure:
    """Histogram of durations (left) and boxes by emotion (right), both in seconds on a logarithmic axis."""
    figure, (left, right) = panel_grid(2, 2, 4.5, 3.4)
    seconds = clips["duration"].to_numpy(float)
    low, high = max(seconds.min(), 1e-2), seconds.max()
    left.hist(seconds, bins=np.geomspace(low * 0.98, high * 1.02, 40), color=PAPER_GREY)
    for value, name, style in ((np.median(seconds), "median", "-"), (seconds.mean(), "mean", ":")):
        left.axvline(value, color=INK, linestyle=style, label=f"{name} {value:.2f} s")
    left.legend(loc="upper right")
    quarter, three_quarters = np.quantile(seconds, [0.25, 0.75])
    left.set(ylabel="clips", title=f"half of them last {quarter:.1f} to {three_quarters:.1f} s")
    left.set_ylim(top=left.get_ylim()[1] * 1.25)
    names = emotion_order(clips["emotion"])
    _boxes(right, clips, "duration", orientation="horizontal")
    right.set_yticks(range(1, len(names) + 1), names)
    right.invert_yaxis()
    medians = clips.groupby("emotion")["duration"].median()
    ends = (f"{name} {medians[name]:.1f} s" for name in (medians.idxmin(), medians.idxmax()))
    right.set(title="medians from " + " to ".join(ends))
    for ax in (left, right):
        ax.set(xscale="log", xlabel="duration [s]")
        ticks = [t for t in (0.1, 0.25, 0.5, 1, 2, 3, 4, 6, 8, 12, 16, 24, 32) if low * 0.8 <= t <= high * 1.2]
        ax.set_xticks(ticks, [f"{t:g}" for t in ticks])
        ax.minorticks_off()
    title_figure(figure, "How long are the clips?")
    return figure


def _boxes(ax: Axes, table: pd.DataFrame, value: str, orientation: str = "vertical") -> dict[str, np.ndarray]:
    """Draw a box of column `value` for each emotion, whiskers from the 5th to the 95th percentile; give the values."""
    names = emotion_order(table["emotion"])
    groups = {n: table.loc[table["emotion"] == n, value].dropna().to_numpy(float) for n in names}
    look = dict(whis=(5, 95), widths=0.55, showfliers=False, patch_artist=True)
    median = {"color": INK, "linewidth": 1.6}
    boxes = ax.boxplot(list(groups.values()), orientation=orientation, medianprops=median, **look)
    for box, name in zip(boxes["boxes"], names, strict=True):
        face = (*to_rgb(EMOTION_COLOURS[name]), 0.55)
        box.set(facecolor=face, edgecolor=INK, linewidth=0.7, hatch=EMOTION_HATCHES[name])
    return groups


def acoustics_by_emotion(table: pd.DataFrame, measures: Mapping[str, str], *, title: str) -> Figure:
    """Boxes by emotion, one panel per measure, with up to 150 clips per emotion as points.

    A dotted line marks zero, the speaker's mean of centred values.

    Parameters
    ----------
    table : DataFrame
        One row per clip: `emotion` and one column per measure.
    measures : mapping of str to str
        Column → axis label with unit.
    """
    figure, axes = panel_grid(len(measures), 3, 3.3, 2.9)
    for ax, (column, label) in zip(axes, measures.items(), strict=True):
        groups = _boxes(ax, table, column)
        rng = np.random.default_rng(0)  # jitter only; the values are drawn as they are
        for i, (name, group) in enumerate(groups.items(), start=1):
            kept = rng.choice(group, min(len(group), 150), replace=False)
            look = dict(s=4, color=EMOTION_COLOURS[name], alpha=0.45, linewidths=0, zorder=0.5)
            ax.scatter(i + rng.uniform(-0.2, 0.2, len(kept)), kept, **look)
        ax.set_xticks(range(1, len(groups) + 1), groups, rotation=40, ha="right", rotation_mode="anchor")
        ax.set_ylabel(label)
        medians = {name: np.median(group) for name, group in groups.items() if len(group)}
        ends = min(medians, key=medians.get), max(medians, key=medians.get)
        ax.set_title("lowest: {}; highest: {}".format(*ends), fontsize=9)
        low, high = np.nanpercentile(table[column].to_numpy(float), [0.5, 99.5])
        ax.set_ylim(low - 0.05 * (high - low), high + 0.05 * (high - low))
        if low < 0 < high:
            ax.axhline(0, color=INK, linewidth=0.8, linestyle=":")
    title_figure(figure, title)
    return figure


def effect_sizes(effects: pd.DataFrame, *, title: str) -> Axes:
    """Dots with intervals: how much each measure differs between emotions, largest first.

    Parameters
    ----------
    effects : DataFrame
        Columns `measure`, `value`, and `low`, `high` (95 % interval) as fractions, as `analysis.effect_sizes` returns
        it; a column `bias` (the value for shuffled labels) is drawn as a tick.
    """
    ax = axes_of(8, 0.9 + 0.3 * len(effects))
    rows = effects.sort_values("value").reset_index(drop=True)
    low, value, high = (100 * rows[["low", "value", "high"]].to_numpy(float)).T
    ax.hlines(rows.index, low, high, color=INK, linewidth=1.5)
    ax.plot(value, rows.index, "o", color=INK, label="measured, with 95 %\ninterval over speakers")
    if "bias" in rows:
        tick = dict(color=VERMILION, markersize=11, markeredgewidth=2, label="emotion labels\nshuffled")
        ax.plot(100 * rows["bias"], rows.index, "|", **tick)
    ax.set_yticks(rows.index, rows["measure"])
    ax.set_ylim(-0.6, len(rows) - 0.4)
    least, most = (f"{rows['measure'].iloc[i]}, {value[i]:.0f} %" for i in (0, -1))
    ax.set_title(with_finding(title, f"most of {most}; least of {least}"))
    ax.set(xlabel="variance explained by emotion, η² [%]", xlim=(min(0, low.min()), None))
    ax.grid(axis="x")
    mark_outside(ax)
    return ax


def contrast_map(contrasts: pd.DataFrame) -> Axes:
    """Draw a matrix of signed differences, blue below and red above zero, each with its value.

    Parameters
    ----------
    contrasts : DataFrame, shape (emotions, measures)
        In standard deviations, as `analysis.contrasts` returns it; index = emotion, columns = measure.
    """
    contrasts = contrasts.loc[emotion_order(contrasts.index)]
    values = contrasts.to_numpy(float)
    ax = axes_of(2.4 + 0.95 * values.shape[1], 1.5 + 0.36 * values.shape[0])
    reach = max(1.0, np.nanmax(np.abs(values)))
    texts = [[f"{round(value, 1) + 0.0:+.1f}" for value in row] for row in values]
    image = shaded_table(ax, contrasts, texts, white=0.6 * reach, cmap="RdBu_r", vmin=-reach, vmax=reach)
    ax.figure.colorbar(image, ax=ax, label="difference [standard deviations]", pad=0.02)
    i, j = np.unravel_index(np.nanargmax(np.abs(values)), values.shape)
    largest = f"{contrasts.index[i]}, {contrasts.columns[j]} {texts[i][j]}"
    ax.set_title(f"How does each emotion differ from the others?\nlargest: {largest} standard deviations")
    return ax


def embedding_scatter(
    embedding: pd.DataFrame, *, colour: str = "emotion", title: str = "", ax: Axes | None = None
) -> Axes:
    """Scatter of a two-dimensional map, coloured by emotion or by another column such as `speaker`.

    Parameters
    ----------
    embedding : DataFrame
        One row per segment: `x`, `y` (no unit) and the column `colour`.
    colour : str
        Column that gives the colours.
    """
    ax = axes_of(5, 4, ax)
    rows = embedding.sample(frac=1, random_state=0)  # nothing lies on top of all others
    names, kinds = sorted(rows[colour].astype(str).unique()), "osD^vPX<>p"
    looks = {n: (plt.get_cmap("turbo")(0.04 + 0.92 * i / len(names)), kinds[i % 10]) for i, n in enumerate(names)}
    if colour == "emotion":
        looks = {n: (EMOTION_COLOURS[n], EMOTION_MARKERS[n]) for n in emotion_order(names)}
    size = np.clip(9000 / max(len(rows), 1), 5, 30)
    for name, (rgb, marker) in looks.items():
        part = rows[rows[colour].astype(str) == name]
        ax.scatter(part["x"], part["y"], s=size, marker=marker, color=[rgb], alpha=0.7, linewidths=0, label=name)
    if len(looks) <= 24:
        mark_outside(ax, title=colour, ncols=1 if len(looks) <= 12 else 2, markerscale=1.6, columnspacing=0.6)
    else:
        ax.text(0.01, 0.01, f"{len(looks)} {colour}s", transform=ax.transAxes)
    ax.set(xticks=[], yticks=[], xlabel="map, first axis (no unit)", ylabel="second axis", title=title)
    return ax
