"""Unlabelled speech: recordings end to end on disk, and the targets of pre-training in frames of 20 ms.

Targets are MFCCs, F0, voicing, energy and log-mel bands, and the k-means codes of some of them.
"""

import json
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from filelock import FileLock

from ser_utils import SerError, audio, digest, listed, replacing
from ser_utils.corpora import sound_files
from ser_utils.features import MELS, MFCCS, RATE, STRIDE, content_hashes, measure_frames

#: Share of the speech that is held back to watch the loss.
HELD_BACK = 0.03
_CACHE_VERSION = 2


@dataclass(frozen=True)
class Speech:
    """Decoded recordings end to end and what is measured in them, in frames of 20 ms.

    Attributes
    ----------
    samples : ndarray, shape=(320 * frames,), int16
    acoustics : ndarray, shape=(frames, 18), float32
        What k-means uses: 13 MFCCs without the clip's mean, log F0 relative to the clip's median, voicing, energy,
        standardised, the last three weighted 1.75; then two flags, voiced and not padding.
    targets : ndarray, shape=(frames, dims), float16
        What is regressed, standardised; see `TARGET_GROUPS`.
    clips, frames : int
        Recordings and frames to learn from; the frames behind are held back.
    """

    samples: np.ndarray
    acoustics: np.ndarray
    targets: np.ndarray
    clips: int
    frames: int

    @property
    def hours(self) -> float:
        """Length of the speech to learn from."""
        return self.frames * STRIDE / RATE / 3600


def hold_back(files: Sequence[Path]) -> list[Path]:
    """Choose recordings that are not learned from: whole folders, since a folder is most often a speaker.

    The folders hold at most `HELD_BACK` of the bytes; they are tried in a random order that is always the same.

    Returns
    -------
    list of Path
        In the order of `files`; empty when every folder is too large.
    """
    size: dict[Path, int] = {}
    for file in files:
        size[file.parent] = size.get(file.parent, 0) + file.stat().st_size
    folders, room, chosen = list(size), HELD_BACK * sum(size.values()), set()
    for i in np.random.default_rng(0).permutation(len(folders)):
        if size[folders[i]] <= room:
            chosen.add(folders[i])
            room -= size[folders[i]]
    return [file for file in files if file.parent in chosen]


def prepare(folders, cache: str | Path, *, progress: bool = True) -> Speech:
    """Decode folders of speech and measure them once; later calls read the arrays, memory-mapped, from `cache`.

    Parameters
    ----------
    folders : path, sequence of paths, or clips table
    cache, progress : path, bool
        Folder for the arrays, 0.2 GB per hour of speech; whether to show progress.
    """
    recordings = list(folders.itertuples()) if isinstance(folders, pd.DataFrame) else sound_files(folders)
    paths = [Path(getattr(recording, "path", recording)) for recording in recordings]
    held = set(hold_back(list(dict.fromkeys(paths))))
    order = sorted(range(len(paths)), key=lambda i: paths[i] in held)
    recordings, paths = [recordings[i] for i in order], [paths[i] for i in order]
    stretches = [f"{row.start!r}-{row.end!r}" for row in recordings if hasattr(row, "start")]
    home = Path(cache) / digest(str(_CACHE_VERSION), *content_hashes(paths, Path(cache)), *stretches)[:16]
    home.mkdir(parents=True, exist_ok=True)
    with FileLock(home / "lock"):  # another run waits, and finds the arrays
        if not (home / "done.json").is_file():
            _fill(recordings, home, sum(path in held for path in paths), progress)
    arrays = [np.load(home / f"{name}.npy", mmap_mode="r") for name in ("samples", "acoustics", "targets")]
    facts = json.loads((home / "done.json").read_text())
    return Speech(*arrays, clips=facts["clips"], frames=facts["frames"])


def _fill(files: list, home: Path, held: int, progress: bool) -> None:
    """Decode and measure; what an interrupted run decoded is kept."""
    if not (home / "clips.npy").is_file():
        _decode(files, home, len(files) - held, progress)
    samples, bounds = np.load(home / "samples.npy", mmap_mode="r"), np.load(home / "bounds.npy")
    measured = measure_frames(samples, progress=progress)
    acoustics, targets = _relative(measured, bounds)
    save_array(home / "acoustics.npy", acoustics)
    save_array(home / "targets.npy", targets.astype(np.float16))
    clips = int(np.load(home / "clips.npy"))
    write_json(home / "done.json", {"clips": clips, "frames": int(bounds[clips])})


