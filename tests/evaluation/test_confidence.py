"""Calibration, abstention and suspect labels, against hand-worked numbers and planted truth."""

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression
from tables import SIX, make_clips, make_predictions

from ser_utils import SerError, evaluation, models


def two_class(confidence, right, speakers=None, folds=None):
    """Clips labelled anger; `confidence` in anger where right, in sadness where not."""
    confidence, right = np.asarray(confidence, float), np.asarray(right, bool)
    n = len(right)
    anger = np.where(right, confidence, 1 - confidence)
    return pd.DataFrame({
        "system": "a", "seed": 0, "fold": np.arange(n) % 2 if folds is None else folds, "clip": [f"c{k}" for k in range(n)],
        "speaker": [f"s{k % 2}" for k in range(n)] if speakers is None else speakers, "emotion": "anger",
        "anger": anger, "sadness": 1 - anger,
    })  # fmt: skip


def test_calibration_errors_and_brier_are_what_a_hand_calculation_gives():
    # bin (0.6, 0.7]: 0.65 twice, one right; bin (0.8, 0.9]: 0.9 twice, both right
    table = two_class([0.65, 0.65, 0.9, 0.9], [1, 0, 1, 1])
    found = evaluation.calibration(table).set_index("metric")["value"]
    assert found["ece"] == pytest.approx(0.5 * abs(0.65 - 0.5) + 0.5 * abs(0.9 - 1))
    # anger: 0.65 and 0.9, 0.9 (true all), 0.35 (true); sadness, never true: 0.35, 0.65, 0.1, 0.1
    anger = (abs(0.65 - 1) + abs(0.35 - 1) + 2 * abs(0.9 - 1)) / 4
    assert found["classwise_ece"] == pytest.approx((anger + (0.35 + 0.65 + 0.1 + 0.1) / 4) / 2)
    assert found["brier"] == pytest.approx(2 * (0.35**2 + 0.65**2 + 0.1**2 + 0.1**2) / 4)


def test_reliability_bins_are_closed_above_and_hold_all_clips():
    table = evaluation.reliability(two_class([0.6, 0.65, 0.65, 1.0], [1, 1, 0, 1]))
    assert table[["left", "right"]].to_numpy() == pytest.approx(np.array([[0.5, 0.6], [0.6, 0.7], [0.9, 1.0]]))
    assert table["n"].tolist() == [1, 2, 1]
    assert table["confidence"].tolist() == pytest.approx([0.6, 0.65, 1.0])
    assert table["accuracy"].tolist() == pytest.approx([1, 0.5, 1])


def overconfident(sharpness, seed=0, **options):
    """Predictions that were calibrated before their logits were multiplied by `sharpness`."""
    rng = np.random.default_rng(seed)
    clips = make_clips(speakers=10, each=20)
    table = make_predictions(clips, seed=seed, **options)
    shares = rng.dirichlet(np.full(6, 0.5), len(table))
    truth = [rng.choice(SIX, p=row) for row in shares]
    sharp = shares**sharpness
    table[list(SIX)] = sharp / sharp.sum(1, keepdims=True)
    return table.assign(emotion=truth)


def test_temperature_undoes_overconfidence():
    table = overconfident(2.0)
    temperatures = evaluation.temperatures(table)
    assert list(temperatures.columns) == ["system", "seed", "fold", "temperature"] and len(temperatures) == 10
    assert temperatures["temperature"].between(1.85, 2.15).all()
    calibrated = evaluation.calibrate(table)
    before, after = (evaluation.calibration(t).set_index("metric")["value"] for t in (table, calibrated))
    assert (after < before).all() and after["ece"] < 0.04 < 0.08 < before["ece"]
    assert evaluation.decided(calibrated).tolist() == evaluation.decided(table).tolist()


def test_the_temperature_of_a_fold_does_not_see_the_folds_own_speakers():
    table = overconfident(2.0)
    spoiled = table.copy()
    rows = spoiled["fold"] == 4
    spoiled.loc[rows, "emotion"] = np.random.default_rng(1).permutation(spoiled.loc[rows, "emotion"])
    a, b = (evaluation.temperatures(t).set_index("fold")["temperature"] for t in (table, spoiled))
    assert a[4] == b[4] and (a.drop(4) != b.drop(4)).all()
    # With text-disjoint folds a speaker is in several folds: the speaker counts, not the fold's number.
    halves = spoiled.assign(fold=2 * spoiled["fold"] + np.arange(len(spoiled)) % 2)
    found = evaluation.temperatures(halves).set_index("fold")["temperature"]
    assert found[8] == found[9] == a[4]
    with pytest.raises(SerError, match="tests every speaker"):
        evaluation.temperatures(table.assign(fold=0))


