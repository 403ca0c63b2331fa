"""What every task holds in its hand, whether it runs in a thread, in a process or on an event loop."""

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

_LONGEST_S: Final = 1e9  # a run waits, in seconds; more than a float holds may be asked
_MESSAGE_LIMIT: Final = 2000  # it is written anew whenever it changes


class BaseContext:
    """One attempt's view of its run, as far as nothing has to be waited for.

    ``write``, ``execute`` and ``add`` are staged: they commit together with the task's "done", or with its next
    checkpoint, or not at all. Any thread may use it until the task ends.

    It belongs to its process, and cannot be pickled. In a child that the task forks, what would have to be stored
    raises ``WriterBrokenError``, and ``progress`` changes nothing.
    """

    __slots__ = ("_link", "_task")

    def __init__(self, task: Task, link: Link) -> None:
        self._task = task
        self._link = link

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            "a task's context cannot be sent to another process, where nothing it is told would be stored: "
            "return what there is to say, and say it in the task"
        )

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of task {self.task_id}, attempt {self.attempt}, run {self.run_id}>"

    @property
    def run_id(self) -> int | None:
        """The run's number in ``pipeloom_runs``; ``None`` without ledger tables."""
        return self._link.brief.run_id

    @property
    def task_id(self) -> int:
        """The ``id`` of the task's row."""
        return self._task.task_id

    @property
    def key(self) -> str | int | None:
        """The task's key as stored; ``None`` in a run without keys."""
        return self._task.key

    @property
    def local(self) -> Any:
        """What ``local=`` gave this worker when it was entered; ``None`` without it."""
        return self._task.local

    @property
    def attempt(self) -> int:
        """1 for the first try in this run."""
        return self._task.attempt

    @property
    def cancelled(self) -> bool:
        """Whether the run is being cancelled, or the task's time is over, so that it should end soon."""
        return self._link.cancelling or self.remaining_s == 0

    @property
    def remaining_s(self) -> float | None:
        """How many seconds of the task's ``timeout`` are left, 0 past its end; ``None`` without one."""
        deadline = self._task.deadline
        if deadline is None:
            return None
        return max(0.0, deadline - monotonic())

    def check(self) -> None:
        """Raise when the task should end; call it in long loops.

        Raises:
            TaskCancelledError: The run is being cancelled.
            TaskTimeoutError: The task's ``timeout`` is over.
        """
        if self._link.cancelling:
            raise TaskCancelledError("the run is being cancelled")
        deadline = self._task.deadline
        if deadline is not None and monotonic() > deadline:
            raise TaskTimeoutError(f"not done after {duration(deadline - self._task.t0)}")

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
        """Stage rows; they commit with the task's "done". Copies at the call, and does not wait for their commit.

        What a task stages may be larger than memory: past 16 MiB it goes to a temporary file beside the database.

        Args:
            table: A table of the user's; made from ``tables=``, else from the first task's output, when missing.
            rows: One row or n rows: mappings, dataclasses, named tuples, attrs, pydantic and the like, or, with
                ``columns``, sequences; or a frame of pandas, polars or pyarrow. A row writes the columns that it
                has: the others get their DEFAULT, or stay as they are when a row is overwritten.
            columns: Names for the values of rows that are sequences.
            null: Values to store as NULL, such as ``("", "NA")``.
            on_conflict: What becomes of a row that hits a UNIQUE constraint.
            conflict_on: The columns of that constraint.
            alter: Add the columns that the table lacks. Default: as the run was told.

        Raises:
            RowRefusedError: Something cannot be stored (names table, column and type); nothing is staged.
            TaskTooLargeError: More than ``max_task_mb`` would be staged, or than the disk has room for; nothing of
                this call is.
            AttemptOverError: The task has ended.
        """
        staging = self._task.staging
        if alter is None:
            alter = self._link.brief.alter
        if staging is not None and columns is None and on_conflict == "error" and not conflict_on:
            block = block_for(staging.last, table, rows, alter)
            if block is not None:
                (row,) = adapt_rows(
                    [tuple(rows.values())],  # type: ignore[union-attr]  # there is a block for it: it is a dict
                    table,
                    block.shape.columns,
                    checked_null(null) if null != () else None,
                )
                with staging.lock:
                    if self._task.status != RUNNING or staging.is_closed:
                        raise self._over()
                    if not staging.append(block, row):  # where loops that write row by row end
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
        # It may give more rows than memory holds. None is staged before all are there: it may raise, or write.
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
        """Stage one SQL statement; it runs in order with ``write``, and commits with the task's "done".

        Args:
            sql: One statement.
            params: Values for its ``?`` or, as a mapping, for its ``:name`` parameters.

        Raises:
            RowRefusedError: A parameter cannot be stored.
            TaskTooLargeError: As ``write``.
            AttemptOverError: The task has ended.
        """
        statement = Statement(_checked_sql(sql), adapt_params(params))
        staging = self._staging()
        with staging.lock:
            self._must_be_running(staging)
            staging.add_statement(statement)

    def slow_down(self, seconds: float) -> None:
        """Have the run leave a service alone for a while; does not wait. What is running goes on.

        For so many seconds no task begins that has a value of a limit's ``per`` in common with this one; in a run
        whose limits have none, or without limits, no task at all. A call that would end earlier than one before it
        changes nothing. It holds whatever becomes of this task, so that it may raise next.

        Args:
            seconds: How long, 0 or more.

        Raises:
            TypeError, ValueError: ``seconds`` is no such number.
            AttemptOverError: The task has ended.
        """
        if isinstance(seconds, bool) or not isinstance(seconds, int | float):
            raise TypeError(f"ctx.slow_down: seconds must be a number, not {type(seconds).__name__}")
        if not 0 <= seconds < math.inf:
            raise ValueError(f"ctx.slow_down: seconds must be 0 or more, and finite, not {seconds}")
        self._must_be_running()
        self._link.slow_down(self._task, float(min(seconds, _LONGEST_S)))

    def add(self, *items: Any) -> None:
        """Add inputs to the run; they commit with the task's "done", as rows do. Never waits for the run.

        Those that were given or added before, by whichever task, are left aside. The others wait in the file, and
        run in the order in which they were found, in this run or in the next.

        Args:
            items: n inputs, 0 or more: str, numbers, paths, dates, UUIDs, or tuples, lists, dicts and dataclasses
                of those. ``key=`` tells them apart as it does the others; what it raises fails this task.

        Raises:
            TypeError, ValueError: One of them could not be stored; none of this call is added.
            LedgerError: The run's tasks have no keys, or it is about one shard of its inputs.
            TaskTooLargeError: As ``write``.
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

    # --- the queue that an old worker expects ---

    def qsize(self) -> int:
        """Return how much waits for the writer."""
        return self._link.backlog()[0]

    def empty(self) -> bool:
        """Say whether nothing waits for the writer."""
        return self.qsize() == 0

    def full(self) -> bool:
        """Say whether ``put`` would block."""
        waiting, capacity = self._link.backlog()
        return waiting >= capacity

    # --- what is said and asked, made ready to be sent ---

    def _checked_query(self, sql: str, params: Sequence[Any] | Mapping[str, Any]) -> Query:
        self._must_be_able("ask", "ctx.query")
        query = Query(_checked_sql(sql), adapt_params(params))
        self._must_be_running()
        return query

    def _checked_state(self, state: Any) -> str:
        """Return the state of a checkpoint as it is stored."""
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
        """Ask for the last checkpoint of an earlier run; ``None`` when there can be none.

        Not kept: the task's state is the run's to say, and a checkpoint may be committed meanwhile.
        """
        if not self._task.seen_before:
            return None
        self._must_be_able("ask", "ctx.state")
        return self._link.ask(self._task, StateOf(self._task.task_id), self._look)

    def _to_be_said(self, item: Any) -> Any:
        """Return a message as it is sent; ``None`` when the task itself is its subject, and has heard it."""
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
                return False  # the ledger refuses it, and says why
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
        """Return where the task's output is kept, which any of its threads may be the first to need."""
        task = self._task
        if task.staging is None:
            brief = self._link.brief
            fresh = Staging(brief.max_task_bytes, brief.spool_in, brief.declared)
            staging: Staging = task.__dict__.setdefault("staging", fresh)  # atomic
            return staging
        return task.staging

    def _look(self) -> None:
        """Give up waiting for an answer when the task should end."""
        self._must_be_running()
        self.check()

    def _must_be_able(self, ability: Ability, what: str) -> None:
        brief = self._link.brief
        if ability not in brief.can:
            raise LedgerError(
                f"{what}: a task that runs on {brief.executor} has no way to the ledger before it ends"
            )

    def _must_be_running(self, staging: Staging | None = None) -> None:
        if self._task.status != RUNNING or (staging is not None and staging.is_closed):
            raise self._over()

    def _over(self) -> PipeloomError:
        if self._task.is_orphan:
            return WriterBrokenError(
                f"a forked child cannot speak for task {self._task.task_id}, what it says would be lost: "
                "hand it to the parent, and say it there"
            )
        return AttemptOverError(f"task {self._task.task_id} has ended: what it says now is not stored")


def _checked_sql(sql: object) -> str:
    if not isinstance(sql, str):
        raise RowRefusedError(f"sql must be text, not {type(sql).__name__}")
    if not sql.isascii() and storable(sql) != sql:
        raise RowRefusedError("sql holds a lone surrogate, which is no text that SQLite can read")
    return sql


def _progress(step: float, total: float | None, message: str) -> Progress:
    """Check what a task says of its progress here, where it can hear of it."""
    if type(message) is not str or len(message) > _MESSAGE_LIMIT:
        message = describe(message, _MESSAGE_LIMIT)
    return float(step), None if total is None else float(total), message
