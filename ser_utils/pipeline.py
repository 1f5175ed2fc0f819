"""Run the notebooks in order through papermill, skipping what is up to date.

A notebook is run again when something that it depends on has changed: its source, its parameters, the modules of
`ser_utils` that it imports, the tables that it reads, the corpus, the weights of an encoder, or a product that is gone.
Everything is compared by content and never by time, so a rewritten but equal table stops the chain there.

Heavy libraries (papermill, nbconvert) are imported only once a notebook must run: finding that nothing changed is quick.
"""

from __future__ import annotations

import ast
import fcntl
import json
import math
import platform
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path

import yaml

from ser_utils import SerError, __version__, corpora, report
from ser_utils.workspace import ROOT, Workspace, digest, replacing

__all__ = ["PROFILES", "NotebookFailed", "Workspace", "run"]

#: What a profile changes of the notebooks' parameters, whose defaults are the profile `demo`. A notebook gets those
#: that it declares.
PROFILES: dict[str, dict] = {
    "quick": {"seeds": [0], "resamples": 500, "epochs": 4, "lengths": [0.5, 1, 2], "clips_per_speaker": 12},
    "demo": {},
    "paper": {"seeds": [0, 1, 2, 3, 4], "epochs": 60},
}

# Set by their own options, because the pipeline itself must know them.
_OWN = {"corpus": "--corpus", "data": "--data", "out": "--out"}
# What does not change any result. `data` stays in the key: paths stand in the clips table.
_NOT_IN_KEY = {"out", "jobs"}
# Modules that run notebooks rather than being used by them: editing these makes no result stale.
_RUNNERS = {"pipeline", "report", "cli", "readme"}
# Modules that read files below ser_utils/weights/.
_USE_WEIGHTS = {"encoders", "models"}

_KERNEL_ENV = {
    "PYTHONHASHSEED": "0",  # sets and dicts of strings iterate in the same order in every run
    "MPLBACKEND": "module://matplotlib_inline.backend_inline",
    "TOKENIZERS_PARALLELISM": "false",
}

_PACKAGES = [
    "numpy",
    "pandas",
    "scipy",
    "scikit-learn",
    "torch",
    "torchaudio",
    "transformers",
    "librosa",
    "opensmile",
    "soundfile",
    "matplotlib",
    "seaborn",
    "joblib",
    "papermill",
    "nbconvert",
]


class NotebookFailed(RuntimeError):
    """A notebook stopped with an error. The message names notebook, cell, error and the kept executed copy."""


@dataclass(frozen=True)
class Notebook:
    """A notebook's source, as far as running it needs."""

    path: Path
    cells: list[dict] = field(repr=False)
    reads: tuple[str, ...]
    writes: tuple[str, ...]
    main_figures: tuple[str, ...]
    defaults: dict

    @property
    def name(self) -> str:
        """File name without its ending, such as "03_baselines"."""
        return self.path.stem

    @property
    def title(self) -> str:
        """First heading, or the name."""
        return report.title(self.cells) or self.name

    @classmethod
    def read(cls, path: Path) -> Notebook:
        """Read a notebook file; parameters come from its cell tagged `parameters`."""
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            cells = [{**cell, "source": "".join(cell["source"])} for cell in content["cells"]]
            ser = content["metadata"].get("ser", {})
        except (ValueError, KeyError) as error:
            raise SerError(
                f"{path.name} is not a readable notebook ({error}); restore it from git"
            ) from error
        defaults = {}
        for cell in cells:
            if "parameters" in cell["metadata"].get("tags", []):
                defaults |= _assignments(cell["source"])
        return cls(
            path,
            cells,
            tuple(ser.get("reads", [])),
            tuple(ser.get("writes", [])),
            tuple(ser.get("figures", [])),
            defaults,
        )


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
    corpus = str(Path(corpus).expanduser().resolve()) if str(corpus).lower().endswith(".csv") else str(corpus)
    data = None if data is None else str(Path(data).expanduser().resolve())
    wanted = _parameters(
        books, profile, {"encoder": encoder, "labels": labels, "strict": strict or None}, parameters
    )
    wanted |= {
        "corpus": corpus,
        "data": data,
        "out": None if out is None else str(Path(out).expanduser().resolve()),
    }

    clips = corpora.load(
        corpus, data, labels=wanted.get("labels", "filename"), strict=bool(wanted.get("strict"))
    )
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
                entry = _execute(book, given, workspace, state)
                state.done(book, {"key": key, **entry})
                print(
                    f"{book.name:<{width}}{entry['seconds']:.0f} s, peak {entry['peak_memory_mb']:.0f} MB",
                    flush=True,
                )
            else:
                print(f"{book.name:<{width}}unchanged, skipped", flush=True)
            state.pages(book)
        return state.finish()


