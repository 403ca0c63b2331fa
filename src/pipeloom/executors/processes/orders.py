"""What all attendants of a pool share: the boot message, the chunk size, and when a worker is replaced."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from pipeloom.executors.pace import Pace

__all__ = ["Orders"]

_CHUNK_S: Final = 0.005  # seconds of work in a chunk: a message costs a hundredth of that
_AHEAD_S: Final = 0.02  # seconds of work: if a chunk is shorter, the next one is sent before it is done


class Orders:
    """The shared settings; any thread, since a stale pace does no harm.

    Args:
        kinds: The message classes that have handlers, by name.
        tasks_per_worker: Replace a worker after this many tasks; ``None`` for never.

    Attributes:
        boot: The first message to a worker.
    """

    def __init__(self, kinds: Mapping[str, type], tasks_per_worker: int | None) -> None:
        self.kinds = kinds
        self.boot = b""
        self._tasks_per_worker = tasks_per_worker
        self._pace = Pace(_CHUNK_S)
        self.note = self._pace.note

    def chunk_size(self, performed: int) -> int:
        """Return how many tasks to send at once, at least 1, to a worker that has performed ``performed`` tasks."""
        size = self._pace.chunk_size()
        return size if self._tasks_per_worker is None else min(size, self._tasks_per_worker - performed)

    def is_worn(self, performed: int) -> bool:
        """Return whether a worker that has performed this many tasks must be replaced."""
        return self._tasks_per_worker is not None and performed >= self._tasks_per_worker

    def is_short(self, tasks: int) -> bool:
        """Return whether this many tasks take so little time that more should be sent in advance."""
        return self._pace.estimate_s(tasks) < _AHEAD_S
