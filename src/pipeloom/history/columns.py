"""Convert the columns of a row to the documented types, whatever types the file holds.

A column of SQLite accepts any type, and users may write rows by hand. Each value is converted to the type that
:mod:`pipeloom.history.rows` documents; a value that cannot be converted becomes ``None`` or zero.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from pipeloom.data.text import text, words
from pipeloom.history.rows import AttemptRow, LogRow, RejectedRow, RunRow, TaskDetail, TaskRow
from pipeloom.statuses import CANCELLED, DONE, ERROR, INTERRUPTED, TIMED_OUT

__all__ = [
    "attempt_row",
    "fits",
    "lasting",
    "log_row",
    "present_attempt",
    "rejected_row",
    "run_row",
    "task_detail",
    "task_row",
    "unclosed",
]

_INT64: Final = 1 << 63


def whole(value: Any) -> int | None:
    """Return a column's value as an int; ``None`` if it is not a number."""
    number = real(value)
    return None if number is None else value if type(value) is int else int(number)


def count(value: Any) -> int:
    """Return a column's value as an int; zero if it is not a number."""
    return whole(value) or 0


def real(value: Any) -> float | None:
    """Return a column's value if it is a finite number; ``None`` otherwise."""
    return value if type(value) is int or (type(value) is float and math.isfinite(value)) else None


def share(value: Any) -> float:
    """Return a column's value as a fraction, 0..1."""
    return min(max(real(value) or 0.0, 0.0), 1.0)


def task_row(row: Sequence[Any]) -> TaskRow:
    """Build a task from its columns, in the order of the fields."""
    return TaskRow(*_task_fields(row))


def task_detail(row: Sequence[Any], version: Any) -> TaskDetail:
    """Build a task with all details from its columns, in the order of the fields, but with the result last."""
    *common, error, has_state, result = row
    shown = version if real(version) is not None else text(version)
    fields: tuple[Any, ...] = (*_task_fields(common), text(result), text(error), bool(has_state), shown)
    return TaskDetail(*fields)


def _task_fields(row: Sequence[Any]) -> tuple[Any, ...]:
    number, key, name, status, progress, message, started, finished, elapsed, rows, attempt, *rest = row
    worker, run, of, exception, place, kind = rest
    return (
        count(number),
        key if type(key) is int else text(key),
        words(name),
        words(status),
        share(progress),
        text(message),
        text(started),
        text(finished),
        real(elapsed),
        count(rows),
        count(attempt),
        text(worker),
        whole(run),
        text(of),
        text(exception),
        text(place),
        text(kind),
    )


def run_row(row: Sequence[Any]) -> RunRow:
    """Build a run from its columns, in the order of the fields up to ``versions``."""
    number, pipeline, status, started, finished, elapsed, expected = row[:7]
    done, failed, cancelled, timed_out, skipped, workers, pid, executor, host, command, shard, versions = row[7:]
    return RunRow(
        run_id=count(number),
        pipeline=text(pipeline),
        status=words(status),
        started_at=words(started),
        finished_at=text(finished),
        elapsed_s=real(elapsed),
        expected=whole(expected),
        done=count(done),
        failed=count(failed),
        cancelled=count(cancelled),
        timed_out=count(timed_out),
        skipped=count(skipped),
        workers=whole(workers),
        pid=whole(pid),
        executor=text(executor),
        host=text(host),
        command=text(command),
        shard=text(shard),
        versions=_versions(versions),
        is_unclosed=False,
    )


def unclosed(run: RunRow, counts: Mapping[str, int]) -> RunRow:
    """Return a run whose process is gone as interrupted, with the counts of its tasks by status."""
    return replace(
        run,
        status=INTERRUPTED,
        is_unclosed=True,
        done=counts.get(DONE, 0),
        failed=counts.get(ERROR, 0),
        cancelled=counts.get(CANCELLED, 0),
        timed_out=counts.get(TIMED_OUT, 0),
    )


def lasting(run: RunRow, elapsed_s: float | None) -> RunRow:
    """Return a run in progress with its elapsed time."""
    return replace(run, elapsed_s=elapsed_s)


def _versions(value: Any) -> dict[str, str]:
    try:
        found = json.loads(words(value))
    except (ValueError, RecursionError):
        return {}
    return {str(name): str(version) for name, version in found.items()} if isinstance(found, dict) else {}


def attempt_row(row: Sequence[Any], *, is_present: bool) -> AttemptRow:
    """Build an attempt from its columns, in the order of the fields; the last four describe the failure."""
    task, run, attempt, status, progress, message, started, finished, elapsed, rows, worker, *failure = row
    error, exception, place, kind = failure
    return AttemptRow(
        count(task),
        whole(run),
        count(attempt),
        words(status),
        share(progress),
        text(message),
        text(started),
        text(finished),
        real(elapsed),
        count(rows),
        text(worker),
        text(error),
        text(exception),
        text(place),
        text(kind),
        is_present,
    )


def present_attempt(task: TaskDetail) -> AttemptRow:
    """Return the latest attempt of a task, which is in the task's own row."""
    return AttemptRow(
        task_id=task.id,
        run_id=task.run_id,
        attempt=task.attempt,
        status=task.status,
        progress=task.progress,
        message=task.message,
        started_at=task.started_at,
        finished_at=task.finished_at,
        elapsed_s=task.elapsed_s,
        rows_written=task.rows_written,
        worker=task.worker,
        error=task.error,
        exception=task.exception,
        place=task.place,
        kind=task.kind,
        is_present=True,
    )


def log_row(row: Sequence[Any]) -> LogRow:
    """Build a log record from its columns, in the order of the fields."""
    number, task, run, attempt, at, level, logger, message, error = row
    return LogRow(
        count(number),
        whole(task),
        whole(run),
        whole(attempt),
        words(at),
        words(level),
        text(logger),
        words(message),
        text(error),
    )


def rejected_row(row: Sequence[Any]) -> RejectedRow:
    """Build a refused message from its columns, in the order of the fields."""
    number, run, task, at, kind, content, error = row
    return RejectedRow(count(number), whole(run), whole(task), words(at), words(kind), words(content), words(error))


def fits(number: int) -> bool:
    """Return whether SQLite can store this number; no row has a number beyond that."""
    return -_INT64 <= number < _INT64
