"""What SQLite's own locks say, said a second time, where a task that reads the file does not take it back.

SQLite uses record locks of the process. A task in a thread that hashes, zips or backs up the directory in which
the database lies opens and closes the files beside it, and with that drops these locks. Then the next reader takes
itself for the first, and begins the log's index anew under the running writer; the last one to leave removes the
log; and another writer is let in in the middle of a transaction. Three things stand against that:

- Shared locks of the open files, which other processes take for SQLite's: the database is in use, its index is.
- Such a file is opened between two batches only: a hook of the interpreter's makes the thread wait that opens it,
  and the writer waits until it is closed. The writer's own thread, which cannot wait for itself, is refused. It is
  the one way to hear of it in time; it cannot be taken out again, and returns at once while there is no run.
- A lock of the process that means nothing is gone when the others are, so what comes past the hook is noticed.

Source: https://www.sqlite.org/howtocorrupt.html (2.2), https://www.sqlite.org/walformat.html (2.3),
https://sqlite.org/src/file/src/os_unix.c (UNIX_SHM_DMS, SHARED_FIRST)
"""

from __future__ import annotations

import errno
import logging
import os
import sys
import threading
from pathlib import Path
from time import monotonic, sleep
from typing import Any, Final, NamedTuple, Self

from pipeloom.data.text import clean
from pipeloom.db.locks import descriptors_of, is_open, is_writable, lock, locked_by, mark, unlock
from pipeloom.db.ownership import OWNED, let_go_in_child, process_name
from pipeloom.db.place import Identity, identity
from pipeloom.db.wal_file import INDEX_HEADER
from pipeloom.errors import StorageError

__all__ = ["SecondLocks"]

logger = logging.getLogger("pipeloom")

_DATABASE_IN_USE: Final = (0x40000002, 510)  # SQLite: SHARED_FIRST, SHARED_SIZE
_INDEX_IN_USE: Final = (128, 1)  # SQLite: the dead man's switch
_MARK: Final = OWNED - 1
_OPEN_S: Final = 2.0  # of the writer, until it is closed
_SETTLE_S: Final = 0.02
_GLANCE_S: Final = 0.001
# The patience of who opens it. Not one long wait: a process that was stopped for a while must not have lost it.
_SLICE_S: Final = 0.1
_SLICES: Final = 100


class _Taken(NamedTuple):
    """A lock, and the file it is on: the number may be another file's once somebody has closed his connection."""

    descriptor: int
    which: Identity
    start: int
    length: int


