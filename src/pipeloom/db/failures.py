"""Which error of SQLite means what, and each in one sentence; any thread; nothing here opens a database.

SQLite keeps the reason that the system gave to itself: it "cannot open" where there are no inodes left, a directory
is gone, or descriptors run out. So, when it failed, the place is looked at, and a little is tried there.
"""

from __future__ import annotations

import errno
import os
import sqlite3
from pathlib import Path
from typing import Final

from pipeloom.data.text import clean
from pipeloom.db.place import MEMORY
from pipeloom.errors import StorageError

__all__ = [
    "is_busy",
    "is_damage",
    "is_fatal",
    "is_refusal",
    "out_of_memory",
    "primary_code",
    "reading_error",
    "storage_error",
]

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

_A_LITTLE: Final = 4096  # bytes: a page

# Errors behind which there is often something that can be seen at the place.
_PLACE: Final = frozenset(
    {sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_READONLY}
)

_LOCKS: Final = "the file system does not keep the locks that SQLite needs: use a local disk"
_SHARED: Final = (
    "the memory that all share who have it open (its -shm) cannot be used: use a local disk, or run_pipeline(..., "
    "wal=False)"
)
_MEANINGS: Final = {
    sqlite3.SQLITE_IOERR_LOCK: _LOCKS,
    sqlite3.SQLITE_IOERR_RDLOCK: _LOCKS,
    sqlite3.SQLITE_IOERR_UNLOCK: _LOCKS,
    sqlite3.SQLITE_IOERR_CHECKRESERVEDLOCK: _LOCKS,
    sqlite3.SQLITE_IOERR_SHMLOCK: _SHARED,
    sqlite3.SQLITE_IOERR_SHMMAP: _SHARED,
    sqlite3.SQLITE_IOERR_GETTEMPPATH: (
        "SQLite found no directory for its temporary files: set SQLITE_TMPDIR to one that can be written"
    ),
}

_DISK_IS_FULL: Final = "the disk is full: free some space and run again; what was committed is safe"

# What was wrong when a little was tried in the same place.
_TROUBLES: Final = {
    errno.ENOSPC: _DISK_IS_FULL,
    errno.EDQUOT: "your quota of the disk is used up: free some space and run again; what was committed is safe",
    errno.EROFS: (
        "the file system is mounted read-only, as systems do by themselves after an error of the disk: check it, "
        "then run again; what was committed is safe"
    ),
    errno.ENOENT: "its directory does not exist any more: put it back, or choose another place",
    errno.EACCES: "no permission to make files in its directory, as SQLite must: choose another place",
}
_ADVICE: Final = {
    sqlite3.SQLITE_NOTADB: "is not a SQLite database: choose another file; this one was left as it is",
    sqlite3.SQLITE_CORRUPT: "the database is damaged: restore a copy, or try `sqlite3 FILE .recover`",
    sqlite3.SQLITE_FULL: _DISK_IS_FULL,
    sqlite3.SQLITE_READONLY: "the file or its directory cannot be written: check the permissions",
    sqlite3.SQLITE_IOERR: "the disk reported an error: check it, then run again; what was committed is safe",
    sqlite3.SQLITE_IOERR_SHMSIZE: (
        "the disk is full, there is no room for the -shm file beside it: free some space and run again"
    ),
    sqlite3.SQLITE_CANTOPEN: "SQLite cannot open it: check the path and the permissions",
    sqlite3.SQLITE_TOOBIG: (
        "it holds a value longer than is read here, which no run leaves behind: find it with `sqlite3`, and be "
        "careful with a file from elsewhere"
    ),
    sqlite3.SQLITE_NOMEM: "no memory is left for it: free some, and try again",
    sqlite3.SQLITE_BUSY: "another process holds its lock: close that program, or wait, and run again",
}


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
    """Put SQLite's error into one sentence that says what to do; looks around, since SQLite tells no reasons.

    Args:
        error: What SQLite raised.
        path: The file, for the sentence and for ``StorageError.path``.
    """
    code, primary = getattr(error, "sqlite_errorcode", 0), primary_code(error) or 0
    advice = _MEANINGS.get(code)
    if advice is None and primary in _PLACE and str(path) != MEMORY:
        advice = _around(Path(os.path.realpath(str(path))), primary)
    if is_refusal(error):
        advice = (
            "it has a view that calls functions in place of a table of ours, which no run leaves behind: be "
            "careful with a file from elsewhere"
        )
    advice = advice or _ADVICE.get(code) or _ADVICE.get(primary, "SQLite failed")
    name = getattr(error, "sqlite_errorname", type(error).__name__)
    return StorageError(f"{clean(path)}: {advice} ({name}: {clean(error)})", path=path)


