"""The number of speakers that a difference needs, against simulated experiments."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from tables import make_clips, make_predictions

from ser_utils import SerError, evaluation

EACH = 16  # clips per speaker, half of them angry


def drawn(speakers, gain, seed):
    """Which clips two systems get right, shape (2, speakers, clips): the first is better by `gain`, more or less so by speaker."""
    rng = np.random.default_rng(seed)
    own = np.clip(rng.normal(gain, 0.08, speakers), -0.3, 0.3)
    return rng.uniform(size=(2, speakers, EACH)) < 0.6 + np.stack([own, 0 * own])[..., None]


def experiment(speakers, gain, seed):
    """The same as two predictions tables."""
    rows = pd.MultiIndex.from_product([[f"s{number}" for number in range(speakers)], range(EACH)], names=["speaker", "take"])
    base = rows.to_frame(index=False)
    base["clip"] = base["speaker"] + "_" + base.pop("take").astype(str)
    base["emotion"] = np.resize(["anger", "sadness"], len(base))
    tables = []
    for system, right in zip("ab", drawn(speakers, gain, seed), strict=True):
        anger = (base["emotion"] == "anger") == right.ravel()
        tables.append(base.assign(system=system, seed=0, fold=0, anger=0.2 + 0.6 * anger, sadness=0.8 - 0.6 * anger))
    return tables


def test_the_smallest_difference_is_found_in_four_of_five_simulated_experiments():
    speakers = 20
    smallest = np.mean([evaluation.power(*experiment(speakers, 0.1, seed))["smallest"] for seed in range(20)])
    scores = np.stack([drawn(speakers, smallest, seed).mean(-1) for seed in range(1000, 3000)])  # accuracy: it is UAR here
    found = stats.ttest_rel(scores[:, 0], scores[:, 1], axis=1).pvalue < 0.05
    assert found.mean() == pytest.approx(0.8, abs=0.05)


def test_the_needed_speakers_make_the_wanted_difference_the_smallest():
    few = evaluation.power(*experiment(12, 0.06, 0), points=4)
    assert few["needed"] > few["speakers"] == 12 and few["smallest"] > 0.04
    same = evaluation.power(*experiment(12, 0.06, 0), points=100 * few["smallest"] + 1e-6)
    assert same["needed"] == 12
    half = evaluation.power(*experiment(12, 0.06, 0), points=2)
    assert half["needed"] == pytest.approx(4 * few["needed"], rel=0.05)


def test_two_equal_systems_need_two_speakers_and_the_observed_difference_is_reported():
    clips = make_clips(speakers=6)
    a = make_predictions(clips, system="a", segments=2)
    found = evaluation.power(a, a.assign(system="b"))
    assert found["difference"] == found["smallest"] == 0 and found["needed"] == 2
    b = make_predictions(clips, system="b", skill=3, seed=1)
    assert evaluation.power(a, b)["difference"] == evaluation.compare(a, b, resamples=10)["difference"] < 0


@pytest.mark.parametrize("speakers, points, words", [(6, 0, "points=0"), (1, 3, "one speaker, 's00'")])
def test_what_cannot_be_planned_is_refused(speakers, points, words):
    clips = make_clips(speakers=speakers)
    tables = [make_predictions(clips, system=name, folds=clips.set_index("clip")["emotion"].eq("fear") * 1) for name in "ab"]
    with pytest.raises(SerError, match=words):
        evaluation.power(*tables, points=points)
