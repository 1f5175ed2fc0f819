"""Speaker-disjoint folds, and the loop that trains on some speakers and judges the others."""

import inspect
import itertools
import math
import time
import warnings
from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd

from ser_utils import EMOTIONS, SerError, cluster, store
from ser_utils.predictions import name_rows, validate

_SEARCHES = 500  # assignments of speakers to folds that are tried before giving up

#: Seconds of work left below which `cross_validate` stays in this process: new ones first import torch and
#: scikit-learn, which takes about as long as two of them then save. They are kept for the cross-validations after
#: this one, and a notebook seldom has only one.
WORTH_PROCESSES = 5.0

#: When processes last finished work, by `time.monotonic`. joblib keeps them for five minutes without work; while they
#: are there, nothing is to be saved by staying out of them.
_processes_used = -math.inf
_KEPT = 240.0


def folds(
    clips: pd.DataFrame,
    *,
    max_leave_one_out: int = 12,
    n_splits: int = 5,
    text_disjoint: bool = False,
    text_splits: int = 5,
    seed: int = 0,
) -> pd.Series:
    """Assign every clip to the fold in which it is tested.

    Each speaker is left out in turn while there are at most `max_leave_one_out` of them; with more,
    speakers are dealt to `n_splits` folds with similar shares of each emotion (scikit-learn's
    `StratifiedGroupKFold`), again with another seed until every training part has every emotion. A *test*
    part may lack an emotion.

    Parameters
    ----------
    clips : DataFrame
        A clips table.
    text_disjoint : bool
        Also keep sentences apart. Speakers' folds are crossed with `text_splits` groups of sentences; a
        fold is one cell: some speakers saying some sentences. Its training part shares neither, so clips of
        its speakers *or* of its sentences are left out of training: pass `text_disjoint=True` to
        `cross_validate` as well. Training parts get smaller: compare with speaker-disjoint folds knowing
        that. With EMO-DB's ten sentences and ten speakers, 5 text groups make 50 folds that train on 72 %
        of the clips.
    text_splits : int
        Groups of sentences; every sentence by itself where there are no more than that.

    Returns
    -------
    Series of int
        Fold of each clip, index `clip`.

    Raises
    ------
    SerError
        If there is one speaker only, if the training part of a fold lacks an emotion, or if a text is
        missing.
    """
    _need_two_speakers(clips)
    speakers = _speaker_folds(clips, max_leave_one_out, n_splits, seed)
    result = pd.Series(speakers, index=pd.Index(clips["clip"], name="clip"), name="fold", dtype="int64")
    if text_disjoint:
        texts = _text_groups(clips, text_splits)
        cells = speakers * (texts.max() + 1) + texts
        result[:] = np.unique(cells, return_inverse=True)[1]
    check_folds(result, clips, text_disjoint=text_disjoint)
    return result


def _need_two_speakers(clips: pd.DataFrame) -> None:
    speakers = clips["speaker"].unique()
    if len(speakers) < 2:
        raise SerError(
            f"{len(clips)} clips of {len(speakers)} speaker ({', '.join(map(str, speakers))}): evaluation leaves speakers out, "
            "so at least two are needed; check the speaker column"
        )
    spoken_by = clips.groupby("emotion")["speaker"].nunique()
    for emotion in spoken_by.index[spoken_by < 2]:
        speaker = clips.loc[clips["emotion"] == emotion, "speaker"].iloc[0]
        raise SerError(
            f"emotion '{emotion}' comes from one speaker only ('{speaker}'): the fold that tests '{speaker}' has no '{emotion}' "
            "in training; drop the emotion or add speakers"
        )


def _speaker_folds(clips: pd.DataFrame, max_leave_one_out: int, n_splits: int, seed: int) -> np.ndarray:
    speaker, names = pd.factorize(clips["speaker"], sort=True)
    if len(names) <= max_leave_one_out:
        return speaker
    from sklearn.model_selection import StratifiedGroupKFold

    emotions = clips["emotion"].to_numpy()
    # Which emotions each speaker has: a training part is complete if its speakers have all between them.
    has = pd.crosstab(speaker, emotions).to_numpy() > 0
    n_splits = min(n_splits, len(names), clips["emotion"].value_counts().max())
    for attempt in range(_SEARCHES):
        splitter = StratifiedGroupKFold(n_splits, shuffle=True, random_state=seed + attempt)
        fold = np.empty(len(clips), dtype=np.int64)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "The least populated class")  # test parts may lack an emotion
            for number, (_, test) in enumerate(splitter.split(emotions, emotions, groups=speaker)):
                fold[test] = number
        of_speaker = np.empty(len(names), dtype=np.int64)
        of_speaker[speaker] = fold
        if all(has[of_speaker != number].any(0).all() for number in np.unique(fold)):
            return fold
    return fold  # check_folds names the fold and the emotion


