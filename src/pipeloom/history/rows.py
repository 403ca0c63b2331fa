"""The frozen values that reading a ledger returns, with documented types."""

from __future__ import annotations

from dataclasses import dataclass

from pipeloom.data.totals import how_many
from pipeloom.statuses import ERRORS, FAILED

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


@dataclass(frozen=True, slots=True)
class RunRow:
    """One run.

    Attributes:
        run_id: Its number.
        pipeline: The name of its pipeline; ``None`` for a run without keys.
        status: ``running``, ``done``, ``error``, ``cancelled`` or ``interrupted``.
        started_at: ISO 8601, UTC.
        finished_at: ISO 8601, UTC.
        elapsed_s: Seconds; until now while it is in progress.
        expected: Number of inputs, if it was known beforehand.
        done: Tasks done in this run.
        failed: Tasks that ended in error.
        cancelled: Tasks that were cancelled.
        timed_out: Tasks that timed out.
        skipped: Inputs that were done before.
        workers: Number of workers.
        pid: The id of its process, as seen by that process.
        executor: The executor's name.
        host: The machine's name.
        command: The command that started it, up to the script; ``None`` if the file is too old to have it.
        shard: The shard of the inputs that it ran, such as ``3/16``; ``None`` for all inputs.
        versions: The versions of ``pipeloom``, ``python`` and ``sqlite``.
        is_unclosed: Its process ended without closing it. Its status is shown as ``interrupted``, although the
            file still has ``running``.
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
    shard: str | None
    versions: dict[str, str]
    is_unclosed: bool

    @property
    def title(self) -> str | None:
        """Its pipeline's name, with the shard if there is one; ``None`` for a run without keys."""
        return f"{self.pipeline}, shard {self.shard}" if self.pipeline and self.shard else self.pipeline

    @property
    def ended(self) -> int:
        """Inputs that have ended with any status, or were skipped."""
        return how_many(self)

    @property
    def errors(self) -> int:
        """Tasks that failed or timed out."""
        return how_many(self, ERRORS)

    @property
    def not_done(self) -> int:
        """Tasks that ended with any status other than done."""
        return how_many(self, FAILED)


@dataclass(frozen=True, slots=True)
class TaskRow:
    """The latest state of one task.

    Attributes:
        id: Its number.
        key: Its key as stored; ``None`` for a task without a key.
        name: Its name, up to 500 characters.
        status: As in the ledger; also ``interrupted`` if it was running in a process that is gone.
        progress: Fraction, 0..1.
        message: Its message, up to 2,000 characters.
        started_at: ISO 8601, UTC, as reported by its worker.
        finished_at: ISO 8601, UTC, as reported by its worker.
        elapsed_s: Seconds; until now while it is running.
        rows_written: The number of rows that its latest attempt wrote.
        attempt: The number of its latest attempt, from 1.
        worker: The worker that ran it.
        run_id: The run of its latest attempt.
        pipeline: The name of its pipeline.
        exception: If it failed, the exception's type as shown in its traceback, or ``None``.
        place: Where the exception was raised in the user's code, as ``file:line in function``, or ``None``.
        kind: The id of the kind of failure, or ``None``.
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
    exception: str | None
    place: str | None
    kind: str | None


@dataclass(frozen=True, slots=True)
class TaskDetail(TaskRow):
    """Everything stored about one task, with the whole name and message.

    Attributes:
        result: JSON for a task of ``map``; otherwise text as the worker sent it.
        error: The traceback.
        has_state: It has a checkpoint, from which its next attempt continues.
        version: The version of the input that its rows come from, see ``version=`` of ``pipeloom.map``; ``None``
            without one.
    """

    result: str | None
    error: str | None
    has_state: bool
    version: str | int | float | None = None


@dataclass(frozen=True, slots=True)
class AttemptRow:
    """One attempt of a task; fields as in :class:`TaskRow`. ``is_present``: it is the task's latest attempt."""

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
    exception: str | None
    place: str | None
    kind: str | None
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
    """A message that could not be applied, and the reason."""

    id: int
    run_id: int | None
    task_id: int | None
    at: str
    kind: str
    content: str
    error: str


@dataclass(frozen=True, slots=True)
class ErrorGroup:
    """Failures of one kind.

    Attributes:
        kind: The id of the kind.
        exception: The exception's type as shown in a traceback; ``None`` if the worker reported the failure itself.
        message: The common part of their messages; numbers, quoted parts and paths are replaced by ``…``.
        status: ``error``, ``timed_out``, ``interrupted`` or ``cancelled``.
        count: The number of tasks.
        first_at: When the first of them ended.
        last_at: When the last of them ended.
        example: The task with the lowest number.
        last: The task that ended last.
        traceback: The example's traceback.
        where: The last line of the user's code in the traceback, as ``file:line in function``.
        run_ids: Their runs, the latest 20.
    """

    kind: str
    exception: str | None
    message: str
    status: str
    count: int
    first_at: str | None
    last_at: str | None
    example: TaskRow
    last: TaskRow
    traceback: str | None
    where: str | None
    run_ids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Overview:
    """What ``pipeloom status`` shows."""

    counts: dict[str, int]
    run: RunRow | None
    tasks: list[TaskRow]
