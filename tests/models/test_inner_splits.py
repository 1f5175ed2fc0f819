"""Splits inside training rows: speakers apart, and every class to learn from."""

import numpy as np
import pytest

from ser_utils import SerError, models


def test_inner_folds_keep_speakers_apart():
    random = np.random.default_rng(0)
    codes, groups = random.integers(3, size=240), random.integers(6, size=240)
    parts = models.grouped_splits(codes, groups, 3, seed=0)
    assert len(parts) == 3
    for fit, judge in parts:
        assert not set(groups[fit]) & set(groups[judge])
    assert sorted(np.concatenate([judge for _, judge in parts])) == list(range(len(codes)))


def test_an_inner_fold_without_a_class_to_learn_is_left_out():
    codes, groups = np.tile([0, 1, 0, 1], 15), np.repeat(np.arange(6), 10)
    codes[groups == 2] = 2  # a class that one speaker alone has
    parts = models.grouped_splits(codes, groups, 3, seed=0)
    assert len(parts) == 2
    assert all(set(codes[fit]) == {0, 1, 2} for fit, _ in parts)


def test_with_as_many_folds_as_speakers_or_fewer_rows_than_folds_there_still_are_splits():
    codes = np.array([0, 1, 0, 1, 0, 1])
    assert len(models.grouped_splits(codes, np.array([0, 0, 1, 1, 1, 1]), 3, seed=0)) == 2
    assert len(models.grouped_splits(codes, None, 5, seed=0)) == 3
    assert models.grouped_splits(np.array([0, 1, 1]), None, 3, seed=0) == []


def test_held_out_speakers_are_training_speakers_and_differ_with_the_seed():
    random = np.random.default_rng(0)
    codes, groups = random.integers(3, size=240), random.integers(8, size=240)
    seen = set()
    for seed in range(6):
        fit, held = models.hold_out(codes, groups, 0.15, seed)
        assert not set(groups[fit]) & set(groups[held])
        assert len(set(groups[held])) == 1
        assert len(fit) + len(held) == len(codes)
        seen |= set(groups[held])
    assert len(seen) > 1


def test_holding_out_never_takes_the_only_speaker_of_a_class():
    codes, groups = np.tile([0, 1], 60), np.repeat(np.arange(6), 20)
    codes[groups == 2] = 2
    for seed in range(20):
        fit, _ = models.hold_out(codes, groups, 0.15, seed)
        assert 2 in codes[fit]


def test_classes_are_sorted_and_a_single_one_is_refused():
    classes, codes = models.class_codes(["sadness", "anger", "sadness"])
    assert classes.tolist() == ["anger", "sadness"] and codes.tolist() == [1, 0, 1]
    with pytest.raises(SerError, match="All 2 training rows are of one class .anger."):
        models.class_codes(["anger", "anger"])
