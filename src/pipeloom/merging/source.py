"""One of the files that are merged: looked at before anything is done, attached and read, never written."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pipeloom.data.text import clean
from pipeloom.db.connection import connect_readonly, read_by
from pipeloom.db.ownership import owner_seen
from pipeloom.db.place import check_file
from pipeloom.db.schema import SCHEMA_VERSION, schema_version
from pipeloom.errors import DatabaseInUseError, SchemaError, StorageError

__all__ = ["PART", "Source", "attached", "check_ledger", "encoding_of", "look_at"]

PART: Final = "part"
"""What a file is called in SQL while it is attached."""


@dataclass(frozen=True, slots=True)
class Source:
    """A file to be merged.

    Attributes:
        path: Where it is, as the caller says it.
        encoding: How it stores text.
        called: What it is to people, if not its path.
    """

    path: Path
    encoding: str
    called: str | None = None

    def check_encoding(self, first: Source) -> None:
        """Refuse text that is stored otherwise than in the first file.

        Raises:
            SchemaError: It is.
        """
        if self.encoding != first.encoding:
            raise SchemaError(
                f"{self.shown}: its text is {self.encoding}, and that of {first.shown} {first.encoding}, which "
                "SQLite does not join: copy it with sqlite3's .dump into a new file first",
                path=self.path,
            )

    @property
    def shown(self) -> str:
        """What people know it by."""
        return self.called or clean(self.path, 200)


def look_at(path: Path) -> Source:
    """Refuse a file that cannot be merged; not a byte of it, or of what lies beside it, is changed.

    Raises:
        StorageError: It is not there, or cannot be read.
        SchemaError: It holds no ledger, or one of another version.
        DatabaseInUseError: A run is using it.
    """
    check_file(path)
    _check_idle(path)
    with closing(connect_readonly(path, untouched=True)) as conn:
        check_ledger(conn, path)
        return Source(path, encoding_of(conn))


def encoding_of(conn: sqlite3.Connection) -> str:
    """Return how a database stores text."""
    found: str = conn.execute("PRAGMA encoding").fetchone()[0]
    return found


def check_ledger(conn: sqlite3.Connection, path: Path) -> None:
    """Refuse a database that has no ledger of this version.

    Raises:
        SchemaError: It has none, or another.
    """
    version = schema_version(conn)
    if version == SCHEMA_VERSION:
        return
    if version == 0:
        why = "it holds no ledger: only files that a run has written can be merged"
    elif version > SCHEMA_VERSION:
        why = f"it was written by a newer pipeloom (schema {version}, this version knows {SCHEMA_VERSION}): upgrade"
    else:
        why = (
            f"it was written by an older pipeloom (schema {version}, this version has {SCHEMA_VERSION}): bring it "
            "up to date with `pipeloom init-db --db FILE`, and merge again"
        )
    raise SchemaError(f"{clean(path)}: {why}", path=path)


@contextmanager
def attached(conn: sqlite3.Connection, source: Source) -> Iterator[None]:
    """Have a file attached as :data:`PART`, of which one state is seen; the connection's thread.

    A transaction may be begun within, and has to be ended there: SQLite detaches nothing in the middle of one.

    Raises:
        StorageError: It cannot be read, or was changed meanwhile.
        DatabaseInUseError: A run has begun on it.
    """
    path = source.path
    before = _seen(path)
    read_by(path, lambda uri: _attach(conn, uri), untouched=True)
    try:
        _check_idle(path)
        yield
    finally:
        conn.execute(f"DETACH {PART}")
    if _seen(path) != before:
        raise StorageError(f"{clean(path)}: it was changed while it was read: merge again", path=path)


def _attach(conn: sqlite3.Connection, uri: str) -> None:
    conn.execute(f"ATTACH ? AS {PART}", (uri,))
    try:
        conn.execute(f"SELECT COUNT(*) FROM {PART}.sqlite_master").fetchone()
    except BaseException:
        conn.execute(f"DETACH {PART}")
        raise


def _check_idle(path: Path) -> None:
    owner = owner_seen(path)
    if owner is not None:
        raise DatabaseInUseError(
            f"{clean(path)}: a run{f' ({owner})' if owner.pid else ''} is using this file: merge when it has ended",
            path=path,
            pid=owner.pid or None,
        )


def _seen(path: Path) -> tuple[object, ...]:
    """Return what changes when a file is replaced, or written by another program."""
    found: list[object] = []
    for suffix in ("", "-wal"):
        try:
            seen = os.stat(os.path.realpath(path) + suffix)
        except OSError:
            continue
        if seen.st_size:  # a log without a byte is a reader's
            found.append((suffix, seen.st_dev, seen.st_ino, seen.st_size, seen.st_mtime_ns))
    return tuple(found)
