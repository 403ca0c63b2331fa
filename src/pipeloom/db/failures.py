"""What SQLite's errors mean, each in one sentence; any thread; nothing here opens a database.

SQLite does not pass on the system's reason: it reports "cannot open" when inodes run out, a directory is missing,
or descriptors run out. After a failure the place is therefore examined, and a small write is attempted there.
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

_FILES: Final = 4  # the database, its log, the log's index, and briefly the directory

# Errors of the file or the machine: continuing would lose data. All other errors concern one statement.
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

# Errors whose cause can often be seen at the place.
_PLACE: Final = frozenset(
    {sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_READONLY}
)

_LOCKS: Final = "the file system does not keep the locks that SQLite needs: use a local disk"
_SHARED: Final = (
    "the shared memory for all connections to it (its -shm file) cannot be used: use a local disk, or "
    "run_pipeline(..., wal=False)"
)
_MEANINGS: Final = {
    sqlite3.SQLITE_IOERR_LOCK: _LOCKS,
    sqlite3.SQLITE_IOERR_RDLOCK: _LOCKS,
    sqlite3.SQLITE_IOERR_UNLOCK: _LOCKS,
    sqlite3.SQLITE_IOERR_CHECKRESERVEDLOCK: _LOCKS,
    sqlite3.SQLITE_IOERR_SHMLOCK: _SHARED,
    sqlite3.SQLITE_IOERR_SHMMAP: _SHARED,
    sqlite3.SQLITE_IOERR_GETTEMPPATH: (
        "SQLite found no directory for its temporary files: set SQLITE_TMPDIR to a writable one"
    ),
}

_DISK_IS_FULL: Final = "the disk is full: free some space and run again; what was committed is safe"

# What went wrong when a small write was attempted in the same place.
_TROUBLES: Final = {
    errno.ENOSPC: _DISK_IS_FULL,
    errno.EDQUOT: "your disk quota is used up: free some space and run again; what was committed is safe",
    errno.EROFS: (
        "the file system is mounted read-only, as systems do by themselves after a disk error: check the disk, "
        "then run again; what was committed is safe"
    ),
    errno.ENOENT: "its directory does not exist: create it, or choose another place",
    errno.EACCES: "no permission to create files in its directory, which SQLite needs: choose another place",
}
_ADVICE: Final = {
    sqlite3.SQLITE_NOTADB: "is not a SQLite database: choose another file; this one was left as it is",
    sqlite3.SQLITE_CORRUPT: "the database is damaged: restore a copy, or try `sqlite3 FILE .recover`",
    sqlite3.SQLITE_FULL: _DISK_IS_FULL,
    sqlite3.SQLITE_READONLY: "the file or its directory cannot be written: check the permissions",
    sqlite3.SQLITE_IOERR: "the disk reported an error: check it, then run again; what was committed is safe",
    sqlite3.SQLITE_IOERR_SHMSIZE: (
        "the disk is full and has no room for the -shm file beside the database: free some space and run again"
    ),
    sqlite3.SQLITE_CANTOPEN: "SQLite cannot open it: check the path and the permissions",
    sqlite3.SQLITE_TOOBIG: (
        "it holds a value longer than the limit for reading, which no run writes: find it with `sqlite3`, and be "
        "careful with a file from elsewhere"
    ),
    sqlite3.SQLITE_NOMEM: "there is not enough memory: free some, and try again",
    sqlite3.SQLITE_BUSY: "another process holds its lock: close that program, or wait, and run again",
}


def primary_code(error: BaseException) -> int | None:
    """Return SQLite's primary result code; ``None`` for errors raised by the Python module itself."""
    code = getattr(error, "sqlite_errorcode", None)
    return None if code is None else code & 0xFF


def is_fatal(error: BaseException) -> bool:
    """Return whether an error concerns the file or the machine, rather than one statement."""
    if not isinstance(error, sqlite3.Error) or primary_code(error) not in _FATAL:
        return False
    # A search index that no longer matches its table is a problem of that table, not of the file.
    return error.sqlite_errorcode != sqlite3.SQLITE_CORRUPT_VTAB


def is_damage(error: BaseException) -> bool:
    """Return whether an error means that the database is damaged."""
    return isinstance(error, sqlite3.Error) and primary_code(error) in (
        sqlite3.SQLITE_CORRUPT,
        sqlite3.SQLITE_NOTADB,
    )


