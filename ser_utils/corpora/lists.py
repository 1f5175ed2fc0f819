"""A reader's own list of recordings: one row of a text table per recording."""

from __future__ import annotations

import os
from pathlib import Path

from ser_utils import EMOTIONS, SerError
from ser_utils.corpora.parsers import canonical_emotion, gender_of
from ser_utils.corpora.text_tables import read_table

#: Columns that a list must have.
NEEDED = ("path", "emotion", "speaker")
_SYNONYMS = {
    "path": "file filename file_name filepath file_path wav wav_file wav_path wavfile audio audio_file audio_filepath "
    "audio_path audiofile sound sound_file recording fname",
    "emotion": "label labels emotion_label emotions emo class category target",
    "speaker": "speaker_id speakerid speaker_name spk spk_id spkid actor actor_id actorid subject subject_id participant "
    "participant_id talker talker_id",
    "clip": "clip_id",
    "gender": "sex",
    "text": "transcript transcription sentence utterance",
}
#: Other names of the columns of a list → the names that they have here.
SYNONYMS = {name: column for column, names in _SYNONYMS.items() for name in names.split()}


def parse_list(table: Path) -> tuple[list[dict], list[tuple[str, str]], list[str]]:
    """Parse a list of recordings; returns rows and skipped files as every parser in `PARSERS`, and what to say of it.

    Parameters
    ----------
    table : Path
        A text table with the columns `path` (relative to the table's folder), `emotion`, `speaker`, and optionally
        `clip`, `gender`, `text`; or their synonyms.

    Raises
    ------
    SerError
        If the table, a column or a recording is missing, an emotion is unknown, or a speaker is empty.
    """
    if not table.is_file():
        raise SerError(f"No file {table}: check the path of the table.")

    def fits(frame):
        return sum((table.parent / row.path).is_file() + bool(canonical_emotion(row.emotion)) for row in frame.itertuples())

    frame, notes = read_table(table, NEEDED, SYNONYMS, fits=fits)
    entries = frame.to_dict("records")
    paths = [Path(os.path.abspath(table.parent / entry["path"].strip())) for entry in entries]
    missing = [str(path) for path in paths if not path.is_file()]
    if missing:
        raise SerError(
            f"{table} names {len(missing)} files that do not exist, the first is {missing[0]}: "
            f"paths are relative to the table's folder."
        )
    # Stems make short clip ids; where two folders use the same ones, the paths as written tell them apart.
    stems = [path.stem for path in paths]
    if len(set(stems)) < len(stems):
        stems = [str(Path(entry["path"].strip()).with_suffix("")) for entry in entries]
    rows = []
    for number, entry, path, stem in zip(frame.index, entries, paths, stems, strict=True):
        emotion, speaker = canonical_emotion(entry["emotion"]), entry["speaker"].strip()
        if emotion is None:
            unknown = f"unknown emotion '{entry['emotion']}', allowed are {', '.join(EMOTIONS)}."
            raise SerError(f"{table}, line {number}: {unknown}")
        if not speaker:
            raise SerError(f"{table}, line {number}: the speaker is empty; folds are made by speaker.")
        row = {"clip": entry.get("clip", "").strip() or stem, "path": str(path), "speaker": speaker, "emotion": emotion}
        rows.append({**row, "gender": gender_of(entry.get("gender", "")), "text": entry.get("text") or None})
    return rows, [], notes