def test_temperatures_from_other_folds_are_those_that_entirely_new_speakers_ask_for():
    # What the docstring of `temperatures` claims: the tie through shared training speakers is of no consequence.
    def speakers(rng, centre, n, each):
        clips = make_clips(speakers=n, each=each)
        voice = rng.normal(size=(n, 12))[pd.factorize(clips["speaker"])[0]]
        emotion = centre[pd.Index(SIX).get_indexer(clips["emotion"])]
        return clips, 0.6 * emotion + 0.6 * voice + rng.normal(size=(len(clips), 12))

    found, wanted = [], []
    for seed in range(8):
        rng = np.random.default_rng(seed)
        centre = rng.normal(size=(6, 12))
        (clips, X), (strangers, X_new) = speakers(rng, centre, 8, 5), speakers(rng, centre, 40, 3)
        folds, table = pd.factorize(clips["speaker"])[0], []
        for fold in range(8):
            here = folds == fold
            model = LogisticRegression(C=100, max_iter=1000).fit(X[~here], clips["emotion"][~here])
            shares = pd.DataFrame(model.predict_proba(X[here]), columns=model.classes_)
            facts = clips.loc[here, ["clip", "speaker", "emotion"]].reset_index(drop=True)
            table.append(pd.concat([facts.assign(system="lr", seed=0, fold=fold), shares], axis=1))
            truth = pd.Index(model.classes_).get_indexer(strangers["emotion"])
            wanted.append(models.fit_temperature(model.predict_log_proba(X_new), truth, balanced=False))
        found.extend(evaluation.temperatures(pd.concat(table, ignore_index=True))["temperature"])
    assert np.log(wanted).mean() > 0.5  # there is over-confidence to correct
    assert np.log(found).mean() == pytest.approx(np.log(wanted).mean(), abs=0.15)  # three standard errors


def test_risk_is_the_error_rate_of_the_surest_and_ties_share_theirs():
    curve = evaluation.risk_coverage(two_class([0.9, 0.8, 0.7, 0.7], [1, 0, 1, 0]))
    assert curve["coverage"].tolist() == [0.25, 0.5, 0.75, 1.0]
    assert curve["risk"].tolist() == pytest.approx([0, 0.5, 1.5 / 3, 0.5])
    constant = evaluation.risk_coverage(two_class([0.8] * 5, [1, 1, 0, 1, 0]))
    assert constant["risk"].tolist() == pytest.approx([0.4] * 5)


def test_a_confident_system_can_decide_more_clips_at_a_given_accuracy():
    clips = make_clips(speakers=10, each=8)
    table = pd.concat(
        [make_predictions(clips, system=s, skill=k, seed=i) for i, (s, k) in enumerate([("good", 1.8), ("poor", 1)])]
    )
    found = evaluation.coverage_at(table.reset_index(drop=True), 0.85).set_index("system")
    assert found.loc["good", "coverage"] > found.loc["poor", "coverage"] + 0.2
    assert found.loc["good", "accuracy"] == pytest.approx(0.85, abs=0.05)
    with pytest.raises(SerError, match="80 % is 0.8"):
        evaluation.coverage_at(table, 80)


def test_the_threshold_for_a_fold_comes_from_the_other_folds():
    # s0 is right from 0.7 on, s1 from 0.9 on: each is judged by the other's threshold.
    table = two_class(
        [0.6, 0.7, 0.8, 0.95, 0.6, 0.7, 0.8, 0.9],
        [0, 1, 1, 1, 0, 0, 0, 1],
        speakers=["s0"] * 4 + ["s1"] * 4,
        folds=[0] * 4 + [1] * 4,
    )
    found = evaluation.coverage_at(table, 1.0).iloc[0]
    assert found["coverage"] == pytest.approx(4 / 8)  # s0: 0.95 only; s1: 0.7, 0.8 (both wrong) and 0.9
    assert found["accuracy"] == pytest.approx(2 / 4)


def test_planted_wrong_labels_are_at_the_top_of_the_suspects():
    clips = make_clips(speakers=10, each=10)
    table = make_predictions(clips, skill=4.5)
    rng = np.random.default_rng(2)
    wrong = rng.choice(len(table), 30, replace=False)
    shifted = {name: SIX[(k + 2) % 6] for k, name in enumerate(SIX)}
    truth = table.loc[wrong].set_index("clip")["emotion"]
    table.loc[wrong, "emotion"] = table.loc[wrong, "emotion"].map(shifted)
    found = evaluation.suspect_labels(table)
    assert list(found.columns) == ["clip", "speaker", "emotion", "suggested", "p_label", "p_suggested", "margin"]
    assert found["margin"].is_monotonic_increasing and len(found) < 90
    assert found["clip"].isin(truth.index).head(20).mean() > 0.9
    assert found["clip"].isin(truth.index).sum() >= 24
    planted = found[found["clip"].isin(truth.index)]
    assert (planted["suggested"].to_numpy() == truth[planted["clip"]].to_numpy()).mean() > 0.9


def test_confident_learning_thresholds_spare_an_emotion_that_a_system_underrates():
    # Clips of sadness get 0.45 for it: by the highest probability alone each of them would be suspect.
    rows = [("anger", 0.7, 0.3)] * 6 + [("sadness", 0.55, 0.45)] * 5 + [("sadness", 0.9, 0.1)]
    table = pd.DataFrame({
        "system": "a", "seed": 0, "fold": 0, "clip": [f"c{k}" for k in range(12)], "speaker": "s",
        "emotion": [r[0] for r in rows], "anger": [r[1] for r in rows], "sadness": [r[2] for r in rows],
    })  # fmt: skip
    found = evaluation.suspect_labels(table)
    assert found["clip"].tolist() == ["c11"] and found["suggested"].tolist() == ["anger"]
