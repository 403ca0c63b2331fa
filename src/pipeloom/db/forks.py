"""Make forks wait until no writer is inside SQLite.

SQLite has internal locks, such as the one of its memory allocator. A child that is forked while another thread
holds one inherits it locked: whatever it then does with SQLite, even with another file, waits forever. A writer
therefore marks when it is inside SQLite, and a fork by any thread waits meanwhile: for one batch, usually
milliseconds.

Source: https://www.sqlite.org/howtocorrupt.html#_carrying_an_open_database_connection_across_a_fork_
"""

from __future__ import annotations

import os
import threading
import weakref
from time import monotonic, sleep
from typing import Final

__all__ = ["ForkGate"]

_PATIENCE_S: Final = 5.0
"""The longest wait of a fork: a user's statement, or waiting for another program's lock, may take any time."""
_GLANCE_S: Final = 0.001


class ForkGate:
    """Marks that a thread is inside SQLite; a context manager that the same thread may enter again."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        _gates.add(self)

    def __enter__(self) -> None:
        if _waiting:  # or a busy writer would take it again before the fork gets it
            sleep(_GLANCE_S)
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()

    def close(self, timeout_s: float) -> bool:
        """Keep others out; false if a thread stays inside for longer than ``timeout_s``."""
        return self._lock.acquire(timeout=max(timeout_s, 0.0))

    def open(self) -> None:
        """Let others in again; called by the thread that closed it."""
        self._lock.release()

    def renew(self) -> None:
        """Forget the thread that is inside, which belongs to the parent; called in a forked child."""
        self._lock = threading.RLock()


_gates: Final[weakref.WeakSet[ForkGate]] = weakref.WeakSet()
_waiting: Final[list[int]] = []  # threads that are about to fork
_forking = threading.local()


def _before_fork() -> None:
    _waiting.append(threading.get_ident())
    deadline = monotonic() + _PATIENCE_S
    _forking.closed = [gate for gate in tuple(_gates) if gate.close(deadline - monotonic())]


def _after_fork() -> None:
    _waiting.remove(threading.get_ident())
    for gate in _forking.closed:
        gate.open()


def _after_fork_in_child() -> None:
    closed = _forking.closed
    for gate in tuple(_gates):
        if gate in closed:
            gate.open()
        else:
            gate.renew()
    _waiting.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork, after_in_child=_after_fork_in_child)
