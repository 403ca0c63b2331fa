"""The figures of one run, as its report shows them: small, frozen, and of a size that no number of tasks changes.

Times are seconds since the run began, unless they are called an instant.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

__all__ = [
    "NAME",
    "Bar",
    "Durations",
    "Lane",
    "RunFigures",
    "SlowTask",
    "Throughput",
    "Timeline",
]

NAME: Final = 400
"""How many characters of a name are kept."""


@dataclass(frozen=True, slots=True)
class Bar:
    """One attempt on the timeline; ``open`` says that its end is not known, and ``end_s`` is the picture's edge."""

    task_id: int
    name: str
    attempt: int
    status: str
    start_s: float
    end_s: float
    open: bool


@dataclass(frozen=True, slots=True)
class Lane:
    """What one worker did; in a crowd, several workers share a lane.

    Attributes:
        label: Its name, or names.
        workers: How many share it, at least 1.
        attempts: All of them, drawn or not.
        failed: Those among them that failed or timed out.
        stopped: Those that were cancelled or interrupted.
        busy: Share of the whole time, 0..1, that was spent in attempts; an average over the workers.
        bars: One per attempt; empty when the timeline shows density.
        columns: Density: the busy share of each slice of the time, 0..1.
        failing: Density: of what ended in each slice, the share that failed, 0..1; empty when nothing did.
        stops_in: Density: the slices in which something was stopped, ascending.
    """

    label: str
    workers: int
    attempts: int
    failed: int
    stopped: int
    busy: float
    bars: tuple[Bar, ...] = ()
    columns: tuple[float, ...] = ()
    failing: tuple[float, ...] = ()
    stops_in: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Timeline:
    """Who did what when.

    Attributes:
        span_s: What the picture covers, more than 0.
        drawn: ``bars``, or ``density`` when there are too many attempts to draw each.
        lanes: In the order of the workers' names.
        undrawn: Attempts without a start that can be read, or outside the run's time.
    """

    span_s: float
    drawn: Literal["bars", "density"]
    lanes: tuple[Lane, ...]
    undrawn: int = 0


@dataclass(frozen=True, slots=True)
class Throughput:
    """How many attempts ended in each slice of the time.

    Attributes:
        slice_s: How long a slice is.
        done: Per slice.
        others: Those that ended otherwise, per slice.
    """

    slice_s: float
    done: tuple[int, ...]
    others: tuple[int, ...]

    @property
    def total(self) -> int:
        """All that ended."""
        return sum(self.done) + sum(self.others)


@dataclass(frozen=True, slots=True)
class Durations:
    """How long attempts took.

    Attributes:
        scale: ``log`` when they are spread over more than a factor of thirty.
        edges: n + 1 of them around n classes, ascending; n may be 0.
        done: Per class.
        others: Those that ended otherwise, per class.
        shortest: Exact, as is ``longest``.
        median: Within 2.5 %, as is ``p95``.
    """

    scale: Literal["linear", "log"]
    edges: tuple[float, ...]
    done: tuple[int, ...]
    others: tuple[int, ...]
    shortest: float
    median: float
    p95: float
    longest: float

    @property
    def total(self) -> int:
        """All that are counted."""
        return sum(self.done) + sum(self.others)


@dataclass(frozen=True, slots=True)
class SlowTask:
    """One of the attempts that took longest."""

    task_id: int
    name: str
    attempt: int
    status: str
    started_at: str | None
    elapsed_s: float
    worker: str | None
    rows_written: int


@dataclass(frozen=True, slots=True)
class RunFigures:
    """What the attempts of one run add up to.

    Attributes:
        began_at: Instant at which the pictures begin.
        span_s: What they cover.
        attempts: Status → number of attempts, past ones included.
        waiting: Tasks that wait for their next try.
        again: Attempts that were not the first of this run.
        recovered: Tasks that were done at such an attempt.
        rows_written: Rows that the attempts wrote.
        busy: Share of the workers' time that was spent in attempts, 0..1.
        slowest: Longest first.
    """

    began_at: str
    span_s: float
    attempts: dict[str, int]
    waiting: int
    again: int
    recovered: int
    rows_written: int
    busy: float
    timeline: Timeline
    throughput: Throughput
    durations: Durations
    slowest: tuple[SlowTask, ...]
