"""ShEMO as it really is: its names, labels, speakers and sample rates from the true metadata, its sound generated."""

import numpy as np
import pandas as pd
import pytest
from shemo_like import make

from ser_utils import analysis, corpora, evaluation, pipeline

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def named(shared_data):
    """A clips table of all 3000 names; no sound."""
    table = pd.read_csv(shared_data / "shemo_metadata" / "audio_files.csv")
    names = table["file"].str.extract(r"(?P<gender>\w+)/(?P<clip>(?P<speaker>[FM]\d\d)(?P<code>[A-Z])\d\d)")
    emotions = {"A": "anger", "F": "fear", "H": "happiness", "N": "neutral", "S": "sadness", "W": "surprise"}
    return names.assign(
        emotion=names["code"].map(emotions), sample_rate=table["sample_rate"], duration=table["duration"]
    )


def test_its_speakers_are_as_unequal_as_the_card_says(named):
    heard = named["speaker"].value_counts()
    assert len(heard) == 87 and round(heard.head(10).sum() / len(named), 2) == 0.41 and (heard < 10).sum() == 18
    low = named[named["sample_rate"] == 22_050]
    assert len(low) == 121 and (low["emotion"] == "neutral").sum() == 104


@pytest.mark.parametrize("classes", ["usual", "all"])
def test_folds_keep_speakers_apart_and_teach_every_emotion_although_few_speakers_hold_the_rare_one(named, classes):
    clips, _ = corpora.scored(named, "shemo", classes)
    folds = evaluation.folds(clips)
    placed = clips.assign(fold=clips["clip"].map(folds))
    assert (placed.groupby("speaker")["fold"].nunique() == 1).all()
    for fold in placed["fold"].unique():
        taught = placed[placed["fold"] != fold]
        assert set(taught["emotion"]) == set(clips["emotion"])
    sizes = placed["fold"].value_counts()
    assert sizes.max() < 1.5 * sizes.min()


@pytest.mark.slow
def test_a_run_on_its_shape_finds_the_shortcut_and_reports_five_and_six_emotions(shared_data, tmp_path):
    written = make(shared_data / "shemo_metadata", tmp_path / "shemo", clips=500)
    index = pipeline.run("shemo", data=tmp_path / "shemo", out=tmp_path / "out", profile="quick")
    tables = tmp_path / "out" / "data" / "processed" / "shemo"
    clips, left_out = (pd.read_parquet(tables / f"{name}.parquet") for name in ("clips", "left_out"))
    assert set(left_out["emotion"]) == {"fear"} and "fear" not in set(clips["emotion"])
    assert len(clips) + len(left_out) <= len(written)
    scores = pd.read_csv(tmp_path / "out" / "reports" / "shemo" / "scores.csv")
    assert {"egemaps-svm", "egemaps-lda, all emotions", "encoder-cnn", "encoder-cnn, all emotions"} <= set(
        scores["system"]
    )
    page = (index.parent / "01_data_exploration.html").read_text(encoding="utf-8")
    assert "filename and shemo_json" in page and "names in common" in page


@pytest.mark.slow
def test_a_low_sample_rate_gives_neutral_away_until_everything_is_resampled(shared_data, tmp_path):
    make(shared_data / "shemo_metadata", tmp_path / "shemo", clips=900)
    clips = corpora.load("shemo", tmp_path / "shemo")
    clips["emotion"] = np.where(clips["emotion"] == "neutral", "neutral", "anger")
    doors = {"before": ("bandwidth",), "after": ("heard_bandwidth",)}
    found = analysis.shortcut_test(
        clips, analysis.file_properties(clips, n_jobs=2), shortcuts=doors, resamples=500
    )
    uar = found[found["metric"] == "uar"].set_index("system")
    assert uar.low["before"] > 0.5 and uar.value["after"] < uar.value["before"]
