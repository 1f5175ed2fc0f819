"""A reader's own table, in any form in which people have one: one row of a test per case."""

import codecs

import numpy as np
import pytest
import soundfile
from small import one_line

from ser_utils import SerError, corpora

PLAIN = "path,emotion,speaker\n1.wav,anger,anna\n2.wav,fear,ben\n"


@pytest.fixture
def write(tmp_path):
    """Write a table and different recordings beside it, 1.wav to 4.wav unless named; return the table's path."""

    def write(content, *, name="mine.csv", files=("1.wav", "2.wav", "3.wav", "4.wav")):
        for number, file in enumerate(files):
            (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
            noise = np.random.default_rng(number).normal(0, 0.1, 1600 + number)
            soundfile.write(tmp_path / file, noise, 16_000)
        (tmp_path / name).write_bytes(content.encode() if isinstance(content, str) else content)
        return tmp_path / name

    return write


def refused(table, message, **options):
    """The one line with which a table is refused."""
    with pytest.raises(SerError, match=message) as caught:
        corpora.load(table, **options)
    return one_line(caught)


# -------------------------------------------------------------------------------------------- forms of a table


FORMS = {
    "semicolons": PLAIN.replace(",", ";"),
    "tabs": PLAIN.replace(",", "\t"),
    "bars": PLAIN.replace(",", "|"),
    "a line that names the separator": "sep=;\n" + PLAIN.replace(",", ";"),
    "a separator named with nothing else to go by": "sep=:\r\n" + PLAIN.replace(",", ":"),
    "comments and empty lines before the header": "# by Anna\n\n" + PLAIN,
    "empty rows": PLAIN.replace("\n", "\n,,\n\n"),
    "UTF-8 with its mark": codecs.BOM_UTF8 + PLAIN.encode(),
    "UTF-16 as Excel's Unicode text": PLAIN.replace(",", "\t").encode("utf-16"),
    "UTF-16, big end first": codecs.BOM_UTF16_BE + PLAIN.encode("utf-16-be"),
    "UTF-16 without a mark": PLAIN.encode("utf-16-le"),
    "UTF-16, big end first, without a mark": PLAIN.encode("utf-16-be"),
    "UTF-32": PLAIN.encode("utf-32"),
    "capitals": PLAIN.replace("path,emotion,speaker", "Path,EMOTION,Speaker"),
    "invisible marks in the header": PLAIN.replace("emotion", "\u200femotion\u200b"),
    "columns without a name and content": PLAIN.replace("\n", ",,\n"),
    "old line ends": PLAIN.replace("\n", "\r"),
    "commas in quoted values": 'path,emotion,speaker,text\n1.wav,anger,anna,"No, no"\n2.wav,fear,ben,"He said ""no"",\nand left"\n',
}


@pytest.mark.parametrize("content", FORMS.values(), ids=FORMS)
def test_a_table_is_read_in_every_form_that_spreadsheets_write(write, content):
    clips = corpora.load(write(content))
    assert list(clips["clip"]) == ["1", "2"]
    assert list(clips["emotion"]) == ["anger", "fear"] and list(clips["speaker"]) == ["anna", "ben"]
    assert clips.attrs["notes"] == []


@pytest.mark.parametrize("ending", ["csv", "tsv", "TXT", "tab"])
def test_a_table_may_have_any_usual_ending(write, ending):
    assert len(corpora.load(write(PLAIN, name=f"mine.{ending}"))) == 2


SYNONYMS = [
    ("file,label,speaker_id", "path emotion speaker"),
    ("filename,Emotion Label,Speaker ID", "path emotion speaker"),
    ("wav,class,actor", "path emotion speaker"),
    ("audio_path,Labels,subject-id", "path emotion speaker"),
    ("path,emotion,participant", "speaker"),
]


@pytest.mark.parametrize(("header", "taken"), SYNONYMS, ids=[header for header, _ in SYNONYMS])
def test_a_usual_synonym_of_a_column_is_taken_and_said(write, capsys, header, taken):
    clips = corpora.load(write(PLAIN.replace("path,emotion,speaker", header)))
    assert list(clips["emotion"]) == ["anger", "fear"] and list(clips["speaker"]) == ["anna", "ben"]
    assert [note.split()[-1] for note in clips.attrs["notes"]] == taken.split()
    assert all(f"mine: {note}\n" in capsys.readouterr().err for note in clips.attrs["notes"][:1])


def test_a_name_itself_comes_before_its_synonyms_and_two_synonyms_are_refused(write):
    table = write("path,label,emotion,speaker\n1.wav,0,anger,anna\n2.wav,1,fear,ben\n")
    assert list(corpora.load(table)["emotion"]) == ["anger", "fear"]
    table = write("file,wav,emotion,speaker\n1.wav,2.wav,anger,anna\n2.wav,1.wav,fear,ben\n")
    refused(table, "has 'file' and 'wav', which may both be the column path: rename the right one to path")
    refused(write(PLAIN.replace("speaker", "speaker,Speaker").replace("anna", "anna,x")), "'speaker' and 'Speaker'")


PAGES = [("cp1252", "Jürgen", "größe.wav"), ("cp1250", "Łukasz", "złość.wav"), ("cp1254", "Işıl", "öfke_ş.wav"),
         ("cp1256", "مریم".replace("ی", "ي"), "خشم.wav"), ("cp1251", "Наташа", "гнев.wav")]  # fmt: skip


@pytest.mark.parametrize(("page", "speaker", "file"), PAGES, ids=[row[0] for row in PAGES])
def test_windows_code_pages_are_told_apart_by_files_and_else_by_words(write, page, speaker, file):
    by_file = f"path,emotion,speaker\n{file},anger,anna\n2.wav,fear,ben\n".encode(page)
    clips = corpora.load(write(by_file, files=(file, "2.wav")))
    assert any(path.endswith(file) for path in clips["path"])
    assert clips.attrs["notes"] == [f"mine.csv is not in UTF-8 and was read as Windows-{page[2:]}"]
    by_words = f"path,emotion,speaker\n1.wav,anger,{speaker}\n2.wav,fear,ben\n".encode(page)
    assert set(corpora.load(write(by_words))["speaker"]) == {speaker, "ben"}


MISSHAPEN = [
    ("a comma at the end of rows", PLAIN.replace("anna", "anna,"), "line 2 has 4 fields, the header 3"),
    ("a comma in a value", PLAIN.replace("ben", "ben, jr"), "line 3 has 4 fields, the header 3 .path, emotion, speaker."),
    ("a value left out", PLAIN.replace(",fear", ""), "line 3 has 2 fields, the header 3"),
    ("a quotation mark left open", PLAIN.replace("ben", '"ben'), "line 3: .* quotation mark left open"),
    ("no header", PLAIN.partition("\n")[2], "no column path, emotion, speaker; it has 1.wav, anger, anna"),
    ("a workbook", b"PK\x03\x04" + bytes(60), "a workbook or a zip file; save it as CSV"),
    ("an old workbook", b"\xd0\xcf\x11\xe0" + bytes(60), "an old Excel workbook"),
    ("comments only", "# nothing\n\n", "it is empty"),
    ("no rows", "path,emotion,speaker\n", "expected a row for every recording"),
]


@pytest.mark.parametrize(("content", "message"), [row[1:] for row in MISSHAPEN], ids=[row[0] for row in MISSHAPEN])
def test_a_misshapen_table_is_refused_with_its_line_and_the_cause(write, content, message):
    refused(write(content), message)
