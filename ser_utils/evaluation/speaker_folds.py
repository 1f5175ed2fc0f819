"""Speaker-disjoint folds: who is tested when, and a check that nobody is on both sides."""

from __future__ import annotations

import warnings
from collections.abc import Iterable

import numpy as np
import pandas as pd

from ser_utils import SerError

_SEARCHES = 500  # assignments of speakers to folds that are tried before giving up


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
            f"clip '{split[0]}' is split over folds {listed(folds[split[0]].unique())} ({len(split)} such clips): "
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
                f"speaker '{shared.index[0]}' is in folds {listed(shared.iloc[0])} ({len(shared)} speakers are shared): "
                "a speaker must not be on both sides; use evaluation.folds"
            )
    corpus = set(clips["emotion"])
    for number in np.unique(fold):
        train = training_rows(fold, number, clips, text_disjoint)
        lacking = corpus - set(clips["emotion"].to_numpy()[train])
        if lacking:
            tested = listed(clips["speaker"].to_numpy()[fold == number])
            raise SerError(
                f"fold {number} (tests {tested}) has no {listed(lacking)} in training: "
                "drop the emotion, or use fewer or other folds"
            )


def listed(values: Iterable, shown: int = 4) -> str:
    """Join names for a message: the first few, and how many more there are."""
    names = sorted(map(str, set(values)))
    return ", ".join(names[:shown]) + (f" and {len(names) - shown} more" if len(names) > shown else "")


def training_rows(fold: np.ndarray, number: int, clips: pd.DataFrame, text_disjoint: bool) -> np.ndarray:
    """Rows that a fold may be trained on; `clips` has one row for each entry of `fold`."""
    test = fold == number
    if not text_disjoint:
        return ~test
    shared = clips["speaker"].isin(clips["speaker"][test]) | clips["text"].isin(clips["text"][test])
    return ~shared.to_numpy()
