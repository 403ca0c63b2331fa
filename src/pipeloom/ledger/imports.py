"""Import rows from images: the writer loads them into one schema that stays attached to its connection.

Users' SQL could read that schema, so its tables have reserved names, and it is empty except while rows are taken
from it.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from functools import lru_cache
from typing import Final

from pipeloom.data.image import CAN_STAGE, Buffer, Image, Stretch, damaged, staged_name
from pipeloom.db.failures import is_damage
from pipeloom.errors import RowRefusedError
from pipeloom.ledger.guard import STAGED, Guard
from pipeloom.ledger.inserts import Insert

__all__ = ["Imports"]

_AT_ONCE: Final = 100  # conditions: SQLite accepts no expression as deep as a thousand
_COOKIE: Final = slice(40, 44)
"""Where a database stores its schema version. Source: https://www.sqlite.org/fileformat.html#schema_cookie"""


class Imports:
    """Read images; the writer's thread, inside its transaction.

    Args:
        conn: The writer's connection, in no transaction.
        guard: The authorizer; rows from an image are users' rows.

    Attributes:
        can: This SQLite supports it for this file; attached databases must have the main database's encoding.
    """

    def __init__(self, conn: sqlite3.Connection, guard: Guard) -> None:
        self._conn = conn
        self._guard = guard
        self._loaded: Image | None = None
        self._count = 0
        ((encoding,),) = conn.execute("PRAGMA encoding").fetchall()
        self.can = CAN_STAGE and encoding == "UTF-8"
        if self.can:
            conn.execute(f"ATTACH ':memory:' AS {STAGED}")

    def has(self, stretch: Stretch, conditions: Sequence[str]) -> bool:
        """Return whether any of n conditions holds for a row of an image, which stays loaded.

        Raises:
            RowRefusedError: The image is damaged.
        """
        table = f"{STAGED}.{staged_name(stretch.place)}"
        for begin in range(0, len(conditions), _AT_ONCE):
            found = " OR ".join(f"({condition})" for condition in conditions[begin : begin + _AT_ONCE])
            sql = f"SELECT 1 FROM {table} WHERE rowid BETWEEN ? AND ? AND ({found}) LIMIT 1"
            with self._loaded_for(stretch.image):
                if self._conn.execute(sql, (stretch.first, stretch.last)).fetchone() is not None:
                    return True
        return False

    def take(self, stretch: Stretch, insert: Insert, owned: tuple[str, int] | None) -> None:
        """Insert rows of an image, which stays loaded: more of its rows may follow.

        Args:
            stretch: Which rows.
            insert: How they are stored.
            owned: An additional column, and its value in all of these rows.

        Raises:
            RowRefusedError: The image is damaged.
            sqlite3.Error: As raised by SQLite.
        """
        image, place, first, last = stretch
        is_all = first == 1 and last == stretch.table.rows
        with self._loaded_for(image), self._guard.users_sql():
            insert.run_from(self._conn, f"{STAGED}.{staged_name(place)}", first, last, is_all=is_all, owned=owned)

    def clear(self) -> None:
        """Release the image that is loaded."""
        if self._loaded is not None:
            self._loaded = None
            self._deserialize(_empty())

    @contextmanager
    def _loaded_for(self, image: Image) -> Iterator[None]:
        """Load an image to read from it in this context; an error from a damaged image is reported as such."""
        try:
            self._load(image)
            yield
        except RowRefusedError:
            self._deserialize(_empty())
            raise
        except sqlite3.DatabaseError as error:
            if is_damage(error) and not image.is_sound():  # otherwise the file itself is damaged
                raise damaged() from error
            raise

    def _load(self, image: Image) -> None:
        if self._loaded is not image:
            image.check()
            self._loaded = None
            self._deserialize(image.data)
            image.check_schema(self._conn, STAGED)
            self._loaded = image

    def _deserialize(self, data: Buffer) -> None:
        """Replace the schema by a database.

        Each database gets its own schema version, by which SQLite recognises a statement that was prepared for
        another one. Otherwise the statement would look for rows where the other database had them, and find none.
        """
        self._count += 1
        numbered = bytearray(data)
        numbered[_COOKIE] = self._count.to_bytes(4, "big")
        self._conn.deserialize(numbered, name=STAGED)


@lru_cache(maxsize=1)
def _empty() -> bytes:
    """Return an empty database; one that never held a table cannot be serialized."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as conn:
        conn.execute("CREATE TABLE t (x)")
        conn.execute("DROP TABLE t")
        return conn.serialize()
