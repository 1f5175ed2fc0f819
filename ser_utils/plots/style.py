"""Style of all figures, and figures of recordings and features: one function a figure.

Figures of corpora are in `corpus_plots`, of scores in `score_plots` and `curve_plots`, of errors in `error_plots`.
Every emotion has one colour, one marker and one hatch, the same in all of them. The colours are those of
Okabe and Ito (2008), which stay apart for colour-blind readers; marker and hatch say it again without colour.

Functions take tables and arrays; those of one panel return an `Axes`, those of several a `Figure`. Two
parameters mean the same in all: `title` states the question or the finding; `ax` is where to draw, a new
figure if left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
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


def emotion_order(values: Iterable[str]) -> list[str]:
    """The emotions that occur among `values`, in the order in which every figure lists them."""
    present = set(values)
    return [name for name in EMOTIONS if name in present]


def axes_of(ax: Axes | None, width: float, height: float) -> Axes:
    """Return the given axes, or new ones of a size in inches."""
    return plt.subplots(figsize=(width, height), layout="constrained")[1] if ax is None else ax


def genders_of(clips: pd.DataFrame) -> pd.Series:
    """Gender of each clip, "unknown" where none is given."""
    return clips["gender"].astype(object).where(clips["gender"].notna(), "unknown")


def corpus_size(table: pd.DataFrame) -> str:
    """Count a table's clips and speakers in words, for titles: `"24 clips · 3 speakers"`."""
    clips = table["clip"].nunique() if "clip" in table else len(table)
    speakers = table["speaker"].nunique()
    return f"{clips} clip{'s' * (clips != 1)} · {speakers} speaker{'s' * (speakers != 1)}"


def mark_outside(ax: Axes, handles: list, title: str = "", columns: int = 1) -> None:
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
            Patch(facecolor=EMOTION_COLOURS[n], hatch=EMOTION_HATCHES[n], edgecolor=INK, linewidth=0.4, label=n)
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


# --- features -------------------------------------------------------------------------
