"""What a task function holds in its hand, and what an old worker calls its queue."""

from __future__ import annotations

import operator
import queue
import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from sys import getsizeof
from time import monotonic
from typing import Any, Final, TypeVar

import msgspec

from pipeloom.data.rows import Block, Shape, Statement, block_from, block_of, checked_null, joins
from pipeloom.data.text import clean, describe, storable
from pipeloom.data.values import adapt_params, adapt_rows, as_json, explain_unbindable
from pipeloom.errors import (
    AttemptOverError,
    LedgerError,
    RowRefusedError,
    TaskCancelledError,
    TaskTimeoutError,
    TaskTooLargeError,
)
from pipeloom.ledger import NUMBER_LIMIT, Ledger
from pipeloom.ledger.attempt import NO_PROGRESS, Attempt, Cell, Checkpoint, Spoken, weight_of
from pipeloom.messages import MsgTaskFinished, MsgTaskProgress, MsgTaskStarted, MsgWriteRows, OnConflict
from pipeloom.worker.current import Port, present_run, running_attempt

__all__ = ["TaskContext", "current_task"]

T = TypeVar("T")

_MESSAGE_LIMIT: Final = 2000  # it is written anew whenever it changes
_LOOK_S: Final = 0.25
_WEIGHED_ROWS: Final = 64
_HEAVY_ROW: Final = 16 * 1024
_STATEMENT: Final = Shape("a statement", (), "error", ())


