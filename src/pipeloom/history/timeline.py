"""The timeline of a run: sorts attempts into the lanes of their workers, one by one.

Memory use does not grow with the number of attempts: a few are drawn as bars; for many, only the load of each
lane is kept.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from itertools import accumulate
from typing import Any, Final, Literal

from pipeloom.data.text import clean
from pipeloom.history.attempts import TimedAttempt
from pipeloom.history.figures import NAME, Bar, Lane, Timeline
from pipeloom.statuses import ERRORS, INTERRUPTED, STOPS

__all__ = ["Lanes"]

_MOST_BARS: Final = 1200
_MOST_LANES: Final = 40
_COLUMNS: Final = 400


class Lanes:
    """Every worker's attempts: bars while there are few, otherwise the load of each lane in each slice of time.

    Args:
        workers: (name, number of attempts), n of them.
        span: The length of the picture, in seconds.
    """

    def __init__(self, workers: Sequence[Sequence[Any]], span: float) -> None:
        self._span = span
        names = sorted((row[0] for row in workers), key=_in_order)
        share = -(-len(names) // _MOST_LANES) or 1
        groups = [names[begin : begin + share] for begin in range(0, len(names), share)]
        few = sum(row[1] for row in workers) <= _MOST_BARS
        # Bars of one lane must not overlap, so workers that share a lane or have no name are drawn as density.
        self.drawn: Literal["bars", "density"] = "bars" if few and share == 1 and None not in names else "density"
        self._lanes = [_LaneTally(group, len(group), self.drawn == "bars") for group in groups]
        self._of = {name: lane for group, lane in zip(groups, self._lanes, strict=True) for name in group}
        self.busy_s = 0.0
        self.undrawn = 0

    def add(self, attempt: TimedAttempt) -> None:
        """Add an attempt to its lane; attempts that the picture does not show are counted."""
        span, start = self._span, attempt.start
        if start is None or start > span or (attempt.end is not None and attempt.end < 0):
            self.undrawn += 1
            return
        # The monotonic clock is finer than the instants, and never goes back.
        end = span if attempt.elapsed is None else start + attempt.elapsed
        lane = self._of.get(attempt.worker)
        if lane is None:  # the worker appeared after the first query
            if not self._lanes:
                return
            lane = self._lanes[-1]
        start, end = max(start, 0.0), min(max(end, start, 0.0), span)
        self.busy_s += end - start
        lane.add(attempt, start, end, span)

    def timeline(self) -> Timeline:
        """Return the finished timeline."""
        return Timeline(
            span_s=self._span,
            drawn=self.drawn,
            lanes=tuple(lane.lane(self._span) for lane in self._lanes),
            undrawn=self.undrawn,
        )


class _LaneTally:
    """One lane under construction."""

    def __init__(self, names: Sequence[Any], workers: int, shows_bars: bool) -> None:
        self._names, self._workers, self._shows_bars = names, workers, shows_bars
        self._bars: list[Bar] = []
        self._attempts = self._failed = self._stopped = 0
        self._busy_s = 0.0
        # The time in columns that an attempt covers partly; and, as differences between neighbours, how many
        # attempts cover each column wholly. Adding an attempt costs the same however long it is.
        self._parts = [0.0] * _COLUMNS
        self._steps = [0] * (_COLUMNS + 1)
        self._ended_in = [0] * _COLUMNS
        self._failed_in = [0] * _COLUMNS
        self._stops_in: set[int] = set()

    def add(self, attempt: TimedAttempt, start: float, end: float, span: float) -> None:
        status = attempt.status
        self._attempts += 1
        self._failed += status in ERRORS
        self._stopped += status in STOPS
        self._busy_s += end - start
        if not self._shows_bars:
            scale = _COLUMNS / span
            self._cover(start * scale, end * scale, status)
        elif len(self._bars) < _MOST_BARS:
            name = clean(attempt.name, NAME)
            self._bars.append(
                Bar(attempt.task_id, name, attempt.number, status, start, end, open=not attempt.ended)
            )

    def _cover(self, start: float, end: float, status: str) -> None:
        """Cover the time from ``start`` to ``end``, in columns."""
        first, last = min(int(start), _COLUMNS - 1), min(int(end), _COLUMNS - 1)
        if first == last:
            self._parts[first] += end - start
        else:
            self._parts[first] += first + 1 - start
            self._parts[last] += end - last
            self._steps[first + 1] += 1
            self._steps[last] -= 1
        self._ended_in[last] += 1
        if status in ERRORS:
            self._failed_in[last] += 1
        elif status in STOPS:
            self._stops_in.add(first if status == INTERRUPTED else last)

    def lane(self, span: float) -> Lane:
        """Return the finished lane."""
        whole = accumulate(self._steps[:_COLUMNS])
        columns = tuple(
            min(1.0, (part + count) / self._workers) for part, count in zip(self._parts, whole, strict=True)
        )
        return Lane(
            label=_label(self._names),
            workers=self._workers,
            attempts=self._attempts,
            failed=self._failed,
            stopped=self._stopped,
            busy=min(1.0, self._busy_s / (span * self._workers)),
            bars=tuple(sorted(self._bars, key=lambda bar: bar.start_s)),
            columns=() if self._shows_bars else columns,
            failing=self._failing(),
            stops_in=tuple(sorted(self._stops_in)),
        )

    def _failing(self) -> tuple[float, ...]:
        if not any(self._failed_in):
            return ()
        return tuple(failed / (ended or 1) for failed, ended in zip(self._failed_in, self._ended_in, strict=True))


def _label(names: Sequence[Any]) -> str:
    if len(names) == 1:
        return "(not named)" if names[0] is None else clean(names[0], 24)
    first, last = clean(names[0], 24), clean(names[-1], 24)
    shared = re.match(r"\D*", first)
    if shared and shared[0] and last.startswith(shared[0]):
        last = last[shared.end() :]
    return f"{first}…{last}"


def _in_order(name: Any) -> list[tuple[int, int, str]]:
    """Sort ``thread-10`` after ``thread-9``, and workers without a name last."""
    if name is None:
        return [(2, 0, "")]
    parts: Iterable[str] = re.split(r"(\d{1,9})", str(name))
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in parts]
