"""Failed tries that are to be tried again: they wait here, and hold no worker.

::

    worker ──failed try──▶ writer ──committed──▶ settle ──▶ (time passes) ──▶ due ──▶ worker

A try whose call was given up on, and has not returned, is held back until it returns: a thread cannot be ended, and
two calls for one input must not run at the same time.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from heapq import heappop, heappush
from math import inf
from typing import Final

from pipeloom.data.stopwatch import monotonic
from pipeloom.ledger.attempt import Attempt

__all__ = ["RetryQueue"]

_MOST: Final = 4096
"""So many slots of memory may wait, at least one for each try, with its input and its exception; beyond, new inputs
wait until some have had their turn. Memory stays flat if all fail."""


class RetryQueue:
    """What waits for another try; any thread.

    Args:
        moved: Guards this and tells workers that there is something to do; the intake's own.
        patience_s: How long a call that was given up on gets to return.
    """

    def __init__(self, moved: threading.Condition, patience_s: float) -> None:
        self._moved = moved
        self._patience_s = patience_s
        self._heap: list[tuple[float, int, Attempt]] = []
        self._weight = 0  # of the heap, in slots
        self._order = 0  # breaks ties: attempts do not compare
        self._held: list[tuple[float, Attempt]] = []  # until when
        self._out = 0

    def __len__(self) -> int:
        """Return how many wait, those that are held back included."""
        return len(self._heap) + len(self._held)

    @property
    def is_full(self) -> bool:
        """Whether new inputs should wait."""
        return self._weight >= _MOST

    @property
    def is_over(self) -> bool:
        """Whether nothing can come back any more. Guarded by ``moved``."""
        return not (self._out or self._heap or self._held)

    def is_due(self) -> bool:
        """Say whether a try may begin. Guarded by ``moved``."""
        return bool(self._heap) and self._heap[0][0] <= monotonic()

    def until_due_s(self) -> float:
        """Return the seconds until the next try, or as many as a lock waits; infinite when none waits.

        Guarded by ``moved``.
        """
        return min(max(0.0, self._heap[0][0] - monotonic()), threading.TIMEOUT_MAX) if self._heap else inf

    def take(self) -> Attempt | None:
        """Return a try that is due; a worker's thread."""
        failed = self.take_failed()
        return None if failed is None else failed.next_try()

    def take_failed(self) -> Attempt | None:
        """Return a failed try whose next one is due; a worker's thread."""
        if not self._heap:  # most of the time; a stale look does no harm
            return None
        with self._moved:
            if not self.is_due():
                return None
            self._out += 1
            attempt = heappop(self._heap)[2]
            self._weight -= attempt.weight
            return attempt

    def went_out(self, count: int) -> None:
        """Note that attempts are on their way: until they are committed they may come back."""
        with self._moved:
            self._out += count

    def settle(self, finished: Sequence[Attempt]) -> None:
        """Take over what is to be tried again, once it is committed; the writer's thread."""
        now = monotonic()
        with self._moved:
            self._out -= len(finished)
            for attempt in finished:
                if attempt.retry_in is None:
                    continue
                if attempt.given_up and not attempt.returned:
                    self._held.append((now + self._patience_s, attempt))
                else:
                    self._wait(attempt, now)
            self._moved.notify_all()

    def _wait(self, attempt: Attempt, now: float) -> None:
        assert attempt.retry_in is not None
        self._order += 1
        self._weight += attempt.weight
        heappush(self._heap, (now + attempt.retry_in, self._order, attempt))

    def returned(self, attempt: Attempt) -> None:
        """Note that a call that was given up on has returned after all; its own thread."""
        with self._moved:
            held = [entry for entry in self._held if entry[1] is not attempt]
            if len(held) < len(self._held):
                self._held = held
                self._wait(attempt, monotonic())
                self._moved.notify_all()

    def overdue(self) -> list[Attempt]:
        """Return those whose calls did not return in time: they are not tried again."""
        if not self._held:
            return []
        now = monotonic()
        with self._moved:
            late = [attempt for until, attempt in self._held if until <= now]
            self._held = [entry for entry in self._held if entry[0] > now]
            return self._ended(late)

    def take_all(self, due: Sequence[Attempt] = ()) -> list[Attempt]:
        """Return everything that waits: the run ends before its turn.

        Args:
            due: Failed tries whose next ones were due, and had to wait for something else.
        """
        with self._moved:
            self._out -= len(due)
            left = [attempt for _, _, attempt in self._heap]
            left += due
            left += [attempt for _, attempt in self._held]
            self._heap.clear()
            self._weight = 0
            self._held.clear()
            return self._ended(left)

    def _ended(self, attempts: list[Attempt]) -> list[Attempt]:
        """Make these the last tries of their tasks, to be put to the writer once more."""
        self._out += len(attempts)
        for attempt in attempts:
            attempt.retry_in = None
            attempt.waited = True
        return attempts
