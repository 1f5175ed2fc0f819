"""One step of pre-training: masks, corruption, and the two objectives with their heads. No files, no schedule."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 - the usual name
from transformers import Wav2Vec2Config, Wav2Vec2ForPreTraining, Wav2Vec2Model

from ser_utils import SerError
from ser_utils.features import RATE
from ser_utils.pretraining.speech import TARGET_GROUPS, TARGETS, nearest


def mask_frames(
    rng: np.random.Generator, batch: int, frames: int, *, share: float, length: int | Sequence[int]
) -> np.ndarray:
    """Draw masks: every frame starts one with the probability that makes `share` of all frames masked.

    Parameters
    ----------
    rng : Generator
    batch, frames : int
    share : float
        Expected fraction of masked frames, between 0 and 1.
    length : int or sequence of int
        Frames of one mask; masks may overlap. Of several lengths, each covers as much as the others.

    Returns
    -------
    ndarray, shape=(batch, frames), bool
        Every row has at least one mask.
    """
    lengths = np.minimum(np.atleast_1d(length), frames)
    result = np.zeros((batch, frames), bool)
    for size in lengths:
        chance = 1 - (1 - share) ** (1 / (size * len(lengths)))
        starts = rng.random((batch, frames + size - 1)) < chance
        result |= np.lib.stride_tricks.sliding_window_view(starts, size, axis=1).any(-1)
    first = rng.integers(0, frames - lengths[0] + 1, batch)
    spare = (np.arange(frames) >= first[:, None]) & (np.arange(frames) < first[:, None] + lengths[0])
    return result | (spare & ~result.any(1, keepdims=True))


def corrupt(waves: torch.Tensor, rng: np.random.Generator, *, noise: float, room: float) -> torch.Tensor:
    """Add what microphones and rooms add, so that the encoder becomes robust to it.

    Parameters
    ----------
    waves, rng : Tensor of shape (batch, samples), Generator
    noise, room : float
        Fractions of the batch that get coloured noise (5 to 30 dB below) or another crop (5 to 20 dB below), and
        reverberation (0.1 to 0.6 s).
    """
    batch, samples = waves.shape
    generator = torch.Generator().manual_seed(int(rng.integers(2**31)))
    level = waves.square().mean(1, keepdim=True).sqrt() + 1e-6
    result = waves.clone()
    for i in np.flatnonzero(rng.random(batch) < room):
        length = int(rng.uniform(0.1, 0.6) * RATE)
        decay = torch.exp(-6.9 * torch.arange(length) / length)
        echo = torch.randn(length, generator=generator) * decay * rng.uniform(0.02, 0.1)
        echo[0] = 1.0
        size = 1 << (samples + length).bit_length()
        wet = torch.fft.irfft(torch.fft.rfft(waves[i], size) * torch.fft.rfft(echo, size), size)[:samples]
        result[i] = wet * level[i] / (wet.square().mean().sqrt() + 1e-6)
    for i in np.flatnonzero(rng.random(batch) < noise):
        if batch > 1 and rng.random() < 0.3:
            other, below = waves[i - 1], rng.uniform(5, 20)
        else:
            spectrum = torch.fft.rfft(torch.randn(samples, generator=generator))
            slope = rng.uniform(0, 1)  # white to pink to brown, in amplitude
            spectrum = spectrum / (1 + torch.arange(len(spectrum)) * (8000 / len(spectrum) / 100)) ** slope
            other, below = torch.fft.irfft(spectrum, samples), rng.uniform(5, 30)
        gain = level[i] / (other.square().mean().sqrt() + 1e-6) * 10 ** (-below / 20)
        result[i] = result[i] + gain * other
    return result


def normalise(waves: torch.Tensor) -> torch.Tensor:
    """Zero mean and unit variance, as the feature extractor's `do_normalize`."""
    waves = waves - waves.mean(-1, keepdim=True)
    return waves / torch.sqrt(waves.var(-1, keepdim=True, unbiased=False) + 1e-7)


def as_products(conv: nn.Conv1d) -> None:
    """Compute a convolution of single-channel waveforms as products of its windows, in a third of the time on a CPU."""

    def forward(waves: torch.Tensor) -> torch.Tensor:
        windows = waves[:, 0].unfold(1, *conv.kernel_size, *conv.stride)
        return F.linear(windows, conv.weight[:, 0], conv.bias).transpose(1, 2)

    conv.forward = forward


