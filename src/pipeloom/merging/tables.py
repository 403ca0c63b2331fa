"""Merge users' tables: create them as in the first file, and copy rows inside SQLite."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

from pipeloom.data.identifiers import ascii_lower, is_reserved, quoted
from pipeloom.data.text import clean
from pipeloom.db.retype import GENERATED, INFERRED, inferred_columns, retype
from pipeloom.errors import RowRefusedError, SchemaError
from pipeloom.ledger.owning import OWNER, known_tables
from pipeloom.merging.conflicts import clash_of, insert_others
from pipeloom.merging.objects import Objects, make
from pipeloom.merging.source import PART, Source

__all__ = ["UserTables"]


@dataclass(frozen=True)
class _Table:
    """A table in one file.

    Attributes:
        name: Its name, as spelled in that file.
        sql: The statement that created it.
        is_strict: It is a STRICT table.
        has_rowid: Its rows have a rowid.
        columns: Folded name → (name, type, NOT NULL, default, place in the primary key, hidden).
    """

    name: str
    sql: str
    is_strict: bool
    has_rowid: bool
    columns: Mapping[str, tuple[str, str, int, str | None, int, int]]

    @cached_property
    def stored(self) -> list[str]:
        """Its columns, except generated ones."""
        return [folded for folded, column in self.columns.items() if column[5] not in GENERATED]

    @cached_property
    def number(self) -> str | None:
        """The column that is an alias of the rowid (INTEGER PRIMARY KEY), or ``None``."""
        keys = [folded for folded, column in self.columns.items() if column[4]]
        if self.has_rowid and len(keys) == 1 and ascii_lower(self.columns[keys[0]][1]) == "integer":
            return keys[0]
        return None


class UserTables:
    """The users' tables of the merged file; each call is inside a transaction, in the connection's thread.

    Args:
        conn: The merged file's connection.
        where: The merged file, as shown to the user.
        renumber: Folded names of the tables whose rows get new numbers.

    Attributes:
        origins: Folded name → the file that a table came from, as shown to the user.
    """

    def __init__(self, conn: sqlite3.Connection, where: str, renumber: Collection[str]) -> None:
        self._conn = conn
        self._renumber = renumber
        self._objects = Objects(conn, where)
        self.origins = {ascii_lower(table.name): where for table in _tables(conn, "main", where)}

    def copy(self, source: Source, tasks: int) -> int:
        """Copy the tables of the attached file, after its ledger.

        Args:
            source: That file.
            tasks: The offset of its task numbers, which its rows may store.

        Returns:
            The number of rows copied.

        Raises:
            SchemaError: A table differs from the one of that name here.
            Clash: A row conflicts with another one.
            RowRefusedError: A row is refused for another reason.
        """
        conn = self._conn
        self._objects.gather(source.shown)
        theirs = {ascii_lower(table.name): table for table in _tables(conn, PART, source.shown)}
        here = {ascii_lower(table.name): table for table in _tables(conn, "main", source.shown)}
        added = {
            folded: (table.number, _moved_by(conn, table, folded in here))
            for folded, table in theirs.items()
            if folded in self._renumber
        }
        owned = {ascii_lower(name) for schema in ("main", PART) for name in known_tables(conn, schema)}
        rows = 0
        for folded, table in theirs.items():
            known = here.get(folded)
            if known is None:
                make(conn, "table", table.name, table.sql, source.shown)
                self._objects.make_unique(table.name)
                self.origins[folded] = source.shown
            else:
                _fit(conn, known, table, source.shown, self.origins[folded])
            moves = _moves(conn, table, added)
            owner = OWNER if folded in owned and OWNER in table.columns else None
            if owner and tasks:
                moves[owner] = tasks
            rows += _copied(conn, table, known or table, moves, source.shown, owner)
            _keep_sequence(conn, table, added.get(folded, (None, 0))[1])
        return rows

    def finish(self) -> None:
        """Create indexes, views and triggers, now that all rows are copied."""
        self._objects.make()


def _tables(conn: sqlite3.Connection, schema: str, where: str) -> Iterator[_Table]:
    listed = conn.execute(f"PRAGMA {schema}.table_list").fetchall()
    kinds = {
        name: (kind, without_rowid, strict) for of, name, kind, _, without_rowid, strict in listed if of == schema
    }
    for name, sql in conn.execute(
        f"SELECT name, sql FROM {schema}.sqlite_master WHERE type = 'table' ORDER BY rowid"
    ).fetchall():
        if is_reserved(name):
            continue
        kind, without_rowid, strict = kinds[name]
        if kind != "table" and schema == PART:
            raise SchemaError(
                f"{where}: {clean(name, 60)} is a {kind} table, which cannot be merged: drop it there, merge, "
                "and create it again"
            )
        if kind == "table":  # other kinds in the merged file stay as they are
            seen = conn.execute(f"PRAGMA {schema}.table_xinfo({quoted(name)})").fetchall()
            columns = {ascii_lower(row[1]): tuple(row[1:]) for row in seen}
            yield _Table(name, sql, bool(strict), not without_rowid, columns)


# --- comparing tables ---


def _fit(conn: sqlite3.Connection, known: _Table, table: _Table, where: str, before: str) -> None:
    """Refuse a table that differs from the one here; drop the types of columns that were inferred differently."""
    inferred = [inferred_columns(each.sql) if INFERRED in each.sql else {} for each in (known, table)]
    loose: dict[str, str] = {}
    for folded in dict.fromkeys([*known.columns, *table.columns]):
        mine, yours = known.columns.get(folded), table.columns.get(folded)
        if mine is None or yours is None:
            lacking, having = (before, where) if mine is None else (where, before)
            (name, *_) = mine or yours or ("",)
            raise SchemaError(
                f"the table {clean(table.name, 60)} has a column {clean(name, 60)} in {having}, but not in "
                f"{lacking}: add it there (ALTER TABLE … ADD COLUMN), and merge again"
            )
        if _kind(mine) == _kind(yours):
            continue
        if folded not in inferred[0] or folded not in inferred[1]:
            raise SchemaError(
                f"the column {clean(yours[0], 60)} of the table {clean(table.name, 60)} is {_in_words(yours)} in "
                f"{where}, but {_in_words(mine)} in {before}: make them the same, and merge again"
            )
        loose[folded] = "ANY" if known.is_strict else ""
    if loose:
        retype(conn, known.name, loose)


def _kind(column: tuple[str, str, int, str | None, int, int]) -> tuple[object, ...]:
    return ascii_lower(column[1]), *column[2:]


def _in_words(column: tuple[str, str, int, str | None, int, int]) -> str:
    _, kind, not_null, default, key, hidden = column
    words = [
        clean(kind, 40) or "untyped",
        "NOT NULL" if not_null else "",
        f"DEFAULT {clean(default, 40)}" if default is not None else "",
        "PRIMARY KEY" if key else "",
        "GENERATED" if hidden in GENERATED else "",
    ]
    return " ".join(filter(None, words))


# --- new numbers ---


def _moved_by(conn: sqlite3.Connection, table: _Table, is_here: bool) -> int:
    """Return the offset for the numbers of a table's rows, so that they follow those that are here."""
    if table.number is None:
        raise SchemaError(
            f"the table {clean(table.name, 60)} has no INTEGER PRIMARY KEY, so its rows cannot get new numbers"
        )
    name, column = quoted(table.name), quoted(table.number, "column")
    ((highest,),) = conn.execute(f"SELECT MAX({column}) FROM main.{name}").fetchall() if is_here else [(None,)]
    ((lowest,),) = conn.execute(f"SELECT MIN({column}) FROM {PART}.{name}").fetchall()
    return 0 if highest is None or lowest is None else highest + 1 - lowest


