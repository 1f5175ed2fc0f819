"""Corpora: from a folder of recordings (or a CSV) to a **clips** table, and from the internet to a folder.

A corpus is one entry of `CORPORA` and one parser, a small function that knows the corpus's own file names.
Everything else (reading headers, checks, messages) is shared. Loaders accept `.wav`, `.flac` and `.ogg`
(and whatever else libsndfile reads) under the corpus's own names, wherever they lie below the folder.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import stat
import tempfile
import warnings
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ser_utils import EMOTIONS, SerError

if TYPE_CHECKING:
    import pandas as pd

REPOSITORY = Path(__file__).resolve().parents[1]
COLUMNS = ("clip", "path", "speaker", "emotion", "gender", "text", "duration", "sample_rate")
AUDIO_ENDINGS = (".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aiff", ".aif")
LABELS = ("filename", "shemo_json", "modified")

_SHEMO_HOME = "https://github.com/pariajm/sharif-emotional-speech-dataset"


@dataclass(frozen=True)
class Archive:
    """A zip file of a corpus (or a file to put beside its recordings): where it lies and, if its publisher gives one, its checksum.

    `hash` is `"md5:…"` or `"sha256:…"`; None says that no checksum is published (or that the file is made
    afresh for each download, as GitHub archives are): the clip count is then the only check.
    `folder` is where its content goes below the corpus folder.
    """

    url: str
    hash: str | None = None
    folder: str = ""


@dataclass(frozen=True)
class Corpus:
    """What is known of a corpus before a single file is opened."""

    name: str
    title: str
    language: str
    description: str
    licence: str
    citation: str
    synthetic: bool = False
    homepage: str = ""
    n_clips: int = 0  # clips of the complete corpus; 0 = unknown
    archives: tuple[Archive, ...] = ()


CORPORA: dict[str, Corpus] = {
    corpus.name: corpus
    for corpus in (
        Corpus(
            name="demo",
            title="demo",
            language="Persian (espeak-ng)",
            description="Synthetic Persian speech made by espeak-ng and Praat in ShEMO's layout, for trying "
            "the programs out. Scores on it say nothing about human emotion.",
            licence="CC0 1.0",
            citation="data/demo/README.md of this repository",
            synthetic=True,
        ),
        Corpus(
            name="shemo",
            title="ShEMO",
            language="Persian",
            description="Semi-natural utterances of 87 speakers from Persian radio plays: five emotions "
            "and neutral.",
            licence="free of charge for academic use",
            citation="O. Mohamad Nezami, P. Jamshid Lou, M. Karami (2019). ShEMO: a large-scale validated "
            "database for Persian speech emotion detection. Language Resources and Evaluation 53, 1-16. "
            "doi:10.1007/s10579-018-9427-x",
            homepage=_SHEMO_HOME,
            n_clips=3000,
            # The links of the authors' README (dl=1 asks Dropbox for the file instead of a page).
            # No checksums are published.
            archives=(
                Archive("https://www.dropbox.com/s/4t6mep8mo4yf81f/female.zip?dl=1", None, "female"),
                Archive("https://www.dropbox.com/s/xfi3hi927yxixa9/male.zip?dl=1", None, "male"),
                Archive(f"{_SHEMO_HOME}/raw/master/shemo.json"),
            ),
        ),
        Corpus(
            name="emodb",
            title="EMO-DB",
            language="German",
            description="Ten actors, ten everyday sentences, six emotions and neutral, anechoic chamber.",
            licence="CC BY 4.0",
            citation="F. Burkhardt, A. Paeschke, M. Rolfes, W. F. Sendlmeier, B. Weiss (2005). A database of "
            "German emotional speech. Interspeech, 1517-1520. Version 2.0: doi:10.5281/zenodo.17651657",
            homepage="https://zenodo.org/records/17651657",
            n_clips=535,
            # Zenodo shows an MD5 on the record's page; it was out of reach when this was written.
            archives=(Archive("https://zenodo.org/records/17651657/files/emodb_2.0.zip?download=1"),),
        ),
        Corpus(
            name="ravdess",
            title="RAVDESS",
            language="English",
            description="Twenty-four actors, two sentences, seven emotions and neutral, two intensities; "
            "speech only.",
            licence="CC BY-NC-SA 4.0",
            citation="S. R. Livingstone, F. A. Russo (2018). The Ryerson Audio-Visual Database of Emotional "
            "Speech and Song (RAVDESS). PLoS ONE 13(5): e0196391. doi:10.1371/journal.pone.0196391",
            homepage="https://zenodo.org/records/1188976",
            n_clips=1440,
            archives=(
                Archive(
                    "https://zenodo.org/records/1188976/files/Audio_Speech_Actors_01-24.zip?download=1",
                    "md5:bc696df654c87fed845eb13823edef8a",
                ),
            ),
        ),
        Corpus(
            name="nemo",
            title="nEMO",
            language="Polish",
            description="Nine actors, 90 sentences, five emotions and neutral.",
            licence="CC BY-NC-SA 4.0",
            citation="I. Christop (2024). nEMO: Dataset of Emotional Speech in Polish. LREC-COLING. "
            "arXiv:2404.06292",
            homepage="https://github.com/amu-cai/nEMO",
            n_clips=4481,
            # GitHub makes archives afresh, so their bytes (and hashes) change; the commit pins the content.
            archives=(
                Archive("https://github.com/amu-cai/nEMO/archive/06f1f83dde8f1a780443a57d53b2af3971af34ab.zip"),
            ),
        ),
    )
}

#: Other names under which the canonical emotions appear in metadata of corpora and in CSVs.
SYNONYMS = {
    "angry": "anger", "ang": "anger", "rage": "anger", "bored": "boredom", "calmness": "calm",
    "disgusted": "disgust", "fearful": "fear", "afraid": "fear", "scared": "fear", "anxiety": "fear",
    "happy": "happiness", "hap": "happiness", "joy": "happiness", "joyful": "happiness", "neu": "neutral",
    "sad": "sadness", "surprised": "surprise",
}  # fmt: skip

_SHEMO_CODES = {"A": "anger", "H": "happiness", "S": "sadness", "W": "surprise", "F": "fear", "N": "neutral"}
_EMODB_CODES = {
    "W": "anger", "L": "boredom", "E": "disgust", "A": "fear",
    "F": "happiness", "T": "sadness", "N": "neutral",
}  # fmt: skip
_EMODB_MALE = {"03", "10", "11", "12", "15"}
_EMODB_FEMALE = {"08", "09", "13", "14", "16"}
_EMODB_TEXTS = {
    "a01": "Der Lappen liegt auf dem Eisschrank.",
    "a02": "Das will sie am Mittwoch abgeben.",
    "a04": "Heute abend könnte ich es ihm sagen.",
    "a05": "Das schwarze Stück Papier befindet sich da oben neben dem Holzstück.",
    "a07": "In sieben Stunden wird es soweit sein.",
    "b01": "Was sind denn das für Tüten, die da unter dem Tisch stehen?",
    "b02": "Sie haben es gerade hochgetragen und jetzt gehen sie wieder runter.",
    "b03": "An den Wochenenden bin ich jetzt immer nach Hause gefahren und habe Agnes besucht.",
    "b09": "Ich will das eben wegbringen und dann mit Karl was trinken gehen.",
    "b10": "Die wird auf dem Platz sein, wo wir sie immer hinlegen.",
}
_RAVDESS_CODES = {
    "01": "neutral", "02": "calm", "03": "happiness", "04": "sadness",
    "05": "anger", "06": "fear", "07": "disgust", "08": "surprise",
}  # fmt: skip
_RAVDESS_TEXTS = {"01": "Kids are talking by the door.", "02": "Dogs are sitting by the door."}


# ------------------------------------------------------------------------------------------- names and places


def describe(corpus: str | Path) -> Corpus:
    """Tell what a corpus is, by its name or by the path of a CSV.

    Raises
    ------
    SerError
        If it is neither a known name nor a path that ends in `.csv`.

    Examples
    --------
    >>> describe("nemo").language
    'Polish'
    """
    if str(corpus) in CORPORA:
        return CORPORA[str(corpus)]
    if str(corpus).lower().endswith(".csv"):
        stem = Path(corpus).stem
        return Corpus(
            name=stem,
            title=stem,
            language="unknown",
            description=f"Recordings listed in {Path(corpus).name}",
            licence="unknown",
            citation="none given",
        )
    raise SerError(f"Unknown corpus '{corpus}': known are {', '.join(CORPORA)}, or the path of a .csv file.")


def label(corpus: str | Path) -> str:
    """Name a corpus as figures and tables do, synthetic ones always as such.

    >>> label("demo"), label("emodb"), label("data/calls.csv")
    ('demo (synthetic)', 'EMO-DB', 'calls')
    """
    known = describe(corpus)
    return f"{known.title} (synthetic)" if known.synthetic else known.title


def slug(corpus: str | Path) -> str:
    """Name a corpus as folders do.

    >>> slug("nemo"), slug("data/My calls.csv")
    ('nemo', 'My_calls')
    """
    return re.sub(r"[^\w.-]+", "_", describe(corpus).name)


def default_folder(name: str) -> Path:
    """Say where a corpus lies when no folder is given: `data/demo`, else `data/raw/<name>`."""
    return REPOSITORY / "data" / "demo" if name == "demo" else REPOSITORY / "data" / "raw" / name


# -------------------------------------------------------------------------------------------------- loading


def load(
    corpus: str | Path,
    data: str | Path | None = None,
    *,
    labels: str = "filename",
    strict: bool = False,
) -> pd.DataFrame:
    """Read a corpus into a clips table.

    Parameters
    ----------
    corpus : str or Path
        A name in `CORPORA`, or the path of a CSV with columns `path` (relative to the CSV), `emotion`,
        `speaker` and optionally `clip`, `gender`, `text`.
    data : str or Path, optional
        Folder of the recordings; `data/demo` or `data/raw/<name>` of the repository when left out.
        Not used with a CSV.
    labels : {"filename", "shemo_json", "modified"}
        ShEMO only: labels from the file names, from `shemo.json` or from `modified_shemo.json`. The JSON is
        looked for in the folder, in a folder `shemo_metadata` beside it, and beside it.
    strict : bool
        Raise instead of warn when a recording cannot be used.

    Returns
    -------
    DataFrame
        Columns `clip` (unique), `path`, `speaker`, `emotion` (canonical), `gender` ("female", "male" or
        None), `text` (or None), `duration` [s] and `sample_rate` [Hz, as stored], sorted by clip.
        `attrs["skipped"]` lists the paths left out, `attrs["corpus"]` holds the label.

    Raises
    ------
    SerError
        In one line, if the corpus is unknown, absent, unreadable or unusable (one speaker, one emotion, …).

    Examples
    --------
    >>> clips = load("demo")
    >>> sorted(set(clips["emotion"]))
    ['anger', 'fear', 'happiness', 'neutral', 'sadness', 'surprise']
    """
    import pandas as pd

    known = describe(corpus)
    if labels not in LABELS:
        raise SerError(f"labels='{labels}' is not one of {', '.join(LABELS)}.")
    if labels != "filename" and known.name != "shemo":
        raise SerError(f"labels='{labels}' exists for shemo only; leave it out for {known.name}.")
    if str(corpus) in CORPORA:
        folder = Path(data) if data is not None else default_folder(known.name)
        _check_folder(known, folder, given=data is not None)
        rows, skipped = _PARSERS[known.name](folder, labels)
        source = str(folder)
    else:
        rows, skipped = _parse_csv(Path(corpus))
        source = str(corpus)

    readable = []
    for row in rows:
        try:
            frames, rate = _header(row["path"])
        except OSError:
            skipped.append((row["path"], "not readable as audio"))
            continue
        if frames == 0:
            skipped.append((row["path"], "no samples"))
            continue
        readable.append({**row, "duration": frames / rate, "sample_rate": rate})
    if skipped:
        total = len(skipped) + len(readable)
        message = f"{len(skipped)} of {total} recordings left out: {_name_some(skipped)}"
        if strict:
            raise SerError(f"{message} Remove them, or run without strict.")
        warnings.warn(message, stacklevel=2)
    if not readable:
        raise SerError(
            f"No readable recordings of {known.title} in {source}: expected {', '.join(AUDIO_ENDINGS[:3])} "
            f"files under the corpus's own names."
        )

    clips = pd.DataFrame(readable, columns=list(COLUMNS)).sort_values("clip", ignore_index=True)
    # Object columns keep None as None; pandas' str type would turn it into NaN.
    clips = clips.astype({"gender": object, "text": object, "duration": float, "sample_rate": int})
    clips[["gender", "text"]] = clips[["gender", "text"]].where(clips[["gender", "text"]].notna(), None)
    _check_table(clips, source)
    clips.attrs["skipped"] = [path for path, _ in skipped]
    clips.attrs["corpus"] = label(corpus)
    return clips


def canonical_emotion(name: str) -> str | None:
    """Give the canonical name of an emotion, or None if it is not known.

    >>> canonical_emotion(" Angry "), canonical_emotion("envy")
    ('anger', None)
    """
    name = name.strip().lower()
    name = SYNONYMS.get(name, name)
    return name if name in EMOTIONS else None


def _check_folder(known: Corpus, folder: Path, *, given: bool) -> None:
    if folder.is_dir():
        return
    fetch_it = f", or run `ser fetch {known.name}`" if known.archives else ""
    if given:
        raise SerError(f"No folder {folder} for {known.title}: check --data{fetch_it}.")
    raise SerError(f"{known.title} is not in {folder}: say where it is with --data DIR{fetch_it}.")


def _check_table(clips: pd.DataFrame, source: str) -> None:
    twice = clips.loc[clips["clip"].duplicated(keep=False)]
    if len(twice):
        first = twice.loc[twice["clip"] == twice["clip"].iloc[0], "path"]
        raise SerError(
            f"{twice['clip'].nunique()} clip ids occur more than once in {source}, "
            f"'{twice['clip'].iloc[0]}' as {' and '.join(first.iloc[:2])}: remove or rename the copies."
        )
    for column, reason in (
        ("speaker", "two speakers are needed, since one is tested who was not trained on"),
        ("emotion", "two emotions are needed, since there is nothing to tell apart"),
    ):
        if clips[column].nunique() < 2:
            only = clips[column].iloc[0]
            raise SerError(f"All {len(clips)} recordings in {source} have one {column} ('{only}'): {reason}.")


def _name_some(skipped: list[tuple[str, str]], most: int = 5) -> str:
    """Name the first few files left out, with reasons, in one line."""
    named = ", ".join(f"{Path(path).name} ({reason})" for path, reason in skipped[:most])
    return f"{named} and {len(skipped) - most} more." if len(skipped) > most else f"{named}."


def _header(path: str) -> tuple[int, int]:
    """Return frames and sample rate of a sound file without decoding it; OSError if it is none.

    libsndfile takes 1.3 ms to open a Vorbis file since it sets up the decoder: 6 s for nEMO's 4481 clips,
    in each notebook. The two numbers lie in the first and the last Ogg page (RFC 3533, section 6; Vorbis I
    specification, section 4.2.2). Whatever looks unusual there is left to libsndfile.
    """
    import soundfile

    with open(path, "rb") as file:
        head = file.read(58)
        if head[:4] == b"OggS" and head[26:35] == b"\x01\x1e\x01vorbis":
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - 65_536))  # no Ogg page is longer
            tail = file.read()
            last = tail.rfind(b"OggS")
            rate = int.from_bytes(head[40:44], "little")
            frames = int.from_bytes(tail[last + 6 : last + 14], "little", signed=True)
            same_stream = tail[last + 14 : last + 18] == head[14:18]
            # A recording cut out of a stream starts with a high count: fewer than 4 kbit/s cannot be.
            if last >= 0 and same_stream and rate > 0 and 0 < frames < size * 8 / 4000 * rate:
                return frames, rate
    try:
        with soundfile.SoundFile(path) as sound:
            return sound.frames, sound.samplerate
    except soundfile.SoundFileError as error:
        raise OSError(str(error)) from error


# -------------------------------------------------------------------------------------------------- parsers
# Each returns (rows without duration and sample rate, [(path, reason)] of files it could not use).


def _audio_files(folder: Path) -> list[Path]:
    """List sound files below a folder by their ending, sorted; hidden ones and macOS's shadows left out."""
    found = []
    for place, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith((".", "__MACOSX")))
        found += [
            Path(place, name)
            for name in sorted(files)
            if name.lower().endswith(AUDIO_ENDINGS) and not name.startswith(".")
        ]
    return found


