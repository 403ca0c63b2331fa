"""The figures of one run's report: frozen values whose size does not depend on the number of tasks.

Times are in seconds since the run began, unless called an instant.
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
"""The maximum length of a name, in characters."""


@dataclass(frozen=True, slots=True)
class Bar:
    """One attempt on the timeline; if ``open``, its end is unknown, and ``end_s`` is the end of the timeline."""

    task_id: int
    name: str
    attempt: int
    status: str
    start_s: float
    end_s: float
    open: bool


@dataclass(frozen=True, slots=True)
class Lane:
    """The attempts of one worker, or of several that share a lane if there are too many workers.

    Attributes:
        label: The name of the worker, or names of the workers.
        workers: How many workers share the lane, at least 1.
        attempts: The number of attempts, drawn or not.
        failed: How many of them failed or timed out.
        stopped: How many of them were cancelled or interrupted.
        busy: Fraction of the whole time spent in attempts, 0..1; an average over the workers.
        bars: One per attempt; empty if the timeline shows density.
        columns: Density: the busy fraction of each time slice, 0..1.
        failing: Density: the fraction that failed of the attempts that ended in each slice, 0..1; empty if none
            failed.
        stops_in: Density: the slices in which an attempt was stopped, ascending.
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
    """What each worker did, and when.

    Attributes:
        span_s: The time that the timeline covers, more than 0.
        drawn: ``bars``, or ``density`` if there are too many attempts to draw each.
        lanes: In the order of the workers' names.
        undrawn: The number of attempts whose start is unreadable or outside the run's time.
    """

    span_s: float
    drawn: Literal["bars", "density"]
    lanes: tuple[Lane, ...]
    undrawn: int = 0


@dataclass(frozen=True, slots=True)
class Throughput:
    """How many attempts ended in each time slice.

    Attributes:
        slice_s: The length of a slice.
        done: Attempts that were done, per slice.
        others: Attempts that ended otherwise, per slice.
    """

    slice_s: float
    done: tuple[int, ...]
    others: tuple[int, ...]

    @property
    def total(self) -> int:
        """The number of attempts that ended."""
        return sum(self.done) + sum(self.others)


@dataclass(frozen=True, slots=True)
class Durations:
    """How long attempts took.

    Attributes:
        scale: ``log`` if the longest is more than thirty times the shortest.
        edges: The n + 1 edges of n classes, ascending, in seconds; empty if n is 0.
        done: Attempts that were done, per class.
        others: Attempts that ended otherwise, per class.
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
        """The number of attempts counted."""
        return sum(self.done) + sum(self.others)


@dataclass(frozen=True, slots=True)
class SlowTask:
    """One of the longest attempts."""

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
    """Totals and distributions over the attempts of one run.

    Attributes:
        began_at: The instant at which the charts begin.
        span_s: The time that the charts cover.
        attempts: Status → number of attempts, including past ones.
        waiting: How many tasks wait for their next attempt.
        again: How many attempts were retries.
        recovered: How many of those were done.
        rows_written: How many rows the attempts wrote.
        busy: Fraction of the workers' time spent in attempts, 0..1.
        slowest: The longest attempts, longest first.
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
