"""Names of tables and columns: quoting for SQL, comparison as in SQL, and the names reserved for the ledger."""

from __future__ import annotations

from typing import Final

from pipeloom.data.text import clean

__all__ = ["ascii_lower", "is_reserved", "quoted"]

_ASCII_LOWER: Final = {upper: upper + 32 for upper in range(ord("A"), ord("Z") + 1)}


def ascii_lower(name: str) -> str:
    """Fold the case of a name as SQL does: A to Z only."""
    return name.lower() if name.isascii() else name.translate(_ASCII_LOWER)


def quoted(name: str, what: str = "table") -> str:
    """Return ``name`` as a quoted SQL identifier; SQLite accepts almost any text as one.

    Raises:
        ValueError: It is not text, is empty, or contains a NUL or a lone surrogate.
    """
    if not isinstance(name, str):
        raise ValueError(f"a {what} name must be text, not {type(name).__name__}")
    if not name or "\0" in name:
        raise ValueError(f"{clean(name, 60)!r} cannot be a {what} name: it {'has a NUL' if name else 'is empty'}")
    try:
        name.encode()
    except UnicodeEncodeError:
        raise ValueError(f"{clean(name, 60)!r} cannot be a {what} name: it has a lone surrogate") from None
    return '"' + name.replace('"', '""') + '"'


def is_reserved(table: str) -> bool:
    """Return whether a table name, in any case, is reserved for the ledger or for SQLite itself."""
    folded = ascii_lower(table)
    return folded == "task_runs" or folded.startswith(("pipeloom_", "sqlite_"))
