"""Fixtures that several test files share."""

from pathlib import Path

import nbformat
import numpy as np
import pytest
import soundfile
from filelock import FileLock
from small import NOTEBOOKS, with_solutions

from ser_utils import pipeline

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


@pytest.fixture(scope="session")
def quick_run(tmp_path_factory, request):
    """All notebooks on the demo corpus with the quick profile, each with its exercises' solutions run at its end.

    Made once, also where several processes share the tests: who comes first runs it, the others wait.
    """
    place = tmp_path_factory.getbasetemp()
    place = (place.parent if hasattr(request.config, "workerinput") else place) / "quick-run"
    sources, out, done = place / "notebooks", place / "out", place / "done"
    place.mkdir(exist_ok=True)
    with FileLock(place / "lock"):
        if not done.exists():
            sources.mkdir(exist_ok=True)
            for path in NOTEBOOKS:
                nbformat.write(with_solutions(path), sources / path.name)
            pipeline.run("demo", profile="quick", out=out, notebooks=sources)
            done.touch()
    return out


def pytest_collection_modifyitems(items):
    """What takes longest is started first, and runs beside all other files instead of after them."""
    first = {"test_notebooks.py": 0, "test_browser.py": 1}
    items.sort(key=lambda item: first.get(item.path.name, 2))
