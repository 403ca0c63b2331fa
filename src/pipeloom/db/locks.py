"""Locks that belong to an open file and not to the process, taken on descriptors that SQLite has open.

POSIX drops all record locks that a process holds on a file when the process closes *any* descriptor of it: a task
that reads a file is enough. A lock of an open file description stays until that description is closed, is one
system's whatever name or mount the file has, and dies with the process. Nothing here opens or closes a file: of a
database that is SQLite's alone.

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

# Python names them only where its C headers did.
# Source: https://github.com/apple-oss-distributions/xnu (bsd/sys/fcntl.h)
_SET: Final = 90 if sys.platform == "darwin" else 37
_ASK: Final = 92 if sys.platform == "darwin" else 36

# struct flock: type, whence, start, length, pid on Linux; start, length, pid, type, whence on macOS and the BSDs.
_FLOCK: Final = struct.Struct("@hhqqi" if sys.platform == "linux" else "@qqihh")
_LISTS: Final = ("/proc/self/fd", "/dev/fd")
_LISTLESS: Final = range(4096)  # looked at one by one where the system does not say which are open


class Lock(NamedTuple):
    """A lock that somebody else holds: its range, and the process, where the system knows it (-1 where not)."""

    start: int
    length: int
    process: int


def lock(descriptor: int, start: int, length: int = 1, *, kind: Literal["shared", "exclusive"]) -> bool:
    """Take a lock for an open file, or change the one it has; never waits.

    Returns:
        Whether it was free.

    Raises:
        OSError: The system has no such locks (``EINVAL``), or the file is not open for that.
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
    """Give a lock back; one that is not held is fine."""
    _call(descriptor, _SET, fcntl.F_UNLCK, start, length)


def locked_by(descriptor: int, start: int, length: int = 1) -> Lock | None:
    """Return a lock that keeps this open file from an exclusive one, without taking it; ``None`` when none does.

    Record locks of this very process count, since they are not this open file's.
    """
    kind, *found = _call(descriptor, _ASK, fcntl.F_WRLCK, start, length)
    return None if kind == fcntl.F_UNLCK else Lock(*found)


def mark(descriptor: int, start: int) -> None:
    """Take a shared record lock *of the process*: it is gone as soon as the process's other locks may be."""
    fcntl.lockf(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB, 1, start)


def descriptors_of(which: Identity | None) -> list[int]:
    """Return the descriptors of a file that this process has open, in no order; none on Windows. Never blocks."""
    return [] if which is None else [number for number in _all_open() if is_open(number, which)]


def is_open(descriptor: int, which: Identity) -> bool:
    """Say whether a descriptor is open, and this file's."""
    try:
        found = os.fstat(descriptor)
    except OSError:
        return False
    return (found.st_dev, found.st_ino) == which


def is_writable(descriptor: int) -> bool:
    """Say whether it is open for reading and writing, as SQLite opens a file, and hardly anybody else."""
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
    """Call ``fcntl`` with a lock; return the kind, start, length and process that it answers."""
    if sys.platform == "linux":
        words = _FLOCK.pack(kind, os.SEEK_SET, start, length, 0)
        kind, _, start, length, process = _FLOCK.unpack(fcntl.fcntl(descriptor, command, words)[: _FLOCK.size])
    else:
        words = _FLOCK.pack(start, length, 0, kind, os.SEEK_SET)
        start, length, process, kind, _ = _FLOCK.unpack(fcntl.fcntl(descriptor, command, words)[: _FLOCK.size])
    return kind, start, length, process
