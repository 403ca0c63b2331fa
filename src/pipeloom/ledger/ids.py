"""The ids of new rows."""

from __future__ import annotations

import threading
from collections.abc import Iterable

from pipeloom.data.keys import NUMBER_LIMIT

__all__ = ["IdAllocator"]


class IdAllocator:
    """Gives out ids in ascending order, beyond all that are on file; any thread.

    Args:
        highest: The highest id on file.
    """

    def __init__(self, highest: int) -> None:
        self._lock = threading.Lock()
        self._first = self._next = highest + 1

    def give(self, count: int) -> range:
        """Return ids that are nobody else's."""
        with self._lock:
            first, self._next = self._next, self._next + count
            return range(first, self._next)

    def claim(self, numbers: Iterable[int]) -> set[int]:
        """Return those that were given out; the others, which a worker chose itself, never will be.

        Both under one lock: a number that is free must not be given away before its row is written.
        """
        with self._lock:
            given = {number for number in numbers if self._first <= number < self._next}
            self._next = max(self._next, *(number + 1 for number in numbers if number < NUMBER_LIMIT), self._first)
            return given
