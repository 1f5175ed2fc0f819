"""What all figures share: colours and markers of emotions, names of systems, order, and small helpers.

Every emotion has one colour, one marker and one hatch. The colours are those of Okabe and Ito (2008), which
colour-blind readers can distinguish; marker and hatch repeat the information without colour.

Functions with one panel return an `Axes`, those with several a `Figure`. Two parameters mean the same in all of them:
`title` states the question or the finding; `ax` is where to draw, by default a new figure.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from ser_utils import EMOTIONS, emotions_among


class _Looks(dict[str, str]):
    """Looks of the canonical emotions; those that a corpus brings share one more."""

    other: str

    def __missing__(self, name: str) -> str:
        return self.other


#: By arousal, lowest first: emotions that are often confused stand side by side. ShEMO's six get the strongest colours.
EMOTION_COLOURS = _Looks({
    "boredom": "#999999",
    "calm": "#56B4E9",
    "sadness": "#0072B2",
    "neutral": "#5A5A5A",
    "disgust": "#F0E442",
    "happiness": "#E69F00",
    "anger": "#D55E00",
    "fear": "#CC79A7",
    "surprise": "#009E73",
})
EMOTION_COLOURS.other = "#C4C4C4"
#: Repeats the colour in scatter and line plots.
EMOTION_MARKERS = _Looks(zip(EMOTIONS, "^XPpvosDd", strict=True))
EMOTION_MARKERS.other = "*"
#: Repeats the colour in bars: only the emotions that ShEMO lacks are hatched, so that six colours stay plain.
EMOTION_HATCHES = _Looks(dict.fromkeys(EMOTIONS, "") | {"boredom": "..", "calm": "///", "disgust": "xx"})
EMOTION_HATCHES.other = "++"
#: Gender is shown by lightness, never by a colour of the emotions.
GENDER_GREYS: dict[str, str] = {"female": "#B0B0B0", "male": "#4D4D4D", "unknown": "#E5E5E5"}
INK, PAPER_GREY, BLUE, VERMILION = "#222222", "#8C8C8C", "#0072B2", "#D55E00"
_CURVE_COLOURS = (BLUE, VERMILION, "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#999999")
#: Colour, line style and marker of curves that are not emotions, such as systems.
CURVE_STYLES = tuple(zip(_CURVE_COLOURS, ("-", "--", "-.", ":") * 2, "os^DvPXd", strict=True))

_CLASSIFIERS = {"lda": "LDA", "svm": "SVM", "segment-lda": "LDA per segment", "cnn": "segment CNN"}
_FEATURES = {
    "log-mel": "log-mel",
    "egemaps": "eGeMAPS",
    "encoder-random": "{encoder} with random weights",
    "encoder-start": "{encoder} before pre-training",
    "encoder": "{encoder}",
}
#: Display names of systems (`<features>-<classifier>`), in the order of tables; `{encoder}` is a blank.
SYSTEM_NAMES: dict[str, str] = {
    "majority": "majority class",
    "vote": "average of all systems",
    "spectrogram-cnn": "spectrogram CNN, pre-trained on keywords",
    "spectrogram-cnn-free": "spectrogram CNN, pre-trained, all layers trained",
    "spectrogram-cnn-scratch": "spectrogram CNN, random weights",
    "spectrogram-cnn-scratch-frozen": "spectrogram CNN, random weights, frozen",
    **{
        f"{features}-{classifier}": f"{kind}, {words}"
        for classifier, kind in _CLASSIFIERS.items()
        for features, words in _FEATURES.items()
    },
    "encoder-segment-linear": "linear layer per segment, {encoder}",
    "encoder-cnn-early": "segment CNN with early stopping, {encoder}",
    "encoder-cnn-ensemble": "segment CNNs averaged, {encoder}",
    "encoder-frozen": "segment CNN, {encoder}, frozen",
    "encoder-tuned": "{encoder}, fine-tuned",
    "encoder-tuned-last": "{encoder}, last layer tuned",
    "encoder-tuned-lora": "{encoder}, tuned with LoRA",
    "encoder-tuned-all": "{encoder}, all layers tuned",
}
#: Ends the name of a system with per-speaker statistics.
PER_SPEAKER = "/speaker"


def use_style() -> None:
    """Set matplotlib's defaults for all figures of the compendium: legible at 110 dpi, nothing cut off."""
    plt.rc("figure", **{"dpi": 110, "titlesize": 12, "constrained_layout.use": True})
    plt.rc("savefig", dpi=110)
    plt.rc("font", size=10)
    plt.rc("axes", titlesize=11, labelsize=10, titlelocation="left", axisbelow=True)
    plt.rc("axes.spines", top=False, right=False)
    plt.rc(("xtick", "ytick"), labelsize=9)
    plt.rc("legend", fontsize=9, title_fontsize=9, frameon=False)
    plt.rc("grid", color="#DDDDDD", linewidth=0.6)
    plt.rc("image", aspect="auto")
    plt.rc("hatch", linewidth=0.6)


def emotion_order(values: Iterable[str]) -> list[str]:
    """The emotions among `values`, from the lowest arousal to the highest, as every figure lists them; then others."""
    present = emotions_among(values)
    return [name for name in EMOTION_COLOURS if name in present] + [name for name in present if name not in EMOTION_COLOURS]


