"""A Dask cluster of real processes on loopback: the same results as here, whoever is lost on the way."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import cloudpickle
import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.dummy import DummyClassifier
from sklearn.naive_bayes import GaussianNB
from small import refused, write_corpus, write_notebook
from small_encoders import make_model, save_encoder

from ser_utils import SerError, audio, cli, corpora, encoders, evaluation, features, pipeline
from ser_utils.features import cluster, store

pytestmark = pytest.mark.cluster

# Workers know the module and not its tests.
cloudpickle.register_pickle_by_value(sys.modules[__name__])

DASK = [sys.executable, "-m", "dask"]
QUIET = ["--no-dashboard"]


@contextlib.contextmanager
def started(folder: Path, workers: int = 2):
    """Start a scheduler and workers; give its address and the workers' processes."""
    running, about = [], folder / "scheduler.json"
    log = (folder / "cluster.log").open("w")

    def start(*arguments):
        # No nanny: a worker that is killed stays dead.
        running.append(subprocess.Popen([*DASK, *map(str, arguments), *QUIET], stdout=log, stderr=log))

    start("scheduler", "--host", "127.0.0.1", "--port", 0, "--scheduler-file", about)
    for _ in range(workers):
        start("worker", "--scheduler-file", about, "--nthreads", 1, "--no-nanny", "--local-directory", folder)
    try:
        while not about.exists() or not about.read_text().endswith("}"):
            assert running[0].poll() is None, (folder / "cluster.log").read_text()
            time.sleep(0.05)
        address = json.loads(about.read_text())["address"]
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("ser_utils.features.cluster.TIMEOUT", 60.0)
            client = features.connect(address) if workers else None
        if client:
            client.wait_for_workers(workers, timeout=60)
            client.close()
        yield address, running[1:]
    finally:
        with contextlib.suppress(SerError, NameError):
            cluster._client(address).close()
        cluster._client.cache_clear()
        for process in reversed(running):
            process.kill()
            process.wait()
        log.close()


@pytest.fixture(scope="module")
def two_workers(tmp_path_factory):
    with started(tmp_path_factory.mktemp("cluster")) as (address, _):
        yield address


def computed_by_workers(address: str) -> int:
    """How many calls the workers of a cluster have finished."""

    def finished(dask_scheduler):
        ends = [(key, end) for key, _, end, *_ in dask_scheduler.transition_log]
        return len({key for key, end in ends if end == "memory" and "_on_worker" in str(key)})

    client = features.connect(address)
    try:
        return client.run_on_scheduler(finished)
    finally:
        client.close()


def bytes_of_array(cache: Path) -> bytes:
    (path,) = cache.glob("*/array.npy")
    return path.read_bytes()


# --- the same as here --------------------------------------------------------------------------------------------

NOTEBOOK = """from sklearn.naive_bayes import GaussianNB
from ser_utils import audio, corpora, evaluation, features, pipeline
work, clips = pipeline.Workspace(corpus, out=out), corpora.load(corpus)
segments = audio.cut_segments(clips, seconds=0.25)
X = features.functionals(clips, segments, n_jobs=1, cache=work.cache, progress=False)
judged = evaluation.cross_validate(GaussianNB(), X, segments, clips, folds=evaluation.folds(clips), system="bayes",
                                   progress=False)
work.save_table(judged, "judged")"""


def test_ser_run_on_a_cluster_gives_the_same_features_and_predictions_as_here(two_workers, tmp_path, monkeypatch):
    monkeypatch.setattr("ser_utils.pipeline.running.ROOT", tmp_path / "checkout")
    (tmp_path / "checkout").mkdir()
    (tmp_path / "corpus").mkdir()
    corpus = write_corpus(tmp_path / "corpus")
    write_notebook(
        tmp_path / "checkout/notebooks", "01_only", "# Only", "corpus = out = None", NOTEBOOK, writes=["judged"]
    )
    there = tmp_path / "there"
    options = ["run", "--corpus", str(corpus), "--out", str(there)]
    assert cli.main([*options, "--scheduler", two_workers]) == 0
    # A part of features; a fold for each of three speakers.
    assert computed_by_workers(two_workers) == 1 + 3
    work = pipeline.Workspace(corpus, there)
    clips = corpora.load(corpus)
    segments = audio.cut_segments(clips, seconds=0.25)
    X = features.functionals(clips, segments, n_jobs=1, cache=tmp_path / "here", progress=False)
    assert bytes_of_array(work.cache) == bytes_of_array(tmp_path / "here")
    bayes, folds = GaussianNB(), evaluation.folds(clips)
    expected = evaluation.cross_validate(bayes, X, segments, clips, folds=folds, system="bayes", progress=False)
    pd.testing.assert_frame_equal(work.table("judged"), expected, check_exact=True)
    # Where something was computed is no part of what it depends on.
    assert cli.main(options) == 0
    assert computed_by_workers(two_workers) == 4


