"""`ser bench`: this repository beside plain reference code, timed alternately in one process.

Both sides of a row do the same work on the same recordings, and the row says how closely their results agree. The
reference code follows common tutorials; where ours is slower, the table says so.
"""

from __future__ import annotations

import os
import platform
import re
import tempfile
import time
import timeit
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
import transformers
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.metrics import balanced_accuracy_score
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
from torchaudio import transforms

from ser_utils import SerError, audio, corpora, encoders, evaluation, features, models
from ser_utils.pipeline import Workspace

#: Multiplications and additions of a wav2vec2-base for a second of audio, counted with torch's `FlopCounterMode`.
BASE_WORK = 13.7e9


class Case(NamedTuple):
    """One row: `ours` and `other` do the same work, `amount` of `unit`; `agreement` compares their results."""

    name: str
    beside: str
    amount: float
    unit: str
    ours: Callable[[], object]
    other: Callable[[], object]
    agreement: Callable[[object, object], str] | None = None
    warm: bool = True  # each side first runs once untimed (caches, lazy imports); False for what takes minutes


def time_case(case: Case, rounds: int) -> dict:
    """Time both sides alternately: `ours` and `other` are medians in seconds.

    `ratio` is other / ours, above 1 where ours is faster; `low` and `high` are the smallest and largest of a round.
    """
    results = {0: case.ours(), 1: case.other()} if case.warm else {}
    seconds = np.empty((rounds, 2))
    for number in range(rounds):
        for side in (0, 1) if number % 2 else (1, 0):  # neither is always the warmer one
            started = time.perf_counter()
            result = (case.ours, case.other)[side]()
            seconds[number, side] = time.perf_counter() - started
            results.setdefault(side, result)
    (ours, other), ratios = np.median(seconds, axis=0), seconds[:, 1] / seconds[:, 0]
    return {
        "row": case.name, "beside": case.beside, "amount": round(case.amount, 2), "unit": case.unit,
        "ours": round(ours, 4), "other": round(other, 4),
        "ratio": round(other / ours, 2), "low": round(ratios.min(), 2), "high": round(ratios.max(), 2),
        "agreement": case.agreement(results[0], results[1]) if case.agreement else "",
    }  # fmt: skip


def peak(dtype: torch.dtype) -> float:
    """Best rate of a large matrix product, in TFLOP/s, with all threads."""
    a = torch.randn(2048, 2048).to(dtype)
    seconds = timeit.repeat(lambda: a @ a, number=1, repeat=5)
    return round(2 * len(a) ** 3 / min(seconds) / 1e12, 3)


