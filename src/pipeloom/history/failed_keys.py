"""The keys of inputs that failed, for programs that run them again; read page by page."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple

from pipeloom.data.keys import known_as
from pipeloom.data.text import text
from pipeloom.history.kinds import KindColumns
from pipeloom.history.reading import Reader, pages
from pipeloom.history.rows import TaskRow
from pipeloom.history.tasks import PAST_FAILURES

__all__ = ["FailedKey", "past_keys", "present_keys"]

_AT_ONCE: Final = 500  # inputs
_DIGEST: Final = re.compile(r"^json:|…sha256:")


class FailedKey(NamedTuple):
    """One input that failed.

    Attributes:
        task_id: The task's number.
        key: As stored; ``None`` for a task without a key.
        item: The key as the caller knows it: the input, or what ``key=`` returned.
    """

    task_id: int
    key: str | int | None
    item: Any


def present_keys(reader: Reader, tasks: Iterator[TaskRow]) -> Iterator[FailedKey]:
    """Yield the keys of tasks, in their order.

    Args:
        reader: The file's reader.
        tasks: Any number of tasks.
    """
    page: list[TaskRow] = []
    for task in tasks:
        page.append(task)
        if len(page) == _AT_ONCE:
            yield from _known(reader, page)
            page = []
    yield from _known(reader, page)


def past_keys(reader: Reader, shown: KindColumns, kinds: Sequence[str] | None, run_id: int) -> Iterator[FailedKey]:
    """Yield the keys of tasks that failed in a run and ran again in a later one.

    Args:
        reader: The file's reader.
        shown: The expressions for the kinds of failures.
        kinds: Only failures of these kinds, by id.
        run_id: The run.
    """
    params: dict[str, Any] = {f"kind{place}": kind for place, kind in enumerate(kinds or ())}
    of_kind = f"AND {shown.of_try('kind')} IN ({', '.join(f':{name}' for name in params)}) " if params else ""
    told = "t.input" if reader.has_column("task_runs", "input") else "NULL"
    for _, number, key, kept in pages(
        reader.rows,
        f"SELECT a.rowid, a.task_id, t.key, {told} FROM pipeloom_attempts a "
        f"LEFT JOIN task_runs t ON t.id = a.task_id WHERE {PAST_FAILURES} {of_kind}"
        "AND a.rowid > :last ORDER BY a.rowid",
        {**params, "run": run_id},
    ):
        yield _failed(number, key, kept)


def _known(reader: Reader, tasks: Sequence[TaskRow]) -> Iterator[FailedKey]:
    """Yield the failed keys of tasks; look up the stored input where the key is a digest."""
    told: dict[int, Any] = {}
    wanted = [task.id for task in tasks if isinstance(task.key, str) and _DIGEST.search(task.key)]
    if wanted and reader.has_column("task_runs", "input"):
        marks = ", ".join("?" * len(wanted))
        told = dict(reader.rows(f"SELECT id, input FROM task_runs WHERE id IN ({marks})", wanted))
    for task in tasks:
        yield _failed(task.id, task.key, told.get(task.id))


def _failed(number: int, key: Any, kept: Any) -> FailedKey:
    if key is not None and not isinstance(key, int):
        key = text(key)
    return FailedKey(number, key, None if key is None else known_as(key, text(kept)))
