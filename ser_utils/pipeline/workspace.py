"""Where a run's tables, scores and figures lie, and how notebooks read and write them.

A notebook goes through its `Workspace` for every product, so that a killed run never leaves half a file, every figure
says what it was made from, and `ser run` knows what each notebook wrote.
"""

import io
import json
import os
import re
from pathlib import Path

import pandas as pd
from filelock import FileLock
from pandas.api.types import is_integer_dtype, is_numeric_dtype

from ser_utils import ROOT, SerError, corpora, digest, replacing
from ser_utils.pipeline.keys import Notebook

#: Columns of `scores.csv`, in order.
SCORE_COLUMNS = ["corpus", "system", "encoder", "segment_seconds", "level", "metric", "value", "low", "high", "seeds",
                 "speakers", "clips"]  # fmt: skip

#: The encoder and the labels of the workspaces that are named after their corpus alone.
USUAL = {"encoder": "wav2vec2-nano", "labels": "filename"}

# What makes two rows of scores.csv the same measurement.
_SCORE_KEY = ["corpus", "system", "encoder", "segment_seconds", "level", "metric"]


class Workspace:
    """The products of one corpus: tables, scores, figures, cached features.

    Parameters
    ----------
    corpus : str or Path
        Name of a corpus, or the path of a CSV.
    out : str or Path, optional
        Folder below which everything is written; the checkout when left out.
    encoder, labels : str, optional
        Another encoder or set of labels than the usual ones has a workspace of its own; set by `ser run`.

    Attributes
    ----------
    label, slug : str
        The corpus in figures and captions, such as "demo (synthetic)"; name of its folders.
    tables, figures, reports, cache, trained, scores : Path
        Folders of tables, figures, executed notebooks, features and predictions of trained folds; the file
        `scores.csv`.
    """

    def __init__(
        self, corpus: str | Path = "demo", out: str | Path | None = None, *,
        encoder: str | None = None, labels: str | None = None,
    ):  # fmt: skip
        self.corpus = str(corpus)
        self.label = corpora.label(self.corpus)
        # Set by `ser run` for the notebook that it runs; empty when a notebook is opened by hand.
        self._run: dict = json.loads(os.environ.get("SER_RUN", "{}"))
        self.slug = self._run.get("workspace") or _name(self.corpus, encoder, labels)
        self.root = ROOT if out is None else Path(out).expanduser().resolve()
        self.tables = self.root / "data" / "processed" / self.slug
        self.reports = self.root / "reports" / self.slug
        self.figures = self.reports / "figures"
        self.scores = self.reports / "scores.csv"
        self.cache = self.root / "data" / "interim" / "features"
        self.trained = self.root / "data" / "interim" / "predictions"
        self._scores: list[pd.DataFrame] = []

    def __repr__(self) -> str:
        return f"Workspace({self.label}: {self.tables})"

    def table(self, name: str) -> pd.DataFrame:
        """Read a table that an earlier notebook wrote.

        Raises SerError if it is not there (the message says which notebook makes it), or is not declared.
        """
        self._check_declared("reads", name)
        path = self.tables / f"{name}.parquet"
        if not path.exists():
            books = (Notebook.read(path) for path in sorted((ROOT / "notebooks").glob("[0-9][0-9]_*.ipynb")))
            maker = next((book.name for book in books if name in book.writes), None)
            advice = f"run {maker} first" if maker else "no notebook makes one of that name"
            if maker and self.slug != corpora.slug(self.corpus):  # notebook 01 opened by hand knows no encoder
                advice += f", by `ser run` with this encoder and these labels: it belongs into {self.tables}"
            raise SerError(f"the table `{name}` of {self.label} is not there: {advice}")
        return pd.read_parquet(path)

    def save_table(self, table: pd.DataFrame | pd.Series, name: str) -> None:
        """Write a table to `data/processed/<workspace>/<name>.parquet`, whole or not at all.

        Raises SerError if `ser run` runs a notebook that does not declare the table.
        """
        self._check_declared("writes", name)
        frame = table.to_frame() if isinstance(table, pd.Series) else table
        path = self.tables / f"{name}.parquet"
        with replacing(path) as temporary:
            frame.to_parquet(temporary)
        self._record(path)

    def save_scores(self, scores: pd.DataFrame, *, encoder: str = "", segment_seconds: float | None = None) -> None:
        """Add a notebook's scores to `reports/<workspace>/scores.csv`.

        Further calls from a notebook add to its first; a rerun replaces them. Scores saved from a notebook that was
        opened by hand replace those of the same systems, until `ser run` runs that notebook again.

        Parameters
        ----------
        scores : DataFrame
            As `evaluation.scores` returns it; may carry its own columns `encoder` and `segment_seconds`.
        encoder, segment_seconds : str, float
            For rows that have no such column; empty for systems without an encoder, None for the whole clip [s].

        Raises
        ------
        SerError
            If the scores lack a column.
        """
        own = {"encoder": encoder, "segment_seconds": segment_seconds}
        part = scores.assign(corpus=self.label, **{name: value for name, value in own.items() if name not in scores})
        missing = [column for column in SCORE_COLUMNS if column not in part]
        if missing:
            raise SerError(f"scores lack the columns {', '.join(missing)}: pass what evaluation.scores returns")
        self._scores = [*self._scores, part[SCORE_COLUMNS]]
        with FileLock(self.tables / ".scores.lock"):  # another notebook may be saving its own
            self._save_scores()

    def _save_scores(self) -> None:
        # As text: no number changes by passing through, so a file is the same whenever the scores are.
        text = io.StringIO(pd.concat(self._scores).to_csv(index=False))
        new = pd.read_csv(text, dtype=str, keep_default_na=False).drop_duplicates(_SCORE_KEY, keep="last")
        hand = self.tables / "scores_by_hand.csv"
        old = _read_scores(hand)
        if self._run:
            path = self.tables / f"scores_{self._run['notebook']}.csv"
            _write_scores(new, path)
            self._record(path)
            rest = pd.concat([old, new, new]).drop_duplicates(_SCORE_KEY, keep=False)  # what this run does not renew
        else:
            rest = pd.concat([old, new]).drop_duplicates(_SCORE_KEY, keep="last")
        if hand.exists() or not rest.empty:
            _write_scores(rest, hand)
        self.merge_scores()

    def merge_scores(self) -> None:
        """Join the notebooks' parts into `scores.csv`, in the notebooks' order; what was saved by hand wins."""
        parts = [_read_scores(path) for path in sorted(self.tables.glob("scores_[0-9]*.csv"))]
        by_hand = _read_scores(self.tables / "scores_by_hand.csv")
        runs = pd.concat([by_hand[:0], *parts]).drop_duplicates(_SCORE_KEY)
        whole = pd.concat([runs, by_hand]).drop_duplicates(_SCORE_KEY, keep="last")
        if not whole.empty:
            _write_scores(whole, self.scores)

    def save_figure(self, figure, name: str, *, clips: pd.DataFrame) -> None:
        """Write `reports/<workspace>/figures/<name>.png`; its foot names the corpus and counts `clips`.

        `clips` are the clips that the figure shows and no others: any table with the columns `clip` and `speaker`.
        The titles, which state the finding, are also in the file as text: the report prints them.
        """
        figure = figure if hasattr(figure, "savefig") else figure.get_figure()
        if not any(text.get_gid() == "ser-foot" for text in figure.texts):
            # Below the figure's own area, where no label can be; bbox_inches="tight" then takes it in.
            foot = {"ha": "right", "va": "top", "fontsize": 7.5, "color": "#667085", "gid": "ser-foot"}
            figure.text(0.995, -0.01, self._foot(clips), **foot)
        path = self.figures / f"{name}.png"
        with replacing(path) as temporary:
            # Without the library's version in the file, equal figures are equal bytes.
            written = {"Software": None, "Description": _titles(figure)}
            figure.savefig(temporary, dpi=130, bbox_inches="tight", metadata=written)
        self._record(path)

    def save_recognizer(self, recognizer, name: str = "recognizer") -> Path:
        """Keep a trained recognizer in `data/processed/<workspace>/<name>`, and return that folder."""
        folder = recognizer.save(self.tables / name)
        for path in sorted(file for file in folder.rglob("*") if file.is_file()):
            self._record(path)
        return folder

    def show(self, table: pd.DataFrame, caption: str = "", *, precision: int = 3) -> None:
        """Display a table under a caption that names the corpus."""
        from IPython.display import display

        named = table.columns.nlevels == 1 and all(table.index.names) and not {*table.index.names} & {*table.columns}
        # An index without a name is a row number unless it is text; with one it is a column like the others.
        numbered = table.index.nlevels == 1 and not named and is_integer_dtype(table.index)
        rows = table.reset_index() if named or not (table.index.is_unique and table.columns.is_unique) else table
        title = f"{caption} · {self.label}" if caption else self.label
        styled = rows.style.format(precision=precision, na_rep="–").set_caption(title)
        if named or numbered:
            styled = styled.hide(axis="index")
        if rows.columns.is_unique:
            left = [{"selector": "", "props": "text-align: left"}]
            words = [column for column in rows.columns if not is_numeric_dtype(rows[column])]
            styled = styled.set_table_styles({column: left for column in words})
        # Named by content: pandas would draw a new random name for the same table in every run.
        display(styled.set_uuid(digest(rows.to_csv(), caption)[:8]))

    def _check_declared(self, verb: str, name: str) -> None:
        if self._run and name not in [*self._run[verb], *self._run["writes"]]:
            raise SerError(
                f"{self._run['notebook']} {verb} the table `{name}`, which its metadata ser.{verb} "
                f"({', '.join(self._run[verb]) or 'empty'}) does not name: add it there"
            )

    def _foot(self, clips: pd.DataFrame) -> str:
        counts = {"clip": clips["clip"].nunique(), "speaker": clips["speaker"].nunique()}
        shown = list(clips["corpus"].unique()) if "corpus" in clips else []  # more than one in notebook 11
        label = ", ".join(shown) if self.label in shown else self.label
        return " · ".join([label, *(f"{n} {noun}{'' if n == 1 else 's'}" for noun, n in counts.items())])

    def _record(self, path: Path) -> None:
        if self._run:
            with open(self._run["record"], "a", encoding="utf-8") as record:
                record.write(f"{path.relative_to(self.root).as_posix()}\n")


