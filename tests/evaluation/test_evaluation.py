"""Folds that do not leak, cross-validation, the predictions table, scores and comparisons."""

import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.dummy import DummyClassifier
from sklearn.linear_model import LogisticRegression, SGDClassifier
from sklearn.metrics import balanced_accuracy_score, confusion_matrix, f1_score
from sklearn.model_selection import StratifiedGroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from tables import SIX, make_clips, make_predictions

from ser_utils import SerError, analysis, evaluation

# -------------------------------------------------------------------------------------------------------------- folds


def test_up_to_twelve_speakers_are_left_out_one_by_one():
    clips = make_clips(speakers=12)
    folds = evaluation.folds(clips)
    assert folds.index.name == "clip" and folds.dtype == np.int64
    assert clips.groupby("speaker")["clip"].agg(lambda own: folds[own].nunique()).eq(1).all()
    assert folds.nunique() == 12
    assert evaluation.folds(make_clips(speakers=13)).nunique() == 5


@pytest.mark.filterwarnings("ignore:The least populated class")  # from the bare split below
def test_many_speakers_share_folds_and_every_fold_trains_on_every_emotion():
    # Clips of anger, joy and fear by 13 speakers. Two speakers have fear, and for some seeds they fall into one fold.
    numbers = [
        (3, 2, 0),
        (1, 0, 0),
        (0, 0, 7),
        (0, 2, 0),
        (1, 2, 0),
        (1, 0, 0),
        (1, 0, 0),
        (6, 4, 0),
        (3, 3, 1),
        (8, 3, 0),
    ]
    numbers += [(1, 0, 0)] * 3
    rows = [
        (f"s{speaker:02d}", emotion)
        for speaker, own in enumerate(numbers)
        for emotion, n in zip(("anger", "happiness", "fear"), own, strict=True)
        for _ in range(n)
    ]
    clips = pd.DataFrame(rows, columns=["speaker", "emotion"]).assign(clip=[f"c{k}" for k in range(len(rows))])
    together = 0
    for seed in range(6):
        fold = clips["clip"].map(evaluation.folds(clips, seed=seed))
        assert fold.groupby(clips["speaker"]).nunique().max() == 1
        for number in range(5):
            assert set(clips.loc[fold != number, "emotion"]) == {"anger", "happiness", "fear"}
        split = StratifiedGroupKFold(5, shuffle=True, random_state=seed).split(
            clips, clips["emotion"], clips["speaker"]
        )
        together += any({"s02", "s08"} <= set(clips["speaker"].iloc[test]) for _, test in split)
    assert together > 0  # or the search was never needed
    assert evaluation.folds(clips, seed=3).equals(evaluation.folds(clips, seed=3))


def test_one_speaker_only_is_refused():
    with pytest.raises(SerError, match=r"24 clips of 1 speaker \(s00\).*at least two"):
        evaluation.folds(make_clips(speakers=1))


def test_an_emotion_of_one_speaker_only_is_refused_by_name():
    clips = make_clips(speakers=4)
    clips = clips[(clips["emotion"] != "fear") | (clips["speaker"] == "s02")]
    with pytest.raises(SerError, match="'fear' comes from one speaker only .'s02'"):
        evaluation.folds(clips)


def test_text_disjoint_folds_train_on_other_speakers_and_other_texts():
    clips = make_clips(speakers=10, texts=10, each=5)  # as EMO-DB: ten speakers, ten sentences
    folds = evaluation.folds(clips, text_disjoint=True)
    assert folds.nunique() == 50
    seen = []

    class Spy(DummyClassifier):
        def fit(self, X, y):
            seen.append(X[:, 0].astype(int))
            return super().fit(X, y)

    segments = whole(clips)
    table = evaluation.cross_validate(
        Spy(),
        np.arange(len(clips))[:, None],
        segments,
        clips,
        folds=folds,
        system="spy",
        text_disjoint=True,
        progress=False,
    )
    assert len(seen) == 50 and len(table) == len(clips)
    for number, trained in enumerate(seen):
        test, train = clips[clips["clip"].map(folds) == number], clips.iloc[trained]
        assert not set(test["speaker"]) & set(train["speaker"])
        assert not set(test["text"]) & set(train["text"])
        assert 0.6 < len(train) / len(clips) < 0.84  # 9 of 10 speakers, 4 of 5 groups of texts


