"""A reader's own list of recordings: one row of a text table per recording."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from ser_utils import EMOTIONS, SerError, listed
from ser_utils.corpora import places
from ser_utils.corpora.labels import WORDS, canonical_emotion, translate
from ser_utils.corpora.parsers import gender_of
from ser_utils.corpora.spelling import cleaned, skeleton
from ser_utils.corpora.stretches import MISSING, at, seconds
from ser_utils.corpora.text_tables import read_table
from ser_utils.corpora.votes import VOTES, majority, votes_of

if TYPE_CHECKING:
    import pandas as pd

#: Columns that a list must have.
NEEDED = ("path", "emotion", "speaker")
#: Other names of the columns of a list → the names that they have here.
SYNONYMS = {name: column for column, names in WORDS["columns"].items() for name in names.split()}
# Columns that may mark stretches, in a unit or form that is not known.
_POSITION = re.compile(r"(start|end|begin|stop|onset|offset)(_.*)?")


def parse_list(table: Path, labels: Mapping[str, str]) -> tuple[list[dict], list[tuple[str, str]], list[str]]:
    """Parse a list of recordings; returns rows and skipped files as `parsers.parse`, and what to say of it.

    The table has the columns `path` (relative to its folder), `emotion`, `speaker`, and optionally `clip`, `gender`, `text`,
    `start`, `end`; or their synonyms. `votes_<emotion>` or `rater_1`, … may take the place of `emotion`. `labels` says what
    labels stand for, beside the usual ones; "" leaves their clips out.

    Raises SerError if the table, a column or a recording is missing, or an emotion or a speaker is empty.
    """
    if not table.is_file():
        raise SerError(f"No file {table}: check the path of the table.")

    def fits(frame):
        known = frame.get("emotion", frame["path"]).map(canonical_emotion).notna().sum()
        return sum((table.parent / path).is_file() for path in frame["path"]) + known

    frame, notes = read_table(table, NEEDED, SYNONYMS, fits=fits, instead={"emotion": VOTES})
    for name in frame.columns:
        if name not in ("start", "end") and _POSITION.fullmatch(name):
            raise SerError(f"{table}: the column {name} may mark stretches: call it start or end, in seconds, or leave it out.")
    rows, said = rows_of(frame, table, table.parent, labels)
    return rows, [], notes + said


def rows_of(
    frame: pd.DataFrame, table: object, folder: Path, labels: Mapping[str, str]
) -> tuple[list[dict], list[str]]:
    """Turn a table of texts into rows of a clips table, without durations, and what to say of it.

    `frame` has the columns that `parse_list` names and lines as index; `table` is what it is called, `folder` where
    relative paths begin. Raises SerError as `parse_list` does.
    """
    entries = frame.to_dict("records")
    listings: places.Listings = {}
    found = [places.find(entry["path"], folder, listings) for entry in entries]
    if missing := [entry["path"] for entry, path in zip(entries, found, strict=True) if path is None]:
        first = os.path.abspath(folder / missing[0].strip())
        raise SerError(
            f"{table} names {len(missing)} files that do not exist, the first is {first}: "
            f"{places.near(missing[0], folder, listings)}; paths are relative to the table's folder."
        )
    paths = [path for path in found if path is not None]
    # Stems make short clip ids; where two folders use the same ones, the paths tell them apart.
    stems = [path.stem for path in paths]
    if len(set(stems)) < len(set(paths)):
        names, home = [path.with_suffix("") for path in paths], Path(os.path.abspath(folder))
        stems = [str(name.relative_to(home) if name.is_relative_to(home) else name) for name in names]
    votes, said = votes_of(frame, table, labels)
    if votes is None:
        unmapped = frame["emotion"][~frame["emotion"].map(cleaned).isin(labels)]
        _refuse_missing(unmapped, table, f"give one of {', '.join(EMOTIONS)}, a name of your own, or a map by labels=")
        mapped, said = translate(frame["emotion"], labels)
        emotions = frame["emotion"].map(mapped)
    else:
        emotions, left = majority(votes)
        said += left
    _refuse_missing(frame["speaker"][emotions != ""], table, "name each person, since folds are made by speaker, or leave the rows out")
    rows = []
    voted = [{}] * len(entries) if votes is None else votes.add_prefix("votes_").to_dict("records")
    for number, entry, path, stem, emotion, own in zip(frame.index, entries, paths, stems, emotions, voted, strict=True):
        if not emotion:  # left out by the map of labels or by votes
            continue
        row = {"line": number, "path": str(path), "speaker": cleaned(entry["speaker"]), "emotion": emotion}
        row |= _stretch(entry, number, table) | own
        if row.get("start") is not None or row.get("end") is not None:
            stem = f"{stem}_{round(1000 * (row['start'] or 0))}"
        row["clip"] = entry.get("clip", "").strip() or stem
        rows.append({**row, "gender": gender_of(entry.get("gender", "")), "text": entry.get("text") or None})
    genders = {cleaned(entry.get("gender", "")) for entry in entries}
    if unknown := sorted(word for word in genders if not gender_of(word) and skeleton(word) not in MISSING):
        said = [*said, f"genders other than female and male are left empty: {listed(map(repr, unknown))}"]
    return rows, said


def _stretch(entry: Mapping[str, str], line: object, table: object) -> dict[str, float | None]:
    """`start` and `end` of a row [s], None where nothing is given; nothing if the table has neither column."""
    if "start" not in entry and "end" not in entry:
        return {}
    found: dict[str, float | None] = {"start": None, "end": None}
    for name in ("start", "end" if "end" in entry else "duration"):
        try:
            found[name] = seconds(entry.get(name, ""))
        except ValueError:
            advice = "give seconds, or a time span such as 0 days 00:00:01.5"
            raise SerError(f"{at(table, [line])}: the {name} '{cleaned(entry[name])}' is no time: {advice}.") from None
    if (duration := found.pop("duration", None)) is not None:
        found["end"] = (found["start"] or 0) + duration
    return found


def _refuse_missing(values: pd.Series, table: object, advice: str) -> None:
    """Raise SerError that names the lines in which a column holds nothing, or a word for it."""
    missing = values[values.map(lambda value: skeleton(value) in MISSING)]
    if len(missing):
        written = " or ".join(f"'{value}'" for value in sorted(set(map(cleaned, missing))))
        raise SerError(f"{at(table, missing.index)}: the {values.name} is empty or not known ({written}): {advice}.")
