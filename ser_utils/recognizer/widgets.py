"""Widgets for the reader's own recordings, in JupyterLab: a microphone, an upload button, a cursor along a recording."""

from __future__ import annotations

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

# Browsers record in formats that libsndfile does not read; the browser itself can decode what it recorded.
_RECORDER = """
function render({ model, el }) {
  const button = document.createElement("button");
  button.className = "jupyter-button widget-button microphone";
  Object.assign(button.style, { width: "auto", margin: "2px" });
  button.textContent = "● Record";
  el.append(button);
  let recorder = null;
  const hand_over = async (parts) => {
    const context = new AudioContext({ sampleRate: 16000 });
    const sound = await context.decodeAudioData(await new Blob(parts).arrayBuffer());
    await context.close();
    model.send({ rate: sound.sampleRate }, undefined, [sound.getChannelData(0).slice().buffer]);
  };
  button.onclick = async () => {
    if (recorder) { recorder.stop(); return; }
    const parts = [];
    try {
      const stream = await navigator.mediaDevices.getUserMedia({ audio: true });
      recorder = new MediaRecorder(stream);
      recorder.ondataavailable = (event) => parts.push(event.data);
      recorder.onstop = () => {
        stream.getTracks().forEach((track) => track.stop());
        recorder = null;
        button.textContent = "● Record again";
        hand_over(parts).catch((error) => { button.textContent = `Not recorded: ${error.message}`; });
      };
      recorder.start();
      button.textContent = "■ Stop";
    } catch (error) {
      recorder = null;
      button.textContent = `No microphone here: ${error.message}`;
    }
  };
}
export default { render };
"""


class Microphone(anywidget.AnyWidget):
    """A button that records in the browser until it is clicked again.

    Parameters
    ----------
    then : callable
        Called with the recording, mono float32 of shape (samples,), and its rate in Hz.
    """

    _esm = _RECORDER

    def __init__(self, then: Callable[[np.ndarray, int], None]):
        super().__init__()
        self.on_msg(lambda _, content, buffers: then(np.frombuffer(buffers[0], "<f4"), content["rate"]))


def inbox(answer: Callable[[Path], None]) -> ipywidgets.VBox:
    """A button that uploads a sound file and one that records; the output of `answer` appears below them.

    The sound stays on this computer, in a temporary folder that is deleted when the kernel ends.

    Parameters
    ----------
    answer : callable
        Called with the path of each new sound file.
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
    timelines : DataFrame
        As `plots.probability_timeline` takes it.
    title : str
        Of the figure.
    """
    ends = timelines.groupby("start")["end"].first()

    def show(start: float) -> None:
        figure = plots.probability_timeline(wave, audio.SAMPLE_RATE, timelines, title=title)
        for ax in figure.axes:
            # The outline is what can be seen on the dark spectrogram.
            ax.axvspan(start, ends[start], facecolor=(0, 0, 0, 0.12), edgecolor="#0072B2", linewidth=2)
        display(figure)
        plt.close(figure)
        first, last = (round(second * audio.SAMPLE_RATE) for second in (start, ends[start]))
        display(Audio(wave[first:last], rate=audio.SAMPLE_RATE))

    options = [(f"{start:.2f} to {end:.2f} s", start) for start, end in ends.items()]
    slider = ipywidgets.SelectionSlider(
        options=options, description="segment", continuous_update=False, layout={"width": "32rem"}
    )
    return ipywidgets.interactive(show, start=slider)
