"""Run the notebooks through papermill, skipping what is up to date (see `keys`).

They start in order, but not before the tables that they read are written (00 waits for 04); two run at a time. A
table that is rewritten but equal makes none of its readers run again. Papermill and nbconvert are imported only once a notebook must run.
"""

import math
from collections.abc import Iterable, Mapping
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from pathlib import Path

import yaml
from filelock import AcquireReturnProxy, FileLock, Timeout

from ser_utils import ROOT, SerError, corpora, evaluation, features, listed
from ser_utils.pipeline.execution import AT_A_TIME, NotebookFailed, execute, killing_kernels
from ser_utils.pipeline.keys import Notebook, provenance
from ser_utils.pipeline.others import present
from ser_utils.pipeline.record import Record
from ser_utils.pipeline.workspace import Workspace

#: What a profile changes of the notebooks' parameters, whose defaults are `demo`; each gets those that it declares.
PROFILES: dict[str, dict] = {
    "quick": {
        "seeds": [0], "resamples": 500, "epochs": 4, "lengths": [0.5, 1.0, 2.0], "crop_lengths": [1.0],
        "clips_per_speaker": 6, "pitfall_clips": 6, "explained_clips": 12, "changed_clips": 6, "shares": [0.5],
        "pretrain_steps": 12, "tuning_epochs": 1, "label_shares": [0.3],
        "jobs": 1,  # two notebooks are run side by side: workers of their own would cost more than they save
    },
    "demo": {},
    "paper": {"seeds": [0, 1, 2, 3, 4], "pretrain_steps": 4000, "tuned_clips": None},
}  # fmt: skip

# Set by their own options, because the pipeline itself must know them.
_OWN = {"corpus": "--corpus", "data": "--data", "out": "--out"}


def run(
    corpus: str | Path = "demo", *,
    data: str | Path | None = None, profile: str = "demo", only: Iterable[str] = (), fresh: bool = False,
    out: str | Path | None = None, parameters: Mapping[str, object] | None = None, scheduler: str | None = None,
    notebooks: str | Path | None = None,
) -> Path:  # fmt: skip
    """Run the notebooks on a corpus and write tables, figures, scores and the report.

    Parameters
    ----------
    corpus : str or Path
        Name of a corpus, or the path of a table as `corpora.load` reads it.
    data : str or Path, optional
        Folder of the recordings; the corpus's default folder when left out.
    profile : {"quick", "demo", "paper"}
        Which set of `PROFILES`.
    only : iterable of str
        Numbers (or names) of the notebooks to run; all when empty.
    fresh : bool
        Run also what is up to date.
    out, notebooks : str or Path, optional
        Folder below which `data/` and `reports/` are written, and folder of the notebooks; those of the checkout by
        default.
    parameters : mapping, optional
        Further parameters of the notebooks, such as `encoder`, `labels` or `strict`; they win over the profile's.
    scheduler : str, optional
        Address of a Dask scheduler whose workers compute features and cross-validations, with equal results; by default
        that of the environment variable `SER_SCHEDULER`, else this machine computes.

    Returns
    -------
    Path
        The report's front page.

    Raises
    ------
    SerError, NotebookFailed
        For unusable arguments or data, found before a kernel starts or met by a notebook; if a notebook fails.
    """
    folder = Path(notebooks) if notebooks is not None else ROOT / "notebooks"
    books = [Notebook.read(path) for path in sorted(folder.glob("[0-9][0-9]_*.ipynb"))]
    if not books:
        raise SerError(f"no notebooks in {folder}: `ser run` needs a checkout of the repository")
    chosen = _choose(books, only)
    scheduler = scheduler or features.named()
    if scheduler:
        features.connect(scheduler).close()
    corpus = _absolute(corpus) if corpora.is_table(corpus) else str(corpus)
    data, out = (None if path is None else _absolute(path) for path in (data, out))
    wanted = _parameters(books, profile, parameters or {}) | {"corpus": corpus, "data": data, "out": out}
    encoder = wanted.get("encoder")
    if encoder and Path(encoder).expanduser().is_dir():
        wanted["encoder"] = _absolute(encoder)  # notebooks work in another folder

    if wanted.get("answers"):
        wanted["answers"] = _absolute(str(wanted["answers"]))
    if wanted.get("others"):
        wanted["others"] = [present(str(name)) for name in wanted["others"]]
    if str(wanted.get("labels")).lower().endswith(corpora.TABLE_ENDINGS):
        wanted["labels"] = _absolute(str(wanted["labels"]))

    clips = corpora.load(corpus, data, labels=wanted.get("labels", "filename"), strict=bool(wanted.get("strict")))
    kept, _ = corpora.scored(clips, corpus, str(wanted.get("classes", "usual")))
    evaluation.need_two_speakers(corpora.thin(kept, wanted.get("clips_per_speaker")))  # 01 would say so after a minute
    workspace = Workspace(corpus, out, encoder=wanted.get("encoder"), labels=wanted.get("labels"))
    with _alone(workspace):
        record = Record(workspace, books, clips, {"source": corpus, "profile": profile, "parameters": wanted})
        record.check_inputs(chosen)
        size = f"{len(clips)} clips, {clips['speaker'].nunique()} speakers"
        print(f"{workspace.label}: {size}; profile {profile}", flush=True)
        _run_books(record, chosen, fresh, scheduler)
        return record.finish()


