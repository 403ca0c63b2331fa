"""One pass over the attempts of a run, past and present: its timeline, throughput, durations and slowest tasks.

Reads page by page, so that no cursor stays open and a run that is going on is never held up; what it keeps does not
grow with the number of tasks.
"""

from __future__ import annotations

import heapq
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any, Final, Literal

from pipeloom.data.clock import unix_time
from pipeloom.data.text import clean
from pipeloom.history.figures import ERRORS, STOPS, Bar, Lane, RunFigures, SlowTask, Timeline
from pipeloom.history.rows import RunRow
from pipeloom.history.tallies import Classes, Slices

__all__ = ["read_figures"]

Rows = Callable[[str, tuple[Any, ...]], list[tuple[Any, ...]]]
"""Runs one statement with its parameters and returns all rows."""

_PAGE: Final = 5000
_MOST_BARS: Final = 1200
_MOST_LANES: Final = 40
_MOST_WORKERS: Final = 5000
_COLUMNS: Final = 400
_SLOWEST: Final = 10
_NAME: Final = 80

_COLUMNS_READ: Final = "name, status, attempt, started_at, finished_at, elapsed_s, worker, rows_written"
# An interrupted attempt's end is the instant at which somebody noticed.
_ELAPSED: Final = "COALESCE(elapsed_s, (julianday(finished_at) - julianday(started_at)) * 86400.0)"
_OUTLINE: Final = f"""
    SELECT worker, COUNT(*),
           MAX(CASE WHEN status = 'interrupted' THEN started_at ELSE COALESCE(finished_at, started_at) END),
           MIN(CASE WHEN status NOT IN ('running', 'interrupted') THEN {_ELAPSED} END),
           MAX(CASE WHEN status NOT IN ('running', 'interrupted') THEN {_ELAPSED} END)
    FROM pipeloom_history WHERE run_id = ? AND status <> 'queued' GROUP BY worker LIMIT {_MOST_WORKERS}"""


def read_figures(rows: Rows, run: RunRow, now: str) -> RunFigures:
    """Read and add up the attempts of one run; blocks for the time of two scans of the ledger.

    What a run that is going on writes in the meantime may be in one figure and not yet in the other.

    Args:
        rows: How to read.
        run: The run, as it is now.
        now: The present instant: until then last the open attempts of a run that is going on.
    """
    outline = rows(_OUTLINE, (run.run_id,))
    began = unix_time(run.started_at) or 0.0
    # Of a run whose process died, the ledger knows when somebody noticed: its end is its last sign of life.
    seen = run.elapsed_s is not None or run.status not in ("interrupted", "running")
    end = unix_time(now if run.status == "running" else run.finished_at if seen else None)
    if end is None:
        end = max((at for _, _, text, _, _ in outline if (at := unix_time(text)) is not None), default=began)
    span = max(end - began, 1e-3)
    sums = _Sums(
        is_open=run.status == "running",
        began=began,
        span=span,
        lanes=_Lanes([row[:2] for row in outline], span),
        slices=Slices(span),
        durations=Classes(
            min((low for *_, low, _ in outline if is_time(low)), default=0.0),
            max((high for *_, high in outline if is_time(high)), default=0.0),
            sum(row[1] for row in outline),
        ),
    )
    for page in _pages(rows, run.run_id):
        sums.add(page)
    waiting = rows(
        "SELECT COUNT(*) FROM task_runs WHERE status <> 'done' AND status = 'queued' AND run_id = ?", (run.run_id,)
    )
    timeline = sums.lanes.timeline(sums.undrawn)
    return RunFigures(
        began_at=run.started_at,
        span_s=span,
        attempts=dict(sorted(sums.statuses.items())),
        waiting=waiting[0][0] if sums.is_open else 0,
        again=sums.again,
        recovered=sums.recovered,
        rows_written=sums.rows_written,
        busy=min(1.0, sums.lanes.busy_s / (span * max(run.workers or 0, len(outline), 1))),
        timeline=timeline,
        throughput=sums.slices.throughput(),
        durations=sums.durations.durations(),
        slowest=tuple(slow for _, _, slow in sorted(sums.slowest, key=lambda entry: (-entry[0], -entry[1]))),
    )


