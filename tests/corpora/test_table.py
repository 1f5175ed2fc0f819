"""Parsing corpora and CSVs into clips tables."""

import json

import numpy as np
import pandas as pd
import pytest
import soundfile
from small import one_line, write_silence
from tables import make_clips

from ser_utils import EMOTIONS, SerError, audio, corpora


def assert_is_clips_table(clips):
    assert tuple(clips.columns) == corpora.COLUMNS
    assert clips["clip"].is_unique and clips["clip"].is_monotonic_increasing
    assert set(clips["emotion"]) <= set(EMOTIONS)
    assert set(clips["gender"]) <= {"female", "male", None}
    assert clips["duration"].dtype == float and (clips["duration"] > 0).all()
    assert clips["sample_rate"].dtype == int


# ------------------------------------------------------------------------------------------------- real corpora


@pytest.mark.real
def test_nemo_is_read_with_its_nine_speakers_and_their_sentences(shared_data):
    clips = corpora.load("nemo", shared_data / "nemo")
    assert_is_clips_table(clips)
    assert len(clips) == 4481 and clips["speaker"].nunique() == 9
    assert not clips["speaker"].str.contains(r"\s").any()
    assert clips["emotion"].value_counts().to_dict() == {
        "neutral": 809, "sadness": 769, "anger": 749, "happiness": 749, "fear": 736, "surprise": 669,
    }  # fmt: skip
    assert clips["duration"].sum() / 3600 == pytest.approx(3.07, abs=0.01)
    row = clips.set_index("clip").loc["EB0_neutral_13"]
    assert (row["gender"], row["text"]) == ("female", "Interesuje mnie historia Polski.")


@pytest.mark.real
def test_ravdess_is_read_with_eight_emotions_and_odd_actors_male(shared_data):
    clips = corpora.load("ravdess", shared_data / "ravdess")
    assert_is_clips_table(clips)
    assert len(clips) == 1440 and clips["speaker"].nunique() == 24
    counts = clips["emotion"].value_counts()
    assert counts.pop("neutral") == 96 and set(counts) == {192} and len(counts) == 7
    row = clips.set_index("clip").loc["03-01-06-01-02-01-12"]
    assert (row["emotion"], row["gender"], row["speaker"]) == ("fear", "female", "12")
    assert row["text"] == "Dogs are sitting by the door."
    assert (clips.loc[clips["speaker"] == "07", "gender"] == "male").all()


@pytest.mark.real
def test_emodb_is_read_with_its_german_letters(shared_data):
    clips = corpora.load("emodb", shared_data / "emodb")
    assert_is_clips_table(clips)
    assert len(clips) == 339 and clips["speaker"].nunique() == 10
    row = clips.set_index("clip").loc["03a01Fa"]
    assert (row["emotion"], row["gender"]) == ("happiness", "male")  # F is Freude
    assert clips.groupby("gender")["speaker"].nunique().to_dict() == {"female": 5, "male": 5}


@pytest.mark.parametrize("ending", ["wav", "flac", "ogg"])
@pytest.mark.parametrize("channels", [1, 2])
def test_headers_are_read_right_in_every_format(tmp_path, ending, channels):
    path = tmp_path / f"a.{ending}"
    soundfile.write(path, np.random.default_rng(0).normal(0, 0.1, (12_345, channels)), 22_050)
    assert lengths_of(path) == [(12_345 / 22_050, 22_050)] * 2


def test_an_ogg_file_with_a_broken_end_has_the_length_of_its_sound(tmp_path):
    path = tmp_path / "a.ogg"
    soundfile.write(path, np.random.default_rng(0).normal(0, 0.1, 60_000), 16_000)
    content = bytearray(path.read_bytes())
    last = content.rfind(b"OggS")
    content[last + 6 : last + 14] = (10**15).to_bytes(8, "little")  # 2000 years of sound
    path.write_bytes(content)
    assert all(duration < 10 for duration, _ in lengths_of(path))


def test_an_ogg_excerpt_whose_stream_starts_late_has_the_length_of_its_sound(tmp_path):
    path = tmp_path / "a.ogg"
    soundfile.write(path, np.random.default_rng(0).normal(0, 0.1, 4 * 16_000), 16_000)
    path.write_bytes(started_late(path.read_bytes(), 20 * 16_000))
    assert all(duration == pytest.approx(4, abs=0.1) for duration, _ in lengths_of(path))
    assert audio.read(path).size == pytest.approx(4 * 16_000, abs=1600)


