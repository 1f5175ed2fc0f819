"""Transfer between corpora whose relation is known, and leaks between them."""

import numpy as np
import pandas as pd
import pytest
import soundfile
from sklearn.linear_model import LogisticRegression
from tables import make_clips

from ser_utils import SerError, audio, evaluation


def corpora(names, speakers=4, emotions=("anger", "fear", "sadness")):
    """Corpora of the same make, with other lengths so that no two recordings are alike."""
    tables = {name: make_clips(speakers=speakers, each=3, emotions=emotions, seed=seed) for seed, name in enumerate(names)}
    return evaluation.join(tables)


def features_of(clips, turned=()):
    """Features that show the emotion; in the `turned` corpora fear and sadness change places, as another culture's might."""
    seen = clips["emotion"].where(~clips["corpus"].isin(list(turned)), clips["emotion"].replace({"fear": "sadness", "sadness": "fear"}))
    rng = np.random.default_rng(0)
    return pd.get_dummies(seen).to_numpy(float) + rng.normal(0, 0.05, (len(clips), 3))


def transferred(clips, X, **options):
    segments = audio.cut_segments(clips, seconds=None).set_index("clip").loc[clips["clip"]].reset_index()
    return evaluation.transfer(LogisticRegression(C=100), X, segments, clips, system="s", progress=False, **options)


def uar(table):
    return evaluation.transfer_scores(table, resamples=50).set_index(["trained", "tested"])["value"]


def test_joined_tables_say_where_a_clip_is_from_and_keep_its_row():
    clips = corpora("ab")
    assert clips["clip"].is_unique and clips["speaker"].nunique() == 8 and list(clips["corpus"].unique()) == ["a", "b"]
    assert (clips["clip"].str.split("/").str[0] == clips["corpus"]).all() and list(clips.index) == list(range(len(clips)))


def test_every_pair_is_tested_both_ways_and_each_corpus_on_speakers_left_out():
    clips = corpora("ab")
    table = transferred(clips, features_of(clips, turned="b"))
    found = uar(table)
    assert found["a", "a"] == found["b", "b"] == 1
    assert found["a", "b"] == found["b", "a"] == pytest.approx(1 / 3)  # anger travels, the other two change places
    assert len(found) == 4 and (table.groupby(["trained", "tested"])["clip"].nunique() == 36).all()
    assert (table["clip"].str[0] == table["tested"]).all()


def test_with_three_corpora_all_others_train_for_one():
    clips = corpora("abc")
    found = uar(transferred(clips, features_of(clips, turned="c")))
    assert len(found) == 12 and found["a", "b"] == found["b", "a"] == 1
    assert found["all others", "c"] == pytest.approx(1 / 3) and found["all others", "a"] < 1


def test_scores_of_pairs_have_intervals_over_test_speakers():
    clips = evaluation.join({"a": make_clips(speakers=4, emotions=("anger", "fear", "sadness")),
                             "b": make_clips(speakers=7, emotions=("anger", "fear", "sadness"), seed=1)})  # fmt: skip
    table = transferred(clips, features_of(clips))
    assert table[table["trained"] == table["tested"]].groupby("tested")["fold"].nunique().to_dict() == {"a": 4, "b": 5}
    rows = evaluation.transfer_scores(table, resamples=50)
    assert rows.set_index(["trained", "tested"])["speakers"].to_dict() == {
        ("a", "a"): 4, ("a", "b"): 7, ("b", "a"): 4, ("b", "b"): 7
    }  # fmt: skip
    assert {"low", "high", "system", "clips"} <= set(rows)


def test_a_few_speakers_of_the_other_corpus_help_and_are_never_tested():
    clips = corpora("ab", speakers=6)
    X = features_of(clips, turned="b")
    segments = audio.cut_segments(clips, seconds=None).set_index("clip").loc[clips["clip"]].reset_index()
    seen = []

    class Recording(LogisticRegression):
        def fit(self, X, y, groups=None):
            seen.append(set(groups))
            return super().fit(X, y)

    options = {"trained": "a", "tested": "b", "system": "s", "progress": False}
    few = evaluation.with_few_speakers(Recording(), X, segments, clips, **options)
    assert few["trained"].unique() == ["a + 1 speaker"] and few["tested"].unique() == ["b"]
    assert sorted(few["clip"]) == sorted(clips["clip"][clips["corpus"] == "b"])
    trained = [{name for name in names if name[0] == "b"} for names in seen if any(name[0] == "a" for name in names)]
    assert [len(names) for names in trained] == [1, 1] and trained[0] != trained[1]
    for names, (_, tested) in zip(trained, few.groupby(few.index >= len(few) // 2), strict=True):
        assert not names & set(tested["speaker"])
    many = evaluation.with_few_speakers(LogisticRegression(C=100), X, segments, clips, share=0.5, **options)
    assert many["trained"].iloc[0] == "a + 3 speakers"
    other = evaluation.with_few_speakers(LogisticRegression(), X, segments, clips, seed=5, **options)
    assert (other["seed"] == 5).all()
    assert evaluation.compare(other, few.assign(system="t"), resamples=50)["clips"] == 54


def test_the_same_recording_in_two_corpora_is_refused_in_another_format_too(tmp_path):
    clips = corpora("ab").groupby("speaker").head(1).reset_index(drop=True)
    rng = np.random.default_rng(0)
    waves = []
    for row in clips.itertuples():  # syllables of noise: no two recordings have the same rhythm
        loud = np.repeat(rng.uniform(0, 1, int(row.duration * 10)) ** 2, 1600)
        waves.append(loud * rng.normal(0, 0.1, loud.size))
        clips.loc[row.Index, ["path", "duration"]] = str(tmp_path / f"{row.Index}.wav"), loud.size / 16_000
        soundfile.write(tmp_path / f"{row.Index}.wav", waves[-1], 16_000)
    evaluation.check_corpora(clips)
    copy = clips.index[-1]
    soundfile.write(tmp_path / "copy.mp3", 0.5 * waves[0], 16_000)
    clips.loc[copy, ["path", "duration"]] = str(tmp_path / "copy.mp3"), clips.loc[0, "duration"]
    named = f"a and b hold the same recording, as {clips['clip'][0]} and {clips['clip'][copy]} \\(1 such pairs\\)"
    with pytest.raises(SerError, match=named):
        evaluation.check_corpora(clips)
    with pytest.raises(SerError, match=named):
        transferred(clips, features_of(clips))


def test_the_same_speaker_in_two_corpora_and_a_single_corpus_are_refused():
    clips = corpora("ab")
    clips.loc[clips["speaker"] == "b/s01", "speaker"] = "a/s01"
    with pytest.raises(SerError, match="a, b share the speaker a/s01"):
        transferred(clips, features_of(clips))
    with pytest.raises(SerError, match="all clips are of one corpus"):
        transferred(*(lambda one: (one, features_of(one)))(corpora("a")))


def test_an_emotion_that_one_corpus_lacks_is_named():
    clips = corpora("ab")
    clips = clips[(clips["corpus"] == "a") | (clips["emotion"] != "fear")].reset_index(drop=True)
    with pytest.raises(SerError, match="has no fear in training"):
        transferred(clips, features_of(clips))


def test_a_corpus_of_one_speaker_cannot_lend_one():
    clips = corpora("ab")
    clips.loc[clips["corpus"] == "b", "speaker"] = "b/s00"
    with pytest.raises(SerError, match="b has 1 speakers"):
        evaluation.with_few_speakers(LogisticRegression(), features_of(clips), clips, clips, trained="a", tested="b", system="s")
