"""Self-supervised pre-training, on seconds of generated audio."""

import csv
import json
from dataclasses import replace

import numpy as np
import pytest
import soundfile
import torch
from transformers import Wav2Vec2Model

from ser_utils import SerError, corpora, encoders, features, pretraining
from ser_utils.pretraining import run as running
from ser_utils.pretraining import speech as speech_module

TINY = dict(
    hidden_size=32,
    num_hidden_layers=2,
    num_attention_heads=2,
    intermediate_size=64,
    conv_dim=(32, 32),
    num_conv_pos_embeddings=8,
    num_conv_pos_embedding_groups=4,
    num_codevectors_per_group=8,
    codevector_dim=32,
    proj_codevector_dim=32,
    num_negatives=10,
)
QUICK = pretraining.Recipe(
    step_seconds=3.2,
    crop_seconds=(0.8,),
    mask_frames=(4, 10),
    codes=(12,),
    learning_rate=5e-3,
    regression_weight=1.0,
    warmup_steps=2,
    decay=0.5,
    log_steps=2,
    checkpoint_steps=2,
    model=TINY,
)


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """Tiny matrices are slower on several threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def speech(tmp_path_factory):
    """Ten seconds of syllables: gliding harmonics of several pitches between stretches of noise."""
    folder = tmp_path_factory.mktemp("speech")
    rng = np.random.default_rng(0)
    for k in range(5):
        time = np.arange(2 * 16_000) / 16_000
        pitch = rng.uniform(100, 250) * 2 ** (0.3 * np.sin(2 * np.pi * 1.5 * time + k))
        phase = 2 * np.pi * np.cumsum(pitch) / 16_000
        voice = sum(np.sin(h * phase) / h for h in range(1, 8)) * (np.sin(2 * np.pi * 2 * time) > 0)
        wave = 0.1 * voice + rng.normal(0, 0.01, time.size)
        soundfile.write(folder / f"{k}.wav", wave.astype(np.float32), 16_000)
    return folder


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


def rows(folder):
    with (folder / "log.csv").open() as file:
        return [{k: float(v) for k, v in row.items()} for row in csv.DictReader(file)]


@pytest.fixture(scope="module")
def trained(speech, cache, tmp_path_factory):
    """A run of 80 steps that nobody interrupted."""
    out = tmp_path_factory.mktemp("run") / "clusters"
    return pretraining.pretrain(speech, out, steps=80, config=QUICK, cache=cache, progress=False)


class Killed(BaseException):
    """In place of a signal: not even `except Exception` catches it."""


@pytest.mark.parametrize("killed_at", [5, 9], ids=["stable part", "decay"])
@pytest.mark.parametrize("objective", pretraining.OBJECTIVES)
def test_a_killed_and_resumed_run_follows_the_unbroken_one(objective, killed_at, speech, cache, tmp_path, monkeypatch):
    recipe = replace(QUICK, crop_seconds=(0.4, 0.8), model=TINY | {"hidden_dropout": 0.1})
    run = dict(steps=12, config=recipe, cache=cache, progress=False, seed=3)
    unbroken = pretraining.pretrain(speech, tmp_path / "unbroken", objective=objective, **run)

    step = running._Run._train_step

    def step_or_die(self, rate):
        if self.step == killed_at:
            raise Killed
        return step(self, rate)

    monkeypatch.setattr(running._Run, "_train_step", step_or_die)
    with pytest.raises(Killed):
        pretraining.pretrain(speech, tmp_path / "broken", objective=objective, **run)
    monkeypatch.undo()
    torch.manual_seed(99)  # whatever the process did in between
    broken = pretraining.pretrain(speech, tmp_path / "broken", resume=True, **(run | {"seed": 8}))

    left, right = rows(unbroken), rows(broken)
    assert [r["step"] for r in left] == [2, 4, 6, 8, 10, 12]
    for row in left + right:
        del row["seconds"]
    assert left == right
    one, other = (Wav2Vec2Model.from_pretrained(f).state_dict() for f in (unbroken, broken))
    assert all(torch.equal(one[k], other[k]) for k in one)


def test_a_finished_run_goes_on_from_where_its_learning_rate_began_to_fall(speech, cache, tmp_path, monkeypatch):
    rates, step = [], running._Run._train_step

    def note(self, rate):
        rates.append((self.step, round(rate / QUICK.learning_rate, 3)))
        return step(self, rate)

    monkeypatch.setattr(running._Run, "_train_step", note)
    run = dict(config=QUICK, cache=cache, progress=False)
    pretraining.pretrain(speech, tmp_path / "longer", steps=8, **run)
    assert rates == [(0, 0.5), (1, 1), (2, 1), (3, 1), (4, 1), (5, 0.75), (6, 0.5), (7, 0.25)]
    rates.clear()
    pretraining.pretrain(speech, tmp_path / "longer", steps=16, resume=True, **run)
    assert rates[:5] == [(4, 1), (5, 1), (6, 1), (7, 1), (8, 1)] and rates[-1] == (15, 0.125)
    monkeypatch.undo()
    pretraining.pretrain(speech, tmp_path / "once", steps=16, **run)
    one, other = (Wav2Vec2Model.from_pretrained(tmp_path / f).state_dict() for f in ("longer", "once"))
    assert all(torch.equal(one[k], other[k]) for k in one)


def test_a_run_shorter_than_a_row_of_its_log_has_one(speech, cache, tmp_path):
    recipe = replace(QUICK, log_steps=100)
    out = pretraining.pretrain(speech, tmp_path, steps=6, config=recipe, cache=cache, progress=False)
    assert [row["step"] for row in rows(out)] == [3, 6], "one before the learning rate falls, one of the fall"


def test_whole_folders_are_held_back_and_their_loss_is_logged(speech, tmp_path):
    voices = [tmp_path / "speech" / name for name in "abcdef"]
    for voice, wave in zip(voices, [*sorted(speech.glob("*.wav"))] * 2, strict=False):
        voice.mkdir(parents=True)
        samples, rate = soundfile.read(wave)
        soundfile.write(voice / "x.wav", np.tile(samples, 20 if voice.name < "d" else 1), rate)
    files = corpora.sound_files(tmp_path / "speech")
    held = pretraining.hold_back(files)
    assert held == pretraining.hold_back(files) and 0 < len(held) <= 3
    assert {f.parent.name for f in held} <= set("def")
    assert sum(f.stat().st_size for f in held) <= pretraining.HELD_BACK * sum(f.stat().st_size for f in files)
    out = pretraining.pretrain(tmp_path / "speech", tmp_path / "out", steps=20, config=QUICK, progress=False)
    losses = [row["held_back"] for row in rows(out)]
    assert len(losses) == 10 and losses[-1] < losses[0]
    learned = pretraining.prepare(tmp_path / "speech", tmp_path / "out" / "cache", progress=False)
    assert learned.clips == 6 - len(held)
    assert learned.samples.size // 320 - learned.frames == 100 * len(held)


def test_spectrum_and_prosody_can_have_a_codebook_each(speech, cache, tmp_path):
    recipe = replace(QUICK, codes=(12, 5))
    run = dict(config=recipe, cache=cache, progress=False)
    out = pretraining.pretrain(speech, tmp_path, steps=30, **run)
    log = rows(out)
    assert log[-1]["masked"] < 0.9 * log[0]["masked"] and log[0]["masked"] == pytest.approx(np.log(60) / 2, rel=0.2)
    centres = torch.load(out / "checkpoint.pt", weights_only=True)["centres"]
    assert [tuple(book.shape) for book in centres] == [(12, 13), (5, 3)]


@pytest.mark.parametrize("seed", [0, 3])
def test_the_start_of_an_encoder_is_its_run_at_step_0(seed, speech, cache, tmp_path):
    out = pretraining.pretrain(speech, tmp_path, steps=4, config=QUICK, cache=cache, progress=False, seed=seed)
    start, logged, heard = (encoders.load(f, device="cpu") for f in (f"{out}-start", out / "snapshots" / "0h", out))
    assert start.fingerprint == logged.fingerprint != heard.fingerprint


def test_clusters_are_learned(trained):
    log = rows(trained)
    for part in ("masked", "unmasked", "regression"):
        assert log[-1][part] < 0.85 * log[0][part], part
    assert log[-1]["accuracy"] > 1.5 / QUICK.codes[0]  # chance is one over the number of codes


def test_the_contrastive_loss_falls(speech, cache, tmp_path):
    out = pretraining.pretrain(
        speech, tmp_path, objective="contrastive", steps=60, config=QUICK, cache=cache, progress=False
    )
    log = rows(out)
    first, last = (np.mean([r["contrastive"] for r in part]) for part in (log[:3], log[-3:]))
    assert last < 0.99 * first  # slowly: nothing on so little speech and in so few steps would show more
    assert 1 <= log[-1]["perplexity"] <= 16


def test_codes_of_a_teacher_can_be_targets_also_of_a_resumed_run(speech, cache, trained, tmp_path):
    recipe = replace(QUICK, teacher=str(trained), teacher_layer=1)
    run = dict(config=recipe, cache=cache, progress=False)
    out = pretraining.pretrain(speech, tmp_path / "second", steps=8, **run)
    assert rows(out)[-1]["masked"] < rows(out)[0]["masked"]
    pretraining.pretrain(speech, out, steps=10, resume=True, **run)
    assert rows(out)[-1]["step"] == 10
    facts = json.loads((out / "training.json").read_text())
    assert facts["recipe"]["teacher"] == "clusters"  # its name, not where it lay


def test_weights_of_an_earlier_run_can_be_the_start(speech, cache, trained, tmp_path):
    recipe = replace(QUICK, start=str(trained))
    out = pretraining.pretrain(speech, tmp_path, steps=2, config=recipe, cache=cache, progress=False)
    begun = Wav2Vec2Model.from_pretrained(out / "snapshots" / "0h").state_dict()
    ended = Wav2Vec2Model.from_pretrained(trained).state_dict()
    assert all(torch.equal(begun[k], ended[k]) for k in ended)


def test_the_result_is_an_encoder_with_49_frames_a_second(trained):
    for folder in (trained, trained / "snapshots" / "0h"):
        model = Wav2Vec2Model.from_pretrained(folder, dtype=torch.float32)
        with torch.inference_mode():
            assert model(torch.randn(2, 16_000)).last_hidden_state.shape == (2, 49, 32)
        assert model.masked_spec_embed is not None
    assert json.loads((trained / "preprocessor_config.json").read_text())["do_normalize"] is True
    facts = json.loads((trained / "training.json").read_text())
    assert facts["steps"] == 80
    assert facts["hours_heard"] == pytest.approx(80 * 4 * 0.8 / 3600, abs=5e-4)


def test_the_nano_has_49_frames_a_second_and_at_most_8_million_parameters():
    model = Wav2Vec2Model(pretraining.nano_config())
    with torch.inference_mode():
        assert model(torch.randn(1, 16_000)).last_hidden_state.shape == (1, 49, 256)
    assert sum(p.numel() for p in model.parameters()) <= 8e6


def test_a_checkpoint_is_whole_or_not_there(speech, cache, tmp_path, monkeypatch):
    run = dict(steps=4, config=QUICK, cache=cache, progress=False)
    pretraining.pretrain(speech, tmp_path, **run)
    before = (tmp_path / "checkpoint.pt").read_bytes()

    def half(state, path):
        path.write_bytes(before[: len(before) // 2])
        raise OSError("disk full")

    monkeypatch.setattr(torch, "save", half)
    with pytest.raises(OSError, match="disk full"):
        pretraining.pretrain(speech, tmp_path, resume=True, **(run | {"steps": 8}))
    assert (tmp_path / "checkpoint.pt").read_bytes() == before


@pytest.mark.parametrize("length", [10, (10, 40)])
@pytest.mark.parametrize("share", [0.2, 0.5, 0.65])
def test_the_masked_share_is_the_one_asked_for(share, length):
    masks = pretraining.mask_frames(np.random.default_rng(0), 400, 150, share=share, length=length)
    assert masks.shape == (400, 150)
    assert masks.mean() == pytest.approx(share, abs=0.02)
    assert np.abs(masks.mean(0) - share).max() < 0.12  # at the edges as in the middle


def test_every_crop_has_a_mask():
    assert pretraining.mask_frames(np.random.default_rng(0), 500, 40, share=0.01, length=5).any(1).all()


@pytest.mark.parametrize("pitch", [90, 160, 320])
def test_pitch_is_measured_and_silence_is_not_voiced(pitch, write_tone):
    wave, _ = soundfile.read(write_tone(pitch=pitch), dtype="float32")
    samples = np.concatenate([np.zeros(16_000), wave]) * 32767
    measured = features.measure_frames(samples.astype(np.int16))
    tone = slice(55, 95)
    assert 2 ** np.median(measured["pitch"][tone]) == pytest.approx(pitch, rel=0.01)
    assert measured["height"][tone].min() > 0.9
    _, targets = speech_module._relative(measured, np.array([0, 100]))
    voicing, energy = targets[:, 2], targets[:, 3]
    assert energy[tone].min() > energy[5:45].max()
    assert voicing[tone].min() > np.median(voicing[5:45])


def test_blocks_leave_no_seam(speech, monkeypatch):
    samples = (soundfile.read(speech / "0.wav", dtype="float32")[0] * 32767).astype(np.int16)
    whole = features.measure_frames(samples)
    monkeypatch.setattr("ser_utils.features.frame_measures._BLOCK", 7)
    parts = features.measure_frames(samples)
    np.testing.assert_allclose(whole["energy"], parts["energy"], atol=0.05)
    assert np.abs(whole["bands"] - parts["bands"]).mean() < 0.01


def test_first_filters_answer_to_a_tone_whatever_its_phase():
    model = encoders.begin(pretraining.nano_config(), seed=0)
    conv = model.feature_extractor.conv_layers[0].conv
    time = torch.arange(16_000) / 16_000
    with torch.inference_mode():
        # 1003 Hz is not a whole number of cycles a frame: over a second, each frame meets it in another phase.
        tones = torch.stack([torch.sin(2 * torch.pi * 1003 * time + p) for p in (0.0, 0.5, 1.3)])
        heard = (conv(tones[:, None]) - conv.bias[:, None]).relu().view(3, 4, 64, -1).sum(1).mean(-1)
    assert torch.allclose(heard[0], heard[1], rtol=0.05, atol=0.05)
    assert torch.allclose(heard[0], heard[2], rtol=0.05, atol=0.05)
    assert abs(int(heard[0].argmax()) - int(heard[1].argmax())) <= 1


def test_the_first_convolution_can_be_computed_as_products():
    torch.manual_seed(0)
    conv, waves = torch.nn.Conv1d(1, 8, 400, stride=160), torch.randn(2, 1, 4000)
    expected = conv(waves)
    pretraining.as_products(conv)
    torch.testing.assert_close(conv(waves), expected)


def test_noise_is_as_much_as_asked_for_and_rooms_keep_the_level():
    waves = torch.randn(64, 8000) * 0.1
    same = pretraining.corrupt(waves, np.random.default_rng(0), noise=0.0, room=0.0)
    assert torch.equal(waves, same)
    noisy = pretraining.corrupt(waves, np.random.default_rng(0), noise=1.0, room=0.0)
    below = -10 * torch.log10((noisy - waves).square().mean(1) / waves.square().mean(1))
    assert 4.9 < below.min() < 8 and 25 < below.max() < 30.1
    wet = pretraining.corrupt(waves, np.random.default_rng(0), noise=0.0, room=1.0)
    torch.testing.assert_close(wet.square().mean(1), waves.square().mean(1))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (dict(minutes=1, steps=2), "both of minutes and steps"),
        (dict(), "neither of minutes and steps"),
        (dict(steps=0), "more than 0"),
        (dict(minutes=float("nan")), "more than 0"),
        (dict(steps=2, resume=True), "nothing to resume"),
        (dict(steps=2, objective="guessing"), "guessing.*clusters, contrastive"),
    ],
)
def test_unusable_arguments_are_named_in_one_line(arguments, words, speech, tmp_path):
    with pytest.raises(SerError, match=words) as caught:
        pretraining.pretrain(speech, tmp_path, **arguments)
    assert "\n" not in str(caught.value)


def test_folders_without_audio_are_named(tmp_path):
    (tmp_path / "notes.txt").write_text("no sound")
    for folder, words in ((tmp_path, "no sound files"), (tmp_path / "missing", "is not there")):
        with pytest.raises(SerError, match=words):
            pretraining.pretrain(folder, tmp_path / "out", steps=2)


def test_the_command_pretrains_as_the_last_stage_of_the_shipped_encoder_was():
    shipped = pretraining.Recipe.load(encoders.find("wav2vec2-nano") / "training.json")
    assert replace(shipped, checkpoint_steps=None) == pretraining.Recipe()


def test_a_recipe_comes_from_a_file(tmp_path):
    file = tmp_path / "mine.json"
    file.write_text('{"crop_seconds": [2.0, 6.0], "regression_weight": 0.5}')
    assert pretraining.Recipe.load(file) == pretraining.Recipe(crop_seconds=(2.0, 6.0), regression_weight=0.5)
    for text, words in (('{"batch": 6}', "fields that no recipe has .batch."), ("[1]", "is no recipe"), ("{", "is no recipe")):
        file.write_text(text)
        with pytest.raises(SerError, match=words) as caught:
            pretraining.Recipe.load(file)
        assert "\n" not in str(caught.value)
    with pytest.raises(SerError, match="is no recipe"):
        pretraining.Recipe.load(tmp_path / "missing.json")


def test_a_start_that_does_not_fit_is_named(speech, cache, tmp_path):
    for start, words in (("nowhere/at/all", "there is no folder"), ("wav2vec2-nano", "another architecture")):
        with pytest.raises(SerError, match=words) as caught:
            pretraining.pretrain(speech, tmp_path / "out", steps=2, config=replace(QUICK, start=start), cache=cache)
        assert "\n" not in str(caught.value)


def test_single_files_can_be_named_beside_folders(speech, tmp_path):
    (tmp_path / "more").mkdir()
    soundfile.write(tmp_path / "more" / "x.wav", np.zeros(1600, np.float32), 16_000)
    found = corpora.sound_files([speech / "3.wav", tmp_path / "more"])
    assert [f.name for f in found] == ["3.wav", "x.wav"]


def test_too_little_speech_and_a_folder_in_use_are_refused(speech, cache, trained, tmp_path):
    long = replace(QUICK, crop_seconds=(60.0,))
    with pytest.raises(SerError, match="less than one crop"):
        pretraining.pretrain(speech, tmp_path, steps=2, config=long, cache=cache, progress=False)
    with pytest.raises(SerError, match="--resume"):
        pretraining.pretrain(speech, trained, steps=2, config=QUICK, cache=cache, progress=False)


def test_a_broken_recording_is_left_out_and_not_counted(tmp_path):
    folder = tmp_path / "speech"
    folder.mkdir()
    for name in "ab":
        soundfile.write(folder / f"{name}.wav", np.random.default_rng(0).normal(0, 0.1, 32_000), 16_000)
    (folder / "aa.wav").write_text("no sound")
    with pytest.warns(UserWarning, match="1 of 3 sound files"):
        speech = pretraining.prepare(folder, tmp_path / "cache", progress=False)
    assert speech.clips == 2 and speech.frames == 200


def test_a_changed_recording_of_equal_size_is_decoded_again(tmp_path):
    folder = tmp_path / "speech"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for _ in range(2):
        soundfile.write(folder / "a.wav", rng.normal(0, 0.1, 32_000), 16_000)
        samples = pretraining.prepare(folder, tmp_path / "cache", progress=False).samples
        heard, _ = soundfile.read(folder / "a.wav", dtype="int16")
        np.testing.assert_allclose(samples[:32_000], heard, atol=2)