def _emotion(codes: dict[str, str], code: str, path: Path | str) -> str:
    if code not in codes:
        allowed = ", ".join(f"{key} ({value})" for key, value in codes.items())
        raise SerError(f"Unknown emotion code '{code}' in {path}: allowed are {allowed}.")
    return codes[code]


def _parse_names(folder: Path, pattern: str, row_of) -> tuple[list[dict], list[tuple[str, str]]]:
    """Make rows of all sound files whose stem matches the pattern; the others are reported."""
    rows, strangers = [], []
    for path in _audio_files(folder):
        match = re.fullmatch(pattern, path.stem)
        if match:
            rows.append({"clip": path.stem, "path": str(path), **row_of(path, *match.groups())})
        else:
            strangers.append((str(path), "not a name of this corpus"))
    return rows, strangers


def _parse_shemo(folder: Path, labels: str) -> tuple[list[dict], list[tuple[str, str]]]:
    """Parse ShEMO and its imitations: `female/F01A01.wav` is speaker F01, anger, recording 01."""
    wanted = {"filename": None, "shemo_json": "shemo.json", "modified": "modified_shemo.json"}[labels]
    # Hundreds of transcripts in `shemo.json` belong to other recordings; the corrected file comes first.
    known = [wanted] if wanted else ["transcripts.json", "modified_shemo.json", "shemo.json"]
    entries = _shemo_metadata(folder, known)
    if wanted and entries is None:
        raise SerError(
            f"labels='{labels}' needs {wanted} in {folder} or {folder.resolve().parent / 'shemo_metadata'}: "
            f"see {_SHEMO_HOME}, or use labels='filename'."
        )

    def row_of(path, speaker, code, _number):
        emotion = _emotion(_SHEMO_CODES, code, path)
        entry = (entries or {}).get(path.stem, {})
        if wanted:
            emotion = canonical_emotion(entry["emotion"]) if entry else None
            if entry and emotion is None:
                raise SerError(f"Unknown emotion '{entry['emotion']}' of {path.stem} in {wanted}.")
        gender = "female" if speaker[0] == "F" else "male"
        return {"speaker": speaker, "emotion": emotion, "gender": gender, "text": entry.get("transcript")}

    rows, strangers = _parse_names(folder, r"([FM]\d\d)([A-Z])(\d\d)", row_of)
    # 162 of the 3000 file names are not in shemo.json: they have no label there.
    strangers += [(row["path"], f"not in {wanted}") for row in rows if row["emotion"] is None]
    return [row for row in rows if row["emotion"] is not None], strangers


