"""Finds the event loop of the main thread from another thread.

A run in ``asyncio.to_thread``, an executor or a web server's worker thread cannot set signal handlers. The main
thread can, and its event loop accepts calls from any thread. No public function returns that loop to another
thread, but the main thread's frames refer to it: it is held by ``asyncio.Runner.run``, ``run_until_complete``
or their caller.
"""

from __future__ import annotations

import sys
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop

__all__ = ["main_loop"]

_NAMES = ("self", "loop")


def main_loop() -> AbstractEventLoop | None:
    """Return the event loop that the main thread is running, or ``None``; any other thread."""
    asyncio = sys.modules.get("asyncio")
    if not hasattr(asyncio, "Runner"):  # not imported, or not completely
        return None
    assert asyncio is not None
    frame = sys._current_frames().get(threading.main_thread().ident or 0)  # noqa: SLF001 - documented as public
    while frame is not None:
        for name in _NAMES:
            if name in frame.f_code.co_varnames:
                held = frame.f_locals.get(name)
                loop = held.get_loop() if isinstance(held, asyncio.Runner) else held
                if isinstance(loop, asyncio.AbstractEventLoop) and loop.is_running():
                    found: AbstractEventLoop = loop
                    return found
        frame = frame.f_back
    return None
