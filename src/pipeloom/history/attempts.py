"""The attempts of a run, current and earlier ones, with missing times worked out, for its figures.

Reads page by page, so that no cursor stays open and no run is blocked.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from pipeloom.data.clock import unix_time
from pipeloom.data.text import clean
from pipeloom.history.reading import Rows, pages
from pipeloom.statuses import INTERRUPTED, RUNNING

__all__ = ["TimedAttempt", "attempts_of", "is_time"]

_COLUMNS: Final = "name, status, attempt, started_at, finished_at, elapsed_s, worker, rows_written"


@dataclass(slots=True)
class TimedAttempt:
    """One attempt; times are seconds since the run began, or ``None`` if unknown.

    Attributes:
        name: As stored in the file, of any type; so are ``started_at`` and ``worker``.
        number: Which attempt of its task this is.
        ended: It ended at a known instant: it is neither running nor interrupted.
        end: ``None`` if it has not ended; so is ``elapsed``.
    """

    task_id: int
    name: Any
    number: int
    status: str
    started_at: Any
    worker: Any
    rows_written: int
    ended: bool
    start: float | None
    end: float | None
    elapsed: float | None


def attempts_of(rows: Rows, run_id: int, began: float, *, is_open: bool) -> Iterator[TimedAttempt]:
    """Yield every attempt of a run that was started.

    Args:
        rows: Runs a query.
        run_id: The run.
        began: When the run began, in seconds since 1970.
        is_open: Whether the run is in progress; otherwise attempts marked as running were interrupted.
    """
    for table, number in (("pipeloom_attempts", "task_id"), ("task_runs", "id")):
        sql = (
            f"SELECT rowid, {number}, {_COLUMNS} FROM {table} "
            "WHERE rowid > :last AND run_id = :run AND status <> 'queued' ORDER BY rowid"
        )
        for row in pages(rows, sql, {"run": run_id}):
            attempt = _timed(row, began, is_open)
            # An interrupted attempt without a start was waiting, and never began.
            if attempt.status != INTERRUPTED or attempt.start is not None:
                yield attempt


def _timed(row: Sequence[Any], began: float, is_open: bool) -> TimedAttempt:
    _, task_id, name, status, number, started_at, finished_at, elapsed_s, worker, rows_written = row
    status = clean(status, 40)
    if status == RUNNING and not is_open:
        status = INTERRUPTED
    ended = status not in (RUNNING, INTERRUPTED)
    start, end, elapsed = _since(began, started_at), None, None
    if ended:
        told = elapsed_s if is_time(elapsed_s) else None
        start, end, elapsed = _completed(start, _since(began, finished_at), told)
    return TimedAttempt(
        task_id=task_id,
        name=name,
        number=number if isinstance(number, int) else 1,
        status=status,
        started_at=started_at,
        worker=worker,
        rows_written=rows_written if isinstance(rows_written, int) else 0,
        ended=ended,
        start=start,
        end=end,
        elapsed=elapsed,
    )


def _since(began: float, at: object) -> float | None:
    found = unix_time(at)
    return None if found is None else found - began


def _completed(
    start: float | None, end: float | None, elapsed: float | None
) -> tuple[float | None, float | None, float | None]:
    """Return all three, with a missing one worked out from the other two."""
    if start is None:
        if end is not None and elapsed is not None:
            start = end - elapsed
    elif end is None:
        if elapsed is not None:
            end = start + elapsed
    elif elapsed is None:
        elapsed = max(end - start, 0.0)
    return start, end, elapsed


def is_time(value: object) -> bool:
    """Return whether a value from a file can be a duration in seconds."""
    return isinstance(value, int | float) and 0 <= value < 1e12
