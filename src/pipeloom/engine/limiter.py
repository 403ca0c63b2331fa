"""Holds tries back that would exceed a limit: they wait here, hold no worker, and others overtake them.

::

    input, try that is due ─▶ pass_on ──may begin──▶ worker ── end ─▶ release
                                 │                     ▲
                                 └─▶ lane ─▶ (time passes, a try ends) ─▶ take

Each limit has a bucket for each value of ``per``, or one in all. Tries that share all their buckets wait in one
lane, in their order. A lane is ready when no bucket of its own holds it up; else it waits at one that does. Limits
without ``per`` concern everything alike, so they are looked at for the oldest lane that is ready, and no other.

Rates are kept by the generic cell rate algorithm: a bucket notes when it will be full again, which says how much of
``burst`` is left. The moments at which tries were handed out count, so nothing is ever caught up.
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
"""So many slots of memory may wait, at least one for each input; beyond, no others are looked at, so that memory
stays flat."""


class Limiter:
    """What waits for a limit; any thread.

    Its clock does not stand still with the program, unlike that of a time limit: a service counts real seconds.

    Args:
        limits: All of them hold; with none, only ``pause`` holds anything up.
        moved: Guards this, and tells workers that there is something to do; the intake's own.
        clock: Seconds since some instant.
        slack: By which fraction tries are further apart than a rate says: on its way to a service one may be held
            up, and comes closer to the next then.
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
        self._opening: list[tuple[float, int, Bucket]] = []  # buckets at which lanes wait, by when they open
        self._orders = itertools.count()
        self._has_limits = bool(limits)
        self._count = 0
        self._weight = 0  # of what waits, in slots
        self._paused_until = -inf

    def __len__(self) -> int:
        """Return how many wait; any thread."""
        return self._count

    @property
    def paused_s(self) -> float:
        """For how many seconds no task at all begins; any thread."""
        return max(0.0, self._paused_until - self._clock())

    @property
    def is_spent(self) -> bool:
        """Whether it holds up nothing, and never will: there is no limit, and the pause is over."""
        return not (self._has_limits or self._count) and self._paused_until <= self._clock()

    # --- a worker's thread ---

    def pass_on(self, attempt: Attempt) -> bool:
        """Let a try begin, and count it; false when it has to wait, which it then does in here.

        Calls the user's ``per`` and ``weight``, without a lock.

        Raises:
            UncountedError: They raised, or returned what cannot be counted.
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
            self._next_at(now)  # puts its lane where it waits
            return False

    def take(self) -> Attempt | None:
        """Return the oldest of the tries that have waited and may begin now, and count it."""
        if not self._count:  # a stale look does no harm
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
        """Whether to look at further inputs: some may begin before those that wait, and there is room."""
        if not self._count and self._paused_until == -inf:
            return True
        with self._moved:
            now = self._clock()
            if self._weight >= _MOST or self._paused_until > now:
                return False
            return not (self._next_at(now) > now and self._ready)  # else a limit of all holds it

    def is_due(self) -> bool:
        """Say whether a try that has waited may begin now. Guarded by ``moved``."""
        now = self._clock()
        return self._next_at(now) <= now and bool(self._ready)

    def until_due_s(self) -> float:
        """Return the seconds until a try may begin; infinite if one has to end first. Guarded by ``moved``."""
        now = self._clock()
        return max(0.0, self._next_at(now) - now)

    def release(self, attempt: Attempt) -> None:
        """Count a try no more that has ended, or has not begun after all; once is enough, and any thread may."""
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
        """Let no try begin for so many seconds that has a value of ``per`` in common with this one.

        Where no limit has a ``per``, none at all. A pause that ends later already stays as it is. Guarded by
        ``moved``.
        """
        until = self._clock() + seconds
        ticket: Ticket | None = attempt.ticket
        if self._buckets.has_values and ticket is not None:
            for bucket in ticket.buckets:
                bucket.paused_until = max(bucket.paused_until, until)
        else:
            self._paused_until = max(self._paused_until, until)

    def take_all(self) -> list[Attempt]:
        """Return everything that waits, n attempts: the run ends before its turn."""
        with self._moved:
            left = [attempt for lane in self._lanes.values() for _, attempt, _ in lane.waiting]
            self._lanes.clear()
            self._ready.clear()
            self._opening.clear()
            self._count = self._weight = 0
            return left

    # --- guarded by `moved` ---

    def _opens_at(self, buckets: tuple[Bucket, ...], ticket: Ticket) -> float:
        """Return from when on a try may begin; infinite while another one has to end first."""
        at = max(self._paused_until, self._buckets.common_opens_at(ticket))
        for bucket in buckets:
            if bucket.lanes:
                return inf  # others wait there
            at = max(at, bucket.opens_at(ticket.weights[bucket.place]))
        return at

    def _go(self, buckets: tuple[Bucket, ...], ticket: Ticket, now: float) -> None:
        ticket.buckets = buckets
        ticket.is_out = True
        self._buckets.count(ticket, now)

    def _next_at(self, now: float) -> float:
        """Return from when on something may begin; the oldest lane that only waits for common limits is first then.

        Infinite while nothing waits, or a try has to end first.
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
        """Make the oldest lane ready that waits at each of these buckets, or note when that will be.

        One lane is enough: when that begins, or moves to another bucket, its buckets are looked at again.
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
