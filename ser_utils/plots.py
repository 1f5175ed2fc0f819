"""Style of all figures, and figures of recordings and features: one function a figure.

Figures of corpora are in `corpus_plots`, of scores in `score_plots` and `curve_plots`, of errors in `error_plots`.
Every emotion has one colour, one marker and one hatch, the same in all of them. The colours are those of
Okabe and Ito (2008), which stay apart for colour-blind readers; marker and hatch say it again without colour.

Functions take tables and arrays; those of one panel return an `Axes`, those of several a `Figure`. Two
parameters mean the same in all: `title` states the question or the finding; `ax` is where to draw, a new
figure if left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from ser_utils import EMOTIONS

#: ShEMO's six emotions get the six strongest colours; grey, which some eyes take for pink, is boredom's.
EMOTION_COLOURS: dict[str, str] = {
    "anger": "#D55E00",
    "boredom": "#999999",
    "calm": "#56B4E9",
    "disgust": "#F0E442",
    "fear": "#CC79A7",
    "happiness": "#E69F00",
    "neutral": "#000000",
    "sadness": "#0072B2",
    "surprise": "#009E73",
}
#: The second channel in scatter and line plots.
EMOTION_MARKERS: dict[str, str] = dict(zip(EMOTIONS, "^XPpvosDd", strict=True))
#: The second channel in bars: only the emotions that ShEMO lacks are hatched, so that six colours stay plain.
EMOTION_HATCHES: dict[str, str] = {name: "" for name in EMOTIONS} | {
    "boredom": "..",
    "calm": "///",
    "disgust": "xx",
}
#: Gender is shown by lightness, never by a colour of the emotions.
GENDER_GREYS: dict[str, str] = {"female": "#B0B0B0", "male": "#4D4D4D", "unknown": "#E5E5E5"}
INK, PAPER_GREY = "#222222", "#8C8C8C"


def use_style() -> None:
    """Set matplotlib's defaults for all figures of the compendium: legible at 110 dpi, nothing cut off."""
    plt.rcParams.update(
        {
            "figure.dpi": 110,
            "savefig.dpi": 110,
            "figure.constrained_layout.use": True,
            "font.size": 9.5,
            "axes.titlesize": 10.5,
            "axes.labelsize": 9.5,
            "figure.titlesize": 11.5,
            "xtick.labelsize": 8.5,
            "ytick.labelsize": 8.5,
            "legend.fontsize": 8.5,
            "legend.title_fontsize": 8.5,
            "axes.titlelocation": "left",
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.axisbelow": True,
            "axes.grid": False,
            "grid.color": "#DDDDDD",
            "grid.linewidth": 0.6,
            "legend.frameon": False,
            "image.aspect": "auto",
            "hatch.linewidth": 0.6,
        }
    )


def emotions_of(values: Iterable[str]) -> list[str]:
    """The emotions that occur among `values`, in the order in which every figure lists them."""
    present = set(values)
    return [name for name in EMOTIONS if name in present]


def _axes(ax: Axes | None, width: float, height: float) -> Axes:
    return plt.subplots(figsize=(width, height), layout="constrained")[1] if ax is None else ax


def _genders(clips: pd.DataFrame) -> pd.Series:
    return clips["gender"].astype(object).where(clips["gender"].notna(), "unknown")


def corpus_size(table: pd.DataFrame) -> str:
    """Count a table's clips and speakers in words, for titles: `"24 clips · 3 speakers"`."""
    clips = table["clip"].nunique() if "clip" in table else len(table)
    speakers = table["speaker"].nunique()
    return f"{clips} clip{'s' * (clips != 1)} · {speakers} speaker{'s' * (speakers != 1)}"


def _mark_outside(ax: Axes, handles: list, title: str = "", columns: int = 1) -> None:
    """Put the legend right of the axes, where it covers no data."""
    ax.legend(
        handles=handles,
        title=title or None,
        loc="upper left",
        bbox_to_anchor=(1.01, 1.0),
        ncols=columns,
        borderaxespad=0,
        handletextpad=0.5,
    )


def emotion_handles(names: Sequence[str], *, bars: bool = False) -> list:
    """Legend handles of emotions: patches for bars, markers otherwise."""
    if bars:
        return [
            Patch(
                facecolor=EMOTION_COLOURS[n], hatch=EMOTION_HATCHES[n], edgecolor=INK, linewidth=0.4, label=n
            )
            for n in names
        ]
    return [
        Line2D(
            [],
            [],
            linestyle="",
            marker=EMOTION_MARKERS[n],
            color=EMOTION_COLOURS[n],
            markeredgecolor=INK,
            markeredgewidth=0.4,
            label=n,
        )
        for n in names
    ]


# --- recordings -----------------------------------------------------------------------


