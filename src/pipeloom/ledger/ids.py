"""Allocate the ids of new rows."""

from __future__ import annotations

import threading
from array import array
from bisect import bisect_right
from collections.abc import Iterable, Iterator

from pipeloom.data.values import NUMBER_LIMIT

__all__ = ["IdAllocator", "IdSeries"]


class IdAllocator:
    """Allocate ids in ascending order, above all that are in the file; any thread.

    Args:
        highest: The highest id in the file.
    """

    def __init__(self, highest: int) -> None:
        self._lock = threading.Lock()
        self._first = self._next = highest + 1
        self._gaps: list[range] = []  # ranges that were skipped, never allocated; ascending

    def give(self, count: int) -> range:
        """Return ``count`` ids that no other task has."""
        with self._lock:
            first, self._next = self._next, self._next + count
            return range(first, self._next)

    def claim(self, numbers: Iterable[int]) -> set[int]:
        """Return which numbers were allocated here; reserve the others, which workers chose themselves.

        Both happen under one lock, so that a free number is not allocated before its row is written. The answer for
        a number never changes: a task sends several messages, and a lost batch is applied again.
        """
        with self._lock:
            given = {
                number for number in numbers if self._first <= number < self._next and not self._is_gap(number)
            }
            self._skip_to(max((number + 1 for number in numbers if number < NUMBER_LIMIT), default=0))
            return given

    def _skip_to(self, number: int) -> None:
        if number <= self._next:
            return
        begin = self._gaps.pop().start if self._gaps and self._gaps[-1].stop == self._next else self._next
        self._gaps.append(range(begin, number))
        self._next = number

    def _is_gap(self, number: int) -> bool:
        place = bisect_right(self._gaps, number, key=lambda gap: gap.start) - 1
        return place >= 0 and number in self._gaps[place]


class IdSeries:
    """Ids in order of arrival, stored as ranges: 16 bytes for each id that does not follow the previous one.

    Picklable. One thread at a time.
    """

    def __init__(self) -> None:
        self._bounds = array("q")  # start, stop, start, stop

    def __iter__(self) -> Iterator[int]:
        bounds = self._bounds
        for place in range(0, len(bounds), 2):
            yield from range(bounds[place], bounds[place + 1])

    def extend(self, ids: range | Iterable[int]) -> None:
        """Add n ids; a range takes constant time."""
        bounds = self._bounds
        if isinstance(ids, range):
            if not ids:
                return
            if bounds and bounds[-1] == ids.start:
                bounds[-1] = ids.stop
            else:
                bounds.extend((ids.start, ids.stop))
            return
        stop = bounds[-1] if bounds else None
        for number in ids:
            if number == stop:
                stop += 1
            else:
                if stop is not None:
                    bounds[-1] = stop
                stop = number + 1
                bounds.extend((number, stop))
        if stop is not None:
            bounds[-1] = stop