def extraction(name: str, encoder: encoders.Encoder, clips: pd.DataFrame, layers: tuple[int, ...]) -> Case:
    """From files to frames of one-second segments on disk, beside the usual loop over one segment at a time."""
    states = _plain(encoder)
    segments = audio.cut_segments(clips, seconds=1.0)

    def ours():
        with tempfile.TemporaryDirectory() as cache:
            frames = features.extract(clips, segments, encoder, layers=layers, cache=cache, progress=False)
            return np.array(frames[:: max(1, len(segments) // 8)])

    def other():
        each = map(states, audio.read_segments(clips, segments))
        frames = np.stack([np.stack([found[k][0] for k in layers]).astype(np.float16) for found in each])
        return np.squeeze(frames[:: max(1, len(segments) // 8)], axis=1 if len(layers) == 1 else ())

    return Case(name, "one segment at a time, fp32, all layers run", len(segments), "s of audio", ours, other, _cosine)


def _plain(encoder: encoders.Encoder) -> Callable:
    """The same model as transformers runs it: waveforms, padded to the longest, to the hidden states of all layers."""
    folder = encoders.find(encoder.name)
    with encoders.quiet():
        model = transformers.AutoModel.from_pretrained(folder).float().eval()
        extractor = transformers.AutoFeatureExtractor.from_pretrained(folder)

    @torch.no_grad()
    def states(waves: np.ndarray | list[np.ndarray]) -> list[np.ndarray]:
        inputs = extractor(waves, sampling_rate=audio.SAMPLE_RATE, return_tensors="pt", padding=True).input_values
        return [layer.numpy() for layer in model(inputs, output_hidden_states=True).hidden_states]

    return states


def padded_batches(name: str, encoder: encoders.Encoder, clips: pd.DataFrame, layer: int) -> Case:
    """Whole clips, each by itself, beside batches of eight padded to the longest."""
    states = _plain(encoder)
    waves = [audio.read(clip) for clip in clips.itertuples()]

    def other():
        frames = []
        for first in range(0, len(waves), 8):
            batch = waves[first : first + 8]
            found = states(batch)[layer]
            frames += [found[i][: encoder.frames(len(wave))] for i, wave in enumerate(batch)]
        return frames

    return Case(
        name, "batches of 8, padded", sum(map(len, waves)) / audio.SAMPLE_RATE, "s of audio",
        lambda: [encoder.encode(wave[None], (layer,))[0, 0] for wave in waves], other,
        lambda a, b: _cosine(np.concatenate(a), np.concatenate(b)),
    )  # fmt: skip


def _cosine(a: np.ndarray, b: np.ndarray) -> str:
    cosines = nn.functional.cosine_similarity(*(torch.from_numpy(x.astype(np.float64)) for x in (a, b)), dim=-1)
    return f"cosine of frames {cosines.mean():.5f}, lowest {cosines.min():.5f}"


def training(
    frames: np.ndarray, segments: pd.DataFrame, clips: pd.DataFrame, seeds: tuple[int, ...], epochs: int | None = None
) -> Case:
    """All folds and seeds of the segment CNN, beside a plain PyTorch loop with a DataLoader for as many epochs."""
    folds = evaluation.folds(clips)
    model = models.SegmentCNN(epochs=epochs)

    def judge(estimator, **how):
        how |= dict(system="CNN", folds=folds, seeds=seeds, progress=False)
        return evaluation.cross_validate(estimator, frames, segments, clips, **how)

    def agree(a, b):
        gain, low, high = 100 * evaluation.compare(a, b, resamples=2000)[["difference", "low", "high"]]
        return f"difference of UAR {gain:+.1f} points [{low:+.1f}, {high:+.1f}]"

    fits = len(seeds) * folds.nunique()
    return Case(
        f"CNN, {fits} trainings", "PyTorch loop with a DataLoader", fits, "trainings",
        lambda: judge(model, n_jobs=os.cpu_count()), lambda: judge(PlainCNN(model)), agree, warm=False,
    )  # fmt: skip


def reading(clips: pd.DataFrame) -> Case:
    """Files to one-second segments at 16 kHz, beside librosa."""
    librosa = audio.load_librosa()
    segments = audio.cut_segments(clips, seconds=1.0)

    def other():
        pieces, rate = [], audio.SAMPLE_RATE
        for clip, rows in segments.groupby("clip", sort=False):
            row = clips.set_index("clip").loc[clip]
            stretch = {"offset": row.start, "duration": row.duration} if "start" in row else {}
            wave, _ = librosa.load(row.path, sr=rate, **stretch)
            pieces += [np.resize(wave[round(start * rate) :][:rate], rate) for start in rows["start"]]
        return np.stack(pieces)

    return Case(
        "read and cut", "librosa.load", clips["duration"].sum(), "s of audio",
        lambda: np.stack(list(audio.read_segments(clips, segments))), other,
        lambda a, b: f"correlation {np.corrcoef(a.ravel(), b.ravel())[0, 1]:.4f}",
    )  # fmt: skip


def bootstrapping(speakers: int = 87, each: int = 34, resamples: int = 200) -> Case:
    """Bootstrap of UAR over speakers, beside a loop over scikit-learn's score."""
    random, speaker = np.random.default_rng(0), np.repeat(np.arange(speakers), each)
    truth, guess = random.integers(0, 6, (2, speaker.size))
    guess = np.where(random.random(speaker.size) < 0.5, truth, guess)
    counts = evaluation.confusions_by_unit(speaker, truth, guess, speakers, 6)[None]

    def other():
        rows = [np.flatnonzero(speaker == k) for k in range(speakers)]
        drawn = (np.concatenate([rows[k] for k in random.integers(0, speakers, speakers)]) for _ in range(resamples))
        return np.array([balanced_accuracy_score(truth[i], guess[i]) for i in drawn])

    return Case(
        f"bootstrap, {speakers} speakers", "loop over balanced_accuracy_score", resamples, "resamples",
        lambda: evaluation.bootstrap(evaluation.weighted(counts, evaluation.uar), speakers, resamples=resamples, seed=0),
        other, lambda a, b: f"standard error {100 * np.std(a):.2f} and {100 * np.std(b):.2f} points",
    )  # fmt: skip


def bench(corpus: str = "demo", data: Path | None = None, *, rounds: int = 3, clips: int = 64, echo=print) -> dict:
    """Measure every row on the recordings of a corpus; those of extraction and reading on `clips` of them.

    Returns `machine` (processor, cores, matrix product in TFLOP/s, and the share of it that extraction reaches) and `rows`,
    see `time_case`; `echo` is given each row as text when it is measured. Raises SerError if the recordings cannot be used.
    """
    table = corpora.load(corpus, data)
    if len(table) < 4 * 8:
        raise SerError(f"{corpus} has {len(table)} clips: 32 are needed to measure anything.")
    some = table.iloc[:: max(1, len(table) // clips)].head(clips).reset_index(drop=True)
    info = Path("/proc/cpuinfo")
    names = re.findall(r"model name\s*: (.+)", info.read_text()) if info.exists() else []
    machine = {
        "processor": names[0] if names else platform.processor(), "cores": os.cpu_count(), "threads": torch.get_num_threads(),
        "corpus": corpora.label(corpus), "fp32_tflops": peak(torch.float32), "bf16_tflops": peak(torch.bfloat16),
    }  # fmt: skip
    rows = []

    def measure(case: Case) -> dict:
        rows.append(time_case(case, rounds))
        echo(line(rows[-1]))
        return rows[-1]

    with tempfile.TemporaryDirectory() as folder:
        with encoders.quiet():  # of the size of facebook/wav2vec2-base: random weights take as long as trained ones
            transformers.Wav2Vec2Model(transformers.Wav2Vec2Config()).save_pretrained(folder)
            transformers.Wav2Vec2FeatureExtractor().save_pretrained(folder)
        base = encoders.load(folder, precision="auto")
        machine["precision"], machine["share_of_peak"] = base.precision, {}
        for precision in dict.fromkeys((base.precision, "fp32")):
            encoder = base if precision == base.precision else encoders.load(folder, device="cpu", precision=precision)
            done = measure(extraction(f"wav2vec2-base size, 12 layers, {precision}", encoder, some, tuple(range(13))))
            work = BASE_WORK * done["amount"] / done["ours"] / 1e12
            machine["share_of_peak"][precision] = round(work / machine[f"{precision}_tflops"], 2)
            measure(extraction(f"wav2vec2-base size, layer 6, {precision}", encoder, some, (6,)))
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
    """`SegmentCNN` trained as tutorials do: same network, epochs and rates."""

    def __init__(self, model: models.SegmentCNN, random_state: int = 0):
        self.model, self.random_state = model, random_state

    def fit(self, X: np.ndarray, y: np.ndarray) -> PlainCNN:  # noqa: N803
        """Train on X of shape (n, frames, dims)."""
        model = self.model
        torch.manual_seed(self.random_state)
        self.classes_, codes = np.unique(y, return_inverse=True)
        data, targets = torch.from_numpy(np.asarray(X, np.float32)), torch.from_numpy(codes)
        pairs = nn.functional.avg_pool1d(data.transpose(1, 2), 2)
        mean, deviation = pairs.mean((0, 2)), pairs.std((0, 2)).clamp(min=1e-4)
        self.network_ = network = PlainNetwork(mean, deviation, len(self.classes_), model)
        pieces, size, rate = TensorDataset(data, targets), model.batch_size, model.learning_rate
        batches = DataLoader(pieces, size, shuffle=True, drop_last=len(data) > size)
        epochs = models.default_epochs(len(batches)) if model.epochs is None else model.epochs
        counts = np.bincount(codes, minlength=len(self.classes_))
        loss_of = nn.CrossEntropyLoss(torch.tensor(len(data) / (len(counts) * counts), dtype=torch.float32))
        optimiser = torch.optim.AdamW(network.parameters(), rate, weight_decay=model.weight_decay)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, rate, total_steps=epochs * len(batches))
        for _ in range(epochs):
            network.train()
            for batch, labels in batches:
                optimiser.zero_grad()
                loss_of(network(batch), labels).backward()
                optimiser.step()
                schedule.step()
        return self

    @torch.no_grad()
    def predict_proba(self, X: np.ndarray) -> np.ndarray:  # noqa: N803
        """Probabilities of shape (n, classes)."""
        return self.network_.eval()(torch.from_numpy(np.asarray(X, np.float32))).softmax(1).numpy()
