"""Checks of the ledger: whether it is consistent, and what is left to do.

Each check is a function of a reader, ``rows(sql, *params)``, and scans a table at most once. It runs in one read
transaction, with a time limit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Final

from pipeloom.data.clock import utc_text
from pipeloom.data.identifiers import is_reserved
from pipeloom.data.text import clean
from pipeloom.doctor.finding import Finding
from pipeloom.history.tasks import all_by_status
from pipeloom.statuses import DONE, INTERRUPTED, RUNNING

__all__ = ["Check", "checks", "missing"]

Rows = Callable[..., list[tuple[Any, ...]]]
Check = Callable[[Rows], list[Finding]]

_TABLES: Final = {
    "task_runs": "id name status progress message started_at finished_at result pipeline_id key run_id "
    "attempt error worker rows_written elapsed_s",
    "pipeloom_pipelines": "id name",
    "pipeloom_runs": "id status started_at finished_at done failed cancelled timed_out skipped pid",
    "pipeloom_attempts": "task_id run_id attempt status rows_written",
    "pipeloom_state": "task_id state",
    "pipeloom_rejected": "id task_id at kind error",
}
_NEW_IN: Final = {
    2: {"pipeloom_logs": "id task_id error", "pipeloom_runs": "command"},
    3: {"pipeloom_pipelines": "is_given function place beside code captured"},
    4: {"task_runs": "input"},
    5: {"pipeloom_runs": "shard"},
    6: {"task_runs": "version", "pipeloom_runs": "own_rows", "pipeloom_found": "task_id found_by item"},
    7: {
        "task_runs": "exception place message_template kind",
        "pipeloom_attempts": "exception place message_template kind",
    },
}


def checks(owner: int | None) -> Iterator[tuple[str, Check]]:
    """Yield the name of each check, and the check.

    Args:
        owner: The id of the process that uses the file; ``None`` without one, 0 if its id is unknown.
    """
    yield "run", partial(_run, owner)
    yield "tasks", partial(_tasks, owner)
    yield "done marks", _done_marks
    yield "rows", partial(_rows_written, owner)
    yield "checkpoints", _checkpoints
    yield "rejected", _rejected


def missing(rows: Rows, version: int) -> list[str]:
    """Return the ledger's tables and columns that a file of this version should have but lacks."""
    found = []
    wanted = [_TABLES, *(tables for since, tables in _NEW_IN.items() if version >= since)]
    for table, columns in (item for tables in wanted for item in tables.items()):
        there = {name.lower() for (name,) in rows("SELECT name FROM pragma_table_info(?)", table)}
        if not there:
            found.append(table)
        else:
            found += [f"{table}.{column}" for column in columns.split() if column not in there]
    return found


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def _run(owner: int | None, rows: Rows) -> list[Finding]:
    latest = rows(
        "SELECT r.id, r.status, r.pid, r.started_at, p.name FROM pipeloom_runs r "
        "LEFT JOIN pipeloom_pipelines p ON p.id = r.pipeline_id ORDER BY r.id DESC LIMIT 1"
    )
    if not latest:
        return [Finding("run", "ok", "no run yet")]
    number, status, pid, started_at, pipeline = latest[0]
    name = f"run {number}" + (f" of {clean(pipeline, 60)}" if pipeline else "")
    since = f"since {utc_text(started_at) or clean(started_at, 40)} UTC"
    if owner is not None:
        who = f"process {owner}" if owner else "in a process that cannot be identified from here"
        return [Finding("run", "ok", f"{name} is in progress, {since}, {who}")]
    if status == RUNNING:
        return [
            Finding(
                "run",
                "note",
                f"{name}, {since}, ended unexpectedly: its process ({clean(pid)}) is gone",
                "run it again: inputs that are done are skipped",
            )
        ]
    return [Finding("run", "ok", f"no run is in progress; the latest, {name}, ended as {clean(status)}")]


def _tasks(owner: int | None, rows: Rows) -> list[Finding]:
    counts = {clean(status): number for status, number in all_by_status(rows)}
    done = counts.pop(DONE, 0)
    text = ", ".join([f"{done:,} done", *(f"{number:,} {status}" for status, number in sorted(counts.items()))])
    cut_short = counts.get(INTERRUPTED, 0) + (counts.get(RUNNING, 0) if owner is None else 0)
    if cut_short:
        return [
            Finding(
                "tasks",
                "note",
                text,
                f"{_count(cut_short, 'task')} had begun when the process ended; no task is half stored: run again",
            )
        ]
    return [Finding("tasks", "ok", text)]


