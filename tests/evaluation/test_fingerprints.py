"""One recording stored in several ways is found, different ones are not."""

import numpy as np
import pandas as pd
import pytest
import soundfile

from ser_utils import audio, evaluation

RATE = audio.SAMPLE_RATE


def voice(seed: int, seconds: float = 1.5) -> np.ndarray:
    """Syllables of random pitch, length and timbre."""
    rng, parts = np.random.default_rng(seed), []
    while sum(map(len, parts)) < seconds * RATE:
        time = np.arange(int(rng.uniform(0.08, 0.25) * RATE)) / RATE
        pitch = rng.uniform(120, 260) * (1 + rng.uniform(-0.3, 0.3) * time)
        weights = rng.uniform(0, 1, 20) / np.arange(1, 21) ** 0.5
        tones = [w * np.sin(2 * np.pi * k * np.cumsum(pitch) / RATE) for k, w in enumerate(weights, 1)]
        parts += [np.sum(tones, axis=0) * np.hanning(len(time)), np.zeros(int(rng.uniform(0.01, 0.08) * RATE))]
    wave = np.concatenate(parts)[: int(seconds * RATE)]
    return (0.3 * wave / np.abs(wave).max() + rng.normal(0, 1e-4, len(wave))).astype(np.float32)


def write(folder, name: str, wave: np.ndarray, rate: int = RATE, **how) -> dict:
    soundfile.write(folder / name, wave, rate, **how)
    return {"clip": name, "path": str(folder / name), "duration": len(wave) / rate}


COPIES = {
    "float.wav": lambda wave: (wave, RATE, {"subtype": "FLOAT"}),
    "soft.wav": lambda wave: (0.1 * wave, RATE, {}),
    "stereo.flac": lambda wave: (np.c_[wave, wave], RATE, {}),
    "high.wav": lambda wave: (audio.resample(wave, RATE, 44_100), 44_100, {}),
    "telephone.wav": lambda wave: (audio.resample(wave, RATE, 8000), 8000, {"subtype": "ULAW"}),
    "small.mp3": lambda wave: (wave, RATE, {"format": "MP3", "compression_level": 0.9}),
    "shorter.wav": lambda wave: (wave[400:-200], RATE, {}),
}


@pytest.mark.parametrize("name", COPIES)
def test_a_copy_stored_in_another_way_is_found_among_other_recordings(tmp_path, name):
    rows = [write(tmp_path, f"{seed}.wav", voice(seed)) for seed in range(4)]
    wave, rate, how = COPIES[name](voice(2))
    rows.append(write(tmp_path, name, wave, rate, **how))
    found = evaluation.near_copies(pd.DataFrame(rows))
    assert found[["clip", "other"]].to_numpy().tolist() == [["2.wav", name]]
    assert found.correlation[0] > evaluation.ALIKE


def test_different_recordings_of_one_length_are_no_copies(tmp_path):
    clips = pd.DataFrame([write(tmp_path, f"{seed}.wav", voice(seed)) for seed in range(8)])
    assert evaluation.near_copies(clips).empty
    assert evaluation.near_copies(clips[:0]).empty


@pytest.mark.real
def test_no_two_recordings_of_an_actor_are_taken_for_copies(shared_data):
    from ser_utils import corpora

    clips = corpora.load("ravdess", shared_data / "ravdess")
    assert evaluation.near_copies(clips[clips.speaker == clips.speaker.iloc[0]]).empty
