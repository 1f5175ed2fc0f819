"""Run notebooks in kernels of this very interpreter, and watch their memory."""

import json
import os
import shutil
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from ser_utils import ROOT, SerError, features, replacing
from ser_utils.pipeline.keys import Notebook
from ser_utils.pipeline.workspace import Workspace

#: Notebooks side by side: what one of them does in a single process leaves cores to the other.
AT_A_TIME = 2

_KERNEL_ENV = {
    "PYTHONHASHSEED": "0",  # sets and dicts of strings iterate in the same order in every run
    "MPLBACKEND": "module://matplotlib_inline.backend_inline",
    "TOKENIZERS_PARALLELISM": "false",
    # glibc would give the memory of every large array back and fetch it again: a fifth of the time of a spectrogram CNN
    "MALLOC_MMAP_THRESHOLD_": str(2**30),
    "MALLOC_TRIM_THRESHOLD_": str(2**30),
}


class NotebookFailed(RuntimeError):
    """A notebook stopped with an error. The message names notebook, cell, error and the kept executed copy."""


@contextmanager
def killing_kernels() -> Iterator[None]:
    """Kill all processes that were started in the block if it ends with an exception, such as that of Ctrl-C."""
    import psutil

    this = psutil.Process()
    before = set(this.children())
    try:
        yield
    except BaseException:
        for child in set(this.children(recursive=True)) - before:
            with suppress(psutil.NoSuchProcess):
                child.kill()
        raise


def execute(book: Notebook, given: dict, workspace: Workspace, scheduler: str = "") -> dict:
    """Run one notebook through papermill; its executed copy goes to `reports/<workspace>/`.

    `given` are parameters that it declares, `scheduler` the address of a Dask scheduler (empty: this machine). Returns
    its entry in `run.json`: parameters, seconds, memory, and what it wrote.

    Raises NotebookFailed if a cell raises, the kernel dies or a declared table is not written (the copy executed so far
    is kept), and SerError if a cell raises that: then it is the data or the arguments that are unusable.
    """
    import nbformat

    executed = workspace.reports / f"{book.name}.ipynb"
    kept = workspace.reports / f"{book.name}.failed.ipynb"
    kept.unlink(missing_ok=True)
    with tempfile.TemporaryDirectory(prefix="ser-") as folder:
        partial, written = Path(folder, executed.name), Path(folder, "written")
        written.touch()
        started = time.perf_counter()
        try:
            peak, peak_process = _watch(lambda start: _papermill(book, given, partial, written, workspace, scheduler, start))
            made = set(written.read_text(encoding="utf-8").splitlines())
            tables = {name: _below(workspace.tables / f"{name}.parquet", workspace) for name in book.writes}
            if lacking := ", ".join(name for name, path in tables.items() if path not in made):
                raise NotebookFailed(f"declares the tables {lacking} (metadata ser.writes) and did not save them")
        except Exception as error:
            if partial.exists():
                with replacing(kept) as temporary:
                    shutil.copyfile(partial, temporary)
            raise _failure(book, error, kept) from error
        seconds = time.perf_counter() - started
        notebook = nbformat.read(partial, 4)
    notebook.metadata.pop("papermill", None)  # times and paths of this machine
    with replacing(executed) as temporary:
        nbformat.write(notebook, temporary)
    return {
        "parameters": book.defaults | given,
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "seconds": round(seconds, 1),
        "peak_memory_mb": round(peak / 2**20),
        "peak_process_mb": round(peak_process / 2**20),
        "outputs": sorted({*made, _below(executed, workspace)}),
    }


def _failure(book: Notebook, error: Exception, kept: Path) -> SerError | NotebookFailed:
    """The error to report: notebook, cell, what is wrong, and where the copy executed so far is."""
    from nbclient.exceptions import DeadKernelError
    from papermill.exceptions import PapermillExecutionError

    where = book.name
    if kept.exists() and not isinstance(error, NotebookFailed):
        where += _cell(book, kept)
    said = str(error) or type(error).__name__
    if isinstance(error, PapermillExecutionError):
        if error.ename == "SerError":
            return SerError(f"{where}: {error.evalue} (executed so far: {kept})")
        said = f"{error.ename}: {error.evalue}"
    if isinstance(error, DeadKernelError) or isinstance(error.__context__, DeadKernelError):  # or met in clearing up
        said = "the kernel died, perhaps because memory ran out: try --profile quick or shorter segments"
    return NotebookFailed(f"{where}: {said.strip().splitlines()[0]}\nexecuted so far: {kept}")