def parse_parameter(text: str) -> tuple[str, object]:
    """Split `key=value` as given to `-p`; the value is read as YAML, so `3`, `0.5`, `true`, `null`, `[0, 1]` work."""
    key, equals, value = text.partition("=")
    if not equals or not key.strip().isidentifier():
        raise SerError(f"-p {text}: give a parameter as key=value, such as -p seeds=[0,1,2]")
    try:
        parsed = yaml.safe_load(value)
    except yaml.YAMLError:
        raise SerError(
            f"-p {text}: the value is not readable; write lists as [0,1,2] and quote texts"
        ) from None
    if isinstance(parsed, str):
        try:
            parsed = float(parsed)  # YAML 1.1 takes 1e-3 for a text
        except ValueError:
            parsed = None if parsed == "None" else parsed
    return key.strip(), parsed


# --- arguments ---------------------------------------------------------------------------------------------------


def _assignments(source: str) -> dict:
    """Names assigned in a parameters cell, with their values (source text where a value is no literal)."""
    found = {}
    for node in ast.parse(source).body:
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        for target in targets:
            if isinstance(target, ast.Name) and getattr(node, "value", None) is not None:
                try:
                    found[target.id] = ast.literal_eval(node.value)
                except ValueError:
                    found[target.id] = ast.unparse(node.value)
    return found


def _choose(books: list[Notebook], only: Iterable[str]) -> list[Notebook]:
    chosen = set()
    for wish in only:
        found = {book.name for book in books if wish in (book.name, book.name[:2], str(int(book.name[:2])))}
        if not found:
            raise SerError(
                f"--only {wish}: no such notebook; there are {', '.join(book.name for book in books)}"
            )
        chosen |= found
    return [book for book in books if not chosen or book.name in chosen]


def _parameters(books, profile: str, options: dict, given: Mapping[str, object] | None) -> dict:
    """What is to be passed: the profile's, then the options', then `given`, checked against what notebooks declare."""
    if profile not in PROFILES:
        raise SerError(f"no profile is called {profile!r}; there are {', '.join(PROFILES)}")
    known: dict[str, object] = {}
    for book in books:
        known = book.defaults | known
    for name, value in (given or {}).items():
        if name in _OWN:
            raise SerError(f"-p {name}=…: use the option {_OWN[name]} instead")
        if name not in known:
            others = sorted(set(known) - set(_OWN))
            raise SerError(f"no notebook has a parameter {name!r}; there are {', '.join(others)}")
        _check_type(name, value, known[name])
    wanted = PROFILES[profile] | {name: value for name, value in options.items() if value is not None}
    return wanted | dict(given or {})