def _titles(figure) -> str:
    """Titles of a figure and of its panels, one line each; the first is the question, the finding follows."""
    whole = figure.get_suptitle()
    panels = [ax.get_title(place) for ax in figure.axes for place in ("left", "center")]
    return "\n".join(filter(None, [whole, *(title.replace("\n", ": ") if whole else title for title in panels)]))


def _name(corpus: str, encoder: str | None, labels: str | None) -> str:
    """Name a workspace after its corpus and what differs from the usual: "nemo", "mine-3f2a9c+wavlm"."""
    special = [labels] if labels not in (None, USUAL["labels"]) else []
    if labels and labels.lower().endswith(corpora.TABLE_ENDINGS):  # a map of labels
        special = [f"{Path(labels).stem}-{digest(Path(labels).expanduser().resolve())[:6]}"]
    if encoder not in (None, USUAL["encoder"]):
        path = Path(encoder).expanduser()
        special.append(f"{path.resolve().name}-{digest(str(path.resolve()))[:6]}" if path.is_dir() else encoder)
    return re.sub(r"[^\w.+-]+", "_", "+".join([corpora.slug(corpus), *special]))


def _read_scores(path: Path) -> pd.DataFrame:
    """Scores as text; without a file, a table without rows."""
    if not path.exists():
        return pd.DataFrame(columns=SCORE_COLUMNS, dtype=str)
    return pd.read_csv(path, dtype=str, keep_default_na=False)


def _write_scores(scores: pd.DataFrame, path: Path) -> None:
    """Write scores, unless they stand there already."""
    text = scores.to_csv(index=False, lineterminator="\n")
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        with replacing(path) as temporary:
            temporary.write_text(text, encoding="utf-8", newline="\n")
