"""What SQLite's own locks say, said a second time, where a task that reads the file does not take it back.

SQLite uses record locks of the process. A task in a thread that hashes, zips or backs up the directory in which
the database lies opens and closes the files beside it, and with that drops these locks. Then the next reader takes
itself for the first, and begins the log's index anew under the running writer; the last one to leave removes the
log; and another writer is let in in the middle of a transaction. Three things stand against that:

- Shared locks of the open files, which other processes take for SQLite's: the database is in use, its index is.
- Such a file is opened between two batches only: a hook of the interpreter's makes the thread wait that opens it,
  and the writer waits until it is closed. It is the one way to hear of it in time; it cannot be taken out again,
  and returns at once while there is no run.
- A lock of the process that means nothing is gone when the others are, so what comes past the hook is noticed.

Source: https://www.sqlite.org/howtocorrupt.html (2.2), https://www.sqlite.org/walformat.html (2.3),
https://sqlite.org/src/file/src/os_unix.c (UNIX_SHM_DMS, SHARED_FIRST)
"""

from __future__ import annotations

import logging
import os
import sys
import threading
from pathlib import Path
from time import monotonic, sleep
from typing import Any, Final, Self

from pipeloom.data.text import clean
from pipeloom.db.locks import descriptors_of, is_writable, lock, locked_by, mark, unlock
from pipeloom.db.ownership import OWNED, let_go_in_child, process_name
from pipeloom.db.place import Identity, identity
from pipeloom.db.wal_file import INDEX_HEADER
from pipeloom.errors import StorageError

__all__ = ["SecondLocks"]

logger = logging.getLogger("pipeloom")

_DATABASE_IN_USE: Final = (0x40000002, 510)  # SQLite: SHARED_FIRST, SHARED_SIZE
_INDEX_IN_USE: Final = (128, 1)  # SQLite: the dead man's switch
_MARK: Final = OWNED - 1
_PATIENCE_S: Final = 10.0  # of who opens it, and
_OPEN_S: Final = 2.0  # of the writer, until it is closed
_SETTLE_S: Final = 0.02
_GLANCE_S: Final = 0.001


