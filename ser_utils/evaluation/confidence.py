"""Confidence of predictions: calibration, abstention, and labels that the predictions contradict."""

import numpy as np
import pandas as pd
from scipy.special import softmax

from ser_utils import SerError, models
from ser_utils.evaluation.intervals import interval, ratio, weighted
from ser_utils.evaluation.predictions import FLOOR, codes, decided, emotions_of, need_equal_seeds, to_clips

BINS = 10  # of equal width, closed above


def _bin_sums(table: pd.DataFrame, confidence: np.ndarray, hit: np.ndarray) -> np.ndarray:
    """Sums of (1, confidence, hit, squared error) by seed, speaker and bin: `(seeds, speakers, BINS, 4)`."""
    seeds, speakers = (pd.factorize(table[column], sort=True)[0] for column in ("seed", "speaker"))
    bins = np.clip(np.ceil(confidence * BINS).astype(int) - 1, 0, BINS - 1)
    sums = np.zeros((seeds.max() + 1, speakers.max() + 1, BINS, 4))
    values = np.stack([np.ones_like(confidence), confidence, hit, (confidence - hit) ** 2], axis=1)
    np.add.at(sums, (seeds, speakers, bins), values)
    return sums


def _errors(sums: np.ndarray) -> np.ndarray:
    """The three errors of `calibration` from `_bin_sums` of the predicted and of every emotion, stacked on axis 1."""
    n = sums[:, 0, :, 0].sum(-1)
    gaps = np.abs(sums[..., 2] - sums[..., 1]).sum(-1) / n[:, None]
    return np.stack([gaps[:, 0], gaps[:, 1:].mean(-1), sums[:, 1:, :, 3].sum((1, 2)) / n], axis=-1)


