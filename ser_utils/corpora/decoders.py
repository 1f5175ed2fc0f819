"""The two libraries that decode sound files, libsndfile and PyAV, behind one interface."""

from __future__ import annotations

import ctypes
import os
import struct
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from mmap import ACCESS_COPY, mmap
from pathlib import Path

import numpy as np

from ser_utils import SerError
from ser_utils.corpora.sound_headers import ogg_cut_short, sound_length

_BLOCK, _SMALL = 1 << 16, 1 << 10  # samples read at once; of damaged files, so that less before the damage is lost
_DELAY = 0.1  # seconds that a codec may add or take at the ends


class Unreadable(SerError):
    """A file that cannot be read: which one, why, and what to do; `cause` is the middle of it."""

    def __init__(self, path: str | Path, cause: str, remedy: str):
        super().__init__(f"{path} {cause}: {remedy}.")
        self.cause = cause


@dataclass(frozen=True)
class Sound:
    """A sound file as its header describes it; from `examine`.

    Attributes
    ----------
    path, rate : str or Path, int
        File, and rate in Hz.
    promised, certain : int or None, bool
        Samples that the header promises, if it does; whether there are as many, unless the file is damaged inside.
    header, end : str
        What is wrong with the header, and with the end of the file, if something is.
    delay : float
        Seconds by which the number of samples may miss `promised`.
    chunks : callable
        Given the first sample wanted: the samples from there, in arrays of any length of shape (samples, channels).
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


class _Bytes(mmap):
    """The bytes of a file, which can be changed here and nowhere else; libsndfile seeks beyond their end."""

    def seek(self, position: int, whence: int = os.SEEK_SET) -> None:  # type: ignore[override]
        try:
            super().seek(position, whence)  # type: ignore[arg-type]
        except ValueError:
            super().seek(0, os.SEEK_END)


def content_of(path: str | Path) -> _Bytes:
    """The bytes of a file; SerError if it cannot be opened, or has none."""
    if not os.path.exists(path):
        raise Unreadable(path, "does not exist", "check its name")
    if os.path.isdir(path):
        raise Unreadable(path, "is a folder", "name a recording")
    try:
        with open(path, "rb") as file:
            if os.path.getsize(path):
                return _Bytes(file.fileno(), 0, access=ACCESS_COPY)
    except OSError as error:
        raise Unreadable(path, f"cannot be opened ({error.strerror})", "check that you may read it") from error
    raise Unreadable(path, "is not readable as audio: it is empty", "copy or record it again")


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


class _Muted:
    """How many threads want quiet, and where C libraries printed before."""

    turn, threads, before = threading.Lock(), 0, 0


@contextmanager
def quiet() -> Iterator[None]:
    """Keep libmpg123 from printing lines about every oddity of an MP3; Python's own output is not touched."""
    found = _printing()
    if found is None:
        yield
        return
    stream, nowhere = found
    with _Muted.turn:
        if not _Muted.threads:
            _Muted.before, stream.value = stream.value or 0, nowhere
        _Muted.threads += 1
    try:
        yield
    finally:
        with _Muted.turn:
            _Muted.threads -= 1
            if not _Muted.threads:
                stream.value = _Muted.before


def by_libsndfile(path: str | Path, content: _Bytes) -> Sound | None:
    """Open a file with the bytes `content` by libsndfile; None if that cannot."""
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
        if isinstance(source, mmap):
            source.seek(0)
        with quiet():
            return soundfile.SoundFile(source)

    try:
        fresh = [opened()]  # read by whom asks first: opening an Ogg file takes as long as decoding a short one
        rate, frames = fresh[0].samplerate, fresh[0].frames
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
            with fresh.pop() if fresh else opened() as file:
                # MP3 and Vorbis decode the first samples after a jump wrongly; GSM cannot jump.
                begin = max(0, first - rate // 2) if size == _BLOCK and file.seekable() else 0
                try:
                    at = file.seek(begin) if begin else 0
                    file.seekable = bool  # type: ignore[assignment]  # False: seeking after a read fails early in a damaged FLAC
                    while at < frames:
                        with quiet():
                            block = file.read(min(size, frames - at), dtype="float32", always_2d=True)
                        at += len(block)
                        if not len(block):
                            return
                        if at > first:
                            yield block[max(0, len(block) - (at - first)) :]
                            first = at
                    return
                except soundfile.SoundFileError:
                    continue  # damaged from here on: read again, less at once

    return Sound(path, rate, promised, certain, header, end, 0.0, chunks)


def by_pyav(path: str | Path) -> Sound | None:
    """Open a file by PyAV; None if that cannot."""
    import av

    def decoded() -> Iterator[np.ndarray]:
        with open(path, "rb") as file, av.open(file, "r") as container:
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
        with open(path, "rb") as file, av.open(file, "r") as container:
            if not container.streams.audio:
                raise Unreadable(path, "holds no sound", "leave it out")
            stream = container.streams.audio[0]
            rate = next(container.decode(stream)).sample_rate
            # Other containers hold no length: it is guessed from the size of the file.
            known = any(name in container.format.name for name in ("mp4", "matroska"))
            promised = round(container.duration / av.time_base * rate) if known and container.duration else None
    except (av.FFmpegError, StopIteration):
        return None
    return Sound(path, rate, promised, False, "", "", _DELAY, chunks)
