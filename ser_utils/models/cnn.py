"""Classifiers with scikit-learn's interface: an SVM, a linear probe and two convolutional networks.

All of them have `fit(X, y, groups=None)`, `predict_proba`, `predict` and `classes_`, so that one
cross-validation loop serves them and any classifier of the reader's own. `groups` are the speakers of the
rows. Whatever a classifier chooses for itself (regularisation, calibration, the epoch to stop at) it chooses
on speakers that it keeps apart from the others *inside* the rows it was given.

Every class weighs the same in training however rare it is, since the headline score (UAR, the unweighted
average recall) weighs them the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.validation import check_is_fitted

from ser_utils import SerError
from ser_utils.models import inner_splits, networks, training
from ser_utils.models.vectors import _as_array

# ---------------------------------------------------------------------------------------------------------
# Classifiers of one vector a row
# ---------------------------------------------------------------------------------------------------------


# ---------------------------------------------------------------------------------------------------------
# Convolutional networks
# ---------------------------------------------------------------------------------------------------------


class _Network(ClassifierMixin, BaseEstimator):
    """What the two network classifiers share: checks, the held-out speakers, prediction."""

    def predict_proba(self, X) -> np.ndarray:
        """Probabilities of shape (n, classes), columns in the order of `classes_`; X may be a memory map."""
        check_is_fitted(self)
        X = self._check(X)
        probabilities = training.run(self.network_, X).double().softmax(1).numpy()
        if not np.isfinite(probabilities).all():
            raise SerError("The features X hold NaN or infinite values: extract them again.")
        return probabilities

    def predict(self, X) -> np.ndarray:
        """The most probable class of each row."""
        probabilities = self.predict_proba(X)
        return self.classes_[probabilities.argmax(axis=1)]

    @property
    def n_parameters_(self) -> int:
        """Number of learned values of the fitted network."""
        return networks.count_parameters(self.network_)

    def _check(self, X, n_rows: int | None = None) -> np.ndarray:
        """X as an array of the right form; a memory map stays one."""
        X = X if isinstance(X, np.ndarray) else np.asarray(X)
        if X.ndim not in self._ndim or not np.issubdtype(X.dtype, np.floating):
            raise SerError(f"{type(self).__name__} takes {self._form}, not {X.dtype} of shape {X.shape}.")
        if len(X) == 0 or n_rows not in (None, len(X)):
            raise SerError(f"X has {len(X)} rows and y has {n_rows}: give one label for every row.")
        return X

    def _split(self, X, y, groups) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Checked X, class codes, rows to fit and rows to watch; learns `classes_` and `held_out_`."""
        y = np.asarray(y)
        X = self._check(X, len(y))
        self.classes_, codes = inner_splits.class_codes(y)
        groups = _as_array(groups)
        fit, held = inner_splits.hold_out(codes, groups, self.validation, self.random_state)
        self.held_out_ = [] if groups is None else sorted(set(groups[held]) - set(groups[fit]))
        return X, codes, fit, held


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Seed torch inside, and give its generator back as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


class SegmentCNN(_Network):
    """A small convolutional network over the feature maps of segments.

    Frames are averaged two by two; each dimension is standardised with the training rows' statistics; one
    position-wise layer shrinks `dims` to `width` channels; two convolutions along time with pooling between them
    look for patterns; mean and standard deviation over time make a vector of one size from any number of frames; a
    linear layer decides. The epoch with the highest UAR on held-out training speakers is kept, and its confidence
    set on them.

    Parameters
    ----------
    width : int
        Channels of the first two layers; the last has twice as many.
    dropout : float
        Share of the pooled values blanked while training.
    masking : float
        Largest share of frames, and of dimensions, blanked while training (SpecAugment).
    epochs : int, optional
        Passes over the training rows, at most; as many as make `training.UPDATES` updates where not given.
    batch_size : int
        Rows a step.
    learning_rate : float
        Highest rate of the one-cycle schedule.
    weight_decay : float
        Of AdamW.
    patience : int
        Epochs without improvement before stopping.
    validation : float
        Share of the training speakers held out to choose the epoch; at least one speaker.
    random_state : int
        Seed of the held-out speakers, the first weights, the batches and the masks.

    Attributes
    ----------
    classes_ : ndarray
    network_ : torch.nn.Sequential
        Named layers; see `networks.describe` and `networks.receptive_field`.
    history_ : DataFrame
        One row an epoch: `epoch, train_loss, validation_loss, validation_uar, kept`.
    held_out_ : list
        Speakers held out.
    temperature_ : float
        What the outputs were divided by, so that the network is as confident as it is right on those speakers.
    layer_weights_ : ndarray or None
        Learned share of each encoder layer, if X had several.
    """

    _ndim = (3, 4)
    _form = "floats of shape (n, frames, dims) or (n, layers, frames, dims)"

    def __init__(
        self,
        width: int = 64,
        dropout: float = 0.3,
        masking: float = 0.2,
        epochs: int | None = None,
        batch_size: int = 64,
        learning_rate: float = 3e-3,
        weight_decay: float = 0.01,
        patience: int = 3,
        validation: float = 0.15,
        random_state: int = 0,
    ):
        self.width = width
        self.dropout = dropout
        self.masking = masking
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.patience = patience
        self.validation = validation
        self.random_state = random_state

    def fit(self, X, y, groups=None) -> SegmentCNN:
        """Train on feature maps.

        Parameters
        ----------
        X : ndarray, shape=(n, frames, dims) or (n, layers, frames, dims)
            May be a half-precision memory map; it is read a batch at a time.
        y : array-like, shape=(n,)
            Classes.
        groups : array-like, shape=(n,), optional
            Speakers.
        """
        X, codes, fit, held = self._split(X, y, groups)
        pairs = training.precompute(networks.PairFrames(), X)
        axes = (0, 1) if X.ndim == 3 else (0, 2)  # a mean a dimension (and layer), over rows and frames
        mean, deviation = training.statistics(pairs, fit, axes)
        if X.ndim == 3:
            mean, deviation = mean[0], deviation[0]
        with _seeded(self.random_state):
            self.network_ = networks.segment_network(
                mean, deviation, len(self.classes_), width=self.width, dropout=self.dropout, masking=self.masking
            )
            # Neither of the first two layers learns: what they say of each row is computed once.
            standard, learning = training.precompute(self.network_[1:2], pairs), self.network_[2:]
            self.history_ = training.train(
                learning,
                standard,
                codes,
                fit,
                held,
                epochs=self.epochs,
                batch_size=self.batch_size,
                learning_rate=self.learning_rate,
                weight_decay=self.weight_decay,
                patience=self.patience,
            )
        self.temperature_ = training.fit_temperature_on(learning, standard, codes, held)
        mix = getattr(self.network_, "mix", None)
        self.layer_weights_ = None if mix is None else mix.logits.detach().softmax(0).numpy()
        return self