def test_an_array_in_memory_and_a_mapped_one_reach_the_workers_whole(two_workers, tmp_path, monkeypatch):
    monkeypatch.setenv(features.VARIABLE, two_workers)
    values = np.random.default_rng(0).normal(size=(6, 5)).astype("float32")
    np.save(tmp_path / "c.npy", values)
    np.save(tmp_path / "f.npy", np.asfortranarray(values))
    mapped = [np.load(tmp_path / name, mmap_mode="r") for name in ("c.npy", "f.npy")]

    def look(array):
        return type(array).__name__, str(getattr(array, "filename", "")), np.array(array)

    for array in (values, *mapped, mapped[0][:, 2]):
        ((kind, file, seen),) = features.run([look], array)
        np.testing.assert_array_equal(seen, array)
        assert (kind, file) == (("memmap", str(array.filename)) if any(array is m for m in mapped) else ("ndarray", ""))


@pytest.fixture(scope="module")
def encoder_folder(tmp_path_factory):
    return save_encoder(tmp_path_factory.mktemp("encoder"), make_model("wav2vec2"))


@pytest.mark.slow
def test_every_kind_of_features_has_the_same_bytes_from_a_cluster(
    two_workers, encoder_folder, write_tone, tmp_path, monkeypatch
):
    monkeypatch.setattr("ser_utils.features.store._PART_SECONDS", (2.0, 2.0))
    durations = (1.3, 0.3, 0.9, 2.0, 1.1)
    paths = [write_tone(f"{i}.wav", seconds=s, pitch=110 + 25 * i, seed=i) for i, s in enumerate(durations)]
    clips = pd.DataFrame({"clip": list("abcde"), "path": list(map(str, paths)), "duration": durations})
    short, whole = audio.cut_segments(clips, seconds=0.5), audio.cut_segments(clips, seconds=None)
    # A relative path means nothing to a worker in another folder.
    monkeypatch.chdir(encoder_folder.parent)
    encoder = encoders.load(encoder_folder.name, device="cpu", precision="fp32")
    kinds = {
        "frames": lambda cache: features.extract(clips, short, encoder, layers=(1, 3), cache=cache, progress=False),
        "whole": lambda cache: features.extract(clips, whole, encoder, cache=cache, progress=False),
        "cut": lambda cache: features.crop_from_whole(clips, short, encoder, cache=cache, progress=False),
        "mel": lambda cache: features.log_mel(clips, whole, cache=cache, progress=False),
        "functionals": lambda cache: features.functionals(clips, whole, cache=cache, progress=False),
    }
    for name, make in kinds.items():
        monkeypatch.delenv(features.VARIABLE, raising=False)
        make(tmp_path / name / "here")
        monkeypatch.setenv(features.VARIABLE, two_workers)
        before = computed_by_workers(two_workers)
        make(tmp_path / name / "there")
        assert computed_by_workers(two_workers) > before + 1, "several parts"
        assert bytes_of_array(tmp_path / name / "there") == bytes_of_array(tmp_path / name / "here"), name
        (folder,) = (tmp_path / name / "there").glob("*-*/")
        assert sorted(path.name for path in folder.iterdir()) == ["array.npy", "lock"]


@pytest.mark.slow
def test_other_weights_under_the_same_name_are_refused_by_the_workers(two_workers, write_tone, tmp_path, monkeypatch):
    model = make_model("wav2vec2")
    encoder = encoders.load(save_encoder(tmp_path / "encoder", model), device="cpu", precision="fp32")
    with torch.no_grad():
        model.encoder.layers[0].final_layer_norm.bias += 1
    save_encoder(tmp_path / "encoder", model)
    clips = pd.DataFrame({"clip": ["a"], "path": [str(write_tone())], "duration": [1.0]})
    monkeypatch.setenv(features.VARIABLE, two_workers)
    with pytest.raises(SerError, match="has other weights on"):
        features.extract(clips, audio.cut_segments(clips, seconds=0.5), encoder, cache=tmp_path, progress=False)


# --- whoever is lost ---------------------------------------------------------------------------------------------


