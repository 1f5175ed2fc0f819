"""An encoder whose layers are trained together with the classifier over them."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd
import torch
from numpy.typing import ArrayLike
from sklearn.utils.validation import check_is_fitted
from torch import nn

from ser_utils import SerError, encoders
from ser_utils.models import networks, training
from ser_utils.models.augmentation import augment
from ser_utils.models.cnn import _Network

#: What is trained beside the classifier, and the highest learning rate of the top layer.
TUNED = {"frozen": 0.0, "last": 3e-4, "lora": 1e-3, "all": 3e-4}
_RANK = 8  # of the low-rank updates
_LAYER_DECAY = 0.7  # a layer's learning rate as a fraction of that of the layer above


class _Average(nn.Module):
    def forward(self, frames: torch.Tensor) -> torch.Tensor:
        return frames.mean(1)


@dataclass(eq=False, repr=False, kw_only=True)
class FineTuned(_Network):
    """Fine-tuning: an encoder's upper layers and the classifier over them, trained together.

    First the classifier is trained on the frozen encoder, then both together: a classifier that begins at random would
    spoil what the encoder has learned (Kumar et al. 2022). Convolutions and the layers below the first one that is
    trained stay as they are, their outputs are computed once; layers above `layer` are not run.

    X are waveforms at 16 kHz of shape `(n, samples)`, or what the same encoder computes of them as layer 0, of shape
    `(n, frames, dims)`: `features.extract(…, layers=(0,))`, which all arms of a comparison can share.

    Parameters
    ----------
    encoder : str or Encoder
        As for `encoders.load`, or what it returns.
    layer : int, optional
        Layer whose frames are classified; the encoder's recommended one where not given.
    tuned : str
        What is trained beside the classifier: `"frozen"`, nothing; `"last"`, layer `layer`; `"lora"`, low-rank updates
        of the queries' and values' weights in all layers up to it (Hu et al. 2021); `"all"`, all of these layers.
    head : str
        `"cnn"`: the network of `SegmentCNN`. `"mean"`: a linear layer, the mean over frames, another linear layer, as
        in transformers' models for audio classification.
    epochs, learning_rate
        Of the classifier by itself; as for `SegmentCNN`.
    tuning_epochs : int
        Epochs of both together.
    tuning_rate : float, optional
        Highest learning rate of the top layer in these; by default `TUNED[tuned]`. It rises over the first third of the
        updates and falls to zero. Lower layers have less, and the classifier a tenth of what it had by itself.
    augmentation : sequence of {"noise", "speed", "room"}
        Beside every training waveform, train on a changed copy of it; see `augment`. Needs waveforms.
    width, masking, dropout, batch_size, weight_decay, temperature, validation, random_state
        As for `SegmentCNN`.

    Attributes
    ----------
    classes_, network_, history_, held_out_, temperature_
        As for `SegmentCNN`. The network takes layer 0; `history_` has a column `part`: "classifier" or "together".
    trainable_ : int
        Number of parameters that are trained.
    """

    encoder: str | encoders.Encoder = "wav2vec2-nano"
    layer: int | None = None
    tuned: str = "lora"
    head: str = "cnn"
    tuning_epochs: int = 4
    tuning_rate: float | None = None
    augmentation: tuple[str, ...] = ()
    width: int = 64
    masking: float = 0.2

    _form = "waveforms of shape (n, samples), or layer 0 of the encoder, of shape (n, frames, dims)"

    def fit(
        self, X: np.ndarray, y: ArrayLike, groups: ArrayLike | None = None, soft: pd.DataFrame | None = None
    ) -> Self:
        """Train the classifier, then both; parameters are those of `SegmentCNN.fit`.

        Raises
        ------
        SerError
            As `SegmentCNN.fit`; besides, if a parameter has an unknown value, or augmentation is wanted of frames.
        """
        if self.tuned not in TUNED or self.head not in ("cnn", "mean"):
            raise SerError(
                f"tuned={self.tuned!r}, head={self.head!r}: tuned is one of {', '.join(TUNED)}; head is cnn or mean."
            )
        if self.augmentation:
            if np.ndim(X) != 2:
                raise SerError("augmentation changes waveforms: give X of shape (n, samples), not layer 0.")
            X = np.concatenate([X, augment(X, self.augmentation, seed=self.random_state)])
            y, groups = np.tile(y, 2), None if groups is None else np.tile(groups, 2)
            soft = None if soft is None else pd.concat([soft, soft])
        return super().fit(X, y, groups, soft)

    def _prepare(self, X: np.ndarray, fit: np.ndarray) -> tuple[nn.Sequential, nn.Module, np.ndarray]:
        encoder = self._loaded()
        (last,) = encoder.check_layers(self.layer)
        first = {"frozen": last, "last": max(last - 1, 0)}.get(self.tuned, 0)
        start = 0 if encoders.starts_at_zero(encoder) else first
        below = encoders.Layers(encoder, 0, start).requires_grad_(False)
        inputs = training.precompute(below, X) if start else X
        frozen = encoders.Layers(encoder, start, last)
        frames = training.precompute(frozen, inputs) if start < last else inputs
        head = self._head(encoder, frames, fit)
        tuned = encoders.Layers(encoder, start, last, rank=_RANK) if self.tuned == "lora" else frozen
        tuned.layers[: first - start].requires_grad_(False)
        network = nn.Sequential(OrderedDict(below=below, tuned=tuned, **dict(head.named_children()))).to(encoder.device)
        self.trainable_ = sum(p.numel() for p in network.parameters() if p.requires_grad)
        return network, network[1:], inputs

    def _head(self, encoder: encoders.Encoder, frames: np.ndarray, fit: np.ndarray) -> nn.Sequential:
        if self.head == "cnn":
            pairs = training.precompute(networks.PairFrames(), frames)
            mean, std = training.statistics(pairs, fit, (0, 1))
            return networks.segment_network(
                mean[0], std[0], len(self.classes_), width=self.width, dropout=self.dropout, masking=self.masking
            )
        parts: OrderedDict[str, nn.Module] = OrderedDict()
        if encoders.normalised_at_end(encoder):
            parts["normalise"] = nn.LayerNorm(encoder.dims)
        parts |= {"project": nn.Linear(encoder.dims, 256), "average": _Average()}
        parts["classify"] = nn.Linear(256, len(self.classes_))
        return nn.Sequential(parts)

    def _train(self, trained: Any, *data: Any) -> pd.DataFrame:
        layers, head = trained[0], trained[1:]
        inputs, *rest = data
        frames = training.precompute(layers, inputs) if len(layers.layers) else inputs
        history = [super()._train(head, frames, *rest).assign(part="classifier")]
        if self.tuning_epochs and any(p.requires_grad for p in layers.parameters()):
            top = TUNED[self.tuned] if self.tuning_rate is None else self.tuning_rate
            groups = [{"params": list(head.parameters()), "lr": self.learning_rate / 10}]
            for depth, layer in enumerate(reversed(layers.layers)):
                if parameters := [p for p in layer.parameters() if p.requires_grad]:
                    groups.append({"params": parameters, "lr": top * _LAYER_DECAY**depth})
            together = training.train(
                trained, *data, epochs=self.tuning_epochs, batch_size=self.batch_size, learning_rate=top,
                weight_decay=self.weight_decay, groups=groups,
            )  # fmt: skip
            history.append(together.assign(part="together"))
        layers.merge()
        return pd.concat(history, ignore_index=True)

    def frames(self, X: np.ndarray) -> np.ndarray:
        """Frames of the tuned encoder at `layer`, shape (n, frames, dims), float16; X as for `fit`."""
        check_is_fitted(self)
        return training.precompute(self.network_[:2], self._check(X))

    def save(self, folder: str | Path) -> Path:
        """Write the tuned encoder to a folder for `encoders.load`.

        With the head "mean" the folder is an `AutoModelForAudioClassification` of transformers, classifier included.
        """
        check_is_fitted(self)
        head = self.network_[2:] if self.head == "mean" else None
        return encoders.save_adapted(self._loaded(), self.network_.tuned, folder, head=head, labels=self.classes_)

    def _loaded(self) -> encoders.Encoder:
        return encoders.load(self.encoder, precision="fp32") if isinstance(self.encoder, str) else self.encoder

    def _check(self, X: np.ndarray, n_rows: int | None = None) -> np.ndarray:
        """Layer 0 of waveforms, computed a few at a time; X itself if it has three dimensions."""
        X = np.asarray(X)
        if X.ndim == 2 and np.issubdtype(X.dtype, np.floating) and len(X):
            encoder = self._loaded()
            parts = [encoder.encode(X[i : i + 64], [0])[:, 0].astype(np.float16) for i in range(0, len(X), 64)]
            X = np.concatenate(parts)
        return super()._check(X, n_rows)
