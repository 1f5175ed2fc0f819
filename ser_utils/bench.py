"""`ser bench`: this repository's work beside what one would otherwise write, timed alternately in one process.

Every row names both sides, which do the same work on the same recordings, and says how far their results agree. The
plain sides are written as tutorials write them; they are not straw men, and where ours is slower the table says so.
"""

from __future__ import annotations

import io
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
from torchaudio import transforms

from ser_utils import SerError, audio, corpora, encoders, evaluation, features, models
from ser_utils.pipeline import Workspace

#: Multiplications and additions of a wav2vec2-base for a second of audio, counted with torch's `FlopCounterMode`.
BASE_WORK = 13.7e9


@dataclass(frozen=True)
class Case:
    """One row: two ways to do the same.

    Attributes
    ----------
    name, beside : str
        What is done, and what the other side is.
    amount, unit : float, str
        How much work it is, such as 24 "s of audio".
    ours, other : callable
        Do the work; return what `agreement` compares.
    agreement : callable or None
        `(ours, other)` → a sentence.
    warm : bool
        Each side goes once without being timed (caches, lazy imports); too much to ask of what takes minutes.
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


# ------------------------------------------------------------------------------------------------ the rows


def extraction(name: str, encoder: encoders.Encoder, clips: pd.DataFrame, layers: tuple[int, ...]) -> Case:
    """From files to frames of one-second segments on disk, beside the usual loop over one segment at a time."""
    model, extractor = _plain(encoder)
    segments = audio.cut_segments(clips, seconds=1.0)

    def ours():
        with tempfile.TemporaryDirectory() as cache:
            frames = features.extract(clips, segments, encoder, layers=layers, cache=cache, progress=False)
            return np.array(frames[:: max(1, len(segments) // 8)])

    def other():
        frames = []
        with torch.no_grad():
            for wave in audio.read_segments(clips, segments):
                inputs = extractor(wave, sampling_rate=audio.SAMPLE_RATE, return_tensors="pt").input_values
                states = model(inputs, output_hidden_states=True).hidden_states
                frames.append(np.stack([states[k][0].numpy() for k in layers]).astype(np.float16))
        return np.squeeze(np.stack(frames)[:: max(1, len(segments) // 8)], axis=1 if len(layers) == 1 else ())

    return Case(name, "one segment at a time, fp32, all layers run", len(segments), "s of audio", ours, other, _cosine)


def _plain(encoder: encoders.Encoder):
    """The same model and its feature extractor as transformers loads them."""
    from transformers import AutoFeatureExtractor, AutoModel

    folder = encoders.find(encoder.name)
    with encoders.quiet():
        return AutoModel.from_pretrained(folder).float().eval(), AutoFeatureExtractor.from_pretrained(folder)


def padded_batches(name: str, encoder: encoders.Encoder, clips: pd.DataFrame, layer: int) -> Case:
    """Whole clips, each by itself, beside batches of eight padded to the longest."""
    model, extractor = _plain(encoder)
    waves = [audio.read(path) for path in clips["path"]]

    def ours():
        return [encoder.encode(wave[None], (layer,))[0, 0] for wave in waves]

    def other():
        frames = []
        with torch.no_grad():
            for first in range(0, len(waves), 8):
                batch = waves[first : first + 8]
                inputs = extractor(
                    batch, sampling_rate=audio.SAMPLE_RATE, return_tensors="pt", padding=True
                ).input_values
                states = model(inputs, output_hidden_states=True).hidden_states[layer].numpy()
                frames += [states[i][: encoder.frames(len(wave))] for i, wave in enumerate(batch)]
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
    frames: np.ndarray,
    segments: pd.DataFrame,
    clips: pd.DataFrame,
    seeds: tuple[int, ...],
    epochs: int | None = None,
) -> Case:
    """All folds and seeds of the segment CNN beside a plain PyTorch loop with a DataLoader.

    Both train equally long (`training.default_epochs` where `epochs` is not given) and stop nowhere early.
    """
    folds = evaluation.folds(clips)
    model = models.SegmentCNN(epochs=epochs, patience=1000)

    def ours():
        return evaluation.cross_validate(
            model,
            frames,
            segments,
            clips,
            folds=folds,
            system="ours",
            seeds=seeds,
            n_jobs=os.cpu_count(),
            progress=False,
        )

    def other():
        return plain_cross_validate(frames, segments, clips, folds, seeds, model)

    def agree(a, b):
        found = evaluation.compare(a, b, resamples=2000)
        return (
            f"difference of UAR {100 * found.difference:+.1f} points [{100 * found.low:+.1f}, {100 * found.high:+.1f}]"
        )

    fits = len(seeds) * folds.nunique()
    name = f"CNN, {fits} trainings"
    return Case(name, "PyTorch loop with a DataLoader", fits, "trainings", ours, other, agree, warm=False)


def reading(clips: pd.DataFrame) -> Case:
    """Files to one-second segments at 16 kHz, beside librosa."""
    librosa = audio.load_librosa()

    segments = audio.cut_segments(clips, seconds=1.0)

    def ours():
        return np.stack(list(audio.read_segments(clips, segments)))

    def other():
        pieces = []
        for clip, rows in segments.groupby("clip", sort=False):
            wave, _ = librosa.load(clips.set_index("clip").path[clip], sr=audio.SAMPLE_RATE)
            for row in rows.itertuples():
                piece = wave[round(row.start * audio.SAMPLE_RATE) :][: audio.SAMPLE_RATE]
                pieces.append(np.resize(piece, audio.SAMPLE_RATE))
        return np.stack(pieces)

    def agree(a, b):
        return f"correlation {np.corrcoef(a.ravel(), b.ravel())[0, 1]:.4f}"

    return Case("read and cut", "librosa.load", clips["duration"].sum(), "s of audio", ours, other, agree)


def bootstrapping(speakers: int = 87, each: int = 34, resamples: int = 200) -> Case:
    """Bootstrap of UAR over speakers, beside a loop over scikit-learn's score."""
    from sklearn.metrics import balanced_accuracy_score

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

    name = f"bootstrap, {speakers} speakers"
    return Case(name, "loop over balanced_accuracy_score", resamples, "resamples", ours, other, agree)


