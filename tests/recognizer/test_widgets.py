"""Widgets for one's own recordings: what arrives is handed on as a file, and the cursor plays what it marks."""

from datetime import UTC, datetime

import matplotlib
import numpy as np
import pandas as pd
import pytest
import soundfile
from ipywidgets import FileUpload, Output

from ser_utils import audio, recognizer

matplotlib.use("Agg")


def parts(box, kind):
    """Widgets of a kind, anywhere in a box."""
    here = [child for child in box.children if isinstance(child, kind)]
    return here + [w for child in box.children if hasattr(child, "children") for w in parts(child, kind)]


def upload(box, name, content):
    (button,) = parts(box, FileUpload)
    then = datetime(2026, 1, 1, tzinfo=UTC)
    button.value = ({"name": name, "type": "", "size": len(content), "content": content, "last_modified": then},)


def test_an_uploaded_file_is_handed_on_as_it_was(write_tone):
    path, heard = write_tone("mine.wav"), []
    box = recognizer.inbox(lambda file: heard.append((file.name, file.read_bytes())))
    upload(box, "../mine.wav", path.read_bytes())
    assert heard == [("mine.wav", path.read_bytes())]


def test_every_further_file_is_answered(write_tone):
    heard = []
    box = recognizer.inbox(lambda file: heard.append(file.name))
    for name in ("one.wav", "two.wav"):
        upload(box, name, write_tone(name).read_bytes())
    assert heard == ["one.wav", "two.wav"]


def test_what_is_no_sound_is_answered_in_words(capsys):
    box = recognizer.inbox(audio.read)
    upload(box, "letter.txt", b"dear reader")
    assert "letter.txt" in capsys.readouterr().out and parts(box, Output)


def test_what_is_recorded_becomes_a_sound_file():
    heard = []
    box = recognizer.inbox(lambda file: heard.append(soundfile.read(file)))
    (microphone,) = parts(box, recognizer.Microphone)
    wave = np.sin(np.arange(4000) / 10).astype("float32") / 2
    microphone._handle_custom_msg({"rate": 16_000}, [memoryview(wave.tobytes())])
    ((samples, rate),) = heard
    assert rate == 16_000
    np.testing.assert_allclose(samples, wave, atol=1e-4)


def test_the_cursor_marks_a_segment_and_plays_it(monkeypatch):
    wave = np.linspace(-1, 1, 2 * audio.SAMPLE_RATE, dtype="float32")
    starts = np.array([0, 0.5, 1.0])
    timelines = pd.DataFrame({"seed": 0, "start": starts, "end": starts + 1, "anger": 0.25, "fear": 0.75})
    shown = []
    monkeypatch.setattr("ser_utils.recognizer.widgets.display", shown.append)
    moved = recognizer.cursor(wave, timelines, title="me")
    (slider,) = (child for child in moved.children if hasattr(child, "options"))
    slider.value = 0.5
    figure, player = shown[-2:]
    marks = [patch for patch in figure.axes[0].patches if patch.get_x() == 0.5]
    assert marks and marks[0].get_width() == pytest.approx(1.0)
    assert len(player.data) == 44 + 2 * audio.SAMPLE_RATE, "a second of 16-bit sound"
