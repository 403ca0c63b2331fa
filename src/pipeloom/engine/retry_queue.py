"""Failed attempts that wait for a retry, without occupying a worker.

::

    worker ──failed try──▶ writer ──committed──▶ settle ──▶ (time passes) ──▶ due ──▶ worker

If the call of a failed attempt was abandoned and has not returned, its retry waits until it does: a thread
cannot be killed, and two calls for one input must not run at the same time.
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
"""How many slots of memory may wait, at least one for each attempt, with its input and its exception. Beyond
that new inputs wait until some have been retried, so that memory use stays flat even if every attempt fails."""


class RetryQueue:
    """The attempts that wait for a retry; any thread.

    Args:
        moved: Guards this object and wakes workers when there is something to do; the intake's own.
        patience_s: How long to wait for an abandoned call to return.
    """

    def __init__(self, moved: threading.Condition, patience_s: float) -> None:
        self._moved = moved
        self._patience_s = patience_s
        self._heap: list[tuple[float, int, Attempt]] = []
        self._weight = 0  # of the heap, in slots
        self._order = 0  # breaks ties: attempts do not compare
        self._held: list[tuple[float, Attempt]] = []  # each with its deadline
        self._out = 0

    def __len__(self) -> int:
        """Return how many wait, including those held back by their calls."""
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
        """Return whether a retry may start. Guarded by ``moved``."""
        return bool(self._heap) and self._heap[0][0] <= monotonic()

    def until_due_s(self) -> float:
        """Return the seconds until the next retry, at most as long as a lock can wait; infinite if none waits.

        Guarded by ``moved``.
        """
        return min(max(0.0, self._heap[0][0] - monotonic()), threading.TIMEOUT_MAX) if self._heap else inf

    def take(self) -> Attempt | None:
        """Return a retry that is due; a worker's thread."""
        failed = self.take_failed()
        return None if failed is None else failed.next_try()

    def take_failed(self) -> Attempt | None:
        """Return a failed attempt whose retry is due; a worker's thread."""
        if not self._heap:  # most of the time; reading a stale value is harmless
            return None
        with self._moved:
            if not self.is_due():
                return None
            self._out += 1
            attempt = heappop(self._heap)[2]
            self._weight -= attempt.weight
            return attempt

    def went_out(self, count: int) -> None:
        """Note that attempts were handed out: until they are committed they may come back."""
        with self._moved:
            self._out += count

    def settle(self, finished: Sequence[Attempt]) -> None:
        """Take over failed attempts that will be retried, once they are committed; the writer's thread."""
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
        """Note that an abandoned call has returned after all; that call's own thread."""
        with self._moved:
            held = [entry for entry in self._held if entry[1] is not attempt]
            if len(held) < len(self._held):
                self._held = held
                self._wait(attempt, monotonic())
                self._moved.notify_all()

    def overdue(self) -> list[Attempt]:
        """Return attempts whose calls did not return in time: they are not retried."""
        if not self._held:
            return []
        now = monotonic()
        with self._moved:
            late = [attempt for until, attempt in self._held if until <= now]
            self._held = [entry for entry in self._held if entry[0] > now]
            return self._ended(late)

    def take_all(self, due: Sequence[Attempt] = ()) -> list[Attempt]:
        """Return all that wait: the run ends before their turn.

        Args:
            due: Failed attempts whose retries were due, but had to wait for something else.
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
        """Make these the last attempts of their tasks, to be put to the writer once more."""
        self._out += len(attempts)
        for attempt in attempts:
            attempt.retry_in = None
            attempt.waited = True
        return attempts
