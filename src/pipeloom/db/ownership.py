"""One engine per file: a lock on the database itself, which ends with its process.

It is a lock of an open file description, far beyond anything that SQLite locks. It therefore applies to the file by
whatever name, link, mount or container it is reached, and is not lost through anything done beside the database or
by a task that reads it. The length of the locked range identifies the owner. The log has such a lock, too
(:mod:`pipeloom.db.second_locks`), since SQLite finds it by the database's name.
"""

from __future__ import annotations

import errno
import os
import sqlite3
import sys
import threading
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from typing import Final, NamedTuple, Self

from pipeloom.data.text import clean
from pipeloom.db.failures import storage_error
from pipeloom.db.locks import descriptors_of, is_open, is_writable, lock, locked_by, unlock
from pipeloom.db.place import READING, Identity, identity
from pipeloom.errors import DatabaseInUseError, StorageError

__all__ = [
    "OWNED",
    "Owner",
    "Ownership",
    "check_system",
    "let_go_in_child",
    "owner_of",
    "owner_seen",
    "process_name",
]

OWNED: Final = 1 << 62
"""The first byte of the range that a run locks in its files. A lock may be beyond the end of a file."""

_WHOLE: Final = 1 << 61  # longer than any such range

_PID_BITS: Final = 23  # Linux assigns ids below 2**22
_TRIES: Final = 20
_NO_SUCH_LOCKS: Final = (
    "this system has no locks of open files, which are needed so that no two runs write one database: run on Linux "
    "3.15, macOS 10.11 or later, on a local disk"
)

_guard = threading.Lock()
_held: Final[dict[Identity, int]] = {}  # database → the descriptor that locks it


def _forget_after_fork() -> None:
    """Drop the locks in a forked child, which shares the open files, so that they end with the owner.

    The descriptors stay in use: objects that the child has inherited may close them.
    """
    for descriptor in _held.values():
        let_go_in_child(descriptor)
    _held.clear()
    _guard.release()


def let_go_in_child(descriptor: int, path: str | None = None) -> None:
    """Replace an inherited open file; in a forked child.

    Args:
        descriptor: The open file's descriptor, which shares its locks with the parent.
        path: The file to open instead. ``None``: nothing, which cannot be locked for writing: a connection that the
            child inherited and closes must not conclude that it is the last one, and remove the log.
    """
    try:
        instead = _anew(descriptor, path)
        os.dup2(instead, descriptor, inheritable=False)
        os.close(instead)
    except OSError:
        pass  # no descriptor left: the lock stays until the child ends


def _anew(descriptor: int, path: str | None) -> int:
    if path is not None:
        try:
            instead = os.open(path, os.O_RDWR | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0))
            if os.path.samestat(os.fstat(instead), os.fstat(descriptor)):
                return instead
            os.close(instead)
        except OSError:
            pass  # removed
    return os.open(os.devnull, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))


if hasattr(os, "register_at_fork"):
    # Nobody may fork while a lock is being taken: the child would not know that it must drop it.
    os.register_at_fork(before=_guard.acquire, after_in_parent=_guard.release, after_in_child=_forget_after_fork)


def check_system(db_path: Path) -> None:
    """Refuse to write a database on Windows, before anything is created there.

    Raises:
        StorageError: This is Windows.
    """
    if sys.platform == "win32":
        raise StorageError(f"{clean(db_path)}: {_NO_SUCH_LOCKS}", path=db_path)


class Owner(NamedTuple):
    """The owner of a file.

    Attributes:
        pid: The id of its process, as seen by that process; 0 if unknown.
        is_near: The id means the same process here: both are in one namespace of process ids.
    """

    pid: int
    is_near: bool

    def __str__(self) -> str:
        if not self.pid:
            return "a process that cannot be identified from here"
        return f"process {self.pid}" + ("" if self.is_near else " in another container")


