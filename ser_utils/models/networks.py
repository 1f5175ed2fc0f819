"""The two convolutional networks behind `models`, layer by layer.

Plain PyTorch: networks are `torch.nn.Sequential` with named layers, so that a notebook can print, slice and
probe them. `models` wraps them as scikit-learn classifiers.

The segment network sees frames along the width of an image of height 1. For PyTorch a `(n, frames, dims)`
array then *is* a channels-last image, without a copy, and training runs twice as fast on a CPU as with
`Conv1d`. (Along the height it would be the same sum, but the library's inner loop goes along the width.)
"""

from __future__ import annotations

import json
from collections import OrderedDict
from pathlib import Path

import pandas as pd
import torch
from torch import nn
from torchaudio.functional import mask_along_axis_iid

from ser_utils import SerError

#: Where the committed weights lie, one folder a model.
WEIGHTS = Path(__file__).parent / "weights"


class PairFrames(nn.Module):
    """Average neighbouring frames two by two; an odd last one is left out.

    Frames of 20 ms overlap in what they see. 40 ms follow the movements of a voice as well, and training takes
    two thirds of the time.
    """

    kernel_size = stride = 2

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """`(n, ..., frames, dims)` → `(n, ..., frames // 2, dims)`."""
        pairs = x.shape[-2] // 2
        first, second = x[..., : 2 * pairs, :].unflatten(-2, (pairs, 2)).unbind(-2)
        return torch.lerp(first, second, 0.5)  # half the time of `mean` over pairs


class Standardise(nn.Module):
    """Subtract a mean and divide by a standard deviation, both measured on training rows."""

    def __init__(self, mean: torch.Tensor, deviation: torch.Tensor):
        super().__init__()
        scale = 1 / deviation.clamp(min=1e-4)  # a dimension that never changes stays 0
        self.register_buffer("scale", scale)
        self.register_buffer("shift", -mean * scale)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Keep the shape."""
        return torch.addcmul(self.shift, x, self.scale)


class MixLayers(nn.Module):
    """Weighted mean of an encoder's layers; the weights are learned and sum to one."""

    def __init__(self, layers: int):
        super().__init__()
        self.logits = nn.Parameter(torch.zeros(layers))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """`(n, layers, frames, dims)` → `(n, frames, dims)`."""
        return torch.einsum("nlfd,l->nfd", x, self.logits.softmax(0))


