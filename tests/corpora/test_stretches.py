"""Rows of a table that are stretches of a file: clips like those that were cut into files, in every step behind."""

import numpy as np
import pandas as pd
import pytest
import soundfile
from small import one_line

from ser_utils import SerError, analysis, audio, corpora, evaluation, features, pretraining

RATE = 22_050  # resampled, so that samples beyond a stretch could leak into it


@pytest.fixture
def write(tmp_path):
    """Write a recording of 6 s and a table; return the table's path."""

    def write(rows, header="path,start,end,emotion,speaker", *, name="long.wav", seconds=6.0, rate=RATE):
        noise = np.random.default_rng(0).normal(0, 0.1, round(seconds * rate))
        envelope = np.repeat(np.random.default_rng(1).uniform(0.05, 1, -(-noise.size // 2000)), 2000)[: noise.size]
        soundfile.write(tmp_path / name, noise * envelope, rate)
        (tmp_path / "mine.csv").write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
        return tmp_path / "mine.csv"

    return write


THREE = ["long.wav,0.5,2.1234567,anger,anna", "long.wav,2.2,4,fear,ben", "long.wav,4,6,sadness,ben"]

#: What is written for start and end; where the clip begins and ends [s].
TIMES = [
    ("seconds", "1.5", "3", 1.5, 3.0),
    ("decimal commas", '"1,5"', '"3,25"', 1.5, 3.25),
    ("time spans of pandas", "0 days 00:00:01.5", "0 days 00:00:03", 1.5, 3.0),
    ("clock times", "00:00:01.500", "00:00:03", 1.5, 3.0),
    ("units", "1500ms", "3s", 1.5, 3.0),
    ("Persian digits", "۱", "۳", 1.0, 3.0),
    ("no end", "1.5", "", 1.5, 6.0),
    ("no end, as audformat writes it", "0 days 00:00:01.5", "NaT", 1.5, 6.0),
    ("no start", "", "3", 0.0, 3.0),
    ("neither", "", "", 0.0, 6.0),
    ("an end that is rounded up", "5", "6.003", 5.0, 6.0),
    ("between two samples", "1.00001", "3.00001", 1.0, 3.0),
]


@pytest.mark.parametrize(("start", "end", "first", "last"), [row[1:] for row in TIMES], ids=[row[0] for row in TIMES])
def test_times_of_a_stretch_are_read_in_every_usual_form(write, start, end, first, last):
    table = write([f"long.wav,{start},{end},anger,anna", "other.wav,,,fear,ben"])
    soundfile.write(table.parent / "other.wav", np.random.default_rng(5).normal(0, 0.1, 8000), 8000)
    clips = corpora.load(table).set_index("speaker")
    assert clips.start["anna"] == pytest.approx(first, abs=0.6 / RATE) and clips.end["anna"] == pytest.approx(last, abs=0.6 / RATE)
    assert clips.duration["anna"] == pytest.approx(clips.end["anna"] - clips.start["anna"])
    assert clips["clip"]["anna"] == (f"long_{round(1000 * float(first))}" if start or end else "long")
    assert (clips["clip"]["ben"], clips.start["ben"], clips.end["ben"]) == ("other", 0.0, 1.0)


HEADERS = ["file,start,end,emotion,speaker", "path,Start Time,End_Time,emotion,speaker", "path,tmin,tmax,label,speaker",
           "path,begin,stop,emotion,speaker", "path,onset,duration,emotion,speaker"]  # fmt: skip


@pytest.mark.parametrize("header", HEADERS)
def test_usual_names_of_the_columns_are_known_and_a_duration_stands_for_the_end(write, header):
    rows = [row.replace("2.2,4,", "2.2,1.8,").replace("4,6,", "4,2,") if "duration" in header else row for row in THREE]
    rows[0] = "long.wav,0.5,1.5,anger,anna"
    clips = corpora.load(write(rows, header))
    assert list(clips["clip"]) == ["long_2200", "long_4000", "long_500"]
    assert list(clips["end"].round(6)) == [4.0, 6.0, 2.0 if "duration" in header else 1.5]


def test_the_tables_own_names_of_clips_are_kept(write):
    rows = [f"{row},c{i}" for i, row in enumerate(THREE)]
    assert list(corpora.load(write(rows, "path,start,end,emotion,speaker,clip"))["clip"]) == ["c0", "c1", "c2"]


#: Rows of the table; the message.
REFUSED = [
    ("an end beyond the file", ["long.wav,5,7.5,anger,anna"], "line 5: start 5 s, end 7.5 s, but long.wav lasts 6 s"),
    ("milliseconds", ["long.wav,1500,2500,anger,anna"], "line 5: start 1500 s, end 2500 s, but long.wav lasts 6 s"),
    ("a start beyond the file", ["long.wav,6.5,,anger,anna"], "line 5: start 6.5 s, end 6 s, but long.wav lasts 6 s"),
    ("an end before the start", ["long.wav,0.4,0.2,anger,anna"], "line 5: start 0.4 s, end 0.2 s: .* ends after its start"),
    ("an empty stretch", ["long.wav,0.4,0.4,anger,anna"], "line 5: start 0.4 s, end 0.4 s"),
    ("a negative start", ["long.wav,-1,0.4,anger,anna"], "line 5: start -1 s, end 0.4 s: .* starts at 0 s or later"),
    ("no time", ["long.wav,soon,0.4,anger,anna"], "line 5: the start 'soon' is no time"),
    ("an infinite time", ["long.wav,0,inf,anger,anna"], "line 5: the end 'inf' is no time"),
    ("an overlap", ["long.wav,3.5,3.9,fear,ben"], "lines 3, 5: 2.2 to 4 s and 3.5 to 3.9 s of long.wav overlap: keep"),
    ("a long stretch around short ones", ["long.wav,0,6,fear,ben"], "lines 2, 5: .*0 to 6 s of long.wav overlap"),
    ("a stretch twice under two emotions", ["long.wav,4,6,fear,ben"],
     r"lines 4, 5: .*overlap with two emotions \(sadness, fear\): keep"),
    ("a stretch twice under two speakers", ["long.wav,4,6,sadness,cem"], r"overlap with two speakers \(ben, cem\)"),
]  # fmt: skip


@pytest.mark.parametrize(("rows", "message"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED])
def test_a_stretch_that_cannot_be_is_refused_with_its_line_and_numbers(write, rows, message):
    with pytest.raises(SerError, match=message) as caught:
        corpora.load(write([*THREE, *rows]))
    one_line(caught)


@pytest.mark.parametrize("name", ["start_ms", "offset", "begin_sample", "end_frame"])
def test_a_column_that_may_mark_stretches_in_another_unit_is_not_passed_over(write, name):
    with pytest.raises(SerError, match=f"the column {name} may mark stretches: call it start or end, in seconds"):
        corpora.load(write(["long.wav,100,anger,anna"], f"path,{name},emotion,speaker"))


# ------------------------------------------------------------------------------------- as if it were cut into files


@pytest.fixture
def both(write, tmp_path):
    """Stretches of one long file, and the same stretches cut into files."""
    clips = corpora.load(write([*THREE, "long.wav,2.1234567,2.2,fear,anna"]))
    wave = soundfile.read(tmp_path / "long.wav", dtype="int16")[0]
    (tmp_path / "cut").mkdir()
    rows = ["path,emotion,speaker"]
    for row in clips.itertuples():
        piece = wave[round(row.start * RATE) : round(row.end * RATE)]
        soundfile.write(tmp_path / "cut" / f"{row.clip}.wav", piece, RATE)
        rows.append(f"cut/{row.clip}.wav,{row.emotion},{row.speaker}")
    (tmp_path / "cut.csv").write_text("\n".join(rows))
    return clips, corpora.load(tmp_path / "cut.csv")


def test_everything_measured_in_a_stretch_is_measured_as_in_a_file_of_it_to_the_bit(both, tmp_path):
    stretches, files = both
    shared = [name for name in files if name not in ("path",)]
    pd.testing.assert_frame_equal(stretches[shared], files[shared])
    for one, two in zip(stretches.itertuples(), files.itertuples(), strict=True):
        np.testing.assert_array_equal(audio.read(one), audio.read(two.path))
        np.testing.assert_array_equal(audio.read(one), audio.read(stretches.iloc[one.Index]))
    pd.testing.assert_frame_equal(audio.activity(stretches), audio.activity(files))
    segments = audio.cut_segments(stretches, seconds=0.7, active=audio.activity(stretches))
    pd.testing.assert_frame_equal(segments, audio.cut_segments(files, seconds=0.7, active=audio.activity(files)))
    for compute in (features.log_mel, features.functionals):
        one, two = (compute(clips, segments, cache=tmp_path / str(i), progress=False) for i, clips in enumerate(both))
        np.testing.assert_array_equal(one, two)
    pd.testing.assert_frame_equal(analysis.file_properties(stretches), analysis.file_properties(files))


def test_arrays_of_other_stretches_of_one_file_are_other_arrays(write, tmp_path):
    segments = pd.DataFrame({"clip": ["x"], "start": [0.0], "end": [0.5], "padding": [0.0]})
    clips = pd.DataFrame({"clip": ["x"], "path": [str(write(THREE).parent / "long.wav")], "start": [0.0], "end": [1.0]})
    first = features.log_mel(clips, segments, cache=tmp_path, progress=False)
    second = features.log_mel(clips.assign(start=1.0, end=2.0), segments, cache=tmp_path, progress=False)
    assert not np.array_equal(first, second)


def test_the_audit_compares_stretches_and_not_their_file(both):
    clips, _ = both
    table = clips[["clip", "speaker", "emotion"]].assign(system="a", seed=0, fold=range(len(clips)))
    table = pd.concat([table, pd.get_dummies(table["emotion"]).astype(float)], axis=1)

    def verdict(clips):
        report = evaluation.audit(table, clips).set_index("check")
        return report.loc["one recording stored twice, on both sides", "verdict"]

    assert verdict(clips.assign(duration=1.0)) == "not found"
    twice = clips.assign(duration=1.0)
    twice.loc[1, ["start", "end"]] = twice.loc[0, ["start", "end"]].to_numpy()
    assert verdict(twice) == "found"


def test_pretraining_hears_the_stretches_of_a_clips_table_only(both, tmp_path):
    stretches, files = both
    one = pretraining.prepare(stretches.iloc[:2], tmp_path / "one", progress=False)
    two = pretraining.prepare(files.iloc[:2], tmp_path / "two", progress=False)
    np.testing.assert_array_equal(one.samples, two.samples)
    other = pretraining.prepare(stretches.iloc[2:], tmp_path / "one", progress=False)
    assert len(other.samples) != len(one.samples)


def test_a_narrowband_copy_of_a_stretch_is_a_whole_file(both, tmp_path):
    folders = [tmp_path / name for name in ("stretches", "files")]
    for folder in folders:
        folder.mkdir()
    stretches, files = (analysis.narrowband(clips, "fear", folder) for clips, folder in zip(both, folders, strict=True))
    for one, two in zip(stretches.itertuples(), files.itertuples(), strict=True):
        np.testing.assert_array_equal(audio.read(one), audio.read(two))


@pytest.mark.parametrize(
    ("name", "subtype", "tolerance"),
    [("x.ogg", "VORBIS", 0), ("x.mp3", None, 1e-6), ("x.wav", "GSM610", 0), ("x.flac", None, 0), ("x.wav", "IMA_ADPCM", 0)],
)
def test_a_stretch_of_a_compressed_file_has_the_samples_of_the_whole(tmp_path, name, subtype, tolerance):
    wave = np.random.default_rng(0).normal(0, 0.1, 10 * 8000)
    soundfile.write(tmp_path / name, wave, 8000, subtype=subtype)
    with soundfile.SoundFile(tmp_path / name) as file:
        whole = file.read(len(wave), dtype="float32")
    for start in (0.0, 0.3, 4.321, 9.0):
        row = pd.Series({"path": tmp_path / name, "start": start, "end": start + 0.7})
        found, rate = audio.decode(row)
        first = round(start * rate)
        np.testing.assert_allclose(found, whole[first : first + round(0.7 * rate)], atol=tolerance)


# ----------------------------------------------------------------------------------------- one sound under two rows


def copies_of(tmp_path, *rows, header="path,emotion,speaker"):
    noise = np.random.default_rng(3).normal(0, 0.1, 4000)
    for name in ("a.wav", "copy.wav"):
        soundfile.write(tmp_path / name, noise, 16_000)
    soundfile.write(tmp_path / "same_size.wav", noise[::-1], 16_000)
    for name in ("quiet1.wav", "quiet2.wav"):
        soundfile.write(tmp_path / name, np.zeros(1000), 16_000)
    (tmp_path / "mine.csv").write_text("\n".join([header, *rows]))
    return tmp_path / "mine.csv"


#: Rows; the message, or None where the table is read.
SHARED = [
    ("a file twice", ["a.wav,anger,anna", "a.wav,anger,anna", "same_size.wav,fear,ben"],
     "'a' as .*: remove copies"),
    ("a file twice by two names", ["a.wav,anger,anna,x", "a.wav,anger,anna,y", "same_size.wav,fear,ben,z"], None),
    ("a file under two emotions", ["a.wav,anger,anna", "a.wav,fear,anna"],
     r"more than once with two emotions \(anger, fear\)"),
    ("a copy under two emotions", ["a.wav,anger,anna", "copy.wav,fear,anna", "same_size.wav,fear,ben"],
     r"lines 2, 3: \S+a.wav and \S+copy.wav hold the same sound with two emotions \(anger, fear\)"),
    ("a copy under two speakers", ["a.wav,anger,anna", "same_size.wav,fear,ben", "copy.wav,anger,cem"],
     r"lines 2, 4: .*two speakers \(anna, cem\)"),
    ("a copy with the same emotion and speaker", ["a.wav,anger,anna", "copy.wav,anger,anna", "same_size.wav,fear,ben"], None),
    ("files of one size", ["a.wav,anger,anna", "same_size.wav,fear,ben"], None),
    ("files without sound", ["quiet1.wav,anger,anna", "quiet2.wav,fear,ben"], None),
]  # fmt: skip


@pytest.mark.parametrize(("rows", "message"), [row[1:] for row in SHARED], ids=[row[0] for row in SHARED])
def test_one_sound_under_two_emotions_or_speakers_is_refused_with_both_lines(tmp_path, rows, message):
    table = copies_of(tmp_path, *rows, header="path,emotion,speaker" + ",clip" * (rows[0].count(",") == 3))
    if message is None:
        assert len(corpora.load(table)) == len(rows)
        return
    with pytest.raises(SerError, match=message) as caught:
        corpora.load(table)
    one_line(caught)


def test_a_copy_of_a_file_is_found_among_stretches_too(tmp_path):
    rows = ["a.wav,0,0.1,anger,anna", "copy.wav,0.1,0.2,fear,anna", "same_size.wav,,,fear,ben"]
    header = "path,start,end,emotion,speaker"
    assert len(corpora.load(copies_of(tmp_path, *rows, header=header))) == 3
    with pytest.raises(SerError, match="lines 3, 5: .* hold the same sound with two emotions"):
        corpora.load(copies_of(tmp_path, *rows, "a.wav,0.15,0.25,anger,anna", header=header))
