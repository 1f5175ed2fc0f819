"""What errors have in common: groups and their shrunken scores, pairs of emotions, agreement of systems, what-if changes."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd

from ser_utils import audio, evaluation

#: Pleasure (valence) and arousal of emotion words as people rated them, from -1 to 1. Russell & Mehrabian 1977, *Evidence
#: for a three-factor theory of emotions*: angry, bored, relaxed, disgusted, fearful, happy ("joyful"), sad, surprised; neutral
#: is the middle by definition.
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
    """Pull the scores of groups towards their mean, the more, the less is known of a group.

    The random-effects (empirical Bayes) estimate: what remains of the spread of the groups once the spread expected from
    their standard errors is taken off is taken as real.

    Parameters
    ----------
    values : Series
        Score of each group.
    errors : Series
        Its standard error, same index, > 0.

    Returns
    -------
    Series
        `mean + w (value - mean)` with `w = spread² / (spread² + error²)`; all equal to the mean where the groups differ no more
        than chance lets them.

    Raises
    ------
    ValueError
        If a standard error is not positive.

    References
    ----------
    DerSimonian & Laird 1986, *Meta-analysis in clinical trials*; Efron & Morris 1977, *Stein's paradox in statistics*.
    """
    if len(values) < 2:
        return values.copy()
    if not (errors > 0).all():
        raise ValueError("standard errors must be positive; groups of one clip have none")
    weight = 1 / errors**2
    fixed = (weight * values).sum() / weight.sum()
    excess = (weight * (values - fixed) ** 2).sum() - (len(values) - 1)
    spread = max(0.0, excess / (weight.sum() - (weight**2).sum() / weight.sum()))
    weight = 1 / (errors**2 + spread)
    mean = (weight * values).sum() / weight.sum()
    return mean + spread / (spread + errors**2) * (values - mean)


def group_accuracy(predictions: pd.DataFrame, groups: pd.Series) -> pd.DataFrame:
    """Accuracy within each group of clips, with its standard error, its interval and the shrunken estimate.

    Parameters
    ----------
    predictions : DataFrame
        One system's predictions; the accuracy is averaged over seeds.
    groups : Series
        Group of each clip, index = clip; clips without a group are left out.

    Returns
    -------
    DataFrame
        Columns `group, clips, value, low, high, shrunken`, 95 % Agresti-Coull intervals over clips: they describe these clips, not
        other speakers.

    References
    ----------
    Agresti & Coull 1998, *Approximate is better than "exact" for interval estimation of binomial proportions*.
    """
    clips = evaluation.to_clips(predictions)
    right = (evaluation.decided(clips) == clips["emotion"]).groupby(clips["clip"]).mean()
    grouped = right.groupby(groups.reindex(right.index), observed=True)
    count, hits = grouped.size(), grouped.sum()
    centre = (hits + 2) / (count + 4)
    error = np.sqrt(centre * (1 - centre) / (count + 4))
    table = pd.DataFrame(
        {
            "clips": count,
            "value": hits / count,
            "low": (centre - 1.96 * error).clip(0, 1),
            "high": (centre + 1.96 * error).clip(0, 1),
            "shrunken": shrunken(hits / count, error),
        }
    )
    return table.rename_axis("group").reset_index()


def confusion_pairs(confusion: pd.DataFrame) -> pd.DataFrame:
    """Every pair of emotions: how often they are taken for each other, and how far apart they lie in arousal and valence.

    Parameters
    ----------
    confusion : DataFrame, shape=(emotions, emotions)
        Counts, rows the true emotion.

    Returns
    -------
    DataFrame
        Columns `first, second, rate` (mean of the two directions' shares), `arousal, valence` (absolute differences of
        `VALENCE_AROUSAL`), most confused pair first.
    """
    shares = confusion.div(confusion.sum(axis=1).replace(0, np.nan), axis=0)
    rows = []
    for i, first in enumerate(confusion.index):
        for second in confusion.index[i + 1 :]:
            valence, arousal = np.abs(np.subtract(VALENCE_AROUSAL[first], VALENCE_AROUSAL[second]))
            rate = np.nanmean([shares.loc[first, second], shares.loc[second, first]])
            rows.append((first, second, rate, arousal, valence))
    pairs = pd.DataFrame(rows, columns=["first", "second", "rate", "arousal", "valence"])
    return pairs.sort_values("rate", ascending=False, ignore_index=True)


def correct(predictions: pd.DataFrame) -> pd.DataFrame:
    """Whether each system is right about each clip: a row a clip, a column a system, share of the seeds that are right."""
    clips = evaluation.to_clips(predictions)
    right = (evaluation.decided(clips) == clips["emotion"]).rename("right")
    return right.groupby([clips["clip"], clips["system"]], sort=False).mean().unstack("system")


def agreement(right: pd.DataFrame) -> pd.DataFrame:
    """Correlation between the systems' errors: 1 where they fail on the same clips, 0 where they fail independently.

    Parameters
    ----------
    right : DataFrame
        As `correct` gives it.

    References
    ----------
    Kuncheva & Whitaker 2003, *Measures of diversity in classifier ensembles*.
    """
    return (1 - right).corr()


def vote(predictions: pd.DataFrame, systems: Sequence[str], *, name: str = "vote") -> pd.DataFrame:
    """Let several systems judge together: the mean of their log-probabilities for each clip, seeds averaged likewise.

    Returns
    -------
    DataFrame
        A predictions table at clip level with `system=name` and seed 0.

    Raises
    ------
    ValueError
        If a system has no predictions.
    """
    lacking = set(systems) - set(predictions["system"])
    if lacking:
        raise ValueError(f"no predictions of {sorted(lacking)}; there are {sorted(predictions['system'].unique())}")
    clips = evaluation.to_clips(predictions[predictions["system"].isin(systems)])
    names = evaluation.emotions_of(clips)
    logs = np.log(clips[names].clip(lower=1e-6))
    # First over the seeds of a system, then over systems: one with more seeds has no more votes.
    by_system = logs.groupby([clips["system"], clips["clip"]]).mean()
    shares = np.exp(by_system.groupby("clip").mean())
    shares = shares.div(shares.sum(axis=1), axis=0)
    rest = clips.groupby("clip")[["fold", "speaker", "emotion"]].first()
    return rest.join(shares).reset_index().assign(system=name, seed=0)[[*evaluation.COLUMNS, *names]]


def mean_curve(
    curves: np.ndarray,
    fractions: Sequence[float],
    clips: pd.Series,
    *,
    order: str,
    resamples: int = 2_000,
    seed: int = 0,
) -> pd.DataFrame:
    """Mean of deletion curves with 95 % intervals over clips.

    Parameters
    ----------
    curves : ndarray, shape=(segments, len(fractions))
        As `attribution.deletion_curves` gives them, or a difference of two.
    clips : Series, length segments
        Clip of each segment: segments of one clip are not independent, so clips are resampled.
    order : str
        Name of the order of deletion.

    Returns
    -------
    DataFrame
        Columns `order, deleted, value, low, high`.
    """
    by_clip = pd.DataFrame(curves).groupby(np.asarray(clips)).mean().to_numpy()
    weights = np.random.default_rng(seed).multinomial(len(by_clip), np.full(len(by_clip), 1 / len(by_clip)), resamples)
    low, high = np.quantile(weights @ by_clip / len(by_clip), [0.025, 0.975], axis=0)
    rows = {"order": order, "deleted": list(fractions), "value": by_clip.mean(axis=0), "low": low, "high": high}
    return pd.DataFrame(rows)


def overlap(suspects: pd.Series, labels: pd.Series, corrected: pd.Series) -> pd.Series:
    """How many of the labels that a second listener changed are among the suspects, against what chance would put there.

    Parameters
    ----------
    suspects : Series
        Names of the suspected clips.
    labels, corrected : Series
        Emotion of each clip in the first and in the second set of labels, index = clip.

    Returns
    -------
    Series
        `clips` in both sets, `changed` labels, `suspects`, `both`, `expected` by chance, and `p` of so large an overlap
        (hypergeometric, one-sided).
    """
    from scipy.stats import hypergeom

    common = labels.index.intersection(corrected.index)
    changed = common[labels[common] != corrected[common]]
    named = common.intersection(pd.Index(suspects))
    both = len(changed.intersection(named))
    expected = len(changed) * len(named) / max(len(common), 1)
    p = hypergeom.sf(both - 1, len(common), len(changed), len(named))
    return pd.Series(
        {
            "clips": len(common),
            "changed": len(changed),
            "suspects": len(named),
            "both": both,
            "expected": expected,
            "p": p,
        }
    )


def perturbed(wave: np.ndarray, *, semitones: float = 0.0, tempo: float = 1.0) -> np.ndarray:
    """The same recording at another pitch or tempo, by phase vocoder (librosa).

    Parameters
    ----------
    wave : ndarray, shape=(samples,)
        At `audio.SAMPLE_RATE`.
    semitones : float
        Shift of the pitch; formants move with it.
    tempo : float
        2 is twice as fast, > 0.
    """
    librosa = audio.load_librosa()

    if semitones:
        wave = librosa.effects.pitch_shift(wave, sr=audio.SAMPLE_RATE, n_steps=semitones)
    if tempo != 1.0:
        wave = librosa.effects.time_stretch(wave, rate=tempo)
    return wave.astype(np.float32)


def judge(
    waves: Sequence[np.ndarray], encode: Callable[[np.ndarray], np.ndarray], estimator, *, seconds: float
) -> np.ndarray:
    """Probabilities of waveforms that are in no table: cut, encode, judge, average, as a clip is.

    Parameters
    ----------
    waves : sequence of ndarray, each shape=(samples,)
    encode : callable
        Waveforms `(n, samples)` to feature maps `(n, frames, dims)`.
    estimator
        Fitted on such feature maps.
    seconds : float
        Segment length.

    Returns
    -------
    ndarray, shape=(len(waves), emotions)
    """
    rows = []
    for wave in waves:
        clip = pd.DataFrame({"clip": ["wave"], "duration": [len(wave) / audio.SAMPLE_RATE]})
        starts = (audio.cut_segments(clip, seconds=seconds)["start"] * audio.SAMPLE_RATE).round().astype(int)
        samples = round(seconds * audio.SAMPLE_RATE)
        pieces = np.stack([np.resize(wave[start : start + samples], samples) for start in starts])
        logs = np.log(np.maximum(estimator.predict_proba(encode(pieces)), 1e-6)).mean(axis=0)
        rows.append(np.exp(logs - logs.max()) / np.exp(logs - logs.max()).sum())
    return np.stack(rows)
