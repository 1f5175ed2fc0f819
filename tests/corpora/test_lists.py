"""A reader's own table, in any form in which people have one: one row of a test per case."""

import codecs
import warnings

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


# ------------------------------------------------------------------------------------------------------- labels


def labelled(write, *labels, **options):
    """Emotions of a table with these labels, spread over two speakers; and what was said."""
    files = [f"{number}.wav" for number in range(len(labels))]
    rows = [f'{file},"{label}",{("anna", "ben")[i % 2]}' for i, (file, label) in enumerate(zip(files, labels, strict=True))]
    table = write("\n".join(["path,emotion,speaker", *rows]), files=files)
    clips = corpora.load(table, **options)
    numbers = clips["clip"].astype(int).sort_values().index
    return list(clips["emotion"][numbers]), clips.attrs["notes"]


NINE = "anger boredom calm disgust fear happiness neutral sadness surprise".split()
#: Whose labels; the labels; what they stand for.
KNOWN = [
    ("CREMA-D", "ANG DIS FEA HAP NEU SAD", "anger disgust fear happiness neutral sadness"),
    ("IEMOCAP", "ang hap exc sad neu fea sur dis", "anger happiness happiness sadness neutral fear surprise disgust"),
    ("TESS", "angry disgust fear happy neutral ps sad", "anger disgust fear happiness neutral surprise sadness"),
    ("TESS's folders", "Angry Pleasant_surprise pleasant_surprised", "anger surprise surprise"),
    ("MELD", "anger disgust fear joy neutral sadness surprise", "anger disgust fear happiness neutral sadness surprise"),
    ("EMO-DB's letters", "W L E A F T N", "anger boredom disgust fear happiness sadness neutral"),
    ("ShEMO's letters", "A H S W F N", "anger happiness sadness surprise fear neutral"),
    ("SAVEE", "a d f h n sa su", "anger disgust fear happiness neutral sadness surprise"),
    ("RAVDESS's numbers", "01 02 03 04 05 06 07 08", "neutral calm happiness sadness anger fear disgust surprise"),
    ("German", "Ärger Wut Langeweile Ekel Angst Freude neutral Trauer Überraschung",
     "anger anger boredom disgust fear happiness neutral sadness surprise"),
    ("German without its letters", "Aerger aengstlich froehlich Ueberraschung", "anger fear happiness surprise"),
    ("Polish", "złość gniew nuda wstręt strach radość neutralny smutek zaskoczenie",
     "anger anger boredom disgust fear happiness neutral sadness surprise"),
    ("Turkish", "Öfke kızgın SAKİN tiksinti korku mutlu nötr üzgün şaşkın",
     "anger anger calm disgust fear happiness neutral sadness surprise"),
    ("Persian", "خشم آرام نفرت ترس شادی خنثی غم تعجب", "anger calm disgust fear happiness neutral sadness surprise"),
    ("Persian on an Arabic keyboard", "خنثي شادي بي‌حوصلگي", "neutral happiness boredom"),
    ("Urdu", "غصہ خوف خوشی غیرجانبدار اداسی حیرت", "anger fear happiness neutral sadness surprise"),
    ("capitals, blanks, marks", "ANGER| Fear |sad\u200fness|\ufeffcalm", "anger fear sadness calm"),
]  # fmt: skip


@pytest.mark.parametrize(("labels", "emotions"), [row[1:] for row in KNOWN], ids=[row[0] for row in KNOWN])
def test_usual_codes_and_words_stand_for_the_nine_emotions_and_are_said(write, labels, emotions):
    given, expected = labels.split("|") if "|" in labels else labels.split(), emotions.split()
    found, notes = labelled(write, *given)
    assert found == expected
    (said,) = [note for note in notes if note.startswith("labels:")] or [""]
    for label, emotion in zip(given, expected, strict=True):
        label = label.strip(" \ufeff").replace("\u200f", "").replace("\u200c", "")
        assert f"{label} → {emotion}" in said or label.lower() == emotion


