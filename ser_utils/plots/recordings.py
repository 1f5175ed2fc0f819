"""Figures of recordings: waveform, spectrogram, frames, and the predictions along a clip.

In all functions `signal` is a waveform, shape `(samples,)`, and `sample_rate` is in Hz; `title` and `ax` are those of
`style`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ser_utils import audio, features
from ser_utils.plots.style import (
    BLUE,
    EMOTION_COLOURS,
    EMOTION_HATCHES,
    EMOTION_MARKERS,
    INK,
    VERMILION,
    axes_of,
    emotion_order,
    mark_outside,
    title_figure,
)


def waveform(signal: np.ndarray, sample_rate: int, *, colour: str = INK, ax: Axes | None = None) -> Axes:
    """Draw a waveform as the band between smallest and largest sample in each of at most 1000 equal slices."""
    ax = axes_of(7, 1.6, ax)
    slices = np.array_split(np.asarray(signal, np.float32), min(1000, len(signal)))
    seconds = len(signal) / sample_rate
    time = (np.arange(len(slices)) + 0.5) * seconds / len(slices)
    ax.fill_between(time, [s.min() for s in slices], [s.max() for s in slices], color=colour, linewidth=0.4)
    ax.set(xlabel="time [s]", ylabel="amplitude", xlim=(0, seconds))
    return ax


def _hz_to_mel(hz):
    return 2595 * np.log10(1 + np.asarray(hz, float) / 700)  # O'Shaughnessy's formula, as in HTK


def _mel_to_hz(mel):
    return 700 * (10 ** (np.asarray(mel, float) / 2595) - 1)


def spectrogram(
    signal: np.ndarray, sample_rate: int, *, f0: pd.DataFrame | None = None, ax: Axes | None = None
) -> Axes:
    """Draw the mel spectrogram that `features.log_mel` stores, in dB below its peak, and the F0 contour over it.

    Parameters
    ----------
    signal : array, shape (samples,)
        Resampled to 16 kHz if it has another rate.
    sample_rate : int
    f0 : DataFrame, optional
        Columns `time` [s] and `f0` [Hz], NaN where unvoiced, as `features.f0_contour` returns it.
    """
    ax = axes_of(7, 2.2, ax)
    wave = audio.resample(np.asarray(signal, np.float32), sample_rate, audio.SAMPLE_RATE)
    # Scaled to its peak, so that the constant below the logarithm hides nothing of a quiet recording.
    bands = features.mel_spectrogram(wave / max(np.abs(wave).max(), 1e-6))
    decibels = 10 / np.log(10) * (bands - bands.max())
    time = (np.arange(bands.shape[1] + 1) - 0.5) * 0.01  # a window every 10 ms, centred there
    top = audio.SAMPLE_RATE / 2
    # Band k peaks at point k + 1 of n + 2 points that are equally spaced in mel: it spans half a step to either side.
    points = np.arange(len(bands) + 1) + 0.5
    edges = _mel_to_hz(points * _hz_to_mel(top) / (len(bands) + 1))
    edges[[0, -1]] = 0, top
    ax.pcolormesh(time, edges, decibels, cmap="magma", vmin=-70, vmax=0, rasterized=True)
    ax.set_yscale("function", functions=(_hz_to_mel, _mel_to_hz))
    if f0 is not None:
        ax.plot(f0["time"], f0["f0"], color="white", linewidth=3.2)
        ax.plot(f0["time"], f0["f0"], color="#56B4E9", linewidth=1.5)
    ax.set(xlabel="time [s]", ylabel="frequency [kHz]", xlim=(0, len(signal) / sample_rate), ylim=(0, top))
    ax.set_yticks([0, 500, 1000, 2000, 4000, 8000])
    ax.yaxis.set_major_formatter(lambda f, _: f"{f / 1000:g}")
    ax.minorticks_off()
    return ax


def clip_gallery(
    signals: Mapping[str, np.ndarray],
    sample_rate: int,
    *,
    f0: Mapping[str, pd.DataFrame] | None = None,
    title: str = "",
    columns: int = 3,
) -> Figure:
    """Waveforms and spectrograms of several recordings on one scale of time and level, F0 over the spectrograms.

    Parameters
    ----------
    signals : mapping of str to array
        Panel title → waveform. A title beginning with an emotion gets its colour.
    sample_rate : int
    f0 : mapping of str to DataFrame, optional
        Panel title → contour, as in `spectrogram`.
    columns : int
        Panels in a row.
    """
    columns = min(columns, len(signals))
    rows = -(-len(signals) // columns)
    figure, grid = plt.subplots(
        2 * rows, columns, figsize=(3.1 * columns, 2.7 * rows), squeeze=False, sharex=True,
        height_ratios=[1, 2.4] * rows, layout="constrained",
    )  # fmt: skip
    for ax in grid[-2:, (len(signals) - 1) % columns + 1 :].flat:
        ax.set_visible(False)
    longest, loudest = (max(map(measure, signals.values())) for measure in (len, lambda s: np.abs(s).max()))
    for i, (name, signal) in enumerate(signals.items()):
        top, bottom = grid[2 * (i // columns) : 2 * (i // columns) + 2, i % columns]
        waveform(signal, sample_rate, colour=EMOTION_COLOURS.get(name.split()[0].strip(":,·"), INK), ax=top)
        spectrogram(signal, sample_rate, f0=None if f0 is None else f0[name], ax=bottom)
        top.set_title(name, fontsize=9)
        top.set(xlabel="", ylabel="", yticks=[], ylim=(-loudest, loudest))
        top.spines[:].set_visible(False)
        top.tick_params(bottom=False)
        bottom.set(xlim=(0, longest / sample_rate))
        lowest = i + columns >= len(signals)
        bottom.tick_params(labelbottom=lowest, labelleft=i % columns == 0)
        bottom.set(xlabel="time [s]" * lowest, ylabel="frequency [kHz]" * (i % columns == 0))
    title_figure(figure, title)
    return figure


def feature_map(signal: np.ndarray, sample_rate: int, frames: np.ndarray, *, title: str = "") -> Figure:
    """One segment before and after the encoder: its waveform above its feature map, on one time axis.

    Parameters
    ----------
    signal : array, shape (samples,)
    sample_rate : int
    frames : array, shape (frames, dims)
        Output of the encoder; each dimension is drawn standardised, beside those that move alike: in the order of
        their weights on the first principal component.
    """
    figure, (top, bottom) = plt.subplots(2, 1, figsize=(8, 4), sharex=True, layout="constrained", height_ratios=[1, 2])
    waveform(signal, sample_rate, ax=top)
    top.set(xlabel="", title=f"{len(signal)} samples")
    values = np.asarray(frames, np.float32)
    values = (values - values.mean(0)) / np.where(values.std(0) > 0, values.std(0), 1)
    values = values[:, np.argsort(np.linalg.svd(values, full_matrices=False)[2][0])]
    extent = (0, len(signal) / sample_rate, 0, values.shape[1])
    bottom.imshow(values.T, origin="lower", extent=extent, cmap="RdBu_r", vmin=-2.5, vmax=2.5, interpolation="nearest")
    bottom.set(xlabel="time [s]", ylabel="dimension (sorted)")
    bottom.set_title(f"{len(values)} frames × {values.shape[1]} dimensions")
    figure.align_ylabels([top, bottom])
    title_figure(figure, title)
    return figure


def log_mel_image(image: np.ndarray, seconds: float, *, title: str = "") -> Axes:
    """Draw a log-mel spectrogram `(bands, frames)`, as `features.log_mel` stores it, over `seconds`."""
    ax = axes_of(7, 2.4)
    picture = ax.imshow(np.asarray(image, np.float32), origin="lower", extent=(0, seconds, 0, len(image)), cmap="magma")
    ax.figure.colorbar(picture, ax=ax, label="log energy", pad=0.01)
    ax.set(xlabel="time [s]", ylabel="mel band", title=title)
    return ax


def timeline(signal: np.ndarray, sample_rate: int, predictions: pd.DataFrame, *, title: str = "") -> Figure:
    """Show one clip as waveform, probabilities over its segments and spectrogram, on one time axis.

    Parameters
    ----------
    signal : array, shape (samples,)
    sample_rate : int
    predictions : DataFrame
        Segment-level predictions of this clip: `start`, `end` [s], one probability column per emotion, and
        `emotion` (the label) where it is known; several seeds are averaged.
    """
    names = emotion_order(predictions.columns)
    segments = predictions.groupby(["start", "end"])[names].mean().reset_index().sort_values("start")
    label = predictions["emotion"].iloc[0] if "emotion" in predictions.columns else None
    colour = EMOTION_COLOURS.get(label, INK)
    figure, top, (middle,) = _along_the_clip(signal, sample_rate, [1, 1.7, 1.5], 5.6, title, colour=colour)
    found = f"{len(segments)} segment{'s' * (len(segments) != 1)}"
    if label:
        found = f"{(segments[names].idxmax(axis=1) == label).sum()} of {found} predicted as {label}, the label"
    top.set_title(found)
    base = np.zeros(len(segments))
    # Where segments overlap (the last is aligned to the clip's end), each is drawn up to the next.
    width = np.append(np.diff(segments["start"]), segments["end"].iloc[-1] - segments["start"].iloc[-1])
    look = dict(width=width, align="edge", edgecolor="white", linewidth=0.8)
    for name in names:
        share, hatch = 100 * segments[name].to_numpy(), EMOTION_HATCHES[name]
        middle.bar(segments["start"], share, bottom=base, color=EMOTION_COLOURS[name], hatch=hatch, label=name, **look)
        base += share
    middle.set(ylabel="probability [%]", ylim=(0, 100))
    mark_outside(middle, title="emotion")
    return figure


def attribution_timeline(
    signal: np.ndarray, sample_rate: int, attributions: pd.DataFrame, *, emotion: str, title: str = ""
) -> Figure:
    """Waveform, attribution by each method, and spectrogram of one clip on one time axis.

    Parameters
    ----------
    signal : array, shape (samples,)
    sample_rate : int
    attributions : DataFrame
        Column `seconds` (centre of a frame) and one column per method; each is scaled to its largest magnitude.
    emotion : str
        The emotion that the attribution is for.
    """
    methods = [c for c in attributions.columns if c != "seconds"]
    heights, colour = [1, *[0.9] * len(methods), 1.5], EMOTION_COLOURS[emotion]
    figure, top, middle = _along_the_clip(signal, sample_rate, heights, 3.2 + 1.2 * len(methods), title, colour=colour)
    top.set_title(f"attribution to {emotion} over time")
    x = attributions["seconds"].to_numpy()
    width = np.median(np.diff(x)) if len(x) > 1 else 0.02
    for ax, method in zip(middle, methods, strict=True):
        y = attributions[method] / max(attributions[method].abs().max(), 1e-9)
        ax.bar(x, y.clip(lower=0), width=width, color=BLUE, label="for")
        ax.bar(x, y.clip(upper=0), width=width, color=VERMILION, label="against")
        ax.axhline(0, color=INK, linewidth=0.6)
        ax.set(ylim=(-1.05, 1.05), yticks=[-1, 0, 1], ylabel=method.replace(" ", "\n"))
    mark_outside(middle[0])
    return figure


def probability_timeline(signal: np.ndarray, sample_rate: int, timelines: pd.DataFrame, *, title: str = "") -> Figure:
    """Probability of each emotion along a recording, as lines with the range over networks, under its waveform.

    Parameters
    ----------
    signal : array, shape (samples,)
    sample_rate : int
    timelines : DataFrame
        Columns `seed` (a network), `start`, `end` [s], and one probability column per emotion.
    """
    names = emotion_order(timelines.columns)
    figure, _, (middle,) = _along_the_clip(signal, sample_rate, [0.8, 2, 1.4], 6, title)
    for name in names:
        spread = 100 * timelines.groupby(["start", "end"])[name].agg(["mean", "min", "max"])
        centre = [(start + end) / 2 for start, end in spread.index]
        colour = EMOTION_COLOURS[name]
        look = dict(marker=EMOTION_MARKERS[name], markersize=4.5, linewidth=1.3)
        middle.plot(centre, spread["mean"], color=colour, label=name, **look)
        middle.fill_between(centre, spread["min"], spread["max"], color=colour, alpha=0.15, linewidth=0)
    middle.set(ylabel="probability [%]", ylim=(0, 100))
    means = timelines[names].mean()
    highest = f"highest on average: {means.idxmax()}, {100 * means.max():.0f} %"
    middle.set_title(f"{highest}; marker: centre of a segment; shaded: range over networks")
    middle.grid()
    mark_outside(middle, title="emotion")
    return figure


def _along_the_clip(
    signal: np.ndarray, sample_rate: int, heights: Sequence[float], height: float, title: str, *, colour: str = INK
) -> tuple[Figure, Axes, list[Axes]]:
    """Make a figure: waveform at the top, spectrogram at the bottom, and between them panels to draw in."""
    figure, axes = plt.subplots(
        len(heights), 1, figsize=(8.5, height), sharex=True, layout="constrained", height_ratios=heights
    )
    waveform(signal, sample_rate, colour=colour, ax=axes[0])
    axes[0].set_xlabel("")
    spectrogram(signal, sample_rate, ax=axes[-1])
    figure.align_ylabels(list(axes))
    title_figure(figure, title)
    return figure, axes[0], list(axes[1:-1])
