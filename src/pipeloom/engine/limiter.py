"""Holds back attempts that would exceed a limit: they wait here without a worker, and others overtake them.

::

    input, try that is due ─▶ pass_on ──may begin──▶ worker ── end ─▶ release
                                 │                     ▲
                                 └─▶ lane ─▶ (time passes, a try ends) ─▶ take

Each limit has one bucket, or one for each value of ``per``. Attempts that share all their buckets wait in one
lane, in order. A lane is ready when none of its own buckets holds it back; otherwise it waits at one that does.
Limits without ``per`` affect every attempt alike, so they are only checked for the oldest lane that is ready.

Rates follow the generic cell rate algorithm: a bucket records when it will be full again, which gives how much of
``burst`` is left. An attempt counts from the moment it was handed out, so the limiter never speeds up to catch up.
Source: https://www.itu.int/rec/T-REC-I.371 (GCRA)
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Sequence
from heapq import heappop, heappush
from math import inf
from time import monotonic
from typing import Final

from pipeloom.engine.buckets import Bucket, Buckets, Lane, Ticket
from pipeloom.engine.tickets import Tickets
from pipeloom.ledger.attempt import Attempt
from pipeloom.limit import Limit

__all__ = ["Limiter"]

_SLACK: Final = 0.02
_MOST: Final = 4096
"""How many slots of memory may wait, at least one for each input. Beyond that no more inputs are taken, so that
memory use stays flat."""


class Limiter:
    """The attempts that wait for a limit; any thread.

    Its clock continues while the program is suspended, unlike that of a time limit: a remote service counts
        real seconds.

    Args:
        limits: All of them apply; with none, only ``pause`` holds attempts back.
        moved: Guards this object and wakes workers when there is something to do; the intake's own.
        clock: Seconds since some instant.
        slack: The fraction by which attempts are spaced further apart than the rate requires: a request that is
            delayed on its way to a service arrives closer to the next one.
    """

    def __init__(
        self,
        limits: Sequence[Limit],
        moved: threading.Condition,
        clock: Callable[[], float] = monotonic,
        slack: float = _SLACK,
    ) -> None:
        self._moved = moved
        self._clock = clock
        self._tickets = Tickets(limits)
        self._buckets = Buckets(limits, slack)
        self._lanes: dict[tuple[Bucket, ...], Lane] = {}
        self._ready: list[tuple[int, Lane]] = []
        self._opening: list[tuple[float, int, Bucket]] = []  # buckets where lanes wait, by opening time
        self._orders = itertools.count()
        self._has_limits = bool(limits)
        self._count = 0
        self._weight = 0  # of all that waits, in slots
        self._paused_until = -inf

    def __len__(self) -> int:
        """Return how many attempts wait; any thread."""
        return self._count

    @property
    def paused_s(self) -> float:
        """For how many seconds no task at all starts; any thread."""
        return max(0.0, self._paused_until - self._clock())

    @property
    def is_spent(self) -> bool:
        """Whether it holds back nothing and never will: there is no limit, and the pause is over."""
        return not (self._has_limits or self._count) and self._paused_until <= self._clock()

    # --- a worker's thread ---

    def pass_on(self, attempt: Attempt) -> bool:
        """Let an attempt start, and count it. Returns false if it has to wait; the limiter then keeps it.

        Calls the user's ``per`` and ``weight``, without a lock.

        Raises:
            UncountedError: They raised, or returned a value that cannot be counted.
        """
        ticket = attempt.ticket
        if ticket is None:
            ticket = self._tickets.of(attempt)
        with self._moved:
            now = self._clock()
            try:
                buckets = self._buckets.of(ticket)
            except Exception as error:  # a foreign __eq__ may do anything
                raise self._tickets.unequal(attempt, error) from error
            attempt.ticket = ticket
            lane = self._lanes.get(buckets)
            if lane is None and not self._ready and self._opens_at(buckets, ticket) <= now:
                self._go(buckets, ticket, now)
                return True
            order = next(self._orders)
            if lane is None:
                lane = self._lanes[buckets] = Lane(buckets)
                heappush(self._ready, (order, lane))
            lane.waiting.append((order, attempt, ticket))
            self._buckets.hold(buckets)
            self._count += 1
            self._weight += attempt.weight
            self._next_at(now)  # moves its lane to where it waits
            return False

    def take(self) -> Attempt | None:
        """Return the oldest waiting attempt that may start now, and count it."""
        if not self._count:  # reading a stale value is harmless
            return None
        with self._moved:
            now = self._clock()
            if self._next_at(now) > now or not self._ready:
                return None
            _, lane = heappop(self._ready)
            _, attempt, ticket = lane.waiting.popleft()
            self._count -= 1
            self._weight -= attempt.weight
            self._go(lane.buckets, ticket, now)
            self._buckets.let_go(lane.buckets, now)
            if lane.waiting:
                heappush(self._ready, (lane.waiting[0][0], lane))
            else:
                del self._lanes[lane.buckets]
            self._look_at(lane.buckets, now)
            return attempt

    @property
    def takes_more(self) -> bool:
        """Whether to take further inputs: some may start before those that wait, and there is room."""
        if not self._count and self._paused_until == -inf:
            return True
        with self._moved:
            now = self._clock()
            if self._weight >= _MOST or self._paused_until > now:
                return False
            return not (self._next_at(now) > now and self._ready)  # else a limit without per holds it

    def is_due(self) -> bool:
        """Return whether a waiting attempt may start now. Guarded by ``moved``."""
        now = self._clock()
        return self._next_at(now) <= now and bool(self._ready)

    def until_due_s(self) -> float:
        """Return the seconds until an attempt may start; infinite if one has to end first. Guarded by ``moved``."""
        now = self._clock()
        return max(0.0, self._next_at(now) - now)

    def release(self, attempt: Attempt) -> None:
        """Stop counting an attempt that has ended, or did not start after all. Idempotent; any thread."""
        with self._moved:
            ticket: Ticket | None = attempt.ticket
            if ticket is None or not ticket.is_out:
                return
            ticket.is_out = False
            now = self._clock()
            self._buckets.release(ticket, now)
            if self._count:
                self._look_at(ticket.buckets, now)
                self._moved.notify_all()
            ticket.buckets = ()

    def pause(self, attempt: Attempt, seconds: float) -> None:
        """For some seconds, start no attempt that shares a value of ``per`` with this one.

        If no limit has a ``per``, nothing starts. A pause that already lasts longer is kept. Guarded by ``moved``.
        """
        until = self._clock() + seconds
        ticket: Ticket | None = attempt.ticket
        if self._buckets.has_values and ticket is not None:
            for bucket in ticket.buckets:
                bucket.paused_until = max(bucket.paused_until, until)
        else:
            self._paused_until = max(self._paused_until, until)

    def take_all(self) -> list[Attempt]:
        """Return all n waiting attempts: the run ends before their turn."""
        with self._moved:
            left = [attempt for lane in self._lanes.values() for _, attempt, _ in lane.waiting]
            self._lanes.clear()
            self._ready.clear()
            self._opening.clear()
            self._count = self._weight = 0
            return left

    # --- guarded by `moved` ---

    def _opens_at(self, buckets: tuple[Bucket, ...], ticket: Ticket) -> float:
        """Return when an attempt may start; infinite if another has to end first."""
        at = max(self._paused_until, self._buckets.common_opens_at(ticket))
        for bucket in buckets:
            if bucket.lanes:
                return inf  # others already wait there
            at = max(at, bucket.opens_at(ticket.weights[bucket.place]))
        return at

    def _go(self, buckets: tuple[Bucket, ...], ticket: Ticket, now: float) -> None:
        ticket.buckets = buckets
        ticket.is_out = True
        self._buckets.count(ticket, now)

    def _next_at(self, now: float) -> float:
        """Return when something may start, with the oldest lane that only waits for common limits first.

        Infinite if nothing waits, or an attempt has to end first.
        """
        while self._opening and self._opening[0][0] <= now:
            bucket = heappop(self._opening)[2]
            bucket.opening_at = inf
            self._look_at((bucket,), now)
        while self._ready:
            lane = self._ready[0][1]
            ticket = lane.waiting[0][2]
            shut = next((one for one in lane.buckets if one.opens_at(ticket.weights[one.place]) > now), None)
            if shut is None:
                return max(self._paused_until, self._buckets.common_opens_at(ticket))
            order, lane = heappop(self._ready)
            heappush(shut.lanes, (order, lane))
            self._look_at(lane.buckets, now)
        at = self._opening[0][0] if self._opening else inf
        return max(at, self._paused_until) if at < inf or self._paused_until <= now else self._paused_until

    def _look_at(self, buckets: tuple[Bucket, ...], now: float) -> None:
        """At each of these buckets, make the oldest waiting lane ready, or note when it will be.

        One lane is enough: when it starts an attempt or moves to another bucket, its buckets are checked again.
        """
        for bucket in buckets:
            if not bucket.lanes:
                continue
            order, lane = bucket.lanes[0]
            at = bucket.opens_at(lane.waiting[0][2].weights[bucket.place])
            if at <= now:
                heappop(bucket.lanes)
                heappush(self._ready, (order, lane))
            elif at < bucket.opening_at:
                bucket.opening_at = at
                heappush(self._opening, (at, next(self._orders), bucket))
