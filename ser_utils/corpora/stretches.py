"""Rows of a list that are stretches of a file: where they begin and end, and whether two of them share sound."""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from ser_utils import SerError, digest, listed
from ser_utils.corpora.decoding import examine
from ser_utils.corpora.spelling import cleaned, skeleton

#: What programs and people write where nothing is known.
MISSING = {"", "nan", "none", "null", "nil", "na", "n/a", "#n/a", "<na>", "nat", "unknown", "unk", "?", "??", "-", "--", "xxx"}


def at(table: object, lines: Iterable[object]) -> str:
    """Name lines of a table for a message; a line may have a name of its own instead of a number.

    >>> at("my.csv", [3]), at("my.csv", [3, 5]), at("talks", ["a.eaf at 1.5 s"])
    ('my.csv, line 3', 'my.csv, lines 3, 5', 'talks, a.eaf at 1.5 s')
    """
    lines = list(lines)
    word = f"line{'s' * (len(lines) > 1)} " if isinstance(lines[0], int) else ""
    return f"{table}, {word}{listed(lines)}"


def seconds(text: str) -> float | None:
    """Read a time: seconds, or a time span as pandas writes it; None where nothing is given.

    Raises ValueError if it is something else.

    >>> seconds("1,5"), seconds("0 days 00:01:01.5"), seconds("NaT")
    (1.5, 61.5, None)
    """
    import pandas as pd

    plain = cleaned(text).replace(",", ".")
    if skeleton(plain) in MISSING:
        return None
    try:
        value = float(plain)
    except ValueError:
        value = pd.Timedelta(plain).total_seconds()
    if not math.isfinite(value):
        raise ValueError(text)
    return value


def placed(row: dict, frames: int, rate: int, table: object) -> dict:
    """Give a row of a list its `duration` and, where it is a stretch, `start` and `end` in whole samples [s].

    The file has `frames` samples at `rate` Hz. Raises SerError if the stretch is empty, reversed, or beyond the file.
    """
    if "start" not in row:
        return row | {"duration": frames / rate}
    name, length = Path(row["path"]).name, frames / rate
    start, end = row["start"] or 0.0, length if row["end"] is None else row["end"]
    first, stop = round(start * rate), round(end * rate)
    where = f"{at(table, [row['line']])}: start {start:g} s, end {end:g} s"
    # Times are rounded to hundredths in some tables, so an end may lie behind the last sample.
    if stop > frames + rate / 200 or (first >= frames and first > 0):
        cut = "; where the files are cut already, leave out the columns start and end"
        raise SerError(f"{where}, but {name} lasts {length:g} s: give seconds within the file{cut}.")
    if first < 0 or first >= stop:
        raise SerError(f"{where}: a stretch of {name} starts at 0 s or later and ends after its start.")
    stop = min(stop, frames)
    return row | {"start": first / rate, "end": stop / rate, "duration": (stop - first) / rate}


def refuse_shared_sound(rows: list[dict], table: object) -> None:
    """Raise SerError if two stretches of a file or of its exact copies overlap, or differ in emotion or speaker."""
    copy_of, last = _copies({row["path"] for row in rows}), ("", 0.0, 0.0, -1)
    spans = [(copy_of.get(row["path"], row["path"]), row.get("start", 0.0), row["duration"], i) for i, row in enumerate(rows)]
    for file, start, duration, i in sorted(spans):
        if file == last[0] and start < last[2] - 1e-9:
            one, two = (rows[k] for k in sorted([last[3], i]))
            differ = [f"two {what}s ({one[what]}, {two[what]})" for what in ("emotion", "speaker") if one[what] != two[what]]
            if differ or (one["path"] == two["path"] and "start" in one):
                raise SerError(_shared(one, two, table, " with " * bool(differ) + " and ".join(differ)))
        if file != last[0] or start + duration > last[2]:
            last = (file, start, start + duration, i)


def _shared(one: dict, two: dict, table: object, differ: str) -> str:
    where, name = at(table, [one["line"], two["line"]]), Path(one["path"]).name
    if one["path"] != two["path"]:
        return f"{where}: {one['path']} and {two['path']} hold the same sound{differ}: keep the right one."
    if "start" not in one:
        return f"{where}: {name} is listed more than once{differ}: keep the right row, or give stretches by start and end."
    spans = " and ".join(f"{row['start']:g} to {row['end']:g} s" for row in (one, two))
    return f"{where}: {spans} of {name} overlap{differ}: keep the right one, or move its start or end."


def _copies(paths: set[str]) -> dict[str, str]:
    """Path → the first path with the same content; files without sound (all samples equal) are no copies."""
    sizes = Counter(map(os.path.getsize, paths))
    first: dict[str, str] = {}
    found: dict[str, str] = {}
    for path in sorted(paths):
        if sizes[os.path.getsize(path)] > 1 and (one := first.setdefault(digest(Path(path)), path)) != path:
            if not _silent(path):
                found[path] = one
    return found


def _silent(path: str) -> bool:
    with suppress(SerError):
        return all((block == block[0]).all() for block in examine(path).blocks())
    return False
