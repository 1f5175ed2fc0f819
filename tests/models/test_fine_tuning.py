"""Fine-tuning: what is trained and what stays, the frozen arm beside the segment CNN, saving, augmentation."""

import numpy as np
import pytest
import torch
from sklearn.base import clone
from small_encoders import make_model, save_encoder

from ser_utils import SerError, encoders, models

QUICK = dict(epochs=3, tuning_epochs=3, batch_size=16)


@pytest.fixture(scope="module")
def nano():
    return encoders.load("wav2vec2-nano", device="cpu", precision="fp32")


@pytest.fixture(scope="module")
def tones():
    """Waveforms of two classes, which differ in pitch and level, of four speakers: X, y, groups."""
    rng, time = np.random.default_rng(0), np.arange(8000) / 16_000
    y = np.tile(["high", "low"], 24)
    hertz = np.where(y == "high", 320, 140) * rng.uniform(0.9, 1.1, len(y))
    waves = np.stack([np.sign(np.sin(2 * np.pi * f * time)) * 0.1 for f in hertz]) + rng.normal(0, 0.05, (len(y), 8000))
    return waves.astype(np.float32), y, np.repeat(list("abcd"), 12)


@pytest.fixture(scope="module")
def fitted(nano, tones):
    X, y, groups = tones
    rates = {"lora": 5e-3}  # so that a few updates move the frames
    return {
        tuned: models.FineTuned(encoder=nano, tuned=tuned, tuning_rate=rates.get(tuned), **QUICK).fit(X, y, groups)
        for tuned in models.TUNED
    }


def test_every_way_of_tuning_learns_two_kinds_of_tones(fitted, tones):
    X, y, _ = tones
    for tuned, model in fitted.items():
        p = model.predict_proba(X)
        assert p.shape == (len(y), 2) and np.allclose(p.sum(1), 1)
        assert (model.predict(X) == y).mean() > 0.9, tuned


def test_more_is_trained_from_frozen_to_all(fitted, nano):
    layer = sum(p.numel() for p in nano._model.encoder.layers[0].parameters())
    head, last, low_rank, everything = (fitted[t].trainable_ for t in ("frozen", "last", "lora", "all"))
    assert last - head == layer and everything - head == 2 * layer
    assert low_rank - head == 2 * 2 * 2 * 8 * nano.dims  # two layers, queries and values, two matrices of rank 8


def test_the_encoder_itself_does_not_change(fitted, nano):
    again = encoders.load("wav2vec2-nano", device="cpu", precision="fp32")
    for mine, other in zip(nano._model.state_dict().values(), again._model.state_dict().values(), strict=True):
        assert torch.equal(mine, other)


def test_layers_below_the_tuned_one_stay_and_those_that_are_tuned_move(fitted, nano, tones):
    X, own = tones[0], {}
    frozen = nano.encode(X, [0, 1, 2])
    for tuned, model in fitted.items():
        own[tuned] = model.frames(X)
        moved = np.abs(own[tuned] - frozen[:, 2]).mean() / frozen[:, 2].std()
        assert (moved < 1e-3) == (tuned == "frozen"), (tuned, moved)  # half precision moves a little
    below = fitted["last"].network_.below(torch.from_numpy(frozen[:, 0])).detach().numpy()
    assert np.abs(below - frozen[:, 1]).max() < 1e-5 * frozen[:, 1].std()


def test_the_frozen_arm_is_the_segment_cnn_but_for_rounding(fitted, nano, tones):
    X, y, groups = tones
    cnn = models.SegmentCNN(epochs=3, batch_size=16).fit(nano.encode(X, [2])[:, 0].astype(np.float16), y, groups)
    frozen = fitted["frozen"]
    np.testing.assert_allclose(frozen.history_.train_loss, cnn.history_.train_loss, atol=0.03)
    assert np.corrcoef(cnn.predict_proba(nano.encode(X, [2])[:, 0])[:, 0], frozen.predict_proba(X)[:, 0])[0, 1] > 0.98
    assert set(frozen.history_.part) == {"classifier"}
    assert list(fitted["lora"].history_.part) == ["classifier"] * 3 + ["together"] * 3


def test_waveforms_and_layer_0_give_the_same(fitted, nano, tones):
    X = tones[0]
    assert np.allclose(
        fitted["lora"].predict_proba(X), fitted["lora"].predict_proba(nano.encode(X, [0])[:, 0]), atol=2e-3
    )


def test_a_fit_is_repeatable_and_leaves_the_random_state_alone(nano, tones, fitted):
    X, y, groups = tones
    torch.manual_seed(5)
    state = torch.get_rng_state()
    again = clone(fitted["lora"]).fit(X, y, groups)
    assert torch.equal(state, torch.get_rng_state())
    assert np.array_equal(again.predict_proba(X), fitted["lora"].predict_proba(X))


