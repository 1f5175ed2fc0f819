"""Scores against scikit-learn and hand-worked numbers; intervals against simulated truth."""

import time

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit
from sklearn import metrics
from tables import make_clips, make_predictions

from ser_utils import evaluation

# true class in rows: 8 of 10, 3 of 6 and 1 of 4 are right
BY_HAND = np.array([[8.0, 1, 1], [2, 3, 1], [0, 3, 1]])


def test_uar_wa_and_macro_f1_are_what_a_hand_calculation_gives():
    assert evaluation.recall(BY_HAND) == pytest.approx([0.8, 0.5, 0.25])
    assert evaluation.uar(BY_HAND) == pytest.approx((0.8 + 0.5 + 0.25) / 3)
    assert evaluation.wa(BY_HAND) == pytest.approx(12 / 20)
    assert evaluation.macro_f1(BY_HAND) == pytest.approx((16 / 20 + 6 / 13 + 2 / 7) / 3)


def test_scores_agree_with_scikit_learn():
    rng = np.random.default_rng(0)
    true, predicted, units = rng.integers(5, size=400), rng.integers(5, size=400), rng.integers(7, size=400)
    counts = evaluation.confusions_by_unit(units, true, predicted, 7, 5)
    assert counts.shape == (7, 5, 5)
    assert np.array_equal(counts.sum(0), metrics.confusion_matrix(true, predicted))
    assert np.array_equal(counts[3], metrics.confusion_matrix(true[units == 3], predicted[units == 3], labels=range(5)))
    total = counts.sum(0)
    assert evaluation.uar(total) == pytest.approx(metrics.balanced_accuracy_score(true, predicted))
    assert evaluation.wa(total) == pytest.approx(metrics.accuracy_score(true, predicted))
    assert evaluation.macro_f1(total) == pytest.approx(metrics.f1_score(true, predicted, average="macro"))


def test_an_absent_class_has_no_recall_and_uar_averages_the_others():
    absent = BY_HAND.copy()
    absent[1] = 0
    assert np.isnan(evaluation.recall(absent)[1])
    assert evaluation.uar(absent) == pytest.approx((0.8 + 0.25) / 2)
    assert evaluation.macro_f1(absent) == pytest.approx((16 / 18 + 2 / 6) / 2)
    assert np.isnan(evaluation.uar(np.zeros((3, 3))))


def test_a_resample_that_lacks_a_class_scores_the_classes_it_has():
    # Two speakers: one has both classes (all right), the other only class 0 (all wrong).
    counts = np.array([[[4.0, 0], [0, 4]], [[0, 4], [0, 0]]])
    estimate = evaluation.weighted(counts[None], evaluation.uar)
    assert estimate(np.array([[2.0, 0], [0, 2], [1, 1]]))[:, 0] == pytest.approx([1.0, 0.0, (0.5 + 1) / 2])
    draws = evaluation.bootstrap(estimate, 2, resamples=4000, seed=0)[:, 0]
    assert set(draws.round(6)) == {0.0, 0.75, 1.0}
    assert np.mean(draws == 0.75) == pytest.approx(0.5, abs=0.03)


def test_a_statistic_that_one_speaker_carries_alone_has_no_interval():
    counts = np.tile(BY_HAND, (6, 1, 1))
    counts[1:, 2] = 0  # only speaker 0 has class 2
    estimate = evaluation.weighted(counts[None], evaluation.recall)
    for method in evaluation.METHODS:
        value, low, high = evaluation.interval(estimate, 6, method=method, resamples=200)
        assert value == pytest.approx([0.8, 0.5, 0.25])
        assert np.isnan([low[2], high[2]]).all() and not np.isnan([low[:2], high[:2]]).any()
    value, low, high = evaluation.interval(evaluation.weighted(counts[None, :1], evaluation.recall), 1)
    assert not np.isnan(value).any() and np.isnan(low).all() and np.isnan(high).all()


def test_the_value_is_the_mean_over_seeds():
    worse = np.array([[5.0, 4, 1], [2, 3, 1], [0, 4, 0]])
    estimate = evaluation.weighted(np.stack([BY_HAND[None], worse[None]]), evaluation.macro_f1)
    assert estimate(np.ones((1, 1)))[0, 0] == pytest.approx(
        np.mean([evaluation.macro_f1(BY_HAND), evaluation.macro_f1(worse)])
    )