def test_text_disjoint_folds_need_texts():
    clips = make_clips().assign(text=None)
    with pytest.raises(SerError, match="240 of 240 have none"):
        evaluation.folds(clips, text_disjoint=True)
    with pytest.raises(SerError, match="at least two texts"):
        evaluation.folds(clips.assign(text="same"), text_disjoint=True)


def test_folds_that_share_a_speaker_or_split_a_clip_are_refused_by_name():
    clips = make_clips(speakers=4)
    folds = evaluation.folds(clips)
    evaluation.check_folds(folds, clips)
    moved = folds.copy()
    moved["s01_anger_0"] = 3
    with pytest.raises(SerError, match="speaker 's01' is in folds 1, 3"):
        evaluation.check_folds(moved, clips)
    split = pd.concat([folds, pd.Series([2], index=["s00_fear_1"])])
    with pytest.raises(SerError, match="clip 's00_fear_1' is split over folds 0, 2"):
        evaluation.check_folds(split, clips)
    with pytest.raises(SerError, match="1 clips have no fold, 's00_anger_0'"):
        evaluation.check_folds(folds.drop("s00_anger_0"), clips)


def test_a_fold_without_an_emotion_in_training_is_refused_but_a_test_part_may_lack_one():
    clips = make_clips(speakers=4)
    folds = evaluation.folds(clips)
    lacking = clips[(clips["emotion"] != "fear") | (clips["speaker"] != "s02")]
    evaluation.check_folds(folds, lacking)
    only = clips[(clips["emotion"] != "fear") | (clips["speaker"] == "s02")]
    with pytest.raises(SerError, match=r"fold 2 \(tests s02\) has no fear in training"):
        evaluation.check_folds(folds, only)


# --------------------------------------------------------------------------------------------------- cross-validation


def whole(clips, pieces=1):
    """Segments table: `pieces` seconds of every clip."""
    rows = [(clip, float(k), float(k + 1), 0.0) for clip in clips["clip"] for k in range(pieces)]
    return pd.DataFrame(rows, columns=["clip", "start", "end", "padding"])


def features(clips, pieces=1, dims=8, seed=0):
    rng = np.random.default_rng(seed)
    centre = dict(zip(sorted(set(clips["emotion"])), rng.normal(size=(9, dims)), strict=False))
    return np.repeat([centre[emotion] for emotion in clips["emotion"]], pieces, axis=0) + rng.normal(
        0, 2, (len(clips) * pieces, dims)
    )


def test_cross_validation_judges_every_segment_by_a_model_that_never_heard_its_speaker():
    clips = make_clips(speakers=4, each=3)
    segments, X = whole(clips, 2), features(clips, 2)
    folds = evaluation.folds(clips)
    model = make_pipeline(StandardScaler(), LogisticRegression())
    table = evaluation.cross_validate(model, X, segments, clips, folds=folds, system="probe", progress=False)
    assert list(table.columns) == ["system", "seed", "fold", "clip", "start", "end", "speaker", "emotion", *SIX]
    assert table["clip"].tolist() == segments["clip"].tolist() and table["start"].tolist() == segments["start"].tolist()
    of_row = clips.set_index("clip").loc[segments["clip"]]
    test = (of_row["speaker"] == "s02").to_numpy()
    expected = model.fit(X[~test], of_row["emotion"][~test]).predict_proba(X[test])
    assert table.loc[test, list(SIX)].to_numpy() == pytest.approx(expected, abs=1e-9)


def test_the_table_does_not_depend_on_the_number_of_jobs():
    clips = make_clips(speakers=5, each=3)
    segments, X = whole(clips, 2), features(clips, 2)
    # Seeded, nested in a pipeline, and sensitive to the order of sums.
    model = make_pipeline(StandardScaler(), SGDClassifier(loss="log_loss", max_iter=20, tol=None))
    options = dict(folds=evaluation.folds(clips), system="sgd", seeds=(0, 1), progress=False)
    one = evaluation.cross_validate(model, X, segments, clips, n_jobs=1, **options)
    two = evaluation.cross_validate(model, X, segments, clips, n_jobs=2, **options)
    pd.testing.assert_frame_equal(one, two, check_exact=True)
    by_seed = [one.loc[one["seed"] == seed, list(SIX)].to_numpy() for seed in (0, 1)]
    assert not np.allclose(*by_seed)  # the seed reached the estimator


