"""Speaker-disjoint folds: who is tested when, and a check that nobody is on both sides."""

import warnings
from collections.abc import Iterable

import numpy as np
import pandas as pd
from sklearn.model_selection import StratifiedGroupKFold

from ser_utils import SerError, listed

_LEAVE_ONE_OUT = 12  # speakers up to whom each has a fold of their own
_SPLITS = 5  # folds of more speakers, and groups of sentences
_SEARCHES = 500  # assignments of speakers to folds that are tried before giving up


def folds(clips: pd.DataFrame, *, text_disjoint: bool = False, seed: int = 0) -> pd.Series:
    """Assign every clip to the fold in which it is tested.

    Each speaker is left out in turn while there are at most 12 of them; more are assigned to 5 folds with similar
    shares of each emotion (`StratifiedGroupKFold`), again with another seed until every training part has every
    emotion. A *test* part may lack an emotion.

    Parameters
    ----------
    clips : DataFrame
        A clips table.
    text_disjoint : bool
        Also keep sentences apart: speakers' folds are crossed with up to 5 groups of sentences, and such a cell is
        tested by what was trained on neither its speakers nor its sentences (pass it to `cross_validate`, too).
        Training parts get smaller: on EMO-DB, 50 folds train on 72 % of the clips.

    Returns
    -------
    Series of int
        Fold of each clip, index `clip`.

    Raises
    ------
    SerError
        If there is one speaker only, the training part of a fold lacks an emotion, or a text is missing.
    """
    _need_two_speakers(clips)
    speakers = _speaker_folds(clips, seed)
    if text_disjoint:
        texts = _text_groups(clips)
        speakers = np.unique(speakers * (texts.max() + 1) + texts, return_inverse=True)[1]
    result = pd.Series(speakers, index=pd.Index(clips["clip"], name="clip"), name="fold", dtype="int64")
    check_folds(result, clips, text_disjoint=text_disjoint)
    return result


def _need_two_speakers(clips: pd.DataFrame) -> None:
    speakers = clips["speaker"].unique()
    if len(speakers) < 2:
        raise SerError(
            f"{len(clips)} clips of {len(speakers)} speaker ({named(speakers)}): evaluation leaves speakers out, "
            "so at least two are needed; check the speaker column"
        )
    for emotion, own in clips.groupby("emotion")["speaker"]:
        if own.nunique() < 2:
            raise SerError(
                f"emotion '{emotion}' comes from one speaker only ('{own.iloc[0]}'): the fold that tests this speaker "
                "has none in training; drop the emotion or add speakers"
            )


def _speaker_folds(clips: pd.DataFrame, seed: int) -> np.ndarray:
    speaker, names = pd.factorize(clips["speaker"], sort=True)
    if len(names) <= _LEAVE_ONE_OUT:
        return speaker
    emotions = clips["emotion"].to_numpy()
    n_splits = min(_SPLITS, clips["emotion"].value_counts().max())
    for attempt in range(_SEARCHES):
        splitter = StratifiedGroupKFold(n_splits, shuffle=True, random_state=seed + attempt)
        fold = np.empty(len(clips), dtype=np.int64)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "The least populated class")  # test parts may lack an emotion
            for number, (_, test) in enumerate(splitter.split(emotions, emotions, groups=speaker)):
                fold[test] = number
        tested = pd.crosstab(fold, emotions)
        if (tested < tested.sum()).all(axis=None):  # no fold tests all clips of an emotion
            return fold
    return fold  # check_folds names the fold and the emotion


def _text_groups(clips: pd.DataFrame) -> np.ndarray:
    lacking = clips["text"].isna().sum()
    if lacking:
        advice = "fill in the column or use folds without text_disjoint"
        raise SerError(f"text-disjoint folds need every clip's text, and {lacking} of {len(clips)} have none: {advice}")
    sizes = clips["text"].value_counts()
    if len(sizes) < 2:
        raise SerError("text-disjoint folds need at least two texts, and all clips have one: leave text_disjoint out")
    # Largest first into the emptiest group: groups of nearly equal size.
    load = np.zeros(min(_SPLITS, len(sizes)))
    group_of = {}
    for text in sorted(sizes.index, key=lambda text: (-sizes[text], text)):
        group_of[text] = int(load.argmin())
        load[group_of[text]] += sizes[text]
    return clips["text"].map(group_of).to_numpy()


def check_folds(folds: pd.Series, clips: pd.DataFrame, *, text_disjoint: bool = False) -> None:
    """Refuse folds that leak.

    Raises SerError if a clip has no fold or more than one, a speaker is in two folds (unless `text_disjoint`), or the
    training part of a fold lacks an emotion. The message names clip, speaker, fold or emotion.
    """
    split = folds.groupby(level=0).nunique().loc[lambda number: number > 1].index
    if len(split):
        raise SerError(
            f"clip '{split[0]}' is split over folds {named(folds[split[0]].unique())} ({len(split)} such clips): "
            "keep all pieces of a clip in one fold"
        )
    missing = clips.loc[~clips["clip"].isin(folds.index), "clip"]
    if len(missing):
        raise SerError(f"{len(missing)} clips have no fold, '{missing.iloc[0]}' among them: use this table's folds")
    fold = clips["clip"].map(folds[~folds.index.duplicated()]).to_numpy()
    if not text_disjoint:
        shared = pd.Series(fold).groupby(clips["speaker"].to_numpy()).unique().loc[lambda own: own.map(len) > 1]
        if len(shared):
            raise SerError(
                f"speaker '{shared.index[0]}' is in folds {named(shared.iloc[0])} ({len(shared)} speakers are shared): "
                "a speaker must not be on both sides; use evaluation.folds"
            )
    corpus = set(clips["emotion"])
    for number in np.unique(fold):
        train = training_rows(fold, number, clips, text_disjoint)
        lacking = corpus - set(clips["emotion"].to_numpy()[train])
        if lacking:
            tested = named(clips["speaker"].to_numpy()[fold == number])
            advice = "drop the emotion, or use fewer or other folds"
            raise SerError(f"fold {number} (tests {tested}) has no {named(lacking)} in training: {advice}")


def named(values: Iterable) -> str:
    """Different values for a message, sorted: the first few, and how many more there are."""
    return listed(sorted(map(str, set(values))), shown=4)


def training_rows(fold: np.ndarray, number: int, clips: pd.DataFrame, text_disjoint: bool) -> np.ndarray:
    """Rows that a fold may be trained on; `clips` has one row for each entry of `fold`."""
    test = fold == number
    if not text_disjoint:
        return ~test
    shared = clips["speaker"].isin(clips["speaker"][test]) | clips["text"].isin(clips["text"][test])
    return ~shared.to_numpy()