def test_other_names_stay_classes_of_their_own_and_likely_misspellings_are_asked_about(write):
    found, notes = labelled(write, "Contempt", "fru", "contempt", "angre", "anger")
    assert found == ["contempt", "fru", "contempt", "angre", "anger"]
    assert notes == ["classes of their own: angre (1, is anger meant?), contempt (2), fru (1); labels= maps them to others"]


def test_letters_that_two_corpora_use_differently_are_left_as_they_are(write):
    found, notes = labelled(write, "A", "F", "W", "N")
    assert found == ["a", "f", "w", "n"] and "EMO-DB or ShEMO" in notes[0]


MAPS = {
    "a mapping": {"FRU": "anger", "xxx": None, "01": "contempt"},
    "a table": "label,emotion\nfru,Wut\nxxx,\n01,contempt\n",
    "a table without a header": "fru,ang\nxxx,\n01,contempt\n",
    "semicolons in UTF-16": "label;emotion\nfru;anger\nxxx;\n01;contempt\n".encode("utf-16"),
}


@pytest.mark.parametrize("given", MAPS.values(), ids=MAPS)
def test_a_map_of_labels_wins_over_what_is_usual_and_may_leave_labels_out(write, tmp_path, given):
    own = given if isinstance(given, dict) else write(given, name="map.csv", files=())
    found, notes = labelled(write, "fru", "01", "xxx", "ang", labels=own)
    assert found == ["anger", "contempt", "anger"]
    assert "left out by labels=: xxx (1)" in notes
    assert "labels: 01 → contempt, ang → anger, fru → anger" in notes


def test_a_map_of_labels_serves_corpora_by_name_too():
    clips = corpora.load("demo", labels={"surprise": "fear", "neutral": None})
    assert set(clips["emotion"]) == {"anger", "fear", "happiness", "sadness"}


def test_labels_that_cannot_be_used_are_refused_with_their_lines(write, tmp_path):
    refused(write(PLAIN.replace("fear", "  ")), "line 3: the emotion is empty")
    refused(write(PLAIN.replace("fear", "NaN").replace("anger", "?")), "lines 2, 3: the emotion is empty or not known .'\\?' or 'NaN'")
    refused(write(PLAIN.replace("fear", "duration")), "'duration' is called like a column of a table")
    table = write(PLAIN)
    refused(table, "No file .*gone.csv: labels= takes a table of two columns", labels=tmp_path / "gone.csv")
    (tmp_path / "map.csv").write_text("a,b,c\n")
    refused(table, "'a,b,c' is not a label and an emotion", labels=str(tmp_path / "map.csv"))
    refused(table, "'names' is not one of filename, shemo_json, modified, nor a table", labels="names")


def test_a_corpus_with_an_emotion_of_its_own_is_scored_and_drawn(write):
    from ser_utils import analysis, audio, evaluation, plots

    labels = ("contempt", "anger", "fear")
    rows = [f"{s}{e}{i}.wav,{e},s{s}" for s in range(4) for e in labels for i in range(2)]
    clips = corpora.load(write("\n".join(["path,emotion,speaker", *rows]), files=[row.split(",")[0] for row in rows]))
    segments = audio.cut_segments(clips, seconds=None)
    from sklearn.dummy import DummyClassifier

    folds = evaluation.folds(clips)
    predictions = evaluation.cross_validate(
        DummyClassifier(strategy="uniform", random_state=0), np.zeros((24, 1)), segments, clips, folds=folds,
        system="majority", progress=False,
    )  # fmt: skip
    names = ["anger", "fear", "contempt"]
    assert evaluation.emotions_of(predictions) == names
    # A part without clips of it keeps its column.
    part = predictions[predictions["emotion"] != "contempt"]
    assert evaluation.emotions_of(part) == names
    scores = evaluation.scores(predictions, resamples=50).set_index("metric")["value"]
    assert 0 <= scores["recall_contempt"] <= 1 and {"uar", "recall_anger"} <= set(scores.index)
    confusion = evaluation.confusion(predictions)
    assert list(confusion.index) == names
    pairs = analysis.confusion_pairs(confusion)
    assert pairs["arousal"].isna().sum() == 2 and np.isfinite(analysis.mantel(pairs.head(3), "rate")[0])
    assert plots.emotion_order(predictions.columns) == ["anger", "fear", "contempt"]
    assert plots.EMOTION_COLOURS["contempt"] not in [plots.EMOTION_COLOURS[name] for name in NINE]
    ax = plots.emotion_counts(clips)
    assert "contempt" in [label.get_text() for label in (*ax.get_xticklabels(), *ax.get_yticklabels())]
    assert list(corpora.examples(clips)["emotion"]) == names


