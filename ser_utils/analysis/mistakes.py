"""The usual mistakes of evaluation, committed on purpose, so that notebook 08 can measure what each one buys.

Nothing here is used for a score that the compendium reports.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import soundfile
from sklearn.base import clone
from sklearn.model_selection import GroupKFold, KFold, StratifiedKFold

from ser_utils import ROOT, SerError, audio, evaluation, models
from ser_utils.evaluation import (
    at_level,
    counts,
    emotions_of,
    interval,
    one_system,
    to_clips,
    uar,
    wa,
    weighted,
)

#: A slice of the file name that looks like a speaker and is none: the utterance number, the sentence. As a regular
#: expression with one group, by corpus. ShEMO's characters 4 to 6 are those that a published study took for the speaker.
WRONG_SLICE: dict[str, str] = {
    "demo": r"^.{3}(.{3})",
    "shemo": r"^.{3}(.{3})",
    "emodb": r"^..(...)",
    "nemo": r"(\d+)$",
    "ravdess": r"^(?:\d\d-){4}(\d\d-\d\d)",
}


def random_clip_folds(clips: pd.DataFrame, *, n_splits: int = 5, seed: int = 0) -> pd.Series:
    """Stratified random folds of clips: every speaker is on both sides. Index = clip."""
    splitter = StratifiedKFold(n_splits, shuffle=True, random_state=seed)
    return _folds(splitter.split(clips, clips["emotion"]), clips["clip"])


def random_segment_folds(segments: pd.DataFrame, *, n_splits: int = 5, seed: int = 0) -> np.ndarray:
    """Random folds of segments: pieces of one clip are on both sides. Shape `(segments,)`."""
    return _folds(KFold(n_splits, shuffle=True, random_state=seed).split(segments), segments.index).to_numpy()


def wrong_slice_folds(clips: pd.DataFrame, pattern: str, *, n_splits: int = 5) -> pd.Series:
    """Folds that keep a slice of the file name apart which is not the speaker. Index = clip.

    Raises
    ------
    SerError
        If the pattern finds nothing in a name, or the same thing in all of them.
    """
    names = clips["path"].map(lambda path: Path(path).stem)
    groups = names.str.extract(pattern, expand=False)
    if groups.isna().any():
        raise SerError(f"the pattern {pattern} finds nothing in the file name {names[groups.isna()].iloc[0]}")
    n_splits = min(n_splits, groups.nunique())
    if n_splits < 2:
        raise SerError(f"the pattern {pattern} finds '{groups.iloc[0]}' in every file name: nothing to split by")
    return _folds(GroupKFold(n_splits).split(clips, groups=groups), clips["clip"])


def _folds(splits, index) -> pd.Series:
    folds = pd.Series(-1, index=pd.Index(index), name="fold")
    for number, (_, test) in enumerate(splits):
        folds.iloc[test] = number
    return folds


def shuffled_texts(clips: pd.DataFrame, *, seed: int = 0) -> pd.DataFrame:
    """The same table with texts dealt out at random: folds that keep *these* apart lose as much training data, but no leak."""
    return clips.assign(text=clips["text"].sample(frac=1, random_state=seed).to_numpy())


class PeekingCNN(models.SegmentCNN):
    """A segment CNN whose epoch is chosen on the test fold. `groups` must be true for the rows that are tested."""

    def _split(self, X, y, groups):
        X, codes, _, _ = super()._split(X, y, None)
        tested = np.asarray(groups, dtype=bool)
        return X, codes, np.flatnonzero(~tested), np.flatnonzero(tested)


class BlindCNN(models.SegmentCNN):
    """A segment CNN that watches nobody and keeps its last epoch: the fair counterpart of `PeekingCNN`."""

    def _split(self, X, y, groups):
        X, codes, _, _ = super()._split(X, y, groups)
        return X, codes, np.arange(len(codes)), np.arange(0)


def cross_validate_peeking(
    X,
    segments: pd.DataFrame,
    clips: pd.DataFrame,
    *,
    folds: pd.Series,
    seeds: Sequence[int],
    system: str,
    n_jobs: int = 1,
    **settings,
) -> pd.DataFrame:
    """Out-of-fold predictions of `PeekingCNN(**settings)`, as `evaluation.cross_validate` gives them.

    Parameters
    ----------
    X : array, shape=(segments, frames, dims)
    n_jobs : int
        Networks trained at the same time.
    **settings
        Of the network.
    """
    from joblib import Parallel, delayed

    facts = clips.set_index("clip")
    fold_of = segments["clip"].map(folds).to_numpy()
    y = segments["clip"].map(facts["emotion"]).to_numpy()
    names = sorted(set(y))

    def peek(seed: int, fold: int) -> pd.DataFrame:
        tested = fold_of == fold
        cnn = clone(PeekingCNN(**settings)).set_params(random_state=seed).fit(X, y, groups=tested)
        rows = segments.loc[tested, ["clip", "start", "end"]].reset_index(drop=True)
        probabilities = pd.DataFrame(cnn.predict_proba(X[np.flatnonzero(tested)]), columns=cnn.classes_)
        rows = rows.assign(system=system, seed=seed, fold=fold, emotion=y[tested])
        rows["speaker"] = rows["clip"].map(facts["speaker"])
        return rows.join(probabilities.reindex(columns=names, fill_value=0.0))

    jobs = itertools.product(seeds, np.unique(fold_of))
    parts = Parallel(n_jobs)(delayed(peek)(seed, fold) for seed, fold in jobs)
    table = pd.concat(parts, ignore_index=True)
    return table[["system", "seed", "fold", "clip", "start", "end", "speaker", "emotion", *emotions_of(table)]]


def best_per_fold(predictions: pd.DataFrame, *, elsewhere: bool, name: str) -> pd.DataFrame:
    """Stitch together, fold by fold, the predictions of the system that did best.

    Parameters
    ----------
    predictions : DataFrame
        Of several systems, on the same folds.
    elsewhere : bool
        Judge a system by its UAR on all *other* folds (its test fold has no say), or, the mistake, on the test fold itself.
    name : str
        Name of the result as a system.

    Returns
    -------
    DataFrame
        Predictions at clip level with a column `chosen`.
    """
    table = to_clips(predictions)
    parts = []
    for fold in sorted(table["fold"].unique()):
        here = table[table["fold"] == fold]
        judged_on = table[table["fold"] != fold] if elsewhere else here
        score = {s: float(uar(counts(own)[0].sum(axis=(0, 1)))) for s, own in judged_on.groupby("system", sort=False)}
        best = max(score, key=score.get)
        parts.append(here[here["system"] == best].assign(chosen=best))
    return pd.concat(parts, ignore_index=True).assign(system=name)


def accuracy_over_uar(predictions: pd.DataFrame, *, resamples: int = 10_000, seed: int = 0) -> pd.Series:
    """How much higher accuracy (WA) is than UAR on the very same decisions, with a 95 % interval over speakers."""
    one_system(predictions)
    confusions, units = counts(at_level(predictions, "clip"))

    def gap(matrices: np.ndarray) -> np.ndarray:
        return wa(matrices) - uar(matrices)

    value, low, high = interval(weighted(confusions, gap), len(units), resamples=resamples, seed=seed)
    return pd.Series({"difference": value[0], "low": low[0], "high": high[0]})


def narrowband(clips: pd.DataFrame, emotion: str, folder: Path, *, sample_rate: int = 8_000) -> pd.DataFrame:
    """Store one emotion's recordings at a lower sample rate, as happens when a corpus is put together from two sources.

    Parameters
    ----------
    clips : DataFrame
        A clips table.
    emotion : str
        The class that is stored differently.
    folder : Path
        Where the copies are written, as 16-bit FLAC.
    sample_rate : int
        In Hz.

    Returns
    -------
    DataFrame
        The clips table with `path` and `sample_rate` of the copies.

    Raises
    ------
    SerError
        If no clip has the emotion.
    """
    if emotion not in set(clips["emotion"]):
        raise SerError(f"no clip is labelled {emotion}: choose one of {', '.join(sorted(set(clips['emotion'])))}")
    folder.mkdir(parents=True, exist_ok=True)
    changed = clips.copy()
    for row in clips[clips["emotion"] == emotion].itertuples():
        path = folder / f"{row.clip.replace('/', '_')}.flac"
        wave = audio.read(row.path, sample_rate=sample_rate)
        soundfile.write(path, np.clip(wave, -1, 1), sample_rate)
        changed.loc[row.Index, ["path", "sample_rate"]] = str(path), sample_rate
    return changed


def paired_gain(
    mistaken: pd.DataFrame, honest: pd.DataFrame, *, level: str = "clip", resamples: int = 10_000
) -> pd.Series:
    """UAR with the mistake minus UAR without it, on the same clips, with a 95 % interval over speakers."""
    result = evaluation.compare(mistaken, honest, level=level, resamples=resamples)
    return result[["difference", "low", "high"]].astype(float)


def published_results() -> pd.DataFrame:
    """Published scores on ShEMO and EMO-DB with the protocol that each was measured by.

    Returns
    -------
    DataFrame
        `source, corpus, system, protocol, classes, metric, value, leaky, note`; value in percent as
        published, `leaky` is `yes`, `no` or `unknown`, `classes` may be missing.

    Raises
    ------
    SerError
        If the file that holds them is missing from this checkout.
    """
    path = ROOT / "data" / "published_results.csv"
    if not path.is_file():
        raise SerError(f"{path.name} is not in the data folder beside ser_utils: run from a clone of the repository")
    text = ["source", "corpus", "system", "protocol", "metric", "leaky", "note"]
    return pd.read_csv(path, dtype={"classes": "Int64"}).fillna({name: "" for name in text})
