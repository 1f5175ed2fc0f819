"""The one way to read a sound file: its samples as they are stored, and what is wrong with them.

libsndfile reads most formats; those of telephones and browsers (m4a, webm, amr, …) are read through PyAV where that is
installed. Nothing of what these libraries print or raise is passed on: each error says the cause and what to do.
"""

from __future__ import annotations

import shlex
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from ser_utils.corpora.decoders import Sound, Unreadable, by_libsndfile, by_pyav, content_of
from ser_utils.corpora.sound_headers import FOREIGN_ENDINGS, kind_of, no_sound

#: Outside of this a file holds no speech, or its header is wrong: 1 Hz would make hours of a few kilobytes [Hz].
LOWEST_RATE, HIGHEST_RATE = 2_000, 1_000_000
_CANCELLED = 100.0  # power of the louder channel against that of the mean of the channels: 20 dB
_FULL_SCALES = (2**15, 2**23, 2**31)  # of whole numbers that were stored as floats without being divided
_LOUD = 16.0  # a peak above that is no overdriven recording: 24 dB above full scale


@dataclass(frozen=True)
class Contents:
    """What decoding a file, or a stretch of one, found; from `survey`.

    Attributes
    ----------
    sound, frames, finite : Sound, int, bool
        The file; samples that are there; whether all of them are numbers.
    channel : int or None
        The channel to take instead of the mean of all, where they cancel each other.
    full_scale : float
        What samples are divided by.
    damage, remarks : str, tuple of str
        How much is missing, "" if nothing is; what a person should know of how it is read, `damage` among it.
    """

    sound: Sound
    frames: int
    finite: bool
    channel: int | None
    full_scale: float
    damage: str
    remarks: tuple[str, ...]

    def mono(self, block: np.ndarray) -> np.ndarray:
        """One channel, nominally within -1 and 1, of samples as stored."""
        block = block if self.finite else np.nan_to_num(block, nan=0.0, posinf=0.0, neginf=0.0)
        mixed = block.mean(axis=1) if self.channel is None else np.ascontiguousarray(block[:, self.channel])
        return mixed if self.full_scale == 1 else mixed / np.float32(self.full_scale)

    def warn(self) -> None:
        """Warn of every remark, of one file once (Python shows a warning once per place in the code)."""
        for remark in self.remarks:
            warnings.warn(f"{self.sound.path} {remark}.", stacklevel=1)


def survey(sound: Sound, blocks: Iterable[np.ndarray] | None = None, *, whole: bool = True) -> Contents:
    """Decode a file, or look at blocks of it, and say what is there.

    Parameters
    ----------
    sound : Sound
    blocks : iterable of ndarray of shape (samples, channels), optional
        As read before; all of the file by default.
    whole : bool
        False for a stretch: what is missing elsewhere does not matter.

    Raises
    ------
    SerError
        If there are no samples.
    """
    frames, finite, peak, power, mixed = 0, True, 0.0, np.zeros(1), 0.0
    for block in sound.blocks() if blocks is None else blocks:
        frames += len(block)
        if not np.isfinite(block).all():
            finite, block = False, np.nan_to_num(block, nan=0.0, posinf=0.0, neginf=0.0)
        peak = max(peak, float(block.max(initial=0.0)), -float(block.min(initial=0.0)))
        if block.shape[1] > 1:
            power = power + np.square(block, dtype=np.float64).sum(axis=0)
            mixed += float(np.square(block.mean(axis=1), dtype=np.float64).sum())
    remarks, damage = [sound.header] if sound.header else [], ""
    if whole and sound.promised and frames < sound.promised - sound.delay * sound.rate:
        damage = f"is damaged: {frames} of {sound.promised} samples can be read"
    elif whole and sound.end:
        damage = f"is damaged: {sound.end}, {frames} samples can be read"
    if not frames:
        raise Unreadable(sound.path, damage or "holds no samples", "copy it again, or leave it out")
    channel, full_scale = None, 1.0
    if not finite:
        remarks.append("holds samples that are not numbers; they are read as silence")
    if power.max() > _CANCELLED * mixed:
        channel = int(power.argmax())
        remarks.append(f"has channels that cancel each other; the loudest one, channel {channel + 1}, is read")
    if peak > _LOUD:
        full_scale = float(next((full for full in _FULL_SCALES if peak < 1.5 * full), peak))
        remarks.append(f"holds floats of up to {peak:.0f} instead of 1; they are divided by {full_scale:.0f}")
    return Contents(sound, frames, finite, channel, full_scale, damage, (*remarks, damage) if damage else tuple(remarks))


def has_pyav() -> bool:
    """Whether PyAV is installed, so that m4a, webm, amr and their like can be read."""
    return find_spec("av") is not None


def check_rate(what: str | Path, rate: int) -> None:
    """Refuse a sample rate [Hz] that no recording of speech has; `what` is said to have it.

    Raises SerError if it is no whole number from `LOWEST_RATE` to `HIGHEST_RATE`.
    """
    if not (LOWEST_RATE <= rate <= HIGHEST_RATE and rate == int(rate)):
        usual = f"recordings of speech have {LOWEST_RATE} to {HIGHEST_RATE}"
        raise Unreadable(what, f"is said to have a sample rate of {rate} Hz", usual)


def examine(path: str | Path) -> Sound:
    """Read the header of a sound file of any kind.

    Raises
    ------
    SerError
        If the file is missing, is no sound, is of a kind that cannot be read here, or has an impossible sample rate.
    """
    content = content_of(path)
    head = content[:512]
    if what := no_sound(head):
        raise Unreadable(path, f"is not readable as audio: it is {what[0]}", what[1])
    kind, foreign = kind_of(head)
    sound = None
    if not foreign:
        sound = by_libsndfile(path, content)
    if sound is None and (kind or Path(path).suffix.lower() in FOREIGN_ENDINGS):
        if has_pyav():
            sound = by_pyav(path)
        elif foreign or not kind:
            kind = kind or f"of the kind {Path(path).suffix.lower()}"
            install = "for that, `pip install -e '.[formats]'`, or convert it"
            raise Unreadable(path, f"is not readable as audio: it is {kind}", f"{install}: `{conversion(path)}`")
    if sound is None:
        is_that = f"it is {kind}, but damaged or cut short" if kind else "it is of no kind that is known here"
        raise Unreadable(path, f"is not readable as audio: {is_that}", f"copy it again, or try `{conversion(path)}`")
    check_rate(path, sound.rate)
    return sound


def conversion(path: str | Path) -> str:
    """The command that makes a WAV file of a recording, whatever its name ends with.

    >>> conversion("my talk.m4a"), conversion("a.wav")
    ("ffmpeg -i 'my talk.m4a' 'my talk.wav'", 'ffmpeg -i a.wav a-converted.wav')
    """
    path = Path(path)
    target = f"{path.stem}{'-converted' * (path.suffix.lower() == '.wav')}.wav"
    return f"ffmpeg -i {shlex.quote(path.name)} {shlex.quote(target)}"