# ----------------------------------------------------------------------------------------------------- speakers


def spoken_by(write, *speakers):
    files = [f"{number}.wav" for number in range(len(speakers))]
    rows = [f'{file},{("anger", "fear")[i % 2]},"{name}"' for i, (file, name) in enumerate(zip(files, speakers, strict=True))]
    return write("\n".join(["path,emotion,speaker", *rows]), files=files)


@pytest.mark.parametrize(
    ("one", "two"),
    [("anna", "  anna "), ("anna", "anna\u200f"), ("anna", "\u202aan\u200bna\u202c"), ("anna b", "anna \u00a0 b"),
     ("Zo\u00eb", "Zoe\u0308"), ("anna", "\ufeffanna")],
)  # fmt: skip
def test_an_id_is_one_speaker_whatever_is_around_it_that_cannot_be_seen(write, one, two):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        clips = corpora.load(spoken_by(write, one, two, "ben"))
    assert set(clips["speaker"]) == {one, "ben"}


ALIKE = {
    "case": ("Ali", "ali"),
    "leading zeros": ("S01", "S1"),
    "numbers that a spreadsheet wrote": ("7", "7.0", "007"),
    "Arabic and Persian yeh": ("علی", "علي"),
    "Arabic and Persian kaf": ("کاوه", "كاوه"),
    "Cyrillic and Latin": ("Anna", "\u0410nna"),
    "kinds of digits": ("s12", "s۱۲"),
    "accents": ("Zoe", "Zoë"),
}


@pytest.mark.parametrize("names", ALIKE.values(), ids=ALIKE)
def test_ids_that_may_be_one_person_are_named_in_one_warning_and_stay_as_they_are(write, names):
    with pytest.warns(UserWarning) as caught:
        clips = corpora.load(spoken_by(write, *names, "X1", "x1", "Ben", "s21"))
    (said,) = [str(warning.message) for warning in caught]
    assert " and ".join(f"'{name}' (1 clip)" for name in sorted(names)) in said and "'X1' (1 clip) and 'x1'" in said
    assert "Ben" not in said and "s21" not in said and set(clips["speaker"]) == {*names, "X1", "x1", "Ben", "s21"}
    assert clips.attrs["notes"][-1] in said


def test_ids_that_differ_in_more_than_spelling_are_not_warned_of(write):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        corpora.load(spoken_by(write, "s1", "s10", "s100", "10", "1", "1.5", "1.50", "a-1", "a1"))


@pytest.mark.parametrize("word", ["nan", "NaN", "None", "NULL", "na", "N/A", "unknown", "Unknown ", "?", "", " \u200f "])
def test_a_missing_speaker_is_refused_with_its_lines(write, word):
    refused(spoken_by(write, "anna", word, "ben", word), "lines 3, 5: the speaker is empty or not known .*: name each person")


def test_a_missing_speaker_does_not_matter_where_the_clip_is_left_out(write):
    table = write("path,emotion,speaker\n1.wav,anger,anna\n2.wav,fear,ben\n3.wav,xxx,?\n")
    assert len(corpora.load(table, labels={"xxx": None})) == 2


