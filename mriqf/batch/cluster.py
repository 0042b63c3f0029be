"""Tasks on several processes or machines, by Dask: it starts killed workers anew and repeats what they were at."""

import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from typing import Any, TypeVar

Item = TypeVar("Item")


@contextmanager
def workers(count: int = 1, scheduler: str | None = None) -> Iterator[Any]:
    """A `distributed.Client` of own worker processes, of one thread each, or of a cluster that runs already.

    Parameters
    ----------
    count
        Processes to start on this machine. They share its memory; one that takes more than its part is killed, and
        started anew. They talk by TLS with a key of their own: on a machine with several users, an open port of a
        scheduler would run anybody's code.
    scheduler
        Address of a cluster's scheduler instead, such as tcp://host:8786. Its security is what Dask's configuration
        says.

    Raises
    ------
    ImportError
        If Dask is not installed.
    OSError
        If no scheduler answers.
    """
    try:
        import cryptography  # noqa: F401 (for TLS)
        import dask.config
        from distributed import Client, LocalCluster
        from distributed.utils import silence_logging_cmgr
    except ImportError as error:
        raise ImportError(f"several workers need {error.name}: pip install distributed cryptography") from None
    quiet = logging.CRITICAL  # what becomes of tasks is said by those who give them
    if scheduler is not None:
        with silence_logging_cmgr(quiet), Client(scheduler, timeout=20) as client:
            yield client
        return
    settings = {
        "distributed.deploy.lost-worker-timeout": "120s",  # for a killed worker to come back, on a busy machine too
        "distributed.scheduler.http.routes": [],  # no web pages, which would show what is done to everybody
        "distributed.worker.http.routes": [],
        "distributed.worker.preload": ["mriqf.batch.preload"],
        # Dask has each array given back to the system at once, and pays for the next in page faults: half of the time.
        "distributed.nanny.pre-spawn-environ.MALLOC_TRIM_THRESHOLD_": None,
    }
    options = {"security": True, "dashboard_address": "127.0.0.1:0", "silence_logs": quiet}
    with silence_logging_cmgr(quiet), dask.config.set(settings):
        own: Any = LocalCluster(n_workers=count, threads_per_worker=1, processes=True, **options)
        with own, Client(own) as client:
            own.adapt(minimum=count, maximum=count)  # replaces a worker that cannot be started again
            yield client


def scatter(client: Any, task: Callable[[Item], Any], items: Iterable[Item]) -> Iterator[tuple[Item, Any]]:
    """Each item with its result, as they come; few items wait at a time, so a million of them cost no memory.

    An item whose workers were killed again and again has a `distributed.KilledWorker` as its result. Items that waited
    behind it are suspected, too: so all of those are first tried once more, each alone.

    Parameters
    ----------
    client
        See `workers`.
    task
        Function of an item; like items and results, it is sent to workers and should be small.
    items
        Different from each other; taken as workers become free.

    Raises
    ------
    ValueError
        If the task itself failed.
    ConnectionError
        If the scheduler is gone.
    """
    from distributed import CancelledError, KilledWorker, as_completed
    from distributed.comm.core import CommClosedError

    items, suspected = iter(items), []
    waiting: dict[Any, Item] = {}
    running = as_completed(loop=client.loop)

    def submit(some: Iterable[Item]) -> None:
        for item in some:
            future = client.submit(task, item, pure=False)
            waiting[future] = item
            running.add(future)

    def ended() -> Iterator[tuple[Item, Any]]:
        for future in running.next_batch():
            yield waiting.pop(future), _outcome(future)

    def room() -> int:
        """One item for each thread to go on with, and one to show a cluster that grows by itself that it should."""
        return max(2 * sum(client.nthreads().values()) + 1 - len(waiting), 0)

    try:
        submit(islice(items, room()))
        while waiting:
            for item, result in ended():
                if isinstance(result, KilledWorker):
                    suspected.append(item)
                else:
                    yield item, result
            submit(islice(items, room()))
        for item in suspected:
            submit([item])
            yield from ended()
    except (CancelledError, CommClosedError):
        raise ConnectionError("the cluster's scheduler is gone: start it and run the same command again") from None


def _outcome(future: Any) -> Any:
    from distributed import CancelledError, KilledWorker
    from distributed.comm.core import CommClosedError

    try:
        return future.result()
    except KilledWorker as error:
        return error
    except (CancelledError, CommClosedError):
        raise
    except Exception as error:
        raise ValueError(
            f"a worker failed ({type(error).__name__}: {error}): every worker needs the same mriqf, weights and files"
        ) from error
