"""A probe for voices: how well a linear classifier recognises speakers from features."""

import numpy as np
import pandas as pd
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold, cross_val_predict

from ser_utils import SerError, models
from ser_utils.evaluation.intervals import interval


def tell_speakers(X: np.ndarray, clips: pd.DataFrame, *, resamples: int = 10_000) -> dict[str, float]:
    """Recall of speakers by a linear probe, on clips outside its training rows.

    The four folds are stratified by speaker; where texts are known and repeated, all clips of a text are in one fold,
    so that the sentence cannot identify the speaker. Speakers with fewer clips than folds are left out.

    Parameters
    ----------
    X : ndarray, shape=(clips, dims)
        Row i belongs to row i of `clips`, a clips table.

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
    n_splits = 4
    enough = (clips.groupby("speaker")["clip"].transform("size") >= n_splits).to_numpy()
    X, clips = np.asarray(X)[enough], clips[enough]
    speaker, names = pd.factorize(clips["speaker"])
    if len(names) < 2:
        raise SerError(f"{len(names)} speakers have {n_splits} clips or more: two are needed to tell them apart.")
    texts = clips["text"]
    repeated = texts.notna().all() and n_splits <= texts.nunique() <= len(clips) / 2
    splitter = (StratifiedGroupKFold if repeated else StratifiedKFold)(n_splits, shuffle=True, random_state=0)
    guess = cross_val_predict(models.LinearProbe(), X, speaker, groups=texts if repeated else None, cv=splitter)
    recalls, n = np.bincount(speaker, guess == speaker) / np.bincount(speaker), len(names)
    ends = interval(lambda weights: (weights @ recalls / weights.sum(1))[:, None], n, resamples=resamples)
    value, low, high = (float(end[0]) for end in ends)
    return {"value": value, "low": low, "high": high, "chance": 1 / n, "speakers": n, "clips": len(clips)}
