"""Open a connection with the right pragmas, run checkpoints on it, and close it."""

from __future__ import annotations

import os
import sqlite3
import sys
import urllib.parse  # noqa: F401 - Path.as_uri() imports it late, perhaps with no free descriptor left
from collections.abc import Callable
from pathlib import Path
from typing import Final, Literal, TypeVar, get_args

from pipeloom.data.text import clean
from pipeloom.db.failures import reading_error, storage_error
from pipeloom.db.ownership import owner_seen
from pipeloom.db.place import (
    MEMORY,
    check_file,
    check_file_system,
    check_place,
    is_mount_point,
    is_read_only,
    mount_point_error,
    path_of,
)
from pipeloom.errors import StorageError

__all__ = [
    "MEMORY",
    "Durability",
    "check_to_open",
    "close_without_checkpoint",
    "connect",
    "connect_readonly",
    "open_file",
    "prepare",
    "read_by",
    "set_journal",
    "wal_checkpoint",
]

T = TypeVar("T")

Durability = Literal["full", "normal", "off"]
"""What a power failure may destroy: ``full`` no commit, ``normal`` the last commits, ``off`` the whole file."""

# A rollback journal commits by removing the journal; only EXTRA makes that durable, and NORMAL could even corrupt.
# Source: https://www.sqlite.org/pragma.html#pragma_synchronous
_SYNCHRONOUS: Final = {"full": "FULL", "normal": "NORMAL", "off": "OFF"}
_SYNCHRONOUS_JOURNAL: Final = {"full": "EXTRA", "normal": "FULL", "off": "OFF"}

_BUSY_S: Final = 2.0
_CACHE_KIB: Final = 6144
_STATEMENTS: Final = 256


def connect(
    db_path: Path,
    *,
    wal: bool = True,
    durability: Durability = "full",
    inspect: Callable[[sqlite3.Connection], object] | None = None,
) -> sqlite3.Connection:
    """Open the read-write connection; usable only in the calling thread; blocks on the disk.

    Args:
        db_path: A file, created if missing (its directory is not), or ``:memory:``. ``~`` is the home directory.
        wal: Use a write-ahead log; otherwise a rollback journal (``DELETE``).
        durability: See :data:`Durability`.
        inspect: Called with the connection before a byte is changed (switching to WAL writes the header). If it
            raises, the connection is closed and the file is left as it was.

    Returns:
        The open connection, in autocommit mode.

    Raises:
        StorageError: The file cannot be opened, is not a database, or the journal mode was refused.
        ValueError: ``durability`` is none of the three, or the path is empty or a URL.

    Source: https://www.sqlite.org/pragma.html (journal_mode, synchronous, fullfsync, wal_autocheckpoint)
    """
    db_path = path_of(db_path)
    check_to_open(db_path, wal=wal, durability=durability)
    conn = open_file(db_path)
    try:
        prepare(conn, db_path, wal=wal, durability=durability, inspect=inspect)
    except BaseException:
        conn.close()
        raise
    return conn


def check_to_open(db_path: Path, *, wal: bool | None, durability: Durability) -> None:
    """Check the arguments and the place before a file is created.

    Raises:
        StorageError, ValueError: As for ``connect``.
    """
    if durability not in get_args(Durability):
        raise ValueError(f'durability must be "full", "normal" or "off", not {durability!r}')
    if str(db_path) != MEMORY:
        check_place(Path(db_path))
        check_file_system(Path(db_path), wal=wal is not False)


def open_file(db_path: Path) -> sqlite3.Connection:
    """Open a file with SQLite without reading a byte; the connection belongs to the calling thread.

    Raises:
        StorageError: It cannot be opened.
    """
    try:
        return sqlite3.connect(db_path, timeout=_BUSY_S, isolation_level=None, cached_statements=_STATEMENTS)
    except sqlite3.Error as error:
        raise storage_error(error, db_path) from error


def prepare(
    conn: sqlite3.Connection,
    db_path: Path,
    *,
    wal: bool | None,
    durability: Durability,
    inspect: Callable[[sqlite3.Connection], object] | None,
) -> None:
    """Set up an open connection as ``connect`` does; if this raises, it may be called again.

    With ``wal=None`` a file keeps its journal mode, and a new one gets a write-ahead log.
    """
    in_memory = str(db_path) == MEMORY
    try:
        conn.execute("PRAGMA foreign_keys = ON")
        conn.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
        if inspect is not None:
            inspect(conn)
        if in_memory:
            conn.execute("PRAGMA synchronous = NORMAL")
            return
        _check_whole(conn, Path(db_path))
        if wal is None:
            is_new = conn.execute("PRAGMA page_count").fetchone()[0] == 0
            wal = is_new or conn.execute("PRAGMA journal_mode").fetchone()[0] == "wal"
        set_journal(conn, db_path, wal=wal, durability=durability)
    except sqlite3.Error as error:
        raise storage_error(error, db_path) from error