def test_a_tuned_encoder_is_loaded_like_any_other(fitted, tones, tmp_path):
    X = tones[0]
    for tuned in ("lora", "all", "last"):
        folder = fitted[tuned].save(tmp_path / tuned)
        encoder = encoders.load(str(folder), device="cpu", precision="fp32")
        assert encoder.n_layers == encoder.recommended_layer == 2
        assert np.allclose(encoder.encode(X)[:, 0], fitted[tuned].frames(X), atol=0.05, rtol=2e-3)


def test_with_a_mean_as_head_transformers_says_the_same(nano, tones, tmp_path):
    from transformers import AutoFeatureExtractor, AutoModelForAudioClassification

    X, y, groups = tones
    model = models.FineTuned(encoder=nano, tuned="lora", head="mean", **QUICK).fit(X, y, groups)
    folder = model.save(tmp_path / "mine")
    theirs = AutoModelForAudioClassification.from_pretrained(folder)
    extractor = AutoFeatureExtractor.from_pretrained(folder)
    inputs = extractor(list(X), sampling_rate=16_000, return_tensors="pt").input_values
    with torch.inference_mode():
        p = theirs(inputs).logits.softmax(1).numpy()
    assert [theirs.config.id2label[k] for k in range(2)] == list(model.classes_)
    assert np.allclose(p, model.predict_proba(X), atol=5e-3)


@pytest.mark.parametrize("family", ["wav2vec2", "hubert", "wavlm", "data2vec-audio"])
def test_every_family_can_be_tuned_and_saved(family, tones, tmp_path):
    X, y, groups = tones
    torch.manual_seed(0)
    save_encoder(tmp_path / "base", make_model(family))
    for tuned, head in (("lora", "cnn"), ("last", "mean")):
        model = models.FineTuned(encoder=str(tmp_path / "base"), tuned=tuned, head=head, epochs=1, tuning_epochs=1)
        model.fit(X, y, groups)
        encoder = encoders.load(str(model.save(tmp_path / f"{tuned}-{head}")), device="cpu", precision="fp32")
        assert np.allclose(encoder.encode(X)[:, 0], model.frames(X), atol=0.02), (family, tuned)


def test_augmentation_trains_on_changed_copies_of_the_same_length(nano, tones):
    X, y, groups = tones
    changed = models.augment(X, ("noise", "speed", "room"), seed=1)
    assert changed.shape == X.shape and changed.dtype == np.float32
    assert not np.isclose(changed, X).all(axis=1).any(), "a waveform stayed as it was"
    assert np.array_equal(changed, models.augment(X, ("noise", "speed", "room"), seed=1))
    model = models.FineTuned(encoder=nano, tuned="last", augmentation=("noise",), **QUICK).fit(X, y, groups)
    assert (model.predict(X) == y).mean() > 0.9


def test_speed_changes_pitch_and_noise_its_level():
    wave = np.sin(2 * np.pi * 200 * np.arange(16_000) / 16_000)
    peaks = [np.abs(np.fft.rfft(models.augment(wave[None], ("speed",), seed=s)[0])).argmax() for s in range(12)]
    assert min(peaks) < 195 and max(peaks) > 205 and 178 <= min(peaks) and max(peaks) <= 224
    for seed in range(5):
        added = models.augment(wave[None], ("noise",), seed=seed)[0] - wave
        assert 4.9 < 10 * np.log10(np.mean(wave**2) / np.mean(added**2)) < 25.1


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"tuned": "most"}, "tuned is one of frozen, last, lora, all"),
        ({"head": "svm"}, "head is cnn or mean"),
        ({"layer": 9}, "has layers 0 to 4"),
        ({"augmentation": ("noise", "echo")}, "known are noise, speed, room"),
    ],
)
def test_what_cannot_be_tuned_is_said_in_one_line(changes, words, nano, tones):
    X, y, groups = tones
    with pytest.raises(SerError, match=words) as caught:
        models.FineTuned(encoder=nano, **changes).fit(X, y, groups)
    assert "\n" not in str(caught.value)


def test_augmentation_of_frames_and_wrong_shapes_are_refused(nano, tones):
    X, y, groups = tones
    with pytest.raises(SerError, match="give X of shape"):
        models.FineTuned(encoder=nano, augmentation=("noise",)).fit(nano.encode(X, [0])[:, 0], y, groups)
    with pytest.raises(SerError, match="waveforms of shape"):
        models.FineTuned(encoder=nano).fit(X[0], y, groups)
    with pytest.raises(SerError, match="one label for every row"):
        models.FineTuned(encoder=nano).fit(X, y[:-1], groups)
