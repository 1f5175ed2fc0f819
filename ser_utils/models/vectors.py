"""Classifiers of one vector per segment: a support vector machine and a linear probe."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy.special import softmax
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.metrics import balanced_accuracy_score
from sklearn.metrics.pairwise import rbf_kernel
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC
from sklearn.utils.validation import check_is_fitted, validate_data

from ser_utils.models import inner_splits, temperature


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
        self.classes_, codes = inner_splits.class_codes(y)
        parts = inner_splits.grouped_splits(codes, _as_array(groups), self.inner_folds, self.random_state)
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
        self.temperature_ = temperature.fit_temperature(decisions, codes[judged], balanced=True)
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
        self.classes_, codes = inner_splits.class_codes(y)
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
