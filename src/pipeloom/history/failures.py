"""Failures by kind: counted by SQLite from an index, so that a million are grouped within a second.

If a file does not store the kinds of its failures, each failure is examined; see
:mod:`pipeloom.history.kinds`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from pipeloom.data.clock import utc_now
from pipeloom.data.kinds import Kind
from pipeloom.data.text import text, words
from pipeloom.history import columns
from pipeloom.history.kinds import KindColumns
from pipeloom.history.reading import Reader
from pipeloom.history.rows import ErrorGroup
from pipeloom.history.tasks import HAS_FAILED, PAST_FAILURES, end_of, past, select
from pipeloom.statuses import INTERRUPTED

__all__ = ["counted_kinds", "error_groups", "kinds_named"]

_RUNS: Final = 20
_LEAST: Final = 4  # characters of an id that are enough to name it
_COUNTED: Final = "COUNT(*), MIN({0}), MAX({0}), MIN({1}.finished_at), MAX({1}.finished_at)"


@dataclass(slots=True)
class _Tally:
    """The totals of one kind of failure."""

    kind: str
    status: str
    count: int = 0
    first_at: str | None = None
    last_at: str | None = None
    example: int | None = None  # the lowest number of the tasks that are failed now
    last_run: Any = None  # the run in which the last of them failed
    highest: int | None = None  # the highest number in that run
    past: int | None = None  # the first row among earlier attempts
    last_past: int | None = None  # the last row among them
    runs: set[int] = field(default_factory=set)

    def add(self, row: Sequence[Any], *, is_past: bool) -> None:
        """Add the failures of one run: number, count, lowest and highest row, first and last end."""
        run_id, count, lowest, highest, first, last = row
        self.count += count
        first_at, last_at = text(first), text(last)
        if is_past:
            self.past = lowest if self.past is None else min(self.past, lowest)
            self.last_past = highest if self.last_past is None else max(self.last_past, highest)
        else:
            self.example = lowest if self.example is None else min(self.example, lowest)
            if self.highest is None or words(last_at) >= words(self.last_at):
                self.last_run, self.highest = run_id, highest
        if first_at is not None and (self.first_at is None or first_at < self.first_at):
            self.first_at = first_at
        if last_at is not None and (self.last_at is None or last_at > self.last_at):
            self.last_at = last_at
        if type(run_id) is int:
            self.runs.add(run_id)


def error_groups(reader: Reader, shown: KindColumns, run_id: int | None, limit: int) -> list[ErrorGroup]:
    """Return the most frequent kinds of failure, each with its first and its last task.

    Args:
        reader: Reads the file.
        shown: The file's columns about failures.
        run_id: Only tasks that failed in this run, even if a later run has done them.
        limit: At most this many.
    """
    found = (_group(reader, shown, tally) for tally in _tallies(reader, shown, run_id)[:limit])
    return [group for group in found if group is not None]


def counted_kinds(reader: Reader, shown: KindColumns, run_id: int | None) -> list[tuple[Kind, int]]:
    """Return all kinds and how many tasks each has, the most frequent first."""
    found = ((_kind(reader, shown, tally), tally.count) for tally in _tallies(reader, shown, run_id))
    return [(kind, count) for kind, count in found if kind is not None]


def kinds_named(kinds: Iterable[Kind], word: str, *, by_part: bool = True) -> list[str]:
    """Return the ids of the kinds that match a word, by the first of these ways that matches any.

    Args:
        kinds: All kinds.
        word: An id or its first characters, an exception with or without its module, or the status of failures
            without an exception.
        by_part: Finally, match any part of the exception or of the common message, ignoring case.
    """
    given, folded = list(kinds), word.casefold()
    ways: list[Callable[[Kind], bool]] = [
        lambda kind: len(word) >= _LEAST and kind.id.startswith(folded),
        lambda kind: word in _names(kind),
        lambda kind: (
            by_part
            and bool(folded.strip())
            and folded in f"{kind.exception or kind.status}: {kind.message}".casefold()
        ),
    ]
    return next(filter(None, ([kind.id for kind in given if way(kind)] for way in ways)), [])


def _names(kind: Kind) -> tuple[str, ...]:
    return (kind.status,) if kind.exception is None else (kind.exception, kind.exception.rpartition(".")[2])


def _tallies(reader: Reader, shown: KindColumns, run_id: int | None) -> list[_Tally]:
    tallies: dict[tuple[str, str], _Tally] = {}
    for is_past, sql in _questions(shown, run_id):
        for status, kind, *counted in reader.rows(sql, {"run": run_id}):
            key = (words(status), words(kind))
            tallies.setdefault(key, _Tally(key[1], key[0])).add(counted, is_past=is_past)
    return sorted(
        tallies.values(), key=lambda tally: (-tally.count, tally.example is None, tally.example or tally.past)
    )


def _questions(shown: KindColumns, run_id: int | None) -> Iterator[tuple[bool, str]]:
    """Yield the statements that count failures by status, kind and run; each with whether it is about the past."""
    of_run = "" if run_id is None else " AND t.run_id = :run"
    counted, told = _COUNTED.format("t.id", "t"), shown.of_task("kind")
    untold = f"t.status <> 'done' AND {HAS_FAILED}"
    if shown.stored:
        # In the order of the index, which alone answers it.
        stored = (
            f"SELECT t.status, t.kind, t.run_id, {counted} FROM task_runs t INDEXED BY pipeloom_task_kind "
            f"WHERE {HAS_FAILED} AND t.kind IS NOT NULL{of_run} GROUP BY t.status, t.kind, t.run_id"
        )
        yield False, stored
        untold = f"{HAS_FAILED} AND t.kind IS NULL"
    others = (
        f"SELECT t.status, {told}, t.run_id, {counted} FROM task_runs t WHERE {untold}{of_run} GROUP BY 1, 2, 3"
    )
    yield False, others
    if shown.dead:
        left_behind = (
            f"SELECT '{INTERRUPTED}', {told}, t.run_id, {counted} FROM task_runs t "
            f"WHERE t.status <> 'done' AND {shown.dead.cut_short}{of_run} GROUP BY 1, 2, 3"
        )
        yield False, left_behind
    if run_id is not None:
        earlier = (
            f"SELECT a.status, {shown.of_try('kind')}, a.run_id, {_COUNTED.format('a.rowid', 'a')} "
            f"FROM pipeloom_attempts a WHERE {PAST_FAILURES} GROUP BY 1, 2, 3"
        )
        yield True, earlier


def _group(reader: Reader, shown: KindColumns, tally: _Tally) -> ErrorGroup | None:
    """Look up a group's tasks; ``None`` if they have been deleted meanwhile."""
    kind = _kind(reader, shown, tally)
    example = _task(reader, shown, tally.example, tally.past)
    number = tally.example if tally.example is None else _number_of_last(reader, shown, tally)
    last = _task(reader, shown, number, tally.last_past)
    if kind is None or not example or not last:
        return None
    *task, error = example[0]
    return ErrorGroup(
        kind=kind.id,
        exception=kind.exception,
        message=kind.message,
        status=kind.status,
        count=tally.count,
        first_at=tally.first_at,
        last_at=tally.last_at,
        example=columns.task_row(task),
        last=columns.task_row(last[0][:-1]),
        traceback=text(error),
        where=kind.place,
        run_ids=tuple(sorted(tally.runs, reverse=True)[:_RUNS]),
    )


