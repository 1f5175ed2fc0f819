"""Train on one corpus, test on another."""

import itertools
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator

from ser_utils import SerError, listed
from ser_utils.evaluation.crossvalidation import cross_validate
from ser_utils.evaluation.fingerprints import near_copies
from ser_utils.evaluation.scoring import scores
from ser_utils.evaluation.speaker_folds import folds

_FOLDS = 5  # at most, within a corpus: one speaker at a time would train twice as many systems
_ADVICE = "leave them out of one of the two"


def join(tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Join clips (or segments) tables of several corpora, by name; clips and speakers get the corpus in front.

    Returns
    -------
    DataFrame
        All rows, in order, with a column `corpus`.
    """
    parts = []
    for name, table in tables.items():
        own = {column: f"{name}/" + table[column] for column in ("clip", "speaker") if column in table}
        parts.append(table.assign(corpus=name, **own))
    return pd.concat(parts, ignore_index=True)


def transfer(
    estimator: BaseEstimator, X: np.ndarray, segments: pd.DataFrame, clips: pd.DataFrame, *,
    system: str, **options: Any,
) -> pd.DataFrame:  # fmt: skip
    """Predictions for each corpus by a system trained on each other one, on all others, and on its own other speakers.

    Parameters
    ----------
    estimator, X, segments, clips, system, **options
        As for `cross_validate`, of all corpora together; `clips` from `join`, with the emotions that all of them have.
        Segments of other clips are not used.

    Returns
    -------
    DataFrame
        Predictions with the columns `trained` and `tested`: names of corpora, or "all others" where there are more than
        two. Where both are the same, speakers were left out, in at most five folds.

    Raises
    ------
    SerError
        If there is one corpus, if two share a recording or a speaker, or as `cross_validate`.
    """
    corpus = check_corpora(clips)
    names = list(corpus.unique())
    parts = []
    for one, other in itertools.combinations_with_replacement(names, 2):
        own = clips[clips["corpus"].isin([one, other])]
        # A corpus is a fold: each is tested by the system that was trained on the other.
        plan = folds(own) % _FOLDS if one == other else corpus[own["clip"]].eq(other).astype(int)
        predicted = _validated(estimator, X, segments, own, plan, system, options)
        tested = predicted["clip"].map(corpus)
        parts.append(predicted.assign(trained=tested if one == other else tested.map({one: other, other: one}), tested=tested))
    if len(names) > 2:
        plan = pd.Series(pd.factorize(corpus)[0], index=corpus.index)
        predicted = _validated(estimator, X, segments, clips, plan, system, options)
        parts.append(predicted.assign(trained="all others", tested=predicted["clip"].map(corpus)))
    return pd.concat(parts, ignore_index=True)


def with_few_speakers(
    estimator: BaseEstimator, X: np.ndarray, segments: pd.DataFrame, clips: pd.DataFrame, *,
    trained: str, tested: str, system: str, share: float = 0.05, seed: int = 0, **options: Any,
) -> pd.DataFrame:  # fmt: skip
    """Predictions for a corpus by a system trained on another one and on a few of its own speakers.

    The speakers of `tested` are drawn into two halves; each half is tested by a system that was also trained on speakers
    of the other half. So every clip is predicted once, as in `transfer`, and never by a system trained on its speaker.

    Parameters
    ----------
    estimator, X, segments, clips, system, **options
        As for `transfer`.
    trained, tested : str
        Names of corpora.
    share, seed : float, int
        Fraction of the speakers of `tested` that are added, at least one; seed of their draw.

    Returns
    -------
    DataFrame
        As from `transfer`; `trained` names both, such as "EMO-DB + 1 speaker".

    Raises
    ------
    SerError
        If `tested` has one speaker, or as `transfer`.
    """
    corpus = check_corpora(clips)
    speakers = np.sort(clips.loc[clips["corpus"] == tested, "speaker"].unique())
    if len(speakers) < 2:
        raise SerError(f"{tested} has {len(speakers)} speakers: one to add and one to test are needed")
    halves = np.array_split(np.random.default_rng(seed).permutation(speakers), 2)
    count = min(max(1, round(share * len(speakers))), len(halves[1]))
    parts = []
    for half, rest in (halves, halves[::-1]):
        own = clips[(clips["corpus"] == trained) | clips["speaker"].isin([*half, *rest[:count]])]
        plan = own.set_index("clip")["speaker"].isin(half).astype(int)
        predicted = _validated(estimator, X, segments, own, plan, system, options)
        parts.append(predicted[predicted["fold"] == 1])
    name = f"{trained} + {count} speaker{'s' * (count > 1)}"
    joined = pd.concat(parts, ignore_index=True)
    return joined.assign(seed=seed, trained=name, tested=joined["clip"].map(corpus))


def transfer_scores(predictions: pd.DataFrame, **options: Any) -> pd.DataFrame:
    """UAR with intervals over test speakers for every system, training corpus and test corpus.

    Parameters
    ----------
    predictions, **options
        From `transfer` or `with_few_speakers`; as for `scores`.

    Returns
    -------
    DataFrame
        `system, trained, tested, value, low, high, speakers, clips`, value as a fraction.
    """
    keys, parts = ["system", "trained", "tested"], []
    for key, own in predictions.groupby(keys, sort=False):
        row = scores(own, **options).query("metric == 'uar'")
        parts.append(row.assign(**dict(zip(keys, key, strict=True)))[[*keys, "value", "low", "high", "speakers", "clips"]])
    return pd.concat(parts, ignore_index=True)


def check_corpora(clips: pd.DataFrame) -> pd.Series:
    """Corpus of each clip, index `clip`.

    Raises SerError if there is one corpus only, or if a speaker, or a recording in whatever format (see `near_copies`;
    where all sound files are there), is in two: what is trained on one would be tested on itself in the other.
    """
    corpus = clips.set_index("clip")["corpus"]
    if corpus.nunique() < 2:
        raise SerError(f"all clips are of one corpus ({corpus.iloc[0]}): two are needed, one to train on and one to test")
    shared = clips.groupby("speaker")["corpus"].unique().loc[lambda own: own.map(len) > 1]
    if len(shared):
        raise SerError(f"{listed(shared.iloc[0])} share the speaker {shared.index[0]} ({len(shared)} such speakers): {_ADVICE}")
    columns = [name for name in ("clip", "path", "start", "end", "duration", "sample_rate") if name in clips]
    pairs = _copies(tuple(columns), tuple(clips[columns].itertuples(index=False, name=None)))
    pairs = [(one, other) for one, other in pairs if corpus[one] != corpus[other]]
    if pairs:
        one, other = pairs[0]
        where = f"{corpus[one]} and {corpus[other]} hold the same recording"
        raise SerError(f"{where}, as {one} and {other} ({len(pairs)} such pairs): {_ADVICE}")
    return corpus


@lru_cache(maxsize=4)  # every system of a comparison asks about the same clips
def _copies(columns: tuple[str, ...], rows: tuple[tuple, ...]) -> list[tuple[str, str]]:
    clips = pd.DataFrame(rows, columns=list(columns))
    if not all(Path(path).is_file() for path in clips["path"]):
        return []
    return list(near_copies(clips)[["clip", "other"]].itertuples(index=False, name=None))


def _validated(estimator, X, segments, clips, plan, system, options):
    """`cross_validate` on the segments of these clips."""
    rows = segments["clip"].isin(clips["clip"]).to_numpy()
    own = segments[rows].reset_index(drop=True)
    return cross_validate(estimator, np.asarray(X)[rows], own, clips, folds=plan, system=system, **options)