def starting() -> Case:
    """`ser --help` beside importing what it does without."""
    heavy = "import torch, transformers, torchaudio, librosa, sklearn, matplotlib.pyplot, pandas"

    def ours():
        return subprocess.run([sys.executable, "-m", "ser_utils.cli", "--help"], check=True, capture_output=True)

    def other():
        return subprocess.run([sys.executable, "-c", heavy], check=True, capture_output=True)

    return Case("ser --help", "import of what it does without", 1, "start", ours, other)


@contextmanager
def warm_run(corpus: str = "demo", data: Path | None = None) -> Iterator[Case]:
    """`ser run` of notebook 01 when it is up to date, beside papermill running it again (features are kept in both)."""
    from ser_utils import ROOT, pipeline

    path = next((ROOT / "notebooks").glob("01_*.ipynb"))
    declared = pipeline.Notebook.read(path).defaults
    with tempfile.TemporaryDirectory() as folder:
        places = {side: Path(folder) / side for side in ("ours", "other")}

        def ours():
            with redirect_stdout(io.StringIO()):
                pipeline.run(corpus, data=data, profile="quick", only=["01"], out=places["ours"])
            return places["ours"]

        def other():
            import papermill

            given = pipeline.PROFILES["quick"] | {
                "corpus": corpus, "data": None if data is None else str(data), "out": str(places["other"]),
            }  # fmt: skip
            given = {name: value for name, value in given.items() if name in declared}
            papermill.execute_notebook(
                path, Path(folder) / "executed.ipynb", parameters=given, cwd=path.parent, progress_bar=False
            )
            return places["other"]

        def agree(a, b):
            figures = sorted(p.relative_to(a) for p in a.rglob("*.png"))
            equal = sum((b / p).exists() and (a / p).read_bytes() == (b / p).read_bytes() for p in figures)
            return f"{equal} of {len(figures)} figures equal"

        yield Case(f"ser run, {path.stem} unchanged", "papermill runs it again", 1, "run", ours, other, agree)


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
        base = encoders.load(folder)
        machine["precision"], machine["share_of_peak"] = base.precision, {}
        for precision in dict.fromkeys((base.precision, "fp32", encoders.choose("int8", torch.device("cpu")))):
            same = precision == base.precision
            encoder = base if same else encoders.load(folder, device="cpu", precision=precision)
            name = f"wav2vec2-base size, {{}}, {precision}"
            done = measure(extraction(name.format("12 layers"), encoder, some, tuple(range(13))))
            if not precision.startswith("int8"):  # of which no peak is measured
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
    segments = audio.cut_segments(table, seconds=1.0)
    cache = Workspace(corpus).cache
    frames = features.extract(table, segments, nano, layers=(nano.recommended_layer,), cache=cache, progress=False)
    measure(training(frames, segments, table, seeds=(0, 1, 2)))
    measure(starting())
    with warm_run(corpus=corpus, data=data) as case:
        measure(case)
    return {"machine": machine, "rows": rows}


