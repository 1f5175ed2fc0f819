"""Figures that explain decisions: confused pairs, moments that decide, deletion, what-if, agreement of systems."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ser_utils.error_analysis import VALENCE_AROUSAL
from ser_utils.plots import (
    EMOTION_COLOURS,
    EMOTION_MARKERS,
    INK,
    PAPER_GREY,
    _axes,
    _mark_outside,
    emotion_handles,
    emotions_of,
    spectrogram,
    waveform,
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
    ax = _axes(ax, 6.6, 4.6)
    shares = confusion.div(confusion.sum(axis=1).replace(0, np.nan), axis=0)
    names = emotions_of(confusion.index)
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


def attribution_timeline(
    signal: np.ndarray, sample_rate: int, attributions: pd.DataFrame, *, emotion: str, title: str = ""
) -> Figure:
    """Waveform, attribution by each method, and spectrogram of one clip on one time axis.

    Parameters
    ----------
    signal : ndarray, shape=(samples,)
    sample_rate : int
        In Hz.
    attributions : DataFrame
        Columns `seconds` (centre of a frame) and one a method; each is scaled to its largest magnitude.
    emotion : str
        The emotion that the attribution is for.
    """
    methods = [c for c in attributions.columns if c != "seconds"]
    figure, axes = plt.subplots(
        2 + len(methods), 1, figsize=(8.5, 3.2 + 1.2 * len(methods)), sharex=True, layout="constrained",
        height_ratios=[1, *[0.9] * len(methods), 1.5],
    )  # fmt: skip
    waveform(signal, sample_rate, colour=EMOTION_COLOURS[emotion], ax=axes[0])
    axes[0].set(xlabel="", title=f"what speaks for {emotion}, moment by moment")
    x = attributions["seconds"].to_numpy()
    width = np.median(np.diff(x)) if len(x) > 1 else 0.02
    for ax, method in zip(axes[1:-1], methods, strict=True):
        y = attributions[method] / max(attributions[method].abs().max(), 1e-9)
        ax.bar(x, y.clip(lower=0), width=width, color="#0072B2", label="for")
        ax.bar(x, y.clip(upper=0), width=width, color="#D55E00", label="against")
        ax.axhline(0, color=INK, linewidth=0.6)
        ax.set(ylim=(-1.05, 1.05), yticks=[-1, 0, 1], ylabel=method.replace(" ", "\n"))
    _mark_outside(axes[1], axes[1].get_legend_handles_labels()[0])
    spectrogram(signal, sample_rate, ax=axes[-1])
    axes[-1].set_xlim(0, len(signal) / sample_rate)
    figure.align_ylabels(list(axes))
    figure.suptitle(title, x=0.01, ha="left")
    return figure


def probability_timeline(signal: np.ndarray, sample_rate: int, timelines: pd.DataFrame, *, title: str = "") -> Figure:
    """Probability of each emotion along a recording, as lines with the spread between networks, under its waveform.

    Parameters
    ----------
    signal : ndarray, shape=(samples,)
    sample_rate : int
        In Hz.
    timelines : DataFrame
        Columns `seed` (a network), `start`, `end` [s], and one probability column an emotion.
    """
    names = emotions_of(timelines.columns)
    figure, (top, middle, bottom) = plt.subplots(
        3, 1, figsize=(8.5, 6), sharex=True, layout="constrained", height_ratios=[0.8, 2, 1.4]
    )
    waveform(signal, sample_rate, ax=top)
    for name in names:
        spread = 100 * timelines.groupby(["start", "end"])[name].agg(["mean", "min", "max"])
        centre = [(start + end) / 2 for start, end in spread.index]
        colour = EMOTION_COLOURS[name]
        middle.plot(centre, spread["mean"], EMOTION_MARKERS[name] + "-", color=colour, markersize=4.5, linewidth=1.3)
        middle.fill_between(centre, spread["min"], spread["max"], color=colour, alpha=0.15, linewidth=0)
    middle.set(ylabel="probability [%]", ylim=(0, 100))
    middle.grid()
    _mark_outside(middle, emotion_handles(names), "emotion")
    spectrogram(signal, sample_rate, ax=bottom)
    for ax in (top, middle):
        ax.set_xlabel("")
    middle.set_title("a marker a segment, at its middle; shaded: from the lowest to the highest of the networks")
    bottom.set_xlim(0, len(signal) / sample_rate)
    figure.align_ylabels([top, middle, bottom])
    figure.suptitle(title, x=0.01, ha="left")
    return figure


def deletion_plot(
    curves: pd.DataFrame, *, title: str = "Does the explanation point to what matters?", ax: Axes | None = None
) -> Axes:
    """Probability that remains while frames are deleted, for each order of deletion.

    Parameters
    ----------
    curves : DataFrame
        Columns `order` (a method, or "random order"), `deleted` (fraction), `value`, `low`, `high` (probability).
    """
    ax = _axes(ax, 6.4, 3.6)
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


def what_if_plot(
    table: pd.DataFrame, *, x: str, label: str, title: str = "What if the voice were different?", ax: Axes | None = None
) -> Axes:
    """Mean probability of each emotion against a change made to the recordings.

    Parameters
    ----------
    table : DataFrame
        Column `x` (the change), one probability column an emotion; a row a change.
    """
    ax = _axes(ax, 5.4, 3.5)
    names = emotions_of(table.columns)
    for name in names:
        ax.plot(table[x], 100 * table[name], EMOTION_MARKERS[name] + "-", color=EMOTION_COLOURS[name], markersize=5)
    ax.set(xlabel=label, ylabel="mean probability [%]", title=title, ylim=(0, None))
    ax.grid()
    _mark_outside(ax, emotion_handles(names))
    return ax


def agreement_plot(
    correlation: pd.DataFrame, *, title: str = "Do the systems fail on the same clips?", ax: Axes | None = None
) -> Axes:
    """Correlation between the errors of every two systems, as a table of shades with its numbers.

    Parameters
    ----------
    correlation : DataFrame, shape=(systems, systems)
        As `error_analysis.agreement` gives it.
    """
    n = len(correlation)
    ax = _axes(ax, 2.2 + 0.85 * n, 1.5 + 0.5 * n)
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
