"""How emotions differ acoustically: eGeMAPS functionals (Eyben et al. 2016) of clips, compared within speakers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np
import pandas as pd

from ser_utils import emotions_among, evaluation

#: Acoustic measure → (functional of eGeMAPSv02, axis label with unit). Loudness is the perceived loudness of eGeMAPS
#: (no unit); rate counts loudness peaks, which approximate syllables.
ACOUSTICS: dict[str, tuple[str, str]] = {
    "pitch": ("F0semitoneFrom27.5Hz_sma3nz_amean", "F0 mean [semitones]"),
    "pitch range": ("F0semitoneFrom27.5Hz_sma3nz_pctlrange0-2", "F0 range, 20–80 % [semitones]"),
    "loudness": ("loudness_sma3_amean", "loudness [no unit]"),
    "loudness variation": ("loudness_sma3_stddevNorm", "loudness, standard deviation / mean"),
    "rate": ("loudnessPeaksPerSec", "syllable-like peaks [1/s]"),
    "alpha ratio": ("alphaRatioV_sma3nz_amean", "alpha ratio [dB]"),
    "jitter": ("jitterLocal_sma3nz_amean", "jitter [no unit]"),
    "HNR": ("HNRdBACF_sma3nz_amean", "harmonics-to-noise [dB]"),
}

#: Directions relative to the mean of the other emotions on which reviews agree: Juslin and Laukka (2003, Psychological
#: Bulletin 129), for boredom Banse and Scherer (1996, JPSP 70).
EXPECTED: dict[str, dict[str, int]] = {
    "anger": {"loudness": +1, "rate": +1, "alpha ratio": +1},
    "boredom": {"pitch": -1, "pitch range": -1, "rate": -1},
    "fear": {"pitch": +1, "rate": +1},
    "happiness": {"pitch": +1, "pitch range": +1, "loudness": +1},
    "sadness": {"pitch range": -1, "loudness": -1, "rate": -1, "alpha ratio": -1},
}


def measures_of(clips: pd.DataFrame, functionals: np.ndarray, names: Sequence[str]) -> pd.DataFrame:
    """Take the measures of `ACOUSTICS` from whole-clip functionals.

    Parameters
    ----------
    functionals, names : array of shape=(clips, 88), sequence of str
        In the order of `clips`, a clips table; names of the columns.

    Returns
    -------
    DataFrame
        `clip`, `speaker`, `emotion`, `gender` and one column per measure; measures of voiced frames are NaN in a clip
        without any.

    Raises
    ------
    ValueError
        If there is not one row of functionals for every clip.
    """
    if len(functionals) != len(clips):
        raise ValueError(f"{len(functionals)} rows of functionals for {len(clips)} clips: one row per clip is needed")
    table = clips[["clip", "speaker", "emotion", "gender"]].reset_index(drop=True)
    for measure, (functional, _) in ACOUSTICS.items():
        table[measure] = np.asarray(functionals[:, list(names).index(functional)], float)
    voiced = ["pitch", "pitch range", "jitter", "HNR"]
    table.loc[table["pitch"] <= 0, voiced] = np.nan  # openSMILE writes 0 where nothing is voiced
    return table


def centre_by_speaker(table: pd.DataFrame, columns: Iterable[str]) -> pd.DataFrame:
    """Subtract each speaker's mean, so that speakers become comparable.

    It is the mean of the means per emotion, so it does not depend on how often the speaker is angry. Speakers with a
    single emotion carry no information on differences between emotions and are left out. `table` has one row per clip:
    `speaker`, `emotion` and `columns`.
    """
    columns = list(columns)
    kept = table[table.groupby("speaker")["emotion"].transform("nunique") > 1].copy()
    own = kept.groupby(["speaker", "emotion"])[columns].mean().groupby("speaker").mean()
    kept[columns] = kept[columns].to_numpy(float) - own.reindex(kept["speaker"]).to_numpy(float)
    return kept.reset_index(drop=True)


def effect_sizes(table: pd.DataFrame, measures: Iterable[str], *, resamples: int = 1000) -> pd.DataFrame:
    """Share of each measure's variance within speakers that emotion explains: eta squared, with intervals.

    Eta squared is the sum of squares between emotions over the total sum of squares, here of values centred by speaker
    (the partial eta squared of a design with speakers as blocks). It is never negative, so `bias` gives its value for
    labels shuffled within speakers.

    Parameters
    ----------
    table : DataFrame
        One row per clip: `speaker`, `emotion` and the measures, not yet centred; NaN are left out.
    resamples : int
        For the 95 % interval over speakers (see `evaluation.interval`).

    Returns
    -------
    DataFrame
        One row per measure, largest first: `measure`, `value`, `low`, `high`, `bias`, `clips`, `speakers`.
    """
    rows, rng = [], np.random.default_rng(0)
    for name in measures:
        centred = centre_by_speaker(table.dropna(subset=[name]), [name]).sort_values("speaker")
        if centred.empty:
            continue
        speakers = centred["speaker"].nunique()
        value, low, high = evaluation.interval(_eta_squared(centred, name), speakers, resamples=resamples)
        codes, emotion, shuffled = centred["speaker"].factorize()[0], centred["emotion"].to_numpy(), []
        for _ in range(20):  # the order sorts random numbers within speakers
            mixed = centred.assign(emotion=emotion[np.lexsort((rng.random(len(codes)), codes))])
            shuffled.append(_eta_squared(mixed, name)(np.ones((1, speakers))))
        rows.append((name, value[0], low[0], high[0], float(np.mean(shuffled)), len(centred), speakers))
    columns = ["measure", "value", "low", "high", "bias", "clips", "speakers"]
    return pd.DataFrame(rows, columns=columns).sort_values("value", ascending=False, ignore_index=True)


def _eta_squared(table: pd.DataFrame, name: str) -> Callable[[np.ndarray], np.ndarray]:
    """Eta squared of a column, as a function of the speakers' weights (see `evaluation.weighted`)."""
    value = table[name]
    terms = pd.DataFrame({"n": 1.0, "sum": value, "square": value**2}).groupby([table["speaker"], table["emotion"]]).sum()
    sums = terms.unstack("emotion", fill_value=0).to_numpy().reshape(1, table["speaker"].nunique(), 3, -1)

    def share(totals: np.ndarray) -> np.ndarray:
        """Eta squared of counts, sums and sums of squares, shape `(resamples, 3, emotions)`."""
        n, total, square = totals.transpose(1, 0, 2)
        grand = total.sum(1) ** 2 / n.sum(1)
        between = np.divide(total**2, n, out=np.zeros_like(total), where=n > 0).sum(1) - grand
        whole = square.sum(1) - grand
        return np.divide(between, whole, out=np.full(len(whole), np.nan), where=whole > 0)

    return evaluation.weighted(sums, share)


def contrasts(table: pd.DataFrame, measures: Iterable[str]) -> pd.DataFrame:
    """Difference of each emotion from the mean of the other emotions, in standard deviations within emotions.

    This is Cohen's d of speaker-centred values, with equal weights for the other emotions. `table` is as for
    `effect_sizes`; the result has shape `(emotions, measures)`.
    """
    measures = list(measures)
    centred = centre_by_speaker(table, measures)
    groups = centred.groupby("emotion")[measures]
    mean = groups.mean()
    degrees = (groups.count() - 1).clip(lower=0)
    pooled = np.sqrt((groups.var().fillna(0) * degrees).sum() / degrees.sum())
    others = (mean.sum() - mean) / max(len(mean) - 1, 1)
    return ((mean - others) / pooled).reindex(emotions_among(mean.index))


def compare_with_expected(found: pd.DataFrame) -> pd.DataFrame:
    """Compare the result of `contrasts` with the directions expected from the literature (`EXPECTED`).

    Returns
    -------
    DataFrame
        One row per expectation about an emotion that occurs: `emotion`, `measure`, `expected` (1 or -1), `found`
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
