"""Changes the declared type of a column, which SQLite's own ALTER TABLE cannot; inside the caller's transaction.

The text of the schema is edited, as SQLite describes for changes that leave what is stored as it is. Taking a type
off does, but for one thing: a REAL column keeps whole numbers as integers, and says REAL when it is read.

Source: https://www.sqlite.org/lang_altertable.html#otheralter
"""

from __future__ import annotations

import re
import sqlite3
from typing import Final

from pipeloom.data.identifiers import ascii_lower, quoted

__all__ = ["GENERATED", "INFERRED", "inferred_columns", "retype"]

INFERRED: Final = "/* inferred */"
"""Stands behind a column's type in the schema's text: it follows the values. SQLite keeps it through renames."""

GENERATED: Final = frozenset({2, 3})
"""What ``table_xinfo`` calls hidden in columns that the table computes; 1 is in virtual ones, and takes values."""

# One token of a CREATE TABLE statement, so that nothing is found within a name, a string or a comment. A bare name
# is letters, digits, _ and $, and all that is not ASCII. It is said by what is not in it: a class of a million
# letters takes 20 ms to compile, at each start.
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
"""From where to where the type stands in the text, and what it is; two equal numbers where there is none."""


def inferred_columns(sql: str) -> dict[str, str]:
    """Return folded name → type of the columns whose type follows the values.

    Args:
        sql: The table's CREATE TABLE statement.
    """
    return {name: kind for name, (_, _, kind) in _places(sql).items()}


def retype(conn: sqlite3.Connection, table: str, types: dict[str, str]) -> None:
    """Give inferred columns other types; scans the table when REAL is taken off one.

    Args:
        conn: In a transaction that may write.
        table: Which one.
        types: Folded name of an inferred column → SQL type, ``""`` for none.

    Raises:
        sqlite3.OperationalError: This SQLite lets nobody edit a schema.
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
        conn.execute(f"PRAGMA schema_version = {version + 1}")  # it is read again, by all who have the file open
    finally:
        conn.execute("PRAGMA writable_schema = OFF")
    _reindex(conn, table)  # first, since an UPDATE relies on what the indexes hold
    whole = [name for name in types if places[name][2] == "REAL"]
    if whole:
        _keep_real(conn, table, whole)


_SQL_OF: Final = "SELECT sql FROM sqlite_master WHERE type = 'table' AND name = ? COLLATE NOCASE"


def _places(sql: str) -> dict[str, _Place]:
    """Return folded name → where its type stands, of each column with the mark."""
    found: dict[str, _Place] = {}
    before: list[re.Match[str]] = []  # the words since the last comma or parenthesis
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
    """Store as REAL what a REAL column kept as integers. No trigger of the user's hears of it: nothing changes."""
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
    """Fill indexes anew that compute something, which they may do otherwise by the new type."""
    xinfo = conn.execute(f"PRAGMA table_xinfo({quoted(table)})").fetchall()
    computed = {None, *(column for _, column, *_, hidden in xinfo if hidden in GENERATED)}
    for _, index, _, _, partial in conn.execute(f"PRAGMA index_list({quoted(table)})").fetchall():
        parts = conn.execute(f"PRAGMA index_info({quoted(index, 'index')})").fetchall()
        if partial or any(column in computed for _, _, column in parts):
            conn.execute(f"REINDEX {quoted(index, 'index')}")
