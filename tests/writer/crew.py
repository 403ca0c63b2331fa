"""Threads that put and take, and sources that are full."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from time import monotonic

from pipeloom.writer.channel import Channel

__all__ = ["LONG_S", "Crew", "await_blocked", "filled"]

LONG_S = 10.0


class Crew:
    """Threads of one test, whose outcomes can be asked for."""

    def __init__(self) -> None:
        self.threads: list[threading.Thread] = []
        self.outcomes: list[object] = []

    def start(self, call: Callable[[], object], count: int = 1) -> None:
        """Run ``call`` in n threads; what it returns or raises is an outcome."""

        def run() -> None:
            try:
                self.outcomes.append(call())
            except Exception as error:  # noqa: BLE001 - an outcome too
                self.outcomes.append(error)

        fresh = [threading.Thread(target=run, daemon=True) for _ in range(count)]
        self.threads += fresh
        for thread in fresh:
            thread.start()

    def end(self, within_s: float = LONG_S) -> list[object]:
        """Wait for all of them; return the outcomes."""
        deadline = monotonic() + within_s
        for thread in self.threads:
            thread.join(max(0.0, deadline - monotonic()))
        assert not any(thread.is_alive() for thread in self.threads), f"blocked after {within_s} s"
        return self.outcomes


def await_blocked(source: Channel[int] | queue.Queue[int], count: int) -> None:
    """Poll until n producers wait for room; only the condition itself knows."""
    condition = source._room if isinstance(source, Channel) else source.not_full
    deadline = monotonic() + LONG_S
    while len(condition._waiters) < count:
        assert monotonic() < deadline, "they never blocked"
        threading.Event().wait(0.001)


def filled(kind, count):
    """Return a full source that holds 0 to n - 1."""
    source = kind(count)
    for number in range(count):
        source.put(number)
    return source