def _shemo_metadata(folder: Path, names: list[str]) -> dict[str, dict] | None:
    """Read the first metadata JSON found, keyed by recording name without ending."""
    parent = folder.resolve().parent
    for name in names:
        for place in (folder, parent / "shemo_metadata", parent):
            if (place / name).is_file():
                try:
                    content = json.loads((place / name).read_text(encoding="utf-8"))
                    return {Path(key).stem: dict(entry) for key, entry in content.items()}
                except (ValueError, TypeError, AttributeError) as error:
                    raise SerError(f"{place / name} is not a ShEMO metadata file: {error}.") from error
    return None


def _parse_emodb(folder: Path, labels: str) -> tuple[list[dict], list[tuple[str, str]]]:
    """Parse EMO-DB: `03a01Fa.wav` is speaker 03, text a01, Freude (happiness), version a."""

    def row_of(path, speaker, text, code):
        gender = "male" if speaker in _EMODB_MALE else "female" if speaker in _EMODB_FEMALE else None
        emotion = _emotion(_EMODB_CODES, code, path)
        text = _EMODB_TEXTS.get(text, text)
        return {"speaker": speaker, "emotion": emotion, "gender": gender, "text": text}

    return _parse_names(folder, r"(\d\d)([ab]\d\d)([A-Z])[a-z]?", row_of)


