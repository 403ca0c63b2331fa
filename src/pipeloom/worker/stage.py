"""Stages a task's rows, once there are more than a few, in a private in-memory database that becomes an image.

SQLite needs a tenth of the memory that Python would, and the writer stores an image without handling single rows.
"""

from __future__ import annotations

import sqlite3
from itertools import chain
from operator import itemgetter
from typing import Final

from pipeloom.data.columns import Row, Watched, declared_columns, fit_declared
from pipeloom.data.flat import Flat, Plans, flattened, has_minus_zero
from pipeloom.data.image import COMMON_KINDS, Image, StagedTable, Stretch, kinds_in, staged_name
from pipeloom.data.rows import Block, Shape

__all__ = ["Stage"]

_HANDFUL: Final = 256  # rows: each is read several times while it is in the processor's cache
_VARIABLES: Final = 32_000  # in one statement
_SIZES: Final = (256, 16)  # rows in one statement; large, since each statement releases the interpreter lock
_LAYOUTS: Final = 8  # typed tables for one shape; beyond that, one table without types takes all rows
_PAGE: Final = 4096
_NULL: Final = type(None)


class Stage:
    """An image under construction; one thread at a time.

    Args:
        plans: How rows are converted before they are staged.
    """

    size = 0

    def __init__(self, plans: Plans) -> None:
        self.image = Image()
        self._plans = plans
        self._conn = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
        # Nothing is rolled back here: a value that cannot be bound has changed nothing, and surplus rows are cut
        # off. This saves two fifths of the time.
        self._conn.execute("PRAGMA journal_mode = OFF")
        self._is_doubtful = False
        self._limit = min(self._conn.getlimit(sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER), _VARIABLES)
        self._watched: dict[Shape, list[Watched]] = {}  # for rows that cannot be flattened
        self._current: dict[Shape, _Layout] = {}
        self._layouts: dict[tuple[Shape, tuple[str | None, ...]], _Layout] = {}

    def __del__(self) -> None:
        # No earlier: a call that was given up may still be writing, in its own thread.
        if hasattr(self, "_conn"):
            self._conn.close()

    def put(self, block: Block) -> tuple[list[Stretch], Block | None]:
        """Add rows, and set ``size`` to the memory used, in bytes.

        Returns:
            Where the rows are, and the rows that SQLite does not accept here; the writer reports why.
        """
        stretches: list[Stretch] = []
        for begin in range(0, len(block.rows), _HANDFUL):
            some = block.rows[begin : begin + _HANDFUL] if len(block.rows) > _HANDFUL else block.rows
            try:
                stretch = self._put(block.shape, some)
            except (sqlite3.Error, OverflowError, UnicodeEncodeError):
                return stretches, Block(block.shape, block.rows[begin:], block.is_text)
            stretches.append(stretch)
        self._measure()
        return stretches, None

    def put_flat(self, shape: Shape, flat: Flat) -> Stretch | None:
        """Add rows of text; return ``None`` if SQLite does not accept them. See ``put``."""
        try:
            stretch = self._insert(shape, flat, set())
        except (sqlite3.Error, OverflowError, UnicodeEncodeError):
            return None
        self._measure()
        return stretch

    def _measure(self) -> None:
        ((pages,),) = self._conn.execute("PRAGMA page_count").fetchall()
        self.size = pages * _PAGE

    def seal(self) -> Image:
        """Turn the database into bytes; nothing can be added afterwards.

        Raises:
            MemoryError: Out of memory now, or earlier while adding a row.
        """
        if self._is_doubtful and self._conn.execute("PRAGMA integrity_check").fetchall() != [("ok",)]:
            raise MemoryError("out of memory while staging a task's rows")
        self.image.seal(self._conn.serialize())
        self._conn.close()
        return self.image

    def _put(self, shape: Shape, rows: list[Row]) -> Stretch:
        if (flat := flattened(rows, self._plans[shape])) is not None:
            return self._insert(shape, flat, set())
        watched = self._watched.get(shape)
        if watched is None:
            watched = self._watched[shape] = declared_columns(self._plans.declared, shape)
        rows, kinds = fit_declared(watched, rows, kinds_in(rows))
        signed = {
            place
            for place, found in enumerate(kinds)
            if float in found and has_minus_zero(list(map(itemgetter(place), rows)))
        }
        return self._insert(shape, Flat(list(chain.from_iterable(rows)), kinds, len(rows)), signed)

    def _insert(self, shape: Shape, flat: Flat, signed: set[int]) -> Stretch:
        values, kinds, count = flat
        layout = self._current.get(shape)
        if layout is None or not layout.takes(kinds, signed):
            layout = self._current[shape] = self._layout_for(shape, kinds, signed, layout)
        table = layout.table
        try:
            layout.insert(self._conn, values, count)
        except BaseException:
            self._is_doubtful = True  # without a journal, its state depends on where it was interrupted
            layout.cut(self._conn, table.rows)
            raise
        table.kinds = [known | found for known, found in zip(table.kinds, kinds, strict=True)]
        first = table.rows + 1
        table.rows += count
        return Stretch(self.image, layout.place, first, table.rows)

    def _layout_for(
        self, shape: Shape, kinds: list[set[type]], signed: set[int], before: _Layout | None
    ) -> _Layout:
        """Return a table for such values; a column with only NULLs keeps the type it had in the table before."""
        if sum(1 for known, _ in self._layouts if known == shape) >= _LAYOUTS:
            types: tuple[str | None, ...] = ("",) * len(kinds)
        else:
            known = [None] * len(kinds) if before is None else before.types
            types = tuple(
                "" if place in signed else kind if found == {_NULL} else _type_for(found)
                for place, (found, kind) in enumerate(zip(kinds, known, strict=True))
            )
        layout = self._layouts.get((shape, types))
        if layout is None:
            table, place = StagedTable(shape, tuple(kind or "" for kind in types)), len(self.image.tables)
            self._conn.execute(table.definition(place))
            self.image.tables.append(table)
            layout = self._layouts[shape, types] = _Layout(table, place, types, self._limit)
        return layout


