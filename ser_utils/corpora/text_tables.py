"""Tables as people have them: any separator, any encoding, any usual name of a column."""

from __future__ import annotations

import codecs
import csv
import io
import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from ser_utils import SerError
from ser_utils.corpora.spelling import cleaned

if TYPE_CHECKING:
    import pandas as pd

_MARKS = {
    codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF32_LE: "utf-32", codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16",
}  # fmt: skip
# Spreadsheets on Windows save in the code page of the computer's language: Western, Turkish, Central European, Arabic
# and Persian, Cyrillic, Greek, Hebrew, Baltic.
_CODE_PAGES = ("cp1252", "cp1254", "cp1250", "cp1256", "cp1251", "cp1253", "cp1255", "cp1257")
_OTHER_FILES = {b"PK\x03\x04": "a workbook or a zip file", b"\xd0\xcf\x11\xe0": "an old Excel workbook", b"RIFF": "a sound file",
                b"PAR1": "a Parquet file"}  # fmt: skip


def read_table(
    table: Path, needed: Sequence[str], synonyms: Mapping[str, str] | None = None, *,
    fits: Callable[[pd.DataFrame], int] = len, instead: Mapping[str, str] | None = None,
) -> tuple[pd.DataFrame, list[str]]:  # fmt: skip
    """Read a text table of any usual form: one row of texts per line, with its number as index; and notes for people.

    Separators are commas, semicolons, tabs or bars, or what a first line `sep=…` says; the encoding is UTF-8, UTF-16 or a
    Windows code page. Lines before the header that are empty or begin with # are passed over, and so are empty rows.

    `needed` columns must be there, under their names or the lower-case `synonyms`; one may lack where a column matches its
    pattern in `instead`. Of several code pages the one is taken whose table gets the highest number by `fits`.

    Raises SerError if the file is no table, lacks a column or has it twice, or a line and the header differ in fields.
    """
    content = table.read_bytes()
    for mark, kind in _OTHER_FILES.items():
        if content.startswith(mark):
            raise SerError(f"{table} cannot be read as a table: it is {kind}; save it as CSV (UTF-8).")
    readings = _readings(content, table)
    codec, text = next(iter(readings.items()))
    if codec.startswith("utf"):
        return _parse(text, table, needed, synonyms or {}, instead or {})
    found = {page: _parse(text, table, needed, synonyms or {}, instead or {}) for page, text in readings.items()}

    def rank(page: str) -> tuple[int, int]:
        frame = found[page][0]
        telling = [line for line, row in zip(frame.index, frame.to_numpy(), strict=True) if not "".join(row).isascii()]
        return fits(frame.loc[telling]), -_oddities(readings[page])

    page = max(found, key=rank)
    frame, notes = found[page]
    return frame, [f"{table.name} is not in UTF-8 and was read as {page.replace('cp', 'Windows-')}", *notes]


def decoded(table: Path) -> str:
    """Content of a text file in UTF-8, UTF-16 or the Windows code page that makes the most usual words of it."""
    return min(_readings(table.read_bytes(), table).values(), key=_oddities)


def _readings(content: bytes, table: Path) -> dict[str, str]:
    """The text by encoding: in one that is certain, else in every Windows code page that has these bytes."""
    with suppress(UnicodeDecodeError):
        codec = codec_of(content)
        return {codec: content.decode(codec)}
    readings = {}
    for page in _CODE_PAGES:
        with suppress(UnicodeDecodeError):
            readings[page] = content.decode(page)
    if not readings:
        raise SerError(f"{table} cannot be read as a table: its encoding is not known; save it as CSV (UTF-8).")
    return readings


def codec_of(content: bytes) -> str:
    """UTF-8, UTF-16 or UTF-32 by the mark at the beginning, or by every second byte being zero."""
    for mark, codec in _MARKS.items():
        if content.startswith(mark):
            return codec
    even, odd = content[:1000:2].count(0), content[1:1000:2].count(0)
    if max(even, odd) > len(content[:1000]) / 5 and min(even, odd) == 0:
        return "utf-16-be" if even else "utf-16-le"
    return "utf-8"


