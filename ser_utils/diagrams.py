"""Diagrams for README and the teaching guide: the four tables, and the two networks layer by layer.

`make diagrams` writes them to `figures/diagrams/*.svg`. Column names, shapes, kernels and counts come from the code
that they describe, and equal code gives equal files.
"""

from __future__ import annotations

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch, Rectangle

from ser_utils import audio, corpora, encoders, features, networks
from ser_utils.plots import EMOTION_COLOURS, INK, PAPER_GREY
from ser_utils.predictions import COLUMNS
from ser_utils.workspace import replacing

FOLDER = Path(__file__).resolve().parents[1] / "figures" / "diagrams"
SHEMO = ("anger", "fear", "happiness", "neutral", "sadness", "surprise")

_PAPER, _CARD, _EDGE = "#F7F8FA", "#FFFFFF", "#D5DAE1"
_BLUE, _PALE, _GREY = "#0072B2", "#CFE3F1", "#E8EBEF"
_MONO = {"family": "monospace"}


# -------------------------------------------------------------------------------------------------- four tables


def four_tables() -> Figure:
    """How data flows: clips, segments, features, predictions, and what makes one from the other."""
    clip = pd.DataFrame({"clip": ["a"], "duration": [3.0]})
    cards = [
        ("clips", "a row is a recording", list(corpora.COLUMNS), _recording),
        ("segments", "a row is a piece of a recording", list(audio.cut_segments(clip, seconds=1).columns), _pieces),
        (
            "features",
            "row i is segment i, as an array",
            ["(segments, frames, dims)", "or (segments, dims)", "", "float16, on disk,", "named by its content"],
            _frames,
        ),
        ("predictions", "a row is a judged piece", [*COLUMNS, "a probability for", "each emotion"], _probabilities),
    ]
    makers = [
        ("corpora", "parse"),
        ("audio", "cut"),
        ("encoders\nfeatures", "encode"),
        ("models\nevaluation", "learn, judge"),
    ]
    figure, ax = _sheet(9.6, 4.5)
    width, gap, left = 1.84, 0.46, 0.38
    for number, ((name, row, columns, draw), (module, verb)) in enumerate(zip(cards, makers, strict=True)):
        x = left + number * (width + gap)
        _card(ax, x, 0.62, width, 3.0)
        ax.text(x + 0.14, 3.35, name, fontsize=13, weight="bold", color=_BLUE, va="center")
        ax.text(x + 0.14, 3.12, row, fontsize=7.2, color=PAPER_GREY, va="center")
        draw(ax, x + 0.14, 2.42, width - 0.28, 0.5)
        for line, column in enumerate(columns):
            ax.text(x + 0.14, 2.2 - 0.185 * line, column, fontsize=7.6, color=INK, va="center", **_MONO)
        start = x - gap if number else x - 0.3
        _arrow(ax, (start + 0.05, 2.67), (x - 0.03, 2.67))
        ax.text(x + 0.14, 3.93, module.replace("\n", " · "), fontsize=8, color=INK, weight="bold", va="center", **_MONO)
        ax.text(x + 0.14, 3.75, verb, fontsize=7.2, color=PAPER_GREY, va="center")
    x = left + 3 * (width + gap)
    _arrow(ax, (x + width / 2, 0.6), (x + width / 2, 0.36))
    ax.text(
        x + width,
        0.22,
        "scores with intervals · comparisons · audit · figures · report: from predictions alone",
        fontsize=8,
        color=INK,
        ha="right",
        va="center",
    )
    ax.text(left, 4.27, "Four tables, one direction", fontsize=12, weight="bold", color=INK, va="center")
    return figure


def _recording(ax: Axes, x: float, y: float, width: float, height: float) -> None:
    time = np.linspace(0, 1, 110)
    loud = 0.08 + np.abs(np.sin(9 * time) * np.sin(3.1 * time + 0.4)) * (0.65 + 0.35 * np.sin(61 * time))
    ax.vlines(x + time * width, y + height / 2 * (1 - loud), y + height / 2 * (1 + loud), color=_BLUE, linewidth=0.9)


def _pieces(ax: Axes, x: float, y: float, width: float, height: float) -> None:
    for number in range(3):
        ax.add_patch(
            Rectangle(
                (x + number * width / 3 + 0.02, y - 0.02),
                width / 3 - 0.04,
                height + 0.04,
                facecolor=_PALE,
                edgecolor="none",
            )
        )
    _recording(ax, x, y, width, height)


def _frames(ax: Axes, x: float, y: float, width: float, height: float) -> None:
    values = np.random.default_rng(3).random((6, 21)).cumsum(axis=1) % 1
    for (row, column), value in np.ndenumerate(values):
        side = width / 21, height / 6
        ax.add_patch(
            Rectangle(
                (x + column * side[0], y + row * side[1]),
                *side,
                facecolor=plt.cm.Blues(round(0.15 + 0.7 * value, 2)),
                edgecolor=_CARD,
                linewidth=0.4,
            )
        )


