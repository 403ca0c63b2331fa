"""Whether an open database, its log and the log's index are still the files that were opened."""

from __future__ import annotations

import logging
import os
import re
import sqlite3
from pathlib import Path
from typing import Final, NamedTuple

from pipeloom.data.commands import typed
from pipeloom.data.text import clean, near
from pipeloom.db.connection import wal_checkpoint
from pipeloom.db.failures import primary_code
from pipeloom.db.locks import descriptors_of, is_writable
from pipeloom.db.place import Identity
from pipeloom.db.second_locks import SecondLocks
from pipeloom.db.wal_file import is_whole, log_state
from pipeloom.errors import StorageError

__all__ = ["FileWatch"]

logger = logging.getLogger("pipeloom")

_SIDE_FILES: Final = {"-wal": "what was in it has been moved into the database", "-shm": "nothing is lost so far"}


_OUR_TABLE_IS_GONE: Final = re.compile(r"no such table: (task_runs$|pipeloom_)")  # only an owner may drop one
_EMPTIED: Final = (
    "was emptied by another program while in use, and what was in it is lost: put a copy in its place, or "
    "remove it, and run again"
)


class FileWatch:
    """Checks one open database from outside; the writer's thread, outside transactions.

    A check takes a few microseconds, but releases the interpreter lock several times, and beside computing threads
    each release costs 5 ms. Not every batch is therefore followed by one.

    Args:
        conn: The writer's connection.
        path: Its file.
        locks: Its second locks; ``None`` without a log.

    Attributes:
        log_length: The log's length in bytes at the last check.
    """

    def __init__(self, conn: sqlite3.Connection, path: Path, locks: SecondLocks | None) -> None:
        self._conn = conn
        self._path = path
        self._locks = locks
        self._real = os.path.realpath(path)
        self._seen = _look(self._real)
        self._beside = {suffix: _look(self._real + suffix).identity for suffix in _SIDE_FILES} if locks else {}
        self.log_length = 0

    def look(self) -> None:
        """Detect a file that was replaced, removed, emptied or truncated.

        Raises:
            StorageError: It is no longer the file that was opened, or lacks what was in it.
        """
        found = _look(self._real)
        if found.identity != self._seen.identity:
            self._save()
            raise self._error(
                self._real,
                "the file was replaced or removed while in use: restore it and run again; everything committed "
                "until then is in the file that was moved",
            )
        if self._seen.size and (found.size == 0 or self._has_grown_again(found)):
            raise self._error(self._real, _EMPTIED)
        self._seen = found
        if self._locks is not None:
            self._look_beside(self._locks)

    def explain(self, error: sqlite3.Error) -> None:
        """Look for the cause of an SQLite error.

        Raises:
            StorageError: The files, or SQLite's message, show the cause.
        """
        try:
            self.look()
        except sqlite3.Error:
            pass  # the same again
        if _OUR_TABLE_IS_GONE.match(str(error)):
            raise self._error(self._real, _EMPTIED)
        if primary_code(error) == sqlite3.SQLITE_NOTADB:
            raise self._error(
                self._real,
                "was overwritten by another program while in use, and is not a SQLite database: put a copy in its "
                "place, or remove it, and run again",
            )

    def _has_grown_again(self, found: _Seen) -> bool:
        """Return whether it was emptied since the last check: what was written since then has left holes in it.

        The disk space of a file proves little if the file system compresses it, or reports it late.
        """
        if found.stored >= min(found.size, self._seen.stored) // 2:
            return False
        try:
            return any(
                os.lseek(descriptor, 0, os.SEEK_HOLE) < found.size
                for descriptor in descriptors_of(found.identity)
                if is_writable(descriptor)
            )
        except OSError:
            return False  # a file system without holes

    def _look_beside(self, locks: SecondLocks) -> None:
        before = self.log_length
        for suffix, saved in _SIDE_FILES.items():
            found = _look(self._real + suffix)
            if found.identity != self._beside[suffix]:
                self._save()
                raise self._error(
                    self._real + suffix,
                    f"was replaced or removed while in use, which can lose commits: {saved}; keep other programs "
                    "away from SQLite's files and run again",
                )
            if suffix == "-wal":
                self.log_length = found.size
        if self.log_length != before and not self._is_log_whole(locks):
            raise self._error(
                self._real + "-wal",
                "was truncated while in use, which loses commits: check the file with "
                f"`{typed('doctor', near(str(self._path)))}`, keep other programs away from SQLite's files, and "
                "run again",
            )
        locks.check()

    def _is_log_whole(self, locks: SecondLocks) -> bool:
        """Distinguish a log that another program's checkpoint has emptied from one that lacks frames.

        Such a checkpoint loses nothing, and resets the number of frames before it truncates the file, so the index
        is read again before the log is considered damaged.
        """
        header = locks.index_header()
        while header is not None and not is_whole(Path(self._real + "-wal"), log_state(header)):
            if header == (header := locks.index_header()):
                return False
        return True

    def _save(self) -> None:
        """Move the log into the database; SQLite still has both open, under whatever names.

        If the log remained, it would be applied to the file that has taken the database's place, and destroy it; a
        removed log could not be read by any other process.
        """
        try:
            if self._locks is not None:
                wal_checkpoint(self._conn, "TRUNCATE")
        except sqlite3.Error as error:
            logger.warning("%s: could not be emptied: %s", clean(self._real + "-wal"), clean(error))

    def _error(self, name: str, what: str) -> StorageError:
        shown = str(self._path) + name.removeprefix(self._real)
        return StorageError(f"{clean(shown)}: {what}", path=self._path)


class _Seen(NamedTuple):
    """The status of a path: the file's identity, its length, and its size on the disk in bytes."""

    identity: Identity | None
    size: int
    stored: int


def _look(path: str) -> _Seen:
    """Examine a path, links not followed; this opens nothing."""
    try:
        found = os.lstat(path)
    except OSError:
        return _Seen(None, 0, 0)
    return _Seen((found.st_dev, found.st_ino), found.st_size, found.st_blocks * 512)
