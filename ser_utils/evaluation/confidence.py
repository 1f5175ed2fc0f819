"""What predicted probabilities are worth: calibration, abstention, and labels that they contradict."""

import numpy as np
import pandas as pd

from ser_utils import SerError, models
from ser_utils.evaluation.intervals import interval, weighted
from ser_utils.evaluation.predictions import FLOOR, at_level, codes, emotions_of, validate


def _bin_sums(units, n_units: int, confidence: np.ndarray, hit: np.ndarray, bins: int) -> np.ndarray:
    """Sums of (examples, confidence, hits) for each unit and bin, `shape=(n_units, bins, 3)`; bins of equal width, closed above."""
    bin_of = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    cell = units * bins + bin_of
    parts = [
        np.bincount(cell, weights=w, minlength=n_units * bins) for w in (np.ones_like(confidence), confidence, hit)
    ]
    return np.stack(parts, axis=-1).reshape(n_units, bins, 3)


def _gap(sums: np.ndarray) -> np.ndarray:
    """Mean over examples of |accuracy − confidence| of their bin; `sums` has `shape=(..., bins, 3)`."""
    return np.abs(sums[..., 2] - sums[..., 1]).sum(-1) / sums[..., 0].sum(-1)


def _by_seed(table: pd.DataFrame):
    """The rows of each seed, and codes of their speakers that agree between seeds."""
    speakers, names = pd.factorize(table["speaker"], sort=True)
    for seed in sorted(table["seed"].unique()):
        rows = (table["seed"] == seed).to_numpy()
        yield table[rows], speakers[rows], len(names)


def calibration(predictions: pd.DataFrame, *, level: str = "clip", bins: int = 10) -> pd.DataFrame:
    """Calibration errors and Brier score of every system, mean over seeds.

    - `ece`: expected calibration error of the decision (top label): the gap between confidence and accuracy
      in bins of equal width of the confidence, weighted by bin size (Naeini et al. 2015; Guo et al. 2017).
    - `classwise_ece`: the same gap for the probability of each emotion against its frequency, averaged over
      emotions (Kull et al. 2019).
    - `brier`: mean squared distance of the probabilities from the truth, summed over emotions, 0 to 2
      (Brier 1950).

    Returns
    -------
    DataFrame
        `system, level, metric, value, low, high, seeds, speakers, clips`. The interval is Student's t on
        the jackknife over speakers: a bootstrap would add the noise of thin bins twice, as calibration
        errors can only grow by noise. For that reason they are also too high when bins are thin: compare
        systems on equal numbers of clips and with equal `bins`.
    """
    table = at_level(predictions, level)
    names = emotions_of(table)
    k = len(names)
    parts = []
    for system, own in table.groupby("system", sort=False):
        sums = []
        for rows, units, n_units in _by_seed(own):
            p = rows[names].to_numpy(dtype=float)
            true, decided = codes(rows)
            top = _bin_sums(units, n_units, p.max(1), (true == decided).astype(float), bins)
            each = [_bin_sums(units, n_units, p[:, j], (true == j).astype(float), bins) for j in range(k)]
            squared = np.bincount(units, weights=((p - np.eye(k)[true]) ** 2).sum(1), minlength=n_units)
            flat = [part.reshape(n_units, -1) for part in (top, *each, squared)]
            sums.append(np.concatenate(flat, axis=1))

        def errors(total: np.ndarray) -> np.ndarray:
            binned = total[:, :-1].reshape(len(total), 1 + k, bins, 3)
            gaps = _gap(binned)
            brier = total[:, -1] / binned[:, 0, :, 0].sum(-1)
            return np.stack([gaps[:, 0], gaps[:, 1:].mean(-1), brier], axis=-1)

        value, low, high = interval(weighted(np.stack(sums), errors), own["speaker"].nunique(), method="t")
        parts.append(pd.DataFrame({
            "system": system, "level": level, "metric": ["ece", "classwise_ece", "brier"], "value": value,
            "low": np.maximum(low, 0), "high": np.minimum(high, [1, 1, 2]), "seeds": own["seed"].nunique(),
            "speakers": own["speaker"].nunique(), "clips": own["clip"].nunique(),
        }))  # fmt: skip
    return pd.concat(parts, ignore_index=True)


