"""Rows that store their task: a column ``_task_id`` in users' tables, by which a task's rows can be deleted.

The tables that have it are listed in ``pipeloom_meta``, as ``own rows TABLE``, since a column of that name that the
user made means something else. Its index omits rows without a task, so it takes no space for rows that were there
before.
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
"""The column: the ``id`` of the task in ``task_runs``, NULL in rows without a task."""

MARK: Final = "own rows "
"""Prefix of a key in ``pipeloom_meta``; the table's folded name follows."""

Owned = bool | frozenset[str]
"""In which tables rows store their task: in all, in none, or in those with these folded names."""

_SHAPES: Final = 4096  # cached
_INTEGER: Final = ("integer", "int")
_KNOWN: Final = (
    f"SELECT m.name FROM {{schema}}.sqlite_master m JOIN {{schema}}.pipeloom_meta k "
    f"ON k.key = '{MARK}' || lower(m.name) "
    "WHERE m.type = 'table' AND EXISTS (SELECT 1 FROM pragma_table_info(m.name, ?) "
    f"WHERE lower(name) = '{OWNER}' AND lower(type) IN ('integer', 'int')) ORDER BY m.rowid DESC"
)
_HAS_REFERENCES: Final = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND sql LIKE '%REFERENCES%' LIMIT 1"


class Owning:
    """Add the column to tables, and delete the rows of tasks; the writer's thread, inside its transaction.

    Args:
        conn: The writer's connection.
        guard: The authorizer: deleting rows may run users' triggers.
        owned: The tables that get the column when tasks write to them.
    """

    def __init__(self, conn: sqlite3.Connection, guard: Guard, owned: Owned) -> None:
        self._conn = conn
        self._guard = guard
        self._owned = owned
        self._wide: dict[Shape, Shape | None] = {}
        self._given: set[str] = set()  # tables that are known to have the column and its index
        self._known: list[str] | None = None  # tables whose rows store their task, the newest first

    def wants(self, table: str) -> bool:
        """Return whether the rows that tasks write to a table are to store their task."""
        return self._owned is True or (self._owned is not False and ascii_lower(table) in self._owned)

    def forget(self) -> None:
        """Drop the cached schema."""
        self._wide.clear()
        self._given.clear()
        self._known = None

    # --- rows that are written ---

    def is_known(self, shape: Shape) -> bool:
        """Return whether :meth:`prepare` was called for a shape."""
        return shape in self._wide

    def widened(self, shape: Shape) -> Shape | None:
        """Return the shape with the task's number added; ``None`` if rows of this shape do not store it."""
        return self._wide[shape]

    def prepare(self, shape: Shape, table: UserTable) -> None:
        """Prepare for rows of a shape.

        Args:
            shape: The shape in which the task writes them.
            table: Their table, which has all other columns.

        Raises:
            RowRefusedError: The rows already have a column of this name, or it cannot be added to the table.
        """
        if len(self._wide) >= _SHAPES:
            self._wide.clear()
        if not self.wants(shape.table):
            self._wide[shape] = None
            return
        if OWNER in map(ascii_lower, shape.columns):
            raise RowRefusedError(
                f"table {clean(shape.table, 60)}: own_rows= fills in the column {OWNER}, with the task that wrote "
                "the row: leave the column out, or leave the table out of own_rows="
            )
        if ascii_lower(table.name) not in self._given:
            self._give_column(table)
        self._wide[shape] = shape._replace(columns=(*shape.columns, OWNER))

    @staticmethod
    def with_owner(block: Block, shape: Shape, owner: int) -> Block:
        """Return a block with the task's number appended to each row."""
        tail = (owner,)
        return Block(shape, [row + tail for row in block.rows])

    # --- the column ---

    def give_early(self, table: UserTable, declared: Collection[str] = ()) -> None:
        """Add the column to a table before any task writes to it.

        Args:
            table: The table.
            declared: Its columns that are declared in ``tables=``.

        Raises:
            SchemaError: One of them has that name, or it cannot be added to the table.
        """
        if OWNER in map(ascii_lower, declared):
            raise SchemaError(
                f"table {clean(table.name, 60)}: the column {OWNER} is created and filled in by own_rows=: take it "
                "out of tables="
            )
        try:
            self._give_column(table)
        except RowRefusedError as error:
            raise SchemaError(str(error)) from None

    def _give_column(self, table: UserTable) -> None:
        """Add the column and its index to a table, unless it has them.

        Raises:
            RowRefusedError: It has a column of this name that pipeloom did not make, or none can be added.
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
                f"table {clean(table.name, 60)} has a column {OWNER} that own_rows= did not create: rename that "
                "column, or leave the table out of own_rows="
            )
        # The values are ours, so they are not checked.
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
                f"{clean(table, 60)} is {kind}, whose rows cannot store their task: list the tables that can, as "
                'in own_rows=["pages"]'
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

    # --- rows that are deleted ---

    @property
    def known(self) -> Sequence[str]:
        """The tables whose rows store their task, the newest first: it may refer to older ones."""
        if self._known is None:
            self._known = known_tables(self._conn)
        return self._known

    def remove(self, tasks: Iterable[int]) -> None:
        """Delete the rows of n tasks from all tables whose rows store their task.

        Foreign keys are checked when the transaction ends, so rows that others refer to may be written again in it.

        Raises:
            sqlite3.Error: A constraint or a trigger refuses it, or the file cannot be written.
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
    """Return the tables whose rows store their task, the newest first; the thread of the connection.

    Args:
        conn: Any connection.
        schema: The name of the file's schema in SQL.
    """
    return [name for (name,) in conn.execute(_KNOWN.format(schema=schema), (schema,)).fetchall()]


def _remove_sql(table: str, size: int) -> str:
    return f"DELETE FROM {quoted(table)} WHERE {OWNER} IN ({', '.join('?' * size)})"
