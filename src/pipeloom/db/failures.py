"""Which error of SQLite means what, and each in one sentence; any thread; nothing here opens a database."""

from __future__ import annotations

import errno
import os
import sqlite3
from pathlib import Path
from typing import Final

from pipeloom.data.text import clean
from pipeloom.errors import StorageError

__all__ = ["is_busy", "is_damage", "is_fatal", "is_refusal", "primary_code", "reading_error", "storage_error"]

_FILES: Final = 4  # the database, its log, the log's index, and the directory for a moment

# Errors of the file or the machine: going on would lose data. Everything else is about one statement.
# Source: https://www.sqlite.org/rescode.html
_FATAL: Final = frozenset(
    {
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_CORRUPT,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_NOLFS,
        sqlite3.SQLITE_NOMEM,
        sqlite3.SQLITE_NOTADB,
        sqlite3.SQLITE_PROTOCOL,
        sqlite3.SQLITE_READONLY,
    }
)


def primary_code(error: BaseException) -> int | None:
    """Return SQLite's primary result code; ``None`` for errors raised by the Python module itself."""
    code = getattr(error, "sqlite_errorcode", None)
    return None if code is None else code & 0xFF


def is_fatal(error: BaseException) -> bool:
    """Say whether an error is about the file or the machine, rather than about one statement."""
    if not isinstance(error, sqlite3.Error) or primary_code(error) not in _FATAL:
        return False
    # A search index out of step with its table is that table's trouble, not the file's.
    return error.sqlite_errorcode != sqlite3.SQLITE_CORRUPT_VTAB


def is_damage(error: BaseException) -> bool:
    """Say whether an error means that the file is no sound database any more."""
    return isinstance(error, sqlite3.Error) and primary_code(error) in (
        sqlite3.SQLITE_CORRUPT,
        sqlite3.SQLITE_NOTADB,
    )


def is_busy(error: BaseException) -> bool:
    """Say whether another connection's lock is in the way."""
    return isinstance(error, sqlite3.Error) and primary_code(error) in (
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
    )


def is_refusal(error: BaseException) -> bool:
    """Say whether a statement was refused by an authorizer; SQLite has no code for functions that are."""
    return isinstance(error, sqlite3.Error) and (
        primary_code(error) == sqlite3.SQLITE_AUTH or str(error).startswith("not authorized")
    )


def storage_error(error: sqlite3.Error, path: object) -> StorageError:
    """Put SQLite's error into one sentence that says what to do."""
    advice = {
        sqlite3.SQLITE_NOTADB: "is not a SQLite database: choose another file; this one was left as it is",
        sqlite3.SQLITE_CORRUPT: "the database is damaged: restore a copy, or try `sqlite3 FILE .recover`",
        sqlite3.SQLITE_FULL: "the disk is full: free some space and run again; what was committed is safe",
        sqlite3.SQLITE_READONLY: "the file or its directory cannot be written: check the permissions",
        sqlite3.SQLITE_IOERR: "the disk reported an error: check it, then run again; what was committed is safe",
        sqlite3.SQLITE_CANTOPEN: "SQLite cannot open it: check the path and the permissions",
        sqlite3.SQLITE_TOOBIG: (
            "it holds a value longer than is read here, which no run leaves behind: find it with `sqlite3`, and be "
            "careful with a file from elsewhere"
        ),
        sqlite3.SQLITE_NOMEM: "no memory is left to read it: free some and try again",
        sqlite3.SQLITE_BUSY: "another process holds its lock: close that program, or wait, and run again",
    }.get(primary_code(error) or 0, "SQLite failed")
    code = getattr(error, "sqlite_errorcode", None)
    if code == sqlite3.SQLITE_IOERR_SHMSIZE:
        advice = "the disk is full, there is no room for the -shm file beside it: free some space and run again"
    elif primary_code(error) == sqlite3.SQLITE_CANTOPEN and _out_of_descriptors():
        advice = "this process may open no more files: close some, or raise the limit (ulimit -n), and run again"
    elif is_refusal(error):
        advice = (
            "it has a view that calls functions in place of a table of ours, which no run leaves behind: be "
            "careful with a file from elsewhere"
        )
    name = getattr(error, "sqlite_errorname", type(error).__name__)
    return StorageError(f"{clean(path)}: {advice} ({name}: {clean(error)})", path=path)


def reading_error(error: sqlite3.Error, path: Path) -> StorageError:
    """Like :func:`storage_error`, for a reader, which needs no permission to write unless there is a log."""
    if primary_code(error) in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN) and not _out_of_descriptors():
        if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_READONLY_ROLLBACK:
            advice = (
                "a process died within a commit, which the next one that writes takes back: run again, or open it "
                "with `sqlite3`; keep the -journal beside it until then"
            )
        elif not os.access(path, os.R_OK):
            advice = "no permission to read it: ask its owner"
        elif not os.access(path.absolute().parent, os.W_OK):
            advice = (
                "to read it, SQLite must write -shm beside it, and may not: read it as a user who may, or copy it "
                "(with its -wal, if there is one) and read the copy"
            )
        else:
            return storage_error(error, path)
        return StorageError(f"{clean(path)}: {advice} ({error.sqlite_errorname})", path=path)
    return storage_error(error, path)


def _out_of_descriptors() -> bool:
    """Say whether this process is about to run out of files it may open; SQLite only says that it cannot."""
    opened: list[int] = []
    try:
        while len(opened) < _FILES:
            opened.append(os.open(os.devnull, os.O_RDONLY))
    except OSError as error:
        return error.errno in (errno.EMFILE, errno.ENFILE)
    finally:
        for descriptor in opened:
            os.close(descriptor)
    return False
