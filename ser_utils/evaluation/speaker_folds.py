"""Speaker-disjoint folds, and checks that nobody is on both sides, of them and of published splits."""

import re
import warnings
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd

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
    need_two_speakers(clips)
    speakers = _speaker_folds(clips, seed)
    if text_disjoint:
        texts = _text_groups(clips)
        speakers = np.unique(speakers * (texts.max() + 1) + texts, return_inverse=True)[1]
    result = pd.Series(speakers, index=pd.Index(clips["clip"], name="clip"), name="fold", dtype="int64")
    check_folds(result, clips, text_disjoint=text_disjoint)
    return result


def need_two_speakers(clips: pd.DataFrame) -> None:
    """Refuse clips that no speaker-disjoint folds can be made of.

    Raises
    ------
    SerError
        If there is one speaker only, or an emotion comes from one speaker only.
    """
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
    from sklearn.model_selection import StratifiedGroupKFold  # slow, and not needed to see that a run is up to date

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


def split_leaks(splits: pd.DataFrame | str | Path, *, speaker: str | None = None) -> pd.DataFrame:
    """Count the test speakers and test files of a published split that are in its other parts, too.

    Parameters
    ----------
    splits : DataFrame, str or Path
        A table, or a CSV or JSON Lines file, with the columns `file` (or `wav`, `path`), `split` (test, and any other
        names) and optionally `speaker` and `fold`. Or a folder of JSON Lines files named as EmoBox's,
        `emodb_train_fold_1.jsonl` and `emodb_test_fold_1.jsonl`.
    speaker : str, optional
        Regular expression whose first group is the speaker in a file's name, for splits that do not name speakers.

    Returns
    -------
    DataFrame
        One row per fold: `fold, test_speakers, shared_speakers, test_files, shared_files, who` (the shared speakers).

    Raises
    ------
    SerError
        If a column is missing, no file is in the test part, or the pattern does not match a name.

    Examples
    --------
    >>> table = pd.DataFrame({"file": ["F01_a.wav", "F01_b.wav", "M02_a.wav"], "split": ["train", "test", "test"]})
    >>> split_leaks(table, speaker="^([FM][0-9]+)")[["test_speakers", "shared_speakers", "who"]].to_dict("records")
    [{'test_speakers': 2, 'shared_speakers': 1, 'who': 'F01'}]
    """
    table = splits if isinstance(splits, pd.DataFrame) else _read_split(Path(splits))
    table = table.rename(columns={name: "file" for name in ("wav", "path") if name in table and "file" not in table})
    missing = [name for name in ("file", "split") if name not in table]
    if missing:
        raise SerError(f"the split has no column {', '.join(missing)}: it has {', '.join(map(str, table.columns))}")
    table = table.assign(fold=table.get("fold", 1))
    if speaker is not None:
        names = table["file"].str.split("/").str[-1]
        table["speaker"] = names.str.extract(speaker, expand=True)[0]
        if table["speaker"].isna().any():
            raise SerError(f"the pattern {speaker} finds no speaker in {names[table['speaker'].isna()].iloc[0]}")
    elif "speaker" not in table:
        raise SerError("the split has no column speaker: give a pattern that reads it from the file names")
    if not (table["split"] == "test").any():
        raise SerError(f"no file is in a part called test: the parts are {named(table['split'])}")
    rows = []
    for fold, own in table.groupby("fold"):
        test, rest = own[own["split"] == "test"], own[own["split"] != "test"]
        shared = set(test["speaker"]) & set(rest["speaker"])
        rows.append({"fold": fold, "test_speakers": test["speaker"].nunique(), "shared_speakers": len(shared),
                     "test_files": test["file"].nunique(), "shared_files": len(set(test["file"]) & set(rest["file"])),
                     "who": named(shared)})  # fmt: skip
    return pd.DataFrame(rows)


def _read_split(path: Path) -> pd.DataFrame:
    if not path.is_dir():
        try:
            return pd.read_json(path, lines=True) if path.suffix == ".jsonl" else pd.read_csv(path)
        except (OSError, ValueError) as error:
            raise SerError(f"{path} is not readable as a split: {' '.join(str(error).split())}") from error
    parts = []
    for file in sorted(path.rglob("*.jsonl")):
        if found := re.search(r"_(train|valid|test)_fold_?(\d+)$", file.stem):
            parts.append(pd.read_json(file, lines=True).assign(split=found[1], fold=int(found[2])))
    if not parts:
        raise SerError(f"{path} holds no files such as emodb_test_fold_1.jsonl")
    return pd.concat(parts, ignore_index=True)
