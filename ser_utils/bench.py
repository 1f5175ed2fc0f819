"""`ser bench`: this repository beside plain reference code, timed alternately in one process.

Both sides of a row do the same work on the same recordings, and the row says how closely their results agree. The
reference code follows common tutorials; where ours is slower, the table says so.
"""

from __future__ import annotations

import os
import platform
import re
import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.metrics import balanced_accuracy_score, recall_score
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
from torchaudio import transforms

from ser_utils import SerError, audio, corpora, encoders, evaluation, features, models
from ser_utils.pipeline import Workspace

#: Multiplications and additions of a wav2vec2-base for a second of audio, counted with torch's `FlopCounterMode`.
BASE_WORK = 13.7e9


@dataclass(frozen=True)
class Case:
    """One row: `ours` and `other` do the same work, `amount` of `unit`; `agreement(ours, other)` compares their results.

    With `warm`, each side runs once without being timed (caches, lazy imports); False for what takes minutes.
    """

    name: str
    beside: str
    amount: float
    unit: str
    ours: Callable[[], object]
    other: Callable[[], object]
    agreement: Callable[[object, object], str] | None = None
    warm: bool = True


def time_case(case: Case, rounds: int) -> dict:
    """Time both sides alternately; medians, and the range of the ratio over rounds.

    Parameters
    ----------
    case : Case
    rounds : int
        Timed rounds, after one that is not where `case.warm` asks for it.

    Returns
    -------
    dict
        `row, beside, amount, unit, ours, other` (median seconds), `ratio` (other / ours: above 1 ours is faster),
        `low, high` (smallest and largest ratio of a round), `agreement`.
    """
    results = {"ours": case.ours(), "other": case.other()} if case.warm else {}
    seconds = {"ours": [], "other": []}
    for number in range(rounds):
        for side in ("ours", "other") if number % 2 else ("other", "ours"):  # neither is always the warmer one
            started = time.perf_counter()
            result = getattr(case, side)()
            seconds[side].append(time.perf_counter() - started)
            results.setdefault(side, result)
    ratios = [other / ours for ours, other in zip(seconds["ours"], seconds["other"], strict=True)]
    median = {side: statistics.median(values) for side, values in seconds.items()}
    return {
        "row": case.name, "beside": case.beside, "amount": round(case.amount, 2), "unit": case.unit,
        "ours": round(median["ours"], 4), "other": round(median["other"], 4),
        "ratio": round(median["other"] / median["ours"], 2), "low": round(min(ratios), 2), "high": round(max(ratios), 2),
        "agreement": case.agreement(results["ours"], results["other"]) if case.agreement else "",
    }  # fmt: skip


def peak(dtype: str = "float32", size: int = 2048, repeats: int = 5) -> float:
    """Best rate of a large matrix product, in TFLOP/s, with all threads."""
    a = torch.randn(size, size).to(getattr(torch, dtype))
    best = np.inf
    for _ in range(repeats):
        started = time.perf_counter()
        a @ a
        best = min(best, time.perf_counter() - started)
    return 2 * size**3 / best / 1e12