def waveform(signal: np.ndarray, sample_rate: int, *, colour: str = INK, ax: Axes | None = None) -> Axes:
    """Draw a waveform, shape `(samples,)`, against time in seconds: the band between smallest and largest sample.

    The band is drawn for 1000 slices of equal length, so that a long recording costs no more than a short one.
    """
    ax = _axes(ax, 7, 1.6)
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
    """Draw a mel spectrogram in dB below its peak, with the F0 contour on top when one is given.

    Parameters
    ----------
    signal : array, shape (samples,)
        Waveform.
    sample_rate : int
        In Hz.
    f0 : DataFrame, optional
        Columns `time` [s] and `f0` [Hz], NaN where unvoiced, as `exploration.f0_contour` gives it.
    """
    import torch
    from torchaudio.transforms import (
        MelSpectrogram,
    )  # already loaded by `audio`; librosa would take seconds more

    ax = _axes(ax, 7, 2.2)
    hop, bands = sample_rate // 100, 64
    transform = MelSpectrogram(sample_rate, n_fft=4 * hop, hop_length=hop, n_mels=bands)
    power = transform(torch.as_tensor(np.asarray(signal, np.float32))).numpy()
    decibels = 10 * np.log10(np.maximum(power, 1e-10) / max(power.max(), 1e-10))
    time = (np.arange(power.shape[1] + 1) - 0.5) * hop / sample_rate
    edges = _mel_to_hz(np.linspace(0, _hz_to_mel(sample_rate / 2), bands + 1))
    ax.pcolormesh(time, edges, decibels, cmap="magma", vmin=-70, vmax=0, rasterized=True)
    ax.set_yscale("function", functions=(_hz_to_mel, _mel_to_hz))
    if f0 is not None:
        ax.plot(f0["time"], f0["f0"], color="white", linewidth=3.2)
        ax.plot(f0["time"], f0["f0"], color="#56B4E9", linewidth=1.5)
    seconds = len(signal) / sample_rate
    ax.set(xlabel="time [s]", ylabel="frequency [kHz]", xlim=(0, seconds), ylim=(0, sample_rate / 2))
    ax.set_yticks([t for t in (0, 500, 1000, 2000, 4000, 8000, 16000) if t <= sample_rate / 2])
    ax.yaxis.set_major_formatter(lambda f, _: f"{f / 1000:g}")
    ax.minorticks_off()
    return ax


def clip_panel(
    signal: np.ndarray,
    sample_rate: int,
    *,
    f0: pd.DataFrame | None = None,
    emotion: str | None = None,
    title: str = "",
) -> Figure:
    """One recording seen three ways: waveform, mel spectrogram, F0 contour in Hz (when given).

    Parameters
    ----------
    signal : array, shape (samples,)
        Waveform.
    sample_rate : int
        In Hz.
    f0 : DataFrame, optional
        Columns `time` [s] and `f0` [Hz], NaN where unvoiced.
    emotion : str, optional
        Colours the waveform.
    """
    heights = [1, 1.6, 1] if f0 is not None else [1, 1.6]
    figure, axes = plt.subplots(
        len(heights),
        1,
        figsize=(8, 1.55 * sum(heights)),
        sharex=True,
        layout="constrained",
        height_ratios=heights,
    )
    waveform(signal, sample_rate, colour=EMOTION_COLOURS.get(emotion, INK), ax=axes[0])
    spectrogram(signal, sample_rate, ax=axes[1])
    if f0 is not None:
        axes[2].plot(f0["time"], f0["f0"], color="#0072B2", marker=".", markersize=3, linewidth=1)
        axes[2].set(ylabel="F0 [Hz]")
        axes[2].grid(axis="y")
    for ax in axes[:-1]:
        ax.set_xlabel("")
    axes[-1].set(xlabel="time [s]", xlim=(0, len(signal) / sample_rate))
    figure.align_ylabels(axes)
    figure.suptitle(title, x=0.01, ha="left")
    return figure


