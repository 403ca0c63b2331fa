"""Rows that know their task: a column ``_task_id`` in the users' tables, and taking back what a task wrote.

Which tables have it is kept in ``pipeloom_meta``, as ``own rows TABLE``: a column of that name which somebody else
made means something else. The index leaves out rows of nobody, so it takes no room for what was there before.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterable, Sequence
from hashlib import sha256
from typing import Final

from pipeloom.data.columns import Column
from pipeloom.data.identifiers import ascii_lower, quoted
from pipeloom.data.rows import Block, Shape
from pipeloom.data.text import clean
from pipeloom.db.failures import is_fatal
from pipeloom.errors import RowRefusedError, SchemaError
from pipeloom.ledger.guard import Guard
from pipeloom.ledger.statements import padded
from pipeloom.ledger.user_table import UserTable

__all__ = ["MARK", "OWNER", "Owned", "Owning", "known_tables"]

OWNER: Final = "_task_id"
"""The column: the ``id`` of the task in ``task_runs``, NULL in rows of nobody."""

MARK: Final = "own rows "
"""With a table's folded name behind it, a key in ``pipeloom_meta``."""

Owned = bool | frozenset[str]
"""In which tables rows know their task: in all, in none, or in those with these folded names."""

_SHAPES: Final = 4096  # that are remembered
_INTEGER: Final = ("integer", "int")
_KNOWN: Final = (
    f"SELECT m.name FROM {{schema}}.sqlite_master m JOIN {{schema}}.pipeloom_meta k "
    f"ON k.key = '{MARK}' || lower(m.name) "
    "WHERE m.type = 'table' AND EXISTS (SELECT 1 FROM pragma_table_info(m.name, ?) "
    f"WHERE lower(name) = '{OWNER}' AND lower(type) IN ('integer', 'int')) ORDER BY m.rowid DESC"
)
_HAS_REFERENCES: Final = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND sql LIKE '%REFERENCES%' LIMIT 1"


