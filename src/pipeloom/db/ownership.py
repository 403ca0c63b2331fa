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
_descriptors: Final[dict[tuple[int, int], int]] = {}
_held: Final[set[tuple[int, int]]] = set()


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
        real = Path(os.path.realpath(db_path))
        lock_path = real.with_name(real.name + "-lock")
        with _guard:
            identity, descriptor = _opened(lock_path, db_path)
            if identity in _held:
                raise DatabaseInUseError(
                    f"{clean(db_path)}: a run on this file is already going on in this process: "
                    "wait for it, or use another file",
                    path=db_path,
                    pid=os.getpid(),
                )
            if not _lock(descriptor):
                pid = _owner(descriptor)
                raise DatabaseInUseError(
                    f"{clean(db_path)}: another pipeloom run{f' (process {pid})' if pid else ''} is using this "
                    "file: wait until it ends, or use another file",
                    path=db_path,
                    pid=pid,
                )
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
            _held.add(identity)
        self._identity: tuple[int, int] | None = identity
        self._descriptor = descriptor

    def release(self) -> None:
        """Give the file back."""
        with _guard:
            if self._identity is not None and self._identity in _held:
                _held.discard(self._identity)
                _unlock(self._descriptor)
            self._identity = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


def _opened(lock_path: Path, db_path: Path) -> tuple[tuple[int, int], int]:
    try:
        try:
            known = os.stat(lock_path)
            if (descriptor := _descriptors.get((known.st_dev, known.st_ino))) is not None:
                return (known.st_dev, known.st_ino), descriptor
        except FileNotFoundError:
            pass
        descriptor = os.open(lock_path, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o666)
    except OSError as error:
        raise StorageError(
            f"{clean(db_path)}: cannot create {clean(lock_path.name)} beside it ({error.strerror}): "
            "choose a place that can be written",
            path=db_path,
        ) from error
    made = os.fstat(descriptor)
    identity = (made.st_dev, made.st_ino)
    _descriptors[identity] = descriptor
    return identity, descriptor


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
