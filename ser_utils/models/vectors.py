"""Classifiers of one vector per row: a support vector machine and linear discriminant analysis."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy.special import softmax
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.covariance import ledoit_wolf
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.metrics import balanced_accuracy_score
from sklearn.metrics.pairwise import pairwise_kernels
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC
from sklearn.utils.validation import check_is_fitted, validate_data

from ser_utils.models import inner_splits
from ser_utils.models.temperature import fit_temperature

#: Rows up to which an inner fold computes its kernel matrix once for all penalties: several times faster than
#: letting libsvm compute it in each fit, at 8 bytes per pair of rows (800 MB).
DENSE_ROWS = 10_000

INNER_FOLDS = 3


class _Classifier(ClassifierMixin, BaseEstimator):
    def predict(self, X: np.ndarray) -> np.ndarray:
        """The most probable class of each row."""
        probabilities = self.predict_proba(X)  # first: it says so where nothing is fitted
        return self.classes_[probabilities.argmax(axis=1)]


class SVM(_Classifier):
    """Support vector machine with a linear or a Gaussian kernel.

    Features are standardised, and whitened or not by the covariance within classes that LDA uses (as is usual for
    support vector machines on voices, Hatch, Kajarekar & Stolcke 2006). Whitening, kernel and penalty are those with
    the best UAR over inner speaker-disjoint folds, each with the statistics of its own training rows. One machine is
    trained per pair of classes; the logistic function of twice its margin is the probability of one class against the
    other, and these are coupled to probabilities of all classes (Price, Knerr, Personnaz & Dreyfus 1995). Their
    logarithms are divided by the temperature fitted on the validation rows of the inner folds, which changes no
    prediction.

    Whitening gains 2 to 3 points of UAR on eGeMAPS of the demo and loses 3 on the pooled frames of the encoder. On
    nEMO, penalties below 0.1 lose up to 10 points and still win now and then on the few speakers of an inner fold: they
    are no choice.

    Parameters
    ----------
    whiten, kernels, C : sequences of bool, of {"linear", "gaussian"}, of float
        Whether to whiten, kernels and penalties to choose from. Products are divided by the number of dimensions,
        squared distances by four times as much.
    random_state : int
        Seed of the three inner folds.

    Attributes
    ----------
    classes_, whiten_, kernel_, C_, temperature_
        The classes, the values chosen, and what the logarithms of the probabilities are divided by.
    search_ : DataFrame
        Columns `whiten`, `kernel`, `C`, `uar`: the inner score of every choice; empty where the rows cannot be split.
    """

    def __init__(
        self, whiten: Sequence[bool] = (False, True), kernels: Sequence[str] = ("linear", "gaussian"),
        C: Sequence[float] = (0.1, 0.3, 1.0, 3.0, 10.0), random_state: int = 0,
    ):  # fmt: skip
        self.whiten = whiten
        self.kernels = kernels
        self.C = C
        self.random_state = random_state

    def fit(self, X: np.ndarray, y: ArrayLike, groups: ArrayLike | None = None) -> SVM:
        """Choose whitening, kernel and penalty, then fit on all rows.

        Parameters
        ----------
        X, y, groups : arrays, shape=(n, dims), (n,), (n,)
            Features, classes and, if known, speakers.
        """
        X, y = validate_data(self, X, y)
        self.classes_, codes = inner_splits.class_codes(y)
        parts = inner_splits.grouped_splits(codes, groups, INNER_FOLDS, self.random_state)
        choices, folds = list(itertools.product(self.whiten, self.kernels, self.C)), []
        for fit, validation in parts:
            made = []
            for whiten in self.whiten:
                scaler, turn = _space(X[fit], codes[fit], whiten)
                seen, unseen = (scaler.transform(X[rows]) @ turn for rows in (fit, validation))
                made += [m for kernel in self.kernels for m in _validate(seen, codes[fit], unseen, kernel, self.C)]
            folds.append(made)
        held = np.concatenate([validation for _, validation in parts]) if parts else np.arange(len(codes))
        logits = [np.concatenate(of_choice) for of_choice in zip(*folds, strict=True)]
        scores = [balanced_accuracy_score(codes[held], values.argmax(axis=1)) for values in logits]
        search = [(*choice, score) for choice, score in zip(choices, scores, strict=False)]  # none without folds
        self.search_ = pd.DataFrame(search, columns=["whiten", "kernel", "C", "uar"])
        best = int(np.argmax(scores)) if parts else 0
        self.whiten_, self.kernel_, self.C_ = choices[best]
        self.scaler_, self.turn_ = _space(X, codes, self.whiten_)
        X = self.scaler_.transform(X) @ self.turn_
        self.machine_ = SVC(**_settings(self.kernel_, X.shape[1]), C=self.C_).fit(X, codes)
        fitted = logits[best] if parts else _couple(self.machine_, X)
        self.temperature_ = fit_temperature(fitted, codes[held], balanced=True)
        return self

    def predict_proba(self, X: np.ndarray) -> np.ndarray:
        """Probabilities of shape (n, classes), columns in the order of `classes_`."""
        check_is_fitted(self)
        X = self.scaler_.transform(validate_data(self, X, reset=False)) @ self.turn_
        return softmax(_couple(self.machine_, X) / self.temperature_, axis=1)


def _space(X: np.ndarray, codes: np.ndarray, whiten: bool) -> tuple[StandardScaler, np.ndarray]:
    """A fitted scaler, and the matrix by which scaled rows are multiplied: it whitens or changes nothing."""
    scaler = StandardScaler().fit(X)
    if not whiten:
        return scaler, np.eye(X.shape[1])
    Z = scaler.transform(X)
    within = np.mean([ledoit_wolf(Z[codes == code])[0] for code in np.unique(codes)], axis=0)
    values, vectors = np.linalg.eigh(within)
    return scaler, vectors / np.sqrt(np.maximum(values, 1e-12))


def _settings(kernel: str, dims: int) -> dict:
    shape = {"kernel": "rbf", "gamma": 0.25 / dims}
    if kernel == "linear":  # "poly" of degree 1 is the linear kernel with a scale
        shape = {"kernel": "poly", "degree": 1, "coef0": 0.0, "gamma": 1 / dims}
    return {**shape, "class_weight": "balanced", "decision_function_shape": "ovo", "cache_size": 1000}  # MB


def _validate(
    X: np.ndarray, codes: np.ndarray, unseen: np.ndarray, kernel: str, penalties: Sequence[float]
) -> list[np.ndarray]:
    """Log-probabilities of unseen rows for each penalty."""
    settings = _settings(kernel, X.shape[1])
    if len(X) <= DENSE_ROWS:
        metric, settings["kernel"] = settings["kernel"], "precomputed"
        X, unseen = (pairwise_kernels(rows, X, metric, filter_params=True, **settings) for rows in (X, unseen))
    return [_couple(SVC(**settings, C=C).fit(X, codes), unseen) for C in penalties]


def _couple(machine: SVC, X: np.ndarray) -> np.ndarray:
    """Log-probabilities (n, classes), not scaled to a sum of 1, from the margins between each two classes."""
    margins = machine.decision_function(X)
    if margins.ndim == 1:  # two classes: scikit-learn turns the sign
        margins = -margins[:, None]
    costs = np.zeros((len(X), len(machine.classes_)))
    # Price et al.: 1 / p_k = sum of 1 / p_kj - (K - 2), which is 1 + sum of exp(-2 margin)
    # with p_kj = 1 / (1 + exp(-2 margin)).
    for (first, second), margin in zip(itertools.combinations(range(costs.shape[1]), 2), margins.T, strict=True):
        costs[:, first] = np.logaddexp(costs[:, first], -2 * margin)
        costs[:, second] = np.logaddexp(costs[:, second], 2 * margin)
    return -costs


class LinearProbe(_Classifier):
    """Linear discriminant analysis with shrinkage on standardised features; it has no setting to choose.

    The covariance of each class is shrunk towards a multiple of the identity by the amount that Ledoit and Wolf (2004)
    derive from the rows themselves, so features of hundreds of dimensions need no inner split. The closed form takes a
    tenth of the time of a logistic regression with a searched penalty, which scored no higher.

    Attributes
    ----------
    classes_ : ndarray
    """

    def fit(self, X: np.ndarray, y: ArrayLike, groups: ArrayLike | None = None) -> LinearProbe:
        """Fit on all rows.

        Parameters
        ----------
        X, y, groups : arrays, shape=(n, dims), (n,), (n,)
            Features, classes, and speakers; these are not used, since there is nothing to choose.
        """
        X, y = validate_data(self, X, y)
        self.classes_, codes = inner_splits.class_codes(y)
        equal = np.full(len(self.classes_), 1 / len(self.classes_))
        lda = LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto", priors=equal)
        self.probe_ = make_pipeline(StandardScaler(), lda).fit(X, codes)
        return self

    def predict_proba(self, X: np.ndarray) -> np.ndarray:
        """Probabilities of shape (n, classes), columns in the order of `classes_`."""
        check_is_fitted(self)
        return self.probe_.predict_proba(validate_data(self, X, reset=False))
