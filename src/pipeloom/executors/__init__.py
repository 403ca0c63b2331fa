"""Executors: one protocol, and its implementations."""

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
"""A built-in executor's name, a Dask scheduler's address, or any executor object, such as a Dask client."""


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
        which: A name, an address, or the caller's own executor.
        workers: The number of workers, at least 1; ``None`` for all workers of an existing cluster.
        at_first: How many workers have tasks at the start, if known.
        function: The function to call.
        retry: The retry policy, or ``None``.
        kinds: The message classes that have handlers.
        keeps_logs: Whether the log records of tasks are stored.
        local: Called once in each worker; see ``map``.
        memory_mb: The memory limit of a worker process, in MiB.
        tasks_per_worker: Replace a worker process after this many tasks.
        loop: The event loop on which the run is awaited; ``None`` if it is not awaited.

    Raises:
        TypeError: The function, or something that goes with it, cannot be sent to the workers.
    """
    if which == "threads":
        return ThreadExecutor(workers or 1, local)
    # Imported late: a run in threads needs none of this, and asyncio takes 50 ms to import.
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
