"""The users' tables: made when missing, checked before the first row of a shape, filled in big statements."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from functools import lru_cache
from hashlib import sha256
from itertools import chain
from typing import Any, Final

from pipeloom.data.identifiers import ascii_lower, quoted
from pipeloom.data.rows import Block, Shape
from pipeloom.data.text import clean
from pipeloom.data.values import explain_unbindable, sql_type
from pipeloom.db.transaction import Transaction
from pipeloom.errors import RowRefusedError, SchemaError
from pipeloom.ledger.guard import Guard

__all__ = ["StagedOutput", "Tables", "UserTables"]

Tables = Mapping[str, Mapping[str, Any]]
"""``tables=``: table → column → Python type."""

_SIZES: Final = (1024, 128, 16, 4, 1)
_ORDER_MATTERS: Final = (
    "SELECT 1 FROM sqlite_master WHERE type = 'trigger' OR (type = 'table' AND sql LIKE '%REFERENCES%') LIMIT 1"
)
_VARIABLES: Final = 32_000  # in one statement: more gains nothing and costs memory


class StagedOutput:
    """Everything that one task stages until its end or a checkpoint: a missing table is made to hold all of it.

    Args:
        parts: n blocks and statements, 0 or more.
    """

    __slots__ = ("_blocks", "_parts")

    def __init__(self, parts: Sequence[object]) -> None:
        self._parts = parts
        self._blocks: dict[str, list[Block]] | None = None

    def blocks(self, table: str) -> Sequence[Block]:
        """Return the blocks with rows for a table. The first call goes through all parts, later ones do not."""
        if self._blocks is None:
            self._blocks = {}
            for part in self._parts:
                if isinstance(part, Block) and part.rows:
                    self._blocks.setdefault(ascii_lower(part.shape.table), []).append(part)
        return self._blocks.get(ascii_lower(table), ())


class UserTables:
    """Creates, checks and fills users' tables; the writer's thread, inside its transaction."""

    def __init__(
        self, conn: sqlite3.Connection, transaction: Transaction, guard: Guard, *, has_ledger: bool
    ) -> None:
        self._conn = conn
        self._note = transaction.note
        self._guard = guard
        self._has_ledger = has_ledger
        self._limit = min(conn.getlimit(sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER), _VARIABLES)
        self._declared: dict[str, dict[str, str]] = {}
        self._ready: set[Shape] = set()
        self._made: frozenset[str] = frozenset()
        self._pending: dict[Shape, list[list[tuple[object, ...]]]] = {}
        self._strict_order: bool | None = None

    def declare(self, tables: Tables) -> None:
        """Create the declared tables that are missing.

        Raises:
            SchemaError: An existing table contradicts its declaration.
        """
        for table, columns in tables.items():
            self._declared[ascii_lower(table)] = {name: sql_type(kind) for name, kind in columns.items()}
            existing = self._columns(table)
            if existing is None:
                self._create(table, self._declared[ascii_lower(table)])
                continue
            for name in columns:
                if ascii_lower(name) not in existing:
                    raise SchemaError(
                        f"table {clean(table, 60)} exists without the declared column {clean(name, 60)}: add it "
                        f"(ALTER TABLE), or take it out of tables="
                    )

    def forget(self) -> None:
        """Drop what was known of the schema: a rollback or users' SQL may have changed it."""
        self._ready.clear()
        self._pending.clear()
        self._strict_order = None

    def add(self, block: Block, output: StagedOutput) -> None:
        """Put a block in line; blocks of one shape join one statement.

        Args:
            block: Checked rows.
            output: What it is a part of.
        """
        if not block.rows:
            return
        shape = block.shape
        if shape not in self._ready:
            self.flush()
            self._prepare(shape, output)
            self._ready.add(shape)
        if shape not in self._pending and self._pending and not self._may_overtake(shape):
            self.flush()
        self._pending.setdefault(shape, []).append(block.rows)

    def flush(self) -> None:
        """Insert what is in line."""
        pending, self._pending = self._pending, {}
        for shape, parts in pending.items():
            rows = parts[0] if len(parts) == 1 else list(chain.from_iterable(parts))
            with self._guard.users_sql():
                try:
                    self._insert(shape, rows)
                except sqlite3.IntegrityError as error:
                    error.add_note(f"table {clean(shape.table, 60)}")
                    raise
                except (
                    OverflowError,
                    UnicodeEncodeError,
                    sqlite3.DataError,
                    sqlite3.ProgrammingError,
                ) as error:
                    reason = explain_unbindable(rows, shape.table, shape.columns)
                    if reason is not None:
                        raise RowRefusedError(reason) from error
                    raise

    def _may_overtake(self, shape: Shape) -> bool:
        """Say whether another table's rows may be inserted first: not if a trigger or foreign key would see it."""
        if any(ascii_lower(other.table) == ascii_lower(shape.table) for other in self._pending):
            return False
        if self._strict_order is None:
            self._strict_order = self._conn.execute(_ORDER_MATTERS).fetchone() is not None
        return not self._strict_order

    def _insert(self, shape: Shape, rows: list[tuple[object, ...]]) -> None:
        width = len(shape.columns)
        begin = 0
        for size in _SIZES:
            if size > 1 and size * width > self._limit:
                continue
            while len(rows) - begin >= size:
                flat = list(chain.from_iterable(rows[begin : begin + size]))
                self._conn.execute(_insert_sql(shape, size), flat)
                begin += size

    # --- schema ---

    def _columns(self, table: str) -> dict[str, int] | None:
        """Return the columns as casefolded name → place in the primary key; ``None`` when there is no table."""
        found = self._conn.execute(f"PRAGMA table_info({quoted(table)})").fetchall()
        return {ascii_lower(row[1]): row[5] for row in found} or None

    def _prepare(self, shape: Shape, output: StagedOutput) -> None:
        table = shape.table
        existing = self._columns(table)
        if existing is None:
            declared = self._declared.get(ascii_lower(table), {})
            self._create(table, {**_inferred(output.blocks(table)), **declared})
            existing = self._columns(table) or {}
        missing = [name for name in shape.columns if ascii_lower(name) not in existing]
        if missing and self._is_open(table):
            for name, kind in _inferred(output.blocks(table)).items():
                if ascii_lower(name) not in existing:
                    self._conn.execute(f"ALTER TABLE {quoted(table)} ADD COLUMN {quoted(name, 'column')} {kind}")
        elif missing:
            raise RowRefusedError(
                f"table {clean(table, 60)} has no column {clean(missing[0], 60)}: if it is meant, declare it in "
                f"tables= before the table is made, or add it (ALTER TABLE)"
            )
        if shape.conflict_on and not self._has_unique(table, shape.conflict_on):
            if not self._is_open(table):
                raise RowRefusedError(
                    f"table {clean(table, 60)} has no UNIQUE constraint on ({', '.join(shape.conflict_on)}), which "
                    "conflict_on= needs: create a unique index on those columns"
                )
            names = ", ".join(quoted(name, "column") for name in shape.conflict_on)
            index = quoted(_index_name(table, shape.conflict_on), "index")
            self._conn.execute(f"CREATE UNIQUE INDEX {index} ON {quoted(table)} ({names})")

    def _create(self, table: str, columns: Mapping[str, str]) -> None:
        body = ", ".join(f"{quoted(name, 'column')} {kind}".rstrip() for name, kind in columns.items())
        self._conn.execute(f"CREATE TABLE {quoted(table)} ({body})")
        self._note(self, _made=self._made | {ascii_lower(table)})
        if self._has_ledger:
            self._conn.execute("INSERT OR REPLACE INTO pipeloom_meta VALUES (?, 1)", (_made_key(table),))

    def _is_open(self, table: str) -> bool:
        """Say whether the table's shape may still follow the output: we made it, and it has no row yet."""
        made = ascii_lower(table) in self._made
        if not made and self._has_ledger:
            known = self._conn.execute("SELECT 1 FROM pipeloom_meta WHERE key = ?", (_made_key(table),))
            made = known.fetchone() is not None
        if not made:
            return False
        return self._conn.execute(f"SELECT 1 FROM {quoted(table)} LIMIT 1").fetchone() is None

    def _has_unique(self, table: str, columns: Sequence[str]) -> bool:
        wanted = sorted(ascii_lower(name) for name in columns)
        existing = self._columns(table) or {}
        if sorted(name for name, place in existing.items() if place) == wanted:
            return True
        for _, index, unique, _, partial in self._conn.execute(f"PRAGMA index_list({quoted(table)})").fetchall():
            if unique and not partial:
                found = self._conn.execute(f"PRAGMA index_info({quoted(index, 'index')})").fetchall()
                if sorted(ascii_lower(row[2] or "") for row in found) == wanted:
                    return True
        return False