def _decode(files: list, home: Path, learned: int, progress: bool) -> None:
    from tqdm.auto import tqdm

    parts, bounds, clips, left_out = [], [0], 0, []
    for i, path in enumerate(tqdm(files, desc="decode", unit="file", disable=not progress)):
        try:
            wave = audio.read(path)
        except SerError as error:  # a broken file among thousands is no reason to stop
            left_out.append(error)
            continue
        count = -(-wave.size // STRIDE)
        whole = np.zeros(count * STRIDE, np.int16)
        whole[: wave.size] = np.clip(wave * 32767, -32767, 32767).astype(np.int16)
        parts.append(whole)
        bounds.append(bounds[-1] + count)
        clips += i < learned
    if not parts:
        raise SerError(f"none of the {len(files)} sound files could be read: {left_out[0]}")
    if left_out:
        warnings.warn(f"{len(left_out)} of {len(files)} sound files are left out: {listed(left_out, 3)}", stacklevel=2)
    save_array(home / "samples.npy", np.concatenate(parts))
    save_array(home / "bounds.npy", np.asarray(bounds))
    save_array(home / "clips.npy", np.asarray(clips))


def _relative(measured: dict[str, np.ndarray], bounds: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Measures relative to their clip, standardised: what k-means uses, and what is regressed."""
    from scipy.ndimage import median_filter, uniform_filter1d

    count = len(measured["energy"])
    mfcc, bands = measured["mfcc"].copy(), measured["bands"].copy()
    energy, contour = measured["energy"].copy(), np.zeros(count, np.float32)
    pitch, voiced = median_filter(measured["pitch"], 5), np.zeros(count, np.float32)
    absolute = np.zeros(count, np.float32)
    for a, b in zip(bounds[:-1], bounds[1:], strict=True):
        loud = np.percentile(energy[a:b], 90)
        speech = energy[a:b] > loud - 30
        flags = (measured["height"][a:b] > 0.5) & (energy[a:b] > loud - 25)
        mfcc[a:b] -= mfcc[a:b][speech].mean(0)
        bands[a:b] -= bands[a:b][speech].mean()  # one number for all bands: the long-term spectrum stays
        energy[a:b] = np.clip(energy[a:b] - loud, -45, 10)
        voiced[a:b] = flags
        if flags.any():
            middle = np.median(pitch[a:b][flags])
            # The contour is interpolated through unvoiced frames, so that it has no jumps.
            line = np.interp(np.arange(b - a), np.flatnonzero(flags), pitch[a:b][flags])
            contour[a:b], absolute[a:b] = line - middle, line - np.log2(160.0)
    contour = np.clip(contour, -1, 1)
    height = measured["height"]
    tilt = bands[:, 14:].mean(1) - bands[:, 2:8].mean(1)

    def standard(x):
        return (x - x.mean(0)) / (x.std(0) + 1e-6)

    prosody = np.stack([contour, absolute, height, energy], 1)
    slow = np.stack([contour, absolute, height, energy, tilt], 1)
    mean = uniform_filter1d(slow, 25, axis=0)
    spread = np.sqrt(np.maximum(uniform_filter1d(slow**2, 25, axis=0) - mean**2, 0))
    targets = np.concatenate([standard(prosody), standard(mean), standard(spread), standard(bands)], 1)
    weighted = 1.75 * standard(np.stack([contour * voiced, height, energy], 1))
    acoustics = np.concatenate([standard(mfcc), weighted, voiced[:, None], np.ones((count, 1))], 1)
    return acoustics.astype(np.float32), np.clip(targets, -5, 5).astype(np.float32)


# Columns of the targets: prosody (contour, F0, voicing, energy), its half-second mean and spread with tilt, bands.
TARGET_GROUPS = {"prosody": slice(0, 4), "slow": slice(4, 14), "bands": slice(14, 14 + MELS)}
TARGETS = 14 + MELS


def fit_codes(vectors: np.ndarray, codes: int, *, seed: int = 0) -> np.ndarray:
    """Find k-means centres, `(codes, dims)`, in at most 100 000 of the vectors `(n, dims)`; fewer for few vectors."""
    from sklearn.cluster import MiniBatchKMeans

    rng = np.random.default_rng(seed)
    chosen = np.sort(rng.choice(len(vectors), min(len(vectors), 100_000), replace=False))
    few = np.asarray(vectors[chosen], np.float32)
    model = MiniBatchKMeans(min(codes, len(few)), batch_size=4096, n_init=1, max_iter=20, random_state=seed)
    return model.fit(few).cluster_centers_.astype(np.float32)


def nearest(vectors: torch.Tensor, centres: torch.Tensor) -> torch.Tensor:
    """Index of the nearest centre of each vector, `(..., dims)` → `(...)`."""
    # |v - c|^2 without |v|^2, which is the same for all centres.
    return (centres.square().sum(1) - 2 * vectors @ centres.T).argmin(-1)


def code_columns(books: int) -> list[slice]:
    """Columns of the acoustics that belong to each codebook."""
    return [slice(0, MFCCS + 3)] if books == 1 else [slice(0, MFCCS), slice(MFCCS, MFCCS + 3)]


def codes_of(acoustics: np.ndarray, centres: Sequence[torch.Tensor]) -> np.ndarray:
    """Codes of every frame, `(frames, books)`."""
    parts = []
    for first in range(0, len(acoustics), 20_000):
        rows = torch.from_numpy(np.array(acoustics[first : first + 20_000]))
        books = zip(code_columns(len(centres)), centres, strict=True)
        parts.append(torch.stack([nearest(rows[:, part], book) for part, book in books], 1).short())
    return torch.cat(parts).numpy()


def save_array(path: Path, array: np.ndarray) -> None:
    """Write an array whole or not at all."""
    with replacing(path) as temporary:
        np.save(temporary, array)


def write_json(path: Path, facts: dict) -> None:
    """Write facts as JSON, whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
