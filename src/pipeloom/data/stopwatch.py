"""A clock for what a task may take: it stands still while the program is stopped (Ctrl-Z, ``kill -STOP``).

Nothing tells a program that it was stopped: SIGSTOP cannot be caught, and signals are the main thread's alone. But
runs look at this clock ten times a second. When nobody asked it for half a second, and the process took hardly any
processor time meanwhile, it was not running: that time does not count. Any thread may use all of it.

Whoever asks for the time proves that the program runs: what is left out lies between two such instants, so that no
task's time is ever less than nothing, even if the thread that looks got no processor while others did.
"""

from __future__ import annotations

import os
import threading
import time
from typing import Final

__all__ = ["look", "monotonic"]

_GAP_S: Final = 0.5  # runs look every 0.1 s; those that wait for the writer every 0.25 s
_LOOK_S: Final = 0.1
_BUSY: Final = 0.1  # a share of the gap: C code that keeps all threads from running takes more

_lock = threading.Lock()
_stood_s = 0.0
_seen_at = time.monotonic()  # when somebody last asked; written by all, without the lock: instants of one clock
_worked_s = time.process_time()


def monotonic() -> float:
    """Return seconds since some instant, like ``time.monotonic``, less the time that the program stood still."""
    global _seen_at  # noqa: PLW0603 - there is one clock, as there is one process
    now = time.monotonic()
    if now - _seen_at >= _GAP_S:
        look()
    elif now > _seen_at:  # others may have asked while this thread was kept waiting
        _seen_at = now
    return now - _stood_s


def look() -> None:
    """Take note that the program is running; whoever waits for a run calls this several times a second."""
    global _stood_s, _seen_at, _worked_s  # noqa: PLW0603 - there is one clock, as there is one process
    with _lock:
        now, worked_s = time.monotonic(), time.process_time()
        gap_s = now - _seen_at
        if gap_s >= _GAP_S and worked_s - _worked_s < gap_s * _BUSY:
            _stood_s += gap_s - _LOOK_S
        _seen_at, _worked_s = now, worked_s


def _after_fork() -> None:
    global _lock  # noqa: PLW0603 - another thread of the parent may hold it
    _lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
