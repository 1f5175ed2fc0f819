"""Encoders before their first update, and with random weights: the controls of a comparison."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from ser_utils import SerError

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel

#: Names with these endings are the same network before its first update, and with random weights of a seed.
_CONTROL = re.compile(r"(?P<plain>.+?)-(?:(?P<start>start)|random(?:-(?P<seed>\d+))?)")


def split_control(name: str) -> tuple[str, int | None, bool]:
    """Split a name into the encoder's own, the seed of random weights, and whether the start is meant."""
    match = _CONTROL.fullmatch(name)
    if not match or Path(name).expanduser().is_dir():
        return name, None, False
    return match["plain"], None if match["start"] else int(match["seed"] or 0), bool(match["start"])


def beginning(folder: Path, name: str) -> dict:
    """What `begin` needs, from `training.json`; raises SerError if the folder holds no such file."""
    try:
        facts = json.loads((folder / "training.json").read_text(encoding="utf-8"))
        return {"seed": int(facts["seed"]), "filters": bool(facts["recipe"]["filters"])}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SerError(
            f"{name}: how this encoder began is not known, since {folder} holds no training.json of `ser pretrain`; "
            "name it with -random at its end for random weights."
        ) from error


def begin(config: PretrainedConfig, *, seed: int, filters: bool = True) -> PreTrainedModel:
    """Make an encoder as it is before its first update: of the same settings and seed, always the same.

    With `filters` its first convolution is a bank of filters; see `start_filters`. The caller's random state stays.
    """
    from transformers import AutoModel

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = AutoModel.from_config(config, dtype=torch.float32)
    if filters:
        start_filters(model)
    return model


def start_filters(model: PreTrainedModel) -> None:
    """Start a long first convolution as mel-spaced windowed sinusoids in four phases, of equal output for speech.

    Rectified, four phases sum to the magnitude, within a factor of √2 whatever the phase of the signal: the layer
    starts as a filter bank instead of learning one. Speech is modelled as noise with its long-term spectrum, flat below
    500 Hz and falling by 7 dB per octave above. Kernels shorter than 10 ms are left alone.
    """
    conv = model.feature_extractor.conv_layers[0].conv  # type: ignore[union-attr, index]  # torch types any attribute so
    channels, _, kernel = conv.weight.shape
    if kernel < 160 or channels % 4:
        return
    bands = channels // 4
    low, high = (2595 * np.log10(1 + f / 700) for f in (60.0, 7600.0))
    hertz = 700 * (10 ** (np.linspace(low, high, bands) / 2595) - 1)
    gap = np.diff(hertz, append=2 * hertz[-1] - hertz[-2])
    t = np.arange(kernel) - (kernel - 1) / 2
    # A Hann window of n samples is about 2 * 16000 / n Hz wide: the distance of the bands, if the kernel allows.
    width = np.clip(32_000 / gap, 80, kernel)[:, None]
    window = np.where(np.abs(t) < width / 2, np.cos(np.pi * t / width) ** 2, 0)
    phase = np.arange(4)[:, None, None] * np.pi / 2
    filters = (window * np.cos(2 * np.pi * hertz[:, None] * t / 16_000 + phase)).reshape(channels, kernel)
    spectrum = 1 / (1 + (np.fft.rfftfreq(4096, 1 / 16_000) / 500) ** 2.4)
    power = np.abs(np.fft.rfft(filters, 4096)) ** 2 @ spectrum / spectrum.sum()
    with torch.no_grad():
        conv.weight.copy_(torch.from_numpy(filters / np.sqrt(power)[:, None])[:, None])
        if conv.bias is not None:
            # A layer norm follows: relative to a constant pattern, the level of the signal is preserved.
            conv.bias.copy_(0.3 * torch.tensor([1.0, -1.0]).repeat(bands // 2 + 1)[:bands].repeat(4))
