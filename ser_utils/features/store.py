"""Arrays on disk under an address made of all that they depend on, so that nothing stale is ever read.

The address is a hash of the audio's content, the segments, the settings (an encoder's fingerprint among them) and
`CODE_VERSION`. Parts of an array are files, which are joined in the end; a killed run goes on with those missing.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import hashlib
import json
import os
import shutil
import sys
import time
import uuid
from collections.abc import Callable, Iterable
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ser_utils import ROOT, SerError, audio, replacing
from ser_utils.features import cluster

if TYPE_CHECKING:
    import pandas as pd

#: Raise it whenever the same audio and settings give other numbers than before, in `features` or `audio`.
CODE_VERSION = 5
# Packages whose other versions may give other numbers.
_COMPUTE = ("opensmile", "soxr", "torchaudio")
#: Where arrays are kept unless another folder is given.
CACHE = ROOT / "data" / "interim" / "features"

# A part is short enough to lose little when killed, and long enough to hide what writing costs. Parts of a small corpus
# are shorter, so that all cores have work until the end.
_PART_SECONDS = (8.0, 64.0)
_PARTS = 16
_PART_BYTES = 32e6
_BAR = "{desc}: {percentage:3.0f}%|{bar}| {n:.0f}/{total:.0f} s of audio [{elapsed}<{remaining}, {rate_noinv_fmt}]"
_NO_ENTRY = {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR}
_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


class Part(NamedTuple):
    """Rows of an array that are computed and written together."""

    rows: np.ndarray
    seconds: float


def split(samples: np.ndarray, row_bytes: int, groups: list[np.ndarray] | None = None) -> list[Part]:
    """Split rows into 16 parts where that gives each 8 to 64 s of audio, and into smaller ones where a row is large.

    Rows of `groups` stay together. Without, rows of one length keep their order, so that a file is read once; others are
    sorted by length, so that equal ones meet in a batch.
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
        if seconds >= wanted or len(rows) * row_bytes >= _PART_BYTES or group is groups[-1]:
            parts.append(Part(np.array(rows), seconds))
            rows, seconds = [], 0.0
    return parts


def give_back_memory() -> None:
    """Return what was freed to the system: glibc keeps it in pieces, 300 MB more after three hours of audio."""
    with contextlib.suppress(OSError, AttributeError):  # another C library has no such function, or no such need
        ctypes.CDLL("libc.so.6").malloc_trim(0)


def stored(
    kind: str, settings: dict, clips: pd.DataFrame, segments: pd.DataFrame, *, row_shape: tuple[int, ...], dtype: str,
    samples: np.ndarray, compute: Callable[[pd.DataFrame, pd.DataFrame], np.ndarray], n_jobs: int | None = None,
    groups: list[np.ndarray] | None = None, cache: str | Path | None, progress: str | None,
) -> np.memmap:  # fmt: skip
    """Return an array from the cache, read-only; compute what is missing of it first.

    `kind` and `settings` are all that the numbers depend on besides audio and segments. `row_shape` and `dtype` are those
    of one segment's features, `samples` the lengths of the segments. `compute` takes a clips table (`clip`, `path`, of
    stretches `start` and `end`) and segments, and returns their features; it is sent to other processes. Rows of one of
    the `groups` are computed together. `n_jobs` is that of `cluster.run`, `progress` the title of a progress bar.

    Raises SerError if the disk is full (what is done is kept), or the cache cannot be written.
    """
    cache = CACHE if cache is None else Path(cache)
    shape = (len(segments), *row_shape)
    recordings = clips.filter(["clip", "path", "start", "end"]).set_index("clip", drop=False)

    def job(file: Path, part: Part) -> Callable[[], float]:
        own = segments.iloc[part.rows]
        tables = recordings.loc[own["clip"].unique()].reset_index(drop=True), own
        return partial(_write_part, file, np.dtype(dtype), part.seconds, compute, *tables)

    try:
        cache.mkdir(parents=True, exist_ok=True)
        folder = cache / f"{kind}-{_key({'kind': kind, 'shape': shape, **settings}, clips, segments, cache)}"
        array = folder / "array.npy"
        if not array.is_file():
            folder.mkdir(exist_ok=True)
            with _locked(folder):
                if not array.is_file():
                    parts = split(samples, int(np.prod(row_shape)) * np.dtype(dtype).itemsize, groups)
                    _fill(folder, shape, np.dtype(dtype), parts, job, n_jobs, progress)
        return np.load(array, mmap_mode="r")
    except OSError as error:
        if error.errno in _NO_ENTRY:
            advice = "give a folder that can be written, such as with --out"
            raise SerError(f"features cannot be kept in {cache} ({error.strerror}): {advice}.") from error
        if error.errno not in _NO_ROOM:
            raise
        size = 2 * np.prod(shape, dtype=float) * np.dtype(dtype).itemsize / 1e9
        advice = "free some or give another cache folder; what is done is kept"
        raise SerError(f"no room for features in {cache} ({size:.2g} GB): {advice}.") from error


def _locked(folder: Path) -> contextlib.AbstractContextManager:
    """Hold a folder's lock, which the operating system frees when a process is killed."""
    from filelock import FileLock, Timeout

    lock = FileLock(folder / "lock")
    try:
        return lock.acquire(timeout=0)
    except Timeout:
        print(f"another run is computing {folder.name}; waiting for it", file=sys.stderr)
        return lock.acquire()


