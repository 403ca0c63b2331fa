"""Restrict what users' SQL may do inside the writer's transaction."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from typing import Final

from pipeloom.data.identifiers import ascii_lower, is_reserved
from pipeloom.data.text import clean
from pipeloom.data.values import Params
from pipeloom.errors import RowRefusedError

__all__ = ["STAGED", "Guard"]

STAGED: Final = "pipeloom_staged"
"""The attached schema from which staged rows are read; users' SQL cannot change it."""

# DDL writes to these on behalf of an allowed CREATE; SQLite itself refuses direct writes.
_CATALOGUES: Final = frozenset({"sqlite_master", "sqlite_temp_master", "sqlite_schema", "sqlite_sequence"})
_HARMLESS_PRAGMAS: Final = frozenset(
    {"table_info", "table_xinfo", "table_list", "index_list", "index_info", "index_xinfo", "foreign_key_list"}
    | {"data_version"}  # full-text search reads it
)
# Selective, since a file may have thousands of tables and this runs after each new one.
_LEDGERS_NAMES: Final = (
    "SELECT name FROM sqlite_master WHERE name LIKE 'task^_runs%' ESCAPE '^' OR name LIKE 'pipeloom^_%' ESCAPE '^' "
    "ORDER BY name"
)
_USERS: Final = "/* a task's */ "
_ROWS: Final = (sqlite3.SQLITE_INSERT, sqlite3.SQLITE_UPDATE, sqlite3.SQLITE_DELETE)
# Every other action may change the schema, or what a name refers to.
_KEEPS_SCHEMA: Final = frozenset(
    {*_ROWS, sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_FUNCTION, sqlite3.SQLITE_RECURSIVE}
    | {sqlite3.SQLITE_PRAGMA, sqlite3.SQLITE_TRANSACTION, sqlite3.SQLITE_SAVEPOINT}
)

# action code → which of the two arguments names the table or object it changes.
# Source: https://www.sqlite.org/c3ref/c_alter_table.html
_CHANGES: Final[dict[int, int]] = {
    sqlite3.SQLITE_INSERT: 0,
    sqlite3.SQLITE_UPDATE: 0,
    sqlite3.SQLITE_DELETE: 0,
    sqlite3.SQLITE_CREATE_TABLE: 0,
    sqlite3.SQLITE_CREATE_TEMP_TABLE: 0,
    sqlite3.SQLITE_CREATE_VIEW: 0,
    sqlite3.SQLITE_CREATE_TEMP_VIEW: 0,
    sqlite3.SQLITE_CREATE_VTABLE: 0,
    sqlite3.SQLITE_CREATE_INDEX: 1,
    sqlite3.SQLITE_CREATE_TRIGGER: 1,
    sqlite3.SQLITE_CREATE_TEMP_TRIGGER: 1,
    sqlite3.SQLITE_DROP_TABLE: 0,
    sqlite3.SQLITE_DROP_VIEW: 0,
    sqlite3.SQLITE_DROP_INDEX: 1,
    sqlite3.SQLITE_DROP_TRIGGER: 1,
    sqlite3.SQLITE_ALTER_TABLE: 1,
}


class _Watch(AbstractContextManager[None]):
    """Switch the authorizer on while users' SQL runs. One object is reused: small statements come by the thousand.

    Attributes:
        is_on: Users' SQL is running.
        reason: Why an action was denied.
    """

    is_on = False
    reason: str | None = None

    def __enter__(self) -> None:
        self.is_on = True

    def __exit__(self, _kind: object, error: BaseException | None, _traceback: object) -> None:
        if self.reason is not None and isinstance(error, Exception):
            error.add_note(self.reason)
        self.is_on, self.reason = False, None