def _check_type(name: str, value: object, default: object) -> None:
    if default is None or value is None:
        return
    number = isinstance(default, int | float) and not isinstance(default, bool)
    fits = (
        (isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value))
        if number
        else isinstance(value, type(default))
    )
    if number and isinstance(default, int) and isinstance(value, float) and not value.is_integer():
        fits = False
    if not fits:
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

    def __init__(self, workspace, books, clips, corpus, profile, wanted, folder):
        self.workspace, self.books = workspace, books
        self.path = workspace.tables / "run.json"
        try:
            self.record = json.loads(self.path.read_text(encoding="utf-8"))
            self.record["notebooks"].items()
        except (OSError, ValueError, KeyError, AttributeError):  # none yet, or not ours: everything is run
            self.record = {"notebooks": {}}
        self.before = json.dumps(self.record, sort_keys=True)
        self.corpus_fingerprint = _corpus_fingerprint(clips)
        self.record |= _provenance(clips, workspace, corpus, profile, wanted, self.corpus_fingerprint, folder)
        self.page_version = report.version([(book.name, book.title) for book in books])

    def key(self, book: Notebook, given: dict) -> dict[str, str]:
        """Content hashes of all that a notebook depends on, by kind."""
        modules = _modules(book.cells)
        effective = book.defaults | given
        used = {name: value for name, value in effective.items() if name not in _NOT_IN_KEY}
        tables = [self.workspace.tables / f"{name}.parquet" for name in book.reads]
        return {
            "notebook": digest(
                json.dumps([[c["cell_type"], c["source"], c["metadata"].get("tags")] for c in book.cells]),
                json.dumps([book.reads, book.writes]),
            ),
            "parameters": digest(json.dumps(used, sort_keys=True, default=str)),
            "module": digest(*(f"{name}\n{_code(name)}" for name in sorted(modules))),
            "tables it reads": digest(*(digest(path) if path.exists() else "missing" for path in tables)),
            "corpus": self.corpus_fingerprint,
            "encoder weights": _weights(modules, str(effective.get("encoder", ""))),
        }

    def reason(self, book: Notebook, key: dict[str, str]) -> str:
        """Why a notebook must run, in words; empty when it is up to date."""
        entry = self.record["notebooks"].get(book.name)
        if not entry:
            return "not run yet"
        changed = [kind for kind, value in key.items() if entry["key"].get(kind) != value]
        if changed:
            return f"changed: {', '.join(changed)}"
        missing = [name for name in entry["outputs"] if not (self.workspace.root / name).exists()]
        return f"missing: {', '.join(missing)}" if missing else ""

    def start(self, book: Notebook) -> None:
        """Forget a notebook's entry: its tables are about to change, and a killed run must not be taken for a whole."""
        self.outputs_before = self.record["notebooks"].pop(book.name, {}).get("outputs", [])
        self._write()

    def done(self, book: Notebook, entry: dict) -> None:
        """Record a notebook that ran, and remove what its earlier run made and this one did not."""
        self.record["notebooks"][book.name] = entry
        kept = {name for other in self.record["notebooks"].values() for name in other["outputs"]}
        for name in set(self.outputs_before) - kept:
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


def _modules(cells: list[dict]) -> set[str]:
    """Modules of `ser_utils` that code cells import, and those that these import, and so on."""
    code = "\n".join(
        "\n".join(
            "pass" if line.lstrip().startswith(("%", "!")) else line for line in cell["source"].splitlines()
        )
        for cell in cells
        if cell["cell_type"] == "code"
    )
    found: set[str] = {"__init__"}
    new = _imported(code) | {"workspace"}
    while new:
        found |= new
        new = {name for module in new for name in _imported(_source(module))} - found - _RUNNERS
    return found - _RUNNERS


def _imported(code: str) -> set[str]:
    """Modules of `ser_utils` named in import statements anywhere in the code."""
    names = set()
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[1] for alias in node.names if alias.name.startswith("ser_utils.")}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "ser_utils":
            inner = node.module.split(".")[1:2]
            names |= set(inner) if inner else {alias.name for alias in node.names}
    return {name for name in names if (ROOT / "ser_utils" / f"{name}.py").exists()}


def _source(module: str) -> str:
    return (ROOT / "ser_utils" / f"{module}.py").read_text(encoding="utf-8")


def _code(module: str) -> str:
    """A module's code without comments and layout, which cannot change a result."""
    return ast.dump(ast.parse(_source(module)))


