"""The types of the arguments of ``map`` and ``amap``, for type checkers."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Protocol, Required, TypeAlias, TypedDict, TypeVar

from pipeloom.db import Durability
from pipeloom.engine.arguments import OnError, OwnRows
from pipeloom.executors import AnyExecutor
from pipeloom.ledger import Tables
from pipeloom.limit import Limits
from pipeloom.messages import Handler
from pipeloom.retry import Retry
from pipeloom.worker.context import TaskContext
from pipeloom.worker.local import Local

if TYPE_CHECKING:
    from pipeloom.worker.async_context import AsyncTaskContext

__all__ = ["AsyncWithContext", "MapOptions", "WithContext"]

T = TypeVar("T")
T_contra = TypeVar("T_contra", contravariant=True)


class _TakesCtx(Protocol[T_contra]):
    """A function of one input that gets its context as ``ctx``, wherever that parameter is."""

    def __call__(self, item: T_contra, /, *, ctx: TaskContext) -> object: ...


class _TakesAsyncCtx(Protocol[T_contra]):
    """A coroutine function of this kind."""

    def __call__(self, item: T_contra, /, *, ctx: AsyncTaskContext) -> Awaitable[object]: ...


WithContext: TypeAlias = "Callable[[T, TaskContext], object] | _TakesCtx[T]"
"""A function of one input and its context."""

AsyncWithContext: TypeAlias = "Callable[[T, AsyncTaskContext], Awaitable[object]] | _TakesAsyncCtx[T]"
"""A coroutine function of one input and its context."""


class MapOptions(TypedDict, total=False):
    """The options of :func:`pipeloom.map` whose types do not depend on the inputs."""

    db: Required[str | os.PathLike[str]]
    name: str | None
    shard: tuple[int, int] | None
    workers: int | None
    executor: AnyExecutor | None
    local: Local | None
    memory_mb: float | None
    tasks_per_worker: int | None
    retries: int | Retry
    timeout: float | None
    limit: Limits | None
    resume: bool
    own_rows: OwnRows | None
    on_error: OnError
    durability: Durability
    wal: bool | None
    tables: Tables | None
    alter: bool
    handlers: Mapping[type, Handler] | None
    max_task_mb: float | None
    progress: bool | None
