"""Common mistakes of evaluation, made on purpose, so that notebook 08 can measure the effect of each one."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd
import soundfile
from sklearn.model_selection import GroupKFold, KFold, StratifiedKFold

from ser_utils import ROOT, SerError, audio, evaluation

#: A part of the file name that is not the speaker but could be mistaken for it (the utterance number, the sentence), as a
#: regular expression with one group, by corpus. A published study took ShEMO's characters 4 to 6 for the speaker.
WRONG_SLICE: dict[str, str] = {
    "demo": r"^.{3}(.{3})",
    "shemo": r"^.{3}(.{3})",
    "emodb": r"^..(...)",
    "nemo": r"(\d+)$",
    "ravdess": r"^(?:\d\d-){4}(\d\d-\d\d)",
}


def random_clip_folds(clips: pd.DataFrame) -> pd.Series:
    """Five stratified random folds of clips, with every speaker in training and test. Index = clip."""
    splitter = StratifiedKFold(5, shuffle=True, random_state=0)
    return _folds(splitter.split(clips, clips["emotion"]), clips["clip"])


def random_segment_folds(segments: pd.DataFrame) -> np.ndarray:
    """Five random folds of segments, with segments of one clip in training and test. Shape `(segments,)`."""
    return _folds(KFold(5, shuffle=True, random_state=0).split(segments), segments.index).to_numpy()


def wrong_slice_folds(clips: pd.DataFrame, pattern: str) -> pd.Series:
    """Up to five folds that are disjoint in a part of the file name which is not the speaker. Index = clip.

    Raises
    ------
    SerError
        If the pattern finds nothing in a name, or the same thing in all of them.
    """
    names = clips["path"].map(lambda path: Path(path).stem)
    groups = names.str.extract(pattern, expand=False)
    if groups.isna().any():
        raise SerError(f"the pattern {pattern} finds nothing in the file name {names[groups.isna()].iloc[0]}")
    n_splits = min(5, groups.nunique())
    if n_splits < 2:
        raise SerError(f"the pattern {pattern} finds '{groups.iloc[0]}' in every file name: nothing to split by")
    return _folds(GroupKFold(n_splits).split(clips, groups=groups), clips["clip"])


def _folds(splits: Iterable, index: Iterable) -> pd.Series:
    folds = pd.Series(-1, index=pd.Index(index), name="fold")
    for number, (_, test) in enumerate(splits):
        folds.iloc[test] = number
    return folds


def shuffled_texts(clips: pd.DataFrame) -> pd.DataFrame:
    """Shuffle the texts: folds disjoint in *these* have as little training data as text-disjoint ones, and the leak."""
    return clips.assign(text=clips["text"].sample(frac=1, random_state=0).to_numpy())


def best_per_fold(predictions: pd.DataFrame, *, elsewhere: bool, name: str) -> pd.DataFrame:
    """Combine, fold by fold, the predictions of the best system.

    Parameters
    ----------
    elsewhere : bool
        Choose the system by its UAR on all *other* folds; otherwise, the mistake, by its UAR on the test fold itself.
    name : str
        Of the resulting system.

    Returns
    -------
    DataFrame
        Predictions at clip level with a column `chosen`.
    """
    table = evaluation.to_clips(predictions)
    parts = []
    for fold, here in table.groupby("fold"):
        watched = table[table["fold"] != fold] if elsewhere else here
        uar = {
            system: float(evaluation.uar(evaluation.counts(own)[0].sum(axis=(0, 1))))
            for system, own in watched.groupby("system", sort=False)
        }
        best = max(uar, key=lambda system: uar[system])
        parts.append(here[here["system"] == best].assign(chosen=best))
    return pd.concat(parts, ignore_index=True).assign(system=name)


def accuracy_over_uar(predictions: pd.DataFrame, *, resamples: int = 10_000) -> pd.Series:
    """Accuracy (WA) minus UAR of the same predictions, with a 95 % interval over speakers."""
    evaluation.one_system(predictions)
    confusions, units = evaluation.counts(evaluation.to_clips(predictions))
    gap = evaluation.weighted(confusions, lambda matrices: evaluation.wa(matrices) - evaluation.uar(matrices))
    value, low, high = evaluation.interval(gap, len(units), resamples=resamples)
    return pd.Series({"difference": value[0], "low": low[0], "high": high[0]})


def narrowband(clips: pd.DataFrame, emotion: str, folder: Path, *, sample_rate: int = 8_000) -> pd.DataFrame:
    """Store one emotion's recordings at a lower sample rate, as in a corpus compiled from two sources.

    The copies are 16-bit FLAC files in `folder`, of `sample_rate` in Hz; the clips table comes back with their `path`
    and `sample_rate`.
    """
    changed = clips.copy()
    for row in clips[clips["emotion"] == emotion].itertuples():
        path = folder / f"{row.clip.replace('/', '_')}.flac"
        wave = audio.read(row, sample_rate=sample_rate)
        soundfile.write(path, np.clip(wave, -1, 1), sample_rate)
        changed.loc[row.Index, ["path", "sample_rate"]] = str(path), sample_rate
        if "start" in changed:
            changed.loc[row.Index, ["start", "end"]] = 0.0, len(wave) / sample_rate
    return changed


def published_results() -> pd.DataFrame:
    """Published scores on ShEMO, EMO-DB and RAVDESS with the protocol of each.

    Returns
    -------
    DataFrame
        `source, corpus, system, protocol, classes` (may be missing), `metric, value` (percent, as published), `leaky`
        (yes, no or unknown), `note`.
    """
    table = pd.read_csv(ROOT / "data" / "published_results.csv", dtype={"classes": "Int64"})
    return table.fillna(dict.fromkeys(table.columns.drop(["classes", "value"]), ""))
