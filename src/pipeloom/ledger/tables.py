"""Users' tables: created when missing, checked before the first row of a shape, filled in large statements."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from hashlib import sha256
from itertools import chain
from typing import Any, Final

from pipeloom.data.affinity import common_type, joined
from pipeloom.data.columns import Row
from pipeloom.data.identifiers import ascii_lower, quoted
from pipeloom.data.image import Stretch
from pipeloom.data.rows import Block, Shape
from pipeloom.data.spool import Spool
from pipeloom.data.text import clean
from pipeloom.data.values import explain_unbindable, sql_type
from pipeloom.db.transaction import Transaction
from pipeloom.errors import RowRefusedError, SchemaError
from pipeloom.ledger.guard import Guard
from pipeloom.ledger.imports import Imports
from pipeloom.ledger.inserts import Insert
from pipeloom.ledger.owning import OWNER, Owned, Owning
from pipeloom.ledger.placing import Placing
from pipeloom.ledger.user_table import UserTable

__all__ = ["StagedOutput", "Tables", "UserTables"]

Tables = Mapping[str, Mapping[str, Any]]
"""``tables=``: table → column → Python type."""

_TOGETHER: Final = 1024  # rows that are checked and then stored while they are in the processor's cache
_SHAPES: Final = 4096  # cached
_PADDED: Final = 16  # rows: more than this of one shape get their own statement
_ORDER_MATTERS: Final = (
    "SELECT 1 FROM sqlite_master WHERE type = 'trigger' OR (type = 'table' AND sql LIKE '%REFERENCES%') "
    "UNION ALL SELECT 1 FROM sqlite_temp_master WHERE type = 'trigger' LIMIT 1"
)


class StagedOutput:
    """Everything that one task stages until its end or a checkpoint; a missing table is created to fit all of it.

    Args:
        parts: n blocks, stretches, statements and spool files, 0 or more.
        owner: The task's number; ``None`` for a message's output.
    """

    __slots__ = ("_blocks", "_parts", "owner")

    def __init__(self, parts: Sequence[object], owner: int | None = None) -> None:
        self._parts = parts
        self.owner = owner
        self._blocks: dict[str, list[Block]] | None = None

    def blocks(self, table: str) -> Sequence[Block]:
        """Return the blocks with rows for a table, with example rows in place of images and spool files.

        Images and files are not read. The first call goes through all parts, later calls do not.
        """
        if self._blocks is None:
            self._blocks = {}
            for part in self._parts:
                for block in _outlines(part):
                    if block.rows:
                        self._blocks.setdefault(ascii_lower(block.shape.table), []).append(block)
        return self._blocks.get(ascii_lower(table), ())


def _outlines(part: object) -> Sequence[Block]:
    if isinstance(part, Spool):
        return part.outlines()
    if isinstance(part, Stretch):
        return (part.table.examples(),)
    return (part,) if isinstance(part, Block) else ()


class UserTables:
    """Create, check and fill users' tables; the writer's thread, inside its transaction."""

    def __init__(
        self, conn: sqlite3.Connection, transaction: Transaction, guard: Guard, *, has_ledger: bool
    ) -> None:
        self._conn = conn
        self._note = transaction.note
        self._guard = guard
        self._imports = Imports(conn, guard)
        self._placing = Placing(conn)
        self._has_ledger = has_ledger
        self._limit = conn.getlimit(sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER)
        self._declared: dict[str, dict[str, str]] = {}
        self._made: frozenset[str] = frozenset()
        self._version: tuple[int] | None = None  # of the schema that the following caches are for
        self._known: dict[str, UserTable] = {}
        self._ready: dict[Shape, Insert] = {}
        self._wide: dict[UserTable, Insert] = {}  # to which rows of several shapes are padded
        self._pending: dict[UserTable, _Line] = {}
        self._strict_order: bool | None = None
        self._loaded: StagedOutput | None = None  # the output of which an image may still be loaded
        self._owning: Owning | None = None
        self.warnings: list[str] = []  # about inferred types that were dropped; logged after the commit

    def own_rows(self, owned: Owned) -> None:
        """Make rows store their task in these tables; call it before ``declare``.

        Raises:
            SchemaError: A named table exists and cannot get the column.
        """
        self._owning = Owning(self._conn, self._guard, owned)
        for name in sorted(owned) if isinstance(owned, frozenset) else ():
            if (table := self._table(name)) is not None:
                self._owning.give_early(table)

    def take_back(self, tasks: Sequence[int]) -> None:
        """Delete all rows of n tasks, in tables whose rows store their task."""
        if self._owning is not None:
            self._owning.remove(tasks)

    def declare(self, tables: Tables, *, alter: bool = False) -> None:
        """Create the declared tables that are missing.

        Args:
            tables: Table → column → type.
            alter: Add declared columns that an existing table lacks.

        Raises:
            SchemaError: An existing table contradicts its declaration.
        """
        for name, kinds in tables.items():
            declared = {column: sql_type(kind) for column, kind in kinds.items()}
            self._declared[ascii_lower(name)] = declared
            table = self._table(name)
            if table is None:
                table = self._create(name, {})
            else:
                self._check_declared(table, name, kinds, alter=alter)
            if self._owning is not None and self._owning.wants(name):
                self._owning.give_early(table, kinds)

    def _check_declared(self, table: UserTable, name: str, kinds: Mapping[str, Any], *, alter: bool) -> None:
        declared = self._declared[ascii_lower(name)]
        for column, kind in kinds.items():
            if ascii_lower(column) in table.columns:
                table.check_declared(column, kind)
        for column in table.missing(kinds):
            if not alter:
                raise SchemaError(
                    f"table {clean(name, 60)} exists without the declared column {clean(column, 60)}: pass "
                    "alter=True to add it, or take it out of tables="
                )
            table.add({column: declared[column]}, declared)

    def forget(self) -> None:
        """Drop the cached schema and the pending rows: a rollback or users' SQL may have changed the schema."""
        self._version = None
        self._known.clear()
        self._ready.clear()
        self._wide.clear()
        self._pending.clear()
        self._strict_order = None
        if self._owning is not None:
            self._owning.forget()

    def begin(self, *, is_alone: bool) -> None:
        """Begin a batch; inside a transaction. Drops the cached schema if another program has changed it.

        Args:
            is_alone: The batch is from one task or one message, so the number of a refused row is determined.
        """
        self._placing.begin(is_alone=is_alone)
        version = self._conn.execute("PRAGMA schema_version").fetchone()
        if version != self._version:
            self.forget()
            self._version = version

    def add(self, block: Block, output: StagedOutput) -> None:
        """Add a block to the pending rows; blocks of one shape share statements.

        Args:
            block: Checked rows.
            output: The output that it is part of.
        """
        if not block.rows:
            return
        if self._owning is not None and output.owner is not None:
            block = self._with_owner(self._owning, block, output, output.owner)
        shape, rows, is_text = block
        insert = self._ready_for(shape, output)
        table = insert.table
        line = self._pending.get(table)
        if line is None and self._pending and self._order_matters():
            self.flush()
        if len(rows) <= _PADDED and (table in self._wide or (line is not None and line.insert is not insert)):
            insert, rows = self._among_others(line, insert, rows)
        if line is None or line.insert is not insert:
            if line is not None:
                self.flush()
            line = self._pending[table] = _Line(insert)
        line.parts.append(rows)
        line.is_text &= is_text

    def add_stretch(self, stretch: Stretch, output: StagedOutput) -> None:
        """Insert rows from an image, or add them like a block if a column would convert a value.

        Args:
            stretch: Which rows.
            output: The output that it is part of.
        """
        insert = self._ready_for(stretch.table.shape, output)
        owned = self._owner_of(stretch.table.shape, output)
        if not self._may_import(stretch, insert, output):
            for block in stretch.blocks():
                self.add(block, output)
                self.flush()  # so that the image's rows are not all in memory at once
            return
        if self._pending and (insert.table in self._pending or self._order_matters()):
            self.flush()
        self._placing.insert(
            insert.table.name,
            stretch.rows,
            lambda begin, end: self._imports.take(stretch.part(begin, end), insert, owned),
        )

    def _with_owner(self, owning: Owning, block: Block, output: StagedOutput, owner: int) -> Block:
        """Return a block with the task's number in each row, if its table's rows store their task."""
        if not owning.is_known(block.shape):
            owning.prepare(block.shape, self._prepared(block.shape, output))
        wide = owning.widened(block.shape)
        return block if wide is None else owning.with_owner(block, wide, owner)

    def _owner_of(self, shape: Shape, output: StagedOutput) -> tuple[str, int] | None:
        """Return the additional column and the task's number for the rows of a task; ``None`` if not stored."""
        owning = self._owning
        if owning is None or output.owner is None:
            return None
        if not owning.is_known(shape):
            owning.prepare(shape, self._prepared(shape, output))
        return None if owning.widened(shape) is None else (OWNER, output.owner)

    def _may_import(self, stretch: Stretch, insert: Insert, output: StagedOutput) -> bool:
        risks = insert.risks(stretch.table) if self._imports.can else None
        if risks is None:
            return False
        self._loaded = output
        return not self._imports.has(stretch, risks)

    def clear(self, *, but: StagedOutput | None = None) -> None:
        """Release the loaded image, unless it is part of this output: users' SQL could read another task's rows."""
        if but is None or but is not self._loaded:
            self._imports.clear()

    def _ready_for(self, shape: Shape, output: StagedOutput) -> Insert:
        return self._ready.get(shape) or self._insert_for(shape, self._prepared(shape, output))

    def _among_others(self, line: _Line | None, insert: Insert, rows: list[Row]) -> tuple[Insert, list[Row]]:
        """Return an insert for a wider shape and the rows padded to it, or the given ones if that is impossible.

        Rows with optional keys come in many shapes, and one statement for each takes longer than a few NULLs.
        """
        table = insert.table
        wide = self._wide.get(table) or (insert if line is None else line.insert)
        padding = insert.padding(wide)
        if padding is None:
            if (shape := wide.joined(insert)) is None:
                return insert, rows
            wide = self._wide[table] = self._ready.get(shape) or self._insert_for(shape, table)
            padding = insert.padding(wide)
        return (insert, rows) if padding is None else (wide, list(map(padding, rows)))

    def _insert_for(self, shape: Shape, table: UserTable) -> Insert:
        if len(self._ready) >= _SHAPES:
            self._ready.clear()
        insert = self._ready[shape] = Insert(shape, table, self._limit)
        return insert

    def flush(self) -> None:
        """Insert the pending rows."""
        if not self._pending:
            return
        pending, self._pending = self._pending, {}
        for line in pending.values():
            insert, parts = line.insert, line.parts
            rows = parts[0] if len(parts) == 1 else list(chain.from_iterable(parts))
            for begin in range(0, len(rows), _TOGETHER):
                some = rows[begin : begin + _TOGETHER] if len(rows) > _TOGETHER else rows
                self._insert(insert, insert.fitted(some, is_text=line.is_text))

    def _insert(self, insert: Insert, rows: list[Row]) -> None:
        def put(begin: int, end: int) -> None:
            with self._guard.users_sql():
                insert.run(self._conn, rows[begin:end] if end - begin < len(rows) else rows)

        try:
            self._placing.insert(insert.table.name, len(rows), put)
        except (OverflowError, UnicodeEncodeError, sqlite3.DataError, sqlite3.ProgrammingError) as error:
            reason = explain_unbindable(rows, insert.table.name, insert.shape.columns)
            if reason is not None:
                raise RowRefusedError(reason) from error
            raise

    def _order_matters(self) -> bool:
        """Return whether a trigger or foreign key could depend on the order of rows in different tables."""
        if self._strict_order is None:
            self._strict_order = self._conn.execute(_ORDER_MATTERS).fetchone() is not None
        return self._strict_order

    # --- schema ---

    def _table(self, name: str) -> UserTable | None:
        folded = ascii_lower(name)
        table = self._known.get(folded)
        if table is None:
            table = UserTable.found(self._conn, name, self._declared.get(folded, {}), self.warnings)
            if table is not None:
                self._known[folded] = table
        return table

    def _prepared(self, shape: Shape, output: StagedOutput) -> UserTable:
        """Return the table for rows of a shape, created or extended if necessary.

        Pending rows are inserted first only if the table changes: rows with optional keys come in many shapes.
        """
        table = self._table(shape.table)
        if table is None:
            self.flush()
            table = self._create(shape.table, _inferred(output.blocks(shape.table)))
        if missing := table.missing(shape.columns, alter=shape.alter):
            self.flush()
            if not (shape.alter or self._is_open(table)):
                raise RowRefusedError(
                    f"table {clean(shape.table, 60)} has no column {clean(missing[0], 60)}: pass alter=True to add "
                    "it, or declare it in tables= before the table is created"
                )
            blocks = [block for block in output.blocks(shape.table) if block.shape.alter or not shape.alter]
            found = _inferred(blocks)
            table.add(
                {name: found[name] for name in table.missing(found, alter=shape.alter)},
                self._declared.get(ascii_lower(shape.table), {}),
            )
        if shape.conflict_on and not table.has_unique(shape.conflict_on):
            self.flush()
            self._make_unique(table, shape.conflict_on)
        return table

    def _make_unique(self, table: UserTable, columns: Sequence[str]) -> None:
        if not self._is_open(table):
            raise RowRefusedError(
                f"table {clean(table.name, 60)} has no UNIQUE constraint on ({clean(', '.join(columns), 200)}), "
                "which conflict_on= needs: create a unique index on those columns"
            )
        names = ", ".join(quoted(name, "column") for name in columns)
        index = quoted(_index_name(table.name, columns), "index")
        self._conn.execute(f"CREATE UNIQUE INDEX {index} ON {quoted(table.name)} ({names})")

    def _create(self, name: str, columns: Mapping[str, str]) -> UserTable:
        folded = ascii_lower(name)
        table = UserTable.made(self._conn, name, columns, self._declared.get(folded, {}), self.warnings)
        self._known[folded] = table
        self._note(self, _made=self._made | {folded})
        if self._has_ledger:
            self._conn.execute("INSERT OR REPLACE INTO pipeloom_meta VALUES (?, 1)", (_made_key(name),))
        return table

    def _is_open(self, table: UserTable) -> bool:
        """Return whether the table may still be adapted to the output: pipeloom created it, and it has no rows."""
        made = ascii_lower(table.name) in self._made
        if not made and self._has_ledger:
            known = self._conn.execute("SELECT 1 FROM pipeloom_meta WHERE key = ?", (_made_key(table.name),))
            made = known.fetchone() is not None
        return made and table.is_empty()