def display_name(system: str, *, encoder: str = "encoder") -> str:
    """Name a system in words.

    Parameters
    ----------
    system : str
        `<features>-<classifier>`, optionally with `/speaker` (per-speaker statistics) or another addition behind it.
        Features alone (`egemaps`) are named, too; any other name is returned as it is.
    encoder : str
        What the encoder is called.

    Examples
    --------
    >>> display_name("egemaps-svm/speaker"), display_name("encoder-lda", encoder="wav2vec2-nano")
    ('SVM, eGeMAPS · per-speaker', 'LDA, wav2vec2-nano')
    >>> display_name("encoder-cnn, calibrated"), display_name("seed 1")
    ('segment CNN, encoder · calibrated', 'seed 1')
    """
    names = _FEATURES | SYSTEM_NAMES
    for name in sorted(names, key=len, reverse=True):
        addition = system.removeprefix(name)
        if addition == system or addition[:1] not in ("", "/", ",", " "):
            continue
        words = names[name].format(encoder=encoder)
        addition = addition.replace(PER_SPEAKER, ", per-speaker").strip(", ")
        return f"{words} · {addition}" if addition else words
    return system


def system_order(systems: Iterable[str]) -> list[str]:
    """The systems with a display name among `systems`, in the order of tables; per-speaker ones come last."""
    rank = {name: i for i, name in enumerate(SYSTEM_NAMES)}
    known = {system for system in systems if system.removesuffix(PER_SPEAKER) in rank}
    return sorted(known, key=lambda system: (system.endswith(PER_SPEAKER), rank[system.removesuffix(PER_SPEAKER)]))


def curves_of(table: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame, tuple[str, str, str]]]:
    """Give a name, the rows and a style (colour, line, marker) of each curve: one per system and level.

    Curves are named by whichever of the two varies; a single curve has an empty name.
    """
    by = [column for column in ("system", "level") if column in table and table[column].nunique() > 1]
    groups = table.groupby(by, sort=False) if by else [((), table)]
    levels = {"segment": "score of one segment", "clip": "score of the clip"}
    for (key, part), style in zip(groups, CURVE_STYLES, strict=False):
        yield ", ".join(levels.get(word, display_name(str(word))) for word in key), part, style


def draw_band(ax: Axes, x: pd.Series, rows: pd.DataFrame, colour: str) -> None:
    """Shade the range from `low` to `high`, fractions drawn in percent; nothing where they are not known."""
    if {"low", "high"} <= set(rows):
        low, high = 100 * rows["low"].astype(float), 100 * rows["high"].astype(float)
        ax.fill_between(x.astype(float), low, high, color=colour, alpha=0.15, linewidth=0)


def axes_of(width: float, height: float, ax: Axes | None = None) -> Axes:
    """Return the given axes, or new ones of a size in inches."""
    return plt.subplots(figsize=(width, height), layout="constrained")[1] if ax is None else ax


def panel_grid(count: int, columns: int, width: float, height: float) -> tuple[Figure, list[Axes]]:
    """Make a figure of `count` panels, each of a size in inches, at most `columns` in a row."""
    columns = min(columns, count)
    rows = -(-count // columns)
    size = (width * columns, height * rows)
    figure, axes = plt.subplots(rows, columns, figsize=size, squeeze=False, layout="constrained")
    for ax in axes.flat[count:]:
        ax.set_visible(False)
    return figure, list(axes.flat[:count])


def with_finding(title: str, finding: str) -> str:
    """Put a finding below a title; a title of two lines has its own."""
    return title if "\n" in title or not finding else f"{title}\n{finding}"


def title_figure(figure: Figure, title: str) -> None:
    """Put a title at the left of a whole figure."""
    figure.suptitle(title, x=0.01, ha="left")


def shaded_table(ax: Axes, table: pd.DataFrame, texts: Sequence[Sequence[str]], *, white: float, **image) -> AxesImage:
    """Draw a table of numbers as shaded cells with `texts` in them, white where the magnitude is above `white`.

    `image` is passed to `Axes.imshow`: `cmap`, `vmin`, `vmax`.
    """
    values = table.to_numpy(float)
    drawn = ax.imshow(values, **image)
    for (i, j), value in np.ndenumerate(values):
        colour = "white" if abs(value) > white else INK
        ax.text(j, i, texts[i][j], ha="center", va="center", fontsize=8.5, color=colour)
    ax.set_xticks(range(table.shape[1]), table.columns, rotation=30, ha="right", rotation_mode="anchor")
    ax.set_yticks(range(table.shape[0]), table.index)
    ax.spines[:].set_visible(False)
    ax.tick_params(length=0)
    return drawn


def genders_of(table: pd.DataFrame) -> pd.Series:
    """Gender of each row, "unknown" where none is given."""
    if "gender" not in table:
        return pd.Series("unknown", index=table.index)
    return table["gender"].astype(object).where(table["gender"].notna(), "unknown")


def mark_outside(ax: Axes, handles: Sequence | None = None, title: str = "", **legend) -> None:
    """Put the legend right of the axes, where it covers no data."""
    place = dict(loc="upper left", bbox_to_anchor=(1.01, 1.0), borderaxespad=0, handletextpad=0.5)
    handles = ax.get_legend_handles_labels()[0] if handles is None else handles
    ax.legend(handles=handles, title=title or None, **place | legend)
