"""Run independent jobs with joblib: on this machine, or on a Dask cluster where one is named.

`ser run --scheduler ADDRESS` names it, through the environment variable `SER_SCHEDULER`, which reaches the notebooks'
kernels; it changes no result. Workers see the same files under the same paths.
"""

from __future__ import annotations

import hashlib
import mmap
import os
import pickle
import platform
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import CancelledError
from contextlib import contextmanager
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import ser_utils
from ser_utils import SerError

if TYPE_CHECKING:
    from distributed import Client, Future
    from joblib.parallel import ParallelBackendBase

#: Environment variable with the address of the scheduler.
VARIABLE = "SER_SCHEDULER"
#: Seconds in which a scheduler must answer, and have a first worker.
TIMEOUT = 10.0

# Jobs handed out before the first one ends, so that workers that join later find work.
_AHEAD = 1000
# openSMILE and torch's random numbers are global to a process, and some workers have several threads.
_ONE_AT_A_TIME = threading.Lock()


def named() -> str:
    """Return the address of the scheduler to use; empty when the work is done on this machine."""
    return os.environ.get(VARIABLE, "")


def connect(address: str) -> Client:
    """Connect to a scheduler that has workers.

    Raises
    ------
    SerError
        If Dask is not installed, no scheduler answers within `TIMEOUT` seconds, or it has no worker.
    """
    try:
        from distributed import Client
    except ImportError:
        raise SerError("a scheduler needs the packages of the extra `cluster`: pip install dask distributed") from None
    try:
        client = Client(address, timeout=TIMEOUT, set_as_default=False)
    except (OSError, ValueError):  # nobody there; no address
        advice = "give the address that it prints, such as tcp://192.168.0.1:8786, or leave the scheduler out"
        raise SerError(f"no Dask scheduler answers at {address}: start one with `dask scheduler` and {advice}") from None
    try:
        client.wait_for_workers(1, timeout=TIMEOUT)
    except TimeoutError:
        client.close()
        advice = f"start some with `dask worker {address} --nthreads 1`"
        raise SerError(f"the scheduler at {address} has no workers: {advice}") from None
    return client


def run(jobs: Iterable[Callable], *shared: np.ndarray, n_jobs: int | None = None) -> Iterator:
    """Call every job with the shared arrays, in parallel, and yield the results in the order in which they come.

    Parameters
    ----------
    jobs : iterable of callable
        Taken from the iterable as they are handed out.
    *shared : ndarray
        Arguments of every job. A memory-mapped file is opened by each process; another array is copied to every worker.
    n_jobs : int, optional
        Processes on this machine; by default as many threads as torch may use, at most 16. A cluster uses all its workers.

    Yields
    ------
    object
        The result of a job. A worker that is lost right after a job takes the result along, and the job runs again.

    Raises
    ------
    SerError
        If a job was lost with several workers, the scheduler is gone, or a worker has other code than this machine.
    """
    from joblib import Parallel, delayed

    options = {"batch_size": 1, "return_as": "generator_unordered"}
    if not named():
        if n_jobs is None:
            import torch

            options |= {"n_jobs": min(torch.get_num_threads(), 16), "prefer": "threads"}
        else:
            options["n_jobs"] = n_jobs
        with one_thread():
            yield from Parallel(**options)(delayed(job)(*shared) for job in jobs)
        return
    import cloudpickle
    from distributed import KilledWorker
    from distributed.comm import CommClosedError

    client = _client(named())
    arguments = [_place(array, client) for array in shared]
    # As bytes, a job is unpickled by a worker only: the scheduler would load encoders, and joblib would keep large
    # arguments on one worker, to be lost with it.
    calls = (delayed(_on_worker)(code_hash(), cloudpickle.dumps(job), *arguments) for job in jobs)
    try:
        yield from Parallel(**options, backend=_backend(client), pre_dispatch=_AHEAD)(calls)
    except KilledWorker as error:
        raise SerError(
            f"a part of the work was lost with {error.allowed_failures + 1} workers of {named()}, one after the other, "
            "perhaps because memory ran out: start fewer workers on a machine and run again; what is done is kept"
        ) from None
    except (CancelledError, CommClosedError):
        raise SerError(f"the scheduler at {named()} is gone: start it and run again; what is done is kept") from None


def _backend(client: Client) -> ParallelBackendBase:
    from joblib._dask import DaskDistributedBackend

    class Backend(DaskDistributedBackend):
        """joblib's backend without two faults of version 1.6."""

        def effective_n_jobs(self, n_jobs):  # with one worker, joblib would leave it idle and compute in this process
            return max(2, super().effective_n_jobs(n_jobs))

        def submit(self, func, callback=None):
            future = super().submit(func, callback)
            # joblib would wait forever for a call that Dask has given up (KilledWorker).
            future.add_done_callback(lambda done: done.exception() and callback(done.exception()))
            return future

    return Backend(client=client)


def _place(array: np.ndarray, client: Client) -> bytes | Future:
    """Where workers find an array: a pickled call that opens its file, or a copy on each of them."""
    if isinstance(array, np.memmap) and isinstance(array.base, mmap.mmap):  # all of a file, not a piece cut out of one
        order = "C" if array.flags.c_contiguous else "F"
        return pickle.dumps(partial(np.memmap, array.filename, array.dtype, "r", array.offset, array.shape, order))
    return client.scatter(np.asarray(array), broadcast=True, hash=False)


def _on_worker(code: str, job: bytes, *shared: Any) -> Any:
    from joblib import parallel_config

    if code != code_hash():  # what it computes would be filed under an address that stands for other code
        advice = "update it, and restart the workers"
        raise SerError(f"{__file__} on {platform.node()} is not the code of this run: {advice}")
    arrays = [pickle.loads(value)() if isinstance(value, bytes) else value for value in shared]
    # Sequential: joblib offers a job the whole cluster, where its parts would wait for workers that wait for this lock.
    with _ONE_AT_A_TIME, one_thread(), parallel_config("sequential"):
        return pickle.loads(job)(*arrays)


@contextmanager
def one_thread():
    """Limit BLAS, OpenMP and torch to one thread, so that no digit of a sum depends on the number of jobs.

    It is quicker, too: on two busy cores, a model call that shares them took three times as long as on one core alone.
    """
    from threadpoolctl import threadpool_limits

    before = os.environ.get("OMP_NUM_THREADS")
    threads = sys.modules["torch"].get_num_threads() if "torch" in sys.modules else os.cpu_count()
    os.environ["OMP_NUM_THREADS"] = "1"  # read by torch if `fit` is what imports it
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)
    try:
        with threadpool_limits(1):
            yield
    finally:
        os.environ.pop("OMP_NUM_THREADS")
        if before is not None:
            os.environ["OMP_NUM_THREADS"] = before
        if "torch" in sys.modules:
            sys.modules["torch"].set_num_threads(threads)


_client = cache(connect)


@cache
def code_hash() -> str:
    """Hash of this package's sources, as they are when a process first computes something."""
    sources = sorted(Path(ser_utils.__file__).parent.rglob("*.py"))
    return hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()
