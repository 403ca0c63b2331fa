"""What a task function holds in its hand, and what an old worker calls its queue."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from typing import Any, Final, TypeVar

from pipeloom.attempt import NO_PROGRESS, Attempt, Cell, Spoken
from pipeloom.channel import Channel
from pipeloom.errors import AttemptOverError, RowRefusedError, TaskCancelledError
from pipeloom.ledger import Ledger
from pipeloom.messages import (
    MsgTaskFinished,
    MsgTaskProgress,
    MsgTaskStarted,
    MsgWriteRows,
    OnConflict,
)
from pipeloom.rows import Block, Statement, block_from, block_of, checked_null, joins
from pipeloom.text import describe, storable
from pipeloom.values import adapt_params, adapt_rows

__all__ = ["Port", "TaskContext", "current_task"]

T = TypeVar("T")

_current: ContextVar[Attempt | None] = ContextVar("pipeloom_task", default=None)
_port: ContextVar[Port] = ContextVar("pipeloom_port")


class Port:
    """Where a run's tasks speak to; one per run, shared by all its workers.

    Args:
        channel: To the writer.
        ask: Runs a function on the ledger in the writer's thread and returns its answer.
        keyed: The run gives out the row numbers.
    """

    __slots__ = ("ask", "cancelling", "channel", "keyed", "run_id")

    def __init__(
        self,
        channel: Channel[Any],
        ask: Callable[[Callable[[Ledger], Any]], Any],
        run_id: int | None,
        *,
        keyed: bool,
    ) -> None:
        self.channel = channel
        self.ask = ask
        self.run_id = run_id
        self.keyed = keyed
        self.cancelling = False


class TaskContext:
    """One attempt's view of its run: report progress, write rows, look things up.

    ``write`` and ``execute`` are staged: they commit together with the task's "done", or not at all. ``put`` is
    at once, and survives the task's failure. May be used from any thread until the task ends.
    """

    __slots__ = ("_attempt", "_port")

    def __init__(self, attempt: Attempt, port: Port) -> None:
        self._attempt = attempt
        self._port = port

    def __repr__(self) -> str:
        return f"<TaskContext of task {self.task_id}, attempt {self.attempt}, run {self.run_id}>"

    @property
    def run_id(self) -> int | None:
        """The run's number in ``pipeloom_runs``; ``None`` without ledger tables."""
        return self._port.run_id

    @property
    def task_id(self) -> int:
        """The ``id`` of the task's row."""
        return self._attempt.task_id

    @property
    def key(self) -> str | int | None:
        """The task's key as stored; ``None`` in a run without keys."""
        return self._attempt.key

    @property
    def attempt(self) -> int:
        """1 for the first try in this run."""
        return self._attempt.attempt

    @property
    def cancelled(self) -> bool:
        """Whether the run is being cancelled, so that the task should end soon."""
        return self._port.cancelling

    def check(self) -> None:
        """Raise ``TaskCancelledError`` once the run is being cancelled; call it in long loops."""
        if self._port.cancelling:
            raise TaskCancelledError("the run is being cancelled")

    def progress(self, step: float, total: float | None = None, message: str = "") -> None:
        """Say how far the task is; costs an attribute store, never blocks, seen within about 0.1 s.

        Args:
            step: How much is done, in any unit.
            total: How much there is in all; ``None`` when unknown.
            message: What people should read.

        Raises:
            TypeError, ValueError: ``step`` or ``total`` is no number.
        """
        self._attempt.cell = _cell(step, total, message)

    def track(self, iterable: Iterable[T], total: float | None = None) -> Iterator[T]:
        """Yield from ``iterable``, with progress and cancellation per element.

        Args:
            iterable: n elements.
            total: n, when ``len(iterable)`` does not say.

        Raises:
            TaskCancelledError: The run is being cancelled.
        """
        if total is None:
            total = operator.length_hint(iterable) or None
        total = None if total is None else float(total)
        attempt, port = self._attempt, self._port
        for step, element in enumerate(iterable):
            attempt.cell = (step, total, "")
            if port.cancelling:
                raise TaskCancelledError("the run is being cancelled")
            yield element
        if total is not None:
            attempt.cell = (total, total, "")

    def write(
        self,
        table: str,
        rows: Mapping[str, Any] | Iterable[Any],
        *,
        columns: Sequence[str] | None = None,
        null: Sequence[Any] = (),
        on_conflict: OnConflict = "error",
        conflict_on: Sequence[str] = (),
    ) -> None:
        """Stage rows; they commit with the task's "done". Copies at the call, and does not wait for the disk.

        Args:
            table: A table of the user's; made from ``tables=``, else from the first task's output, when missing.
            rows: One mapping, or n mappings or dataclasses, or, with ``columns``, n sequences.
            columns: Names for the values of rows that are sequences.
            null: Values to store as NULL, such as ``("", "NA")``.
            on_conflict: What becomes of a row that hits a UNIQUE constraint.
            conflict_on: The columns of that constraint.

        Raises:
            RowRefusedError: Something cannot be stored (names table, column and type); nothing is staged.
            AttemptOverError: The task has ended.
        """
        attempt = self._attempt
        if on_conflict == "error" and columns is None and attempt.staged and joins(attempt.staged[-1], table, rows):
            self._must_be_running()
            self._join(attempt.staged[-1], rows, null)
            return
        block = block_of(table, rows, columns, null=null, on_conflict=on_conflict, conflict_on=conflict_on)
        self._must_be_running()
        staged = attempt.staged
        if staged is None:
            attempt.staged = [block]
        else:
            last = staged[-1]
            if type(last) is Block and last.shape == block.shape:
                last.rows.extend(block.rows)
            else:
                staged.append(block)

    def _join(self, block: Any, row: Any, null: Sequence[Any]) -> None:
        """Add one row to the block before it: loops that write row by row come here."""
        shape = block.shape
        absent = checked_null(null) if null else None
        block.rows.extend(adapt_rows([tuple(row.values())], shape.table, shape.columns, absent))

    def execute(self, sql: str, params: Sequence[Any] | Mapping[str, Any] = ()) -> None:
        """Stage one SQL statement; it runs in order with ``write``, and commits with the task's "done".

        Raises:
            RowRefusedError: A parameter cannot be stored.
            AttemptOverError: The task has ended.
        """
        if not isinstance(sql, str):
            raise RowRefusedError(f"sql must be text, not {type(sql).__name__}")
        statement = Statement(sql, adapt_params(params))
        self._must_be_running()
        if self._attempt.staged is None:
            self._attempt.staged = []
        self._attempt.staged.append(statement)

    def query(self, sql: str, params: Sequence[Any] | Mapping[str, Any] = ()) -> list[tuple[Any, ...]]:
        """Read from what is committed; blocks until the writer answers, between two batches.

        Returns:
            n rows. What this task has staged is not in them.

        Raises:
            RowRefusedError: A parameter cannot be stored, or the statement would write.
            sqlite3.Error: The statement is wrong.
            WriterBrokenError: The writer died.
        """
        adapted = adapt_params(params)
        self._must_be_running()
        rows: list[tuple[Any, ...]] = self._port.ask(lambda ledger: ledger.query(sql, adapted))
        return rows

    # --- the queue that an old worker expects ---

    def put(self, item: Any, block: bool = True, timeout: float | None = None) -> None:
        """Say something at once, whatever becomes of the task; any thread.

        A status message about the task itself is believed: its number, name, time, progress, result. The first
        number a worker says means its own row; its "finished" is held until the function returns, so that it
        commits together with what is staged.

        Args:
            item: A message; ``MsgWriteRows`` and ``MsgExecute`` write, other types go to their handler.
            block: Wait while the channel is full.
            timeout: How long to wait at most.

        Raises:
            queue.Full: No room, or not in time.
            WriterBrokenError: The writer died.
            AttemptOverError: The task has ended.
        """
        self._must_be_running()
        if isinstance(item, MsgTaskStarted | MsgTaskProgress | MsgTaskFinished) and self._is_own(item.task_id):
            self._hear(item)
            return
        if type(item) is MsgWriteRows:
            item = block_from(item)
        self._port.channel.put(Spoken(self._attempt, item), block, timeout)

    def put_nowait(self, item: Any) -> None:
        """Like ``put``, but raises ``queue.Full`` rather than wait."""
        self.put(item, block=False)

    def qsize(self) -> int:
        """Return how much waits for the writer."""
        return self._port.channel.qsize()

    def empty(self) -> bool:
        """Say whether nothing waits for the writer."""
        return self._port.channel.empty()

    def full(self) -> bool:
        """Say whether ``put`` would block."""
        return self._port.channel.full()

    def _is_own(self, number: Any) -> bool:
        attempt = self._attempt
        if attempt.number_said is None:
            if type(number) is not int:
                return False  # the writer refuses it, and says why
            attempt.number_said = number
            if not self._port.keyed and number != attempt.task_id:
                attempt.row = "old"
                attempt.task_id = number
        return number is attempt.number_said or number == attempt.number_said

    def _hear(self, message: MsgTaskStarted | MsgTaskProgress | MsgTaskFinished) -> None:
        attempt = self._attempt
        if isinstance(message, MsgTaskProgress):
            attempt.cell = _cell(message.step, message.total, message.message)
        elif isinstance(message, MsgTaskStarted):
            attempt.name = storable(str(message.name))
            attempt.started_at = storable(str(message.started_at))
            attempt.cell = NO_PROGRESS
        elif attempt.said_finish is None:
            attempt.said_finish = message

    def _must_be_running(self) -> None:
        if self._attempt.status != "running":
            raise AttemptOverError(f"task {self._attempt.task_id} has ended: what it says now is not stored")


def _cell(step: float, total: float | None, message: str) -> Cell:
    """Check what a task says of its progress here, where it can hear of it."""
    if type(message) is not str:
        message = describe(message)
    return float(step), None if total is None else float(total), message


def current_task() -> TaskContext:
    """Return the context of the task that is running here, anywhere below its function.

    Raises:
        RuntimeError: No task is running in this thread or context.
    """
    attempt = _current.get()
    if attempt is None:
        raise RuntimeError("current_task() was called where no pipeloom task is running")
    return TaskContext(attempt, _port.get())


def enter_run(port: Port) -> None:
    """Make this the run of the calling worker thread."""
    _port.set(port)


enter: Final = _current.set
"""Make an attempt, or ``None``, the current task of the calling worker thread."""
