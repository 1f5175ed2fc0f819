"""Error analysis: groups, pairs, agreement, votes and what-if changes, on tables worked out by hand."""

import itertools
import json

import numpy as np
import pandas as pd
import pytest
from scipy.stats import spearmanr
from small import write_silence

from ser_utils import analysis, audio, corpora


def predictions_of(system, decided, truth, *, seed=0, sure=0.8):
    rows = []
    for i, (d, t) in enumerate(zip(decided, truth, strict=True)):
        p = dict.fromkeys(("anger", "neutral", "sadness"), (1 - sure) / 2) | {d: sure}
        rows.append(
            {"system": system, "seed": seed, "fold": 0, "clip": f"c{i}", "speaker": f"s{i % 2}", "emotion": t} | p
        )
    return pd.DataFrame(rows)


def test_equal_groups_are_shrunken_all_the_way_and_distinct_ones_hardly():
    names, errors = list("abcd"), pd.Series(0.1, index=list("abcd"))
    same = analysis.shrunken(pd.Series([0.50, 0.52, 0.48, 0.50], index=names), errors)
    assert np.ptp(same) < 1e-12 and same.iloc[0] == pytest.approx(0.5)
    distinct = pd.Series([0.1, 0.9, 0.2, 0.8], index=names)
    kept = analysis.shrunken(distinct, errors / 10)
    np.testing.assert_allclose(kept, distinct, atol=0.01)


def test_the_less_is_known_of_a_group_the_more_it_is_pulled():
    values = pd.Series([0.2, 0.2, 0.8, 0.8])
    pulled = analysis.shrunken(values, pd.Series([0.05, 0.3, 0.05, 0.3]))
    assert values[0] < pulled[0] < pulled[1] < pulled[3] < pulled[2] < values[2]


def test_a_group_whose_standard_error_is_unknown_is_pulled_like_the_least_known_one():
    values = pd.Series([0.2, 0.2, 0.8, 0.8])
    pulled = analysis.shrunken(values, pd.Series([0.05, np.nan, 0.3, 0.0]))
    assert pulled[0] < pulled[1] and pulled[2] == pulled[3]
    assert analysis.shrunken(values, pd.Series([np.nan] * 4)).equals(values)


def test_uar_by_group_weighs_emotions_equally_and_is_averaged_over_seeds():
    truth = ["anger", "anger", "anger", "neutral"] * 2
    both = pd.concat(
        [
            predictions_of("cnn", ["anger", "anger", "anger", "anger"] * 2, truth, seed=0),
            predictions_of("cnn", ["anger", "anger", "anger", "neutral"] * 2, truth, seed=1),
        ]
    )
    groups = pd.Series(["short"] * 4 + ["long"] * 4, index=[f"c{i}" for i in range(8)])
    table = analysis.group_uar(both, groups, resamples=50).set_index("group")
    assert table.value.to_dict() == {"long": 0.75, "short": 0.75} and (table.clips == 4).all()


