"""The part of a task's context that is the same in a thread, in a process and on an event loop."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import islice
from typing import Any, Final, NoReturn

from pipeloom.data.items import kept_item
from pipeloom.data.rates import duration
from pipeloom.data.rows import Blocks, Statement, block_for, blocks_from, blocks_of, checked_null
from pipeloom.data.stopwatch import monotonic
from pipeloom.data.text import describe, storable
from pipeloom.data.values import NUMBER_LIMIT, adapt_params, adapt_rows, as_json
from pipeloom.errors import (
    AttemptOverError,
    LedgerError,
    PipeloomError,
    RowRefusedError,
    TaskCancelledError,
    TaskTimeoutError,
    WriterBrokenError,
)
from pipeloom.messages import MsgTaskFinished, MsgTaskProgress, MsgTaskStarted, MsgWriteRows, OnConflict
from pipeloom.statuses import RUNNING
from pipeloom.wire import NO_PROGRESS, Ability, Checkpoint, Progress, Query, StateOf
from pipeloom.worker.link import Link, Reply
from pipeloom.worker.staging import Staging
from pipeloom.worker.task import Task
from pipeloom.worker.track import Track

__all__ = ["BaseContext"]

_LONGEST_S: Final = 1e9  # longest pause in seconds: an int too large for a float may be passed
_MESSAGE_LIMIT: Final = 2000  # characters; the message is stored again whenever it changes


class BaseContext:
    """What one attempt can do without waiting for the writer.

    ``write``, ``execute`` and ``add`` are staged: they are committed together with the task's status ``done`` or
    with its next checkpoint, or not at all. Any thread may use the context until the task ends.

    A context belongs to its process and cannot be pickled. In a child process that the task forks, methods that
    store something raise ``WriterBrokenError``, and ``progress`` has no effect.
    """

    __slots__ = ("_link", "_task")

    def __init__(self, task: Task, link: Link) -> None:
        self._task = task
        self._link = link

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            "a task's context cannot be sent to another process: return the values to the task's function, "
            "and store them there"
        )

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of task {self.task_id}, attempt {self.attempt}, run {self.run_id}>"

    @property
    def run_id(self) -> int | None:
        """The run's ``id`` in ``pipeloom_runs``; ``None`` without ledger tables."""
        return self._link.brief.run_id

    @property
    def task_id(self) -> int:
        """The ``id`` of the task's row in ``task_runs``."""
        return self._task.task_id

    @property
    def key(self) -> str | int | None:
        """The task's key as stored; ``None`` in a run without keys."""
        return self._task.key

    @property
    def local(self) -> Any:
        """The value that ``local=`` set up in this worker; ``None`` without ``local=``."""
        return self._task.local

    @property
    def attempt(self) -> int:
        """The number of this attempt in this run, counted from 1."""
        return self._task.attempt

    @property
    def cancelled(self) -> bool:
        """Whether the task should end: the run is being cancelled, or the task's ``timeout`` has expired."""
        return self._link.cancelling or self.remaining_s == 0

    @property
    def remaining_s(self) -> float | None:
        """How many seconds of the task's ``timeout`` are left, at least 0; ``None`` without a ``timeout``."""
        deadline = self._task.deadline
        if deadline is None:
            return None
        return max(0.0, deadline - monotonic())

    def check(self) -> None:
        """Raise an exception if the task should end; call this in long loops. It never blocks.

        Raises:
            TaskCancelledError: The run is being cancelled.
            TaskTimeoutError: The task's ``timeout`` has expired.
        """
        if self._link.cancelling:
            raise TaskCancelledError("the run is being cancelled")
        deadline = self._task.deadline
        if deadline is not None and monotonic() > deadline:
            raise TaskTimeoutError(f"not done after {duration(deadline - self._task.t0)}")

    def progress(self, step: float, total: float | None = None, message: str = "") -> None:
        """Report how far the task has got. Never blocks; costs one attribute assignment; shown within about 0.1 s.

        Args:
            step: How much is done, in any unit.
            total: How much there is in all, in the same unit; ``None`` if unknown.
            message: Text to display; empty clears the previous one.

        Raises:
            TypeError, ValueError: ``step`` or ``total`` is not a number.
        """
        if message == "":  # the usual case; some tasks call this millions of times
            self._task.progress = (float(step), None if total is None else float(total), "")
        else:
            self._task.progress = _progress(step, total, message)

    def write(
        self,
        table: str,
        rows: Mapping[str, Any] | Iterable[Any],
        *,
        columns: Sequence[str] | None = None,
        null: Sequence[Any] = (),
        on_conflict: OnConflict = "error",
        conflict_on: Sequence[str] = (),
        alter: bool | None = None,
    ) -> None:
        """Stage rows; they are committed when the task is done. Copies the rows and does not wait for the commit.

        A task may stage more than fits in memory: beyond 16 MiB, rows go to a temporary file beside the database.

        Args:
            table: The table to write to. If it does not exist, it is created as ``tables=`` declares it,
                or else to fit the first rows stored in it.
            rows: One row or n rows: mappings, dataclasses, named tuples, attrs or pydantic objects and the like;
                sequences, with ``columns``; or a data frame of pandas, polars or pyarrow. Columns that a row does
                not have get their DEFAULT, or keep their value if an existing row is overwritten.
            columns: The column names, for rows that are sequences.
            null: Values to store as NULL, such as ``("", "NA")``.
            on_conflict: What happens to a row that violates a UNIQUE constraint: ``"error"`` fails the task,
                ``"ignore"`` leaves the row out, ``"update"`` overwrites the existing row.
            conflict_on: The columns of that constraint.
            alter: Whether to add columns that the table lacks. Default: the run's ``alter=``.

        Raises:
            RowRefusedError: A value cannot be stored; the message names table, column and type. Nothing is staged.
            TaskTooLargeError: The task would stage more than ``max_task_mb``, or more than fits on the disk;
                nothing from this call is staged.
            AttemptOverError: The task has ended.
        """
        staging = self._task.staging
        if alter is None:
            alter = self._link.brief.alter
        if staging is not None and columns is None and on_conflict == "error" and not conflict_on:
            block = block_for(staging.last, table, rows, alter)
            if block is not None:
                (row,) = adapt_rows(
                    [tuple(rows.values())],  # type: ignore[union-attr]  # `block_for` found a block, so it is a dict
                    table,
                    block.shape.columns,
                    checked_null(null) if null != () else None,
                )
                with staging.lock:
                    if self._task.status != RUNNING or staging.is_closed:
                        raise self._over()
                    if not staging.append(block, row):  # the fast path of loops that write row by row
                        staging.join(block, row)
                return
        check = partial(
            blocks_of,
            table,
            columns=columns,
            null=null,
            on_conflict=on_conflict,
            conflict_on=conflict_on,
            alter=alter,
        )
        staging = self._staging()
        if not isinstance(rows, Iterator):
            blocks = check(rows)
            with staging.lock:
                self._must_be_running(staging)
                staging.add(blocks)
            return
        # An iterator may yield more rows than fit in memory. None is staged before all have arrived, because the
        # iterator may raise, or call `write` itself.
        collected, count = staging.apart(), 0
        shape, absent = None, frozenset[Any]()
        width = 0 if columns is None else len(columns)
        take = rows.take if isinstance(rows, Track) else lambda most: list(islice(rows, most))
        while (some := take(collected.handful(count, width))) or not count:
            if shape is None or not collected.add_words(shape, some, absent, count):
                blocks = check(some, before=count)
                collected.add(blocks)
                if columns is not None and not conflict_on and len(blocks) == 1:
                    shape, absent = blocks[0].shape, checked_null(null)
            count += max(len(some), 1)
        with staging.lock:
            self._must_be_running(staging)
            staging.adopt(collected)

    def execute(self, sql: str, params: Sequence[Any] | Mapping[str, Any] = ()) -> None:
        """Stage one SQL statement. It runs in order with ``write`` and is committed when the task is done.

        Args:
            sql: One statement.
            params: Its parameters: a sequence for ``?``, a mapping for ``:name``.

        Raises:
            RowRefusedError: A parameter cannot be stored.
            TaskTooLargeError: As for ``write``.
            AttemptOverError: The task has ended.
        """
        statement = Statement(_checked_sql(sql), adapt_params(params))
        staging = self._staging()
        with staging.lock:
            self._must_be_running(staging)
            staging.add_statement(statement)

    def slow_down(self, seconds: float) -> None:
        """Start no further tasks for a while, for example because a service is overloaded. Does not block.

        For this many seconds, no task starts that shares a value of a limit's ``per`` with this one. If no limit
        has ``per``, or the run has no limits, no task starts at all. Running tasks continue. A call cannot shorten
        a longer pause that is already in effect. The pause applies even if this task fails, so the task may raise
        an exception afterwards.

        Args:
            seconds: The length of the pause, 0 or more.

        Raises:
            TypeError, ValueError: ``seconds`` is not a finite number of 0 or more.
            AttemptOverError: The task has ended.
        """
        if isinstance(seconds, bool) or not isinstance(seconds, int | float):
            raise TypeError(f"ctx.slow_down: seconds must be a number, not {type(seconds).__name__}")
        if not 0 <= seconds < math.inf:
            raise ValueError(f"ctx.slow_down: seconds must be 0 or more, and finite, not {seconds}")
        self._must_be_running()
        self._link.slow_down(self._task, float(min(seconds, _LONGEST_S)))

    def add(self, *items: Any) -> None:
        """Add inputs to the run. Like rows, they are committed when the task is done. Does not wait for the run.

        Inputs that were passed or added before, by any task, are ignored. The others are stored in the file and
        run in the order in which they were added, in this run or the next.

        Args:
            items: n inputs, 0 or more: str, numbers, paths, dates, UUIDs, or tuples, lists, dicts and dataclasses
                of these. ``key=`` is applied to them as to all inputs; if it raises, this task fails.

        Raises:
            TypeError, ValueError: An input cannot be stored; no input from this call is added.
            LedgerError: The run's tasks have no keys, or the run uses ``shard=``.
            TaskTooLargeError: As for ``write``.
            AttemptOverError: The task has ended.
        """
        if (why := self._link.brief.adds_none) is not None:
            raise LedgerError(f"ctx.add: {why}")
        try:
            kept = [kept_item(item) for item in items]
        except TypeError as error:
            raise TypeError(f"ctx.add: {error}") from None
        except ValueError as error:
            raise ValueError(f"ctx.add: {error}") from None
        staging = self._staging()
        with staging.lock:
            self._must_be_running(staging)
            if kept:
                staging.add_inputs(kept)

    # --- the queue that workers of run_pipeline expect ---

    def qsize(self) -> int:
        """Return how much is waiting for the writer; compare :meth:`full`."""
        return self._link.backlog()[0]

    def empty(self) -> bool:
        """Return whether nothing is waiting for the writer."""
        return self.qsize() == 0

    def full(self) -> bool:
        """Return whether ``put`` would block."""
        waiting, capacity = self._link.backlog()
        return waiting >= capacity

    # --- messages and questions, prepared for sending ---

    def _checked_query(self, sql: str, params: Sequence[Any] | Mapping[str, Any]) -> Query:
        self._must_be_able("ask", "ctx.query")
        query = Query(_checked_sql(sql), adapt_params(params))
        self._must_be_running()
        return query

    def _checked_state(self, state: Any) -> str:
        """Return the state of a checkpoint as JSON, as it is stored."""
        self._must_be_able("checkpoint", "ctx.checkpoint")
        if not self._link.brief.keyed:
            raise LedgerError(
                "ctx.checkpoint needs tasks with keys: use pipeloom.map, or pass key= to run_pipeline"
            )
        try:
            return as_json(state)
        except ValueError as error:
            raise RowRefusedError(f"the state of a checkpoint must be JSON: {error}") from error

    def _send_checkpoint(self, state: str) -> Reply:
        staging = self._staging()
        with staging.lock:
            self._must_be_running(staging)
            return self._link.ask(self._task, Checkpoint(state, *staging.take()), self._must_be_running)

    def _ask_for_state(self) -> Reply | None:
        """Request the last checkpoint of an earlier run; return ``None`` if there cannot be one.

        The answer is not cached: only the run sets the task's state, and a checkpoint may be committed meanwhile.
        """
        if not self._task.seen_before:
            return None
        self._must_be_able("ask", "ctx.state")
        return self._link.ask(self._task, StateOf(self._task.task_id), self._look)

    def _to_be_said(self, item: Any) -> Any:
        """Return a message as it is sent; ``None`` if it was about this task and has been applied to it here."""
        self._must_be_running()
        if isinstance(item, MsgTaskStarted | MsgTaskProgress | MsgTaskFinished) and self._is_own(item.task_id):
            self._hear(item)
            return None
        if type(item) is MsgWriteRows:
            return Blocks(blocks_from(item, alter=self._link.brief.alter))
        return item

    def _is_own(self, number: object) -> bool:
        task = self._task
        if task.number_said is None:
            if type(number) is not int or abs(number) >= NUMBER_LIMIT:
                return False  # the ledger refuses it and reports why
            task.number_said = number
            if not self._link.brief.keyed and number != task.task_id:
                task.task_id, task.is_renumbered = number, True
        return number is task.number_said or number == task.number_said

    def _hear(self, message: MsgTaskStarted | MsgTaskProgress | MsgTaskFinished) -> None:
        task = self._task
        if isinstance(message, MsgTaskProgress):
            task.progress = _progress(message.step, message.total, message.message)
        elif isinstance(message, MsgTaskStarted):
            task.name = storable(str(message.name))
            task.started_at = storable(str(message.started_at))
            task.progress = NO_PROGRESS
        elif task.said_finish is None:
            task.said_finish = message

    def _staging(self) -> Staging:
        """Return the task's staging area, which any of its threads may be the first to need."""
        task = self._task
        if task.staging is None:
            brief = self._link.brief
            fresh = Staging(brief.max_task_bytes, brief.spool_in, brief.declared)
            staging: Staging = task.__dict__.setdefault("staging", fresh)  # atomic
            return staging
        return task.staging

    def _look(self) -> None:
        """Stop waiting for an answer if the task should end."""
        self._must_be_running()
        self.check()

    def _must_be_able(self, ability: Ability, what: str) -> None:
        brief = self._link.brief
        if ability not in brief.can:
            raise LedgerError(
                f"{what} is not available on {brief.executor}: a task there cannot reach the ledger before it ends"
            )

    def _must_be_running(self, staging: Staging | None = None) -> None:
        if self._task.status != RUNNING or (staging is not None and staging.is_closed):
            raise self._over()

    def _over(self) -> PipeloomError:
        if self._task.is_orphan:
            return WriterBrokenError(
                f"a forked child process cannot store anything for task {self._task.task_id}: "
                "pass the values to the parent process, and store them there"
            )
        return AttemptOverError(f"task {self._task.task_id} has ended, so nothing more can be stored for it")


def _checked_sql(sql: object) -> str:
    if not isinstance(sql, str):
        raise RowRefusedError(f"sql must be text, not {type(sql).__name__}")
    if not sql.isascii() and storable(sql) != sql:
        raise RowRefusedError("sql contains a lone surrogate, which SQLite cannot read as text")
    return sql


def _progress(step: float, total: float | None, message: str) -> Progress:
    """Check reported progress here, where the task sees the exception."""
    if type(message) is not str or len(message) > _MESSAGE_LIMIT:
        message = describe(message, _MESSAGE_LIMIT)
    return float(step), None if total is None else float(total), message
