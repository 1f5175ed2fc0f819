"""Transformer layers of an encoder as a network that can be trained, and an encoder with trained layers in a folder."""

from __future__ import annotations

import copy
import json
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn.utils import parametrize

from ser_utils.encoders.encoder import Encoder
from ser_utils.encoders.loading import plain


class _LowRank(nn.Module):
    """A weight plus the product of two thin matrices, which is zero at first (LoRA: Hu et al. 2021)."""

    def __init__(self, weight: torch.Tensor, rank: int):
        super().__init__()
        rows, columns = weight.shape
        self.down = nn.Parameter(torch.randn(rank, columns, device=weight.device) / columns**0.5)
        self.up = nn.Parameter(torch.zeros(rows, rank, device=weight.device))

    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        return weight + self.up @ self.down


class Layers(nn.Module):
    """Transformer layers `first + 1` to `last` of an encoder: `(n, frames, dims)` → the same shape.

    A copy with weights of its own, whose input is what `Encoder.encode` gives for layer `first`; without layers in between
    (`first == last`) it is returned.

    Parameters
    ----------
    encoder : Encoder
    first, last : int
        0 to `encoder.n_layers`.
    rank : int
        Above 0: only low-rank updates of the queries' and values' weights are trained, of this rank. 0: all weights.
    """

    def __init__(self, encoder: Encoder, first: int, last: int, *, rank: int = 0):
        super().__init__()
        self.first, self.last = first, last
        self.layers = copy.deepcopy(encoder._model.encoder.layers[first:last]).requires_grad_(rank == 0)
        for layer in self.layers:  # what the encoder hangs on its layers to read their outputs
            layer._forward_hooks.clear()
            layer._forward_pre_hooks.clear()
            for name in ("q_proj", "v_proj") if rank else ():
                part = getattr(layer.attention, name)
                parametrize.register_parametrization(part, "weight", _LowRank(part.weight, rank))

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        """Frames of layer `first` to frames of layer `last`."""
        shared: dict[str, torch.Tensor] = {}
        for layer in self.layers:
            out = layer(states, **shared)
            if isinstance(out, tuple):  # WavLM's first layer computes a position bias for all others
                states, shared = out[0], {"position_bias": out[1]}
            else:
                states = out
        return states

    def merge(self) -> None:
        """Add low-rank updates to the weights that they belong to: plain layers are left."""
        for part in [part for part in self.modules() if parametrize.is_parametrized(part)]:
            parametrize.remove_parametrizations(part, "weight", leave_parametrized=True)


def starts_at_zero(encoder: Encoder) -> bool:
    """Whether later layers need what the first one computes, as WavLM's do: `Layers` must begin with layer 0 then."""
    return encoder._model.config.model_type == "wavlm"


def normalised_at_end(encoder: Encoder) -> bool:
    """Whether the last layer's output is still to be normalised, as in encoders that normalise before each layer."""
    return bool(getattr(encoder._model.config, "do_stable_layer_norm", False))


def save_adapted(
    encoder: Encoder, layers: Layers, folder: str | Path, *, head: Any = None, labels: Sequence[str] = ()
) -> Path:
    """Write an encoder whose layers were trained; layers above the last trained one are left out.

    Parameters
    ----------
    encoder, layers : Encoder, Layers
        Merged layers, and the encoder that they were made of.
    folder : path
        `load` and transformers read it. An earlier one is replaced when everything is written.
    head, labels : nn.Module, sequence of str, optional
        A linear classifier on the mean over frames, with the parts `project`, `classify` and, where `normalised_at_end`,
        `normalise`, and its classes: the folder then holds an `AutoModelForAudioClassification`.

    Returns
    -------
    Path
        `folder`.
    """
    from transformers import AutoModel, AutoModelForAudioClassification

    _, config, extractor, model = plain(encoder.name)
    config.num_hidden_layers = layers.last
    if head is None:
        whole = base = AutoModel.from_config(config, dtype=torch.float32)
    else:
        config.id2label = dict(enumerate(map(str, labels)))
        config.label2id = {name: number for number, name in config.id2label.items()}
        config.classifier_proj_size = head.project.out_features
        whole = AutoModelForAudioClassification.from_config(config, dtype=torch.float32)
        base = whole.base_model
        whole.projector.load_state_dict(head.project.state_dict())
        whole.classifier.load_state_dict(head.classify.state_dict())
    above = tuple(f"encoder.layers.{k}." for k in range(layers.last, encoder.n_layers))
    kept = {name: value for name, value in model.state_dict().items() if not name.startswith(above)}
    base.load_state_dict(kept)
    for layer, trained in zip(base.encoder.layers[layers.first :], layers.layers, strict=True):
        layer.load_state_dict(trained.state_dict())
    if head is not None and normalised_at_end(encoder):
        base.encoder.layer_norm.load_state_dict(head.normalise.state_dict())
    folder = Path(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.parent) as place:
        new = Path(place) / "new"
        whole.save_pretrained(new)
        extractor.save_pretrained(new)
        (new / "training.json").write_text(json.dumps({"layer": layers.last, "adapted_from": encoder.name}) + "\n")
        if folder.exists():
            os.replace(folder, Path(place) / "old")
        os.replace(new, folder)
    return folder
