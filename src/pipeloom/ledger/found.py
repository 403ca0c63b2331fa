"""The inputs that tasks find: queued in the file, and handed out from there one page at a time.

::

    a task's "done", and what it found ─▶ add, flush ─▶ task_runs (queued), pipeloom_found ─▶ page ─▶ workers

The queue is in the file; only the position reached so far is in memory, so its length is not limited by memory. An
input that has a row in ``pipeloom_found`` runs from there, even if the caller passes it as well.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

from pipeloom.data.found import Entry
from pipeloom.data.versions import StoredVersion
from pipeloom.db.transaction import Transaction
from pipeloom.ledger import statements as sql
from pipeloom.ledger.admission import Admission, Admissions, Known
from pipeloom.ledger.board import Board
from pipeloom.ledger.statements import SIZES, padded
from pipeloom.ledger.tasks import TaskTable
from pipeloom.statuses import DONE

__all__ = ["FoundInputs", "Page", "Waiting"]

_TOGETHER: Final = SIZES[-1]
_PASSED_OVER: Final = 8  # times as many rows as requested may be skipped: of other pipelines, or already done
_HEAVY: Final = 2**20  # characters on a page
_LINES: Final = "SELECT id, task_id, item FROM pipeloom_found WHERE id > ? ORDER BY id LIMIT ?"
# Not a join: without statistics in the file, SQLite would first scan all tasks, to build a Bloom filter.
_TASKS: Final = {
    size: "SELECT id, pipeline_id, key, name, input, status, run_id FROM task_runs "
    f"WHERE id IN ({', '.join('?' * size)})"
    for size in SIZES
}


class Waiting(NamedTuple):
    """A queued input, as it is handed out.

    Attributes:
        key, name, input: As stored in its task's row.
        item: The encoded input, see ``data/items``.
    """

    key: str | int
    name: str
    input: str | None
    item: str


class Page(NamedTuple):
    """n queued inputs, in the order in which they were found; may be 0.

    Attributes:
        admissions: Their rows, and what to do with them; ``None`` in a run with ``version=``, see ``admissions``.
        is_last: The queue held no more when the page was read.
    """

    inputs: list[Waiting]
    admissions: list[Admission] | None
    is_last: bool


class FoundInputs:
    """The queued inputs of one pipeline; the writer's thread.

    Args:
        conn: The writer's connection.
        transaction: The writer's transactions.
        tasks: The tasks, of a pipeline with keys.
        admissions: The admissions of the run's other inputs.
        board: Where the inputs are counted.
        resume: Run the inputs that earlier runs left in the queue.
        versioned: Inputs that are done run again if their version has changed.

    Attributes:
        added: How many inputs were queued in this run.
        left: How many inputs earlier runs queued, which this run takes first; 0 without ``resume``.
        on_more: Called after a commit that queued some inputs.
    """

    def __init__(
        self,
        conn: sqlite3.Connection,
        transaction: Transaction,
        tasks: TaskTable,
        admissions: Admissions,
        board: Board,
        *,
        resume: bool,
        versioned: bool,
    ) -> None:
        self._conn = conn
        self._transaction = transaction
        self._tasks = tasks
        self._admissions = admissions
        self._board = board
        self._resume = resume
        self._versioned = versioned
        self._before: int = conn.execute("SELECT COALESCE(MAX(id), 0) FROM pipeloom_found").fetchone()[0]
        self._place = 0 if resume else self._before  # all up to this one were handed out
        self.left = self._count_left() if self._place < self._before else 0
        if not self.left:
            self._place = self._before
        self.added = 0
        self._coming: list[tuple[int | None, Entry]] = []
        self._told = 0
        self.on_more: Callable[[], None] = lambda: None
        if self.left:
            admissions.is_in_line = self.is_in_line
        board.beside += self.left

    def _count_left(self) -> int:
        count: int = self._conn.execute(
            "SELECT COUNT(*) FROM pipeloom_found f JOIN task_runs t ON t.id = f.task_id WHERE t.pipeline_id = ?",
            (self._tasks.pipeline_id,),
        ).fetchone()[0]
        return count

    def is_in_line(self, place: int | None) -> bool:
        """Return whether an input runs from the queue.

        Args:
            place: Its place in the queue; ``None`` if it has none.
        """
        return place is not None and (self._resume or place > self._before)

    # --- inside a transaction ---

    def add(self, entries: Sequence[Entry], found_by: int | None) -> None:
        """Queue inputs with the next ``flush``, except those that are known or done by then.

        Args:
            entries: n inputs, in the order in which they were added.
            found_by: The task that added them.
        """
        self._coming += [(found_by, entry) for entry in entries]

    def clear(self) -> None:
        """Drop the inputs that were not queued yet: their transaction is rolled back or over."""
        self._coming = []

    def flush(self) -> None:
        """Queue what all tasks of a batch found, together: each statement waits for the interpreter lock."""
        coming, self._coming = self._coming, []
        if coming:
            self._admissions.is_in_line = self.is_in_line
        for begin in range(0, len(coming), _TOGETHER):
            self._transaction.check_wanted()
            self._add_some(coming[begin : begin + _TOGETHER])

    def _add_some(self, coming: Sequence[tuple[int | None, Entry]]) -> None:
        by_key = {each[1].key: each for each in reversed(coming)}  # of several, the first one counts
        known = self._admissions.of_found(dict.fromkeys(entry.key for _, entry in coming))
        new = [key for key, row in known.items() if row is None]
        numbers = self._tasks.ids.give(len(new))
        numbered = dict(zip(new, numbers, strict=True))
        again = {key: row[0] for key, row in known.items() if row is not None and self._is_to_run(*row[1:])}
        rows = [(number, key, by_key[key][1].name, by_key[key][1].input) for key, number in numbered.items()]
        for size, flat in padded(rows, sql.QUEUED_WIDTH):
            self._conn.execute(sql.PUT_QUEUED[size], [self._tasks.pipeline_id, self._tasks.run_id, *flat])
        if rows:
            self._tasks.written = True
            self._tasks.raise_ceiling(numbers[-1])
        numbered |= again
        lines = [(numbered[key], by_key[key][0], by_key[key][1].item) for key in known if key in numbered]
        for size, flat in padded(lines, sql.FOUND_WIDTH):
            self._conn.execute(sql.FOUND[size], flat)
        if lines:
            self._transaction.note(self, added=self.added + len(lines))

    def _is_to_run(self, status: str, run_id: int | None, place: int | None) -> bool:
        """Return whether to queue an input that already has a row."""
        if run_id == self._tasks.run_id or self.is_in_line(place):
            return False
        return self._versioned or not (self._resume and status == DONE)

    # --- between two transactions ---

    def committed(self) -> None:
        """Count and report the inputs that were queued, once they are committed."""
        if self.added != self._told:
            self._board.beside += self.added - self._told
            self._told = self.added
            self.on_more()

    def page(self, most: int) -> Page:
        """Return the next queued inputs: at most ``most``, or fewer if they are large.

        Inputs that an earlier run has done count as skipped.
        """
        found: list[Waiting] = []
        known: dict[str | int, Known] = {}
        is_last = False
        for _ in range(_PASSED_OVER):
            lines, is_last = self._lines(most)
            tasks: dict[int, tuple[Any, ...]] = {}
            for size, flat in padded([(number,) for _, number, _ in lines], 1):
                tasks.update((row[0], row[1:]) for row in self._conn.execute(_TASKS[size], flat))
            for place, number, item in lines:
                pipeline, key, name, more, status, run_id = tasks.get(number, (None,) * 6)
                if pipeline == self._tasks.pipeline_id:
                    known[key] = (number, status, run_id, place)
                    if self._versioned or status != DONE or not self._resume:
                        found.append(Waiting(key, name, more, item))
            if found or is_last:
                break
        if self._versioned:
            return Page(found, None, is_last)
        admissions = self._admissions.in_line(known, None)
        return Page(found, [each for each in admissions if each[1] != "skip"], is_last)

    def _lines(self, most: int) -> tuple[list[tuple[int, int, str]], bool]:
        """Take the next rows of the queue, and whether they are the last ones."""
        lines: list[tuple[int, int, str]] = []
        weight = 0
        for line in self._conn.execute(_LINES, (self._place, most)):
            lines.append(line)
            weight += len(line[2])
            if weight > _HEAVY:
                break
        if lines:
            self._place = lines[-1][0]
        return lines, len(lines) < most and weight <= _HEAVY

    def admissions(self, keys: Sequence[str | int], versions: Sequence[StoredVersion | None]) -> list[Admission]:
        """Decide what to do with the inputs of a page, in a run with ``version=``.

        Args:
            keys: Their n keys.
            versions: Their n versions.
        """
        known = self._admissions.look_up(keys)
        return self._admissions.in_line({key: known[key] for key in keys}, versions)
