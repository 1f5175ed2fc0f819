"""The one way to read a sound file: its samples as they are stored, and what is wrong with them.

libsndfile reads most formats; those of telephones and browsers (m4a, webm, amr, …) are read through PyAV where that is
installed. Nothing of what these libraries print or raise is passed on: each error says the cause and what to do.
"""

from __future__ import annotations

import ctypes
import os
import shlex
import struct
import sys
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from mmap import ACCESS_COPY, mmap
from pathlib import Path

import numpy as np

from ser_utils import SerError
from ser_utils.corpora.sound_headers import FOREIGN_ENDINGS, kind_of, no_sound, ogg_cut_short, sound_length

#: Outside of this a file holds no speech, or its header is wrong: 1 Hz would make hours of a few kilobytes [Hz].
LOWEST_RATE, HIGHEST_RATE = 2_000, 1_000_000
_BLOCK, _SMALL = 1 << 16, 1 << 10  # samples read at once; of damaged files, so that less before the damage is lost
_CANCELLED = 100.0  # power of the louder channel against that of the mean of the channels: 20 dB
_FULL_SCALES = (2**15, 2**23, 2**31)  # of whole numbers that were stored as floats without being divided
_LOUD = 16.0  # a peak above that is no overdriven recording: 24 dB above full scale
_DELAY = 0.1  # seconds that a codec may add or take at the ends


class Unreadable(SerError):
    """A file that cannot be read: which one, why, and what to do; `cause` is the middle of it."""

    def __init__(self, path: str | Path, cause: str, remedy: str):
        super().__init__(f"{path} {cause}: {remedy}.")
        self.cause = cause


class _Bytes(mmap):
    """The bytes of a file, which can be changed here and nowhere else; libsndfile seeks beyond their end."""

    def seek(self, position: int, whence: int = os.SEEK_SET) -> None:  # type: ignore[override]
        try:
            super().seek(position, whence)
        except ValueError:
            super().seek(0, os.SEEK_END)