class SpectrogramCNN(_Network):
    """Transfer learning: a CNN pretrained on another task, its last block and head trained on emotions.

    The first `freeze` convolutional blocks keep their weights. What they make of the training spectrograms is
    computed once, and the other blocks and a new last layer are trained on that.

    Parameters
    ----------
    weights : str
        `"keyword-cnn"` (committed; learned spoken keywords and digits), `"random"` (the same network,
        untrained, nothing frozen), `"resnet18"` (ImageNet, through the Hugging Face hub), or a folder or hub
        name of a ResNet.
    freeze : int, optional
        Blocks left as they are; all but the last one where not given.
    dropout, epochs, batch_size, learning_rate, weight_decay, patience, validation, random_state
        As for `SegmentCNN`.

    Attributes
    ----------
    classes_, network_, history_, held_out_, temperature_
        As for `SegmentCNN`; the network's convolutional parts are `block_1`, `block_2`, …
    """

    _ndim = (3,)
    _form = "floats of shape (n, mels, frames)"

    def __init__(
        self,
        weights: str = "keyword-cnn",
        freeze: int | None = None,
        dropout: float = 0.3,
        epochs: int | None = None,
        batch_size: int = 64,
        learning_rate: float = 3e-3,
        weight_decay: float = 0.01,
        patience: int = 3,
        validation: float = 0.15,
        random_state: int = 0,
    ):
        self.weights = weights
        self.freeze = freeze
        self.dropout = dropout
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.patience = patience
        self.validation = validation
        self.random_state = random_state

    def fit(self, X, y, groups=None) -> SpectrogramCNN:
        """Train on log-mel spectrograms.

        Parameters
        ----------
        X : ndarray, shape=(n, mels, frames)
            May be a half-precision memory map.
        y : array-like, shape=(n,)
            Classes.
        groups : array-like, shape=(n,), optional
            Speakers.

        Raises
        ------
        SerError
            If `freeze` is not a number of the network's blocks, or its weights cannot be had.
        """
        X, codes, fit, held = self._split(X, y, groups)
        mean, deviation = training.statistics(X, fit, (0, 2))
        with _seeded(self.random_state):
            network = self._build(X.shape[1])
            network[0] = networks.Standardise(mean, deviation)
            blocks = [i for i, (name, _) in enumerate(network.named_children()) if name.startswith("block_")]
            freeze = self.freeze
            if freeze is None:
                freeze = 0 if self.weights == "random" else len(blocks) - 1
            if not 0 <= freeze <= len(blocks):
                raise SerError(f"freeze={freeze}: this network has {len(blocks)} blocks, give 0 to {len(blocks)}.")
            first = blocks[freeze - 1] + 1 if freeze else 0
            inputs = training.precompute(network[:first], X) if freeze else X
            self.history_ = training.train(
                network[first:],
                inputs,
                codes,
                fit,
                held,
                epochs=self.epochs,
                batch_size=self.batch_size,
                learning_rate=self.learning_rate,
                weight_decay=self.weight_decay,
                patience=self.patience,
            )
        self.temperature_ = training.fit_temperature_on(network[first:], inputs, codes, held)
        self.network_ = network
        return self

    def _build(self, mels: int) -> torch.nn.Sequential:
        n_classes = len(self.classes_)
        if self.weights == "random":
            return networks.keyword_network(n_classes, mels=mels, dropout=self.dropout)
        if self.weights == "keyword-cnn":
            network = networks.load_keyword_network(networks.WEIGHTS / self.weights, n_classes, dropout=self.dropout)
            if len(network.standardise.shift) != mels:
                raise SerError(f"keyword-cnn wants spectrograms of 64 mel bands, not {mels}: see features.log_mel.")
            return network
        name = "microsoft/resnet-18" if self.weights == "resnet18" else self.weights
        return networks.resnet_network(name, n_classes, mels=mels, dropout=self.dropout)