class Reporter(ClassifierMixin, BaseEstimator):
    """Writes down how it was run."""

    def __init__(self, folder=None, random_state=None):
        self.folder, self.random_state = folder, random_state

    def fit(self, X, y, groups=None):
        from threadpoolctl import threadpool_info

        self.classes_ = np.unique(y)
        temporary = Path(self.folder).parent / "joblib"
        dumped = sum(file.stat().st_size for file in temporary.rglob("*") if file.is_file())
        threads = max(pool["num_threads"] for pool in threadpool_info())
        facts = (
            os.getpid(),
            threads,
            os.environ["OMP_NUM_THREADS"],
            dumped,
            self.random_state,
            ",".join(sorted(set(groups))),
        )
        note = " ".join(map(str, facts))
        (Path(self.folder) / f"{'-'.join(sorted(set(groups)))}.txt").write_text(note)
        return self

    def predict_proba(self, X):
        return np.full((len(X), len(self.classes_)), 1 / len(self.classes_))


class _Counted(LogisticRegression):
    """A classifier that writes a file for each fit."""

    def __init__(self, log=None, C=1.0, random_state=None):  # noqa: N803
        super().__init__(C=C, random_state=random_state)
        self.log = log

    def fit(self, X, y):  # noqa: N803
        Path(self.log, f"{time.time_ns()}").touch()
        return super().fit(X, y)


def test_what_was_trained_before_is_read_and_whatever_it_depends_on_trains_again(tmp_path, monkeypatch):
    clips = make_clips(speakers=4)
    segments = pd.DataFrame({"clip": clips["clip"], "start": 0.0, "end": 1.0})
    X = np.random.default_rng(0).normal(size=(len(clips), 3))
    log = tmp_path / "fits"
    log.mkdir()

    def fits(X=X, clips=clips, C=1.0, seeds=(0,), cache=tmp_path / "kept"):  # noqa: N803
        before = len(list(log.iterdir()))
        table = evaluation.cross_validate(
            _Counted(str(log), C), X, segments, clips, folds=evaluation.folds(clips), system="any name", seeds=seeds,
            cache=cache, progress=False,
        )  # fmt: skip
        return len(list(log.iterdir())) - before, table

    count, first = fits()
    assert count == 4
    count, again = fits()
    assert count == 0
    pd.testing.assert_frame_equal(first, again)
    assert fits(cache=None)[0] == 4
    assert fits(seeds=(0, 1))[0] == 4  # the new seed only
    assert fits(C=2.0)[0] == 4
    assert fits(X=X + 1e-9)[0] == 4
    swapped = clips.assign(emotion=clips["emotion"].iloc[::-1].to_numpy())
    assert fits(clips=swapped)[0] == 4
    next((tmp_path / "kept").iterdir()).unlink()  # a run that was stopped: that fold is trained, the others are read
    assert sum(fits(**change)[0] for change in ({"seeds": (0, 1)}, {"C": 2.0}, {"X": X + 1e-9}, {"clips": swapped})) == 1
    monkeypatch.setattr("ser_utils.features.code_hash", lambda: "edited sources")
    assert fits()[0] == 4
    version = "another version"
    monkeypatch.setattr("ser_utils.evaluation.crossvalidation.metadata.version", lambda name: version)
    assert fits()[0] == 4