def _weights(modules: set[str], encoder: str) -> str:
    """Content hash of the weights that a notebook can use: those of the package, and a local folder's."""
    folders = [ROOT / "ser_utils" / "weights"] if modules & _USE_WEIGHTS else []
    if encoder and Path(encoder).is_dir():
        folders.append(Path(encoder))
    files = [path for folder in folders for path in sorted(folder.rglob("*")) if path.is_file()]
    return digest(encoder, *(part for path in files for part in (path.name, path)))


def _corpus_fingerprint(clips) -> str:
    """Content hash of a corpus: every recording's bytes and every column but its place on disk."""
    with ThreadPoolExecutor(4) as pool:  # hashing and reading release the interpreter's lock
        contents = list(pool.map(lambda path: digest(Path(path)), clips["path"]))
    return digest(clips.drop(columns="path").to_csv(index=False), *contents)


def _provenance(clips, workspace, corpus, profile, wanted, fingerprint, folder) -> dict:
    return {
        "corpus": workspace.slug,
        "label": workspace.label,
        "source": corpus,
        "clips": len(clips),
        "speakers": int(clips["speaker"].nunique()),
        "hours": round(float(clips["duration"].sum()) / 3600, 4),
        "emotions": {name: int(count) for name, count in clips["emotion"].value_counts().items()},
        "skipped": [str(name) for name in clips.attrs.get("skipped", [])],
        "fingerprint": fingerprint,
        "profile": profile,
        "parameters": wanted,
        "notebooks_folder": str(folder),
        "git": _git(),
        "versions": {"ser_utils": __version__, "python": platform.python_version(), **_versions()},
        "platform": platform.platform(),
    }


def _versions() -> dict[str, str]:
    found = {}
    for name in _PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def _git() -> dict | None:
    def ask(*arguments: str) -> str:
        return subprocess.run(
            ["git", "-C", str(ROOT), *arguments], capture_output=True, text=True, check=True
        ).stdout

    try:
        # Figures are products of runs: that they differ says nothing about the sources.
        changed = ask("status", "--porcelain", "--untracked-files=no", "--", ".", ":!figures")
        return {"commit": ask("rev-parse", "HEAD").strip(), "dirty": bool(changed.strip())}
    except (OSError, subprocess.CalledProcessError):
        return None


# --- running one notebook ----------------------------------------------------------------------------------------


def _execute(book: Notebook, given: dict, workspace: Workspace, state: _State) -> dict:
    """Run one notebook through papermill; returns its entry in `run.json`."""
    import nbformat
    from papermill import execute_notebook
    from papermill.exceptions import PapermillExecutionError

    workspace.reports.mkdir(parents=True, exist_ok=True)
    partial = workspace.reports / f".{book.name}.running.ipynb"
    record = workspace.reports / f".{book.name}.outputs"
    kept = workspace.reports / f"{book.name}.failed.ipynb"
    record.write_text("", encoding="utf-8")
    run_variable = {"notebook": book.name, "reads": book.reads, "writes": book.writes, "record": str(record)}
    manager = _kernel_manager({**_KERNEL_ENV, "SER_RUN": json.dumps(run_variable)})
    state.start(book)

    def work() -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the libraries that run notebooks, about each other
            execute_notebook(
                str(book.path),
                str(partial),
                parameters=given,
                kernel_name="python3",
                language="python",
                progress_bar={"desc": book.name, "unit": "cell", "leave": False, "file": sys.stderr},
                kernel_manager_class=manager,
                resources={"metadata": {"path": str(ROOT)}},
            )

    started = time.perf_counter()
    try:
        peak, peak_process = _watch(work)
    except PapermillExecutionError as error:
        partial.replace(kept)
        where = f"{book.name}, {_cell(book, kept)}"
        said = f"{error.ename}: {error.evalue}".strip().splitlines()
        if error.ename == "SerError":
            raise SerError(f"{where}: {error.evalue}") from None
        raise NotebookFailed(
            f"{where}: {said[0] if said else error.ename}\nexecuted so far: {kept}"
        ) from None
    except Exception as error:  # the kernel died, or could not start
        if partial.exists():
            partial.replace(kept)
        where = f"{book.name}, {_cell(book, kept)}" if kept.exists() else book.name
        raise NotebookFailed(
            f"{where}: {str(error) or type(error).__name__}\nexecuted so far: {kept}"
        ) from error
    finally:
        partial.unlink(missing_ok=True) if sys.exc_info()[0] else None
        made = record.read_text(encoding="utf-8").split("\n")[:-1]
        record.unlink()
    seconds = time.perf_counter() - started
    missing = [name for name in book.writes if not (workspace.tables / f"{name}.parquet").exists()]
    if missing:
        partial.replace(kept)
        raise NotebookFailed(f"{book.name} declares the tables {', '.join(missing)} and did not write them")
    executed = workspace.reports / f"{book.name}.ipynb"
    notebook = nbformat.read(partial, 4)
    notebook.metadata.pop("papermill", None)  # times and paths of this machine
    with replacing(executed) as temporary:
        nbformat.write(notebook, temporary)
    partial.unlink()
    kept.unlink(missing_ok=True)
    return {
        "title": book.title,
        "parameters": {name: value for name, value in (book.defaults | given).items()},
        "seconds": round(seconds, 1),
        "peak_memory_mb": round(peak / 2**20),
        "peak_process_mb": round(peak_process / 2**20),
        "outputs": sorted({*made, executed.relative_to(workspace.root).as_posix()}),
    }


