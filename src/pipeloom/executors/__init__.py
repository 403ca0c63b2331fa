"""Where workers live: one protocol, and its implementations."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Set as AbstractSet
from typing import TYPE_CHECKING, Literal, TypeAlias

from pipeloom.executors.base import Desk, Executor, SupportsSubmit, T, is_dask, workers_of
from pipeloom.executors.threads import ThreadExecutor
from pipeloom.retry import Retry
from pipeloom.worker.local import Local

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop

    from pipeloom.executors.remote.engine import Engine

__all__ = [
    "AnyExecutor",
    "Desk",
    "Executor",
    "ExecutorName",
    "SupportsSubmit",
    "executor_of",
    "is_dask",
    "workers_of",
]

ExecutorName = Literal["threads", "processes", "asyncio", "dask"]
AnyExecutor: TypeAlias = ExecutorName | str | SupportsSubmit
"""One of ours, the address of a Dask scheduler, or an executor of somebody else's, a Dask client among them."""


def executor_of(
    which: AnyExecutor,
    workers: int | None,
    *,
    at_first: int | None,
    function: Callable[..., object],
    retry: Retry | None,
    kinds: AbstractSet[type],
    keeps_logs: bool,
    local: Local | None,
    memory_mb: float | None,
    tasks_per_worker: int | None,
    loop: AbstractEventLoop | None,
) -> Executor[T]:
    """Return an executor.

    Args:
        which: One of ours by its name, an address, or the caller's own.
        workers: How many, at least 1; ``None``, for a cluster that is there, is as many as it has.
        at_first: How many there are tasks for at first, when that is known.
        function: What they are to call.
        retry: When a failed try is followed by another.
        kinds: Classes of messages that somebody handles.
        keeps_logs: What tasks log is stored.
        local: Entered once in each worker.
        memory_mb: How much memory a worker process may take, in MiB.
        tasks_per_worker: After so many tasks another process takes a worker's place.
        loop: The event loop that the run is awaited on; ``None`` if it is not.

    Raises:
        TypeError: What workers need cannot be sent to where they are.
    """
    if which == "threads":
        return ThreadExecutor(workers or 1, local)
    # Late: a run in threads needs none of this, and asyncio takes 50 ms to import.
    if which == "asyncio":
        from pipeloom.executors.asyncio_.executor import AsyncioExecutor

        return AsyncioExecutor(workers or 1, local, loop)
    if which == "processes":
        from pipeloom.executors.processes.pool import ProcessExecutor

        return ProcessExecutor(
            function,
            retry,
            workers or 1,
            at_first=at_first,
            kinds=kinds,
            keeps_logs=keeps_logs,
            memory_mb=memory_mb,
            tasks_per_worker=tasks_per_worker,
            local=local,
        )
    from pipeloom.executors.remote.executor import ChunkExecutor

    engine = _engine_of(which, workers, has_local=local is not None)
    return ChunkExecutor(engine, function, retry, kinds=kinds, keeps_logs=keeps_logs, local=local)


def _engine_of(which: str | SupportsSubmit, workers: int | None, *, has_local: bool) -> Engine:
    if isinstance(which, str) or is_dask(which):
        from pipeloom.executors.dask_.engine import DaskEngine

        return DaskEngine(None if which == "dask" else which, workers, has_local=has_local)
    from pipeloom.executors.futures import FuturesEngine

    return FuturesEngine(which, workers or 1)