def test_workers_get_one_thread_the_speakers_as_groups_and_no_copy_of_memory_mapped_features(tmp_path, monkeypatch):
    clips = make_clips(speakers=3)
    X = np.lib.format.open_memmap(tmp_path / "X.npy", "w+", "float16", (len(clips), 60_000))
    X[:] = 1
    X.flush()
    (tmp_path / "notes").mkdir(), (tmp_path / "joblib").mkdir()
    monkeypatch.setenv("JOBLIB_TEMP_FOLDER", str(tmp_path / "joblib"))
    mapped = np.load(tmp_path / "X.npy", mmap_mode="r")
    evaluation.cross_validate(
        Reporter(tmp_path / "notes"), mapped, whole(clips), clips, folds=evaluation.folds(clips), system="r", seeds=(7,),
        n_jobs=2, progress=False,
    )  # fmt: skip
    notes = [file.read_text().split() for file in (tmp_path / "notes").iterdir()]
    assert sorted(note[5] for note in notes) == ["s00,s01", "s00,s02", "s01,s02"]
    for _, blas, openmp, dumped, seed, _ in notes:
        assert blas == openmp == "1" and seed == "7"
        assert int(dumped) < X.nbytes / 10
    assert str(os.getpid()) not in {note[0] for note in notes}


class Waiting(DummyClassifier):
    """Fits only when another fit has begun, too."""

    def __init__(self, folder=None, random_state=None):
        super().__init__(strategy="prior", random_state=random_state)
        self.folder = folder

    def fit(self, X, y):
        Path(self.folder, str(os.getpid())).touch()
        until = time.monotonic() + 60
        while len(list(Path(self.folder).iterdir())) < 2:
            assert time.monotonic() < until, "the first fit ran alone"
            time.sleep(0.05)
        return super().fit(X, y)


def test_the_first_fit_does_not_run_alone(tmp_path):
    clips = make_clips(speakers=2)
    judge = dict(folds=evaluation.folds(clips), system="w", n_jobs=2, progress=False)
    evaluation.cross_validate(Waiting(tmp_path), features(clips), whole(clips), clips, **judge)


def test_a_run_in_this_process_takes_one_torch_thread_and_gives_the_others_back():
    import torch

    during = []

    class Watched(DummyClassifier):
        def fit(self, X, y):
            during.append(torch.get_num_threads())
            return super().fit(X, y)

    before = torch.get_num_threads(), os.environ.get("OMP_NUM_THREADS")
    torch.set_num_threads(2)
    clips = make_clips(speakers=2)
    evaluation.cross_validate(
        Watched(),
        np.zeros((len(clips), 1)),
        whole(clips),
        clips,
        folds=evaluation.folds(clips),
        system="d",
        progress=False,
    )
    assert during == [1, 1]
    assert torch.get_num_threads() == 2 and os.environ.get("OMP_NUM_THREADS") == before[1]
    torch.set_num_threads(before[0])


def test_cross_validation_refuses_leaking_folds_unless_the_leak_is_asked_for():
    clips = make_clips(speakers=4, each=3)
    segments, X = whole(clips, 2), features(clips, 2)
    options = dict(system="leaky", progress=False)
    scattered = pd.Series(np.arange(len(clips)) % 3, index=clips["clip"])
    with pytest.raises(SerError, match="speaker 's00' is in folds"):
        evaluation.cross_validate(DummyClassifier(), X, segments, clips, folds=scattered, **options)
    table = evaluation.cross_validate(
        DummyClassifier(), X, segments, clips, folds=scattered, allow_leaks=True, **options
    )
    assert table["fold"].nunique() == 3
    by_segment = np.arange(len(segments)) % 2  # halves of every clip on both sides
    with pytest.raises(SerError, match="folds must be a Series"):
        evaluation.cross_validate(DummyClassifier(), X, segments, clips, folds=by_segment, **options)
    table = evaluation.cross_validate(
        DummyClassifier(), X, segments, clips, folds=by_segment, allow_leaks=True, **options
    )
    assert table["fold"].tolist() == by_segment.tolist()
    assert len(evaluation.to_clips(table)) == len(clips)


def test_an_emotion_that_a_fold_was_not_trained_on_gets_probability_zero():
    clips = make_clips(speakers=3)
    clips = clips[(clips["emotion"] != "fear") | (clips["speaker"] == "s01")].reset_index(drop=True)
    folds = pd.Series(pd.factorize(clips["speaker"])[0], index=clips["clip"])
    table = evaluation.cross_validate(
        DummyClassifier(strategy="prior"), np.zeros((len(clips), 1)), whole(clips), clips, folds=folds, system="d",
        progress=False, allow_leaks=True,
    )  # fmt: skip
    assert (table.loc[table["speaker"] == "s01", "fear"] == 0).all()
    assert (table.loc[table["speaker"] != "s01", "fear"] > 0).all()