def set_journal(conn: sqlite3.Connection, db_path: Path, *, wal: bool, durability: Durability) -> None:
    """Make a file use a write-ahead log or a rollback journal; outside transactions.

    Raises:
        StorageError: The file system does not support it.
        sqlite3.OperationalError: Another connection is in the way.
    """
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
    # Auto-checkpoints hide their errors, so the writer runs checkpoints between batches instead.
    conn.execute("PRAGMA wal_autocheckpoint = 0")


def connect_readonly(
    db_path: str | os.PathLike[str], *, untouched: bool = False, longest: int | None = None
) -> sqlite3.Connection:
    """Open a database for reading, even during a run, which it does not delay.

    The connection never writes, runs checkpoints or creates a database. It is usable only in the calling thread;
    close it when done. Each statement sees what was committed when it began. The write-ahead log cannot shrink
    while a query is unfinished.

    Args:
        db_path: The file. ``~`` is the home directory.
        untouched: Do not even create or write SQLite's ``-shm`` file. If the database has no log, it is then read
            as if nothing could write to it: check afterwards whether something did (by its modification time, or by
            a ``-wal`` file). Suitable for a few quick queries.
        longest: The length in bytes of the longest value that SQLite may read or create; ``None`` for SQLite's own
            limit, one billion. Set it for a file from elsewhere: a view or a damaged page of a few bytes can
            produce values of any size.

    Returns:
        The open connection.

    Raises:
        StorageError: There is no such file, it is not a database, or it cannot be read.
        ValueError: The path is empty or a URL.

    Source: https://www.sqlite.org/uri.html (mode=ro; ``query_only`` alone would still allow checkpoints),
        https://www.sqlite.org/limits.html (SQLITE_LIMIT_LENGTH)
    """
    path = path_of(db_path)
    check_file(path)
    if is_mount_point(path) and owner_seen(path) is not None:
        raise mount_point_error(path)  # without the log it might be read in the middle of a checkpoint
    return read_by(path, lambda uri: _opened_readonly(uri, longest), untouched=untouched)


def read_by(path: Path, opened: Callable[[str], T], *, untouched: bool) -> T:
    """Open a file for reading, in the least intrusive way that works.

    Args:
        path: The file, which exists.
        opened: Opens the URI passed to it, and reads from it.
        untouched: As for :func:`connect_readonly`.

    Raises:
        StorageError: It cannot be read.
    """
    ways = ["mode=ro"]
    if not _size(path, "-wal") and not _size(path, "-journal"):
        # On a read-only disk nothing can write, and SQLite cannot create the -shm file that it needs for a log.
        if untouched or is_read_only(path.absolute().parent):
            ways = ["mode=ro&immutable=1"]
    elif untouched:
        ways.insert(0, "mode=ro&readonly_shm=1")  # fails if there is a log but no -shm
    for place, way in enumerate(ways, 1):
        try:
            return opened(f"{path.absolute().as_uri()}?{way}")
        except sqlite3.Error as error:
            if place == len(ways):
                raise reading_error(error, path) from error
    raise AssertionError("there is a last way")


def _opened_readonly(uri: str, longest: int | None) -> sqlite3.Connection:
    conn = sqlite3.connect(uri, uri=True, isolation_level=None)
    try:
        if longest is not None:  # before the first query, which reads the schema
            conn.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, longest)
        conn.execute("PRAGMA trusted_schema = OFF")
        conn.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()
    except BaseException:
        conn.close()
        raise
    return conn


def close_without_checkpoint(conn: sqlite3.Connection, db_path: Path) -> None:
    """Close a connection after the disk has failed, and leave the write-ahead log as it is.

    Closing the last connection moves the log into the database and deletes the log. After a failed write or sync,
    the disk may lack what the system's cache shows, so the log is left to the next open, which checks every frame.
    Rolls back first; must run in the connection's own thread. From Python 3.12 on SQLite has an option for this.
    Before, a second connection keeps this one from being the last, and a read-only one leaves the log alone.

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
            pass  # a missing disk cannot receive a checkpoint either
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
    """Refuse a file that ends in the middle of its last page, whose missing bytes SQLite would read as zeros.

    SQLite itself refuses a file that lacks whole pages. If there is a log, the last page may be in the log.
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
    """Return a file's size in bytes; 0 if it does not exist. ``os.stat`` opens nothing."""
    try:
        return os.stat(os.path.realpath(path) + suffix).st_size
    except OSError:
        return 0
