"""All failures of a file, or of one run, page by page into groups."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from pipeloom.data.clock import utc_now
from pipeloom.history import columns
from pipeloom.history.dead import DeadRuns
from pipeloom.history.grouping import Group, Groups
from pipeloom.history.reading import Reader, pages
from pipeloom.history.rows import ErrorGroup
from pipeloom.history.tasks import PAST, PAST_FAILURES, end_of, select
from pipeloom.statuses import FAILED, INTERRUPTED, OPEN

__all__ = ["error_groups", "failed_of_kind"]

_COMPARED: Final = "substr({0}.message, 1, 400), substr({0}.error, -8000), {0}.finished_at, {0}.run_id"


def error_groups(reader: Reader, run_id: int | None, dead: DeadRuns, limit: int) -> list[ErrorGroup]:
    """Group what failed; reads all of it, so it takes seconds for a million.

    Args:
        reader: Who asks the file.
        run_id: Only what failed in this run, also when a later one has done it.
        dead: Runs whose process is gone.
        limit: At most so many groups, the largest ones.
    """
    groups = Groups()
    for status in FAILED:
        for number, *compared in _present(reader, status, run_id):
            groups.add(number, status, *compared)
    if dead:
        for status in OPEN:
            for number, *compared in _present(reader, status, run_id, f"AND {dead.theirs} "):
                groups.add(number, INTERRUPTED, *compared)
    if run_id is not None:
        for _, *compared in _past(reader, run_id):
            groups.add(*compared)
    found = (_shown(reader, group, dead) for group in groups.largest(limit))
    return [group for group in found if group is not None]


def failed_of_kind(reader: Reader, kind: str, dead: DeadRuns) -> list[int]:
    """Return the tasks that are failed now, and of one kind.

    Args:
        reader: Who asks the file.
        kind: An exception, with its module or without, or a status where there was none.
        dead: Runs whose process is gone.
    """
    groups = Groups()
    found: list[int] = []
    wanted = [(status, status, "") for status in FAILED]
    wanted += [(status, INTERRUPTED, f"AND {dead.theirs} ") for status in OPEN if dead]
    for status, shown, more in wanted:
        for number, message, error, *_ in _present(reader, status, None, more):
            exception = groups.exception_of(message, error)
            if kind in ((shown,) if exception is None else (exception, exception.rpartition(".")[2])):
                found.append(number)
    return found


def _present(reader: Reader, status: str, run_id: int | None, more: str = "") -> Iterator[tuple[Any, ...]]:
    return pages(
        reader.rows,
        f"SELECT t.id, {_COMPARED.format('t')} FROM task_runs t WHERE t.status <> 'done' "
        f"AND t.status = :status {more}{'' if run_id is None else 'AND t.run_id = :run '}"
        "AND t.id > :last ORDER BY t.id",
        {"status": status, "run": run_id},
    )


def _past(reader: Reader, run_id: int) -> Iterator[tuple[Any, ...]]:
    return pages(
        reader.rows,
        f"SELECT a.rowid, a.task_id, a.status, {_COMPARED.format('a')}, a.rowid FROM pipeloom_attempts a "
        f"WHERE {PAST_FAILURES} AND a.rowid > :last ORDER BY a.rowid",
        {"run": run_id},
    )


def _shown(reader: Reader, group: Group, dead: DeadRuns) -> ErrorGroup | None:
    """Look its example up; ``None`` when somebody has deleted that meanwhile."""
    if group.past is not None:
        found = reader.rows(f"{PAST} WHERE a.rowid = :place", {"place": group.past})
    else:
        error = end_of("t.error")
        sql = f"SELECT s.*, {error} FROM ({select(dead)} WHERE t.id = :id) s JOIN task_runs t ON t.id = :id"
        found = reader.rows(sql, {"id": group.example, "now": utc_now()})
    if not found:
        return None
    *task, error = found[0]
    return ErrorGroup(
        exception=group.exception,
        message=group.message,
        status=group.status,
        count=group.count,
        first_at=group.first_at,
        last_at=group.last_at,
        example=columns.task_row(task),
        traceback=columns.text(error),
        where=group.where,
        run_ids=tuple(sorted(group.run_ids, reverse=True)),
    )