def parts_of_a_minute(write_tone, count: int):
    """Clips and segments of which each two are a part, when segments are said to last 33 s."""
    paths = [str(write_tone(f"{i}.wav", seconds=0.1, seed=i)) for i in range(2 * count)]
    clips = pd.DataFrame({"clip": [f"{i:02d}" for i in range(2 * count)], "path": paths, "duration": 0.1})
    return clips, audio.cut_segments(clips, seconds=None)


def noted(log: Path, part: int, pause: float, kill: int | None):
    """What a worker does for a part: note that it starts and ends. Who first comes to the fifth part kills a process.

    `kill` is a process number, 0 for the worker itself.
    """
    log, mark = str(log), str(log) + ".killed"

    def note(what: str) -> None:
        with open(log, "a") as file:
            file.write(f"{what} {part}\n")

    note("start")
    if part == 5 and kill is not None and not os.path.exists(mark):
        open(mark, "w").close()
        time.sleep(1)  # what was finished before is fetched meanwhile, even on a busy machine
        os.kill(kill or os.getpid(), signal.SIGKILL)
    time.sleep(pause)
    note("end")


def slow_part(log: Path, pause: float = 0.0, kill: int | None = None):
    def compute(_, own):
        noted(log, int(own.index[0]) // 2, pause, kill)
        return np.random.default_rng(own.index[0]).normal(size=(len(own), 500))

    return compute


def fill(clips, segments, compute, cache):
    return store.stored(
        "test", {}, clips, segments, row_shape=(500,), dtype="float32", samples=np.full(len(segments), 33 * 16_000),
        compute=compute, cache=cache, progress=None,
    )  # fmt: skip


def parts_that(what: str, log: Path) -> list[int]:
    lines = [line.split() for line in log.read_text().splitlines()]
    return sorted(int(part) for event, part in lines if event == what)


@pytest.mark.slow
def test_a_worker_killed_while_it_works_costs_only_the_part_that_it_was_at(tmp_path, write_tone, monkeypatch):
    clips, segments = parts_of_a_minute(write_tone, 12)
    fill(clips, segments, slow_part(tmp_path / "log-here"), tmp_path / "here")
    with started(tmp_path) as (address, workers):
        monkeypatch.setenv(features.VARIABLE, address)
        fill(clips, segments, slow_part(tmp_path / "log", 0.2, kill=0), tmp_path / "there")
        assert sorted(worker.poll() or 0 for worker in workers) == [-signal.SIGKILL, 0]
    assert parts_that("end", tmp_path / "log") == list(range(12))
    assert parts_that("start", tmp_path / "log") == sorted([*range(12), 5])
    assert bytes_of_array(tmp_path / "there") == bytes_of_array(tmp_path / "here")


def slow_classifier(log: Path, pause: float = 0.0, kill: int | None = None):
    class Slow(DummyClassifier):
        def fit(self, X, y):  # noqa: N803
            noted(log, 66 - int(X.sum()), pause, kill)
            return super().fit(X, y)

    return Slow(strategy="prior")


@pytest.mark.slow
def test_a_cross_validation_survives_a_killed_worker_and_trains_nothing_twice(tmp_path, monkeypatch):
    clips = corpora.load(write_corpus(tmp_path))
    clips = pd.concat(
        [clips.assign(clip=f"{i}_" + clips["clip"], speaker=f"{i}_" + clips["speaker"]) for i in range(4)]
    )
    clips = clips.reset_index(drop=True)
    segments = audio.cut_segments(clips, seconds=None)
    # What a fold is trained on sums to 66 less its own number: a classifier can tell which fold it is in.
    folds = evaluation.folds(clips)
    X = np.zeros((len(clips), 1), "float32")
    X[np.unique(clips["clip"].map(folds), return_index=True)[1], 0] = np.arange(12)
    judge = dict(segments=segments, clips=clips, folds=folds, system="slow", progress=False)
    expected = evaluation.cross_validate(slow_classifier(tmp_path / "log-here"), X, **judge)
    with started(tmp_path) as (address, workers):
        monkeypatch.setenv(features.VARIABLE, address)
        table = evaluation.cross_validate(slow_classifier(tmp_path / "log", 0.2, kill=0), X, **judge)
        assert sorted(worker.poll() or 0 for worker in workers) == [-signal.SIGKILL, 0]
    assert parts_that("end", tmp_path / "log") == list(range(12))
    assert parts_that("start", tmp_path / "log") == sorted([*range(12), 5])
    pd.testing.assert_frame_equal(table, expected, check_exact=True)


@pytest.mark.slow
def test_a_run_killed_on_a_cluster_goes_on_with_the_parts_that_workers_had_finished(tmp_path, write_tone, monkeypatch):
    clips, segments = parts_of_a_minute(write_tone, 12)
    fill(clips, segments, slow_part(tmp_path / "log-here"), tmp_path / "here")
    log, cache = tmp_path / "log", tmp_path / "there"
    with started(tmp_path) as (address, _):
        monkeypatch.setenv(features.VARIABLE, address)
        run = subprocess.Popen(
            [sys.executable, "-c", "import os, pickle, sys; pickle.load(sys.stdin.buffer)(os.getpid())"],
            stdin=subprocess.PIPE,
        )

        def whole_run(process):
            fill(clips, segments, slow_part(log, 0.5, kill=process), cache)

        run.communicate(cloudpickle.dumps(whole_run))
        assert run.returncode == -signal.SIGKILL
        client = features.connect(address)
        while any(client.processing().values()):
            time.sleep(0.1)
        client.close()
        finished = parts_that("end", log)
        assert set(range(4)) <= set(finished) < set(range(12))
        fill(clips, segments, slow_part(log), cache)
    assert parts_that("end", log) == list(range(12)), "none was computed twice"
    assert bytes_of_array(cache) == bytes_of_array(tmp_path / "here")


@pytest.mark.slow
def test_a_scheduler_that_goes_away_is_one_line_and_what_is_done_is_kept(tmp_path, write_tone, monkeypatch):
    clips, segments = parts_of_a_minute(write_tone, 12)
    fill(clips, segments, slow_part(tmp_path / "log-here"), tmp_path / "here")
    log, cache = tmp_path / "log", tmp_path / "there"
    (tmp_path / "first").mkdir(), (tmp_path / "second").mkdir()
    with started(tmp_path / "first") as (address, _):
        monkeypatch.setenv(features.VARIABLE, address)
        client = features.connect(address)
        scheduler = client.run_on_scheduler(os.getpid)
        client.close()
        with pytest.raises(SerError, match=f"the scheduler at {address} is gone"):
            fill(clips, segments, slow_part(log, 0.5, kill=scheduler), cache)
        monkeypatch.setattr("ser_utils.features.cluster.TIMEOUT", 0.1)  # for the end of `started`
    assert set(range(4)) <= set(parts_that("end", log)) < set(range(12))
    with started(tmp_path / "second") as (address, _):
        monkeypatch.setenv(features.VARIABLE, address)
        monkeypatch.setattr("ser_utils.features.cluster.TIMEOUT", 60)
        fill(clips, segments, slow_part(log), cache)
    assert parts_that("end", log) == list(range(12)), "none was computed twice"
    assert bytes_of_array(cache) == bytes_of_array(tmp_path / "here")


@pytest.mark.slow
def test_a_single_worker_does_the_work_and_a_job_that_kills_it_is_one_line(tmp_path, monkeypatch):
    monkeypatch.setenv("DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES", "0")  # else it takes four workers

    def die():
        os.kill(os.getpid(), signal.SIGKILL)

    with started(tmp_path, workers=1) as (address, (worker,)):
        monkeypatch.setenv(features.VARIABLE, address)
        assert list(features.run([os.getpid, os.getpid])) == [worker.pid, worker.pid]
        with pytest.raises(SerError, match="lost with 1 workers"):
            list(features.run([die]))


# --- what cannot be used -----------------------------------------------------------------------------------------


def test_no_scheduler_and_no_dask_are_one_line_each_before_anything_is_written(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("ser_utils.features.cluster.TIMEOUT", 0.3)
    options = ["run", "--corpus", write_corpus(tmp_path), "--out", tmp_path / "out", "--scheduler"]
    for address in ("tcp://127.0.0.1:9", "127.0.0.1", "tcp://nobody.invalid:8786", "http://127.0.0.1:9", "tcp://:x"):
        assert f"no Dask scheduler answers at {address}" in refused(capsys, *options, address)
    monkeypatch.setitem(sys.modules, "distributed", None)
    assert "pip install dask distributed" in refused(capsys, *options, address)
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_a_scheduler_without_workers_is_one_line(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("ser_utils.features.cluster.TIMEOUT", 2)
    with started(tmp_path, workers=0) as (address, _):
        said = refused(capsys, "run", "--corpus", write_corpus(tmp_path), "--out", tmp_path, "--scheduler", address)
    assert f"{address} has no workers: start some with `dask worker {address}" in said


def test_a_worker_with_other_code_computes_nothing(two_workers, monkeypatch):
    monkeypatch.setenv(features.VARIABLE, two_workers)
    monkeypatch.setattr("ser_utils.features.cluster.code_hash", lambda: "other sources")
    with pytest.raises(SerError, match="is not the code of this run"):
        list(features.run([os.getpid]))
