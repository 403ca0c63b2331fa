"""``map`` and ``run_pipeline``: what people call. A job is made of what they pass; a ``Run`` does the rest."""

from __future__ import annotations

import os
import queue
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar, Unpack, overload

from pipeloom.db import Durability
from pipeloom.engine.arguments import OnError, OwnRows, Version
from pipeloom.engine.calling import AsyncWithContext, MapOptions, WithContext
from pipeloom.engine.job import job_from
from pipeloom.engine.run import Run
from pipeloom.executors import AnyExecutor
from pipeloom.ledger import Tables
from pipeloom.limit import Limits
from pipeloom.messages import Handler
from pipeloom.report import RunReport
from pipeloom.retry import Retry
from pipeloom.worker.context import TaskContext
from pipeloom.worker.local import Local
from pipeloom.worker.signature import context_of, second_argument_of

__all__ = ["OF_MAP", "map", "run_pipeline"]

T = TypeVar("T")

if TYPE_CHECKING:

    class _ContextAsQueue(TaskContext, queue.Queue[Any]):
        """A worker's second argument: it may be annotated as a context or as a queue of any messages."""


@overload
def map(  # noqa: A001 - the field's own word
    fn: Callable[[T], object],
    items: Iterable[T],
    *,
    key: Callable[[T], object] | None = ...,
    version: Callable[[T], object] | None = ...,
    **options: Unpack[MapOptions],
) -> RunReport: ...


@overload
def map(  # noqa: A001 - the field's own word
    fn: WithContext[T],
    items: Iterable[T],
    *,
    key: Callable[[T], object] | None = ...,
    version: Callable[[T], object] | None = ...,
    **options: Unpack[MapOptions],
) -> RunReport: ...


@overload
def map(  # noqa: A001 - the field's own word
    fn: AsyncWithContext[T],
    items: Iterable[T],
    *,
    key: Callable[[T], object] | None = ...,
    version: Callable[[T], object] | None = ...,
    **options: Unpack[MapOptions],
) -> RunReport: ...


