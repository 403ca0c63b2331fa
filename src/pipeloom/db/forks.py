"""Forks wait until no writer is inside SQLite.

SQLite has locks of its own, such as the one around its memory. A child that is forked while another thread holds
one inherits it locked: whatever it then does with SQLite, even with another file, waits for ever. So a writer says
when it is inside, and a fork of any thread is held back meanwhile: for a batch, as a rule milliseconds.

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
"""How long a fork waits at most: a statement of the user's, or another program's lock, may take any time."""
_GLANCE_S: Final = 0.001


class ForkGate:
    """What a thread is in while it is inside SQLite; a context manager that may be entered again by that thread."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        _gates.add(self)

    def __enter__(self) -> None:
        if _waiting:  # or a busy writer would take it back before the fork gets it
            sleep(_GLANCE_S)
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()

    def close(self, timeout_s: float) -> bool:
        """Keep others out; false when one is inside for longer than this."""
        return self._lock.acquire(timeout=max(timeout_s, 0.0))

    def open(self) -> None:
        """Let others in again; the thread that closed it."""
        self._lock.release()

    def renew(self) -> None:
        """In a forked child: forget whoever is inside, which is a thread of the parent's."""
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
