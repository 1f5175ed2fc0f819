"""Self-supervised speech encoders: waveforms in, frames of chosen layers out.

wav2vec 2.0 and its kin (`FAMILIES`) through transformers, frozen: 25 ms of signal every 20 ms through a stack of strided
convolutions, then transformer layers.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
import platform
import threading
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from ser_utils import SerError, refuse_pointer
from ser_utils.encoders.precision import autocast
from ser_utils.encoders.start import split_control

if TYPE_CHECKING:
    from transformers import FeatureExtractionMixin, PretrainedConfig, PreTrainedModel

#: Folder of the encoders that come with the repository.
WEIGHTS = Path(__file__).resolve().parent / "weights"

#: `model_type` of the configurations that `load` accepts. XLSR checkpoints are of type wav2vec2.
FAMILIES = ("wav2vec2", "hubert", "wavlm", "data2vec-audio")

# Entries of a configuration that say where and by what it was written, not what it computes.
_PROVENANCE = {"transformers_version", "_name_or_path", "dtype", "torch_dtype", "architectures"}


class _Reached(Exception):  # noqa: N818 - a signal, not an error
    """The last wanted layer is computed."""


class Encoder:
    """A frozen encoder; made by `load`.

    Attributes
    ----------
    name, device, precision : str, torch.device, str
        As given to `load`; as `choose` gives it.
    fingerprint : str
        Hash of weights, configuration and preprocessing: equal fingerprints mean equal frames.
    dims, n_layers : int
        Length of a frame's vector; transformer layers. Layer 0 is the input of the first one, layer k the output of the
        k-th, as in transformers without the final layer norm.
    recommended_layer : int
        The layer to use when none is asked for: `layer` of the `training.json` beside the weights, else the middle.
    batch_seconds : float
        About as much audio as goes through the network at once.
    """

    def __init__(self, name, model, extractor, *, fingerprint, recommended_layer, device, precision):
        self.name, self.fingerprint, self.recommended_layer = name, fingerprint, recommended_layer
        self.device, self.precision = device, precision
        self.dims, self.n_layers = model.config.hidden_size, model.config.num_hidden_layers
        self.batch_seconds = _batch_seconds(device, self.dims)
        self._model, self._extractor = model, extractor
        self._wanted = threading.local()  # so that several threads can encode at once
        self._turn = turns(device)
        model.encoder.layers[0].register_forward_pre_hook(self._see_input, with_kwargs=True)
        for k, layer in enumerate(model.encoder.layers, start=1):
            layer.register_forward_hook(lambda _, __, output, k=k: self._keep(k, output))

    def __repr__(self) -> str:
        network = f"{self.n_layers} layers of {self.dims}, {self.precision} on {self.device}"
        return f"<Encoder {self.name}: {network}, {self.fingerprint[:12]}>"

    def __reduce__(self):
        """Send the name to another process, which loads the encoder by itself, on its GPU if it has one."""
        plain = split_control(self.name)[0]
        local = not (WEIGHTS / plain).is_dir() and any(map(os.path.isdir, map(os.path.expanduser, (self.name, plain))))
        name = os.path.abspath(os.path.expanduser(self.name)) if local else self.name
        return _load_same, (name, self.precision, self.fingerprint)

    @property
    def min_samples(self) -> int:
        """Receptive field of the first frame [samples]."""
        field = 1
        for kernel, stride in reversed(self._convolutions()):
            field = (field - 1) * stride + kernel
        return field

    @property
    def stride(self) -> int:
        """Distance between frames [samples]: 320, which is 20 ms."""
        return int(np.prod([stride for _, stride in self._convolutions()]))

    def frames(self, samples: int) -> int:
        """Number of frames of a waveform of so many samples at 16 kHz; 0 when it is shorter than `min_samples`."""
        for kernel, stride in self._convolutions():
            samples = (samples - kernel) // stride + 1 if samples >= kernel else 0
        return samples

    def encode(self, waveforms: np.ndarray, layers: Sequence[int] | None = None) -> np.ndarray:
        """Encode waveforms of one length.

        Layers above the last wanted one are not run. Each waveform is normalised by itself as the preprocessing
        configuration says, and sees no padding, so a batch gives the same frames as its members one by one.

        Parameters
        ----------
        waveforms : ndarray, shape=(batch, samples), float32
            At 16 kHz.
        layers : sequence of int, optional
            0 to `n_layers`, in the order wanted; by default the recommended one.

        Returns
        -------
        ndarray, shape=(batch, len(layers), frames, dims), float32

        Raises
        ------
        SerError
            If a layer does not exist or the waveforms are too short for one frame.
        """
        waveforms = np.asarray(waveforms, dtype=np.float32)
        layers = self.check_layers(layers)
        if waveforms.ndim != 2:
            raise SerError(f"waveforms of shape {waveforms.shape}: (batch, samples) is wanted; use wave[None] for one.")
        batch, samples = waveforms.shape
        if samples < self.min_samples:
            raise SerError(
                f"waveforms of {samples} samples ({samples / 16:.1f} ms) are too short for {self.name}, whose first "
                f"frame needs {self.min_samples} ({self.min_samples / 16:.0f} ms): use longer segments."
            )
        frames = np.empty((batch, len(layers), self.frames(samples), self.dims), np.float32)
        # Equal pieces: a few waveforms left over by themselves would be slow.
        pieces = max(1, round(batch * samples / (16_000 * self.batch_seconds)))
        step = max(1, math.ceil(batch / pieces))
        for first in range(0, batch, step):
            states = self._states(waveforms[first : first + step], layers)
            for i, layer in enumerate(layers):
                frames[first : first + step, i] = states[layer].float().cpu().numpy()
        return frames

    def check_layers(self, layers: Sequence[int] | int | None) -> tuple[int, ...]:
        """Return layers as a tuple, the recommended one for None.

        Raises SerError if there is none, or one that the encoder does not have.
        """
        if layers is None:
            return (self.recommended_layer,)
        layers = tuple(int(k) for k in np.atleast_1d(np.asarray(layers, dtype=int)))
        if not layers or min(layers) < 0 or max(layers) > self.n_layers:
            raise SerError(f"layers={list(layers)}: {self.name} has layers 0 to {self.n_layers}.")
        return layers

    def _convolutions(self) -> list[tuple[int, int]]:
        config = self._model.config
        return list(zip(config.conv_kernel, config.conv_stride, strict=True))

    def _states(self, waveforms: np.ndarray, layers: tuple[int, ...]) -> dict[int, torch.Tensor]:
        inputs = self._extractor(list(waveforms), sampling_rate=16_000, return_tensors="pt").input_values
        self._wanted.layers, self._wanted.states = frozenset(layers), {}
        try:
            # The attention mask would be all ones: waveforms of one length have no padding.
            with self._turn, torch.inference_mode(), autocast(self.precision, self.device):
                with contextlib.suppress(_Reached):
                    self._model(inputs.to(self.device))
            return self._wanted.states
        finally:
            self._wanted.layers, self._wanted.states = frozenset(), {}

    def _see_input(self, _: torch.nn.Module, args: tuple, kwargs: dict) -> None:
        self._keep(0, args[0] if args else kwargs["hidden_states"])

    def _keep(self, k: int, output: torch.Tensor | tuple) -> None:
        wanted: frozenset[int] = getattr(self._wanted, "layers", frozenset())
        if k in wanted:
            # WavLM's layers hand on their position bias beside the states.
            self._wanted.states[k] = output[0] if isinstance(output, tuple) else output
        if wanted and k >= max(wanted):
            raise _Reached


class ToLayer(torch.nn.Module):
    """An encoder up to one layer (0 to `encoder.n_layers`) as a network with shared weights, for export."""

    def __init__(self, encoder: Encoder, layer: int):
        super().__init__()
        self.model, self.normalise, self.layer = encoder._model, encoder._extractor.do_normalize, layer

    def forward(self, waveforms: torch.Tensor) -> torch.Tensor:
        """`(batch, samples)` at 16 kHz → `(batch, frames, dims)`, as `Encoder.encode` in float32."""
        if self.normalise:  # as transformers' feature extractor does it, in numpy
            waveforms = waveforms - waveforms.mean(-1, keepdim=True)
            waveforms = waveforms / torch.sqrt(waveforms.square().mean(-1, keepdim=True) + 1e-7)
        kept = []

        def keep(_, args, kwargs, output):
            states = output if self.layer else args[0] if args else kwargs["hidden_states"]
            kept.append(states[0] if isinstance(states, tuple) else states)

        # All layers run, since a tracer follows no exception such as `_Reached`; it drops what leads to no output.
        hook = self.model.encoder.layers[max(0, self.layer - 1)].register_forward_hook(keep, with_kwargs=True)
        try:
            self.model(waveforms)
        finally:
            hook.remove()
        return kept[0]


def _settings(folder: Path, name: str) -> tuple[PretrainedConfig, FeatureExtractionMixin]:
    """Read and check the configuration and the preprocessing of a folder."""
    from transformers import AutoConfig, AutoFeatureExtractor

    if not (folder / "config.json").is_file():
        raise SerError(f"{folder} holds no config.json: give a folder written by save_pretrained.")
    for file in (*folder.glob("*.json"), *folder.glob("*.safetensors"), *folder.glob("*.bin")):
        refuse_pointer(file)
    try:
        family = json.loads((folder / "config.json").read_text(encoding="utf-8")).get("model_type")
    except (ValueError, AttributeError) as error:
        raise SerError(f"{folder / 'config.json'} is not a JSON object: download or save the model again.") from error
    if family not in FAMILIES:
        raise SerError(f"{name} is a model of type {family}: encoders are of the types {', '.join(FAMILIES)}.")
    if not (folder / "preprocessor_config.json").is_file():
        unknown = "so it is unknown whether waveforms are normalised: save the model's feature extractor there too."
        raise SerError(f"{folder} holds no preprocessor_config.json, {unknown}")
    try:
        config = AutoConfig.from_pretrained(folder, local_files_only=True)
        extractor = AutoFeatureExtractor.from_pretrained(folder, local_files_only=True)
    except Exception as error:  # noqa: BLE001
        damaged = "config.json or preprocessor_config.json lacks entries or holds wrong ones"
        raise SerError(f"the configuration in {folder} cannot be read: {damaged}; download or save the model again.") from error
    if extractor.sampling_rate != 16_000:
        raise SerError(f"{name} takes {extractor.sampling_rate} Hz audio: encoders of 16000 Hz are supported.")
    return config, extractor


def _fingerprint(model: PreTrainedModel, extractor: FeatureExtractionMixin) -> str:
    """Hash what frames depend on; the tensors rather than the files, which may be sharded or of another format."""
    config = {key: value for key, value in model.config.to_dict().items() if key not in _PROVENANCE}
    settings = {"config": config, "preprocessing": extractor.to_dict()}
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True, default=str).encode())
    for key, tensor in sorted(model.state_dict().items()):
        digest.update(f"{key} {tuple(tensor.shape)}".encode())
        digest.update(tensor.contiguous().numpy())
    return digest.hexdigest()


def turns(device: torch.device) -> contextlib.AbstractContextManager:
    """What threads hold while they encode: a lock on a GPU, whose free memory is planned for one batch."""
    return threading.Lock() if device.type == "cuda" else contextlib.nullcontext()


def _batch_seconds(device: torch.device, dims: int) -> float:
    """Audio that is fastest on a CPU, or fits a GPU at once."""
    if device.type == "cuda":  # the first convolution's output is the largest array, 6.5 MB per second in fp32
        free, _ = torch.cuda.mem_get_info(device)
        return float(np.clip(free / 4 / 40e6, 8, 512))
    if device.type == "cpu":  # more leaves the caches and is slower (16 s: nano; 8 s: base size)
        return 16.0 if dims <= 512 else 8.0
    return 32.0


@contextlib.contextmanager
def quiet():
    """Silence transformers: `load` checks for itself what it would report."""
    from transformers.utils import logging

    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()


@lru_cache(maxsize=2)
def _load_same(name: str, precision: str, fingerprint: str) -> Encoder:
    from ser_utils.encoders import load

    encoder = load(name, precision=precision)
    if encoder.fingerprint != fingerprint:
        raise SerError(f"{name} has other weights on {platform.node()} than where the run began: copy them there.")
    return encoder


def _line(error: Exception, most: int = 160) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= most else text[: most - 1] + "…"