def _parse_ravdess(folder: Path, labels: str) -> tuple[list[dict], list[tuple[str, str]]]:
    """Parse RAVDESS speech: `03-01-06-01-02-01-12` is audio, speech, fear, …, sentence 02, …, actor 12."""

    def row_of(path, code, statement, actor):
        emotion = _emotion(_RAVDESS_CODES, code, path)
        gender = "male" if int(actor) % 2 else "female"
        return {"speaker": actor, "emotion": emotion, "gender": gender, "text": _RAVDESS_TEXTS.get(statement)}

    return _parse_names(folder, r"03-01-(\d\d)-\d\d-(\d\d)-\d\d-(\d\d)", row_of)


def _parse_nemo(folder: Path, labels: str) -> tuple[list[dict], list[tuple[str, str]]]:
    """Parse nEMO: `data.tsv` names the files of `samples/`."""
    table = folder / "data.tsv"
    if not table.is_file():
        raise SerError(f"No data.tsv in {folder}: give the folder that holds nEMO's data.tsv and samples/.")
    files = {path.stem: path for path in _audio_files(folder / "samples")}
    rows, missing = [], []
    for entry in _read_table(table, ["file_id", "emotion", "speaker_id"], separator="\t"):
        stem = Path(entry["file_id"]).stem
        if stem not in files:
            missing.append((entry["file_id"], "in data.tsv, not in samples"))
            continue
        emotion = canonical_emotion(entry["emotion"])
        if emotion is None:
            raise SerError(f"Unknown emotion '{entry['emotion']}' of {entry['file_id']} in {table}.")
        rows.append(
            {
                "clip": stem,
                "path": str(files[stem]),
                "speaker": entry["speaker_id"].strip(),  # stored with leading blanks
                "emotion": emotion,
                "gender": _gender(entry.get("gender", "")),
                "text": entry.get("raw_text") or None,
            }
        )
    return rows, missing


