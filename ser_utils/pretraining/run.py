"""Self-supervised pre-training of a small wav2vec 2.0 encoder on a folder of unlabelled speech.

Two objectives behind one function, `pretrain`:

`contrastive`
    wav2vec 2.0 as published (Baevski et al. 2020, arXiv 2006.11477), through transformers' `Wav2Vec2ForPreTraining`.
`clusters`
    masked prediction of k-means codes of the signal's own acoustics, as HuBERT's first iteration (Hsu et al. 2021,
    arXiv 2106.07447), with prosody among them; beside it, every frame regresses acoustics that emotion lives in:
    F0, voicing, energy, spectrum (as PASE, Pascual et al. 2019, arXiv 1904.03416). Signals are corrupted, targets are
    not (as WavLM, arXiv 2110.13900). With a `teacher`, codes of an earlier checkpoint's layer take the place of
    acoustic ones: HuBERT's second iteration.

Everything random in step k is drawn from generators seeded with (seed, k), so a run that was killed and resumed
follows the trajectory of an unbroken one. With `minutes` the learning rate follows the clock, so there the trajectory
depends on the machine's speed as well.
"""

from __future__ import annotations

import csv
import os
import platform
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from torch import nn
from transformers import Wav2Vec2Config, Wav2Vec2FeatureExtractor, Wav2Vec2Model

from ser_utils import SerError, encoders
from ser_utils.features import MFCCS, RATE, STRIDE
from ser_utils.pretraining.objectives import Student, Teacher, corrupt, mask_frames, normalise, start_filters
from ser_utils.pretraining.speech import Speech, fit_codes, nearest, prepare, write_json

OBJECTIVES = ("clusters", "contrastive")


def nano_config(**changes) -> Wav2Vec2Config:
    """Architecture of `wav2vec2-nano`.

    Two convolutions, 25 ms every 10 ms and then pairs of those, in place of wav2vec 2.0's seven: the front end of
    every speech recogniser, but learned. On a CPU the seven are most of the cost, these are a tenth of it.

    Parameters
    ----------
    **changes
        Fields of `Wav2Vec2Config` to set otherwise.

    Returns
    -------
    Wav2Vec2Config
        Stride 320, 49 frames for a second, about 2.7 million parameters.
    """
    fields = dict(
        hidden_size=256,
        num_hidden_layers=4,
        num_attention_heads=4,
        intermediate_size=512,
        conv_dim=(256, 256),
        conv_kernel=(400, 2),
        conv_stride=(160, 2),
        conv_bias=True,
        # Group norm would take every channel's mean over the clip away, and the long-term spectrum with it.
        feat_extract_norm="layer",
        feat_extract_activation="relu",
        hidden_act="relu",
        do_stable_layer_norm=True,
        num_conv_pos_embeddings=32,
        num_conv_pos_embedding_groups=16,
        # Regularisation is not what a run of minutes lacks.
        hidden_dropout=0.0,
        attention_dropout=0.0,
        activation_dropout=0.0,
        feat_proj_dropout=0.0,
        final_dropout=0.0,
        layerdrop=0.0,
        # Masks are ours; but 0 here makes transformers 5 leave `masked_spec_embed` out.
        mask_time_prob=0.05,
        codevector_dim=128,
        proj_codevector_dim=128,
        num_codevectors_per_group=64,
        num_negatives=50,
        diversity_loss_weight=0.5,
        contrastive_logits_temperature=0.1,
    )
    fields.update(changes)
    fields["num_feat_extract_layers"] = len(fields["conv_dim"])
    return Wav2Vec2Config(**fields)


