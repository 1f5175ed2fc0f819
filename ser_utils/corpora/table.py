"""From a folder of recordings, or a reader's own list, to a **clips** table.

A corpus is one card in `cards.toml`, with a parser in `parsers.py` where file names do not say all; reading headers,
checks and messages are shared.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ser_utils import SerError, emotions_among, listed
from ser_utils.corpora.cards import CORPORA, TABLE_ENDINGS, Corpus, card, default_folder, label
from ser_utils.corpora.decoders import Unreadable
from ser_utils.corpora.decoding import examine, survey
from ser_utils.corpora.labels import label_map, translate
from ser_utils.corpora.lists import parse_list
from ser_utils.corpora.parsers import SHEMO_JSON, parse, shemo_labels
from ser_utils.corpora.sound_headers import AUDIO_ENDINGS
from ser_utils.corpora.spelling import alike_speakers
from ser_utils.corpora.stretches import placed, refuse_shared_sound

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = ("clip", "path", "speaker", "emotion", "gender", "text", "duration", "sample_rate")
_LABELS = ("filename", *SHEMO_JSON)


def load(
    corpus: str | Path, data: str | Path | None = None, *,
    labels: str | Path | Mapping[str, str | None] = "filename", strict: bool = False, decode: bool = False,
) -> pd.DataFrame:  # fmt: skip
    """Read a corpus into a clips table.

    Parameters
    ----------
    corpus : str or Path
        A name in `CORPORA`, or the path of a text table (CSV, TSV, …) with columns `path` (relative to the table),
        `emotion`, `speaker` and optionally `clip`, `gender`, `text`, or usual synonyms of them; with `start` and `end`
        (seconds or time spans; empty: from the beginning, to the end) a row is a stretch of a file. Votes, in columns
        `votes_<emotion>` (numbers) or `rater_1`, `rater_2`, … (labels), take the place of `emotion`: the majority is the
        emotion, clips with a tie are left out and counted.
    data : str or Path, optional
        Folder of the recordings; `data/demo` or `data/raw/<name>` of the repository by default; not with a table.
    labels : mapping of str to str, path, or {"filename", "shemo_json", "modified"}
        A map from labels to the emotions that they stand for (None leaves clips out), or the path of a table of two
        columns that holds one; or a set of ShEMO's labels: of the file names, `shemo.json` or `modified_shemo.json`, a file
        in the folder, in `shemo_metadata` beside it, or beside it.
    strict, decode : bool
        Raise instead of warn when a recording cannot be used; decode every recording instead of trusting its header,
        which finds damaged files and the true durations.

    Returns
    -------
    DataFrame
        Columns `clip` (unique), `path`, for stretches `start` and `end` [s], `speaker`, `emotion` (canonical, or a
        corpus's own), `gender` ("female", "male" or None), `text` (or None), `duration` [s], `sample_rate` [Hz, as stored]
        and numbers of votes, sorted by clip. `attrs["skipped"]` lists the paths left out, `attrs["remarks"]` says why, and
        what is odd in other ones, `attrs["corpus"]` holds the label, `attrs["notes"]` lines on how a table was read.

    Raises
    ------
    SerError
        If the corpus is unknown, absent, unreadable or unusable (one speaker, one emotion, …).

    Examples
    --------
    >>> sorted(set(load("demo")["emotion"]))
    ['anger', 'fear', 'happiness', 'neutral', 'sadness', 'surprise']
    """
    known = card(corpus)
    own: dict[str, str] = {}
    if not isinstance(labels, str) or labels.lower().endswith(TABLE_ENDINGS):
        own, labels = label_map(labels), "filename"
    if labels not in _LABELS:
        raise SerError(f"labels='{labels}' is not one of {', '.join(_LABELS)}, nor a table of labels (.csv).")
    if labels != "filename" and known.name != "shemo":
        raise SerError(f"labels='{labels}' exists for shemo only; leave it out for {known.name}.")
    if str(corpus) in CORPORA:
        folder = _folder(known, data)
        rows, skipped = parse(known, folder, labels)
        emotions, notes = translate([row["emotion"] for row in rows], own)
        rows = [{**row, "emotion": emotions[row["emotion"]]} for row in rows if emotions[row["emotion"]]]
        source, expected = str(folder), f"{', '.join(AUDIO_ENDINGS[:3])} files under the corpus's own names"
    else:
        if data is not None:
            raise SerError(f"--data {data} has no effect with a table: paths in {corpus} are relative to its folder; leave it out.")
        rows, skipped, notes = parse_list(Path(corpus).expanduser(), own)
        source, expected = str(corpus), "a row for every recording"
    return clips_of(rows, skipped, notes, label(corpus), source, expected, strict=strict, decode=decode)


def clips_of(
    rows: list[dict], skipped: list[tuple[str, str]], notes: list[str], name: str, source: str, expected: str, *,
    strict: bool = False, decode: bool = False,
) -> pd.DataFrame:  # fmt: skip
    """Open the recordings of a parser's rows, and make the clips table that `load` returns; `strict`, `decode` as there.

    Rows of a list have its `line`, and are compared with each other; `skipped` holds path and reason of files left out,
    `name` and `source` say what the corpus is called and where it is, `expected` what it should hold.

    Raises SerError if no recording can be read, some cannot and `strict` is set, or the table is unusable.
    """
    import pandas as pd

    readable = []
    paths = list(dict.fromkeys(row["path"] for row in rows))
    with ThreadPoolExecutor() as pool:
        looked = dict(zip(paths, pool.map(partial(_looked_at, decode=decode), paths), strict=True))
    for row in rows:
        frames, rate, problem, *_ = looked[row["path"]]
        if problem:
            skipped += [(row["path"], problem)] if (row["path"], problem) not in skipped else []
        else:
            readable.append(placed(row, frames, rate, source) | {"sample_rate": rate})
    if readable and "line" in readable[0]:
        refuse_shared_sound(readable, source)
    if skipped:
        total = len(skipped) + len(readable)
        named = listed(f"{Path(path).name} ({reason})" for path, reason in skipped)
        message = f"{len(skipped)} of {total} recordings left out: {named}."
        if strict:
            raise SerError(f"{message} Remove them, or run without strict.")
        warnings.warn(message, stacklevel=3)
    if odd := {path: remarks for path, (*_, remarks, _) in looked.items() if remarks}:
        named = listed(f"{Path(path).name} ({remarks})" for path, remarks in odd.items())
        message = f"{len(odd)} of {len(looked)} recordings are not as they should be: {named}."
        if strict and any(damage for *_, damage in looked.values()):
            raise SerError(f"{message} Replace or remove the damaged ones, or run without strict.")
        warnings.warn(message, stacklevel=3)
    if not readable:
        raise SerError(f"No readable recordings of {name} in {source}: expected {expected}.")

    stretch, votes = ["start", "end"], [name for name in readable[0] if name.startswith("votes_")]
    columns = [*COLUMNS[:2], *(stretch if "start" in readable[0] else []), *COLUMNS[2:], *votes]
    clips = pd.DataFrame(readable, columns=columns).sort_values("clip", ignore_index=True)
    # Object columns keep None as None; pandas' str type would turn it into NaN.
    clips = clips.astype({"gender": object, "text": object, "sample_rate": int} | dict.fromkeys(["duration", *votes], float))
    clips[["gender", "text"]] = clips[["gender", "text"]].where(clips[["gender", "text"]].notna(), None)
    _check_table(clips, source)
    for note in notes:
        print(f"{name}: {note}", file=sys.stderr)
    if alike := alike_speakers(clips["speaker"]):
        warnings.warn(f"{name}: {alike}.", stacklevel=3)
        notes = [*notes, alike]
    several = clips.groupby("speaker")["gender"].nunique()
    if several.max() > 1:
        who = listed(several.index[several > 1])
        warnings.warn(f"{name}: {who} has more than one gender: two people of one name, or a wrong entry.", stacklevel=3)
    clips.attrs |= {"skipped": [path for path, _ in skipped], "remarks": odd | dict(skipped), "corpus": name, "notes": notes}
    return clips


def label_sets(corpus: str | Path, data: str | Path | None = None) -> pd.DataFrame:
    """Read all sets of labels that ShEMO comes with, side by side; `corpus` and `data` as in `load`.

    Returns
    -------
    DataFrame
        One row per clip (index), one column per set (`filename`, `shemo_json`, `modified`), missing where it has no label.

    Raises
    ------
    SerError
        If the corpus has one set only, or is not there, or a set is damaged.
    """
    import pandas as pd

    known = card(corpus)
    if known.name != "shemo":
        raise SerError(f"{known.title} has one set of labels: there is nothing to compare.")
    return pd.DataFrame(shemo_labels(_folder(known, data))).rename_axis("clip").sort_index()


def _folder(known: Corpus, data: str | Path | None) -> Path:
    """Folder of a corpus's recordings; SerError if it is not there."""
    folder = Path(data) if data is not None else default_folder(known.name)
    if folder.is_dir():
        return folder
    fetch_it = f", or run `ser fetch {known.name}`" if known.archives else ""
    if data is not None:
        raise SerError(f"No folder {folder} for {known.title}: check --data{fetch_it}.")
    raise SerError(f"{known.title} is not in {folder}: say where it is with --data DIR{fetch_it}.")


def _check_table(clips: pd.DataFrame, source: str) -> None:
    twice = clips.loc[clips["clip"].duplicated(keep=False)]
    if len(twice):
        first = twice.loc[twice["clip"] == twice["clip"].iloc[0], "path"]
        advice = "remove copies; in a table, different recordings take names in the column clip"
        copies = f"'{twice['clip'].iloc[0]}' as {' and '.join(first.iloc[:2])}: {advice}"
        raise SerError(f"{twice['clip'].nunique()} clip ids occur more than once in {source}, {copies}.")
    for column, reason in (
        ("speaker", "two speakers are needed, since one is tested who was not trained on"),
        ("emotion", "two emotions are needed, since there is nothing to tell apart"),
    ):
        if clips[column].nunique() < 2:
            only = clips[column].iloc[0]
            raise SerError(f"All {len(clips)} recordings in {source} have one {column} ('{only}'): {reason}.")


def _looked_at(path: str, decode: bool) -> tuple[int, int, str, str, str]:
    """Samples, rate, why a recording cannot be used, what is odd in it, and what is damaged."""
    try:
        path.encode()
        sound = examine(path)
        if sound.certain and not decode:
            return sound.promised or 0, sound.rate, "", "", ""
        found = survey(sound)
        return found.frames, sound.rate, "", ", ".join(found.remarks), found.damage
    except Unreadable as error:
        return 0, 0, error.cause.removeprefix("is "), "", ""
    except UnicodeEncodeError:
        return 0, 0, "the name is not in UTF-8: rename it", "", ""


def scored(clips: pd.DataFrame, corpus: str | Path, classes: str = "usual") -> tuple[pd.DataFrame, pd.DataFrame]:
    """Divide a clips table into the clips that are scored and those whose emotion is too rare for that.

    The card of the corpus says which emotions are rare (ShEMO: fear); with `classes="all"` instead of "usual" none is.

    Raises SerError if `classes` is something else.
    """
    if classes not in ("usual", "all"):
        raise SerError(f"classes='{classes}' is neither usual nor all.")
    rare = clips["emotion"].isin(card(corpus).rare if classes == "usual" else ())
    return clips[~rare].reset_index(drop=True), clips[rare].reset_index(drop=True)


def thin(clips: pd.DataFrame, per_speaker: int | None, *, seed: int = 0) -> pd.DataFrame:
    """Keep at most `per_speaker` clips per speaker (None: all), drawn evenly over emotions; rows stay in order."""
    if per_speaker is None:
        return clips
    shuffled = clips.sample(frac=1, random_state=seed)
    # One clip of every emotion, then a second one of every emotion, and so on.
    turn = shuffled.groupby(["speaker", "emotion"]).cumcount()
    ordered = shuffled.assign(turn=turn).sort_values("turn", kind="stable")
    kept = ordered.groupby("speaker").head(per_speaker)["clip"]
    return clips[clips["clip"].isin(kept)].reset_index(drop=True)


def even_share(clips: pd.DataFrame, total: int) -> int:
    """Number of clips per speaker that `thin` may keep so that at most `total` clips remain; at least 1."""
    counts = clips["speaker"].value_counts().to_numpy()
    shares = np.arange(1, counts.max() + 1)
    kept = np.minimum(counts, shares[:, None]).sum(axis=1)
    return int(max(1, (kept <= total).sum()))


def examples(clips: pd.DataFrame, *, seconds: float = 2.5) -> pd.DataFrame:
    """Choose one clip per emotion for listening, from one speaker if possible; in canonical order of the emotions.

    The speaker with most emotions (then most clips) comes first; others fill in the missing emotions. Of several clips
    the one whose length is nearest (in ratio) to `seconds` is chosen.
    """
    spread = clips.groupby("speaker").agg(emotions=("emotion", "nunique"), clips=("clip", "size"))
    rank = spread.sort_values(["emotions", "clips"], ascending=False, kind="stable").reset_index()["speaker"]
    place = clips["speaker"].map({speaker: i for i, speaker in enumerate(rank)})
    distance = np.abs(np.log(clips["duration"].clip(lower=1e-3) / seconds))
    ordered = clips.assign(place=place, distance=distance).sort_values(["place", "distance", "clip"])
    chosen = ordered.groupby("emotion").head(1).set_index("emotion", drop=False)
    return chosen.loc[emotions_among(chosen.index), list(clips.columns)].reset_index(drop=True)


def draw_quiz(clips: pd.DataFrame, count: int, *, seed: int = 0) -> pd.DataFrame:
    """Draw clips for a listening test, equally many of each emotion (or one more), in random order.

    Of one speaker and emotion a second clip is drawn only where an emotion has no other speakers left, and never a third.

    Parameters
    ----------
    clips : DataFrame
        A clips table.
    count, seed : int
        Clips to draw, fewer where there are not so many; the same seed draws the same clips in the same order.

    Returns
    -------
    DataFrame
        The rows drawn, with a new index.
    """
    shuffled = clips.sample(frac=1, random_state=seed)
    again = shuffled.groupby(["speaker", "emotion"]).cumcount()
    ordered = shuffled.assign(turn=again)[again < 2].sort_values("turn", kind="stable")
    # The first clip of every emotion, then the second of every emotion, and so on.
    drawn = ordered.assign(turn=ordered.groupby("emotion").cumcount()).sort_values("turn", kind="stable").head(count)
    return drawn[list(clips.columns)].sample(frac=1, random_state=seed).reset_index(drop=True)