def speakers_of_two_genders(*, by_speaker):
    """20 speakers with 30 clips each; every second clip of a speaker, or every second speaker, is called wrong."""
    rows = [(s, i, ("anger", "neutral")[i % 2]) for s in range(20) for i in range(30)]
    right = [bool(s // 2 % 2) if by_speaker else bool(i // 2 % 2) for s, i, _ in rows]
    other = {"anger": "neutral", "neutral": "anger"}
    table = predictions_of("cnn", [t if r else other[t] for (_, _, t), r in zip(rows, right, strict=True)], [t for *_, t in rows])
    gender = pd.Series([("female", "male")[s % 2] for s, _, _ in rows], index=table["clip"])
    return table.assign(speaker=[f"s{s}" for s, _, _ in rows]), gender


def test_the_interval_of_a_group_is_over_its_speakers_and_not_over_clips():
    # Either way half of the clips are wrong; only where whole speakers fail do few speakers make the score uncertain.
    width = {}
    for by_speaker in (True, False):
        table = analysis.group_uar(*speakers_of_two_genders(by_speaker=by_speaker), resamples=500)
        assert table.value.between(0.35, 0.65).all() and (table.speakers == 10).all()
        width[by_speaker] = (table.high - table.low).max()
    over_clips = 2 * 1.96 * np.sqrt(0.25 / 300)  # of 300 independent clips
    assert width[True] > 4 * over_clips > 8 * width[False]


def test_the_interval_of_a_single_speaker_is_over_clips():
    table, _ = speakers_of_two_genders(by_speaker=False)
    own = table[["clip", "speaker"]].set_index("clip").speaker
    by_speaker = analysis.group_uar(table, own, resamples=200)
    assert (by_speaker.high - by_speaker.low).between(0.25, 0.45).all(), "30 clips"


def test_pairs_are_ranked_by_how_often_they_are_confused_in_either_direction():
    names = ["anger", "neutral", "sadness"]
    counts = pd.DataFrame([[8, 2, 0], [0, 5, 5], [0, 3, 7]], index=names, columns=names)
    pairs = analysis.confusion_pairs(counts)
    assert pairs.loc[0, ["first", "second"]].tolist() == ["neutral", "sadness"]
    assert pairs.rate.tolist() == pytest.approx([0.4, 0.1, 0.0])
    assert pairs.arousal[0] == pytest.approx(0.27) and pairs.valence[0] == pytest.approx(0.63)


def pairs_of(names, rate, distance):
    """A table of pairs from two functions of two numbers of emotions."""
    ends = list(itertools.combinations(range(len(names)), 2))
    rows = [(names[i], names[j], rate(i, j), distance(i, j)) for i, j in ends]
    return pd.DataFrame(rows, columns=["first", "second", "rate", "arousal"])


def test_the_mantel_test_of_six_emotions_tries_all_720_orders():
    # Confusion falls with distance without exception, and no other order of these unequal distances does as well.
    pairs = pairs_of("abcdef", lambda i, j: -abs(i**2 - j**2), lambda i, j: abs(i**2 - j**2))
    assert analysis.mantel(pairs, "arousal") == pytest.approx((-1, 1 / 720))
    shuffled = pairs.sample(frac=1, random_state=0)
    assert analysis.mantel(shuffled, "arousal") == pytest.approx((-1, 1 / 720)), "the order of pairs does not matter"


def test_the_mantel_correlation_is_spearmans():
    rng = np.random.default_rng(0)
    pairs = pairs_of("abcdef", lambda i, j: rng.random(), lambda i, j: rng.integers(4))
    rho, _ = analysis.mantel(pairs, "arousal")
    assert rho == pytest.approx(spearmanr(pairs.rate, pairs.arousal).statistic)


@pytest.mark.parametrize(("emotions", "resamples"), [("abcdef", 10_000), ("abcdefghi", 400)])
def test_the_mantel_test_is_right_where_pairs_depend_on_each_other_and_spearmans_is_not(emotions, resamples):
    rng, mantel, plain, trials = np.random.default_rng(1), 0, 0, 200
    for _ in range(trials):
        # Confusion depends on a property of each emotion that has nothing to do with its position.
        liked, position = rng.normal(size=(2, len(emotions)))
        pairs = pairs_of(emotions, lambda i, j: liked[i] + liked[j], lambda i, j: abs(position[i] - position[j]))
        mantel += analysis.mantel(pairs, "arousal", resamples=resamples)[1] <= 0.05
        plain += spearmanr(pairs.rate, pairs.arousal).pvalue <= 0.05
    assert mantel / trials < 0.09 < plain / trials


def test_agreement_is_one_for_twins_and_negative_for_complements():
    truth = ["anger"] * 4
    a = predictions_of("a", ["anger", "anger", "neutral", "neutral"], truth)
    twin = a.assign(system="twin")
    other = predictions_of("other", ["neutral", "neutral", "anger", "anger"], truth)
    table = analysis.correct(pd.concat([a, twin, other])).corr()
    assert table.loc["a", "twin"] == pytest.approx(1) and table.loc["a", "other"] == pytest.approx(-1)


def test_a_vote_follows_the_majority_and_counts_each_system_once():
    truth = ["anger"]
    systems = [predictions_of("a", ["neutral"], truth, seed=s) for s in range(3)]
    systems += [predictions_of("b", ["anger"], truth), predictions_of("c", ["anger"], truth)]
    voted = analysis.vote(pd.concat(systems), ["a", "b", "c"])
    assert len(voted) == 1 and voted.anger[0] > voted.neutral[0]
    assert voted[["anger", "neutral", "sadness"]].sum(axis=1)[0] == pytest.approx(1)
    with pytest.raises(ValueError, match="nobody"):
        analysis.vote(pd.concat(systems), ["a", "nobody"])


def tone(pitch=200, seconds=1.0):
    time = np.arange(round(seconds * audio.SAMPLE_RATE)) / audio.SAMPLE_RATE
    return np.sin(2 * np.pi * pitch * time).astype("float32")


def pitch_of(wave):
    return np.argmax(np.abs(np.fft.rfft(wave * np.hanning(len(wave))))) * audio.SAMPLE_RATE / len(wave)


def test_steps_of_pitch_add_up_and_steps_of_tempo_multiply():
    assert pitch_of(analysis.perturbed(tone(), semitones=(6, 6))) == pytest.approx(400, abs=8)
    assert len(analysis.perturbed(tone(), tempo=(2.0, 1.25))) == pytest.approx(6_400, abs=600)


def test_a_step_to_and_fro_leaves_the_traces_of_the_tool_and_no_step_leaves_none():
    wave = tone() + np.random.default_rng(0).normal(0, 0.1, 16_000).astype("float32")

    def traces(**steps):
        changed = analysis.perturbed(wave, **steps)[: len(wave)]
        return np.sqrt(np.mean((changed - wave[: len(changed)]) ** 2))

    assert pitch_of(analysis.perturbed(wave, semitones=(2, -2))) == pytest.approx(200, abs=4)
    assert traces(semitones=(0,)) < 0.01 < 0.05 < traces(semitones=(2, -2))
    assert traces(tempo=(1.0,)) < 0.01 < 0.05 < traces(tempo=(1.25, 0.8))


def test_judging_a_waveform_averages_its_segments_and_leaves_silence_out():
    class Loudness:
        classes_ = np.array(["anger", "neutral"])

        def predict_proba(self, X):
            anger = np.where(X.mean(axis=(1, 2)) > 0.5, 0.9, 0.2)
            return np.stack([anger, 1 - anger], axis=1)

    wave = np.repeat([1.0, 0.1, 0.0], 16_000).astype("float32")
    result = analysis.judge([wave, wave[:8_000]], lambda w: w[:, :, None], Loudness(), seconds=1.0)
    odds = np.sqrt(0.9 * 0.2) / np.sqrt(0.1 * 0.8)
    assert result[0, 0] == pytest.approx(odds / (1 + odds))
    assert result[1, 0] == pytest.approx(0.9), "half a second is repeated until it fills a segment"


def test_a_mean_over_speakers_weighs_each_once_and_is_certain_of_what_all_share():
    values = np.array([[1.0, 0.5]] * 9 + [[0.0, 0.5]] * 3)
    table = analysis.mean_over_speakers(values, ["a"] * 9 + ["b", "c", "d"])
    assert table.value.tolist() == pytest.approx([1 / 4, 0.5])
    assert (table.high - table.low)[0] > 0.5 and (table.high - table.low)[1] == pytest.approx(0)


def test_overlap_counts_changed_labels_among_suspects_against_chance():
    clips = [f"c{i}" for i in range(20)]
    labels = pd.Series("anger", index=clips)
    corrected = labels.copy()
    corrected[clips[:4]] = "sadness"
    found = analysis.overlap(pd.Series(clips[:5]), labels, corrected.drop("c19"))
    assert (found.clips, found.changed, found.suspects, found.both) == (19, 4, 5, 4)
    assert found.expected == pytest.approx(4 * 5 / 19) and found.p < 0.01
    assert analysis.overlap(pd.Series(clips[10:15]), labels, corrected).p == 1


def test_labels_of_a_synthetic_corpus_are_right_so_that_every_suspect_is_a_false_alarm():
    clips = pd.DataFrame({"clip": list("abcd"), "emotion": ["anger", "fear", "anger", "fear"]})
    labels = clips.set_index("clip").emotion
    found = analysis.overlap(pd.Series(["a", "c"]), labels, analysis.second_labels(clips, "demo", data=None, labels="filename"))
    assert (found.suspects, found.both, found.changed) == (2, 0, 0)
    for corpus in ("nemo", "recordings/demo.csv"):
        assert analysis.second_labels(clips, corpus, data=None, labels="filename") is None


def test_the_second_labels_of_shemo_are_the_modified_ones(tmp_path):
    for name in ("F01A01", "M02N02"):
        write_silence(tmp_path / {"F": "female", "M": "male"}[name[0]] / f"{name}.wav")
    modified = {"F01A01": {"emotion": "sadness"}, "M02N02": {"emotion": "neutral"}}
    (tmp_path / "modified_shemo.json").write_text(json.dumps(modified))
    clips = corpora.load("shemo", tmp_path)
    second = analysis.second_labels(clips, "shemo", data=tmp_path, labels="filename")
    assert clips.emotion.tolist() == ["anger", "neutral"] and second.tolist() == ["sadness", "neutral"]
    assert analysis.second_labels(clips, "shemo", data=tmp_path, labels="modified") is None
