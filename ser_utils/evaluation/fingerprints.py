"""One recording stored in several ways, found by its sound at 16 kHz."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pandas as pd

from ser_utils import audio, features

_BANDS = slice(9, 45)  # mel bands from 300 Hz to 3.4 kHz, which telephones keep too
_FLOOR = np.log(1e5)  # what lies 50 dB below the loudest band is noise of the codec
_BINS, _CANDIDATE = 16, 0.85  # steps of time, and the correlation in them from which pairs are looked at again
_SECONDS = 0.15  # codecs add or take that much at the ends
_SHIFT = 8  # frames of 10 ms by which two copies may be out of step
#: Correlation of two fingerprints from which on they are of one recording. On nEMO, copies in MP3 or Opus, in telephone
#: quality, at 44.1 kHz or cut by 30 ms reach 0.98 to 1.00 (in 16 steps of time 0.97), different recordings at most 0.75;
#: on RAVDESS, where an actor repeats a sentence between equal silences, at most 0.95.
ALIKE = 0.96


def fingerprint(wave: np.ndarray) -> np.ndarray:
    """Level per band and 10 ms without what gain and equalisation change.

    Parameters
    ----------
    wave : ndarray, shape=(samples,)
        At 16 kHz.

    Returns
    -------
    ndarray, shape=(18 bands, frames), float32
        Natural logarithm of the power in pairs of mel bands, less each pair's mean over time.
    """
    image = features.mel_spectrogram(wave[None] / (np.abs(wave).max() + 1e-9))[0][_BANDS]
    pairs = np.maximum(image, image.max() - _FLOOR).reshape(-1, 2, image.shape[1]).mean(axis=1)
    return pairs - pairs.mean(axis=1, keepdims=True)


def near_copies(clips: pd.DataFrame) -> pd.DataFrame:
    """Find clips that are one recording: in another format or rate, louder or softer, a little shorter.

    Pairs of about equal length whose fingerprints correlate in 16 steps of time are compared again in steps of 10 ms,
    at several offsets. What was changed in time or covered by noise is not found.

    Parameters
    ----------
    clips : DataFrame
        `clip`, `path` (and `start`, `end`), `duration` [s].

    Returns
    -------
    DataFrame
        One row per pair: `clip`, `other`, `correlation` (at least `ALIKE`).
    """
    prints = [fingerprint(audio.read(row)) for row in clips.itertuples()]
    coarse = np.stack([_standardised(_bins(image).ravel()) for image in prints]) if prints else np.empty((0, 1))
    seconds = clips["duration"].to_numpy()
    order = np.argsort(seconds, kind="stable")
    found = []
    for place, i in enumerate(order):
        near = order[place + 1 : np.searchsorted(seconds[order], seconds[i] + _SECONDS, side="right")]
        for j in near[coarse[near] @ coarse[i] > _CANDIDATE]:
            if (correlation := _correlation(prints[i], prints[j])) >= ALIKE:
                first, second = sorted((i, j))
                found.append((clips["clip"].iloc[first], clips["clip"].iloc[second], round(correlation, 3)))
    return pd.DataFrame(sorted(found), columns=["clip", "other", "correlation"])


def _bins(image: np.ndarray) -> np.ndarray:
    """Means over equal parts of the time axis."""
    edges = np.linspace(0, image.shape[1], _BINS + 1)
    return np.stack([image[:, int(a) : max(int(a) + 1, int(np.ceil(b)))].mean(axis=1) for a, b in pairwise(edges)])


def _standardised(values: np.ndarray) -> np.ndarray:
    """Rows of length 1 and mean 0, so that a product of two is their correlation."""
    centred = values - values.mean(axis=-1, keepdims=True)
    return centred / (np.linalg.norm(centred, axis=-1, keepdims=True) + 1e-9)


def _correlation(one: np.ndarray, two: np.ndarray) -> float:
    """Highest correlation of two fingerprints over offsets: the middle of the shorter one slides along the other."""
    shorter, longer = sorted((one, two), key=lambda image: image.shape[1])
    most = min(_SHIFT, shorter.shape[1] // 8)
    middle = shorter[:, most : shorter.shape[1] - most]
    places = np.lib.stride_tricks.sliding_window_view(longer, middle.shape, axis=(0, 1))[0]
    return float((_standardised(places.reshape(len(places), -1)) @ _standardised(middle.ravel())).max())