class Mask(nn.Module):
    """Blank a random stretch of frames and of dimensions while training (SpecAugment, Park et al. 2019).

    Zero is the mean of what `Standardise` gives out, so a blanked value says nothing.
    """

    def __init__(self, share: float):
        super().__init__()
        self.share = share

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Keep the shape; outside of training keep everything."""
        if self.training and self.share > 0:
            # Masks are drawn on thin arrays of ones and multiplied: a third of the time of filling x itself.
            for axis in (x.ndim - 2, x.ndim - 1):
                thin = list(x.shape)
                thin[2 * x.ndim - 3 - axis] = 1
                x = x * mask_along_axis_iid(torch.ones(thin), max(1, round(self.share * thin[axis])), 0.0, axis)
        return x


class ToImage(nn.Module):
    """Frames become the width and dimensions the channels of an image of height 1."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """`(n, frames, dims)` → `(n, dims, 1, frames)`, without moving a byte."""
        return x.transpose(1, 2).unsqueeze(2)


class AddChannels(nn.Module):
    """A spectrogram becomes an image of as many equal channels as the network wants."""

    def __init__(self, channels: int = 1):
        super().__init__()
        self.channels = channels

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """`(n, mels, frames)` → `(n, channels, mels, frames)`."""
        return x.unsqueeze(1).expand(-1, self.channels, -1, -1)


class MeanAndDeviation(nn.Module):
    """Mean and standard deviation over all positions: the same size however long the segment is."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """`(n, channels, height, width)` → `(n, 2 * channels)`."""
        # Positions before channels, as they lie in memory: gradients keep that order for all layers below.
        # In float32 where layers below were not: a small variance is lost in the difference of two large numbers.
        x = x.flatten(2).transpose(1, 2).float()
        mean = x.mean(1)
        # Not torch.var, whose reduction is ten times slower on a CPU for this shape.
        variance = x.square().mean(1) - mean.square()
        return torch.cat([mean, variance.clamp(min=1e-5).sqrt()], dim=1)


def _convolution(inputs: int, outputs: int, kernel: tuple[int, int], *, stride=1, pool=None) -> nn.Sequential:
    """Convolve, pool, normalise, rectify. Pooling comes first since the other two are then half the work."""
    layers = OrderedDict()
    padding = (kernel[0] // 2, kernel[1] // 2)
    layers["convolve"] = nn.Conv2d(inputs, outputs, kernel, stride=stride, padding=padding, bias=False)
    if pool:
        layers["pool"] = nn.MaxPool2d(pool, ceil_mode=True)  # ceil: 3 frames stay enough
    layers["normalise"] = nn.BatchNorm2d(outputs)
    layers["rectify"] = nn.ReLU()  # GELU scores the same and takes 1.5 times as long here
    return nn.Sequential(layers)


def segment_network(
    mean: torch.Tensor, deviation: torch.Tensor, n_classes: int, *, width: int, dropout: float, masking: float
) -> nn.Sequential:
    """The segment CNN.

    Parameters
    ----------
    mean, deviation : Tensor, shape=(dims,) or (layers, 1, dims)
        Statistics of the training rows; the second form is for features of several encoder layers.
    n_classes : int
    width : int
        Channels of the first two convolutions; the last one has twice as many.
    dropout : float
        Share of the pooled values blanked while training.
    masking : float
        Largest share of frames, and of dimensions, blanked while training.

    Returns
    -------
    Sequential
        `(n, frames, dims)` or `(n, layers, frames, dims)` → `(n, n_classes)`; any number of frames from 3 on.
    """
    layers = OrderedDict(pair=PairFrames(), standardise=Standardise(mean, deviation))
    if mean.ndim == 3:
        layers["mix"] = MixLayers(mean.shape[0])
    layers["mask"] = Mask(masking)
    layers["image"] = ToImage()
    layers["project"] = _convolution(mean.shape[-1], width, (1, 1))
    layers["convolve_1"] = _convolution(width, width, (1, 5), pool=(1, 2))
    layers["convolve_2"] = _convolution(width, 2 * width, (1, 3))
    layers["summarise"] = MeanAndDeviation()
    layers["dropout"] = nn.Dropout(dropout)
    layers["classify"] = nn.Linear(4 * width, n_classes)
    return nn.Sequential(layers).to(memory_format=torch.channels_last)


def keyword_network(n_classes: int, *, mels: int = 64, channels=(16, 32, 64, 128), dropout=0.3) -> nn.Sequential:
    """The small spectrogram CNN: four convolutions, each halving mels and frames, then mean and deviation.

    Parameters
    ----------
    n_classes : int
    mels : int
        Mel bands of the spectrograms.
    channels : sequence of int
        Channels of the blocks.
    dropout : float
        Share of the pooled values blanked while training.

    Returns
    -------
    Sequential
        `(n, mels, frames)` → `(n, n_classes)`; its convolutional parts are named `block_1`, `block_2`, …
    """
    layers = OrderedDict(standardise=Standardise(torch.zeros(mels, 1), torch.ones(mels, 1)))
    layers["mask"] = Mask(0.2)
    layers["image"] = AddChannels(1)
    for i, (inputs, outputs) in enumerate(zip((1, *channels[:-1]), channels, strict=True), start=1):
        layers[f"block_{i}"] = _convolution(inputs, outputs, (3, 3), stride=2)
    layers["summarise"] = MeanAndDeviation()
    layers["dropout"] = nn.Dropout(dropout)
    layers["classify"] = nn.Linear(2 * channels[-1], n_classes)
    return nn.Sequential(layers).to(memory_format=torch.channels_last)


def resnet_network(name: str, n_classes: int, *, mels: int = 64, dropout: float = 0.3) -> nn.Sequential:
    """An ImageNet ResNet on spectrograms as three equal colour channels.

    Parameters
    ----------
    name : str
        Local folder or hub name of a ResNet in transformers' format, e.g. `microsoft/resnet-18`.
    n_classes : int
    mels : int
        Mel bands of the spectrograms.
    dropout : float
        Share of the pooled values blanked while training.

    Returns
    -------
    Sequential
        `(n, mels, frames)` → `(n, n_classes)`, convolutional parts named `block_1` (the stem), `block_2`, …

    Raises
    ------
    SerError
        If the model cannot be had, or is not a ResNet.
    """
    from transformers import ResNetModel
    from transformers.utils import logging

    try:
        config, _ = ResNetModel.config_class.get_config_dict(name)
        if not config:  # an empty folder, or nothing in the hub's cache
            raise OSError(f"no config.json in {name}")
        if config.get("model_type") != "resnet":
            raise SerError(f"{name} is a {config.get('model_type')} model, not a ResNet: give weights=… of one.")
        level = logging.get_verbosity()
        logging.set_verbosity_error()  # the unused ImageNet head is no news
        try:
            body = ResNetModel.from_pretrained(name)
        finally:
            logging.set_verbosity(level)
    except (OSError, ValueError) as error:
        if isinstance(error, SerError):
            raise
        raise SerError(
            f"ResNet weights {name!r} are neither a local folder nor to be had from the Hugging Face hub: "
            f"connect once, or give a folder with config.json and model.safetensors."
        ) from error
    layers = OrderedDict(standardise=Standardise(torch.zeros(mels, 1), torch.ones(mels, 1)))
    layers["mask"] = Mask(0.2)
    layers["image"] = AddChannels(body.config.num_channels)
    for i, block in enumerate([body.embedder, *body.encoder.stages], start=1):
        layers[f"block_{i}"] = block
    layers["summarise"] = MeanAndDeviation()
    layers["dropout"] = nn.Dropout(dropout)
    layers["classify"] = nn.Linear(2 * body.config.hidden_sizes[-1], n_classes)
    return nn.Sequential(layers).to(memory_format=torch.channels_last)


def load_keyword_network(folder: Path, n_classes: int, *, dropout: float = 0.3) -> nn.Sequential:
    """The spectrogram CNN with committed weights and a new, untrained last layer for `n_classes`.

    Parameters
    ----------
    folder : Path
        Holds `config.json` and `model.safetensors` (see the README there).
    n_classes : int
    dropout : float
        Share of the pooled values blanked while training.

    Raises
    ------
    SerError
        If weights and `config.json` do not fit each other.
    """
    from safetensors.torch import load_file

    config = json.loads((folder / "config.json").read_text())
    network = keyword_network(n_classes, mels=config["mels"], channels=tuple(config["channels"]), dropout=dropout)
    stored = load_file(folder / "model.safetensors")
    state = {name: value.float() for name, value in stored.items() if not name.startswith("classify.")}
    missing, unexpected = network.load_state_dict(state, strict=False)
    wrong = [n for n in missing if not n.startswith("classify.") and "num_batches_tracked" not in n]
    if wrong or unexpected:
        raise SerError(f"{folder} does not hold the weights that its config.json describes: restore both files.")
    return network


# ---------------------------------------------------------------------------------------------------------
# Looking at a network
# ---------------------------------------------------------------------------------------------------------


def count_parameters(network: nn.Module) -> int:
    """Number of learned values."""
    return sum(p.numel() for p in network.parameters())


def receptive_field(network: nn.Module) -> int:
    """How many neighbouring frames one position of the last convolution sees.

    Every convolution or pooling of kernel k widens the field by (k - 1) steps of the input, and every stride
    makes later steps longer (Araujo et al. 2019).
    """
    field, step = 1, 1
    for layer in network.modules():
        if isinstance(layer, (nn.Conv2d, nn.MaxPool2d, PairFrames)):
            kernel, stride = (v if isinstance(v, int) else v[-1] for v in (layer.kernel_size, layer.stride))
            field += (kernel - 1) * step
            step *= stride
    return field


def layer_table(network: nn.Sequential, shape: tuple[int, ...]) -> pd.DataFrame:
    """What each layer does to one row.

    Parameters
    ----------
    network : Sequential
    shape : tuple of int
        Shape of one row, e.g. `(49, 256)`.

    Returns
    -------
    DataFrame
        One row a layer: `layer, output` (shape), `parameters`, `multiply_adds` (of convolutions and linear
        layers, for one row of X), `receptive_field` (frames, up to this layer).
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