def _index_name(table: str, columns: Sequence[str]) -> str:
    name = f"{table}_unique_{'_'.join(columns)}"
    return name if len(name) <= 200 else f"{name[:180]}_{sha256(name.encode()).hexdigest()[:16]}"


def _made_key(table: str) -> str:
    return f"made table {ascii_lower(table)}"


@lru_cache(maxsize=256)
def _insert_sql(shape: Shape, count: int) -> str:
    names = ", ".join(quoted(name, "column") for name in shape.columns)
    row = "(" + ", ".join("?" * len(shape.columns)) + ")"
    sql = f"INSERT INTO {quoted(shape.table)} ({names}) VALUES {', '.join([row] * count)}"
    if shape.on_conflict == "error":
        return sql
    target = f" ({', '.join(quoted(name, 'column') for name in shape.conflict_on)})" if shape.conflict_on else ""
    others = [name for name in shape.columns if name not in shape.conflict_on]
    if shape.on_conflict == "ignore" or not others:
        return f"{sql} ON CONFLICT{target} DO NOTHING"
    updates = ", ".join(f"{quoted(name, 'column')} = excluded.{quoted(name, 'column')}" for name in others)
    return f"{sql} ON CONFLICT{target} DO UPDATE SET {updates}"


def _inferred(blocks: Sequence[Block]) -> dict[str, str]:
    """Return a type for each column of a task's whole output: one SQL type, or none when values are mixed."""
    kinds: dict[str, tuple[str, set[type]]] = {}
    for block in blocks:
        for name, values in zip(block.shape.columns, zip(*block.rows, strict=True), strict=True):
            kinds.setdefault(ascii_lower(name), (name, set()))[1].update(map(type, values))
    return {name: _column_type(found - {type(None)}) for name, found in kinds.values()}


def _column_type(kinds: set[type]) -> str:
    if kinds == {int, float}:
        return "REAL"
    if len(kinds) != 1:
        return ""
    return {int: "INTEGER", float: "REAL", str: "TEXT", bytes: "BLOB"}[kinds.pop()]
