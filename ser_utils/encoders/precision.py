"""In which precision a device computes, and networks made ready for it: the same work, in less time."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch.nn.utils import parametrize

from ser_utils import SerError

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel

# Of the largest array of the convolutions: with two threads at work both fit into 32 MB of cache.
_PIECE_BYTES = 14 << 20


def prepare(model: PreTrainedModel, precision: str, device: torch.device) -> None:
    """Change a network in place so that it is computed fast, and can be trained no more.

    Parameters
    ----------
    model : Module
    precision : str
        As `choose` gives it; the network is to run under `autocast` of the same.
    device : torch.device
    """
    _fold_weight_norm(model)
    if device.type == "cpu":
        _turn_grouped_convolutions(model)
        model.feature_extractor = InPieces(model.get_submodule("feature_extractor"), model.config)
    if precision == "bf16":
        _cast_products(model)


def autocast(precision: str, device: torch.device) -> torch.autocast:
    """Context in which a prepared network is to run.

    Parameters
    ----------
    precision : str
        As `choose` gives it.
    device : torch.device

    Returns
    -------
    autocast
    """
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16")


def _fold_weight_norm(model: torch.nn.Module) -> None:
    """Compute weight-normalised kernels once instead of in every call."""
    for module in model.modules():
        if parametrize.is_parametrized(module, "weight"):
            parametrize.remove_parametrizations(module, "weight")


class AlongWidth(torch.nn.Module):
    """A `Conv1d` of stride 1 over frames as a convolution of images of height 1.

    Frames lie in memory one after the other. Seen so they are images with their channels last, as the library's grouped
    convolution wants them: half the time of `Conv1d`, which moves them first.
    """

    def __init__(self, conv: torch.nn.Conv1d):
        super().__init__()
        weight = conv.weight.detach().unsqueeze(2).contiguous(memory_format=torch.channels_last)
        self.weight = torch.nn.Parameter(weight, requires_grad=False)
        self.bias, self.padding, self.groups = conv.bias, (0, *conv.padding), conv.groups

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """`(n, channels, frames)` → the same."""
        images = x.unsqueeze(2)
        return torch.nn.functional.conv2d(
            images, self.weight, self.bias, padding=self.padding, groups=self.groups
        ).squeeze(2)


def _turn_grouped_convolutions(model: torch.nn.Module) -> None:
    """Put `AlongWidth` in the place of grouped convolutions: those that tell frames where they are."""
    for module in list(model.modules()):
        for name, child in module.named_children():
            if isinstance(child, torch.nn.Conv1d) and child.groups > 1 and child.stride == (1,):
                setattr(module, name, AlongWidth(child))


class InPieces(torch.nn.Module):
    """The convolutions at an encoder's entrance, for a few waveforms at a time.

    What the first one gives is the largest array of all, larger than the processor's cache already for a few seconds,
    and convolutions wait for memory that all cores share. The Transformer behind them likes more at once.
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


def _cast_products(model: torch.nn.Module) -> None:
    """Keep the weights of matrix products and convolutions in bf16; autocast would convert them again in every call."""
    for module in model.modules():
        if isinstance(module, (torch.nn.Linear, torch.nn.Conv1d, AlongWidth)):
            module.to(torch.bfloat16)


def choose(precision: str, device: torch.device) -> str:
    """Say in which precision a device is to compute.

    Parameters
    ----------
    precision : str
        "fp32", "bf16", or "auto": bf16 where the device computes it fast, else fp32.
    device : torch.device

    Returns
    -------
    str
        "fp32" or "bf16".

    Raises
    ------
    SerError
        If it is none of these.
    """
    if precision not in ("auto", "fp32", "bf16"):
        raise SerError(f"precision={precision}: one of auto, fp32, bf16.")
    return precision if precision != "auto" else "bf16" if fast_bf16(device) else "fp32"


def fast_bf16(device: torch.device) -> bool:
    """Say whether a device multiplies bf16 matrices in hardware; elsewhere it is emulated and slower than fp32.

    Parameters
    ----------
    device : torch.device

    Returns
    -------
    bool
    """
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    if device.type == "cpu":
        able = torch.cpu.get_capabilities()
        return any(able.get(flag, False) for flag in ("amx_bf16", "avx512_bf16"))
    return False
