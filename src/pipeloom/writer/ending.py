"""Detects that the program has ended apart from the writer itself.

When the main thread ends (it returned, raised, or called ``sys.exit``), the interpreter waits for threads that are
not daemons before it runs ``atexit`` functions. The writer is such a thread, so that everything it was sent gets
stored. Therefore it has to detect when the interpreter is waiting only for it.
"""

from __future__ import annotations

import sys
import threading

__all__ = ["ClosingThread", "main_was_interrupted", "program_has_ended"]


class ClosingThread(threading.Thread):
    """A thread that ends by itself once the program has ended; not a daemon."""


def program_has_ended() -> bool:
    """Return whether the main thread has ended and only closing threads keep the interpreter alive; any thread."""
    return not threading.main_thread().is_alive() and all(
        thread.daemon or isinstance(thread, ClosingThread) or not thread.is_alive()
        for thread in threading.enumerate()
    )


def main_was_interrupted() -> bool:
    """Return whether the main thread was ended by a Ctrl-C that was not caught; any thread.

    Source: https://docs.python.org/3/library/sys.html#sys.last_type
    """
    if threading.main_thread().is_alive():
        return False
    kind = getattr(sys, "last_type", None)
    return isinstance(kind, type) and issubclass(kind, KeyboardInterrupt)
