"""What exercises say of an answer."""

import numpy as np
import pandas as pd
import pytest
from tables import make_clips, make_predictions

from ser_utils import SerError
from ser_utils.checks import check, difference, own_system


def test_an_exercise_that_is_not_done_is_said_to_be_so(capsys):
    check("04-1", ..., object())
    assert capsys.readouterr().out.startswith("04-1: not done yet.")


def test_an_answer_that_needs_another_one_first_is_not_done(capsys):
    check("04-4", pd.DataFrame(), make_clips(), ...)
    assert "not done yet" in capsys.readouterr().out


def test_a_right_answer_is_told_why_it_matters_and_a_usual_wrong_one_what_was_forgotten(capsys):
    from torch import nn

    network = nn.Sequential(nn.Conv1d(3, 2, 1, bias=False), nn.BatchNorm1d(2), nn.Linear(2, 5))
    check("04-1", 6 + 4 + 15, network)
    check("04-1", 6 + 15, network)
    right, wrong = capsys.readouterr().out.splitlines()
    assert right.startswith("04-1: right. Parameters follow")
    assert wrong == "04-1: not yet. Batch normalisation has two parameters per channel."


@pytest.mark.parametrize("name", ["04-9", "99-1", "4-1", "04"])
def test_an_exercise_that_does_not_exist_is_an_error(name):
    with pytest.raises(SerError, match="no exercise is called"):
        check(name, 1)


@pytest.mark.parametrize(
    "answer, right, said",
    [
        (3, 3.0, None),
        (np.float32(0.5), 0.5, None),
        ("3", 3.0, "a number is needed, not str"),
        (True, 1.0, "a number is needed, not bool"),
        (2.5, 3.0, "2.5 is too low"),
        (300, 3.0, "that is in per cent"),
        (7.0, 3.0, "seven"),
        ({"a": 1, "b": 2}, {"a": 1.0, "b": 2.0}, None),
        (pd.Series({"b": 2, "a": 1}), {"a": 1.0, "b": 2.0}, None),
        ({"a": 2, "b": 1}, {"a": 1.0, "b": 2.0}, "the wrong way round"),
        ({"a": 1, "b": 3}, {"a": 1.0, "b": 2.0}, "the values are not"),
        ({"a": 1}, {"a": 1.0, "b": 2.0}, "the keys a, b are needed; yours are a"),
        (np.zeros((2, 3)), np.zeros((2, 3)), None),
        (np.zeros((3, 2)), np.zeros((2, 3)), "its shape is (3, 2), and (2, 3) is needed"),
        (np.ones((2, 3)), np.zeros((2, 3)), "the values are not"),
        ([[0.0]], np.zeros((1, 1)), "an array is needed, not list"),
    ],
)
def test_what_is_wrong_is_said_in_words(answer, right, said):
    problem = difference(answer, right, {"seven": 7.0} if isinstance(right, float) else None)
    assert problem is None if said is None else said in problem


def test_a_table_of_ones_own_must_be_valid_complete_speaker_disjoint_and_new():
    clips = make_clips(speakers=4, each=2)
    mine, other = (make_predictions(clips, system=name, seed=seed) for name, seed in (("mine", 1), ("other", 2)))
    assert own_system(mine, clips, other) is None
    assert "nothing was changed" in own_system(other.assign(system="mine"), clips, other)
    assert "did not" in own_system(mine.iloc[1:], clips, other)
    assert "are in several folds" in own_system(mine.assign(fold=np.arange(len(mine)) % 2), clips, other)
    assert "sum to" in own_system(mine.assign(anger=0.0), clips, other)
    assert "one system" in own_system(pd.concat([mine, other]), clips, other)
    assert "a predictions table" in own_system([1, 2], clips, other)
