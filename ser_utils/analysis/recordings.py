"""Exploring a corpus: what its recordings are like, what is wrong with them, and which shortcuts they offer.

Files are measured as they are stored. How emotions differ acoustically is in `acoustics`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from ser_utils import audio

#: What a classifier may know of a file without listening, by name of the shortcut.
SHORTCUTS: dict[str, tuple[str, ...]] = {
    "sample rate": ("sample_rate",),
    "bandwidth": ("bandwidth",),
    "level": ("level", "peak"),
    "duration": ("duration",),
    "all four": ("sample_rate", "bandwidth", "level", "peak", "duration"),
}
#: The same of files as the encoders hear them, when all have been resampled to one rate.
SHORTCUTS_AT_16_KHZ: dict[str, tuple[str, ...]] = {
    "bandwidth at 16 kHz": ("heard_bandwidth",),
    "all at 16 kHz": ("heard_bandwidth", "heard_level", "heard_peak", "duration"),
}

_BANDWIDTH_FLOOR = 80.0  # dB below the spectrum's peak: below a room's noise, above what a low-pass leaves


# --- recordings ------------------------------------------------------------------------


def file_properties(clips: pd.DataFrame, *, n_jobs: int = 1) -> pd.DataFrame:
    """Measure every file as it is stored, and what is left of its bandwidth and level at 16 kHz.

    Parameters
    ----------
    clips : DataFrame
        A clips table.
    n_jobs : int
        Processes.

    Returns
    -------
    DataFrame
        One row a clip, in the order of `clips`: `clip`, `duration` [s], `sample_rate` [Hz], `level` (root mean
        square) and `peak` [dB re full scale], `bandwidth` [Hz] (highest frequency whose power is within 80 dB of
        the spectrum's peak), the three of them again as `heard_level`, `heard_peak`, `heard_bandwidth` after resampling
        to 16 kHz, `clipped` (fraction of samples on a flat top at the peak), `content` (digest of the
        samples, equal for equal recordings whatever the file is called).
    """
    from joblib import Parallel, delayed

    paths = clips["path"].tolist()
    chunks = [paths[i : i + 64] for i in range(0, len(paths), 64)]
    jobs = n_jobs if len(chunks) > 1 else 1
    rows = [row for rows in Parallel(n_jobs=jobs)(delayed(_measure_all)(c) for c in chunks) for row in rows]
    table = pd.DataFrame(rows)
    table.insert(0, "clip", clips["clip"].to_numpy())
    return table


def _measure_all(paths: Sequence[str]) -> list[dict]:
    import soundfile

    rows = []
    for path in paths:
        signal, rate = soundfile.read(path, dtype="float32", always_2d=True)
        rows.append(measure_recordings(signal.mean(axis=1), rate))
    return rows


def measure_recordings(signal: np.ndarray, sample_rate: int) -> dict:
    """Measure one waveform, shape `(samples,)`: the columns of `file_properties` except `clip`."""
    signal = np.nan_to_num(np.asarray(signal, np.float32))
    heard = _levels(audio.resample(signal, sample_rate, audio.SAMPLE_RATE), audio.SAMPLE_RATE)
    return {
        "duration": len(signal) / sample_rate,
        "sample_rate": sample_rate,
        **_levels(signal, sample_rate),
        **{f"heard_{name}": value for name, value in heard.items()},
        "clipped": _flat_tops(signal, float(np.abs(signal).max(initial=0.0))),
        # 16 bits: the precision of most files, so that WAV and FLAC of one recording agree
        "content": hashlib.blake2b(np.round(signal * 32768).astype("<i4").tobytes(), digest_size=8).hexdigest(),
    }


def _levels(signal: np.ndarray, sample_rate: int) -> dict[str, float]:
    """Level and peak [dB re full scale], and the bandwidth [Hz]."""
    from scipy.signal import welch

    peak = float(np.abs(signal).max(initial=0.0))
    level = float(np.sqrt(np.mean(np.square(signal, dtype=np.float64)))) if len(signal) else 0.0
    bandwidth = 0.0
    if peak > 0:
        frequency, power = welch(signal, sample_rate, nperseg=min(2048, len(signal)))
        bandwidth = float(frequency[power >= power.max() * 10 ** (-_BANDWIDTH_FLOOR / 10)].max())
    return {
        "level": 20 * np.log10(max(level, 1e-6)),
        "peak": 20 * np.log10(max(peak, 1e-6)),
        "bandwidth": bandwidth,
    }


def _flat_tops(signal: np.ndarray, peak: float) -> float:
    """Fraction of samples in runs of three or more equal ones at the peak, where the peak is near full scale."""
    if peak < 0.5:  # a waveform that was cut off is usually still loud
        return 0.0
    at_top = np.concatenate([[0], (np.abs(signal) > 0.999 * peak).astype(np.int8), [0]])
    starts, ends = np.flatnonzero(np.diff(at_top) == 1), np.flatnonzero(np.diff(at_top) == -1)
    lengths = ends - starts
    return float(lengths[lengths >= 3].sum() / len(signal))


def audit_files(
    properties: pd.DataFrame, *, shortest: float = 0.5, silent: float = -60.0, clipped: float = 1e-3
) -> pd.DataFrame:
    """List what is wrong with files: one row a finding, so that a clip may appear more than once.

    Parameters
    ----------
    properties : DataFrame
        From `file_properties`.
    shortest : float
        Clips under this many seconds are too short.
    silent : float
        Clips whose level is below this are silent [dB re full scale].
    clipped : float
        Clips with a larger fraction of flat tops are clipped.

    Returns
    -------
    DataFrame
        Columns `problem` (duplicate, silent, clipped, too short, other sample rate), `clip`, `detail`.
    """
    rate = properties["sample_rate"].mode().iloc[0]
    twins = properties.groupby("content")["clip"].transform(lambda names: ", ".join(sorted(names)))
    found = {
        "duplicate": (properties["content"].duplicated(keep=False), "equal samples: " + twins),
        "silent": (properties["level"] < silent, _text(properties["level"], "{:.0f} dB")),
        "clipped": (properties["clipped"] > clipped, _text(100 * properties["clipped"], "{:.2f} % flat tops")),
        "too short": (properties["duration"] < shortest, _text(properties["duration"], "{:.2f} s")),
        "other sample rate": (properties["sample_rate"] != rate, _text(properties["sample_rate"], "{} Hz")),
    }
    parts = [
        pd.DataFrame({"problem": problem, "clip": properties.loc[hit, "clip"], "detail": detail[hit]})
        for problem, (hit, detail) in found.items()
    ]
    return pd.concat(parts, ignore_index=True).astype({"problem": "object", "detail": "object"})


def _text(values: pd.Series, form: str) -> pd.Series:
    return values.map(form.format)


# --- shortcuts -------------------------------------------------------------------------


def shortcut_test(
    clips: pd.DataFrame,
    properties: pd.DataFrame,
    *,
    shortcuts: Mapping[str, Sequence[str]] = SHORTCUTS,
    resamples: int = 1000,
    n_jobs: int = 1,
) -> pd.DataFrame:
    """Score classifiers that never listen: they know the properties of a file and nothing of its speech.

    Decision trees with at least ten clips a leaf are trained and tested on disjoint speakers, as any other system
    here, so that their scores can be set beside those of systems that listen.

    Parameters
    ----------
    clips : DataFrame
        A clips table.
    properties : DataFrame
        From `file_properties`, or any table with `clip` and the columns that `shortcuts` names.
    shortcuts : mapping of str to sequence of str
        Name of a test → columns that its classifier sees.
    resamples : int
        Bootstrap resamples of speakers.
    n_jobs : int
        Processes.

    Returns
    -------
    DataFrame
        As `evaluation.scores` returns it, `system` = the shortcut's name.
    """
    from sklearn.tree import DecisionTreeClassifier

    from ser_utils import evaluation

    tree = DecisionTreeClassifier(min_samples_leaf=10, class_weight="balanced", random_state=0)
    segments = audio.cut_segments(clips, seconds=None)
    known = properties.set_index("clip").loc[segments["clip"]]
    folds = evaluation.folds(clips)
    judged = [
        evaluation.cross_validate(
            tree,
            known[list(columns)].to_numpy(np.float32),
            segments,
            clips,
            folds=folds,
            system=name,
            n_jobs=n_jobs,
            progress=False,
        )  # fmt: skip
        for name, columns in shortcuts.items()
        if (known[list(columns)].nunique() > 1).any()  # what never varies gives nothing away
    ]
    parts = [evaluation.scores(predictions, resamples=resamples) for predictions in judged]
    return pd.concat(parts, ignore_index=True)
