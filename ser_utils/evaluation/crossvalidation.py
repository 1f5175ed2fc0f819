"""The loop that trains on some speakers and predicts the others."""

import inspect
import itertools
from collections.abc import Sequence
from functools import partial
from importlib import metadata
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, clone
from tqdm.auto import tqdm

from ser_utils import SerError, emotions_among, features, listed, replacing
from ser_utils.evaluation.predictions import validate
from ser_utils.evaluation.speaker_folds import check_folds, training_rows

# Packages whose other versions may predict something else.
_COMPUTE = ("numpy", "scikit-learn", "torch")


def cross_validate(
    estimator: BaseEstimator, X: np.ndarray, segments: pd.DataFrame, clips: pd.DataFrame, *,
    folds: pd.Series | np.ndarray, system: str, seeds: Sequence[int] = (0,), n_jobs: int = 1, progress: bool = True,
    text_disjoint: bool = False, allow_leaks: bool = False, cache: str | Path | None = None, soft: bool = False,
) -> pd.DataFrame:  # fmt: skip
    """Train on the other folds and predict this one: out-of-fold predictions of every segment.

    Jobs (seeds × folds) run with one thread each, in processes of joblib or on the cluster where one is named; the
    table does not depend on where.

    Parameters
    ----------
    estimator : scikit-learn classifier
        Cloned for every job, its parameters `random_state` (nested ones too) set to the seed; `fit` receives the
        speakers of the training rows if it has an argument `groups`.
    X : array, shape=(segments, ...)
        Row i belongs to row i of `segments`. Processes open a `numpy.memmap` instead of copying it.
    folds : Series or int array
        Fold of each clip, from `folds`; with `allow_leaks` also an array with the fold of each *segment*.
    system, seeds : str, sequence of int
        Name in the table; one run per seed.
    text_disjoint : bool
        As given to `folds`: train on clips that share neither speaker nor text with the tested ones.
    allow_leaks : bool
        Skip `check_folds`, to show what such a mistake does (notebook 08).
    cache : path, optional
        Folder of what each job predicted, under a hash of all that it depends on: what was trained before is read.
    soft : bool
        Train on the raters' votes (`votes_<emotion>` of `clips`), which `fit` receives as `soft`.

    Returns
    -------
    DataFrame
        Predictions at segment level with the raters' votes of `clips`, ordered by seed, then as `segments`. A class
        that the training part of a fold lacks (only with `allow_leaks`) has probability 0 there.

    Raises
    ------
    SerError
        If rows do not match, a segment's clip is not in `clips`, the folds leak (see `check_folds`), or votes are
        wanted that `clips` does not hold or the estimator does not take.
    """
    if len(X) != len(segments):
        raise SerError(f"{len(X)} rows of features for {len(segments)} segments: extract features from these segments")
    rows = _segment_clips(segments, clips)
    if isinstance(folds, pd.Series):
        if not allow_leaks:
            check_folds(folds, clips, text_disjoint=text_disjoint)
        fold = rows["clip"].map(folds).to_numpy()
    elif allow_leaks and len(folds) == len(segments):
        fold = np.asarray(folds)
    else:
        raise SerError("folds must be a Series of fold by clip, as evaluation.folds returns it")
    if pd.isna(fold).any():
        raise SerError(f"segments at index {listed(segments.index[pd.isna(fold)])}: the clip has no fold")
    names = emotions_among(clips["emotion"])
    emotion, speaker = rows["emotion"].to_numpy(dtype=object), rows["speaker"].to_numpy(dtype=object)
    takes = inspect.signature(estimator.fit).parameters
    votes = [name for name in rows if name.startswith("votes_")]
    extra = {"groups": speaker} if "groups" in takes else {}
    if soft:
        if not votes or "soft" not in takes:
            lacking = "the clips table has no votes_<emotion>" if not votes else f"{type(estimator).__name__} takes no votes"
            raise SerError(f"soft=True trains on the raters' votes, but {lacking}: leave it out")
        extra["soft"] = rows[votes].rename(columns=lambda name: name.removeprefix("votes_"))

    versions = [metadata.version(name) for name in _COMPUTE]
    content = None if cache is None else (joblib.hash(X, coerce_mmap=True), features.code_hash(), versions)
    jobs = []
    for seed, number in itertools.product(seeds, np.unique(fold)):
        train = np.flatnonzero(training_rows(fold, number, rows, text_disjoint))
        test = np.flatnonzero(fold == number)
        seeded = clone(estimator)
        seeded.set_params(**{name: seed for name in seeded.get_params() if name.split("__")[-1] == "random_state"})
        own = {name: values.take(train) for name, values in extra.items()}
        depends = content, seeded, train, test, emotion[train], own, names
        file = None if cache is None else Path(cache) / f"{joblib.hash(depends)}.npy"
        jobs.append((seed, number, seeded, train, test, file))

    constant = {"y": emotion, "extra": extra, "names": names}
    probabilities = {job[:2]: np.load(job[-1]) for job in jobs if job[-1] is not None and job[-1].is_file()}
    missing = [partial(_run_job, job=job, **constant) for job in jobs if job[:2] not in probabilities]
    finished = features.run(missing, X, n_jobs=min(n_jobs, max(len(missing), 1)))
    options = {"total": len(jobs), "initial": len(probabilities), "desc": system, "unit": "fold", "disable": not progress}
    probabilities |= tqdm(finished, **options)

    base = pd.DataFrame({
        "fold": fold.astype(np.int64), "clip": rows["clip"].to_numpy(), "start": segments["start"].to_numpy(dtype=float),
        "end": segments["end"].to_numpy(dtype=float), "speaker": speaker, "emotion": emotion, **rows[votes],
    })  # fmt: skip
    values = np.zeros((len(seeds), len(base), len(names)))
    for seed, number, _, _, test, _ in jobs:
        values[list(seeds).index(seed), test] = probabilities[seed, number]
    result = pd.concat([base.assign(seed=int(seed), system=system) for seed in seeds], ignore_index=True)
    result[names] = values.reshape(-1, len(names))
    return validate(result[["system", "seed", "fold", "clip", "start", "end", "speaker", "emotion", *names, *votes]])


def _segment_clips(segments: pd.DataFrame, clips: pd.DataFrame) -> pd.DataFrame:
    if clips["clip"].duplicated().any():
        twice = clips.loc[clips["clip"].duplicated(), "clip"].iloc[0]
        raise SerError(f"clip '{twice}' is in the clips table more than once: keep one row of each")
    strangers = ~segments["clip"].isin(clips["clip"])
    if strangers.any():
        raise SerError(f"segments at index {listed(segments.index[strangers])}: the clip is not in the clips table")
    return clips.set_index("clip", drop=False).loc[segments["clip"]].reset_index(drop=True)


def _run_job(X, *, y, extra, names, job):
    """Train on some rows and predict others, and keep what was predicted: `(seed, fold), probabilities`."""
    seed, number, estimator, train, test, file = job
    with features.one_thread():
        estimator.fit(X[train], y[train], **{name: values.take(train) for name, values in extra.items()})
        judged = estimator.predict_proba(X[test])
    features.give_back_memory()  # or each process keeps the largest of its trainings
    probabilities = np.zeros((len(test), len(names)))
    probabilities[:, [names.index(name) for name in estimator.classes_]] = judged
    if file is not None:
        with replacing(file) as temporary:
            np.save(temporary, probabilities)
    return (seed, number), probabilities
