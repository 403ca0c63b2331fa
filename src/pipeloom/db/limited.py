"""A read-only connection to a file that may be hostile: every question has an end, and leaves no cursor open.

A view in place of a table can run for ever: SQLite asks every few thousand steps whether to go on, and when told so
it does not. Text need not be UTF-8: what is not is shown as its escape.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final

from pipeloom.db.connection import connect_readonly

__all__ = ["LimitedReader"]

_STEPS: Final = 20_000  # of SQLite's machine between two looks at the clock: well under a millisecond


class LimitedReader:
    """Asks one file; used in the thread that made it.

    Args:
        db_path: The file.
        is_late: Asked every few thousand steps; true ends the question that is being answered.
        untouched: As of :func:`connect_readonly`.

    Raises:
        StorageError: No such file, or no database.

    Source: https://www.sqlite.org/c3ref/progress_handler.html, https://www.sqlite.org/pragma.html#pragma_query_only
    """

    def __init__(self, db_path: Path, is_late: Callable[[], bool], *, untouched: bool = False) -> None:
        self._is_late = is_late
        self.conn = connect_readonly(db_path, untouched=untouched)
        try:
            self.conn.execute("PRAGMA query_only = ON")
            self.conn.text_factory = partial(str, encoding="utf-8", errors="backslashreplace")
            self.conn.set_progress_handler(is_late, _STEPS)
        except BaseException:
            self.conn.close()
            raise

    def close(self) -> None:
        """Let go of the file; closing twice is fine."""
        self.conn.close()

    def rows(self, sql: str, params: Any = ()) -> list[tuple[Any, ...]]:
        """Return all rows of one question; it must bound them itself.

        Raises:
            sqlite3.Error: As SQLite says it; see :meth:`was_ended`.
        """
        with closing(self.conn.execute(sql, params)) as cursor:
            return cursor.fetchall()

    @contextmanager
    def one_state(self) -> Iterator[None]:
        """Have all questions within see the same state of the file."""
        self.rows("BEGIN")
        try:
            yield
        finally:
            self.conn.set_progress_handler(None, 0)
            self.conn.rollback()
            self.conn.set_progress_handler(self._is_late, _STEPS)

    def was_ended(self, error: sqlite3.Error) -> bool:
        """Say whether a question failed since it was late.

        Raises:
            KeyboardInterrupt: It was not: Ctrl-C came while SQLite asked whether to go on, which swallows it.
        """
        if getattr(error, "sqlite_errorcode", None) != sqlite3.SQLITE_INTERRUPT:
            return False
        if not self._is_late():
            raise KeyboardInterrupt
        return True
