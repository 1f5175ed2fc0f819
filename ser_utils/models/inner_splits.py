"""Speaker-disjoint splits of the training rows, on which a classifier chooses its settings, never on test speakers."""

from __future__ import annotations

import warnings

import numpy as np
from numpy.typing import ArrayLike
from sklearn.model_selection import GroupShuffleSplit, StratifiedGroupKFold, StratifiedKFold
from sklearn.utils.multiclass import check_classification_targets

from ser_utils import SerError


def grouped_splits(
    codes: np.ndarray, groups: ArrayLike | None, n_splits: int, seed: int
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Split training rows, whose classes are `codes`, into folds by speaker.

    Parameters
    ----------
    groups : array-like, shape=(n,), optional
        Speaker of each row. Without speakers, or with one only, rows are split by class alone.
    n_splits : int
        Number of splits; fewer where there are fewer speakers or rows of a class.

    Returns
    -------
    list of (ndarray, ndarray)
        Training rows and validation rows; without the splits whose training rows lack a class, so perhaps none.
    """
    n_groups = 0 if groups is None else len(np.unique(groups))
    apart = n_groups > 1
    most = n_groups if apart else int(np.bincount(codes).min())
    if most < 2:
        return []
    cv = (StratifiedGroupKFold if apart else StratifiedKFold)(min(n_splits, most), shuffle=True, random_state=seed)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The least populated class")
        splits = list(cv.split(codes, codes, groups if apart else None))
    n_classes = len(np.unique(codes))
    return [(fit, held) for fit, held in splits if len(np.unique(codes[fit])) == n_classes]


def hold_out(codes: np.ndarray, groups: ArrayLike | None, share: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Choose validation speakers among the training speakers, for early stopping.

    Parameters
    ----------
    codes : ndarray, shape=(n,)
        Class of each row.
    groups : array-like, shape=(n,), optional
        Speaker of each row. Without them `share` of the rows of each class is taken instead, which raises the
        validation score, since neighbours of the validation segments are in training.
    share : float
        Share of the speakers; at least one.

    Returns
    -------
    fit, held : ndarray of int
        Training rows, with every class among them, and validation rows (none if there are too few).
    """
    n_classes, n_groups = len(np.unique(codes)), 0 if groups is None else len(np.unique(groups))
    if n_groups > 1:
        n_held = min(max(1, round(share * n_groups)), n_groups - 1)
        draws = GroupShuffleSplit(20, test_size=n_held, random_state=seed).split(codes, codes, groups)
        draws = [(f, h) for f, h in draws if len(np.unique(codes[f])) == n_classes]
        if draws:  # the first of those whose validation speakers have the most classes
            return max(draws, key=lambda draw: len(np.unique(codes[draw[1]])))
    if groups is not None:
        warnings.warn(
            "No training speaker can be held out (one speaker only, or a class that one speaker alone has): "
            "early stopping watches held-out rows of the same speakers.",
            stacklevel=3,
        )
    splits = grouped_splits(codes, None, max(2, round(1 / share)), seed)
    return splits[0] if splits else (np.arange(len(codes)), np.arange(0))


def class_codes(y: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Number the classes of rows.

    Returns
    -------
    classes, codes : ndarray
        The classes in sorted order, and the position of each row's class among them.

    Raises
    ------
    SerError
        If all rows are of one class.
    """
    check_classification_targets(y)
    classes, codes = np.unique(y, return_inverse=True)
    if len(classes) < 2:
        raise SerError(f"All {len(codes)} training rows are of one class ({classes[0]}): give two or more.")
    return classes, codes
