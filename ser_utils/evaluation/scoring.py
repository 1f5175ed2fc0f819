"""Scores of predictions tables with intervals over speakers."""

import warnings
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import entropy

from ser_utils import SerError
from ser_utils.evaluation import intervals
from ser_utils.evaluation.predictions import FLOOR, at_level, counts, emotions_of, one_system, to_clips


def _statistics(confusions: np.ndarray) -> np.ndarray:
    """All metrics side by side: UAR, WA, macro-F1, then the recall of each class."""
    overall = np.stack([metric(confusions) for metric in intervals.METRICS.values()], axis=-1)
    return np.concatenate([overall, intervals.recall(confusions)], axis=-1)


def scores(
    predictions: pd.DataFrame, *,
    level: str = "clip", unit: str = "speaker", method: str = "expanded", resamples: int = 10_000,
) -> pd.DataFrame:  # fmt: skip
    """Scores of every system with 95 % intervals over speakers.

    A value is the mean over seeds. Its interval resamples speakers, with all their clips and seeds: it shows how much
    the value would vary with other speakers of the same kind, and not the variation between seeds.

    Parameters
    ----------
    predictions : DataFrame
        Of one or more systems.
    level : {"clip", "segment"}
    unit : {"speaker", "clip"}
        What is resampled. "clip" gives intervals that are too narrow, as clips of one speaker are not independent.
    method, resamples
        See `interval`.

    Returns
    -------
    DataFrame
        `system, level, metric, value, low, high, seeds, speakers, clips`; metric is `uar`, `wa`, `macro_f1` or
        `recall_<emotion>`, as fractions of 1 (NaN for an emotion without clips), and where all clips have votes
        `cross_entropy` and `js_distance`, means over clips (see `against_votes`). Below four speakers there are no
        intervals (a warning says so).
    """
    table = at_level(predictions, level)
    names = emotions_of(table)
    metrics = (*intervals.METRICS, *(f"recall_{name}" for name in names))
    parts = []
    if (few := table[unit].nunique()) < intervals.FEWEST_UNITS:
        need = f"no intervals, which need at least {intervals.FEWEST_UNITS} to see how they vary"
        warnings.warn(f"scores of {few} {unit}{'s' * (few > 1)}: {need}", stacklevel=2)
    for system, own in table.groupby("system", sort=False):
        confusions, units = counts(own, unit)
        estimates = {metrics: intervals.weighted(confusions, _statistics)}
        if (votes := own.filter(regex="^votes_")).columns.size and votes.notna().all(axis=None):
            apart = against_votes(own).assign(count=1.0)
            place = pd.MultiIndex.from_product([sorted(own["seed"].unique()), units])
            sums = apart.groupby([own["seed"], own[unit]]).sum().reindex(place, fill_value=0).to_numpy()
            sums = sums.reshape(own["seed"].nunique(), len(units), -1)
            estimates[tuple(apart.columns[:-1])] = intervals.weighted(sums, lambda total: total[:, :-1] / total[:, -1:])
        for names_of, estimate in estimates.items():
            value, low, high = intervals.interval(estimate, len(units), method=method, resamples=resamples)
            if names_of is metrics:  # resamples without a class that is never recognised would reach above this
                recalls = value[len(intervals.METRICS) :]
                high[[0, 2]] = np.minimum(high[[0, 2]], np.mean(recalls[~np.isnan(recalls)] > 0))
            parts.append(pd.DataFrame({
                "system": system, "level": level, "metric": names_of, "value": value, "low": low, "high": high,
                "seeds": own["seed"].nunique(), "speakers": own["speaker"].nunique(), "clips": own["clip"].nunique(),
            }))  # fmt: skip
    return pd.concat(parts, ignore_index=True)


