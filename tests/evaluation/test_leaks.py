"""Every planted leak is found, and tables without leaks pass."""

import numpy as np
import pandas as pd
import pytest
import soundfile
from tables import SIX, make_clips, make_predictions

from ser_utils import evaluation

UNSEEN = {
    "epoch chosen on the test fold", "layer or system chosen on the test fold", "segments cut from a whole-clip feature map",
    "interval over clips instead of speakers", "test statistics used for normalisation",
}  # fmt: skip


@pytest.fixture(scope="module")
def clips():
    """Ten speakers; a text is spoken by one group of speakers only, so that folds by speaker keep texts apart, too."""
    table = make_clips(speakers=10, each=6)
    return table.assign(text=table["speaker"] + " " + table["text"])


@pytest.fixture(scope="module")
def clean(clips):
    return make_predictions(clips, seeds=(0, 1, 2), segments=2)


def verdicts(*args, **options):
    return evaluation.audit(*args, **options).set_index("check")["verdict"]


def finding(check, *args, **options):
    row = evaluation.audit(*args, **options).set_index("check").loc[check]
    assert row["verdict"] == "found", row["detail"]
    return row


def test_a_clean_table_passes_and_what_cannot_be_seen_is_not_called_clean(clips, clean):
    found = evaluation.audit(clean, clips)
    assert list(found.columns) == ["check", "verdict", "detail"] and found["check"].is_unique
    by_check = found.set_index("check")["verdict"]
    assert set(by_check.index[by_check == "cannot tell"]) == UNSEEN | {"one recording stored twice, on both sides"}
    assert not (by_check == "found").any()
    pd.testing.assert_series_equal(verdicts(evaluation.to_clips(clean), clips), by_check)


def test_speakers_on_both_sides_are_found(clips, clean):
    scattered = pd.Series(np.arange(len(clips)) % 5, index=clips["clip"])
    leaky = clean.assign(fold=clean["clip"].map(scattered))
    row = finding("speakers on both sides", leaky, clips)
    assert "10 speakers are in several folds: s00, s01, s02, s03 and 6 more" in row["detail"]
    assert verdicts(leaky, clips)["segments of one clip on both sides"] == "ruled out"


def test_a_speaker_cut_from_the_wrong_part_of_the_name_is_found(clips, clean):
    # The number at the end of the name is taken for the speaker, and folds are made from it.
    wrong = clean.assign(speaker=clean["clip"].str[-1])
    wrong["fold"] = pd.factorize(wrong["speaker"])[0]
    row = finding("speakers differ from the clips table", wrong, clips)
    assert (
        "has speaker '0' here and 's00' in the clips table" in row["detail"]
        and "wrong part of the file name" in row["detail"]
    )
    assert verdicts(wrong, clips)["speakers on both sides"] == "found"


def test_segments_of_one_clip_on_both_sides_are_found(clips, clean):
    row = finding("segments of one clip on both sides", clean.assign(fold=clean["start"].astype(int)), clips)
    assert "360 clips are in several folds" in row["detail"]


def test_the_same_sentence_on_both_sides_is_found_unless_folds_keep_texts_apart(clips, clean):
    shared = clips.assign(text=clips["text"].str.split(" ", n=1).str[1])
    assert "6 texts are in several folds" in finding("the same sentence on both sides", clean, shared)["detail"]
    apart = clean.assign(fold=clean["clip"].map(evaluation.folds(shared, text_disjoint=True)))
    assert (
        verdicts(apart, shared, text_disjoint=True)[["the same sentence on both sides", "speakers on both sides"]]
        .eq("ruled out")
        .all()
    )
    assert verdicts(clean, clips.assign(text=None))["the same sentence on both sides"] == "cannot tell"


def test_a_recording_stored_under_two_names_is_found_by_its_sound(tmp_path):
    clips = make_clips(speakers=3, each=1)
    rng = np.random.default_rng(0)
    waves = {clip: rng.integers(-9999, 9999, 1600).astype("int16") for clip in clips["clip"]}
    waves["s01_fear_0"] = waves["s00_fear_0"]  # another speaker, hence another fold
    waves["s02_anger_0"] = waves["s02_neutral_0"]  # same fold: no leak
    for clip, wave in waves.items():
        # Another file format on purpose: equal samples, not equal bytes.
        soundfile.write(
            tmp_path / f"{clip}.{'flac' if clip == 's01_fear_0' else 'wav'}", wave, 16_000, subtype="PCM_16"
        )
    paths = {path.stem: str(path) for path in tmp_path.iterdir()}
    clips = clips.assign(path=clips["clip"].map(paths), duration=0.1)
    table = make_predictions(clips)
    row = finding("one recording stored twice, on both sides", table, clips)
    assert row["detail"].endswith("in several folds: s00_fear_0, s01_fear_0")
    soundfile.write(paths["s01_fear_0"], rng.integers(-9999, 9999, 1600).astype("int16"), 16_000)
    assert verdicts(table, clips)["one recording stored twice, on both sides"] == "not found"


def test_one_speaker_under_two_names_is_found_by_the_spelling(clips, clean):
    assert verdicts(clean, clips)["one speaker under several names"] == "not found"
    spelled = clips.assign(speaker=[f"{'S' if i % 2 else 's'}{s[1:]}" for i, s in enumerate(clips["speaker"])])
    row = finding("one speaker under several names", clean, spelled)
    assert "speakers that may be one: 'S00'" in row["detail"]


def test_speakers_with_one_emotion_each_are_found(clips, clean):
    assert verdicts(clean, clips)["speakers tied to emotions"] == "ruled out"
    emotion_of = dict(zip(sorted(set(clips["speaker"])), 10 * SIX, strict=False))
    row = finding("speakers tied to emotions", clean, clips.assign(emotion=clips["speaker"].map(emotion_of)))
    n = clips["speaker"].nunique()
    assert f"{n} of {n} speakers with several clips have one emotion" in row["detail"]