def _pages(rows: Rows, run_id: int) -> Iterator[list[tuple[Any, ...]]]:
    """Yield the attempts; their first column is where the next page begins, the second the task's number."""
    for table, number in (("pipeloom_attempts", "task_id"), ("task_runs", "id")):
        sql = (
            f"SELECT rowid, {number}, {_COLUMNS_READ} FROM {table} "
            f"WHERE rowid > ? AND run_id = ? AND status <> 'queued' ORDER BY rowid LIMIT {_PAGE}"
        )
        last = -(1 << 63)
        while page := rows(sql, (last, run_id)):
            yield page
            if len(page) < _PAGE:
                break
            last = page[-1][0]


def is_time(value: object) -> bool:
    """Say whether a value read from a file can be a length of time in seconds."""
    return isinstance(value, int | float) and 0 <= value < 1e12


@dataclass
class _Sums:
    """What the pass has seen so far."""

    is_open: bool
    began: float
    span: float
    lanes: _Lanes
    slices: Slices
    durations: Classes
    statuses: Counter[str] = field(default_factory=Counter)
    undrawn: int = 0
    again: int = 0
    recovered: int = 0
    rows_written: int = 0
    slowest: list[tuple[float, int, SlowTask]] = field(default_factory=list)

    def add(self, page: Sequence[tuple[Any, ...]]) -> None:
        began, span = self.began, self.span
        for _, task_id, name, status, attempt, started_at, finished_at, elapsed_s, worker, rows_written in page:
            start = unix_time(started_at)
            status = clean(status, 40)  # noqa: PLW2901
            if status == "running" and not self.is_open:
                status = "interrupted"  # noqa: PLW2901
            if status == "interrupted" and start is None:  # it waited for this try, and never began it
                continue
            self.statuses[status] += 1
            if isinstance(rows_written, int):
                self.rows_written += rows_written
            if isinstance(attempt, int) and attempt > 1:
                self.again += 1
                self.recovered += status == "done"
            ended = status not in ("running", "interrupted")
            end = unix_time(finished_at) if ended else None
            elapsed = elapsed_s if is_time(elapsed_s) else None
            if elapsed is None and start is not None and end is not None:
                elapsed = max(end - start, 0.0)
            if start is None and end is not None and elapsed is not None:
                start = end - elapsed
            if end is None and ended and start is not None and elapsed is not None:
                end = start + elapsed
            if ended and elapsed is not None:
                self.durations.add(elapsed, status == "done")
                self._rank(elapsed, task_id, name, attempt, status, started_at, worker, rows_written)
            if end is not None:
                self.slices.add(end - began, status == "done")
            if start is None or start - began > span or (end is not None and end < began):
                self.undrawn += 1
                continue
            # The monotonic clock is finer than the instants, and never goes back.
            until = span if not ended or elapsed is None else start - began + elapsed
            self.lanes.add(worker, task_id, name, attempt, status, start - began, until, not ended)

    def _rank(self, elapsed: float, task_id: int, name: object, attempt: object, status: str, *rest: Any) -> None:
        slowest = self.slowest
        if len(slowest) == _SLOWEST and (elapsed, -task_id) <= slowest[0][:2]:
            return
        started_at, worker, rows_written = rest
        task = SlowTask(
            task_id=task_id,
            name=clean(name, _NAME),
            attempt=attempt if isinstance(attempt, int) else 1,
            status=status,
            started_at=None if started_at is None else clean(started_at, 40),
            elapsed_s=float(elapsed),
            worker=None if worker is None else clean(worker, 40),
            rows_written=rows_written if isinstance(rows_written, int) else 0,
        )
        if any(other[:2] == (elapsed, -task_id) for other in slowest):  # two tries of a task, equally long
            return
        if len(slowest) < _SLOWEST:
            heapq.heappush(slowest, (elapsed, -task_id, task))
        else:
            heapq.heapreplace(slowest, (elapsed, -task_id, task))


