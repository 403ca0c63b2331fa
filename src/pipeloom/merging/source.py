"""One of the files to merge: checked before anything else, then attached and read, never written."""

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
"""The name of an attached file's schema in SQL."""


@dataclass(frozen=True, slots=True)
class Source:
    """A file to be merged.

    Attributes:
        path: Its path, as the caller passed it.
        encoding: Its text encoding.
        called: How to show it to the user; ``None`` for its path.
    """

    path: Path
    encoding: str
    called: str | None = None

    def check_encoding(self, first: Source) -> None:
        """Refuse a text encoding that differs from the first file's.

        Raises:
            SchemaError: The encodings differ.
        """
        if self.encoding != first.encoding:
            raise SchemaError(
                f"{self.shown}: its text encoding is {self.encoding}, that of {first.shown} is {first.encoding}, "
                "and SQLite cannot combine them: first copy it to a new file with sqlite3's .dump",
                path=self.path,
            )

    @property
    def shown(self) -> str:
        """The file as shown to the user."""
        return self.called or clean(self.path, 200)


def look_at(path: Path) -> Source:
    """Refuse a file that cannot be merged; changes neither the file nor those beside it.

    Returns:
        The file, ready to be attached.

    Raises:
        StorageError: The file does not exist or cannot be read.
        SchemaError: The file has no ledger, or one of another version.
        DatabaseInUseError: A run is using the file.
    """
    check_file(path)
    _check_idle(path)
    with closing(connect_readonly(path, untouched=True)) as conn:
        check_ledger(conn, path)
        return Source(path, encoding_of(conn))


def encoding_of(conn: sqlite3.Connection) -> str:
    """Return a database's text encoding."""
    found: str = conn.execute("PRAGMA encoding").fetchone()[0]
    return found


def check_ledger(conn: sqlite3.Connection, path: Path) -> None:
    """Refuse a database that has no ledger of this version.

    Raises:
        SchemaError: It has no ledger, or one of another version.
    """
    version = schema_version(conn)
    if version == SCHEMA_VERSION:
        return
    if version == 0:
        why = "it has no ledger: only files that a run has written can be merged"
    elif version > SCHEMA_VERSION:
        why = f"it was written by a newer pipeloom (schema {version}, this version has {SCHEMA_VERSION}): upgrade"
    else:
        why = (
            f"it was written by an older pipeloom (schema {version}, this version has {SCHEMA_VERSION}): update it "
            "with `pipeloom init-db --db FILE`, and merge again"
        )
    raise SchemaError(f"{clean(path)}: {why}", path=path)


@contextmanager
def attached(conn: sqlite3.Connection, source: Source) -> Iterator[None]:
    """Attach a file as :data:`PART` in this context, and check that it does not change; the connection's thread.

    A transaction that begins inside must also end inside: SQLite cannot detach a file within a transaction.

    Raises:
        StorageError: The file cannot be read, or changed meanwhile.
        DatabaseInUseError: A run has begun on the file.
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
        raise StorageError(f"{clean(path)}: the file changed while it was being read: merge again", path=path)


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
            f"{clean(path)}: a run{f' ({owner})' if owner.pid else ''} is using this file: merge after it ends",
            path=path,
            pid=owner.pid or None,
        )


def _seen(path: Path) -> tuple[object, ...]:
    """Return values that change when a file is replaced, or written by another program."""
    found: list[object] = []
    for suffix in ("", "-wal"):
        try:
            seen = os.stat(os.path.realpath(path) + suffix)
        except OSError:
            continue
        if seen.st_size:  # an empty log is created by readers
            found.append((suffix, seen.st_dev, seen.st_ino, seen.st_size, seen.st_mtime_ns))
    return tuple(found)
