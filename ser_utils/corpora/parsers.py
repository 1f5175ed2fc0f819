"""What file names, cards and metadata say of each recording. No sound file is opened.

Recordings may be of any format that `decoding` reads, under the corpus's own names, anywhere below the folder.
"""

import filecmp
import json
import os
import re
import warnings
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from ser_utils import SerError, listed
from ser_utils.corpora.cards import Corpus, Names
from ser_utils.corpora.decoding import conversion, has_pyav
from ser_utils.corpora.labels import canonical_emotion
from ser_utils.corpora.sound_headers import AUDIO_ENDINGS, FOREIGN_ENDINGS
from ser_utils.corpora.text_tables import read_table

_ENDINGS = AUDIO_ENDINGS + FOREIGN_ENDINGS
#: Sets of labels of ShEMO besides the file names', and where they stand.
SHEMO_JSON = {"shemo_json": "shemo.json", "modified": "modified_shemo.json"}
SHEMO_HOME = "https://github.com/pariajm/sharif-emotional-speech-dataset"

_STRANGER = "not a name of this corpus"
_SHEMO_CODES = {"A": "anger", "H": "happiness", "S": "sadness", "W": "surprise", "F": "fear", "N": "neutral"}


def _known_emotion(name: object, where: str) -> str:
    if emotion := canonical_emotion(str(name)):
        return emotion
    raise SerError(f"Unknown emotion '{name}' of {where}.")


def audio_files(folder: Path) -> list[Path]:
    """List the sound files in a folder and below, by their endings, sorted.

    Hidden ones are left out, and so are the files that macOS adds (`._*`, `__MACOSX/`), which hold no sound. Files of
    kinds that cannot be read without PyAV are counted in a warning.
    """
    found = []
    for place, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith((".", "__MACOSX"))]
        found += [Path(place, name) for name in files if name.lower().endswith(_ENDINGS) and name[0] != "."]
    foreign = [] if has_pyav() else [path for path in found if path.suffix.lower() in FOREIGN_ENDINGS]
    if foreign:
        kinds = ", ".join(sorted({path.suffix.lower() for path in foreign}))
        count, were = ("1 file of a kind", "was") if len(foreign) == 1 else (f"{len(foreign)} files of kinds", "were")
        advice = f"`pip install -e '.[formats]'`, or convert: `{conversion(foreign[0])}`"
        warnings.warn(f"{folder}: {count} that cannot be read {were} passed over: {kinds}; {advice}.", stacklevel=2)
    return sorted(set(found) - set(foreign))


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


def _matched(folder: Path, pattern: str) -> tuple[list[tuple[Path, re.Match]], list[Path]]:
    """Sound files below a folder whose name without ending matches a pattern, with the match; and the others.

    Folders' names are looked at where the pattern holds a "/".
    """
    whole = re.compile(rf"(?:.*/)?(?:{pattern})", re.DOTALL)
    matches = {path: whole.fullmatch(path.relative_to(folder).with_suffix("").as_posix()) for path in audio_files(folder)}
    return [(path, match) for path, match in matches.items() if match], [path for path in matches if not matches[path]]


def parse(known: Corpus, folder: Path, labels: str = "filename") -> tuple[list[dict], list[tuple[str, str]]]:
    """Parse a folder of a known corpus: by its card's `names`, or by a parser of its own.

    Returns rows of a clips table without duration and rate, and path and reason of files that are left out. A recording
    that is there several times is taken once, with a warning.

    Raises SerError if a name or a table holds an unknown emotion, something is missing, or two recordings have one name.
    """
    if known.names:
        rows, others = _parse_names(known, known.names, folder)
    else:
        rows, others = _PARSERS[known.name](folder, labels)
    return _once(known, rows), others


def _parse_names(known: Corpus, names: Names, folder: Path) -> tuple[list[dict], list[tuple[str, str]]]:
    genders = {code: gender for gender, codes in names.gender.items() for code in codes}
    found, others = _matched(folder, names.pattern)
    rows = []
    for path, match in found:
        said = match.groupdict()
        speaker, text = names.speaker.get(said["speaker"], said["speaker"]), said.get("text")
        rows.append({
            "clip": said.get("clip", path.stem).replace("/", "_"), "path": str(path), "speaker": speaker,
            "emotion": _emotion(names.emotion, said["emotion"], path),
            "gender": genders.get(said.get("gender", speaker)), "text": names.text.get(str(text), text),
        })  # fmt: skip
    left_out = names.left_out.items()
    kinds = {path: kind for path in others for pattern, kind in left_out if re.fullmatch(pattern, path.stem)}
    if kinds:
        counts = " and ".join(f"{count} of {kind}" for kind, count in Counter(kinds.values()).items())
        warnings.warn(f"{known.title}: files left out that belong to another part of it: {counts}.", stacklevel=4)
    return rows, [(str(path), _STRANGER) for path in others if path not in kinds]


def _once(known: Corpus, rows: list[dict]) -> list[dict]:
    """Keep one row of each clip: archives hold recordings twice, in two folders or in two formats."""
    kept: dict[str, dict] = {}
    copies = []
    # Formats come in the order of their endings: those without loss first.
    for row in sorted(rows, key=lambda row: _ENDINGS.index(Path(row["path"]).suffix.lower())):
        first = kept.setdefault(row["clip"], row)
        if first is row:
            continue
        path, other = Path(row["path"]), Path(first["path"])
        if path.suffix.lower() == other.suffix.lower() and not filecmp.cmp(path, other, shallow=False):
            raise SerError(f"{known.title}: {other} and {path} are two recordings of one name: keep the right one.")
        copies.append(path.name)
    if copies:
        said = f"{len(copies)} copies of recordings that are there already are skipped: {listed(copies)}"
        warnings.warn(f"{known.title}: {said}.", stacklevel=4)
    return list(kept.values())


def shemo_labels(folder: Path) -> dict[str, dict[str, str]]:
    """Read every set of labels of ShEMO that is there: set → clip → emotion; JSONs also name clips without a file.

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

    rows, missing = [], []
    found, others = _matched(folder, r"([FM]\d\d)([A-Z])\d\d")
    for path, match in found:
        speaker, code = match.groups()
        emotion = _emotion(_SHEMO_CODES, code, path)
        entry = (entries or {}).get(path.stem, {})
        if wanted and not entry:  # 162 of the 3000 file names are not in shemo.json
            missing.append((str(path), f"not in {wanted}"))
            continue
        if wanted:
            emotion = _known_emotion(entry.get("emotion"), f"{path.stem} in {wanted}")
        row = {"clip": path.stem, "path": str(path), "speaker": speaker, "emotion": emotion}
        rows.append({**row, "gender": "female" if speaker[0] == "F" else "male", "text": entry.get("transcript")})
    return rows, [(str(path), _STRANGER) for path in others] + missing


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


#: Parsers of the corpora whose file names do not say all; see `parse` for what they return.
_PARSERS = {"demo": _parse_shemo, "shemo": _parse_shemo, "nemo": _parse_nemo}
