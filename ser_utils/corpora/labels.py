"""Labels of emotions: codes of well-known corpora and words of several languages, and the canonical names they stand for."""

from __future__ import annotations

import csv
import difflib
import io
import tomllib
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path

from ser_utils import COLUMN_NAMES, EMOTIONS, SerError
from ser_utils.corpora.spelling import cleaned, skeleton
from ser_utils.corpora.text_tables import decoded

#: Words for emotions, sets of codes, and names of columns.
WORDS = tomllib.loads(Path(__file__).with_name("words.toml").read_text(encoding="utf-8"))
_HEADS = {"label", "labels", "name", "from", "code", "original", "class"}


def _key(label: str) -> str:
    # German's umlauts are often spelled out, as in "Ueberraschung".
    plain = skeleton(label).replace("ue", "u").replace("ae", "a").replace("oe", "o")
    return "".join(letter for letter in plain if letter not in " _-'’.")


_EMOTION_OF = {_key(word): emotion for emotion, words in WORDS["emotions"].items() for word in words.split()}


def canonical_emotion(name: str) -> str | None:
    """Canonical name of an emotion, or None if it is not known.

    >>> canonical_emotion(" Angry "), canonical_emotion("Überraschung"), canonical_emotion("envy")
    ('anger', 'surprise', None)
    """
    return _EMOTION_OF.get(_key(name))


def translate(labels: Iterable[str], own: Mapping[str, str]) -> tuple[dict[str, str], list[str]]:
    """Find the emotion that each label of a corpus stands for; `own`, from `label_map`, wins.

    Returns label → emotion, and notes for people. A label that stands for no canonical emotion is a class of its own, in
    lower case; "" leaves the clip out. Raises SerError if a class would be called like a column of a table.
    """
    counts = Counter(labels)
    given = {_key(label): emotion for label, emotion in own.items()}
    rest = {label for label in counts if _key(label) not in given}
    codes, note = _code_set(rest)
    found = {}
    for label in counts:
        plain = cleaned(label)
        emotion = given[_key(label)] if label not in rest else codes.get(plain.lower()) or canonical_emotion(label)
        found[label] = plain.lower() if emotion is None else emotion
        if found[label] in COLUMN_NAMES:
            raise SerError(f"the emotion '{plain}' is called like a column of a table: give it another name, by labels=.")
    notes = [note] if note else []
    if dropped := [f"{cleaned(label)} ({counts[label]})" for label in sorted(counts) if not found[label]]:
        notes.append(f"left out by labels=: {', '.join(dropped)}")
    if changed := [label for label in sorted(counts) if found[label] not in (label, cleaned(label).lower(), "")]:
        notes.append("labels: " + ", ".join(f"{cleaned(label)} → {found[label]}" for label in changed))
    strange: Counter[str] = Counter()
    for label, emotion in found.items():
        strange[emotion] += counts[label] * (emotion not in EMOTIONS and emotion != "")
    if kept := [f"{emotion} ({count}{_meant(emotion)})" for emotion, count in sorted(strange.items()) if count]:
        notes.append(f"classes of their own: {', '.join(kept)}; labels= maps them to others")
    return found, notes


def _code_set(labels: set[str]) -> tuple[dict[str, str], str]:
    """The one set of codes that these labels come from, if they are codes; and what to say of it."""
    codes = {cleaned(label).lower() for label in labels}
    known = {name: codes_of for name, codes_of in WORDS["codes"].items() if codes and codes <= set(codes_of)}
    meanings = {tuple(codes_of[code] for code in sorted(codes)) for codes_of in known.values()}
    if len(meanings) == 1:
        return next(iter(known.values())), f"labels are read as the codes of {' and '.join(known)}"
    return {}, f"labels may be the codes of {' or '.join(known)}, so they are left as they are" if known else ""


def _meant(emotion: str) -> str:
    near = difflib.get_close_matches(emotion, EMOTIONS, 1, 0.8)
    return f", is {near[0]} meant?" if near else ""


def label_map(labels: Mapping[str, str | None] | str | Path) -> dict[str, str]:
    """Read a map of labels: a mapping, or the path of a text table with two columns, the label and what it stands for.

    An emotion that is empty or None leaves the clips of that label out. Names of emotions may be any that are known.
    Raises SerError if there is no such file, or a line does not have two fields.
    """
    if isinstance(labels, Mapping):
        pairs = [(str(label), emotion or "") for label, emotion in labels.items()]
    else:
        path = Path(labels).expanduser()
        if not path.is_file():
            raise SerError(f"No file {path}: labels= takes a table of two columns, the label and the emotion.")
        text = decoded(path)
        mark = max(",;\t", key=text.count)
        rows = [[cleaned(field) for field in row] for row in csv.reader(io.StringIO(text, newline=""), delimiter=mark) if row]
        if wrong := [row for row in rows if len(row) != 2]:
            raise SerError(f"{path}: '{mark.join(wrong[0])}' is not a label and an emotion, such as 'frustrated{mark}anger'.")
        pairs = [(row[0], row[1]) for row in rows if row[0].lower() not in _HEADS or row is not rows[0]]
    return {label: canonical_emotion(emotion) or cleaned(emotion).lower() for label, emotion in pairs}