@dataclass(frozen=True)
class Sound:
    """A sound file as its header describes it; from `examine`.

    Attributes
    ----------
    path : str or Path
    rate : int
        In Hz.
    promised : int or None
        Samples that the header promises, if it does.
    certain : bool
        The file holds as many as promised, unless it is damaged inside.
    header, end : str
        What is wrong with the header, and with the end of the file, if something is.
    delay : float
        Seconds by which the number of samples may miss `promised`.
    chunks : callable
        Given the first sample that is wanted: the samples from there, in arrays of any length of shape (samples, channels).
    """

    path: str | Path
    rate: int
    promised: int | None
    certain: bool
    header: str
    end: str
    delay: float
    chunks: Callable[[int], Iterator[np.ndarray]]

    def blocks(self, size: int = _BLOCK, *, first: int = 0, stop: int | None = None) -> Iterator[np.ndarray]:
        """Samples as stored, float32 of shape (`size`, channels), the last block shorter; until they end or damage begins."""
        held: list[np.ndarray] = []
        count, room = 0, np.inf if stop is None else stop - first
        for chunk in self.chunks(first):
            held.append(chunk[: int(min(room, len(chunk)))])
            count, room = count + len(held[-1]), room - len(held[-1])
            if count >= size:
                joined, whole = np.concatenate(held), count // size * size
                yield from np.split(joined[:whole], whole // size)
                held, count = [joined[whole:]], count - whole
            if room <= 0:
                break
        if count:
            yield np.concatenate(held)


@dataclass(frozen=True)
class Contents:
    """What decoding a file, or a stretch of one, found; from `survey`.

    Attributes
    ----------
    sound : Sound
    frames : int
        Samples that are there.
    channel : int or None
        The channel to take instead of the mean of all, where they cancel each other.
    full_scale : float
        What samples are divided by.
    damage : str
        How much of the recording is missing; "" if none is.
    remarks : tuple of str
        What a person should know of how it is read, `damage` among it.
    """

    sound: Sound
    frames: int
    channel: int | None
    full_scale: float
    damage: str
    remarks: tuple[str, ...]

    def mono(self, block: np.ndarray) -> np.ndarray:
        """One channel, nominally within -1 and 1, of samples as stored."""
        block = np.nan_to_num(block, nan=0.0, posinf=0.0, neginf=0.0)
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
    return Contents(sound, frames, channel, full_scale, damage, (*remarks, damage) if damage else tuple(remarks))


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
    content = _content(path)
    head = content[:512]
    if what := no_sound(head):
        raise Unreadable(path, f"is not readable as audio: it is {what[0]}", what[1])
    kind, foreign = kind_of(head)
    sound = None
    if not foreign:
        sound = _by_libsndfile(path, content)
    if sound is None and (kind or Path(path).suffix.lower() in FOREIGN_ENDINGS):
        if has_pyav():
            sound = _by_pyav(path)
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


def has_pyav() -> bool:
    """Whether PyAV is installed, so that m4a, webm, amr and their like can be read."""
    return find_spec("av") is not None


@cache
def _printing() -> tuple[ctypes.c_void_p, int] | None:
    """The stream that C libraries print errors to, and one that leads nowhere."""
    try:
        library = ctypes.CDLL(None)
        library.fopen.restype = ctypes.c_void_p
        stream = ctypes.c_void_p.in_dll(library, "__stderrp" if sys.platform == "darwin" else "stderr")
        return stream, library.fopen(os.devnull.encode(), b"w")
    except (OSError, TypeError, ValueError, AttributeError):  # a system where they are called otherwise
        return None


_turn, _quiet = threading.Lock(), {"depth": 0, "before": None}


@contextmanager
def quiet() -> Iterator[None]:
    """Keep libmpg123 from printing lines about every oddity of an MP3; Python's own output is not touched."""
    found = _printing()
    if found is None:
        yield
        return
    stream, nowhere = found
    with _turn:
        if not _quiet["depth"]:
            _quiet["before"], stream.value = stream.value, nowhere
        _quiet["depth"] += 1
    try:
        yield
    finally:
        with _turn:
            _quiet["depth"] -= 1
            if not _quiet["depth"]:
                stream.value = _quiet["before"]


def _content(path: str | Path) -> _Bytes | bytes:
    """The bytes of a file."""
    if not os.path.exists(path):
        raise Unreadable(path, "does not exist", "check its name")
    if os.path.isdir(path):
        raise Unreadable(path, "is a folder", "name a recording")
    try:
        with open(path, "rb") as file:
            return _Bytes(file.fileno(), 0, access=ACCESS_COPY) if os.path.getsize(path) else b""
    except OSError as error:
        raise Unreadable(path, f"cannot be opened ({error.strerror})", "check that you may read it") from error


def _by_libsndfile(path: str | Path, content: _Bytes) -> Sound | None:
    import soundfile

    length, header = sound_length(content), ""
    # A name that is not UTF-8 is passed on as the bytes that it is; Windows has no such names.
    source: object = os.fspath(path) if os.name == "nt" else os.fsencode(path)
    if length and length.there <= 0:
        length = None
    if length and (length.unknown or length.short or length.cut):
        with suppress(struct.error):  # four gigabytes do not fit into a WAV header
            mended = length.mended()
            content[length.position : length.position + len(mended)] = mended
            source = content

    def opened() -> soundfile.SoundFile:
        if source is content:
            content.seek(0)
        with quiet():
            return soundfile.SoundFile(source)

    try:
        with opened() as file:
            rate, frames = file.samplerate, file.frames
    except (soundfile.SoundFileError, OSError, ValueError):
        return None
    promised = frames if 0 < frames < 1 << 48 else None  # a FLAC stream may say nothing
    if length and length.unknown:
        header = "has no length in its header; it is read to its end"
    elif length and (length.short or length.cut):
        promised = length.of_header(frames)
        if length.short:
            header = f"has a wrong length in its header, {promised} samples; all {frames} that are there are read"
    end = "its end is missing" if content[:4] == b"OggS" and ogg_cut_short(content) else ""
    certain = bool(promised) and not header and not end and promised == frames

    def chunks(first: int) -> Iterator[np.ndarray]:
        for size in (_BLOCK, _SMALL):
            with opened() as file:
                # MP3 and Vorbis decode the first samples after a jump wrongly; GSM cannot jump.
                begin = max(0, first - rate // 2) if size == _BLOCK and file.seekable() else 0
                try:
                    at = file.seek(begin) if begin else 0
                    file.seekable = lambda: False  # soundfile would seek after every read, and stop early in a damaged FLAC
                    while True:
                        with quiet():
                            block = file.read(size, dtype="float32", always_2d=True)
                        at += len(block)
                        if not len(block):
                            return
                        if at > first:
                            yield block[max(0, len(block) - (at - first)) :]
                            first = at
                except soundfile.SoundFileError:
                    continue  # damaged from here on: read again, less at once

    return Sound(path, rate, promised, certain, header, end, 0.0, chunks)


def _by_pyav(path: str | Path) -> Sound | None:
    import av

    def decoded() -> Iterator[np.ndarray]:
        with open(path, "rb") as file, av.open(file) as container:
            convert = av.AudioResampler(format="fltp")
            with suppress(av.FFmpegError):  # damaged from here on
                for frame in container.decode(audio=0):
                    for piece in convert.resample(frame):
                        yield piece.to_ndarray().T

    def chunks(first: int) -> Iterator[np.ndarray]:
        at = 0
        for chunk in decoded():
            at += len(chunk)
            if at > first:
                yield chunk[max(0, len(chunk) - (at - first)) :]

    try:
        with open(path, "rb") as file, av.open(file) as container:
            if not container.streams.audio:
                raise Unreadable(path, "holds no sound", "leave it out")
            stream = container.streams.audio[0]
            rate = next(container.decode(stream)).sample_rate
            # Other containers hold no length: it is guessed from the size of the file.
            known = container.duration and any(name in container.format.name for name in ("mp4", "matroska"))
            promised = round(container.duration / av.time_base * rate) if known else None
    except (av.FFmpegError, StopIteration):
        return None
    return Sound(path, rate, promised, False, "", "", _DELAY, chunks)
