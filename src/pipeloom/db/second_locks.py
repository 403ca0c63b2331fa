"""A second set of locks with the meaning of SQLite's own, which a task that reads the file cannot drop.

SQLite uses record locks of the process. A task in a thread that hashes, zips or backs up the database's directory
opens and closes the database's files, and thereby drops these locks. Then the next reader considers itself the
first and rebuilds the log's index while the writer is running; the last one to leave removes the log; and another
writer is admitted in the middle of a transaction. Three things prevent this:

- Shared locks of the open files, which other processes take for SQLite's own: the database and its index are in
  use.
- Such a file is opened only between two batches: a hook of the interpreter makes the opening thread wait, and
  the writer waits until the file is closed. The writer's own thread, which cannot wait for itself, is refused. No
  other mechanism notices the opening in time; the hook cannot be removed again, and returns at once while there is
  no run.
- A lock of the process without meaning is lost when the others are, so anything that gets past the hook is noticed.

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

from pipeloom.data.commands import typed
from pipeloom.data.text import clean, near
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
_OPEN_S: Final = 2.0  # how long the writer waits until the file is closed
_SETTLE_S: Final = 0.02
_GLANCE_S: Final = 0.001
# How long an opening thread waits. Not one long wait, since that would include time for which the process is
# stopped.
_SLICE_S: Final = 0.1
_SLICES: Final = 100


class _Taken(NamedTuple):
    """A lock, and the file it is on: after a connection is closed, the descriptor may be of another file."""

    descriptor: int
    which: Identity
    start: int
    length: int


class SecondLocks:
    """The second locks of one open database; a context manager around each section of the writer's work.

    The writer's thread, except for what the hook does.

    Args:
        db_path: Open in this process, in its final journal mode.
        wal: It has a write-ahead log. With a rollback journal SQLite must be able to lock all others out, and locks
            the database itself: only the second and third point above apply.
        owned: It belongs to a run, and its log is marked accordingly.
    """

    def __init__(self, db_path: Path, *, wal: bool, owned: bool = False) -> None:
        self._wal = wal
        self._path = db_path
        self._real = os.path.realpath(db_path)
        self.locked = self._real + "-shm" if wal else self._real
        """The file on which SQLite's locks would be dropped."""
        self._which = identity(Path(self.locked))
        self._work = threading.RLock()  # held during the writer's work, and by a thread that opens the file
        self._worker = 0  # the thread that is working
        self._visited_at: float | None = None
        self._waiting: list[None] = []  # one for each thread that waits to open it
        self._taken: list[_Taken] = []
        self._descriptor: int | None = None
        self._known = set(descriptors_of(self._which))  # none of a visitor
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
        """Lock all of a file's descriptors that SQLite may use: which ones are the writer's is unknown."""
        which = identity(Path(path))
        for descriptor in descriptors_of(which):
            if which is not None and is_writable(descriptor):
                # Recorded before it is taken: a child that is forked at this instant must drop it.
                self._taken.append(_Taken(descriptor, which, start, length))
                lock(descriptor, start, length, kind="shared")

    def _own(self) -> int | None:
        """Return a descriptor of the file that SQLite uses: while the writer has it open there is always one.

        For the index there is one, which stays. For the database each connection has its own, and this one may have
        belonged to another connection in this process, which was closed.
        """
        kept = self._descriptor
        if self._which is None or kept is None or not (self._wal or is_open(kept, self._which)):
            kept = self._descriptor = min(filter(is_writable, descriptors_of(self._which)), default=None)
        return kept

    def index_header(self) -> bytes | None:
        """Return what SQLite keeps in shared memory about the log; ``None`` if the file cannot be found."""
        descriptor = self._own() if self._wal else None
        return None if descriptor is None else os.pread(descriptor, INDEX_HEADER, 0)

    # --- around the writer's work ---

    def __enter__(self) -> Self:
        until = monotonic() + _SETTLE_S if self._waiting else 0.0
        while self._waiting and monotonic() < until:
            sleep(_GLANCE_S)  # locks are not fair
        self._work.acquire()
        self._worker = threading.get_ident()
        if self._visited_at is not None:
            self._wait_for_visitors()
        return self

    def __exit__(self, *_: object) -> None:
        self._worker = 0
        self._work.release()

    def pause(self) -> None:
        """Let waiting threads in, during the work but outside transactions, when no lock matters."""
        if self._waiting and self._worker == threading.get_ident():
            self.__exit__()
            self.__enter__()

    def _wait_for_visitors(self) -> None:
        """Wait for a while until opened files are closed; no others are opened meanwhile."""
        until = monotonic() + _OPEN_S
        self._known.intersection_update(descriptors_of(self._which))
        while monotonic() < until:
            since = monotonic() - (self._visited_at or 0.0)
            if not self._visitors() and since > (_SETTLE_S if self._is_dropped() else 10 * _SETTLE_S):
                break
            sleep(_GLANCE_S)
        self._known.update(self._visitors())  # a file that stays open is waited for only once
        self._visited_at = None
        self._mark()

    def _visitors(self) -> set[int]:
        """Return descriptors that are not SQLite's: a connection may be opened in this process at any time."""
        return {number for number in descriptors_of(self._which) if not is_writable(number)} - self._known

    def check(self) -> None:
        """Detect that SQLite's locks were dropped during the writer's work.

        Raises:
            StorageError: They were, and another program that may have written meanwhile has the database open.
        """
        if not self._wal or self._which is None or not self._is_dropped():
            return  # without a log, SQLite itself drops the lock without meaning when it closes another connection
        self._mark()
        if self._others_have_it_open():
            name = clean(os.path.basename(self.locked))
            raise StorageError(
                f"{clean(self._path)}: something in this process has opened and closed {name}, which drops "
                "SQLite's locks, while another program had the database open, and the last commits may be damaged: "
                f"keep tasks away from SQLite's files, check with `{typed('doctor', near(str(self._path)))}`, and "
                "run again",
                path=self._path,
            )
        logger.warning(
            "%s: something in this process has opened and closed it, which drops SQLite's locks; no other process "
            "had the database open, and nothing is lost: keep tasks away from SQLite's files",
            clean(self.locked),
        )

    def _is_dropped(self) -> bool:
        descriptor = self._own()
        return descriptor is not None and locked_by(descriptor, _MARK) is None

    def _others_have_it_open(self) -> bool:
        """Return whether another process has it open; this process's own SQLite lock is gone, ours do not count."""
        descriptor = self._own()
        return descriptor is not None and locked_by(descriptor, *_INDEX_IN_USE) is not None

    def _mark(self) -> None:
        if (descriptor := self._own()) is not None:
            mark(descriptor, _MARK)

    def let_in(self) -> None:
        """Wait until the writer is between two batches; called by the thread that is about to open the file.

        Raises:
            OSError: It is the writer's own thread, or the batch does not end in time.
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
                pass  # not held; tried rather than remembered, since an interrupt may come at any point
        raise self._refusal("the run is in the middle of a long transaction")

    def _refusal(self, why: str) -> OSError:
        return OSError(errno.EBUSY, f"{why}, and closing it would drop SQLite's locks", self.locked)

    # --- the end ---

    def release(self) -> None:
        """Release the locks, right before the connection is closed, which must see whether it is the last one."""
        _unwatch(self)
        taken, self._taken = self._taken, []
        for this in taken:
            # Another writer in this process may need this same lock: SQLite opens the index once for both.
            is_free = not any(other.holds(this) for other in _all_watched())
            if is_free and is_open(this.descriptor, this.which):
                unlock(this.descriptor, this.start, this.length)

    def holds(self, taken: _Taken) -> bool:
        """Return whether this is one of these locks."""
        return taken in self._taken

    def let_go_in_child(self) -> None:
        """Leave the locks to the parent; in a forked child.

        The lock that marks the index as in use is an exception: the index is mapped into memory, which keeps the
        file open as long as the child lives. This is harmless: others see that some process has it open. For the
        child's own connections SQLite keeps using the descriptor of the index, which must be one of that file.
        """
        for this in self._taken:
            if is_open(this.descriptor, this.which):
                let_go_in_child(this.descriptor, self.locked if this.which == self._which else None)
        self._taken = []


# --- the hook ---

_watched: dict[Identity, list[SecondLocks]] = {}  # two writers in one process may share a file
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
    """Return whether a hook would interfere with a debugger, or with a coverage tool.

    Before Python 3.12, a thread that begins to be traced while another one does fails and never runs. This happens
    only if a hook written in Python releases the interpreter in between. Without the hook, locks that a task drops
    are detected but not protected.
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
    """Return the locks of the file that is about to be opened, by whatever name."""
    if isinstance(path, int):
        return []  # a descriptor, which is already open
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
    """Forget the locks in a child, which has none, and no writer that would release the guard if it is held."""
    global _guard  # noqa: PLW0603
    _guard = threading.Lock()
    everybody = _all_watched()
    _watched.clear()
    for locks in everybody:
        locks.let_go_in_child()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_after_fork)