def _oddities(text: str) -> int:
    """Count what a wrong code page makes of words: symbols, two alphabets or a capital within a word, accents in a row."""
    count = 0
    for one, two in pairwise(text):
        if one.isascii() and two.isascii():
            continue
        if one.isalpha() and two.isalpha():
            scripts = [unicodedata.name(letter, "?").split()[0] for letter in (one, two)]
            accents = scripts == ["LATIN", "LATIN"] and not one.isascii() and not two.isascii()
            # Icelandic letters, rare, stand in the Western page where Turkish ones stand in the Turkish page.
            count += scripts[0] != scripts[1] or accents or two in "þýðÞÝÐ" or (one.islower() and two.isupper())
        elif not two.isascii() and unicodedata.category(two)[0] in "SCNP":
            count += 1
    return count


def _parse(
    text: str, table: Path, needed: Sequence[str], synonyms: Mapping[str, str], instead: Mapping[str, str]
) -> tuple[pd.DataFrame, list[str]]:
    import pandas as pd

    if "\0" in text:
        raise SerError(f"{table} cannot be read as a table: it holds bytes that are no text; save it as CSV (UTF-8).")
    lines = text.splitlines(keepends=True)
    separator, first = None, 0
    while first < len(lines) and (not lines[first].strip() or lines[first].startswith(("#", "sep="))):
        if lines[first].startswith("sep="):
            separator = lines[first].rstrip("\r\n")[4:5] or None
        first += 1
    if first == len(lines):
        raise SerError(f"{table} cannot be read as a table: it is empty.")

    def named(mark: str) -> tuple[int, int]:
        fields = [_column(name) for name in next(csv.reader([lines[first]], delimiter=mark))]
        return sum(name in needed or name in synonyms for name in fields), len(fields)

    separator = separator or max(",;\t|", key=named)
    reader = csv.reader(io.StringIO("".join(lines[first:]), newline=""), delimiter=separator, strict=True)
    try:
        header = next(reader)
        rows = [(first + reader.line_num, row) for row in reader if any(field.strip() for field in row)]
    except csv.Error as error:
        line = first + reader.line_num
        raise SerError(f"{table} cannot be read as a table: line {line}: {error}; is a quotation mark left open?") from error
    columns, notes = _columns(header, table, needed, synonyms, instead)
    for line, row in rows:
        if len(row) != len(header):
            raise SerError(
                f"{table} cannot be read as a table: line {line} has {len(row)} fields, the header {len(header)} "
                f'({", ".join(map(cleaned, header))}); quote values that hold the separator: "…{separator}…".'
            )
    frame = pd.DataFrame([row for _, row in rows], index=[line for line, _ in rows], columns=range(len(header)), dtype=str)
    return frame[list(columns.values())].set_axis(list(columns), axis=1), notes


def _columns(
    header: list[str], table: Path, needed: Sequence[str], synonyms: Mapping[str, str], instead: Mapping[str, str]
) -> tuple[dict[str, int], list[str]]:
    """Position of each column, by its name here; a name itself comes before its synonyms."""
    names = [_column(name) for name in header]
    found, notes = {}, []
    for wanted in dict.fromkeys([*needed, *synonyms.values()]):
        own = [i for i, name in enumerate(names) if name == wanted]
        other = [i for i, name in enumerate(names) if synonyms.get(name) == wanted]
        if len(places := own or other) > 1:
            several = " and ".join(f"'{cleaned(header[i])}'" for i in places)
            raise SerError(f"{table} has {several}, which may both be the column {wanted}: rename the right one to {wanted}.")
        if places:
            found[wanted] = places[0]
            if not own:
                notes.append(f"'{cleaned(header[places[0]])}' is read as {wanted}")
    made_up = {column for column, pattern in instead.items() if any(re.fullmatch(pattern, name) for name in names)}
    lacking = [name for name in needed if name not in found and name not in made_up]
    if lacking:
        has = ", ".join(map(cleaned, header))
        raise SerError(f"{table} has no column {', '.join(lacking)}; it has {has} (the first line names the columns).")
    spare = {names[i]: i for i in range(len(header)) if i not in found.values() and names[i]}
    return found | {name: i for name, i in spare.items() if name not in found}, notes


def _column(name: str) -> str:
    """Name of a column without capitals, with underscores: "Speaker ID" is `speaker_id`."""
    return cleaned(name).lower().replace(" ", "_").replace("-", "_")
