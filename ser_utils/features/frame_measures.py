"""F0, voicing, energy and spectrum of every frame of a recording."""

from __future__ import annotations

import numpy as np
import pandas as pd
import torch

from ser_utils import audio

#: Samples between frames, as in every wav2vec 2.0: 20 ms.
STRIDE = 320
RATE = audio.SAMPLE_RATE
MELS, MFCCS = 20, 13
_BLOCK = 4096  # frames computed at a time
_CENTRE = 280  # middle of the 560 samples that frame 0 of wav2vec2-nano depends on


def f0_contour(signal: np.ndarray, sample_rate: int) -> pd.DataFrame:
    """Estimate the fundamental frequency over time with pYIN (Mauch and Dixon 2014), in librosa.

    The search range, 65 to 600 Hz, covers the speech of adults, shouting included.

    Parameters
    ----------
    signal, sample_rate : array of shape (samples,), int
        Waveform, and its rate in Hz.

    Returns
    -------
    DataFrame
        Columns `time` [s] (frames every 16 ms) and `f0` [Hz], NaN where nothing is voiced.
    """
    librosa = audio.load_librosa()
    hop, frame = round(0.016 * sample_rate), 1 << int(np.ceil(np.log2(0.05 * sample_rate)))
    padded = np.pad(np.asarray(signal, np.float32), (0, max(0, frame - len(signal))))
    # A milder prior on aperiodicity than librosa's (2, 18): rough and breathy voices count as voiced, too.
    f0, _, _ = librosa.pyin(
        padded, fmin=65.0, fmax=600.0, sr=sample_rate, frame_length=frame, hop_length=hop, resolution=0.2,
        beta_parameters=(2, 10),
    )  # fmt: skip
    time = librosa.times_like(f0, sr=sample_rate, hop_length=hop)
    inside = time <= len(signal) / sample_rate
    return pd.DataFrame({"time": time[inside], "f0": f0[inside]})


def measure_frames(samples: np.ndarray, *, progress: bool = False) -> dict[str, np.ndarray]:
    """Measure every 20-ms frame of a waveform.

    F0 is the largest peak of the normalised autocorrelation (Boersma 1993) between 60 and 500 Hz, with a small
    preference for shorter periods: less accurate than `f0_contour` and much faster, made for pre-training.

    Parameters
    ----------
    samples : ndarray, shape=(samples,), int16
        At 16 kHz; may be memory-mapped.
    progress : bool
        Show a progress bar.

    Returns
    -------
    dict of ndarray, float32
        Of windows of 32 ms `bands` (log-mel, frames × 20), `mfcc` (frames × 13) and `energy` [dB]; of windows of 64 ms
        `pitch` (log2 of F0 in Hz) and `height` (of the autocorrelation's peak, 0 to 1).
    """
    from torchaudio.functional import create_dct, melscale_fbanks
    from tqdm.auto import tqdm

    short, long, lags = torch.hann_window(512), torch.hann_window(1024), torch.arange(RATE // 500, RATE // 60 + 1)
    mel = melscale_fbanks(257, 50, 7600, 2 * MELS, RATE)
    dct = create_dct(MFCCS, 2 * MELS, "ortho")
    own = torch.fft.irfft(torch.fft.rfft(long, 2048).abs().square())[: lags[-1] + 2]
    count = samples.size // STRIDE
    left, right = 512, 1024
    result = []
    for first in tqdm(range(0, count, _BLOCK), desc="measure", unit="block", disable=not progress):
        last = min(first + _BLOCK, count)
        begin, end = first * STRIDE - left, last * STRIDE + right
        piece = np.zeros(end - begin, np.float32)
        a, b = max(begin, 0), min(end, samples.size)
        piece[a - begin : b - begin] = samples[a:b] / 32768
        wave = torch.from_numpy(piece)
        wave = wave + 1e-5 * torch.randn(wave.shape, generator=torch.Generator().manual_seed(first))

        def windows(size, wave=wave, n=last - first):
            return wave[left + _CENTRE - size // 2 :].unfold(0, size, STRIDE)[:n]

        frames = windows(512)
        power = torch.fft.rfft(frames * short).abs().square()
        bands = (power @ mel + 1e-6).log()
        energy = 10 * torch.log10(frames.square().mean(1) + 1e-9)
        frames = windows(1024)
        frames = (frames - frames.mean(1, keepdim=True)) * long
        corr = torch.fft.irfft(torch.fft.rfft(frames, 2048).abs().square())[:, : lags[-1] + 2]
        corr = corr / (corr[:, :1] + 1e-9) / (own / own[0])
        inner = corr[:, lags]
        peaks = (inner >= corr[:, lags - 1]) & (inner >= corr[:, lags + 1])
        score = torch.where(peaks, inner - 0.03 * torch.log2(lags.float() / lags[0]), torch.full_like(inner, -1))
        best = score.argmax(1, keepdim=True)
        height = inner.gather(1, best)[:, 0].clamp(0, 1)
        lag = lags[best[:, 0]].float()
        before, after = corr.gather(1, lags[best] - 1)[:, 0], corr.gather(1, lags[best] + 1)[:, 0]
        bend = before - 2 * inner.gather(1, best)[:, 0] + after
        lag = lag + (0.5 * (before - after) / bend.clamp(max=-1e-6)).clamp(-0.5, 0.5)
        pairs = bands.view(-1, MELS, 2).mean(2)
        result.append((pairs, bands @ dct, energy, torch.log2(RATE / lag), height))
    names = ("bands", "mfcc", "energy", "pitch", "height")
    return {n: torch.cat(parts).numpy() for n, parts in zip(names, zip(*result, strict=True), strict=True)}
