"""How emotions differ acoustically: measures of clips, compared within speakers.

Measures come from the eGeMAPS functionals (Eyben et al. 2016), which the baselines use anyway, so that exploring
and classifying see the same numbers.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd

from ser_utils import EMOTIONS

#: Acoustic measure → (functional of eGeMAPSv02, axis label with unit). Loudness is the perceived one of eGeMAPS
#: (no unit), rate is counted in loudness peaks, which stand for syllables.
ACOUSTICS: dict[str, tuple[str, str]] = {
    "pitch": ("F0semitoneFrom27.5Hz_sma3nz_amean", "F0 mean [semitones]"),
    "pitch range": ("F0semitoneFrom27.5Hz_sma3nz_pctlrange0-2", "F0 range, 20–80 % [semitones]"),
    "loudness": ("loudness_sma3_amean", "loudness [no unit]"),
    "loudness variation": ("loudness_sma3_stddevNorm", "loudness, deviation / mean"),
    "rate": ("loudnessPeaksPerSec", "syllable-like peaks [1/s]"),
    "brightness": ("alphaRatioV_sma3nz_amean", "alpha ratio [dB]"),
    "roughness": ("jitterLocal_sma3nz_amean", "jitter [no unit]"),
    "clearness": ("HNRdBACF_sma3nz_amean", "harmonics-to-noise [dB]"),
}

#: Directions against the mean of the other emotions on which reviews agree, of those measures that they cover:
#: Juslin and Laukka (2003, Psychological Bulletin 129), for boredom Banse and Scherer (1996, JPSP 70).
EXPECTED: dict[str, dict[str, int]] = {
    "anger": {"loudness": +1, "rate": +1, "brightness": +1},
    "boredom": {"pitch": -1, "pitch range": -1, "rate": -1},
    "fear": {"pitch": +1, "rate": +1},
    "happiness": {"pitch": +1, "pitch range": +1, "loudness": +1},
    "sadness": {"pitch range": -1, "loudness": -1, "rate": -1, "brightness": -1},
}


def measures_of(clips: pd.DataFrame, functionals: np.ndarray, names: Sequence[str]) -> pd.DataFrame:
    """Take the measures of `ACOUSTICS` from whole-clip functionals.

    Parameters
    ----------
    clips : DataFrame
        A clips table.
    functionals : array, shape (clips, 88)
        Row i belongs to row i of `clips`.
    names : sequence of str
        Names of the 88 functionals.

    Returns
    -------
    DataFrame
        `clip`, `speaker`, `emotion`, `gender` and a column for each measure; NaN pitch, roughness and clearness
        where nothing is voiced.

    Raises
    ------
    ValueError
        If there is not one row of functionals for every clip.
    """
    if len(functionals) != len(clips):
        raise ValueError(f"{len(functionals)} rows of functionals for {len(clips)} clips: one row a clip is needed")
    place = {name: i for i, name in enumerate(names)}
    table = clips[["clip", "speaker", "emotion", "gender"]].reset_index(drop=True)
    for measure_name, (functional, _) in ACOUSTICS.items():
        table[measure_name] = np.asarray(functionals[:, place[functional]], float)
    voiced = ["pitch", "pitch range", "roughness", "clearness"]
    table.loc[table["pitch"] <= 0, voiced] = np.nan  # opensmile writes 0 where it finds no voice
    return table


def centre_by_speaker(table: pd.DataFrame, columns: Iterable[str]) -> pd.DataFrame:
    """Subtract from each value its speaker's mean, so that voices become comparable.

    The speaker's mean is the mean of their emotions' means: a speaker who was mostly angry keeps an anger above
    zero. Speakers heard in a single emotion say nothing about differences between emotions and are left out.

    Parameters
    ----------
    table : DataFrame
        One row a clip: `speaker`, `emotion` and `columns`.
    columns : iterable of str
        Columns to centre.
    """
    columns = list(columns)
    kept = table[table.groupby("speaker")["emotion"].transform("nunique") > 1].copy()
    own = kept.groupby(["speaker", "emotion"])[columns].mean().groupby("speaker").mean()
    kept[columns] = kept[columns].to_numpy(float) - own.reindex(kept["speaker"]).to_numpy(float)
    return kept.reset_index(drop=True)


def effect_sizes(table: pd.DataFrame, measures: Iterable[str], *, resamples: int = 1000, seed: int = 0) -> pd.DataFrame:
    """Share of each measure's variance within speakers that the emotion explains: eta squared, with intervals.

    Eta squared is the sum of squares between emotions over the total sum of squares, here of values centred by
    speaker (the partial eta squared of a design with speakers as blocks). It is never negative, so `bias` says
    what remains when labels are shuffled within speakers.

    Parameters
    ----------
    table : DataFrame
        One row a clip: `speaker`, `emotion` and the measures, not yet centred; NaN are left out.
    measures : iterable of str
        Columns.
    resamples : int
        Bootstrap resamples of speakers for the 95 % percentile interval.
    seed : int
        Seed of bootstrap and shuffling.

    Returns
    -------
    DataFrame
        One row a measure, largest first: `measure`, `value`, `low`, `high`, `bias`, `clips`, `speakers`.
    """
    rows = []
    for name in measures:
        rng = np.random.default_rng(seed)
        centred = centre_by_speaker(table.dropna(subset=[name]), [name])
        if centred.empty:
            continue
        value = centred[name].to_numpy()
        emotion, speaker = pd.factorize(centred["emotion"])[0], pd.factorize(centred["speaker"])[0]
        one = np.ones((1, speaker.max() + 1))
        draws = rng.multinomial(one.size, np.full(one.size, 1 / one.size), size=resamples)
        low, high = np.nanpercentile(_eta_squared(value, emotion, speaker, draws), [2.5, 97.5])
        shuffled = [_eta_squared(value, _shuffled_within(emotion, speaker, rng), speaker, one)[0] for _ in range(20)]
        rows.append({
            "measure": name, "value": _eta_squared(value, emotion, speaker, one)[0], "low": low, "high": high,
            "bias": float(np.mean(shuffled)), "clips": len(centred), "speakers": one.size,
        })  # fmt: skip
    columns = ["measure", "value", "low", "high", "bias", "clips", "speakers"]
    return pd.DataFrame(rows, columns=columns).sort_values("value", ascending=False).reset_index(drop=True)


def _eta_squared(value: np.ndarray, emotion: np.ndarray, speaker: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Eta squared for each row of `weights`, shape (draws, speakers): how often each speaker counts."""
    shape = (speaker.max() + 1, emotion.max() + 1)
    count, total, square = (np.zeros(shape) for _ in range(3))
    for sums, part in ((count, 1.0), (total, value), (square, value**2)):
        np.add.at(sums, (speaker, emotion), part)
    n, s, q = (weights @ sums for sums in (count, total, square))
    grand = s.sum(1) ** 2 / n.sum(1)
    between = np.divide(s**2, n, out=np.zeros_like(s), where=n > 0).sum(1) - grand
    whole = q.sum(1) - grand
    return np.divide(between, whole, out=np.full(len(whole), np.nan), where=whole > 0)


