"""Classifiers with scikit-learn's interface: an SVM, a linear probe and two convolutional networks.

All of them have `fit(X, y, groups=None)`, `predict_proba`, `predict` and `classes_`, so that one
cross-validation loop serves them and any classifier of the reader's own. `groups` are the speakers of the
rows. Whatever a classifier chooses for itself (regularisation, calibration, the epoch to stop at) it chooses
on speakers that it keeps apart from the others *inside* the rows it was given.

Every class weighs the same in training however rare it is, since the headline score (UAR, the unweighted
average recall) weighs them the same.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import pandas as pd
import torch
from scipy.special import softmax
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.metrics import balanced_accuracy_score
from sklearn.metrics.pairwise import rbf_kernel
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC
from sklearn.utils.validation import check_is_fitted, validate_data

from ser_utils import SerError, networks, splits, temperature, training

# ---------------------------------------------------------------------------------------------------------
# Classifiers of one vector a row
# ---------------------------------------------------------------------------------------------------------


class SVM(ClassifierMixin, BaseEstimator):
    """Support vector machine with a Gaussian kernel on standardised features.

    `C` and `gamma` are those with the best UAR over inner speaker-disjoint folds. Probabilities are a softmax
    of decision values, at the temperature that the held-out decision values of these folds ask for. That is one
    positive number, so it changes no decision; a regression on all decision values, as in Platt's scaling, can
    turn them round where inner speakers differ much from each other (in one fold of nEMO it cost 40 points of UAR).

    Parameters
    ----------
    C : sequence of float
        Penalties to choose from.
    gamma : sequence of float or "scale"
        Kernel widths to choose from; "scale" is 1 / dims on standardised features.
    inner_folds : int
        Number of inner folds.
    random_state : int
        Seed of the inner folds.

    Attributes
    ----------
    classes_ : ndarray
    C_, gamma_ : float
        What was chosen.
    temperature_ : float
        What decision values are divided by.
    search_ : DataFrame
        Columns `C`, `gamma`, `uar`: the inner score of every choice; empty where nothing could be split.
    """

    def __init__(
        self,
        C: Sequence[float] = (0.3, 1.0, 3.0, 10.0),
        gamma: Sequence[float | str] = ("scale",),
        inner_folds: int = 3,
        random_state: int = 0,
    ):
        self.C = C
        self.gamma = gamma
        self.inner_folds = inner_folds
        self.random_state = random_state

    def fit(self, X, y, groups=None) -> SVM:
        """Choose `C` and `gamma`, then fit on all rows.

        Parameters
        ----------
        X : array-like, shape=(n, dims)
        y : array-like, shape=(n,)
            Classes.
        groups : array-like, shape=(n,), optional
            Speakers.
        """
        X, y = validate_data(self, X, y)
        self.classes_, codes = splits.class_codes(y)
        parts = splits.inner_splits(codes, _as_array(groups), self.inner_folds, self.random_state)
        self.scaler_ = StandardScaler().fit(X)
        self.X_ = self.scaler_.transform(X)
        judged = np.concatenate([judge for _, judge in parts]) if parts else np.arange(len(codes))
        search, best = [], None
        for gamma in self.gamma:
            width = 1 / X.shape[1] if gamma == "scale" else float(gamma)
            # The kernel matrix is made once, by one matrix product, for all folds and all C: several times
            # faster than letting libsvm evaluate it again in each fit.
            kernel = rbf_kernel(self.X_, gamma=width)
            for C in self.C:
                machine = SVC(C=C, kernel="precomputed", class_weight="balanced")
                decisions = [
                    _decide(machine.fit(kernel[np.ix_(fit, fit)], codes[fit]), kernel[np.ix_(judge, fit)])
                    for fit, judge in parts
                ]
                score = (
                    balanced_accuracy_score(codes[judged], np.concatenate(decisions).argmax(axis=1))
                    if parts
                    else -math.inf
                )
                search.append((C, width, score))
                if best is None or score > best[0]:
                    best = score, C, width, decisions
        _, self.C_, self.gamma_, decisions = best
        self.search_ = pd.DataFrame(search if parts else [], columns=["C", "gamma", "uar"])
        if len(self.gamma) > 1:
            kernel = rbf_kernel(self.X_, gamma=self.gamma_)
        self.machine_ = SVC(C=self.C_, kernel="precomputed", class_weight="balanced").fit(kernel, codes)
        decisions = np.concatenate(decisions) if parts else _decide(self.machine_, kernel)
        self.temperature_ = temperature.fit(decisions, codes[judged], balanced=True)
        return self

    def predict_proba(self, X) -> np.ndarray:
        """Probabilities of shape (n, classes), columns in the order of `classes_`."""
        check_is_fitted(self)
        X = self.scaler_.transform(validate_data(self, X, reset=False))
        parts = [  # a bounded piece of the kernel matrix at a time
            _decide(self.machine_, rbf_kernel(X[i : i + 1000], self.X_, gamma=self.gamma_))
            for i in range(0, len(X), 1000)
        ]
        return softmax(np.concatenate(parts) / self.temperature_, axis=1)

    def predict(self, X) -> np.ndarray:
        """The most probable class of each row."""
        probabilities = self.predict_proba(X)
        return self.classes_[probabilities.argmax(axis=1)]


def _decide(machine: SVC, kernel: np.ndarray) -> np.ndarray:
    """Decision values of shape (n, classes), also for two classes."""
    values = machine.decision_function(kernel)
    return values if values.ndim == 2 else np.stack([-values, values], axis=1)


class LinearProbe(ClassifierMixin, BaseEstimator):
    """Linear discriminant analysis with shrinkage: what a linear read-out can tell, without a setting to choose.

    The covariance of each class is shrunk towards a multiple of the identity by the amount that Ledoit and Wolf
    (2004) derive from the rows themselves, so features of hundreds of dimensions need neither a search nor an
    inner split. Solved in closed form: a tenth of the time of a logistic regression with a searched penalty,
    which scored no higher.

    Attributes
    ----------
    classes_ : ndarray
    """

    def fit(self, X, y, groups=None) -> LinearProbe:
        """Fit on all rows.

        Parameters
        ----------
        X : array-like, shape=(n, dims)
        y : array-like, shape=(n,)
            Classes.
        groups : array-like, optional
            Speakers; not looked at, since there is nothing to choose.
        """
        X, y = validate_data(self, X, y)
        self.classes_, codes = splits.class_codes(y)
        self.scaler_ = StandardScaler().fit(X)
        equal = np.full(len(self.classes_), 1 / len(self.classes_))
        self.probe_ = LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto", priors=equal)
        self.probe_.fit(self.scaler_.transform(X), codes)
        return self

    def predict_proba(self, X) -> np.ndarray:
        """Probabilities of shape (n, classes), columns in the order of `classes_`."""
        check_is_fitted(self)
        X = self.scaler_.transform(validate_data(self, X, reset=False))
        return self.probe_.predict_proba(X)

    def predict(self, X) -> np.ndarray:
        """The most probable class of each row."""
        probabilities = self.predict_proba(X)
        return self.classes_[probabilities.argmax(axis=1)]


def _as_array(groups) -> np.ndarray | None:
    return None if groups is None else np.asarray(groups)


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
        self.classes_, codes = splits.class_codes(y)
        groups = _as_array(groups)
        fit, held = splits.hold_out(codes, groups, self.validation, self.random_state)
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
        self.temperature_ = training.calibrate(learning, standard, codes, held)
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
        self.temperature_ = training.calibrate(network[first:], inputs, codes, held)
        self.network_ = network
        return self

    def _build(self, mels: int) -> torch.nn.Sequential:
        n_classes = len(self.classes_)
        if self.weights == "random":
            return networks.keyword_network(n_classes, mels=mels, dropout=self.dropout)
        if self.weights == "keyword-cnn":
            network = networks.load_keyword_network(
                networks.WEIGHTS / self.weights, n_classes, dropout=self.dropout
            )
            if len(network.standardise.shift) != mels:
                raise SerError(f"keyword-cnn wants spectrograms of 64 mel bands, not {mels}: see features.log_mel.")
            return network
        name = "microsoft/resnet-18" if self.weights == "resnet18" else self.weights
        return networks.resnet_network(name, n_classes, mels=mels, dropout=self.dropout)
