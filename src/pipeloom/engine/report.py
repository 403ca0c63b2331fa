"""What comes back from a run."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from pipeloom.data.text import clean, near
from pipeloom.db import connect_readonly
from pipeloom.db.connection import MEMORY
from pipeloom.errors import StorageError, TasksFailedError
from pipeloom.statuses import RunStatus

if TYPE_CHECKING:
    from rich.console import RenderableType

    from pipeloom.ledger import RunLedger

__all__ = ["Failure", "RunReport"]

_PAGE: Final = 1000
_SHOWN: Final = 5


@dataclass(frozen=True, slots=True)
class Failure:
    """One task that did not end well.

    Attributes:
        key: The task's key as stored, or its number in a run without keys.
        attempt: Which try of this run it was.
        exception: The exception's type, such as ``"ValueError"``; ``None`` when the worker itself said so.
        message: What people should read.
        traceback: As Python prints it, or ``None``.
        status: ``error``, ``cancelled`` or ``timed_out``.
    """

    key: str | int
    attempt: int
    exception: str | None
    message: str
    traceback: str | None
    status: str = "error"


@dataclass(frozen=True)
class RunReport:
    """The outcome of one run, as committed.

    Attributes:
        run_id: Its number in ``pipeloom_runs``; ``None`` without ledger tables.
        status: ``done`` (every input is done), ``error`` (some failed), ``cancelled`` or ``interrupted``.
        done: Tasks done in this run.
        failed: Tasks that ended in error.
        cancelled: Tasks that were cancelled.
        timed_out: Tasks that ran out of time.
        skipped: Inputs that were done before.
        total: Inputs dealt with, the sum of these five.
        elapsed_s: How long it took.
        failures: The first 100; all of them are in the ledger.
        pipeline: The name under which it resumes; ``None`` for a run without keys.
        db: The file.
    """

    run_id: int | None
    status: RunStatus
    done: int
    failed: int
    cancelled: int
    timed_out: int
    skipped: int
    total: int
    elapsed_s: float
    failures: tuple[Failure, ...]
    pipeline: str | None
    db: str
    _pipeline_id: int | None = field(default=None, repr=False)
    _exceptions: tuple[Exception, ...] = field(default=(), repr=False, compare=False)

    def results(self) -> Iterator[tuple[str | int, Any]]:
        """Iterate (key, result) of this pipeline's done tasks, earlier runs included, from the ledger.

        Reads the file page by page, in the calling thread, with no cursor left open in between. In a run without
        keys: (number, result text) of this run.

        Raises:
            StorageError: There is no file to read from, or it cannot be read.
        """
        if self.db == MEMORY or self.run_id is None:
            raise StorageError(
                "results() reads them from the ledger: give a file"
                + ("" if self.db == MEMORY else ", and keep store_task_status=True")
            )
        return self._pages(keyed=self._pipeline_id is not None)

    def _pages(self, *, keyed: bool) -> Iterator[tuple[str | int, Any]]:
        what, whose = ("key", "pipeline_id") if keyed else ("id", "run_id")
        sql = (
            f"SELECT id, {what}, result FROM task_runs "
            f"WHERE {whose} = ? AND status = 'done' AND id > ? ORDER BY id LIMIT {_PAGE}"
        )
        owner = self._pipeline_id if keyed else self.run_id
        last = -(1 << 63)
        while True:
            conn = connect_readonly(Path(self.db))
            try:
                page = conn.execute(sql, (owner, last)).fetchall()
            finally:
                conn.close()
            for last, key, result in page:  # noqa: B007 - `last` is where the next page begins
                yield key, _decoded(result) if keyed and result is not None else result
            if len(page) < _PAGE:
                return

    def raise_for_failures(self) -> None:
        """Raise what went wrong, if anything did.

        Raises:
            TasksFailedError: Holds the first 20 exceptions and this report.
        """
        if self.failed or self.timed_out or self.cancelled:
            first = self.failures[0] if self.failures else None
            why = f": {clean(first.exception or first.key, 80)}: {clean(first.message, 300)}" if first else ""
            count = self.failed + self.timed_out + self.cancelled
            exceptions = self._exceptions or tuple(
                RuntimeError(f"task {clean(f.key, 80)}: {clean(f.message, 300)}") for f in self.failures[:20]
            )
            more = "" if self.run_id is None else f" (all of them: pipeloom errors --db {clean(near(self.db))})"
            raise TasksFailedError(f"{count:,} of {self.total:,} tasks failed{why}{more}", exceptions, self)

    @property
    def has_exceptions(self) -> bool:
        """Whether a task raised, or was refused by the ledger, rather than report its own error."""
        return bool(self._exceptions)

    def __str__(self) -> str:
        what = clean(self.pipeline, 80) if self.pipeline else "run"
        counts = [f"{self.done:,} done"] if self.total else ["there were no inputs"]
        for count, word in (
            (self.failed, "failed"),
            (self.timed_out, "timed out"),
            (self.cancelled, "cancelled"),
            (self.skipped, "skipped (done before)"),
        ):
            if count:
                counts.append(f"{count:,} {word}")
        number = f", run {self.run_id}" if self.run_id is not None else ""
        lines = [f"{what}: {', '.join(counts)} in {self.elapsed_s:.1f} s ({clean(near(self.db))}{number})"]
        lines += [
            f"  ✗ {clean(f.key, 60)}: {f.exception + ': ' if f.exception else ''}{clean(f.message, 200)}"
            for f in self.failures[:_SHOWN]
        ]
        if (more := self.failed + self.timed_out + self.cancelled - _SHOWN) > 0:
            lines.append(f"  … and {more:,} more")
        return "\n".join(lines)

    def __rich__(self) -> RenderableType:
        from rich.text import Text

        colour = "green" if self.status == "done" else "yellow" if self.status == "interrupted" else "red"
        head, *rest = str(self).split("\n")
        text = Text(head, style=f"bold {colour}")
        for line in rest:
            text.append("\n" + line, style="red")
        return text


def _decoded(result: str) -> Any:
    """Return a result as it was; what a worker sent as text of its own need not be JSON."""
    try:
        return msgspec.json.decode(result)
    except msgspec.DecodeError:
        return result


def report_of(run: RunLedger, status: RunStatus, elapsed_s: float, pipeline: str | None, db: str) -> RunReport:
    """Build the report from what the writer committed."""
    board = run.board
    counts = board.counts
    return RunReport(
        run_id=run.run_id,
        status=status,
        done=counts["done"],
        failed=counts["error"],
        cancelled=counts["cancelled"],
        timed_out=counts["timed_out"],
        skipped=board.skipped,
        total=board.dealt_with,
        elapsed_s=elapsed_s,
        failures=tuple(
            Failure(
                key=attempt.key if attempt.key is not None else attempt.task_id,
                attempt=attempt.attempt,
                exception=attempt.exception_type,
                message=attempt.message or "",
                traceback=attempt.error,
                status=attempt.status,
            )
            for attempt in board.failures
        ),
        pipeline=pipeline,
        db=db,
        _pipeline_id=run.pipeline_id,
        _exceptions=tuple(board.exceptions),
    )
