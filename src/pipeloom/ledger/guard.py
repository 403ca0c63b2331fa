"""What users' SQL may not do while it runs inside the writer's transaction."""

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
"""The schema beside the file's own from which staged rows are read: users' SQL changes nothing in there."""

# DDL writes to these on behalf of an allowed CREATE; SQLite itself refuses to have them written by hand.
_CATALOGUES: Final = frozenset({"sqlite_master", "sqlite_temp_master", "sqlite_schema", "sqlite_sequence"})
_HARMLESS_PRAGMAS: Final = frozenset(
    {"table_info", "table_xinfo", "table_list", "index_list", "index_info", "index_xinfo", "foreign_key_list"}
    | {"data_version"}  # full-text search asks for it
)
# A file may have thousands of tables, and each one that is made asks this.
_LEDGERS_NAMES: Final = (
    "SELECT name FROM sqlite_master WHERE name LIKE 'task^_runs%' ESCAPE '^' OR name LIKE 'pipeloom^_%' ESCAPE '^' "
    "ORDER BY name"
)
_USERS: Final = "/* a task's */ "
_ROWS: Final = (sqlite3.SQLITE_INSERT, sqlite3.SQLITE_UPDATE, sqlite3.SQLITE_DELETE)
# Everything else may change the schema, or what a name means.
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
    """While users' SQL is prepared in here, the guard is asked. One for all: small statements come by the thousand.

    Attributes:
        is_on: Somebody is in here.
        reason: Why something was denied.
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
    """An authorizer, installed once and switched by a flag: installing it anew would expire every statement.

    SQLite asks when a statement is prepared, and Python finds prepared statements by their text. So that users
    never find the writer's own, about which nobody was asked, each text of theirs is run behind a comment with
    which none of ours begins. A handler may have cursors of its own: before it runs, all statements are made to be
    prepared anew. One that changes the schema is so whenever it was prepared for another schema.

    Source: https://www.sqlite.org/c3ref/set_authorizer.html
    """

    def __init__(self, conn: sqlite3.Connection) -> None:
        self._conn = conn
        self._schema: tuple[int] | None = None
        self._reserved: list[str] | None = None
        self.changed: set[str] = set()  # users' tables that statements wrote to
        self.schema_touched = False  # users' SQL may have changed the schema since `check_names`
        self._watch = _Watch()
        conn.set_authorizer(self._authorize)
        self.check_names()

    @contextmanager
    def statement(self, sql: str, params: Params) -> Iterator[sqlite3.Cursor]:
        """Run one statement of users', and fetch in here what it gives; raises as ``users_sql``."""
        with self.users_sql(), closing(self._conn.execute(_USERS + sql, params)) as cursor:
            yield cursor

    @contextmanager
    def handler(self) -> Iterator[None]:
        """Run a handler in here, which has the connection; raises as ``users_sql``."""
        self._conn.set_authorizer(self._authorize)  # expires every prepared statement
        with self.users_sql():
            yield

    def users_sql(self) -> AbstractContextManager[None]:
        """Run what we make for users' tables in here.

        Raises:
            sqlite3.Error: As SQLite raised it, with a note that says what was denied.
        """
        return self._watch

    def run(self, sql: str, params: Params) -> None:
        """Run one statement of users' that gives nothing; raises as ``users_sql``."""
        with self._watch:
            self._conn.execute(_USERS + sql, params).close()

    def check_names(self) -> None:
        """Notice a table that took one of the ledger's names, or lost it: renaming shows no new name beforehand.

        Raises:
            RowRefusedError: It did; the caller rolls back.
        """
        self.schema_touched = False
        hiding = self._conn.execute("SELECT name FROM sqlite_temp_master").fetchall()
        if any(is_reserved(name) for (name,) in hiding):
            raise RowRefusedError("task_runs and names that begin with pipeloom_ are the ledger's own")
        schema = self._conn.execute("PRAGMA schema_version").fetchone()
        if schema == self._schema:
            return
        reserved = [name for (name,) in self._conn.execute(_LEDGERS_NAMES) if is_reserved(name)]
        if self._reserved is not None and reserved != self._reserved:
            raise RowRefusedError("task_runs and names that begin with pipeloom_ are the ledger's own")
        self._schema, self._reserved = schema, reserved

    def _authorize(
        self, action: int, first: str | None, second: str | None, database: str | None, _inside: str | None
    ) -> int:
        if not self._watch.is_on:
            return sqlite3.SQLITE_OK
        if action not in _KEEPS_SCHEMA or (action in _ROWS and first in _CATALOGUES):
            self.schema_touched = True
        if action in (sqlite3.SQLITE_TRANSACTION, sqlite3.SQLITE_SAVEPOINT):
            return self._deny(f"{first}: the transaction is the writer's, it commits the batch as a whole")
        if action in (sqlite3.SQLITE_ATTACH, sqlite3.SQLITE_DETACH):
            return self._deny("ATTACH and DETACH: one run writes one file")
        if action == sqlite3.SQLITE_PRAGMA and (first or "").lower() not in _HARMLESS_PRAGMAS:
            return self._deny(f"PRAGMA {first}: the connection's settings are the writer's")
        if action in _CHANGES:
            target = ascii_lower((first, second)[_CHANGES[action]] or "")
            if database == STAGED or (is_reserved(target) and target not in _CATALOGUES):
                return self._deny(f"{clean(target, 60)} is the ledger's own: read it, but write to your own tables")
            if action in _ROWS and first is not None and not is_reserved(first):
                self.changed.add(first)
        return sqlite3.SQLITE_OK

    def forget(self) -> None:
        """Look at all names after users' next SQL: a rollback brings back an earlier schema, and its number."""
        self._schema = None
        self.schema_touched = True

    def _deny(self, reason: str) -> int:
        self._watch.reason = reason
        return sqlite3.SQLITE_DENY
