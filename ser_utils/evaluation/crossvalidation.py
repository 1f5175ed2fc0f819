"""The loop that trains on some speakers and predicts the others."""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from ser_utils import SerError, emotions_among, features, listed
from ser_utils.evaluation.predictions import validate
from ser_utils.evaluation.speaker_folds import check_folds, training_rows

if TYPE_CHECKING:
    from sklearn.base import BaseEstimator


def cross_validate(
    estimator: BaseEstimator,
    X: np.ndarray,  # noqa: N803 - scikit-learn's name
    segments: pd.DataFrame,
    clips: pd.DataFrame,
    *,
    folds: pd.Series | np.ndarray,
    system: str,
    seeds: Sequence[int] = (0,),
    n_jobs: int = 1,
    progress: bool = True,
    text_disjoint: bool = False,
    allow_leaks: bool = False,
) -> pd.DataFrame:
    """Train on the other folds and predict this one: out-of-fold predictions of every segment.

    Jobs (seeds × folds) run with one thread each, in processes of joblib or on the cluster where one is named; the
    table does not depend on where.

    Parameters
    ----------
    estimator : scikit-learn classifier
        Cloned for every job. Parameters called `random_state` (nested ones too) are set to the seed; `fit` receives the
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

    Returns
    -------
    DataFrame
        Predictions at segment level, ordered by seed, then as `segments`. A class that the training part of a fold
        lacks (only with `allow_leaks`) has probability 0 there.

    Raises
    ------
    SerError
        If rows do not match, a segment's clip is not in `clips`, or the folds leak (see `check_folds`).
    """
    from sklearn.base import clone
    from tqdm.auto import tqdm

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
    takes_groups = "groups" in inspect.signature(estimator.fit).parameters

    jobs = []
    for run, number in itertools.product(range(len(seeds)), np.unique(fold)):
        train = np.flatnonzero(training_rows(fold, number, rows, text_disjoint))
        test = np.flatnonzero(fold == number)
        seeded = clone(estimator)
        random = [name for name in seeded.get_params() if name.split("__")[-1] == "random_state"]
        seeded.set_params(**dict.fromkeys(random, seeds[run]))
        groups = speaker[train] if takes_groups else None
        jobs.append(partial(_judge, run=run, train=train, test=test, estimator=seeded, y=emotion[train], groups=groups))

    finished = features.run(jobs, X, n_jobs=min(n_jobs, len(jobs)) if n_jobs > 0 else n_jobs)
    values = np.zeros((len(seeds), len(segments), len(names)))
    for run, test, judged in tqdm(finished, total=len(jobs), desc=system, unit="fold", disable=not progress):
        values[run, test] = judged.reindex(columns=names, fill_value=0.0)
    base = pd.DataFrame({
        "fold": fold.astype(np.int64), "clip": rows["clip"].to_numpy(), "speaker": speaker, "emotion": emotion,
        "start": segments["start"].to_numpy(dtype=float), "end": segments["end"].to_numpy(dtype=float),
    })  # fmt: skip
    result = pd.concat([base.assign(seed=int(seed), system=system) for seed in seeds], ignore_index=True)
    result[names] = values.reshape(-1, len(names))
    return validate(result[["system", "seed", "fold", "clip", "start", "end", "speaker", "emotion", *names]])


def _segment_clips(segments: pd.DataFrame, clips: pd.DataFrame) -> pd.DataFrame:
    """One row of `clips` for each segment."""
    if clips["clip"].duplicated().any():
        twice = clips.loc[clips["clip"].duplicated(), "clip"].iloc[0]
        raise SerError(f"clip '{twice}' is in the clips table more than once: keep one row of each")
    strangers = ~segments["clip"].isin(clips["clip"])
    if strangers.any():
        raise SerError(f"segments at index {listed(segments.index[strangers])}: the clip is not in the clips table")
    return clips.set_index("clip", drop=False).loc[segments["clip"]].reset_index(drop=True)


def _judge(X, *, run, train, test, estimator, y, groups):
    """Train on some rows and predict others: the number of the run, the rows predicted, and their probabilities."""
    with features.one_thread():
        estimator.fit(X[train], y, **({} if groups is None else {"groups": groups}))
        judged = pd.DataFrame(estimator.predict_proba(X[test]), columns=estimator.classes_)
    features.give_back_memory()  # or each process keeps the largest of its trainings
    return run, test, judged
