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


TOYS = {
    "01-1": (pd.DataFrame({"emotion": list("aabb"), "pitch": [7.0, 5.0, 3.0, 1.0]}),),
    "03-1": (10,),
    "05-1": (pd.DataFrame({"clip": ["a", "b"], "duration": [3.8, 3.4]}),),
    "06-1": (pd.DataFrame({"confidence": [0.6, 0.9], "right": [0.6, 0.7], "predictions": [300, 100]}),),
    "07-1": (1.6,),
    "08-1": (10, 50, 3),
    "09-1": (pd.DataFrame({"score": [0.9, 0.7, 0.5, 0.45, 0.35], "right": [True, True, False, True, False]}), 0.75),
    "11-1": ({("A", "A"): 70, ("A", "B"): 45, ("B", "B"): 50, ("B", "A"): 48},),
}


@pytest.mark.parametrize(
    "name, right, wrong, hint",
    [
        ("01-1", 0.8, 0.2, "the share left within"),
        ("03-1", 9, 6, "Holm multiplies"),
        ("03-1", 9, 8, "one in each direction"),
        ("05-1", 7, 8, "less than half a segment is dropped"),
        ("05-1", 7, 6, "half a segment or more is kept"),
        ("06-1", 0.05, 0.1, "weight each bin"),
        ("07-1", 4.95, 3.03, "the base is e"),
        ("08-1", 54.6, 50, "the highest of each draw"),
        ("09-1", 0.45, 0.5, "2 of 3 answers are right"),
        ("09-1", 0.4, 0.6, "a lower threshold gives 4 answers"),
        ("11-1", 5, 25, "A and B are two tests"),
        ("11-1", 5, -5, "the sign is the wrong way round"),
    ],
)
def test_an_exercise_by_hand_knows_the_right_answer_and_what_was_forgotten_in_a_wrong_one(name, right, wrong, hint, capsys):
    check(name, right, *TOYS[name])
    check(name, wrong, *TOYS[name])
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith(f"{name}: right. ")
    assert second.startswith(f"{name}: not yet. ") and hint.casefold() in second.casefold()


def said(capsys, *arguments) -> str:
    check(*arguments)
    return capsys.readouterr().out.casefold()


def test_shuffled_frames_must_be_the_same_frames_in_an_order_of_each_segments_own(capsys):
    rng = np.random.default_rng(0)
    ordered = rng.normal(size=(5, 8, 3)).astype("float32")
    order = rng.permutation(8)
    assert ": right." in said(capsys, "04-2", np.stack([segment[rng.permutation(8)] for segment in ordered]), ordered)
    assert "one for each" in said(capsys, "04-2", ordered[:, order], ordered)
    assert "still in their order" in said(capsys, "04-2", ordered.copy(), ordered)
    assert "must keep its frames" in said(capsys, "04-2", ordered[:, ::-1] + 1, ordered)


def test_a_tie_of_votes_may_be_decided_either_way_but_not_by_probabilities(capsys):
    clips = make_clips(speakers=4, each=2, emotions=("anger", "fear"))
    table = make_predictions(clips, segments=2, skill=0.5)
    votes = table.assign(vote=table[["anger", "fear"]].idxmax(axis=1)).groupby("clip")
    truth = votes.emotion.first()
    for tie in (0, -1):
        voted = votes.vote.agg(lambda own, tie=tie: own.mode().iloc[tie])
        assert ": right." in said(capsys, "04-3", (voted == truth).groupby(truth).mean().mean(), table)
    assert "too low" in said(capsys, "04-3", 0.0, table) and "a number is needed" in said(capsys, "04-3", "0.5", table)


def test_a_length_must_be_the_best_on_the_other_folds_and_not_on_the_tested_one(capsys):
    clips = make_clips(speakers=4, each=3, emotions=("anger", "fear"))
    predictions = {seconds: make_predictions(clips, skill=1, seed=seed) for seed, seconds in enumerate((0.5, 1.0))}
    shares = {s: (t[["anger", "fear"]].idxmax(axis=1) == t.emotion).groupby(t.fold).mean() for s, t in predictions.items()}
    folds = list(shares[0.5].index)
    away = {f: {s: share.drop(f).mean() for s, share in shares.items()} for f in folds}
    chosen = {fold: max(away[fold], key=away[fold].get) for fold in folds}
    assert ": right." in said(capsys, "05-3", chosen, predictions)
    other = {fold: 1.5 - seconds for fold, seconds in chosen.items()}
    assert "not yet. fold" in said(capsys, "05-3", other, predictions)
    assert "a dict from each fold" in said(capsys, "05-3", {0: 0.5}, predictions)


def test_a_perturbation_must_change_the_loudest_samples_and_no_others(capsys):
    wave = np.random.default_rng(0).normal(size=4000)
    assert ": right." in said(capsys, "11-3", lambda w, rate, rng: np.clip(w, *np.quantile(w, [0.02, 0.98])), wave, 16_000)
    assert "only the loudest" in said(capsys, "11-3", lambda w, rate, rng: 0.5 * w, wave, 16_000)
    assert "only the loudest" in said(capsys, "11-3", lambda w, rate, rng: w, wave, 16_000)
    assert "the shape (2000,)" in said(capsys, "11-3", lambda w, rate, rng: w[::2], wave, 16_000)
    assert "a function" in said(capsys, "11-3", wave, wave, 16_000)


def test_a_planted_leak_is_half_of_one_emotion_in_a_copy(capsys):
    clips = make_clips(speakers=4, each=4)
    files = clips[["clip", "sample_rate"]].copy()
    half, anger = files.copy(), clips.index[clips.emotion == "anger"]
    half.loc[anger[::2], "sample_rate"] = 8000
    assert ": right." in said(capsys, "01-3", half, files, clips)
    assert "itself is changed" in said(capsys, "01-3", half, half, clips)
    whole = files.assign(sample_rate=np.where(clips.emotion == "anger", 8000, 16_000))
    assert "half of the emotion's clips" in said(capsys, "01-3", whole, files, clips)
    assert "of one emotion" in said(capsys, "01-3", files.assign(sample_rate=8000), files, clips)
    assert "still has its own" in said(capsys, "01-3", files.copy(), files, clips)