def _fill(
    folder: Path, shape: tuple[int, ...], dtype: np.dtype, parts: list[Part],
    job: Callable[[Path, Part], Callable[[], float]], n_jobs: int | None, progress: str | None,
) -> None:  # fmt: skip
    """Compute the parts that an earlier run has not left, and join all into `array.npy`."""
    from tqdm.auto import tqdm

    array = folder / "array.partial"
    _reserve(array, int(np.prod(shape)) * dtype.itemsize)
    (folder / "parts").mkdir(exist_ok=True)
    files = [folder / "parts" / f"{i}.npy" for i in range(len(parts))]
    missing = [i for i, file in enumerate(files) if not file.is_file()]
    # Processes start slowly: one part is quicker here.
    jobs = cluster.run((job(files[i], parts[i]) for i in missing), n_jobs=n_jobs if len(missing) > 1 else 1)
    total = sum(part.seconds for part in parts)
    initial = total - sum(parts[i].seconds for i in missing)
    options = {"total": total, "initial": initial, "desc": progress, "disable": progress is None, "bar_format": _BAR}
    with tqdm(**options, unit=" s of audio", smoothing=0) as bar:
        for seconds in jobs:
            bar.update(seconds)
    give_back_memory()
    _write(array, dtype, shape, ((part.rows, np.load(file)) for part, file in zip(parts, files, strict=True)))
    os.replace(array, folder / "array.npy")
    shutil.rmtree(folder / "parts")


def _write_part(file: Path, dtype: np.dtype, seconds: float, compute: Callable, *tables: pd.DataFrame) -> float:
    """Compute a part into a file of its own, unless it is there; return its seconds of audio."""
    if not file.is_file():
        values = np.ascontiguousarray(compute(*tables), dtype)
        temporary = file.with_name(f"{uuid.uuid4().hex}.tmp")  # process numbers of two machines may be equal
        try:
            _write(temporary, dtype, values.shape, [(np.arange(len(values)), values)])
            os.replace(temporary, file)
        finally:
            temporary.unlink(missing_ok=True)
    return seconds


def _write(file: Path, dtype: np.dtype, shape: tuple[int, ...], pieces: Iterable[tuple[np.ndarray, np.ndarray]]) -> None:
    """Write pieces of an array (numbers of rows, their values) as a .npy file.

    Neither `np.save` nor a memory map says that the disk is full.
    """
    header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
    with file.open("r+b" if file.exists() else "wb") as output:
        np.lib.format.write_array_header_1_0(output, header)
        begin = output.tell()
        for rows, values in pieces:
            for row, value in zip(rows.tolist(), values, strict=True):
                output.seek(begin + row * value.nbytes)
                output.write(value)
        output.flush()
        os.fsync(output.fileno())


def _key(identity: dict, clips: pd.DataFrame, segments: pd.DataFrame, cache: Path) -> str:
    """Address of an array: a hash of all that it depends on."""
    names = segments["clip"].tolist()
    if missing := set(names) - set(clips["clip"]):
        raise SerError(f"segments name the clip {min(missing)}, which the clips table does not hold.")
    used = clips[clips["clip"].isin(set(names))]
    contents = dict(zip(used["clip"], content_hashes(used["path"].tolist(), cache), strict=True))
    if "start" in used:
        spans = used[["clip", "start", "end"]].itertuples(index=False)
        contents = {clip: f"{contents[clip]}{start!r}-{end!r}" for clip, start, end in spans}
    code = {"code_version": CODE_VERSION, "part": [*_PART_SECONDS, _PARTS, _PART_BYTES]}  # files have numbers of parts
    code["versions"] = {name: metadata.version(name) for name in _COMPUTE}
    digest = hashlib.sha256(json.dumps({**identity, **code}, sort_keys=True).encode())
    digest.update("".join(contents[name] for name in names).encode())
    digest.update(segments[["start", "end", "padding"]].to_numpy(dtype="<f8").tobytes())
    return digest.hexdigest()[:32]


def content_hashes(paths: list[str], cache: Path) -> list[str]:
    """Hash the content of files, remembered in `cache` as long as a file's size and times stay the same.

    Raises SerError if a file does not exist.
    """
    store = cache / "audio-hashes.json"
    try:
        known = json.loads(store.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        known = {}
    before, found = dict(known), {}
    paths = [os.path.abspath(path) for path in paths]
    for path in dict.fromkeys(paths):
        try:
            stat = os.stat(path)
            # The change time too: a copy that keeps the modification time is still noticed.
            stamp = [stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns]
            entry = known.get(path)
            if entry is None or entry[:3] != stamp:
                with open(path, "rb") as file:
                    entry = [*stamp, hashlib.file_digest(file, "sha256").hexdigest()[:32]]
                if time.time_ns() - max(stamp[1:]) > 2_000_000_000:  # a file of this moment may change unnoticed
                    known[path] = entry
        except FileNotFoundError as error:
            raise SerError(f"{path} does not exist: the clips table names it; load the corpus again.") from error
        found[path] = entry[3]
    if known != before:
        with replacing(store) as temporary:
            temporary.write_text(json.dumps(known), encoding="utf-8")
    return [found[path] for path in paths]


def _reserve(path: Path, size: int) -> None:
    """Take the room for the whole array now: a full disk is found before hours of work, not after."""
    with path.open("wb") as file:
        try:
            os.posix_fallocate(file.fileno(), 0, size)
        except (AttributeError, OSError) as error:  # not on every system, nor on every file system
            if getattr(error, "errno", None) in _NO_ROOM:
                raise
