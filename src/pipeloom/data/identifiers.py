"""Names of tables and columns: quoted for SQL, compared as SQL does, and which of them are the ledger's own."""

from __future__ import annotations

from typing import Final

from pipeloom.data.text import clean

__all__ = ["ascii_lower", "is_reserved", "quoted"]

_ASCII_LOWER: Final = {upper: upper + 32 for upper in range(ord("A"), ord("Z") + 1)}


def ascii_lower(name: str) -> str:
    """Fold a name as SQL does: A to Z only."""
    return name.lower() if name.isascii() else name.translate(_ASCII_LOWER)


def quoted(name: str, what: str = "table") -> str:
    """Return ``name`` as a quoted SQL identifier: whatever SQLite takes as one, which is almost anything.

    Raises:
        ValueError: It is not text, is empty, or holds a NUL or a lone surrogate.
    """
    if not isinstance(name, str):
        raise ValueError(f"a {what} name must be text, not {type(name).__name__}")
    if not name or "\0" in name:
        raise ValueError(f"{clean(name, 60)!r} cannot be a {what} name: it {'holds a NUL' if name else 'is empty'}")
    try:
        name.encode()
    except UnicodeEncodeError:
        raise ValueError(f"{clean(name, 60)!r} cannot be a {what} name: it holds a lone surrogate") from None
    return '"' + name.replace('"', '""') + '"'


def is_reserved(table: str) -> bool:
    """Say whether a table name belongs to the ledger or to SQLite itself, in capitals or not."""
    folded = ascii_lower(table)
    return folded == "task_runs" or folded.startswith(("pipeloom_", "sqlite_"))