def test_features_that_do_not_belong_to_the_segments_are_refused():
    clips = make_clips(speakers=3)
    options = dict(folds=evaluation.folds(clips), system="d", progress=False)
    with pytest.raises(SerError, match="5 rows of features for 72 segments"):
        evaluation.cross_validate(DummyClassifier(), np.zeros((5, 2)), whole(clips), clips, **options)
    strange = whole(clips).replace({"clip": {"s00_anger_0": "nobody"}})
    with pytest.raises(SerError, match="segments at index 0: the clip is not in the clips table"):
        evaluation.cross_validate(DummyClassifier(), np.zeros((72, 2)), strange, clips, **options)


# ------------------------------------------------------------------------------------------------- predictions tables


@pytest.fixture
def table():
    return make_predictions(make_clips(), segments=2, seeds=(0, 1))


def spoil(table, row, column, value):
    return table.assign(**{column: table[column].where(table.index != row, value)})


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda t: t.drop(columns=["speaker", "fold"]), "lacks fold, speaker"),
        (lambda t: t.iloc[:0], "has no rows"),
        (lambda t: spoil(t, 17, "fear", np.nan), "at index 17: a probability is NaN"),
        (lambda t: spoil(t, 17, "speaker", None), "at index 17: no value for 'speaker'"),
        (lambda t: t.assign(fear=t["fear"].where(~t.index.isin([3, 9]), -0.2)), "at index 3, 9: a probability is not between"),
        (lambda t: t.assign(fear=t["fear"].where(t.index > 6, 0.0)), r"at index 0, 1, .* and 2 more: probabilities sum to 0\.\d+ instead"),
        (lambda t: t.drop(columns="fear"), "at index 4, 5, 6, 7, 28 and .* more: no probability column for fear"),
        (lambda t: t.assign(fear=t["fear"].astype(str)), "column fear: probabilities must be numbers"),
        (lambda t: pd.concat([t, t.loc[[5]]], ignore_index=True), "at index 5, 960: the same system, seed, clip, start more than once"),
        (lambda t: spoil(t, 241, "emotion", "fear"), "at index 241: a clip has another emotion here"),
        (lambda t: spoil(t, 241, "speaker", "s09"), "at index 241: a clip has another speaker here"),
    ],
)  # fmt: skip
def test_a_table_that_cannot_be_scored_is_refused_with_its_rows(table, change, message):
    evaluation.validate(table)
    for function in (evaluation.validate, evaluation.scores):
        with pytest.raises(SerError, match=message):
            function(change(table))


def test_duplicated_clips_are_found_at_clip_level_too():
    clips = make_predictions(make_clips(speakers=3))
    with pytest.raises(SerError, match="at index 0, 72: the same system, seed, clip more than once"):
        evaluation.validate(pd.concat([clips, clips.head(1)], ignore_index=True))


def test_a_clip_is_decided_by_the_geometric_mean_of_its_segments():
    rows = pd.DataFrame({
        "system": "a", "seed": 0, "fold": 0, "clip": ["x", "x", "y"], "start": [0.0, 1, 0], "end": [1.0, 2, 1], "speaker": "s",
        "emotion": ["anger", "anger", "sadness"], "anger": [0.9, 0.4, 0.0], "sadness": [0.1, 0.6, 1.0],
    })  # fmt: skip
    clips = evaluation.to_clips(rows)
    anger, sadness = np.sqrt(0.9 * 0.4), np.sqrt(0.1 * 0.6)
    assert clips["clip"].tolist() == ["x", "y"] and "start" not in clips
    assert clips.loc[0, ["anger", "sadness"]].tolist() == pytest.approx(
        [anger / (anger + sadness), sadness / (anger + sadness)]
    )
    assert clips.loc[1, "sadness"] == pytest.approx(1) and np.isfinite(clips.loc[1, "anger"])
    pd.testing.assert_frame_equal(evaluation.to_clips(clips), clips)


