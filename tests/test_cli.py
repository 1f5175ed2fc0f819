"""The `ser` command: exit status, one-line errors, help."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
import soundfile
from small import refused, write_corpus, write_notebook

from ser_utils import ROOT, cli, corpora, encoders, pipeline


@pytest.fixture
def corpus(tmp_path):
    (tmp_path / "corpus").mkdir()
    return write_corpus(tmp_path / "corpus")


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """Notebooks of our own in place of the checkout's."""
    notebooks = tmp_path / "checkout" / "notebooks"
    notebooks.mkdir(parents=True)
    monkeypatch.setattr("ser_utils.pipeline.running.ROOT", tmp_path / "checkout")
    write_notebook(notebooks, "01_only", "# Only", "count = 1  # how many", "assert count < 5, 'too many'")
    return notebooks




def test_run_ends_with_the_place_of_the_report(checkout, corpus, tmp_path, capsys):
    assert cli.main(["run", "--corpus", str(corpus), "--out", str(tmp_path / "out"), "-p", "count=2"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == f"report: {pipeline.Workspace(corpus, tmp_path / 'out').reports / 'index.html'}"


def test_a_failing_notebook_is_status_1_with_notebook_cell_and_error(checkout, corpus, tmp_path, capsys):
    assert cli.main(["run", "--corpus", str(corpus), "--out", str(tmp_path / "out"), "-p", "count=9"]) == 1
    said = capsys.readouterr().err
    assert "ser: 01_only, cell 3" in said and "AssertionError: too many" in said and "failed.ipynb" in said
    assert "Traceback" not in said


def test_an_unknown_corpus_is_status_2_and_nothing_that_exists_is_lost(checkout, tmp_path, capsys):
    kept = tmp_path / "out" / "figures" / "demo" / "scores.csv"
    kept.parent.mkdir(parents=True)
    kept.write_text("mine")
    assert "nemoo" in refused(capsys, "run", "--corpus", "nemoo", "--out", tmp_path / "out")
    assert kept.read_text() == "mine" and [p for p in (tmp_path / "out").rglob("*") if p.is_file()] == [kept]


def test_unusable_data_is_status_2_and_one_line(checkout, tmp_path, capsys):
    assert "missing.csv" in refused(capsys, "run", "--corpus", tmp_path / "missing.csv")
    (tmp_path / "bad.csv").write_text("path,speaker\na.wav,x\n")
    assert "emotion" in refused(capsys, "run", "--corpus", tmp_path / "bad.csv")
    assert "nowhere" in refused(capsys, "run", "--corpus", "nemo", "--data", tmp_path / "nowhere")
    assert not (tmp_path / "checkout" / "data").exists()


def test_one_speaker_only_is_refused_before_anything_runs(checkout, corpus, tmp_path, capsys):
    lines = corpus.read_text().splitlines()
    own = corpus.with_name("one.csv")
    own.write_text("\n".join([lines[0], *(line for line in lines if line.endswith(",x"))]) + "\n")
    assert "speaker" in refused(capsys, "run", "--corpus", own, "--out", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_an_emotion_of_one_speaker_is_refused_before_anything_runs(checkout, corpus, tmp_path, capsys):
    lines = corpus.read_text().splitlines()
    column = lines[0].split(",").index("emotion")
    emotion = lines[1].split(",")[column]
    own = corpus.with_name("alone.csv")
    alone = [line for line in lines[1:] if line.split(",")[column] != emotion or line.endswith(",x")]
    own.write_text("\n".join([lines[0], *alone]) + "\n")
    said = refused(capsys, "run", "--corpus", own, "--out", tmp_path / "out")
    assert f"emotion '{emotion}' comes from one speaker only ('x')" in said
    assert not (tmp_path / "out").exists()


def test_an_unreadable_recording_is_named_in_one_line_and_refused_when_strict(
    checkout, corpus, tmp_path, capsys, recwarn
):
    own = corpus.with_name("broken.csv")
    (corpus.parent / "broken.wav").write_text("no audio at all")
    own.write_text(corpus.read_text() + "broken.wav,anger,x\n")
    assert cli.main(["run", "--corpus", str(own), "--out", str(tmp_path / "out")]) == 0
    assert any("broken.wav" in str(w.message) and "1 of 7" in str(w.message) for w in recwarn)
    assert "broken.wav" in (next((tmp_path / "out/reports").glob("broken-*/index.html"))).read_text(encoding="utf-8")
    assert "broken.wav" in refused(capsys, "run", "--corpus", own, "--out", tmp_path / "out", "--strict")


def test_a_wrong_parameter_is_status_2_and_names_those_there_are(checkout, corpus, capsys):
    assert "there are count" in refused(capsys, "run", "--corpus", corpus, "-p", "cuont=3")
    assert "key=value" in refused(capsys, "run", "--corpus", corpus, "-p", "count")


@pytest.mark.parametrize(
    "arguments",
    [
        ["walk"], [], ["run", "--profile", "fast"], ["run", "--fast"], ["fetch"],
        ["pretrain", "--audio", "a", "--out", "b", "--minutes", "1", "--steps", "5"],
        ["pretrain", "--audio", "a", "--out", "b", "--minutes", "-1"],
    ],
)  # fmt: skip
def test_arguments_that_make_no_sense_are_status_2(arguments, capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main(arguments)
    assert stop.value.code == 2 and "usage: ser" in capsys.readouterr().err


def test_an_encoder_is_pretrained_resumed_and_named_at_the_end(tmp_path, capsys):
    speech, out = tmp_path / "speech", tmp_path / "mine"
    speech.mkdir()
    noise = np.random.default_rng(0).normal(0, 0.05, (4, 4 * 16_000)).astype("float32")
    for number, wave in enumerate(noise):
        soundfile.write(speech / f"{number}.wav", wave, 16_000)
    given = ["pretrain", "--audio", str(speech), "--out", str(out), "--steps"]
    assert cli.main([*given, "2"]) == 0
    assert str(out) in capsys.readouterr().out
    assert "add --resume" in refused(capsys, *given, "3")
    assert cli.main([*given, "3", "--resume"]) == 0
    assert json.loads((out / "training.json").read_text())["steps"] == 3
    assert encoders.load(str(out)).encode(noise[:1, :16_000]).shape == (1, 1, 49, 256)


def test_pretraining_on_nothing_is_status_2(tmp_path, capsys):
    assert "is not there" in refused(capsys, "pretrain", "--audio", tmp_path / "none", "--out", tmp_path, "--steps", 2)


def test_corpora_lists_each_with_its_licence_and_what_is_on_disk(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("ser_utils.corpora.cards.ROOT", tmp_path)
    place = tmp_path / "data" / "raw" / "nemo" / "samples"
    place.mkdir(parents=True)
    for name in ("a.wav", "b.FLAC", "c.txt"):
        (place / name).touch()
    assert cli.main(["corpora"]) == 0
    lines = {line.split()[0]: line for line in capsys.readouterr().out.splitlines()}
    assert set(lines) == {"name", *corpora.CORPORA}
    assert "2 clips" in lines["nemo"] and "CC BY-NC-SA 4.0" in lines["nemo"]
    assert " no " in lines["emodb"]


def test_corpora_shows_the_card_of_one(capsys):
    assert cli.main(["corpora", "shemo"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    for fact in ("87 (31 women, 56 men)", "kappa 64 %", "radio plays", "22.05 kHz", "academic use", "doi:10.1007/"):
        assert fact in said
    assert "known are demo, shemo" in refused(capsys, "corpora", "shemoo")


def test_fetching_an_unknown_corpus_is_status_2(tmp_path, capsys):
    assert "unheard" in refused(capsys, "fetch", "unheard", "--dir", tmp_path)


@pytest.mark.parametrize("command", [[], ["run"], ["fetch"], ["corpora"], ["pretrain"]])
def test_every_command_explains_itself(command, capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main([*command, "--help"])
    assert stop.value.code == 0
    said = capsys.readouterr().out
    assert f"usage: {' '.join(['ser', *command])}" in said
    assert "examples:" in said


def test_the_command_is_installed_with_the_module():
    import importlib.metadata

    (entry,) = [e for e in importlib.metadata.entry_points(group="console_scripts") if e.name == "ser"]
    assert entry.load() is cli.main
    said = subprocess.run(
        [sys.executable, "-m", "ser_utils.cli", "--version"], capture_output=True, text=True, check=True
    )
    assert said.stdout.startswith("ser-utils ")


def test_the_command_needs_no_home_no_folder_and_raises_no_warning():
    kept = {name: value for name, value in os.environ.items() if name in ("PATH", "PYTHONPATH", "SYSTEMROOT")}
    command = [sys.executable, "-W", "error", "-m", "ser_utils.cli", "corpora"]
    said = subprocess.run(command, cwd=os.sep, env=kept | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True)
    assert said.returncode == 0 and "demo" in said.stdout and not said.stderr


@pytest.mark.parametrize("command", ["run", "bench"])
def test_a_folder_given_with_a_table_has_no_effect_and_is_refused(capsys, corpus, tmp_path, command):
    assert "--data" in refused(capsys, command, "--corpus", corpus, "--data", tmp_path)