def _moves(conn: sqlite3.Connection, table: _Table, added: Mapping[str, tuple[str | None, int]]) -> dict[str, int]:
    """Return folded column → offset, for a row number and for foreign keys that refer to one.

    Args:
        conn: A connection in the transaction.
        table: The table.
        added: Folded name of a table → the column with its row number, and its offset.
    """
    moves: dict[str, int] = {}
    if ascii_lower(table.name) in added and table.number is not None:
        moves[table.number] = added[ascii_lower(table.name)][1]
    for _, _, parent, column, to, *_ in conn.execute(f"PRAGMA {PART}.foreign_key_list({quoted(table.name)})"):
        number, more = added.get(ascii_lower(parent), (None, 0))
        if to is None or ascii_lower(to) == number:  # without a column it refers to the primary key
            moves[ascii_lower(column)] = more
    return {column: more for column, more in moves.items() if more}


def _keep_sequence(conn: sqlite3.Connection, table: _Table, added: int) -> None:
    """Make AUTOINCREMENT continue after all numbers that were ever allocated."""
    for schema in ("main", PART):
        if conn.execute(f"SELECT 1 FROM {schema}.sqlite_master WHERE name = 'sqlite_sequence'").fetchone() is None:
            return
    for (last,) in conn.execute(f"SELECT seq FROM {PART}.sqlite_sequence WHERE name = ?", (table.name,)).fetchall():
        changed = conn.execute(
            "UPDATE main.sqlite_sequence SET seq = MAX(seq, ?) WHERE name = ? COLLATE NOCASE",
            (last + added, table.name),
        )
        if not changed.rowcount:
            conn.execute("INSERT INTO main.sqlite_sequence VALUES (?, ?)", (table.name, last + added))


# --- rows ---


def _copied(
    conn: sqlite3.Connection, table: _Table, known: _Table, moves: Mapping[str, int], where: str, owner: str | None
) -> int:
    """Copy rows, and return how many.

    Args:
        conn: A connection in the transaction.
        table: The table in the attached file.
        known: The table here.
        moves: Folded column → offset.
        where: The attached file, as shown to the user.
        owner: The column with a row's task: rows that differ only in it are the same row.
    """
    values = {folded: f"theirs.{quoted(folded, 'column')}" for folded in table.stored}
    values |= {folded: f"{values[folded]} + {more}" for folded, more in moves.items()}
    name = quoted(table.name)
    if list(table.columns) == list(known.columns) == table.stored and not moves:
        # In this form SQLite can copy whole records without decoding them.
        # Source: https://sqlite.org/src/file/src/insert.c (xferOptimization)
        insert = f"INSERT INTO main.{name} SELECT * FROM {PART}.{name}"
    else:
        columns = ", ".join(quoted(folded, "column") for folded in values)
        insert = (
            f"INSERT INTO main.{name} ({columns}) SELECT {', '.join(values.values())} FROM {PART}.{name} AS theirs"
        )
    try:
        return conn.execute(insert).rowcount
    except sqlite3.IntegrityError as error:
        # If SQLite chose the row numbers, they do not show whether two rows are the same.
        rows = insert_others(conn, known.name, values, but=owner) if table.number is None else None
        if rows is not None:
            return rows
        clash = clash_of(conn, error, known.name, values, number=table.number, but=owner)
        if clash is not None:
            raise clash from error
        raise RowRefusedError(
            f"{where}: a row of the table {clean(table.name, 60)} cannot be added to the others: "
            f"{clean(error, 200)}"
        ) from error