def lengths_of(path):
    """Duration and rate of a file in tables that trust headers and that decode."""
    other = write_silence(path.with_name("other.wav"))
    table = path.with_name("list.csv")
    table.write_text(f"path,emotion,speaker\n{path.name},anger,1\n{other.name},fear,2\n")
    loaded = [corpora.load(table, decode=decode).iloc[0] for decode in (False, True)]
    return [(row["duration"], row["sample_rate"]) for row in loaded]


def started_late(ogg, late):
    """Add `late` samples to the positions of all pages of sound, as in an excerpt of a stream (RFC 3533, section 6)."""
    pages = [bytearray(b"OggS" + page) for page in ogg.split(b"OggS")[1:]]
    for page in pages:
        position = int.from_bytes(page[6:14], "little", signed=True)
        if position > 0:  # headers have 0, pages on which no packet ends -1
            page[6:14] = (position + late).to_bytes(8, "little", signed=True)
        page[22:26] = bytes(4)
        checksum = 0
        for byte in page:
            checksum ^= byte << 24
            for _ in range(8):
                checksum = (checksum << 1 ^ (0x04C11DB7 if checksum >> 31 else 0)) & 0xFFFFFFFF
        page[22:26] = checksum.to_bytes(4, "little")
    return b"".join(pages)


