"""Classifiers of one vector per segment: a support vector machine and a linear probe."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy.special import softmax
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.metrics import balanced_accuracy_score
from sklearn.metrics.pairwise import rbf_kernel
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC
from sklearn.utils.validation import check_is_fitted, validate_data

from ser_utils.models import inner_splits
from ser_utils.models.temperature import fit_temperature

#: Rows up to which an inner fold computes its kernel matrix once for all penalties: several times faster than
#: letting libsvm compute it in each fit, at 8 bytes per pair of rows (800 MB).
DENSE_ROWS = 10_000


class SVM(ClassifierMixin, BaseEstimator):
    """Support vector machine with a Gaussian kernel on standardised features.

    `C` and `gamma` are those with the best UAR over inner speaker-disjoint folds; each fold is standardised with the
    statistics of its own training rows. Probabilities are a softmax of the decision values, divided by the
    temperature fitted on the validation rows of these folds. One positive number changes no prediction; a regression
    on all decision values, as in Platt's scaling, can reverse predictions where the inner speakers differ much from
    each other (in one fold of nEMO that lost 40 points of UAR).

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
        The values chosen.
    temperature_ : float
        The decision values are divided by it.
    search_ : DataFrame
        Columns `C`, `gamma`, `uar`: the inner score of every choice; empty where the rows cannot be split.
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

    def fit(self, X: np.ndarray, y: ArrayLike, groups: ArrayLike | None = None) -> SVM:
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
        self.classes_, codes = inner_splits.class_codes(y)
        parts = inner_splits.grouped_splits(codes, groups, self.inner_folds, self.random_state)
        widths = [1 / X.shape[1] if gamma == "scale" else float(gamma) for gamma in self.gamma]
        choices, folds = list(itertools.product(widths, self.C)), []
        for fit, validation in parts:
            scaler = StandardScaler().fit(X[fit])
            seen, unseen = scaler.transform(X[fit]), scaler.transform(X[validation])
            folds.append([d for width in widths for d in _decisions(seen, codes[fit], unseen, self.C, width)])
        held = np.concatenate([validation for _, validation in parts]) if parts else np.arange(len(codes))
        decisions = [np.concatenate(of_choice) for of_choice in zip(*folds, strict=True)]
        scores = [balanced_accuracy_score(codes[held], values.argmax(axis=1)) for values in decisions]
        search = [(C, width, score) for (width, C), score in zip(choices, scores, strict=False)]  # none without folds
        self.search_ = pd.DataFrame(search, columns=["C", "gamma", "uar"])
        best = int(np.argmax(scores)) if parts else 0
        self.gamma_, self.C_ = choices[best]
        self.scaler_ = StandardScaler().fit(X)
        X = self.scaler_.transform(X)
        self.machine_ = SVC(C=self.C_, gamma=self.gamma_, class_weight="balanced", cache_size=1000).fit(X, codes)  # MB
        logits = decisions[best] if parts else _decide(self.machine_, X)
        self.temperature_ = fit_temperature(logits, codes[held], balanced=True)
        return self

    def predict_proba(self, X: np.ndarray) -> np.ndarray:
        """Probabilities of shape (n, classes), columns in the order of `classes_`."""
        check_is_fitted(self)
        X = self.scaler_.transform(validate_data(self, X, reset=False))
        return softmax(_decide(self.machine_, X) / self.temperature_, axis=1)

    def predict(self, X: np.ndarray) -> np.ndarray:
        """The most probable class of each row."""
        probabilities = self.predict_proba(X)
        return self.classes_[probabilities.argmax(axis=1)]


def _decisions(
    X: np.ndarray, codes: np.ndarray, unseen: np.ndarray, penalties: Sequence[float], width: float
) -> list[np.ndarray]:
    """Decision values of unseen rows for each penalty."""
    settings: dict = {"gamma": width, "cache_size": 1000}
    if len(X) <= DENSE_ROWS:
        settings = {"kernel": "precomputed"}
        X, unseen = rbf_kernel(X, gamma=width), rbf_kernel(unseen, X, gamma=width)
    return [_decide(SVC(C=C, class_weight="balanced", **settings).fit(X, codes), unseen) for C in penalties]


def _decide(machine: SVC, X: np.ndarray) -> np.ndarray:
    """Decision values of shape (n, classes), also for two classes."""
    values = machine.decision_function(X)
    return values if values.ndim == 2 else np.stack([-values, values], axis=1)


class LinearProbe(ClassifierMixin, BaseEstimator):
    """Linear discriminant analysis with shrinkage on standardised features; it has no setting to choose.

    The covariance of each class is shrunk towards a multiple of the identity by the amount that Ledoit and Wolf
    (2004) derive from the rows themselves, so features of hundreds of dimensions need no inner split. The closed form
    takes a tenth of the time of a logistic regression with a searched penalty, which scored no higher.

    Attributes
    ----------
    classes_ : ndarray
    """

    def fit(self, X: np.ndarray, y: ArrayLike, groups: ArrayLike | None = None) -> LinearProbe:
        """Fit on all rows.

        Parameters
        ----------
        X : array-like, shape=(n, dims)
        y : array-like, shape=(n,)
            Classes.
        groups : array-like, optional
            Speakers; not used, since there is nothing to choose.
        """
        X, y = validate_data(self, X, y)
        self.classes_, codes = inner_splits.class_codes(y)
        self.scaler_ = StandardScaler().fit(X)
        equal = np.full(len(self.classes_), 1 / len(self.classes_))
        self.probe_ = LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto", priors=equal)
        self.probe_.fit(self.scaler_.transform(X), codes)
        return self

    def predict_proba(self, X: np.ndarray) -> np.ndarray:
        """Probabilities of shape (n, classes), columns in the order of `classes_`."""
        check_is_fitted(self)
        X = self.scaler_.transform(validate_data(self, X, reset=False))
        return self.probe_.predict_proba(X)

    def predict(self, X: np.ndarray) -> np.ndarray:
        """The most probable class of each row."""
        probabilities = self.predict_proba(X)
        return self.classes_[probabilities.argmax(axis=1)]
