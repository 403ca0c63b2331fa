"""The ids of new rows."""

from __future__ import annotations

import threading
from array import array
from bisect import bisect_right
from collections.abc import Iterable, Iterator

from pipeloom.data.values import NUMBER_LIMIT

__all__ = ["IdAllocator", "IdSeries"]


class IdAllocator:
    """Gives out ids in ascending order, beyond all that are on file; any thread.

    Args:
        highest: The highest id on file.
    """

    def __init__(self, highest: int) -> None:
        self._lock = threading.Lock()
        self._first = self._next = highest + 1
        self._gaps: list[range] = []  # in between, and never given out; ascending

    def give(self, count: int) -> range:
        """Return ids that are nobody else's."""
        with self._lock:
            first, self._next = self._next, self._next + count
            return range(first, self._next)

    def claim(self, numbers: Iterable[int]) -> set[int]:
        """Return those that were given out; the others, which a worker chose itself, never will be.

        Both under one lock: a number that is free must not be given away before its row is written. For one number
        the answer is always the same: a task speaks more than once, and a batch that was lost is applied again.
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
    """Ids in the order in which they came, kept as ranges: 16 bytes for each that does not follow the one before.

    Picklable. One thread at a time.
    """

    def __init__(self) -> None:
        self._bounds = array("q")  # start, stop, start, stop

    def __iter__(self) -> Iterator[int]:
        bounds = self._bounds
        for place in range(0, len(bounds), 2):
            yield from range(bounds[place], bounds[place + 1])

    def extend(self, ids: range | Iterable[int]) -> None:
        """Add n ids; a range takes no longer than one of them."""
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