def _parse_csv(table: Path) -> tuple[list[dict], list[tuple[str, str]]]:
    """Parse a reader's own list of recordings; paths are relative to the CSV."""
    if not table.is_file():
        raise SerError(f"No file {table}: check the path of the CSV.")
    entries = _read_table(table, ["path", "emotion", "speaker"])
    paths = [Path(os.path.abspath(table.parent / entry["path"].strip())) for entry in entries]
    missing = [str(path) for path in paths if not path.is_file()]
    if missing:
        raise SerError(
            f"{table} names {len(missing)} files that do not exist, the first is {missing[0]}: "
            f"paths are relative to the CSV's folder."
        )
    # Stems make short clip ids; where two folders use the same ones, the paths as written tell them apart.
    stems = [path.stem for path in paths]
    if len(set(stems)) < len(stems):
        stems = [str(Path(entry["path"].strip()).with_suffix("")) for entry in entries]
    rows = []
    for number, (entry, path, stem) in enumerate(zip(entries, paths, stems, strict=True), start=2):
        emotion, speaker = canonical_emotion(entry["emotion"]), entry["speaker"].strip()
        if emotion is None:
            raise SerError(
                f"{table}, line {number}: unknown emotion '{entry['emotion']}', "
                f"allowed are {', '.join(EMOTIONS)}."
            )
        if not speaker:
            raise SerError(f"{table}, line {number}: the speaker is empty; folds are made by speaker.")
        rows.append(
            {
                "clip": entry.get("clip", "").strip() or stem,
                "path": str(path),
                "speaker": speaker,
                "emotion": emotion,
                "gender": _gender(entry.get("gender", "")),
                "text": entry.get("text") or None,
            }
        )
    return rows, []


