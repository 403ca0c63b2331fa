"""What was read at one moment; plain values, so that drawing and JSON need neither file nor terminal."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from pipeloom.statuses import QUEUED, RUNNING

if TYPE_CHECKING:
    from pipeloom.history import AttemptRow, ErrorGroup, LogRow, RunRow, TaskDetail, TaskRow

__all__ = ["LISTED", "Opened", "Scene"]

LISTED: Final = 200
"""How many failures, kinds or runs are listed. One more kind or run is read, to detect that others exist."""


@dataclass(frozen=True, slots=True)
class Opened:
    """One task in full: its tries, oldest first, and its last log records."""

    task: TaskDetail
    attempts: tuple[AttemptRow, ...]
    logs: tuple[LogRow, ...]


@dataclass(frozen=True, slots=True)
class Scene:
    """What was read from the file.

    Attributes:
        path: The file, as the user named it.
        at: When it was read, on the monotonic clock, in seconds.
        trouble: Why nothing can be read now, as a sentence; all other values are then from the last good read.
        note: What last happened to the file (it was replaced), as a sentence.
        run: The latest run; ``None`` when there is none.
        counts: Status → number of tasks, for the statuses other than ``done``; all statuses when there is no run.
        rate: Tasks per second over about the last ten seconds.
        left_s: Estimated remaining time of the run, in seconds; ``None`` when unknown.
        running: Running tasks, as many as were requested.
        failures: Failed tasks of this run, latest first.
        errors: Kinds of failure of this run, largest first, at most :data:`LISTED` and one more.
        runs: Runs, latest first.
        opened: The task that the user opened; ``None`` if there is none, or it no longer exists.
    """

    path: str
    at: float = 0.0
    trouble: str | None = None
    note: str | None = None
    run: RunRow | None = None
    counts: Mapping[str, int] = field(default_factory=dict)
    rate: float = 0.0
    left_s: float | None = None
    running: tuple[TaskRow, ...] = ()
    failures: tuple[TaskRow, ...] = ()
    errors: tuple[ErrorGroup, ...] = ()
    runs: tuple[RunRow, ...] = ()
    opened: Opened | None = None

    def since(self, now: float) -> float:
        """Return how long ago the scene was read, in seconds."""
        return max(now - self.at, 0.0)

    @property
    def is_waiting(self) -> bool:
        """Whether there is nothing to read yet: no file, or no ledger in it."""
        return self.trouble is not None and self.trouble.endswith("…")

    @property
    def is_running(self) -> bool:
        """Whether a run is in progress."""
        return self.run is not None and self.run.status == RUNNING

    @property
    def waiting_retries(self) -> int:
        """Number of tasks waiting for their next try."""
        return self.counts.get(QUEUED, 0)

    @property
    def failed(self) -> int:
        """Number of failed tasks in this run: what its row counts, or the length of the list if larger."""
        counted = self.run.errors if self.run is not None else 0
        return max(counted, len(self.failures))
