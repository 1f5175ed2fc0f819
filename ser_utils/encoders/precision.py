"""The precision in which a device computes, and networks prepared for it: the same results in less time."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch.nn.utils import parametrize

from ser_utils import SerError

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel

# Size of the largest array of the convolutions: those of two threads fit into 32 MB of cache.
_PIECE_BYTES = 14 << 20


def prepare(model: PreTrainedModel, precision: str, device: torch.device) -> None:
    """Change a network in place for fast inference under `autocast` of that precision; it can be trained no more."""
    for module in list(model.modules()):
        if parametrize.is_parametrized(module, "weight"):  # weight-normalised kernels: once instead of in every call
            parametrize.remove_parametrizations(module, "weight")
    if device.type == "cpu":
        for module in list(model.modules()):
            for name, child in module.named_children():
                if isinstance(child, torch.nn.Conv1d) and child.groups > 1 and child.stride == (1,):  # of positions
                    setattr(module, name, AlongWidth(child))
        model.feature_extractor = InPieces(model.get_submodule("feature_extractor"), model.config)
    if precision == "bf16":  # autocast would convert the weights again in every call
        for module in model.modules():
            if isinstance(module, (torch.nn.Linear, torch.nn.Conv1d, AlongWidth)):
                module.to(torch.bfloat16)


def autocast(precision: str, device: torch.device) -> torch.autocast:
    """Context in which a network prepared for a precision of `choose` is to run."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16")


class AlongWidth(torch.nn.Module):
    """A `Conv1d` of stride 1 over frames as a convolution of images of height 1, in half the time.

    Frames are contiguous in memory, as the library's grouped convolution wants images with channels last; `Conv1d` copies
    them into that order first.
    """

    def __init__(self, conv: torch.nn.Conv1d):
        super().__init__()
        weight = conv.weight.detach().unsqueeze(2).contiguous(memory_format=torch.channels_last)
        self.weight = torch.nn.Parameter(weight, requires_grad=False)
        self.bias, self.padding, self.groups = conv.bias, (0, *conv.padding), conv.groups

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """`(n, channels, frames)` → the same."""
        images = torch.nn.functional.conv2d(
            x.unsqueeze(2), self.weight, self.bias, padding=self.padding, groups=self.groups
        )
        return images.squeeze(2)


class InPieces(torch.nn.Module):
    """The convolutions at an encoder's input, for a few waveforms at a time.

    The output of the first one is the largest array of all, larger than the processor's cache for a few seconds of audio.
    The transformer layers behind are faster with more at once.
    """

    def __init__(self, convolutions: torch.nn.Module, config: PretrainedConfig):
        super().__init__()
        self.convolutions, self.values_per_sample = convolutions, config.conv_dim[0] / config.conv_stride[0]

    def forward(self, waveforms: torch.Tensor) -> torch.Tensor:
        """`(n, samples)` → `(n, channels, frames)`."""
        if torch.compiler.is_exporting():  # for any number of waveforms
            return self.convolutions(waveforms)
        size = 2 if torch.is_autocast_enabled("cpu") else 4
        pieces = math.ceil(waveforms.numel() * self.values_per_sample * size / _PIECE_BYTES)
        pieces = min(max(1, pieces), len(waveforms))
        return torch.cat([self.convolutions(piece) for piece in waveforms.tensor_split(pieces)])


def choose(precision: str, device: torch.device) -> str:
    """"fp32" or "bf16" as asked for; for "auto", bf16 where the device computes it fast, else fp32.

    Raises SerError if it is none of these.
    """
    if precision not in ("auto", "fp32", "bf16"):
        raise SerError(f"precision={precision}: one of auto, fp32, bf16.")
    return precision if precision != "auto" else "bf16" if fast_bf16(device) else "fp32"


def fast_bf16(device: torch.device) -> bool:
    """Whether a device multiplies bf16 matrices in hardware; emulation is slower than fp32."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    if device.type == "cpu":
        able = torch.cpu.get_capabilities()
        return any(able.get(flag, False) for flag in ("amx_bf16", "avx512_bf16"))
    return False
