"""Further corpora beside a run's own: whether they are on disk, and their clips."""

from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from ser_utils import SerError, corpora


def present(corpus: str) -> str:
    """A further corpus as notebooks take it: a name, or the whole path of a table.

    Raises SerError if it is not on disk, in one line that says where it is expected.
    """
    table = corpora.is_table(corpus)
    place = Path(corpus).expanduser().resolve() if table else corpora.default_folder(corpora.card(corpus).name)
    if not place.exists():
        advice = "check the path" if table else f"put it (or a link) there, or run `ser fetch {corpus}`"
        raise SerError(f"others: {corpora.label(corpus)} is not in {place}: {advice}")
    return str(place) if table else corpus


def further_corpora(names: Iterable[str], *, beside: str, per_speaker: int | None = None) -> dict[str, pd.DataFrame]:
    """Clips tables of further corpora, by the label that figures give them.

    Parameters
    ----------
    names : iterable of str
        Names of corpora in `data/raw`, or paths of tables.
    beside : str
        Label of the run's own corpus.
    per_speaker : int, optional
        At most this many clips per speaker, evenly over emotions; emotions too rare to be scored are left out.

    Raises
    ------
    SerError
        If a corpus is not on disk, or is named twice.
    """
    tables: dict[str, pd.DataFrame] = {}
    for name in names:
        label = corpora.label(name)
        if label in (beside, *tables):
            raise SerError(f"others: {label} is named twice: the run's own corpus and each other one count once")
        clips, _ = corpora.scored(corpora.load(present(name)), name)
        tables[label] = corpora.thin(clips, per_speaker)
    return tables
