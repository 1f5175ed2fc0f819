"""Features of segments: frames of an encoder, log-mel spectrograms, eGeMAPS functionals.

They are arrays on disk (see `store`); row i belongs to row i of the segments table.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ser_utils import SerError, audio
from ser_utils.features.pooling import half
from ser_utils.features.store import stored

if TYPE_CHECKING:
    import pandas as pd

    from ser_utils.encoders import Encoder

#: Number of equal bins into which frames are averaged where segments differ in length (whole clips).
WHOLE_CLIP_BINS = 100
#: Bands of the log-mel spectrograms.
MEL_BANDS = 64


def extract(
    clips: pd.DataFrame, segments: pd.DataFrame, encoder: Encoder, *, layers: Sequence[int] | int | None = None,
    bins: int | None = None, cache: str | Path | None = None, progress: bool = True,
) -> np.memmap:  # fmt: skip
    """Encode every segment by itself.

    Parameters
    ----------
    clips, segments : DataFrame
        A segments table, and a clips table that holds every clip of it.
    encoder : Encoder
        See `encoders.load`.
    layers : sequence of int, optional
        The encoder's recommended layer by default.
    bins : int, optional
        Average the frames of a segment into this number of equal bins. By default, segments of one length keep their
        frames, and segments of different lengths (whole clips) get `WHOLE_CLIP_BINS`.
    cache : path, optional
        Folder of the arrays; `data/interim/features` of the repository by default.
    progress : bool
        Show a progress bar, in seconds of audio.

    Returns
    -------
    memmap, shape=(segments, frames, dims) or (segments, layers, frames, dims) for several layers, float16
        Read-only.

    Raises
    ------
    SerError
        If a segment is shorter than the encoder's first frame, an audio file cannot be read or the disk is full.
    """
    wanted = encoder.check_layers(layers)
    samples = _samples(segments)
    if bins is None and np.ptp(samples):
        bins = WHOLE_CLIP_BINS
    frames = bins or encoder.frames(int(samples[0]))
    return stored(
        "frames", {**_settings(encoder, wanted), "bins": bins}, clips, segments,
        row_shape=_row_shape(encoder, wanted, frames), dtype="float16", samples=samples,
        compute=partial(_frames, transform=partial(_encode, encoder=encoder, layers=wanted), bins=bins),
        cache=cache, progress=f"{encoder.name}, layer {', '.join(map(str, wanted))}" if progress else None,
    )  # fmt: skip


def _encode(waveforms: np.ndarray, *, encoder: Encoder, layers: tuple[int, ...]) -> np.ndarray:
    states = encoder.encode(waveforms, layers)
    return states if len(layers) > 1 else states[:, 0]


def _frames(
    clips: pd.DataFrame, segments: pd.DataFrame, *, transform: Callable[[np.ndarray], np.ndarray], bins: int | None
) -> np.ndarray:
    """Frames of segments in half precision; waveforms of equal length are transformed together."""
    waves = list(audio.read_segments(clips, segments))
    lengths = np.array([wave.size for wave in waves])
    groups = [np.flatnonzero(lengths == length) for length in np.unique(lengths)]
    parts = [half(_to_bins(transform(np.stack([waves[i] for i in rows])), bins)) for rows in groups]
    return np.concatenate(parts)[np.argsort(np.concatenate(groups))]


def crop_from_whole(
    clips: pd.DataFrame, segments: pd.DataFrame, encoder: Encoder, *, layers: Sequence[int] | int | None = None,
    cache: str | Path | None = None, progress: bool = True,
) -> np.memmap:  # fmt: skip
    """Cut the frames of segments out of their whole clip's frames.

    **This leaks.** Through the encoder's attention every frame depends on the whole clip, and so on what lies outside of
    its segment. Notebook 05 measures how much that raises the scores of short segments; use `extract` for anything else.

    Parameters
    ----------
    clips, segments, encoder, layers, cache, progress
        As for `extract`; the segments have one length.

    Returns
    -------
    memmap, float16
        Of the shape that `extract` gives for the same segments.

    Raises
    ------
    SerError
        If segments differ in length.
    """
    wanted = encoder.check_layers(layers)
    samples = _samples(segments)
    if np.ptp(samples):
        raise SerError("segments of different lengths cannot be cut out of whole clips: cut segments of one length.")
    return stored(
        "frames-cut-from-whole-clips", _settings(encoder, wanted), clips, segments,
        row_shape=_row_shape(encoder, wanted, encoder.frames(int(samples[0]))), dtype="float16", samples=samples,
        compute=partial(_cropped, encoder=encoder, layers=wanted, samples=int(samples[0])),
        groups=list(_rows_by_clip(segments).values()),
        cache=cache, progress=f"{encoder.name}, whole clips" if progress else None,
    )  # fmt: skip


def _cropped(
    clips: pd.DataFrame, segments: pd.DataFrame, *, encoder: Encoder, layers: tuple[int, ...], samples: int
) -> np.ndarray:
    frames = encoder.frames(samples)
    starts = segments["start"].to_numpy()
    recordings = {row.clip: row for row in clips.itertuples()}
    result = np.empty((len(segments), *_row_shape(encoder, layers, frames)), np.float16)
    for clip, rows in _rows_by_clip(segments).items():
        whole = _encode(_at_least(audio.read(recordings[clip]), samples)[None], encoder=encoder, layers=layers)[0]
        for row in rows:
            # Frame k starts at sample k * stride; the nearest one to the segment's start.
            first = min(round(starts[row] * audio.SAMPLE_RATE / encoder.stride), whole.shape[-2] - frames)
            result[row] = half(whole[..., first : first + frames, :])
    return result


def _rows_by_clip(segments: pd.DataFrame) -> dict[str, np.ndarray]:
    return segments.reset_index(drop=True).groupby("clip", sort=False).indices


def log_mel(
    clips: pd.DataFrame, segments: pd.DataFrame, *, cache: str | Path | None = None, progress: bool = True
) -> np.memmap:
    """Compute the log-mel spectrogram of every segment; see `mel_spectrogram`.

    Parameters
    ----------
    clips, segments, cache, progress
        As for `extract`.

    Returns
    -------
    memmap, shape=(segments, MEL_BANDS, frames), float16
        Segments of different lengths have `WHOLE_CLIP_BINS` frames.
    """
    samples = _samples(segments)
    bins = WHOLE_CLIP_BINS if np.ptp(samples) else None
    return stored(
        "log-mel", {"bands": MEL_BANDS, "bins": bins}, clips, segments,
        row_shape=(MEL_BANDS, bins or int(samples[0]) // 160 + 1), dtype="float16", samples=samples,
        compute=partial(_log_mels, bins=bins), cache=cache, progress="log-mel spectrograms" if progress else None,
    )  # fmt: skip


def _log_mels(clips: pd.DataFrame, segments: pd.DataFrame, *, bins: int | None) -> np.ndarray:
    frames = _frames(clips, segments, transform=lambda waves: mel_spectrogram(waves).swapaxes(1, 2), bins=bins)
    return frames.swapaxes(1, 2)


def mel_spectrogram(waveforms: np.ndarray) -> np.ndarray:
    """Compute log-mel spectrograms: windows of 25 ms every 10 ms, `MEL_BANDS` bands up to 8 kHz.

    Parameters
    ----------
    waveforms : ndarray, shape=(..., samples), float32
        At 16 kHz.

    Returns
    -------
    ndarray, shape=(..., MEL_BANDS, samples // 160 + 1), float32
        Natural logarithm of the power, not below log(1e-6).
    """
    import torch

    # Reflection at the edges needs more signal than half a window.
    waveforms = _at_least(np.asarray(waveforms, np.float32), 512)
    with torch.inference_mode():
        return torch.log(_mel_filter()(torch.from_numpy(waveforms)) + 1e-6).numpy()


@lru_cache(maxsize=1)
def _mel_filter():
    from torchaudio.transforms import MelSpectrogram

    return MelSpectrogram(audio.SAMPLE_RATE, n_fft=512, win_length=400, hop_length=160, n_mels=MEL_BANDS)


def functionals(
    clips: pd.DataFrame, segments: pd.DataFrame, *, n_jobs: int = 2, cache: str | Path | None = None, progress: bool = True
) -> np.memmap:
    """Compute the eGeMAPSv02 functionals of every segment with openSMILE (Eyben et al. 2016).

    A segment shorter than half a second is repeated, since openSMILE needs some frames. Functionals that are not defined,
    such as those of voiced stretches in silence, are 0; infinite ones become the largest float32.

    Parameters
    ----------
    clips, segments, n_jobs, cache, progress
        As for `extract`; `n_jobs` are processes.

    Returns
    -------
    memmap, shape=(segments, 88), float32
        In the order of `functional_names`.
    """
    return stored(
        "functionals", {"set": "eGeMAPSv02"}, clips, segments,
        row_shape=(len(functional_names()),), dtype="float32", samples=_samples(segments),
        compute=_functionals, n_jobs=n_jobs, cache=cache, progress="eGeMAPS functionals" if progress else None,
    )  # fmt: skip


def functional_names() -> tuple[str, ...]:
    """Return the names of the 88 functionals, in the order of the columns of `functionals`."""
    return tuple(_smile().feature_names)


@lru_cache(maxsize=1)
def _smile():
    import opensmile

    return opensmile.Smile(opensmile.FeatureSet.eGeMAPSv02, opensmile.FeatureLevel.Functionals)


def _functionals(clips: pd.DataFrame, segments: pd.DataFrame) -> np.ndarray:
    waves = (_at_least(wave, audio.SAMPLE_RATE // 2) for wave in audio.read_segments(clips, segments))
    rows = [_smile().process_signal(wave, audio.SAMPLE_RATE).to_numpy()[0] for wave in waves]
    return np.nan_to_num(np.stack(rows).astype(np.float32))


def _samples(segments: pd.DataFrame) -> np.ndarray:
    """Length of each segment in samples, as `audio.read_segments` cuts it."""
    if len(segments) == 0:
        raise SerError("there are no segments to compute features of.")
    return audio.segment_samples(segments)


def _to_bins(frames: np.ndarray, bins: int | None) -> np.ndarray:
    """Average frames (…, frames, dims) into equal bins; frames are repeated where there are more bins."""
    if bins is None:
        return frames
    import torch

    *lead, n, dims = frames.shape
    flat = torch.from_numpy(np.ascontiguousarray(frames)).reshape(-1, n, dims).transpose(1, 2)
    return torch.nn.functional.adaptive_avg_pool1d(flat, bins).transpose(1, 2).reshape(*lead, bins, dims).numpy()


def _at_least(waveforms: np.ndarray, samples: int) -> np.ndarray:
    """Repeat waveforms until they last `samples`, as `audio.read_segments` does."""
    return waveforms.take(np.arange(max(samples, waveforms.shape[-1])), axis=-1, mode="wrap")


def _row_shape(encoder: Encoder, layers: tuple[int, ...], frames: int) -> tuple[int, ...]:
    return (frames, encoder.dims) if len(layers) == 1 else (len(layers), frames, encoder.dims)


def _settings(encoder: Encoder, layers: tuple[int, ...]) -> dict:
    return {"fingerprint": encoder.fingerprint, "precision": encoder.precision, "layers": list(layers)}
