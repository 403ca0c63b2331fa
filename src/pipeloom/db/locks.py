"""Locks that belong to an open file rather than to the process, taken on descriptors that SQLite has open.

POSIX drops all record locks that a process holds on a file when the process closes *any* descriptor of it; a task
that reads the file is enough. A lock of an open file description remains until that description is closed, holds
throughout one system whatever name or mount the file has, and ends with the process. Nothing here opens or closes a
file: only SQLite may do that with a database.

Source: https://man7.org/linux/man-pages/man2/fcntl_locking.2.html (Open file description locks)
"""

from __future__ import annotations

import errno
import os
import struct
import sys
from typing import Final, Literal, NamedTuple

from pipeloom.db.place import Identity

if sys.platform != "win32":
    import fcntl

__all__ = ["Lock", "descriptors_of", "is_open", "is_writable", "lock", "locked_by", "mark", "unlock"]

# Python defines them only if its C headers did.
# Source: https://github.com/apple-oss-distributions/xnu (bsd/sys/fcntl.h)
_SET: Final = 90 if sys.platform == "darwin" else 37
_ASK: Final = 92 if sys.platform == "darwin" else 36

# struct flock: type, whence, start, length, pid on Linux; start, length, pid, type, whence on macOS and the BSDs.
_FLOCK: Final = struct.Struct("@hhqqi" if sys.platform == "linux" else "@qqihh")
_LISTS: Final = ("/proc/self/fd", "/dev/fd")
_LISTLESS: Final = range(4096)  # tried one by one if the system does not list the open ones


class Lock(NamedTuple):
    """A lock that another holder has: its range, and the process if the system knows it (otherwise -1)."""

    start: int
    length: int
    process: int


def lock(descriptor: int, start: int, length: int = 1, *, kind: Literal["shared", "exclusive"]) -> bool:
    """Take a lock for an open file, or change the one that it has; never waits.

    Returns:
        Whether the lock was free.

    Raises:
        OSError: The system has no such locks (``EINVAL``), or the file is not open in the required mode.
    """
    wanted = fcntl.F_RDLCK if kind == "shared" else fcntl.F_WRLCK
    try:
        _call(descriptor, _SET, wanted, start, length)
    except OSError as error:
        if error.errno in (errno.EACCES, errno.EAGAIN):
            return False
        raise
    return True


def unlock(descriptor: int, start: int, length: int = 1) -> None:
    """Release a lock; one that is not held is fine."""
    _call(descriptor, _SET, fcntl.F_UNLCK, start, length)


def locked_by(descriptor: int, start: int, length: int = 1) -> Lock | None:
    """Return a lock that prevents an exclusive lock of this open file, without taking it; ``None`` if none does.

    Record locks of this process count as well, since they are not locks of this open file.
    """
    kind, *found = _call(descriptor, _ASK, fcntl.F_WRLCK, start, length)
    return None if kind == fcntl.F_UNLCK else Lock(*found)


def mark(descriptor: int, start: int) -> None:
    """Take a shared record lock *of the process*: if it is gone, the process's other locks may be gone, too."""
    fcntl.lockf(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB, 1, start)


def descriptors_of(which: Identity | None) -> list[int]:
    """Return this process's open descriptors of a file, in any order; none on Windows. Never blocks."""
    return [] if which is None else [number for number in _all_open() if is_open(number, which)]


def is_open(descriptor: int, which: Identity) -> bool:
    """Return whether a descriptor is open and belongs to this file."""
    try:
        found = os.fstat(descriptor)
    except OSError:
        return False
    return (found.st_dev, found.st_ino) == which


def is_writable(descriptor: int) -> bool:
    """Return whether it is open for reading and writing, which is how SQLite opens a file, and little else does."""
    try:
        return fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDWR
    except OSError:
        return False  # another thread has just closed it


def _all_open() -> list[int]:
    for directory in _LISTS:
        try:
            return [int(name) for name in os.listdir(directory)]
        except OSError:
            continue
    return list(_LISTLESS)


def _call(descriptor: int, command: int, kind: int, start: int, length: int) -> tuple[int, int, int, int]:
    """Call ``fcntl`` with a lock; return the kind, start, length and process in its answer."""
    if sys.platform == "linux":
        words = _FLOCK.pack(kind, os.SEEK_SET, start, length, 0)
        kind, _, start, length, process = _FLOCK.unpack(fcntl.fcntl(descriptor, command, words)[: _FLOCK.size])
    else:
        words = _FLOCK.pack(start, length, 0, kind, os.SEEK_SET)
        start, length, process, kind, _ = _FLOCK.unpack(fcntl.fcntl(descriptor, command, words)[: _FLOCK.size])
    return kind, start, length, process