def _confidence(table: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Probability of each row's predicted emotion, and 1.0 where it is right, else 0.0."""
    true, predicted = codes(table)
    return table[emotions_of(table)].to_numpy(dtype=float).max(1), (true == predicted).astype(float)


def calibration(predictions: pd.DataFrame) -> pd.DataFrame:
    """Calibration errors and Brier score of every system at clip level, mean over seeds.

    - `ece`: gap between confidence and accuracy of the predicted emotion in ten bins of equal width, weighted by bin
      size (Naeini et al. 2015; Guo et al. 2017).
    - `classwise_ece`: the same gap for the probability of each emotion, averaged over emotions (Kull et al. 2019).
    - `brier`: mean squared distance of the probabilities from the truth, summed over emotions, 0 to 2 (Brier 1950).

    Returns
    -------
    DataFrame
        `system, level, metric, value, low, high, seeds, speakers, clips`. The interval is Student's t on the jackknife
        over speakers: noise only increases calibration errors, and a bootstrap would add that of thin bins twice. Thin
        bins also make the errors themselves too high: compare systems on equal numbers of clips.
    """
    table = to_clips(predictions)
    names = emotions_of(table)
    parts = []
    for system, own in table.groupby("system", sort=False):
        each = [_bin_sums(own, own[name].to_numpy(dtype=float), own["emotion"].eq(name).to_numpy()) for name in names]
        sums = np.stack([_bin_sums(own, *_confidence(own)), *each], axis=2)
        value, low, high = interval(weighted(sums, _errors), sums.shape[1], method="t")
        parts.append(pd.DataFrame({
            "system": system, "level": "clip", "metric": ["ece", "classwise_ece", "brier"], "value": value,
            "low": np.maximum(low, 0), "high": np.minimum(high, [1, 1, 2]), "seeds": own["seed"].nunique(),
            "speakers": own["speaker"].nunique(), "clips": own["clip"].nunique(),
        }))  # fmt: skip
    return pd.concat(parts, ignore_index=True)


def reliability(predictions: pd.DataFrame) -> pd.DataFrame:
    """Accuracy by confidence at clip level: the numbers of a reliability diagram (DeGroot & Fienberg 1983).

    Returns
    -------
    DataFrame
        `system, bin, left, right, n, confidence, accuracy, low, high`: one row per bin `(left, right]` with clips, `n`
        their mean number over seeds, 95 % interval over speakers (jackknife t; NaN where a bin has one speaker only).
    """
    parts = []
    for system, own in to_clips(predictions).groupby("system", sort=False):
        seeds = own["seed"].nunique()
        summed = _bin_sums(own, *_confidence(own)).sum(0)  # seeds together: a bin may be empty in one of them
        filled = np.flatnonzero(summed[..., 0].sum(0))
        summed = summed[:, filled]
        estimate = weighted(summed[None], lambda total: ratio(total[..., 2], total[..., 0]))
        value, low, high = interval(estimate, len(summed), method="t")
        n, confidence = summed.sum(0).T[:2]
        parts.append(pd.DataFrame({
            "system": system, "bin": filled, "left": filled / BINS, "right": (filled + 1) / BINS, "n": n / seeds,
            "confidence": confidence / n, "accuracy": value, "low": np.maximum(low, 0), "high": np.minimum(high, 1),
        }))  # fmt: skip
    return pd.concat(parts, ignore_index=True)


def temperatures(predictions: pd.DataFrame) -> pd.DataFrame:
    """Fit one temperature per system, seed and fold on clips of speakers outside the fold (Guo et al. 2017).

    The models that made these out-of-fold predictions were trained on the fold's speakers, too; scikit-learn's
    `CalibratedClassifierCV(ensemble=False)` accepts the same, since only one number is fitted. A test shows that on
    average these temperatures equal those fitted on entirely new speakers.

    Returns
    -------
    DataFrame
        `system, seed, fold, temperature`; above 1 the system was over-confident.

    Raises
    ------
    SerError
        If a fold tests every speaker.
    """
    table = to_clips(predictions)
    names = emotions_of(table)
    rows = []
    for (system, seed), own in table.groupby(["system", "seed"], sort=False):
        logits, true = np.log(np.maximum(own[names].to_numpy(dtype=float), FLOOR)), codes(own)[0]
        for fold in sorted(own["fold"].unique()):
            tested = own.loc[own["fold"] == fold, "speaker"].unique()
            others = ~own["speaker"].isin(tested).to_numpy()  # by speaker: text-disjoint folds share speakers
            if not others.any():
                raise SerError(f"fold {fold} of '{system}' tests every speaker: no one is left to fit a temperature on")
            rows.append((system, seed, fold, models.fit_temperature(logits[others], true[others], balanced=False)))
    return pd.DataFrame(rows, columns=["system", "seed", "fold", "temperature"])


def calibrate(predictions: pd.DataFrame) -> pd.DataFrame:
    """Predictions per clip with the confidence corrected by `temperatures`; the predicted emotions stay the same."""
    table = to_clips(predictions)
    names = emotions_of(table)
    fitted = table.merge(temperatures(table), on=["system", "seed", "fold"], how="left")["temperature"].to_numpy()
    logits = np.log(np.maximum(table[names].to_numpy(dtype=float), FLOOR))
    table[names] = softmax(logits / fitted[:, None], axis=1)
    return table


def risk_coverage(predictions: pd.DataFrame) -> pd.DataFrame:
    """Error rate when only the most confident predictions are made (El-Yaniv & Wiener 2010).

    Returns
    -------
    DataFrame
        `system, coverage, risk`: fraction of clips decided, most confident first, and fraction of those that are wrong
        (equal confidences in any order); mean over seeds, one row per clip. The mean of `risk` is the area under it.

    Raises
    ------
    SerError
        If a system has another number of clips with another seed.
    """
    parts = []
    for system, own in to_clips(predictions).groupby("system", sort=False):
        need_equal_seeds(own)
        curves = []
        for _, rows in own.groupby("seed"):
            confidence, hit = _confidence(rows)
            wrong = pd.Series(1 - hit, index=-confidence).groupby(level=0).transform("mean").sort_index()
            curves.append(wrong.to_numpy().cumsum() / np.arange(1, len(rows) + 1))
        coverage = np.arange(1, len(rows) + 1) / len(rows)
        parts.append(pd.DataFrame({"system": system, "coverage": coverage, "risk": np.mean(curves, axis=0)}))
    return pd.concat(parts, ignore_index=True)


def _lowest(confidence: np.ndarray, hit: np.ndarray, accuracy: float) -> float:
    """Lowest confidence from which on the predictions reach `accuracy`, ties decided together; else infinity."""
    reached = pd.Series(hit).groupby(-confidence).agg(["sum", "size"]).cumsum()
    enough = reached.index[reached["sum"] / reached["size"] >= accuracy - 1e-12]
    return float(-enough[-1]) if len(enough) else np.inf


def coverage_at(predictions: pd.DataFrame, accuracy: float) -> pd.DataFrame:
    """Fraction of clips that can be decided if a fraction `accuracy` (above 0, up to 1) of them must be right.

    The confidence threshold of a fold is the lowest that reaches `accuracy` on the *other* speakers' predictions.

    Returns
    -------
    DataFrame
        `system, target, coverage, accuracy`, means over seeds: fraction decided, and fraction of those that are right
        (NaN if none is decided).

    Raises
    ------
    SerError
        If `accuracy` is no such fraction.
    """
    if not 0 < accuracy <= 1:
        raise SerError(f"accuracy {accuracy} is not a fraction above 0 and up to 1: 80 % is 0.8")
    runs = []
    for system, own in to_clips(predictions).groupby("system", sort=False):
        for _, run in own.groupby("seed"):
            confidence, hit = _confidence(run)
            fold, speaker = run["fold"].to_numpy(), run["speaker"]
            sure = np.zeros(len(run), dtype=bool)
            for number in np.unique(fold):
                here = fold == number
                others = ~speaker.isin(speaker[here]).to_numpy()
                sure[here] = confidence[here] >= _lowest(confidence[others], hit[others], accuracy)
            right = hit[sure].mean() if sure.any() else np.nan
            runs.append({"system": system, "target": accuracy, "coverage": sure.mean(), "accuracy": right})
    return pd.DataFrame(runs).groupby(["system", "target"], sort=False).mean().reset_index()


def suspect_labels(predictions: pd.DataFrame) -> pd.DataFrame:
    """Clips whose label the out-of-fold predictions contradict, most suspect first; systems and seeds are averaged.

    Confident learning (Northcutt, Jiang, Chuang 2021) as in cleanlab: the probability of another emotion is highest and
    reaches the mean that clips labelled with that emotion get. Difficult clips with correct labels are found, too.

    Returns
    -------
    DataFrame
        `clip, speaker, emotion, suggested, p_label, p_suggested, margin` (`p_label` − `p_suggested`).
    """
    from cleanlab.filter import find_label_issues

    table = to_clips(predictions)
    names = emotions_of(table)
    clips = table.groupby("clip").agg({"speaker": "first", "emotion": "first", **dict.fromkeys(names, "mean")})
    p, (true, suggested) = clips[names].to_numpy(dtype=float), codes(clips)
    suspect = find_label_issues(true, p, filter_by="confident_learning", n_jobs=1)
    rows = np.arange(len(p))
    result = clips[["speaker", "emotion"]].assign(
        suggested=decided(clips), p_label=p[rows, true], p_suggested=p[rows, suggested]
    )
    result["margin"] = result["p_label"] - result["p_suggested"]
    return result[suspect].sort_values("margin", kind="stable").reset_index()