def _gender(name: str) -> str | None:
    return {"f": "female", "w": "female", "female": "female", "woman": "female",
            "m": "male", "male": "male", "man": "male"}.get(name.strip().lower())  # fmt: skip


def _read_table(table: Path, needed: list[str], separator: str = ",") -> list[dict[str, str]]:
    """Read a text table as dictionaries of strings; an error names the columns it lacks and those it has."""
    import pandas as pd

    try:
        frame = pd.read_csv(table, sep=separator, dtype=str, keep_default_na=False, encoding="utf-8-sig")
    except ValueError as error:  # of decoding, or of parsing
        raise SerError(f"{table} cannot be read as a table: {str(error).splitlines()[0]}.") from error
    frame.columns = [str(name).strip() for name in frame.columns]
    lacking = [name for name in needed if name not in frame.columns]
    if lacking:
        raise SerError(f"{table} has no column {', '.join(lacking)}; it has {', '.join(frame.columns)}.")
    return frame.to_dict("records")


_PARSERS = {
    "demo": _parse_shemo,
    "shemo": _parse_shemo,
    "emodb": _parse_emodb,
    "ravdess": _parse_ravdess,
    "nemo": _parse_nemo,
}


# ------------------------------------------------------------------------------------------------- fetching

#: No archive of these corpora unpacks to more; a bigger one is a mistake or an attack ("zip bomb").
LARGEST_UNPACKED = 8 * 1024**3