def extraction(name: str, encoder: encoders.Encoder, clips: pd.DataFrame, layers: tuple[int, ...]) -> Case:
    """From files to frames of one-second segments on disk, beside the usual loop over one segment at a time."""
    states = _plain(encoder)
    segments = audio.cut_segments(clips, seconds=1.0)

    def ours():
        with tempfile.TemporaryDirectory() as cache:
            frames = features.extract(clips, segments, encoder, layers=layers, cache=cache, progress=False)
            return np.array(frames[:: max(1, len(segments) // 8)])

    def other():
        frames = []
        for wave in audio.read_segments(clips, segments):
            found = states(wave)
            frames.append(np.stack([found[k][0] for k in layers]).astype(np.float16))
        return np.squeeze(np.stack(frames)[:: max(1, len(segments) // 8)], axis=1 if len(layers) == 1 else ())

    return Case(name, "one segment at a time, fp32, all layers run", len(segments), "s of audio", ours, other, _cosine)


def _plain(encoder: encoders.Encoder) -> Callable[[np.ndarray | list[np.ndarray]], list[np.ndarray]]:
    """The same model as transformers runs it: waveforms, padded to the longest, to the hidden states of all layers."""
    from transformers import AutoFeatureExtractor, AutoModel

    folder = encoders.find(encoder.name)
    with encoders.quiet():
        model, extractor = AutoModel.from_pretrained(folder).float().eval(), AutoFeatureExtractor.from_pretrained(folder)

    @torch.no_grad()
    def states(waves: np.ndarray | list[np.ndarray]) -> list[np.ndarray]:
        inputs = extractor(waves, sampling_rate=audio.SAMPLE_RATE, return_tensors="pt", padding=True).input_values
        return [layer.numpy() for layer in model(inputs, output_hidden_states=True).hidden_states]

    return states


def padded_batches(name: str, encoder: encoders.Encoder, clips: pd.DataFrame, layer: int) -> Case:
    """Whole clips, each by itself, beside batches of eight padded to the longest."""
    states = _plain(encoder)
    waves = [audio.read(path) for path in clips["path"]]

    def ours():
        return [encoder.encode(wave[None], (layer,))[0, 0] for wave in waves]

    def other():
        frames = []
        for first in range(0, len(waves), 8):
            batch = waves[first : first + 8]
            found = states(batch)[layer]
            frames += [found[i][: encoder.frames(len(wave))] for i, wave in enumerate(batch)]
        return frames

    def agree(a, b):
        return _cosine(np.concatenate(a), np.concatenate(b))

    seconds = sum(len(wave) for wave in waves) / audio.SAMPLE_RATE
    return Case(name, "batches of 8, padded", seconds, "s of audio", ours, other, agree)


def _cosine(a: np.ndarray, b: np.ndarray) -> str:
    a, b = a.astype(np.float64), b.astype(np.float64)
    cosines = (a * b).sum(-1) / (np.linalg.norm(a, axis=-1) * np.linalg.norm(b, axis=-1) + 1e-12)
    return f"cosine of frames {np.mean(cosines):.5f}, lowest {cosines.min():.5f}"


def training(
    frames: np.ndarray, segments: pd.DataFrame, clips: pd.DataFrame, seeds: tuple[int, ...], epochs: int | None = None
) -> Case:
    """All folds and seeds of the segment CNN beside a plain PyTorch loop with a DataLoader.

    Both train equally long (`training.default_epochs` where `epochs` is not given) and stop nowhere early.
    """
    folds = evaluation.folds(clips)
    model = models.SegmentCNN(epochs=epochs, patience=1000)
    judge = dict(folds=folds, seeds=seeds, progress=False)

    def ours():
        return evaluation.cross_validate(model, frames, segments, clips, system="ours", n_jobs=os.cpu_count(), **judge)

    def other():
        return evaluation.cross_validate(PlainCNN(model), frames, segments, clips, system="other", **judge)

    def agree(a, b):
        found = evaluation.compare(a, b, resamples=2000)
        low, high = 100 * found.low, 100 * found.high
        return f"difference of UAR {100 * found.difference:+.1f} points [{low:+.1f}, {high:+.1f}]"

    fits, beside = len(seeds) * folds.nunique(), "PyTorch loop with a DataLoader"
    return Case(f"CNN, {fits} trainings", beside, fits, "trainings", ours, other, agree, warm=False)


def reading(clips: pd.DataFrame) -> Case:
    """Files to one-second segments at 16 kHz, beside librosa."""
    librosa = audio.load_librosa()
    segments = audio.cut_segments(clips, seconds=1.0)

    def ours():
        return np.stack(list(audio.read_segments(clips, segments)))

    def other():
        pieces, rate = [], audio.SAMPLE_RATE
        for clip, rows in segments.groupby("clip", sort=False):
            wave, _ = librosa.load(clips.set_index("clip").path[clip], sr=rate)
            pieces += [np.resize(wave[round(start * rate) :][:rate], rate) for start in rows["start"]]
        return np.stack(pieces)

    def agree(a, b):
        return f"correlation {np.corrcoef(a.ravel(), b.ravel())[0, 1]:.4f}"

    return Case("read and cut", "librosa.load", clips["duration"].sum(), "s of audio", ours, other, agree)


def bootstrapping(speakers: int = 87, each: int = 34, resamples: int = 200) -> Case:
    """Bootstrap of UAR over speakers, beside a loop over scikit-learn's score."""
    random = np.random.default_rng(0)
    speaker = np.repeat(np.arange(speakers), each)
    truth = random.integers(0, 6, speaker.size)
    guess = np.where(random.random(speaker.size) < 0.5, truth, random.integers(0, 6, speaker.size))
    counts = evaluation.confusions_by_unit(speaker, truth, guess, speakers, 6)[None]

    def ours():
        return evaluation.bootstrap(evaluation.weighted(counts, evaluation.uar), speakers, resamples=resamples, seed=0)

    def other():
        rows = [np.flatnonzero(speaker == k) for k in range(speakers)]
        drawn = (np.concatenate([rows[k] for k in random.integers(0, speakers, speakers)]) for _ in range(resamples))
        return np.array([balanced_accuracy_score(truth[i], guess[i]) for i in drawn])

    def agree(a, b):
        return f"standard error {100 * np.std(a):.2f} and {100 * np.std(b):.2f} points"

    beside = "loop over balanced_accuracy_score"
    return Case(f"bootstrap, {speakers} speakers", beside, resamples, "resamples", ours, other, agree)


@contextmanager
def _random_base():
    """A folder with an encoder of the size of facebook/wav2vec2-base: random weights take as long as trained ones."""
    from transformers import Wav2Vec2Config, Wav2Vec2FeatureExtractor, Wav2Vec2Model

    with tempfile.TemporaryDirectory() as folder, encoders.quiet():
        Wav2Vec2Model(Wav2Vec2Config()).save_pretrained(folder)
        Wav2Vec2FeatureExtractor().save_pretrained(folder)
        yield folder


def bench(corpus: str = "demo", data: Path | None = None, *, rounds: int = 3, clips: int = 64, echo=print) -> dict:
    """Measure every row.

    Parameters
    ----------
    corpus, data : str, Path
        Whose recordings are used.
    rounds : int
        Timed rounds of each row.
    clips : int
        Recordings for the rows of extraction and reading.
    echo : callable
        Told each row when it is measured.

    Returns
    -------
    dict
        `machine` (processor, cores, matrix product in TFLOP/s, and the share of it that extraction reaches) and `rows`,
        see `time_case`.

    Raises
    ------
    SerError
        If the recordings cannot be used.
    """
    table = corpora.load(corpus, data)
    if len(table) < 4 * 8:
        raise SerError(f"{corpus} has {len(table)} clips: 32 are needed to measure anything.")
    some = table.iloc[:: max(1, len(table) // clips)].head(clips).reset_index(drop=True)
    machine = {
        "processor": _processor(), "cores": os.cpu_count(), "threads": torch.get_num_threads(),
        "corpus": corpora.label(corpus), "fp32_tflops": round(peak(), 3), "bf16_tflops": round(peak("bfloat16"), 3),
    }  # fmt: skip
    rows = []

    def measure(case: Case) -> dict:
        rows.append(time_case(case, rounds))
        echo(line(rows[-1]))
        return rows[-1]

    with _random_base() as folder:
        base = encoders.load(folder, precision="auto")
        machine["precision"], machine["share_of_peak"] = base.precision, {}
        for precision in dict.fromkeys((base.precision, "fp32")):
            encoder = base if precision == base.precision else encoders.load(folder, device="cpu", precision=precision)
            name = f"wav2vec2-base size, {{}}, {precision}"
            done = measure(extraction(name.format("12 layers"), encoder, some, tuple(range(13))))
            work = BASE_WORK * done["amount"] / done["ours"] / 1e12
            machine["share_of_peak"][precision] = round(work / machine[f"{precision}_tflops"], 2)
            measure(extraction(name.format("layer 6"), encoder, some, (6,)))
        measure(padded_batches("wav2vec2-base size, whole clips", base, some, 12))
        del base, encoder
    nano = encoders.load("wav2vec2-nano")
    measure(extraction("wav2vec2-nano, its layer", nano, some, (nano.recommended_layer,)))
    measure(padded_batches("wav2vec2-nano, whole clips", nano, some, nano.recommended_layer))
    measure(reading(some))
    measure(bootstrapping())
    segments, layers = audio.cut_segments(table, seconds=1.0), (nano.recommended_layer,)
    frames = features.extract(table, segments, nano, layers=layers, cache=Workspace(corpus).cache, progress=False)
    measure(training(frames, segments, table, seeds=(0, 1, 2)))
    return {"machine": machine, "rows": rows}


def line(row: dict) -> str:
    """One row as text."""
    rate = row["amount"] / row["ours"]
    ratio = f"{row['ratio']:6.2f} × {row['beside']:<46} [{row['low']:.2f}, {row['high']:.2f}]"
    return f"{row['row']:<34} {ratio}  {rate:8.1f} {row['unit']}/s  {row['agreement']}"


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    names = re.findall(r"model name\s*: (.+)", info.read_text()) if info.exists() else []
    return names[0] if names else platform.processor() or platform.machine()


class PlainNetwork(nn.Module):
    """The network of `models.segment_network` from the usual modules: the same layers and parameters in the same order."""

    def __init__(self, mean: torch.Tensor, deviation: torch.Tensor, n_classes: int, model: models.SegmentCNN):
        super().__init__()
        width, self.masking = model.width, model.masking
        self.register_buffer("mean", mean[:, None])
        self.register_buffer("deviation", deviation[:, None])
        self.convolutions = nn.Sequential(
            nn.Conv1d(len(mean), width, 1, bias=False), nn.BatchNorm1d(width), nn.ReLU(),
            nn.Conv1d(width, width, 5, padding=2, bias=False), nn.MaxPool1d(2, ceil_mode=True),
            nn.BatchNorm1d(width), nn.ReLU(),
            nn.Conv1d(width, 2 * width, 3, padding=1, bias=False), nn.BatchNorm1d(2 * width), nn.ReLU(),
        )  # fmt: skip
        self.dropout = nn.Dropout(model.dropout)
        self.classify = nn.Linear(4 * width, n_classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """`(n, frames, dims)` → `(n, n_classes)`."""
        x = nn.functional.avg_pool1d(x.transpose(1, 2), 2)
        x = (x - self.mean) / self.deviation
        if self.training and self.masking:
            dims, frames = (max(1, round(self.masking * size)) for size in x.shape[1:])
            x = transforms.FrequencyMasking(dims, iid_masks=True)(x)
            x = transforms.TimeMasking(frames, iid_masks=True)(x)
        x = self.convolutions(x)
        x = torch.cat([x.mean(-1), x.var(-1, unbiased=False).clamp(min=1e-5).sqrt()], dim=1)
        return self.classify(self.dropout(x))


class PlainCNN(ClassifierMixin, BaseEstimator):
    """`SegmentCNN` trained as tutorials do: same network, validation speakers, epochs and rates; no early stop."""

    def __init__(self, model: models.SegmentCNN, random_state: int = 0):
        self.model, self.random_state = model, random_state

    def fit(self, X: np.ndarray, y: np.ndarray, groups: np.ndarray) -> PlainCNN:  # noqa: N803
        """Train on X of shape (n, frames, dims) and keep the epoch with the highest UAR on validation speakers."""
        model = self.model
        torch.manual_seed(self.random_state)
        self.classes_, codes = np.unique(y, return_inverse=True)
        fit, held = models.hold_out(codes, groups, model.validation, self.random_state)
        data, targets = torch.from_numpy(np.asarray(X, np.float32)), torch.from_numpy(codes)
        pairs = nn.functional.avg_pool1d(data[fit].transpose(1, 2), 2)
        mean, deviation = pairs.mean((0, 2)), pairs.std((0, 2)).clamp(min=1e-4)
        self.network_ = network = PlainNetwork(mean, deviation, len(self.classes_), model)
        pieces, size, rate = TensorDataset(data[fit], targets[fit]), model.batch_size, model.learning_rate
        batches = DataLoader(pieces, size, shuffle=True, drop_last=len(fit) > size)
        epochs = models.default_epochs(len(batches)) if model.epochs is None else model.epochs
        counts = np.bincount(codes[fit], minlength=len(self.classes_))
        loss_of = nn.CrossEntropyLoss(torch.tensor(len(fit) / (len(counts) * counts), dtype=torch.float32))
        optimiser = torch.optim.AdamW(network.parameters(), rate, weight_decay=model.weight_decay)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, rate, total_steps=epochs * len(batches))
        best = -1.0
        for _ in range(epochs):
            network.train()
            for batch, labels in batches:
                optimiser.zero_grad()
                loss_of(network(batch), labels).backward()
                optimiser.step()
                schedule.step()
            found = self.predict_proba(X[held]).argmax(1)
            score = recall_score(codes[held], found, average="macro", zero_division=0)
            if score > best:
                best, kept = score, {name: value.clone() for name, value in network.state_dict().items()}
        network.load_state_dict(kept)
        return self

    @torch.no_grad()
    def predict_proba(self, X: np.ndarray) -> np.ndarray:  # noqa: N803
        """Probabilities of shape (n, classes)."""
        return self.network_.eval()(torch.from_numpy(np.asarray(X, np.float32))).softmax(1).numpy()
