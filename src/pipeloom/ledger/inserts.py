"""Insert rows of one shape into a table: fitted to its columns, in statements as large as SQLite accepts."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from itertools import chain
from operator import itemgetter
from typing import Final

from pipeloom.data.affinity import changes
from pipeloom.data.columns import Row, Watched
from pipeloom.data.identifiers import ascii_lower, quoted
from pipeloom.data.image import StagedTable
from pipeloom.data.rows import Shape
from pipeloom.data.values import TEXT_OR_NULL
from pipeloom.errors import RowRefusedError
from pipeloom.ledger.user_table import UserTable

__all__ = ["Insert"]

_SIZES: Final = (1024, 128, 16, 4)  # rows in one statement; the rest are inserted one by one
_VARIABLES: Final = 32_000  # in one statement: more would only cost memory
_FEW: Final = 8  # rows: for fewer, checking the type of each value is faster than collecting columns
_WIDEST: Final = 64  # columns of padded rows: beyond that, the NULLs take longer than separate statements


class Insert:
    """Insert rows of one shape into one table; the writer's thread.

    Args:
        shape: The shape of the rows.
        table: The table, which has all columns of the shape.
        limit: How many variables SQLite accepts in one statement.
    """

    def __init__(self, shape: Shape, table: UserTable, limit: int) -> None:
        self.shape = shape
        self.table = table
        self._sizes = [size for size in _SIZES if size * len(shape.columns) <= min(limit, _VARIABLES)]
        self._statements: dict[int, str] = {}
        self._ways: dict[Insert, Callable[[Row], Row]] = {}
        self._version = -1
        self._watched: list[Watched] = []
        self._not_for_text: list[Watched] = []
        self._plain: list[tuple[int, AbstractSet[type]]] = []
        self._folded = tuple(map(ascii_lower, shape.columns))
        # Then a column that a row omits is NULL, just as if the row said so.
        self._may_be_padded = shape.on_conflict != "update" and not table.has_defaults(self._folded)

    def run(self, conn: sqlite3.Connection, rows: list[Row]) -> None:
        """Insert n fitted rows.

        Raises:
            sqlite3.Error: As raised by SQLite.
        """
        begin, count = 0, len(rows)
        for size in self._sizes if count > 1 else ():
            while count - begin >= size:
                conn.execute(self._statement(size), list(chain.from_iterable(rows[begin : begin + size])))
                begin += size
        for place in range(begin, count):
            conn.execute(self._statement(1), rows[place])

    def risks(self, staged: StagedTable) -> list[str] | None:
        """Return conditions for rows of another table that would not be stored unchanged.

        Inferred columns adapt to that table's values.

        Args:
            staged: What is known of that table.

        Returns:
            n SQL conditions on its rows; if none holds for any row, all rows can be copied. ``None``: each row has
            to be checked in Python.
        """
        examples = staged.examples().rows
        try:
            if self.fitted(examples) is examples:
                return []
        except RowRefusedError:
            pass  # other rows may still fit
        conditions: list[str] = []
        for place, column in self._watched:
            if column.rule == "inferred" or staged.kinds[place] <= column.plain:
                continue
            if column.rule == "declared":
                return None
            conditions += changes(f"c{place}", column.affinity)
        return conditions

    def run_from(
        self,
        conn: sqlite3.Connection,
        source: str,
        first: int,
        last: int,
        *,
        is_all: bool,
        owned: tuple[str, int] | None = None,
    ) -> None:
        """Insert rows of another table, which has the columns of this shape, in the same order.

        Args:
            conn: The writer's connection.
            source: That table, quoted.
            first: The number of the first row to insert.
            last: The number of the last row to insert.
            is_all: These are all of its rows, so SQLite may copy them undecoded if the tables are alike.
            owned: An additional column, and its value in all of these rows.

        Raises:
            sqlite3.Error: As raised by SQLite.

        Source: https://www.sqlite.org/lang_insert.html
        """
        shape, columns = self.shape, self.table.columns
        if owned is not None:
            rows = f"SELECT *, ? FROM {source} WHERE rowid BETWEEN ? AND ?"
            wide = shape._replace(columns=(*shape.columns, owned[0]))
            conn.execute(_insert_sql(wide, rows), (owned[1], first, last))
            return
        is_alike = list(self._folded) == list(columns) and not any(c.is_generated for c in columns.values())
        if is_all and is_alike and shape.on_conflict == "error":
            conn.execute(f"INSERT INTO {quoted(shape.table)} SELECT * FROM {source}")
        else:
            rows = f"SELECT * FROM {source} WHERE rowid BETWEEN ? AND ?"
            conn.execute(_insert_sql(shape, rows), (first, last))

    def fitted(self, rows: list[Row], *, is_text: bool = False) -> list[Row]:
        """Return n rows with their values converted for the table's columns.

        Args:
            rows: n rows of storable values.
            is_text: All values are known to be text or NULL.

        Raises:
            RowRefusedError: A value does not fit its column.
        """
        if self._version != self.table.version:
            self._version = self.table.version
            self._watched = self.table.watched(self.shape.columns)
            self._plain = [(place, column.plain) for place, column in self._watched]
            self._not_for_text = [pair for pair in self._watched if not pair[1].plain >= TEXT_OR_NULL]
        watched = self._not_for_text if is_text else self._watched
        if not watched or (len(rows) < _FEW and self._are_plain(rows)):
            return rows
        return self.table.fitted(watched, rows)

    def _are_plain(self, rows: Sequence[Row]) -> bool:
        for row in rows:
            for place, types in self._plain:
                if type(row[place]) not in types:
                    return False
        return True

    # --- rows of several shapes in one statement ---

    def joined(self, other: Insert) -> Shape | None:
        """Return a shape with the columns of both; ``None`` if NULL and an omitted column differ for either."""
        if not self._may_share(other):
            return None
        theirs = zip(other.shape.columns, other._folded, strict=True)
        columns = (*self.shape.columns, *(name for name, folded in theirs if folded not in self._folded))
        return self.shape._replace(columns=columns) if 1 < len(columns) <= _WIDEST else None

    def padding(self, wide: Insert) -> Callable[[Row], Row] | None:
        """Return a function that pads a row of this shape to a wider shape; ``None`` if that lacks a column."""
        if (way := self._ways.get(wide)) is None:
            if not self._may_share(wide) or not set(self._folded) <= set(wide._folded):
                return None
            places = {folded: place for place, folded in enumerate(self._folded)}
            if len(wide._folded) == 1:  # the same column in another case; itemgetter would return a bare value
                way = self._ways[wide] = tuple
            else:
                pick = itemgetter(*(places.get(folded, -1) for folded in wide._folded))
                way = self._ways[wide] = lambda row: pick((*row, None))
        return way

    def _may_share(self, other: Insert) -> bool:
        one, two = self.shape, other.shape
        return (
            self._may_be_padded
            and other._may_be_padded
            and (one.on_conflict, one.conflict_on) == (two.on_conflict, two.conflict_on)
        )

    # --- SQL ---

    def _statement(self, count: int) -> str:
        if (sql := self._statements.get(count)) is None:
            row = "(" + ", ".join("?" * len(self.shape.columns)) + ")"
            sql = self._statements[count] = _insert_sql(self.shape, f"VALUES {', '.join([row] * count)}")
        return sql


def _insert_sql(shape: Shape, rows: str) -> str:
    names = ", ".join(quoted(name, "column") for name in shape.columns)
    sql = f"INSERT INTO {quoted(shape.table)} ({names}) {rows}"
    if shape.on_conflict == "error":
        return sql
    target = f" ({', '.join(quoted(name, 'column') for name in shape.conflict_on)})" if shape.conflict_on else ""
    others = [name for name in shape.columns if name not in shape.conflict_on]
    if shape.on_conflict == "ignore" or not others:
        return f"{sql} ON CONFLICT{target} DO NOTHING"
    updates = ", ".join(f"{quoted(name, 'column')} = excluded.{quoted(name, 'column')}" for name in others)
    return f"{sql} ON CONFLICT{target} DO UPDATE SET {updates}"
