"""What a look at the ledger returns: frozen values, whatever types the file really holds.

A column of SQLite takes any type, and people write rows by hand: each value is brought to the type that is
promised here, and what cannot be is ``None`` or zero.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

__all__ = [
    "AttemptRow",
    "ErrorGroup",
    "LogRow",
    "Overview",
    "RejectedRow",
    "RunRow",
    "TaskDetail",
    "TaskRow",
]

_INT64: Final = 1 << 63


@dataclass(frozen=True, slots=True)
class RunRow:
    """One invocation.

    Attributes:
        run_id: Its number.
        pipeline: Its name, ``None`` for a run without keys.
        status: ``running``, ``done``, ``error``, ``cancelled`` or ``interrupted``.
        started_at: ISO 8601, UTC.
        finished_at: ISO 8601, UTC.
        elapsed_s: Seconds; until now while it is running.
        expected: Number of inputs when it was known beforehand.
        done: Tasks done in this run.
        failed: Tasks that ended in error.
        cancelled: Tasks that were cancelled.
        timed_out: Tasks that ran out of time.
        skipped: Inputs that were done before.
        workers: Number of workers.
        pid: The process, as it calls itself.
        executor: Where the workers live.
        host: The machine's name.
        command: How it was started, up to the script; ``None`` when the file is too old to say.
        versions: ``pipeloom``, ``python`` and ``sqlite``.
        is_unclosed: Its process ended without closing it: shown as ``interrupted``, although the file still says
            ``running``.
    """

    run_id: int
    pipeline: str | None
    status: str
    started_at: str
    finished_at: str | None
    elapsed_s: float | None
    expected: int | None
    done: int
    failed: int
    cancelled: int
    timed_out: int
    skipped: int
    workers: int | None
    pid: int | None
    executor: str | None
    host: str | None
    command: str | None
    versions: dict[str, str]
    is_unclosed: bool

    @property
    def ended(self) -> int:
        """Inputs dealt with, in whatever way."""
        return self.done + self.failed + self.cancelled + self.timed_out + self.skipped


@dataclass(frozen=True, slots=True)
class TaskRow:
    """One task's latest state.

    Attributes:
        id: Its number.
        key: Its key as stored; ``None`` for tasks known by number.
        name: What people call it, its first 500 characters.
        status: As in the ledger; ``interrupted`` also when it was running in a process that is gone.
        progress: Fraction, 0..1.
        message: What people should read, its first 2,000 characters.
        started_at: ISO 8601, UTC, as its worker said.
        finished_at: ISO 8601, UTC, as its worker said.
        elapsed_s: Seconds; until now while it is running.
        rows_written: Rows it wrote.
        attempt: Which try this is, from 1.
        worker: Who ran it.
        run_id: The run it was last tried in.
        pipeline: The name of its pipeline.
    """

    id: int
    key: str | int | None
    name: str
    status: str
    progress: float
    message: str | None
    started_at: str | None
    finished_at: str | None
    elapsed_s: float | None
    rows_written: int
    attempt: int
    worker: str | None
    run_id: int | None
    pipeline: str | None


@dataclass(frozen=True, slots=True)
class TaskDetail(TaskRow):
    """All there is about one task; name and message in full.

    Attributes:
        result: JSON from ``map``; text as a worker sent it.
        error: The traceback.
        has_state: A checkpoint is kept, from which its next try goes on.
    """

    result: str | None
    error: str | None
    has_state: bool


@dataclass(frozen=True, slots=True)
class AttemptRow:
    """One try of a task, past or present; fields as in :class:`TaskRow`."""

    task_id: int
    run_id: int | None
    attempt: int
    status: str
    progress: float
    message: str | None
    started_at: str | None
    finished_at: str | None
    elapsed_s: float | None
    rows_written: int
    worker: str | None
    error: str | None
    is_present: bool


@dataclass(frozen=True, slots=True)
class LogRow:
    """One record that was logged while a task ran; ``error`` is its traceback."""

    id: int
    task_id: int | None
    run_id: int | None
    attempt: int | None
    at: str
    level: str
    logger: str | None
    message: str
    error: str | None


@dataclass(frozen=True, slots=True)
class RejectedRow:
    """A message that could not be applied, with why."""

    id: int
    run_id: int | None
    task_id: int | None
    at: str
    kind: str
    content: str
    error: str


@dataclass(frozen=True, slots=True)
class ErrorGroup:
    """Failures that are the same one.

    Attributes:
        exception: Its type as a traceback names it; ``None`` when the worker itself said so.
        message: What they have in common: numbers, quoted parts and paths are ``…``.
        status: ``error``, ``timed_out``, ``interrupted`` or ``cancelled``.
        count: How many tasks.
        first_at: When the first of them ended.
        last_at: When the last of them ended.
        example: The one with the lowest number.
        traceback: The example's.
        where: The last line of the user's code in it, as ``file:line in function``.
        run_ids: The runs they belong to, the latest 20.
    """

    exception: str | None
    message: str
    status: str
    count: int
    first_at: str | None
    last_at: str | None
    example: TaskRow
    traceback: str | None
    where: str | None
    run_ids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Overview:
    """What ``pipeloom status`` shows."""

    counts: dict[str, int]
    run: RunRow | None
    tasks: list[TaskRow]


# --- from what the file holds ---


def text(value: Any) -> str | None:
    """Return text for whatever a column holds."""
    if value is None or type(value) is str:
        return value
    if type(value) is bytes:
        return value.decode("utf-8", "backslashreplace")
    return str(value)


def words(value: Any) -> str:
    """Return text, empty for NULL."""
    return text(value) or ""


def whole(value: Any) -> int | None:
    """Return an int for whatever a column holds, ``None`` if it is no number."""
    number = real(value)
    return None if number is None else value if type(value) is int else int(number)


def count(value: Any) -> int:
    """Return an int, zero if it is none."""
    return whole(value) or 0


def real(value: Any) -> float | None:
    """Return a finite number for whatever a column holds, ``None`` if it is none."""
    return value if type(value) is int or (type(value) is float and math.isfinite(value)) else None


def task_row(row: Sequence[Any]) -> TaskRow:
    """Build a task from its columns, in the order of the fields."""
    return TaskRow(*_task_fields(row))


def task_detail(row: Sequence[Any]) -> TaskDetail:
    """Build a task with everything from its columns, in the order of the fields."""
    *common, result, error, has_state = row
    fields: tuple[Any, ...] = (*_task_fields(common), text(result), text(error), bool(has_state))
    return TaskDetail(*fields)


def _task_fields(row: Sequence[Any]) -> tuple[Any, ...]:
    number, key, name, status, progress, message, started, finished, elapsed, rows, attempt, worker, run, of = row
    return (
        count(number),
        key if type(key) is int else text(key),
        words(name),
        words(status),
        min(max(real(progress) or 0.0, 0.0), 1.0),
        text(message),
        text(started),
        text(finished),
        real(elapsed),
        count(rows),
        count(attempt),
        text(worker),
        whole(run),
        text(of),
    )


def run_row(row: Sequence[Any]) -> RunRow:
    """Build a run from its columns, in the order of the fields up to ``versions``."""
    number, pipeline, status, started, finished, elapsed, expected = row[:7]
    done, failed, cancelled, timed_out, skipped, workers, pid, executor, host, command, versions = row[7:]
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
        versions=_versions(versions),
        is_unclosed=False,
    )


def unclosed(run: RunRow, counts: Mapping[str, int]) -> RunRow:
    """Return a run as it is shown when its process is gone, with its tasks by status."""
    return replace(
        run,
        status="interrupted",
        is_unclosed=True,
        done=counts.get("done", 0),
        failed=counts.get("error", 0),
        cancelled=counts.get("cancelled", 0),
        timed_out=counts.get("timed_out", 0),
    )


def lasting(run: RunRow, elapsed_s: float | None) -> RunRow:
    """Return a running run with its time until now."""
    return replace(run, elapsed_s=elapsed_s)


def _versions(value: Any) -> dict[str, str]:
    try:
        found = json.loads(words(value))
    except (ValueError, RecursionError):
        return {}
    return {str(name): str(version) for name, version in found.items()} if isinstance(found, dict) else {}


def attempt_row(row: Sequence[Any], *, is_present: bool) -> AttemptRow:
    """Build a try from its columns, in the order of the fields."""
    task, run, attempt, status, progress, message, started, finished, elapsed, rows, worker, error = row
    return AttemptRow(
        count(task),
        whole(run),
        count(attempt),
        words(status),
        min(max(real(progress) or 0.0, 0.0), 1.0),
        text(message),
        text(started),
        text(finished),
        real(elapsed),
        count(rows),
        text(worker),
        text(error),
        is_present,
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
    """Say whether SQLite can hold this number; no row has any other."""
    return -_INT64 <= number < _INT64
