"""Find which row of a task a constraint refuses, when the task is applied by itself.

A refused batch is applied again, item by item. In that case rows are counted and inserted under savepoints, and
the row at fault is found by bisection.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Callable

from pipeloom.data.identifiers import ascii_lower
from pipeloom.data.text import clean

__all__ = ["Placing"]

_OPEN = "SAVEPOINT pipeloom_rows"
_KEEP = "RELEASE pipeloom_rows"
_UNDO = "ROLLBACK TO pipeloom_rows"


class Placing:
    """Insert rows, and report which one was refused; the writer's thread, inside its transaction."""

    def __init__(self, conn: sqlite3.Connection) -> None:
        self._conn = conn
        self._is_alone = False
        self._before: Counter[str] = Counter()

    def begin(self, *, is_alone: bool) -> None:
        """Restart the row numbers at 1.

        Args:
            is_alone: The following rows come from one task or one message.
        """
        self._is_alone = is_alone
        self._before.clear()

    def insert(self, table: str, count: int, put: Callable[[int, int], None]) -> None:
        """Insert rows.

        Args:
            table: The table.
            count: How many rows.
            put: ``put(begin, end)`` inserts the rows of that half-open range, counted from 0.

        Raises:
            sqlite3.IntegrityError: A row is refused; the message gives its number if ``is_alone``.
        """
        if not self._is_alone:
            put(0, count)
            return
        self._conn.execute(_OPEN)
        try:
            put(0, count)
        except sqlite3.IntegrityError as error:
            raise self._placed(error, table, count, put) from error
        self._conn.execute(_KEEP)
        self._before[ascii_lower(table)] += count

    def _placed(
        self, error: sqlite3.IntegrityError, table: str, count: int, put: Callable[[int, int], None]
    ) -> sqlite3.IntegrityError:
        """Return the error with the row's number; the caller rolls back what was inserted."""
        place = self._place(count, put)
        row = "" if place is None else f", row {self._before[ascii_lower(table)] + place + 1:,}"
        placed = type(error)(f"table {clean(table, 60)}{row}: {error}")
        placed.sqlite_errorcode, placed.sqlite_errorname = error.sqlite_errorcode, error.sqlite_errorname
        return placed

    def _place(self, count: int, put: Callable[[int, int], None]) -> int | None:
        """Return the index of the first row that is refused; ``None`` if none can be found."""
        execute = self._conn.execute
        if not self._conn.in_transaction:
            return None  # ON CONFLICT ROLLBACK
        execute(_UNDO)  # ON CONFLICT FAIL leaves the earlier rows
        good, bad = 0, count
        while good < bad:
            middle = (good + bad) // 2
            execute(_OPEN)
            try:
                put(good, middle + 1)
            except sqlite3.IntegrityError:
                execute(_UNDO)
                execute(_KEEP)
                bad = middle
            else:
                execute(_KEEP)
                good = middle + 1
        return good if good < count else None
