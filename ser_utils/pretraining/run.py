"""Self-supervised pre-training of a small wav2vec 2.0 encoder on folders of unlabelled speech, by two objectives.

`contrastive`: wav2vec 2.0 as published (Baevski et al. 2020, arXiv 2006.11477). `clusters`: masked prediction of k-means
codes of acoustics, as in HuBERT's first iteration (Hsu et al. 2021, arXiv 2106.07447), with prosody among them; beside
it, every frame regresses F0, voicing, energy, spectrum (as PASE, arXiv 1904.03416). Signals are corrupted, targets are
not (as in WavLM, arXiv 2110.13900). With a `teacher`, codes are of an earlier checkpoint's layer (second iteration).

Everything random in step k is drawn from generators seeded with (seed, k), so a resumed run follows the trajectory of
an unbroken one. The learning rate rises, stays, and falls in the last part of the run (Hu et al. 2024, arXiv
2404.06395). A run resumed for longer continues from the end of the stable part, and falls at its new end.
"""

import platform
import re
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import nn
from transformers import Wav2Vec2FeatureExtractor, Wav2Vec2Model

from ser_utils import SerError, encoders, replacing
from ser_utils.features import MFCCS, RATE, STRIDE
from ser_utils.pretraining.objectives import Student, Teacher, as_products, corrupt, mask_frames, normalise
from ser_utils.pretraining.recipe import Recipe, nano_config
from ser_utils.pretraining.speech import Speech, code_columns, codes_of, fit_codes, prepare, write_json

OBJECTIVES = ("clusters", "contrastive")


def pretrain(
    folders: str | Path | Sequence[str | Path] | pd.DataFrame, out: str | Path, *,
    objective: str = "clusters", minutes: float | None = None, steps: int | None = None, resume: bool = False,
    config: Recipe | None = None, cache: str | Path | None = None, seed: int = 0, progress: bool = True,
) -> Path:  # fmt: skip
    """Pre-train a small wav2vec 2.0 encoder on folders of unlabelled speech.

    Parameters
    ----------
    folders : path, sequence of paths, or clips table
        Searched for sound files with all folders below; of a table, its clips.
    out : path
        Folder that becomes the encoder (`Wav2Vec2Model.from_pretrained`, `encoders.load`), with `log.csv`,
        `training.json`, `checkpoint.pt`, and `snapshots/<hours of speech>h/` at 0, 1/8, 1/4, 1/2, 1, … hours.
    objective : {"clusters", "contrastive"}
        See the module.
    minutes, steps : float, int
        How long, one of the two. A resumed run counts what it has done before.
    resume : bool
        Continue from the checkpoint in `out`, with its objective, recipe and seed.
    config, cache : Recipe, path, optional
        Batches, masks, targets, architecture; folder for decoded speech, by default `out/cache`.

    Returns
    -------
    Path
        `out`.

    Raises
    ------
    SerError
        If there is no audio, not exactly one of `minutes` and `steps`, an unknown objective, nothing to resume, or a
        run to resume in `out` without `resume`.
    """
    out = Path(out)
    checkpoint = out / "checkpoint.pt"
    if (minutes is None) == (steps is None):
        given = "neither" if minutes is None else "both"
        raise SerError(f"{given} of minutes and steps given: say how long to train with one of them.")
    if not (minutes if steps is None else steps) > 0:  # nan is no length, either
        raise SerError(f"{'minutes' if steps is None else 'steps'} must be more than 0.")
    if objective not in OBJECTIVES:
        raise SerError(f"objective {objective!r} is not known: choose one of {', '.join(OBJECTIVES)}.")
    if resume and not checkpoint.is_file():
        raise SerError(f"nothing to resume in {out}: there is no checkpoint.pt; leave --resume out.")
    if not resume and checkpoint.is_file():
        raise SerError(f"{out} holds a run already: add --resume to go on with it, or name another folder.")
    speech = prepare(folders, cache or out / "cache", progress=progress)
    saved = torch.load(checkpoint, map_location="cpu", weights_only=True) if resume else None
    if saved:
        objective, config, seed = saved["objective"], Recipe(**saved["recipe"]), saved["seed"]
    run = _Run(speech, out, objective, config or Recipe(), seed, saved)
    run.train(minutes=minutes, steps=steps, progress=progress)
    return out


