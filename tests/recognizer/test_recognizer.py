"""A trained system in a folder: kept, loaded, applied to files of any kind, and honest about what it hears."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
from scipy.special import softmax

from ser_utils import ROOT, SerError, audio, cli, corpora, encoders, evaluation, features, models, recognizer
from ser_utils.recognizer import EmotionRecognizer


@pytest.fixture(scope="module")
def clips():
    return corpora.thin(corpora.load("demo"), 4)


@pytest.fixture(scope="module")
def folder(clips, tmp_path_factory):
    """A recognizer trained for two passes on a few demo clips."""
    place = tmp_path_factory.mktemp("recognizer")
    scores = pd.DataFrame({
        "system": ["segment-cnn"], "metric": ["uar"], "level": ["clip"], "value": [0.5], "low": [0.4], "high": [0.6],
    })  # fmt: skip
    encoder = encoders.load("wav2vec2-nano")
    trained = recognizer.train(clips, encoder, corpus="a test", epochs=2, cache=place / "cache", scores=scores)
    return trained.save(place / "kept")


@pytest.fixture(scope="module")
def kept(folder):
    return EmotionRecognizer.from_pretrained(folder)


def test_it_judges_as_the_network_that_was_evaluated_would(clips, kept, tmp_path):
    segments = audio.cut_segments(clips, seconds=1.0)
    encoder = encoders.load("wav2vec2-nano")
    X = features.extract(clips, segments, encoder, layers=(encoder.recommended_layer,), cache=tmp_path)
    facts = clips.set_index("clip").loc[segments["clip"]]
    cnn = models.SegmentCNN(epochs=2).fit(X, facts["emotion"].to_numpy(), groups=facts["speaker"].to_numpy())
    table = segments[["clip", "start", "end"]].assign(system="x", seed=0, fold=0)
    table[["speaker", "emotion"]] = facts[["speaker", "emotion"]].to_numpy()
    table[list(cnn.classes_)] = cnn.predict_proba(X)
    expected = evaluation.to_clips(table).set_index("clip")
    for row in clips.iloc[::9].itertuples():
        scores = {s["label"]: s["score"] for s in kept(row.path)}
        np.testing.assert_allclose([scores[n] for n in kept.labels], expected.loc[row.clip, kept.labels].astype(float), atol=2e-3)
        own = table[table["clip"] == row.clip]
        np.testing.assert_allclose(kept.timeline(row.path)[["start", "end"]], own[["start", "end"]])


def test_it_answers_like_a_pipeline_of_transformers(clips, kept):
    path = clips["path"].iloc[0]
    one = kept(path)
    assert [set(s) for s in one] == [{"label", "score"}] * len(kept.labels)
    assert sum(s["score"] for s in one) == pytest.approx(1)
    assert [s["score"] for s in one] == sorted((s["score"] for s in one), reverse=True)
    assert kept(path, top_k=2) == one[:2] and kept([path, path]) == [one, one]
    wave, rate = soundfile.read(path, dtype="float32")
    again = kept(wave, sampling_rate=rate)
    assert [s["label"] for s in again] == [s["label"] for s in one]
    assert again[0]["score"] == pytest.approx(one[0]["score"], abs=1e-3)


def test_the_clip_is_the_mean_of_its_segments_log_probabilities(clips, kept):
    path = clips.loc[clips["duration"].idxmax(), "path"]
    said = kept.predict(path)
    assert len(said.timeline) >= 3
    pooled = softmax(np.log(said.timeline[kept.labels]).mean())
    scores = {s["label"]: s["score"] for s in said.scores}
    np.testing.assert_allclose([scores[name] for name in kept.labels], pooled, atol=1e-6)


def test_a_long_recording_is_cut_as_the_whole_file_would_be(kept, write_tone, monkeypatch):
    path = write_tone("long.wav", seconds=7.4, sample_rate=22_050)
    clip = pd.DataFrame({"clip": ["a"], "path": [str(path)], "duration": [7.4]})
    segments = audio.cut_segments(clip, seconds=1.0)
    expected = np.stack(list(audio.read_segments(clip, segments)))
    heard = []
    monkeypatch.setattr(kept, "probabilities", lambda batch: heard.append(batch) or np.full((len(batch), len(kept.labels)), 0.2))
    whole = audio.stream
    monkeypatch.setattr(audio, "stream", lambda path, **how: whole(path, **how | {"seconds": 1.7}))
    kept.predict(path)
    np.testing.assert_allclose(np.concatenate(heard), expected, atol=2e-6)


def test_what_is_kept_holds_no_pickle_and_says_what_scores_mean(folder):
    assert sorted(p.name for p in folder.iterdir()) == ["README.md", "config.json", "model.safetensors"]
    card = (folder / "README.md").read_text()
    assert "not what a person feels" in card and "a test" in card and "0.500 | 0.400 to 0.600" in card
    assert card.startswith("---\n") and "pipeline_tag: audio-classification" in card
    config = json.loads((folder / "config.json").read_text())
    assert config["encoder"] == "wav2vec2-nano" and config["training"]["speakers"] > 2


def test_robustness_goes_into_the_card_and_predict_says_where(kept, clips, tmp_path, capsys):
    tests = {"white noise, 0 dB": evaluation.PERTURBATIONS["white noise, 0 dB"]}
    table = evaluation.robustness(kept, corpora.thin(clips, 1), tests=tests, resamples=50)
    config = kept.config | {"robustness": table.drop(columns="passed").replace({np.nan: None}).to_dict("records")}
    place = EmotionRecognizer(kept.encoder, kept.network, config).save(tmp_path / "tested")
    card = (place / "README.md").read_text()
    assert "| white noise, 0 dB |" in card and ", 90% |" in card and "-5.0 |" in card
    assert "| gender: female | –, – |" in card and "| clean" not in card and "nan%" not in card
    form = (ROOT / "docs" / "model_card.md").read_text(encoding="utf-8").split("## Who and what for")[0]
    for part in (r"^- \*\*.+?\*\*:", r"^\| [a-z]+ \|.*(?=\n\|---)"):  # fields, heads of tables
        written = re.findall(part, card, re.M)
        assert written and re.findall(part, form, re.M) == written, "the form to fill in and the card differ"
    for folder, told in ((place, True), (kept.save(tmp_path / "untested"), False)):
        assert cli.main(["predict", str(clips["path"].iloc[0]), "--model", str(folder)]) == 0
        assert (f"Robustness: {folder / 'README.md'}" in capsys.readouterr().err) == told


def test_an_encoder_from_a_local_folder_goes_with_it(clips, tmp_path):
    shutil.copytree(encoders.WEIGHTS / "wav2vec2-nano", tmp_path / "mine")
    encoder = encoders.load(str(tmp_path / "mine"))
    trained = recognizer.train(clips, encoder, corpus="x", epochs=1, cache=tmp_path / "cache")
    before = trained(clips["path"].iloc[0])
    place = trained.save(tmp_path / "kept")
    (tmp_path / "mine").rename(tmp_path / "elsewhere")
    (tmp_path / "cache").rename(tmp_path / "gone")
    moved = place.rename(tmp_path / "moved")
    assert EmotionRecognizer.from_pretrained(moved)(clips["path"].iloc[0]) == before


def test_a_tuned_encoder_goes_with_the_system_that_was_trained_on_it(clips, tmp_path, capsys):
    encoder = encoders.load("wav2vec2-nano")
    how = models.FineTuned(encoder=encoder, tuned="last", epochs=1, tuning_epochs=1)
    trained = recognizer.train(clips, encoder, corpus="x", cache=tmp_path / "cache", tuned=how)
    path = clips["path"].iloc[0]
    segments = audio.cut_segments(clips.iloc[:1], seconds=1.0, active=audio.activity(clips.iloc[:1]))
    before, waves = trained(path), np.stack(list(audio.read_segments(clips.iloc[:1], segments)))
    place = trained.save(tmp_path / "kept")
    del trained  # and with it the folder in which its encoder lay
    again = EmotionRecognizer.from_pretrained(place)
    assert again(path) == before and again.encoder.n_layers == 2
    assert again.config["training"]["epochs"] == 2 and "tuned on this corpus (last)" in (place / "README.md").read_text()
    facts = clips.set_index("clip").loc[(cut := audio.cut_segments(clips, seconds=1.0, active=audio.activity(clips)))["clip"]]
    X = features.extract(clips, cut, encoder, layers=(0,), cache=tmp_path / "cache")
    same = models.FineTuned(encoder=encoder, tuned="last", epochs=1, tuning_epochs=1).fit(X, facts["emotion"].to_numpy())
    np.testing.assert_allclose(again.probabilities(waves), same.predict_proba(waves), atol=5e-3)
    assert cli.main(["predict", path, "--model", str(place)]) == 0 and path in capsys.readouterr().out
    with pytest.raises(SerError, match="with the head cnn"):
        recognizer.train(clips, encoder, corpus="x", tuned=models.FineTuned(head="mean"))


def test_a_speaker_who_is_left_out_changes_nothing_that_is_learned(clips, tmp_path):
    speaker = clips["speaker"].iloc[0]
    other = clips.assign(emotion=clips["emotion"].where(clips["speaker"] != speaker, "anger"))
    encoder, how = encoders.load("wav2vec2-nano"), dict(corpus="x", epochs=1, leave_out=[speaker], cache=tmp_path)
    first, second = (recognizer.train(table, encoder, **how) for table in (clips, other))
    assert first.config == second.config and first.config["training"]["speakers"] == clips["speaker"].nunique() - 1
    assert first(clips["path"].iloc[0]) == second(clips["path"].iloc[0])


def test_saving_again_replaces_the_whole_folder(kept, tmp_path):
    place = kept.save(tmp_path / "kept")
    (place / "old.txt").write_text("of the last version")
    kept.save(place)
    assert not (place / "old.txt").exists() and [p.name for p in tmp_path.iterdir()] == ["kept"]


def test_a_folder_that_cannot_be_replaced_stays_as_it_was(kept, tmp_path, monkeypatch):
    place = kept.save(tmp_path / "kept")
    (place / "old.txt").write_text("of the last version")
    replace = os.replace

    def failing(source, target):
        if Path(source).name == "new":
            raise PermissionError("in use")
        replace(source, target)

    monkeypatch.setattr(os, "replace", failing)
    with pytest.raises(PermissionError):
        kept.save(place)
    assert (place / "old.txt").exists() and (place / "config.json").exists()
    assert [p.name for p in tmp_path.iterdir()] == ["kept"]


def test_a_folder_without_a_recognizer_or_with_another_encoder_is_refused(folder, kept, tmp_path):
    with pytest.raises(SerError, match="holds no recognizer"):
        EmotionRecognizer.from_pretrained(tmp_path)
    place = kept.save(tmp_path / "kept")
    config = json.loads((place / "config.json").read_text())
    (place / "config.json").write_text(json.dumps(config | {"fingerprint": "0" * 8}))
    with pytest.raises(SerError, match="another version of wav2vec2-nano"):
        EmotionRecognizer.from_pretrained(place)
    (place / "config.json").write_text("{")
    with pytest.raises(SerError, match="no readable recognizer"):
        EmotionRecognizer.from_pretrained(place)


def test_silence_noise_and_telephone_are_unlike_the_training_data_and_its_own_clips_are_not(clips, kept, tmp_path):
    def reasons(wave, rate=16_000):
        return " ".join(kept.predict(np.asarray(wave, np.float32), sampling_rate=rate).unusual)

    noise = np.random.default_rng(0).normal(size=48_000)
    assert "silence" in reasons(np.zeros(48_000)) and "silence" in reasons(1e-5 * noise)
    assert "voiced frames" in reasons(0.05 * noise)
    speech = audio.read(clips["path"].iloc[3])
    assert "above 4 kHz" in reasons(audio.resample(speech, 16_000, 6_000), 6_000)
    assert "full scale" in reasons(0.003 * speech)
    own = [kept.predict(path).unusual for path in clips["path"].iloc[::7]]
    assert np.mean([not doubts for doubts in own]) > 0.9


def test_it_does_not_decide_on_silence_or_below_the_wanted_confidence(kept, clips):
    assert kept.predict(np.zeros(16_000, np.float32)).decision() is None
    said = kept.predict(clips["path"].iloc[0])
    best = said.scores[0]
    assert said.decision(best["score"]) == best["label"] and said.decision(best["score"] + 1e-6) is None


@pytest.mark.parametrize("wave", [np.zeros((2, 100), "float32"), np.zeros(0, "float32"), np.zeros(100, "int16")])
def test_what_is_no_waveform_is_refused(kept, wave):
    with pytest.raises(SerError, match="mono"):
        kept(wave)


@pytest.mark.parametrize("rate", [0, 1, -16_000, 10**9, 16_000.5])
def test_a_waveform_of_a_rate_that_no_recording_has_is_refused(kept, rate):
    with pytest.raises(SerError, match=f"sample rate of {rate} Hz: recordings of speech have 2000 to 1000000"):
        kept(np.full(16_000, 0.1, np.float32), sampling_rate=rate)


def test_a_few_samples_are_repeated_until_they_fill_a_segment(kept):
    assert len(kept.timeline(np.full(10, 0.1, np.float32))) == 1


# ------------------------------------------------------------------------------------------------- the command


def test_predict_prints_a_line_a_recording_and_goes_on_after_a_broken_one(folder, clips, tmp_path, capsys):
    (tmp_path / "bad.wav").write_text("no sound")
    good = clips["path"].iloc[0]
    assert cli.main(["predict", good, str(tmp_path), "--model", str(folder)]) == 2
    said = capsys.readouterr()
    assert said.out.startswith(good) and len(said.out.splitlines()) == 1
    assert "bad.wav is not readable as audio" in said.err and "not what a person feels" in said.err


def test_predict_takes_no_file_that_macos_added_for_a_recording(folder, clips, tmp_path, capsys):
    shutil.copy(clips["path"].iloc[0], tmp_path / f"x{clips['path'].iloc[0][-4:]}")
    for name in ("._x.wav", "__MACOSX/x.wav", ".hidden/x.wav"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"Mac OS X")
    assert cli.main(["predict", str(tmp_path), "--model", str(folder)]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 1


def test_predict_gives_json_with_the_timeline(folder, clips, capsys):
    path = clips["path"].iloc[0]
    assert cli.main(["predict", path, "--model", str(folder), "--json", "--timeline", "--confidence", "1.1"]) == 0
    (one,) = json.loads(capsys.readouterr().out)
    assert one["file"] == path and one["decision"] == "undecided" and one["timeline"][0]["start"] == 0
    assert one["scores"] == EmotionRecognizer.from_pretrained(folder)(path)


def test_predict_draws_the_timeline_of_one_recording(folder, clips, tmp_path, capsys):
    paths = list(clips["path"].iloc[:2])
    assert cli.main(["predict", paths[0], "--model", str(folder), "--plot", str(tmp_path / "a.png")]) == 0
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    assert cli.main(["predict", *paths, "--model", str(folder), "--plot", str(tmp_path / "b.png")]) == 2
    assert "one recording" in capsys.readouterr().err and not (tmp_path / "b.png").exists()


@pytest.mark.slow
@pytest.mark.real
def test_predict_says_of_a_stranger_what_the_notebooks_say(shared_data, tmp_path, capsys):
    """Real actors: `ser predict` with one left out, beside the out-of-fold predictions of notebook 04's loop."""
    clips = corpora.load("ravdess", shared_data / "ravdess")
    chosen = clips["speaker"].isin(sorted(set(clips["speaker"]))[:4]) & clips["emotion"].isin(["anger", "neutral", "sadness"])
    clips = clips[chosen].groupby(["speaker", "emotion"]).head(4)
    clips, encoder, stranger = clips.reset_index(drop=True), encoders.load("wav2vec2-nano"), clips["speaker"].max()
    segments = audio.cut_segments(clips, seconds=1.0, active=audio.activity(clips))  # half of the seconds are silent
    frames = features.extract(clips, segments, encoder, cache=tmp_path)
    table = evaluation.cross_validate(
        models.SegmentCNN(epochs=6), frames, segments, clips, folds=evaluation.folds(clips), system="notebook"
    )
    expected = evaluation.to_clips(table).set_index("clip")

    how = dict(corpus="ravdess", epochs=6, leave_out=[stranger], cache=tmp_path)
    place = recognizer.train(clips, encoder, **how).save(tmp_path / "kept")
    unheard = clips[clips["speaker"] == stranger]
    assert cli.main(["predict", *unheard["path"], "--model", str(place), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert [one["file"] for one in said] == list(unheard["path"]) and len(said) == 12
    kept = EmotionRecognizer.from_pretrained(place)
    for clip, one in zip(unheard.itertuples(), said, strict=True):
        scores = {score["label"]: score["score"] for score in one["scores"]}
        assert scores == {score["label"]: score["score"] for score in kept(clip.path)}
        names = list(kept.labels)
        close = 2e-3 if encoder.precision == "fp32" else 5e-3  # bf16 rounds otherwise with another number of threads
        np.testing.assert_allclose([scores[n] for n in names], expected.loc[clip.clip, names].astype(float), atol=close)
    spread = expected.loc[unheard["clip"], kept.labels].std().max()
    assert spread > 0.01, "scores that are the same for all recordings would show nothing"


def test_silence_around_speech_changes_no_score(kept, clips):
    wave = np.resize(audio.read(clips["path"].iloc[0]), 2 * audio.SAMPLE_RATE)
    quiet = np.zeros(6 * audio.SAMPLE_RATE, np.float32)
    alone, between = kept.predict(wave), kept.predict(np.r_[quiet, wave, quiet])
    assert len(alone.timeline) == 2 and len(between.timeline) == 14
    assert {s["label"]: s["score"] for s in alone.scores} == pytest.approx({s["label"]: s["score"] for s in between.scores}, abs=1e-5)


@pytest.mark.slow
def test_three_hours_are_judged_in_less_than_a_gigabyte(folder, tmp_path):
    rng = np.random.default_rng(0)
    with soundfile.SoundFile(tmp_path / "long.flac", "w", 44_100, 1) as file:
        for _ in range(180):
            file.write(0.05 * rng.normal(size=60 * 44_100))
    code = (
        "import re, sys; from ser_utils.recognizer import EmotionRecognizer as R\n"
        "rows = len(R.from_pretrained(sys.argv[1]).timeline(sys.argv[2]))\n"
        # Not getrusage, which starts from the memory of the process that started this one.
        "print(rows, re.search(r'VmHWM:\\s+(\\d+)', open('/proc/self/status').read())[1])"
    )
    run = [sys.executable, "-c", code, folder, tmp_path / "long.flac"]
    rows, peak = map(int, subprocess.run(run, capture_output=True, text=True, check=True).stdout.split())
    assert rows == 3 * 3600 and peak < 1_000_000  # kilobytes
