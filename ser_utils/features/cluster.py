"""Work on a Dask cluster, where one is named; without, everything runs on this machine.

`ser run --scheduler ADDRESS` names it, or the environment variable `SER_SCHEDULER`, through which the address reaches the
notebooks' kernels. It is no parameter of theirs, since where something is computed changes no result. Dask decides which
worker computes what, and gives the work of one that is lost to another. Workers see the same files under the same paths.
"""

from __future__ import annotations

import hashlib
import itertools
import mmap
import os
import pickle
import platform
import sys
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import CancelledError, Executor
from contextlib import contextmanager
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import ser_utils
from ser_utils import SerError

if TYPE_CHECKING:
    from distributed import Client, Future

#: Environment variable with the address of the scheduler.
VARIABLE = "SER_SCHEDULER"
#: Seconds in which a scheduler must answer, and have a first worker.
TIMEOUT = 10.0

# Calls handed out before the first result is taken: a thousand parts of features are half a day of audio.
_AHEAD = 1000
# openSMILE and torch's random numbers are one to a process, and some workers have several threads.
_ONE_AT_A_TIME = threading.Lock()


def named() -> str:
    """Return the address of the scheduler to use; empty when the work is done here."""
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
        raise SerError(
            f"no Dask scheduler answers at {address}: start one with `dask scheduler` and give the address that it "
            "prints, such as tcp://192.168.0.1:8786, or leave the scheduler out"
        ) from None
    try:
        client.wait_for_workers(1, timeout=TIMEOUT)
    except TimeoutError:
        client.close()
        raise SerError(
            f"the scheduler at {address} has no workers: start some with `dask worker {address} --nthreads 1`"
        ) from None
    return client


def run(calls: Iterable[tuple]) -> Iterator[tuple[int, object]]:
    """Compute calls on the workers.

    Parameters
    ----------
    calls : iterable of tuple
        Function and arguments, which are sent to a worker; what `share` returned may be among the arguments.

    Yields
    ------
    (int, object)
        Number of a call and its result. It is fetched as soon as it is there: a worker that is lost in the milliseconds
        before takes it along, and the call is computed again. What must outlive that writes a file (see `store`).

    Raises
    ------
    SerError
        If a call was lost with several workers, the scheduler is gone, or a worker has other code than this machine.
    """
    from distributed import KilledWorker, as_completed
    from distributed.comm import CommClosedError

    client, waiting, numbers = _client(named()), enumerate(calls), dict[object, int]()

    def send(number: int, call: tuple) -> Future:
        future = client.submit(_on_worker, _code(), *map(_packed, call), pure=False)
        numbers[future.key] = number
        return future

    try:
        ready = as_completed([send(*numbered) for numbered in itertools.islice(waiting, _AHEAD)], loop=client.loop)
        for future in ready:
            yield numbers.pop(future.key), future.result()
            for numbered in itertools.islice(waiting, 1):
                ready.add(send(*numbered))
    except KilledWorker as error:
        raise SerError(
            f"a part of the work was lost with {error.allowed_failures + 1} workers of {named()}, one after the other, "
            "perhaps because memory ran out: start fewer workers on a machine and run again; what is done is kept"
        ) from None
    except (CancelledError, CommClosedError):
        raise SerError(f"the scheduler at {named()} is gone: start it and run again; what is done is kept") from None


def in_order(pool: Executor, calls: Iterable[tuple], ahead: int) -> Iterator:
    """Compute calls (function and arguments) in a pool and yield their results in order, running only so many ahead."""
    pending: deque = deque()
    for function, *arguments in calls:
        pending.append(pool.submit(function, *arguments))
        if len(pending) > ahead:  # so that results cannot pile up
            yield pending.popleft().result()
    while pending:
        yield pending.popleft().result()


def share(array: np.ndarray) -> _Mapped | Future:
    """Make an array ready to be an argument of many calls.

    A memory-mapped file is opened where it is needed. Anything else is copied to every worker once, so that no array is
    lost with the worker that holds it.
    """
    if isinstance(array, np.memmap) and isinstance(array.base, mmap.mmap):  # all of a file, not a piece cut out of one
        return _Mapped(array)
    return _client(named()).scatter(np.asarray(array), broadcast=True, hash=False)


class _Mapped:
    """A memory map that is sent as the place of its file."""

    def __init__(self, array: np.memmap):
        self.array = array

    def __reduce__(self):
        array, order = self.array, "C" if self.array.flags.c_contiguous else "F"
        return np.memmap, (array.filename, array.dtype, "r", array.offset, array.shape, order)


@contextmanager
def one_thread():
    """Hold BLAS, OpenMP and torch to one thread: sums in another order would change last digits with the number of jobs."""
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
def _code() -> str:
    """Hash of this package's sources, as they are when a process first computes something."""
    sources = sorted(Path(ser_utils.__file__).parent.rglob("*.py"))
    return hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()


def _packed(value):
    """Pickle here what only a worker shall unpickle: the scheduler would load encoders and read mapped files."""
    import cloudpickle
    from distributed import Future

    return value if isinstance(value, Future) else partial(pickle.loads, cloudpickle.dumps(value))


def _on_worker(code: str, *call: Any) -> Any:
    if code != _code():  # what it computes would be filed under an address that stands for other code
        raise SerError(
            f"{__file__} on {platform.node()} is not the code of this run: update it, and restart the workers"
        )
    function, *arguments = (value() if isinstance(value, partial) else value for value in call)
    with _ONE_AT_A_TIME, one_thread():  # as in the threads and processes of this machine: the same bytes
        return function(*arguments)