class _Run:
    """A run in progress; `saved` is the checkpoint that it continues from."""

    def __init__(self, speech: Speech, out: Path, objective: str, recipe: Recipe, seed: int, saved: dict | None):
        self.speech, self.out, self.objective, self.recipe, self.seed = speech, out, objective, recipe, seed
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.precision = encoders.choose("auto", self.device)
        self.step, self.seconds, self.heard = 0, 0.0, 0
        longest = max(recipe.crop_seconds)
        if speech.frames < longest * RATE // STRIDE + 1:
            length = speech.frames * STRIDE / RATE
            raise SerError(f"{length:.1f} s of speech is less than one crop of {longest} s: name folders with more.")
        torch.manual_seed(seed)
        model_config = nano_config(**recipe.model)
        if self.device.type == "cpu":  # on one thread, plain products train a quarter faster than fused attention
            model_config._attn_implementation = "eager"
        self.teacher, self.codes, self.centres = None, None, []
        if objective == "clusters":
            if recipe.teacher:
                self.teacher = Teacher(recipe.teacher, recipe.teacher_layer, self.device)
            self.centres = saved["centres"] if saved else self._find_codes()
            if not self.teacher:
                self.codes = codes_of(speech.acoustics, self.centres)
        sizes = [len(book) for book in self.centres]
        self.student = Student(model_config, objective, sizes, recipe.unmasked_weight, recipe.regression_weight)
        encoder = self.student.encoder
        if not saved:
            fresh = encoders.begin(model_config, seed=seed, filters=recipe.filters)
            begun = Wav2Vec2Model.from_pretrained(encoders.find(recipe.start)) if recipe.start else fresh
            try:
                encoder.load_state_dict(begun.state_dict())
            except RuntimeError as error:
                raise SerError(f"{recipe.start} has another architecture than the recipe: name another start.") from error
        if self.device.type == "cpu":
            as_products(encoder.feature_extractor.conv_layers[0].conv)
        self.student.to(self.device).train()
        trained = [p for p in self.student.parameters() if p.requires_grad]
        decay = {"betas": (0.9, 0.98), "weight_decay": recipe.weight_decay}
        self.optimiser = torch.optim.AdamW(trained, lr=0.0, fused=True, **decay)
        if saved:
            self.student.load_state_dict(saved["student"])
            self.optimiser.load_state_dict(saved["optimiser"])
            self.step, self.seconds, self.heard = saved["step"], saved["seconds"], saved["heard"]
            torch.set_rng_state(saved["rng"])

    @property
    def hours(self) -> float:
        """Hours of speech trained on, repetitions included."""
        return self.heard * STRIDE / RATE / 3600

    def _find_codes(self) -> list[torch.Tensor]:
        """k-means centres of each codebook, of acoustics or of the teacher's frames."""
        sizes, speech = self.recipe.codes, self.speech
        if self.teacher:
            rng, frames = np.random.default_rng([self.seed, 1]), []
            for _ in range(min(100, 1 + round(speech.frames * STRIDE / RATE / self.recipe.step_seconds))):
                waves = normalise(self._waves(*self._crops(rng))).to(self.device)
                frames.append(self.teacher.frames(waves).flatten(0, 1).cpu().numpy())
            vectors, sizes = [np.concatenate(frames)], sizes[:1]
        else:
            vectors = [speech.acoustics[: speech.frames, part] for part in code_columns(len(sizes))]
        found = [fit_codes(*pair, seed=self.seed) for pair in zip(vectors, sizes, strict=True)]
        return [torch.from_numpy(book) for book in found]

    def _crops(self, rng: np.random.Generator) -> tuple[np.ndarray, int]:
        """Draw crops from anywhere; recordings follow each other, so a crop of a short one includes its neighbours."""
        seconds = self.recipe.crop_seconds[rng.integers(len(self.recipe.crop_seconds))]
        crop = int(seconds * RATE) // STRIDE
        batch = max(1, round(self.recipe.step_seconds / seconds))
        return rng.integers(0, self.speech.frames - crop, batch), crop

    def _waves(self, starts: np.ndarray, crop: int) -> torch.Tensor:
        size = crop * STRIDE + 240  # for the window of the last frame
        waves = np.zeros((len(starts), size), np.float32)
        for wave, start in zip(waves, starts, strict=True):
            piece = self.speech.samples[start * STRIDE : start * STRIDE + size]
            wave[: len(piece)] = piece / 32768
        return torch.from_numpy(waves)

    def _loss(self, starts: np.ndarray, crop: int, rng: np.random.Generator, *, clean: bool):
        """Loss of crops, and its parts."""
        recipe, waves = self.recipe, self._waves(starts, crop)
        inputs = waves if clean else corrupt(waves, rng, noise=recipe.noise, room=recipe.room)
        frames = int(self.student.encoder._get_feat_extract_output_lengths(waves.shape[1]))
        mask = mask_frames(rng, len(starts), frames, share=recipe.mask_share, length=recipe.mask_frames)
        batch = {"rng": rng}
        if self.objective == "clusters":
            rows = np.minimum(starts[:, None] + np.arange(frames), len(self.speech.targets) - 1)
            if self.teacher:
                with encoders.autocast(self.precision, self.device):
                    batch["codes"] = self.teacher(normalise(waves).to(self.device), self.centres[0])
            else:
                batch["codes"] = torch.from_numpy(self.codes[rows]).long().to(self.device)
            batch["targets"] = torch.from_numpy(self.speech.targets[rows].astype(np.float32)).to(self.device)
            batch["voiced"] = torch.from_numpy(self.speech.acoustics[rows, MFCCS + 3]).to(self.device)
        with encoders.autocast(self.precision, self.device):
            return self.student(normalise(inputs).to(self.device), torch.from_numpy(mask).to(self.device), **batch)

    def _held_back(self) -> dict[str, float]:
        """Loss of masked frames on the same crops of held-back speech every time, not corrupted."""
        crop = int(max(self.recipe.crop_seconds) * RATE) // STRIDE
        last = len(self.speech.targets) - crop - 1
        if last <= self.speech.frames:
            return {}
        starts = np.linspace(self.speech.frames, last, max(2, round(96 * RATE / STRIDE / crop))).astype(int)
        self.student.eval()
        with torch.no_grad():
            parts = self._loss(starts, crop, np.random.default_rng([self.seed, 3]), clean=True)[1]
        self.student.train()
        return {"held_back": float(next(iter(parts.values())))}

    def _train_step(self, rate: float) -> dict[str, float]:
        rng = np.random.default_rng([self.seed, 2, self.step])
        torch.manual_seed(int(rng.integers(2**31)))
        starts, crop = self._crops(rng)
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        loss, parts = self._loss(starts, crop, rng, clean=False)
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.student.parameters(), 1.0)
        self.optimiser.step()
        self.step += 1
        self.heard += len(starts) * crop
        return {k: float(v.detach()) for k, v in {"loss": loss, **parts}.items()}

    def _rate(self, done: float, fallen_from: float | None) -> float:
        """Learning rate when a fraction `done` of the run is over, and it has been falling since `fallen_from`."""
        up = min(1.0, (self.step + 1) / self.recipe.warmup_steps)
        down = 1.0 if fallen_from is None else (1 - done) / (1 - fallen_from)
        return self.recipe.learning_rate * up * down

    def train(self, *, minutes: float | None, steps: int | None, progress: bool) -> None:
        """Train until `minutes` or `steps` are reached, all sessions of this run counted together."""
        from tqdm.auto import tqdm

        self.out.mkdir(parents=True, exist_ok=True)
        _cut_log(self.out / "log.csv", self.step)
        if self.step == 0:
            self._snapshot(0.0)
        bar = tqdm(total=steps or round(minutes * 60), initial=self.step if steps else round(self.seconds),
                   desc="pretrain", unit="step" if steps else "s", disable=not progress)  # fmt: skip
        recent, fallen_from, every = [], None, self.recipe.checkpoint_steps
        last = saved = time.monotonic()
        while (done := self.step / steps if steps else self.seconds / (60 * minutes)) < 1:
            if fallen_from is None and done >= 1 - self.recipe.decay:
                self._log(recent, bar)
                self._save()  # the last checkpoint: what follows is done again when the run is resumed for longer
                fallen_from = done
            before = self.hours
            recent.append(self._train_step(self._rate(done, fallen_from)))
            now = time.monotonic()
            self.seconds += now - last
            last = now
            if mark := _crossed(before, self.hours):
                self._snapshot(mark)
            if self.step % self.recipe.log_steps == 0:
                self._log(recent, bar)
            bar.update((self.step if steps else round(self.seconds)) - bar.n)
            due = now - saved > self.recipe.checkpoint_seconds or (every and self.step % every == 0)
            # Only where a row of the log has just ended, so that a resumed run averages the same steps.
            if due and fallen_from is None and not recent:
                self._save()
                saved = now
        self._log(recent, bar)
        bar.close()
        if fallen_from is None:
            self._save()
        else:
            self._write()

    def _log(self, recent: list[dict[str, float]], bar) -> None:
        """Add the means of the recent steps to `log.csv`, and begin the next row."""
        if not recent:
            return
        row = {k: float(np.mean([r[k] for r in recent])) for k in recent[0]} | self._held_back()
        recent.clear()
        path, facts = self.out / "log.csv", {"hours": self.hours, "seconds": self.seconds} | row
        table = pd.DataFrame([{"step": self.step} | {name: round(value, 5) for name, value in facts.items()}])
        table.to_csv(path, mode="a", header=not path.exists(), index=False, lineterminator="\r\n")
        known = "accuracy" if "accuracy" in row else "perplexity"
        bar.set_postfix(loss=f"{row['loss']:.3f}", **{known: f"{row[known]:.3g}"}, speech=f"{self.hours:.2f}h")

    def _snapshot(self, hours: float) -> None:
        _save_encoder(self.student.encoder, self.out / "snapshots" / f"{hours:g}h", half=hours > 0)

    def _save(self) -> None:
        state = {name: getattr(self, name) for name in ("step", "seconds", "heard", "centres", "objective", "seed")}
        state |= {"student": self.student.state_dict(), "optimiser": self.optimiser.state_dict()}
        state |= {"rng": torch.get_rng_state(), "recipe": asdict(self.recipe)}
        with replacing(self.out / "checkpoint.pt") as temporary:
            torch.save(state, temporary)
        self._write()

    def _write(self) -> None:
        """Write the encoder and the facts of its training."""
        _save_encoder(self.student.encoder, self.out, half=False)
        recipe = asdict(self.recipe)
        for name in ("teacher", "start"):  # folders are named, not located: this file travels with the encoder
            recipe[name] = recipe[name] and Path(recipe[name]).name
        facts = {
            "objective": self.objective, "steps": self.step, "hours_heard": round(self.hours, 3),
            "seconds": round(self.seconds, 1), "core_hours": round(self.seconds * torch.get_num_threads() / 3600, 2),
            "machine": _machine(self.device, self.precision),
            "speech_hours": round(self.speech.hours, 3), "speech_clips": self.speech.clips,
            "parameters": sum(p.numel() for p in self.student.encoder.parameters()), "seed": self.seed, "recipe": recipe,
        }  # fmt: skip
        write_json(self.out / "training.json", facts)


def _cut_log(path: Path, step: int) -> None:
    """Drop the rows of a log after the step that a run continues from."""
    if not step:
        path.unlink(missing_ok=True)
    elif path.is_file():
        log = pd.read_csv(path, dtype=str, keep_default_na=False)
        with replacing(path) as temporary:
            log[log["step"].astype(int) <= step].to_csv(temporary, index=False, lineterminator="\r\n")


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
    with encoders.quiet():  # without progress bars of its own
        model.save_pretrained(part, state_dict=weights)
    Wav2Vec2FeatureExtractor(sampling_rate=RATE, do_normalize=True, return_attention_mask=True).save_pretrained(part)
    for file in sorted(part.iterdir()):
        file.replace(folder / file.name)
    part.rmdir()


def _machine(device: torch.device, precision: str) -> str:
    if device.type == "cuda":
        return f"{torch.cuda.get_device_name(device)}, {precision}"
    info = Path("/proc/cpuinfo")
    found = re.search(r"^model name\s*:\s*(.+?)\s*$", info.read_text(), re.M) if info.is_file() else None
    name = found[1] if found else platform.processor() or platform.machine()
    return f"{torch.get_num_threads()} threads of {name}, {precision}"
