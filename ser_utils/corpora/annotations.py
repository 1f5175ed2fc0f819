"""Annotation files of ELAN and Praat beside recordings: every labelled interval is a clip."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ser_utils import SerError, listed
from ser_utils.corpora.labels import label_map
from ser_utils.corpora.lists import rows_of
from ser_utils.corpora.parsers import audio_files
from ser_utils.corpora.table import clips_of
from ser_utils.corpora.text_tables import codec_of

if TYPE_CHECKING:
    import pandas as pd

#: Name of a tier, who speaks in it where the file says so, and its intervals: start, end [s] and label.
Tier = tuple[str, str, list[tuple[float, float, str]]]


def from_annotations(
    folder: str | Path, tier: str | Sequence[str] | None = None, *, speaker: str = "file",
    labels: Mapping[str, str | None] | str | Path | None = None,
) -> pd.DataFrame:  # fmt: skip
    """Make a clips table of the labelled intervals in ELAN's .eaf and Praat's .TextGrid files.

    Each annotation file lies beside its recording and has its name. Time that intervals share is speech of two people: they
    are left out, and so are intervals without a label; a note counts both. `to_csv` of the result makes a table for `load`.

    Parameters
    ----------
    folder : str or Path
        Searched with all folders below.
    tier : str or sequence of str, optional
        Tiers with labels of emotions; all tiers that hold intervals by default.
    speaker : str
        "file": one person in each recording, called like it; "tier": one in each tier, called as ELAN's participant or else
        the tier; or a regular expression whose first group, found in the recording's path, is the speaker.
    labels : mapping or path, optional
        A map of labels, as for `load`.

    Returns
    -------
    DataFrame
        As from `load`, with `start` and `end`.

    Raises
    ------
    SerError
        If pympi-ling is not installed, a file cannot be read or lacks a tier, or the table is unusable.
    """
    import pandas as pd

    try:
        import pympi  # noqa: F401
    except ImportError:
        raise SerError("annotation files need pympi-ling: run `pip install -e '.[annotations]'` in the checkout.") from None
    folder = Path(folder).expanduser()
    recordings = {path.with_suffix(""): path for path in audio_files(folder)}
    files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in (".eaf", ".textgrid") and path.name[0] != ".")
    if not files:
        raise SerError(f"No annotation files in {folder}: expected .eaf or .TextGrid files beside recordings of their names.")
    left: Counter[str] = Counter()
    rows, skipped = [], []
    for file in files:
        recording = recordings.get(file.with_suffix(""))
        if recording is None:
            skipped.append((str(file), "no recording of its name"))
            continue
        for start, end, text, who in _alone(_chosen(file, tier), left):
            line = f"{file.relative_to(folder)} at {start:g} s"
            name = {"file": recording.stem, "tier": who}.get(speaker) or _found(speaker, recording)
            rows.append({"line": line, "path": str(recording), "start": str(start), "end": str(end), "emotion": text, "speaker": name})
    columns = ["line", "path", "start", "end", "emotion", "speaker"]
    frame = pd.DataFrame(rows, columns=columns).set_index("line")
    parsed, notes = rows_of(frame, folder, folder, label_map(labels or {}))
    if dropped := [f"{count} {reason}" for reason, count in left.items() if count]:
        notes.append(f"intervals left out: {', '.join(dropped)}")
    return clips_of(parsed, skipped, notes, folder.name, str(folder), "labelled intervals")


def _found(pattern: str, recording: Path) -> str:
    match = re.search(pattern, str(recording))
    if match is None or not match.groups():
        raise SerError(f"speaker='{pattern}' is neither file nor tier, and finds no group in {recording}.")
    return match[1]


def _chosen(file: Path, wanted: str | Sequence[str] | None) -> list[Tier]:
    """The tiers of a file that are asked for; SerError if one is not there, or it cannot be read."""
    try:
        tiers = list(_elan(file) if file.suffix.lower() == ".eaf" else _praat(file))
    except Exception as error:  # noqa: BLE001 - pympi raises what its parsing happens to meet
        raise SerError(f"{file} cannot be read as an annotation file: {' '.join(str(error).split())}.") from error
    if wanted is None:
        return tiers
    names = [wanted] if isinstance(wanted, str) else list(wanted)
    if lacking := set(names) - {name for name, _, _ in tiers}:
        has = listed((name for name, _, _ in tiers), shown=20)
        raise SerError(f"{file} has no tier {', '.join(sorted(lacking))}; it has {has}.")
    return [found for found in tiers if found[0] in names]


def _elan(file: Path) -> Iterable[Tier]:
    from pympi import Eaf

    document = Eaf(str(file), suppress_version_warning=True)
    for name in document.get_tier_names():
        found = [row[:3] for row in document.get_annotation_data_for_tier(name)]
        who = document.get_parameters_for_tier(name).get("PARTICIPANT") or name
        yield name, who, [(start / 1000, end / 1000, text or "") for start, end, text in found]


def _praat(file: Path) -> Iterable[Tier]:
    from pympi import TextGrid

    for tier in TextGrid(str(file), codec=codec_of(file.read_bytes())).get_tiers():
        if tier.tier_type == "IntervalTier":
            yield tier.name, tier.name, list(tier.intervals)


def _alone(tiers: list[Tier], left: Counter[str]) -> list[tuple[float, float, str, str]]:
    """Labelled intervals (start, end, label, speaker) that share no time with another one; `left` counts the others."""
    found = sorted((start, end, text, who) for _, who, intervals in tiers for start, end, text in intervals if text.strip())
    left["without a label"] += sum(len(intervals) for _, _, intervals in tiers) - len(found)
    alone, until = [], 0.0
    for i, row in enumerate(found):
        if row[0] >= until and (i + 1 == len(found) or row[1] <= found[i + 1][0]):
            alone.append(row)
        until = max(until, row[1])
    left["that overlap with others"] += len(found) - len(alone)
    return alone
