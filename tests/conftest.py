"""Fixtures that several test files share."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

REPOSITORY = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of real recordings beside the repository; tests that use it are marked `real`."""
    folder = REPOSITORY.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("no real recordings beside this checkout (../shared/data)")
    return folder


@pytest.fixture
def write_tone(tmp_path):
    """Write a harmonic tone with some noise as a sound file and return its path."""

    def write(name="tone.wav", *, seconds=1.0, pitch=150.0, sample_rate=16_000, seed=0):
        time = np.arange(round(seconds * sample_rate)) / sample_rate
        wave = sum(np.sin(2 * np.pi * pitch * k * time) / k for k in range(1, 6)) * 0.1
        wave = wave + np.random.default_rng(seed).normal(0, 0.003, time.size)
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, wave.astype("float32"), sample_rate)
        return path

    return write


def pytest_collection_modifyitems(items):
    """The notebooks end to end take longest: started first, they run beside all other files instead of after them."""
    items.sort(key=lambda item: item.path.name != "test_notebooks.py")
