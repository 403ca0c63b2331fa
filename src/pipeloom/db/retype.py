"""Changes the declared type of a column, which SQLite's own ALTER TABLE cannot; inside the caller's transaction.

The schema text is edited, as SQLite documents for changes that leave stored values as they are. Removing a type is
such a change, with one exception: a REAL column stores whole numbers as integers, and reads them as REAL.

Source: https://www.sqlite.org/lang_altertable.html#otheralter
"""

from __future__ import annotations

import re
import sqlite3
from typing import Final

from pipeloom.data.identifiers import ascii_lower, quoted

__all__ = ["GENERATED", "INFERRED", "inferred_columns", "retype"]

INFERRED: Final = "/* inferred */"
"""Follows a column's type in the schema text if the type follows the values. SQLite keeps it through renames."""

GENERATED: Final = frozenset({2, 3})
"""The values of ``hidden`` in ``table_xinfo`` for generated columns; 1 is for virtual tables, and takes values."""

# One token of a CREATE TABLE statement, so that nothing is found within a name, a string or a comment. A bare name
# consists of letters, digits, _, $ and everything outside ASCII. The pattern lists what is excluded, since a class
# of a million letters takes 20 ms to compile, at each start.
_TOKEN: Final = re.compile(
    r"""
    (?P<name> "(?:[^"]|"")*" | \[[^\]]*\] | `(?:[^`]|``)*` | [^\0-@\[-^`{-\x7f][^\0-\#%-/:-@\[-^`{-\x7f]* )
  | (?P<mark> /\*\ inferred\ \*/ )
  | (?P<space> \s+ | /\*.*?\*/ | --[^\n]*(?:\n|\Z) )
  | (?P<other> '(?:[^']|'')*' | . )
    """,
    re.VERBOSE | re.DOTALL,
)
_Place = tuple[int, int, str]
"""The start and end of the type in the text, and the type; start and end are equal if there is none."""


def inferred_columns(sql: str) -> dict[str, str]:
    """Return folded name → type of the columns whose type follows the values.

    Args:
        sql: The table's CREATE TABLE statement.
    """
    return {name: kind for name, (_, _, kind) in _places(sql).items()}


def retype(conn: sqlite3.Connection, table: str, types: dict[str, str]) -> None:
    """Give inferred columns other types; scans the table if REAL is removed from one.

    Args:
        conn: In a transaction that may write.
        table: The table's name.
        types: Folded name of an inferred column → SQL type, ``""`` for none.

    Raises:
        sqlite3.OperationalError: This build of SQLite does not allow the schema to be edited.
    """
    (sql,) = conn.execute(_SQL_OF, (table,)).fetchone()
    places = _places(sql)
    for begin, end, name in sorted(((*places[name][:2], name) for name in types), reverse=True):
        space = " " if types[name] else ""
        sql = f"{sql[:begin]} {types[name]}{space}{sql[end:]}"
    ((version,),) = conn.execute("PRAGMA schema_version").fetchall()
    conn.execute("PRAGMA writable_schema = ON")
    try:
        conn.execute(
            "UPDATE sqlite_master SET sql = ? WHERE type = 'table' AND name = ? COLLATE NOCASE", (sql, table)
        )
        conn.execute(f"PRAGMA schema_version = {version + 1}")  # all connections read it again
    finally:
        conn.execute("PRAGMA writable_schema = OFF")
    _reindex(conn, table)  # first, since an UPDATE relies on the indexes
    whole = [name for name in types if places[name][2] == "REAL"]
    if whole:
        _keep_real(conn, table, whole)


_SQL_OF: Final = "SELECT sql FROM sqlite_master WHERE type = 'table' AND name = ? COLLATE NOCASE"


def _places(sql: str) -> dict[str, _Place]:
    """Return folded name → position of the type, for each column with the mark."""
    found: dict[str, _Place] = {}
    before: list[re.Match[str]] = []  # the tokens since the last comma or parenthesis
    for token in _TOKEN.finditer(sql):
        if token.lastgroup == "space":
            continue
        if token.lastgroup == "mark" and before:
            name, kind = before[0], before[1:]
            begin = name.end()
            end = token.start()
            found[ascii_lower(_unquoted(name[0]))] = begin, end, " ".join(word[0] for word in kind)
        elif token.lastgroup == "name":
            before.append(token)
        else:
            before = []
    return found


def _unquoted(name: str) -> str:
    if name[0] in '"`':
        return name[1:-1].replace(name[0] * 2, name[0])
    return name[1:-1] if name[0] == "[" else name


def _keep_real(conn: sqlite3.Connection, table: str, columns: list[str]) -> None:
    """Store as REAL what a REAL column stored as integers. No user trigger runs, since no value changes."""
    triggers = conn.execute(
        "SELECT name, sql FROM sqlite_master WHERE type = 'trigger' AND tbl_name = ? COLLATE NOCASE", (table,)
    ).fetchall()
    for name, _ in triggers:
        conn.execute(f"DROP TRIGGER {quoted(name, 'trigger')}")
    for column in map(quoted, columns):
        conn.execute(
            f"UPDATE {quoted(table)} SET {column} = CAST({column} AS REAL) WHERE typeof({column}) = 'integer'"
        )
    for _, sql in triggers:
        conn.execute(sql)


def _reindex(conn: sqlite3.Connection, table: str) -> None:
    """Rebuild indexes that compute something, since the result may depend on the new type."""
    xinfo = conn.execute(f"PRAGMA table_xinfo({quoted(table)})").fetchall()
    computed = {None, *(column for _, column, *_, hidden in xinfo if hidden in GENERATED)}
    for _, index, _, _, partial in conn.execute(f"PRAGMA index_list({quoted(table)})").fetchall():
        parts = conn.execute(f"PRAGMA index_info({quoted(index, 'index')})").fetchall()
        if partial or any(column in computed for _, _, column in parts):
            conn.execute(f"REINDEX {quoted(index, 'index')}")
