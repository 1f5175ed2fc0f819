"""Guesses of people who listened: read from files, simulated, made into predictions, and how far they agree."""

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from ser_utils import SerError
from ser_utils.evaluation.intervals import ratio

_COLUMNS = ["clip", "listener", "guess"]


def read_answers(folder: str | Path, clips: pd.DataFrame, emotions: Sequence[str]) -> pd.DataFrame:
    """Read the answers of listeners from all CSV files of a folder.

    Parameters
    ----------
    folder : str or Path
        Its CSV files have the columns `clip` (a name, or a number from 1 in the order of `clips`), `listener` and
        `guess`. Rows without a guess are left out.
    clips : DataFrame
        The clips that were heard, in this order.
    emotions : sequence of str
        What can be guessed.

    Returns
    -------
    DataFrame
        `clip, listener, guess`, one row per answer, with names of clips.

    Raises
    ------
    SerError
        If the folder is not there, or a file lacks a column, names no listener, an unknown clip or emotion, or answers
        for a clip twice. The message names file and line.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise SerError(f"{folder} is not a folder: name the one with the answers (CSV files with {', '.join(_COLUMNS)})")
    answers = pd.concat([pd.DataFrame(columns=[*_COLUMNS, "place"], dtype=str), *map(_read, sorted(folder.glob("*.csv")))])
    answers = answers[answers["guess"] != ""].reset_index(drop=True)
    named = {str(number): clip for number, clip in enumerate(clips["clip"], start=1)} | {clip: clip for clip in clips["clip"]}
    answers["given"] = answers["clip"]  # what messages show: the name of a clip may contain its label
    answers["clip"] = [named.get(clip, clip) for clip in answers["clip"]]
    for wrong, column, advice in (
        (answers["listener"] == "", "listener", "write who answered into every row"),
        (~answers["clip"].isin(clips["clip"]), "clip",
         f"give a number from 1 to {len(clips)}, or a clip's name (were these answers given for another draw of clips?)"),
        (~answers["guess"].isin(emotions), "guess", f"give one of {', '.join(emotions)}"),
        (answers.duplicated(["clip", "listener"]), "clip", "this listener answered for it before: keep one row"),
    ):  # fmt: skip
        if wrong.any():
            first = answers[wrong].iloc[0]
            given = first["given" if column == "clip" else column]
            raise SerError(f"{first['place']}: {column} '{given}': {advice}")
    return answers[_COLUMNS]


def _read(path: Path) -> pd.DataFrame:
    """One file's answers as text without white space around it, with its `place` (file and line)."""
    try:  # sep=None: commas, or the semicolons and tabs of spreadsheets
        table = pd.read_csv(path, sep=None, engine="python", dtype=str, keep_default_na=False, encoding="utf-8-sig")
    except (ValueError, csv.Error) as error:
        raise SerError(f"{path.name} is not a readable CSV file ({error}): save it as CSV in UTF-8") from None
    if lacking := [column for column in _COLUMNS if column not in table]:
        has = ", ".join(map(str, table.columns))
        raise SerError(f"{path.name} lacks the column {', '.join(lacking)}: it has {has}; needed are {', '.join(_COLUMNS)}")
    places = [f"{path.name}, line {line}" for line in range(2, len(table) + 2)]
    return table[_COLUMNS].apply(lambda column: column.str.strip()).assign(place=places)


def simulate_listeners(clips: pd.DataFrame, emotions: Sequence[str], *, right: Iterable[float], seed: int = 0) -> pd.DataFrame:
    """Answers of listeners who do not exist, as from `read_answers`; their names start with "simulated".

    Parameters
    ----------
    clips, emotions
        As for `read_answers`; where a listener is wrong, all other emotions are equally probable.
    right : iterable of float
        One listener per number: the probability of a right guess.

    Returns
    -------
    DataFrame
        `clip, listener, guess`.
    """
    rng, rows = np.random.default_rng(seed), []
    for number, probability in enumerate(right, start=1):
        for clip, emotion in zip(clips["clip"], clips["emotion"], strict=True):
            guess = emotion if rng.random() < probability else rng.choice([name for name in emotions if name != emotion])
            rows.append((clip, f"simulated listener {number}", str(guess)))
    return pd.DataFrame(rows, columns=_COLUMNS)


def answers_as_predictions(answers: pd.DataFrame, clips: pd.DataFrame, emotions: Sequence[str]) -> pd.DataFrame:
    """Make answers a predictions table: every listener is a system that gives the guessed emotion the probability 1.

    Parameters
    ----------
    answers, clips, emotions
        From and for `read_answers`; `clips` with `speaker` and `emotion`.

    Returns
    -------
    DataFrame
        One row per answer, at clip level, with one probability column per emotion.
    """
    facts = clips.set_index("clip").loc[answers["clip"], ["speaker", "emotion"]].reset_index()
    certain = (answers["guess"].to_numpy()[:, None] == np.array(emotions)).astype(float)
    table = facts.assign(system=answers["listener"].to_numpy(), seed=0, fold=0)
    return pd.concat([table, pd.DataFrame(certain, columns=list(emotions))], axis=1)


def fleiss_kappa(votes: ArrayLike) -> float:
    """Agreement of raters beyond chance (Fleiss 1971): 1 if all agree on every clip, 0 if as often as by chance.

    Parameters
    ----------
    votes : array, shape=(clips, emotions)
        How many raters chose each emotion. Clips may have different numbers of raters; one or none do not count.

    Returns
    -------
    float
        NaN if all votes are for one emotion: then agreement by chance is certain, too.

    Raises
    ------
    SerError
        If no clip has two raters.

    Examples
    --------
    >>> round(fleiss_kappa([[2, 0], [0, 2], [1, 1]]), 3)
    0.333
    """
    counts = np.asarray(votes, dtype=float)
    counts = counts[counts.sum(axis=1) >= 2]
    if not len(counts):
        raise SerError("no clip has two raters: agreement needs the answers of two or more for the same clips")
    raters = counts.sum(axis=1)
    agree = (counts * (counts - 1)).sum(axis=1) / (raters * (raters - 1))  # share of the pairs of raters
    by_chance = ((counts.sum(axis=0) / counts.sum()) ** 2).sum()
    return float(ratio(agree.mean() - by_chance, 1 - by_chance))
