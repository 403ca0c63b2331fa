"""Where a task's rows go once they are more than a few: a private database in memory, which becomes an image.

SQLite holds them in a tenth of the memory that Python takes, and the writer stores them without touching one.
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

_HANDFUL: Final = 256  # rows: they are gone through several times, in the processor's cache
_VARIABLES: Final = 32_000  # in one statement
_SIZES: Final = (256, 16)  # rows in one statement: a handful is one, since each gives up the interpreter lock
_LAYOUTS: Final = 8  # tables for one shape: past it, one without types takes all
_PAGE: Final = 4096
_NULL: Final = type(None)


class Stage:
    """An image in the making; one thread at a time.

    Args:
        plans: What rows are converted to, before they are staged.
    """

    size = 0

    def __init__(self, plans: Plans) -> None:
        self.image = Image()
        self._plans = plans
        self._conn = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
        # Nothing is rolled back here: what cannot be bound has changed nothing, and rows too many are cut off. That
        # saves two fifths of the time.
        self._conn.execute("PRAGMA journal_mode = OFF")
        self._is_doubtful = False
        self._limit = min(self._conn.getlimit(sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER), _VARIABLES)
        self._watched: dict[Shape, list[Watched]] = {}  # for all others
        self._current: dict[Shape, _Layout] = {}
        self._layouts: dict[tuple[Shape, tuple[str | None, ...]], _Layout] = {}

    def __del__(self) -> None:
        # Only now is no thread in the middle of using it: a call that was given up may still write.
        if hasattr(self, "_conn"):
            self._conn.close()

    def put(self, block: Block) -> tuple[list[Stretch], Block | None]:
        """Add rows.

        ``size`` says afterwards how many bytes of memory it takes.

        Returns:
            Where they are, and those of them that SQLite does not take here: the writer says why.
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
        """Add rows of words; ``None`` when SQLite does not take them. See ``put``."""
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
        """Turn it into bytes; nothing can be added any more.

        Raises:
            MemoryError: There is none left, or was none left for a row.
        """
        if self._is_doubtful and self._conn.execute("PRAGMA integrity_check").fetchall() != [("ok",)]:
            raise MemoryError("no memory was left for the rows of a task")
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
            self._is_doubtful = True  # without a journal, it depends on where it was interrupted
            layout.cut(self._conn, table.rows)
            raise
        table.kinds = [known | found for known, found in zip(table.kinds, kinds, strict=True)]
        first = table.rows + 1
        table.rows += count
        return Stretch(self.image, layout.place, first, table.rows)

    def _layout_for(
        self, shape: Shape, kinds: list[set[type]], signed: set[int], before: _Layout | None
    ) -> _Layout:
        """Return a table for such values; a column with none but NULL has the type of the one before."""
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
        table: What is told of it.
        place: Its place in the image.
        types: For each column its type in SQL; ``""`` for one that takes all, ``None`` for one that has only NULL.
        limit: How many variables SQLite takes in one statement.
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
        """Say whether values of these types stay as they are in here, those of some columns without a type."""
        if any(self.types[place] for place in signed):
            return False
        return all(plain is None or found <= plain for plain, found in zip(self._plain, kinds, strict=True))

    def insert(self, conn: sqlite3.Connection, values: list[object], count: int) -> None:
        """Insert the values of n rows with a few large statements: each step gives up the interpreter lock.

        Of few sizes, so that they are prepared already: that takes as long as a statement. The last one is padded.
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
        """Keep the first so many rows."""
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