# ------------------------------------------------------------------------------------------------------------- scores


def test_scores_at_both_levels_are_scikit_learns_mean_over_seeds(table):
    for level, rows in (("clip", evaluation.to_clips(table)), ("segment", table)):
        scores = evaluation.scores(table, level=level, resamples=200).set_index("metric")
        runs = [own for _, own in rows.groupby("seed")]
        truth = [(own["emotion"], evaluation.decided(own)) for own in runs]
        assert scores.loc["uar", "value"] == pytest.approx(np.mean([balanced_accuracy_score(*pair) for pair in truth]))
        assert scores.loc["wa", "value"] == pytest.approx(np.mean([(t == p).mean() for t, p in truth]))
        assert scores.loc["macro_f1", "value"] == pytest.approx(
            np.mean([f1_score(*pair, average="macro") for pair in truth])
        )
        assert scores.loc["uar", ["level", "seeds", "speakers", "clips"]].tolist() == [level, 2, 10, 240]
        assert (scores["low"] <= scores["value"]).all() and (scores["value"] <= scores["high"]).all()
        matrix = np.mean([confusion_matrix(*pair, labels=SIX) for pair in truth], axis=0)
        recalls = scores.loc[[f"recall_{name}" for name in SIX], "value"].to_numpy()
        assert recalls == pytest.approx(np.diag(matrix) / matrix.sum(1))
        if level == "clip":
            assert evaluation.recalls(table).loc["a"].to_numpy() == pytest.approx(recalls)
            assert evaluation.confusion(table).to_numpy() == pytest.approx(matrix)
            assert np.diag(evaluation.confusion(table, normalise=True)) == pytest.approx(recalls)


def test_segments_cannot_be_scored_in_a_table_of_clips(table):
    with pytest.raises(SerError, match="per clip already"):
        evaluation.scores(evaluation.to_clips(table), level="segment")


def test_speakers_that_differ_make_the_interval_wider_than_clips_pretend():
    clips = make_clips(speakers=10, each=8)
    parts = [
        make_predictions(own, folds=evaluation.folds(clips), skill=skill, seed=k)
        for k, ((_, own), skill) in enumerate(zip(clips.groupby("speaker"), np.linspace(0, 3, 10), strict=True))
    ]
    table = pd.concat([part.reset_index(drop=True) for part in parts], ignore_index=True)
    width = {}
    for unit in ("speaker", "clip"):
        row = evaluation.scores(table, unit=unit, resamples=1000).set_index("metric").loc["uar"]
        width[unit] = row["high"] - row["low"]
    assert width["speaker"] > 2 * width["clip"]


def test_scores_by_group_are_the_scores_of_the_group(table):
    clips = make_clips()
    by = evaluation.scores_by(table, clips.set_index("clip")["gender"], resamples=100)
    women = evaluation.scores(table[table["clip"].isin(clips.loc[clips["gender"] == "female", "clip"])], resamples=100)
    own = by[by["group"] == "female"].drop(columns="group").reset_index(drop=True)
    pd.testing.assert_frame_equal(own, women)
    speakers = evaluation.scores_by(table, "speaker", unit="clip", resamples=100)
    assert speakers["group"].nunique() == 10 and (speakers["speakers"] == 1).all()
    uar = speakers[speakers["metric"] == "uar"]
    assert (uar["low"] < uar["value"]).all() and (uar["value"] < uar["high"]).all()
    with pytest.raises(SerError, match="no clip of these predictions has a group"):
        evaluation.scores_by(table, clips["gender"])  # index is not the clip


def test_the_long_confusion_table_holds_the_matrix_with_intervals(table):
    long = evaluation.confusion_table(table, resamples=300)
    wide = long.pivot(index="emotion", columns="predicted", values="share")
    assert wide.to_numpy() == pytest.approx(evaluation.confusion(table, normalise=True).to_numpy())
    assert (long["low"] <= long["share"]).all() and (long["share"] <= long["high"]).all()
    assert long.groupby("emotion")["count"].sum().to_numpy() == pytest.approx(np.full(6, 40))


