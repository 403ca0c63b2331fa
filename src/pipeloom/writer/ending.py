"""Whether the program has ended, as far as it goes by itself.

When the main thread is through (it returned, raised, or called ``sys.exit``), the interpreter waits for threads
that are not daemons, and only then runs what ``atexit`` knows. A writer is such a thread: whatever was said is
stored. So it has to know when it is the only one that is waited for.
"""

from __future__ import annotations

import sys
import threading

__all__ = ["ClosingThread", "main_was_interrupted", "program_has_ended"]


class ClosingThread(threading.Thread):
    """A thread that ends by itself once the program has ended; not a daemon."""


def program_has_ended() -> bool:
    """Say whether the main thread has ended, and the interpreter waits for nobody but such threads; any thread."""
    return not threading.main_thread().is_alive() and all(
        thread.daemon or isinstance(thread, ClosingThread) or not thread.is_alive()
        for thread in threading.enumerate()
    )


def main_was_interrupted() -> bool:
    """Say whether the main thread has ended by a Ctrl-C that nobody caught; any thread.

    Source: https://docs.python.org/3/library/sys.html#sys.last_type
    """
    if threading.main_thread().is_alive():
        return False
    kind = getattr(sys, "last_type", None)
    return isinstance(kind, type) and issubclass(kind, KeyboardInterrupt)
