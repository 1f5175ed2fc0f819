"""Votes of raters: the majority is the class, the votes travel to the scores, and a network may be trained on them."""

import numpy as np
import pandas as pd
import pytest
import soundfile
from scipy.spatial.distance import jensenshannon
from small import one_line
from tables import make_clips, make_predictions

from ser_utils import SerError, corpora, evaluation, models


@pytest.fixture
def write(tmp_path):
    """Write a table of four different recordings by two speakers with these columns; return its path."""

    def write(header, *cells):
        rows = [f"path,speaker,{header}"]
        for number, cell in enumerate(cells):
            noise = np.random.default_rng(number).normal(0, 0.1, 1600 + number)
            soundfile.write(tmp_path / f"{number}.wav", noise, 16_000)
            rows.append(f"{number}.wav,{('anna', 'ben')[number % 2]},{cell}")
        (tmp_path / "mine.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
        return tmp_path / "mine.csv"

    return write


#: Header; cells of five recordings. All say: 0 is anger by 2 of 3, 1 fear by 3 of 3, 2 a tie, 3 has no votes, 4 is sadness.
FORMS = {
    "numbers": ("votes_anger,votes_fear,votes_sadness", ["2,1,0", "0,3,0", "1,1,1", "0,0,0", "0,0,1"]),
    "numbers as spreadsheets write them": ("Votes_Wut;votes_fear;Votes Sad", ["2.0;1;", ";3.0;", "1;1;1", ";;", "0;0;1"]),
    "labels of raters": ("rater_1,rater_2,rater_3", ["anger,ang,fear", "fear,fear,Angst", "anger,fear,sad", ",,", ",sad,NA"]),
    "annotators": ("Annotator1,annotator2,annotator3", ["Wut,anger,fea", "fear,fear,fear", "anger,fear,sad", "?,,", "sad,,"]),
    "raters by letters": ("rater_a,rater_b,rater_c", ["anger,anger,fear", "fear,fear,fear", "anger,fear,sad", ",,", "sad,,"]),
}


@pytest.mark.parametrize(("header", "cells"), FORMS.values(), ids=FORMS)
def test_the_majority_is_the_class_ties_are_left_out_and_counted_and_votes_travel(write, header, cells):
    table = write(header, *cells)
    if ";" in header:
        table.write_text(table.read_text().replace(",", ";"))
    clips = corpora.load(table)
    assert list(clips["clip"]) == ["0", "1", "4"] and list(clips["emotion"]) == ["anger", "fear", "sadness"]
    assert "left out by votes: 1 clips with a tie, 1 clips without votes" in clips.attrs["notes"]
    votes = clips.filter(like="votes_")
    assert list(votes) == ["votes_anger", "votes_fear", "votes_sadness"]
    assert votes.to_numpy().tolist() == [[2, 1, 0], [0, 3, 0], [0, 0, 1]]


def test_a_map_of_labels_holds_for_votes_and_two_labels_of_one_emotion_add_up(write):
    table = write("votes_exc,votes_hap,votes_other,votes_ang", "1,1,0,1", "0,0,9,1")
    clips = corpora.load(table, labels={"other": None})
    assert list(clips["emotion"]) == ["happiness", "anger"] and "votes_other" not in clips
    assert list(clips["votes_happiness"]) == [2, 0]
    with pytest.raises(SerError, match="votes_|one emotion|other"):
        corpora.load(write("votes_other,votes_ang", "1,0", "9,1"), labels={"ang": None})


def test_the_votes_decide_where_a_column_emotion_says_something_else(write):
    clips = corpora.load(write("emotion,votes_anger,votes_fear", "sadness,2,0", "sadness,0,2"))
    assert list(clips["emotion"]) == ["anger", "fear"]
    assert "the votes decide, not the column emotion" in clips.attrs["notes"]


def test_a_table_with_votes_loads_again_as_it_was_written(write, tmp_path):
    clips = corpora.load(write(*FORMS["numbers"][:1], *FORMS["numbers"][1]))
    clips.to_csv(tmp_path / "again.csv", index=False)
    pd.testing.assert_frame_equal(corpora.load(tmp_path / "again.csv"), clips)


REFUSED = [
    ("votes_anger,votes_fear", ["2,0", "0,many"], "line 3: votes_fear 'many' is no number of votes"),
    ("votes_anger,votes_fear", ["-2,0", "0,1"], "line 2: votes_anger '-2' is no number of votes"),
    ("votes_anger,rater_1", ["2,fear", "0,fear"], "has numbers of votes .votes_anger. and raters' labels"),
    ("rater_1,rater_2", [",", ","], "has columns for votes .rater_1, rater_2., and no vote in them"),
]


@pytest.mark.parametrize(("header", "cells", "message"), REFUSED)
def test_votes_that_cannot_be_counted_are_refused_in_one_line(write, header, cells, message):
    with pytest.raises(SerError, match=message) as caught:
        corpora.load(write(header, *cells))
    one_line(caught)


# ------------------------------------------------------------------------------------------------- scores and training


def with_votes(clips, seed=0):
    """Ten votes for each clip, most of them for its emotion."""
    random, names = np.random.default_rng(seed), sorted(set(clips["emotion"]))
    votes = random.multinomial(4, np.full(len(names), 1 / len(names)), len(clips)).astype(float)
    votes += 6 * (clips["emotion"].to_numpy()[:, None] == names)
    return clips.assign(**{f"votes_{name}": votes[:, k] for k, name in enumerate(names)})


def predicted(clips, **options):
    predictions = make_predictions(clips, **options)
    votes = clips.set_index("clip").filter(like="votes_")
    return predictions.join(votes, on="clip")


def test_distances_from_the_votes_are_those_of_scipy_and_zero_where_the_prediction_is_the_vote():
    clips = with_votes(make_clips(3, 2))
    predictions = predicted(clips)
    names = evaluation.emotions_of(predictions)
    voted = predictions[[f"votes_{name}" for name in names]].to_numpy() / 10
    found = evaluation.against_votes(predictions)
    expected = jensenshannon(predictions[names].to_numpy(), voted, base=2, axis=1)
    np.testing.assert_allclose(found["js_distance"], expected, atol=1e-7)
    np.testing.assert_allclose(found["cross_entropy"], -(voted * np.log(predictions[names])).sum(axis=1), rtol=1e-4)
    predictions[names] = voted
    assert evaluation.against_votes(predictions)["js_distance"].max() < 5e-3  # probabilities have a floor


def test_votes_for_an_emotion_that_the_system_does_not_know_do_not_count():
    predictions = predicted(with_votes(make_clips(3, 2)))
    strange = predictions.assign(votes_contempt=3.0)
    pd.testing.assert_frame_equal(evaluation.against_votes(strange), evaluation.against_votes(predictions))


@pytest.mark.parametrize("segments", [None, 2])
def test_scores_of_voted_clips_have_the_distances_with_intervals_and_others_do_not(segments):
    clips = with_votes(make_clips())
    predictions = pd.concat([predicted(clips, seeds=(0, 1), segments=segments), make_predictions(clips, system="b", segments=segments)])
    predictions = predictions.reset_index(drop=True)
    scores = evaluation.scores(predictions, resamples=200).set_index(["system", "metric"])
    at_clips = evaluation.to_clips(predictions)
    own = evaluation.against_votes(at_clips[at_clips.system == "a"])
    for metric in ("cross_entropy", "js_distance"):
        row = scores.loc[("a", metric)]
        assert row["value"] == pytest.approx(own[metric].mean()) and row["low"] < row["value"] < row["high"]
    assert set(scores.loc["a"].index) - set(scores.loc["b"].index) == {"cross_entropy", "js_distance"}
    assert scores.index[0] == ("a", "uar") and evaluation.emotions_of(predictions) == evaluation.emotions_of(at_clips)


@pytest.fixture(scope="module")
def ambiguous():
    """Segments whose features say which of two emotions most voted for, all by seven votes to three."""
    random = np.random.default_rng(0)
    emotion = np.tile(["anger", "fear"], 30)
    X = random.normal(0, 0.3, (60, 4, 4)).astype(np.float32)
    X[emotion == "anger", :, 0] += 2
    votes = np.where(emotion == "anger", 7.0, 3.0)
    clips = pd.DataFrame({"clip": [f"c{i:02d}" for i in range(60)], "emotion": emotion, "speaker": np.repeat(list("abc"), 20)})
    return X, clips.assign(votes_anger=votes, votes_fear=10 - votes)


def test_a_network_trained_on_votes_predicts_their_shares_and_one_trained_on_classes_is_surer(ambiguous):
    X, clips = ambiguous
    segments = pd.DataFrame({"clip": clips["clip"], "start": 0.0, "end": 1.0, "padding": 0.0, "active": 1.0})
    how = dict(folds=evaluation.folds(clips), system="cnn", progress=False)
    network = models.SegmentCNN(width=8, epochs=25, learning_rate=0.05, temperature=1.0, masking=0, dropout=0)
    mean, distance = {}, {}
    for soft in (False, True):
        told = evaluation.cross_validate(network, X, segments, clips, soft=soft, **how)
        assert evaluation.decided(told).eq(told["emotion"]).mean() > 0.95
        mean[soft] = told.loc[told["emotion"] == "anger", "anger"].mean()
        distance[soft] = evaluation.scores(told, resamples=50).set_index("metric")["value"]["js_distance"]
    assert mean[True] == pytest.approx(0.7, abs=0.06) and mean[False] > 0.9
    assert distance[True] < 0.5 * distance[False]


def test_predictions_kept_for_classes_are_not_read_for_votes(ambiguous, tmp_path):
    X, clips = ambiguous
    segments = pd.DataFrame({"clip": clips["clip"], "start": 0.0, "end": 1.0})
    how = dict(folds=evaluation.folds(clips), system="cnn", cache=tmp_path, progress=False)
    cnn = models.SegmentCNN(width=8, epochs=3)
    one, two = (evaluation.cross_validate(cnn, X, segments, clips, soft=soft, **how) for soft in (False, True))
    assert not np.array_equal(one["anger"], two["anger"])


def test_votes_in_another_order_or_with_other_classes_train_the_same_network(ambiguous):
    X, clips = ambiguous
    soft = clips.filter(like="votes_").rename(columns=lambda name: name.removeprefix("votes_"))
    one, two = (models.SegmentCNN(width=8, epochs=1).fit(X, clips["emotion"], soft=votes).predict_proba(X[:9])
                for votes in (soft, soft[["fear", "anger"]].assign(calm=5)))  # fmt: skip
    np.testing.assert_array_equal(one, two)


def test_training_on_votes_is_refused_without_them_and_by_what_takes_none(ambiguous):
    X, clips = ambiguous
    segments = pd.DataFrame({"clip": clips["clip"], "start": 0.0, "end": 1.0})
    how = dict(folds=evaluation.folds(clips), system="x", soft=True, progress=False)
    with pytest.raises(SerError, match="the clips table has no votes_<emotion>"):
        evaluation.cross_validate(models.SegmentCNN(), X, segments, clips[["clip", "emotion", "speaker"]], **how)
    with pytest.raises(SerError, match="LinearProbe takes no votes"):
        evaluation.cross_validate(models.LinearProbe(), X.mean(1), segments, clips, **how)
