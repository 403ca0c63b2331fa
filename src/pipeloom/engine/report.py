"""How a run reports: from what the writer committed, with a way back to the ledger."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec

from pipeloom.data.text import clean, near
from pipeloom.db import connect_readonly
from pipeloom.db.connection import MEMORY
from pipeloom.errors import StorageError, TasksFailedError
from pipeloom.ledger import RunLedger
from pipeloom.report import Failure, RunReport
from pipeloom.statuses import CANCELLED, DONE, ERROR, TIMED_OUT, RunEnd

__all__ = ["note_of_inputs", "report_of"]

logger = logging.getLogger("pipeloom")

_PAGE: Final = 1000
_RAISED: Final = 20


@dataclass(frozen=True, slots=True)
class _Origin:
    """Where a report comes from: reads the ledger, and knows the errors."""

    db: str
    run_id: int | None
    pipeline_id: int | None
    exceptions: tuple[Exception, ...]

    def results(self) -> Iterator[tuple[str | int, Any]]:
        if self.db == MEMORY or self.run_id is None:
            raise StorageError(
                "results() reads them from the ledger: give a file"
                + ("" if self.db == MEMORY else ", and keep store_task_status=True")
            )
        return self._pages(keyed=self.pipeline_id is not None)

    def _pages(self, *, keyed: bool) -> Iterator[tuple[str | int, Any]]:
        what, whose = ("key", "pipeline_id") if keyed else ("id", "run_id")
        sql = (
            f"SELECT id, {what}, result FROM task_runs "
            f"WHERE {whose} = ? AND status = 'done' AND id > ? ORDER BY id LIMIT {_PAGE}"
        )
        owner = self.pipeline_id if keyed else self.run_id
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

    def error_for(self, report: RunReport, count: int) -> TasksFailedError:
        first = report.failures[0] if report.failures else None
        why = f": {clean(first.exception or first.key, 80)}: {clean(first.message, 300)}" if first else ""
        exceptions = self.exceptions or tuple(
            RuntimeError(f"task {clean(f.key, 80)}: {clean(f.message, 300)}") for f in report.failures[:_RAISED]
        )
        more = "" if self.run_id is None else f" (all of them: pipeloom errors --db {clean(near(self.db))})"
        return TasksFailedError(f"{count:,} of {report.total:,} tasks failed{why}{more}", exceptions, report)


def _decoded(result: str) -> Any:
    """Return a result as it was; what a worker sent as text of its own need not be JSON."""
    try:
        return msgspec.json.decode(result)
    except msgspec.DecodeError:
        return result


def report_of(run: RunLedger, status: RunEnd, elapsed_s: float, db: str) -> RunReport:
    """Build the report from what the writer committed."""
    board = run.board
    counts = board.counts
    return RunReport(
        run_id=run.run_id,
        status=status,
        done=counts[DONE],
        failed=counts[ERROR],
        cancelled=counts[CANCELLED],
        timed_out=counts[TIMED_OUT],
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
        pipeline=None if run.pipeline is None else run.pipeline.name,
        db=db,
        _origin=_Origin(db, run.run_id, run.pipeline_id, tuple(board.exceptions)),
    )


def note_of_inputs(error: BaseException, report: RunReport) -> None:
    """Say what is stored although the caller's own iterator raised."""
    note = (
        f"pipeloom: raised by the inputs after {report.total:,} of them; those are stored, run again to do the rest"
    )
    try:
        error.add_note(note)
    except Exception:  # noqa: BLE001 - a frozen dataclass takes no notes
        logger.warning("%s", note)