@dataclass(frozen=True)
class Recipe:
    """How `pretrain` trains. The defaults are those of the shipped `wav2vec2-nano`.

    Attributes
    ----------
    batch, crop_seconds : int, float
        Crops in a step and their length [s].
    learning_rate, warmup, weight_decay : float
        Peak of AdamW's learning rate; share of the run in which it rises linearly, before it falls linearly to 0.
    mask_share, mask_frames : float, int
        Expected share of masked frames; length of one mask, 20 ms each.
    codes : int
        k-means codes.
    unmasked_weight, regression_weight : float
        Weights of the cross-entropy of frames that are not masked and of the regression, beside 1 for masked frames.
    noise, room : float
        Shares of crops that get noise or a second voice, and reverberation.
    filters : bool
        Start a long first convolution as windowed sinusoids, mel-spaced, in four phases each, in place of noise.
    teacher, teacher_layer : str or None, int or None
        Folder of an earlier checkpoint whose layer's codes are predicted; the middle one when left out.
    start : str or None
        Folder of an encoder whose weights to start from.
    checkpoint_seconds, checkpoint_steps : float, int or None
        A checkpoint after so many seconds, and after so many steps.
    log_steps : int
        Steps a row of `log.csv` averages.
    model : dict
        Changes to `nano_config`.
    """

    batch: int = 6
    crop_seconds: float = 2.0
    learning_rate: float = 1.5e-3
    warmup: float = 0.05
    weight_decay: float = 0.01
    mask_share: float = 0.4
    mask_frames: int = 10
    codes: int = 200
    unmasked_weight: float = 1.0
    regression_weight: float = 1.0
    noise: float = 0.4
    room: float = 0.15
    filters: bool = True
    teacher: str | None = None
    teacher_layer: int | None = None
    start: str | None = None
    checkpoint_seconds: float = 60.0
    checkpoint_steps: int | None = None
    log_steps: int = 10
    model: dict = field(default_factory=dict)


def code_counts(speech: Speech, run: str | Path) -> np.ndarray:
    """Count how often each code of a `clusters` run is the target in some speech.

    Parameters
    ----------
    speech : Speech
        As `prepare` returns it.
    run : path
        Folder of the run, with its checkpoint.

    Returns
    -------
    ndarray of int, shape=(codes,)
    """
    centres = torch.load(Path(run) / "checkpoint.pt", map_location="cpu", weights_only=True)["centres"]
    counts = np.zeros(len(centres), np.int64)
    for first in range(0, len(speech.acoustics), 20_000):
        rows = torch.from_numpy(np.array(speech.acoustics[first : first + 20_000, : MFCCS + 3]))
        counts += np.bincount(nearest(rows, centres).numpy(), minlength=len(centres))
    return counts


# ----------------------------------------------------------------------------------------------------------- the run


def pretrain(
    folders: str | Path | Sequence[str | Path],
    out: str | Path,
    *,
    objective: str = "clusters",
    minutes: float | None = None,
    steps: int | None = None,
    resume: bool = False,
    config: Recipe | None = None,
    cache: str | Path | None = None,
    seed: int = 0,
    progress: bool = True,
) -> Path:
    """Pre-train a small wav2vec 2.0 encoder on folders of unlabelled speech.

    Parameters
    ----------
    folders : path or sequence of paths
        Searched for sound files with all folders below.
    out : path
        Folder that becomes the encoder (`Wav2Vec2Model.from_pretrained`, `encoders.load`), with `log.csv`,
        `training.json`, `checkpoint.pt`, and `snapshots/<hours heard>h/` at 0, 1/8, 1/4, 1/2, 1, … hours.
    objective : {"clusters", "contrastive"}
        What to learn from; see the module.
    minutes, steps : float, int
        How long, one of the two. A resumed run counts what it has done before.
    resume : bool
        Go on from the checkpoint in `out`, with its objective, configuration and seed.
    config : Recipe, optional
        Batches, masks, targets, architecture.
    cache : path, optional
        Folder for decoded speech; `out/cache` when left out.
    seed : int
        Of everything random.
    progress : bool
        Show progress.

    Returns
    -------
    Path
        `out`.

    Raises
    ------
    SerError
        If there is no audio, not exactly one of `minutes` and `steps`, an unknown objective, nothing to resume, or
        a run to resume in `out` without `resume`.
    """
    out = Path(out)
    checkpoint = out / "checkpoint.pt"
    if (minutes is None) == (steps is None):
        given = "neither" if minutes is None else "both"
        raise SerError(f"{given} of minutes and steps given: say how long to train with one of them.")
    if (minutes if steps is None else steps) <= 0:
        raise SerError(f"{'minutes' if steps is None else 'steps'} must be more than 0.")
    if objective not in OBJECTIVES:
        raise SerError(f"objective {objective!r} is not known: choose one of {', '.join(OBJECTIVES)}.")
    if resume and not checkpoint.is_file():
        raise SerError(f"nothing to resume in {out}: there is no checkpoint.pt; leave --resume out.")
    if not resume and checkpoint.is_file():
        raise SerError(f"{out} holds a run already: add --resume to go on with it, or name another folder.")
    speech = prepare(folders, cache or out / "cache", progress=progress)
    run = _Run(speech, out, objective, config or Recipe(), seed, resume)
    run.train(minutes=minutes, steps=steps, progress=progress)
    return out