def reliability(predictions: pd.DataFrame, *, level: str = "clip", bins: int = 10) -> pd.DataFrame:
    """Accuracy by confidence: the numbers behind a reliability diagram (DeGroot & Fienberg 1983).

    Returns
    -------
    DataFrame
        `system, bin, left, right, n, confidence, accuracy, low, high`: a row for each bin of equal width
        `(left, right]` that is not empty; `n` is the mean number of clips (segments) over seeds. 95 %
        interval over speakers (jackknife t), cut to 0 … 1, NaN where one speaker alone fills the bin.
    """
    table = at_level(predictions, level)
    names = emotions_of(table)
    parts = []
    for system, own in table.groupby("system", sort=False):
        sums = []
        for rows, units, n_units in _by_seed(own):
            true, decided = codes(rows)
            confidence = rows[names].to_numpy(dtype=float).max(1)
            sums.append(_bin_sums(units, n_units, confidence, (true == decided).astype(float), bins))
        pooled = np.sum(sums, axis=0)  # seeds together: a bin may be empty in one of them
        filled = np.flatnonzero(pooled[..., 0].sum(0))

        def accuracy(total: np.ndarray, filled=filled) -> np.ndarray:
            n, hits = total[:, filled, 0], total[:, filled, 2]
            return np.divide(hits, n, out=np.full_like(n, np.nan), where=n > 0)

        value, low, high = interval(weighted(pooled[None], accuracy), pooled.shape[0], method="t")
        n, confidence = pooled[..., 0].sum(0)[filled], pooled[..., 1].sum(0)[filled]
        parts.append(pd.DataFrame({
            "system": system, "bin": filled, "left": filled / bins, "right": (filled + 1) / bins, "n": n / len(sums),
            "confidence": confidence / n, "accuracy": value, "low": np.maximum(low, 0), "high": np.minimum(high, 1),
        }))  # fmt: skip
    return pd.concat(parts, ignore_index=True)


# ---------------------------------------------------------------------------------------------- temperature


def _soften(p: np.ndarray, degree) -> np.ndarray:
    """Probabilities of logits divided by a temperature; log-probabilities serve as logits."""
    logits = np.log(np.maximum(p, FLOOR)) / degree
    shares = np.exp(logits - logits.max(1, keepdims=True))
    return shares / shares.sum(1, keepdims=True)


def temperatures(predictions: pd.DataFrame, *, level: str = "clip") -> pd.DataFrame:
    """One temperature for each system, seed and fold, from the predictions for speakers outside the fold (Guo et al. 2017).

    For fold k, the temperature minimises the log loss of the out-of-fold predictions for all *other*
    speakers. No label and no probability of fold k's speakers enters that loss. The models that made those
    predictions had fold k's speakers among their many training speakers, as any speaker is; scikit-learn's
    `CalibratedClassifierCV(ensemble=False)` relies on the same: what is learned is one number, how
    over-confident this kind of model is on speakers it has not heard. A test shows that these temperatures
    are, on average, those that entirely new speakers ask for. Inner cross-validation would cut even that
    tie, but trains on fewer speakers, which is another bias, and trains every model once more for each
    fold.

    Returns
    -------
    DataFrame
        `system, seed, fold, temperature`; above 1 the system was over-confident.

    Raises
    ------
    SerError
        If a fold tests every speaker, so that no one is left to fit a temperature on.
    """
    table = at_level(predictions, level)
    names = emotions_of(table)
    rows = []
    for (system, seed), own in table.groupby(["system", "seed"], sort=False):
        p, true = own[names].to_numpy(dtype=float), codes(own)[0]
        for fold in sorted(own["fold"].unique()):
            tested = own.loc[own["fold"] == fold, "speaker"].unique()
            others = ~own["speaker"].isin(tested).to_numpy()  # by speaker: text-disjoint folds share speakers
            if not others.any():
                raise SerError(f"fold {fold} of '{system}' tests every speaker: no one is left to fit a temperature on")
            logits = np.log(np.maximum(p[others], FLOOR))
            rows.append((system, seed, fold, models.fit_temperature(logits, true[others], balanced=False)))
    return pd.DataFrame(rows, columns=["system", "seed", "fold", "temperature"])


def calibrate(predictions: pd.DataFrame, *, level: str = "clip") -> pd.DataFrame:
    """Predictions with softened (or sharpened) probabilities, see `temperatures`; decisions stay as they are.

    Parameters
    ----------
    predictions : DataFrame
        A predictions table.
    level : {"clip", "segment"}
        At which level temperatures are fitted and applied.

    Returns
    -------
    DataFrame
        A predictions table at that level.
    """
    table = at_level(predictions, level).reset_index(drop=True)
    names = emotions_of(table)
    fitted = table.merge(temperatures(table, level=level), on=["system", "seed", "fold"], how="left")
    table[names] = _soften(table[names].to_numpy(dtype=float), fitted["temperature"].to_numpy()[:, None])
    return table


# ----------------------------------------------------------------------------------------------- abstention