class SecondLocks:
    """The second locks of one open database; a context manager around each stretch of the writer's work.

    The writer's thread, but for what the hook does.

    Args:
        db_path: Open in this process, in the mode it stays in.
        wal: It has a write-ahead log. With a rollback journal SQLite must be able to lock everybody out, and locks
            the database itself: the second and the third point above remain.
    """

    def __init__(self, db_path: Path, *, wal: bool) -> None:
        self._wal = wal
        self._path = db_path
        self._real = os.path.realpath(db_path)
        self.locked = self._real + "-shm" if wal else self._real
        """The file on which SQLite's locks would be dropped."""
        self._which = identity(Path(self.locked))
        self._work = threading.RLock()  # held while the writer works, and by a thread that opens the file
        self._visited_at: float | None = None
        self._waiting: list[None] = []  # one for each thread that wants to open it
        self._taken: list[tuple[int, int, int]] = []  # descriptor, start, length
        self._own = set(self._ours(self.locked))
        if self._which is None or not self._own:
            return
        self._descriptor = min(self._own)
        _watch(self, self._which)
        if wal:
            for descriptor in self._ours(self._real):
                self._take(descriptor, *_DATABASE_IN_USE)
            for descriptor in self._own:
                self._take(descriptor, *_INDEX_IN_USE)
            for descriptor in self._ours(self._real + "-wal"):
                self._take(descriptor, OWNED, process_name())
        self._mark()

    @staticmethod
    def _ours(path: str) -> list[int]:
        return [number for number in descriptors_of(identity(Path(path))) if is_writable(number)]

    def _take(self, descriptor: int, start: int, length: int) -> None:
        if lock(descriptor, start, length, kind="shared"):
            self._taken.append((descriptor, start, length))

    def index_header(self) -> bytes | None:
        """Return what SQLite keeps in shared memory about the log; ``None`` where its file is not to be found."""
        return os.pread(self._descriptor, INDEX_HEADER, 0) if self._wal and self._own else None

    # --- around the writer's work ---

    def __enter__(self) -> Self:
        until = monotonic() + _SETTLE_S if self._waiting else 0.0
        while self._waiting and monotonic() < until:
            sleep(_GLANCE_S)  # a lock is not fair
        self._work.acquire()
        if self._visited_at is not None:
            self._wait_for_visitors()
        return self

    def __exit__(self, *_: object) -> None:
        self._work.release()

    def _wait_for_visitors(self) -> None:
        """Wait until what was opened is closed, for a while; nobody opens it meanwhile."""
        until = monotonic() + _OPEN_S
        while monotonic() < until:
            since = monotonic() - (self._visited_at or 0.0)
            strangers = set(descriptors_of(self._which)) - self._own
            if not strangers and since > (_SETTLE_S if self._is_dropped() else 10 * _SETTLE_S):
                break
            sleep(_GLANCE_S)
        self._visited_at = None
        self._mark()

    def check(self) -> None:
        """Notice that SQLite's locks were dropped in the middle of the writer's work.

        Raises:
            StorageError: They were, and another program has the database open, which may have written meanwhile.
        """
        if not self._wal or not self._own or not self._is_dropped():
            return  # without a log, SQLite itself drops what means nothing when another connection is closed
        self._mark()
        if self._others_have_it_open():
            name = clean(os.path.basename(self.locked))
            raise StorageError(
                f"{clean(self._path)}: something in this process has opened and closed {name}, which drops "
                "SQLite's locks, while another program had the database open, and the last commits may be damaged: "
                "let tasks leave SQLite's files alone, look with `pipeloom doctor`, and run again",
                path=self._path,
            )
        logger.warning(
            "%s: something in this process has opened and closed it, which drops SQLite's locks; nobody else had "
            "the database open, and nothing is lost: let tasks leave SQLite's files alone",
            clean(self.locked),
        )

    def _is_dropped(self) -> bool:
        return locked_by(self._descriptor, _MARK) is None

    def _others_have_it_open(self) -> bool:
        """Say whether another process has; SQLite's own lock for this one is gone, and ours does not count."""
        return locked_by(self._descriptor, *_INDEX_IN_USE) is not None

    def _mark(self) -> None:
        mark(self._descriptor, _MARK)

    def let_in(self) -> None:
        """Wait until the writer is between two batches, for a while; the thread that is about to open the file."""
        self._waiting.append(None)
        is_between = self._work.acquire(timeout=_PATIENCE_S)
        self._waiting.pop()
        self._visited_at = monotonic()
        if is_between:
            self._work.release()

    # --- the end ---

    def release(self) -> None:
        """Give them back, right before the connection is closed: it has to see whether it is the last one."""
        _unwatch(self)
        for descriptor, start, length in self._taken:
            unlock(descriptor, start, length)
        self._taken = []

    def let_go_in_child(self) -> None:
        """Leave the locks to the parent; in a child that was forked.

        But for the one that says that the index is in use: it is mapped into memory, which keeps the file open as
        long as the child lives. That does no harm: others think that somebody else has it open.
        """
        for descriptor in {descriptor for descriptor, _, _ in self._taken}:
            let_go_in_child(descriptor)
        self._taken = []


# --- the hook ---

_watched: dict[Identity, SecondLocks] = {}
_names: set[str] = set()  # of the watched files
_hooked = False
_guard = threading.Lock()


def _watch(locks: SecondLocks, which: Identity) -> None:
    global _hooked  # noqa: PLW0603
    with _guard:
        _watched[which] = locks
        _names.add(os.path.basename(locks.locked))
        if not _hooked:
            _hooked = True
            sys.addaudithook(_on_event)


def _unwatch(locks: SecondLocks) -> None:
    with _guard:
        for which in [which for which, other in _watched.items() if other is locks]:
            del _watched[which]
        _names.clear()
        _names.update(os.path.basename(other.locked) for other in _watched.values())


def _on_event(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "open" and _names:
        _before_open(arguments[0])


def _before_open(path: object) -> None:
    """Have whoever opens a watched file wait until the writer is done with its batch."""
    try:
        name = os.fsdecode(path)  # type: ignore[arg-type]
    except TypeError:
        return  # a descriptor, which is open already
    if os.path.basename(name) not in _names or (which := identity(Path(name))) is None:
        return
    locks = _watched.get(which)
    if locks is not None:
        locks.let_in()


def _forget_after_fork() -> None:
    """A child has none of these locks, and no writer that would ever give back the one it may hold."""
    global _guard  # noqa: PLW0603
    _guard = threading.Lock()
    for locks in _watched.values():
        locks.let_go_in_child()
    _watched.clear()
    _names.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_after_fork)
