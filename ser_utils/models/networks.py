"""The two convolutional networks, layer by layer.

Plain PyTorch: networks are `torch.nn.Sequential` with named layers, so that a notebook can print, slice and probe
them. `SegmentCNN` and `SpectrogramCNN` wrap them as scikit-learn classifiers.

The segment network takes frames as the width of an image of height 1. For PyTorch a `(n, frames, dims)` array then
already is a channels-last image, without a copy, and training is twice as fast on a CPU as with `Conv1d`. (Frames as
the height give the same sums, but the library's inner loop runs along the width.)
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from pathlib import Path

import pandas as pd
import torch
from torch import nn
from torchaudio.functional import mask_along_axis_iid

from ser_utils import SerError, encoders

#: Folder of the committed weights, one subfolder per model.
WEIGHTS = Path(__file__).parent / "weights"


class PairFrames(nn.Module):
    """Average neighbouring frames two by two; an odd last one is left out.

    The receptive fields of 20-ms frames overlap; 40 ms still resolve the movements of a voice, and training takes two
    thirds of the time.
    """

    kernel_size = stride = 2

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """`(n, ..., frames, dims)` → `(n, ..., frames // 2, dims)`."""
        pairs = x.shape[-2] // 2
        first, second = x[..., : 2 * pairs, :].unflatten(-2, (pairs, 2)).unbind(-2)
        return torch.lerp(first, second, 0.5)  # half the time of `mean` over pairs


class Standardise(nn.Module):
    """Subtract a mean and divide by a standard deviation, both measured on training rows.

    A dimension that was constant there gives 0, as in `features.normalise_by_speaker`: nothing was learned about it, so
    it must not decide. Undivided, as in scikit-learn's `StandardScaler`, treble that training lacked still cost half of
    the accuracy. Constant means a standard deviation below 1e-4 of the mean, since features are in half precision.
    """

    scale: torch.Tensor
    shift: torch.Tensor

    def __init__(self, mean: torch.Tensor, std: torch.Tensor):
        super().__init__()
        scale = 1 / std.where(std > 1e-4 * mean.abs(), torch.inf)
        self.register_buffer("scale", scale)
        self.register_buffer("shift", -mean * scale)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Keep the shape."""
        return torch.addcmul(self.shift, x, self.scale)


