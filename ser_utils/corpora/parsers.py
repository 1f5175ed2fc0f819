"""One small parser per corpus: what file names and metadata say of each recording. No sound file is opened.

Recordings may be of any format that libsndfile reads, under the corpus's own names, anywhere below the folder.
"""

import json
import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path

from ser_utils import SerError
from ser_utils.corpora.labels import canonical_emotion
from ser_utils.corpora.text_tables import read_table

AUDIO_ENDINGS = (".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aiff", ".aif", ".au", ".w64", ".caf")
#: Sets of labels of ShEMO besides the file names', and where they stand.
SHEMO_JSON = {"shemo_json": "shemo.json", "modified": "modified_shemo.json"}
SHEMO_HOME = "https://github.com/pariajm/sharif-emotional-speech-dataset"

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


def _known_emotion(name: object, where: str) -> str:
    if emotion := canonical_emotion(str(name)):
        return emotion
    raise SerError(f"Unknown emotion '{name}' of {where}.")


def audio_files(folder: Path) -> list[Path]:
    """List the sound files (`AUDIO_ENDINGS`) in a folder and below, sorted.

    Hidden ones are left out, and so are the files that macOS adds (`._*`, `__MACOSX/`), which hold no sound.
    """
    found = []
    for place, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith((".", "__MACOSX"))]
        found += [Path(place, name) for name in files if name.lower().endswith(AUDIO_ENDINGS) and name[0] != "."]
    return sorted(found)


def sound_files(folders: str | Path | Sequence[str | Path]) -> list[Path]:
    """List recordings: files as given, and the sound files of folders and their sub-folders.

    Raises SerError if a path does not exist, or there is no sound file.
    """
    places = [Path(place) for place in ([folders] if isinstance(folders, (str, Path)) else folders)]
    for place in places:
        if not place.exists():
            raise SerError(f"{place} is not there: name recordings, or folders of them.")
    files = [file for place in places for file in (audio_files(place) if place.is_dir() else [place])]
    if not files:
        names = ", ".join(map(str, places))
        raise SerError(f"no sound files in {names}: name folders that hold .wav, .flac, .ogg or .mp3 recordings.")
    return files


def _emotion(codes: dict[str, str], code: str, path: Path | str) -> str:
    if code not in codes:
        allowed = ", ".join(f"{key} ({value})" for key, value in codes.items())
        raise SerError(f"Unknown emotion code '{code}' in {path}: allowed are {allowed}.")
    return codes[code]


def _parse_names(folder: Path, pattern: str, row_of: Callable[..., dict]) -> tuple[list[dict], list[tuple[str, str]]]:
    """Make rows of all sound files whose stem matches the pattern; the others are reported."""
    rows, strangers = [], []
    for path in audio_files(folder):
        match = re.fullmatch(pattern, path.stem)
        if match:
            rows.append({"clip": path.stem, "path": str(path), **row_of(path, *match.groups())})
        else:
            strangers.append((str(path), "not a name of this corpus"))
    return rows, strangers


def shemo_labels(folder: Path) -> dict[str, dict[str, str]]:
    """Read every set of labels of ShEMO that is there: set → clip → emotion.

    `filename` is from the sound files' names; `shemo_json` and `modified` hold what the JSONs say, also of names that
    no file has.

    Raises SerError if a name or a JSON holds an unknown emotion, or a JSON is damaged.
    """
    rows, _ = _parse_shemo(folder, "filename")
    sets = {"filename": {row["clip"]: row["emotion"] for row in rows}}
    for labels, name in SHEMO_JSON.items():
        entries = _shemo_metadata(folder, [name])
        if entries is not None:
            sets[labels] = {key: _known_emotion(of.get("emotion"), f"{key} in {name}") for key, of in entries.items()}
    return sets


def _parse_shemo(folder: Path, labels: str) -> tuple[list[dict], list[tuple[str, str]]]:
    """Parse ShEMO and its imitations: `female/F01A01.wav` is speaker F01, anger, recording 01."""
    wanted = SHEMO_JSON.get(labels)
    # Hundreds of transcripts in `shemo.json` belong to other recordings; the corrected file comes first.
    known = [wanted] if wanted else ["transcripts.json", "modified_shemo.json", "shemo.json"]
    entries = _shemo_metadata(folder, known)
    if wanted and entries is None:
        raise SerError(
            f"labels='{labels}' needs {wanted} in {folder} or {folder.resolve().parent / 'shemo_metadata'}: "
            f"see {SHEMO_HOME}, or use labels='filename'."
        )

    def row_of(path, speaker, code, _number):
        emotion = _emotion(_SHEMO_CODES, code, path)
        entry = (entries or {}).get(path.stem, {})
        if wanted:
            emotion = _known_emotion(entry.get("emotion"), f"{path.stem} in {wanted}") if entry else None
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
    files = {path.stem: path for path in audio_files(folder / "samples")}
    rows, missing = [], []
    for entry in read_table(table, ["file_id", "emotion", "speaker_id"])[0].to_dict("records"):
        stem = Path(entry["file_id"]).stem
        if stem not in files:
            missing.append((entry["file_id"], "in data.tsv, not in samples"))
            continue
        emotion = _known_emotion(entry["emotion"], f"{entry['file_id']} in {table}")
        row = {"clip": stem, "path": str(files[stem]), "emotion": emotion, "text": entry.get("raw_text") or None}
        row["speaker"] = entry["speaker_id"].strip()  # stored with leading blanks
        rows.append({**row, "gender": gender_of(entry.get("gender", ""))})
    return rows, missing


def gender_of(name: str) -> str | None:
    """Read a word or letter for a gender; None if it is neither a woman's nor a man's."""
    return {"f": "female", "w": "female", "female": "female", "woman": "female",
            "m": "male", "male": "male", "man": "male"}.get(name.strip().lower())  # fmt: skip


#: Parser of each corpus: `(folder, labels)` → rows without duration and rate, `(path, reason)` of files left out.
PARSERS = {"demo": _parse_shemo, "shemo": _parse_shemo, "emodb": _parse_emodb, "ravdess": _parse_ravdess,
           "nemo": _parse_nemo}  # fmt: skip
