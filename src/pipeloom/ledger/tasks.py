"""``task_runs``: write a batch of attempts and status messages in a few multi-row statements.

The result is the same as if each message had been written in its own transaction.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Final

from pipeloom.data.clock import utc_now
from pipeloom.data.finish import judged
from pipeloom.data.kinds import Kinds
from pipeloom.data.rates import duration, fraction
from pipeloom.data.values import NUMBER_LIMIT
from pipeloom.db.transaction import Transaction
from pipeloom.errors import LedgerError
from pipeloom.ledger import statements as sql
from pipeloom.ledger.attempt import Attempt, Snapshot, StagedCheckpoint
from pipeloom.ledger.fold import Said
from pipeloom.ledger.ids import IdAllocator
from pipeloom.ledger.statements import padded
from pipeloom.messages import MsgTaskFinished
from pipeloom.statuses import DONE, OPEN, QUEUED, RUNNING

__all__ = ["TaskTable", "taken"]

TaskRow = tuple[int, *tuple[object, ...]]
"""The id, and the other columns in the order of the row's statement."""

_MANY_NEW: Final = 64

_KindColumns = tuple[str | None, str | None, str | None, str | None]
_OF_NO_KIND: Final[_KindColumns] = (None, None, None, None)


class TaskTable:
    """Write ``task_runs`` and the archive of past attempts; the writer's thread, inside its transaction."""

    def __init__(self, conn: sqlite3.Connection, transaction: Transaction) -> None:
        self._conn = conn
        self._write, self._note = transaction.write, transaction.note
        self.pipeline_id: int | None = None
        self.run_id: int | None = None
        # Ids above this have no row.
        self.ceiling: int = conn.execute("SELECT COALESCE(MAX(id), 0) FROM task_runs").fetchone()[0]
        self.ids = IdAllocator(self._outermost("MAX(id)", "id < ?", NUMBER_LIMIT))
        self._stand_in: int = min(0, self._outermost("MIN(id)", "id > ?", -NUMBER_LIMIT))
        self.has_states = conn.execute("SELECT 1 FROM pipeloom_state LIMIT 1").fetchone() is not None
        self._kinds = Kinds()
        self.written = False  # a hint for maintenance: not reset by a rollback

    def _outermost(self, which: str, within: str, limit: int) -> int:
        """Return the id from which to number new rows; ignores ids near the limits of what SQLite can hold."""
        found = self._conn.execute(f"SELECT {which} FROM task_runs WHERE {within}", (limit,)).fetchone()[0]
        return 0 if found is None else int(found)

    def next_stand_in(self) -> int:
        """Return a new provisional id, for a task that has no number yet."""
        self._stand_in -= 1
        return self._stand_in

    def raise_ceiling(self, highest: int) -> None:
        """Note that a row with this id exists."""
        if highest > self.ceiling:
            self._note(self, ceiling=highest)

    # --- attempts of an engine, whose whole row is known ---

    def put_attempts(self, finished: Sequence[Attempt], live: Sequence[Snapshot]) -> None:
        """Store the present state of attempts, finished or still running.

        Args:
            finished: n attempts that ended. Those to be retried become past attempts, and their rows are queued.
            live: Running attempts.
        """
        self._number(finished)
        plain = _plain(finished, self.has_states)
        others: Sequence[Attempt] = finished
        if len(plain) == len(finished) and not live:
            others = ()
        elif len(plain) < _MANY_NEW:  # each additional statement waits for the interpreter lock
            plain = []
        else:
            apart = set(map(id, plain))
            others = [attempt for attempt in finished if id(attempt) not in apart]
        new_rows = list(map(sql.new_row, plain))
        for size, flat in padded(new_rows, sql.NEW_WIDTH):
            self._write(sql.NEW[size], [self.pipeline_id, self.run_id, *flat])
        seen = [attempt.snapshot() for attempt in others]
        rows = [self._ended_row(attempt) for attempt in others]
        rows += [self._live_row(snapshot) for snapshot in live]
        self._make_way([*seen, *live])
        self._keep_past(others)
        if self.has_states:
            self._forget_states_of(finished)
        for size, flat in padded(rows, sql.WIDTH):
            self._write(sql.PUT[size], flat)
        if new_rows or rows:
            self.written = True
            self.raise_ceiling(max(row[0] for row in chain(new_rows, rows)))

    def _make_way(self, coming: Iterable[Snapshot]) -> None:
        """Delete provisional rows whose tasks now have numbers, and archive rows that will be overwritten."""
        overwritten = []
        for attempt, number, _, _ in coming:
            if attempt.recorded is not None:
                if attempt.recorded[0] == number:
                    continue
                self._withdraw(attempt.recorded[0])
            if attempt.row != "new":
                overwritten.append(number)
        if overwritten:
            self._archive(overwritten, keyed_allowed=self.pipeline_id is not None)

    def _keep_past(self, ended: Iterable[Attempt]) -> None:
        """Archive attempts that another one follows; remove one from the archive that turned out to be the last."""
        for attempt in ended:
            if attempt.retry_in is not None:
                self._keep_try(attempt, attempt.rows_kept)
            elif attempt.waited:
                self._write(sql.FORGET_TRY, (attempt.task_id, self.run_id, attempt.attempt))

    def _ended_row(self, attempt: Attempt) -> TaskRow:
        if attempt.retry_in is not None:
            return self._waiting_row(attempt)
        step, total, _ = attempt.progress
        share = 1.0 if attempt.status == DONE else fraction(step, total)
        rows = attempt.rows_kept + attempt.rows_written
        return (
            attempt.task_id, attempt.name, attempt.status, share, attempt.message, attempt.started_at,
            attempt.finished_at, attempt.result, self.pipeline_id, attempt.key, self.run_id, attempt.attempt,
            attempt.error, attempt.worker, rows, attempt.elapsed_s, attempt.input, *self._kind_of(attempt),
        )  # fmt: skip

    def _live_row(self, snapshot: Snapshot) -> TaskRow:
        attempt, number, started_at, (step, total, message) = snapshot
        return (
            number, attempt.name, RUNNING, fraction(step, total), message or None, started_at,
            None, None, self.pipeline_id, attempt.key, self.run_id, attempt.attempt,
            None, attempt.worker, attempt.rows_kept, None, attempt.input, *_OF_NO_KIND,
        )  # fmt: skip

    def _waiting_row(self, attempt: Attempt) -> TaskRow:
        """Return the row of a task that waits for a retry: queued, with the reason and the delay."""
        why = (
            f"waits {duration(attempt.retry_in)} for attempt {attempt.attempt + 1}: "
            f"{attempt.message or attempt.status}"
        )
        return (
            attempt.task_id, attempt.name, QUEUED, 0.0, why, None, None, None,
            self.pipeline_id, attempt.key, self.run_id, attempt.attempt + 1, None, None, 0, None, attempt.input,
            *_OF_NO_KIND,
        )  # fmt: skip

    def _keep_try(self, attempt: Attempt, rows: int) -> None:
        """Archive a failed attempt, whose row the next attempt takes over."""
        self._write(
            sql.KEEP_TRY,
            (
                attempt.task_id, self.run_id, attempt.attempt, attempt.name, attempt.status,
                fraction(*attempt.progress[:2]), attempt.message, attempt.started_at, attempt.finished_at, None,
                attempt.error, attempt.worker, rows, attempt.elapsed_s, *self._kind_of(attempt),
            ),
        )  # fmt: skip

    def _kind_of(self, attempt: Attempt) -> _KindColumns:
        """Return the columns that describe the kind of a failure, and set the attempt's ``kind``."""
        if attempt.status == DONE:
            return _OF_NO_KIND
        attempt.kind = kind = self._kinds.of(attempt.status, attempt.message, attempt.error)
        return kind.exception, kind.place, kind.message, kind.id

    def _kind_said(self, status: str, message: str | None) -> _KindColumns:
        """Return the same columns for a task that reports its own end."""
        if status in OPEN or status == DONE:
            return _OF_NO_KIND
        kind = self._kinds.of(status, message, None)
        return None, None, kind.message, kind.id

    # --- logs ---

    def put_logs(self, attempts: Iterable[Attempt]) -> list[Attempt]:
        """Store the lines that these attempts logged since the last call.

        Returns:
            Those that had new lines, which can be dropped once they are committed.
        """
        stored: list[Attempt] = []
        rows: list[Sequence[object]] = []
        for attempt in [attempt for attempt in attempts if attempt.logs]:
            if attempt.row == "none" or attempt.task_id < 0:  # no number of its own yet
                continue
            lines = list(attempt.logs or ())[attempt.lines_kept :]
            self._note(attempt, lines_kept=attempt.lines_kept + len(lines))
            stored.append(attempt)
            rows += [(line.at, attempt.task_id, self.run_id, attempt.attempt, *line[1:]) for line in lines]
        for size, flat in padded(rows, sql.LOG_WIDTH):
            self._write(sql.LOG[size], flat)
        return stored

    # --- checkpoints ---

    def put_states(self, checkpoints: Sequence[StagedCheckpoint]) -> None:
        """Store the states of checkpoints; of several from one task, the last one counts."""
        if not self.has_states:
            self._note(self, has_states=True)
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

    def _forget_states_of(self, finished: Iterable[Attempt]) -> None:
        done = (attempt for attempt in finished if attempt.status == DONE)
        # Only an attempt that may have a row can have a state.
        may_have = (a for a in done if a.recorded is not None or a.has_state or a.row != "new")
        self._forget_states([attempt.task_id for attempt in may_have])

    def _forget_states(self, numbers: Sequence[int]) -> None:
        for size, flat in padded([(number,) for number in numbers], 1):
            self._write(sql.FORGET_STATES[size], flat)

    def _number(self, finished: Sequence[Attempt]) -> None:
        """Give numbers to tasks that ended without one, above all known numbers.

        A task keeps its number even if this transaction is lost: it was allocated for that task alone.
        """
        nameless = [attempt for attempt in finished if attempt.row == "provisional"]
        if nameless:
            said = [attempt.task_id for attempt in finished if attempt.row == "old"]
            self.ids.claim((self.ceiling, *said))
            for attempt, number in zip(nameless, self.ids.give(len(nameless)), strict=True):
                attempt.task_id, attempt.row = number, "new"

    def withdraw_stand_in(self, attempt: Attempt) -> None:
        """Delete the provisional row of an attempt that has no row of its own after all."""
        if attempt.recorded is not None and attempt.recorded[0] != attempt.task_id:
            self._withdraw(attempt.recorded[0])

    def _withdraw(self, provisional: int) -> None:
        """Delete a provisional row."""
        self._write("DELETE FROM task_runs WHERE id = ? AND run_id IS ?", (provisional, self.run_id))

    # --- status messages, folded by id since the last commit ---

    def put_said(self, said: dict[int, Said]) -> None:
        """Store the status messages of numbered tasks; one ``Said`` per id."""
        starts, progress, finishes = [], [], []
        for number, words in said.items():
            if words.started is not None:
                starts.append(self._started_row(number, words))
                continue
            if words.progress is not None and (words.finished is None or words.finished.status != DONE):
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
        for size, flat in padded(finishes, sql.FINISH_WIDTH):
            self._write(sql.FINISH[size], flat)
        self.written = True
        if starts or finishes:
            self.raise_ceiling(max([*touched, *(row[0] for row in finishes)]))

    def _started_row(self, number: int, words: Said) -> TaskRow:
        started, progress = words.started, words.progress
        assert started is not None
        share = fraction(progress.step, progress.total) if progress else 0.0
        status, message, result, finished_at = (
            judged(words.finished)
            if words.finished is not None
            else (RUNNING, progress.message if progress else None, None, None)
        )
        return (
            number, started.name, status, 1.0 if status == DONE else share, message, started.started_at,
            finished_at, result, None, None, self.run_id, 1, None, None, 0, None, None,
            *self._kind_said(status, message),
        )  # fmt: skip

    def _finished_row(self, number: int, finished: MsgTaskFinished) -> TaskRow:
        status, message, result, finished_at = judged(finished)
        share = 1.0 if status == DONE else 0.0
        _, _, common, kind = self._kind_said(status, message)
        return number, f"task {number}", status, share, finished_at, result, message, self.run_id, common, kind

    # --- earlier rows ---

    def _archive(self, numbers: list[int], *, keyed_allowed: bool) -> None:
        """Copy rows that are about to be overwritten to ``pipeloom_attempts``."""
        if not keyed_allowed:
            self._refuse_keyed(numbers)
        old = [(number,) for number in numbers if number <= self.ceiling]
        for size, flat in padded(old, 1):
            self._write(sql.ARCHIVE[size], flat)

    def _refuse_keyed(self, numbers: Iterable[int]) -> None:
        for number in self.keyed_among(numbers):
            raise LedgerError(taken(number))

    def keyed_among(self, numbers: Iterable[int]) -> set[int]:
        """Return those numbers that belong to a keyed pipeline, in the file or allocated by this run."""
        numbers = list(numbers)
        given = self.ids.claim(numbers) if self.pipeline_id is not None else set()
        old = [(number,) for number in numbers if number <= self.ceiling]
        for size, flat in padded(old, 1):
            given.update(row[0] for row in self._conn.execute(sql.KEYED[size], flat))
        return given


def taken(number: int) -> str:
    """Return the reason why a number is refused."""
    return (
        f"task number {number} belongs to a pipeline with keys in this file: use another file, or pass key= so "
        "that this run has keys too"
    )


def _plain(finished: Iterable[Attempt], some_have_states: bool) -> list[Attempt]:
    """Return the attempts that were the first, are done and cannot have a row yet; most are of this kind.

    A shorter statement inserts them; it does not cover checkpoints.
    """
    plain = [
        attempt
        for attempt in finished
        if attempt.row == "new" and attempt.status == DONE and attempt.recorded is None and attempt.attempt == 1
    ]
    return [attempt for attempt in plain if not attempt.has_state] if some_have_states else plain