def is_busy(error: BaseException) -> bool:
    """Return whether another connection's lock is in the way."""
    return isinstance(error, sqlite3.Error) and primary_code(error) in (
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
    )


def is_refusal(error: BaseException) -> bool:
    """Return whether an authorizer refused a statement; SQLite has no code for a refused function."""
    return isinstance(error, sqlite3.Error) and (
        primary_code(error) == sqlite3.SQLITE_AUTH or str(error).startswith("not authorized")
    )


def storage_error(error: sqlite3.Error, path: object) -> StorageError:
    """Turn SQLite's error into one sentence that says what to do; examines the place to find the reason.

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
            "it has a view that calls functions in place of one of pipeloom's tables, which no run creates: be "
            "careful with a file from elsewhere"
        )
    advice = advice or _ADVICE.get(code) or _ADVICE.get(primary, "SQLite failed")
    name = getattr(error, "sqlite_errorname", type(error).__name__)
    return StorageError(f"{clean(path)}: {advice} ({name}: {clean(error)})", path=path)


def out_of_memory(path: object) -> StorageError:
    """Return the error for a writer without memory; SQLite's own error for that is a ``MemoryError``, too."""
    return StorageError(
        f"{clean(path)}: not enough memory to write: use fewer workers, let each write less at a time, or "
        "raise the limit, and run again; what was committed is safe",
        path=path,
    )


def reading_error(error: sqlite3.Error, path: Path) -> StorageError:
    """Like :func:`storage_error`, for a reader, which needs write permission only if there is a log."""
    if primary_code(error) in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN) and not _out_of_descriptors():
        if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_READONLY_ROLLBACK:
            advice = (
                "a process died during a commit, which the next process that writes will undo: run again, or open "
                "it with `sqlite3`; keep the -journal beside it until then"
            )
        elif not os.access(path, os.R_OK):
            advice = "no permission to read it: ask its owner"
        elif not os.access(path.absolute().parent, os.W_OK):
            advice = (
                "SQLite must write a -shm file beside it to read it, which is not allowed: read it as a user who "
                "may write there, or copy it (with its -wal, if there is one) and read the copy"
            )
        else:
            return storage_error(error, path)
        return StorageError(f"{clean(path)}: {advice} ({error.sqlite_errorname})", path=path)
    return storage_error(error, path)


def _around(real: Path, primary: int) -> str | None:
    """Return what is visibly wrong with the place at this moment; ``None`` if nothing is."""
    if _out_of_descriptors():
        return "this process may open no more files: close some, or raise the limit (ulimit -n), and run again"
    if primary == sqlite3.SQLITE_FULL:
        return _full(real)
    trouble, is_write = _tried(real.parent)
    if trouble == errno.ENOSPC and not is_write and (advice := _no_inodes(real.parent)) is not None:
        return advice
    return _TROUBLES.get(trouble or 0)


def _tried(directory: Path) -> tuple[int | None, bool]:
    """Try to create an unnamed file and write a little; return the error, and whether writing caused it.

    Where the system has no unnamed files (only Linux has them), nothing is tried.

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
    """Return what to do if a file system has run out of inodes; some, such as btrfs, do not count them."""
    try:
        found = os.statvfs(directory)
    except (AttributeError, OSError):  # Windows has no statvfs
        return None
    if not found.f_files or found.f_favail:
        return None
    return (
        "the disk has no inodes left for another file, though it may have free space (see df -i): remove some "
        "files, and run again; what was committed is safe"
    )


def _full(real: Path) -> str | None:
    """Return advice if SQLite's temporary directory is full, not the database's disk: SQLite reports both alike."""
    temporary = _temporary()
    try:
        if temporary is None or os.stat(temporary).st_dev == os.stat(real.parent).st_dev:
            return None
        if _free(temporary) >= _free(real.parent):
            return None
    except (AttributeError, OSError):
        return None
    return (
        f"a large sort or index did not fit into {clean(temporary)}, where SQLite keeps its temporary files: free "
        "some space there, or set SQLITE_TMPDIR to a larger place, and run again; what was committed is safe"
    )


def _temporary() -> str | None:
    """Return SQLite's temporary directory: the first of these that it can use.

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
    """Return whether this process is about to run out of file descriptors; SQLite only reports "cannot open"."""
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
