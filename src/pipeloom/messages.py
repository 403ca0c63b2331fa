"""What is said on the queue: past events and requests, frozen and picklable.

Each message has an ``__init__`` of its own that fills ``__dict__`` at once: a frozen dataclass generated the
usual way calls ``object.__setattr__`` per field, which takes three times as long, and messages are built by
the hundred thousand.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

__all__ = [
    "SENTINEL",
    "Handler",
    "Msg",
    "MsgExecute",
    "MsgTaskFinish",
    "MsgTaskFinished",
    "MsgTaskProgress",
    "MsgTaskStart",
    "MsgTaskStarted",
    "MsgWriteRows",
    "OnConflict",
]

OnConflict = Literal["error", "ignore", "update"]
"""What a row does that hits a UNIQUE constraint: fail its task, be left out, or overwrite."""


@dataclass(frozen=True, init=False)
class MsgTaskStarted:
    """A task began: its row is inserted, or reset, to ``running`` with progress 0.

    Args:
        task_id: The row's ``id``.
        name: What people call the task.
        started_at: ISO-8601 UTC.
    """

    task_id: int
    name: str
    started_at: str

    def __init__(self, task_id: int, name: str, started_at: str) -> None:
        fields = self.__dict__
        fields["task_id"] = task_id
        fields["name"] = name
        fields["started_at"] = started_at


@dataclass(frozen=True, init=False)
class MsgTaskProgress:
    """A task came to ``step`` of ``total``; the ledger stores the fraction, held within 0..1.

    Args:
        task_id: The row's ``id``.
        step: How far the task is.
        total: How far it has to go.
        message: What people should read.
    """

    task_id: int
    step: int
    total: int
    message: str = ""

    def __init__(self, task_id: int, step: int, total: int, message: str = "") -> None:
        fields = self.__dict__
        fields["task_id"] = task_id
        fields["step"] = step
        fields["total"] = total
        fields["message"] = message


@dataclass(frozen=True, init=False)
class MsgTaskFinished:
    """A task ended.

    Args:
        task_id: The row's ``id``.
        status: ``"done"``, ``"error"`` or ``"cancelled"``.
        finished_at: ISO-8601 UTC.
        result: Text is stored as it is, anything else as JSON.
        message: What people should read.
    """

    task_id: int
    status: str
    finished_at: str
    result: str | None = None
    message: str = ""

    def __init__(
        self, task_id: int, status: str, finished_at: str, result: str | None = None, message: str = ""
    ) -> None:
        fields = self.__dict__
        fields["task_id"] = task_id
        fields["status"] = status
        fields["finished_at"] = finished_at
        fields["result"] = result
        fields["message"] = message


@dataclass(frozen=True)
class MsgWriteRows:
    """Store rows at once, whatever becomes of the task that sends them.

    Args:
        table: The user's table; created when missing.
        rows: One row, an iterable of rows, or a frame, as in ``TaskContext.write``. A list is
            stored as it stands when the writer takes it: do not change it after putting it. An iterator is read at
            once.
        columns: Names for rows that are sequences.
        null: Values to store as NULL.
        on_conflict: See :data:`OnConflict`.
        conflict_on: The columns of the UNIQUE constraint meant by ``on_conflict``.
        alter: Add the columns that the table lacks. Default: as the run was told.
    """

    table: str
    rows: Mapping[str, Any] | Iterable[Any]
    columns: Sequence[str] | None = None
    null: Sequence[Any] = ()
    on_conflict: OnConflict = "error"
    conflict_on: Sequence[str] = ()
    alter: bool | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        """Hold rows that can be read again, and sent to another process: an iterator can be neither."""
        if isinstance(self.rows, Iterator):
            object.__setattr__(self, "rows", tuple(self.rows))


@dataclass(frozen=True)
class MsgExecute:
    """Run one SQL statement of the user's at once, inside the writer's transaction.

    Args:
        sql: One statement.
        params: Values for its ``?`` or, as a mapping, for its ``:name`` parameters.
    """

    sql: str
    params: Sequence[Any] | Mapping[str, Any] = ()


class _Sentinel:
    """The one object that means "stop cleanly"; stays itself through pickle and copy."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "SENTINEL"

    def __reduce__(self) -> str:
        return "SENTINEL"


SENTINEL: Final = _Sentinel()

MsgTaskStart = MsgTaskStarted
MsgTaskFinish = MsgTaskFinished
Msg = MsgTaskStarted | MsgTaskProgress | MsgTaskFinished | MsgWriteRows | MsgExecute | _Sentinel

Handler = Callable[[Any, list[Any]], None]
"""``fn(conn, messages)``: runs in the writer thread, inside the batch's transaction."""
