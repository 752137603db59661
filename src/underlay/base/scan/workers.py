"""Who does the work of a scan: processes of this machine, or the workers of a Dask cluster."""

from __future__ import annotations

import importlib
import logging
import os
import signal
from concurrent.futures import BrokenExecutor, CancelledError, Executor, ProcessPoolExecutor
from contextlib import contextmanager

from ...errors import InvalidInput, UnderlayError, Unreachable
from ...linux import process
from ...store.scratch import Scratch
from ...version import __version__

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from concurrent.futures import Future
    from typing import Any

    from ...paths import Paths

_TASKS = 4  # for which another worker is worth it
_WAIT = 30  # seconds for the first worker of a cluster
_LOCAL = "local:"


@contextmanager
def processes(workers: int, tasks: int) -> Iterator[Executor | None]:
    """Give workers as processes of this machine; none where one is enough."""
    # A process takes longer to start than a few tasks to be done.
    count = min(workers, -(-tasks // _TASKS))
    if count <= 1:
        yield None
        return
    import multiprocessing

    # Forked ones would share the connection to the database.
    context = multiprocessing.get_context("spawn")
    executor = ProcessPoolExecutor(count, mp_context=context, initializer=_end_with, initargs=(os.getpid(),))
    try:
        yield executor
    finally:
        executor.shutdown(cancel_futures=True)


def _end_with(parent: int) -> None:
    """Have a worker end when its parent does, and with an interrupt."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    process.prctl(process.PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def lost(error: BaseException) -> bool:
    """Tell whether a task was not done because its worker, or the scheduler that had it, is no more."""
    # By name, since a scan without a cluster does without Dask. KilledWorker: three workers died with the task.
    names = {kind.__name__ for kind in type(error).__mro__}
    return isinstance(error, (BrokenExecutor, CancelledError)) or bool(
        names & {"KilledWorker", "CommClosedError", "FutureCancelledError"}
    )


class Cluster(Executor):
    """The workers of a Dask cluster, by a client of its scheduler."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self._executor = client.get_executor(pure=False)

    def submit(self, function: Callable[..., Any], /, *arguments: Any, **keywords: Any) -> Future[Any]:
        """Give a task to a worker. Raises BrokenExecutor when the scheduler is no more."""
        if self.ended:
            raise BrokenExecutor("the scheduler of the cluster is no more")
        future: Future[Any] = self._executor.submit(function, *arguments, **keywords)
        return future

    @property
    def ended(self) -> bool:
        """Whether the client has given up to reach the scheduler: nothing that was submitted will be done any more."""
        return str(self._client.status) in ("closing", "closed")


@contextmanager
def cluster(address: str, paths: Paths) -> Iterator[Cluster]:
    """Give the workers of a Dask cluster, by the address of its scheduler, or of so many processes that it starts itself
    (`local:N`; what they spill is kept below `paths`).

    Raises InvalidInput (no such address, Dask is not installed, workers without underlay or with another version of it),
    Unreachable.
    """
    try:
        distributed: Any = importlib.import_module("distributed")
    except ImportError:
        raise InvalidInput(
            "a cluster needs Dask, which is not installed", "install the extra: pip install 'underlay[dask]'"
        ) from None
    dask: Any = importlib.import_module("dask")
    # What becomes of workers is told by the problems of a scan.
    for name in ("distributed", "distributed.client"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    settings = {"distributed.admin.system-monitor.gil.enabled": False, "distributed.scheduler.allowed-failures": 2}
    with dask.config.set(settings):
        if address.startswith(_LOCAL):
            with _local(distributed, address, paths) as client:
                yield Cluster(client)
            return
        try:
            client = distributed.Client(address, timeout=_WAIT, set_as_default=False, name="underlay base scan")
        except (OSError, ValueError, TypeError) as error:
            raise _no_scheduler(address, error) from None
        with client:
            _check(client, address)
            yield Cluster(client)


def _no_scheduler(address: str, error: Exception) -> UnderlayError:
    if isinstance(error, OSError):
        return Unreachable(f"no scheduler of Dask answers at {address}", "its address is as tcp://scheduler:8786")
    return InvalidInput(
        f"{address} is not the address of a scheduler: {error}",
        "as tcp://scheduler:8786, or local:4 for processes here",
    )


@contextmanager
def _local(distributed: Any, address: str, paths: Paths) -> Iterator[Any]:
    """Give the client of a cluster of processes of this machine, which ends with it."""
    from ...human import whole

    count = whole(address.removeprefix(_LOCAL))
    if count < 1:
        raise InvalidInput(f"invalid number of workers in {address}", "as local:4")
    with (
        Scratch(paths, "scan") as scratch,
        distributed.LocalCluster(
            n_workers=count,
            threads_per_worker=1,
            dashboard_address=None,
            local_directory=scratch.path,
            silence_logs=logging.CRITICAL,
        ) as workers,
        distributed.Client(workers, set_as_default=False) as client,
    ):
        yield client


def version() -> str:
    """Return the version of underlay: a cluster's workers are asked for it."""
    return __version__


def _check(client: Any, address: str) -> None:
    """See that there is a worker, and that all that are there have this version of underlay."""
    try:
        client.wait_for_workers(1, timeout=_WAIT)
    except TimeoutError:
        raise Unreachable(f"the cluster at {address} has no workers", "start `dask worker` on its machines") from None
    try:
        versions = set(client.run(version).values())
    except OSError as error:
        raise Unreachable(f"the cluster at {address} went away: {error}") from None
    except Exception:
        # What a worker without underlay says of the function comes as a plain Exception.
        raise InvalidInput(
            f"workers of {address} have no underlay, or an older one", f"install underlay {__version__} where they run"
        ) from None
    if versions != {__version__}:
        raise InvalidInput(
            f"workers of {address} have underlay {', '.join(sorted(versions))}, this is {__version__}",
            "install the same version where they run",
        )
