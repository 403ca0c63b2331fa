"""Open a connection with the right pragmas, checkpoint it, and put SQLite's errors into words."""

from __future__ import annotations

import errno
import os
import sqlite3
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final, Literal, get_args

from pipeloom.data.text import clean
from pipeloom.db.place import check_file, check_file_system, check_place, is_read_only
from pipeloom.errors import StorageError

__all__ = [
    "Durability",
    "check_place",
    "close_without_checkpoint",
    "connect",
    "connect_readonly",
    "is_fatal",
    "storage_error",
    "wal_checkpoint",
]

Durability = Literal["full", "normal", "off"]
"""What a power cut may take: ``full`` nothing committed, ``normal`` the last commits, ``off`` the file."""

MEMORY: Final = ":memory:"
# A rollback journal commits by removing the journal, and only EXTRA makes that durable; NORMAL could even corrupt.
# Source: https://www.sqlite.org/pragma.html#pragma_synchronous
_SYNCHRONOUS: Final = {"full": "FULL", "normal": "NORMAL", "off": "OFF"}
_SYNCHRONOUS_JOURNAL: Final = {"full": "EXTRA", "normal": "FULL", "off": "OFF"}

_BUSY_S: Final = 2.0
_CACHE_KIB: Final = 6144
_STATEMENTS: Final = 256
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


def connect(
    db_path: Path,
    *,
    wal: bool = True,
    durability: Durability = "full",
    inspect: Callable[[sqlite3.Connection], object] | None = None,
) -> sqlite3.Connection:
    """Open the read-write connection; usable only in the calling thread; blocks on the disk.

    Args:
        db_path: A file, created when missing (its directory is not), or ``:memory:``.
        wal: Write-ahead log; a rollback journal (``DELETE``) otherwise.
        durability: See :data:`Durability`.
        inspect: Called with the connection before a byte is changed (switching to WAL writes the header); what it
            raises closes the connection and leaves the file as it was.

    Raises:
        StorageError: It cannot be opened, is no database, or the journal mode was refused.
        ValueError: ``durability`` is none of the three.

    Source: https://www.sqlite.org/pragma.html (journal_mode, synchronous, fullfsync, wal_autocheckpoint)
    """
    if durability not in get_args(Durability):
        raise ValueError(f'durability must be "full", "normal" or "off", not {durability!r}')
    in_memory = str(db_path) == MEMORY
    if not in_memory:
        check_place(Path(db_path))
        check_file_system(Path(db_path), wal=wal)
    conn: sqlite3.Connection | None = None
    try:
        conn = sqlite3.connect(db_path, timeout=_BUSY_S, isolation_level=None, cached_statements=_STATEMENTS)
        conn.execute("PRAGMA foreign_keys = ON")
        conn.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
        if inspect is not None:
            inspect(conn)
        if in_memory:
            conn.execute("PRAGMA synchronous = NORMAL")
            return conn
        _check_whole(conn, Path(db_path))
        wanted = "wal" if wal else "delete"
        mode = conn.execute(f"PRAGMA journal_mode = {wanted}").fetchone()[0]
        if mode != wanted:
            raise StorageError(
                f"{clean(db_path)}: the file system does not support journal mode {wanted} (SQLite answered "
                f"{mode}): use a local disk" + (", or pass wal=False" if wal else ""),
                path=db_path,
            )
        conn.execute(f"PRAGMA synchronous = {(_SYNCHRONOUS if wal else _SYNCHRONOUS_JOURNAL)[durability]}")
        if durability == "full" and sys.platform == "darwin":
            conn.execute("PRAGMA fullfsync = ON")
        # Auto-checkpoints hide their errors: the writer checkpoints between batches instead.
        conn.execute("PRAGMA wal_autocheckpoint = 0")
    except BaseException as error:
        if conn is not None:
            conn.close()
        if isinstance(error, sqlite3.Error):
            raise storage_error(error, db_path) from error
        raise
    return conn


def connect_readonly(db_path: str | os.PathLike[str], *, untouched: bool = False) -> sqlite3.Connection:
    """Open a database to read it, even during a run, which it does not hold up.

    The connection never writes, checkpoints or creates a database. It can be used only in the calling thread; close
    it when done. Each statement sees what was committed when it began; while a query is unfinished, the write-ahead
    log cannot shrink.

    Args:
        db_path: The file.
        untouched: Do not even make or write SQLite's ``-shm``. With no log beside it the file is then read as if
            nobody ever wrote it: look afterwards whether somebody did (its time, or a ``-wal``). For few questions.

    Raises:
        StorageError: There is no such file, it is no database, or it cannot be read.

    Source: https://www.sqlite.org/uri.html (mode=ro; ``query_only`` alone would still allow checkpoints)
    """
    path = Path(db_path)
    check_file(path)
    ways = ["mode=ro"]
    if not _size(path, "-wal") and not _size(path, "-journal"):
        # On a read-only disk nobody writes, and SQLite cannot make the -shm that it wants for a log.
        if untouched or is_read_only(path.absolute().parent):
            ways = ["mode=ro&immutable=1"]
    elif untouched:
        ways.insert(0, "mode=ro&readonly_shm=1")  # fails when there is a log and no -shm
    for place, way in enumerate(ways, 1):
        try:
            return _opened_readonly(path, way)
        except sqlite3.Error as error:
            if place == len(ways):
                raise _unreadable(error, path) from error
    raise AssertionError("there is a last way")