def _text_groups(clips: pd.DataFrame, n_groups: int) -> np.ndarray:
    if clips["text"].isna().any():
        raise SerError(
            f"text-disjoint folds need the text of every clip, and {clips['text'].isna().sum()} of {len(clips)} have none: "
            "fill in the text column or use folds without text_disjoint"
        )
    sizes = clips["text"].value_counts()
    if len(sizes) < 2:
        raise SerError(
            "text-disjoint folds need at least two texts, and all clips have the same one: leave text_disjoint out"
        )
    # Largest first into the emptiest group: groups of nearly equal size.
    load = np.zeros(min(n_groups, len(sizes)))
    group_of = {}
    for text in sorted(sizes.index, key=lambda text: (-sizes[text], text)):
        group_of[text] = int(load.argmin())
        load[group_of[text]] += sizes[text]
    return clips["text"].map(group_of).to_numpy()


def check_folds(folds: pd.Series, clips: pd.DataFrame, *, text_disjoint: bool = False) -> None:
    """Refuse folds that leak.

    Raises
    ------
    SerError
        If a clip has no fold or more than one, if a speaker (with `text_disjoint`: a training clip of the
        same speaker or sentence, which can then only happen through a missing text) is in two folds, or if
        a fold's training part lacks an emotion of the corpus. The message names clip, speaker, fold or
        emotion.
    """
    split = folds.groupby(level=0).nunique()
    split = split.index[split > 1]
    if len(split):
        raise SerError(
            f"clip '{split[0]}' is split over folds {_listed(folds[split[0]].unique())} ({len(split)} such clips): "
            "keep all pieces of a clip in one fold"
        )
    missing = clips.loc[~clips["clip"].isin(folds.index), "clip"]
    if len(missing):
        raise SerError(
            f"{len(missing)} clips have no fold, '{missing.iloc[0]}' among them: make the folds from the same clips table"
        )
    fold = clips["clip"].map(folds[~folds.index.duplicated()]).to_numpy()
    if not text_disjoint:
        by_speaker = pd.Series(fold).groupby(clips["speaker"].to_numpy()).unique()
        shared = by_speaker[by_speaker.map(len) > 1]
        if len(shared):
            raise SerError(
                f"speaker '{shared.index[0]}' is in folds {_listed(shared.iloc[0])} ({len(shared)} speakers are shared): "
                "a speaker must not be on both sides; use evaluation.folds"
            )
    corpus = set(clips["emotion"])
    for number in np.unique(fold):
        train = _training_rows(fold, number, clips, text_disjoint)
        lacking = corpus - set(clips["emotion"].to_numpy()[train])
        if lacking:
            tested = _listed(clips["speaker"].to_numpy()[fold == number])
            raise SerError(
                f"fold {number} (tests {tested}) has no {_listed(lacking)} in training: "
                "drop the emotion, or use fewer or other folds"
            )


def _listed(values, shown: int = 4) -> str:
    values = sorted(map(str, set(values)))
    return ", ".join(values[:shown]) + (f" and {len(values) - shown} more" if len(values) > shown else "")


def _training_rows(fold: np.ndarray, number: int, clips: pd.DataFrame, text_disjoint: bool) -> np.ndarray:
    """Rows that a fold may be trained on; `clips` has one row for each entry of `fold`."""
    test = fold == number
    if not text_disjoint:
        return ~test
    shared = clips["speaker"].isin(clips["speaker"][test]) | clips["text"].isin(clips["text"][test])
    return ~shared.to_numpy()


# ----------------------------------------------------------------------------------------- cross-validation


