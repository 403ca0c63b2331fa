"""A clock for time limits of tasks that pauses while the program is stopped (Ctrl-Z, ``kill -STOP``).

A program is not notified that it was stopped: SIGSTOP cannot be caught, and only the main thread handles signals.
But runs read this clock ten times a second. If it was not read for half a second, and the process used hardly any
processor time meanwhile, the process was not running, and that time does not count. Any thread may use this module.

Reading the clock proves that the program is running. The time left out lies between two readings, so no task's time
is ever negative, even if the reading thread got no processor time while others did.
"""

from __future__ import annotations

import os
import threading
import time
from typing import Final

__all__ = ["look", "monotonic"]

_GAP_S: Final = 0.5  # runs look every 0.1 s, or every 0.25 s while waiting for the writer
_LOOK_S: Final = 0.1
_BUSY: Final = 0.1  # a share of the gap; C code that blocks all threads uses more

_lock = threading.Lock()
_stood_s = 0.0
_seen_at = time.monotonic()  # the last reading; set by all threads without the lock: all instants are of one clock
_worked_s = time.process_time()


def monotonic() -> float:
    """Return seconds since some instant, like ``time.monotonic``, without the time during which it was stopped."""
    global _seen_at  # noqa: PLW0603 - there is one clock, as there is one process
    now = time.monotonic()
    if now - _seen_at >= _GAP_S:
        look()
    elif now > _seen_at:  # other threads may have read it while this one waited
        _seen_at = now
    return now - _stood_s


def look() -> None:
    """Note that the program is running; threads that wait for a run call this several times a second."""
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