class Ownership:
    """The right to run an engine on one database file; a context manager; releasing it twice is fine.

    Any thread. It opens the file with SQLite, which creates it empty if missing, and reads nothing of it.

    Args:
        db_path: The database; it need not exist yet, but its directory must.
        opened: Opens the connection whose file is locked; the caller closes that connection, and then releases
            this. ``None``: a connection of its own, on which nothing is executed.

    Attributes:
        conn: That connection.

    Raises:
        DatabaseInUseError: Another engine is running on it, here or in another process; or on a database that was
            moved away but whose log is still beside this one.
        StorageError: It cannot be opened or locked.
    """

    def __init__(self, db_path: Path, opened: Callable[[], sqlite3.Connection] | None = None) -> None:
        self._identity: Identity | None = None
        self._is_lent = opened is not None
        check_system(db_path)
        self._path = db_path
        real = Path(os.path.realpath(db_path))
        with _guard:
            which = identity(real)
            if which is None:
                _create(real)
            elif which in _held:
                raise DatabaseInUseError(
                    f"{clean(db_path)}: another run in this process is using this file: "
                    "wait for it, or use another file",
                    path=db_path,
                    pid=os.getpid(),
                )
            self.conn, descriptor = _opened(real, db_path, opened)
            try:
                self._identity = _locked(descriptor, real, db_path)
            except BaseException:
                # SQLite may keep the file open for a while, because of another connection's locks.
                with suppress(OSError):
                    unlock(descriptor, OWNED, _WHOLE)
                self.conn.close()
                raise
            _held[self._identity] = descriptor

    def renew(self) -> None:
        """Lock the file by another descriptor if the locked one was closed because another connection owned it.

        Raises:
            DatabaseInUseError: Another process was faster.
        """
        with _guard:
            which = self._identity
            if which is None or which not in _held or is_open(_held[which], which):
                return
            for descriptor in filter(is_writable, descriptors_of(which)):
                if not lock(descriptor, OWNED, process_name(), kind="exclusive"):
                    raise DatabaseInUseError(
                        f"{clean(self._path)}: another pipeloom run has taken this file over: wait until it ends, "
                        "and run again",
                        path=self._path,
                    )
                _held[which] = descriptor
                return

    def release(self) -> None:
        """Release the file."""
        with _guard:
            which, self._identity = self._identity, None
            descriptor = _held.pop(which, None) if which is not None else None
            if which is None or descriptor is None:
                return
            if is_open(descriptor, which):
                unlock(descriptor, OWNED, _WHOLE)  # as above
            if not self._is_lent:
                self.conn.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


def owner_of(db_path: Path) -> int | None:
    """Return the process that runs an engine on this file, ``None`` if there is none; see :func:`owner_seen`.

    Args:
        db_path: The file.

    Returns:
        Its id as seen by itself, which in a container may differ from the one seen from outside; 0 if there is, or
        may be, an owner that cannot be identified from here.
    """
    owner = owner_seen(db_path)
    return None if owner is None else owner.pid


def owner_seen(db_path: Path) -> Owner | None:
    """Return who runs an engine on this file, ``None`` if nobody does; any thread, never blocks.

    Takes no lock, creates no file, and opens files only through SQLite.
    """
    if sys.platform == "win32":
        return None  # no run can begin there
    real = Path(os.path.realpath(db_path))
    with _guard:
        which = identity(real)
        if which is None:
            return None
        if which in _held:
            return Owner(os.getpid(), is_near=True)
        try:
            if there := descriptors_of(which):
                return _owner_by(there[0])
            with closing(sqlite3.connect(f"{real.as_uri()}?mode=ro", uri=True)):
                return _owner_by(descriptors_of(which)[0])
        except (OSError, sqlite3.Error, IndexError):
            return Owner(0, is_near=False)


def process_name() -> int:
    """Return the length of the range that this process locks: it encodes its process namespace and its id."""
    try:
        namespace = os.stat("/proc/self/ns/pid").st_ino & 0xFFFFFFFF
    except OSError:
        namespace = 0  # there is only one
    return namespace << _PID_BITS | os.getpid()


