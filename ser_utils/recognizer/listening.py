"""A listening test: clips whose labels are hidden, and a choice of emotions for each.

In JupyterLab it consists of widgets that save the answers; on an executed page, of HTML that needs no kernel.
"""

import base64
import io
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import ipywidgets
import jinja2
import numpy as np
import pandas as pd
import soundfile

from ser_utils import audio, replacing

_TEMPLATE = Path(__file__).resolve().parent / "templates" / "quiz.html.j2"


def _flac(sounds: Mapping[str, np.ndarray]) -> dict[str, bytes]:
    """Waveforms as files without loss, amplified by one factor, so that their differences in level remain."""
    peak, files = max(float(np.abs(wave).max(initial=1e-6)) for wave in sounds.values()), {}
    for clip, wave in sounds.items():
        file = io.BytesIO()
        soundfile.write(file, wave / peak, audio.SAMPLE_RATE, format="FLAC")
        files[clip] = file.getvalue()
    return files


def quiz(sounds: Mapping[str, np.ndarray], emotions: Sequence[str], folder: str | Path) -> ipywidgets.VBox:
    """Players with a row of emotion buttons each, a field for the listener's name, and a button that saves the answers.

    Parameters
    ----------
    sounds : mapping of str to ndarray
        Clip → waveform at 16 kHz. They are numbered from 1; their names, which may give labels away, are not shown.
    emotions : sequence of str
        What can be guessed.
    folder : str or Path
        Gets `<name>.csv` with the columns `clip`, `listener`, `guess`.
    """
    choices, rows = {}, []
    for number, (clip, file) in enumerate(_flac(sounds).items(), start=1):
        player = ipywidgets.Audio(value=file, format="flac", autoplay=False, loop=False)
        choices[clip] = ipywidgets.ToggleButtons(options=list(emotions), value=None, style={"button_width": "auto"})
        rows.append(ipywidgets.HBox([ipywidgets.Label(f"Clip {number}"), player, choices[clip]], layout={"flex_flow": "wrap"}))
    name = ipywidgets.Text(placeholder="your name")
    button, said = ipywidgets.Button(description="Save"), ipywidgets.Label()

    def save(_) -> None:
        given = {clip: choice.value for clip, choice in choices.items() if choice.value}
        file = re.sub(r"[^\w-]+", "_", name.value.strip())
        if not (given and file.strip("_")):
            said.value = "Nothing is saved yet: choose emotions and type your name, then press Save."
            return
        table = pd.DataFrame({"clip": list(given), "listener": name.value.strip(), "guess": list(given.values())})
        with replacing(Path(folder) / f"{file}.csv") as temporary:
            table.to_csv(temporary, index=False)
        said.value = f"{len(given)} of {len(choices)} answers are saved in {file}.csv. Now run the cells below."

    button.on_click(save)
    return ipywidgets.VBox([*rows, ipywidgets.HBox([name, button]), said])


def quiz_page(sounds: Mapping[str, np.ndarray], labels: Iterable[str], emotions: Sequence[str]) -> str:
    """The listening test as HTML: the browser shows recalls and UAR, and saves the answers as a CSV file.

    Parameters
    ----------
    sounds, emotions
        As for `quiz`.
    labels : iterable of str
        The emotion of each clip, in the order of `sounds`; only in the data of the script, never in a text.

    Returns
    -------
    str
        One element; once per page. It loads nothing.
    """
    files = [base64.b64encode(file).decode() for file in _flac(sounds).values()]
    # "</" would end the script element.
    answers = json.dumps(list(zip(sounds, labels, strict=True))).replace("</", "<\\/")
    template = jinja2.Template(_TEMPLATE.read_text(encoding="utf-8"), autoescape=True, trim_blocks=True)
    return template.render(files=files, emotions=emotions, answers=answers)
