"""Votes of several raters: their majority is the class of a clip, and the votes travel with it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING

from ser_utils import SerError, listed
from ser_utils.corpora.labels import translate
from ser_utils.corpora.spelling import cleaned, skeleton
from ser_utils.corpora.stretches import MISSING, at

if TYPE_CHECKING:
    import pandas as pd

#: Columns that hold votes: numbers of them for an emotion, or what one rater said.
VOTES = r"votes_.+|(rater|annotator|coder)_?(\d+|[a-z])"


def votes_of(frame: pd.DataFrame, table: object, labels: Mapping[str, str]) -> tuple[pd.DataFrame | None, list[str]]:
    """Count the votes for each emotion in a list of texts, with lines as index; `table` is its name in messages.

    Columns are `votes_<emotion>`, or `rater_1`, `rater_2`, … with labels; labels that `labels` leaves out and empty fields
    do not count. Returns one row per line and one column per emotion, None without votes; and notes for people. Raises
    SerError if a number of votes is none, or the list holds votes of both kinds or no vote.
    """
    import pandas as pd

    columns = [name for name in frame if re.fullmatch(VOTES, name)]
    counted = [name for name in columns if name.startswith("votes_")]
    if not columns:
        return None, []
    if counted and counted != columns:
        raise SerError(f"{table} has numbers of votes ({counted[0]}) and raters' labels: leave one of them out.")
    if counted:
        found = {name: name.removeprefix("votes_") for name in counted}
        emotions, notes = translate(found.values(), labels)
        numbers = frame[counted].apply(_numbers, table=table).T
        votes = numbers.groupby([emotions[label] for label in found.values()]).sum().T
    else:
        said = frame[columns].reset_index(drop=True).stack()
        said = said[~said.map(lambda text: skeleton(text) in MISSING)]
        emotions, notes = translate(said, labels)
        votes = pd.crosstab(said.index.get_level_values(0), said.map(emotions).to_numpy())
        votes = votes.reindex(range(len(frame)), fill_value=0).set_axis(frame.index)
    votes = votes.drop(columns="", errors="ignore")
    if votes.columns.empty:
        raise SerError(f"{table} has columns for votes ({listed(columns)}), and no vote in them.")
    return votes, notes + ["the votes decide, not the column emotion"] * ("emotion" in frame)


def _numbers(column: pd.Series, table: object) -> pd.Series:
    import pandas as pd

    texts = column.map(cleaned).where(~column.map(skeleton).isin(MISSING), "0").str.replace(",", ".")
    numbers = pd.to_numeric(texts, errors="coerce")
    if (wrong := numbers.index[~(numbers >= 0) | (numbers == float("inf"))]).size:
        raise SerError(f"{at(table, wrong)}: {column.name} '{cleaned(column[wrong[0]])}' is no number of votes.")
    return numbers.astype(float)


def majority(votes: pd.DataFrame) -> tuple[pd.Series, list[str]]:
    """The emotion with most votes by line, "" where two have as many or nobody voted; and how many lines that are."""
    most = votes.max(axis=1)
    winners = votes.eq(most, axis=0).sum(axis=1)
    kind = winners.gt(1).map({True: "with a tie", False: ""}).where(most > 0, "without votes")
    left = Counter(kind[kind != ""])
    notes = [f"left out by votes: {', '.join(f'{count} clips {name}' for name, count in sorted(left.items()))}"] if left else []
    return votes.idxmax(axis=1).where(kind == "", ""), notes
