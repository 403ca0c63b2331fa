"""Read one ledger: queries with a time limit, and errors that describe what is wrong with the file."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from time import monotonic
from typing import Any, Final

from pipeloom.data.rates import duration
from pipeloom.data.text import clean
from pipeloom.db import SCHEMA_VERSION, storage_error
from pipeloom.db.limited import LONGEST, LimitedReader
from pipeloom.db.place import path_of
from pipeloom.db.schema import schema_version
from pipeloom.errors import SchemaError, StorageError
from pipeloom.history.kinds import FAILURE, Teller

__all__ = ["NoLedgerError", "Reader", "Rows", "pages"]

Rows = Callable[[str, Any], list[tuple[Any, ...]]]
"""Runs one statement with its parameters, and returns all rows; see :meth:`Reader.rows`."""

_PAGE: Final = 5000
_LOWEST: Final = -(1 << 63)


class NoLedgerError(SchemaError):
    """A database that no run has written to yet."""


class Reader:
    """Query one ledger; used in the thread that created it.

    Args:
        db_path: The file.
        deadline_s: The time limit of one query, in seconds.
        is_over: Called during a query; a true result aborts it like the time limit.

    Raises:
        StorageError: The file does not exist, is not a database, or cannot be read within the time limit.
        NoLedgerError: The database has no ledger.
        SchemaError: The ledger is from a newer version.
    """

    def __init__(self, db_path: Path, deadline_s: float, is_over: Callable[[], bool] = bool) -> None:
        self.path = path_of(db_path)
        self._deadline_s = deadline_s
        self._is_over = is_over
        self._until = 0.0
        self._seen_version: int | None = None
        self._file = LimitedReader(self.path, self._is_late)
        try:
            self._file.conn.create_function("folded", 1, _folded, deterministic=True)
            self._file.conn.create_function(FAILURE, 4, Teller())
            self._check()
        except BaseException:
            self.close()
            raise

    def _check(self) -> None:
        self._until = monotonic() + self._deadline_s
        try:
            version = schema_version(self._file.conn)
        except SchemaError:
            if self._is_late():  # the version is not wrong; it was not read in time
                raise self._too_late() from None
            raise
        except sqlite3.Error as error:
            raise self._named(error) from error
        if version == 0:
            raise NoLedgerError(
                f"{clean(self.path)}: this database has no pipeloom ledger: pass a file that a run has written",
                path=self.path,
            )
        if version > SCHEMA_VERSION:
            raise SchemaError(
                f"{clean(self.path)}: written by a newer pipeloom (schema {version}): upgrade to read it",
                path=self.path,
            )

    def close(self) -> None:
        """Close the file; closing twice is fine."""
        self._file.close()

    def rows(self, sql: str, params: Any = (), *, longest: int = LONGEST) -> list[tuple[Any, ...]]:
        """Run one query and return all of its rows; blocks up to the time limit.

        Args:
            sql: The query; it must limit the number of its rows itself.
            params: Its parameters.
            longest: The length of the longest value that may be read, in bytes.

        Returns:
            n rows, 0 or more.

        Raises:
            StorageError: The file cannot be read, the query takes too long, or its rows take too much memory.
        """
        self._until = monotonic() + self._deadline_s
        try:
            return self._file.rows(sql, params, longest=longest)
        except sqlite3.Error as error:
            raise self._named(error) from error

    @contextmanager
    def one_state(self) -> Iterator[None]:
        """Return a context in which all queries see the same state of the file.

        Raises:
            StorageError: As :meth:`rows`.
        """
        self._until = monotonic() + self._deadline_s
        try:
            with self._file.one_state():
                yield
        except sqlite3.Error as error:
            raise self._named(error) from error

    def has_column(self, table: str, column: str) -> bool:
        """Return whether a table has a column now; an older file gets missing columns when a run opens it."""
        return bool(self.rows("SELECT 1 FROM pragma_table_info(?) WHERE name = ?", (table, column)))

    def changed(self) -> bool:
        """Return whether another connection has committed since the last call; true the first time.

        Source: https://www.sqlite.org/pragma.html#pragma_data_version
        """
        before, self._seen_version = self._seen_version, self.rows("PRAGMA data_version")[0][0]
        return before != self._seen_version

    def _is_late(self) -> bool:
        return monotonic() > self._until or self._is_over()

    def _named(self, error: sqlite3.Error) -> StorageError:
        return self._too_late() if self._file.was_ended(error) else storage_error(error, self.path)

    def _too_late(self) -> StorageError:
        return StorageError(
            f"{clean(self.path)}: no answer within {duration(self._deadline_s)}, so the query was aborted: narrow "
            "it (one run, one status), or check the file for views created by another program",
            path=self.path,
        )


def pages(rows: Rows, sql: str, params: Mapping[str, Any]) -> Iterator[tuple[Any, ...]]:
    """Yield the rows of a query of any size, read page by page; no cursor stays open between pages.

    Args:
        rows: Runs a query.
        sql: A query without LIMIT, ordered by its first column: a number, restricted to values above ``:last``.
        params: Its other parameters.
    """
    last = _LOWEST
    while True:
        page = rows(f"{sql} LIMIT {_PAGE}", {**params, "last": last})
        yield from page
        if len(page) < _PAGE:
            return
        last = page[-1][0]


def _folded(value: object) -> str:
    """Fold the case of any text; SQLite's ``lower`` handles A to Z only."""
    return "" if value is None else str(value).casefold()
