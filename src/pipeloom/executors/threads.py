"""Workers as threads of this process."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from time import monotonic
from typing import Final

__all__ = ["ThreadExecutor"]

logger = logging.getLogger("pipeloom")


class ThreadExecutor:
    """Runs one loop per worker until it returns.

    The threads are daemons: a task that never ends cannot keep the interpreter from leaving. What was said is
    safe all the same, since the writer is none.

    Args:
        workers: How many, at least 1.
    """

    name: Final = "threads"

    def __init__(self, workers: int) -> None:
        self.workers = workers
        self._threads: list[threading.Thread] = []

    def start(self, loop: Callable[[int], None]) -> int:
        """Call ``loop(place)`` in every worker, places 0 to n - 1.

        Returns:
            How many could be started, 1 to n: the system may not grant as many threads.

        Raises:
            RuntimeError: Not even one could.
        """
        for place in range(self.workers):
            name = f"pipeloom-worker-{place + 1}"
            thread = threading.Thread(target=loop, args=(place,), name=name, daemon=True)
            try:
                thread.start()
            except RuntimeError:
                if not self._threads:
                    raise
                logger.warning("only %d of %d workers could be started", place, self.workers)
                break
            self._threads.append(thread)
        return len(self._threads)

    def replace(self, loop: Callable[[int], None], place: int) -> bool:
        """Start another worker in the place of one whose call does not return; false when the system refuses."""
        thread = threading.Thread(target=loop, args=(place,), name=f"pipeloom-worker-{place + 1}", daemon=True)
        try:
            thread.start()
        except RuntimeError:
            return False
        self._threads[place] = thread  # the other is left to itself
        return True

    def join(self, timeout_s: float) -> int:
        """Wait for loops that are about to return.

        Returns:
            How many have not, 0 to n; their threads are left to themselves.
        """
        deadline = monotonic() + timeout_s
        for thread in self._threads:
            thread.join(max(0.0, deadline - monotonic()))
        return sum(thread.is_alive() for thread in self._threads)
