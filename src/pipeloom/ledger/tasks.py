"""``task_runs``: a batch of what was said about tasks becomes a few multi-row statements.

The folded batch leaves what one message per transaction would leave.
"""

from __future__ import annotations

import operator
import sqlite3
import threading
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from typing import Any, Final

from pipeloom.data.clock import utc_now
from pipeloom.data.text import clean
from pipeloom.data.values import as_json
from pipeloom.db.transaction import Transaction
from pipeloom.errors import LedgerError
from pipeloom.ledger import statements as sql
from pipeloom.ledger.attempt import Attempt, Checkpoint, Glimpse, LogLine, fraction
from pipeloom.ledger.statements import padded
from pipeloom.messages import MsgTaskFinished, MsgTaskProgress, MsgTaskStarted

__all__ = ["NUMBER_LIMIT", "Numbers", "Said", "TaskTable"]

NUMBER_LIMIT: Final = 1 << 62
"""Task numbers stay within this: a row at the end of SQLite's 64 bits would leave no number for the next one."""

_MANY_NEW: Final = 64
_WORKER_STATUSES: Final = frozenset({"done", "error", "cancelled"})


class Said:
    """What one task said in a batch, at most one of each kind, in the order start, progress, finish."""

    __slots__ = ("finished", "progress", "started")

    def __init__(self) -> None:
        self.started: MsgTaskStarted | None = None
        self.progress: MsgTaskProgress | None = None
        self.finished: MsgTaskFinished | None = None


class Numbers:
    """The ids of new rows: given out in ascending order, beyond all that are on file; any thread.

    Args:
        highest: The highest id on file.
    """

    def __init__(self, highest: int) -> None:
        self._lock = threading.Lock()
        self._first = self._next = highest + 1

    def give(self, count: int) -> range:
        """Return ids that are nobody else's."""
        with self._lock:
            first, self._next = self._next, self._next + count
            return range(first, self._next)

    def claim(self, numbers: Iterable[int]) -> set[int]:
        """Return those that were given out; the others, which somebody said by himself, never will be.

        Both under one lock: a number that is free must not be given away before its row is written.
        """
        with self._lock:
            given = {number for number in numbers if self._first <= number < self._next}
            self._next = max(self._next, *(number + 1 for number in numbers if number < NUMBER_LIMIT), self._first)
            return given