class _Line:
    """Rows of one shape that wait to be inserted."""

    __slots__ = ("insert", "is_text", "parts")

    def __init__(self, insert: Insert) -> None:
        self.insert = insert
        self.parts: list[list[Row]] = []
        self.is_text = True  # all rows so far are text or NULL


def _index_name(table: str, columns: Sequence[str]) -> str:
    name = f"{table}_unique_{'_'.join(columns)}"
    if len(name) <= 200 and not any("_" in column for column in columns):
        return name  # otherwise ("a_b",) and ("a", "b") would share one
    return f"{name[:180]}_{sha256(repr((table, *columns)).encode()).hexdigest()[:16]}"


def _made_key(table: str) -> str:
    return f"made table {ascii_lower(table)}"


def _inferred(blocks: Sequence[Block]) -> dict[str, str]:
    """Return the SQL type of each column of a task's whole output; empty if its values have no common type."""
    rows: dict[tuple[str, ...], list[Row]] = {}
    for block in blocks:  # rows with optional keys come in thousands of blocks
        rows.setdefault(block.shape.columns, []).extend(block.rows)
    found: dict[str, list[Sequence[object]]] = {}
    for names, those in rows.items():
        for name, values in zip(names, zip(*those, strict=True), strict=True):
            found.setdefault(name, []).append(values)
    types: dict[str, tuple[str, str | None]] = {}
    for name, parts in found.items():
        kind = common_type(map(type, chain.from_iterable(parts)), chain.from_iterable(parts))
        first, known = types.get(ascii_lower(name), (name, None))
        types[ascii_lower(name)] = first, joined(known, kind)
    return {name: kind or "" for name, kind in types.values()}
