"""Properties of recordings as files: what they measure, problems in them, and the shortcuts that they offer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from joblib import Parallel, delayed
from scipy.signal import welch
from sklearn.tree import DecisionTreeClassifier

from ser_utils import audio, digest, evaluation

#: Name of a shortcut → the properties of the file that its classifier is given.
SHORTCUTS: dict[str, tuple[str, ...]] = {
    "sample rate": ("sample_rate",),
    "bandwidth": ("bandwidth",),
    "level": ("level", "peak"),
    "duration": ("duration",),
    "all four": ("sample_rate", "bandwidth", "level", "peak", "duration"),
}
#: The same for files resampled to one rate, as the encoders receive them.
SHORTCUTS_AT_16_KHZ: dict[str, tuple[str, ...]] = {
    "bandwidth at 16 kHz": ("heard_bandwidth",),
    "all at 16 kHz": ("heard_bandwidth", "heard_level", "heard_peak", "duration"),
}

_BANDWIDTH_FLOOR = 80.0  # dB below the spectrum's peak: below a room's noise, above what a low-pass leaves


def file_properties(clips: pd.DataFrame, *, n_jobs: int = 1) -> pd.DataFrame:
    """Measure every file as stored, and its level, peak and bandwidth after resampling to 16 kHz.

    Returns
    -------
    DataFrame
        One row per clip, in the order of `clips`: `clip`, `duration` [s], `sample_rate` [Hz], `level` (root mean
        square) and `peak` [dB re full scale], `bandwidth` [Hz] (highest frequency whose power is within 80 dB of the
        spectrum's peak), these three again after resampling as `heard_level`, `heard_peak`, `heard_bandwidth`,
        `clipped` (fraction of samples on a flat top at the peak), `active` (fraction of the time with sound), `content`
        (digest of the samples, equal for equal recordings in different files).
    """
    jobs = n_jobs if len(clips) > 64 else 1  # starting processes takes as long as measuring some files
    rows = Parallel(jobs, batch_size=64)(delayed(_measure)(clip) for _, clip in clips.iterrows())
    return pd.DataFrame({"clip": clips["clip"].to_numpy()}).join(pd.DataFrame(rows))


def _measure(clip: pd.Series) -> dict:
    return waveform_properties(*audio.decode(clip))


def waveform_properties(signal: np.ndarray, sample_rate: int) -> dict:
    """Measure one waveform, shape `(samples,)`: the columns of `file_properties` except `clip`."""
    signal = np.nan_to_num(np.asarray(signal, np.float32))
    heard = audio.resample(signal, sample_rate, audio.SAMPLE_RATE)
    resampled, sound = _levels(heard, audio.SAMPLE_RATE), audio.active_stretches(audio.frame_levels(heard))
    return {
        "duration": len(signal) / sample_rate,
        "sample_rate": sample_rate,
        **_levels(signal, sample_rate),
        **{f"heard_{name}": value for name, value in resampled.items()},
        "clipped": _flat_tops(signal, float(np.abs(signal).max(initial=0.0))),
        "active": min(1.0, float(np.diff(sound).sum()) * audio.SAMPLE_RATE / max(1, len(heard))),
        # 16 bits, the precision of most files, so that WAV and FLAC of one recording agree
        "content": digest(np.round(signal * 32768).astype("<i4").tobytes()),
    }


def _levels(signal: np.ndarray, sample_rate: int) -> dict[str, float]:
    """Level and peak [dB re full scale], and the bandwidth [Hz]."""
    peak = float(np.abs(signal).max(initial=0.0))
    level = float(np.sqrt(np.mean(np.square(signal, dtype=np.float64)))) if len(signal) else 0.0
    bandwidth = 0.0
    if peak > 0:
        frequency, power = welch(signal, sample_rate, nperseg=min(2048, len(signal)))
        bandwidth = float(frequency[power >= power.max() * 10 ** (-_BANDWIDTH_FLOOR / 10)].max())
    level, peak = 20 * np.log10(np.maximum([level, peak], 1e-6))
    return {"level": float(level), "peak": float(peak), "bandwidth": bandwidth}


def _flat_tops(signal: np.ndarray, peak: float) -> float:
    """Fraction of samples in runs of three or more equal ones at the peak, where the peak is near full scale."""
    if peak < 0.5:  # clipped recordings are usually loud
        return 0.0
    at_top = np.concatenate([[0], (np.abs(signal) > 0.999 * peak).astype(np.int8), [0]])
    lengths = np.flatnonzero(np.diff(at_top) == -1) - np.flatnonzero(np.diff(at_top) == 1)
    return float(lengths[lengths >= 3].sum() / len(signal))


def audit_files(properties: pd.DataFrame) -> pd.DataFrame:
    """List problems in a table of `file_properties`, one row per finding, so that a clip may appear more than once.

    Returns
    -------
    DataFrame
        Columns `problem`, `clip`, `detail`. Problems: duplicate, silent (level below -60 dB re full scale), mostly
        silence (sound for less than a quarter of the time), clipped (more than 0.1 % of the samples on flat tops), too
        short (below 0.5 s), other sample rate (than most files).
    """
    rate = properties["sample_rate"].mode().iloc[0]
    twins = properties.groupby("content")["clip"].transform(lambda names: ", ".join(sorted(names)))
    silent = properties["level"] < -60
    found = {
        "duplicate": (properties["content"].duplicated(keep=False), "equal samples: " + twins),
        "silent": (silent, properties["level"].map("{:.0f} dB".format)),
        "mostly silence": (~silent & (properties["active"] < 0.25), properties["active"].map("sound for {:.0%} of the time".format)),
        "clipped": (properties["clipped"] > 1e-3, (100 * properties["clipped"]).map("{:.2f} % flat tops".format)),
        "too short": (properties["duration"] < 0.5, properties["duration"].map("{:.2f} s".format)),
        "other sample rate": (properties["sample_rate"] != rate, properties["sample_rate"].map("{} Hz".format)),
    }
    parts = [
        pd.DataFrame({"problem": problem, "clip": properties.loc[hit, "clip"], "detail": detail[hit]})
        for problem, (hit, detail) in found.items()
    ]
    return pd.concat(parts, ignore_index=True).astype({"problem": "object", "detail": "object"})


def shortcut_test(
    clips: pd.DataFrame, properties: pd.DataFrame, *, shortcuts: Mapping[str, Sequence[str]] = SHORTCUTS, resamples: int = 1000
) -> pd.DataFrame:
    """Score classifiers that are given properties of the file and nothing of its speech.

    Decision trees with at least ten clips per leaf are evaluated on disjoint speakers like every other system, so their
    scores can be compared with those of systems based on speech.

    Parameters
    ----------
    properties : DataFrame
        From `file_properties`, or any table with `clip` and the columns that `shortcuts` names.
    shortcuts : mapping of str to sequence of str
        Name of a shortcut → columns that its classifier is given.

    Returns
    -------
    DataFrame
        As `evaluation.scores` returns it, `system` = the shortcut's name.
    """
    tree = DecisionTreeClassifier(min_samples_leaf=10, class_weight="balanced", random_state=0)
    segments, folds = audio.cut_segments(clips, seconds=None), evaluation.folds(clips)
    known = properties.set_index("clip").loc[segments["clip"]]
    parts = []
    for name, columns in shortcuts.items():
        X = known[list(columns)]
        if (X.nunique() > 1).any():  # a constant property gives nothing away
            predictions = evaluation.cross_validate(
                tree, X.to_numpy(np.float32), segments, clips, folds=folds, system=name, progress=False
            )
            parts.append(evaluation.scores(predictions, resamples=resamples))
    return pd.concat(parts, ignore_index=True)
