"""Training on fewer labels than there are."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, clone
from sklearn.utils.validation import check_is_fitted, has_fit_parameter

from ser_utils import SerError
from ser_utils.models.vectors import _Classifier


class FewerLabels(_Classifier):
    """Train a classifier on part of the labelled rows, as if fewer had been collected.

    Whole speakers are left out first, then rows of the remaining speakers, evenly over their classes. In
    `evaluation.cross_validate` every seed is another draw, and all test speakers are predicted.

    Parameters
    ----------
    estimator : scikit-learn classifier
        Cloned and fitted on the rows drawn.
    speakers : float
        Share of the training speakers, above 0 and up to 1. Where no draw of so few has every class, more are taken.
    rows : float
        Share of each kept speaker's rows of each class, above 0 and up to 1; at least one row.
    random_state : int
        Seed of the draw.

    Attributes
    ----------
    classes_, kept_ : ndarray
        The classes, and the numbers of the rows used for training.
    """

    def __init__(self, estimator: BaseEstimator, speakers: float = 1.0, rows: float = 1.0, random_state: int = 0):
        self.estimator = estimator
        self.speakers = speakers
        self.rows = rows
        self.random_state = random_state

    def fit(self, X: np.ndarray, y: ArrayLike, groups: ArrayLike) -> FewerLabels:
        """Draw rows and fit on them.

        Parameters
        ----------
        X, y, groups : arrays, shape=(n, ...), (n,), (n,)
            `groups`, the speakers, are given to an estimator whose `fit` takes them.

        Raises
        ------
        SerError
            If a share is out of range.
        """
        for name in ("speakers", "rows"):
            if not 0 < getattr(self, name) <= 1:
                raise SerError(f"{name}={getattr(self, name)}: give a share above 0, up to 1.")
        y, groups = np.asarray(y), np.asarray(groups)
        self.kept_ = self._draw(y, groups, np.random.default_rng(self.random_state))
        options = {"groups": groups[self.kept_]} if has_fit_parameter(self.estimator, "groups") else {}
        self.estimator_ = clone(self.estimator).fit(X[self.kept_], y[self.kept_], **options)
        self.classes_ = self.estimator_.classes_
        return self

    def _draw(self, y: np.ndarray, groups: np.ndarray, random: np.random.Generator) -> np.ndarray:
        names, classes = np.unique(groups), np.unique(y)
        counts = np.repeat(np.arange(max(1, round(self.speakers * len(names))), len(names) + 1), 50)  # 50 draws each
        draws = (np.isin(groups, random.choice(names, count, replace=False)) for count in counts)
        drawn = next(draw for draw in draws if len(np.unique(y[draw])) == len(classes))
        order = random.permutation(np.flatnonzero(drawn))
        cells = pd.DataFrame({"speaker": groups[order], "emotion": y[order]}).groupby(["speaker", "emotion"])
        # The first share of each cell, in a random order; rounded up, so no cell is lost.
        kept = cells.cumcount().to_numpy() < np.ceil(self.rows * cells["emotion"].transform("size").to_numpy())
        return np.sort(order[kept])

    def predict_proba(self, X: np.ndarray) -> np.ndarray:
        """Probabilities of shape (n, classes), columns in the order of `classes_`."""
        check_is_fitted(self)
        return self.estimator_.predict_proba(X)
