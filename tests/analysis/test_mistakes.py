"""Pitfalls: each mistake is really made, and its honest counterpart really does without it."""

import numpy as np
import pandas as pd
import pytest
import soundfile

from ser_utils import SerError, analysis, evaluation

EMOTIONS = ["anger", "neutral", "sadness"]


@pytest.fixture
def clips():
    rows = []
    for s in range(6):
        for i in range(12):
            name = f"F{s:02d}{'ANS'[i % 3]}{i:02d}"
            rows.append(
                (name, f"female/{name}.ogg", f"F{s:02d}", EMOTIONS[i % 3], "female", f"text {i % 4}", 2.0, 16_000)
            )
    columns = ["clip", "path", "speaker", "emotion", "gender", "text", "duration", "sample_rate"]
    return pd.DataFrame(rows, columns=columns)


@pytest.fixture
def segments(clips):
    two = pd.concat([clips[["clip"]].assign(start=0.0, end=1.0), clips[["clip"]].assign(start=1.0, end=2.0)])
    return two.sort_values(["clip", "start"]).assign(padding=0.0).reset_index(drop=True)


def shares_groups(folds, groups):
    return (pd.Series(np.asarray(folds)).groupby(np.asarray(groups)).nunique() > 1).any()


def test_random_folds_put_speakers_or_clips_on_both_sides(clips, segments):
    by_clip = analysis.random_clip_folds(clips)
    assert shares_groups(by_clip, clips.speaker) and sorted(by_clip.unique()) == [0, 1, 2, 3, 4]
    by_segment = analysis.random_segment_folds(segments)
    assert by_segment.shape == (len(segments),) and shares_groups(by_segment, segments["clip"])
    with pytest.raises(SerError):
        evaluation.check_folds(by_clip, clips)


def test_the_wrong_slice_keeps_utterance_numbers_apart_but_not_speakers(clips):
    folds = analysis.wrong_slice_folds(clips, analysis.WRONG_SLICE["demo"])
    assert not shares_groups(folds, clips["clip"].str[3:6]) and shares_groups(folds, clips.speaker)


@pytest.mark.parametrize(
    ("corpus", "name", "slice_"),
    [
        ("shemo", "F01A07", "A07"),
        ("emodb", "03a01Fa", "a01"),
        ("nemo", "EB0_anger_17", "17"),
        ("ravdess", "03-01-05-01-02-01-12", "02-01"),
    ],
)
def test_each_corpus_has_its_own_wrong_slice(corpus, name, slice_):
    assert pd.Series([name]).str.extract(analysis.WRONG_SLICE[corpus], expand=False)[0] == slice_


def test_a_slice_that_finds_nothing_names_the_file(clips):
    with pytest.raises(SerError, match="F00A00"):
        analysis.wrong_slice_folds(clips, r"_(\d+)$")
    with pytest.raises(SerError, match="every file name"):
        analysis.wrong_slice_folds(clips, r"^(F)")


def guesses(clips, system, seed):
    p = np.random.default_rng(seed).dirichlet(np.ones(3), len(clips))
    folds = clips["clip"].map(evaluation.folds(clips))
    table = clips[["clip", "speaker", "emotion"]].assign(system=system, seed=0, fold=folds)
    return table.join(pd.DataFrame(p, columns=EMOTIONS))[
        ["system", "seed", "fold", "clip", "speaker", "emotion", *EMOTIONS]
    ]


def test_the_best_of_many_guessers_looks_good_only_when_chosen_on_the_test_fold(clips):
    many = pd.concat([guesses(clips, f"guess {i}", i) for i in range(12)], ignore_index=True)
    peeked = analysis.best_per_fold(many, elsewhere=False, name="peeked")
    honest = analysis.best_per_fold(many, elsewhere=True, name="honest")

    def score(table):
        return evaluation.scores(table, resamples=100).query("metric == 'uar'").value.iloc[0]

    assert score(peeked) > 0.45 > score(honest)
    gain = evaluation.compare(peeked, honest, resamples=500)
    assert gain.difference == pytest.approx(score(peeked) - score(honest)) and gain.low < gain.difference < gain.high


def test_accuracy_exceeds_uar_where_all_answers_are_the_most_frequent_class(clips):
    skewed = clips[(clips.emotion == "anger") | (clips["clip"].str[-2:].astype(int) < 3)].reset_index(drop=True)
    table = guesses(skewed, "majority", 0).assign(anger=1.0, neutral=0.0, sadness=0.0)
    gap = analysis.accuracy_over_uar(table, resamples=500)
    assert gap.difference == pytest.approx((skewed.emotion == "anger").mean() - 1 / 3)


def test_narrowband_changes_one_emotion_only(tmp_path):
    rows = []
    for i, emotion in enumerate(["neutral", "anger"]):
        path = tmp_path / f"c{i}.wav"
        soundfile.write(path, np.random.default_rng(i).normal(0, 0.1, 16_000), 16_000)
        rows.append((f"c{i}", str(path), emotion, 16_000))
    clips = pd.DataFrame(rows, columns=["clip", "path", "emotion", "sample_rate"])
    (tmp_path / "low").mkdir()
    changed = analysis.narrowband(clips, "neutral", tmp_path / "low")
    assert changed.sample_rate.tolist() == [8_000, 16_000] and changed.path[1] == clips.path[1]
    assert soundfile.info(changed.path[0]).samplerate == 8_000


def test_shuffled_texts_keep_their_counts(clips):
    shuffled = analysis.shuffled_texts(clips)
    assert sorted(shuffled.text) == sorted(clips.text) and (shuffled.text != clips.text).any()
