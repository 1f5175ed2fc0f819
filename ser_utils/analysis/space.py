"""Features as a space: what explains their variance, which clips are neighbours, and a map."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE
from sklearn.preprocessing import StandardScaler


def variance_explained(X: np.ndarray, labels: Sequence, *, within: Sequence | None = None) -> float:
    """Share of the features' total variance explained by groups: epsilon squared over all dimensions.

    Epsilon squared (Kelley 1935) is eta squared corrected for chance: unrelated labels have 0 on average, whatever the
    number of rows and groups.

    Parameters
    ----------
    X : array, shape=(n, dims)
    labels, within : sequence, length n
        Groups whose differences are measured; groups (speakers) whose means are subtracted first, if given.
    """
    values = np.asarray(X, np.float64)
    within = [0] * len(values) if within is None else within
    values = values - _group_means(values, within)
    degrees = len(values) - len(set(within))
    between = np.square(_group_means(values, labels)).sum()
    whole = np.square(values).sum()
    groups = len(set(labels)) - 1
    if whole == 0 or degrees <= groups:
        return float("nan")
    return float((between - groups * (whole - between) / (degrees - groups)) / whole)


def _group_means(values: np.ndarray, groups: Sequence) -> np.ndarray:
    """Mean of each row's group, shape of `values`."""
    return pd.DataFrame(values).groupby(np.asarray(groups)).transform("mean").to_numpy()


def neighbours(X: np.ndarray, clips: pd.DataFrame) -> dict[str, float]:
    """Share of each clip's ten nearest clips (standardised features, Euclidean distance) that agree with it.

    Parameters
    ----------
    X : array, shape=(clips, dims)
    clips : DataFrame
        Columns `speaker` and `emotion`, in the order of `X`.

    Returns
    -------
    dict
        `same speaker`, `same emotion`, `same emotion, other speaker` (among the nearest clips of other speakers), and
        `chance: …` for each: the share among all candidates.
    """
    k, values = 10, StandardScaler().fit_transform(np.asarray(X, np.float32))
    norms = np.square(values).sum(1)
    speaker, emotion = clips["speaker"].to_numpy(), clips["emotion"].to_numpy()
    rows = []
    for i in range(len(values)):
        distance = norms - 2 * values @ values[i]  # ranks as the distance does
        others, strangers = np.arange(len(values)) != i, speaker != speaker[i]
        row: dict[str, float] = {}
        for name, candidates, agrees in (
            ("same speaker", others, speaker == speaker[i]),
            ("same emotion", others, emotion == emotion[i]),
            ("same emotion, other speaker", strangers, emotion == emotion[i]),
        ):
            if candidates.sum() > k:
                nearest = np.argpartition(np.where(candidates, distance, np.inf), k)[:k]
                row |= {name: agrees[nearest].mean(), f"chance: {name}": agrees[candidates].mean()}
        rows.append(row)
    names = ("same speaker", "same emotion", "same emotion, other speaker")
    return pd.DataFrame(rows, columns=[*names, *(f"chance: {name}" for name in names)]).mean().to_dict()


def flat_map(X: np.ndarray, *, n_jobs: int = 1) -> np.ndarray:
    """Map features `(n, dims)` to a plane `(n, 2)`, neighbours close together: t-SNE (van der Maaten & Hinton 2008).

    Features are standardised and reduced to 30 principal components first. `n_jobs` is a number of threads.
    """
    values = StandardScaler().fit_transform(np.asarray(X, np.float32))
    reduced = PCA(min(30, *values.shape), random_state=0).fit_transform(values)
    perplexity = min(30.0, (len(values) - 1) / 3)
    # Half of the default 1000 steps: with the start in the principal plane, the demo's divergence is 0.91 instead of 0.89.
    tsne = TSNE(2, perplexity=perplexity, init="pca", max_iter=500, random_state=0, n_jobs=n_jobs)
    return tsne.fit_transform(reduced)