def test_the_t_interval_of_a_mean_is_the_textbook_one():
    hits = np.array([3.0, 5, 6, 8, 4, 7])  # of ten clips each: the accuracy is a plain mean over speakers
    counts = np.zeros((6, 2, 2))
    counts[:, 0, 0], counts[:, 0, 1] = hits, 10 - hits
    _, low, high = evaluation.interval(evaluation.weighted(counts[None], evaluation.wa), 6, method="t")
    reach = 2.570582 * (hits / 10).std(ddof=1) / np.sqrt(6)  # t quantile 0.975 with 5 degrees of freedom, from a table
    assert low[0] == pytest.approx(0.55 - reach) and high[0] == pytest.approx(0.55 + reach)


def test_the_percentile_interval_agrees_with_scipy():
    from scipy import stats

    rng = np.random.default_rng(1)
    hits = rng.binomial(20, rng.beta(6, 3, 30)).astype(float)
    counts = np.zeros((30, 2, 2))
    counts[:, 0, 0], counts[:, 0, 1] = hits, 20 - hits
    estimate = evaluation.weighted(counts[None], evaluation.wa)
    _, low, high = evaluation.interval(estimate, 30, method="percentile", resamples=20_000)
    theirs = stats.bootstrap(
        (hits / 20,), np.mean, method="percentile", n_resamples=20_000, random_state=0
    ).confidence_interval
    assert (low[0], high[0]) == pytest.approx(tuple(theirs), abs=0.004)


def test_ten_thousand_resamples_of_87_speakers_take_less_than_a_second():
    counts = np.random.default_rng(0).poisson(1.0, (1, 87, 6, 6)).astype(float)
    estimate = evaluation.weighted(counts, evaluation.uar)
    best = np.inf
    for _ in range(3):  # other processes may be in the way once
        start = time.perf_counter()
        evaluation.interval(estimate, 87, resamples=10_000)
        best = min(best, time.perf_counter() - start)
    assert best < 1


# ------------------------------------------------------------------------------------------------ tests of differences


def two_systems(rng, speakers, shift):
    """Confusion counts of two systems on the same speakers; `shift` is added to the second one's log-odds of being right."""
    return paired_confusions(rng, speakers, np.full(6, 1 / 6), shift)


def test_swapping_two_equal_systems_gives_p_1_and_a_clear_difference_gives_the_smallest_p():
    a = np.tile(BY_HAND, (8, 1, 1))
    assert evaluation.permutation_test(a, a, evaluation.uar) == 1.0
    b = a.copy()
    b[:, 0] = [0, 5, 5]  # worse for every speaker: only "swap none" and "swap all" are as extreme
    assert evaluation.permutation_test(a, b, evaluation.uar) == pytest.approx(2 / 2**8)


def test_exact_and_random_permutations_agree():
    a, b = two_systems(np.random.default_rng(3), 11, 0.3)
    exact = evaluation.permutation_test(a, b, evaluation.uar, resamples=10_000)  # 2 ** 11 swaps: all of them
    drawn = evaluation.permutation_test(a, b, evaluation.uar, resamples=2000)
    assert 0.01 < exact < 0.9
    assert drawn == pytest.approx(exact, abs=0.04)


def test_the_permutation_test_errs_as_often_as_it_says():
    rng = np.random.default_rng(5)
    p = [evaluation.permutation_test(*two_systems(rng, 9, 0.0), evaluation.uar) for _ in range(300)]
    assert 0.02 <= np.mean(np.array(p) <= 0.05) <= 0.08


def test_holm_is_the_step_down_procedure_and_agrees_with_statsmodels():
    from statsmodels.stats.multitest import multipletests

    assert evaluation.holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    p = np.random.default_rng(0).uniform(0, 0.2, 12)
    assert evaluation.holm(p) == pytest.approx(multipletests(p, method="holm")[1])


# -------------------------------------------------------------------------------------------------- simulated coverage

#: log-odds of being recognised, by class, for an average speaker
BASE = np.array([1.2, 0.3, -0.2, 0.8, 0.0, -0.6])
SPEAKER, CLASS_OF_SPEAKER = 0.4, 0.5  # standard deviations of what makes a speaker, and a speaker's class, easy or hard
SHARES = {
    "balanced": np.full(6, 1 / 6),  # as nEMO and RAVDESS
    "skewed": np.array([0.35, 0.34, 0.15, 0.075, 0.067, 0.018]),  # as ShEMO
}