def _probabilities(ax: Axes, x: float, y: float, width: float, height: float) -> None:
    for number, (emotion, share) in enumerate(zip(SHEMO, (0.58, 0.06, 0.19, 0.05, 0.03, 0.09), strict=True)):
        step = width / len(SHEMO)
        ax.add_patch(
            Rectangle(
                (x + (number + 0.12) * step, y),
                0.76 * step,
                height * share / 0.6,
                color=EMOTION_COLOURS[emotion],
                linewidth=0,
            )
        )
    ax.plot([x, x + width], [y, y], color=PAPER_GREY, linewidth=0.7)


# ----------------------------------------------------------------------------------------------------- networks


def segment_network() -> Figure:
    """The segment CNN on a second of speech through the encoder that comes with the repository."""
    encoder = encoders.load("wav2vec2-nano", device="cpu")
    zeros = torch.zeros(encoder.dims)
    network = networks.segment_network(zeros, zeros + 1, len(SHEMO), width=64, dropout=0.3, masking=0.2)
    shape = encoder.frames(audio.SAMPLE_RATE), encoder.dims
    return _layers(network, shape, "The segment CNN", f"{encoder.name}'s frames of one second")


def spectrogram_network() -> Figure:
    """The spectrogram CNN on a second of speech; its weights come from another task but for the last block."""
    network = networks.keyword_network(len(SHEMO))
    shape = features.mel_spectrogram(np.zeros(audio.SAMPLE_RATE, np.float32)).shape
    return _layers(network, shape, "The spectrogram CNN", "log-mel spectrogram of one second")


def _layers(network: torch.nn.Sequential, shape: tuple[int, ...], title: str, given: str) -> Figure:
    """A row a layer: its output drawn to scale, shape, learned values, receptive field, what it does."""
    table = networks.describe(network, shape)
    rows = [("input", shape, 0, 1, given)]
    for layer, row in zip(network, table.itertuples(), strict=True):
        rows.append((row.layer, row.output, row.parameters, row.receptive_field, _does(row.layer, layer)))
    height, spectrogram = 0.5 * len(rows) + 1.2, hasattr(network, "block_1")
    figure, ax = _sheet(9.6, height)
    ax.text(0.38, height - 0.32, title, fontsize=12, weight="bold", color=INK, va="center")
    ax.text(
        9.22,
        height - 0.32,
        f"{table['parameters'].sum():,} learned values".replace(",", " "),
        fontsize=9,
        color=INK,
        ha="right",
        va="center",
    )
    heads = (
        ("layer", 2.15, "left"),
        ("output", 3.42, "left"),
        ("learned", 5.18, "right"),
        ("sees [frames]", 6.05, "right"),
        ("what it does", 6.3, "left"),
    )
    for head, x, side in heads:
        ax.text(x, height - 0.66, head, fontsize=7.2, color=PAPER_GREY, ha=side, va="center")
    for number, (name, output, parameters, field, words) in enumerate(rows):
        y = height - 1.0 - 0.5 * number
        if number % 2 == 0:
            ax.add_patch(Rectangle((0.25, y - 0.25), 9.1, 0.5, facecolor=_CARD, edgecolor="none"))
        _output(ax, 1.12, y, output, learned=parameters > 0, last=number == len(rows) - 1, spectrogram=spectrogram)
        ax.text(
            2.15,
            y,
            name,
            fontsize=8.6,
            weight="bold" if parameters else "normal",
            color=_BLUE if parameters else INK,
            va="center",
            **_MONO,
        )
        ax.text(3.42, y, " × ".join(map(str, output)), fontsize=8.2, color=INK, va="center", **_MONO)
        ax.text(
            5.18,
            y,
            f"{parameters:,}".replace(",", " ") if parameters else "–",
            fontsize=8.2,
            color=INK if parameters else PAPER_GREY,
            ha="right",
            va="center",
            **_MONO,
        )
        ax.text(6.05, y, field, fontsize=8.2, color=INK, ha="right", va="center", **_MONO)
        ax.text(6.3, y, words, fontsize=7.6, color=INK, va="center")
    ax.text(
        0.38,
        0.27,
        "Outputs are drawn to scale, by the square root of their lengths. Blue: layers with learned values.",
        fontsize=7.2,
        color=PAPER_GREY,
        va="center",
    )
    return figure


