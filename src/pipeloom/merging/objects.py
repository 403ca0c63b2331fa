"""Users' indexes, views and triggers: they must be the same in all files, and are created after the rows.

That way an index is built once rather than filled row by row, and no trigger runs again for rows that are copied.
"""

from __future__ import annotations

import sqlite3
from typing import Final, NamedTuple

from pipeloom.data.identifiers import ascii_lower, is_reserved, quoted
from pipeloom.data.text import clean
from pipeloom.db.failures import is_fatal
from pipeloom.errors import SchemaError
from pipeloom.merging.source import PART

__all__ = ["Objects", "make"]

_ALL: Final = (
    "SELECT type, name, sql FROM {schema}.sqlite_master "
    "WHERE type IN ('index', 'view', 'trigger') AND sql IS NOT NULL ORDER BY rowid"
)
_ORDER: Final = ("index", "view", "trigger")  # a trigger may be on a view


class _Object(NamedTuple):
    kind: str
    name: str
    sql: str
    where: str  # the file that it came from, as shown to the user


class Objects:
    """Gather the objects of one file after another; the connection's thread.

    Args:
        conn: The connection on which they are created; each call is inside a transaction.
        where: Its file, as shown to the user.
    """

    def __init__(self, conn: sqlite3.Connection, where: str) -> None:
        self._conn = conn
        self._known: dict[tuple[bool, str], _Object] = {}  # triggers have their own namespace
        self._waiting: list[_Object] = []
        for kind, name, sql in conn.execute(_ALL.format(schema="main")).fetchall():
            found = self._note(_Object(kind, name, sql, where))
            if kind == "trigger":
                conn.execute(f"DROP TRIGGER main.{quoted(name, 'trigger')}")
                self._waiting.append(found)

    def gather(self, where: str) -> None:
        """Gather the objects of the attached file.

        Args:
            where: The file, as shown to the user.

        Raises:
            SchemaError: An object is different from the one of that name in an earlier file.
        """
        for kind, name, sql in self._conn.execute(_ALL.format(schema=PART)).fetchall():
            found = _Object(kind, name, sql, where)
            known = self._known.get(_key(found))
            if is_reserved(found.name):
                continue
            if known is None:
                self._waiting.append(self._note(found))
            elif (known.kind, known.sql.split()) != (found.kind, found.sql.split()):
                raise SchemaError(
                    f"{where}: the {found.kind} {clean(found.name, 60)} differs from that in {known.where}: drop "
                    "one of them, and merge again"
                )

    def make_unique(self, table: str) -> None:
        """Create a table's unique indexes early, so that they refuse rows while these are copied."""
        for _, name, unique, origin, _ in self._conn.execute(
            f"PRAGMA {PART}.index_list({quoted(table)})"
        ).fetchall():
            if unique and origin == "c":
                self._make([one for one in self._waiting if one.kind == "index" and one.name == name])

    def make(self) -> None:
        """Create all objects that do not exist yet."""
        self._make(sorted(self._waiting, key=lambda one: _ORDER.index(one.kind)))

    def _note(self, found: _Object) -> _Object:
        self._known[_key(found)] = found
        return found

    def _make(self, chosen: list[_Object]) -> None:
        for one in chosen:
            self._waiting.remove(one)
            make(self._conn, one.kind, one.name, one.sql, one.where)


def make(conn: sqlite3.Connection, kind: str, name: str, sql: str, where: str) -> None:
    """Create an object of a file in the merged one.

    Args:
        conn: A connection in a transaction.
        kind: Its kind, as in SQL.
        name: Its name.
        sql: The statement that creates it.
        where: The file, as shown to the user.

    Raises:
        SchemaError: It cannot be created.
    """
    try:
        conn.execute(sql)
    except sqlite3.Error as error:
        if is_fatal(error):
            raise
        raise SchemaError(
            f"{where}: its {kind} {clean(name, 60)} cannot be created together with those of the other files "
            f"({clean(error, 200)}): drop or rename it in this file, and merge again"
        ) from error


def _key(found: _Object) -> tuple[bool, str]:
    return found.kind == "trigger", ascii_lower(found.name)