class TaskContext:
    """One attempt's view of its run: report progress, write rows, look things up.

    ``write`` and ``execute`` are staged: they commit together with the task's "done", or with its next checkpoint,
    or not at all. ``put`` is at once, and survives the task's failure. Any thread may use it until the task ends.
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
        """Whether the run is being cancelled, or the task's time is over, so that it should end soon."""
        return self._port.cancelling or self.remaining_s == 0

    @property
    def remaining_s(self) -> float | None:
        """How many seconds of the task's ``timeout`` are left, 0 past its end; ``None`` without one."""
        deadline = self._attempt.deadline
        return None if deadline is None else max(0.0, deadline - monotonic())

    def check(self) -> None:
        """Raise when the task should end; call it in long loops.

        Raises:
            TaskCancelledError: The run is being cancelled.
            TaskTimeoutError: The task's ``timeout`` is over.
        """
        if self._port.cancelling:
            raise TaskCancelledError("the run is being cancelled")
        deadline = self._attempt.deadline
        if deadline is not None and monotonic() > deadline:
            raise TaskTimeoutError(f"not done after {deadline - self._attempt.t0:g} s")

    def progress(self, step: float, total: float | None = None, message: str = "") -> None:
        """Say how far the task is; costs an attribute store, never blocks, seen within about 0.1 s.

        Args:
            step: How much is done, in any unit.
            total: How much there is in all; ``None`` when unknown.
            message: What people should read.

        Raises:
            TypeError, ValueError: ``step`` or ``total`` is no number.
        """
        if message == "":  # as most say nothing; this is called by the million
            self._attempt.cell = (float(step), None if total is None else float(total), "")
        else:
            self._attempt.cell = _cell(step, total, message)

    def track(self, iterable: Iterable[T], total: float | None = None) -> Iterator[T]:
        """Yield from ``iterable``, with progress and cancellation per element; keeps the message said last.

        Args:
            iterable: n elements.
            total: n, when ``len(iterable)`` does not say.

        Raises:
            TaskCancelledError: The run is being cancelled.
            TaskTimeoutError: The task's ``timeout`` is over.
        """
        if total is None:
            total = operator.length_hint(iterable) or None
        total = None if total is None else float(total)
        attempt, port = self._attempt, self._port
        for step, element in enumerate(iterable):
            attempt.cell = (step, total, attempt.cell[2])
            if port.cancelling or attempt.deadline is not None:
                self.check()
            yield element
        if total is not None:
            attempt.cell = (total, total, attempt.cell[2])

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
            TaskTooLargeError: More than ``max_task_mb`` would be staged; nothing of this call is.
            AttemptOverError: The task has ended.
        """
        attempt = self._attempt
        staged = attempt.staged
        last: Any = staged[-1] if staged else None  # once: another thread may stage something else at any time
        if on_conflict == "error" and columns is None and joins(last, table, rows):
            shape, stored = last
            fresh = adapt_rows(
                [tuple(rows.values())],  # type: ignore[union-attr]  # it joins, so it is a dict
                shape.table,
                shape.columns,
                checked_null(null) if null else None,
            )
            with attempt.staging or self._staging():
                light = attempt.unweighed + 1 < attempt.weigh_every
                if (
                    light
                    and attempt.status == "running"
                    and staged
                    and attempt.staged is staged
                    and staged[-1] is last
                ):
                    attempt.unweighed += 1  # loops that write row by row end here
                    stored.append(fresh[0])
                    return
            self._join(last, fresh)
            return
        block = block_of(table, rows, columns, null=null, on_conflict=on_conflict, conflict_on=conflict_on)
        with attempt.staging or self._staging():
            self._must_be_running()
            self._weigh(block.shape, block.rows, len(block.rows))
            self._stage(block)

    def _join(self, block: Block, rows: list[tuple[Any, ...]]) -> None:
        """Add one row to the block before it, and weigh it when it is time."""
        attempt = self._attempt
        with attempt.staging or self._staging():
            self._must_be_running()
            attempt.unweighed += 1
            if attempt.unweighed >= attempt.weigh_every:
                # Light rows are weighed ever more seldom: it takes a fifth of the time of writing one.
                heavy = self._weigh(block.shape, rows, attempt.unweighed) > _HEAVY_ROW
                attempt.weigh_every = 1 if heavy else min(attempt.weigh_every * 2, _WEIGHED_ROWS)
                attempt.unweighed = 0
            if attempt.staged and attempt.staged[-1] is block:
                block.rows.extend(rows)
            else:  # a checkpoint of another thread has taken it
                self._stage(Block(block.shape, rows))

    def _stage(self, block: Block) -> None:
        staged = self._attempt.staged
        if staged is None:
            self._attempt.staged = [block]
            return
        last = staged[-1]
        if type(last) is Block and last.shape == block.shape:
            last.rows.extend(block.rows)
        else:
            staged.append(block)

    def _staging(self) -> threading.RLock:
        """Return the lock that guards what is staged: another thread of the task may come to a checkpoint.

        Values are turned into what SQLite stores before it is taken; still, a destructor of the task's may run, and
        write, while it is held.
        """
        lock: threading.RLock = self._attempt.__dict__.setdefault("staging", threading.RLock())  # atomic
        return lock

    def _weigh(self, shape: Shape, rows: Sequence[Sequence[Any]], count: int) -> float:
        """Add ``count`` rows to what the task has staged, judged by up to 64 of them; returns bytes per row."""
        if not rows:
            return 0.0
        sample = rows[:: max(len(rows) // _WEIGHED_ROWS, 1)]
        per_row = sum(map(_size_of, sample)) / len(sample)
        size = self._attempt.staged_bytes + int(per_row * count)
        if size > self._port.max_task_bytes:
            if (reason := explain_unbindable(sample, shape.table, shape.columns)) is not None:
                raise RowRefusedError(reason)
            raise TaskTooLargeError(
                f"the task has staged about {size / 2**20:,.1f} MiB (the last for {clean(shape.table, 60)}), more "
                f"than max_task_mb={self._port.max_task_bytes / 2**20:g}: call ctx.checkpoint(state) now and then, "
                "which stores what is staged, or pass a larger max_task_mb="
            )
        self._attempt.staged_bytes = size
        return per_row

    def execute(self, sql: str, params: Sequence[Any] | Mapping[str, Any] = ()) -> None:
        """Stage one SQL statement; it runs in order with ``write``, and commits with the task's "done".

        Raises:
            RowRefusedError: A parameter cannot be stored.
            TaskTooLargeError: More than ``max_task_mb`` would be staged.
            AttemptOverError: The task has ended.
        """
        if not isinstance(sql, str):
            raise RowRefusedError(f"sql must be text, not {type(sql).__name__}")
        statement = Statement(sql, adapt_params(params))
        values = statement.params.values() if isinstance(statement.params, dict) else statement.params
        with self._attempt.staging or self._staging():
            self._must_be_running()
            self._weigh(_STATEMENT, [(sql, *values)], 1)
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
            TaskCancelledError, TaskTimeoutError: As ``check``; the question is given up.
            WriterBrokenError: The writer died.
        """
        adapted = adapt_params(params)
        self._must_be_running()
        attempt = self._attempt

        def nobody_waits() -> bool:
            return attempt.status != "running" or self.cancelled

        try:
            rows: list[tuple[Any, ...]] = self._ask(lambda ledger: ledger.query(sql, adapted, nobody_waits))
        except sqlite3.OperationalError:
            self._look()  # interrupted, because the task should end
            raise
        return rows

    # --- going on after a failure ---

    @property
    def state(self) -> Any:
        """What the task's last checkpoint said, in this try or an earlier one, in this run or an earlier one.

        ``None`` when there is none. Decoded anew at each use; may block until the writer answers.
        """
        attempt = self._attempt
        state = attempt.state
        if state is None and attempt.row == "old" and self._port.keyed:
            # Not kept: what the attempt has is the writer's to say, and a checkpoint may be committed meanwhile.
            number = attempt.task_id
            state = self._ask(lambda ledger: ledger.state_of(number))
        return None if state is None else msgspec.json.decode(state)

    def checkpoint(self, state: Any) -> None:
        """Commit what is staged together with ``state``; blocks until it is on file.

        Whatever happens to the task later, those rows stay, and its next try, in this run or the next, finds
        ``state`` in ``ctx.state``. What is staged later goes with the try. Done clears the state. When it raises
        because the task should end, it is stored all the same, as soon as the writer comes to it.

        Args:
            state: JSON: what the next try needs to go on behind these rows.

        Raises:
            RowRefusedError: Something staged, or the state, cannot be stored; the task cannot be done any more.
            TaskCancelledError, TaskTimeoutError: As ``check``, but never before it is on its way.
            LedgerError: The run has no keys, so that no later try would find it.
            AttemptOverError: The task has ended.
            WriterBrokenError: The writer died.
        """
        attempt, port = self._attempt, self._port
        if not port.keyed:
            raise LedgerError(
                "ctx.checkpoint needs tasks with keys: use pipeloom.map, or pass key= to run_pipeline"
            )
        try:
            text = as_json(state)
        except ValueError as error:
            raise RowRefusedError(f"the state of a checkpoint must be JSON: {error}") from error
        with attempt.staging or self._staging():
            self._must_be_running()
            staged, size = attempt.staged or [], attempt.staged_bytes
            attempt.staged, attempt.staged_bytes = None, 0
            rows = sum(len(part.rows) for part in staged if type(part) is Block)
            item = Checkpoint(attempt, staged, text, rows)
            self._say(port.channel.put_surely, item, weight=weight_of(rows, size))
        item.result(self._look)
        self.check()

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
        self._say(self._port.channel.put, Spoken(self._attempt, item), block, timeout)

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
            if type(number) is not int or abs(number) >= NUMBER_LIMIT:
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

    def _ask(self, function: Callable[[Ledger], Any]) -> Any:
        return self._port.ask(function).result(self._look)

    def _say(
        self,
        put: Callable[..., None],
        item: Any,
        block: bool = True,
        timeout: float | None = None,
        *,
        weight: int = 1,
    ) -> None:
        """Put an item; wait for room only as long as the task goes on."""
        try:
            put(item, block=False, weight=weight)
            return
        except queue.Full:
            if not block:
                raise
        until = None if timeout is None else monotonic() + timeout
        while True:
            left = _LOOK_S if until is None else min(_LOOK_S, max(0.0, until - monotonic()))
            try:
                put(item, timeout=left, weight=weight)
                return
            except queue.Full:
                if until is not None and monotonic() >= until:
                    raise
            self._must_be_running()

    def _look(self) -> None:
        """Give up waiting for an answer when the task should end."""
        self._must_be_running()
        self.check()

    def _must_be_running(self) -> None:
        if self._attempt.status != "running":
            raise AttemptOverError(f"task {self._attempt.task_id} has ended: what it says now is not stored")


def _size_of(row: Sequence[Any]) -> int:
    """Return about how many bytes of memory a row takes."""
    return 56 + 8 * len(row) + sum(map(getsizeof, row))


def _cell(step: float, total: float | None, message: str) -> Cell:
    """Check what a task says of its progress here, where it can hear of it."""
    if type(message) is not str or len(message) > _MESSAGE_LIMIT:
        message = describe(message, _MESSAGE_LIMIT)
    return float(step), None if total is None else float(total), message


def current_task() -> TaskContext:
    """Return the context of the task that is running here, anywhere below its function.

    Raises:
        RuntimeError: No task is running in this thread or context.
    """
    attempt = running_attempt()
    if attempt is None:
        raise RuntimeError("current_task() was called where no pipeloom task is running")
    return TaskContext(attempt, present_run())