def _owner_by(descriptor: int) -> Owner | None:
    found = locked_by(descriptor, OWNED)
    if found is None:
        return None
    if found.start != OWNED:
        return Owner(0, is_near=False)
    return Owner(found.length & ((1 << _PID_BITS) - 1), found.length >> _PID_BITS == process_name() >> _PID_BITS)


def _create(real: Path) -> None:
    """Create an empty file if there is none. Only SQLite may open one that exists."""
    try:
        os.close(os.open(real, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0), 0o644))
    except OSError:
        pass  # it exists, or SQLite will say in a moment why it cannot


def _opened(
    real: Path, db_path: Path, opened: Callable[[], sqlite3.Connection] | None
) -> tuple[sqlite3.Connection, int]:
    """Open the file with SQLite, and find the descriptor that it got.

    Readers come and go in other threads, and SQLite may get the very descriptor that one has just closed: only
    those open for writing are compared, and all of them only if there are none.

    SQLite may have reused a descriptor that it had not closed yet because of another connection's locks; which one
    cannot be determined, and any of them will do. SQLite closes none of them while there are locks, as a run's
    connection has with a log; for the other cases see ``renew``.
    """
    spare: list[sqlite3.Connection] = []
    try:
        while True:
            before = set(_candidates(real))
            conn = opened() if opened is not None else _opened_idly(real)
            there = _candidates(real)
            new = [number for number in there if number not in before] or sorted(there)[:1]
            if len(new) == 1:
                return conn, new[0]
            spare.append(conn)
            if len(spare) == _TRIES or not new:
                break
            # Another thread opened the file at the same instant.
    except sqlite3.Error as error:
        raise storage_error(error, db_path) from error
    finally:
        for other in spare:
            other.close()
    raise StorageError(
        f"{clean(db_path)}: cannot find out which files this process has open: run where /proc is mounted",
        path=db_path,
    )


def _candidates(real: Path) -> list[int]:
    there = descriptors_of(identity(real))
    return list(filter(is_writable, there)) or there


def _opened_idly(real: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"{real.as_uri()}?mode=rw", uri=True, isolation_level=None, check_same_thread=False)


def _locked(descriptor: int, real: Path, db_path: Path) -> Identity:
    """Lock the file; return its identity.

    Raises:
        DatabaseInUseError: The file, or the log beside it, belongs to another run.
        StorageError: The system has no such locks.
    """
    try:
        if not lock(descriptor, OWNED, process_name(), kind="exclusive"):
            owner = _owner_by(descriptor) or Owner(0, is_near=False)
            raise DatabaseInUseError(
                f"{clean(db_path)}: another pipeloom run{f' ({owner})' if owner.pid else ''} is using this file: "
                "wait until it ends, or use another file",
                path=db_path,
                pid=owner.pid or None,
            )
        log = real.with_name(real.name + "-wal")
        if (other := _owner_of_log(log)) is not None:
            raise DatabaseInUseError(
                f"{clean(db_path)}: {clean(log.name)} beside it belongs to a run ({other}) on a database that was "
                "moved away or replaced: wait until that run has ended, or use another name",
                path=db_path,
                pid=other.pid or None,
            )
    except OSError as error:
        if error.errno == errno.EINVAL:
            raise StorageError(f"{clean(db_path)}: {_NO_SUCH_LOCKS}", path=db_path) from error
        advice = "run as the user who owns it" if error.errno == errno.EBADF else "choose a local disk"
        raise StorageError(
            f"{clean(db_path)}: cannot be locked ({error.strerror}): {advice}", path=db_path
        ) from error
    found = os.fstat(descriptor)
    if identity(real) != (found.st_dev, found.st_ino):
        raise StorageError(
            f"{clean(db_path)}: was replaced or removed just now: leave it in place, and run again",
            path=db_path,
        )
    return found.st_dev, found.st_ino


def _owner_of_log(log: Path) -> Owner | None:
    """Return who runs on a database with this log. SQLite takes no locks on a log, so opening it is safe."""
    try:
        descriptor = os.open(log, READING)
    except OSError:
        return None  # there is none; check_place reports other faults of it
    try:
        return _owner_by(descriptor)
    finally:
        os.close(descriptor)
