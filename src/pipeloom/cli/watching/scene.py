"""What there was to see at one moment; plain values, so that drawing and JSON need neither file nor terminal."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from pipeloom.statuses import QUEUED, RUNNING

if TYPE_CHECKING:
    from pipeloom.history import AttemptRow, ErrorGroup, LogRow, RunRow, TaskDetail, TaskRow

__all__ = ["LISTED", "Opened", "Scene"]

LISTED: Final = 200
"""How many failures, kinds or runs are listed; one more of the latter two is read, to know of more."""


@dataclass(frozen=True, slots=True)
class Opened:
    """One task in full: the tries before this one, oldest first, and its last log records."""

    task: TaskDetail
    attempts: tuple[AttemptRow, ...]
    logs: tuple[LogRow, ...]


@dataclass(frozen=True, slots=True)
class Scene:
    """What there was to see.

    Attributes:
        path: The file, as it was named.
        at: When it was read, on the monotonic clock, in seconds.
        trouble: Why nothing can be read right now, as a sentence; everything else is then what was known before.
        note: What happened to the file last (replaced, removed), as a sentence.
        run: The latest run; ``None`` when there is none.
        counts: Status → number of tasks, for the statuses other than ``done``; all statuses when there is no run.
        rate: Tasks per second over about the last ten seconds.
        left_s: How much longer the run takes, in seconds, when that can be told.
        running: Running tasks, as many as were asked for.
        failures: Tasks of this run that failed, the latest first.
        errors: Kinds of failure of this run, the largest first, as many as are listed.
        runs: Runs, the latest first.
        opened: The task that the viewer opened; ``None`` when none is, or it has gone.
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
        """Return how long ago it was read, in seconds."""
        return max(now - self.at, 0.0)

    @property
    def is_running(self) -> bool:
        """Whether a run is going on."""
        return self.run is not None and self.run.status == RUNNING

    @property
    def waiting_retries(self) -> int:
        """Tasks that wait for their next try."""
        return self.counts.get(QUEUED, 0)

    @property
    def failed(self) -> int:
        """Tasks of this run that did not end well, as far as its row counts them or the list shows them."""
        counted = self.run.errors if self.run is not None else 0
        return max(counted, len(self.failures))