def _does(name: str, layer: torch.nn.Module) -> str:
    """What a layer does, in a few words; kernels and factors are read from it."""
    if hasattr(layer, "convolve"):
        kernel = " × ".join(str(k) for k in layer.convolve.kernel_size if k > 1 or layer.convolve.kernel_size == (1, 1))
        pooled = f", pooled by {layer.pool.kernel_size[-1]}" if hasattr(layer, "pool") else ""
        strided = f", stride {layer.convolve.stride[0]}" if layer.convolve.stride[0] > 1 else ""
        if layer.convolve.kernel_size == (1, 1):
            return "each frame by itself: fewer channels"
        return f"convolution of {kernel}{strided}{pooled}"
    return {
        "pair": "neighbouring frames averaged: 20 to 40 ms",
        "standardise": "mean 0, deviation 1 on training speakers",
        "mask": "in training: a stretch is blanked",
        "image": "no value changes: the form convolutions want",
        "summarise": "mean and deviation over all positions",
        "dropout": f"in training: {100 * getattr(layer, 'p', 0):.0f} % of the values blanked",
        "classify": "one logit an emotion",
    }[name]


# --------------------------------------------------------------------------------------------------- drawing


def _sheet(width: float, height: float) -> tuple[Figure, Axes]:
    """An empty sheet in inches with a ground of its own, so that it is legible on dark pages as well."""
    figure = plt.figure(figsize=(width, height), facecolor="none", layout="none")
    ax = figure.add_axes((0, 0, 1, 1), xlim=(0, width), ylim=(0, height))
    ax.set_axis_off()
    ax.add_patch(
        FancyBboxPatch(
            (0.1, 0.1),
            width - 0.2,
            height - 0.2,
            "round,pad=0.06,rounding_size=0.12",
            facecolor=_PAPER,
            edgecolor=_EDGE,
            linewidth=0.8,
        )
    )
    return figure, ax


def _card(ax: Axes, x: float, y: float, width: float, height: float) -> None:
    style = "round,pad=0,rounding_size=0.07"
    ax.add_patch(FancyBboxPatch((x, y), width, height, style, facecolor=_CARD, edgecolor=_EDGE, linewidth=0.8))


def _arrow(ax: Axes, start: tuple[float, float], stop: tuple[float, float]) -> None:
    ax.add_patch(
        FancyArrowPatch(
            start,
            stop,
            arrowstyle="-|>,head_length=4,head_width=2.2",
            color=PAPER_GREY,
            linewidth=1.1,
            shrinkA=0,
            shrinkB=0,
        )
    )


def _output(
    ax: Axes, x: float, y: float, shape: tuple[int, ...], *, learned: bool, last: bool, spectrogram: bool
) -> None:
    """A layer's output, centred: lengths to scale with the square root of the numbers."""
    face, line = (_PALE, _BLUE) if learned else (_GREY, PAPER_GREY)
    if last:
        step = 0.16
        for number, emotion in enumerate(SHEMO):
            corner = x + (number - len(SHEMO) / 2) * step + 0.02, y - 0.06
            ax.add_patch(Rectangle(corner, step - 0.04, 0.12, color=EMOTION_COLOURS[emotion], linewidth=0))
        return
    if len(shape) == 1:  # a vector
        sheets, tall, wide = 1, 0.07, 0.085 * np.sqrt(shape[0])
    elif spectrogram:  # mels × frames, as many sheets as channels
        *channels, mels, frames = shape
        sheets, tall, wide = (
            1 + round(np.log2(channels[0])) // 2 if channels else 1,
            0.034 * np.sqrt(mels),
            0.085 * np.sqrt(frames),
        )
    else:  # channels over frames; the input has them the other way round
        frames, dims = shape if len(shape) == 2 else (shape[-1], shape[0])
        sheets, tall, wide = 1, 0.0215 * np.sqrt(dims), 0.17 * np.sqrt(frames)
    for sheet in reversed(range(sheets)):
        shift = 0.035 * (sheet - (sheets - 1) / 2)
        ax.add_patch(
            Rectangle(
                (x - wide / 2 + shift, y - tall / 2 + shift), wide, tall, facecolor=face, edgecolor=line, linewidth=0.7
            )
        )


# ----------------------------------------------------------------------------------------------------- writing

DIAGRAMS = {"four_tables": four_tables, "segment_cnn": segment_network, "spectrogram_cnn": spectrogram_network}


def write(folder: str | Path = FOLDER) -> list[Path]:
    """Draw all diagrams as SVG; the same code writes the same bytes.

    Parameters
    ----------
    folder : str or Path
        Made if need be.

    Returns
    -------
    list of Path
        One file each of `DIAGRAMS`.
    """
    written = []
    # Letters as outlines: no font has to be installed where the file is read.
    with plt.rc_context({"svg.hashsalt": "ser-utils", "svg.fonttype": "path", "font.family": "DejaVu Sans"}):
        for name, draw in DIAGRAMS.items():
            figure, path = draw(), Path(folder) / f"{name}.svg"
            with replacing(path) as temporary:
                figure.savefig(temporary, metadata={"Date": None, "Creator": None})
            plt.close(figure)
            written.append(path)
    return written


if __name__ == "__main__":
    for path in write():
        print(path)
