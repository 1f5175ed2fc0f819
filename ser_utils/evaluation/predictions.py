"""The predictions table: what it must hold, and how the segments of a clip are pooled.

One row per clip or segment: `COLUMNS`, with the true `emotion`, one probability column per emotion, and at segment
level `start` and `end` in seconds. Every score of this project is computed from such tables.
"""

import numpy as np
import pandas as pd
from scipy.special import softmax

from ser_utils import EMOTIONS, SerError, emotions_among, listed
from ser_utils.evaluation.intervals import confusions_by_unit

COLUMNS = ("system", "seed", "fold", "clip", "speaker", "emotion")

#: Smaller probabilities count as this one, so that a single segment with probability 0 cannot decide for its clip.
FLOOR = 1e-6


def emotions_of(predictions: pd.DataFrame) -> list[str]:
    """Emotions with a probability column, in canonical order; columns of floats may be emotions of the corpus's own."""
    floats = predictions.select_dtypes("floating").columns
    return emotions_among(name for name in predictions.columns if name in EMOTIONS or name in floats)


def validate(predictions: pd.DataFrame) -> pd.DataFrame:
    """Refuse a predictions table that cannot be scored; else return it as it is.

    Raises SerError if the table is empty or lacks a column or a value, if probabilities are not between 0 and 1 or do
    not sum to one, if a clip (or segment) occurs twice for one system and seed, if a clip has two emotions or speakers,
    or if an emotion has no probability column, i.e. no fold was trained on it. The message names the index of the rows.
    """
    missing = [column for column in COLUMNS if column not in predictions.columns]
    if missing:
        raise SerError(
            f"the predictions table lacks {', '.join(missing)}: it has {', '.join(map(str, predictions.columns))}; "
            f"needed are {', '.join(COLUMNS)} and one probability column per emotion"
        )
    if predictions.empty:
        raise SerError("the predictions table has no rows: run cross_validate first")
    names = emotions_of(predictions)

    def refuse(wrong: np.ndarray | pd.Series, problem: str) -> None:
        if wrong.any():
            raise SerError(f"predictions at index {listed(predictions.index[wrong])}: {problem}")

    for column in COLUMNS:
        refuse(predictions[column].isna(), f"no value for '{column}': fill it in or drop the rows")
    unknown = ~predictions["emotion"].isin(names)
    lacking = ", ".join(sorted(predictions.loc[unknown, "emotion"].astype(str).unique()))
    refuse(unknown, f"no probability column for {lacking}: no fold was trained on it; drop it or train with it")
    wrong_type = [name for name in names if not pd.api.types.is_numeric_dtype(predictions[name])]
    if wrong_type:
        raise SerError(f"predictions, column {', '.join(wrong_type)}: probabilities must be numbers, not text")

    probabilities = predictions[names].to_numpy(dtype=float)
    refuse(np.isnan(probabilities).any(1), "a probability is NaN: look for NaN in the features of these clips")
    refuse((probabilities < 0).any(1) | (probabilities > 1).any(1), "a probability is not between 0 and 1")
    sums = probabilities.sum(1)
    off = np.abs(sums - 1) > 1e-3  # enough for float16 probabilities
    refuse(off, f"probabilities sum to {sums[off.argmax()]:.3f} instead of 1")
    key = ["system", "seed", "clip"] + (["start"] if "start" in predictions.columns else [])
    refuse(predictions.duplicated(key, keep=False), f"the same {', '.join(key)} more than once: keep one row of each")
    for column in ("emotion", "speaker"):
        first = predictions.groupby("clip", sort=False)[column].transform("first")
        refuse(predictions[column] != first, f"a clip has another {column} here than in its first row")
    return predictions


def pool(probabilities: np.ndarray, groups: np.ndarray | None = None) -> np.ndarray:
    """Pool the probabilities of segments: the mean of their logarithms, renormalised to a sum of 1.

    This is the logarithmic opinion pool (Genest & Zidek 1986). Unlike a sum of logarithms it does not grow more
    confident with the number of segments, which are not independent. Probabilities below `FLOOR` count as `FLOOR`.

    Parameters
    ----------
    probabilities : array, shape=(segments, emotions)
    groups : int array, shape=(segments,), optional
        Number of the clip of each segment, from 0, none left out. Without it all segments are one clip.

    Returns
    -------
    array, shape=(clips, emotions), or shape=(emotions,) without `groups`

    Examples
    --------
    >>> pool(np.array([[0.9, 0.1], [0.5, 0.5]])).round(2)
    array([0.75, 0.25])
    """
    logs = np.log(np.maximum(np.asarray(probabilities, dtype=float), FLOOR))
    if groups is None:
        return softmax(logs.mean(axis=0))
    totals = np.zeros((groups.max() + 1, logs.shape[1]))
    np.add.at(totals, groups, logs)
    return softmax(totals / np.bincount(groups)[:, None], axis=1)


