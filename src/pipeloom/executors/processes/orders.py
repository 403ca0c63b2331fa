"""What all attendants of a pool go by: what a worker is told first, how much it is sent, how long it lasts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from pipeloom.executors.pace import Pace

__all__ = ["Orders"]

_CHUNK_S: Final = 0.005  # of work in a chunk: a message costs a hundredth of it
_AHEAD_S: Final = 0.02  # of work, up to which another chunk is sent before one is done


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
        self._pace = Pace(_CHUNK_S)
        self.note = self._pace.note

    def chunk_size(self, performed: int) -> int:
        """Return how many tasks to send at once, at least 1, to a worker that has performed so many."""
        size = self._pace.chunk_size()
        return size if self._tasks_per_worker is None else min(size, self._tasks_per_worker - performed)

    def is_worn(self, performed: int) -> bool:
        """Say whether a worker is to be replaced that has performed so many tasks."""
        return self._tasks_per_worker is not None and performed >= self._tasks_per_worker

    def is_short(self, tasks: int) -> bool:
        """Say whether so many tasks are done so soon that others should be on their way."""
        return self._pace.estimate_s(tasks) < _AHEAD_S
