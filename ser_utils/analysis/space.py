"""What features are like as a space: what their variance goes with, who is near whom, and a map of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from ser_utils import SerError, evaluation, models


def variance_explained(X: np.ndarray, labels: Sequence, *, within: Sequence | None = None) -> float:  # noqa: N803
    """Share of the features' total variance that lies between groups: epsilon squared over all dimensions.

    Epsilon squared (Kelley 1935) is eta squared less what chance gives to that many groups, so unrelated labels
    have 0 on average and a small sample or many groups are not flattered.

    Parameters
    ----------
    X : array, shape (n, dims)
        Features.
    labels : sequence, length n
        Groups whose differences are measured.
    within : sequence, length n, optional
        Groups (speakers) whose means are subtracted first.
    """
    values = np.asarray(X, np.float64)
    degrees = len(values) - 1
    if within is not None:
        values = values - _group_means(values, within)
        degrees = len(values) - len(set(within))
    else:
        values = values - values.mean(0)
    between = np.square(_group_means(values, labels)).sum()
    whole = np.square(values).sum()
    groups = len(set(labels)) - 1
    if whole == 0 or degrees <= groups:
        return float("nan")
    return float((between - groups * (whole - between) / (degrees - groups)) / whole)


def _group_means(values: np.ndarray, groups: Sequence) -> np.ndarray:
    """Mean of each row's group, shape of `values`."""
    code, names = pd.factorize(np.asarray(groups, dtype=object))
    sums = np.zeros((len(names), values.shape[1]))
    np.add.at(sums, code, values)
    return (sums / np.bincount(code)[:, None])[code]


def neighbours(X: np.ndarray, clips: pd.DataFrame, *, k: int = 10) -> dict[str, float]:  # noqa: N803
    """Share of each clip's k nearest clips (standardised, Euclidean) that agree with it, and what chance gives.

    Parameters
    ----------
    X : array, shape (clips, dims)
        Row i belongs to row i of `clips`.
    clips : DataFrame
        Columns `speaker` and `emotion`.
    k : int
        Neighbours looked at.

    Returns
    -------
    dict
        `same speaker`, `same emotion`, `same emotion, other speaker` (among the nearest clips of other speakers)
        and `chance: …` for each; chance is the share among all candidates.
    """
    values = np.asarray(X, np.float32)
    values = (values - values.mean(0)) / np.maximum(values.std(0), 1e-6)
    speaker, emotion = (pd.factorize(clips[c])[0] for c in ("speaker", "emotion"))
    near, base = {}, {}
    for name in ("same speaker", "same emotion", "same emotion, other speaker"):
        near[name], base[name] = [], []
    norms = np.square(values).sum(1)
    for i in range(len(values)):
        distance = norms - 2 * values @ values[i]  # ranks as the distance does
        for name, other, agrees in (
            ("same speaker", np.arange(len(values)) != i, speaker == speaker[i]),
            ("same emotion", np.arange(len(values)) != i, emotion == emotion[i]),
            ("same emotion, other speaker", speaker != speaker[i], emotion == emotion[i]),
        ):
            candidates = np.flatnonzero(other)
            if len(candidates) > k:
                nearest = candidates[np.argpartition(distance[candidates], k)[:k]]
                near[name].append(agrees[nearest].mean())
                base[name].append(agrees[candidates].mean())
    shares = {name: float(np.mean(v)) if v else float("nan") for name, v in near.items()}
    return shares | {f"chance: {name}": float(np.mean(v)) if v else float("nan") for name, v in base.items()}


def flat_map(X: np.ndarray, *, seed: int = 0, n_jobs: int = 1) -> np.ndarray:  # noqa: N803
    """Lay features out in a plane so that near ones stay near: t-SNE (van der Maaten and Hinton 2008).

    Parameters
    ----------
    X : array, shape (n, dims)
        Standardised here and reduced to 30 principal components first.
    seed : int
        Seed of both.
    n_jobs : int
        Threads.

    Returns
    -------
    ndarray, shape (n, 2)
    """
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE
    from sklearn.preprocessing import StandardScaler

    values = StandardScaler().fit_transform(np.asarray(X, np.float32))
    reduced = PCA(min(30, *values.shape), random_state=seed).fit_transform(values)
    perplexity = min(30.0, (len(values) - 1) / 3)
    # Half of the usual thousand steps: started in the principal plane, the demo ends at a divergence of 0.91 against 0.89.
    tsne = TSNE(2, perplexity=perplexity, init="pca", max_iter=500, random_state=seed, n_jobs=n_jobs)
    return tsne.fit_transform(reduced)


def tell_speakers(
    X: np.ndarray,  # noqa: N803 - scikit-learn's name
    clips: pd.DataFrame,
    *,
    n_splits: int = 4,
    resamples: int = 10_000,
    seed: int = 0,
) -> dict[str, float]:
    """How well a linear probe names the speaker of a clip that it was not trained on.

    Clips are dealt to folds evenly by speaker; where texts are known and each is spoken more than once, all clips of
    a text are in one fold, so that a sentence cannot stand for its speaker. Speakers with fewer clips than folds are
    left out.

    Parameters
    ----------
    X : ndarray, shape=(clips, dims)
        Row i belongs to row i of `clips`.
    clips : DataFrame
        A clips table.

    Returns
    -------
    dict
        `value, low, high`: mean over speakers of the share of their clips recognised, and its 95 % interval over
        speakers; `chance`; `speakers`; `clips`.

    Raises
    ------
    SerError
        If fewer than two speakers have that many clips.
    """
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

    enough = (clips.groupby("speaker")["clip"].transform("size") >= n_splits).to_numpy()
    X, clips = np.asarray(X)[enough], clips[enough]
    speaker, names = pd.factorize(clips["speaker"])
    if len(names) < 2:
        raise SerError(
            f"{len(names)} speakers have {n_splits} clips or more: two are needed to tell one from the other."
        )
    texts = clips["text"]
    repeated = texts.notna().all() and n_splits <= texts.nunique() <= len(clips) / 2
    splitter = StratifiedGroupKFold if repeated else StratifiedKFold
    splitter = splitter(n_splits, shuffle=True, random_state=seed)
    hits = np.zeros(len(clips))
    for train, test in splitter.split(X, speaker, groups=texts if repeated else None):
        hits[test] = models.LinearProbe().fit(X[train], speaker[train]).predict(X[test]) == speaker[test]
    counts = np.stack([np.bincount(speaker, hits), np.bincount(speaker)], axis=-1)[None]
    share = evaluation.weighted(counts[..., :1] / counts[..., 1:], lambda shares: shares)  # sum of shares
    n = len(names)
    value, low, high = evaluation.interval(
        lambda weights: share(weights) / weights.sum(1, keepdims=True), n, resamples=resamples, seed=seed
    )
    return {
        "value": float(value[0]),
        "low": float(low[0]),
        "high": float(high[0]),
        "chance": 1 / n,
        "speakers": n,
        "clips": len(clips),
    }