def _kind(reader: Reader, shown: KindColumns, tally: _Tally) -> Kind | None:
    parts: tuple[Any, ...] = ("exception", "place", "message_template")
    if tally.example is not None:
        told = f"{', '.join(map(shown.of_task, parts))} FROM task_runs t WHERE t.id = :row"
        found = reader.rows(f"SELECT {told}", {"row": tally.example})
    else:
        told = f"{', '.join(map(shown.of_try, parts))} FROM pipeloom_attempts a WHERE a.rowid = :row"
        found = reader.rows(f"SELECT {told}", {"row": tally.past})
    if not found:
        return None
    exception, place, message = map(text, found[0])
    return Kind(tally.kind, tally.status, exception, place, message or "")


def _number_of_last(reader: Reader, shown: KindColumns, tally: _Tally) -> int | None:
    """Return the task that ended last, from the index, which orders each run's tasks by time."""
    if not shown.stored:
        return tally.highest
    found = reader.rows(
        f"SELECT t.id FROM task_runs t WHERE {HAS_FAILED} AND t.status = :status AND t.kind = :kind "
        "AND t.run_id IS :run AND t.finished_at = :at ORDER BY t.id DESC LIMIT 1",
        {"status": tally.status, "kind": tally.kind, "run": tally.last_run, "at": tally.last_at},
    )
    return found[0][0] if found else tally.highest


def _task(reader: Reader, shown: KindColumns, number: int | None, past_row: int | None) -> list[tuple[Any, ...]]:
    """Return a task, or else a past attempt, with the traceback at the end."""
    if number is None:
        return reader.rows(f"{past(shown)} WHERE a.rowid = :place", {"place": past_row})
    error = end_of("t.error")
    sql = f"SELECT s.*, {error} FROM ({select(shown)} WHERE t.id = :id) s JOIN task_runs t ON t.id = :id"
    return reader.rows(sql, {"id": number, "now": utc_now()})