def _run_books(record: Record, chosen: list[Notebook], fresh: bool, scheduler: str) -> None:
    """Run the chosen notebooks and write their pages; after a failure, those that still run are waited for."""
    left, running, pages, failure = list(chosen), {}, [], None
    width = 2 + max(len(book.name) for book in chosen)
    with ThreadPoolExecutor(AT_A_TIME) as pool, killing_kernels():
        while left or running or pages:
            while len(running) < AT_A_TIME and (book := _startable(left, running)):
                left.remove(book)
                key = record.key(book)
                reason = "asked to run afresh" if fresh else record.reason(book, key)
                if not reason:
                    print(f"{book.name:<{width}}unchanged, skipped", flush=True)
                    pages.append(book)
                    continue
                print(f"{book.name:<{width}}{reason}{record.outlook([book, *left])}", flush=True)
                record.start(book)
                given = record.given(book)
                if "jobs" in book.defaults and (running or _startable(left, [book])):  # shares the machine
                    given["jobs"] = max(1, (book.defaults | given)["jobs"] // AT_A_TIME)
                running[book] = pool.submit(execute, book, given, record.workspace, scheduler), key
            if pages:  # while the next kernels start
                record.page(pages.pop(0))
                continue
            if not running:
                if left:
                    raise SerError(f"{listed(book.name for book in left)} wait for tables of each other: correct their ser.reads")
                break
            wait([future for future, _ in running.values()], timeout=1, return_when=FIRST_COMPLETED)  # Ctrl-C gets through
            for book in [book for book, (future, _) in running.items() if future.done()]:
                future, key = running.pop(book)
                try:
                    entry = future.result()
                except (SerError, NotebookFailed) as error:
                    failure, left = failure or error, []
                    still = f"; {listed(b.name for b in running)} is still running" if running else f": {error}"
                    print(f"{book.name:<{width}}failed{still}", flush=True)
                    continue
                record.done(book, {**entry, "key": key, "profile": record.record["profile"], **provenance()})
                print(f"{book.name:<{width}}{entry['seconds']:.0f} s, peak {entry['peak_memory_mb']:.0f} MB", flush=True)
                pages.append(book)
    if failure:
        raise failure


def _startable(left: Iterable[Notebook], running: Iterable[Notebook]) -> Notebook | None:
    """The first notebook all of whose tables are there: no other one has still to write one."""
    left = list(left)
    for book in left:
        pending = {table for other in (*left, *running) if other is not book for table in other.writes}
        if not pending & set(book.reads):
            return book
    return None


def parse_parameter(text: str) -> tuple[str, object]:
    """Split `key=value` as given to `-p`; the value is read as YAML.

    Raises SerError if there is no `=`, the key is no name, or the value is no YAML.

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
    """The parameters to pass: the profile's, then `given`, checked against what notebooks declare."""
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
    if default == [] and isinstance(value, str):  # a list of names
        return [part.strip() for part in value.split(",")]
    if type(default) is int and isinstance(value, float) and value.is_integer() and value > 0:
        return int(value)  # 1e4 is a fine way to write a count
    above = ", and above 0" if type(default) in (int, float) and default > 0 else ""
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


def _alone(workspace: Workspace) -> AcquireReturnProxy:
    """Lock a workspace's folder until the block ends: two runs must not write the same products at once."""
    workspace.tables.mkdir(parents=True, exist_ok=True)
    try:
        return FileLock(workspace.tables / ".lock").acquire(timeout=0)
    except Timeout:
        raise SerError(f"another `ser run` is working in {workspace.tables}: wait, or give another --out") from None
