"""Hostile and broken input, one row per case: what is promised happens, and nothing that was whole is lost."""

import dataclasses
import io
import os
import subprocess
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest
import soundfile
from small import write_corpus

from ser_utils import SerError, audio, cli, corpora, features, pipeline
from ser_utils.corpora import table

RATE = 16_000
NOISE = (0.1 * np.random.default_rng(0).normal(size=RATE)).astype("float32")


def sound(wave=NOISE, rate=RATE, form="WAV", subtype=None) -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, wave, rate, format=form, subtype=subtype)
    return buffer.getvalue()


def half(content: bytes) -> bytes:
    return content[: len(content) // 2]


def holed(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + bytes(400) + content[middle + 400 :]


BROKEN = NOISE.copy()
BROKEN[[5, 9]] = np.nan, np.inf

#: Name, bytes, and either why the recording is left out or how long it is taken to be [s].
RECORDINGS = [
    ("empty.wav", b"", "not readable as audio: it is empty"),
    ("text.wav", b"hello world", "not readable as audio: it is text"),
    ("page.wav", b"<!DOCTYPE html><html></html>", "not readable as audio: it is a web page instead of the recording"),
    ("zeros.wav", bytes(5000), "not readable as audio: it is of no kind that is known here"),
    ("header only.wav", sound()[:44], "holds no samples"),
    ("header only.flac", sound(form="FLAC")[:44], "damaged: 0 of 16000 samples can be read"),
    ("header only.ogg", sound(form="OGG")[:44], "not readable as audio: it is Ogg, but damaged or cut short"),
    ("no samples.wav", sound(NOISE[:0]), "holds no samples"),
    ("cut short.wav", half(sound()), 0.499),
    ("cut short.flac", half(sound(form="FLAC")), 0.256),
    ("cut short.ogg", half(sound(form="OGG")), "damaged: its end is missing, 0 samples can be read"),
    ("a hole.flac", holed(sound(form="FLAC")), 0.256),
    ("1 Hz.wav", sound(NOISE[:4000], rate=1), "said to have a sample rate of 1 Hz"),
    ("8 bit.wav", sound(subtype="PCM_U8"), 1.0),
    ("24 bit.wav", sound(subtype="PCM_24"), 1.0),
    ("float.wav", sound(subtype="FLOAT"), 1.0),
    ("double.wav", sound(subtype="DOUBLE"), 1.0),
    ("telephone.wav", sound(NOISE[:8000], rate=8_000, subtype="ULAW"), 1.0),
    ("96 kHz.wav", sound(np.tile(NOISE, 6), rate=96_000), 1.0),
    ("odd rate.wav", sound(NOISE[:12345], rate=12_345), 1.0),
    ("stereo.wav", sound(np.stack([NOISE] * 2, 1)), 1.0),
    ("five channels.wav", sound(np.stack([NOISE] * 5, 1)), 1.0),
    ("silent.wav", sound(0 * NOISE), 1.0),
    ("not numbers.wav", sound(BROKEN, subtype="FLOAT"), 1.0),
    ("clipped.wav", sound(np.clip(40 * NOISE, -1, 1)), 1.0),
    ("ten milliseconds.wav", sound(NOISE[:160]), 0.01),
    ("one sample.wav", sound(NOISE[:1]), 1 / RATE),
    ("music.mp3", sound(form="MP3"), 1.0),
    ("music.aiff", sound(form="AIFF"), 1.0),
    ("صدا.wav", sound(), 1.0),
    ("right\u200fto left.wav", sound(), 1.0),
    ("  blanks  .wav", sound(), 1.0),
    ("new\nline.wav", sound(), 1.0),
    ("<b>bold.wav", sound(), 1.0),
    ("=1+1.wav", sound(), 1.0),
]


@pytest.mark.parametrize(("name", "content", "expected"), RECORDINGS, ids=[repr(name) for name, *_ in RECORDINGS])
def test_a_recording_is_used_as_it_is_or_left_out_by_name(tmp_path, name, content, expected):
    # Under ShEMO's layout a name would not fit its pattern: a CSV may list any name.
    table, odd = write_corpus(tmp_path), tmp_path / "odd" / name.strip()
    odd.parent.mkdir()
    odd.write_bytes(content)
    with table.open("a") as file:
        file.write(f'"odd/{name.strip()}",anger,x\n')
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        clips = corpora.load(table, decode=True)
    said = " ".join(str(warning.message) for warning in caught)
    if isinstance(expected, str):
        assert len(clips) == 6 and clips.attrs["skipped"] == [str(odd)]
        assert f"1 of 7 recordings left out: {odd.name} ({expected})" in said
        with pytest.raises(SerError, match="left out"):
            corpora.load(table, decode=True, strict=True)
        with pytest.raises(SerError):
            audio.read(odd)
    else:
        (row,) = clips[clips["path"] == str(odd)].itertuples()
        assert row.duration == pytest.approx(expected, rel=0.01)
        wave = audio.read(odd)
        assert wave.dtype == np.float32 and np.isfinite(wave).all() and len(wave) == pytest.approx(RATE * expected, rel=0.01)
        np.testing.assert_allclose(np.concatenate(list(audio.stream(odd))), wave, atol=1e-5)
        segments = audio.cut_segments(clips[clips["path"] == str(odd)], seconds=0.5)
        assert all(len(piece) == RATE // 2 for piece in audio.read_segments(clips, segments))


def test_hours_of_sound_are_measured_a_piece_at_a_time(tmp_path):
    with soundfile.SoundFile(tmp_path / "long.flac", "w", RATE, 1) as file:
        for _ in range(180):
            file.write(np.zeros(60 * RATE, np.float32))
    assert table._looked_at(str(tmp_path / "long.flac"), True)[:3] == (3 * 3600 * RATE, RATE, "")
    assert max(map(len, audio.stream(tmp_path / "long.flac"))) <= 61 * RATE


#: The CSV as bytes; what the one line must say, or how many clips there are.
HEAD = "path,emotion,speaker\n"
ROWS = "x_anger.wav,anger,x\nx_sadness.wav,sadness,x\ny_anger.wav,anger,y\n"
TABLES = [
    ("empty", "", "it is empty"),
    ("header only", HEAD, "No readable recordings"),
    ("no speaker column", "path,emotion\nx_anger.wav,anger\n", "no column speaker"),
    ("semicolons", (HEAD + ROWS).replace(",", ";"), 3),
    ("byte order mark", "\ufeff" + HEAD + ROWS, 3),
    ("windows line ends", (HEAD + ROWS).replace("\n", "\r\n"), 3),
    ("blanks around names", "path , emotion, speaker\n" + ROWS, 3),
    ("quoted", HEAD + '"x_anger.wav","anger","x"\n"y_anger.wav",anger,y\n"y_sadness.wav",sadness,y\n', 3),
    ("an emotion of its own", HEAD + ROWS + "y_sadness.wav,envy,y\n", 4),
    ("no emotion", HEAD + ROWS + "y_sadness.wav,,y\n", "line 5: the emotion is empty"),
    ("no speaker", HEAD + ROWS + "y_sadness.wav,sadness,\n", "line 5: the speaker is empty"),
    ("a missing file", HEAD + ROWS + "gone.wav,anger,y\n", "1 files that do not exist"),
    ("outside", HEAD + ROWS + "../../../etc/hosts.wav,anger,y\n", "1 files that do not exist"),
    ("a folder", HEAD + ROWS + ".,anger,y\n", "1 files that do not exist"),
    ("the same file twice", HEAD + ROWS + "x_anger.wav,anger,x\n", "occur more than once"),
    ("one speaker", HEAD + "x_anger.wav,anger,x\nx_sadness.wav,sadness,x\n", "have one speaker"),
    ("one emotion", HEAD + "x_anger.wav,anger,x\ny_anger.wav,anger,y\n", "have one emotion"),
    ("a formula", "path,emotion,speaker,text\n" + ROWS.replace(",x\n", ",x,=1+1\n").replace(",y\n", ",y,@SUM(A1)\n"), 3),
    ("latin-1", (HEAD + ROWS + "gr\xfc\xdfe.wav,anger,y\n").encode("latin-1"), "the first is .*gr\xfc\xdfe.wav"),
    ("too many fields", HEAD + ROWS + "x_anger.wav,anger,x,more,and more\n", "line 5 has 5 fields, the header 3"),
    ("binary", bytes(range(256)) * 4, "cannot be read as a table|no column"),
]


@pytest.mark.parametrize(("content", "expected"), [row[1:] for row in TABLES], ids=[row[0] for row in TABLES])
def test_a_table_is_read_or_refused_in_one_line(tmp_path, content, expected):
    write_corpus(tmp_path)
    table = tmp_path / "odd.csv"
    table.write_bytes(content.encode() if isinstance(content, str) else content)
    if isinstance(expected, int):
        assert len(corpora.load(table)) == expected
    else:
        with pytest.raises(SerError, match=expected) as caught:
            corpora.load(table)
        assert "\n" not in str(caught.value)


def test_a_table_of_a_hundred_thousand_rows_is_read(tmp_path):
    write_corpus(tmp_path)
    rows = "".join(f"{'xy'[i % 2]}_anger.wav,{('anger', 'sadness')[i % 2]},{'xy'[i % 2]},{i}\n" for i in range(100_000))
    (tmp_path / "many.csv").write_text("path,emotion,speaker,clip\n" + rows)
    assert len(corpora.load(tmp_path / "many.csv")) == 100_000


def zipped(*entries) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries:
            archive.writestr(name, content)
    return buffer.getvalue()


def link(name: str) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    info.external_attr = 0o120777 << 16
    return info


#: What lies in the archive, and what the one line must say.
ARCHIVES = [
    ("upwards", zipped(("a/../../b.wav", b"x")), "unsafe entry"),
    ("absolute", zipped(("/tmp/b.wav", b"x")), "unsafe entry"),
    ("a drive", zipped(("C:/b.wav", b"x")), "unsafe entry"),
    ("backslashes", zipped(("..\\b.wav", b"x")), "unsafe entry"),
    ("a link", zipped((link("b.wav"), b"/etc/passwd")), "unsafe entry"),
    ("a bomb", zipped(("b.wav", bytes(200_000))), "would unpack to more"),
    ("no archive", b"<html>", "not a whole zip"),
    ("half an archive", half(zipped(("b.wav", NOISE.tobytes()))), "not a whole zip"),
    ("a flipped bit", zipped(("b.wav", NOISE.tobytes())).replace(b"PK\x03\x04", b"PK\x03\x05", 1), "not a whole zip"),
]


@pytest.mark.parametrize(("content", "expected"), [row[1:] for row in ARCHIVES], ids=[row[0] for row in ARCHIVES])
def test_an_archive_is_refused_and_nothing_lands_anywhere(tmp_path, monkeypatch, content, expected):
    monkeypatch.setattr("ser_utils.corpora.fetching.LARGEST_UNPACKED", 100_000)
    card = dataclasses.replace(corpora.CORPORA["emodb"], archives=(corpora.Archive(("https://zenodo.org/a.zip",)),))
    monkeypatch.setitem(corpora.CORPORA, "emodb", card)
    (tmp_path / "a.zip").write_bytes(content)
    with pytest.raises(SerError, match=expected) as caught:
        corpora.fetch("emodb", tmp_path / "deep" / "inside", source=[tmp_path / "a.zip"])
    assert "\n" not in str(caught.value)
    assert {path.name for path in tmp_path.rglob("*")} <= {"a.zip", "deep", ".inside-download", ".lock"}


def test_names_from_a_corpus_are_text_in_the_report_and_not_markup(tmp_path):
    from small import write_notebook

    table = write_corpus(tmp_path)
    text = table.read_text().replace(",x\n", ",<script>alert(1)</script>\n")
    evil = tmp_path / "<img src=x>.csv"
    evil.write_text(text)
    write_notebook(tmp_path / "notebooks", "01_only", "# Only", "corpus = 'demo'")
    index = pipeline.run(evil, out=tmp_path / "out", notebooks=tmp_path / "notebooks")
    page = index.read_text(encoding="utf-8")
    assert "<script>alert" not in page and "<img src=x>" not in page


@pytest.fixture(params=["a file in its place", "read-only", "no such place"])
def unwritable(request, tmp_path):
    """A place for results that cannot be written, and what the system says of it."""
    place = tmp_path / "out"
    if request.param == "a file in its place":
        place.write_text("mine")
        yield place, "Not a directory"
        assert place.read_text() == "mine"
    elif request.param == "no such place":
        yield Path("/proc/out"), "No such file or directory"
    elif os.geteuid():
        place.mkdir(mode=0o500)
        yield place, "Permission denied"
    else:  # root may write anywhere, but for a file system that is read-only
        place.mkdir()
        if subprocess.run(["mount", "-t", "tmpfs", "-o", "ro", "tmpfs", place], capture_output=True).returncode:
            pytest.skip("mounting a file system needs the rights for it")
        yield place, "Read-only file system"
        subprocess.run(["umount", place], check=True)


@pytest.mark.parametrize("command", ["run", "pretrain"])
def test_a_place_that_cannot_be_written_is_one_line_and_status_2(unwritable, tmp_path, capsys, command):
    place, reason = unwritable
    given = {
        "run": ["run", "--corpus", str(write_corpus(tmp_path)), "--out", str(place)],
        "pretrain": ["pretrain", "--audio", str(tmp_path), "--out", str(place / "encoder"), "--steps", "1"],
    }
    write_corpus(tmp_path)
    assert cli.main(given[command]) == 2
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert said.startswith("ser: error: ") and str(place) in said and reason in said


def test_features_that_cannot_be_kept_are_one_line(unwritable, tmp_path):
    place, reason = unwritable
    clips = corpora.load(write_corpus(tmp_path))
    expected = SerError if reason != "No such file or directory" else (SerError, OSError)
    with pytest.raises(expected, match=reason) as caught:
        features.log_mel(clips, audio.cut_segments(clips, seconds=0.1), cache=place / "cache", progress=False)
    assert "\n" not in str(caught.value)
