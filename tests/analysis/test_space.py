"""Features as a space: what is planted in it is measured, and chance is not mistaken for it."""

import numpy as np
import pandas as pd
import pytest

from ser_utils import analysis


def table(speakers=8, each=12, effect=None, seed=0):
    """Clips with a measure `x` that depends on the speaker strongly, and on the emotion by `effect`."""
    rng, rows = np.random.default_rng(seed), []
    for s in range(speakers):
        for emotion, shift in (effect or {"anger": 0.0, "neutral": 0.0, "sadness": 0.0}).items():
            rows += [(f"S{s}", emotion, 10.0 * s + shift + rng.normal()) for _ in range(each)]
    clips = pd.DataFrame(rows, columns=["speaker", "emotion", "x"])
    return clips.assign(clip=[f"c{i:04}" for i in range(len(clips))], gender=None, duration=1.0)


def test_variance_explained_is_zero_for_unrelated_labels_however_many_and_one_for_pure_groups():
    rng = np.random.default_rng(0)
    noise = rng.normal(size=(300, 20))
    assert abs(analysis.variance_explained(noise, rng.integers(0, 60, 300))) < 0.05
    groups = rng.integers(0, 5, 300)
    assert analysis.variance_explained(np.eye(5)[groups], groups) == pytest.approx(1)
    mixed = analysis.variance_explained(np.eye(5)[groups] * np.sqrt(5) + 0.1 * noise[:, :5], groups)
    assert 0.9 < mixed < 1


def test_variance_explained_within_speakers_does_not_see_the_voice():
    clips = table(speakers=6, each=30, effect={"anger": 1.0, "neutral": 0.0, "sadness": -1.0})
    X = clips[["x"]].to_numpy()
    plain = analysis.variance_explained(X, clips["emotion"])
    within = analysis.variance_explained(X, clips["emotion"], within=clips["speaker"])
    assert plain < 0.02 and within == pytest.approx(0.4, abs=0.1)  # variance 2/3 between, 1 within


def test_neighbours_tell_a_space_of_voices_from_a_space_of_emotions():
    clips = table(speakers=4, each=15)
    rng = np.random.default_rng(0)
    voices = np.eye(4)[pd.factorize(clips["speaker"])[0]] + rng.normal(0, 0.05, (len(clips), 4))
    feelings = np.eye(3)[pd.factorize(clips["emotion"])[0]] + rng.normal(0, 0.05, (len(clips), 3))
    by_voice, by_feeling = analysis.neighbours(voices, clips), analysis.neighbours(feelings, clips)
    assert by_voice["same speaker"] == 1 and by_voice["same emotion, other speaker"] < 0.5
    assert by_feeling["same emotion"] == 1 == by_feeling["same emotion, other speaker"]
    assert by_feeling["chance: same emotion, other speaker"] == pytest.approx(1 / 3)
    assert by_voice["chance: same speaker"] == pytest.approx(44 / 179)


def test_the_flat_map_keeps_clusters_apart_and_is_the_same_every_time():
    rng = np.random.default_rng(0)
    groups = np.repeat([0, 1], 40)
    X = rng.normal(0, 0.1, (80, 6)) + 5 * np.eye(2)[groups].repeat(3, axis=1)
    flat = analysis.flat_map(X)
    centres = [flat[groups == g].mean(0) for g in (0, 1)]
    nearer = np.argmin([np.linalg.norm(flat - c, axis=1) for c in centres], axis=0)
    assert flat.shape == (80, 2) and (nearer == groups).all()
    np.testing.assert_array_equal(flat, analysis.flat_map(X))