class TaskTable:
    """Writes ``task_runs`` and the archive of past attempts; the writer's thread, inside its transaction."""

    def __init__(self, conn: sqlite3.Connection, transaction: Transaction) -> None:
        self._conn = conn
        self._write = transaction.write
        self.pipeline_id: int | None = None
        self.run_id: int | None = None
        # Ids above this have no row.
        self.ceiling: int = conn.execute("SELECT COALESCE(MAX(id), 0) FROM task_runs").fetchone()[0]
        self.numbers = Numbers(self._outermost("MAX(id)", "id < ?", NUMBER_LIMIT))
        self.next_provisional: int = min(0, self._outermost("MIN(id)", "id > ?", -NUMBER_LIMIT)) - 1
        self.has_states = conn.execute("SELECT 1 FROM pipeloom_state LIMIT 1").fetchone() is not None
        self.written = False

    def _outermost(self, which: str, within: str, limit: int) -> int:
        """Return an id to number new rows from, past rows at the very ends of what SQLite can hold."""
        found = self._conn.execute(f"SELECT {which} FROM task_runs WHERE {within}", (limit,)).fetchone()[0]
        return 0 if found is None else int(found)

    # --- attempts of an engine: their whole row is known ---

    def put_attempts(
        self, finished: Sequence[Attempt], live: Sequence[Glimpse], kept: Mapping[Attempt, int]
    ) -> None:
        """Store the present state of attempts, finished or still running.

        Args:
            finished: n attempts that ended; those that are tried again become past tries, and their rows wait.
            live: Running ones.
            kept: Rows stored by an attempt's checkpoints, where this batch changes that.
        """
        self._number(finished)
        # Most are done at their first try and cannot have a row yet: a leaner statement inserts them. Beside others
        # a few of them join those, since each statement more is a wait for the interpreter lock.
        new = [
            a for a in finished if a.row == "new" and a.status == "done" and a.recorded is None and a.attempt == 1
        ]
        if kept:
            new = [attempt for attempt in new if attempt not in kept]
        others: Sequence[Attempt] = finished
        if len(new) == len(finished) and not live:
            others = ()
        elif len(new) < _MANY_NEW:
            new = []
        else:
            fresh = set(map(id, new))
            others = [attempt for attempt in finished if id(attempt) not in fresh]
        seen = [attempt.glimpse() for attempt in others]
        new_rows = list(map(sql.new_row, new))
        for size, flat in padded(new_rows, sql.NEW_WIDTH):
            self._write(sql.NEW[size], [self.pipeline_id, self.run_id, *flat])
        rows = [self._row(glimpse, glimpse.attempt.status, kept) for glimpse in seen]
        rows += [self._row(glimpse, "running", kept) for glimpse in live]
        overwriting = []
        for attempt, number, _, _ in chain(seen, live):
            if attempt.recorded is None:
                if attempt.row != "new":
                    overwriting.append(number)
            elif attempt.recorded[0] != number:
                self._withdraw(attempt.recorded[0])
                if attempt.row != "new":
                    overwriting.append(number)
        if overwriting:
            self._archive(overwriting, keyed_allowed=self.pipeline_id is not None)
        for attempt in others:
            if attempt.retry_in is not None:
                self._keep_try(attempt, kept.get(attempt, attempt.rows_kept))
            elif attempt.waited:
                self._write(sql.FORGET_TRY, (attempt.task_id, self.run_id, attempt.attempt))
        if self.has_states:
            done = (attempt for attempt in finished if attempt.status == "done")
            # One that has a row, new or not, may have a state with it.
            may_have = (a for a in done if a.recorded is not None or a in kept or a.row != "new")
            self._forget_states([attempt.task_id for attempt in may_have])
        for size, flat in padded(rows, sql.WIDTH):
            self._write(sql.PUT[size], flat)
        if new or rows:
            self.written = True
            self.ceiling = max(self.ceiling, *(row[0] for row in chain(new_rows, rows)))

    def _row(self, glimpse: Glimpse, status: str, kept: Mapping[Attempt, int]) -> tuple[Any, ...]:
        attempt = glimpse.attempt
        ended = status != "running"
        if ended and attempt.retry_in is not None:
            return self._waiting_row(attempt)
        step, total, message = glimpse.cell
        return (
            glimpse.task_id,
            attempt.name,
            status,
            1.0 if status == "done" else fraction(step, total),
            attempt.message if ended else message or None,
            glimpse.started_at,
            attempt.finished_at if ended else None,
            attempt.result if ended else None,
            self.pipeline_id,
            attempt.key,
            self.run_id,
            attempt.attempt,
            attempt.error if ended else None,
            attempt.worker,
            kept.get(attempt, attempt.rows_kept) + (attempt.rows_written if ended else 0),
            attempt.elapsed_s if ended else None,
        )

    def _waiting_row(self, attempt: Attempt) -> tuple[Any, ...]:
        """The row of a task that is to be tried again: queued, with why and when."""
        why = f"waits {attempt.retry_in:.1f} s for try {attempt.attempt + 1}: {attempt.message or attempt.status}"
        return (
            attempt.task_id, attempt.name, "queued", 0.0, why, None, None, None,
            self.pipeline_id, attempt.key, self.run_id, attempt.attempt + 1, None, None, 0, None,
        )  # fmt: skip

    def _keep_try(self, attempt: Attempt, rows: int) -> None:
        """Make a failed try one of the past, whose row the next one will have."""
        self._write(
            sql.KEEP_TRY,
            (
                attempt.task_id, self.run_id, attempt.attempt, attempt.name, attempt.status,
                fraction(*attempt.cell[:2]), attempt.message, attempt.started_at, attempt.finished_at, None,
                attempt.error, attempt.worker, rows, attempt.elapsed_s,
            ),
        )  # fmt: skip

    # --- logs ---

    def put_logs(self, attempts: Iterable[Attempt]) -> list[tuple[Attempt, list[LogLine]]]:
        """Store what these logged since the last time.

        Returns:
            The records of each: it is done with them, unless the transaction is rolled back.
        """
        taken: list[tuple[Attempt, list[LogLine]]] = []
        rows: list[tuple[Any, ...]] = []
        for attempt in attempts:
            if not attempt.logs or attempt.row == "none" or attempt.task_id < 0:  # no number of its own yet
                continue
            lines = list(attempt.logs)
            taken.append((attempt, lines))
            rows += [(line.at, attempt.task_id, self.run_id, attempt.attempt, *line[1:]) for line in lines]
        for size, flat in padded(rows, sql.LOG_WIDTH):
            self._write(sql.LOG[size], flat)
        return taken

    # --- checkpoints ---

    def put_states(self, checkpoints: Sequence[Checkpoint]) -> None:
        """Store what tasks need to go on from here; of several of one task the last one counts."""
        self.has_states = True
        last = {checkpoint.attempt: checkpoint.state for checkpoint in checkpoints}
        now = utc_now()
        for attempt, state in last.items():
            self._write(sql.PUT_STATE, (attempt.task_id, self.run_id, attempt.attempt, now, state))

    def state_of(self, number: int) -> str | None:
        """Return the JSON of a task's last checkpoint."""
        found = self._conn.execute("SELECT state FROM pipeloom_state WHERE task_id = ?", (number,)).fetchone()
        return None if found is None else found[0]

    def with_state(self, numbers: Iterable[int]) -> set[int]:
        """Return those tasks that have a checkpoint."""
        found: set[int] = set()
        if self.has_states:
            for size, flat in padded([(number,) for number in numbers], 1):
                found.update(row[0] for row in self._conn.execute(sql.WITH_STATE[size], flat))
        return found

    def _forget_states(self, numbers: Sequence[int]) -> None:
        for size, flat in padded([(number,) for number in numbers], 1):
            self._write(sql.FORGET_STATES[size], flat)

    def _number(self, finished: Sequence[Attempt]) -> None:
        """Give numbers to tasks that ended without one, beyond all that are known."""
        nameless = [attempt for attempt in finished if attempt.row == "provisional"]
        if nameless:
            said = [attempt.task_id for attempt in finished if attempt.row == "old"]
            self.numbers.claim((self.ceiling, *said))
            for attempt, number in zip(nameless, self.numbers.give(len(nameless)), strict=True):
                attempt.task_id, attempt.row = number, "new"

    def _withdraw(self, provisional: int) -> None:
        """Remove the row that stood in until the task had a number."""
        self._write("DELETE FROM task_runs WHERE id = ? AND run_id IS ?", (provisional, self.run_id))

    # --- bare messages: what was said since the last commit is folded by id ---

    def put_said(self, said: dict[int, Said]) -> None:
        """Store what was said about numbered tasks; one ``Said`` per id."""
        starts, progress, finishes = [], [], []
        for number, words in said.items():
            if words.started is not None:
                starts.append(self._started_row(number, words))
                continue
            if words.progress is not None and (words.finished is None or words.finished.status != "done"):
                share = fraction(words.progress.step, words.progress.total)
                progress.append((number, share, words.progress.message))
            if words.finished is not None:
                finishes.append(self._finished_row(number, words.finished))
        touched = [row[0] for row in starts]
        if touched:
            self._archive(touched, keyed_allowed=False)
        if finishes:
            self._refuse_keyed([row[0] for row in finishes])
        for size, flat in padded(starts, sql.WIDTH):
            self._write(sql.PUT[size], flat)
        for size, flat in padded(progress, 3):
            self._write(sql.PROGRESS[size], flat)
        for size, flat in padded(finishes, 8):
            self._write(sql.FINISH[size], flat)
        self.written = True
        if starts or finishes:
            self.ceiling = max(self.ceiling, *touched, *(row[0] for row in finishes))

    def _started_row(self, number: int, words: Said) -> tuple[Any, ...]:
        started, progress, finished = words.started, words.progress, words.finished
        assert started is not None
        share = fraction(progress.step, progress.total) if progress else 0.0
        if finished is None:
            message = progress.message if progress else None
            end: tuple[Any, ...] = (None, None)
            status = "running"
        else:
            status, message = _status(finished), finished.message
            share = 1.0 if status == "done" else share
            end = (finished.finished_at, _result_text(finished.result))
        return (
            number, started.name, status, share, message, started.started_at, *end,
            None, None, self.run_id, 1, None, None, 0, None,
        )  # fmt: skip

    def _finished_row(self, number: int, finished: MsgTaskFinished) -> tuple[Any, ...]:
        status = _status(finished)
        return (
            number,
            f"task {number}",
            status,
            1.0 if status == "done" else 0.0,
            finished.finished_at,
            _result_text(finished.result),
            finished.message,
            self.run_id,
        )

    # --- what was there before ---

    def _archive(self, numbers: list[int], *, keyed_allowed: bool) -> None:
        """Keep the past: rows about to be overwritten move to ``pipeloom_attempts``."""
        if not keyed_allowed:
            self._refuse_keyed(numbers)
        old = [(number,) for number in numbers if number <= self.ceiling]
        for size, flat in padded(old, 1):
            self._write(sql.ARCHIVE[size], flat)

    def _refuse_keyed(self, numbers: Iterable[int]) -> None:
        for number in self.keyed_among(numbers):
            raise LedgerError(taken(number))

    def keyed_among(self, numbers: Iterable[int]) -> set[int]:
        """Return those numbers whose rows belong to a keyed pipeline, on file or given out by this run."""
        numbers = list(numbers)
        given = self.numbers.claim(numbers) if self.pipeline_id is not None else set()
        old = [(number,) for number in numbers if number <= self.ceiling]
        for size, flat in padded(old, 1):
            given.update(row[0] for row in self._conn.execute(sql.KEYED[size], flat))
        return given


def taken(number: int) -> str:
    """Say why a number is refused."""
    return (
        f"task number {number} belongs to a pipeline with keys in this file: use another file, or give this "
        "run keys (key=)"
    )


def task_number(value: Any) -> int:
    """Return a message's ``task_id`` as an int that SQLite can hold.

    Raises:
        LedgerError: It is none.
    """
    try:
        number = operator.index(value)
    except TypeError:
        raise LedgerError(f"task_id must be an int, not {type(value).__name__} {clean(value, 40)!r}") from None
    if abs(number) >= NUMBER_LIMIT:
        raise LedgerError("task_id must lie between -2**62 and 2**62")
    return number


def _status(finished: MsgTaskFinished) -> str:
    if finished.status not in _WORKER_STATUSES:
        raise LedgerError(f'a task finishes as "done", "error" or "cancelled", not {clean(finished.status, 40)!r}')
    return finished.status


def _result_text(result: Any) -> str | None:
    """Return a worker's own result: text as it is, anything else as JSON."""
    if result is None or type(result) is str:
        return result
    try:
        return as_json(result)
    except ValueError as error:
        raise LedgerError(f"the result cannot be stored: {error}") from error
