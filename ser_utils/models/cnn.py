"""Two convolutional networks with scikit-learn's interface: `fit(X, y, groups=None)` and `predict_proba(X)`.

A network is trained on all rows given to `fit`. The number of epochs and the temperature were fixed beforehand, on the
development speakers (every second speaker of nEMO and RAVDESS), so no training speaker is lost to early stopping; with
`validation` above 0 some are, for comparison. All classes weigh the same in training, however rare, because the
headline score (UAR, the unweighted average recall) weighs them the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
import pandas as pd
import torch
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.validation import check_is_fitted
from torch import nn

from ser_utils import SerError
from ser_utils.models import inner_splits, networks, training
from ser_utils.models.temperature import fit_temperature


@dataclass(eq=False, repr=False, kw_only=True)
class _Network(ClassifierMixin, BaseEstimator):
    """What the two classifiers share: parameters, checks, training, prediction."""

    dropout: float = 0.3
    epochs: int | None = None
    batch_size: int = 64
    learning_rate: float = 3e-3
    weight_decay: float = 0.01
    temperature: float = 1.5
    validation: float = 0.0
    random_state: int = 0

    _form: ClassVar[str]

    def fit(
        self, X: np.ndarray, y: ArrayLike, groups: ArrayLike | None = None, soft: pd.DataFrame | None = None
    ) -> Self:
        """Train the network.

        Parameters
        ----------
        X : ndarray, shape=(n, ...)
            Floats of the form that the class describes.
        y : array-like, shape=(n,)
            Classes.
        groups : array-like, shape=(n,), optional
            Speakers; only used to choose validation speakers.
        soft : DataFrame, shape=(n, classes), optional
            Shares of the raters' votes, with classes as columns: trained on instead of `y`. A class that `y` lacks does
            not count.

        Raises
        ------
        SerError
            If X has another form or holds NaN, if all rows are of one class, or if a parameter cannot be used.
        """
        y = np.asarray(y)
        X = self._check(X, len(y))
        self.classes_, codes = inner_splits.class_codes(y)
        targets = torch.from_numpy(codes)
        if soft is not None:
            votes = soft[list(self.classes_)].to_numpy(np.float32)
            targets = torch.from_numpy(votes / votes.sum(axis=1, keepdims=True))
        groups = None if groups is None else np.asarray(groups)
        fit, held = np.arange(len(y)), np.arange(0)
        if self.validation > 0:
            fit, held = inner_splits.hold_out(codes, groups, self.validation, self.random_state)
        self.held_out_ = [] if groups is None else sorted(set(groups[held]) - set(groups[fit]))
        with torch.random.fork_rng(devices=[]):  # other random numbers go on as before
            torch.manual_seed(self.random_state)
            self.network_, trained, inputs = self._prepare(X, fit)
            self.history_ = self._train(trained, inputs, codes, fit, held, targets)
        self.temperature_ = self.temperature
        if len(held):
            logits = training.run(trained, inputs, held).double().numpy()
            self.temperature_ = fit_temperature(logits, codes[held], balanced=True)
        with torch.no_grad():
            for parameter in self.network_[-1].parameters():
                parameter.div_(self.temperature_)
        return self

    def _prepare(self, X: np.ndarray, fit: np.ndarray) -> tuple[nn.Sequential, nn.Module, np.ndarray]:
        """The whole network, its last layers, which are trained, and the inputs of these for every row of X."""
        raise NotImplementedError

    def _train(self, trained: nn.Module, *data: Any) -> pd.DataFrame:
        """Train the last layers in place; `data` as `training.train` takes it."""
        return training.train(
            trained, *data, epochs=self.epochs, batch_size=self.batch_size, learning_rate=self.learning_rate,
            weight_decay=self.weight_decay,
        )  # fmt: skip

    def predict_proba(self, X: np.ndarray) -> np.ndarray:
        """Probabilities of shape (n, classes), columns in the order of `classes_`; a memory map is read in batches."""
        check_is_fitted(self)
        probabilities = training.run(self.network_, self._check(X)).double().softmax(1).numpy()
        if not np.isfinite(probabilities).all():
            raise SerError("The features X hold NaN or infinite values: extract them again.")
        return probabilities

    def predict(self, X: np.ndarray) -> np.ndarray:
        """The most probable class of each row."""
        return self.classes_[self.predict_proba(X).argmax(axis=1)]

    def _check(self, X: np.ndarray, n_rows: int | None = None) -> np.ndarray:
        """X as an array of the right form, still on disk if it is a memory map."""
        X = np.asarray(X)
        if X.ndim != 3 or not np.issubdtype(X.dtype, np.floating):
            raise SerError(f"{type(self).__name__} takes {self._form}, not {X.dtype} of shape {X.shape}.")
        if len(X) == 0 or n_rows not in (None, len(X)):
            raise SerError(f"X has {len(X)} rows and y has {n_rows}: give one label for every row.")
        return X


@dataclass(eq=False, repr=False, kw_only=True)
class SegmentCNN(_Network):
    """A small convolutional network over the feature maps of segments.

    X has shape `(n, frames, dims)`. Frames are averaged two by two and each dimension is standardised with the
    statistics of the training rows; these values are kept in memory, in half precision. One position-wise layer reduces
    `dims` to `width` channels; two convolutions along time follow, with pooling between them; mean and standard
    deviation over time give one vector whatever the number of frames; a linear layer classifies it.

    Parameters
    ----------
    width : int
        Channels of the first two layers; the last has twice as many.
    masking : float
        Largest share of frames, and of dimensions, set to zero in training (SpecAugment).
    convolutions : bool
        False leaves all convolutions out: a linear layer on the mean and standard deviation of the frames.
    dropout : float
        Share of the pooled values set to zero in training.
    epochs : int, optional
        `training.EPOCHS` where not given, more where that makes fewer than `training.UPDATES` updates.
    batch_size, learning_rate, weight_decay
        Rows per update, highest rate of the one-cycle schedule, and weight decay of AdamW.
    temperature : float
        The network's outputs are divided by it, so that its confidence is about its accuracy (Guo et al. 2017); that
        changes no prediction.
    validation : float
        Share of the training speakers that is not trained on but watched: the epoch with the highest UAR on them is
        kept, and the temperature is fitted on them. 0: no speaker; above 0 at least one.
    random_state : int
        Seed of the initial weights, the batches, the masks and the validation speakers.

    Attributes
    ----------
    classes_ : ndarray
    network_ : torch.nn.Sequential
        Named layers; see `layer_table` and `receptive_field`.
    history_ : DataFrame
        One row per epoch: `epoch, train_loss, validation_loss, validation_uar, kept`.
    held_out_ : list
        The validation speakers, if any.
    temperature_ : float
        What the last layer has been divided by.
    """

    width: int = 64
    masking: float = 0.2
    convolutions: bool = True

    _form = "floats of shape (n, frames, dims)"

    def _prepare(self, X: np.ndarray, fit: np.ndarray) -> tuple[nn.Sequential, nn.Module, np.ndarray]:
        pairs = training.precompute(networks.PairFrames(), X)
        mean, std = training.statistics(pairs, fit, (0, 1))  # over rows and frames
        network = networks.segment_network(
            mean[0], std[0], len(self.classes_), width=self.width, dropout=self.dropout, masking=self.masking,
            convolutions=self.convolutions,
        )  # fmt: skip
        # The first two layers are not trained, so their outputs are computed once.
        return network, network[2:], training.precompute(network[1:2], pairs, out=pairs)


@dataclass(eq=False, repr=False, kw_only=True)
class SpectrogramCNN(_Network):
    """Transfer learning: a CNN pretrained on another task, its last block and a new last layer trained on emotions.

    X are log-mel spectrograms of shape `(n, mels, frames)`. The first `freeze` convolutional blocks keep their
    weights. Their outputs for all rows are computed once and kept in memory in half precision; with `freeze=0` X is
    read one batch at a time and may be a memory map.

    Parameters
    ----------
    weights : str
        `"keyword-cnn"` (committed; trained on spoken keywords and digits), `"random"` (the same network with random
        weights, nothing frozen), `"resnet18"` (ImageNet, from the Hugging Face hub), or a folder or hub name of a
        ResNet.
    freeze : int, optional
        Number of frozen blocks; all but the last one where not given.
    dropout, epochs, batch_size, learning_rate, weight_decay, temperature, validation, random_state
        As for `SegmentCNN`.

    Attributes
    ----------
    classes_, network_, history_, held_out_, temperature_
        As for `SegmentCNN`; the network's convolutional parts are `block_1`, `block_2`, …
    """

    weights: str = "keyword-cnn"
    freeze: int | None = None

    _form = "floats of shape (n, mels, frames)"

    def _prepare(self, X: np.ndarray, fit: np.ndarray) -> tuple[nn.Sequential, nn.Module, np.ndarray]:
        mean, std = training.statistics(X, fit, (0, 2))
        network = self._build(X.shape[1])
        network[0] = networks.Standardise(mean, std)
        blocks = [i for i, (name, _) in enumerate(network.named_children()) if name.startswith("block_")]
        default = 0 if self.weights == "random" else len(blocks) - 1
        freeze = default if self.freeze is None else self.freeze
        if not 0 <= freeze <= len(blocks):
            raise SerError(f"freeze={freeze}: this network has {len(blocks)} blocks, give 0 to {len(blocks)}.")
        if freeze == 0:
            return network, network, X
        first = blocks[freeze - 1] + 1
        return network, network[first:], training.precompute(network[:first], X)

    def _build(self, mels: int) -> nn.Sequential:
        n_classes = len(self.classes_)
        if self.weights == "random":
            return networks.keyword_network(n_classes, mels=mels, dropout=self.dropout)
        if self.weights == "keyword-cnn":
            if mels != 64:
                raise SerError(f"keyword-cnn wants spectrograms of 64 mel bands, not {mels}: see features.log_mel.")
            return networks.load_keyword_network(n_classes, dropout=self.dropout)
        name = "microsoft/resnet-18" if self.weights == "resnet18" else self.weights
        return networks.resnet_network(name, n_classes, mels=mels, dropout=self.dropout)
