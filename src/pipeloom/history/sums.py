"""One pass over the attempts of a run, past and present: what they add up to.

What it keeps does not grow with the number of tasks.
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
_WINDOW: Final = 50_000  # rows that one question looks at: a few hundredths of a second
# An interrupted attempt's end is the instant at which somebody noticed.
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

    Reads window by window: one question to a whole ledger would hold up the log of a run that is going on.
    """
    found: dict[Any, tuple[Any, ...]] = {}
    for table in ("pipeloom_attempts", "task_runs"):
        for last, until in _windows(rows, table):
            for worker, *told in rows(_OUTLINE.format(table=table), {"last": last, "until": until, "run": run_id}):
                if worker in found or len(found) < _MOST_WORKERS:
                    found[worker] = (worker, *_both(found.get(worker, (worker, 0, None, None, None))[1:], told))
    return list(found.values())


def _windows(rows: Rows, table: str) -> Iterator[tuple[int, int]]:
    """Yield what lies after and up to which number; as wide as there are rows, since numbers may have gaps."""
    last = -(1 << 63)
    while True:
        numbers = f"SELECT rowid FROM {table} WHERE rowid > ? ORDER BY rowid LIMIT {_WINDOW}"
        ((until,),) = rows(f"SELECT MAX(rowid) FROM ({numbers})", (last,))
        if until is None:
            return
        yield last, until
        last = until


def _both(one: Sequence[Any], other: Sequence[Any]) -> Iterator[Any]:
    """Return what two parts of the same worker's attempts come to."""
    yield one[0] + other[0]
    for pick, pair in zip((max, min, max), zip(one[1:], other[1:], strict=True), strict=True):
        known = [value for value in pair if value is not None]
        yield pick(known, key=_rank) if known else None


def _rank(value: Any) -> tuple[int, Any]:
    """Sort as SQLite does, whatever a file holds: numbers before texts before bytes."""
    return 1 if isinstance(value, str) else 2 if isinstance(value, bytes) else 0, value


def read_figures(rows: Rows, run: RunRow, now: str) -> RunFigures:
    """Read and add up the attempts of one run; blocks for the time of two scans of the ledger.

    What a run that is going on writes in the meantime may be in one figure and not yet in the other.

    Args:
        rows: How to read.
        run: The run, as it is now.
        now: The present instant: until then last the open attempts of a run that is going on.
    """
    is_open = run.status == RUNNING
    outline = _outline(rows, run.run_id)
    began = unix_time(run.started_at) or 0.0
    # Of a run whose process died, the ledger knows when somebody noticed: its end is its last sign of life.
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
    """What the pass has seen so far."""

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
