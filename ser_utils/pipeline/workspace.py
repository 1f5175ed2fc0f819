"""Where a run's tables, scores and figures lie, and how notebooks read and write them.

A notebook gets one `Workspace` and goes through it for every product, so that a killed run never leaves half a file,
every figure says what it was made from, and `ser run` knows what each notebook read and wrote.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import pandas as pd
from pandas.api.types import is_integer_dtype, is_numeric_dtype

from ser_utils import ROOT, SerError, corpora, digest, replacing

#: Columns of `scores.csv`, in order (DESIGN, "Commands").
SCORE_COLUMNS = [
    "corpus",
    "system",
    "encoder",
    "segment_seconds",
    "level",
    "metric",
    "value",
    "low",
    "high",
    "seeds",
    "speakers",
    "clips",
]

# What makes two rows of scores.csv the same measurement.
_SCORE_KEY = ["corpus", "system", "encoder", "segment_seconds", "level", "metric"]


def makers(notebooks: Path) -> dict[str, str]:
    """Which notebook writes which table: `{table: notebook}`, from the notebooks' metadata."""
    found = {}
    for path in sorted(notebooks.glob("[0-9][0-9]_*.ipynb")):
        metadata = json.loads(path.read_text(encoding="utf-8"))["metadata"]
        for table in metadata.get("ser", {}).get("writes", []):
            found.setdefault(table, path.stem)
    return found


