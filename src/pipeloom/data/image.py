"""Rows as a small SQLite database in memory: a worker builds it with SQL, and the writer reads it with SQL.

The bytes are trusted if their checksum is right and their schema is exactly the one sent beside them: only plain
tables of rows are ever read, and nothing in the bytes is executed.

Each column is typed by its values, so that a type never changes a value. The description sent beside the bytes
tells the writer which types of values occur, so it need not look at a row.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from itertools import chain, zip_longest
from typing import Any, Final, NamedTuple, TypeAlias
from zlib import crc32

from pipeloom.data.rows import Block, Shape
from pipeloom.errors import RowRefusedError

__all__ = [
    "CAN_STAGE",
    "COMMON_KINDS",
    "Buffer",
    "Image",
    "StagedTable",
    "Stretch",
    "kinds_in",
    "plain_shape",
    "shape_from",
    "staged_name",
]

CAN_STAGE: Final = hasattr(sqlite3.Connection, "serialize")
"""Whether this build of Python and SQLite supports images."""

Buffer: TypeAlias = bytes | bytearray | memoryview

_HANDFUL: Final = 1024  # rows read back at a time
_NULL: Final = type(None)
_LETTERS: Final[dict[type, str]] = {_NULL: "n", int: "i", float: "f", str: "s", bytes: "b"}
_KINDS: Final = {letter: kind for kind, letter in _LETTERS.items()}
_EXAMPLES: Final[dict[type, object]] = {int: 0, float: 0.0, str: "", bytes: b""}
COMMON_KINDS: Final[dict[type, str]] = {int: "INTEGER", float: "REAL", str: "TEXT", bytes: "BLOB"}
"""Type of a value → SQL type of a column in which all values are of that type."""


def staged_name(place: int) -> str:
    """Return the name of an image's table: no user table has such a name, since users' SQL could see it."""
    return f"pipeloom_staged_{place}"


def plain_shape(shape: Shape) -> tuple[object, ...]:
    """Return a shape as built-in types: a name may be a member of an Enum."""
    table, columns, on_conflict, conflict_on, alter = shape
    return _exact(table), tuple(map(_exact, columns)), _exact(on_conflict), tuple(map(_exact, conflict_on)), alter


def shape_from(plain: Any) -> Shape:
    """Return the shape that ``plain_shape`` described, in this process or another one."""
    table, columns, on_conflict, conflict_on, alter = plain
    return Shape(table, tuple(columns), on_conflict, tuple(conflict_on), alter)


def _exact(name: str) -> str:
    return str.__str__(name)


def kinds_in(rows: Sequence[Sequence[object]]) -> list[set[type]]:
    """Return the types of the values in each column of n rows, at least 1."""
    together = set(map(type, chain.from_iterable(rows)))
    if len(together) == 1:  # as in most files
        return [together.copy() for _ in rows[0]]
    return [set(map(type, values)) for values in zip(*rows, strict=True)]


class StagedTable:
    """One table of an image.

    Args:
        shape: Where its rows are to be stored.
        types: The SQL type of each column; ``""`` for none.

    Attributes:
        kinds: For each column, the types of its values.
        rows: How many rows it has; they are numbered from 1.
    """

    __slots__ = ("kinds", "rows", "shape", "types")

    def __init__(self, shape: Shape, types: tuple[str, ...]) -> None:
        self.shape = shape
        self.types = types
        self.kinds: list[set[type]] = [set() for _ in types]
        self.rows = 0

    def definition(self, place: int) -> str:
        """Return the statement that creates it."""
        columns = ", ".join(f"c{number} {kind}".rstrip() for number, kind in enumerate(self.types))
        return f"CREATE TABLE {staged_name(place)} ({columns})"

    def examples(self) -> Block:
        """Return a few rows in which each column has one value of each type that it contains."""
        columns = [[example for kind, example in _EXAMPLES.items() if kind in found] for found in self.kinds]
        rows = list(zip_longest(*columns))
        return Block(self.shape, rows or [(None,) * len(columns)])

    def plain(self) -> tuple[object, ...]:
        """Return its description as built-in types; see ``from_plain``."""
        letters = ["".join(sorted(_LETTERS[kind] for kind in found)) for found in self.kinds]
        return plain_shape(self.shape), self.types, letters, self.rows

    @classmethod
    def from_plain(cls, plain: Any) -> StagedTable:
        """Return the table that ``plain`` described, in this process or another one."""
        shape, types, letters, rows = plain
        table = cls(shape_from(shape), tuple(types))
        table.kinds = [{_KINDS[letter] for letter in found} for found in letters]
        table.rows = rows
        return table


class Image:
    """n tables of rows.

    Attributes:
        data: The database's bytes; empty while rows are still being added.
        tables: Its tables.
    """

    __slots__ = ("_checksum", "data", "tables")

    def __init__(self) -> None:
        self.data: Buffer = b""
        self.tables: list[StagedTable] = []
        self._checksum = 0

    def seal(self, data: bytes) -> None:
        """Set the bytes, which do not change afterwards."""
        self.data = data
        self._checksum = crc32(data)

    def plain(self) -> tuple[object, ...]:
        """Return the description that is sent beside the bytes, as built-in types; see ``from_plain``."""
        return [table.plain() for table in self.tables], self._checksum

    @classmethod
    def from_plain(cls, plain: Any, data: Buffer) -> Image:
        """Return the image that ``plain`` described, in this process or another one.

        Args:
            plain: What ``plain`` returned.
            data: The bytes.
        """
        image = cls()
        tables, image._checksum = plain
        image.tables = [StagedTable.from_plain(table) for table in tables]
        image.data = data
        return image

    def check(self) -> None:
        """Check that the bytes are those that were sealed.

        Raises:
            RowRefusedError: They are not.
        """
        if crc32(self.data) != self._checksum:
            raise damaged()

    def check_schema(self, conn: sqlite3.Connection, schema: str) -> None:
        """Check that a database made of the bytes has these tables and nothing else.

        Raises:
            RowRefusedError: It contains something else, or is not a database.
        """
        try:
            found = conn.execute(f"SELECT type, name, tbl_name, sql FROM {schema}.sqlite_master").fetchall()
        except sqlite3.DatabaseError as error:
            raise damaged() from error
        names = [staged_name(place) for place in range(len(self.tables))]
        sound = [
            ("table", name, name, table.definition(place))
            for place, (name, table) in enumerate(zip(names, self.tables, strict=True))
        ]
        if found != sound:
            raise damaged()

    def is_sound(self) -> bool:
        """Return whether all of it can be read; takes as long as reading it."""
        try:
            with closing(self._opened()) as conn:
                return conn.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        except (sqlite3.Error, RowRefusedError):
            return False

    def blocks(self, place: int, first: int, last: int) -> Iterator[Block]:
        """Read rows back as they were, a few at a time.

        Args:
            place: The number of the table, from 0.
            first: The number of the first row, from 1.
            last: The number of the last row.

        Raises:
            RowRefusedError: The image is damaged.
        """
        shape = self.tables[place].shape
        sql = f"SELECT * FROM {staged_name(place)} WHERE rowid BETWEEN ? AND ? ORDER BY rowid"
        try:
            with closing(self._opened()) as conn:
                cursor = conn.execute(sql, (first, last))
                while rows := cursor.fetchmany(_HANDFUL):
                    yield Block(shape, rows)
        except sqlite3.DatabaseError as error:
            raise damaged() from error

    def _opened(self) -> sqlite3.Connection:
        self.check()
        conn = sqlite3.connect(":memory:", isolation_level=None)
        try:
            conn.deserialize(self.data)
            self.check_schema(conn, "main")
        except BaseException:
            conn.close()
            raise
        return conn


class Stretch(NamedTuple):
    """Consecutive rows of one table of an image."""

    image: Image
    place: int
    """The number of the table."""
    first: int
    last: int

    @property
    def rows(self) -> int:
        """The number of rows."""
        return self.last - self.first + 1

    @property
    def table(self) -> StagedTable:
        """The table that contains the rows."""
        return self.image.tables[self.place]

    def part(self, begin: int, end: int) -> Stretch:
        """Return the rows between two positions in this stretch, counted from 0."""
        return self._replace(first=self.first + begin, last=self.first + end - 1)

    def joined(self, following: Stretch) -> Stretch | None:
        """Return these rows and ``following`` as one stretch; ``None`` if they are not adjacent."""
        is_one = (
            following.image is self.image and following.place == self.place and following.first == self.last + 1
        )
        return self._replace(last=following.last) if is_one else None

    def blocks(self) -> Iterator[Block]:
        """Read the rows back; see :meth:`Image.blocks`."""
        return self.image.blocks(self.place, self.first, self.last)


def damaged() -> RowRefusedError:
    """Return the error for an image that is not the one that was made."""
    return RowRefusedError("the task's output was damaged on its way to the file: none of it was stored")
