"""Where workers live: one protocol, and its implementations."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Set as AbstractSet
from typing import TYPE_CHECKING, Literal, TypeAlias

from pipeloom.executors.base import Desk, Executor, SupportsSubmit, T, workers_of
from pipeloom.executors.threads import ThreadExecutor
from pipeloom.retry import Retry
from pipeloom.worker.local import Local

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop

__all__ = ["AnyExecutor", "Desk", "Executor", "ExecutorName", "SupportsSubmit", "executor_of", "workers_of"]

ExecutorName = Literal["threads", "processes", "asyncio"]
AnyExecutor: TypeAlias = ExecutorName | SupportsSubmit
"""One of ours, or an executor of somebody else's."""


def executor_of(
    which: AnyExecutor,
    workers: int,
    *,
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
        which: One of ours by its name, or the caller's own.
        workers: How many, at least 1.
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
        return ThreadExecutor(workers, local)
    # Late: a run in threads needs none of this, and asyncio takes 50 ms to import.
    if which == "asyncio":
        from pipeloom.executors.asyncio_.executor import AsyncioExecutor

        return AsyncioExecutor(workers, local, loop)
    if not isinstance(which, str):
        from pipeloom.executors.futures import FuturesEngine
        from pipeloom.executors.remote.executor import ChunkExecutor

        engine = FuturesEngine(which, workers)
        return ChunkExecutor(engine, function, retry, kinds=kinds, keeps_logs=keeps_logs, local=local)
    from pipeloom.executors.processes.pool import ProcessExecutor

    return ProcessExecutor(
        function,
        retry,
        workers,
        kinds=kinds,
        keeps_logs=keeps_logs,
        memory_mb=memory_mb,
        tasks_per_worker=tasks_per_worker,
        local=local,
    )
