"""What a run is to do."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from pipeloom.db import Durability
from pipeloom.ledger import Tables
from pipeloom.messages import Handler
from pipeloom.retry import Retry

__all__ = ["Job", "OnError"]

OnError = Literal["raise", "collect", "stop"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One run as asked for, every argument checked; see :func:`pipeloom.map` for what they mean.

    Attributes:
        context: How the function gets its context, see :class:`~pipeloom.wire.Brief`.
        standalone: ``pipeline`` is only a label: no other run resumes this one.
    """

    function: Callable[..., Any]
    context: str | None
    title: str
    items: Iterable[Any]
    db: Path
    pipeline: str | None
    standalone: bool
    keyed: bool
    key: Callable[[Any], Any] | None
    workers: int
    wal: bool = True
    store_task_status: bool = True
    resume: bool
    on_error: OnError
    durability: Durability
    retry: Retry | None = None
    timeout_s: float | None = None
    max_task_bytes: float
    tables: Tables = field(default_factory=dict)
    handlers: Mapping[type, Handler] = field(default_factory=dict)
    progress: bool | None
    keeps_results: bool = False