def map(  # noqa: A001
    fn: Callable[..., Any],
    items: Iterable[Any],
    *,
    db: str | os.PathLike[str],
    name: str | None = None,
    key: Callable[[Any], Any] | None = None,
    shard: tuple[int, int] | None = None,
    workers: int | None = None,
    executor: AnyExecutor | None = None,
    local: Local | None = None,
    memory_mb: float | None = None,
    tasks_per_worker: int | None = None,
    retries: int | Retry = 0,
    timeout: float | None = None,
    limit: Limits | None = None,
    resume: bool = True,
    version: Version | None = None,
    own_rows: OwnRows | None = None,
    on_error: OnError = "raise",
    durability: Durability = "full",
    wal: bool | None = None,
    tables: Tables | None = None,
    alter: bool = False,
    handlers: Mapping[type, Handler] | None = None,
    max_task_mb: float | None = None,
    progress: bool | None = None,
) -> RunReport:
    """Call a function on every input, concurrently, and store everything it produces in one SQLite file.

    Blocks until every input has been dealt with. A second call with the same inputs runs only those that are not
    done yet. Any thread may call it.

    Args:
        fn: A function of one input, plain or ``async def``. If one of its parameters is named ``ctx`` or annotated
            accordingly, it also gets a :class:`TaskContext` or an :class:`AsyncTaskContext`. Its return value is
            stored as JSON. Runs in the workers.
        items: The inputs; any iterable works, including an infinite one. It is read lazily, in its own thread.
        db: The database file, created if it does not exist; ``~`` is expanded. ``":memory:"`` stores nothing on
            disk.
        name: The pipeline's name. By default it is the function's module and name, and the function is recognised
            by its file and by the values it holds. If it is uncertain whether an input was done by this function,
            as with a lambda, the call raises ``NameNeededError`` rather than skip the input.
        key: Input → the str, int, Path, UUID or date that identifies it. Default: the input itself.
        shard: ``(i, n)``: run only the inputs whose key belongs to the i-th of n shards, counted from 1. Each shard
            writes to its own file. See docs/reference/shards.md.
        workers: Number of workers, at least 1. Default: cores + 4 threads, at most 32; one process per core; 100
            concurrent tasks on an event loop; all workers of an executor that you pass.
        executor: ``"threads"``: for work that waits, such as downloads. ``"processes"``: for CPU-bound Python, and
            for parsing large amounts of data; ``fn`` and the inputs must be picklable. ``"asyncio"``: one event
            loop, in a thread. ``"dask"``: a cluster on this machine that ends with the run. Or the address of a
            Dask scheduler, a Dask client, or any object with ``submit()``, as in ``concurrent.futures``; you
            close it yourself. Default: threads, or asyncio for ``async def``. See docs/explanation/scaling.md.
        local: Called once in each worker to set up a session, a connection or a model. It returns a context
            manager; the value is available as ``ctx.local``, and the context manager is exited when the worker
            ends. An event loop counts as one worker, and also accepts an asynchronous context manager.
        memory_mb: Memory limit of one worker process, in MiB. A worker that exceeds it is killed, and its task
            fails. Linux only.
        tasks_per_worker: Replace a worker process after this many tasks, for functions that leak memory.
        retries: How many times to retry a failed task, with increasing delays; or a :class:`Retry`.
        timeout: Time limit of one attempt, in seconds. Once it has passed, ``ctx.check()`` raises. A call that does
            not check is recorded as timed out: a worker process is killed; a thread cannot be, so its call
            continues in the background; a coroutine is cancelled at its next ``await``.
        limit: How often tasks may start and how many may run at once, overall or per host, account or similar: a
            :class:`Limit`, or several that all apply. A task that waits for a limit does not occupy a worker.
        resume: Skip inputs that are already done under this name. ``False`` runs them again: their rows are
            replaced in tables covered by ``own_rows``, and added a second time in other tables.
        version: Input → a str, a number, or a tuple of these, such as a file's modification time and size. An input
            that is done runs again if its version has changed. Turns ``own_rows`` on.
        own_rows: Record which task wrote each row, in a column ``_task_id``: ``True`` for all tables, or a list of
            tables. A task that runs again then replaces its rows in one commit, and ``pipeloom forget`` can
            delete them.
        on_error: ``"raise"``: finish all inputs, then raise. ``"collect"``: only report failures. ``"stop"``: start
            nothing more, finish the running tasks, then raise.
        durability: ``"full"``: committed data survives a power cut. ``"normal"``: after a power cut, the last tasks
            may have to run again. ``"off"``: a power cut may corrupt the file.
        wal: ``True``: use a write-ahead log. ``False``: use a rollback journal. Default: a write-ahead log during
            the run; a file that used a rollback journal before is switched back at the end.
        tables: Table → column → type, for tables to create: ``{"flights": {"distance": int}}``.
        alter: Add missing columns to a table instead of rejecting rows that have them.
        handlers: Message type → ``fn(conn, messages)``, for your own message types, sent with ``ctx.put``.
        max_task_mb: How much data one task may stage before it ends or reaches a checkpoint, in MiB (estimated).
            Default: as much as the disk has room for. Beyond 8 MiB it is kept in a temporary file beside the
            database.
        progress: Show progress. Default: a live display on a terminal or in a notebook, otherwise a line every few
            seconds.

    Returns:
        Counts, failures, and ``results()``.

    Raises:
        TasksFailedError: Some tasks failed, and ``on_error`` is ``"raise"`` or ``"stop"``. Has ``.report``.
        RunInterruptedError: Ctrl-C, SIGTERM, SIGHUP or ``pipeloom cancel`` ended the run. Has ``.report``.
        NameNeededError: It is uncertain whether an input was done by this function or by another: pass ``name=``.
        DatabaseInUseError: Another run is using the file.
        StorageError: The file cannot be opened or written.
        ValueError, TypeError: An argument is invalid.
    """
    return Run(
        lambda: job_from(
            fn,
            items,
            db,
            **OF_MAP,
            name=name,
            key=key,
            shard=shard,
            workers=workers,
            executor=executor,
            local=local,
            memory_mb=memory_mb,
            tasks_per_worker=tasks_per_worker,
            retries=retries,
            timeout=timeout,
            limit=limit,
            resume=resume,
            version=version,
            own_rows=own_rows,
            on_error=on_error,
            durability=durability,
            wal=wal,
            tables=tables,
            alter=alter,
            handlers=handlers,
            max_task_mb=max_task_mb,
            progress=progress,
        )
    ).execute()


