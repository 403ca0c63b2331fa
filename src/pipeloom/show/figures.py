"""The figures of a run in words, for a terminal and for plain lines; never imports Rich."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence, Sized
from typing import TYPE_CHECKING, Final, Protocol

from pipeloom.data import stopwatch
from pipeloom.data.rates import Forecast, Pace, Running, age, duration, fraction, per_second
from pipeloom.data.totals import SKIPPED, Total, totals_of
from pipeloom.show.failures import Told
from pipeloom.show.parts import Part
from pipeloom.statuses import CANCELLED, DONE, ERROR, QUEUED, TIMED_OUT, RunEnd, TaskStatus

if TYPE_CHECKING:
    from pipeloom.ledger import Attempt
    from pipeloom.ledger.board import KindCount

__all__ = ["Figures", "Watched", "average", "ending", "told_of", "totals_parts"]

_BAD: Final = (ERROR, TIMED_OUT)
_STYLES: Final = {DONE: "green", ERROR: "bold red", TIMED_OUT: "bold red", CANCELLED: "yellow"}
# What remains on a narrow terminal, heaviest first.
_STATE, _FAILED, _DONE, _LEFT, _HELD_UP, _RATE, _WAITING, _TIME, _SKIPPED = range(9, 0, -1)
_WEIGHTS: Final = {DONE: _DONE, ERROR: _FAILED, TIMED_OUT: _FAILED, CANCELLED: _WAITING, SKIPPED: _SKIPPED}


class Watched(Protocol):
    """The state of a run, as its screen reads it."""

    counts: Counter[TaskStatus]
    skipped: int
    beside: int
    waiting: Sized
    held_up: Callable[[], tuple[int, float]]
    is_stopping: Callable[[], bool]
    end: RunEnd | None
    was_left: bool
    took_s: float | None
    slots: list[Attempt | None]

    @property
    def kinds(self) -> Sequence[KindCount]:
        """How many tasks failed in which way, most frequent first."""


class Figures:
    """The figures of a run.

    Args:
        title: Text that is safe to print.
        expected: How many inputs were passed; ``None`` if unknown.
        began: When the run began, by ``stopwatch.monotonic``. Default: now.
    """

    def __init__(self, title: str, expected: int | None, began: float | None = None) -> None:
        self.title = title
        self._given = expected
        self.run: Watched | None = None
        self.over = False
        self.began = stopwatch.monotonic() if began is None else began
        self._pace = Pace(self.began)
        self._forecast = Forecast(self.began)

    def begin(self, run: Watched) -> None:
        """Show this run."""
        self.run = run

    @property
    def ended(self) -> int:
        """Tasks that ended in this run."""
        return sum(self.run.counts.values()) if self.run else 0

    @property
    def found(self) -> int:
        """Inputs in addition to those passed: tasks may add more at any time."""
        return self.run.beside if self.run else 0

    @property
    def expected(self) -> int | None:
        """How many inputs are known so far; ``None`` if unknown."""
        return None if self._given is None else self._given + self.found

    @property
    def seen(self) -> int:
        """Inputs that have ended, including skipped ones."""
        return self.ended + (self.run.skipped if self.run else 0)

    def running(self) -> list[Attempt]:
        """Return the running attempts, in the order of the workers."""
        slots = self.run.slots if self.run else ()
        return [attempt for attempt in slots if attempt is not None and attempt.status != QUEUED]

    def kinds(self) -> list[Told]:
        """Return the kinds of failure, largest first, each with its last task."""
        return [told_of(found, found.last) for found in (self.run.kinds if self.run else ())]

    def summary(self, now: float) -> list[Part]:
        """Return counts, rate and time."""
        run = self.run
        if run is None:
            return [Part("opening")]
        if self.over:
            return self._last_words(run, now)
        return [*self._state(run), *self._counts(run), *self._waits(run), *self._times(run, now)]

    def _counts(self, run: Watched) -> Iterator[Part]:
        counts: dict[str, int] = dict([*run.counts.items(), (SKIPPED, run.skipped)])
        return totals_parts(totals_of(counts))

    def _state(self, run: Watched) -> Iterator[Part]:
        if run.is_stopping():
            yield Part(f"stopping: {len(self.running()):,} still running", "yellow", _STATE)

    @staticmethod
    def _waits(run: Watched) -> Iterator[Part]:
        if waiting := len(run.waiting):
            yield Part(f"{waiting:,} waiting for a retry", "yellow", _WAITING)
        held_up, paused_s = run.held_up()
        if held_up:
            yield Part(f"{held_up:,} waiting for a limit", "yellow", _HELD_UP)
        if paused_s:
            yield Part(f"slowed down for {age(paused_s)} more", "yellow", _HELD_UP)

    def _times(self, run: Watched, now: float) -> Iterator[Part]:
        running = self.running()
        yield Part(per_second(self._pace.rate(now, self.ended, len(running))), "", _RATE)
        yield Part(age(now - self.began), "", _TIME)
        if self.expected is None or self.found or run.is_stopping():
            return
        states = [Running(now - attempt.t0, fraction(*attempt.progress[:2])) for attempt in running]
        left_s = self._forecast.left_s(now, self.ended, self.expected - self.seen, states)
        if left_s is not None:
            yield Part(f"{age(left_s)} left", "", _LEFT)

    def _last_words(self, run: Watched, now: float) -> list[Part]:
        left = max((self.expected or 0) - self.seen, 0)
        bad = sum(run.counts[status] for status in (*_BAD, CANCELLED))
        took_s = now - self.began if run.took_s is None else run.took_s
        state = ending(run.end, left, bad, was_left=run.was_left)
        return [state, *self._counts(run), *average(self.ended, took_s)]


def told_of(found: KindCount, attempt: Attempt) -> Told:
    """Return a kind of failure with one of its tasks, for display."""
    kind = found.kind
    return Told(found.count, kind.status, kind.exception, kind.place, kind.message, attempt.name)


def totals_parts(totals: Sequence[Total]) -> Iterator[Part]:
    """Yield how many inputs ended in each way."""
    for kind, word, number in totals:
        yield Part(f"{number:,} {word}", _STYLES.get(kind, "") if number else "", _WEIGHTS.get(kind, _WAITING))


def ending(end: str | None, left: int, bad: int, *, was_left: bool = False) -> Part:
    """Say how a run ended.

    Args:
        end: Its status; ``None`` if it was not closed.
        left: How many inputs have not ended, as far as is known.
        bad: How many tasks failed or were cancelled.
        was_left: The user left the run at once, without closing it.
    """
    of = f", {left:,} left" if left else ""
    if end == DONE:
        return Part("finished", "bold green", _STATE)
    if was_left:
        return Part(f"left at once{of}", "bold yellow", _STATE)
    if end is None:
        return Part(f"ended by an error{of}", "bold red", _STATE)
    if end == ERROR and not left:
        return Part("finished with failures" if bad else "ended by an error", "bold red", _STATE)
    return Part(f"stopped{of}", "bold yellow", _STATE)


def average(ended: int, took_s: float | None) -> Iterator[Part]:
    """Yield how long a run took, and how many tasks per second it ran."""
    if took_s is not None:
        yield Part(f"took {duration(took_s)}", "", _LEFT)
        if ended and took_s > 0:
            yield Part(f"{per_second(ended / took_s)} on average", "", _RATE)