def _negatives(mask: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """Draw, for every masked frame, `count` other masked frames of its row, as indices into the flattened batch."""
    batch, frames = mask.shape
    result = np.zeros((batch, frames, count), np.int64)
    for row in range(batch):
        places = np.flatnonzero(mask[row])
        drawn = rng.integers(0, max(len(places) - 1, 1), (len(places), count))
        drawn += drawn >= np.arange(len(places))[:, None]  # not the frame itself
        result[row, places] = places[drawn % len(places)] + row * frames
    return result


class Student(nn.Module):
    """Encoder and heads of one objective ("clusters" or "contrastive"); `forward` returns the loss and its parts.

    `codes` are the sizes of the codebooks of "clusters"; `unmasked_weight` and `regression_weight` weigh the cross-entropy
    of frames that are not masked and the regression, beside 1 for masked frames.
    """

    def __init__(
        self, config: Wav2Vec2Config, objective: str, codes: Sequence[int],
        unmasked_weight: float, regression_weight: float,
    ):  # fmt: skip
        super().__init__()
        self.objective = objective
        self.unmasked_weight, self.regression_weight = unmasked_weight, regression_weight
        if objective == "contrastive":
            self.task = Wav2Vec2ForPreTraining(config)
            self.encoder = self.task.wav2vec2
        else:
            self.encoder = Wav2Vec2Model(config)
            self.books = list(codes)
            self.codes = nn.Linear(config.hidden_size, sum(codes))
            self.regression = nn.Linear(config.hidden_size, TARGETS)

    def forward(self, waves, mask, *, codes=None, targets=None, voiced=None, rng=None):
        """Loss of a batch, and a dictionary of its parts.

        `waves` and `mask` are of shape (batch, samples) and (batch, frames). For "clusters", `codes` (batch, frames, books),
        `targets` (batch, frames, TARGETS) and `voiced` (batch, frames), 1 where there is F0; for "contrastive", `rng` draws the
        negatives.
        """
        if self.objective == "contrastive":
            return self._contrast(waves, mask, rng)
        hidden = self.encoder(waves, mask_time_indices=mask).last_hidden_state
        guesses = self.codes(hidden).float().flatten(0, 1).split(self.books, dim=1)
        truths = codes.flatten(0, 1).unbind(1)
        each = sum(F.cross_entropy(*pair, reduction="none") for pair in zip(guesses, truths, strict=True))
        each, flat = each.view(mask.shape) / len(self.books), mask.float()
        masked = (each * flat).sum() / flat.sum()
        rest = (each * (1 - flat)).sum() / (1 - flat).sum().clamp(min=1)
        miss = (self.regression(hidden).float() - targets).abs()
        # Where nothing is voiced there is no F0: its two columns count in voiced frames alone.
        pitch = (miss[..., :2] * voiced[..., None]).sum() / (2 * voiced.sum()).clamp(min=1)
        regression = (pitch + sum(miss[..., g].mean() for g in (slice(2, 4), *list(TARGET_GROUPS.values())[1:]))) / 2
        with torch.no_grad():
            right = (guesses[0].argmax(-1) == truths[0]).float().view(mask.shape)
            accuracy = (right * flat).sum() / flat.sum()
        loss = masked + self.unmasked_weight * rest + self.regression_weight * regression
        return loss, {"masked": masked, "unmasked": rest, "regression": regression, "accuracy": accuracy}

    def _contrast(self, waves, mask, rng):
        negatives = _negatives(mask.cpu().numpy(), self.task.config.num_negatives, rng)
        negatives = torch.from_numpy(negatives).to(waves.device)
        output = self.task(waves, mask_time_indices=mask, sampled_negative_indices=negatives)
        count = mask.sum()
        parts = {"contrastive": output.contrastive_loss / count, "diversity": output.diversity_loss / count}
        return output.loss / count, parts | {"perplexity": output.codevector_perplexity}


class Teacher:
    """Codes of an earlier checkpoint's layer (the middle one by default), for clean crops."""

    def __init__(self, folder: str, layer: int | None, device: torch.device):
        try:
            self.model = Wav2Vec2Model.from_pretrained(folder).eval().to(device)
        except OSError as error:
            problem = f"teacher {folder} holds no wav2vec 2.0 encoder: name a folder that pretrain wrote."
            raise SerError(problem) from error
        self.layer = self.model.config.num_hidden_layers // 2 if layer is None else layer

    @torch.no_grad()
    def frames(self, waves: torch.Tensor) -> torch.Tensor:
        """`(batch, samples)` → `(batch, frames, dims)`, each frame of mean 0 and variance 1."""
        hidden = self.model(waves, output_hidden_states=True).hidden_states[self.layer].float()
        return F.layer_norm(hidden, hidden.shape[-1:])

    def __call__(self, waves: torch.Tensor, centres: torch.Tensor) -> torch.Tensor:
        """`(batch, samples)` → codes, `(batch, frames, 1)`."""
        frames = self.frames(waves)
        with torch.autocast(waves.device.type, enabled=False):  # distances are differences of large numbers
            return nearest(frames, centres.to(waves.device))[..., None]
