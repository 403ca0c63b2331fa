"""A read-only connection to a file that may be hostile: every query ends, and leaves no cursor open.

A view in place of a table can run forever: every thousand steps SQLite calls back, and stops if the answer is true.
It can also create values of any size out of nothing: the length of a value is limited, the total size of all rows
of an answer is checked, and no view may call a function, since a single call cannot be interrupted. Text may be
invalid UTF-8, which is shown as escapes.

The limits are far above what a run stores in the listed columns: names, messages, keys and tracebacks have at most
20,000 characters. Only a result can be as long as whatever the user's function returned: it is read by itself, with
its own limit.
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
"""The longest value that is read from the listed columns, in bytes."""

LONGEST_RESULT: Final = 256 << 20
"""The longest result that is read, in bytes; a run's own ``report.results()`` has no limit."""

_ANSWER: Final = 128 << 20  # bytes of memory that all rows of an answer may take,
_IN_PYTHON: Final = 4  # or this many for each byte of its longest value: one wide character widens a whole text
_STEPS: Final = 1000  # steps of SQLite's machine between two checks: microseconds, or ms each with large values


class LimitedReader:
    """Queries one file; for use in the thread that created it.

    Args:
        db_path: The file.
        is_late: Called every thousand steps; true ends the current query.
        untouched: As for :func:`connect_readonly`.

    Raises:
        StorageError: There is no such file, or it is not a database.

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
        """Close the file; calling it twice is fine."""
        self.conn.close()

    def rows(self, sql: str, params: Any = (), *, longest: int = LONGEST) -> list[tuple[Any, ...]]:
        """Return all rows of one query.

        Args:
            sql: The query; it should limit its rows itself.
            params: Its parameters.
            longest: The length of the longest value, in bytes.

        Raises:
            sqlite3.Error: As SQLite reports it; see :meth:`was_ended`.
            StorageError: The rows do not fit into the memory limit.
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
            f"{clean(self._path)}: the answer takes more than {_ANSWER >> 20} MiB, so the query was stopped: ask "
            "for less (a run, a status, fewer lines), or query the file with `sqlite3`",
            path=self._path,
        )

    @contextmanager
    def one_state(self) -> Iterator[None]:
        """Let all queries within see the same state of the file."""
        self.rows("BEGIN")
        try:
            yield
        finally:
            self.conn.set_progress_handler(None, 0)
            self.conn.rollback()
            self.conn.set_progress_handler(self._is_late, _STEPS)

    def was_ended(self, error: sqlite3.Error) -> bool:
        """Return whether a query failed because it was late.

        Raises:
            KeyboardInterrupt: Ctrl-C came while SQLite was calling back to ask whether to continue or whether a
                statement is allowed; SQLite takes it for an answer, and swallows it.
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
        """Deny functions in views; our own queries may call any function."""
        if action == sqlite3.SQLITE_FUNCTION and view is not None:
            self._has_refused = True
            return sqlite3.SQLITE_DENY
        return sqlite3.SQLITE_OK