class Mask(nn.Module):
    """Set a random stretch of frames and of dimensions to zero in training (SpecAugment, Park et al. 2019).

    Zero is the mean of the standardised values.
    """

    def __init__(self, share: float):
        super().__init__()
        self.share = share

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Keep the shape; in evaluation mode keep all values."""
        if self.training and self.share > 0:
            # Masks are drawn on thin arrays of ones and multiplied: a third of the time of filling x itself.
            for axis in (x.ndim - 2, x.ndim - 1):
                thin = list(x.shape)
                thin[2 * x.ndim - 3 - axis] = 1
                x = x * mask_along_axis_iid(torch.ones(thin), max(1, round(self.share * thin[axis])), 0.0, axis)
        return x


class ToImage(nn.Module):
    """Turn frames into the width, and dimensions into the channels, of an image of height 1."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """`(n, frames, dims)` → `(n, dims, 1, frames)`, without a copy."""
        return x.transpose(1, 2).unsqueeze(2)


class AddChannels(nn.Module):
    """Turn a spectrogram into an image of several equal channels."""

    def __init__(self, channels: int):
        super().__init__()
        self.channels = channels

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """`(n, mels, frames)` → `(n, channels, mels, frames)`."""
        return x.unsqueeze(1).expand(-1, self.channels, -1, -1)


class MeanAndDeviation(nn.Module):
    """Mean and standard deviation over all positions: one size for segments of any length."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """`(n, channels, height, width)` → `(n, 2 * channels)`."""
        # Positions before channels, as in memory: gradients keep that order for all layers below.
        # In float32 after layers in bf16: the difference of two large numbers loses a small variance.
        x = x.flatten(2).transpose(1, 2).float()
        mean = x.mean(1)
        # torch.var is ten times slower on a CPU for this shape
        variance = x.square().mean(1) - mean.square()
        return torch.cat([mean, variance.clamp(min=1e-5).sqrt()], dim=1)


def _sequential(layers: dict[str, nn.Module]) -> nn.Sequential:
    """Named layers whose weights lie in memory as those of channels-last images."""
    network = nn.Sequential(OrderedDict(layers))
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stubs lack it
    return network


def _convolution(
    inputs: int, outputs: int, kernel: tuple[int, int], *, stride: int = 1, pool: tuple[int, int] | None = None
) -> nn.Sequential:
    """Convolve, pool, normalise, rectify. Pooling comes early because it halves the work of the last two."""
    padding = (kernel[0] // 2, kernel[1] // 2)
    layers: dict[str, nn.Module] = {}
    layers["convolve"] = nn.Conv2d(inputs, outputs, kernel, stride=stride, padding=padding, bias=False)
    if pool:
        layers["pool"] = nn.MaxPool2d(pool, ceil_mode=True)  # ceil: 3 frames are enough
    layers["normalise"] = nn.BatchNorm2d(outputs)
    layers["rectify"] = nn.ReLU()  # GELU scores the same and takes 1.5 times as long here
    return nn.Sequential(OrderedDict(layers))


def segment_network(
    mean: torch.Tensor,
    std: torch.Tensor,
    n_classes: int,
    *,
    width: int,
    dropout: float,
    masking: float,
    convolutions: bool = True,
) -> nn.Sequential:
    """The segment CNN.

    Parameters
    ----------
    mean, std : Tensor, shape=(dims,)
        Statistics of the training rows.
    n_classes : int
    width, dropout, masking, convolutions
        As for `SegmentCNN`.

    Returns
    -------
    Sequential
        `(n, frames, dims)` → `(n, n_classes)`; any number of frames from 3 on.
    """
    layers: dict[str, nn.Module] = {"pair": PairFrames(), "standardise": Standardise(mean, std)}
    layers |= {"mask": Mask(masking), "image": ToImage()}
    if convolutions:
        layers["project"] = _convolution(mean.shape[-1], width, (1, 1))
        layers["convolve_1"] = _convolution(width, width, (1, 5), pool=(1, 2))
        layers["convolve_2"] = _convolution(width, 2 * width, (1, 3))
    layers["summarise"] = MeanAndDeviation()
    layers["dropout"] = nn.Dropout(dropout)
    layers["classify"] = nn.Linear(4 * width if convolutions else 2 * mean.shape[-1], n_classes)
    return _sequential(layers)


def _spectrogram_network(
    blocks: Iterable[nn.Module], inputs: int, outputs: int, n_classes: int, *, mels: int, dropout: float
) -> nn.Sequential:
    """Convolutional blocks from `inputs` to `outputs` channels, and the layers around them."""
    standardise = Standardise(torch.zeros(mels, 1), torch.ones(mels, 1))
    layers: dict[str, nn.Module] = {"standardise": standardise, "mask": Mask(0.2), "image": AddChannels(inputs)}
    layers |= {f"block_{i}": block for i, block in enumerate(blocks, start=1)}
    layers["summarise"] = MeanAndDeviation()
    layers["dropout"] = nn.Dropout(dropout)
    layers["classify"] = nn.Linear(2 * outputs, n_classes)
    return _sequential(layers)


def keyword_network(n_classes: int, *, mels: int = 64, dropout: float = 0.3) -> nn.Sequential:
    """The small spectrogram CNN: `(n, mels, frames)` → `(n, n_classes)`.

    Four convolutions, named `block_1`, `block_2`, …, each halve mels and frames; mean and standard deviation over all
    positions follow.
    """
    channels = ((1, 16), (16, 32), (32, 64), (64, 128))
    blocks = [_convolution(inputs, outputs, (3, 3), stride=2) for inputs, outputs in channels]
    return _spectrogram_network(blocks, 1, 128, n_classes, mels=mels, dropout=dropout)


def resnet_network(name: str, n_classes: int, *, mels: int = 64, dropout: float = 0.3) -> nn.Sequential:
    """An ImageNet ResNet on spectrograms as three equal colour channels.

    Parameters
    ----------
    name : str
        Local folder or hub name of a ResNet in transformers' format, e.g. `microsoft/resnet-18`.
    n_classes, mels, dropout
        As for `keyword_network`.

    Returns
    -------
    Sequential
        `(n, mels, frames)` → `(n, n_classes)`, convolutional parts named `block_1` (the stem), `block_2`, …

    Raises
    ------
    SerError
        If the model cannot be had, or is not a ResNet.
    """
    from transformers import AutoModel

    try:
        with encoders.quiet():  # it reports that the ImageNet head is not used
            body = AutoModel.from_pretrained(name)
    except (OSError, ValueError) as error:
        raise SerError(
            f"ResNet weights {name!r} are neither a local folder nor to be had from the Hugging Face hub: "
            f"connect once, or give a folder with config.json and model.safetensors."
        ) from error
    if body.config.model_type != "resnet":
        raise SerError(f"{name} is a {body.config.model_type} model, not a ResNet: give weights=… of one.")
    blocks = [body.embedder, *body.encoder.stages]
    sizes = body.config.num_channels, body.config.hidden_sizes[-1]
    return _spectrogram_network(blocks, *sizes, n_classes, mels=mels, dropout=dropout)


def load_keyword_network(n_classes: int, *, dropout: float = 0.3) -> nn.Sequential:
    """The `keyword_network` with the committed weights and a new, untrained last layer for `n_classes`."""
    from safetensors.torch import load_file

    network = keyword_network(n_classes, dropout=dropout)
    stored = load_file(WEIGHTS / "keyword-cnn" / "model.safetensors")
    pretrained = {name: value.float() for name, value in stored.items() if not name.startswith("classify.")}
    network.load_state_dict(network.state_dict() | pretrained)
    return network


def count_parameters(network: nn.Module) -> int:
    """Number of parameters."""
    return sum(p.numel() for p in network.parameters())


def receptive_field(network: nn.Module) -> int:
    """Number of neighbouring frames that one position of the last convolution depends on.

    A convolution or pooling of kernel k widens the field by (k - 1) steps of its input, and a stride makes later steps
    longer (Araujo et al. 2019).
    """
    field, step = 1, 1
    for layer in network.modules():
        if isinstance(layer, (nn.Conv2d, nn.MaxPool2d, PairFrames)):
            kernel, stride = (v if isinstance(v, int) else v[-1] for v in (layer.kernel_size, layer.stride))
            field += (kernel - 1) * step
            step *= stride
    return field


def layer_table(network: nn.Sequential, shape: tuple[int, ...]) -> pd.DataFrame:
    """Describe each layer of a network: its output, size, work and receptive field.

    Parameters
    ----------
    network : Sequential
    shape : tuple of int
        Shape of one row, e.g. `(49, 256)`.

    Returns
    -------
    DataFrame
        One row per layer: `layer, output` (shape), `parameters`, `multiply_adds` (of convolutions and linear
        layers, for one row of X), `receptive_field` (in frames, up to this layer).
    """
    network.eval()
    x, table, work = torch.zeros(1, *shape), [], []

    def count(layer, _, output):
        # Each weight is used once for every position of one output channel.
        work.append(layer.weight.numel() * output[0, 0].numel())

    hooks = [m.register_forward_hook(count) for m in network.modules() if isinstance(m, (nn.Conv2d, nn.Linear))]
    with torch.inference_mode():
        for i, (name, layer) in enumerate(network.named_children(), start=1):
            work.clear()
            x = layer(x)
            parameters, field = count_parameters(layer), receptive_field(network[:i])
            table.append((name, tuple(x.shape[1:]), parameters, sum(work), field))
    for hook in hooks:
        hook.remove()
    return pd.DataFrame(table, columns=["layer", "output", "parameters", "multiply_adds", "receptive_field"])
