"""Run the notebooks in order through papermill, skipping what is up to date.

A notebook is run again when something that it depends on has changed: its source, its parameters, the modules of
`ser_utils` that it imports, the tables that it reads, the corpus, the weights of an encoder, or a product that is gone.
Everything is compared by content and never by time, so a rewritten but equal table stops the chain there.

Heavy libraries (papermill, nbconvert) are imported only once a notebook must run: finding that nothing changed is quick.
"""

from __future__ import annotations

import fcntl
import json
import math
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pandas as pd
import yaml

from ser_utils import ROOT, SerError, corpora, digest, features, replacing
from ser_utils.pipeline import report
from ser_utils.pipeline.execution import NotebookFailed, execute
from ser_utils.pipeline.keys import Notebook, corpus_fingerprint, fingerprints, provenance
from ser_utils.pipeline.workspace import Workspace

__all__ = ["PROFILES", "NotebookFailed", "Workspace", "run"]

#: What a profile changes of the notebooks' parameters, whose defaults are the profile `demo`. A notebook gets those
#: that it declares.
PROFILES: dict[str, dict] = {
    "quick": {
        "seeds": [0],
        "resamples": 500,
        "epochs": 4,
        "lengths": [0.5, 1.0, 2.0],
        "crop_lengths": [1.0],
        "clips_per_speaker": 6,
        "pitfall_clips": 6,
        "explained_clips": 12,
        "changed_clips": 6,
        "shares": [0.5],
        "pretrain_steps": 12,
    },
    "demo": {},
    "paper": {"seeds": [0, 1, 2, 3, 4], "epochs": 12, "pretrain_steps": 4000},
}

# Set by their own options, because the pipeline itself must know them.
_OWN = {"corpus": "--corpus", "data": "--data", "out": "--out"}


def run(
    corpus: str | Path = "demo",
    *,
    data: str | Path | None = None,
    encoder: str | None = None,
    profile: str = "demo",
    only: Iterable[str] = (),
    fresh: bool = False,
    out: str | Path | None = None,
    parameters: Mapping[str, object] | None = None,
    labels: str | None = None,
    strict: bool = False,
    scheduler: str | None = None,
    notebooks: str | Path | None = None,
) -> Path:
    """Run the notebooks on a corpus and write tables, figures, scores and the report.

    Parameters
    ----------
    corpus : str or Path
        Name of a corpus, or the path of a CSV with columns `path`, `emotion`, `speaker`.
    data : str or Path, optional
        Folder of the recordings; the corpus's default folder when left out.
    encoder : str, optional
        Passed to every notebook that declares it; the notebooks' default when left out.
    profile : {"quick", "demo", "paper"}
        Which set of `PROFILES`.
    only : iterable of str
        Numbers (or names) of the notebooks to run; all when empty.
    fresh : bool
        Run also what is up to date.
    out : str or Path, optional
        Folder below which `figures/`, `data/` and `reports/` are written; the checkout when left out.
    parameters : mapping, optional
        Further parameters of the notebooks. They win over `profile`, `encoder`, `labels` and `strict`.
    labels : str, optional
        Which labels, for corpora with several sets of them.
    strict : bool
        An unreadable recording is an error rather than left out.
    scheduler : str, optional
        Address of a Dask scheduler whose workers compute features and cross-validations; no result depends on it. That
        of the environment variable `SER_SCHEDULER` when left out, and this machine without.
    notebooks : str or Path, optional
        Folder of the notebooks; that of the checkout when left out.

    Returns
    -------
    Path
        The report's front page.

    Raises
    ------
    SerError
        For unusable arguments or data, found before anything is written, or met by a notebook.
    NotebookFailed
        If a notebook fails.
    """
    folder = Path(notebooks) if notebooks is not None else ROOT / "notebooks"
    books = [Notebook.read(path) for path in sorted(folder.glob("[0-9][0-9]_*.ipynb"))]
    if not books:
        raise SerError(f"no notebooks in {folder}: `ser run` needs a checkout of the repository")
    chosen = _choose(books, only)
    scheduler = scheduler or features.named()
    if scheduler:
        features.connect(scheduler).close()
    corpus = str(Path(corpus).expanduser().resolve()) if str(corpus).lower().endswith(".csv") else str(corpus)
    data = None if data is None else str(Path(data).expanduser().resolve())
    if encoder is not None and Path(encoder).expanduser().is_dir():  # notebooks work in another folder
        encoder = str(Path(encoder).expanduser().resolve())
    wanted = _parameters(books, profile, {"encoder": encoder, "labels": labels, "strict": strict or None}, parameters)
    wanted |= {
        "corpus": corpus,
        "data": data,
        "out": None if out is None else str(Path(out).expanduser().resolve()),
    }

    clips = corpora.load(corpus, data, labels=wanted.get("labels", "filename"), strict=bool(wanted.get("strict")))
    workspace = Workspace(corpus, out)
    _check_reads(chosen, books, workspace)

    with _alone(workspace):
        state = _State(workspace, books, clips, corpus, profile, wanted, folder)
        size = f"{len(clips)} clips, {clips['speaker'].nunique()} speakers"
        print(f"{workspace.label}: {size}; profile {profile}", flush=True)
        width = max(len(book.name) for book in books) + 2
        for book in chosen:
            given = {name: value for name, value in wanted.items() if name in book.defaults}
            key = state.key(book, given)
            reason = "asked to run afresh" if fresh else state.reason(book, key)
            if reason:
                print(f"{book.name:<{width}}{reason}", flush=True)
                state.start(book)
                entry = execute(book, given, workspace, scheduler)
                state.done(book, {**entry, "key": key, "profile": profile, "git": state.record["git"]})
                print(
                    f"{book.name:<{width}}{entry['seconds']:.0f} s, peak {entry['peak_memory_mb']:.0f} MB",
                    flush=True,
                )
            else:
                print(f"{book.name:<{width}}unchanged, skipped", flush=True)
            state.pages(book)
        return state.finish()