def _accuracy_of_surest(confidence: np.ndarray, hit: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Confidences from high to low, and the accuracy when all down to each are decided (ties decided together)."""
    levels, of_row = np.unique(-confidence, return_inverse=True)
    n = np.bincount(of_row).cumsum()
    return -levels, np.bincount(of_row, weights=hit).cumsum() / n


def risk_coverage(predictions: pd.DataFrame, *, level: str = "clip") -> pd.DataFrame:
    """Error rate when only the surest decisions are made (El-Yaniv & Wiener 2010).

    Returns
    -------
    DataFrame
        `system, coverage, risk`: share of clips decided, surest first, and share of those that are wrong;
        mean over seeds, one row a clip. Within equal confidences, risk is what a random order gives on
        average. Area under the curve: `risk` averaged over rows.

    Raises
    ------
    SerError
        If a system did not judge the same number of clips (or segments) with every seed.
    """
    table = at_level(predictions, level)
    names = emotions_of(table)
    parts = []
    for system, own in table.groupby("system", sort=False):
        curves = []
        for _, rows in own.groupby("seed"):
            true, decided = codes(rows)
            wrong = (true != decided).astype(float)
            confidence = rows[names].to_numpy(dtype=float).max(1)
            _, tie = np.unique(-confidence, return_inverse=True)
            expected = (np.bincount(tie, weights=wrong) / np.bincount(tie))[np.sort(tie)]
            curves.append(expected.cumsum() / np.arange(1, len(rows) + 1))
        if len({len(curve) for curve in curves}) > 1:
            raise SerError(f"system '{system}' did not judge the same number of {level}s with every seed")
        n = len(curves[0])
        parts.append(
            pd.DataFrame({"system": system, "coverage": np.arange(1, n + 1) / n, "risk": np.mean(curves, axis=0)})
        )
    return pd.concat(parts, ignore_index=True)


def coverage_at(predictions: pd.DataFrame, accuracy: float, *, level: str = "clip") -> pd.DataFrame:
    """Share of clips that can be decided if `accuracy` of the decisions are to be right.

    For each fold, the confidence from which on to decide is the lowest that reaches `accuracy` on the
    *other* speakers' predictions; it is then applied to the fold. Choosing it on the very clips it is
    applied to (`hindsight`) always reaches the target.

    Parameters
    ----------
    accuracy : float
        Between 0 and 1.

    Returns
    -------
    DataFrame
        `system, target, coverage, accuracy, hindsight`, means over seeds: share decided, share of those
        that are right (NaN if none is decided), and the share that hindsight could have decided.

    Raises
    ------
    SerError
        If `accuracy` is not above 0 and up to 1.
    """
    if not 0 < accuracy <= 1:
        raise SerError(f"accuracy {accuracy} is not a fraction above 0 and up to 1: 80 % is 0.8")
    table = at_level(predictions, level)
    names = emotions_of(table)

    def lowest(confidence, hit) -> float:
        levels, reached = _accuracy_of_surest(confidence, hit)
        enough = np.flatnonzero(reached >= accuracy - 1e-12)
        return levels[enough[-1]] if len(enough) else np.inf

    rows = []
    for system, own in table.groupby("system", sort=False):
        runs = []
        for _, run in own.groupby("seed"):
            true, decided_as = codes(run)
            hit, confidence = (true == decided_as).astype(float), run[names].to_numpy(dtype=float).max(1)
            fold, speaker = run["fold"].to_numpy(), run["speaker"]
            decided = np.zeros(len(run), dtype=bool)
            for number in np.unique(fold):
                here = fold == number
                others = ~speaker.isin(speaker[here]).to_numpy()
                decided[here] = confidence[here] >= lowest(confidence[others], hit[others])
            right = hit[decided].mean() if decided.any() else np.nan
            runs.append((decided.mean(), right, (confidence >= lowest(confidence, hit)).mean()))
        coverage, right, hindsight = np.array(runs).T
        right = right[~np.isnan(right)]
        rows.append((system, accuracy, coverage.mean(), right.mean() if len(right) else np.nan, hindsight.mean()))
    return pd.DataFrame(rows, columns=["system", "target", "coverage", "accuracy", "hindsight"])


# --------------------------------------------------------------------------------------------------- labels


def suspect_labels(predictions: pd.DataFrame) -> pd.DataFrame:
    """Clips whose label the out-of-fold predictions contradict, most suspect first.

    Confident learning (Northcutt, Jiang, Chuang 2021): an emotion is *likely* for a clip if its probability
    reaches the mean probability that clips labelled with this emotion get for it; a clip is suspect if its
    likeliest such emotion is not its label. Suspects are ranked by normalised margin: probability of the
    label minus that of the suggestion. The thresholds are what keeps a system that underrates one emotion
    from calling all its labels wrong.

    Systems and seeds in the table are averaged first, so pass the systems that should vote. A suspect is a
    reason to listen again, not a verdict: hard clips with right labels end up here too.

    Returns
    -------
    DataFrame
        `clip, speaker, emotion, suggested, p_label, p_suggested, margin`, ordered by margin (most negative
        first).
    """
    table = at_level(validate(predictions), "clip")
    names = emotions_of(table)
    clips = table.groupby("clip").agg({"speaker": "first", "emotion": "first", **dict.fromkeys(names, "mean")})
    p, true = clips[names].to_numpy(dtype=float), codes(clips)[0]
    # Emotions that nobody is labelled with have no threshold and cannot be suggested.
    threshold = np.array([p[true == j, j].mean() if (true == j).any() else np.inf for j in range(len(names))])
    likely = np.where(p >= threshold, p, -1.0)
    suggested = likely.argmax(1)
    suspect = (likely.max(1) >= 0) & (suggested != true)
    rows = np.arange(len(p))
    result = clips[["speaker", "emotion"]].assign(
        suggested=np.array(names, dtype=object)[suggested],
        p_label=p[rows, true],
        p_suggested=p[rows, suggested],
    )
    result["margin"] = result["p_label"] - result["p_suggested"]
    return result[suspect].sort_values("margin", kind="stable").reset_index()
