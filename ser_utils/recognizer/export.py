"""A recognizer as two ONNX files, for programs without PyTorch: waveforms → frames, frames → logits.

Needs the optional extra `onnx`. Batch and time are free in both files; encoder layers above the one in use are left
out.
"""

import importlib.util
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import nn

from ser_utils import SerError, encoders, replacing
from ser_utils.recognizer.recognizer import EmotionRecognizer

#: Largest difference of ONNX Runtime from PyTorch, as a fraction of the largest value.
TOLERANCE = 1e-4

_PACKAGES = ("onnx", "onnxscript", "onnxruntime")


def to_onnx(folder: str | Path) -> dict[str, float]:
    """Write `encoder.onnx` and `cnn.onnx` into a folder of `EmotionRecognizer.save`, each compared with PyTorch first.

    `encoder.onnx` maps `waveforms` of shape (batch, samples), float32 at 16 kHz, to `frames` of shape (batch, frames,
    dims). `cnn.onnx` maps these to `logits` of shape (batch, emotions), in the order of `labels` in `config.json`;
    their softmax is the output of `EmotionRecognizer.probabilities`.

    Returns
    -------
    dict
        `{file name: largest difference found}`, as a fraction of the largest value.

    Raises
    ------
    SerError
        If a package is missing, the folder holds no recognizer, a network cannot be written as ONNX, or ONNX Runtime
        computes something else than PyTorch.
    """
    missing = [name for name in _PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise SerError(f"ONNX export needs {', '.join(missing)}: run `pip install -e '.[onnx]'` in the checkout")
    folder = Path(folder).expanduser()
    kept = EmotionRecognizer.from_pretrained(folder, device="cpu", precision="fp32")
    encoder = encoders.ToLayer(kept.encoder, kept.config["layer"]).eval()
    waveforms = 0.1 * torch.randn(2, kept.segment_samples, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():  # not inference_mode, whose tensors the exporter cannot trace
        frames = encoder(waveforms)
        parts = {
            "encoder.onnx": (encoder, waveforms, ("waveforms", "samples", "frames")),
            "cnn.onnx": (_Halved(kept.network).eval(), frames, ("frames", "frames", "logits")),
        }
        return {name: _write(folder / name, *part) for name, part in parts.items()}


class _Halved(nn.Module):
    """The segment CNN on frames rounded to half precision, as in training."""

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network

    def forward(self, frames: torch.Tensor) -> torch.Tensor:
        most = torch.finfo(torch.float16).max
        return self.network(frames.clamp(-most, most).half().float())


def _write(path: Path, network: nn.Module, example: torch.Tensor, names: tuple[str, str, str]) -> float:
    """Write a network as ONNX and return how far it is from PyTorch, on the example and on one twice as long."""
    import onnxruntime

    given, time, result = names
    with replacing(path) as temporary:
        try:
            with _quiet():
                named = {"input_names": [given], "output_names": [result], "dynamic_shapes": ({0: "batch", 1: time},)}
                torch.onnx.export(network, (example,), temporary, **named, external_data=False, verbose=False)
        except Exception as error:  # noqa: BLE001 - torch's exporter raises as many types as it has stages
            problem = f"torch's ONNX exporter does not follow this network: {' '.join(str(error).split())[:160]}"
            raise SerError(f"{path.name} cannot be made, {problem}") from error
        session = onnxruntime.InferenceSession(temporary, providers=["CPUExecutionProvider"])
        furthest = 0.0
        for batch in (example, torch.cat([example, example.flip(1)], dim=1)[:1]):
            expected = network(batch)
            (found,) = session.run(None, {given: batch.numpy()})
            distance = (torch.from_numpy(found) - expected).abs().max() / expected.abs().max()
            furthest = max(furthest, float(distance))
        if not furthest <= TOLERANCE:
            raise SerError(f"{path.name} is not kept: it differs from PyTorch by {furthest:.0e} of the largest value")
    return furthest


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence the exporter, which reports on packages that are not needed here."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logging.disable(logging.WARNING)
        try:
            yield
        finally:
            logging.disable(logging.NOTSET)