def parse_parameter(text: str) -> tuple[str, object]:
    """Split `key=value` as given to `-p`; the value is read as YAML.

    Raises
    ------
    SerError
        If there is no `=`, the key is no name, or the value is no YAML.

    Examples
    --------
    >>> parse_parameter("seeds=[0, 1]"), parse_parameter("layer=null")
    (('seeds', [0, 1]), ('layer', None))
    """
    key, equals, value = text.partition("=")
    if not equals or not key.strip().isidentifier():
        raise SerError(f"-p {text}: give a parameter as key=value, such as -p seeds=[0,1,2]")
    try:
        parsed = yaml.safe_load(value)
    except yaml.YAMLError:
        raise SerError(f"-p {text}: the value is not readable; write lists as [0,1,2] and quote texts") from None
    if isinstance(parsed, str):
        try:
            parsed = float(parsed)  # YAML 1.1 takes 1e-3 for a text
        except ValueError:
            parsed = None if parsed == "None" else parsed
    return key.strip(), parsed


# --- arguments ---------------------------------------------------------------------------------------------------


def _choose(books: list[Notebook], only: Iterable[str]) -> list[Notebook]:
    chosen = set()
    for wish in only:
        found = {book.name for book in books if wish in (book.name, book.name[:2], str(int(book.name[:2])))}
        if not found:
            raise SerError(f"--only {wish}: no such notebook; there are {', '.join(book.name for book in books)}")
        chosen |= found
    return [book for book in books if not chosen or book.name in chosen]


def _parameters(books: list[Notebook], profile: str, options: dict, given: Mapping[str, object] | None) -> dict:
    """What is to be passed: the profile's, then the options', then `given`, checked against what notebooks declare."""
    if profile not in PROFILES:
        raise SerError(f"no profile is called {profile!r}; there are {', '.join(PROFILES)}")
    known: dict[str, object] = {}
    for book in books:
        known = book.defaults | known
    for name in given or {}:
        if name in _OWN:
            raise SerError(f"-p {name}=…: use the option {_OWN[name]} instead")
        if name not in known:
            others = sorted(set(known) - set(_OWN))
            raise SerError(f"no notebook has a parameter {name!r}; there are {', '.join(others)}")
    wanted = PROFILES[profile] | {name: value for name, value in options.items() if value is not None}
    return wanted | {name: _typed(name, value, known[name]) for name, value in (given or {}).items()}


def _typed(name: str, value: object, default: object) -> object:
    """`value`, checked to be of the kind of a parameter's default (None as default or value fits everything)."""
    number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if default is None or value is None or (isinstance(default, float) and number):
        return value
    if type(default) is int and number and value == int(value):
        return int(value)  # 1e4 is a fine way to write a count
    if isinstance(value, type(default)) and isinstance(value, bool) == isinstance(default, bool):
        return value
    raise SerError(f"-p {name}={value}: {name} is a {type(default).__name__} such as {default!r}")


def _check_reads(chosen: list[Notebook], books: list[Notebook], workspace: Workspace) -> None:
    made: set[str] = set()
    for book in chosen:
        for table in book.reads:
            if table not in made and not (workspace.tables / f"{table}.parquet").exists():
                maker = next((other.name for other in books if table in other.writes), None)
                if maker is None:
                    raise SerError(f"{book.name} reads the table `{table}`, which no notebook writes")
                raise SerError(
                    f"{book.name} reads the table `{table}`, which {maker} makes and which is not in "
                    f"{workspace.tables}: run {maker[:2]} first"
                )
        made |= set(book.writes)


