"""One engine per file: an in-process registry, then a lock on ``<db>-lock`` that dies with its process.

A POSIX record lock is granted to the same process twice, and is lost when *any* descriptor of the file is
closed. So each lock file is opened once per process and never closed or removed, and a registry keyed by the
file's identity answers for this process.
"""

from __future__ import annotations

import errno
import os
import struct
import sys
import threading
from pathlib import Path
from typing import Final, Self

from pipeloom.data.text import clean
from pipeloom.db.place import Identity, identity
from pipeloom.errors import DatabaseInUseError, StorageError

if sys.platform == "win32":  # written for it, never tested there
    import msvcrt
else:
    import fcntl

__all__ = ["Ownership", "owner_of"]

_guard = threading.Lock()

_ADVICE: Final = {
    errno.ENOSPC: "free some space, and run again",
    errno.EDQUOT: "your quota is used up: free some space, and run again",
    errno.EMFILE: "this process may open no more files: close some, or raise the limit (ulimit -n)",
    errno.ENFILE: "this machine may open no more files: close some programs",
    errno.EISDIR: "a directory has that name: rename it, or use another file",
}
_OTHER_USER: Final = "run as the user whose it is, or use another file"
_OTHER_PLACE: Final = "choose a place that can be written"

_descriptors: Final[dict[Identity, int]] = {}  # lock file → its one descriptor
_held: Final[dict[Identity, int]] = {}  # database → the descriptor that locks it


def _forget_after_fork() -> None:
    """A child inherits the descriptors but not the locks, and may find the guard taken by a lost thread."""
    global _guard  # noqa: PLW0603
    _guard = threading.Lock()
    _held.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_after_fork)


class Ownership:
    """The right to run an engine on one database file; a context manager; releasing twice is fine.

    Args:
        db_path: The database; need not exist yet, its directory must.

    Raises:
        DatabaseInUseError: Another engine is running on it, here or in another process.
        StorageError: The lock file cannot be made.
    """

    def __init__(self, db_path: Path) -> None:
        self._identity: Identity | None = None
        real = Path(os.path.realpath(db_path))
        lock_path = real.with_name(real.name + "-lock")
        with _guard:
            descriptor = _opened(lock_path, db_path)
            if identity(real) in _held:
                raise DatabaseInUseError(
                    f"{clean(db_path)}: a run on this file is already going on in this process: "
                    "wait for it, or use another file",
                    path=db_path,
                    pid=os.getpid(),
                )
            if descriptor in _held.values() or not _lock(descriptor):
                pid = _owner(descriptor)
                raise DatabaseInUseError(
                    f"{clean(db_path)}: another pipeloom run{f' (process {pid})' if pid else ''} is using this "
                    "file: wait until it ends, or use another file",
                    path=db_path,
                    pid=pid,
                )
            try:
                os.ftruncate(descriptor, 0)
                os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
            except OSError as error:
                _unlock(descriptor)
                raise StorageError(
                    f"{clean(db_path)}: cannot write {clean(lock_path.name)} beside it ({error.strerror}): "
                    "free some space, and run again",
                    path=db_path,
                ) from error
            self._identity = _made(real)
            _held[self._identity] = descriptor

    def release(self) -> None:
        """Give the file back."""
        with _guard:
            if self._identity is not None and (descriptor := _held.pop(self._identity, None)) is not None:
                try:
                    _unlock(descriptor)
                except OSError:
                    pass  # a task has closed it, which gave the lock back
            self._identity = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


def owner_of(db_path: Path) -> int | None:
    """Return the process that runs an engine on this file, ``None`` when none does; any thread, never blocks.

    Takes no lock and makes no file. The registry is asked first: closing a descriptor of a lock file that this
    process holds would drop the lock.

    Returns:
        Its id as it calls itself, which in a container may be another than the one seen from outside; 0 when
        there is an owner, or may be one, that cannot be told from here.

    Source: https://www.man7.org/linux/man-pages/man2/fcntl_locking.2.html (F_GETLK)
    """
    real = Path(os.path.realpath(db_path))
    lock_path = real.with_name(real.name + "-lock")
    with _guard:
        known = identity(lock_path)
        own = None if known is None else _descriptors.get(known)
        if identity(real) in _held or (own is not None and own in _held.values()):
            return os.getpid()
        if own is not None:
            return _locker(own)
        try:
            descriptor = os.open(lock_path, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))
        except FileNotFoundError:
            return None
        except OSError:
            return 0
        try:
            return _locker(descriptor)
        finally:
            os.close(descriptor)


# struct flock: type, whence, start, length, pid on Linux; start, length, pid, type, whence on macOS and the BSDs.
_FLOCK: Final = struct.Struct("@hhqqi" if sys.platform == "linux" else "@qqihh")
_TYPE, _PID = (0, 4) if sys.platform == "linux" else (3, 2)


def _locker(descriptor: int) -> int | None:
    """Return who has locked an open lock file, without taking the lock."""
    if sys.platform == "win32":
        # Windows keeps everybody else from reading locked bytes.
        try:
            os.pread(descriptor, 1, 0)
        except (AttributeError, OSError):
            return 0
        return None
    question = [0] * 5
    question[_TYPE] = fcntl.F_WRLCK
    try:
        answer = _FLOCK.unpack(fcntl.fcntl(descriptor, fcntl.F_GETLK, _FLOCK.pack(*question)))
    except OSError:
        return 0
    if answer[_TYPE] == fcntl.F_UNLCK:
        return None
    return _owner(descriptor) or max(answer[_PID], 0)


def _made(real: Path) -> Identity:
    """Return the database's identity; make an empty file when there is none.

    Nothing but SQLite may open a database, since closing it would drop SQLite's locks in this process. A file that
    did not exist has none.
    """
    try:
        os.close(os.open(real, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644))
    except OSError:
        pass  # it exists, or SQLite will say in a moment why it cannot
    return identity(real) or (-1, hash(real))


def _opened(lock_path: Path, db_path: Path) -> int:
    try:
        known = identity(lock_path)
        if known is not None and known in _descriptors:
            return _descriptors[known]
        descriptor = os.open(lock_path, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o666)
    except OSError as error:
        is_there = os.path.lexists(lock_path)
        raise StorageError(
            f"{clean(db_path)}: cannot {'open' if is_there else 'create'} {clean(lock_path.name)} beside it "
            f"({error.strerror}): {_ADVICE.get(error.errno or 0, _OTHER_USER if is_there else _OTHER_PLACE)}",
            path=db_path,
        ) from error
    made = os.fstat(descriptor)
    _descriptors[made.st_dev, made.st_ino] = descriptor
    return descriptor


def _lock(descriptor: int) -> bool:
    try:
        if sys.platform == "win32":
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        else:
            fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _unlock(descriptor: int) -> None:
    if sys.platform == "win32":
        msvcrt.locking(descriptor, msvcrt.LK_UNLCK, 1)
    else:
        fcntl.lockf(descriptor, fcntl.LOCK_UN)


def _owner(descriptor: int) -> int | None:
    """Return what the owner wrote into the file: its id as it calls itself."""
    try:
        return int(os.pread(descriptor, 20, 0))
    except (OSError, ValueError):
        return None
