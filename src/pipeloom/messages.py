"""The messages on the queue: past events and requests, frozen and picklable.

Each message class has a handwritten ``__init__`` that fills ``__dict__`` directly. The ``__init__`` of a generated
frozen dataclass calls ``object.__setattr__`` for each field, which takes three times as long, and runs build
hundreds of thousands of messages.
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
"""What happens to a row that violates a UNIQUE constraint: its task fails, it is left out, or it overwrites."""


@dataclass(frozen=True, init=False)
class MsgTaskStarted:
    """A task started: insert its row, or reset it, to ``running`` with progress 0.

    Args:
        task_id: The ``id`` of the task's row.
        name: The display name of the task.
        started_at: The start time, ISO-8601 UTC.
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
    """A task reached ``step`` of ``total``; the ledger stores the fraction, clamped to 0..1.

    Args:
        task_id: The ``id`` of the task's row.
        step: How much is done, in any unit.
        total: How much there is in all, in the same unit.
        message: Text to display; empty clears the previous one.
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
        task_id: The ``id`` of the task's row.
        status: ``"done"``, ``"error"`` or ``"cancelled"``.
        finished_at: The end time, ISO-8601 UTC.
        result: Text is stored unchanged, any other value as JSON.
        message: Text to display.
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
    """Store rows at once, whether or not the task that sends them succeeds.

    Args:
        table: The user's table; created if missing.
        rows: One row, an iterable of rows, or a data frame, as in ``TaskContext.write``. A list is read when the
            writer takes the message, so do not change it after putting it. An iterator is consumed immediately.
        columns: Column names for rows that are sequences.
        null: Values to store as NULL.
        on_conflict: See :data:`OnConflict`.
        conflict_on: The columns of the UNIQUE constraint that ``on_conflict`` refers to.
        alter: Whether to add columns that the table lacks. Default: as configured for the run.
    """

    table: str
    rows: Mapping[str, Any] | Iterable[Any]
    columns: Sequence[str] | None = None
    null: Sequence[Any] = ()
    on_conflict: OnConflict = "error"
    conflict_on: Sequence[str] = ()
    alter: bool | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        """Materialise an iterator, which can neither be read twice nor be sent to another process."""
        if isinstance(self.rows, Iterator):
            object.__setattr__(self, "rows", tuple(self.rows))


@dataclass(frozen=True)
class MsgExecute:
    """Run one SQL statement at once, inside the writer's transaction.

    Args:
        sql: The statement.
        params: Its parameters: a sequence for ``?``, a mapping for ``:name``.
    """

    sql: str
    params: Sequence[Any] | Mapping[str, Any] = ()


class _Sentinel:
    """The one object that means "stop cleanly"; pickling and copying preserve its identity."""

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
"""``fn(conn, messages)``: called in the writer thread, inside the transaction of the batch."""
