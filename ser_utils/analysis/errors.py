"""What errors have in common: scores of groups, confused pairs, agreement of systems, perturbed recordings."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import hypergeom, rankdata
from sklearn.base import BaseEstimator

from ser_utils import audio, corpora, evaluation

#: Mean ratings of the valence and arousal of emotion words, from -1 to 1 (Russell & Mehrabian 1977, *Evidence for a
#: three-factor theory of emotions*: angry, bored, relaxed, disgusted, fearful, joyful, sad, surprised); neutral is 0.
VALENCE_AROUSAL: dict[str, tuple[float, float]] = {
    "anger": (-0.51, 0.59),
    "boredom": (-0.65, -0.62),
    "calm": (0.68, -0.46),
    "disgust": (-0.60, 0.35),
    "fear": (-0.64, 0.60),
    "happiness": (0.76, 0.48),
    "neutral": (0.0, 0.0),
    "sadness": (-0.63, -0.27),
    "surprise": (0.40, 0.67),
}


def shrunken(values: pd.Series, errors: pd.Series) -> pd.Series:
    """Shrink the scores of groups towards their mean, more strongly where a group's standard error is larger.

    This is the random-effects (empirical Bayes) estimate: the variance between groups that their standard errors do not
    explain is taken as real (DerSimonian & Laird 1986; Efron & Morris 1977). A standard error that is missing or 0 (a
    few clips, all right or all wrong) is unknown and counts as the largest of the others.

    Returns
    -------
    Series
        `mean + w (value - mean)` with `w = spread² / (spread² + error²)`; all equal to the mean where the groups differ
        no more than expected by chance, and `values` themselves where no standard error is known.
    """
    known = errors[errors > 0]
    if len(values) < 2 or known.empty:
        return values.copy()
    errors = errors.where(errors > 0, known.max())
    weight = 1 / errors**2
    fixed = (weight * values).sum() / weight.sum()
    excess = (weight * (values - fixed) ** 2).sum() - (len(values) - 1)
    spread = max(0.0, excess / (weight.sum() - (weight**2).sum() / weight.sum()))
    weight = 1 / (errors**2 + spread)
    mean = (weight * values).sum() / weight.sum()
    return mean + spread / (spread + errors**2) * (values - mean)


def group_uar(predictions: pd.DataFrame, groups: pd.Series, *, resamples: int = 10_000) -> pd.DataFrame:
    """UAR within each group of clips, with an interval over speakers and the shrunken estimate.

    UAR gives every emotion of a group the same weight, so a group does not score high for holding many clips of an
    emotion that is easily recognised. Where every group is one speaker, clips are resampled instead of speakers: the
    interval describes that speaker only.

    Parameters
    ----------
    predictions : DataFrame
        Of one system.
    groups : Series
        Group of each clip, index = clip; clips without a group are left out.

    Returns
    -------
    DataFrame
        Columns `group, clips, speakers, value, low, high, shrunken`; `low` and `high` of a group with one speaker among
        groups with several are NaN.
    """
    speakers = predictions["speaker"].groupby(predictions["clip"].map(groups), observed=True).nunique()
    unit = "clip" if speakers.max() == 1 else "speaker"
    table = evaluation.scores_by(predictions, groups, unit=unit, resamples=resamples).query("metric == 'uar'")
    table = table[["group", "clips", "speakers", "value", "low", "high"]].reset_index(drop=True)
    return table.assign(shrunken=shrunken(table["value"], (table["high"] - table["low"]) / (2 * 1.96)))


def confusion_pairs(confusion: pd.DataFrame) -> pd.DataFrame:
    """How often each pair of emotions is confused, and the distance of the two in arousal and valence.

    Parameters
    ----------
    confusion : DataFrame, shape=(emotions, emotions)
        Counts, rows the true emotion.

    Returns
    -------
    DataFrame
        Columns `first, second, rate` (mean of the two directions' shares), `arousal, valence` (absolute differences of
        `VALENCE_AROUSAL`; NaN for emotions that it lacks), most confused pair first.
    """
    shares = confusion.div(confusion.sum(axis=1).replace(0, np.nan), axis=0)
    rows = []
    for first, second in itertools.combinations(confusion.index, 2):
        valence, arousal = np.abs(np.subtract(*(VALENCE_AROUSAL.get(name, (np.nan, np.nan)) for name in (first, second))))
        rate = np.nanmean([shares.loc[first, second], shares.loc[second, first]])
        rows.append((first, second, rate, arousal, valence))
    pairs = pd.DataFrame(rows, columns=["first", "second", "rate", "arousal", "valence"])
    return pairs.sort_values("rate", ascending=False, ignore_index=True)


def mantel(pairs: pd.DataFrame, distance: str, *, resamples: int = 10_000) -> tuple[float, float]:
    """Rank correlation of confusion with distance over pairs of emotions, with a permutation p-value (Mantel 1967).

    Each emotion occurs in several pairs, so the p-value of a plain rank correlation is too low. If distance had nothing
    to do with confusion, the emotions could change places on the scale: they are permuted, all their pairs with them.

    Parameters
    ----------
    pairs : DataFrame
        From `confusion_pairs`; `distance` is a column of it. Pairs without a distance are left out.
    resamples : int
        Random permutations. Where there are no more than so many, as the 720 of six emotions, all of them are used.

    Returns
    -------
    rho, p : float
        Spearman's correlation and its two-sided p-value.
    """
    pairs = pairs.dropna(subset=distance)
    names = sorted({*pairs["first"], *pairs["second"]})
    first, second = (pd.Index(names).get_indexer(pairs[end]) for end in ("first", "second"))
    if math.factorial(len(names)) <= resamples:
        orders = np.array(list(itertools.permutations(range(len(names)))))
    else:
        rng = np.random.default_rng(0)
        orders = np.array([range(len(names)), *(rng.permutation(len(names)) for _ in range(resamples))])
    rate, ranks = (rankdata(pairs[column]) - (len(pairs) + 1) / 2 for column in ("rate", distance))
    rank_of = np.zeros((len(names), len(names)))
    rank_of[first, second] = rank_of[second, first] = ranks
    products = rank_of[orders[:, first], orders[:, second]] @ rate
    rho = products[0] / np.sqrt((rate @ rate) * (ranks @ ranks))  # the first order is the observed one
    return float(rho), float((np.abs(products) >= np.abs(products[0]) - 1e-9).mean())


def correct(predictions: pd.DataFrame) -> pd.DataFrame:
    """Share of the seeds with which each system is right: one row per clip, one column per system.

    The correlation of two columns is 1 where two systems fail on the same clips and 0 where they fail independently
    (Kuncheva & Whitaker 2003, *Measures of diversity in classifier ensembles*).
    """
    clips = evaluation.to_clips(predictions).set_index(["clip", "system"])
    right = evaluation.decided(clips) == clips["emotion"]
    return right.groupby(["clip", "system"], sort=False).mean().unstack("system")


def vote(predictions: pd.DataFrame, systems: Sequence[str]) -> pd.DataFrame:
    """Combine several systems: the mean of their log-probabilities for each clip, after the mean over their seeds.

    Returns
    -------
    DataFrame
        A predictions table at clip level, system `vote`, seed 0.

    Raises
    ------
    ValueError
        If a system has no predictions.
    """
    lacking = set(systems) - set(predictions["system"])
    if lacking:
        raise ValueError(f"no predictions of {sorted(lacking)}; there are {sorted(predictions['system'].unique())}")
    clips = evaluation.to_clips(predictions[predictions["system"].isin(systems)])
    # `to_clips` pools what has a start of its own: first the seeds of a system, then the systems, so that a system with
    # more seeds has no more weight.
    by_system = evaluation.to_clips(clips.assign(start=clips["seed"], seed=0))
    return evaluation.to_clips(by_system.assign(start=by_system["system"], system="vote"))


def mean_over_speakers(values: np.ndarray, speakers: Sequence) -> pd.DataFrame:
    """Mean over speakers of each speaker's mean, with 95 % intervals over speakers.

    Parameters
    ----------
    values : ndarray, shape=(rows, columns)
        One row per clip or segment; for a paired comparison, differences.
    speakers : sequence, length rows

    Returns
    -------
    DataFrame, shape=(columns, 3)
        `value, low, high`; `low` and `high` are NaN if there is one speaker only.
    """
    means = pd.DataFrame(values).groupby(np.asarray(speakers)).mean().to_numpy()
    value, low, high = evaluation.interval(lambda weights: weights @ means / weights.sum(1, keepdims=True), len(means))
    return pd.DataFrame({"value": value, "low": low, "high": high})


def second_labels(clips: pd.DataFrame, corpus: str, *, data: str | Path | None, labels: str) -> pd.Series | None:
    """Labels with which suspect ones can be compared; `corpus`, `data`, `labels` as for `corpora.load` of `clips`.

    Returns
    -------
    Series or None
        Emotion of each clip, index = clip: of a synthetic corpus the labels themselves, which are the rules that made
        the recordings; of ShEMO's file names the modified labels (Yazdani & Shekofteh). Else None.
    """
    if corpora.card(corpus).synthetic:
        return clips.set_index("clip")["emotion"]
    if corpora.card(corpus).name == "shemo" and labels == "filename":
        return corpora.load(corpus, data, labels="modified").set_index("clip")["emotion"]
    return None


def overlap(suspects: pd.Series, labels: pd.Series, corrected: pd.Series) -> pd.Series:
    """Number of labels changed in a second set that are among the suspects, and the number expected by chance.

    Parameters
    ----------
    suspects : Series
        Names of clips.
    labels, corrected : Series
        Emotion of each clip in the first and in the second set, index = clip.

    Returns
    -------
    Series
        `clips` in both sets, `changed` labels, `suspects`, `both`, `expected` by chance, and `p` of so large an overlap
        (hypergeometric, one-sided).
    """
    common = labels.index.intersection(corrected.index)
    changed = common[labels[common] != corrected[common]]
    named = common.intersection(pd.Index(suspects))
    both = len(changed.intersection(named))
    return pd.Series({
        "clips": len(common), "changed": len(changed), "suspects": len(named), "both": both,
        "expected": len(changed) * len(named) / max(len(common), 1),
        "p": hypergeom.sf(both - 1, len(common), len(changed), len(named)),
    })  # fmt: skip


def perturbed(wave: np.ndarray, *, semitones: Sequence[float] = (), tempo: Sequence[float] = ()) -> np.ndarray:
    """Change the pitch or tempo of a recording (16 kHz) in steps, one after the other, by phase vocoder (librosa).

    The vocoder leaves traces of its own, and those of a step to and fro remain although nothing else does: `(2, -2)` is
    the control of `(2, 2)`. A step of 0 semitones, or to 1 times the tempo, is none: the vocoder then returns what it
    was given.

    Parameters
    ----------
    wave : ndarray, shape=(samples,)
    semitones, tempo : sequence of float
        Shifts of the pitch, formants with it, and changes of the tempo, where 2 is twice as fast.
    """
    librosa = audio.load_librosa()
    for step in semitones:
        wave = librosa.effects.pitch_shift(wave, sr=audio.SAMPLE_RATE, n_steps=step)
    for rate in tempo:
        wave = librosa.effects.time_stretch(wave, rate=rate)
    return wave.astype(np.float32)


def judge(
    waves: Sequence[np.ndarray], encode: Callable[[np.ndarray], np.ndarray], estimator: BaseEstimator, *, seconds: float
) -> np.ndarray:
    """Probabilities for waveforms outside any corpus: cut, leave silence out, encode, predict, and pool.

    Parameters
    ----------
    waves : sequence of ndarray, each shape=(samples,)
        At `audio.SAMPLE_RATE`.
    encode : callable
        Waveforms `(n, samples)` to feature maps `(n, frames, dims)`, on which `estimator` was fitted.
    seconds : float
        Segment length.

    Returns
    -------
    ndarray, shape=(len(waves), emotions)
        Columns in the order of `estimator.classes_`.
    """
    samples, names, parts = round(seconds * audio.SAMPLE_RATE), list(estimator.classes_), []
    for clip, wave in enumerate(waves):
        table = pd.DataFrame({"clip": [clip], "duration": [len(wave) / audio.SAMPLE_RATE]})
        sound = pd.DataFrame(audio.active_stretches(audio.frame_levels(wave)), columns=["start", "end"]).assign(clip=clip)
        table = audio.cut_segments(table, seconds=seconds, active=sound)
        starts = [audio.first_sample(start, samples, len(wave)) for start in table["start"]]
        segments = np.stack([np.resize(wave[start : start + samples], samples) for start in starts])
        parts.append(table.join(pd.DataFrame(estimator.predict_proba(encode(segments)), columns=names)))
    # The other columns that `to_clips` needs; it pools whatever their values.
    table = pd.concat(parts).assign(system="", seed=0, fold=0, speaker="", emotion=names[0])
    return evaluation.to_clips(table)[names].to_numpy()