class _Lanes:
    """The timeline: bars while there are few attempts, else how busy each lane was in each slice of the time.

    Args:
        workers: (name, number of attempts), n of them.
        span: The picture's length in seconds.
    """

    def __init__(self, workers: Sequence[Sequence[Any]], span: float) -> None:
        self._span = span
        names = sorted((row[0] for row in workers), key=_in_order)
        share = -(-len(names) // _MOST_LANES) or 1
        groups = [names[begin : begin + share] for begin in range(0, len(names), share)]
        few = sum(row[1] for row in workers) <= _MOST_BARS
        # Bars of one lane must not overlap: workers that share one, or have no name, are shown by density.
        self.drawn: Literal["bars", "density"] = "bars" if few and share == 1 and None not in names else "density"
        self._lanes = [_Lane(group, len(group), self.drawn == "bars") for group in groups]
        self._of = {name: lane for group, lane in zip(groups, self._lanes, strict=True) for name in group}
        self.busy_s = 0.0

    def add(
        self,
        worker: Any,
        task_id: int,
        name: object,
        attempt: object,
        status: str,
        start: float,
        end: float,
        is_open: bool,
    ) -> None:
        lane = self._of.get(worker)
        if lane is None:  # it came after the first look
            if not self._lanes:
                return
            lane = self._lanes[-1]
        span = self._span
        start, end = max(start, 0.0), min(max(end, start, 0.0), span)
        self.busy_s += end - start
        lane.count(status, end - start)
        if lane.shows_bars:
            if len(lane.bars) < _MOST_BARS:
                number = attempt if isinstance(attempt, int) else 1
                lane.bars.append(Bar(task_id, clean(name, _NAME), number, status, start, end, is_open))
        else:
            scale = _COLUMNS / span
            lane.cover(start * scale, end * scale, status)

    def timeline(self, undrawn: int) -> Timeline:
        return Timeline(
            span_s=self._span,
            drawn=self.drawn,
            lanes=tuple(lane.lane(self._span) for lane in self._lanes),
            undrawn=undrawn,
        )


class _Lane:
    """One lane in the making."""

    def __init__(self, names: Sequence[Any], workers: int, shows_bars: bool) -> None:
        self.names, self.workers, self.shows_bars = names, workers, shows_bars
        self.bars: list[Bar] = []
        self._attempts = self._failed = self._stopped = 0
        self._busy_s = 0.0
        # Time in columns that an attempt covers in part, and, as differences, how many cover one whole: adding an
        # attempt costs the same however long it is.
        self._parts = [0.0] * _COLUMNS
        self._steps = [0] * (_COLUMNS + 1)
        self._failures_in: set[int] = set()
        self._stops_in: set[int] = set()

    def count(self, status: str, length: float) -> None:
        self._attempts += 1
        self._failed += status in ERRORS
        self._stopped += status in STOPS
        self._busy_s += length

    def cover(self, start: float, end: float, status: str) -> None:
        """Cover from ``start`` to ``end``, in columns."""
        first, last = min(int(start), _COLUMNS - 1), min(int(end), _COLUMNS - 1)
        if first == last:
            self._parts[first] += end - start
        else:
            self._parts[first] += first + 1 - start
            self._parts[last] += end - last
            self._steps[first + 1] += 1
            self._steps[last] -= 1
        if status in ERRORS:
            self._failures_in.add(last)
        elif status in STOPS:
            self._stops_in.add(first if status == "interrupted" else last)

    def lane(self, span: float) -> Lane:
        whole = accumulate(self._steps[:_COLUMNS])
        columns = tuple(
            min(1.0, (part + count) / self.workers) for part, count in zip(self._parts, whole, strict=True)
        )
        return Lane(
            label=_label(self.names),
            workers=self.workers,
            attempts=self._attempts,
            failed=self._failed,
            stopped=self._stopped,
            busy=min(1.0, self._busy_s / (span * self.workers)),
            bars=tuple(sorted(self.bars, key=lambda bar: bar.start_s)),
            columns=() if self.shows_bars else columns,
            failures_in=tuple(sorted(self._failures_in)),
            stops_in=tuple(sorted(self._stops_in)),
        )


def _label(names: Sequence[Any]) -> str:
    if len(names) == 1:
        return "(not named)" if names[0] is None else clean(names[0], 24)
    first, last = clean(names[0], 24), clean(names[-1], 24)
    shared = re.match(r"\D*", first)
    if shared and shared[0] and last.startswith(shared[0]):
        last = last[shared.end() :]
    return f"{first}…{last}"


def _in_order(name: Any) -> list[tuple[int, int, str]]:
    """Sort ``thread-10`` after ``thread-9``, and what has no name last."""
    if name is None:
        return [(2, 0, "")]
    parts: Iterable[str] = re.split(r"(\d{1,9})", str(name))
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in parts]