class Owning:
    """Gives tables the column, and takes back the rows of tasks; the writer's thread, inside its transaction.

    Args:
        conn: The writer's connection.
        guard: Triggers of users' may hear of rows that go.
        owned: The tables that are given the column when tasks write to them.
    """

    def __init__(self, conn: sqlite3.Connection, guard: Guard, owned: Owned) -> None:
        self._conn = conn
        self._guard = guard
        self._owned = owned
        self._wide: dict[Shape, Shape | None] = {}
        self._given: set[str] = set()  # tables that have been seen to
        self._known: list[str] | None = None  # tables whose rows know their task, the last one made first

    def wants(self, table: str) -> bool:
        """Say whether the rows that tasks write to a table are to know them."""
        return self._owned is True or (self._owned is not False and ascii_lower(table) in self._owned)

    def forget(self) -> None:
        """Drop what was known of the schema."""
        self._wide.clear()
        self._given.clear()
        self._known = None

    # --- rows that come ---

    def is_known(self, shape: Shape) -> bool:
        """Say whether :meth:`widened` knows about rows of a shape."""
        return shape in self._wide

    def widened(self, shape: Shape) -> Shape | None:
        """Return the shape that rows get with their task's number; ``None`` if they do not get it."""
        return self._wide[shape]

    def prepare(self, shape: Shape, table: UserTable) -> None:
        """Make ready for rows of a shape.

        Args:
            shape: As the task has it.
            table: Where they go; has all other columns.

        Raises:
            RowRefusedError: They have a column of this name themselves, or the table cannot have it.
        """
        if len(self._wide) >= _SHAPES:
            self._wide.clear()
        if not self.wants(shape.table):
            self._wide[shape] = None
            return
        if OWNER in map(ascii_lower, shape.columns):
            raise RowRefusedError(
                f"table {clean(shape.table, 60)}: the column {OWNER} says which task a row is of, and is filled in "
                "by itself: leave it out, or leave the table out of own_rows="
            )
        if ascii_lower(table.name) not in self._given:
            self._give_column(table)
        self._wide[shape] = shape._replace(columns=(*shape.columns, OWNER))

    @staticmethod
    def with_owner(block: Block, shape: Shape, owner: int) -> Block:
        """Return a block whose rows end with their task's number."""
        tail = (owner,)
        return Block(shape, [row + tail for row in block.rows])

    # --- the column ---

    def give_early(self, table: UserTable, declared: Collection[str] = ()) -> None:
        """See to it that a table has the column before any task writes to it.

        Args:
            table: Which one.
            declared: Its columns that stand in ``tables=``.

        Raises:
            SchemaError: One of them has that name, or the table cannot have it.
        """
        if OWNER in map(ascii_lower, declared):
            raise SchemaError(
                f"table {clean(table.name, 60)}: the column {OWNER} is made by own_rows=, and is filled in by "
                "itself: take it out of tables="
            )
        try:
            self._give_column(table)
        except RowRefusedError as error:
            raise SchemaError(str(error)) from None

    def _give_column(self, table: UserTable) -> None:
        """See to it that a table has the column, and its index.

        Raises:
            RowRefusedError: It has one that is somebody else's, or can have none.
        """
        name = quoted(table.name)
        mark = MARK + ascii_lower(table.name)
        column = table.columns.get(OWNER)
        if column is None:
            self._check_kind(table.name)
            self._conn.execute(f"ALTER TABLE {name} ADD COLUMN {OWNER} INTEGER")
            self._conn.execute("INSERT OR REPLACE INTO pipeloom_meta VALUES (?, 1)", (mark,))
            self._known = None
        elif not self._is_ours(column, mark):
            raise RowRefusedError(
                f"table {clean(table.name, 60)} has a column {OWNER} of its own, which says something else than "
                "which task a row is of: rename that column, or leave the table out of own_rows="
            )
        # Nobody watches the values: they are ours.
        table.columns[OWNER] = Column(OWNER, "INTEGER", "theirs", "BLOB")
        if not self._has_index(table.name):
            index = quoted(self._free_name(table.name), "index")
            self._conn.execute(f"CREATE INDEX {index} ON {name} ({OWNER}) WHERE {OWNER} IS NOT NULL")
        self._given.add(ascii_lower(table.name))

    def _is_ours(self, column: Column, mark: str) -> bool:
        if ascii_lower(column.type) not in _INTEGER or column.is_generated or column.key:
            return False
        return self._conn.execute("SELECT 1 FROM pipeloom_meta WHERE key = ?", (mark,)).fetchone() is not None

    def _check_kind(self, table: str) -> None:
        found = self._conn.execute(
            "SELECT type, sql FROM sqlite_master WHERE name = ? COLLATE NOCASE AND type IN ('table', 'view')",
            (table,),
        ).fetchone()
        kind = "a temporary table" if found is None else "a view" if found[0] == "view" else ""
        if found is not None and ascii_lower(found[1] or "").startswith("create virtual"):
            kind = "a virtual table"
        if kind:
            raise RowRefusedError(
                f"{clean(table, 60)} is {kind}, whose rows cannot know their task: name the tables that can, as in "
                'own_rows=["pages"]'
            )

    def _has_index(self, table: str) -> bool:
        for row in self._conn.execute(f"PRAGMA index_list({quoted(table)})").fetchall():
            first = self._conn.execute(f"PRAGMA index_info({quoted(row[1], 'index')})").fetchone()
            if first is not None and ascii_lower(first[2] or "") == OWNER:
                return True
        return False

    def _free_name(self, table: str) -> str:
        name = f"{table}_{OWNER}"
        taken = "SELECT 1 FROM sqlite_master WHERE name = ? COLLATE NOCASE"
        if len(name) <= 200 and self._conn.execute(taken, (name,)).fetchone() is None:
            return name
        return f"{name[:180]}_{sha256(table.encode()).hexdigest()[:16]}"

    # --- rows that go ---

    @property
    def known(self) -> Sequence[str]:
        """The tables whose rows know their task, the last one made first: it may refer to earlier ones."""
        if self._known is None:
            self._known = known_tables(self._conn)
        return self._known

    def remove(self, tasks: Iterable[int]) -> None:
        """Remove the rows of n tasks from all tables that know them.

        What refers to them may come back in the same transaction: foreign keys are looked at when it ends.

        Raises:
            sqlite3.Error: A constraint or a trigger refuses it, or the file failed.
        """
        numbers = [(task,) for task in tasks]
        if self.known and self._conn.execute(_HAS_REFERENCES).fetchone() is not None:
            self._conn.execute("PRAGMA defer_foreign_keys = ON")
        for table in self.known:
            for size, flat in padded(numbers, 1):
                try:
                    with self._guard.users_sql():
                        self._conn.execute(_remove_sql(table, size), flat)
                except sqlite3.Error as error:
                    if not is_fatal(error):
                        error.add_note(f"table {clean(table, 60)}, the rows that this task wrote before")
                    raise


def known_tables(conn: sqlite3.Connection, schema: str = "main") -> list[str]:
    """Return the tables whose rows know their task, the last one made first; any connection, its own thread.

    Args:
        conn: The connection.
        schema: What the file is called in SQL.
    """
    return [name for (name,) in conn.execute(_KNOWN.format(schema=schema), (schema,)).fetchall()]


def _remove_sql(table: str, size: int) -> str:
    return f"DELETE FROM {quoted(table)} WHERE {OWNER} IN ({', '.join('?' * size)})"
