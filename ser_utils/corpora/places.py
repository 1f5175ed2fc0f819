"""Files that a table names in another way than the disk: other separators, Unicode forms, endings, letters."""

from __future__ import annotations

import difflib
import os
import re
from collections import defaultdict
from pathlib import Path

from ser_utils.corpora.spelling import cleaned, skeleton

#: Folder → names in it by what they are compared by.
Listings = dict[str, dict[str, list[str]]]


def find(text: str, folder: Path, listings: Listings) -> Path | None:
    """Find the file that a table names; None if there is none.

    A path is taken as it stands if it exists. Else backslashes are separators, `~` is the home folder, and a name may differ
    in Unicode form, in invisible marks and in capitals, where only one file fits. A relative path begins in `folder`;
    `listings` is filled with what is in folders that were looked at.
    """
    path = os.path.abspath(folder / text.strip())
    if os.path.isfile(path):
        return Path(path)
    place, rest = _walked(text, folder, listings)
    return Path(place) if not rest and os.path.isfile(place) else None


def near(text: str, folder: Path, listings: Listings) -> str:
    """Say of a file that was not found what is there instead, or why it cannot be there; arguments as for `find`."""
    if re.match(r"\w{2,}://", text):
        return "it is an address: download the file"
    place, rest = _walked(text, folder, listings)
    if not rest:
        return f"{place} is a folder"
    if re.match(r"[A-Za-z]:[\\/]", text):
        return "it is a path of another computer"
    names = {skeleton(Path(name).stem): name for alike in listings[place].values() for name in alike}
    close = difflib.get_close_matches(skeleton(Path(rest[0]).stem), names, 1, 0.8)
    return f"is {os.path.join(place, names[close[0]])} meant?" if close else f"there is no '{cleaned(rest[0])}' in {place}"


def _walked(text: str, folder: Path, listings: Listings) -> tuple[str, list[str]]:
    """Follow a path as far as names can be told: the place reached, and the names that are left."""
    place = os.path.abspath(folder / os.path.expanduser(text.strip().replace("\\", "/")))
    rest: list[str] = []
    while not os.path.exists(place):
        place, name = os.path.split(place)
        rest.insert(0, name)
    while rest:
        if place not in listings:
            listings[place] = defaultdict(list)
            for name in os.listdir(place) if os.path.isdir(place) else ():
                listings[place][_key(name)].append(name)
        fitting = listings[place].get(_key(rest[0]), [])
        if len(fitting) != 1:
            break
        place, rest = os.path.join(place, fitting[0]), rest[1:]
    return place, rest


def _key(name: str) -> str:
    return cleaned(name).casefold()
