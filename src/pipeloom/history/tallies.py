"""Tallies of attempts, added one by one: ends per time slice, durations, and the slowest attempts."""

from __future__ import annotations

import heapq
import math
from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from typing import Final, Literal

from pipeloom.data.text import clean
from pipeloom.history.attempts import TimedAttempt
from pipeloom.history.figures import NAME, Durations, SlowTask, Throughput

__all__ = ["Classes", "Slices", "Slowest"]

_SLICES: Final = 96
_SPREAD: Final = 30.0
_SHORTEST_S: Final = 1e-6  # shorter durations count as this on a logarithmic scale
_DECADES: Final = range(-6, 9)
_PER_DECADE: Final = 48
_SLOWEST: Final = 10


class Slices:
    """Count the attempts that ended in each time slice.

    Args:
        span: The whole time in seconds, more than 0.
    """

    def __init__(self, span: float) -> None:
        self._span = span
        self._done = [0] * _SLICES
        self._others = [0] * _SLICES

    def add(self, at: float, done: bool) -> None:
        """Count an attempt that ended ``at`` seconds after the beginning."""
        if 0 <= at <= self._span * 1.001 + 0.01:  # the run's end is stamped within a millisecond of its last task's
            counts = self._done if done else self._others
            counts[min(_SLICES - 1, int(at * _SLICES / self._span))] += 1

    def throughput(self) -> Throughput:
        """Return the counts; in fewer slices for few attempts, since a slice with one attempt shows little."""
        count, total = _SLICES, sum(self._done) + sum(self._others)
        while count > 12 and total < count * 4:
            count //= 2
        size = _SLICES // count
        return Throughput(
            slice_s=self._span / count, done=_merged(self._done, size), others=_merged(self._others, size)
        )


def _merged(counts: Sequence[int], size: int) -> tuple[int, ...]:
    return tuple(sum(counts[begin : begin + size]) for begin in range(0, len(counts), size))


class Classes:
    """Count durations in classes for the chart, fewer for few attempts, and in fine ones, 5 % wide, for the median.

    Args:
        shortest: The shortest duration, in seconds.
        longest: The longest duration, in seconds.
        count: The approximate number of attempts.
    """

    def __init__(self, shortest: float, longest: float, count: int) -> None:
        most = min(max(2 * math.isqrt(count), 6), 32)
        low = max(shortest, _SHORTEST_S)
        self._scale: Literal["linear", "log"] = "log" if longest / low > _SPREAD else "linear"
        self._edges = (
            _log_edges(low, longest, most) if self._scale == "log" else _linear_edges(shortest, longest, most)
        )
        self._shortest, self._longest = math.inf, 0.0
        self._done = [0] * (len(self._edges) - 1)
        self._others = [0] * (len(self._edges) - 1)
        self._fine = [0] * (len(_DECADES) * _PER_DECADE)

    def add(self, elapsed: float, done: bool) -> None:
        """Count an attempt that took ``elapsed`` seconds."""
        counts = self._done if done else self._others
        place = bisect_right(self._edges, elapsed) - 1
        counts[min(max(place, 0), len(counts) - 1)] += 1
        self._shortest, self._longest = min(self._shortest, elapsed), max(self._longest, elapsed)
        fine = int((math.log10(max(elapsed, _SHORTEST_S)) - _DECADES.start) * _PER_DECADE)
        self._fine[min(max(fine, 0), len(self._fine) - 1)] += 1

    def durations(self) -> Durations:
        """Return the distribution."""
        if not any(self._fine):
            return Durations("linear", (), (), (), 0.0, 0.0, 0.0, 0.0)
        return Durations(
            scale=self._scale,
            edges=tuple(self._edges),
            done=tuple(self._done),
            others=tuple(self._others),
            shortest=float(self._shortest),
            median=self._quantile(0.5),
            p95=self._quantile(0.95),
            longest=float(self._longest),
        )

    def _quantile(self, share: float) -> float:
        wanted = share * sum(self._fine)
        place = next(place for place, seen in enumerate(accumulate(self._fine)) if seen >= wanted)
        middle = 10.0 ** (_DECADES.start + (place + 0.5) / _PER_DECADE)
        return float(min(max(middle, self._shortest), self._longest))


def _log_edges(low: float, high: float, most: int) -> list[float]:
    """Return edges that divide each decade evenly, so that every power of ten is an edge."""
    decades = math.log10(high / low)
    parts = next((parts for parts in (10, 8, 5, 4, 3, 2) if parts * decades <= most), 1)
    first, last = math.floor(math.log10(low) * parts), math.floor(math.log10(high) * parts) + 1
    return [10.0 ** (number / parts) for number in range(first, last + 1)]


def _linear_edges(low: float, high: float, most: int) -> list[float]:
    rough = max(high - low, high / 20, _SHORTEST_S) / most
    unit = 10.0 ** math.floor(math.log10(rough))
    step = next(unit * factor for factor in (1, 2, 2.5, 5, 10) if unit * factor >= rough * 0.999)
    first, last = math.floor(low / step), math.floor(high / step) + 1
    return [number * step for number in range(first, last + 1)]


class Slowest:
    """Collect the longest attempts; of equally long ones, those with lower task numbers."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, SlowTask]] = []

    def add(self, attempt: TimedAttempt) -> None:
        """Keep an attempt that has ended if it is one of the longest so far."""
        elapsed, heap = float(attempt.elapsed or 0.0), self._heap
        rank = elapsed, -attempt.task_id
        if len(heap) == _SLOWEST and rank <= heap[0][:2]:
            return
        if any(rank == other[:2] for other in heap):  # two equally long attempts of one task
            return
        entry = (*rank, _slow_task(attempt, elapsed))
        if len(heap) < _SLOWEST:
            heapq.heappush(heap, entry)
        else:
            heapq.heapreplace(heap, entry)

    def tasks(self) -> tuple[SlowTask, ...]:
        """Return the attempts, the longest first."""
        return tuple(task for *_, task in sorted(self._heap, key=lambda entry: entry[:2], reverse=True))


def _slow_task(attempt: TimedAttempt, elapsed: float) -> SlowTask:
    return SlowTask(
        task_id=attempt.task_id,
        name=clean(attempt.name, NAME),
        attempt=attempt.number,
        status=attempt.status,
        started_at=None if attempt.started_at is None else clean(attempt.started_at, 40),
        elapsed_s=elapsed,
        worker=None if attempt.worker is None else clean(attempt.worker, 40),
        rows_written=attempt.rows_written,
    )