def line(row: dict) -> str:
    """One row as text."""
    rate = row["amount"] / row["ours"]
    return (
        f"{row['row']:<34} {row['ratio']:6.2f} × {row['beside']:<46} [{row['low']:.2f}, {row['high']:.2f}]  "
        f"{rate:8.1f} {row['unit']}/s  {row['agreement']}"
    )


def _processor() -> str:
    if Path("/proc/cpuinfo").exists():
        for text in Path("/proc/cpuinfo").read_text().splitlines():
            if text.startswith("model name"):
                return text.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


class PlainNetwork(nn.Module):
    """`networks.segment_network` with the usual modules: the same layers in the same order, parameters too.

    Parameters
    ----------
    mean, deviation : Tensor, shape=(dims,)
        Of pairs of frames.
    n_classes : int
    model : SegmentCNN
        Width, dropout and masking.
    """

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


def plain_cross_validate(
    frames: np.ndarray,
    segments: pd.DataFrame,
    clips: pd.DataFrame,
    folds: pd.Series,
    seeds: tuple[int, ...],
    model: models.SegmentCNN,
) -> pd.DataFrame:
    """The same folds, held-out speakers, epochs and rates as `evaluation.cross_validate` of `model`, one training after another.

    Parameters
    ----------
    frames : ndarray, shape=(segments, frames, dims)
    segments, clips : DataFrame
    folds : Series
        Fold by clip.
    seeds : tuple of int
    model : SegmentCNN
        Its settings; stops nowhere early.

    Returns
    -------
    DataFrame
        A predictions table.
    """
    of_segment = clips.set_index("clip").loc[segments["clip"]]
    names = sorted(set(of_segment.emotion))
    y, groups = np.searchsorted(names, of_segment.emotion), of_segment.speaker.to_numpy()
    fold = folds.loc[segments["clip"]].to_numpy()
    X = torch.from_numpy(np.asarray(frames, np.float32))  # noqa: N806
    tables = []
    for seed in seeds:
        probabilities = np.zeros((len(X), len(names)))
        for number in np.unique(fold):
            torch.manual_seed(seed)
            train, test = np.flatnonzero(fold != number), np.flatnonzero(fold == number)
            fit, held = (train[part] for part in models.hold_out(y[train], groups[train], model.validation, seed))
            pairs = nn.functional.avg_pool1d(X[fit].transpose(1, 2), 2)
            mean, deviation = pairs.mean((0, 2)), pairs.std((0, 2)).clamp(min=1e-4)
            network = PlainNetwork(mean, deviation, len(names), model)
            loader = DataLoader(
                TensorDataset(X[fit], torch.from_numpy(y[fit])),
                batch_size=model.batch_size,
                shuffle=True,
                drop_last=len(fit) > model.batch_size,
            )
            epochs = models.default_epochs(len(loader)) if model.epochs is None else model.epochs
            counts = np.bincount(y[fit], minlength=len(names))
            loss_of = nn.CrossEntropyLoss(torch.tensor(len(fit) / (len(names) * counts), dtype=torch.float32))
            optimiser = torch.optim.AdamW(network.parameters(), model.learning_rate, weight_decay=model.weight_decay)
            schedule = torch.optim.lr_scheduler.OneCycleLR(
                optimiser, model.learning_rate, total_steps=epochs * len(loader)
            )
            best, kept = -1.0, None
            for _ in range(epochs):
                network.train()
                for batch, codes in loader:
                    optimiser.zero_grad()
                    loss_of(network(batch), codes).backward()
                    optimiser.step()
                    schedule.step()
                network.eval()
                with torch.no_grad():
                    hit = (network(X[held]).argmax(1).numpy() == y[held]) if len(held) else np.ones(1)
                score = np.mean([hit[y[held] == k].mean() for k in np.unique(y[held])]) if len(held) else 0.0
                if score > best:
                    best, kept = score, {k: v.clone() for k, v in network.state_dict().items()}
            network.load_state_dict(kept)
            with torch.no_grad():
                probabilities[test] = network(X[test]).softmax(1).numpy()
        tables.append(pd.DataFrame(probabilities, columns=names).assign(seed=seed))
    base = pd.DataFrame({
        "system": "other", "fold": fold, "clip": segments["clip"].to_numpy(), "start": segments["start"].to_numpy(float),
        "end": segments["end"].to_numpy(float), "speaker": groups, "emotion": of_segment.emotion.to_numpy(),
    })  # fmt: skip
    return pd.concat([base.join(table) for table in tables], ignore_index=True)