def _shuffled_within(labels: np.ndarray, groups: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Labels shuffled among the members of each group."""
    order = np.argsort(groups, kind="stable")
    result = np.empty_like(labels)
    result[order] = labels[np.lexsort((rng.random(len(labels)), groups))]
    return result


def contrasts(table: pd.DataFrame, measures: Iterable[str]) -> pd.DataFrame:
    """Difference of each emotion from the mean of the other emotions, in standard deviations within emotions.

    This is Cohen's d of speaker-centred values with every other emotion weighted equally.

    Parameters
    ----------
    table : DataFrame
        One row a clip: `speaker`, `emotion` and the measures, not yet centred.
    measures : iterable of str
        Columns.

    Returns
    -------
    DataFrame, shape (emotions, measures)
    """
    measures = list(measures)
    centred = centre_by_speaker(table, measures)
    groups = centred.groupby("emotion")[measures]
    mean = groups.mean()
    degrees = (groups.count() - 1).clip(lower=0)
    pooled = np.sqrt((groups.var().fillna(0) * degrees).sum() / degrees.sum())
    others = (mean.sum() - mean) / max(len(mean) - 1, 1)
    return ((mean - others) / pooled).reindex([e for e in EMOTIONS if e in mean.index])


def compare_with_expected(found: pd.DataFrame) -> pd.DataFrame:
    """Set contrasts beside the directions that the literature expects (`EXPECTED`).

    Parameters
    ----------
    found : DataFrame, shape (emotions, measures)
        From `contrasts`.

    Returns
    -------
    DataFrame
        One row an expectation about an emotion that occurs: `emotion`, `measure`, `expected` (1 or -1), `found`
        (standard deviations), `agrees`.
    """
    rows = [
        (emotion, name, sign, found.loc[emotion, name])
        for emotion, directions in EXPECTED.items()
        for name, sign in directions.items()
        if emotion in found.index and name in found.columns
    ]
    table = pd.DataFrame(rows, columns=["emotion", "measure", "expected", "found"])
    return table.assign(agrees=table["expected"] * table["found"] > 0)
