"""The buckets of a run's limits: how much of each is left, and how many attempts are in progress under it.

A bucket that is full again and not in use is forgotten: there may be a million values of ``per``.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Hashable, Sequence
from heapq import heappop, heappush
from math import inf
from typing import Final

from pipeloom.ledger.attempt import Attempt
from pipeloom.limit import Limit

__all__ = ["Bucket", "Buckets", "Lane", "Ticket"]

_FASTEST: Final = 1e300  # larger rates count as this one, which fits into a float
_SLOWEST_S: Final = 1e15  # between two attempts: small enough that products stay finite


class Ticket:
    """What one attempt counts for.

    Attributes:
        values: The values of ``per``, for the limits that have one, in their order.
        weights: The weights, for all limits.
        buckets: The buckets of its values, while the attempt is in progress.
        is_out: Whether the attempt was handed out and has not ended.
    """

    __slots__ = ("buckets", "is_out", "values", "weights")

    def __init__(self, values: tuple[Hashable, ...], weights: tuple[float, ...]) -> None:
        self.values = values
        self.weights = weights
        self.buckets: tuple[Bucket, ...] = ()
        self.is_out = False


class Bucket:
    """The count of one limit, or of one value of its ``per``. Guarded by the limiter's lock.

    Attributes:
        place: The index of its limit among the limits of the run.
        value: The value of ``per``; ``None`` without one.
        full_at: When it is full again, if nothing more starts.
        paused_until: Nothing starts before this time.
        out: How many attempts are in progress.
        holders: How many attempts are in progress, or wait in a lane of this bucket.
        lanes: The lanes that wait here: a heap, oldest first.
        opening_at: When the limiter will look at it again, if that is scheduled.
    """

    __slots__ = (
        "_at_once", "_burst", "_interval_s", "full_at", "holders", "is_fading", "lanes", "opening_at", "out",
        "paused_until", "place", "value",
    )  # fmt: skip

    def __init__(self, limit: Limit, place: int, slack: float, value: Hashable = None) -> None:
        self.place = place
        self.value = value
        self.full_at = self.paused_until = -inf
        self.out = self.holders = 0
        self.lanes: list[tuple[int, Lane]] = []
        self.opening_at = inf
        self.is_fading = False
        self._at_once = inf if limit.at_once is None else limit.at_once
        self._interval_s: float | None = None  # time in which 1 of the burst is regained
        if limit.rate is not None:
            interval_s = min(limit.per_s, _FASTEST) / min(limit.rate, _FASTEST) * (1 + slack)
            self._interval_s = min(interval_s, _SLOWEST_S)
        self._burst = min(limit.burst, _FASTEST)

    def opens_at(self, weight: float) -> float:
        """Return when an attempt of this weight may start; infinite if another attempt must end first.

        An attempt that weighs more than the burst needs a full bucket, and leaves it in debt.
        """
        if self.out >= self._at_once:
            return inf
        if self._interval_s is None or weight == 0:
            return self.paused_until
        at = self.full_at - (self._burst - min(weight, self._burst)) * self._interval_s
        return max(at, self.paused_until)

    def count(self, weight: float, now: float) -> None:
        """Count an attempt that starts."""
        self.out += 1
        self.holders += 1
        if self._interval_s is not None and weight:
            self.full_at = max(self.full_at, now) + weight * self._interval_s

    @property
    def is_as_new_at(self) -> float:
        """When it will be the same as a new bucket, if nobody uses it."""
        return max(self.full_at, self.paused_until)


class Lane:
    """Attempts that share all their buckets.

    Attributes:
        buckets: The buckets that belong to a value of ``per``.
        waiting: The attempts, each with its position in the order of all.
    """

    __slots__ = ("buckets", "waiting")

    def __init__(self, buckets: tuple[Bucket, ...]) -> None:
        self.buckets = buckets
        self.waiting: deque[tuple[int, Attempt, Ticket]] = deque()


class Buckets:
    """All buckets of a run. Guarded by the limiter's lock.

    Args:
        limits: Each has one bucket, or one for each value of its ``per``.
        slack: The fraction by which attempts are spaced further apart than the rate requires.

    Attributes:
        has_values: Whether a limit has a ``per``.
    """

    def __init__(self, limits: Sequence[Limit], slack: float) -> None:
        self._slack = slack
        self._common = [Bucket(limit, place, slack) for place, limit in enumerate(limits) if limit.per is None]
        self._own: list[tuple[int, Limit, dict[Hashable, Bucket]]] = [
            (place, limit, {}) for place, limit in enumerate(limits) if limit.per is not None
        ]
        self.has_values = bool(self._own)
        self._fading: list[tuple[float, int, Bucket]] = []  # unused buckets, by the time they may be forgotten
        self._numbers = itertools.count()

    def __len__(self) -> int:
        """Return how many buckets of ``per`` values are kept."""
        return sum(len(found) for _, _, found in self._own)

    def of(self, ticket: Ticket) -> tuple[Bucket, ...]:
        """Return the buckets of an attempt's values; creates missing ones."""
        buckets = []
        for (place, limit, found), value in zip(self._own, ticket.values, strict=True):
            bucket = found.get(value)
            if bucket is None:
                bucket = found[value] = Bucket(limit, place, self._slack, value)
            buckets.append(bucket)
        return tuple(buckets)

    def common_opens_at(self, ticket: Ticket) -> float:
        """Return when all buckets that apply to every attempt are open; see :meth:`Bucket.opens_at`."""
        at = -inf
        for bucket in self._common:
            at = max(at, bucket.opens_at(ticket.weights[bucket.place]))
        return at

    def count(self, ticket: Ticket, now: float) -> None:
        """Count an attempt that starts."""
        for bucket in (*self._common, *ticket.buckets):
            bucket.count(ticket.weights[bucket.place], now)

    def release(self, ticket: Ticket, now: float) -> None:
        """Note that an attempt has ended."""
        for bucket in self._common:
            bucket.out -= 1
        for bucket in ticket.buckets:
            bucket.out -= 1
        self.let_go(ticket.buckets, now)

    def hold(self, buckets: tuple[Bucket, ...]) -> None:
        """Keep buckets for an attempt that waits."""
        for bucket in buckets:
            bucket.holders += 1

    def let_go(self, buckets: tuple[Bucket, ...], now: float) -> None:
        """Stop keeping buckets for an attempt, and forget those that are as new."""
        for bucket in buckets:
            bucket.holders -= 1
            self._forget(bucket, now)
        while self._fading and self._fading[0][0] <= now:
            bucket = heappop(self._fading)[2]
            bucket.is_fading = False
            self._forget(bucket, now)

    def _forget(self, bucket: Bucket, now: float) -> None:
        """Forget a bucket that nobody uses, now or once it is as new."""
        if bucket.holders or bucket.is_fading:
            return
        at = bucket.is_as_new_at
        if at <= now:
            next(found for place, _, found in self._own if place == bucket.place).pop(bucket.value, None)
        elif at < inf:
            bucket.is_fading = True
            heappush(self._fading, (at, next(self._numbers), bucket))
