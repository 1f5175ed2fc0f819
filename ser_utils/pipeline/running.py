"""Run the notebooks in order through papermill, skipping what is up to date.

A notebook is run again when something that it depends on has changed (see `keys`), or when a product is gone.
Everything is compared by content and never by time, so a rewritten but equal table stops the chain there.

Heavy libraries (papermill, nbconvert) are imported only once a notebook must run: finding that nothing changed is quick.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from pathlib import Path

import pandas as pd
import yaml
from filelock import AcquireReturnProxy, FileLock, Timeout

from ser_utils import ROOT, SerError, corpora, features, replacing
from ser_utils.pipeline import report
from ser_utils.pipeline.execution import execute
from ser_utils.pipeline.keys import Notebook, corpus_fingerprint, fingerprints, provenance
from ser_utils.pipeline.workspace import Workspace

#: What a profile changes of the notebooks' parameters, whose defaults are the profile `demo`. A notebook gets those
#: that it declares.
PROFILES: dict[str, dict] = {
    "quick": {
        "seeds": [0], "resamples": 500, "epochs": 4, "lengths": [0.5, 1.0, 2.0], "crop_lengths": [1.0],
        "clips_per_speaker": 6, "pitfall_clips": 6, "explained_clips": 12, "changed_clips": 6, "shares": [0.5],
        "pretrain_steps": 12,
    },
    "demo": {},
    "paper": {"seeds": [0, 1, 2, 3, 4], "epochs": 12, "pretrain_steps": 4000},
}  # fmt: skip

# Set by their own options, because the pipeline itself must know them.
_OWN = {"corpus": "--corpus", "data": "--data", "out": "--out"}

# Parameters that decide what a table is about. Where they differ, one notebook's table is no input for another.
_SUBJECT = ("labels", "classes", "clips_per_speaker", "segment_seconds", "encoder", "layer", "precision")


def run(
    corpus: str | Path = "demo",
    *,
    data: str | Path | None = None,
    profile: str = "demo",
    only: Iterable[str] = (),
    fresh: bool = False,
    out: str | Path | None = None,
    parameters: Mapping[str, object] | None = None,
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
    profile : {"quick", "demo", "paper"}
        Which set of `PROFILES`.
    only : iterable of str
        Numbers (or names) of the notebooks to run; all when empty.
    fresh : bool
        Run also what is up to date.
    out : str or Path, optional
        Folder below which `data/` and `reports/` are written; the checkout when left out.
    parameters : mapping, optional
        Further parameters of the notebooks, such as `encoder`, `labels` or `strict`; they win over the profile's.
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
    corpus = _absolute(corpus) if str(corpus).lower().endswith(".csv") else str(corpus)
    data, out = (None if path is None else _absolute(path) for path in (data, out))
    wanted = _parameters(books, profile, parameters or {}) | {"corpus": corpus, "data": data, "out": out}
    encoder = wanted.get("encoder")
    if encoder and Path(encoder).expanduser().is_dir():
        wanted["encoder"] = _absolute(encoder)  # notebooks work in another folder

    clips = corpora.load(corpus, data, labels=wanted.get("labels", "filename"), strict=bool(wanted.get("strict")))
    workspace = Workspace(corpus, out, encoder=wanted.get("encoder"), labels=wanted.get("labels"))
    _check_reads(chosen, books, workspace)

    with _alone(workspace):
        state = _State(workspace, books, clips, corpus, profile, wanted, folder)
        state.check_upstream(chosen)
        size = f"{len(clips)} clips, {clips['speaker'].nunique()} speakers"
        print(f"{workspace.label}: {size}; profile {profile}", flush=True)
        for number, book in enumerate(chosen):
            name = f"{book.name:<{max(len(book.name) for book in books) + 2}}"
            key = state.key(book)
            reason = "asked to run afresh" if fresh else state.reason(book, key)
            if reason:
                print(f"{name}{reason}{state.outlook(chosen[number:])}", flush=True)
                state.start(book)
                entry = execute(book, state.given(book), workspace, scheduler)
                state.done(book, {**entry, "key": key, "profile": profile, **provenance()})
                print(f"{name}{entry['seconds']:.0f} s, peak {entry['peak_memory_mb']:.0f} MB", flush=True)
            else:
                print(f"{name}unchanged, skipped", flush=True)
            state.page(book)
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


def _absolute(path: str | Path) -> str:
    return str(Path(path).expanduser().resolve())


def _choose(books: list[Notebook], only: Iterable[str]) -> list[Notebook]:
    chosen = set()
    for wish in only:
        found = {book.name for book in books if wish in (book.name, book.name[:2], str(int(book.name[:2])))}
        if not found:
            raise SerError(f"--only {wish}: no such notebook; there are {', '.join(book.name for book in books)}")
        chosen |= found
    return [book for book in books if not chosen or book.name in chosen]


def _parameters(books: list[Notebook], profile: str, given: Mapping[str, object]) -> dict:
    """What is to be passed: the profile's parameters, then `given`, checked against what notebooks declare."""
    if profile not in PROFILES:
        raise SerError(f"no profile is called {profile!r}; there are {', '.join(PROFILES)}")
    known: dict[str, object] = dict.fromkeys(["encoder", "labels", "strict"])  # the run itself needs them
    for book in books:  # the first default that is not None tells of which kind a parameter is
        known |= {name: value for name, value in book.defaults.items() if known.get(name) is None}
    for name in given:
        if name in _OWN:
            raise SerError(f"-p {name}=…: use the option {_OWN[name]} instead")
        if name not in known:
            declared = {name for book in books for name in book.defaults} - set(_OWN)
            raise SerError(f"no notebook has a parameter {name!r}; there are {', '.join(sorted(declared))}")
    return PROFILES[profile] | {name: _typed(name, value, known[name]) for name, value in given.items()}