def _kernel_manager(environment: dict[str, str]) -> type:
    """A kernel manager class that starts this very interpreter, whatever kernels are or are not installed."""
    from jupyter_client.kernelspec import KernelSpec
    from jupyter_client.manager import AsyncKernelManager

    class ThisInterpreter(AsyncKernelManager):
        transport = "ipc"  # sockets that only this user can open, instead of ports on the loopback device

        @property
        def kernel_spec(self) -> KernelSpec:
            command = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
            return KernelSpec(argv=command, env=environment, display_name="Python 3", language="python")

    return ThisInterpreter


def _watch(work) -> tuple[int, int]:
    """Do work in a thread and watch the memory of the processes that it starts.

    The main thread stays free for Ctrl-C: it ends the kernel, and with it the work, before the interrupt goes on.

    Returns
    -------
    (int, int)
        Highest resident memory of all child processes together, and of the largest one, in bytes.
    """
    import psutil

    failure: list[BaseException] = []

    def guarded() -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001  handed to the main thread
            failure.append(error)

    thread = threading.Thread(target=guarded, daemon=True)
    this, peak, largest = psutil.Process(), 0, 0
    before = {child.pid for child in this.children()}
    thread.start()
    try:
        while thread.is_alive():
            sizes = [_resident(child) for child in this.children(recursive=True) if child.pid not in before]
            peak, largest = max(peak, sum(sizes)), max(largest, *sizes, 0)
            thread.join(0.2)
    except BaseException:
        for child in this.children(recursive=True):
            if child.pid not in before:
                child.kill()
        thread.join(10)
        raise
    if failure:
        raise failure[0]
    return peak, largest


def _resident(process) -> int:
    import psutil

    try:
        return process.memory_info().rss
    except psutil.Error:
        return 0


def _cell(book: Notebook, executed: Path) -> str:
    """Name the cell at which an executed copy stopped, by its place in the source: "cell 7 (In [5])"."""
    order = {cell.get("id"): number for number, cell in enumerate(book.cells, start=1)}
    for cell in json.loads(executed.read_text(encoding="utf-8"))["cells"]:
        state = cell.get("metadata", {}).get("papermill", {}).get("status")
        if state in ("failed", "running") and cell.get("id") in order:
            count = cell.get("execution_count")
            return f"cell {order[cell['id']]}" + (f" (In [{count}])" if count else "")
    return "before its first cell"


@contextmanager
def _alone(workspace: Workspace):
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
