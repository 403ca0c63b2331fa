"""What a look at the ledger returns: frozen values of the types that are promised here."""

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
        shard: Which part of the inputs it was about, such as ``3/16``; ``None`` for all of them.
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
    shard: str | None
    versions: dict[str, str]
    is_unclosed: bool

    @property
    def title(self) -> str | None:
        """What people know it by: its pipeline's name, and the shard of it; ``None`` for a run without keys."""
        return f"{self.pipeline}, shard {self.shard}" if self.pipeline and self.shard else self.pipeline

    @property
    def ended(self) -> int:
        """Inputs dealt with, in whatever way."""
        return how_many(self)

    @property
    def errors(self) -> int:
        """Tasks that failed or timed out."""
        return how_many(self, ERRORS)

    @property
    def not_done(self) -> int:
        """Tasks that ended in any other way than done."""
        return how_many(self, FAILED)


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
        exception: Of a task that did not end well, the exception's type as a traceback names it, or ``None``.
        place: Where it was raised in the user's code, as ``file:line in function``, or ``None``.
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
    """All there is about one task; name and message in full.

    Attributes:
        result: JSON from ``map``; text as a worker sent it.
        error: The traceback.
        has_state: A checkpoint is kept, from which its next try goes on.
        version: That of the input whose rows are stored, see ``version=`` of ``pipeloom.map``; ``None`` for none.
    """

    result: str | None
    error: str | None
    has_state: bool
    version: str | int | float | None = None


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
        kind: Its id.
        exception: Its type as a traceback names it; ``None`` when the worker itself said so.
        message: What they have in common: numbers, quoted parts and paths are ``…``.
        status: ``error``, ``timed_out``, ``interrupted`` or ``cancelled``.
        count: How many tasks.
        first_at: When the first of them ended.
        last_at: When the last of them ended.
        example: The one with the lowest number.
        last: The one that ended last.
        traceback: The example's.
        where: The last line of the user's code in it, as ``file:line in function``.
        run_ids: The runs they belong to, the latest 20.
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