def _typed(name: str, value: object, default: object) -> object:
    """`value`, checked to be of the kind of a parameter's default (None as default or value fits everything)."""
    if default is None or value is None or _fits(value, default):
        return value
    if type(default) is int and isinstance(value, float) and value.is_integer() and value > 0:
        return int(value)  # 1e4 is a fine way to write a count
    above = ", and above 0" if isinstance(default, int | float) and not isinstance(default, bool) and default > 0 else ""
    raise SerError(f"-p {name}={value}: {name} is a {type(default).__name__} such as {default!r}{above}")


def _fits(value: object, default: object) -> bool:
    """Whether `value` may stand in place of `default`: lengths and counts stay above 0, and so do all of a list."""
    if isinstance(default, list) and default:
        return isinstance(value, list) and bool(value) and all(_fits(item, default[0]) for item in value)
    if isinstance(default, bool) or not isinstance(default, int | float):
        return isinstance(value, type(default))
    kinds = int if isinstance(default, int) else int | float
    number = isinstance(value, kinds) and not isinstance(value, bool) and math.isfinite(value)
    return number and (value > 0 or default <= 0 <= value)


def _check_reads(chosen: list[Notebook], books: list[Notebook], workspace: Workspace) -> None:
    made: set[str] = set()
    for book in chosen:
        for table in set(book.reads) - made:
            if not (workspace.tables / f"{table}.parquet").exists():
                maker = next((other.name for other in books if table in other.writes), None)
                if maker is None:
                    raise SerError(f"{book.name} reads the table `{table}`, which no notebook writes")
                raise SerError(
                    f"{book.name} reads the table `{table}`, which {maker} makes and which is not in "
                    f"{workspace.tables}: run {maker[:2]} first"
                )
        made |= set(book.writes)


def _upstream(book: Notebook, books: list[Notebook]) -> list[Notebook]:
    """The earlier notebooks whose tables a notebook reads, directly or through others."""
    near = [other for other in books[: books.index(book)] if set(other.writes) & set(book.reads)]
    return list(dict.fromkeys(near + [far for other in near for far in _upstream(other, books)]))


# --- what is up to date ------------------------------------------------------------------------------------------


