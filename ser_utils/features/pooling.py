"""One vector per segment: mean and standard deviation of frames, and statistics per speaker."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Sequence

import numpy as np

from ser_utils import SerError

_MAX_HALF = 65504.0  # the largest float16


def pooled(frames: np.ndarray) -> np.ndarray:
    """Summarise frames by their mean and standard deviation over time.

    Parameters
    ----------
    frames : ndarray, shape=(n, ..., frames, dims)
        May be a memory-mapped float16 array; it is read in pieces.

    Returns
    -------
    ndarray, shape=(n, ..., 2 * dims), float32
    """
    *lead, _, dims = frames.shape
    result = np.empty((*lead, 2 * dims), np.float32)
    for rows in _pieces(frames, np.arange(len(frames))):
        piece = np.asarray(frames[rows], np.float32)
        result[rows, ..., :dims] = piece.mean(axis=-2)
        result[rows, ..., dims:] = piece.std(axis=-2)
    return result


def normalise_by_speaker(
    X: np.ndarray, speakers: Sequence[str], *, reference: Sequence[bool] | None = None  # noqa: N803 - as in scikit-learn
) -> np.ndarray:
    """Standardise each dimension with its speaker's own statistics, over all the speaker's segments and frames.

    This is the condition "per-speaker". It uses no labels, but it needs recordings of a test speaker before the first
    prediction: all of them, or with `reference` some of them, such as a minute of neutral speech.

    Parameters
    ----------
    X : ndarray, shape=(n, dims) or (n, frames, dims)
        May be a memory-mapped float16 array; it is read in pieces.
    speakers, reference : sequence of str, sequence of bool, length n
        Speaker of each row; rows that statistics are taken from, by default all.

    Returns
    -------
    ndarray
        Of the shape and type of `X`. A dimension that does not vary for a speaker is 0. A speaker with one vector, which
        its own mean would turn to 0, gets the statistics of all rows; a warning counts such speakers.

    Raises
    ------
    SerError
        If there is not one speaker per row, or a speaker has no reference row.
    """
    names, speaker_of_row = np.unique(np.asarray(speakers, dtype=object).astype(str), return_inverse=True)
    if len(speaker_of_row) != len(X):
        raise SerError(f"{len(speaker_of_row)} speakers for {len(X)} rows: one per row is needed.")
    result = np.empty(X.shape, X.dtype)
    over = tuple(range(X.ndim - 1))
    usable = np.ones(len(X), bool) if reference is None else np.asarray(reference, bool)
    single = 0
    for speaker, name in enumerate(names):
        own = speaker_of_row == speaker
        measured = np.flatnonzero(own & usable)
        if not len(measured):
            raise SerError(f"speaker '{name}' has no reference recording to be normalised with: leave that speaker out")
        if len(measured) * math.prod(X.shape[1:-1]) == 1:
            measured, single = np.flatnonzero(usable), single + 1
        count = len(measured) * math.prod(X.shape[1:-1])
        pieces = list(_pieces(X, measured))
        mean = sum(np.asarray(X[rows], np.float64).sum(axis=over) for rows in pieces) / count
        # A second pass, since a difference of large squares is inexact.
        squares = sum(((np.asarray(X[rows], np.float64) - mean) ** 2).sum(axis=over) for rows in pieces)
        deviation = np.sqrt(squares / count)
        deviation[deviation <= 1e-6 * np.abs(mean) + 1e-12] = np.inf
        for rows in _pieces(X, np.flatnonzero(own)):
            result[rows] = (np.asarray(X[rows], np.float32) - mean.astype(np.float32)) / deviation
    if single:
        said = "have one recording and get the statistics of all speakers in place of their own"
        warnings.warn(f"{single} of {len(names)} speakers {said}.", stacklevel=2)
    return result


def half(values: np.ndarray) -> np.ndarray:
    """Round to float16, as features are stored; values that it cannot represent become the largest that it can."""
    import torch  # ten times as fast as numpy, with the same result

    # Some large encoders have a few dimensions in the thousands; float16 must not make them infinite.
    return torch.from_numpy(np.ascontiguousarray(values)).clamp(-_MAX_HALF, _MAX_HALF).half().numpy()


def _pieces(array: np.ndarray, rows: np.ndarray, most: int = 32_000_000) -> Iterator[np.ndarray]:
    """Split rows into pieces of about `most` bytes as float32."""
    step = max(1, most // (4 * max(1, math.prod(array.shape[1:]))))
    return (rows[first : first + step] for first in range(0, len(rows), step))