# ------------------------------------------------------------------------------------------------------- paths

COMPOSED, DECOMPOSED = "h\u00f6r.wav", "ho\u0308r.wav"
#: How the table names the file; how the disk does.
PATHS = [
    ("backslashes", r"a\b\1.wav", "a/b/1.wav"),
    ("backslashes and a point", r".\a\1.wav", "a/1.wav"),
    ("backslashes up", r"..\{here}\1.wav", "1.wav"),
    ("composed for decomposed", COMPOSED, DECOMPOSED),
    ("decomposed for composed", DECOMPOSED, COMPOSED),
    ("in a folder's name", f"{COMPOSED[:3]}/1.wav", f"{DECOMPOSED[:4]}/1.wav"),
    ("another case of the ending", "1.wav", "1.WAV"),
    ("another case of all", "Anna/TAKE1.WAV", "anna/take1.wav"),
    ("marks that cannot be seen", "\u200f1.wav\u200e", "1.wav"),
    ("a blank at the end", "1.wav ", "1.wav"),
    ("a real backslash", r"a\1.wav", r"a\1.wav"),
]


@pytest.mark.parametrize(("written", "stored"), [row[1:] for row in PATHS], ids=[row[0] for row in PATHS])
def test_a_file_is_found_whose_path_is_written_in_another_way(write, tmp_path, written, stored):
    written = written.replace("{here}", tmp_path.name)
    clips = corpora.load(write(f"path,emotion,speaker\n{written},anger,anna\nother.wav,fear,ben\n", files=(stored, "other.wav")))
    assert str(tmp_path / stored) in set(clips["path"])


def test_the_home_folder_may_be_a_tilde(write, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    clips = corpora.load(write(PLAIN.replace("1.wav", "~/1.wav"), files=("home/1.wav", "2.wav")))
    assert clips["path"][0] == str(tmp_path / "home" / "1.wav")


#: How the table names a file; the files of the disk; what is said.
NOT_FOUND = [
    ("Arabic and Persian yeh", "\u063a\u064a.wav", ["\u063a\u06cc.wav"], "is .*/\u063a\u06cc.wav meant"),
    ("a Cyrillic letter", "\u0430nna.wav", ["anna.wav"], "is .*/anna.wav meant"),
    ("an accent", "Zoe.wav", ["Zo\u00eb.wav"], "is .*/Zo\u00eb.wav meant"),
    ("a misspelling", "recordng_01.wav", ["recording_01.wav"], "is .*/recording_01.wav meant"),
    ("another ending", "a1.wav", ["a1.flac"], "is .*/a1.flac meant"),
    ("a misspelled folder", "recordigns/1.wav", ["recordings/1.wav"], "is .*/recordings meant"),
    ("two that fit", "ANNA.wav", ["Anna.wav", "anna.wav"], "is .*/[Aa]nna.wav meant"),
    ("nothing alike", "q.wav", ["2.wav"], "there is no 'q.wav' in"),
    ("an address", "https://example.org/1.wav", ["1.wav"], "it is an address: download the file"),
    ("a drive", r"C:\data\1.wav", ["1.wav"], "it is a path of another computer"),
    ("a folder", "a", ["a/1.wav"], ".*/a is a folder"),
]


@pytest.mark.parametrize(("written", "stored", "said"), [row[1:] for row in NOT_FOUND], ids=[row[0] for row in NOT_FOUND])
def test_a_file_that_is_not_found_is_answered_with_what_is_near_it(write, written, stored, said):
    table = write(f"path,emotion,speaker\n{written},anger,anna\nother.wav,fear,ben\n", files=(*stored, "other.wav"))
    refused(table, f"names 1 files that do not exist, the first is .*: {said}.*; paths are relative to the table's folder")


def test_a_folder_of_recordings_beside_a_table_is_refused_and_not_passed_over(write, tmp_path):
    refused(write(PLAIN), "--data .* has no effect with a table: paths in .* are relative to its folder", data=tmp_path)