def test_a_confusion_matrix_is_of_one_system(table):
    with pytest.raises(SerError, match="2 systems in one table .a, b."):
        evaluation.confusion(pd.concat([table, table.assign(system="b")], ignore_index=True))


# -------------------------------------------------------------------------------------------------------- comparisons


def test_a_better_system_is_found_better_and_equal_ones_are_not():
    clips = make_clips()
    good, same, poor = (
        make_predictions(clips, system=s, skill=k, seed=i)
        for i, (s, k) in enumerate([("good", 2.5), ("same", 2.5), ("poor", 1)])
    )
    found = evaluation.compare(good, poor, resamples=2000)
    values = [evaluation.scores(t, resamples=10).set_index("metric").loc["uar", "value"] for t in (good, poor)]
    assert found["difference"] == pytest.approx(values[0] - values[1])
    assert found["low"] > 0 and found["p"] < 0.01 and (found["system"], found["other"]) == ("good", "poor")
    assert found["speakers"] == 10 and found["clips"] == 240
    mirrored = evaluation.compare(poor, good, resamples=2000)
    assert mirrored["difference"] == pytest.approx(-found["difference"]) and mirrored["p"] == pytest.approx(found["p"])
    equal = evaluation.compare(good, same, resamples=2000)
    assert equal["low"] < 0 < equal["high"] and equal["p"] > 0.05


def test_pairing_makes_the_difference_surer_than_two_separate_intervals():
    clips = make_clips(each=8)
    skills = np.linspace(0, 3, 10)  # the same speakers are hard for both
    tables = [
        pd.concat([make_predictions(own, folds=evaluation.folds(clips), system=name, skill=skill + extra, seed=k + seed)
                   for k, ((_, own), skill) in enumerate(zip(clips.groupby("speaker"), skills, strict=True))], ignore_index=True)
        for name, extra, seed in (("a", 0.5, 0), ("b", 0.0, 50))
    ]  # fmt: skip
    single = [evaluation.scores(t, resamples=2000).set_index("metric").loc["uar"] for t in tables]
    paired = evaluation.compare(*tables, resamples=2000)
    assert paired["high"] - paired["low"] < 0.6 * np.hypot(*(row["high"] - row["low"] for row in single))


def test_systems_that_judged_other_clips_are_not_compared():
    clips = make_clips(speakers=4)
    a, b = make_predictions(clips, system="a"), make_predictions(clips, system="b", seeds=(0, 1))
    evaluation.compare(a, b, resamples=10)  # other seeds are fine
    with pytest.raises(SerError, match="1 clips are in one of the tables only .*, s00_anger_0 among them"):
        evaluation.compare(a, b[b["clip"] != "s00_anger_0"])
    relabelled = b.assign(emotion=b["emotion"].where(b["clip"] != "s00_anger_1", "fear"))
    with pytest.raises(SerError, match="1 clips .* have another speaker or emotion, s00_anger_1 among them"):
        evaluation.compare(a, relabelled)
    with pytest.raises(SerError, match="system 'b' did not judge the same number of clips with every seed"):
        evaluation.compare(a, b.iloc[1:])


# ------------------------------------------------------------------------------------------------- published results


def test_published_results_are_complete_and_say_where_they_come_from():
    table = analysis.published_results()
    assert list(table.columns) == [
        "source",
        "corpus",
        "system",
        "protocol",
        "classes",
        "metric",
        "value",
        "leaky",
        "note",
    ]
    assert set(table["corpus"]) == {"ShEMO", "EMO-DB", "RAVDESS"} and set(table["metric"]) == {"uar", "wa"}
    assert set(table["leaky"]) == {"yes", "no", "unknown"} and table["value"].between(30, 100).all()
    assert (table[["source", "system"]] != "").all(axis=None)
    assert not table.duplicated(["source", "corpus", "system", "protocol", "metric"]).any()
    # A number cannot be called clean or leaky without its protocol.
    assert (table.loc[table["leaky"] != "unknown", "protocol"] != "").all()


def test_importing_evaluation_loads_neither_torch_nor_scikit_learn():
    code = "import sys, ser_utils.evaluation; print([m for m in ('torch', 'sklearn', 'matplotlib', 'scipy.stats') if m in sys.modules])"
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"
    )