class SecondLocks:
    """The second locks of one open database; a context manager around each stretch of the writer's work.

    The writer's thread, but for what the hook does.

    Args:
        db_path: Open in this process, in the mode it stays in.
        wal: It has a write-ahead log. With a rollback journal SQLite must be able to lock everybody out, and locks
            the database itself: the second and the third point above remain.
        owned: A run's, whose log says so.
    """

    def __init__(self, db_path: Path, *, wal: bool, owned: bool = False) -> None:
        self._wal = wal
        self._path = db_path
        self._real = os.path.realpath(db_path)
        self.locked = self._real + "-shm" if wal else self._real
        """The file on which SQLite's locks would be dropped."""
        self._which = identity(Path(self.locked))
        self._work = threading.RLock()  # held while the writer works, and by a thread that opens the file
        self._worker = 0  # the thread that works
        self._visited_at: float | None = None
        self._waiting: list[None] = []  # one for each thread that wants to open it
        self._taken: list[_Taken] = []
        self._descriptor: int | None = None
        self._known = set(descriptors_of(self._which))  # no visitor's
        if self._which is None or not self._own():
            self._which = None
            return
        _watch(self, self._which)
        if wal:
            self._take(self._real, *_DATABASE_IN_USE)
            self._take(self.locked, *_INDEX_IN_USE)
            if owned:
                self._take(self._real + "-wal", OWNED, process_name())
        self._mark()

    def _take(self, path: str, start: int, length: int) -> None:
        """Lock all descriptors of a file that SQLite may have: which are the writer's cannot be told."""
        which = identity(Path(path))
        for descriptor in descriptors_of(which):
            if which is not None and is_writable(descriptor):
                # Noted before it is taken: a child that is forked at this instant has to let go of it.
                self._taken.append(_Taken(descriptor, which, start, length))
                lock(descriptor, start, length, kind="shared")

    def _own(self) -> int | None:
        """Return a descriptor that SQLite has of the file: while the writer has it open there is always one.

        Of the index it has one, which stays. Of the database each connection has its own, and this may have been
        that of another connection in this process, which was closed.
        """
        kept = self._descriptor
        if self._which is None or kept is None or not (self._wal or is_open(kept, self._which)):
            kept = self._descriptor = min(filter(is_writable, descriptors_of(self._which)), default=None)
        return kept

    def index_header(self) -> bytes | None:
        """Return what SQLite keeps in shared memory about the log; ``None`` where its file is not to be found."""
        descriptor = self._own() if self._wal else None
        return None if descriptor is None else os.pread(descriptor, INDEX_HEADER, 0)

    # --- around the writer's work ---

    def __enter__(self) -> Self:
        until = monotonic() + _SETTLE_S if self._waiting else 0.0
        while self._waiting and monotonic() < until:
            sleep(_GLANCE_S)  # a lock is not fair
        self._work.acquire()
        self._worker = threading.get_ident()
        if self._visited_at is not None:
            self._wait_for_visitors()
        return self

    def __exit__(self, *_: object) -> None:
        self._worker = 0
        self._work.release()

    def pause(self) -> None:
        """Let in who waits; in the middle of the work, but outside transactions: nothing is locked that counts."""
        if self._waiting and self._worker == threading.get_ident():
            self.__exit__()
            self.__enter__()

    def _wait_for_visitors(self) -> None:
        """Wait until what was opened is closed, for a while; nobody opens it meanwhile."""
        until = monotonic() + _OPEN_S
        self._known.intersection_update(descriptors_of(self._which))
        while monotonic() < until:
            since = monotonic() - (self._visited_at or 0.0)
            if not self._visitors() and since > (_SETTLE_S if self._is_dropped() else 10 * _SETTLE_S):
                break
            sleep(_GLANCE_S)
        self._known.update(self._visitors())  # who stays is waited for once
        self._visited_at = None
        self._mark()

    def _visitors(self) -> set[int]:
        """Return descriptors that are not SQLite's: a connection may be opened in this process at any time."""
        return {number for number in descriptors_of(self._which) if not is_writable(number)} - self._known

    def check(self) -> None:
        """Notice that SQLite's locks were dropped in the middle of the writer's work.

        Raises:
            StorageError: They were, and another program has the database open, which may have written meanwhile.
        """
        if not self._wal or self._which is None or not self._is_dropped():
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
        descriptor = self._own()
        return descriptor is not None and locked_by(descriptor, _MARK) is None

    def _others_have_it_open(self) -> bool:
        """Say whether another process has; SQLite's own lock for this one is gone, and ours does not count."""
        descriptor = self._own()
        return descriptor is not None and locked_by(descriptor, *_INDEX_IN_USE) is not None

    def _mark(self) -> None:
        if (descriptor := self._own()) is not None:
            mark(descriptor, _MARK)

    def let_in(self) -> None:
        """Wait until the writer is between two batches; the thread that is about to open the file.

        Raises:
            OSError: It is the writer's own thread, or the batch does not come to an end.
        """
        if self._worker == threading.get_ident():
            raise self._refusal("a handler, which is in the middle of a transaction, must not open it")
        self._waiting.append(None)
        try:
            for _ in range(_SLICES):
                if self._work.acquire(timeout=_SLICE_S):
                    self._visited_at = monotonic()
                    return
        finally:
            self._waiting.pop()
            try:
                self._work.release()
            except RuntimeError:
                pass  # not held: this looks rather than remembers, since an interrupt may come at any point
        raise self._refusal("the run is in the middle of a long transaction")

    def _refusal(self, why: str) -> OSError:
        return OSError(errno.EBUSY, f"{why}, and closing it would drop SQLite's locks", self.locked)

    # --- the end ---

    def release(self) -> None:
        """Give them back, right before the connection is closed: it has to see whether it is the last one."""
        _unwatch(self)
        taken, self._taken = self._taken, []
        for this in taken:
            # Another writer of this process may need this very lock: SQLite has the index open once for both.
            is_free = not any(other.holds(this) for other in _all_watched())
            if is_free and is_open(this.descriptor, this.which):
                unlock(this.descriptor, this.start, this.length)

    def holds(self, taken: _Taken) -> bool:
        """Say whether this is one of these locks."""
        return taken in self._taken

    def let_go_in_child(self) -> None:
        """Leave the locks to the parent; in a child that was forked.

        But for the one that says that the index is in use: it is mapped into memory, which keeps the file open as
        long as the child lives. That does no harm: others think that somebody else has it open. For the child's own
        connections SQLite goes on with the descriptor of the index, which has to be one of that file.
        """
        for this in self._taken:
            if is_open(this.descriptor, this.which):
                let_go_in_child(this.descriptor, self.locked if this.which == self._which else None)
        self._taken = []


