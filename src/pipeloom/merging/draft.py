"""The file in which a merge is built, beside its target: OUT changes once, or not at all.

::

    inputs ──▶ OUT-merging ──▶ takes OUT's name, if there is no OUT yet
                           └─▶ joined with OUT, in one transaction

A merge that is killed leaves ``OUT-merging`` behind; the next merge empties it.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Final, Self

from pipeloom.data.text import clean
from pipeloom.db.connection import prepare
from pipeloom.db.ownership import Ownership
from pipeloom.db.place import check_place, mount_of
from pipeloom.errors import StorageError
from pipeloom.merging.source import PART, check_ledger

__all__ = ["Draft", "claimed", "is_empty"]

_SUFFIX: Final = "-merging"
_BESIDE: Final = ("-journal", "-wal", "-shm")
_CACHE_KIB: Final = 65_536
_STEPS: Final = 100_000  # of SQLite's virtual machine between two checks for Ctrl-C


class Draft:
    """The draft file, as a context manager that removes what is left of it; the calling thread's.

    Args:
        out: The target file; links are followed.
        encoding: Its text encoding.

    Attributes:
        path: The draft's path.
        encoding: See above.
        conn: Its connection.

    Raises:
        StorageError: No database can be created there.
        DatabaseInUseError: Another merge into the same file is in progress.
    """

    def __init__(self, out: Path, encoding: str) -> None:
        self._out = Path(os.path.realpath(out))
        self.path = self._out.with_name(self._out.name + _SUFFIX)
        check_place(self._out)
        check_place(self.path)
        if self.path.is_symlink():
            raise StorageError(
                f"{clean(self.path)}: is a link, but the merge needs this name for its draft: move it away",
                path=self.path,
            )
        self.encoding = encoding
        self._ownership = Ownership(self.path)
        try:
            self._clear()
            os.truncate(self.path, 0)  # by name: closing a descriptor would release SQLite's locks
            self.conn = _opened(self.path, encoding)
        except BaseException:
            self._ownership.release()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self.conn.close()
            self._clear()
            with suppress(FileNotFoundError):
                self.path.unlink()
        finally:
            self._ownership.release()

    def become_out(self) -> None:
        """Rename the draft to OUT, which does not exist; the last commit was synced, and everything before it too.

        Raises:
            StorageError: Another program has created OUT meanwhile.
        """
        mount = mount_of(self._out)
        has_log = mount is None or not mount.is_network  # as for a file that a run creates
        self.conn.execute(f"PRAGMA journal_mode = {'WAL' if has_log else 'DELETE'}")
        self.conn.close()
        with Ownership(self._out):  # creates it empty, so that no run can start on it
            if not is_empty(self._out):
                raise StorageError(
                    f"{clean(self._out)}: another program has created it meanwhile: merge again", path=self._out
                )
            os.replace(self.path, self._out)
            _sync(self._out.parent)

    def attach_to(self, conn: sqlite3.Connection) -> None:
        """Let another connection read the draft as :data:`PART`; its own connection is closed."""
        self.conn.close()
        conn.execute(f"ATTACH ? AS {PART}", (str(self.path),))

    def _clear(self) -> None:
        for suffix in _BESIDE:
            with suppress(FileNotFoundError):
                os.unlink(f"{self.path}{suffix}")


@contextmanager
def claimed(out: Path) -> Iterator[sqlite3.Connection]:
    """Claim an existing OUT, so that no run starts on it meanwhile; yields its connection.

    Raises:
        DatabaseInUseError: A run is using it.
        SchemaError: It has no ledger, or one of another version.
        StorageError: It cannot be opened.
    """
    ownership = Ownership(out, partial(_connected, Path(os.path.realpath(out))))
    try:
        conn = ownership.conn
        prepare(conn, out, wal=None, durability="full", inspect=lambda conn: check_ledger(conn, out))
        conn.execute("PRAGMA foreign_keys = OFF")  # references stay as they were in the files
        _make_interruptible(conn)
        yield conn
    finally:
        ownership.conn.close()
        ownership.release()


def is_empty(path: Path) -> bool:
    """Return whether a file is missing or has no bytes, as after a merge that was killed in its last moment."""
    try:
        return os.stat(path).st_size == 0
    except FileNotFoundError:
        return True


def _opened(path: Path, encoding: str) -> sqlite3.Connection:
    conn = _connected(path)
    try:
        conn.execute(f"PRAGMA encoding = '{encoding}'")
        conn.execute("PRAGMA trusted_schema = OFF")
        conn.execute("PRAGMA foreign_keys = OFF")
        conn.execute("PRAGMA synchronous = OFF")  # until the end: a half-built draft is worthless
        conn.execute("PRAGMA journal_mode = TRUNCATE")
        conn.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
        _make_interruptible(conn)
    except BaseException:
        conn.close()
        raise
    return conn


def _connected(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"{path.as_uri()}?mode=rw", uri=True, isolation_level=None)  # and attaches by URIs, too


def _make_interruptible(conn: sqlite3.Connection) -> None:
    """Let Python notice a Ctrl-C during a statement: SQLite then swallows it, and ends the statement."""
    conn.set_progress_handler(lambda: 0, _STEPS)


def _sync(directory: Path) -> None:
    """Sync a directory, so that a new name is on the disk, where the system supports that."""
    with suppress(OSError):
        descriptor = os.open(directory, os.O_RDONLY | getattr(os, "O_DIRECTORY", 0))
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
