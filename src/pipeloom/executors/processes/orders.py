"""What all attendants of a pool go by: what a worker is told first, how much it is sent, how long it lasts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

__all__ = ["Orders"]

_CHUNK_S: Final = 0.005  # of work in a chunk: a message costs a hundredth of it
_AHEAD_S: Final = 0.02  # of work, up to which another chunk is sent before one is done
_MOST: Final = 512  # tasks in a chunk


class Orders:
    """Any thread; a stale look at the pace does no harm.

    Args:
        kinds: The messages that somebody handles, by name.
        tasks_per_worker: After so many tasks another process takes a worker's place; ``None`` is never.

    Attributes:
        boot: What a worker is told first.
    """

    def __init__(self, kinds: Mapping[str, type], tasks_per_worker: int | None) -> None:
        self.kinds = kinds
        self.boot = b""
        self._tasks_per_worker = tasks_per_worker
        self._pace_s = _CHUNK_S  # how long a task takes

    def chunk_size(self, performed: int) -> int:
        """Return how many tasks to send at once, at least 1, to a worker that has performed so many."""
        size = max(1, min(round(_CHUNK_S / self._pace_s), _MOST))
        return size if self._tasks_per_worker is None else min(size, self._tasks_per_worker - performed)

    def is_worn(self, performed: int) -> bool:
        """Say whether a worker is to be replaced that has performed so many tasks."""
        return self._tasks_per_worker is not None and performed >= self._tasks_per_worker

    def is_short(self, tasks: int) -> bool:
        """Say whether so many tasks are done so soon that others should be on their way."""
        return tasks * self._pace_s < _AHEAD_S

    def note(self, tasks: int, took_s: float) -> None:
        """Take note of how long a chunk took. Chunks double at most: the first tasks may be the quick ones."""
        pace_s = max(took_s / max(tasks, 1), _CHUNK_S / _MOST)
        if pace_s < self._pace_s:
            pace_s = (self._pace_s + pace_s) / 2
        self._pace_s = pace_s
