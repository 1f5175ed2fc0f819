"""Arrays on disk under an address made of all that they depend on.

The address is a hash of the audio's content, the segments, the settings (an encoder's fingerprint among them) and
`CODE_VERSION`. Changing any of them leads to another array, so nothing stale is ever read. An array is written in
parts beside a journal of the parts that are done; a killed run goes on where it stopped, and the array takes its
final name only when it is whole.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import hashlib
import io
import json
import os
import shutil
import sys
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

import numpy as np

from ser_utils import ROOT, SerError, audio, replacing
from ser_utils.features import cluster

if TYPE_CHECKING:
    import pandas as pd

#: Raise it whenever the same audio and settings give other numbers than before, in `features` or `audio`.
CODE_VERSION = 4
# Packages whose other versions may give other numbers.
_COMPUTE = ("opensmile", "soxr", "torchaudio")
#: Where arrays are kept unless another folder is given.
CACHE = ROOT / "data" / "interim" / "features"

# A part is short enough to lose little when killed, and long enough to hide what writing and its journal cost. Few
# recordings make shorter ones, so that all cores have something to do until the end.
_PART_SECONDS = (8.0, 64.0)
_PARTS = 16
_PART_BYTES = 32e6
_NO_ENTRY = {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR}
_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


class Part(NamedTuple):
    """Rows of an array that are computed and written together."""

    rows: np.ndarray
    seconds: float


def split(samples: np.ndarray, row_bytes: int, groups: list[np.ndarray] | None = None) -> list[Part]:
    """Split rows into 16 parts where that gives each 8 to 64 s of audio, and into smaller ones where a row is large.

    Rows of `groups` stay together. Without, rows of one length keep their order, so that a file is read once; rows
    of different lengths are sorted by length, so that equal ones meet in a batch.
    """
    if groups is None:
        order = np.argsort(samples, kind="stable") if np.ptp(samples) else np.arange(len(samples))
        groups = list(order[:, None])
    wanted = float(np.clip(samples.sum() / audio.SAMPLE_RATE / _PARTS, *_PART_SECONDS))
    parts: list[Part] = []
    rows: list[int] = []
    seconds = 0.0
    for group in groups:
        rows.extend(group)
        seconds += float(samples[group].sum()) / audio.SAMPLE_RATE
        if seconds >= wanted or len(rows) * row_bytes >= _PART_BYTES:
            parts.append(Part(np.array(rows), seconds))
            rows, seconds = [], 0.0
    return [*parts, Part(np.array(rows), seconds)] if rows else parts


def in_threads(calls: Iterable[tuple]) -> Iterator[np.ndarray]:
    """Compute calls (function and arguments) in as many threads as torch may use, each with one thread of its own.

    A thread reads and decodes while another runs the model, and small operations need no co-operation of cores: on two
    busy cores, one model call that shares them was three times slower than one core alone. One computing thread a
    part also makes the result independent of how many there are.
    """
    import torch

    threads = torch.get_num_threads()
    pool = ThreadPoolExecutor(min(threads, 16), initializer=torch.set_num_threads, initargs=(1,))
    try:
        yield from cluster.in_order(pool, calls, threads + 1)
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
        torch.set_num_threads(threads)  # a library's own setting is global


def give_back_memory() -> None:
    """Return what was freed to the system: glibc keeps it in pieces, 300 MB more after three hours of audio."""
    with contextlib.suppress(OSError, AttributeError):  # another C library has no such function, or no such need
        ctypes.CDLL("libc.so.6").malloc_trim(0)


def stored(
    kind: str,
    settings: dict,
    clips: pd.DataFrame,
    segments: pd.DataFrame,
    *,
    row_shape: tuple[int, ...],
    dtype: str,
    samples: np.ndarray,
    compute: Callable[[pd.DataFrame, pd.DataFrame], np.ndarray],
    here: Callable[[Iterable[tuple]], Iterator[np.ndarray]] = in_threads,
    groups: list[np.ndarray] | None = None,
    cache: str | Path | None,
    progress: str | None,
) -> np.memmap:
    """Return an array from the cache; compute what is missing of it first, on the cluster where one is named.

    Parameters
    ----------
    kind : str
        What the array is, part of its folder's name.
    settings : dict
        All that the numbers depend on besides the audio. "encoder" is only written down: another name for the same
        weights is the same array.
    clips, segments : DataFrame
    row_shape : tuple of int
        Shape of one segment's features.
    dtype : str
    samples : ndarray, shape=(segments,)
        Length of each segment.
    compute : callable
        Takes the segments of a part and a clips table that holds their clips (`clip` and `path`), returns their
        features. It is sent to other processes.
    here : callable
        Computes calls on this machine and yields their results in order.
    groups : list of ndarray, optional
        Rows that must be computed together.
    cache : path, optional
    progress : str, optional
        Title of the progress bar; none when left out.

    Returns
    -------
    memmap, shape=(segments, *row_shape)
        Read-only.

    Raises
    ------
    SerError
        If the disk is full (what is done is kept), or the cache cannot be written.
    """
    from filelock import FileLock, Timeout

    cache = CACHE if cache is None else Path(cache)
    shape = (len(segments), *row_shape)
    try:
        cache.mkdir(parents=True, exist_ok=True)
        # The name that an encoder goes by does not change its frames.
        identity = {key: value for key, value in settings.items() if key != "encoder"}
        key = _key({"kind": kind, "shape": shape, **identity}, clips, segments, cache)
        folder = cache / f"{kind}-{key}"
        array = folder / "array.npy"
        if not array.is_file():
            folder.mkdir(exist_ok=True)
            # The operating system frees the lock of a process that is killed.
            lock = FileLock(folder / "lock")
            try:
                lock.acquire(timeout=0)
            except Timeout:
                print(f"another run is computing {folder.name}; waiting for it", file=sys.stderr)
                lock.acquire()
            try:
                if not array.is_file():
                    about = {"kind": kind, **settings, "shape": shape, "dtype": dtype, "code_version": CODE_VERSION}
                    parts = split(samples, int(np.prod(row_shape)) * np.dtype(dtype).itemsize, groups)
                    paths = clips[["clip", "path"]].set_index("clip", drop=False)

                    def call(part: Part) -> tuple:
                        own = segments.iloc[part.rows]
                        return compute, paths.loc[own["clip"].unique()].reset_index(drop=True), own

                    _fill(folder, about, shape, np.dtype(dtype), parts, call, here, progress)
            finally:
                lock.release()
        return np.load(array, mmap_mode="r")
    except OSError as error:
        if error.errno in _NO_ENTRY:
            raise SerError(
                f"features cannot be kept in {cache} ({error.strerror}): give a folder that can be written, such as "
                "with --out."
            ) from error
        if error.errno not in _NO_ROOM:
            raise
        size = np.prod(shape, dtype=float) * np.dtype(dtype).itemsize / 1e9
        raise SerError(
            f"no room for features in {cache} ({size:.2g} GB): free some or give another cache folder; what is done "
            f"is kept."
        ) from error


def _fill(
    folder: Path,
    about: dict,
    shape: tuple[int, ...],
    dtype: np.dtype,
    parts: list[Part],
    call: Callable[[Part], tuple],
    here: Callable[[Iterable[tuple]], Iterator[np.ndarray]],
    progress: str | None,
) -> None:
    """Fill `array.npy` of a folder, starting from what an earlier run left."""
    from tqdm.auto import tqdm

    partial, journal = folder / "array.partial", folder / "journal"
    head = _header(shape, dtype)
    row_bytes = int(np.prod(shape[1:], dtype=int)) * dtype.itemsize
    size = len(head) + shape[0] * row_bytes
    done = _done(journal) if partial.is_file() and partial.stat().st_size == size else set()
    todo = [(i, part) for i, part in enumerate(parts) if i not in done]
    began, total = time.perf_counter(), sum(part.seconds for part in parts)
    heard, rest = 0.0, sum(part.seconds for _, part in todo)
    with partial.open("r+b" if done else "w+b") as file, journal.open("ab" if done else "wb") as log:
        if not done:
            _reserve(file, size)
            file.write(head)
        bar = tqdm(
            total=total,
            initial=total - rest,
            desc=progress,
            disable=progress is None,
            bar_format="{desc}: {percentage:3.0f}%|{bar}| {n:.0f}/{total:.0f} s of audio [{elapsed}<{remaining}{postfix}]",
        )
        with bar:
            if cluster.named():
                results = _on_cluster(todo, call, folder / "parts", dtype)
            else:
                results = zip((i for i, _ in todo), here(call(part) for _, part in todo), strict=True)
            for i, values in results:
                part = parts[i]
                values = np.ascontiguousarray(values, dtype).reshape(len(part.rows), -1)
                for first, values_of_run in _runs(part.rows, values):
                    file.seek(len(head) + int(first) * row_bytes)
                    file.write(values_of_run.tobytes())
                _flush(file)
                log.write(b"%d\n" % i)  # only now: the journal never runs ahead of the array
                _flush(log)
                bar.update(min(part.seconds, rest - heard))  # sums of seconds differ in their last digit
                heard += part.seconds
                bar.set_postfix_str(f"{heard / (time.perf_counter() - began):.0f} × real time")
    give_back_memory()
    about |= {"audio_seconds": round(total, 3), "bytes": size}
    _write_whole(folder / "index.json", json.dumps(about, indent=1).encode())
    os.replace(partial, folder / "array.npy")
    journal.unlink()
    shutil.rmtree(folder / "parts", ignore_errors=True)


def _on_cluster(
    todo: list[tuple[int, Part]], call: Callable[[Part], tuple], folder: Path, dtype: np.dtype
) -> Iterator[tuple[int, np.ndarray]]:
    """Let workers write parts as files of a shared folder, and read these.

    A part that is done outlives the worker that computed it, and this process, and is not computed again.
    """
    folder.mkdir(exist_ok=True)
    for k, _ in cluster.run((_write_part, folder / str(i), dtype, *call(part)) for i, part in todo):
        i, _ = todo[k]
        yield i, np.fromfile(folder / str(i), dtype)
        (folder / str(i)).unlink()  # asked for the next part, the reader has this one on disk


def _write_part(file: Path, dtype: np.dtype, compute: Callable, *tables: pd.DataFrame) -> None:
    if not file.is_file():
        _write_whole(file, np.ascontiguousarray(compute(*tables), dtype).tobytes())


def _key(identity: dict, clips: pd.DataFrame, segments: pd.DataFrame, cache: Path) -> str:
    """Address of an array: a hash of all that it depends on."""
    paths = dict(zip(clips["clip"], clips["path"], strict=True))
    names = segments["clip"].tolist()
    missing = next((name for name in names if name not in paths), None)
    if missing is not None:
        raise SerError(f"segments name the clip {missing}, which the clips table does not hold.")
    contents = dict(zip(dict.fromkeys(names), content_hashes([paths[n] for n in dict.fromkeys(names)], cache), strict=True))
    code = {"code_version": CODE_VERSION, "part": [*_PART_SECONDS, _PARTS, _PART_BYTES]}  # a journal counts parts
    code["versions"] = {name: metadata.version(name) for name in _COMPUTE}
    digest = hashlib.sha256(json.dumps({**identity, **code}, sort_keys=True).encode())
    digest.update("".join(contents[name] for name in names).encode())
    digest.update(segments[["start", "end", "padding"]].to_numpy(dtype="<f8").tobytes())
    return digest.hexdigest()[:32]


def content_hashes(paths: list[str], cache: Path) -> list[str]:
    """Hash each file's content, remembered in `cache` as long as its size and times stay the same.

    Raises
    ------
    SerError
        If a file does not exist.
    """
    store = cache / "audio-hashes.json"
    try:
        known = json.loads(store.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        known = {}
    result, learned = [], False
    for path in map(os.path.abspath, paths):
        try:
            stat = os.stat(path)
            # The change time too: a copy that keeps the modification time is still noticed.
            stamp = [stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns]
            entry = known.get(path)
            if entry is None or entry[:3] != stamp:
                with open(path, "rb") as file:
                    entry = [*stamp, hashlib.file_digest(file, "sha256").hexdigest()[:32]]
                # A file of this very moment may change again without its times showing it.
                if time.time_ns() - max(stamp[1:]) > 2_000_000_000:
                    known[path], learned = entry, True
        except FileNotFoundError as error:
            raise SerError(f"{path} does not exist: the clips table names it; load the corpus again.") from error
        result.append(entry[3])
    if learned:
        with replacing(store) as temporary:
            temporary.write_text(json.dumps(known), encoding="utf-8")
    return result


def _header(shape: tuple[int, ...], dtype: np.dtype) -> bytes:
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        buffer, {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
    )
    return buffer.getvalue()


def _reserve(file: BinaryIO, size: int) -> None:
    """Take the room for the whole array now: a full disk is found before hours of work, not after."""
    try:
        os.posix_fallocate(file.fileno(), 0, size)
    except (AttributeError, OSError) as error:  # not on every system, nor on every file system
        if getattr(error, "errno", None) in _NO_ROOM:
            raise
        file.truncate(size)


def _done(journal: Path) -> set[int]:
    """Parts that a journal names; a last line cut off by a kill does not count."""
    try:
        lines = journal.read_bytes().split(b"\n")
    except FileNotFoundError:
        return set()
    return {int(line) for line in lines[:-1] if line.isdigit()}


def _runs(rows: np.ndarray, values: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """Split rows into runs of neighbours, which are written at once."""
    cuts = np.flatnonzero(np.diff(rows) != 1) + 1
    for run, block in zip(np.split(rows, cuts), np.split(values, cuts), strict=True):
        yield run[0], block


def _flush(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())


def _write_whole(path: Path, content: bytes) -> None:
    """Write a file so that a reader sees the old or the new one, never a piece."""
    temporary = path.with_name(f"{path.name}.{uuid.uuid4().hex}.tmp")  # a process number is one of one machine only
    try:
        with temporary.open("wb") as file:
            file.write(content)
            _flush(file)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