class Workspace:
    """The products of one corpus: tables, scores, figures, cached features.

    Parameters
    ----------
    corpus : str or Path
        Name of a corpus, or the path of a CSV.
    out : str or Path, optional
        Folder below which everything is written; the checkout when left out.

    Attributes
    ----------
    label : str
        The corpus as figures and captions name it, such as "demo (synthetic)".
    slug : str
        Its folder name below `figures/`, `data/processed/` and `reports/`.
    tables, figures, reports, cache : Path
        Folders of tables, figures, executed notebooks, and features.
    """

    def __init__(self, corpus: str | Path = "demo", out: str | Path | None = None):
        self.corpus = str(corpus)
        self.label = corpora.label(self.corpus)
        self.slug = corpora.slug(self.corpus)
        self.root = ROOT if out is None else Path(out).expanduser().resolve()
        self.tables = self.root / "data" / "processed" / self.slug
        self.figures = self.root / "figures" / self.slug
        self.reports = self.root / "reports" / self.slug
        self.cache = self.root / "data" / "interim" / "features"
        # Set by `ser run` for the notebook that it runs; empty when a notebook is opened by hand.
        self._scores: list[pd.DataFrame] = []
        self._run: dict = json.loads(os.environ.get("SER_RUN", "{}"))

    def __repr__(self) -> str:
        return f"Workspace({self.label}: {self.tables})"

    def table(self, name: str) -> pd.DataFrame:
        """Read a table that an earlier notebook wrote.

        Raises
        ------
        SerError
            If it is not there (the message says which notebook makes it), or if the notebook does not declare it.
        """
        if self._run and name not in [*self._run["reads"], *self._run["writes"]]:
            raise SerError(
                f"{self._run['notebook']} reads the table `{name}`, which its metadata ser.reads "
                f"({', '.join(self._run['reads']) or 'empty'}) does not name: add it there"
            )
        path = self.tables / f"{name}.parquet"
        if not path.exists():
            maker = makers(ROOT / "notebooks").get(name)
            raise SerError(
                f"the table `{name}` of {self.label} is not there: "
                + (f"run {maker} first" if maker else "no notebook makes one of that name")
            )
        return pd.read_parquet(path)

    def save_table(self, table: pd.DataFrame | pd.Series, name: str) -> None:
        """Write a table to `data/processed/<corpus>/<name>.parquet`, whole or not at all.

        Raises
        ------
        SerError
            If `ser run` runs a notebook that does not declare the table.
        """
        if self._run and name not in self._run["writes"]:
            raise SerError(
                f"{self._run['notebook']} writes the table `{name}`, which its metadata ser.writes "
                f"({', '.join(self._run['writes']) or 'empty'}) does not name: add it there"
            )
        frame = table.to_frame() if isinstance(table, pd.Series) else table
        path = self.tables / f"{name}.parquet"
        with replacing(path) as temporary:
            frame.to_parquet(temporary)
        self._record(path)

    def save_scores(self, scores: pd.DataFrame, *, encoder: str = "", segment_seconds: float | None = None) -> None:
        """Add a notebook's scores to `figures/<corpus>/scores.csv`.

        Called again from the same notebook it adds to what that run of the notebook saved; a rerun replaces it.

        Parameters
        ----------
        scores : DataFrame
            As `evaluation.scores` returns it; may carry its own columns `encoder` and `segment_seconds`.
        encoder : str
            Name of the encoder for rows that have no such column; empty for systems without one.
        segment_seconds : float, optional
            Segment length in seconds for rows that have no such column; None stands for the whole clip.

        Raises
        ------
        SerError
            If the scores lack a column.
        """
        part = scores.copy()
        part["corpus"] = self.label
        for column, value in {"encoder": encoder, "segment_seconds": segment_seconds}.items():
            if column not in part:
                part[column] = value
        missing = [column for column in SCORE_COLUMNS if column not in part]
        if missing:
            raise SerError(f"scores lack the columns {', '.join(missing)}: pass what evaluation.scores returns")
        notebook = self._run.get("notebook") or Path(os.environ.get("JPY_SESSION_NAME", "by_hand")).stem
        path = self.tables / f"scores_{notebook}.csv"
        self._scores = [*self._scores, part[SCORE_COLUMNS]]
        with replacing(path) as temporary:
            pd.concat(self._scores).drop_duplicates(_SCORE_KEY, keep="last").to_csv(temporary, index=False)
        self._record(path)
        self.merge_scores()

    def merge_scores(self) -> None:
        """Join the notebooks' parts into `figures/<corpus>/scores.csv`, in the notebooks' order."""
        parts = sorted(self.tables.glob("scores_*.csv"))
        if not parts:
            return
        # As text: no number changes by passing through, so the file is the same whenever the scores are.
        whole = pd.concat([pd.read_csv(part, dtype=str, keep_default_na=False) for part in parts])
        text = whole.drop_duplicates(_SCORE_KEY, keep="first").to_csv(index=False)
        path = self.figures / "scores.csv"
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            with replacing(path) as temporary:
                temporary.write_text(text, encoding="utf-8")

    def save_figure(self, figure, name: str, *, clips: pd.DataFrame | None = None) -> None:
        """Write a figure to `figures/<corpus>/<name>.png`, with the corpus and its size at the foot.

        Parameters
        ----------
        figure : matplotlib Figure or Axes
        name : str
            Such as "03_confusion".
        clips : DataFrame, optional
            The table that the figure shows (columns `clip` and `speaker`); the corpus's table `clips` when left out.
        """
        figure = figure if hasattr(figure, "savefig") else figure.get_figure()
        if not any(text.get_gid() == "ser-foot" for text in figure.texts):
            # Below the figure's own area, where no label can be; bbox_inches="tight" then takes it in.
            figure.text(
                0.995,
                -0.01,
                self._foot(clips),
                ha="right",
                va="top",
                fontsize=7.5,
                color="#667085",
                gid="ser-foot",
            )
        path = self.figures / f"{name}.png"
        with replacing(path) as temporary:
            # Without the library's version in the file, equal figures are equal bytes.
            figure.savefig(temporary, dpi=130, bbox_inches="tight", metadata={"Software": None})
        self._record(path)

    def save_recognizer(self, recognizer) -> Path:
        """Keep a trained recognizer in `data/processed/<corpus>/recognizer`, and return that folder."""
        folder = recognizer.save(self.tables / "recognizer")
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
        styled = rows.style.format(precision=precision, na_rep="–").set_caption(
            f"{caption} · {self.label}" if caption else self.label
        )
        if named or numbered:
            styled = styled.hide(axis="index")
        words = (
            [column for column in rows.columns if not is_numeric_dtype(rows[column])] if rows.columns.is_unique else []
        )
        left = [{"selector": "", "props": "text-align: left"}]
        styled = styled.set_table_styles({column: left for column in words})
        # Named by content: pandas would draw a new random name for the same table in every run.
        display(styled.set_uuid(digest(rows.to_csv(), caption)[:8]))

    def _foot(self, clips: pd.DataFrame | None) -> str:
        if clips is None and (self.tables / "clips.parquet").exists():
            clips = pd.read_parquet(self.tables / "clips.parquet", columns=["clip", "speaker"])
        if clips is None:
            return self.label
        counts = {"clip": clips["clip"].nunique(), "speaker": clips["speaker"].nunique()}
        return " · ".join([self.label, *(f"{n} {noun}{'' if n == 1 else 's'}" for noun, n in counts.items())])

    def _record(self, path: Path) -> None:
        if self._run:
            with open(self._run["record"], "a", encoding="utf-8") as record:
                record.write(f"{path.relative_to(self.root).as_posix()}\n")
