"""A recognizer as ONNX files: they say what PyTorch says, for any number of recordings of any length."""

import importlib.util

import numpy as np
import pytest
import torch
from small_encoders import make_model, save_encoder
from torch import nn

from ser_utils import SerError, audio, cli, corpora, encoders, models, recognizer
from ser_utils.recognizer import export


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A recognizer trained for a moment on a few demo clips, and exported."""
    place = tmp_path_factory.mktemp("exported")
    clips = corpora.thin(corpora.load("demo"), 2)
    encoder = encoders.load("wav2vec2-nano", precision="fp32")
    kept = recognizer.train(clips, encoder, corpus="a test", epochs=1, cache=place / "cache").save(place / "kept")
    assert cli.main(["export", "--model", str(kept)]) == 0
    return kept


def run(path, batch):
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: batch})[0]


@pytest.mark.slow
@pytest.mark.real
@pytest.mark.parametrize("count, seconds", [(1, 1.0), (3, 0.33), (5, 2.717), (2, 0.045)])
def test_both_files_say_what_pytorch_says_of_real_speech(folder, shared_data, count, seconds):
    paths = sorted((shared_data / "ravdess" / "Actor_07").glob("*.ogg"))[:count]
    waves = np.stack([audio.read(path)[12_000 : 12_000 + round(seconds * 16_000)] for path in paths])
    kept = recognizer.EmotionRecognizer.from_pretrained(folder, device="cpu")
    frames = run(folder / "encoder.onnx", waves)
    expected = encoders.load("wav2vec2-nano", device="cpu", precision="fp32").encode(waves, [kept.config["layer"]])[
        :, 0
    ]
    np.testing.assert_allclose(frames, expected, rtol=0, atol=1e-4 * np.abs(expected).max())
    if frames.shape[1] >= 3:
        logits = torch.from_numpy(run(folder / "cnn.onnx", frames))
        np.testing.assert_allclose(
            logits.softmax(1), kept.probabilities(waves), atol=1e-4 if kept.encoder.precision == "fp32" else 1e-2
        )


@pytest.mark.slow
@pytest.mark.parametrize("family", ["wav2vec2", "hubert", "wavlm", "data2vec-audio"])
def test_every_family_of_encoders_can_be_exported(family, tmp_path):
    encoder = encoders.load(str(save_encoder(tmp_path / family, make_model(family))), device="cpu", precision="fp32")
    example = torch.randn(2, 4_000, generator=torch.Generator().manual_seed(0))
    path = tmp_path / "encoder.onnx"
    with torch.no_grad():
        export._write(path, encoders.ToLayer(encoder, 2).eval(), example, ("waveforms", "samples", "frames"))
    waves = np.random.default_rng(0).normal(0, 0.1, (3, 7_777)).astype("float32")
    np.testing.assert_allclose(run(path, waves), encoder.encode(waves, [2])[:, 0], atol=1e-4)


def test_the_cnn_can_be_exported_for_any_number_of_frames(tmp_path):
    torch.manual_seed(0)
    network = models.segment_network(torch.randn(16), torch.rand(16) + 0.5, 4, width=8, dropout=0, masking=0)
    halved, path = export._Halved(network).eval(), tmp_path / "cnn.onnx"
    with torch.no_grad():
        export._write(path, halved, torch.randn(2, 49, 16), ("frames", "frames", "logits"))
        for frames in (3, 20, 77):
            batch = torch.randn(3, frames, 16)
            np.testing.assert_allclose(run(path, batch.numpy()), halved(batch), atol=1e-4)


@pytest.mark.slow
def test_a_file_that_computes_something_else_is_not_kept(tmp_path, monkeypatch):
    class Forgetful(nn.Module):
        """What the exporter takes for a constant was drawn anew."""

        def forward(self, x):
            return x * float(np.random.default_rng().normal())

    with pytest.raises(SerError, match="differs from PyTorch"), torch.no_grad():
        export._write(tmp_path / "x.onnx", Forgetful(), torch.ones(2, 5), ("x", "time", "y"))
    assert not list(tmp_path.iterdir())


def test_a_layer_on_its_own_gives_the_frames_of_the_encoder():
    encoder = encoders.load("wav2vec2-nano", device="cpu", precision="fp32")
    waves = np.random.default_rng(0).normal(0.02, 0.1, (2, 9_000)).astype("float32")
    for layer in (0, encoder.n_layers):
        with torch.no_grad():
            alone = encoders.ToLayer(encoder, layer)(torch.from_numpy(waves))
        np.testing.assert_allclose(alone, encoder.encode(waves, [layer])[:, 0], atol=1e-3)


def test_without_its_packages_the_export_says_how_to_get_them(monkeypatch, capsys):
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: None if name == "onnxscript" else found(name, *rest)
    )
    assert cli.main(["export"]) == 2
    assert "ONNX export needs onnxscript: run `pip install -e '.[onnx]'`" in capsys.readouterr().err
