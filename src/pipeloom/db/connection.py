"""Open a connection with the right pragmas, checkpoint it, and put SQLite's errors into words."""

from __future__ import annotations

import os
import sqlite3
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final, Literal, get_args

from pipeloom.errors import StorageError
from pipeloom.text import clean

__all__ = ["Durability", "connect", "connect_readonly", "is_fatal", "storage_error", "wal_checkpoint"]

Durability = Literal["full", "normal", "off"]
"""What a commit waits for: ``full`` the disk, ``normal`` the disk only at checkpoints, ``off`` nothing."""

MEMORY: Final = ":memory:"
# A rollback journal commits by removing the journal, and only EXTRA makes that durable; NORMAL could even corrupt.
# Source: https://www.sqlite.org/pragma.html#pragma_synchronous
_SYNCHRONOUS: Final = {"full": "FULL", "normal": "NORMAL", "off": "OFF"}
_SYNCHRONOUS_JOURNAL: Final = {"full": "EXTRA", "normal": "FULL", "off": "OFF"}

_BUSY_S: Final = 2.0
_CACHE_KIB: Final = 6144
_STATEMENTS: Final = 256

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


def connect_readonly(db_path: Path) -> sqlite3.Connection:
    """Open a connection that never writes, checkpoints or creates; usable only in the calling thread.

    Raises:
        StorageError: There is no such file, or it is no database.

    Source: https://www.sqlite.org/uri.html (mode=ro; ``query_only`` alone would still allow checkpoints)
    """
    path = Path(db_path)
    if not path.is_file():
        raise StorageError(f"{clean(path)}: {'is a directory' if path.is_dir() else 'no such file'}", path=path)
    try:
        conn = sqlite3.connect(path.absolute().as_uri() + "?mode=ro", uri=True, isolation_level=None)
        try:
            conn.execute("PRAGMA trusted_schema = OFF")
            conn.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()
        except BaseException:
            conn.close()
            raise
    except sqlite3.Error as error:
        raise storage_error(error, path) from error
    return conn


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


def check_place(path: Path) -> None:
    """Say in words what SQLite would call "unable to open database file"."""
    directory = path.parent
    try:
        is_directory = path.is_dir()
    except OSError as error:
        raise StorageError(
            f"{clean(path, 200)}: no file can have this name ({error.strerror})", path=path
        ) from None
    if is_directory:
        raise StorageError(
            f"{clean(path)}: is a directory: name a file in it, such as {clean(path / 'out.db')}", path=path
        )
    if not directory.is_dir():
        raise StorageError(
            f"{clean(path)}: the directory {clean(directory)} does not exist: create it first", path=path
        )
    place = path if path.exists() else directory
    if not os.access(place, os.W_OK) or not os.access(directory, os.W_OK | os.X_OK):
        what = "it or its directory" if place is path else "in its directory"
        raise StorageError(
            f"{clean(path)}: no permission to write {what}, SQLite needs both: choose another place",
            path=path,
        )


def primary_code(error: sqlite3.Error) -> int | None:
    """Return SQLite's primary result code; ``None`` for errors raised by the Python module itself."""
    code = getattr(error, "sqlite_errorcode", None)
    return None if code is None else code & 0xFF


def is_fatal(error: BaseException) -> bool:
    """Say whether an error is about the file or the machine, rather than about one statement."""
    if not isinstance(error, sqlite3.Error) or primary_code(error) not in _FATAL:
        return False
    # A search index out of step with its table is that table's trouble, not the file's.
    return error.sqlite_errorcode != sqlite3.SQLITE_CORRUPT_VTAB


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
        sqlite3.SQLITE_CANTOPEN: "SQLite cannot open it: check the path, the permissions and the open-files limit",
        sqlite3.SQLITE_BUSY: "another process holds its lock: close that program, or wait, and run again",
    }.get(primary_code(error) or 0, "SQLite failed")
    name = getattr(error, "sqlite_errorname", type(error).__name__)
    return StorageError(f"{clean(path)}: {advice} ({name}: {clean(error)})", path=path)