OF_MAP: Final[dict[str, Any]] = {
    "parameters": ("fn", "items"),
    "context_of": context_of,
    "by_key": True,
    "keeps_results": True,
}
"""What :func:`map` and :func:`pipeloom.amap` pass to ``job_from`` in addition to their arguments."""


def run_pipeline(
    tasks: Iterable[T],
    db_path: str | os.PathLike[str] = Path("./pipeloom.db"),
    *,
    workers: int | None = None,
    wal: bool | None = True,
    store_task_status: bool = True,
    worker_fn: Callable[[T, _ContextAsQueue], object],
    name: str | None = None,
    key: Callable[[T], object] | None = None,
    shard: tuple[int, int] | None = None,
    executor: AnyExecutor | None = None,
    local: Local | None = None,
    memory_mb: float | None = None,
    tasks_per_worker: int | None = None,
    retries: int | Retry = 0,
    timeout: float | None = None,
    limit: Limits | None = None,
    resume: bool = False,
    version: Callable[[T], object] | None = None,
    own_rows: OwnRows | None = None,
    on_error: OnError = "raise",
    durability: Durability = "full",
    tables: Tables | None = None,
    alter: bool = False,
    handlers: Mapping[type, Handler] | None = None,
    max_task_mb: float | None = None,
    progress: bool | None = None,
) -> RunReport:
    """Call ``worker_fn(task, queue)`` on every task, concurrently; the same engine as :func:`map`.

    Blocks until every task has been dealt with. The queue is the task's :class:`TaskContext`, so workers that only
    ``put`` messages work unchanged. Without ``key=``, a task is identified by its ``task_id`` if it has one,
    otherwise by the first task number that its worker sends.

    Args:
        tasks: The tasks: any objects, from any iterable. It is read lazily, in its own thread.
        db_path: See ``db`` of :func:`map`.
        workers: See :func:`map`.
        wal: Use a write-ahead log rather than a rollback journal; ``None``: as the default of :func:`map`.
        store_task_status: Keep the ledger. Otherwise only the rows of your tables are written, and no run can
            resume.
        worker_fn: Called in the workers. An exception is recorded, and raised once the other tasks have finished;
            an ``error`` that the worker reports in a message is only recorded.
        name: See :func:`map`; used with ``key``.
        key: Task → key, as in :func:`map`; tasks then resume by key.
        shard: See :func:`map`; needs ``key``.
        executor: See :func:`map`.
        local: See :func:`map`.
        memory_mb: See :func:`map`.
        tasks_per_worker: See :func:`map`.
        retries: See :func:`map`; an ``error`` that the worker reports in a message is not retried.
        timeout: See :func:`map`.
        limit: See :func:`map`.
        resume: Skip tasks whose key is done; needs ``key``.
        version: See :func:`map`; needs ``key``.
        own_rows: See :func:`map`; needs ``key``.
        on_error: See :func:`map`.
        durability: See :func:`map`.
        tables: See :func:`map`.
        alter: See :func:`map`.
        handlers: See :func:`map`.
        max_task_mb: See :func:`map`.
        progress: See :func:`map`.

    Returns:
        Counts and failures.

    Raises:
        TasksFailedError: Some workers raised.
        RunInterruptedError, DatabaseInUseError, StorageError, ValueError, TypeError: See :func:`map`.
    """
    return Run(
        lambda: job_from(
            worker_fn,
            tasks,
            db_path,
            parameters=("worker_fn", "tasks"),
            context_of=second_argument_of,
            by_key=key is not None,
            keeps_results=False,
            wal=wal,
            store_task_status=store_task_status,
            name=name,
            key=key,
            shard=shard,
            workers=workers,
            executor=executor,
            local=local,
            memory_mb=memory_mb,
            tasks_per_worker=tasks_per_worker,
            retries=retries,
            timeout=timeout,
            limit=limit,
            resume=resume,
            version=version,
            own_rows=own_rows,
            on_error=on_error,
            durability=durability,
            tables=tables,
            alter=alter,
            handlers=handlers,
            max_task_mb=max_task_mb,
            progress=progress,
        )
    ).execute()
