"""What a run is asked to do: every argument of ``map`` and ``run_pipeline``, checked, with one name each."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeloom.data.naming import Naming, naming_of
from pipeloom.data.shards import Shard
from pipeloom.db import Durability
from pipeloom.db.ownership import check_system
from pipeloom.engine import arguments, worker_arguments
from pipeloom.engine.arguments import OnError, OwnRows, Version
from pipeloom.executors import AnyExecutor
from pipeloom.ledger import Owned, Tables
from pipeloom.limit import Limit, Limits
from pipeloom.messages import Handler
from pipeloom.retry import Retry
from pipeloom.worker.local import Local

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop

__all__ = ["Job", "job_from"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One requested run, with every argument checked.

    Attributes:
        context: How the function receives its context; see :class:`~pipeloom.wire.Brief`.
        naming: The pipeline that the run belongs to; ``None`` without keys.
        owned: See :data:`~pipeloom.ledger.owning.Owned`.
        workers: The number of workers; ``None`` takes as many as the executor has.
        loop: The event loop on which the run is awaited; ``None`` if it is not.
    """

    function: Callable[..., object]
    context: str | None
    title: str
    items: Iterable[object]
    db: Path
    naming: Naming | None
    keyed: bool
    key: Callable[[Any], object] | None
    shard: Shard | None
    workers: int | None
    executor: AnyExecutor
    loop: AbstractEventLoop | None
    local: Local | None
    memory_mb: float | None
    tasks_per_worker: int | None
    wal: bool | None
    store_task_status: bool
    alter: bool
    resume: bool
    version: Version | None
    owned: Owned
    on_error: OnError
    durability: Durability
    retry: Retry | None
    timeout_s: float | None
    limits: tuple[Limit, ...]
    max_task_bytes: float
    tables: Tables
    handlers: Mapping[type, Handler]
    progress: bool | None
    keeps_results: bool

    @property
    def adds_none(self) -> str | None:
        """Why its tasks may not add inputs; ``None`` if they may."""
        if not self.store_task_status:
            return "inputs that a task adds are stored in the ledger: keep store_task_status=True"
        if not self.keyed:
            return "an added input needs a key, so that it runs only once: use pipeloom.map, or pass key="
        if self.shard is not None:
            return "this run covers one shard, and an added input may belong to another: leave out shard="
        return None


def job_from(
    fn: Callable[..., object],
    items: Iterable[object],
    db: str | PathLike[str],
    *,
    parameters: tuple[str, str],
    context_of: Callable[[Callable[..., object]], str | None],
    by_key: bool,
    keeps_results: bool,
    name: str | None,
    key: Callable[[Any], object] | None,
    shard: tuple[int, int] | None,
    workers: int | None,
    executor: AnyExecutor | None,
    local: Local | None,
    memory_mb: float | None,
    tasks_per_worker: int | None,
    retries: int | Retry,
    timeout: float | None,
    limit: Limits | None,
    resume: bool,
    version: Version | None,
    own_rows: OwnRows | None,
    on_error: OnError,
    durability: Durability,
    tables: Tables | None,
    handlers: Mapping[type, Handler] | None,
    max_task_mb: float | None,
    progress: bool | None,
    alter: bool,
    wal: bool | None = True,
    store_task_status: bool = True,
    loop: AbstractEventLoop | None = None,
) -> Job:
    """Check the caller's arguments and return them as a job; opens nothing and calls nothing.

    ``parameters`` holds the names under which the caller knows ``fn`` and ``items``. ``context_of`` returns how
    ``fn`` receives its context. ``by_key`` means that tasks have keys rather than numbers. ``loop`` is the
    event loop on which the run is awaited. The others are those of ``pipeloom.map`` and
    ``pipeloom.run_pipeline``.

    Raises:
        ValueError, TypeError: An argument is invalid; the sentence says what to pass instead.
    """
    arguments.check_place()
    arguments.check_function(fn, parameters[0])
    arguments.check_choices(
        name=name, key=key, version=version, on_error=on_error, resume=resume, durability=durability
    )
    arguments.check_switches(alter=alter, wal=wal)
    asked = {"resume=True": resume, "shard=": shard, "version=": version, "own_rows=": own_rows}
    needy = next((what for what, value in asked.items() if value is not None and value is not False), None)
    if needy and not store_task_status:
        raise ValueError(f"{needy} needs the ledger: keep store_task_status=True")
    if not by_key and (needy or name is not None):
        raise ValueError(f"{needy or 'name='} needs key=, the function that identifies a task")
    part = None if shard is None else Shard.checked(shard)
    runs_on = worker_arguments.checked_executor(executor, fn, parameters[0])
    worker_arguments.check_workers(
        runs_on, local, memory_mb=memory_mb, tasks_per_worker=tasks_per_worker, timeout=timeout
    )
    keyed = by_key and store_task_status
    where = arguments.checked_db(db)
    check_system(where)
    known_as = str(getattr(fn, "__name__", type(fn).__name__))
    return Job(
        function=fn,
        context=context_of(fn),
        title=(name or known_as) + (f", shard {part}" if part is not None else ""),
        items=arguments.checked_items(items, parameters[1], by_itself=keyed and key is None),
        db=where,
        naming=naming_of(fn, name) if keyed else None,
        keyed=keyed,
        key=key,
        shard=part,
        workers=worker_arguments.checked_workers(workers, runs_on),
        executor=runs_on,
        loop=loop,
        local=local,
        memory_mb=memory_mb,
        tasks_per_worker=tasks_per_worker,
        wal=wal,
        store_task_status=store_task_status,
        alter=alter,
        resume=resume,
        version=version,
        owned=arguments.checked_own_rows(own_rows, version),
        on_error=on_error,
        durability=durability,
        retry=arguments.checked_retry(retries),
        timeout_s=arguments.checked_timeout(timeout),
        limits=arguments.checked_limits(limit),
        max_task_bytes=arguments.checked_max_task_bytes(max_task_mb),
        tables=arguments.checked_tables(tables),
        handlers=arguments.checked_handlers(handlers),
        progress=progress,
        keeps_results=keeps_results,
    )