# --- what is up to date ------------------------------------------------------------------------------------------


class _State:
    """`run.json` of a corpus: what was run, from what, and whether that still holds."""

    def __init__(self, workspace: Workspace, books, clips: pd.DataFrame, corpus: str, profile: str, wanted, folder):
        self.workspace, self.books = workspace, books
        self.path = workspace.tables / "run.json"
        try:
            self.record = json.loads(self.path.read_text(encoding="utf-8"))
            self.record["notebooks"].items(), self.record["unfinished"].items()
        except (OSError, ValueError, KeyError, TypeError, AttributeError):  # none yet, or not ours: all is run
            self.record = {"notebooks": {}, "unfinished": {}}
        self.before = json.dumps(self.record, sort_keys=True)
        self.corpus_fingerprint = corpus_fingerprint(clips)
        self.record |= {
            "corpus": workspace.slug,
            "label": workspace.label,
            "source": corpus,
            "clips": len(clips),
            "speakers": int(clips["speaker"].nunique()),
            "hours": round(float(clips["duration"].sum()) / 3600, 4),
            "emotions": {name: int(count) for name, count in clips["emotion"].value_counts().items()},
            "skipped": [Path(path).name for path in clips.attrs.get("skipped", [])],
            "fingerprint": self.corpus_fingerprint,
            "profile": profile,
            "parameters": wanted,
            "notebooks_folder": str(folder),
            **provenance(),
        }
        self.page_version = report.version([(book.name, book.title) for book in books])

    def key(self, book: Notebook, given: dict) -> dict[str, str]:
        """Content hashes of all that a notebook's results depend on now, by kind."""
        return fingerprints(book, given, self.workspace.tables, self.corpus_fingerprint)

    def reason(self, book: Notebook, key: dict[str, str]) -> str:
        """Why a notebook must run, in words; empty when it is up to date."""
        entry = self.record["notebooks"].get(book.name)
        if not entry:
            return "did not finish last time" if book.name in self.record["unfinished"] else "not run yet"
        changed = [kind for kind, value in key.items() if entry["key"].get(kind) != value]
        if changed:
            return f"changed: {', '.join(changed)}"
        missing = [name for name in entry["outputs"] if not (self.workspace.root / name).exists()]
        return f"missing: {', '.join(missing)}" if missing else ""

    def start(self, book: Notebook) -> None:
        """Forget a notebook's entry: its tables are about to change, and a killed run must not be taken for a whole."""
        earlier = self.record["notebooks"].pop(book.name, {}).get("outputs", [])
        self.record["unfinished"][book.name] = sorted({*earlier, *self.record["unfinished"].get(book.name, [])})
        self._write()

    def done(self, book: Notebook, entry: dict) -> None:
        """Record a notebook that ran, and remove what its earlier run made and this one did not."""
        self.record["notebooks"][book.name] = entry
        kept = {name for other in self.record["notebooks"].values() for name in other["outputs"]}
        for name in set(self.record["unfinished"].pop(book.name, [])) - kept:
            (self.workspace.root / name).unlink(missing_ok=True)
        self._write()

    def pages(self, book: Notebook) -> None:
        """Write a notebook's page, where it is missing or older than its executed copy or the report's templates."""
        entry = self.record["notebooks"][book.name]
        page = self.workspace.reports / f"{book.name}.html"
        version = digest(self.page_version, self.workspace.reports / f"{book.name}.ipynb")
        if entry.get("page") != version or not page.exists():
            report.write_page(book.name, self.workspace, [(b.name, b.title) for b in self.books])
            entry["page"] = version
            self._write()
            self.index()

    def index(self) -> Path:
        """Write the front page from what is recorded."""
        return report.write_index(self.workspace, self.record, self.books)

    def finish(self) -> Path:
        """Write what changed, join the scores, and return the front page."""
        index = self.workspace.reports / "index.html"
        order = [book.name for book in self.books]
        entries = self.record["notebooks"]
        for gone in set(entries) - set(order):
            del entries[gone]
        self.record["notebooks"] = {name: entries[name] for name in order if name in entries}
        self.workspace.merge_scores()
        if json.dumps(self.record, sort_keys=True) != self.before or not index.exists():
            self._write()
            self.index()
        return index

    def _write(self) -> None:
        with replacing(self.path) as temporary:
            temporary.write_text(json.dumps(self.record, indent=1, default=str) + "\n", encoding="utf-8")


@contextmanager
def _alone(workspace: Workspace) -> Iterator[None]:
    """Hold the corpus's folder, so that two runs do not write the same products at once."""
    workspace.tables.mkdir(parents=True, exist_ok=True)
    with open(workspace.tables / ".lock", "w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise SerError(
                f"another `ser run` is working in {workspace.tables}: wait for it, or give another --out"
            ) from None
        yield