class _Run:
    """A run in progress: what a checkpoint holds."""

    def __init__(self, speech: Speech, out: Path, objective: str, recipe: Recipe, seed: int, resume: bool):
        saved = torch.load(out / "checkpoint.pt", map_location="cpu", weights_only=True) if resume else None
        if saved:
            objective, recipe, seed = saved["objective"], Recipe(**saved["recipe"]), saved["seed"]
        self.speech, self.out, self.objective, self.recipe, self.seed = speech, out, objective, recipe, seed
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.precision = encoders.choose("auto", self.device)
        self.step, self.seconds = 0, 0.0
        self.crop = int(recipe.crop_seconds * RATE) // STRIDE
        if speech.samples.size // STRIDE < self.crop + 1:
            raise SerError(
                f"{speech.samples.size / RATE:.1f} s of speech is less than one crop of {recipe.crop_seconds} s: "
                "name folders with more."
            )
        torch.manual_seed(seed)
        model_config = nano_config(**recipe.model)
        self.teacher = None
        centres = saved["centres"].numpy() if saved and saved["centres"] is not None else None
        if objective == "clusters":
            if recipe.teacher:
                self.teacher = Teacher(recipe.teacher, recipe.teacher_layer, centres)
                self.teacher.model.to(self.device)
            if centres is None:
                centres = self._find_codes()
        self.centres = None if centres is None else torch.from_numpy(centres)
        self.student = Student(
            model_config,
            objective,
            0 if centres is None else len(centres),
            unmasked_weight=recipe.unmasked_weight,
            regression_weight=recipe.regression_weight,
        )
        if recipe.start and not saved:
            self.student.encoder.load_state_dict(Wav2Vec2Model.from_pretrained(recipe.start).state_dict())
        elif recipe.filters and not saved:
            start_filters(self.student.encoder, normalise(self._crops(np.random.default_rng(seed))[0]))
        self.student.to(self.device).train()
        decayed = [p for p in self.student.parameters() if p.requires_grad]
        self.optimiser = torch.optim.AdamW(
            decayed, lr=0.0, betas=(0.9, 0.98), weight_decay=recipe.weight_decay, fused=True
        )
        if saved:
            self.student.load_state_dict(saved["student"])
            self.optimiser.load_state_dict(saved["optimiser"])
            self.step, self.seconds = saved["step"], saved["seconds"]
            torch.set_rng_state(saved["rng"])

    @property
    def hours(self) -> float:
        """Hours of speech heard."""
        return self.step * self.recipe.batch * self.crop * STRIDE / RATE / 3600

    def _find_codes(self) -> np.ndarray:
        if self.teacher is None:
            return fit_codes(self.speech.acoustics[:, : MFCCS + 3], self.recipe.codes, seed=self.seed)
        rng, frames = np.random.default_rng([self.seed, 1]), []
        for _ in range(min(100, 1 + self.speech.samples.size // STRIDE // (self.recipe.batch * self.crop))):
            waves = normalise(self._crops(rng)[0]).to(self.device)
            frames.append(self.teacher.frames(waves).flatten(0, 1).cpu().numpy())
        centres = fit_codes(np.concatenate(frames), self.recipe.codes, seed=self.seed)
        self.teacher.centres = torch.from_numpy(centres)
        return centres

    def _crops(self, rng: np.random.Generator) -> tuple[torch.Tensor, np.ndarray]:
        """Draw crops from anywhere; recordings follow each other, so short ones are heard with their neighbours."""
        starts = rng.integers(0, self.speech.samples.size // STRIDE - self.crop, self.recipe.batch)
        # 240 samples more than the grid, for the window of the last frame.
        size = self.crop * STRIDE + 240
        waves = np.zeros((len(starts), size), np.float32)
        for wave, start in zip(waves, starts, strict=True):
            piece = self.speech.samples[start * STRIDE : start * STRIDE + size]
            wave[: len(piece)] = piece / 32768
        return torch.from_numpy(waves), starts

    def _train_step(self, rate: float) -> dict[str, float]:
        rng = np.random.default_rng([self.seed, 2, self.step])
        torch.manual_seed(int(rng.integers(2**31)))
        waves, starts = self._crops(rng)
        clean = normalise(waves)
        noisy = normalise(corrupt(waves, rng, noise=self.recipe.noise, room=self.recipe.room)).to(self.device)
        frames = int(self.student.encoder._get_feat_extract_output_lengths(waves.shape[1]))
        recipe = self.recipe
        mask = mask_frames(rng, recipe.batch, frames, share=recipe.mask_share, length=recipe.mask_frames)
        batch = {"rng": rng}
        if self.objective == "clusters":
            rows = starts[:, None] + np.arange(frames)
            rows = np.minimum(rows, len(self.speech.targets) - 1)
            acoustics = torch.from_numpy(self.speech.acoustics[rows])
            batch["codes"] = (
                self.teacher(clean.to(self.device))
                if self.teacher
                else nearest(acoustics[..., : MFCCS + 3], self.centres).to(self.device)
            )
            batch["targets"] = torch.from_numpy(self.speech.targets[rows].astype(np.float32)).to(self.device)
            batch["voiced"] = acoustics[..., MFCCS + 3].to(self.device)
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        with encoders.autocast(self.precision, self.device):
            loss, parts = self.student(noisy, torch.from_numpy(mask).to(self.device), **batch)
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.student.parameters(), 1.0)
        self.optimiser.step()
        self.step += 1
        return {k: float(v.detach()) for k, v in {"loss": loss, **parts}.items()}

    def _rate(self, done: float) -> float:
        """Learning rate when `done` of the run is done: linear up, linear down."""
        return self.recipe.learning_rate * min(
            (done + 1e-3) / self.recipe.warmup, max(1 - done, 0) / (1 - self.recipe.warmup)
        )

    def train(self, *, minutes: float | None, steps: int | None, progress: bool) -> None:
        """Train until `minutes` or `steps` are reached, all sessions of this run counted together."""
        from tqdm.auto import tqdm

        self.out.mkdir(parents=True, exist_ok=True)
        log = _Log(self.out / "log.csv", self.step)
        if self.step == 0:
            self._snapshot(0.0)
        bar = tqdm(total=steps or round(minutes * 60), initial=self.step if steps else round(self.seconds),
                   desc="pretrain", unit="step" if steps else "s", disable=not progress)  # fmt: skip
        last = time.monotonic()
        saved, recent = last, []
        while True:
            done = self.step / steps if steps else self.seconds / (60 * minutes)
            if done >= 1:
                break
            before = self.hours
            recent.append(self._train_step(self._rate(done)))
            now = time.monotonic()
            self.seconds += now - last
            last = now
            mark = _crossed(before, self.hours)
            if mark:
                self._snapshot(mark)
            if self.step % self.recipe.log_steps == 0:
                row = {k: float(np.mean([r[k] for r in recent])) for k in recent[0]}
                log.write({"step": self.step, "hours": self.hours, "seconds": self.seconds} | row)
                recent = []
                known = "accuracy" if "accuracy" in row else "perplexity"
                bar.set_postfix(loss=f"{row['loss']:.3f}", **{known: f"{row[known]:.3g}"}, heard=f"{self.hours:.2f}h")
            bar.update((self.step if steps else round(self.seconds)) - bar.n)
            every = self.recipe.checkpoint_steps
            # Only where a row of the log has just ended, so that a resumed run averages the same steps.
            if not recent and (now - saved > self.recipe.checkpoint_seconds or (every and self.step % every == 0)):
                self._save()
                saved = now
        bar.close()
        self._save()

    def _snapshot(self, hours: float) -> None:
        _save_encoder(self.student.encoder, self.out / "snapshots" / f"{hours:g}h", half=True)

    def _save(self) -> None:
        state = {
            "student": self.student.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "rng": torch.get_rng_state(),
            "step": self.step,
            "seconds": self.seconds,
            "centres": self.centres,
            "objective": self.objective,
            "recipe": asdict(self.recipe),
            "seed": self.seed,
        }
        part = self.out / "checkpoint.pt.part"
        torch.save(state, part)
        os.replace(part, self.out / "checkpoint.pt")
        _save_encoder(self.student.encoder, self.out, half=False)
        facts = {
            "objective": self.objective,
            "steps": self.step,
            "hours_heard": round(self.hours, 3),
            "seconds": round(self.seconds, 1),
            "machine": _machine(self.device, self.precision),
            "speech_hours": round(self.speech.hours, 3),
            "speech_clips": self.speech.clips,
            "parameters": sum(p.numel() for p in self.student.encoder.parameters()),
            "seed": self.seed,
            # Folders are named, not located: this file travels with the encoder.
            "recipe": asdict(replace(self.recipe, teacher=_name(self.recipe.teacher), start=_name(self.recipe.start))),
        }
        write_json(self.out / "training.json", facts)


class _Log:
    """`log.csv`; rows after the checkpoint that a run resumes from are dropped."""

    def __init__(self, path: Path, step: int):
        self.path = path
        rows = []
        if path.is_file() and step:
            with path.open(newline="") as file:
                rows = [r for r in csv.DictReader(file) if int(r["step"]) <= step]
        part = path.with_suffix(".part")
        with part.open("w", newline="") as file:
            if rows:
                writer = csv.DictWriter(file, rows[0])
                writer.writeheader()
                writer.writerows(rows)
        os.replace(part, path)

    def write(self, row: dict[str, float]) -> None:
        row = {k: v if k == "step" else round(v, 5) for k, v in row.items()}
        with self.path.open("a", newline="") as file:
            writer = csv.DictWriter(file, row)
            if file.tell() == 0:
                writer.writeheader()
            writer.writerow(row)


def _crossed(before: float, now: float) -> float | None:
    """Return the largest of 1/8, 1/4, 1/2, 1, 2, … hours between `before` and `now`."""
    if now < 0.125:
        return None
    mark = 2.0 ** np.floor(np.log2(now))
    return float(mark) if before < mark else None


def _save_encoder(model: Wav2Vec2Model, folder: Path, *, half: bool) -> None:
    """Write a folder for `from_pretrained`, its weights last and at once."""
    folder.mkdir(parents=True, exist_ok=True)
    part = folder / ".part"
    weights = {k: v.half() if half else v for k, v in model.state_dict().items()}
    with encoders.quiet():  # a bar for each of many small files would tear ours apart
        model.save_pretrained(part, state_dict=weights)
    Wav2Vec2FeatureExtractor(
        feature_size=1, sampling_rate=RATE, padding_value=0.0, do_normalize=True, return_attention_mask=True
    ).save_pretrained(part)
    for file in sorted(part.iterdir()):
        os.replace(file, folder / file.name)
    part.rmdir()


def _machine(device: torch.device, precision: str) -> str:
    if device.type == "cuda":
        return f"{torch.cuda.get_device_name(device)}, {precision}"
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        name = next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        name = platform.processor() or platform.machine()
    return f"{torch.get_num_threads()} threads of {name}, {precision}"


def _name(folder: str | None) -> str | None:
    return None if folder is None else Path(folder).name