def against_votes(predictions: pd.DataFrame) -> pd.DataFrame:
    """How far each prediction is from the distribution of the raters' votes.

    Parameters
    ----------
    predictions : DataFrame
        With `votes_<emotion>`, from `cross_validate`; votes for emotions that the system does not know do not count.

    Returns
    -------
    DataFrame
        One row per prediction: `cross_entropy` [nats] and `js_distance` (square root of the Jensen-Shannon divergence
        to base 2, from 0, equal, to 1).
    """
    names = emotions_of(predictions)
    votes = predictions.reindex(columns=[f"votes_{name}" for name in names], fill_value=0).to_numpy(dtype=float)
    voted = votes / votes.sum(1, keepdims=True)
    p = np.maximum(predictions[names].to_numpy(dtype=float), FLOOR)
    p = p / p.sum(1, keepdims=True)
    of_p, of_votes, of_mean = (entropy(shares, base=2, axis=1) for shares in (p, voted, (p + voted) / 2))
    divergence = np.maximum(of_mean - (of_p + of_votes) / 2, 0)
    found = {"cross_entropy": -(voted * np.log(p)).sum(1), "js_distance": np.sqrt(divergence)}
    return pd.DataFrame(found, index=predictions.index)


def scores_by(predictions: pd.DataFrame, by: str | pd.Series, **options: Any) -> pd.DataFrame:
    """Scores within groups: by speaker, gender, duration, text.

    Parameters
    ----------
    by : str or Series
        A column of `predictions`, or a value per clip (index `clip`). Clips without a value are left out.
    **options
        As for `scores`. One speaker has no speakers to resample: use `unit="clip"` with `by="speaker"`.

    Returns
    -------
    DataFrame
        As from `scores`, with a column `group` after `system`. UAR of a group averages the emotions that occur in it.

    Raises
    ------
    SerError
        If no clip has a group.
    """
    group = predictions[by] if isinstance(by, str) else predictions["clip"].map(by)
    if group.isna().all():
        raise SerError("no clip of these predictions has a group: give a column of them or a Series with index `clip`")
    parts = [scores(own, **options).assign(group=name) for name, own in predictions.groupby(group, observed=True)]
    table = pd.concat(parts, ignore_index=True)
    return table[["system", "group", *table.columns.drop(["system", "group"])]]


def recalls(predictions: pd.DataFrame) -> pd.DataFrame:
    """Recall of each emotion (columns) by system (rows) at clip level, mean over seeds; `scores` adds intervals."""
    table = to_clips(predictions)
    rows = {name: intervals.recall(counts(own)[0].sum(1)).mean(0) for name, own in table.groupby("system", sort=False)}
    return pd.DataFrame.from_dict(rows, orient="index", columns=emotions_of(table)).rename_axis("system")


def _shares(matrices: np.ndarray) -> np.ndarray:
    return intervals.ratio(matrices, matrices.sum(-1, keepdims=True))


def confusion(predictions: pd.DataFrame, *, normalise: bool = False) -> pd.DataFrame:
    """Confusion matrix of one system's clips: true emotion (rows) by predicted (columns), mean counts over seeds.

    With `normalise` rows sum to one and the diagonal holds the recalls; an emotion without clips has a row of NaN.
    """
    one_system(predictions)
    table = to_clips(predictions)
    names = emotions_of(table)
    matrix = counts(table)[0].sum(1).mean(0)
    matrix = _shares(matrix) if normalise else matrix
    return pd.DataFrame(matrix, index=pd.Index(names, name="emotion"), columns=pd.Index(names, name="predicted"))


def confusion_table(predictions: pd.DataFrame, *, resamples: int = 10_000) -> pd.DataFrame:
    """The row-normalised confusion matrix of one system as a long table with 95 % intervals over speakers.

    Returns
    -------
    DataFrame
        `emotion, predicted, count, share, low, high`; `count` is the mean number of clips over seeds.
    """
    one_system(predictions)
    table = to_clips(predictions)
    confusions, units = counts(table)
    value, low, high = intervals.interval(intervals.weighted(confusions, _shares), len(units), resamples=resamples)
    pairs = pd.MultiIndex.from_product([emotions_of(table)] * 2, names=["emotion", "predicted"])
    result = {"count": confusions.sum(1).mean(0).ravel(), "share": value, "low": low, "high": high}
    return pd.DataFrame(result, index=pairs).reset_index()
