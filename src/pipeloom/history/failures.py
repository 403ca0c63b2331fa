"""All failures of a file, or of one run, page by page into groups."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

from pipeloom.data.clock import utc_now
from pipeloom.history import columns
from pipeloom.history.grouping import Group, Groups
from pipeloom.history.reading import Reader
from pipeloom.history.rows import ErrorGroup
from pipeloom.history.tasks import PAST, PAST_FAILURES, numbers, select
from pipeloom.statuses import FAILED, INTERRUPTED, OPEN

__all__ = ["error_groups"]

_PAGE: Final = 5000
_LOWEST: Final = -(1 << 63)
_COMPARED: Final = "substr({0}.message, 1, 400), substr({0}.error, -8000), {0}.finished_at, {0}.run_id"


def error_groups(reader: Reader, run_id: int | None, dead: Sequence[int], limit: int) -> list[ErrorGroup]:
    """Group what failed; reads all of it, so it takes seconds for a million.

    Args:
        reader: Who asks the file.
        run_id: Only what failed in this run, also when a later one has done it.
        dead: Runs whose process is gone though they say ``running``.
        limit: At most so many groups, the largest ones.
    """
    groups = Groups()
    for status in FAILED:
        for row in _present(reader, [status], run_id, ""):
            groups.add(row[0], status, *row[1:])
    if dead:
        for row in _present(reader, OPEN, run_id, f"AND t.run_id IN {numbers(dead)} "):
            groups.add(row[0], INTERRUPTED, *row[1:])
    if run_id is not None:
        for row in _past(reader, run_id):
            groups.add(*row)
    found = (_shown(reader, group, dead) for group in groups.largest(limit))
    return [group for group in found if group is not None]


def _present(reader: Reader, statuses: Sequence[str], run_id: int | None, more: str) -> Iterator[tuple[Any, ...]]:
    for status in statuses:
        last = _LOWEST
        while True:
            page = reader.rows(
                f"SELECT t.id, {_COMPARED.format('t')} FROM task_runs t WHERE t.status <> 'done' "
                f"AND t.status = :status {more}{'' if run_id is None else 'AND t.run_id = :run '}"
                f"AND t.id > :last ORDER BY t.id LIMIT {_PAGE}",
                {"status": status, "run": run_id, "last": last},
            )
            yield from page
            if len(page) < _PAGE:
                break
            last = page[-1][0]


def _past(reader: Reader, run_id: int) -> Iterator[tuple[Any, ...]]:
    last = _LOWEST
    while True:
        page = reader.rows(
            f"SELECT a.task_id, a.status, {_COMPARED.format('a')}, a.rowid FROM pipeloom_attempts a "
            f"WHERE {PAST_FAILURES} AND a.rowid > :last ORDER BY a.rowid LIMIT {_PAGE}",
            {"run": run_id, "last": last},
        )
        yield from page
        if len(page) < _PAGE:
            return
        last = page[-1][-1]


def _shown(reader: Reader, group: Group, dead: Sequence[int]) -> ErrorGroup | None:
    """Look its example up; ``None`` when somebody has deleted that meanwhile."""
    if group.past is not None:
        found = reader.rows(f"{PAST} WHERE a.rowid = :place", {"place": group.past})
    else:
        sql = f"SELECT s.*, t.error FROM ({select(dead)} WHERE t.id = :id) s JOIN task_runs t ON t.id = :id"
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
