"""The listening test: labels are hidden, answers are saved, and the page computes what the module computes."""

import json
import re
import shutil
import subprocess

import numpy as np
import pandas as pd
import pytest
from ipywidgets import Audio, Button, Label, Text, ToggleButtons
from tables import SIX, make_clips
from test_widgets import parts

from ser_utils import corpora, evaluation, recognizer

QUIZ = corpora.draw_quiz(make_clips(), 8)
SOUNDS = {clip: np.random.default_rng(i).normal(0, 0.01 * (i + 1), 4000) for i, clip in enumerate(QUIZ["clip"])}
DATA = re.compile(r"<script type=\"application/json\">(.*?)</script>", re.S)


@pytest.fixture
def box(tmp_path):
    return recognizer.quiz(SOUNDS, SIX, tmp_path)


def save(box, name, guesses):
    (field,), (button,) = parts(box, Text), parts(box, Button)
    for buttons, guess in zip(parts(box, ToggleButtons), guesses, strict=False):
        buttons.value = guess
    field.value = name
    button.click()
    return box.children[-1].value


def test_every_clip_has_a_player_and_a_row_of_buttons_of_which_none_is_chosen(box):
    assert len(parts(box, Audio)) == len(parts(box, ToggleButtons)) == len(QUIZ)
    assert {buttons.value for buttons in parts(box, ToggleButtons)} == {None}
    shown = " ".join(label.value for label in parts(box, Label))
    assert "Clip 1" in shown and not any(clip in shown for clip in QUIZ["clip"])


def test_saved_answers_are_read_back(box, tmp_path):
    assert "2 of 8 answers are saved in Anna_B_.csv" in save(box, " Anna B. ", ["anger", "fear"])
    answers = evaluation.read_answers(tmp_path, QUIZ, SIX)
    assert answers["guess"].tolist() == ["anger", "fear"] and set(answers["listener"]) == {"Anna B."}
    assert answers["clip"].tolist() == QUIZ["clip"][:2].tolist()


@pytest.mark.parametrize(("name", "guesses"), [("", ["anger"]), ("../", ["anger"]), ("Anna", [])])
def test_without_a_name_or_a_guess_nothing_is_saved_and_it_says_so(name, guesses, box, tmp_path):
    assert "Nothing is saved yet" in save(box, name, guesses)
    assert not list(tmp_path.iterdir())


def test_differences_in_level_can_be_heard():
    import io

    import soundfile

    waves = [soundfile.read(io.BytesIO(player.value))[0] for player in parts(recognizer.quiz(SOUNDS, SIX, "."), Audio)]
    levels = np.array([np.sqrt(np.mean(wave**2)) for wave in waves])
    np.testing.assert_allclose(levels / levels[0], np.arange(1, 9), rtol=0.1)
    assert np.abs(waves[-1]).max() > 0.95


def test_labels_are_only_in_the_data_of_the_page():
    page = recognizer.quiz_page(SOUNDS, QUIZ["emotion"], SIX)
    other = recognizer.quiz_page(SOUNDS, QUIZ["emotion"][::-1], SIX)
    assert page != other and DATA.sub("", page) == DATA.sub("", other)
    assert not any(clip in DATA.sub("", page) for clip in QUIZ["clip"])
    assert json.loads(DATA.search(page)[1]) == QUIZ[["clip", "emotion"]].to_numpy().tolist()


def test_the_page_loads_nothing_and_offers_every_emotion_for_every_clip():
    page = recognizer.quiz_page(SOUNDS, QUIZ["emotion"], SIX)
    assert "http" not in page and not re.search(r"<script[^>]+src=", page)
    assert set(re.findall(r'src="([^,"]+)', page)) == {"data:audio/flac;base64"}
    assert page.count("<audio") == len(QUIZ) == page.count("<option>fear</option>")


def test_no_label_can_end_the_script():
    page = recognizer.quiz_page(dict(list(SOUNDS.items())[:1]), ["</script><b>"], ["</script><b>", "fear"])
    assert page.count("</script>") == 2 and "<b>" not in DATA.sub("", page)


NODE = shutil.which("node")
DOCUMENT = """
const element = () => ({ textContent: "", children: [], appendChild(one) { this.children.push(one); return one; } });
const selects = GUESSES.map((value) => ({ value })), marks = GUESSES.map(element), score = element(), show = {}, save = {};
const box = {
  querySelector: (what) => ({ "script[type='application/json']": { textContent: JSON.stringify(CLIPS) }, ".score": score,
    "button.show": show, "button.save": save, input: { value: "me" } })[what],
  querySelectorAll: (what) => what === "select" ? selects : marks,
};
globalThis.document = { getElementById: () => box, createElement: element };
SCRIPT
show.onclick();
console.log(score.children.map((one) => one.textContent).join("\\n"));
"""


@pytest.mark.skipif(not NODE, reason="no node on this machine; the browser tests run the page as well")
def test_the_page_computes_the_recalls_and_the_uar_of_the_module():
    answers = evaluation.simulate_listeners(QUIZ, SIX, right=[0.5], seed=3)
    page = recognizer.quiz_page(SOUNDS, QUIZ["emotion"], SIX)
    script = re.findall(r"<script>(.*?)</script>", page, re.S)[0]
    code = DOCUMENT.replace("SCRIPT", script).replace("CLIPS", DATA.search(page)[1])
    code = code.replace("GUESSES", json.dumps(answers["guess"].tolist()))
    said = subprocess.run([NODE, "-e", code], capture_output=True, text=True, check=True).stdout
    table = evaluation.answers_as_predictions(answers, QUIZ, SIX)
    scores = evaluation.scores(table, resamples=50).set_index("metric")["value"]
    assert f"UAR, the mean of these recalls: {100 * scores['uar']:.0f} %." in said
    for emotion, recall in scores.filter(like="recall_").dropna().items():
        assert f"{emotion.removeprefix('recall_')}: recall {100 * recall:.0f} %" in said
    assert pd.notna(scores["uar"]) and "8 of 8 clips answered." in said
