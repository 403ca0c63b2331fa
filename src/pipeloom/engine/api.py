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
        """What a worker gets as its second argument: it may call it a context or a queue of any messages."""


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
    """Call ``fn`` on every input, concurrently, and keep everything that comes out in one SQLite file.

    Blocks until all is done. Call it again with the same inputs and only the rest is done.

    Args:
        fn: A function of one input, plain or ``async def``; gets a :class:`TaskContext`, or an
            :class:`AsyncTaskContext`, too when a parameter is named ``ctx`` or annotated so. What it returns is
            stored as JSON. Runs in the workers.
        items: The inputs; any iterable, also endless. It is advanced lazily, in a thread of its own.
        db: The file, created when missing; ``~`` is the home directory; ``":memory:"`` keeps nothing.
        name: The pipeline's name. Default: the function's module and name, known again by its file and what it
            holds. What cannot be told from others, such as a lambda, is never taken for done.
        key: Input → str, int, Path, UUID or date that identifies it. Default: the input itself.
        shard: ``(i, n)``: run only the inputs whose key falls to the i-th of n shards, counted from 1. Each shard
            has a file of its own. See docs/reference/shards.md.
        workers: Number of workers, at least 1. Default: cores + 4 threads, at most 32; one process per core; 100
            tasks at once on an event loop; all of an executor that you pass.
        executor: ``"threads"``: for what waits, such as downloads. ``"processes"``: for what computes in Python,
            and for loading much; ``fn`` and the inputs must be picklable then. ``"asyncio"``: one event loop, in a
            thread. ``"dask"``: a cluster on this machine that ends with the run; or a scheduler's address, or a
            client. Or an object with ``submit()``, such as ``concurrent.futures`` has, which you close. Default:
            threads, and asyncio for ``async def``. See docs/explanation/scaling.md.
        local: Called once in each worker, for a session, a connection, a model: returns a context manager, whose
            value is ``ctx.local``, and which is left when the worker ends. An event loop is one worker, and may
            have one that ``async with`` enters.
        memory_mb: MiB that a worker process may take; past it, it is ended, and its task fails. Linux only.
        tasks_per_worker: Replace a worker process after so many tasks, for functions that leak memory.
        retries: How many more tries a failed task gets, with growing waits in between; or a :class:`Retry`.
        timeout: Seconds that one try may take. ``ctx.check()`` raises then. A call that does not look is recorded
            as timed out: a worker process is ended; a thread cannot be, and its call is left to itself. A coroutine
            is cancelled where it waits.
        limit: How fast tasks may begin and how many may run at once, for all or for each host, account or the like:
            a :class:`Limit`, or several that all hold. What waits for it holds no worker.
        resume: Skip inputs that are done under this name. ``False`` runs them again; their rows are replaced where
            ``own_rows`` is on, and come a second time elsewhere.
        version: Input → str, number, or tuple of them, such as a file's time and size: an input that is done runs
            again when this has changed. Turns ``own_rows`` on.
        own_rows: Rows know their task, in a column ``_task_id``, in all tables or in those named; a task that is
            done again then replaces its rows in one commit, and ``pipeloom forget`` takes them back.
        on_error: ``"raise"``: finish everything, then raise; ``"collect"``: only report; ``"stop"``: admit nothing
            more, finish what runs, raise.
        durability: ``"full"``: what is committed survives a power cut. ``"normal"``: the last tasks may be redone
            after one. ``"off"``: a power cut may destroy the file.
        wal: ``True``: a write-ahead log. ``False``: a rollback journal. Default: a log, and a file that had a
            rollback journal is set back to it at the end.
        tables: Table → column → type, for tables to be created: ``{"flights": {"distance": int}}``.
        alter: Add the columns that a table lacks, rather than refuse rows that have them.
        handlers: Message type → ``fn(conn, messages)``, for messages of your own sent with ``ctx.put``.
        max_task_mb: How much one task may stage before its end or a checkpoint, in MiB (estimated). Default: what
            the disk has room for; past 8 MiB it goes to a temporary file beside the database.
        progress: Show what happens. Default: live on a terminal and in a notebook, else a line every few seconds.

    Returns:
        Counts, failures, and ``results()``.

    Raises:
        TasksFailedError: Some tasks failed (``on_error`` ``"raise"`` or ``"stop"``); has ``.report``.
        RunInterruptedError: Ctrl-C, SIGTERM or SIGHUP; has ``.report``.
        NameNeededError: An input is done by a function that may be another one, or this one: pass ``name=``.
        DatabaseInUseError: Another run is using the file.
        StorageError: The file cannot be opened or written.
        ValueError, TypeError: An argument is wrong.
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
"""What :func:`map` and :func:`pipeloom.amap` tell ``job_from`` beside their arguments."""


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

    The queue is the task's :class:`TaskContext`: workers that only ``put`` messages work unchanged. Without
    ``key=``, a task's number is its ``task_id`` if it has one, else the first number its worker says.

    Args:
        tasks: Any objects, any iterable; advanced lazily, in a thread of its own.
        db_path: See ``db`` of :func:`map`.
        workers: See :func:`map`.
        wal: Write-ahead log rather than a rollback journal; ``None``: as the default of :func:`map`.
        store_task_status: Keep the ledger; otherwise only users' rows are written, and nothing resumes.
        worker_fn: Called in the workers. An exception is recorded, and raised once the others have finished;
            an ``error`` that the worker reports by message is recorded.
        name: See :func:`map`; used with ``key``.
        key: Task → key, as in :func:`map`; tasks then resume by key.
        shard: See :func:`map`; needs ``key``.
        executor: See :func:`map`.
        local: See :func:`map`.
        memory_mb: See :func:`map`.
        tasks_per_worker: See :func:`map`.
        retries: See :func:`map`; an ``error`` that the worker reports by message is not tried again.
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