def to_clips(predictions: pd.DataFrame) -> pd.DataFrame:
    """Pool the segments of each clip (see `pool`); a table at clip level stays as it is.

    Returns
    -------
    DataFrame
        One row for each system, seed and clip, in the order of first appearance; `COLUMNS`, the emotions, any
        `votes_…`.
    """
    validate(predictions)
    names = emotions_of(predictions)
    votes = [name for name in predictions if name.startswith("votes_")]
    if "start" not in predictions.columns:
        return predictions[[*COLUMNS, *names, *votes]].reset_index(drop=True)
    grouped = predictions.groupby(["system", "seed", "clip"], sort=False)
    # `first` for the fold: a clip has segments in several folds only where that mistake is being shown.
    clips = grouped[["fold", "speaker", "emotion", *votes]].first().reset_index()
    clips[names] = pool(predictions[names].to_numpy(dtype=float), grouped.ngroup().to_numpy())
    return clips[[*COLUMNS, *names, *votes]]


def at_level(predictions: pd.DataFrame, level: str) -> pd.DataFrame:
    """Validated predictions at `level`, "clip" (pooled by `to_clips`) or "segment".

    Raises SerError if `validate` refuses the table, the level is unknown, or a table of clips is asked for segments.
    """
    if level == "clip":
        return to_clips(predictions)
    if level != "segment":
        raise SerError(f"unknown level '{level}': use 'clip' or 'segment'")
    if "start" not in predictions.columns:
        raise SerError("these predictions have no column 'start', so they are per clip already: use level='clip'")
    return validate(predictions)


def one_system(predictions: pd.DataFrame) -> str:
    """Name of the only system in the table; SerError if there are several."""
    systems = list(predictions["system"].unique())
    if len(systems) != 1:
        raise SerError(
            f"{len(systems)} systems in one table ({', '.join(map(str, systems[:6]))}): "
            "choose one, e.g. predictions[predictions.system == 'encoder-cnn']"
        )
    return systems[0]


def need_equal_seeds(predictions: pd.DataFrame) -> None:
    """Raise SerError if one system has predictions for more clips (or segments) with one seed than with another."""
    if predictions["seed"].value_counts().nunique() > 1:
        raise SerError(f"system '{one_system(predictions)}' did not judge the same number of clips with every seed")


def need_same_rows(a: pd.DataFrame, b: pd.DataFrame, level: str) -> None:
    """Raise SerError unless two systems predicted the same emotions for the same rows, whose labels are the same."""
    if emotions_of(a) != emotions_of(b):
        sets = " and ".join(", ".join(emotions_of(table)) for table in (a, b))
        raise SerError(f"the systems know different emotions: {sets}")
    key = ["clip", "start"] if level == "segment" else ["clip"]
    need_equal_seeds(a)
    need_equal_seeds(b)
    left, right = (table[[*key, "speaker", "emotion"]].drop_duplicates() for table in (a, b))
    odd = pd.concat([left, right]).drop_duplicates(keep=False)
    if len(odd):
        names = ", ".join(map(str, odd[key].iloc[0]))
        raise SerError(
            f"{len(odd[key].drop_duplicates())} {level}s are in one of the tables only or have another speaker or "
            f"emotion, {names} among them: compare systems on the same {level}s of one clips table"
        )


def decided(predictions: pd.DataFrame) -> pd.Series:
    """Most probable emotion of each row (the first in canonical order where two are equal)."""
    names = np.array(emotions_of(predictions), dtype=object)
    return pd.Series(names[codes(predictions)[1]], index=predictions.index, name="predicted")


def codes(predictions: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """True and most probable emotion of each row, as numbers of the probability columns."""
    names = emotions_of(predictions)
    return pd.Index(names).get_indexer(predictions["emotion"]), predictions[names].to_numpy(dtype=float).argmax(1)


def counts(predictions: pd.DataFrame, unit: str = "speaker") -> tuple[np.ndarray, pd.Index]:
    """Confusion counts of one system's validated predictions per seed and unit.

    Returns
    -------
    float array, shape=(seeds, units, emotions, emotions)
        True emotion by predicted emotion.
    Index
        The values of column `unit`, sorted.
    """
    units, names = pd.factorize(predictions[unit], sort=True)
    seeds, seed_names = pd.factorize(predictions["seed"], sort=True)
    true, predicted = codes(predictions)
    k = len(emotions_of(predictions))
    joint = confusions_by_unit(seeds * len(names) + units, true, predicted, len(seed_names) * len(names), k)
    return joint.reshape(len(seed_names), len(names), k, k), pd.Index(names)