def _done_marks(rows: Rows) -> list[Finding]:
    """Compare the counts of each run with its tasks, including past attempts.

    Only for runs that ended: counts are updated ten times a second, and are exact only at the end.
    """
    counted: dict[Any, int] = dict(
        rows("SELECT id, done FROM pipeloom_runs WHERE status NOT IN ('running', 'interrupted')")
    )
    marked: dict[Any, int] = dict(
        rows(
            "SELECT run_id, SUM(n) FROM (SELECT run_id, COUNT(*) AS n FROM task_runs WHERE status = 'done' "
            "GROUP BY run_id UNION ALL SELECT run_id, COUNT(*) FROM pipeloom_attempts WHERE status = 'done' "
            "GROUP BY run_id) WHERE run_id IS NOT NULL GROUP BY run_id"
        )
    )
    too_many = {run: (number, counted[run]) for run, number in marked.items() if number > counted.get(run, number)}
    too_few = {run: (marked.get(run, 0), number) for run, number in counted.items() if marked.get(run, 0) < number}
    if too_many:
        run, (there, said) = min(too_many.items())
        return [
            Finding(
                "done marks",
                "BAD",
                f"run {run} counted {said:,} done, but {there:,} of its tasks are marked done{_and_more(too_many)}",
                "not caused by a run: another program has written to task_runs or pipeloom_runs",
            )
        ]
    if too_few:
        run, (there, said) = min(too_few.items())
        return [
            Finding(
                "done marks",
                "note",
                f"run {run} counted {said:,} done, but only {there:,} of them still exist{_and_more(too_few)}",
                "fine if you deleted tasks, as with pipeloom forget; otherwise another program has written here",
            )
        ]
    if not counted:
        return [Finding("done marks", "ok", "no run has ended yet")]
    return [Finding("done marks", "ok", f"match the counts of {_count(len(counted), 'run')} that ended")]


def _and_more(runs: dict[Any, Any]) -> str:
    return f"; the same for {_count(len(runs) - 1, 'more run')}" if len(runs) > 1 else ""


def _rows_written(owner: int | None, rows: Rows) -> list[Finding]:
    """Compare the number of rows that tasks wrote with the number of rows in users' tables.

    Only totals can be compared, since the ledger does not store which table a row went to. Additional rows come
    from handlers, ``ctx.execute``, ``ctx.put`` and other programs; fewer rows from ``on_conflict`` and deletions.
    """
    tables = [
        name
        for (name,) in rows("SELECT name FROM pragma_table_list WHERE schema = 'main' AND type = 'table'")
        if not is_reserved(name)
    ]
    if owner is not None or not tables:
        return []
    ((written,),) = rows(
        "SELECT IFNULL(SUM(n), 0) FROM (SELECT SUM(rows_written) AS n FROM task_runs "
        "UNION ALL SELECT SUM(rows_written) FROM pipeloom_attempts)"
    )
    if not written:
        return []
    there = unique = 0
    for name in tables:
        ((number,),) = rows('SELECT COUNT(*) FROM "' + name.replace('"', '""') + '"')
        there += number
        unique += bool(rows('SELECT 1 FROM pragma_index_list(?) WHERE "unique"', name))
    where = f"{_count(there, 'row')} in {_count(len(tables), 'table')}"
    if there < written and _are_replaced(rows):
        said = f"{where}; the tasks wrote {written:,}, and a task that runs again replaces its rows"
        return [Finding("rows", "ok", said)]
    if there == written:
        return [Finding("rows", "ok", f"{where}, as many as the tasks wrote")]
    if there > written:
        return [
            Finding(
                "rows", "ok", f"{where}; the tasks wrote {written:,}, the others came from SQL or another program"
            )
        ]
    if unique:
        return [
            Finding("rows", "ok", f"{where}; the tasks wrote {written:,}, the others conflicted with existing rows")
        ]
    return [
        Finding(
            "rows",
            "note",
            f"{where}; the tasks wrote {written:,}",
            "fine if you deleted rows; no table has a UNIQUE constraint that could explain it",
        )
    ]


def _are_replaced(rows: Rows) -> bool:
    """Return whether there is an earlier attempt whose rows store their task."""
    if not rows("SELECT 1 FROM pragma_table_info('pipeloom_runs') WHERE name = 'own_rows'"):
        return False  # a file from an older version
    return bool(
        rows(
            "SELECT 1 FROM pipeloom_attempts a JOIN pipeloom_runs r ON r.id = a.run_id "
            "WHERE a.rows_written > 0 AND r.own_rows IS NOT NULL LIMIT 1"
        )
    )


def _checkpoints(rows: Rows) -> list[Finding]:
    ((there, orphans),) = rows(
        "SELECT COUNT(*), IFNULL(SUM(t.id IS NULL), 0) "
        "FROM pipeloom_state s LEFT JOIN task_runs t ON t.id = s.task_id"
    )
    if orphans:
        return [
            Finding(
                "checkpoints",
                "note",
                f"{orphans:,} of {_count(there, 'checkpoint')} without a task",
                "left over from deleted tasks: DELETE FROM pipeloom_state WHERE task_id NOT IN (SELECT id FROM "
                "task_runs)",
            )
        ]
    return [Finding("checkpoints", "ok", _count(there, "checkpoint") if there else "none")]


def _rejected(rows: Rows) -> list[Finding]:
    ((number,),) = rows("SELECT COUNT(*) FROM pipeloom_rejected")
    if not number:
        return [Finding("rejected", "ok", "no message was refused")]
    ((at, kind, error),) = rows("SELECT at, kind, error FROM pipeloom_rejected ORDER BY id DESC LIMIT 1")
    return [
        Finding(
            "rejected",
            "note",
            f"{_count(number, 'message')} could not be applied, the last at {clean(str(at)[:19], 30)}: "
            f"{clean(kind, 40)}: {clean(error, 160)}",
            "to see all: SELECT * FROM pipeloom_rejected",
        )
    ]