class _State:
    """`run.json` of a workspace: what was run, from what, and whether that still holds."""

    def __init__(self, workspace: Workspace, books, clips: pd.DataFrame, corpus: str, profile: str, wanted, folder):
        self.workspace, self.books, self.wanted = workspace, books, wanted
        self.pages = [(book.name, book.title) for book in books]
        self.path = workspace.tables / "run.json"
        try:
            self.record = json.loads(self.path.read_text(encoding="utf-8"))
            self.record["notebooks"].items(), self.record["unfinished"].items()
        except (OSError, ValueError, KeyError, TypeError, AttributeError):  # none yet, or not ours: all is run
            self.record = {"notebooks": {}, "unfinished": {}}
        self.before = json.dumps(self.record, sort_keys=True)
        self.last_seconds = {name: entry.get("seconds", 0) for name, entry in self.record["notebooks"].items()}
        self.record |= {
            "corpus": workspace.slug,
            "source": corpus,
            "clips": len(clips),
            "speakers": int(clips["speaker"].nunique()),
            "hours": round(float(clips["duration"].sum()) / 3600, 4),
            "emotions": {name: int(count) for name, count in clips["emotion"].value_counts().items()},
            "skipped": [Path(path).name for path in clips.attrs.get("skipped", [])],
            "fingerprint": corpus_fingerprint(clips, workspace.cache),
            "profile": profile,
            "parameters": wanted,
            "notebooks_folder": str(folder),
        }

    def given(self, book: Notebook) -> dict:
        """What a notebook is passed."""
        return {name: value for name, value in self.wanted.items() if name in book.defaults}

    def key(self, book: Notebook) -> dict[str, str]:
        """Content hashes of all that a notebook's results depend on now, by kind."""
        return fingerprints(book, self.given(book), self.workspace.tables, self.record["fingerprint"])

    def check_upstream(self, chosen: list[Notebook]) -> None:
        """Refuse tables of notebooks left out that are about another corpus, encoder, label set or segment length."""
        for book in chosen:
            for maker in (other for other in _upstream(book, self.books) if other not in chosen):
                entry = self.record["notebooks"].get(maker.name)
                if entry:
                    now, then = maker.defaults | self.given(maker), entry["parameters"]
                    other = [f"{name} ({then.get(name)})" for name in _SUBJECT if now.get(name) != then.get(name)]
                    key = self.key(maker)
                    other += [kind for kind in ("corpus", "encoder weights") if entry["key"].get(kind) != key[kind]]
                    made = f"made with other {' and '.join(other)} than asked for now"
                else:  # tables without an entry were made by hand
                    other = maker.name in self.record["unfinished"]
                    made = "did not finish"
                if other:
                    numbers = f"{maker.name[:2]},{book.name[:2]}"
                    raise SerError(f"{book.name} needs tables that {maker.name} {made}: run both, with --only {numbers}")

    def outlook(self, left: list[Notebook]) -> str:
        """Say how many notebooks are left, and how long they took last time."""
        times = [self.last_seconds[book.name] for book in left if book.name in self.last_seconds]
        about = f", about {sum(times) / 60:.0f} min" if len(times) == len(left) else ""
        return f" ({len(left)} left{about})"

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

    def page(self, book: Notebook) -> None:
        """Write a notebook's page, where it is missing or older than its executed copy or the report's templates."""
        entry = self.record["notebooks"][book.name]
        version = report.version(book.name, self.workspace, self.pages)
        if entry.get("page") != version or not (self.workspace.reports / f"{book.name}.html").exists():
            report.write_page(book.name, self.workspace, self.pages)
            entry["page"] = version
            self._write()
            report.write_index(self.workspace, self.record, self.books)

    def finish(self) -> Path:
        """Write what changed, join the scores, and return the front page."""
        entries = self.record["notebooks"]
        self.record["notebooks"] = {book.name: entries[book.name] for book in self.books if book.name in entries}
        self.workspace.merge_scores()
        index = self.workspace.reports / "index.html"
        if json.dumps(self.record, sort_keys=True) != self.before or not index.exists():
            self._write()
            report.write_index(self.workspace, self.record, self.books)
        return index

    def _write(self) -> None:
        with replacing(self.path) as temporary:
            temporary.write_text(json.dumps(self.record, indent=1, default=str) + "\n", encoding="utf-8")


def _alone(workspace: Workspace) -> AcquireReturnProxy:
    """Hold a workspace's folder until the block ends, so that two runs do not write the same products at once."""
    workspace.tables.mkdir(parents=True, exist_ok=True)
    try:
        return FileLock(workspace.tables / ".lock").acquire(timeout=0)
    except Timeout:
        message = f"another `ser run` is working in {workspace.tables}: wait for it, or give another --out"
        raise SerError(message) from None