def test_recordings_of_a_folder_are_listed_without_what_macos_and_others_hide_there(tmp_path):
    for name in ("b/x.FLAC", "b.wav", "a.Ogg", "._b.wav", "__MACOSX/b.wav", "b/__MACOSX/x.wav", ".trash/b.wav", "b.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    expected = [tmp_path / name for name in ("a.Ogg", "b/x.FLAC", "b.wav")]
    assert corpora.audio_files(tmp_path) == corpora.sound_files(tmp_path) == expected
    assert corpora.audio_files(tmp_path / ".trash") == [tmp_path / ".trash" / "b.wav"]  # asked for by name


# -------------------------------------------------------------------------------------------------------- ShEMO


@pytest.fixture
def small_shemo(tmp_path):
    """A folder in ShEMO's layout whose three label sources disagree."""
    for name in ("female/F01A01.wav", "female/F01F02.ogg", "male/M02N01.flac", "male/M02W03.wav"):
        write_silence(tmp_path / "shemo" / name)
    entries = {"F01A01": "angry", "F01F02": "fearful", "M02N01": "sad"}  # M02W03 has no entry
    content = {name: {"emotion": emotion, "transcript": f"text of {name}"} for name, emotion in entries.items()}
    (tmp_path / "shemo" / "shemo.json").write_text(json.dumps(content))
    content = {
        f"{name}.wav": {"emotion": emotion, "transcript": f"right text of {name}"}
        for name, emotion in (*entries.items(), ("M02W03", "happiness"))
    }
    (tmp_path / "shemo_metadata").mkdir()
    (tmp_path / "shemo_metadata" / "modified_shemo.json").write_text(json.dumps(content))
    return tmp_path / "shemo"


def test_shemo_takes_labels_from_file_names(small_shemo):
    clips = corpora.load("shemo", small_shemo)
    assert_is_clips_table(clips)
    assert list(clips["clip"]) == ["F01A01", "F01F02", "M02N01", "M02W03"]
    assert list(clips["emotion"]) == ["anger", "fear", "neutral", "surprise"]
    assert list(clips["gender"]) == ["female", "female", "male", "male"]
    assert list(clips["speaker"]) == ["F01", "F01", "M02", "M02"]
    assert clips["text"][0] == "right text of F01A01"  # from the corrected file, beside the folder


def test_shemo_takes_labels_from_shemo_json_and_names_what_it_lacks(small_shemo):
    with pytest.warns(UserWarning, match=r"1 of 4 recordings left out: M02W03.wav \(not in shemo.json\)"):
        clips = corpora.load("shemo", small_shemo, labels="shemo_json")
    assert list(clips["emotion"]) == ["anger", "fear", "sadness"]
    assert clips["text"][2] == "text of M02N01"


def test_shemo_takes_labels_from_the_modified_file(small_shemo):
    clips = corpora.load("shemo", small_shemo, labels="modified")
    assert list(clips["emotion"]) == ["anger", "fear", "sadness", "happiness"]


def test_shemo_without_its_metadata_says_where_it_looked(small_shemo):
    (small_shemo / "shemo.json").unlink()
    with pytest.raises(SerError, match="needs shemo.json in .*shemo or .*shemo_metadata"):
        corpora.load("shemo", small_shemo, labels="shemo_json")


def test_an_unknown_emotion_code_is_named_with_its_file_and_the_allowed_ones(small_shemo):
    write_silence(small_shemo / "male" / "M03X01.wav")
    with pytest.raises(SerError, match=r"code 'X' in .*M03X01\.wav: allowed are A \(anger\), H") as caught:
        corpora.load("shemo", small_shemo)
    one_line(caught)


@pytest.mark.real
def test_all_names_of_shemo_are_parsed_and_all_three_label_sources_counted(shared_data, tmp_path):
    names = (shared_data / "shemo_metadata" / "audio_files.csv").read_text().splitlines()[1:]
    silence = write_silence(tmp_path / "silence.wav", 0.01).read_bytes()
    for folder in ("female", "male"):
        (tmp_path / "shemo" / folder).mkdir(parents=True)
    for line in names:
        (tmp_path / "shemo" / line.split(",")[0]).write_bytes(silence)
    for name in ("shemo.json", "modified_shemo.json"):
        (tmp_path / "shemo" / name).symlink_to(shared_data / "shemo_metadata" / name)
    clips = corpora.load("shemo", tmp_path / "shemo")
    assert len(clips) == 3000 and clips["speaker"].nunique() == 87 and clips["text"].notna().all()
    assert clips["emotion"].value_counts().to_dict() == {
        "anger": 1059, "neutral": 1028, "sadness": 449, "surprise": 225, "happiness": 201, "fear": 38,
    }  # fmt: skip
    with pytest.warns(UserWarning, match="162 of 3000"):
        assert len(corpora.load("shemo", tmp_path / "shemo", labels="shemo_json")) == 2838
    modified = corpora.load("shemo", tmp_path / "shemo", labels="modified")
    assert (modified["emotion"] != clips["emotion"]).sum() == 163


# ------------------------------------------------------------------------------------------------ reader's CSVs


@pytest.fixture
def write_csv(tmp_path):
    """Write recordings and a CSV that lists them; return its path."""

    def write(rows, header="path,emotion,speaker", files=True):
        for row in rows:
            if files:
                write_silence(tmp_path / row.split(",")[0])
        table = tmp_path / "calls.csv"
        table.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
        return table

    return write


def test_a_csv_is_read_with_paths_beside_it_and_common_emotion_names(write_csv):
    table = write_csv(["a/1.wav,Angry,anna", "a/2.wav,SAD,anna", "b/3.wav,joy,ben", "b/4.wav,neutral,ben"])
    clips = corpora.load(table)
    assert_is_clips_table(clips)
    assert list(clips["clip"]) == ["1", "2", "3", "4"]
    assert list(clips["emotion"]) == ["anger", "sadness", "happiness", "neutral"]
    assert clips["path"][0] == str(table.parent / "a" / "1.wav")
    assert clips["gender"][0] is None and clips["text"][0] is None
    assert corpora.label(table) == "calls" and corpora.slug(table).startswith("calls-")


def test_a_csv_may_give_clip_names_gender_and_text(write_csv):
    rows = ["1.wav,anger,anna,x1,F,Hello", "2.wav,fear,ben,x2,male,"]
    clips = corpora.load(write_csv(rows, "path,emotion,speaker,clip,gender,text"))
    assert list(clips["clip"]) == ["x1", "x2"]
    assert list(clips["gender"]) == ["female", "male"]
    assert list(clips["text"]) == ["Hello", None]


def test_equal_file_names_in_two_folders_are_told_apart(write_csv):
    clips = corpora.load(write_csv(["a/1.wav,anger,anna", "b/1.wav,fear,ben"]))
    assert list(clips["clip"]) == ["a/1", "b/1"]


@pytest.mark.parametrize(
    ("rows", "header", "message"),
    [
        (["1.wav,anger,anna"], "path,feeling,speaker", "no column emotion; it has path, feeling, speaker"),
        (["1.wav,anger"], "path,emotion", "no column speaker"),
        (["1.wav,anger,anna", "2.wav,fear, "], "path,emotion,speaker", "line 3: the speaker is empty"),
        (["1.wav,anger,anna", "2.wav,fear,anna"], "path,emotion,speaker", "have one speaker .'anna'"),
        (["1.wav,anger,anna", "2.wav,angry,ben"], "path,emotion,speaker", "have one emotion .'anger'"),
        (["1.wav,anger,anna", "1.wav,fear,ben"], "path,emotion,speaker", "more than once"),
    ],
)
def test_an_unusable_csv_is_refused_in_one_line(write_csv, rows, header, message):
    with pytest.raises(SerError, match=message) as caught:
        corpora.load(write_csv(rows, header))
    one_line(caught)


def test_a_csv_that_names_missing_files_is_refused_and_says_how_many(write_csv):
    table = write_csv(["1.wav,anger,anna", "2.wav,fear,ben"], files=False)
    with pytest.raises(SerError, match=r"names 2 files that do not exist, the first is .*1\.wav"):
        corpora.load(table)


def test_a_missing_an_empty_and_a_binary_csv_are_refused(tmp_path):
    with pytest.raises(SerError, match="No file"):
        corpora.load(tmp_path / "gone.csv")
    for content in (b"", b"\xff\xfe\x00\x01" * 40):
        (tmp_path / "bad.csv").write_bytes(content)
        with pytest.raises(SerError, match="bad.csv") as caught:
            corpora.load(tmp_path / "bad.csv")
        one_line(caught)


# ------------------------------------------------------------------------------------------------- bad corpora


def test_an_unknown_corpus_is_answered_with_the_known_ones():
    with pytest.raises(SerError, match="Unknown corpus 'iemocap': known are demo, shemo, emodb, ravdess, nemo"):
        corpora.load("iemocap")


def test_a_missing_folder_says_how_to_get_the_corpus(tmp_path):
    with pytest.raises(SerError, match="ser fetch ravdess"):
        corpora.load("ravdess", tmp_path / "nowhere")


def test_labels_are_checked_and_belong_to_shemo(small_shemo):
    with pytest.raises(SerError, match="labels='names' is not one of filename, shemo_json, modified"):
        corpora.load("shemo", small_shemo, labels="names")
    with pytest.raises(SerError, match="exists for shemo only"):
        corpora.load("demo", labels="modified")


def test_unusable_recordings_are_named_and_counted_and_the_rest_is_used(small_shemo):
    (small_shemo / "male" / "M04N01.wav").write_text("not audio at all")
    (small_shemo / "male" / "M04N02.ogg").write_bytes(b"OggS but no more")
    write_silence(small_shemo / "male" / "M04N03.wav", seconds=0)
    write_silence(small_shemo / "male" / "holiday.wav")
    with pytest.warns(UserWarning) as caught:
        clips = corpora.load("shemo", small_shemo)
    assert len(caught) == 1 and "\n" not in str(caught[0].message)
    for words in (
        "4 of 8 recordings",
        "M04N01.wav (not readable as audio: it is text)",
        "M04N02.ogg (not readable",
        "M04N03.wav (holds no samples)",
        "holiday.wav (not a name of this corpus)",
    ):
        assert words in str(caught[0].message)
    assert len(clips) == 4 and len(clips.attrs["skipped"]) == 4
    with pytest.raises(SerError, match="4 of 8 recordings left out"):
        corpora.load("shemo", small_shemo, strict=True)


def test_a_folder_without_recordings_is_refused(tmp_path):
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(SerError, match="No readable recordings of EMO-DB"):
        corpora.load("emodb", tmp_path)


def test_copies_of_a_recording_are_skipped_with_one_warning_and_other_recordings_of_one_name_refused(small_shemo):
    write_silence(small_shemo / "copy" / "F01A01.wav")
    write_silence(small_shemo / "copy" / "M02W03.wav")
    write_silence(small_shemo / "copy" / "F01F02.flac")  # the Ogg file again, without its loss
    with pytest.warns(UserWarning) as caught:
        clips = corpora.load("shemo", small_shemo)
    assert [str(warning.message).split(" of ")[0] for warning in caught] == ["ShEMO: 3 copies"]
    assert list(clips["clip"]) == ["F01A01", "F01F02", "M02N01", "M02W03"] and not clips.attrs["skipped"]
    assert clips["path"][1].endswith("F01F02.flac")
    write_silence(small_shemo / "copy" / "F01A01.wav", seconds=0.2)
    with pytest.raises(SerError, match=r"ShEMO: \S+F01A01.wav and \S+F01A01.wav are two recordings of one name") as caught:
        corpora.load("shemo", small_shemo)
    one_line(caught)


def test_nemo_needs_its_table_and_reports_recordings_that_are_missing(tmp_path):
    with pytest.raises(SerError, match="No data.tsv"):
        corpora.load("nemo", tmp_path)
    for name in ("AA0_anger_1", "BB0_fear_1"):
        write_silence(tmp_path / "samples" / f"{name}.wav")
    lines = [
        "file_id\temotion\traw_text\tspeaker_id\tgender",
        "AA0_anger_1.wav\tanger\tA\t  AA0\tfemale",
        "BB0_fear_1.wav\tfear\tB\t BB0\tmale",
        "BB0_fear_2.wav\tfear\tC\t BB0\tmale",
    ]
    (tmp_path / "data.tsv").write_text("\n".join(lines))
    with pytest.warns(UserWarning, match="1 of 3 recordings left out: BB0_fear_2.wav"):
        clips = corpora.load("nemo", tmp_path)
    assert list(clips["speaker"]) == ["AA0", "BB0"]


def test_every_corpus_is_described_and_synthetic_ones_are_labelled_so():
    for name, corpus in corpora.CORPORA.items():
        assert corpus.name == name and corpora.slug(name) == name
        assert all((corpus.title, corpus.language, corpus.description, corpus.licence, corpus.citation))
        assert corpus.synthetic == (name == "demo") == ("synthetic" in corpora.label(name))


@pytest.mark.parametrize("name", [name for name, card in corpora.CORPORA.items() if card.archives])
def test_a_card_tells_what_a_reader_must_know_before_trusting_a_score(name):
    told = corpora.CORPORA[name].facts()
    assert set(told) == {
        "Language", "What it is", "Speakers", "Size", "Emotions", "How they were elicited", "Recording",
        "Annotators and agreement", "Known problems", "Licence", "Citation", "Home",
    }  # fmt: skip


def test_the_demo_card_says_that_its_speech_is_synthetic_and_counts_its_voices():
    clips = corpora.load("demo")
    women = clips.groupby("speaker")["gender"].first().eq("female").sum()
    speakers = corpora.CORPORA["demo"].facts()["Speakers"]
    assert speakers.startswith(f"{clips['speaker'].nunique()} synthetic voices ({women} imitate women")


def test_a_rare_emotion_is_set_aside_on_shemo_only_and_not_when_all_are_asked_for():
    clips = pd.DataFrame({"clip": list("abc"), "emotion": ["fear", "anger", "neutral"]})
    kept, rare = corpora.scored(clips, "shemo")
    assert list(kept["clip"]) == ["b", "c"] and list(rare["clip"]) == ["a"]
    for corpus, classes in (("shemo", "all"), ("nemo", "usual"), ("mine.csv", "usual")):
        kept, rare = corpora.scored(clips, corpus, classes)
        assert len(kept) == 3 and list(rare.columns) == list(clips.columns) and rare.empty
    with pytest.raises(SerError, match="neither usual nor all"):
        corpora.scored(clips, "shemo", "five")


def test_only_shemo_has_several_sets_of_labels():
    with pytest.raises(SerError, match="nEMO has one set of labels"):
        corpora.label_sets("nemo")


# ---------------------------------------------------------------------------------------------- a listening test


def test_a_quiz_has_every_emotion_equally_often_and_no_voice_twice_where_it_can():
    quiz = corpora.draw_quiz(make_clips(speakers=10, each=4), 20)
    assert len(quiz) == 20 and quiz["clip"].is_unique
    assert set(quiz["emotion"].value_counts()) == {3, 4}
    assert not quiz.duplicated(["speaker", "emotion"]).any()
    assert quiz["speaker"].nunique() >= 7


def test_a_quiz_is_shuffled_and_the_same_for_the_same_seed():
    clips = make_clips()
    quiz = corpora.draw_quiz(clips, 20)
    assert quiz.equals(corpora.draw_quiz(clips, 20))
    assert not quiz["clip"].equals(corpora.draw_quiz(clips, 20, seed=1)["clip"])
    orders = [corpora.draw_quiz(clips, 20, seed=seed)["emotion"] for seed in range(20)]
    assert not any(order.is_monotonic_increasing for order in orders)
    places = pd.concat([pd.Series(order.index, index=order.to_numpy()) for order in orders])
    assert places.groupby(level=0).mean().between(7, 12).all(), "no emotion comes first or last"
    rarer = [order.value_counts().idxmin() for order in orders]
    assert len(set(rarer)) > 2, "which emotions come once more often is left to chance"


def test_a_quiz_takes_a_second_clip_of_a_voice_before_it_is_short_and_never_a_third():
    few = make_clips(speakers=2, each=4)
    quiz = corpora.draw_quiz(few, 20)
    assert len(quiz) == 20 and quiz.groupby(["speaker", "emotion"]).size().max() == 2
    assert len(corpora.draw_quiz(few, 100)) == 2 * 2 * 6