def fetch(name: str, folder: str | Path | None = None, *, progress: bool = True) -> Path:
    """Download a corpus, verify it and unpack it.

    The folder appears when everything has been unpacked and counted, or not at all. Downloaded archives wait in
    `.<folder>-download` beside it, so that a second attempt does not start over, and are removed at the end.

    Parameters
    ----------
    name : str
        A name in `CORPORA` that has archives.
    folder : str or Path, optional
        Where to put it; `data/raw/<name>` of the repository when left out. What is there already is left alone.
    progress : bool
        Draw a progress bar.

    Returns
    -------
    Path
        The folder, ready for `load(name, folder)`.

    Raises
    ------
    SerError
        In one line, if the download, the checksum, the archive or the number of recordings is not as it should be.
    """
    known = describe(name)
    if not known.archives:
        fetchable = ", ".join(key for key, corpus in CORPORA.items() if corpus.archives)
        reason = "is part of the repository" if known.name in CORPORA else "is your own list of recordings"
        raise SerError(f"Nothing to fetch for {known.name}: it {reason}. Fetchable are {fetchable}.")
    folder = Path(folder) if folder is not None else default_folder(name)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        present = len(_audio_files(folder)) if folder.is_dir() else 0
        if present >= known.n_clips:
            return folder
        raise SerError(
            f"{folder} exists and holds {present} recordings where {known.title} has {known.n_clips}: "
            f"move it away, or choose another folder with --dir."
        )
    folder.parent.mkdir(parents=True, exist_ok=True)
    downloads = folder.parent / f".{folder.name}-download"
    files = [_download(known, archive, downloads, progress) for archive in known.archives]
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as temporary:
        content = Path(temporary, "content")
        for archive, file in zip(known.archives, files, strict=True):
            if file.suffix == ".zip":
                _unpack(file, content / archive.folder)
            else:
                shutil.copy(file, content / archive.folder)
        present = len(_audio_files(content))
        if present < known.n_clips:
            raise SerError(
                f"{known.title} as downloaded holds {present} recordings instead of {known.n_clips}: nothing was "
                f"kept. See {known.homepage} for a changed download."
            )
        if folder.exists():
            folder.rmdir()  # empty, as checked above
        os.rename(content, folder)
    shutil.rmtree(downloads)
    return folder


