"""Rows that collide with others: an identical row is stored once; a different one is an error."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeloom.data.identifiers import ascii_lower, quoted
from pipeloom.data.text import clean
from pipeloom.db.connection import connect_readonly
from pipeloom.merging.source import PART

__all__ = ["Clash", "clash_of", "in_words", "insert_others", "is_in"]


@dataclass(eq=False)
class Clash(Exception):  # noqa: N818 - it becomes an error of ours once the files are known
    """Two rows of a table that a UNIQUE constraint does not allow together.

    Attributes:
        table: Its name.
        columns: The columns that must be unique.
        values: The values of both rows in these columns.
        is_number: The column is SQLite's own row number.
    """

    table: str
    columns: tuple[str, ...]
    values: tuple[Any, ...]
    is_number: bool

    def sentence(self, one: str, other: str) -> str:
        """Return a sentence that names the two rows and what to do.

        Args:
            one: A file, as shown to the user.
            other: Another one.
        """
        pairs = zip(self.columns, self.values, strict=True)
        what = ", ".join(f"{clean(name, 60)} {in_words(value)}" for name, value in pairs)
        table = clean(self.table, 60)
        said = f"the table {table} has {what} in {one} and in {other}"
        if self.is_number:
            return said + (
                f": if SQLite has chosen these numbers, --renumber {table} (renumber=[{table!r}]) gives the rows "
                "new ones; otherwise change one, or delete it if it is the same row, and merge again"
            )
        return said + ", in rows that differ: change one of them, and merge again"


def in_words(value: object) -> str:
    """Return a value as shown to the user, with text distinguishable from numbers."""
    return repr(clean(value, 80)) if isinstance(value, str) else clean(value, 80)


def insert_others(
    conn: sqlite3.Connection, table: str, values: Mapping[str, str], *, but: str | None
) -> int | None:
    """Copy the rows that are not here yet; returns how many, or ``None`` if one is refused.

    Args:
        conn: In a transaction.
        table: The table's name.
        values: Column → SQL for the value to store, for a row called ``theirs``.
        but: A column that is not compared.
    """
    keys = list(_unique(conn, table))
    if not keys:
        return None
    # First the constraint's own comparison, which uses its index; then an exact one.
    same = [f"mine.{quoted(column, 'column')} IS {values[ascii_lower(column)]}" for column in keys[0]]
    same += [
        f"mine.{quoted(folded, 'column')} IS {value} COLLATE BINARY"
        for folded, value in values.items()
        if folded != but
    ]
    name = quoted(table)
    try:
        return conn.execute(
            f"INSERT INTO main.{name} ({', '.join(quoted(folded, 'column') for folded in values)}) "
            f"SELECT {', '.join(values.values())} FROM {PART}.{name} AS theirs "
            f"WHERE NOT EXISTS (SELECT 1 FROM main.{name} AS mine WHERE {' AND '.join(same)})"
        ).rowcount
    except sqlite3.IntegrityError:
        return None


def clash_of(
    conn: sqlite3.Connection,
    error: sqlite3.IntegrityError,
    table: str,
    values: Mapping[str, str],
    *,
    number: str | None,
    but: str | None,
) -> Clash | None:
    """Return the values that two rows must not share; ``None`` if a row was refused for another reason.

    Args:
        conn: In the open transaction.
        error: SQLite's error.
        table: The table's name.
        values: See :func:`insert_others`.
        number: The column that is SQLite's own row number.
        but: A column in which they may differ.
    """
    failed = str(error).rpartition(": ")[2]
    for columns in _unique(conn, table):
        if failed != ", ".join(f"{table}.{column}" for column in columns):
            continue
        is_number = [ascii_lower(column) for column in columns] == [number]
        there = [values[ascii_lower(column)] for column in columns]
        same = (f"mine.{quoted(column, 'column')} = {value}" for column, value in zip(columns, there, strict=True))
        differs = (
            f"mine.{quoted(folded, 'column')} IS NOT {value} COLLATE BINARY"
            for folded, value in values.items()
            if folded != but
        )
        name = quoted(table)
        found = conn.execute(
            f"SELECT {', '.join(there)} FROM {PART}.{name} AS theirs JOIN main.{name} AS mine "
            f"ON {' AND '.join(same)} WHERE {is_number} OR {' OR '.join(differs)} LIMIT 1"
        ).fetchone()
        if found is not None:
            return Clash(table, tuple(columns), found, is_number)
    return None


def is_in(path: Path, clash: Clash) -> bool:
    """Return whether a file has such a row."""
    where = " AND ".join(f"{quoted(column, 'column')} = ?" for column in clash.columns)
    try:
        with closing(connect_readonly(path, untouched=True)) as conn:
            sql = f"SELECT 1 FROM {quoted(clash.table)} WHERE {where} LIMIT 1"
            return conn.execute(sql, clash.values).fetchone() is not None
    except sqlite3.OperationalError:  # it has no such table
        return False


def _unique(conn: sqlite3.Connection, table: str) -> Iterator[Sequence[str]]:
    """Yield the columns of each UNIQUE constraint and index of a table in the main file."""
    columns = conn.execute(f"PRAGMA main.table_xinfo({quoted(table)})").fetchall()
    keys = [row[1] for row in sorted(columns, key=lambda row: row[5]) if row[5]]
    if keys:
        yield keys
    for _, index, unique, _, _ in conn.execute(f"PRAGMA main.index_list({quoted(table)})").fetchall():
        names = [row[2] for row in conn.execute(f"PRAGMA main.index_info({quoted(index, 'index')})")]
        if unique and all(names) and names != keys:
            yield names
