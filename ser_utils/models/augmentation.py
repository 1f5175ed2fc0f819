"""Changed copies of training waveforms: noise, another speed, a room."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import signal

from ser_utils import SerError

_RATE = 16_000


def _noise(wave: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Noise whose spectrum falls by 0 to 6 dB per octave, 5 to 25 dB below the speech."""
    spectrum = np.fft.rfft(rng.standard_normal(wave.size)) * np.arange(1, wave.size // 2 + 2) ** -rng.uniform(0, 1)
    noise = np.fft.irfft(spectrum, wave.size)
    return wave + noise * np.sqrt(np.mean(wave**2) / np.mean(noise**2)) * 10 ** (-rng.uniform(5, 25) / 20)


def _speed(wave: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A fiftieth to a tenth faster or slower, pitch included; repeated from its start, or cut, to the same length."""
    change = int(rng.choice([-1, 1]) * rng.integers(2, 11))
    return np.resize(signal.resample_poly(wave, 100 + change, 100), wave.size)


def _room(wave: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Reverberation that decays by 60 dB in 0.1 to 0.6 s, with as much energy as the direct sound or less."""
    size = int(rng.uniform(0.1, 0.6) * _RATE)
    tail = rng.standard_normal(size) * np.logspace(0, -3, size)
    response = np.append(1, rng.uniform(0.3, 1) * tail / np.linalg.norm(tail))
    return signal.fftconvolve(wave, response)[: wave.size]


AUGMENTATIONS = {"noise": _noise, "speed": _speed, "room": _room}


def augment(waves: np.ndarray, kinds: Sequence[str], *, seed: int) -> np.ndarray:
    """Change every waveform by one of the kinds, drawn at random, and by a random amount.

    Parameters
    ----------
    waves : ndarray, shape=(n, samples)
        At 16 kHz.
    kinds : sequence of {"noise", "speed", "room"}

    Returns
    -------
    ndarray, shape=(n, samples), float32

    Raises
    ------
    SerError
        If a kind is not known.
    """
    unknown = sorted(set(kinds) - set(AUGMENTATIONS))
    if unknown or not kinds:
        raise SerError(f"augmentation {', '.join(unknown) or 'of no kind'}: known are {', '.join(AUGMENTATIONS)}.")
    rng = np.random.default_rng(seed)
    changed = [AUGMENTATIONS[rng.choice(list(kinds))](wave.astype(float), rng) for wave in waves]
    return np.stack(changed).astype(np.float32)
