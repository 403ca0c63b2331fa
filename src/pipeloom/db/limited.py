"""A read-only connection to a file that may be hostile: every question has an end, and leaves no cursor open.

A view in place of a table can run for ever: SQLite asks every thousand steps whether to go on, and when told so
it does not. It can also make values of any size out of nothing: the length of a value is limited, what all rows of
an answer take is weighed, and no view may call a function, since a single call is never interrupted. Text need not
be UTF-8: what is not is shown as its escape.

The limits are far above what a run stores in what is listed: its names, messages, keys and tracebacks have 20,000
characters at most. Only a result is as long as what the user's function returned: it is asked for by itself, with a
limit of its own.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from sys import getsizeof
from typing import Any, Final

from pipeloom.data.text import clean
from pipeloom.db.connection import connect_readonly
from pipeloom.db.failures import is_refusal
from pipeloom.errors import StorageError

__all__ = ["LONGEST", "LONGEST_RESULT", "LimitedReader"]

LONGEST: Final = 8 << 20
"""Bytes of the longest value that is read of what is listed."""

LONGEST_RESULT: Final = 256 << 20
"""Bytes of the longest result that is read; a run's own ``report.results()`` knows no limit."""

_ANSWER: Final = 128 << 20  # bytes of memory that all rows of an answer may take,
_IN_PYTHON: Final = 4  # or as many for each byte of its longest value: one wide character widens a whole text
_STEPS: Final = (
    1000  # of SQLite's machine between two looks at the clock: microseconds, or ms each with large values
)


class LimitedReader:
    """Asks one file; used in the thread that made it.

    Args:
        db_path: The file.
        is_late: Asked every thousand steps; true ends the question that is being answered.
        untouched: As of :func:`connect_readonly`.

    Raises:
        StorageError: No such file, or no database.

    Source: https://www.sqlite.org/c3ref/progress_handler.html, https://www.sqlite.org/pragma.html#pragma_query_only
    """

    def __init__(self, db_path: Path, is_late: Callable[[], bool], *, untouched: bool = False) -> None:
        self._path = db_path
        self._is_late = is_late
        self._has_refused = False
        self.conn = connect_readonly(db_path, untouched=untouched, longest=LONGEST)
        try:
            self.conn.execute("PRAGMA query_only = ON")
            self.conn.text_factory = partial(str, encoding="utf-8", errors="backslashreplace")
            self.conn.set_progress_handler(is_late, _STEPS)
            self.conn.set_authorizer(self._allows)
        except BaseException:
            self.conn.close()
            raise

    def close(self) -> None:
        """Let go of the file; closing twice is fine."""
        self.conn.close()

    def rows(self, sql: str, params: Any = (), *, longest: int = LONGEST) -> list[tuple[Any, ...]]:
        """Return all rows of one question.

        Args:
            sql: The question; it should bound its rows itself.
            params: Its values.
            longest: Bytes of the longest value.

        Raises:
            sqlite3.Error: As SQLite says it; see :meth:`was_ended`.
            StorageError: The rows are more than fit into memory.
        """
        self._has_refused = False
        self.conn.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, longest)
        found: list[tuple[Any, ...]] = []
        left = max(_ANSWER, _IN_PYTHON * longest)
        with closing(self.conn.execute(sql, params)) as cursor:
            for row in cursor:
                left -= sum(map(getsizeof, row))
                if left < 0:
                    raise self._too_much()
                found.append(row)
        return found

    def _too_much(self) -> StorageError:
        return StorageError(
            f"{clean(self._path)}: the answer takes more than {_ANSWER >> 20} MiB, so the question was given up: "
            "ask for less (a run, a status, fewer lines), or query the file with `sqlite3`",
            path=self._path,
        )

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
            KeyboardInterrupt: Ctrl-C came while SQLite asked whether to go on, or whether a statement is allowed:
                it takes that for an answer, and swallows it.
        """
        if is_refusal(error):
            if not self._has_refused:
                raise KeyboardInterrupt
            return False
        if getattr(error, "sqlite_errorcode", None) != sqlite3.SQLITE_INTERRUPT:
            return False
        if not self._is_late():
            raise KeyboardInterrupt
        return True

    def _allows(self, action: int, _1: str | None, _2: str | None, _3: str | None, view: str | None) -> int:
        """Deny views their functions; our own questions may call any."""
        if action == sqlite3.SQLITE_FUNCTION and view is not None:
            self._has_refused = True
            return sqlite3.SQLITE_DENY
        return sqlite3.SQLITE_OK