def clip_gallery(
    signals: Mapping[str, np.ndarray],
    sample_rate: int,
    *,
    f0: Mapping[str, pd.DataFrame] | None = None,
    title: str = "",
    columns: int = 3,
) -> Figure:
    """Waveforms and spectrograms of several recordings on one time scale, F0 drawn over the spectrograms.

    Parameters
    ----------
    signals : mapping of str to array
        Panel title → waveform of shape `(samples,)`. A title beginning with an emotion gets its colour.
    sample_rate : int
        In Hz.
    f0 : mapping of str to DataFrame, optional
        Panel title → contour with columns `time` [s], `f0` [Hz].
    columns : int
        Panels in a row.
    """
    columns = min(columns, len(signals))
    rows = -(-len(signals) // columns)
    figure, grid = plt.subplots(
        2 * rows, columns, figsize=(3.1 * columns, 2.7 * rows), squeeze=False, sharex=True,
        height_ratios=[1, 2.4] * rows, layout="constrained",
    )  # fmt: skip
    longest = max(len(s) for s in signals.values()) / sample_rate
    for i, (name, signal) in enumerate(signals.items()):
        top, bottom = grid[2 * (i // columns) : 2 * (i // columns) + 2, i % columns]
        colour = EMOTION_COLOURS.get(name.split()[0].strip(":,·"), INK)
        waveform(signal, sample_rate, colour=colour, ax=top)
        spectrogram(signal, sample_rate, f0=None if f0 is None else f0[name], ax=bottom)
        top.set_title(name, fontsize=9, loc="left")
        top.set(xlabel="", ylabel="", yticks=[])
        top.spines[:].set_visible(False)
        top.tick_params(bottom=False)
        bottom.set(xlim=(0, longest))
        if i % columns:
            bottom.set(ylabel="", yticklabels=[])
        if i + columns < len(signals):
            bottom.set_xlabel("")
        else:
            bottom.tick_params(labelbottom=True)
    for ax in (ax for i in range(len(signals), rows * columns) for ax in grid[-2:, i % columns]):
        ax.set_visible(False)
    figure.suptitle(title, x=0.01, ha="left")
    return figure


# --- features -------------------------------------------------------------------------


def frames_image(
    frames: np.ndarray,
    seconds: float,
    *,
    title: str = "",
    label: str = "dimension",
    cmap: str = "RdBu_r",
    ax: Axes | None = None,
) -> Axes:
    """Draw a feature map `(frames, dims)` over time in seconds; colours are z-values by dimension."""
    ax = _axes(ax, 7, 2.4)
    values = np.asarray(frames, np.float32)
    values = (values - values.mean(0)) / np.where(values.std(0) > 0, values.std(0), 1)
    ax.imshow(
        values.T,
        origin="lower",
        extent=(0, seconds, 0, values.shape[1]),
        cmap=cmap,
        vmin=-2.5,
        vmax=2.5,
        interpolation="nearest",
    )
    ax.set(xlabel="time [s]", ylabel=label, title=title)
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
    ax = _axes(ax, 5, 4)
    size = np.clip(9000 / max(len(embedding), 1), 5, 30)
    if colour == "emotion":
        names = emotions_of(embedding["emotion"])
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
        _mark_outside(ax, emotion_handles(names), "emotion")
    else:
        values = _genders(embedding) if colour == "gender" else embedding[colour].astype(str)
        names = sorted(values.unique())
        colours = (
            [GENDER_GREYS.get(n, INK) for n in names]
            if colour == "gender"
            else plt.get_cmap("turbo")(np.linspace(0.04, 0.96, len(names)))
        )
        for name, rgb, marker in zip(names, colours, ("osD^vPX<>p" * (len(names) // 10 + 1)), strict=False):
            part = embedding[(values == name).to_numpy()]
            ax.scatter(
                part["x"], part["y"], s=size, marker=marker, color=rgb, alpha=0.75, linewidths=0, label=name
            )
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


def feature_map(signal: np.ndarray, sample_rate: int, frames: np.ndarray, *, title: str = "") -> Figure:
    """Show one segment before and after the encoder: its waveform above its feature map, on one time axis.

    Parameters
    ----------
    signal : array, shape (samples,)
        Waveform of the segment.
    sample_rate : int
        In Hz.
    frames : array, shape (frames, dims)
        What the encoder makes of it.
    """
    figure, (top, bottom) = plt.subplots(
        2, 1, figsize=(8, 4), sharex=True, layout="constrained", height_ratios=[1, 2]
    )
    waveform(signal, sample_rate, ax=top)
    top.set(xlabel="", title=f"{len(signal)} samples")
    frames_image(frames, len(signal) / sample_rate, ax=bottom)
    bottom.set_title(f"{frames.shape[0]} frames × {frames.shape[1]} dimensions")
    figure.align_ylabels([top, bottom])
    figure.suptitle(title, x=0.01, ha="left")
    return figure


def log_mel(image: np.ndarray, seconds: float, *, title: str = "", ax: Axes | None = None) -> Axes:
    """Draw a log-mel spectrogram `(mels, frames)`, as `features.log_mel` stores it, over `seconds`."""
    ax = _axes(ax, 7, 2.4)
    picture = ax.imshow(
        np.asarray(image, np.float32), origin="lower", extent=(0, seconds, 0, len(image)), cmap="magma"
    )
    ax.figure.colorbar(picture, ax=ax, label="log energy", pad=0.01)
    ax.set(xlabel="time [s]", ylabel="mel band", title=title)
    return ax