def out_of_memory(path: object) -> StorageError:
    """Say in one sentence that the writer got no memory; SQLite's own error for it is a ``MemoryError`` as well."""
    return StorageError(
        f"{clean(path)}: no memory is left to write with: use fewer workers, let each write less at a time, or "
        "raise the limit, and run again; what was committed is safe",
        path=path,
    )


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


def _around(real: Path, primary: int) -> str | None:
    """Say what is wrong with the place at this moment; ``None`` when nothing is that can be seen."""
    if _out_of_descriptors():
        return "this process may open no more files: close some, or raise the limit (ulimit -n), and run again"
    if primary == sqlite3.SQLITE_FULL:
        return _full(real)
    trouble, is_write = _tried(real.parent)
    if trouble == errno.ENOSPC and not is_write and (advice := _no_inodes(real.parent)) is not None:
        return advice
    return _TROUBLES.get(trouble or 0)


def _tried(directory: Path) -> tuple[int | None, bool]:
    """Try to make a file without a name and to write a little; return what went wrong, and whether it was writing.

    Where the system has no such files (they are Linux's), nothing is tried.

    Source: https://man7.org/linux/man-pages/man2/open.2.html (O_TMPFILE)
    """
    unnamed = getattr(os, "O_TMPFILE", None)
    if unnamed is None:
        return None, False
    try:
        descriptor = os.open(directory, unnamed | os.O_RDWR, 0o600)
    except OSError as error:
        return error.errno, False
    try:
        os.pwrite(descriptor, bytes(_A_LITTLE), 0)
    except OSError as error:
        return error.errno, True
    finally:
        os.close(descriptor)
    return None, False


def _no_inodes(directory: Path) -> str | None:
    """Say what to do if a file system has no files left to give; btrfs, for one, does not count them."""
    try:
        found = os.statvfs(directory)
    except (AttributeError, OSError):  # Windows has no statvfs
        return None
    if not found.f_files or found.f_favail:
        return None
    return (
        "the disk has no room for another file, though it may have for bytes (its inodes are used up, see df -i): "
        "remove some files, and run again; what was committed is safe"
    )


def _full(real: Path) -> str | None:
    """Tell the disk of SQLite's temporary files from the database's: SQLite says the same of both."""
    temporary = _temporary()
    try:
        if temporary is None or os.stat(temporary).st_dev == os.stat(real.parent).st_dev:
            return None
        if _free(temporary) >= _free(real.parent):
            return None
    except (AttributeError, OSError):
        return None
    return (
        f"a big sort or index did not fit into {clean(temporary)}, where SQLite keeps its temporary files: free "
        "some space there, or set SQLITE_TMPDIR to a larger place, and run again; what was committed is safe"
    )


def _temporary() -> str | None:
    """Return where SQLite keeps temporary files: the first of these that it may use.

    Source: https://www.sqlite.org/tempfiles.html#temporary_file_storage_locations
    """
    places = (os.environ.get("SQLITE_TMPDIR"), os.environ.get("TMPDIR"), "/var/tmp", "/usr/tmp", "/tmp", ".")
    return next(
        (place for place in places if place and os.path.isdir(place) and os.access(place, os.W_OK | os.X_OK)), None
    )


def _free(directory: str | Path) -> int:
    found = os.statvfs(directory)
    return found.f_bavail * found.f_frsize


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
