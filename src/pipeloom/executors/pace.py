"""Determines how many tasks are sent at once, so that a chunk is worth the cost of its message."""

from __future__ import annotations

from typing import Final

__all__ = ["Pace"]

_MOST: Final = 512  # tasks in a chunk


class Pace:
    """An estimate of how long tasks take; any thread, since a stale value does no harm.

    Args:
        chunk_s: How long the tasks of a chunk should take together, in seconds.
    """

    def __init__(self, chunk_s: float) -> None:
        self._chunk_s = chunk_s
        self._task_s = chunk_s

    def chunk_size(self) -> int:
        """Return how many tasks to send at once, at least 1."""
        return max(1, min(round(self._chunk_s / self._task_s), _MOST))

    def estimate_s(self, tasks: int) -> float:
        """Return how long this many tasks take, in seconds."""
        return tasks * self._task_s

    def note(self, tasks: int, took_s: float) -> None:
        """Record how long a chunk took. Chunks at most double in size: the first tasks may be the quick ones."""
        task_s = max(took_s / max(tasks, 1), self._chunk_s / _MOST)
        if task_s < self._task_s:
            task_s = (self._task_s + task_s) / 2
        self._task_s = task_s
