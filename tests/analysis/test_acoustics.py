"""Acoustics of emotions: voices are taken out, planted effects are found, and nothing is found where nothing is."""

import numpy as np
import pandas as pd
import pytest

from ser_utils import EMOTIONS, analysis


def table(speakers=8, each=12, effect=None, seed=0):
    """Clips with a measure `x` that depends on the speaker strongly, and on the emotion by `effect`."""
    rng, rows = np.random.default_rng(seed), []
    for s in range(speakers):
        for emotion, shift in (effect or {"anger": 0.0, "neutral": 0.0, "sadness": 0.0}).items():
            rows += [(f"S{s}", emotion, 10.0 * s + shift + rng.normal()) for _ in range(each)]
    clips = pd.DataFrame(rows, columns=["speaker", "emotion", "x"])
    return clips.assign(clip=[f"c{i:04}" for i in range(len(clips))], gender=None, duration=1.0)


def test_every_acoustic_measure_is_a_functional_that_opensmile_gives():
    import opensmile

    names = opensmile.Smile(opensmile.FeatureSet.eGeMAPSv02, opensmile.FeatureLevel.Functionals).feature_names
    assert {functional for functional, _ in analysis.ACOUSTICS.values()} <= set(names)
    clips = table(2, 2)
    values = np.arange(len(clips) * len(names), dtype=float).reshape(len(clips), -1)
    values[0, names.index("F0semitoneFrom27.5Hz_sma3nz_amean")] = 0  # a clip without voice
    measured = analysis.measures_of(clips, values, names)
    np.testing.assert_array_equal(measured["loudness"], values[:, names.index("loudness_sma3_amean")])
    assert measured["pitch"].isna().tolist()[:2] == [True, False] and measured["loudness"].notna().all()
    with pytest.raises(ValueError, match="one row per clip"):
        analysis.measures_of(clips, values[1:], names)


def test_centring_removes_the_voice_and_keeps_the_emotion():
    clips = table(speakers=6, each=200, effect={"anger": 3.0, "neutral": 0.0, "sadness": -3.0})
    centred = analysis.centre_by_speaker(clips, ["x"])
    by_emotion = centred.groupby(["speaker", "emotion"])["x"].mean().unstack()
    assert np.abs(by_emotion["anger"] - 3).max() < 0.4 and np.abs(by_emotion["neutral"]).max() < 0.4


def test_centring_is_not_misled_by_a_speaker_who_is_mostly_angry():
    clips = table(speakers=2, each=100, effect={"anger": 4.0, "neutral": 0.0})
    skewed = clips[(clips["emotion"] == "anger") | (clips.groupby(["speaker", "emotion"]).cumcount() < 20)]
    means = analysis.centre_by_speaker(skewed, ["x"]).groupby("emotion")["x"].mean()
    assert means["anger"] == pytest.approx(2, abs=0.4) and means["neutral"] == pytest.approx(-2, abs=0.4)


def test_a_speaker_of_one_emotion_is_left_out():
    clips = pd.concat([table(2), table(1, effect={"fear": 50.0}).assign(speaker="alone")])
    assert "alone" not in set(analysis.centre_by_speaker(clips, ["x"])["speaker"])


def test_eta_squared_equals_the_sums_of_squares_written_out():
    clips = table(speakers=4, each=9, effect={"anger": 1.0, "neutral": 0.0, "sadness": -0.5})
    row = analysis.effect_sizes(clips, ["x"], resamples=50).iloc[0]
    centred = analysis.centre_by_speaker(clips, ["x"])
    grand = centred["x"].mean()
    fitted = centred.groupby("emotion")["x"].transform("mean")
    expected = ((fitted - grand) ** 2).sum() / ((centred["x"] - grand) ** 2).sum()
    assert row["value"] == pytest.approx(expected) and row["clips"] == len(clips) and row["speakers"] == 4


def test_a_real_effect_stands_clear_of_shuffled_labels_and_no_effect_does_not():
    strong = analysis.effect_sizes(table(effect={"anger": 2.0, "neutral": 0.0, "sadness": -2.0}), ["x"]).iloc[0]
    none = analysis.effect_sizes(table(), ["x"]).iloc[0]
    assert strong["low"] > 0.5 > strong["bias"] * 10 and strong["low"] < strong["value"] < strong["high"]
    assert none["value"] < 0.03


def test_measures_without_values_are_skipped_and_missing_values_left_out():
    clips = table().assign(empty=np.nan)
    clips.loc[:9, "x"] = np.nan
    effects = analysis.effect_sizes(clips, ["x", "empty"], resamples=20)
    assert effects["measure"].tolist() == ["x"] and effects["clips"].tolist() == [len(clips) - 10]


def test_contrasts_have_the_sign_and_size_of_the_planted_difference():
    clips = table(speakers=6, each=200, effect={"anger": 2.0, "neutral": 0.0, "sadness": -1.0})
    d = analysis.contrasts(clips, ["x"])["x"]
    # anger against the mean of neutral (0) and sadness (-1) is 2.5; within-emotion deviation is 1
    assert d["anger"] == pytest.approx(2.5, abs=0.2) and d["sadness"] == pytest.approx(-2, abs=0.2)
    assert list(d.index) == ["anger", "neutral", "sadness"]


def test_only_directions_about_emotions_and_measures_that_were_found_are_compared():
    found = pd.DataFrame({"loudness": [0.5, 0.2], "rate": [-0.1, -0.3]}, index=["anger", "sadness"])
    table = analysis.compare_with_expected(found).set_index(["emotion", "measure"])
    assert table["agrees"].to_dict() == {("anger", "loudness"): True, ("anger", "rate"): False,
                                         ("sadness", "loudness"): False, ("sadness", "rate"): True}
    assert set(analysis.EXPECTED) <= set(EMOTIONS)
    assert {m for d in analysis.EXPECTED.values() for m in d} <= set(analysis.ACOUSTICS)
