"""Audio: read any recording as mono float32 at 16 kHz, and cut clips into segments of one length."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np

from ser_utils import SerError, corpora

if TYPE_CHECKING:
    import pandas as pd

#: Sample rate of everything behind `read` [Hz]; wav2vec 2.0 and its kin are trained on 16 kHz.
SAMPLE_RATE = 16_000

#: A frame of `FRAME` seconds, an encoder's, is active within `RANGE` dB of the loud ones and above `QUIET` dB of full scale.
FRAME, RANGE, QUIET = 0.02, 30.0, -65.0

_QUALITY = "HQ"  # soxr's name for 20 bit: what folds back lies below the noise of 16-bit files


def read(recording: str | Path | pd.Series, *, sample_rate: int = SAMPLE_RATE) -> np.ndarray:
    """Read a sound file, or the clip that a row of a clips table describes, as mono float32.

    Channels are averaged, another rate is converted by soxr. With a warning: of channels that cancel each other the loudest
    is taken, samples that are not numbers become silence, floats in the range of integers are scaled, and of damaged files
    what is there is read.

    Parameters
    ----------
    recording : str, Path, or row of a clips table
        Anything libsndfile reads, such as WAV, FLAC, Ogg and MP3; with the extra `formats` also what PyAV reads: m4a, webm, …
        Of a row (a Series, or a tuple from `itertuples`) with `start` and `end` [s] only that stretch is read.
    sample_rate : int
        Rate of the result in Hz.

    Returns
    -------
    ndarray, shape=(samples,), float32
        At least one sample, nominally within -1 and 1.

    Raises
    ------
    SerError
        If the file is missing, is not audio, or holds no samples.
    """
    return resample(*decode(recording), sample_rate)


def decode(recording: str | Path | pd.Series) -> tuple[np.ndarray, int]:
    """Read a recording at its own rate: mono float32 of shape (samples,), and the rate in Hz; SerError as from `read`."""
    sound = corpora.examine(getattr(recording, "path", recording))
    start, end = (getattr(recording, name, None) for name in ("start", "end"))
    whole = start is None or end is None or np.isnan([start, end]).any()
    first, stop = (0, None) if whole else (round(start * sound.rate), round(end * sound.rate))
    blocks = list(sound.blocks(first=first, stop=stop))
    found = corpora.survey(sound, blocks, whole=whole)
    found.warn()
    return found.mono(np.concatenate(blocks)), sound.rate


def stream(path: str | Path, *, seconds: float = 15.0, found: corpora.Contents | None = None) -> Iterator[np.ndarray]:
    """Read a sound file piece by piece, each of about `seconds`; joined, the pieces are what `read` returns.

    The file is decoded twice, since what is wrong with it must be known first; `found` is what `corpora.survey` says of it,
    if that was asked already. Raises SerError as `read`.

    Yields
    ------
    ndarray, shape=(samples,), float32
        Mono, at 16 kHz.
    """
    import soxr

    if found is None:
        found = corpora.survey(corpora.examine(path))
        found.warn()
    rate, read_so_far, made = found.sound.rate, 0, 0
    resampler = soxr.ResampleStream(rate, SAMPLE_RATE, 1, dtype="float32", quality=_QUALITY)
    for block in found.sound.blocks(max(1, round(seconds * rate))):
        read_so_far += len(block)
        ended = read_so_far == found.frames
        piece = found.mono(block)
        if rate != SAMPLE_RATE:
            piece = resampler.resample_chunk(_with_rest(piece, rate, SAMPLE_RATE) if ended else piece, last=ended)
        if ended:
            piece = piece[: _length(read_so_far, rate, SAMPLE_RATE) - made]
        made += piece.size
        if piece.size:
            yield piece


def resample(wave: np.ndarray, rate: int, new_rate: int) -> np.ndarray:
    """Convert a waveform from one sample rate to another [Hz].

    Returns
    -------
    ndarray, shape=(..., ceil(samples * new_rate / rate)), float32
    """
    wave = np.ascontiguousarray(wave, dtype=np.float32)
    if rate == new_rate:
        return wave
    import soxr

    rows = _with_rest(wave.reshape(-1, wave.shape[-1]), rate, new_rate)
    made = [soxr.resample(row, rate, new_rate, quality=_QUALITY) for row in rows]
    length = _length(wave.shape[-1], rate, new_rate)
    return np.stack([row[:length] for row in made]).reshape(*wave.shape[:-1], length)


def _length(samples: int, rate: int, new_rate: int) -> int:
    """Samples after resampling, rounded up."""
    return -(-samples * int(new_rate) // int(rate))


def _with_rest(wave: np.ndarray, rate: int, new_rate: int) -> np.ndarray:
    """Append enough silence that soxr, which rounds lengths, computes the last sample too."""
    return np.pad(wave, [(0, 0)] * (wave.ndim - 1) + [(0, 2 * -(-rate // new_rate))])


def frame_levels(wave: np.ndarray) -> np.ndarray:
    """Root mean square of each frame of `FRAME` seconds of a waveform at 16 kHz [dB of full scale]; silence has -200 dB."""
    size = round(FRAME * SAMPLE_RATE)
    power = np.add.reduceat(np.square(wave, dtype=np.float64), np.arange(0, len(wave), size))
    power /= np.minimum(size, len(wave) - np.arange(len(power)) * size)
    return 10 * np.log10(np.maximum(power, 1e-20))


def active_stretches(levels: np.ndarray) -> np.ndarray:
    """Where a recording holds sound: runs of frames within `RANGE` dB of the loud ones (95th percentile) and above `QUIET` dB.

    `levels` are those of `frame_levels`, of a whole recording. The result, of shape (stretches, 2), holds beginning and
    end of each run [s].

    Examples
    --------
    >>> tone = np.sin(np.arange(16_000))
    >>> active_stretches(frame_levels(np.concatenate([0 * tone, tone]))).tolist()
    [[1.0, 2.0]]
    """
    active = levels > max(np.percentile(levels, 95) - RANGE, QUIET)
    return np.flatnonzero(np.diff(active, prepend=False, append=False)).reshape(-1, 2) * FRAME


def activity(clips: pd.DataFrame) -> pd.DataFrame:
    """Find the stretches of each clip that hold sound; see `active_stretches`.

    Parameters
    ----------
    clips : DataFrame
        A clips table.

    Returns
    -------
    DataFrame
        One row per stretch: `clip`, `start` [s], `end` [s]. A clip without any sound has no row.
    """
    import pandas as pd
    from joblib import Parallel, delayed

    find = delayed(lambda clip: active_stretches(frame_levels(read(clip))))
    # Threads: reading and resampling leave Python's lock.
    measured = Parallel(n_jobs=2, prefer="threads")(map(find, clips.itertuples()))
    edges = np.concatenate([np.empty((0, 2)), *measured])
    names = np.repeat(clips["clip"].to_numpy(), [len(rows) for rows in measured])
    return pd.DataFrame({"clip": names, "start": edges[:, 0], "end": edges[:, 1]})


def cut_segments(
    clips: pd.DataFrame, *, seconds: float | None, hop: float | None = None, min_coverage: float = 0.5,
    active: pd.DataFrame | None = None, min_active: float = 0.25,
) -> pd.DataFrame:  # fmt: skip
    """Cut clips into segments of one length, and leave silent ones out.

    Parameters
    ----------
    clips : DataFrame
        A clips table; `duration` in seconds.
    seconds, hop : float or None, float, optional
        Length of a segment and distance between starts [s]; `hop` is `seconds` by default (no overlap). With `seconds`
        None, each clip is one segment.
    min_coverage : float
        A last piece covering less than this fraction of a segment is dropped, unless it is the clip's only one. One
        that is kept is moved back until it ends with the clip, so it overlaps the piece before.
    active : DataFrame, optional
        Stretches with sound, from `activity`. Without them every segment counts as active.
    min_active : float
        Segments with a smaller fraction of active frames are left out; a clip keeps its most active one.

    Returns
    -------
    DataFrame
        A segments table (`clip`, `start` [s], `end` [s], `padding`, `active`), ordered by clip, then by start. `padding`
        is the fraction that repeats a clip shorter than a segment, which lasts `(end - start) / (1 - padding)`; `active`
        is the fraction of active frames.

    Raises
    ------
    ValueError
        If `seconds` or `hop` is not positive, or `min_coverage` or `min_active` is not between 0 and 1.

    Examples
    --------
    >>> import pandas as pd
    >>> clips = pd.DataFrame({"clip": ["a", "b"], "duration": [2.75, 0.5]})
    >>> cut_segments(clips, seconds=1.0)
      clip  start   end  padding  active
    0    a   0.00  1.00      0.0     1.0
    1    a   1.00  2.00      0.0     1.0
    2    a   1.75  2.75      0.0     1.0
    3    b   0.00  0.50      0.5     1.0
    """
    import pandas as pd

    if seconds is not None and not seconds > 0:
        raise ValueError(f"seconds={seconds}: a segment length is above 0, or None for whole clips.")
    if hop is not None and not hop > 0:
        raise ValueError(f"hop={hop}: the distance between segments is above 0.")
    for name, value in {"min_coverage": min_coverage, "min_active": min_active}.items():
        if not 0 <= value <= 1:
            raise ValueError(f"{name}={value}: a fraction between 0 and 1.")

    clips = clips.sort_values("clip", kind="stable")
    names, duration = clips["clip"].to_numpy(), clips["duration"].to_numpy(dtype=float)
    if seconds is None:
        table = pd.DataFrame({"clip": names, "start": 0.0, "end": duration, "padding": 0.0})
    else:
        row, start = _grid(duration, seconds, hop or seconds, min_coverage)
        end = np.minimum(start + seconds, duration[row])
        padding = np.clip(1 - (end - start) / seconds, 0, None)
        padding[padding < 1e-9] = 0
        table = pd.DataFrame({"clip": names[row], "start": start, "end": end, "padding": padding})
    if active is None:
        return table.assign(active=1.0)
    table["active"] = _share_active(table, active)
    most = table.groupby("clip", sort=False)["active"].transform("idxmax")
    return table[(table["active"] >= min_active) | (most == table.index)].reset_index(drop=True)


def _grid(duration: np.ndarray, seconds: float, hop: float, min_coverage: float) -> tuple[np.ndarray, np.ndarray]:
    """For each segment the position of its clip, and where it starts [s]."""
    sample = 1 / SAMPLE_RATE  # shorter rests are rounding
    whole = np.maximum(1, np.floor((duration - seconds + sample) / hop).astype(int) + 1)  # pieces that fit
    rest = duration - ((whole - 1) * hop + seconds)  # in no segment yet
    coverage = (duration - whole * hop) / seconds  # of the next piece
    tail = (rest > sample) & (coverage >= min_coverage)

    count = whole + tail
    row = np.repeat(np.arange(len(duration)), count)
    piece = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
    start = np.where(tail[row] & (piece == whole[row]), duration[row] - seconds, piece * hop)
    # A piece may overhang the clip's end by less than a sample: move it back.
    return row, np.clip(np.minimum(start, duration[row] - seconds), 0, None)


def _share_active(segments: pd.DataFrame, active: pd.DataFrame) -> np.ndarray:
    """Fraction of each segment that lies in active stretches."""
    share = np.zeros(len(segments))
    stretches = {clip: rows[["start", "end"]].to_numpy() for clip, rows in active.groupby("clip", sort=False)}
    edges = segments[["start", "end"]].to_numpy()
    for clip, rows in segments.groupby("clip", sort=False).indices.items():
        if clip in stretches:
            own = stretches[clip]
            heard = np.concatenate([[0], np.repeat(np.cumsum(own[:, 1] - own[:, 0]), 2)[:-1]])
            until = np.interp(edges[rows].ravel(), own.ravel(), heard).reshape(-1, 2)  # seconds of sound up to each edge
            share[rows] = (until[:, 1] - until[:, 0]) / (edges[rows, 1] - edges[rows, 0])
    return share.round(9).clip(0, 1)


def segment_samples(segments: pd.DataFrame) -> np.ndarray:
    """Length of each segment in samples, as `read_segments` cuts it."""
    start, end, padding = (segments[name].to_numpy(float) for name in ("start", "end", "padding"))
    # 1e-4: two lengths that differ by floating-point noise round alike.
    return np.maximum(1, ((end - start) / (1 - padding) * SAMPLE_RATE + 0.5 + 1e-4).astype(int))


def read_segments(clips: pd.DataFrame, segments: pd.DataFrame) -> Iterator[np.ndarray]:
    """Read the waveforms of a segments table, one after the other in its order.

    Segments of one length have the same number of samples. A clip shorter than a segment is repeated until it fills it. A
    file is read once for rows that follow each other.

    Parameters
    ----------
    clips, segments : DataFrame
        A segments table, and a clips table that holds every clip of it.

    Yields
    ------
    ndarray, shape=(samples,), float32
        At 16 kHz; `samples` is the segment's length, rounded.

    Raises
    ------
    SerError
        If a recording cannot be read, or is shorter than its segments.
    """
    recordings = {row.clip: row for row in clips.itertuples()}
    loaded, wave = None, np.empty(0, np.float32)
    for row, samples in zip(segments.itertuples(), segment_samples(segments), strict=True):
        clip, start, end = row.clip, row.start, row.end
        if clip != loaded:
            loaded, wave = clip, read(recordings[clip])
        if end * SAMPLE_RATE > wave.size + 2:
            held = f"{recordings[clip].path} holds {wave.size / SAMPLE_RATE:.2f} s of sound, and a segment ends at {end:.2f} s"
            raise SerError(f"{held}: it is damaged, load the corpus with decode=True.")
        first = first_sample(start, samples, wave.size)
        piece = wave[first : first + samples]
        yield piece if piece.size == samples else np.resize(piece if piece.size else wave, samples)


def first_sample(start: float, size: int, available: int) -> int:
    """At which sample a piece of a recording at 16 kHz begins.

    Parameters
    ----------
    start, size, available : float, int, int
        Seconds; samples of the piece and of the recording. A piece that rounding puts beyond the end is moved back.

    Examples
    --------
    >>> first_sample(0.5, 16_000, 48_000), first_sample(2.00004, 16_000, 48_000), first_sample(0, 16_000, 8_000)
    (8000, 32000, 0)
    """
    return max(0, min(int(start * SAMPLE_RATE + 0.5), available - size))


@cache
def load_librosa() -> ModuleType:
    """Import librosa, one process at a time.

    Its parts compile functions into a cache beside librosa's files. Two processes that fill it at once can leave it so that
    whoever uses it next crashes: https://github.com/numba/numba/issues/10128.
    """
    from filelock import FileLock

    user = getattr(os, "getuid", lambda: "")()  # another user's lock file could not be opened
    with FileLock(Path(tempfile.gettempdir()) / f"ser-utils-librosa-{user}.lock"):
        import librosa
        import librosa.core.pitch  # librosa itself is lazy: its parts are imported by name
        import librosa.effects
    return librosa