class Guard:
    """An authorizer, installed once and switched by a flag: installing it again would expire every statement.

    SQLite calls the authorizer when a statement is prepared, and Python caches prepared statements by their text. A
    user's statement must not find one of the writer's in that cache, which was prepared without a check, so each
    begins with a comment that the writer's never have. A handler may use cursors of its own, so all prepared
    statements are expired before it runs. SQLite itself prepares a statement again after the schema has changed.

    Source: https://www.sqlite.org/c3ref/set_authorizer.html
    """

    def __init__(self, conn: sqlite3.Connection) -> None:
        self._conn = conn
        self._schema: tuple[int] | None = None
        self._reserved: list[str] | None = None
        self.changed: set[str] = set()  # users' tables that users' statements wrote to
        self.schema_touched = False  # users' SQL may have changed the schema since `check_names`
        self._watch = _Watch()
        conn.set_authorizer(self._authorize)
        self.check_names()

    @contextmanager
    def statement(self, sql: str, params: Params) -> Iterator[sqlite3.Cursor]:
        """Run one user statement; fetch its rows inside this context. Raises like ``users_sql``."""
        with self.users_sql(), closing(self._conn.execute(_USERS + sql, params)) as cursor:
            yield cursor

    @contextmanager
    def handler(self) -> Iterator[None]:
        """Run a handler, which uses the connection, inside this context. Raises like ``users_sql``."""
        self._conn.set_authorizer(self._authorize)  # expires every prepared statement
        with self.users_sql():
            yield

    def users_sql(self) -> AbstractContextManager[None]:
        """Return a context in which to run SQL on users' tables.

        Raises:
            sqlite3.Error: As raised by SQLite, with a note on what was denied.
        """
        return self._watch

    def run(self, sql: str, params: Params) -> None:
        """Run one user statement and discard its rows. Raises like ``users_sql``."""
        with self._watch:
            self._conn.execute(_USERS + sql, params).close()

    def check_names(self) -> None:
        """Check that no table was renamed to or from one of the ledger's names, which the authorizer cannot see.

        Raises:
            RowRefusedError: A table was; the caller rolls back.
        """
        self.schema_touched = False
        hiding = self._conn.execute("SELECT name FROM sqlite_temp_master").fetchall()
        if any(is_reserved(name) for (name,) in hiding):
            raise RowRefusedError("task_runs and names that begin with pipeloom_ are reserved for the ledger")
        schema = self._conn.execute("PRAGMA schema_version").fetchone()
        if schema == self._schema:
            return
        reserved = [name for (name,) in self._conn.execute(_LEDGERS_NAMES) if is_reserved(name)]
        if self._reserved is not None and reserved != self._reserved:
            raise RowRefusedError("task_runs and names that begin with pipeloom_ are reserved for the ledger")
        self._schema, self._reserved = schema, reserved

    def _authorize(
        self, action: int, first: str | None, second: str | None, database: str | None, _inside: str | None
    ) -> int:
        if not self._watch.is_on:
            return sqlite3.SQLITE_OK
        if action not in _KEEPS_SCHEMA or (action in _ROWS and first in _CATALOGUES):
            self.schema_touched = True
        if action in (sqlite3.SQLITE_TRANSACTION, sqlite3.SQLITE_SAVEPOINT):
            return self._deny(f"{first}: the writer controls the transaction, and commits the batch as a whole")
        if action in (sqlite3.SQLITE_ATTACH, sqlite3.SQLITE_DETACH):
            return self._deny("ATTACH and DETACH: one run writes one file")
        if action == sqlite3.SQLITE_PRAGMA and (first or "").lower() not in _HARMLESS_PRAGMAS:
            return self._deny(f"PRAGMA {first}: only the writer may change the connection's settings")
        if action in _CHANGES:
            target = ascii_lower((first, second)[_CHANGES[action]] or "")
            if database == STAGED or (is_reserved(target) and target not in _CATALOGUES):
                return self._deny(
                    f"{clean(target, 60)} belongs to the ledger: read it, but write to your own tables"
                )
            if action in _ROWS and first is not None and not is_reserved(first):
                self.changed.add(first)
        return sqlite3.SQLITE_OK

    def forget(self) -> None:
        """Check all names after the next user SQL: a rollback restores an earlier schema and its version number."""
        self._schema = None
        self.schema_touched = True

    def _deny(self, reason: str) -> int:
        self._watch.reason = reason
        return sqlite3.SQLITE_DENY
