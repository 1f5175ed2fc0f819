"""Widgets for the reader's own recordings, in JupyterLab: a microphone, an upload button, a cursor."""

import tempfile
from collections.abc import Callable
from pathlib import Path

import anywidget
import ipywidgets
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import soundfile
from IPython.display import Audio, clear_output, display

from ser_utils import SerError, audio, plots


class Microphone(anywidget.AnyWidget):
    """A button that records in the browser until it is clicked again.

    `then` is called with the recording, mono float32 of shape (samples,), and its rate in Hz.
    """

    _esm = Path(__file__).resolve().parent / "templates" / "microphone.js"

    def __init__(self, then: Callable[[np.ndarray, int], None]):
        super().__init__()
        self.on_msg(lambda _, content, buffers: then(np.frombuffer(buffers[0], "<f4"), content["rate"]))


def inbox(answer: Callable[[Path], None]) -> ipywidgets.VBox:
    """Buttons that upload a sound file and record one; the output of `answer`, called with its path, appears below.

    The sound stays on this computer, in a temporary folder that is deleted when the kernel ends.
    """
    folder = tempfile.TemporaryDirectory(prefix="ser-")
    output = ipywidgets.Output()

    def take(path: Path) -> None:
        with output:
            clear_output(wait=True)
            try:
                answer(path)
            except SerError as error:
                print(error)

    def uploaded(change) -> None:
        for file in change["new"]:
            path = Path(folder.name) / Path(file["name"]).name
            path.write_bytes(file["content"])
            take(path)

    def recorded(wave: np.ndarray, rate: int) -> None:
        path = Path(folder.name) / "recorded.wav"
        soundfile.write(path, wave, rate)
        take(path)

    upload = ipywidgets.FileUpload(accept="audio/*", description="A sound file")
    upload.observe(uploaded, names="value")
    box = ipywidgets.VBox([ipywidgets.HBox([Microphone(recorded), upload]), output])
    box.folder = folder  # kept as long as the widgets are
    return box


def cursor(wave: np.ndarray, timelines: pd.DataFrame, *, title: str = "") -> ipywidgets.Widget:
    """A slider along a recording: the segment under it is marked in the timeline and can be played.

    Parameters
    ----------
    wave : ndarray, shape=(samples,)
        At 16 kHz.
    timelines, title
        As for `plots.probability_timeline`.
    """
    ends = timelines.groupby("start")["end"].first()

    def show(start: float) -> None:
        figure = plots.probability_timeline(wave, audio.SAMPLE_RATE, timelines, title=title)
        for ax in figure.axes:
            # Only the outline is visible on the dark spectrogram.
            ax.axvspan(start, ends[start], facecolor=(0, 0, 0, 0.12), edgecolor="#0072B2", linewidth=2)
        display(figure)
        plt.close(figure)
        first, last = (round(second * audio.SAMPLE_RATE) for second in (start, ends[start]))
        display(Audio(wave[first:last], rate=audio.SAMPLE_RATE))

    options = [(f"{start:.2f} to {end:.2f} s", start) for start, end in ends.items()]
    style = {"description": "segment", "continuous_update": False, "layout": {"width": "32rem"}}
    slider = ipywidgets.SelectionSlider(options=options, **style)
    return ipywidgets.interactive(show, start=slider)