def cross_validate(
    estimator,
    X,
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
    """Train on the other folds, judge this one: out-of-fold predictions of every segment.

    Jobs (seeds × folds) run with one thread each, so the table does not depend on `n_jobs`. With `n_jobs` above
    one they run in joblib's processes, unless these are not running yet and starting them would take longer than
    the jobs; on the cluster where one is named (see `cluster`).

    Parameters
    ----------
    estimator : scikit-learn classifier
        Cloned for every job. Parameters called `random_state` (nested ones too) are set to the seed; the
        speakers of the training rows are passed as `groups` when `fit` has such an argument.
    X : array, shape=(segments, ...)
        Row i belongs to row i of `segments`. A `numpy.memmap` is opened by each process, not copied to it.
    folds : Series or int array
        Fold of each clip, from `folds`; with `allow_leaks` also an array with the fold of each *segment*.
    system : str
        Name written into the table.
    seeds : sequence of int
        One run each. An estimator without randomness needs one, the default.
    text_disjoint : bool
        The folds were made with `text_disjoint=True`: train on clips that share neither speaker nor text
        with the tested ones.
    allow_leaks : bool
        Skip `check_folds`. Only for showing what such a mistake does (notebook 08).

    Returns
    -------
    DataFrame
        Predictions at segment level, ordered by seed, then as `segments`: `system, seed, fold, clip, start,
        end, speaker, emotion` and one probability column for each emotion of the corpus. A class that a
        fold's training part lacked (only with `allow_leaks`) has probability 0 there.

    Raises
    ------
    SerError
        If rows do not match, a segment's clip is not in `clips`, or the folds leak (see `check_folds`).
    """
    from joblib import delayed
    from sklearn.base import clone
    from tqdm.auto import tqdm

    if len(X) != len(segments):
        raise SerError(
            f"{len(X)} rows of features for {len(segments)} segments: extract the features from these very segments"
        )
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
        raise SerError(f"segments, {name_rows(segments.index[pd.isna(fold)])}: the clip has no fold")
    names = [emotion for emotion in EMOTIONS if emotion in set(clips["emotion"])]
    emotion, speaker = rows["emotion"].to_numpy(dtype=object), rows["speaker"].to_numpy(dtype=object)
    takes_groups = "groups" in inspect.signature(estimator.fit).parameters

    jobs = []
    for seed, number in itertools.product(seeds, np.unique(fold)):
        train = np.flatnonzero(_training_rows(fold, number, rows, text_disjoint))
        test = np.flatnonzero(fold == number)
        seeded = clone(estimator)
        seeded.set_params(**{name: seed for name in seeded.get_params() if name.split("__")[-1] == "random_state"})
        jobs.append((seed, number, seeded, train, test))

    shared = cluster.share(X) if cluster.named() else X
    calls = [delayed(_run_job)(shared, emotion, speaker if takes_groups else None, names, *job) for job in jobs]
    finished = _results(calls, n_jobs)
    probabilities = dict(tqdm(finished, total=len(jobs), desc=system, unit="fold", disable=not progress))

    base = pd.DataFrame({
        "fold": fold.astype(np.int64), "clip": rows["clip"].to_numpy(), "start": segments["start"].to_numpy(dtype=float),
        "end": segments["end"].to_numpy(dtype=float), "speaker": speaker, "emotion": emotion,
    })  # fmt: skip
    tables = []
    for seed in seeds:
        table = np.zeros((len(base), len(names)))
        for job_seed, number, _, _, test in jobs:
            if job_seed == seed:
                table[test] = probabilities[seed, number]
        tables.append(pd.concat([base, pd.DataFrame(table, columns=names)], axis=1).assign(seed=int(seed)))
    result = pd.concat(tables, ignore_index=True).assign(system=system)
    return validate(result[["system", "seed", "fold", "clip", "start", "end", "speaker", "emotion", *names]])


def _results(calls: list[tuple], n_jobs: int) -> Iterator:
    """Run calls of `joblib.delayed` here while little work is left, the others in processes; in any order."""
    import joblib

    global _processes_used
    if cluster.named():
        yield from (result for _, result in cluster.run((function, *arguments) for function, arguments, _ in calls))
        return
    running = time.monotonic() - _processes_used < _KEPT
    shortest = math.inf
    for i, (function, arguments, options) in enumerate(calls):
        # The first call may import much, so a second one is timed unless the first took long anyway.
        timed = i > 1 or (i == 1 and shortest > WORTH_PROCESSES / 4)
        if n_jobs != 1 and (running or (timed and shortest * (len(calls) - i) > WORTH_PROCESSES)):
            yield from joblib.Parallel(n_jobs=n_jobs, backend="loky", return_as="generator_unordered")(calls[i:])
            _processes_used = time.monotonic()
            return
        started = time.perf_counter()
        yield function(*arguments, **options)
        shortest = min(shortest, time.perf_counter() - started)


def _segment_clips(segments: pd.DataFrame, clips: pd.DataFrame) -> pd.DataFrame:
    """One row of `clips` for each segment."""
    if clips["clip"].duplicated().any():
        twice = clips.loc[clips["clip"].duplicated(), "clip"].iloc[0]
        raise SerError(f"clip '{twice}' is in the clips table more than once: keep one row of each")
    strangers = ~segments["clip"].isin(clips["clip"])
    if strangers.any():
        raise SerError(f"segments, {name_rows(segments.index[strangers])}: the clip is not in the clips table")
    return clips.set_index("clip", drop=False).loc[segments["clip"]].reset_index(drop=True)


def _run_job(X, y, groups, names, seed, number, estimator, train, test):
    """Train on some rows, judge others: `(seed, fold), probabilities`."""
    with cluster.one_thread():
        estimator.fit(X[train], y[train], **({} if groups is None else {"groups": groups[train]}))
        judged = estimator.predict_proba(X[test])
    store.give_back_memory()  # or each process keeps the largest of its trainings
    probabilities = np.zeros((len(test), len(names)))
    probabilities[:, [names.index(name) for name in estimator.classes_]] = judged
    return (seed, number), probabilities