# --- the hook ---

_watched: dict[Identity, list[SecondLocks]] = {}  # two writers of one process may have one file
_hooked = False
_guard = threading.Lock()


def _watch(locks: SecondLocks, which: Identity) -> None:
    global _hooked  # noqa: PLW0603
    with _guard:
        _watched[which] = [*_watched.get(which, ()), locks]
        if not _hooked and not _is_traced():
            _hooked = True
            sys.addaudithook(_on_event)


def _is_traced() -> bool:
    """Say whether a hook would be in the way of a debugger, or of what measures coverage.

    Before Python 3.12, a thread that begins to be traced while another one does fails, and never runs; that happens
    only when a hook written in Python lets others have the interpreter in between. Then what a task takes back is
    noticed, and not prevented.
    """
    return sys.version_info < (3, 12) and any(
        get() is not None for get in (sys.gettrace, threading.gettrace, sys.getprofile, threading.getprofile)
    )


def _unwatch(locks: SecondLocks) -> None:
    with _guard:
        for which, several in list(_watched.items()):
            _watched[which] = [other for other in several if other is not locks]
            if not _watched[which]:
                del _watched[which]


def _all_watched() -> list[SecondLocks]:
    return [locks for several in list(_watched.values()) for locks in several]


def _on_event(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "open" and _watched:
        for locks in _visited(*arguments):
            locks.let_in()


def _visited(path: Any, mode: str | None, flags: int) -> list[SecondLocks]:
    """Return whose file is about to be opened, by whatever name."""
    if isinstance(path, int):
        return []  # a descriptor, which is open already
    try:
        found = os.stat(path)
    except (OSError, ValueError, TypeError):
        found = None
    visited = [] if found is None else _watched.get((found.st_dev, found.st_ino), [])
    if visited or mode is not None or flags & getattr(os, "O_DIRECTORY", 0):
        return visited
    # os.open, which does not say which directory a name is relative to.
    try:
        name = os.fsdecode(path)
    except TypeError:
        return []
    if os.path.isabs(name):
        return []
    everybody = [locks for several in list(_watched.values()) for locks in several]
    if found is None:
        return everybody
    return [locks for locks in everybody if os.path.basename(locks.locked) == os.path.basename(name)]


def _forget_after_fork() -> None:
    """A child has none of these locks, and no writer that would ever give back the one it may hold."""
    global _guard  # noqa: PLW0603
    _guard = threading.Lock()
    everybody = _all_watched()
    _watched.clear()
    for locks in everybody:
        locks.let_go_in_child()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_after_fork)