def _download(known: Corpus, archive: Archive, folder: Path, progress: bool) -> Path:
    """Download one archive through pooch, or take it as it waits from an earlier attempt."""
    import pooch
    import requests

    name = archive.url.split("?")[0].rsplit("/", 1)[-1]
    by_hand = f"download it by hand from {known.homepage} and pass its unpacked folder with --data"
    if archive.hash is None:
        warnings.warn(
            f"{known.title}: no checksum is known for {name}; only the number of recordings will be checked.",
            stacklevel=3,
        )
    pooch.get_logger().setLevel("WARNING")
    try:
        file = pooch.retrieve(
            archive.url,
            known_hash=archive.hash,
            fname=name,
            path=folder,
            downloader=pooch.HTTPDownloader(progressbar=progress, timeout=60),
        )
    except requests.RequestException as error:
        raise SerError(
            f"{known.title}: {archive.url} could not be downloaded ({type(error).__name__}): check the connection "
            f"and try again, or {by_hand}."
        ) from error
    except OSError as error:
        raise SerError(f"{known.title}: {name} could not be stored in {folder}: {error}.") from error
    except ValueError as error:  # pooch's word for a wrong checksum
        raise SerError(
            f"{known.title}: {name} does not have the checksum its publisher gives ({archive.hash}): nothing was "
            f"kept. Try again, or {by_hand}."
        ) from error
    return Path(file)


def _unpack(file: Path, folder: Path) -> None:
    """Unpack a zip file into a folder, refusing entries that would land elsewhere.

    A single top folder (`nEMO-<commit>/`, or `female/` of `female.zip`) is taken off.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            members = [member for member in archive.infolist() if not member.is_dir()]
            for member in members:
                parts = Path(member.filename).parts
                outside = member.filename.startswith("/") or ".." in parts or ":" in parts[0]
                if outside or "\\" in member.filename or stat.S_ISLNK(member.external_attr >> 16):
                    raise SerError(f"{file.name} holds the unsafe entry '{member.filename}': nothing was unpacked.")
            hidden = (".", "__MACOSX")
            members = [m for m in members if not any(part.startswith(hidden) for part in Path(m.filename).parts)]
            if sum(member.file_size for member in members) > LARGEST_UNPACKED:
                raise SerError(f"{file.name} would unpack to more than {LARGEST_UNPACKED >> 30} GiB: refused.")
            tops = {Path(member.filename).parts[0] for member in members}
            strip = len(tops) == 1 and all(len(Path(member.filename).parts) > 1 for member in members)
            for member in members:
                target = folder.joinpath(*Path(member.filename).parts[strip:])
                target.parent.mkdir(parents=True, exist_ok=True)
                with archive.open(member) as source, open(target, "wb") as sink:
                    shutil.copyfileobj(source, sink, 1 << 20)
    except (zipfile.BadZipFile, EOFError, zlib.error) as error:
        file.unlink()
        raise SerError(
            f"{file.name} is not a whole zip archive ({error}): it was removed, fetch again to download it anew."
        ) from error
