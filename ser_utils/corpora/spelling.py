"""One text written in several ways: Unicode forms, invisible marks, letters that look alike."""

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable

#: Letters that look like others: Arabic ones as Persian and Urdu keyboards write them, Cyrillic and Greek ones as Latin.
_ALIKE = {
    ord(letter): plain
    for plain, letters in {
        "ی": "يىێ", "ک": "ك", "ه": "ةہھۃ", "a": "аα", "b": "в", "c": "с", "d": "đԁ", "e": "е", "h": "нһ", "i": "ıіι",
        "j": "ј", "k": "кκ", "l": "ł", "m": "м", "o": "оοø", "p": "рρ", "q": "ԛ", "s": "ѕ", "t": "тτ", "u": "υ",
        "v": "ν", "w": "ԝ", "x": "хχ", "y": "у",
    }.items()
    for letter in letters
}  # fmt: skip


def cleaned(text: str) -> str:
    """Remove what cannot be seen: blanks at the ends, repeated ones, invisible marks; in Unicode's composed form (NFC).

    >>> cleaned("\\u200f  S\\u0301 1\\ufeff ")
    'Ś 1'
    """
    visible = "".join(letter for letter in text if unicodedata.category(letter) not in ("Cf", "Cc") or letter.isspace())
    return " ".join(unicodedata.normalize("NFC", visible).split())


def skeleton(text: str) -> str:
    """What is left of a text without case, accents, kinds of digits, and with one of the letters that look alike.

    Texts with equal skeletons differ for programs and hardly for people.

    >>> skeleton("Łódź.WAV") == skeleton("łódz.wav"), skeleton("كتاب") == skeleton("کتاب"), skeleton("۱۲")
    (True, True, '12')
    """
    wide = unicodedata.normalize("NFKD", cleaned(text).casefold())
    letters = (letter for letter in wide if not unicodedata.combining(letter))
    return "".join(str(unicodedata.digit(letter, letter)) for letter in letters).translate(_ALIKE)


def speaker_key(name: str) -> str:
    """Skeleton of a speaker's id, without leading zeros of numbers and a `.0` of whole ones.

    >>> speaker_key("S01"), speaker_key("s1.0")
    ('s1', 's1')
    """
    key = re.sub(r"(?<=\d)\.0+$", "", skeleton(name))
    return re.sub(r"(?<!\d)0+(?=\d)", "", key)


def alike_speakers(names: Iterable[str]) -> str:
    """Name ids of speakers that may be one id in several spellings (see `speaker_key`), in one line; "" without any.

    >>> alike_speakers(["Ali", "ali", "ali", "Eva"])
    "speakers that may be one: 'Ali' (1 clip) and 'ali' (2 clips); write each id in one way, or a person is on both sides"
    """
    counts, spellings = Counter(names), defaultdict(list)
    for name in sorted(counts):
        spellings[speaker_key(name)].append(f"'{name}' ({counts[name]} clip{'s' * (counts[name] > 1)})")
    groups = "; ".join(" and ".join(group) for group in spellings.values() if len(group) > 1)
    return groups and f"speakers that may be one: {groups}; write each id in one way, or a person is on both sides"