def paired_confusions(rng, speakers, shares, shift=0.0):
    """Confusion counts, (speakers, 6, 6), of two systems that find the same speakers hard, the second better by `shift`.

    Speakers have 40 clips on average, log-normally spread (standard deviation 0.7), and 15 % of their classes are empty.
    """
    clips = rng.poisson(40 * rng.lognormal(-(0.7**2) / 2, 0.7, (speakers, 1)) * shares)
    clips[rng.random(clips.shape) < 0.15] = 0
    ease = rng.normal(0, SPEAKER, (speakers, 1))
    systems = []
    for better in (0.0, shift):
        right = expit(BASE + better + ease + rng.normal(0, CLASS_OF_SPEAKER, clips.shape))[..., None]
        chances = right * np.eye(6) + (1 - right) * (1 - np.eye(6)) / 5
        systems.append(rng.multinomial(clips, chances).astype(float))
    return systems


def true_recall(shift=0.0):
    """Recall of each class over all speakers that could be drawn: the mean over the normal effects, by quadrature."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(60)
    effects = np.hypot(SPEAKER, CLASS_OF_SPEAKER) * nodes
    return (expit(BASE[:, None] + shift + effects) * weights).sum(1) / weights.sum()


def coverage(speakers, *, shares, trials, resamples, methods=evaluation.METHODS, paired=False, seed=0):
    """Share of trials in which each method's 95 % interval holds the true UAR (or the true difference of two systems)."""
    rng = np.random.default_rng(seed)
    truth = (true_recall(0.0) - true_recall(0.4)).mean() if paired else true_recall().mean()
    held = dict.fromkeys(methods, 0)
    for trial in range(trials):
        first, second = paired_confusions(rng, speakers, SHARES[shares], 0.4)
        one, two = (evaluation.weighted(counts[None], evaluation.uar) for counts in (first, second))

        def difference(weights, one=one, two=two):
            return one(weights) - two(weights)

        for method in methods:
            estimate = difference if paired else one
            _, low, high = evaluation.interval(estimate, speakers, method=method, resamples=resamples, seed=trial)
            held[method] += low[0] <= truth <= high[0]
    return {method: n / trials for method, n in held.items()}


@pytest.mark.parametrize("paired", [False, True], ids=["one system", "difference"])
def test_nine_speakers_are_enough_for_the_default_interval_but_not_for_the_plain_percentile(paired):
    found = coverage(9, shares="skewed", trials=200, resamples=600, methods=("expanded", "percentile"), paired=paired)
    # Twice the standard error of 200 trials around the 92 to 97 % that the long simulation asks for.
    assert 0.89 <= found["expanded"] <= 0.99
    assert found["percentile"] < found["expanded"] - 0.02


@pytest.mark.slow
@pytest.mark.parametrize("paired", [False, True], ids=["one system", "difference"])
@pytest.mark.parametrize("shares", SHARES)
@pytest.mark.parametrize("speakers", [9, 24, 87])
def test_the_default_interval_covers_the_truth_in_92_to_97_percent_of_500_trials(speakers, shares, paired):
    found = coverage(speakers, shares=shares, trials=500, resamples=2000, paired=paired)
    print(f"{speakers} speakers, {shares}, {'difference' if paired else 'one system'}: {found}")
    assert 0.92 <= found["expanded"] <= 0.97


def test_a_class_that_is_never_recognised_keeps_the_upper_end_of_uar_down():
    # Three emotions are always right; fear has one clip of each of two of six speakers, never right.
    names = ["anger", "fear", "neutral", "sadness"]
    rows = [(f"s{i}", emotion) for i in range(6) for emotion in names if emotion != "fear" or i < 2]
    table = pd.DataFrame(rows, columns=["speaker", "emotion"]).assign(system="a", seed=0, fold=0)
    table["clip"] = [f"c{i}" for i in range(len(table))]
    predicted = table["emotion"].replace("fear", "anger")
    table[names] = [[0.97 if name == p else 0.01 for name in names] for p in predicted]
    found = evaluation.scores(table, resamples=500).set_index("metric")
    assert found.loc["uar", ["value", "low", "high"]].tolist() == pytest.approx([0.75, 0.75, 0.75], abs=1e-6)
    assert found.loc["recall_fear", ["value", "low", "high"]].tolist() == [0, 0, 0]


def test_below_four_speakers_there_is_no_interval_and_a_warning_says_why():
    table = make_predictions(make_clips(speakers=3, each=2))
    with pytest.warns(UserWarning, match="scores of 3 speakers: no intervals, which need at least 4"):
        found = evaluation.scores(table, resamples=100)
    assert found["value"].notna().all() and found[["low", "high"]].isna().all(axis=None)
    four = evaluation.scores(make_predictions(make_clips(speakers=4, each=2)), resamples=100).set_index("metric")
    assert four.loc["uar", ["low", "high"]].notna().all()