def test_speakers_are_tied_where_most_clips_are_of_people_with_one_emotion_or_almost_one(clips):
    speakers = sorted(set(clips["speaker"]))
    own = clips["speaker"].map(dict(zip(speakers, 10 * SIX, strict=False)))
    stray = clips.groupby("speaker").cumcount() == 0  # one clip of each speaker keeps its emotion
    assert "have one emotion or almost one" in evaluation.tied_speakers(clips.assign(emotion=own.mask(stray, "surprise")))
    some = clips["speaker"].isin(speakers[: len(speakers) // 3])
    assert not evaluation.tied_speakers(clips.assign(emotion=own.where(some, clips["emotion"])))
    guests = pd.DataFrame({"clip": [f"g{i}" for i in range(60)], "speaker": [f"g{i // 2}" for i in range(60)]})
    guests["emotion"] = [SIX[i // 2 % 6] for i in range(60)]
    assert not evaluation.tied_speakers(pd.concat([clips, guests]))


def test_speakers_who_share_their_one_emotion_are_not_tied_to_it(clips):
    rare = clips.groupby("speaker").cumcount() == 0
    assert not evaluation.tied_speakers(clips.assign(emotion=np.where(rare, "fear", "neutral")))
    assert not evaluation.tied_speakers(clips.groupby("speaker").head(1))


def test_a_sample_rate_that_gives_an_emotion_away_is_found_and_a_harmless_one_is_not(clips, clean):
    rng = np.random.default_rng(0)
    few = rng.random(len(clips)) < 0.05
    harmless = clips.assign(sample_rate=np.where(few, 22_050, 44_100))
    assert verdicts(clean, harmless)["label leaks through the sample rate"] == "ruled out"
    # As in ShEMO: few files have another rate, and most of those are neutral.
    neutral = few & (rng.random(len(clips)) < 0.3) | ((clips["emotion"] == "neutral") & (rng.random(len(clips)) < 0.2))
    row = finding(
        "label leaks through the sample rate", clean, clips.assign(sample_rate=np.where(neutral, 22_050, 44_100))
    )
    assert "of the 22050 Hz files are neutral, against 17%" in row["detail"]


def test_a_duration_that_gives_the_emotion_away_is_found(clips, clean):
    slow = clips.assign(duration=clips["duration"] + np.where(clips["emotion"] == "sadness", 4, 0))
    assert "duration alone reaches UAR" in finding("label leaks through the duration", clean, slow)["detail"]


def test_one_seed_is_found_unless_the_system_is_said_to_be_deterministic(clips, clean):
    one = clean[clean["seed"] == 0]
    assert finding("one seed", one, clips)["detail"].startswith("a: one seed")
    assert verdicts(one, clips, deterministic=["a"])["one seed"] == "ruled out"


def test_few_speakers_are_found(clips, clean):
    few = clips[clips["speaker"] < "s05"]
    row = finding("few speakers", clean[clean["clip"].isin(few["clip"])], few)
    assert row["detail"].startswith("5 speakers")


def test_accuracy_on_skewed_classes_is_found(clips):
    rare = clips[clips["emotion"].isin(["anger"]) | clips["clip"].str.endswith("_0")]
    majority = make_predictions(rare, system="majority", seeds=(0, 1))
    majority[list(SIX)] = 0.0
    majority["anger"] = 1.0
    row = finding("accuracy flattered by skewed classes", majority, rare)
    assert "accuracy 0.545, UAR 0.167; the largest emotion holds 55% of the clips" in row["detail"]


def test_clips_left_out_or_relabelled_are_found(clips, clean):
    rest = clean[clean["clip"] != "s03_fear_2"]
    assert (
        "did not judge 1 of 360 clips: s03_fear_2"
        in finding("clips left out or judged by some systems only", rest, clips)["detail"]
    )
    both = pd.concat([clean, rest.assign(system="b")], ignore_index=True)
    assert "'b' (seed 0)" in finding("clips left out or judged by some systems only", both, clips)["detail"]
    relabelled = clips.assign(emotion=clips["emotion"].where(clips["clip"] != "s03_fear_2", "anger"))
    row = finding("labels differ from the clips table", clean, relabelled)
    assert "clip s03_fear_2 has emotion 'fear' here" in row["detail"] and "(1 such clips)" in row["detail"]


def test_an_emotion_missing_from_training_is_found(clips, clean):
    keep = (clips["emotion"] != "fear") | (clips["speaker"] == "s04")
    row = finding("an emotion missing from training", clean[clean["clip"].isin(clips.loc[keep, "clip"])], clips[keep])
    assert "no clip with fear outside fold 4" in row["detail"]


def test_per_speaker_normalisation_is_found_by_the_systems_name(clips, clean):
    row = finding("test statistics used for normalisation", clean.assign(system="encoder-svm/speaker"), clips)
    assert "encoder-svm/speaker used unlabelled clips of the test speakers" in row["detail"]


def test_an_invalid_table_is_reported_and_does_not_stop_the_audit(clips, clean):
    broken = clean.assign(fear=clean["fear"] / 2)
    row = finding("invalid table", broken, clips)
    assert "probabilities sum to" in row["detail"]
    rest = verdicts(broken, clips)
    assert (
        rest["accuracy flattered by skewed classes"] == "cannot tell" and rest["speakers on both sides"] == "ruled out"
    )
    bare = verdicts(clean[["clip", "emotion", *SIX]], clips)
    assert bare["invalid table"] == "found" and bare["speakers on both sides"] == "cannot tell"
    assert bare["labels differ from the clips table"] == "ruled out"
