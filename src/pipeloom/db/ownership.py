"""One engine per file: an in-process registry, then a lock on ``<db>-lock`` that dies with its process.

A POSIX record lock is granted to the same process twice, and is lost when *any* descriptor of the file is
closed. So each lock file is opened once per process and never closed or removed, and a registry keyed by the
file's identity answers for this process.
"""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Final, Self

from pipeloom.errors import DatabaseInUseError, StorageError
from pipeloom.text import clean

try:
    import fcntl
except ImportError:  # Windows; written for it, never tested there
    fcntl = None  # type: ignore[assignment]
    import msvcrt

__all__ = ["Ownership"]

_guard = threading.Lock()
Identity = tuple[int, int]

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
            if _identity(real) in _held:
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
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
            self._identity = _made(real)
            _held[self._identity] = descriptor

    def release(self) -> None:
        """Give the file back."""
        with _guard:
            if self._identity is not None and (descriptor := _held.pop(self._identity, None)) is not None:
                _unlock(descriptor)
            self._identity = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


def _identity(path: Path) -> Identity | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _made(real: Path) -> Identity:
    """Return the database's identity; make an empty file when there is none.

    Nothing but SQLite may open a database, since closing it would drop SQLite's locks in this process. A file that
    did not exist has none.
    """
    try:
        os.close(os.open(real, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644))
    except OSError:
        pass  # it exists, or SQLite will say in a moment why it cannot
    return _identity(real) or (-1, hash(real))


def _opened(lock_path: Path, db_path: Path) -> int:
    try:
        known = _identity(lock_path)
        if known is not None and known in _descriptors:
            return _descriptors[known]
        descriptor = os.open(lock_path, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o666)
    except OSError as error:
        raise StorageError(
            f"{clean(db_path)}: cannot create {clean(lock_path.name)} beside it ({error.strerror}): "
            "choose a place that can be written",
            path=db_path,
        ) from error
    made = os.fstat(descriptor)
    _descriptors[made.st_dev, made.st_ino] = descriptor
    return descriptor


def _lock(descriptor: int) -> bool:
    try:
        if fcntl is None:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined, unused-ignore]
        else:
            fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _unlock(descriptor: int) -> None:
    if fcntl is None:
        msvcrt.locking(descriptor, msvcrt.LK_UNLCK, 1)  # type: ignore[attr-defined, unused-ignore]
    else:
        fcntl.lockf(descriptor, fcntl.LOCK_UN)


def _owner(descriptor: int) -> int | None:
    try:
        return int(os.pread(descriptor, 20, 0))
    except (OSError, ValueError):
        return None
