"""A recording of any length as batches of segments, a few seconds in memory at a time."""

from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import pandas as pd

from ser_utils import SerError, audio, corpora
from ser_utils.recognizer import familiarity

_BATCH = 64  # segments encoded at once


def opened(recording, sampling_rate: int | None) -> tuple[float, int, Iterable[np.ndarray]]:
    """Open a file, waveform or row of a clips table: seconds, number of samples at 16 kHz, and the samples in blocks.

    Raises SerError if it is no recording, or holds no samples.
    """
    if isinstance(recording, dict) and "sampling_rate" in recording:  # as a pipeline of transformers takes it
        sampling_rate, recording = recording["sampling_rate"], recording.get("raw", recording.get("array"))
    if not hasattr(recording, "start"):  # a clip that is a whole file
        recording = getattr(recording, "path", recording)
    if isinstance(recording, (str, Path)):
        found = corpora.survey(corpora.examine(recording))
        found.warn()
        rate = found.sound.rate
        return found.frames / rate, -(-found.frames * audio.SAMPLE_RATE // rate), audio.stream(recording, found=found)
    wave = audio.read(recording) if hasattr(recording, "path") else np.asarray(recording)
    if wave.ndim != 1 or wave.size == 0 or not np.issubdtype(wave.dtype, np.floating):
        given = f"a waveform of shape {wave.shape} and type {wave.dtype}"
        raise SerError(f"{given}: floats of shape (samples,), mono, are wanted")
    rate = audio.SAMPLE_RATE if sampling_rate is None else sampling_rate
    corpora.check_rate("the waveform", rate)
    seconds, wave = wave.size / rate, audio.resample(np.nan_to_num(wave.astype(np.float32)), rate, audio.SAMPLE_RATE)
    return seconds, wave.size, [wave]


def measured(
    blocks: Iterable[np.ndarray], properties: list[pd.DataFrame], levels: list[np.ndarray]
) -> Iterator[np.ndarray]:
    """Pass blocks on, and append the properties of their frames to `properties`, and their levels to `levels`."""
    rest, size = np.empty(0, np.float32), round(audio.FRAME * audio.SAMPLE_RATE)
    for block in blocks:
        properties.append(familiarity.frame_properties(block))
        joined = np.concatenate([rest, block])
        whole = len(joined) // size * size
        levels.append(audio.frame_levels(joined[:whole]))
        rest = joined[whole:]
        yield block
    levels.append(audio.frame_levels(rest))


def cut(blocks: Iterable[np.ndarray], segments: pd.DataFrame, samples: int, size: int) -> Iterator[np.ndarray]:
    """Waveforms of segments from a stream of samples, as `audio.read_segments` cuts them from a whole file."""
    blocks, wave, begin = iter(blocks), np.empty(0, np.float32), 0
    for start in segments["start"]:
        first = audio.first_sample(start, size, samples)
        stop = min(first + size, samples)
        while begin + wave.size < stop:
            block = next(blocks, None)
            if block is None:  # the header promised more
                break
            used = min(max(0, first - begin), wave.size)
            wave, begin = np.concatenate([wave[used:], block]), begin + used
        piece = wave[max(0, first - begin) : stop - begin]
        if piece.size:
            yield piece if piece.size == size else np.resize(piece, size)
    for _ in blocks:  # what no segment reaches is measured as well
        pass


def batches(waves: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
    """Stack waveforms of one length, a few at a time."""
    while batch := list(islice(waves, _BATCH)):
        yield np.stack(batch)