class _Layout:
    """A table for rows of one shape and of certain types.

    Args:
        table: Its description in the image.
        place: Its position in the image.
        types: The SQL type of each column; ``""`` if it takes all values, ``None`` if it contains only NULL.
        limit: How many variables SQLite accepts in one statement.
    """

    __slots__ = ("_plain", "_sizes", "_statements", "place", "table", "types")

    def __init__(self, table: StagedTable, place: int, types: tuple[str | None, ...], limit: int) -> None:
        self.table = table
        self.place = place
        self.types = types
        kinds: dict[str | None, set[type]] = {sql: {kind, _NULL} for kind, sql in COMMON_KINDS.items()}
        self._plain = [(kinds | {None: {_NULL}}).get(kind) for kind in types]
        self._statements: dict[int, str] = {}
        self._sizes = [size for size in _SIZES if size * len(types) <= limit] or [1]

    def takes(self, kinds: list[set[type]], signed: set[int]) -> bool:
        """Return whether values of these types are stored unchanged here; ``signed`` columns must have no type."""
        if any(self.types[place] for place in signed):
            return False
        return all(plain is None or found <= plain for plain, found in zip(self._plain, kinds, strict=True))

    def insert(self, conn: sqlite3.Connection, values: list[object], count: int) -> None:
        """Insert the values of n rows with a few large statements, since each releases the interpreter lock.

        Statements come in few sizes, so that prepared ones can be reused: preparing one takes as long as running
        it. The last one is padded.
        """
        begin, width = 0, len(self.table.types)
        for size in self._sizes:
            while count - begin > size // 2 or (size == self._sizes[-1] and begin < count):
                some = values[begin * width : (begin + size) * width]
                some += [None] * (size * width - len(some))
                conn.execute(self._statement(size), some)
                begin += size
        if begin > count:
            self.cut(conn, self.table.rows + count)

    def cut(self, conn: sqlite3.Connection, count: int) -> None:
        """Keep only the first ``count`` rows."""
        conn.execute(f"DELETE FROM {staged_name(self.place)} WHERE rowid > ?", (count,))

    def _statement(self, size: int) -> str:
        if (sql := self._statements.get(size)) is None:
            row = "(" + ", ".join("?" * len(self.table.types)) + ")"
            sql = f"INSERT INTO {staged_name(self.place)} VALUES {', '.join([row] * size)}"
            self._statements[size] = sql
        return sql


def _type_for(kinds: set[type]) -> str:
    found = kinds - {_NULL}
    return COMMON_KINDS[found.pop()] if len(found) == 1 else ""
