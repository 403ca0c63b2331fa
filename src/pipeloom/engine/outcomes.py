"""The outcomes of a run that has a handle: collected as they are committed, and read at any time.

::

    writer ── each commit ──▶ OutcomeLog: numbers of all, and the last ones whole ──▶ Outcomes, any reader
                                                                   out.db ◀── who is far behind

The run never waits for a reader. Outcomes are kept whole while they take little memory. Older ones are kept
only as a number of 8 bytes each, by which a reader finds them in the file.
"""

from __future__ import annotations

import threading
from array import array
from collections import deque
from collections.abc import Callable, Sequence
from itertools import islice, starmap
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pipeloom.data.keys import known_as
from pipeloom.data.traceback_text import origin
from pipeloom.db import connect_readonly
from pipeloom.engine.report import decoded, failure_of
from pipeloom.report import Failure, TaskOutcome
from pipeloom.statuses import DONE

if TYPE_CHECKING:
    from pipeloom.ledger import Attempt

__all__ = ["OutcomeLog"]

_MOST: Final = 4096  # slots of memory for whole outcomes
_PAGE: Final = 256
_NO_ROW: Final = 0
_SQL: Final = "SELECT id, key, input, status, message, result, attempt, error FROM task_runs WHERE id IN ({})"


class OutcomeLog:
    """All outcomes, in the order of their commits; the writer's thread adds, any thread reads.

    Args:
        db: The file that also holds them; ``None`` if there is none, and all are kept in memory.
        has_items: Each input is its own key, so it can be read from the file.
    """

    def __init__(self, db: Path | None, *, has_items: bool) -> None:
        self._db = db
        self._has_items = has_items
        self._changed = threading.Condition()
        self._numbers = array("q")
        self._recent: deque[tuple[Attempt, str | None]] = deque()
        self._weight = 0  # of the recent ones, in slots
        self._apart: dict[int, tuple[Attempt, str | None]] = {}  # by place: those that are not in the file
        self._waiting: list[Callable[[], object]] = []
        self.is_over = False

    def add(self, finished: Sequence[Attempt]) -> None:
        """Add the tasks that a commit has ended, without those that will be retried. The writer's thread."""
        ended = [attempt for attempt in finished if attempt.retry_in is None]
        if not ended:
            return
        with self._changed:
            for attempt in ended:
                self._numbers.append(_NO_ROW if attempt.row == "none" else attempt.task_id)
                self._recent.append((attempt, attempt.result))
                self._weight += attempt.weight
            while self._weight > _MOST and len(self._recent) > 1:
                self._shed()
        self._tell()

    def _shed(self) -> None:
        place = len(self._numbers) - len(self._recent)
        entry = self._recent.popleft()
        self._weight -= entry[0].weight
        if self._db is None or self._numbers[place] == _NO_ROW:
            self._apart[place] = entry

    def end(self) -> None:
        """Mark the log as complete; any thread."""
        self.is_over = True
        self._tell()

    def _tell(self) -> None:
        with self._changed:
            waiting, self._waiting = self._waiting, []
            self._changed.notify_all()
        for call in waiting:
            call()

    def has_beyond(self, place: int | None) -> bool:
        """Return whether there is an outcome at this place or none will come; ``None``: whether the log is over."""
        return self.is_over or (place is not None and place < len(self._numbers))

    def is_at_end(self, place: int) -> bool:
        """Return whether no outcome will come at this place."""
        return self.is_over and place >= len(self._numbers)

    def wait_beyond(self, place: int, timeout_s: float) -> None:
        """Wait up to this many seconds until there is an outcome at this place, or none will come."""
        with self._changed:
            self._changed.wait_for(lambda: self.has_beyond(place), timeout_s)

    def when_beyond(self, place: int | None, call: Callable[[], object]) -> None:
        """Call a function once there is an outcome at this place, or none will come; it may run in any thread."""
        with self._changed:
            if not self.has_beyond(place):
                self._waiting.append(call)
                return
        call()

    def is_at_hand(self, place: int) -> bool:
        """Return whether the outcome at this place is in memory."""
        return place >= len(self._numbers) - len(self._recent)

    def read(self, place: int) -> tuple[list[TaskOutcome], int]:
        """Return outcomes from this place on, and the place after them.

        Returns:
            0 to 256 outcomes; none if there are no more yet. Outcomes that are no longer in the file are left out.

        Raises:
            StorageError: The file cannot be read.
        """
        with self._changed:
            first = len(self._numbers) - len(self._recent)
            if place >= first:
                found = list(islice(self._recent, place - first, place - first + _PAGE))
                return list(starmap(_outcome, found)), place + len(found)
            numbers = self._numbers[place : min(first, place + _PAGE)].tolist()
            entries: list[Any] = [self._apart.get(at) for at in range(place, place + len(numbers))]
        stored = self._stored([number for number, entry in zip(numbers, entries, strict=True) if entry is None])
        outcomes = (
            stored.get(number) if entry is None else _outcome(*entry)
            for number, entry in zip(numbers, entries, strict=True)
        )
        return [outcome for outcome in outcomes if outcome is not None], place + len(numbers)

    def _stored(self, numbers: list[int]) -> dict[int, TaskOutcome]:
        if not numbers or self._db is None:
            return {}
        conn = connect_readonly(self._db)
        try:
            sql = _SQL.format(", ".join("?" * len(numbers)))
            return {row[0]: self._from_row(row) for row in conn.execute(sql, numbers)}
        finally:
            conn.close()

    def _from_row(self, row: tuple[Any, ...]) -> TaskOutcome:
        number, key, kept, status, message, result, attempt, error = row
        known = known_as(key, kept)
        return TaskOutcome(
            key=known,
            item=known if self._has_items else None,
            status=status,
            result=None if result is None else decoded(result),
            attempt=attempt,
            task_id=number,
            error=None
            if status == DONE
            else Failure(
                key=known,
                attempt=attempt,
                exception=origin(error or "", cut=False)[0],
                message=message or "",
                traceback=error,
                status=status,
            ),
        )


def _outcome(attempt: Attempt, result: str | None) -> TaskOutcome:
    return TaskOutcome(
        key=attempt.known_as,
        item=attempt.item,
        status=attempt.status,
        result=None if result is None else decoded(result),
        attempt=attempt.attempt,
        task_id=attempt.task_id,
        error=None if attempt.status == DONE else failure_of(attempt),
    )
