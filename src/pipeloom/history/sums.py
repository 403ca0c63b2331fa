"""Add up the attempts of a run, past and present, in one pass.

Memory use does not grow with the number of tasks.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from pipeloom.data.clock import unix_time
from pipeloom.history.attempts import TimedAttempt, attempts_of, is_time
from pipeloom.history.figures import RunFigures
from pipeloom.history.reading import Rows
from pipeloom.history.rows import RunRow
from pipeloom.history.tallies import Classes, Slices, Slowest
from pipeloom.history.timeline import Lanes
from pipeloom.statuses import DONE, INTERRUPTED, RUNNING

__all__ = ["read_figures"]

_MOST_WORKERS: Final = 5000
_WINDOW: Final = 50_000  # rows that one query reads: a few hundredths of a second
# The stored end of an interrupted attempt is when the interruption was noticed, so it is not used.
_ELAPSED: Final = "COALESCE(elapsed_s, (julianday(finished_at) - julianday(started_at)) * 86400.0)"
_OUTLINE: Final = f"""
    SELECT worker, COUNT(*),
           MAX(CASE WHEN status = 'interrupted' THEN started_at ELSE COALESCE(finished_at, started_at) END),
           MIN(CASE WHEN status NOT IN ('running', 'interrupted') THEN {_ELAPSED} END),
           MAX(CASE WHEN status NOT IN ('running', 'interrupted') THEN {_ELAPSED} END)
    FROM {{table}} WHERE rowid > :last AND rowid <= :until AND run_id = :run AND status <> 'queued'
    GROUP BY worker LIMIT {_MOST_WORKERS}"""


def _outline(rows: Rows, run_id: int) -> list[tuple[Any, ...]]:
    """Return (worker, attempts, last instant, shortest, longest) of each worker of a run.

    Reads window by window: one query over a whole ledger would keep the log of a run in progress from shrinking.
    """
    found: dict[Any, tuple[Any, ...]] = {}
    for table in ("pipeloom_attempts", "task_runs"):
        for last, until in _windows(rows, table):
            for worker, *told in rows(_OUTLINE.format(table=table), {"last": last, "until": until, "run": run_id}):
                if worker in found or len(found) < _MOST_WORKERS:
                    found[worker] = (worker, *_both(found.get(worker, (worker, 0, None, None, None))[1:], told))
    return list(found.values())


def _windows(rows: Rows, table: str) -> Iterator[tuple[int, int]]:
    """Yield (after, up to) numbers of windows with equal numbers of rows; the numbers may have gaps."""
    last = -(1 << 63)
    while True:
        numbers = f"SELECT rowid FROM {table} WHERE rowid > ? ORDER BY rowid LIMIT {_WINDOW}"
        ((until,),) = rows(f"SELECT MAX(rowid) FROM ({numbers})", (last,))
        if until is None:
            return
        yield last, until
        last = until


def _both(one: Sequence[Any], other: Sequence[Any]) -> Iterator[Any]:
    """Combine the figures of two parts of one worker's attempts."""
    yield one[0] + other[0]
    for pick, pair in zip((max, min, max), zip(one[1:], other[1:], strict=True), strict=True):
        known = [value for value in pair if value is not None]
        yield pick(known, key=_rank) if known else None


def _rank(value: Any) -> tuple[int, Any]:
    """Return a sort key for any value, in SQLite's order: numbers, then text, then bytes."""
    return 1 if isinstance(value, str) else 2 if isinstance(value, bytes) else 0, value


def read_figures(rows: Rows, run: RunRow, now: str) -> RunFigures:
    """Read and add up the attempts of one run; blocks for the time of two scans of the ledger.

    If the run is in progress, what it writes in the meantime may be included in some figures and not in others.

    Args:
        rows: Runs a query.
        run: The run in its present state.
        now: The present instant, at which open attempts of a run in progress are taken to end.
    """
    is_open = run.status == RUNNING
    outline = _outline(rows, run.run_id)
    began = unix_time(run.started_at) or 0.0
    # The stored end of a run whose process died is when that was noticed: use the last time of its attempts.
    seen = run.elapsed_s is not None or run.status not in (INTERRUPTED, RUNNING)
    end = unix_time(now if is_open else run.finished_at if seen else None)
    if end is None:
        end = max((at for _, _, last, _, _ in outline if (at := unix_time(last)) is not None), default=began)
    span = max(end - began, 1e-3)
    sums = _Sums(
        lanes=Lanes([row[:2] for row in outline], span),
        slices=Slices(span),
        durations=Classes(
            min((low for *_, low, _ in outline if is_time(low)), default=0.0),
            max((high for *_, high in outline if is_time(high)), default=0.0),
            sum(row[1] for row in outline),
        ),
    )
    for attempt in attempts_of(rows, run.run_id, began, is_open=is_open):
        sums.add(attempt)
    ((waiting,),) = rows(
        "SELECT COUNT(*) FROM task_runs WHERE status <> 'done' AND status = 'queued' AND run_id = ?", (run.run_id,)
    )
    return RunFigures(
        began_at=run.started_at,
        span_s=span,
        attempts=dict(sorted(sums.statuses.items())),
        waiting=waiting if is_open else 0,
        again=sums.again,
        recovered=sums.recovered,
        rows_written=sums.rows_written,
        busy=min(1.0, sums.lanes.busy_s / (span * max(run.workers or 0, len(outline), 1))),
        timeline=sums.lanes.timeline(),
        throughput=sums.slices.throughput(),
        durations=sums.durations.durations(),
        slowest=sums.slowest.tasks(),
    )


@dataclass
class _Sums:
    """The sums over the attempts so far."""

    lanes: Lanes
    slices: Slices
    durations: Classes
    slowest: Slowest = field(default_factory=Slowest)
    statuses: Counter[str] = field(default_factory=Counter)
    again: int = 0
    recovered: int = 0
    rows_written: int = 0

    def add(self, attempt: TimedAttempt) -> None:
        done = attempt.status == DONE
        self.statuses[attempt.status] += 1
        self.rows_written += attempt.rows_written
        if attempt.number > 1:
            self.again += 1
            self.recovered += done
        if attempt.elapsed is not None:
            self.durations.add(attempt.elapsed, done)
            self.slowest.add(attempt)
        if attempt.end is not None:
            self.slices.add(attempt.end, done)
        self.lanes.add(attempt)
