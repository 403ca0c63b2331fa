"""Builds a run's report from what the writer committed, with access to the ledger."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Final

import msgspec

from pipeloom.data.commands import typed
from pipeloom.data.keys import known_as
from pipeloom.data.text import clean, near
from pipeloom.db import connect_readonly
from pipeloom.db.connection import MEMORY
from pipeloom.errors import StorageError, TasksFailedError
from pipeloom.ledger import Attempt, RunLedger
from pipeloom.ledger.board import FEW, Board, KindCount
from pipeloom.ledger.ids import IdSeries
from pipeloom.report import Failure, FailureKind, RunReport, in_lines, kind_told
from pipeloom.show.notebook import Place, report_seen
from pipeloom.statuses import CANCELLED, DONE, ERROR, TIMED_OUT, RunEnd

__all__ = ["decoded", "failure_of", "note_of_inputs", "report_of"]

logger = logging.getLogger("pipeloom")

_PAGE: Final = 1000
_DONE: Final = "SELECT id, key, input, result FROM task_runs WHERE status = 'done'"
_Row = tuple[int, Any, str | None, str | None]
_PAGE_SIZE: Final = 4 * 2**20  # characters of results
_RAISED: Final = 20


@dataclass(frozen=True, slots=True)
class _Origin:
    """The run behind a report: reads the ledger, and keeps the exceptions."""

    db: str
    run_id: int | None
    pipeline_id: int | None
    met: IdSeries
    exceptions: tuple[Exception, ...]
    place: Place | None
    refused: int  # failures stored as refused inputs, not as tasks

    @property
    def is_shown(self) -> bool:
        return self.place is not None and self.place.is_here

    def html_of(self, report: RunReport) -> str:
        return report_seen(report)[0]

    def results(self, *, everything: bool) -> Iterator[tuple[Any, Any]]:
        if self.db == MEMORY or self.run_id is None:
            raise StorageError(
                "results() reads from the ledger, which this run does not have: pass a file as db"
                + ("" if self.db == MEMORY else ", and keep store_task_status=True")
            )
        if self.pipeline_id is None:
            return self._numbered()
        return map(_joined, self._all() if everything else self._met())

    def _numbered(self) -> Iterator[tuple[int, str | None]]:
        for number, _, _, result in self._pages("run_id", self.run_id):
            yield number, result

    def _all(self) -> Iterator[_Row]:
        return self._pages("pipeline_id", self.pipeline_id)

    def _pages(self, whose: str, owner: int | None) -> Iterator[_Row]:
        sql = f"{_DONE} AND {whose} = ? AND id > ? ORDER BY id LIMIT {_PAGE}"
        last = -(1 << 63)
        while True:
            page, is_cut = self._page(sql, (owner, last))
            yield from page
            if len(page) < _PAGE and not is_cut:
                return
            last = page[-1][0]

    def _met(self) -> Iterator[_Row]:
        """Return the rows of this call's inputs, in their order."""
        numbers = iter(self.met)
        while some := list(islice(numbers, _PAGE)):
            yield from self._these(some)

    def _these(self, numbers: list[int]) -> Iterator[_Row]:
        # The unary plus keeps SQLite from using the pipeline's index, which would scan the whole pipeline.
        sql = f"{_DONE} AND +pipeline_id = ? AND id IN ({', '.join('?' * len(numbers))})"
        page, is_cut = self._page(sql, (self.pipeline_id, *numbers))
        if is_cut and len(numbers) > 1:
            half = len(numbers) // 2
            del page  # free its memory before reading the next
            yield from self._these(numbers[:half])
            yield from self._these(numbers[half:])
            return
        found = {row[0]: row for row in page}
        yield from (found[number] for number in numbers if number in found)

    def _page(self, sql: str, parameters: Sequence[object]) -> tuple[list[_Row], bool]:
        """Return rows, and whether there may be more of them than fit into memory at once."""
        conn = connect_readonly(Path(self.db))
        page: list[_Row] = []
        size = 0
        try:
            for row in conn.execute(sql, parameters):
                page.append(row)
                size += len(row[3] or "")
                if size > _PAGE_SIZE:
                    return page, True
        finally:
            conn.close()
        return page, False

    def error_for(self, report: RunReport, count: int) -> TasksFailedError:
        exceptions = self.exceptions or tuple(
            RuntimeError(f"task {clean(failure.key, 80)}: {clean(failure.message, 300)}")
            for failure in (report.failures if count <= FEW else [kind.first for kind in report.kinds[:_RAISED]])
        )
        return TasksFailedError(
            f"{count:,} of {report.total:,} tasks failed{self._refused(count)}{self._why(report.kinds)}",
            exceptions,
            report,
        )

    def _refused(self, count: int) -> str:
        """Return how many of the failures are inputs that were refused, as ``pipeloom errors`` calls them."""
        if not self.refused:
            return ""
        which = "" if self.refused == count else f"{self.refused:,} of them "
        return f", {which}because {'its input was' if self.refused == 1 else 'their inputs were'} refused"

    def _why(self, kinds: Sequence[FailureKind]) -> str:
        """Return the kinds of the failures, and how to list all of them."""
        more = "" if self.run_id is None else f"all of them: {typed('errors', near(self.db))}"
        if len(kinds) == 1:
            first = kinds[0].first
            why = f": {clean(first.exception or first.key, 80)}: {clean(first.message, 300)}"
            return f"{why} ({more})" if more else why
        return "\n".join([f", in {len(kinds):,} ways:", *in_lines(kinds), *filter(None, [more])])


def _joined(row: _Row) -> tuple[Any, Any]:
    _, key, kept, result = row
    return known_as(key, kept), None if result is None else decoded(result)


def decoded(result: str) -> Any:
    """Return a result as it was; text that a worker sent itself need not be JSON."""
    try:
        return msgspec.json.decode(result)
    except msgspec.DecodeError:
        return result


def report_of(run: RunLedger, status: RunEnd, elapsed_s: float, db: str, place: Place | None = None) -> RunReport:
    """Build the report from what the writer committed; ``place`` is where the run is shown in a notebook."""
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
        failures=tuple(map(failure_of, board.failures)),
        pipeline=None if run.pipeline is None else run.pipeline.name,
        db=db,
        kinds=tuple(map(_kind_of, board.kinds)),
        _origin=_Origin(
            db, run.run_id, run.pipeline_id, run.admissions.met, tuple(board.exceptions), place, _refused(board)
        ),
    )


def _refused(board: Board) -> int:
    return sum(kind.count for kind in board.kinds if kind.example.row == "none")


def _kind_of(counted: KindCount) -> FailureKind:
    return kind_told(counted.kind, counted.count, failure_of(counted.example), counted.last.known_as)


def failure_of(attempt: Attempt) -> Failure:
    """Return the failure that is reported for a task."""
    return Failure(
        key=attempt.known_as,
        attempt=attempt.attempt,
        exception=attempt.exception_type,
        message=attempt.message or "",
        traceback=attempt.error,
        status=attempt.status,
    )


def note_of_inputs(error: BaseException, report: RunReport) -> None:
    """Add a note about what is stored to an exception that the caller's own iterator raised."""
    note = (
        f"pipeloom: the inputs raised this after {report.total:,} of them; these are stored: run again for the rest"
    )
    try:
        error.add_note(note)
    except Exception:  # noqa: BLE001 - a frozen dataclass takes no notes
        logger.warning("%s", note)
