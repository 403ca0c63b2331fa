"""One of the users' tables: its columns, and how they are extended; the writer's thread, inside its transaction."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any, Final

from pipeloom.data.affinity import Affinity, Rule, affinity_of
from pipeloom.data.columns import Column, Row, Watched, fit_rows
from pipeloom.data.identifiers import ascii_lower, quoted
from pipeloom.data.text import clean
from pipeloom.data.values import sql_type
from pipeloom.db.retype import GENERATED, INFERRED, inferred_columns, retype
from pipeloom.errors import RowRefusedError, SchemaError

__all__ = ["UserTable"]

_ROWID: Final = frozenset({"rowid", "oid", "_rowid_"})


class UserTable:
    """One table, view or virtual table.

    Args:
        conn: The writer's connection.
        name: Its name as first used by the caller.
        columns: Folded name → column.
        warnings: List to which a warning is added when an inferred type is dropped.
    """

    def __init__(
        self, conn: sqlite3.Connection, name: str, columns: dict[str, Column], warnings: list[str]
    ) -> None:
        self._conn = conn
        self.name = name
        self.columns = columns
        self._warnings = warnings
        self.version = 0  # changes whenever its columns convert values differently

    @classmethod
    def found(
        cls, conn: sqlite3.Connection, name: str, declared: Mapping[str, str], warnings: list[str]
    ) -> UserTable | None:
        """Return an existing table; ``None`` if there is none.

        Args:
            conn: The writer's connection.
            name: The table's name; case does not matter.
            declared: Column → SQL type, for the columns that are declared in ``tables=``.
            warnings: See the class.
        """
        seen = conn.execute(f"PRAGMA table_xinfo({quoted(name)})").fetchall()
        if not seen:
            return None
        # A type that is declared to convert nothing leaves the existing column's conversion in place.
        types = {ascii_lower(name): kind for name, kind in declared.items() if affinity_of(kind) != "BLOB"}
        stored = conn.execute(
            "SELECT sql FROM sqlite_master WHERE type = 'table' AND name = ? COLLATE NOCASE", (name,)
        ).fetchone()
        sql = stored[0] if stored is not None else None
        inferred = inferred_columns(sql) if sql is not None and INFERRED in sql else {}
        columns = {}
        for _, column, kind, _, default, key, hidden in seen:
            folded = ascii_lower(column)
            # Columns we add are never a primary key. If a user rebuilt the table, the type may make it the rowid.
            is_inferred = folded in inferred and not key
            rule: Rule = "declared" if folded in types else "inferred" if is_inferred else "theirs"
            affinity = affinity_of(types[folded]) if rule == "declared" else _affinity_in(conn, name, kind or "")
            columns[folded] = Column(column, kind or "", rule, affinity, key, hidden in GENERATED)
            columns[folded].has_default = default is not None
        return cls(conn, name, columns, warnings)

    @classmethod
    def made(
        cls,
        conn: sqlite3.Connection,
        name: str,
        columns: Mapping[str, str],
        declared: Mapping[str, str],
        warnings: list[str],
    ) -> UserTable:
        """Create a table.

        Args:
            conn: The writer's connection.
            name: The table's name.
            columns: Column → inferred SQL type.
            declared: Column → SQL type declared in ``tables=``; takes precedence over ``columns``.
            warnings: See the class.
        """
        taken = {ascii_lower(column) for column in declared}
        rest = {column: kind for column, kind in columns.items() if ascii_lower(column) not in taken}
        parts = [_definition(column, kind) for column, kind in declared.items()]
        parts += [_definition(column, kind, INFERRED) for column, kind in rest.items()]
        conn.execute(f"CREATE TABLE {quoted(name)} ({', '.join(parts)})")
        made = {
            **{ascii_lower(column): Column(column, kind, "declared") for column, kind in declared.items()},
            **{ascii_lower(column): Column(column, kind, "inferred") for column, kind in rest.items()},
        }
        return cls(conn, name, made, warnings)

    # --- columns ---

    def missing(self, names: Iterable[str], *, alter: bool = False) -> list[str]:
        """Return which of these columns the table lacks.

        Args:
            names: n columns.
            alter: A name such as ``rowid`` is a missing column rather than SQLite's own row number.

        Raises:
            RowRefusedError: One of them is computed by the table.
        """
        missing = []
        for name in names:
            column = self.columns.get(ascii_lower(name))
            if column is None:
                if alter or ascii_lower(name) not in _ROWID or not self._has_rowid():
                    missing.append(name)
            elif column.is_generated:
                raise RowRefusedError(
                    f"table {clean(self.name, 60)} computes its column {clean(name, 60)} (GENERATED): leave it out"
                )
        return missing

    def add(self, columns: Mapping[str, str], declared: Mapping[str, str]) -> None:
        """Add columns.

        Args:
            columns: Column → common SQL type of its values.
            declared: Column → SQL type, for the columns that are declared in ``tables=``.
        """
        types = {ascii_lower(column): kind for column, kind in declared.items()}
        for name, kind in columns.items():
            folded = ascii_lower(name)
            is_declared = folded in types
            wanted = types.get(folded, kind)
            shown = wanted or ("ANY" if _is_strict(self._conn, self.name) else "")
            definition = _definition(name, shown, "" if is_declared else INFERRED)
            self._conn.execute(f"ALTER TABLE {quoted(self.name)} ADD COLUMN {definition}")
            rule: Rule = "declared" if is_declared else "inferred"
            self.columns[folded] = Column(name, shown, rule, affinity_of(wanted))

    def check_declared(self, name: str, kind: Any) -> None:
        """Refuse a declaration that an existing column contradicts.

        Args:
            name: The column.
            kind: The Python type in ``tables=``.

        Raises:
            SchemaError: The column would convert values differently from the declaration.
        """
        column = self.columns[ascii_lower(name)]
        if column.is_generated:
            raise SchemaError(
                f"table {clean(self.name, 60)} computes its column {clean(name, 60)} (GENERATED): take it out of "
                "tables="
            )
        stored, wanted = _affinity_in(self._conn, self.name, column.type), affinity_of(sql_type(kind))
        if stored in (wanted, "BLOB") or kind is bytes:
            return
        if stored == "NUMERIC" and (wanted in ("INTEGER", "REAL") or kind in (date, datetime, time, Decimal)):
            return
        raise SchemaError(
            f"table {clean(self.name, 60)} has the column {clean(name, 60)} as {clean(column.type, 40)}, not as "
            f"{sql_type(kind) or 'untyped'}: take it out of tables=, or declare it with the existing type"
        )

    def has_defaults(self, folded: Iterable[str]) -> bool:
        """Return whether any of these columns has a default, or may have one."""
        return any((column := self.columns.get(name)) is None or column.has_default for name in folded)

    def has_unique(self, columns: Sequence[str]) -> bool:
        """Return whether a constraint or an index makes exactly these columns unique."""
        wanted = sorted(map(ascii_lower, columns))
        if sorted(folded for folded, column in self.columns.items() if column.key) == wanted:
            return True
        for _, index, unique, _, partial in self._conn.execute(
            f"PRAGMA index_list({quoted(self.name)})"
        ).fetchall():
            if unique and not partial:
                found = self._conn.execute(f"PRAGMA index_info({quoted(index, 'index')})").fetchall()
                if sorted(ascii_lower(row[2] or "") for row in found) == wanted:
                    return True
        return False

    def is_empty(self) -> bool:
        """Return whether the table has no rows."""
        return self._conn.execute(f"SELECT 1 FROM {quoted(self.name)} LIMIT 1").fetchone() is None

    def _has_rowid(self) -> bool:
        try:
            self._conn.execute(f"SELECT rowid FROM {quoted(self.name)} LIMIT 0")
        except sqlite3.OperationalError:
            return False
        return True

    # --- values ---

    def watched(self, names: Iterable[str]) -> list[Watched]:
        """Return those of these columns whose values have to be checked; valid for one ``version``."""
        return [
            (place, column)
            for place, name in enumerate(names)
            if (column := self.columns.get(ascii_lower(name))) is not None and column.is_watched
        ]

    def fitted(self, watched: Sequence[Watched], rows: list[Row]) -> list[Row]:
        """Return rows with their values converted for the table, after adapting inferred columns to them.

        Args:
            watched: The columns to check.
            rows: n rows of storable values.

        Raises:
            RowRefusedError: A value does not fit its column.
        """
        seen: dict[Column, str | None] = {}
        try:
            fitting = fit_rows(rows, watched, seen)
        except RowRefusedError as error:
            raise RowRefusedError(f"table {clean(self.name, 60)}, {error}") from None
        if seen:
            self._follow({column: kind for column, kind in seen.items() if kind is not None})
        return fitting

    def _follow(self, seen: Mapping[Column, str]) -> None:
        """Give inferred columns the type of their first values, or none once values of another type follow."""
        types: dict[str, str] = {}
        for column, kind in seen.items():
            if not column.is_settled:
                column.is_settled = True
                self.version += 1
                if not self._has_values(column) and kind:
                    types[ascii_lower(column.name)] = kind
            elif kind != column.type:
                types[ascii_lower(column.name)] = ""
                self._warnings.append(
                    f"table {clean(self.name, 60)}, column {clean(column.name, 60)}: values of several types were "
                    f"written, so the column is no longer {column.type} and each value is stored as written; "
                    "declare it in tables= to convert them"
                )
        if types:
            self._retype(types)

    def _retype(self, types: Mapping[str, str]) -> None:
        nothing = "ANY" if _is_strict(self._conn, self.name) else ""
        try:
            retype(self._conn, self.name, {name: kind or nothing for name, kind in types.items()})
        except sqlite3.OperationalError as error:
            column = self.columns[next(iter(types))]
            raise RowRefusedError(
                f"table {clean(self.name, 60)}, column {clean(column.name, 60)}: it was created as "
                f"{column.type or 'untyped'}, which would change a value of these rows, and this SQLite cannot "
                f"change the type ({error}): declare the column in tables= before the table is created"
            ) from error
        for name, kind in types.items():
            self.columns[name].type = kind or nothing
            self.columns[name].affinity = affinity_of(kind)
        self.version += 1

    def _has_values(self, column: Column) -> bool:
        sql = f"SELECT 1 FROM {quoted(self.name)} WHERE {quoted(column.name)} IS NOT NULL LIMIT 1"
        return self._conn.execute(sql).fetchone() is not None


def _definition(column: str, kind: str, mark: str = "") -> str:
    return " ".join(part for part in (quoted(column, "column"), kind, mark) if part)


def _affinity_in(conn: sqlite3.Connection, table: str, kind: str) -> Affinity:
    """Return the affinity of a type in a table: ANY converts nothing in a STRICT table; elsewhere it is NUMERIC."""
    return "BLOB" if kind == "ANY" and _is_strict(conn, table) else affinity_of(kind)


def _is_strict(conn: sqlite3.Connection, table: str) -> bool:
    """Return whether it is a STRICT table, which accepts only values of its columns' types."""
    if sqlite3.sqlite_version_info < (3, 37):
        return False
    found = conn.execute(f"PRAGMA table_list({quoted(table)})").fetchall()
    return any(strict for _, _, _, _, _, strict in found)
