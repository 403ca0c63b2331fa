"""Every query of a ledger for a person or program that watches it.

Opens the file with ``mode=ro``, reads briefly and leaves no cursor open: it never writes, checkpoints or blocks
a run. A ``History`` must be used in the thread that created it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final, Self, Unpack

from pipeloom.data.clock import utc_now
from pipeloom.data.kinds import Kind
from pipeloom.data.text import storable, words
from pipeloom.db import owner_of
from pipeloom.db.limited import LONGEST_RESULT
from pipeloom.history import columns
from pipeloom.history.dead import DeadRuns, numbers
from pipeloom.history.failed_keys import FailedKey, past_keys, present_keys
from pipeloom.history.failures import counted_kinds, error_groups, kinds_named
from pipeloom.history.figures import RunFigures
from pipeloom.history.kinds import KindColumns
from pipeloom.history.reading import Reader
from pipeloom.history.rows import AttemptRow, ErrorGroup, LogRow, Overview, RejectedRow, RunRow, TaskDetail, TaskRow
from pipeloom.history.runs import Runs
from pipeloom.history.sums import read_figures
from pipeloom.history.tasks import (
    BEGINNING_OF_RESULT,
    HAS_VERSIONS,
    PARTS,
    PAST_FAILURES,
    RESULT,
    VERSION,
    Filters,
    Order,
    TaskQuery,
    all_by_status,
    end_of,
    failed_counts,
    past,
    select,
)
from pipeloom.history.typed import keyed_tasks
from pipeloom.statuses import DONE, FAILED, INTERRUPTED, OPEN, QUEUED, RUNNING

__all__ = ["History"]

_PREFIXES: Final = ("path:", "date:", "datetime:", "uuid:", "str:", "int:", "json:")
_MATCHES: Final = 20
_TRIES: Final = 1000
_FIRST_PAGE: Final = 200
_PAGE: Final = 20_000


class History:
    """Read-only access to one ledger; a context manager.

    Args:
        db_path: The file.
        deadline_s: The time limit of one query, in seconds.
        is_over: Called during queries, in the same thread; if it returns true, the query ends at once.

    Raises:
        StorageError: The file does not exist or is not a database. Later, from any method: it cannot be read,
            or the query exceeds its time limit.
        NoLedgerError: The database has no ledger.
        SchemaError: The ledger was written by a newer version.
    """

    def __init__(self, db_path: Path, *, deadline_s: float = 5.0, is_over: Callable[[], bool] = bool) -> None:
        self._reader = Reader(db_path, deadline_s, is_over)
        self._runs = Runs(self._reader)
        self.path = self._reader.path

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; closing twice is fine."""
        self._reader.close()

    def changed(self) -> bool:
        """Return whether anything was committed since the last call; true the first time. Takes microseconds."""
        return self._reader.changed()

    # --- runs ---

    def running_owner(self) -> int | None:
        """Return the id of the process that runs on the file now; see :func:`pipeloom.db.owner_of`."""
        return owner_of(self.path)

    def is_alive(self, run: RunRow) -> bool:
        """Return whether a run is in progress now."""
        return bool(self._runs.going_on(run.run_id)) and run.run_id not in self._runs.dead()

    def runs(self, limit: int, before: int | None = None) -> list[RunRow]:
        """Return runs, the latest first.

        Args:
            limit: At most this many.
            before: Only runs with a lower number, for the next page.
        """
        if before is not None:
            return self._runs.read("WHERE r.id < ?", before, limit=_bounded(limit))
        return self._runs.read("", limit=_bounded(limit))

    def run(self, run_id: int) -> RunRow | None:
        """Return one run, or ``None``."""
        found = self._runs.read("WHERE r.id = ?", run_id, limit=1) if columns.fits(run_id) else []
        return found[0] if found else None

    def latest_run(self) -> RunRow | None:
        """Return the run that started last, or ``None``."""
        found = self.runs(1)
        return found[0] if found else None

    def count_runs(self) -> int:
        """Return the number of runs."""
        return int(self._reader.rows("SELECT COUNT(*) FROM pipeloom_runs")[0][0])

    def figures(self, run: RunRow) -> RunFigures:
        """Return the totals over all attempts of a run, including earlier ones; reads all of them, page by page."""
        return read_figures(self._reader.rows, run, utc_now())

    # --- tasks ---

    def overview(self, limit: int) -> Overview:
        """Return counts, the latest run, and up to ``limit`` tasks: running, failed, queued, then done ones."""
        counts = self.counts()
        tasks: list[TaskRow] = []
        for status in ([RUNNING], failed_counts(counts), [QUEUED], [DONE]):
            tasks += self.tasks(limit=limit - len(tasks), status=status)
        return Overview(counts, self.latest_run(), tasks)

    def counts(self, run_id: int | None = None) -> dict[str, int]:
        """Return status → number of tasks; if a run is given, only of tasks that were last attempted in it."""
        dead = self._runs.dead()
        if run_id is not None:
            found = self._reader.rows(
                "SELECT status, COUNT(*) FROM task_runs WHERE run_id = ? GROUP BY status",
                (run_id if columns.fits(run_id) else None,),
            )
        else:
            found = all_by_status(self._reader.rows)
        counts = {words(status): number for status, number in found}
        if dead and (run_id is None or run_id in dead):
            for status, number in self._reader.rows(
                "SELECT t.status, COUNT(*) FROM task_runs t "
                f"WHERE t.status <> 'done' AND {(dead if run_id is None else DeadRuns([run_id])).cut_short} "
                "GROUP BY t.status"
            ):
                counts[status] = counts.get(status, 0) - number
                counts[INTERRUPTED] = counts.get(INTERRUPTED, 0) + number
        return {status: number for status, number in counts.items() if number > 0}

    def open_counts(self) -> dict[str, int]:
        """Return how many tasks are ``running`` and ``queued`` (waiting for a retry) now; looks at those alone."""
        found = self._reader.rows(
            "SELECT t.status, COUNT(*) FROM task_runs t "
            f"WHERE t.status <> 'done' AND t.status IN {OPEN} AND {self._runs.dead().not_theirs} GROUP BY t.status"
        )
        return {words(status): number for status, number in found}

    def tasks(
        self, *, limit: int, after_id: int | None = None, order: Order = "recent", **filters: Unpack[Filters]
    ) -> list[TaskRow]:
        """Return tasks.

        Args:
            limit: At most this many.
            after_id: The number of the last task of the previous page.
            order: ``recent`` and ``oldest`` sort by number, ``slowest`` by elapsed time.
            **filters: Which tasks, see :class:`Filters`.

        Raises:
            ValueError: ``limit`` is negative, ``order`` is unknown, or a filter is invalid.
        """
        run_id = filters.get("run_id")
        if not all(columns.fits(number) for number in (after_id, run_id, limit) if number is not None):
            raise ValueError("limit, after_id and run_id must be within 64 bits")
        shown, now = self._columns(), utc_now()
        after = None
        if after_id is not None:
            took = self._reader.rows(f"{select(shown)} WHERE t.id = :id", {"id": after_id, "now": now})
            after = (after_id, columns.task_row(took[0]).elapsed_s if took else None)
        query = TaskQuery(filters, shown, now)
        return [columns.task_row(row) for row in self._reader.rows(*query.page(limit, order, after))]

    def each_task(self, order: Order = "recent", **filters: Unpack[Filters]) -> Iterator[TaskRow]:
        """Yield any number of tasks, read page by page; see :meth:`tasks`."""
        last: int | None = None
        size = _FIRST_PAGE  # a caller that wants few need not wait for many
        while page := self.tasks(limit=size, after_id=last, order=order, **filters):
            yield from page
            last, size = page[-1].id, min(size * 4, _PAGE)

    def count_tasks(self, **filters: Unpack[Filters]) -> int:
        """Return the number of tasks; see :meth:`tasks`."""
        run_id = filters.get("run_id")
        if run_id is not None and not columns.fits(run_id):
            return 0
        ((count,),) = self._reader.rows(*TaskQuery(filters, self._columns(), utc_now()).count())
        return int(count)

    @property
    def stores_kinds(self) -> bool:
        """Whether failures can be found by kind from an index; an older file gets it when a run opens it."""
        return self._reader.has_column("task_runs", "kind")

    def _columns(self) -> KindColumns:
        return KindColumns(self._runs.dead(), stored=self.stores_kinds)

    def running(self, limit: int) -> list[TaskRow]:
        """Return the tasks that are running now, the longest-running first."""
        found = self.tasks(limit=limit, status=RUNNING, order="slowest")
        return sorted(found, key=lambda task: (-(task.elapsed_s or 0.0), task.id))

    def failures(self, limit: int, run_id: int | None = None) -> list[TaskRow]:
        """Return tasks that failed, the one that ended last first.

        Args:
            limit: At most this many.
            run_id: Only tasks that failed in this run, even if a later run has done them.
        """
        found: list[TaskRow] = []
        many = _bounded(limit) + 200 if limit else 0  # numbers follow the times closely, but not exactly
        for status in FAILED:
            found += self.tasks(limit=many, status=status, run_id=run_id)
        if run_id is not None and columns.fits(run_id):
            earlier = self._reader.rows(
                f"{past(self._columns())} WHERE {PAST_FAILURES} ORDER BY a.rowid DESC LIMIT :limit",
                {"run": run_id, "limit": many},
            )
            found += [columns.task_row(row[:-1]) for row in earlier]
        return sorted(found, key=lambda task: (task.finished_at or "", task.id), reverse=True)[:limit]

    def find(self, word: str) -> list[TaskRow]:
        """Return up to 20 tasks that match a word as a number, else a key, else a name, else part of one."""
        if not word:
            return []
        word = storable(word)
        number = _number(word)
        if number is not None and (found := self._matching("t.id = :word", number)):
            return found
        return (
            self.with_key(word) or self._matching("t.name = :word", word) or self.tasks(limit=_MATCHES, name=word)
        )

    def with_key(self, word: str) -> list[TaskRow]:
        """Return up to 20 tasks with this key, either as stored or without its prefix."""
        word = storable(word)
        number = _number(word)
        keys = {f"key{place}": f"{prefix}{word}" for place, prefix in enumerate(("", *_PREFIXES))}
        values: dict[str, Any] = keys if number is None else {**keys, "number": number}
        # The index is by pipeline, then key: one lookup per pipeline.
        return self._matching(
            "t.key IS NOT NULL AND t.pipeline_id IN (SELECT id FROM pipeloom_pipelines) "
            f"AND t.key IN ({', '.join(f':{name}' for name in values)})",
            **values,
        )

    def beginning_with(self, word: str, limit: int) -> list[TaskRow]:
        """Return tasks whose key, else whose name, starts with a word; without one, running or failed tasks."""
        if not word:
            found = self.tasks(limit=limit, status=RUNNING)
            found += self.tasks(limit=limit - len(found), status=FAILED)
            return found or self.tasks(limit=limit)
        if keyed := keyed_tasks(self._reader, word, _PREFIXES, limit):
            return self._matching(f"t.id IN {numbers(keyed)}")
        return [task for task in self.tasks(limit=limit, name=word) if task.name.startswith(word)]

    def _matching(self, where: str, word: Any = None, **values: Any) -> list[TaskRow]:
        found = self._reader.rows(
            f"{select(self._columns())} WHERE {where} ORDER BY t.id LIMIT {_MATCHES}",
            {"now": utc_now(), "word": word, **values},
        )
        return [columns.task_row(row) for row in found]

    def task(self, task_id: int, *, longest: int | None = None) -> TaskDetail | None:
        """Return everything about one task, or ``None``.

        Args:
            task_id: Its number.
            longest: How many characters of its result to return, 0 or more; ``None`` for all of it, up to 256 MiB.
        """
        if not columns.fits(task_id):
            return None
        shown, params = self._columns(), {"id": task_id, "now": utc_now(), "longest": longest}
        # Only the result may have any length, so it is read by a query of its own, in the same snapshot.
        with self._reader.one_state():
            found = self._reader.rows(f"{select(shown, in_full=True)} WHERE t.id = :id", params)
            result = None
            if found and longest != 0:
                sql = RESULT if longest is None else BEGINNING_OF_RESULT
                ((result,),) = self._reader.rows(sql, params, longest=LONGEST_RESULT)
            has_versions = self._reader.rows(HAS_VERSIONS, ())  # a file from an older version lacks the column
            versions = self._reader.rows(VERSION, params) if has_versions else ()
        return columns.task_detail((*found[0], result), next(iter(versions), (None,))[0]) if found else None

    def attempts(self, task_id: int) -> list[AttemptRow]:
        """Return the attempts of one task, oldest first, at most the last 1,000; the current one is last."""
        if not columns.fits(task_id):
            return []
        shown = self._columns()
        earlier = self._reader.rows(
            "SELECT * FROM (SELECT rowid, task_id, run_id, attempt, status, progress, message, started_at, "
            f"finished_at, elapsed_s, rows_written, worker, {end_of('error')}, "
            f"{', '.join(map(shown.of_try, PARTS))} FROM pipeloom_attempts a WHERE task_id = ? "
            f"ORDER BY rowid DESC LIMIT {_TRIES}) ORDER BY rowid",
            (task_id,),
        )
        present = self.task(task_id, longest=0)
        tries = [columns.attempt_row(row[1:], is_present=False) for row in earlier]
        return tries if present is None else [*tries, columns.present_attempt(present)]

    def error_groups(self, run_id: int | None = None, limit: int = 50) -> list[ErrorGroup]:
        """Return failures grouped by kind (exception, place and common message), the most frequent first.

        Args:
            run_id: Only tasks that failed in this run, even if a later run has done them.
            limit: At most this many kinds.
        """
        if run_id is not None and not columns.fits(run_id):
            return []
        return error_groups(self._reader, self._columns(), run_id, _bounded(limit))

    def kinds(self, run_id: int | None = None) -> list[tuple[Kind, int]]:
        """Return all kinds of failure, each with its number of tasks; see :meth:`error_groups`."""
        if run_id is not None and not columns.fits(run_id):
            return []
        return counted_kinds(self._reader, self._columns(), run_id)

    def kinds_named(self, word: str, run_id: int | None = None, *, by_part: bool = True) -> list[str]:
        """Return the ids of the kinds that match a word, by the first of these ways that matches any.

        Args:
            word: An id or its first characters (at least four), an exception with or without its module, or the
                status of failures without an exception.
            run_id: Only kinds that failed in this run.
            by_part: Finally, match any part of the exception or of the common message, ignoring case.
        """
        return kinds_named((kind for kind, _ in self.kinds(run_id)), word, by_part=by_part)

    def failed_keys(self, kinds: Sequence[str] | None = None, run_id: int | None = None) -> Iterator[FailedKey]:
        """Yield failed tasks by key, read page by page; only of these kinds (ids) and in one run, if given."""
        tasks = self.each_task("oldest", status=FAILED, kind=kinds, run_id=run_id)
        yield from present_keys(self._reader, tasks)
        if run_id is not None:
            yield from past_keys(self._reader, self._columns(), kinds, run_id)

    # --- logs and rejected messages ---

    def logs(self, task_id: int, after_id: int = 0, limit: int = 1000, *, newest: bool = False) -> list[LogRow]:
        """Return a task's log records after number ``after_id``, in order.

        Args:
            task_id: The task.
            after_id: The number of the last record that was read.
            limit: At most this many.
            newest: Return the last records instead of the first.
        """
        error = end_of("error") if self._reader.has_column("pipeloom_logs", "error") else "NULL"
        found = self._reader.rows(
            f"SELECT id, task_id, run_id, attempt, at, level, logger, message, {error} FROM pipeloom_logs "
            f"WHERE task_id = ? AND id > ? ORDER BY id {'DESC' if newest else ''} LIMIT ?",
            (task_id, after_id, _bounded(limit)),
        )
        return [columns.log_row(row) for row in (reversed(found) if newest else found)]

    def count_logs(self, task_id: int) -> int:
        """Return the number of records that a task has logged."""
        return int(self._reader.rows("SELECT COUNT(*) FROM pipeloom_logs WHERE task_id = ?", (task_id,))[0][0])

    def rejected(self, limit: int, task_id: int | None = None) -> list[RejectedRow]:
        """Return messages that could not be applied, the latest first; only those of one task, if given."""
        found = self._reader.rows(
            "SELECT id, run_id, task_id, at, kind, content, error FROM pipeloom_rejected "
            f"{'' if task_id is None else 'WHERE task_id = ? '}ORDER BY id DESC LIMIT ?",
            (_bounded(limit),) if task_id is None else (task_id, _bounded(limit)),
        )
        return [columns.rejected_row(row) for row in found]

    def refused_inputs(self, run_id: int | None) -> tuple[int, str]:
        """Return how many inputs of a run, by default the last, were rejected without a task, and one reason."""
        ((count, why),) = self._reader.rows(
            "SELECT COUNT(*), COALESCE(substr(error, 1, 2000), '') FROM (SELECT error FROM pipeloom_rejected "
            "WHERE kind = 'input' AND run_id = COALESCE(?, (SELECT MAX(id) FROM pipeloom_runs)) ORDER BY id DESC)",
            (run_id,),
        )
        return int(count), str(why)


def _bounded(limit: int) -> int:
    """Return a limit that is not negative; SQLite would treat a negative one as no limit."""
    if not 0 <= limit < 1 << 63:
        raise ValueError(f"limit must be 0 or more, not {limit}")
    return limit


def _number(word: str) -> int | None:
    """Return the number that a word spells, if SQLite can hold it."""
    try:
        number = int(word)
    except ValueError:
        return None
    return number if columns.fits(number) else None