def _papermill(
    book: Notebook, given: dict, partial: Path, written: Path, workspace: Workspace, scheduler: str,
    started_kernel: Callable[[int], None],
) -> None:  # fmt: skip
    from papermill import execute_notebook

    run = {"notebook": book.name, "workspace": workspace.slug, "record": str(written)}
    run |= {"reads": book.reads, "writes": book.writes}
    # Two kernels that each use all cores wait for each other in every operation: networks trained five times slower.
    threads = str(max(1, (os.cpu_count() or 1) // AT_A_TIME))
    environment = {name: os.environ.get(name, threads) for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")}
    environment |= {**_KERNEL_ENV, "SER_RUN": json.dumps(run), features.VARIABLE: scheduler}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the libraries that run notebooks, about each other
        execute_notebook(
            str(book.path),
            str(partial),
            parameters=given,
            kernel_name="python3",
            language="python",
            start_timeout=300,  # on a busy machine a kernel needed more than papermill's 60 s
            progress_bar={"desc": book.name, "unit": "cell", "leave": False, "file": sys.stderr},
            kernel_manager_class=_kernel_manager(environment, partial.parent, started_kernel),
            resources={"metadata": {"path": str(ROOT)}},
        )


def _below(path: Path, workspace: Workspace) -> str:
    return path.relative_to(workspace.root).as_posix()


def _kernel_manager(environment: dict[str, str], sockets: Path, started_kernel: Callable[[int], None]) -> type:
    """A kernel manager class that starts this very interpreter, whatever kernels are installed."""
    from jupyter_client.kernelspec import KernelSpec
    from jupyter_client.manager import AsyncKernelManager

    class ThisInterpreter(AsyncKernelManager):
        if sys.platform != "win32":
            # Sockets in a folder that only this user can open, instead of ports on the loopback device.
            transport, ip = "ipc", str(sockets / "kernel")

        @property
        def kernel_spec(self) -> KernelSpec:
            command = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
            return KernelSpec(argv=command, env=environment, display_name="Python 3", language="python")

        async def _async_post_start_kernel(self, **options):
            await super()._async_post_start_kernel(**options)
            started_kernel(self.provisioner.pid)

        post_start_kernel = _async_post_start_kernel

    return ThisInterpreter


def _watch(work: Callable[[Callable[[int], None]], None]) -> tuple[int, int]:
    """Do work in a thread and watch the memory of its kernel's processes, in bytes: (highest together, largest one).

    `work` calls what it is given with the number of the kernel's process.
    """
    import psutil

    kernels, seen, peak, largest = [], set(), 0, 0
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(work, kernels.append)
        while not running.done():
            started, processes = time.perf_counter(), set()
            for kernel in kernels:
                with suppress(psutil.NoSuchProcess):
                    processes |= {psutil.Process(kernel), *psutil.Process(kernel).children(recursive=True)}
            # From the second look on: at first a process shows all of its parent's memory as its own.
            sizes = [_memory(process) for process in processes & seen]
            seen = processes
            peak, largest = max(peak, sum(sizes)), max(largest, *sizes, 0)
            # Counting the pages of large processes five times a second took a tenth of both cores.
            wait([running], timeout=max(0.2, 20 * (time.perf_counter() - started)))
        running.result()
    return peak, largest


def _memory(process) -> int:
    """Bytes that a process holds; what it shares counts in parts (Linux: proportional set size) or not at all."""
    import psutil

    try:
        held = process.as_dict(["memory_full_info", "memory_info"], ad_value=None)
    except psutil.NoSuchProcess:
        return 0
    full, plain = held["memory_full_info"], held["memory_info"]
    if full:
        return getattr(full, "pss", full.uss)
    return plain.rss if plain else 0  # macOS, without more rights


def _cell(book: Notebook, executed: Path) -> str:
    """The cell at which an executed copy stopped, by its place in the source: ", cell 7 (In [5])"."""
    order = {cell.get("id"): number for number, cell in enumerate(book.cells, start=1)}
    stopped = None
    for cell in json.loads(executed.read_text(encoding="utf-8"))["cells"]:
        state = cell["metadata"].get("papermill", {}).get("status", "pending")
        # Papermill calls a cell completed in which the kernel died: the last one that is not pending is meant.
        if cell.get("id") in order and state != "pending":
            stopped = cell
    if stopped is None:
        return ""
    count = stopped.get("execution_count")
    return f", cell {order[stopped['id']]}" + (f" (In [{count}])" if count else "")
