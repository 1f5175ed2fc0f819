"""Probes: fewer labels, and speakers instead of emotions."""

import numpy as np
import pandas as pd
import pytest

from ser_utils import SerError, evaluation
from ser_utils.models import SVM, FewerLabels, LinearProbe


def table(n=240, dims=8, speakers=8, seed=0):
    """Clips, and their vectors with a class in the first dimensions."""
    random = np.random.default_rng(seed)
    emotion = random.permutation(np.resize(["anger", "fear", "sadness"], n))
    speaker = np.resize([f"s{i}" for i in range(speakers)], n)
    X = random.normal(size=(n, dims))
    X[:, :3] += 2 * (emotion[:, None] == ["anger", "fear", "sadness"])
    clips = pd.DataFrame({"clip": [f"c{i}" for i in range(n)], "speaker": speaker, "emotion": emotion, "text": None})
    return X, clips


def test_a_share_of_speakers_and_of_their_rows_is_kept_evenly_over_classes():
    X, clips = table()
    y, groups = clips.emotion.to_numpy(), clips.speaker.to_numpy()
    model = FewerLabels(LinearProbe(), speakers=0.5, rows=0.2).fit(X, y, groups=groups)
    kept = clips.iloc[model.kept_]
    assert kept.speaker.nunique() == 4
    whole, part = (t.groupby(["speaker", "emotion"]).size() for t in (clips, kept))
    assert (part == np.ceil(0.2 * whole[part.index])).all()
    assert len(part) == 4 * 3, "every class of every kept speaker is there"


def test_another_seed_draws_other_rows_and_the_same_seed_the_same():
    X, clips = table()
    rows = [
        tuple(FewerLabels(LinearProbe(), 0.5, 0.5, seed).fit(X, clips.emotion, groups=clips.speaker).kept_)
        for seed in (0, 0, 1)
    ]
    assert rows[0] == rows[1] != rows[2]


def test_all_labels_give_what_the_classifier_itself_gives():
    X, clips = table()
    whole = FewerLabels(LinearProbe()).fit(X, clips.emotion, groups=clips.speaker)
    np.testing.assert_allclose(whole.predict_proba(X), LinearProbe().fit(X, clips.emotion).predict_proba(X))


def test_an_estimator_that_takes_groups_is_given_those_of_the_rows_drawn():
    X, clips = table()
    model = FewerLabels(SVM(), speakers=0.75, rows=0.5).fit(X, clips.emotion, groups=clips.speaker)
    kept = model.kept_
    alone = SVM().fit(X[kept], clips.emotion[kept], groups=clips.speaker[kept])
    pd.testing.assert_frame_equal(model.estimator_.search_, alone.search_)
    assert not alone.search_.equals(SVM().fit(X[kept], clips.emotion[kept]).search_), "groups matter here"


def test_fewer_labels_score_lower_in_cross_validation_with_every_speaker_judged():
    X, clips = table(n=360, dims=40)
    whole = clips.assign(start=0.0, end=1.0, padding=0.0)[["clip", "start", "end", "padding"]]
    uar = {}
    for rows in (0.05, 1.0):
        judged = evaluation.cross_validate(
            FewerLabels(LinearProbe(), rows=rows), X, whole, clips, folds=evaluation.folds(clips), system="probe",
            seeds=[0, 1], progress=False,
        )  # fmt: skip
        assert judged.groupby("seed")["clip"].nunique().eq(len(clips)).all()
        uar[rows] = evaluation.scores(judged, resamples=50).set_index("metric").value["uar"]
    assert uar[0.05] < uar[1.0] - 0.05


@pytest.mark.parametrize("shares", [{"speakers": 0}, {"rows": 1.5}])
def test_an_impossible_share_is_refused(shares):
    X, clips = table()
    with pytest.raises(SerError, match=f"{next(iter(shares))}=.*above 0"):
        FewerLabels(LinearProbe(), **shares).fit(X, clips.emotion, groups=clips.speaker)


def test_more_speakers_are_taken_where_so_few_never_have_every_class():
    X, clips = table(n=24, speakers=4)
    y = np.array(["anger", "fear", "sadness", "sadness"])[np.arange(24) % 4]  # each speaker has one class
    model = FewerLabels(LinearProbe(), speakers=0.25).fit(X, y, groups=clips.speaker)
    assert clips.speaker[model.kept_].nunique() == 3
    assert list(model.classes_) == ["anger", "fear", "sadness"]
