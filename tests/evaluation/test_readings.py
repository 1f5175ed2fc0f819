"""Sentences about scores and differences: what they call significant, and that they say what the numbers say."""

import pandas as pd
import pytest
from tables import make_clips, make_predictions

from ser_utils import evaluation


def difference(points, p, **more):
    numbers = {"difference": points / 100, "low": (points - 2) / 100, "high": (points + 2) / 100, "p": p}
    return {"system": "a", "other": "b", **numbers, **more}


@pytest.mark.parametrize(
    ("points", "p", "finding"),
    [(3, 0.04, "better"), (-3, 0.04, "worse"), (3, 0.05, "not significant"), (-3, float("nan"), "not significant")],
)
def test_significance_follows_the_corrected_p_and_not_the_interval(points, p, finding):
    (said,) = evaluation.read_differences(pd.DataFrame([difference(points, p)]))
    assert said == f"a − b: {points:+.1f} points [{points - 2:+.1f}, {points + 2:+.1f}], p = {p:.3f}: {finding}"


def test_a_comparison_goes_by_its_own_name_and_order_is_kept():
    table = pd.DataFrame([difference(1, 0.5, comparison="second"), difference(2, 0.5, comparison="first")])
    assert [said.split(":")[0] for said in evaluation.read_differences(table)] == ["second", "first"]


def test_what_is_read_is_what_was_computed():
    clips = make_clips()
    a, b = make_predictions(clips, system="good", skill=3), make_predictions(clips, system="bad", skill=0.5)
    gain = evaluation.compare(a, b, resamples=200)
    assert evaluation.in_points(gain).startswith(f"{100 * gain['difference']:+.1f} points [")
    (said,) = evaluation.read_differences(gain.to_frame().T)
    assert said.startswith("good − bad: +") and said.endswith(": better")
    score = evaluation.scores(a, resamples=200).iloc[0]
    assert evaluation.in_percent(score) == f"{100 * score.value:.1f} % [{100 * score.low:.1f}, {100 * score.high:.1f}]"
