"""Names of tables and columns: quoted for SQL, compared as SQL does, and which of them are the ledger's own."""

from __future__ import annotations

import re
from typing import Final

from pipeloom.data.text import clean

__all__ = ["ascii_lower", "is_reserved", "quoted"]

_NAME_LIMIT: Final = 200
_ASCII_LOWER: Final = {upper: upper + 32 for upper in range(ord("A"), ord("Z") + 1)}


def ascii_lower(name: str) -> str:
    """Fold a name as SQL does: A to Z only."""
    return name.translate(_ASCII_LOWER)


def quoted(name: str, what: str = "table") -> str:
    """Return ``name`` as a quoted SQL identifier.

    Raises:
        ValueError: It is empty, too long, or holds a character that no identifier should.
    """
    if not isinstance(name, str):
        raise ValueError(f"a {what} name must be text, not {type(name).__name__}")
    if not name or len(name) > _NAME_LIMIT or not name.isprintable():
        raise ValueError(
            f"{clean(name, 60)!r} cannot be a {what} name: use 1 to {_NAME_LIMIT} printable characters"
        )
    return '"' + name.replace('"', '""') + '"'


def is_reserved(table: str) -> bool:
    """Say whether a table name belongs to the ledger or to SQLite itself."""
    return re.match(r"(?i)(task_runs$|pipeloom_|sqlite_)", table) is not None