def _opened_readonly(path: Path, way: str) -> sqlite3.Connection:
    conn = sqlite3.connect(f"{path.absolute().as_uri()}?{way}", uri=True, isolation_level=None)
    try:
        conn.execute("PRAGMA trusted_schema = OFF")
        conn.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()
    except BaseException:
        conn.close()
        raise
    return conn


def close_without_checkpoint(conn: sqlite3.Connection, db_path: Path) -> None:
    """Close a connection after the disk has failed, and leave the write-ahead log as it is.

    Closing the last connection moves the log into the database and deletes it. After a failed write or sync, what
    the system's cache shows need not be on the disk: the log is left to the next open, which checks every frame.
    Rolls back first; the connection's own thread. From Python 3.12 on SQLite can be told. Before, a second
    connection keeps this one from being the last, and a read-only one leaves the log alone.

    Source: https://www.sqlite.org/c3ref/c_dbconfig_defensive.html (SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE)
    """
    other: sqlite3.Connection | None = None
    try:
        try:
            if conn.in_transaction:
                conn.rollback()
            if hasattr(conn, "setconfig"):
                conn.setconfig(sqlite3.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE)  # type: ignore[attr-defined, unused-ignore]
            elif str(db_path) != MEMORY:
                other = connect_readonly(db_path)
        except (sqlite3.Error, StorageError):
            pass  # a disk that is gone cannot be checkpointed to either
        conn.close()
    finally:
        if other is not None:
            other.close()


def wal_checkpoint(
    conn: sqlite3.Connection, mode: Literal["PASSIVE", "FULL", "RESTART", "TRUNCATE"] = "TRUNCATE"
) -> None:
    """Move the write-ahead log into the database; commits first; blocks on the disk.

    Args:
        conn: Used in the thread that opened it.
        mode: ``TRUNCATE`` waits for readers and empties the log file; ``PASSIVE`` moves what it can.

    Raises:
        ValueError: ``mode`` is none of the four.

    Source: https://www.sqlite.org/pragma.html#pragma_wal_checkpoint
    """
    if mode not in ("PASSIVE", "FULL", "RESTART", "TRUNCATE"):
        raise ValueError(f"mode must be PASSIVE, FULL, RESTART or TRUNCATE, not {mode!r}")
    if conn.in_transaction:
        conn.commit()
    conn.execute(f"PRAGMA wal_checkpoint({mode})").fetchall()


def _check_whole(conn: sqlite3.Connection, path: Path) -> None:
    """Refuse a file that was cut off in the middle of its last page, whose missing bytes SQLite takes for zeros.

    A file that lacks whole pages SQLite refuses by itself. While there is a log, the last page may be in that.
    """
    conn.execute("BEGIN")
    try:
        if not conn.execute("PRAGMA page_count").fetchone()[0] or _size(path, "-wal"):
            return
        page_bytes = conn.execute("PRAGMA page_size").fetchone()[0]
        whole = _size(path) % page_bytes == 0
    finally:
        conn.execute("ROLLBACK")
    if not whole:
        raise StorageError(
            f"{clean(path)}: the database is damaged: its last page is cut off, as by an unfinished copy: "
            "copy it again, or try `sqlite3 FILE .recover`; this one was left as it is",
            path=path,
        )


def _size(path: Path, suffix: str = "") -> int:
    """Return a file's size in bytes; 0 when there is none. ``os.stat`` opens nothing."""
    try:
        return os.stat(os.path.realpath(path) + suffix).st_size
    except OSError:
        return 0


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


def storage_error(error: sqlite3.Error, path: object) -> StorageError:
    """Put SQLite's error into one sentence that says what to do."""
    advice = {
        sqlite3.SQLITE_NOTADB: "is not a SQLite database: choose another file; this one was left as it is",
        sqlite3.SQLITE_CORRUPT: "the database is damaged: restore a copy, or try `sqlite3 FILE .recover`",
        sqlite3.SQLITE_FULL: "the disk is full: free some space and run again; what was committed is safe",
        sqlite3.SQLITE_READONLY: "the file or its directory cannot be written: check the permissions",
        sqlite3.SQLITE_IOERR: "the disk reported an error: check it, then run again; what was committed is safe",
        sqlite3.SQLITE_CANTOPEN: "SQLite cannot open it: check the path and the permissions",
        sqlite3.SQLITE_BUSY: "another process holds its lock: close that program, or wait, and run again",
    }.get(primary_code(error) or 0, "SQLite failed")
    code = getattr(error, "sqlite_errorcode", None)
    if code == sqlite3.SQLITE_IOERR_SHMSIZE:
        advice = "the disk is full, there is no room for the -shm file beside it: free some space and run again"
    elif primary_code(error) == sqlite3.SQLITE_CANTOPEN and _out_of_descriptors():
        advice = "this process may open no more files: close some, or raise the limit (ulimit -n), and run again"
    name = getattr(error, "sqlite_errorname", type(error).__name__)
    return StorageError(f"{clean(path)}: {advice} ({name}: {clean(error)})", path=path)


def _unreadable(error: sqlite3.Error, path: Path) -> StorageError:
    """Like ``storage_error``, for a reader, which needs no permission to write unless there is a log."""
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
