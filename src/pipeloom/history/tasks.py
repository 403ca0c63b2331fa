"""The SQL of task lists: which tasks, and in what order; always bounded, and by an index where there is one."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, Literal, TypedDict, get_args

from pipeloom.data.clock import unix_time, utc_of
from pipeloom.data.text import LONGEST_TEXT, storable
from pipeloom.history.kinds import KindColumns, Part
from pipeloom.statuses import DONE, FAILED, INTERRUPTED, OPEN

__all__ = [
    "BEGINNING_OF_RESULT",
    "HAS_FAILED",
    "HAS_VERSIONS",
    "PARTS",
    "PAST_FAILURES",
    "RESULT",
    "VERSION",
    "Filters",
    "Order",
    "TaskQuery",
    "all_by_status",
    "end_of",
    "failed_counts",
    "past",
    "select",
]

Order = Literal["recent", "oldest", "slowest"]
"""By number, highest first; by number, lowest first; by elapsed time, longest first."""

PARTS: Final[tuple[Part, ...]] = ("exception", "place", "kind")
HAS_FAILED: Final = f"t.status IN {FAILED}"
"""Exactly this text, because SQLite matches the partial index of kinds by it."""
_ALL_BUT_DONE: Final = "t.status <> 'done'"  # exactly this text, by which SQLite matches the partial index


class Filters(TypedDict, total=False):
    """Which tasks; a filter that is left out or ``None`` has no effect.

    Attributes:
        status: One status or more.
        name: Part of the name or the key, ignoring case.
        run_id: Last attempted in this run.
        slower_than_s: Took longer than this, in seconds; for a running task, up to now.
        kind: Not done, with this kind of failure or one of these: ids.
        message: Part of the message or of the exception's type, ignoring case.
        since: Ended at this instant (ISO 8601) or later; if it has not ended, started then or later.
        until: The same, or earlier.
    """

    status: str | Iterable[str] | None
    name: str | None
    run_id: int | None
    slower_than_s: float | None
    kind: str | Iterable[str] | None
    message: str | None
    since: str | None
    until: str | None


class TaskQuery:
    """Which tasks to list, and in what order.

    Args:
        filters: Which tasks.
        columns: The file's columns about failures.
        now: The current time, ISO 8601.

    Raises:
        ValueError: A filter is not a valid instant, or a number is too large.
    """

    def __init__(self, filters: Filters, columns: KindColumns, now: str) -> None:
        self._columns = columns
        self._dead = columns.dead
        self._params: dict[str, Any] = {"now": now}
        self._filters = list(self._conditions(filters))
        kinds = _several(filters.get("kind"))
        self._kinds = None if kinds is None else self._among("kind", kinds)
        statuses = _several(filters.get("status"))
        if kinds is not None:
            statuses = [status for status in FAILED if statuses is None or status in statuses]
        self._parts = [[]] if statuses is None else list(self._by_status(statuses)) or [["0"]]

    def page(self, limit: int, order: Order, after: tuple[int, float | None] | None) -> tuple[str, dict[str, Any]]:
        """Return one statement and its parameters.

        Each status is a bounded lookup in its own index; full rows are built only for the tasks that are listed.

        Args:
            limit: At most this many.
            order: See :data:`Order`.
            after: (number, elapsed time) of the last task of the previous page.

        Raises:
            ValueError: ``limit`` is negative, or ``order`` is unknown.
        """
        if limit < 0:
            raise ValueError(f"limit must be 0 or more, not {limit}")
        if order not in get_args(Order):
            raise ValueError(f"order must be one of {', '.join(get_args(Order))}, not {order!r}")
        by = {"recent": "t.id DESC", "oldest": "t.id", "slowest": f"{self._dead.elapsed} DESC, t.id DESC"}[order]
        params = {**self._params, "limit": limit}
        beyond = [] if after is None else [self._beyond(order, *after, params)]
        parts = [
            f"SELECT id FROM (SELECT t.id FROM task_runs t WHERE {where} ORDER BY {by} LIMIT :limit)"
            for where in self._wheres(beyond)
        ]
        return f"{select(self._columns, among=' UNION ALL '.join(parts))} ORDER BY {by} LIMIT :limit", params

    def count(self) -> tuple[str, dict[str, Any]]:
        """Return the statement that counts the tasks, and its parameters."""
        parts = [f"SELECT COUNT(*) AS n FROM task_runs t WHERE {where}" for where in self._wheres()]
        return f"SELECT SUM(n) FROM ({' UNION ALL '.join(parts)})", self._params

    def _wheres(self, more: Sequence[str] = ()) -> Iterator[str]:
        for part in self._parts:
            yield " AND ".join([*part, *self._filters, *more]) or "1"

    def _by_status(self, statuses: Iterable[str]) -> Iterator[list[str]]:
        """Yield one condition per status and index, such that no task meets two of them."""
        dead = self._dead
        for status in dict.fromkeys(statuses):
            (name,) = self._named("status", [status])
            part = [f"t.status = {name}"]
            if status != DONE:
                part.insert(0, _ALL_BUT_DONE)
            if status in OPEN:
                part.append(dead.not_theirs)
            if self._kinds is None:
                yield part
            elif self._columns.stored:
                yield [*part, HAS_FAILED, f"t.kind IN {self._kinds}"]
                yield [*part, HAS_FAILED, "t.kind IS NULL", self._told_kind()]
            else:
                yield [*part, self._told_kind()]
            if dead and status == INTERRUPTED:
                of_kind = [] if self._kinds is None else [self._told_kind()]
                for open_one in OPEN:
                    yield [_ALL_BUT_DONE, f"t.status = '{open_one}'", dead.theirs, *of_kind]

    def _told_kind(self) -> str:
        return f"{self._columns.of_task('kind')} IN {self._kinds}"

    def _named(self, name: str, values: Iterable[Any]) -> list[str]:
        """Keep values, and return their parameter names."""
        names = []
        for value in values:
            key = f"{name}{len(self._params)}"
            self._params[key] = storable(value) if isinstance(value, str) else value
            names.append(f":{key}")
        return names

    def _among(self, name: str, values: Iterable[Any]) -> str:
        return f"({', '.join(self._named(name, values))})"

    def _conditions(self, filters: Filters) -> Iterator[str]:
        run_id, slower = filters.get("run_id"), filters.get("slower_than_s")
        if run_id is not None:
            self._params["run"] = run_id
            yield "t.run_id = :run"
        if slower is not None:
            self._params["slower"] = slower
            yield f"{self._dead.elapsed} > :slower"
        if name := filters.get("name"):
            yield self._holds(name, "t.name", "t.key")
        if message := filters.get("message"):
            yield self._holds(message, self._dead.message("t.message"), self._columns.of_task("exception"))
        for key, sign in (("since", ">="), ("until", "<=")):
            if (at := filters.get(key)) is not None:
                (stamp,) = self._named(key, [_stamp(str(at))])
                yield f"COALESCE(t.finished_at, t.started_at) {sign} {stamp}"

    def _holds(self, word: str, *columns: str) -> str:
        """Return the condition that one of the columns contains a word, ignoring case."""
        if word.isascii():  # LIKE ignores the case of ASCII only; it takes a third of the time of lower()
            as_it_is = re.sub("[!%_]", r"!\g<0>", word)
            (name,) = self._named("word", [f"%{as_it_is}%"])
            return f"({' OR '.join(f'{column} LIKE {name} ESCAPE {_ESCAPE}' for column in columns)})"
        (name,) = self._named("word", [word.casefold()])
        return f"({' OR '.join(f'instr(folded({column}), {name})' for column in columns)})"

    def _beyond(self, order: Order, number: int, took_s: float | None, params: dict[str, Any]) -> str:
        params["after"] = number
        if order == "oldest":
            return "t.id > :after"
        if order == "recent":
            return "t.id < :after"
        time = self._dead.elapsed
        if took_s is None:
            return f"({time} IS NULL AND t.id < :after)"
        params["took"] = took_s
        return f"({time} < :took OR {time} IS NULL OR ({time} = :took AND t.id < :after))"


def _several(given: str | Iterable[str] | None) -> list[str] | None:
    return None if given is None else [given] if isinstance(given, str) else list(given)


def _stamp(at: str) -> str:
    """Return an instant in the ledger's format."""
    found = unix_time(at)
    if found is None:
        raise ValueError(f"not an instant: {at!r}: use ISO 8601, such as 2026-01-31T12:00")
    return utc_of(found)


_ESCAPE: Final = "'!'"
_STATUSES: Final = 1000  # there are eight; other programs may have added more
_FAILED_STATUSES: Final = 100  # a query has a part for each, and SQLite allows 500

HAS_VERSIONS: Final = "SELECT 1 FROM pipeloom_meta WHERE key = 'versions'"
VERSION: Final = (
    "SELECT IIF(typeof(version) IN ('integer', 'real'), version, substr(version, 1, 2000)) FROM task_runs "
    "WHERE id = :id"
)
RESULT: Final = "SELECT result FROM task_runs WHERE id = :id"
BEGINNING_OF_RESULT: Final = "SELECT substr(result, 1, :longest) FROM task_runs WHERE id = :id"


def end_of(column: str) -> str:
    """Return SQL for as much of a traceback as a run stores, with its ``…``; foreign files may hold longer ones."""
    return f"substr({column}, -{LONGEST_TEXT + 1})"


def select(kinds: KindColumns, *, in_full: bool = False, among: str | None = None) -> str:
    """Return ``SELECT … FROM`` for tasks ``t``, in the order of the fields of ``TaskRow``; needs ``:now``.

    ``in_full`` is for one task: names and messages as they are, its traceback, and whether a checkpoint is kept.

    ``among`` is a question for the ``id`` of few of them. They are looked up one by one whatever the statistics
    say (SQLite never reorders a CROSS JOIN): those of a small first run would make it go through the whole table.

    Source: https://www.sqlite.org/optoverview.html#manual_control_of_query_plans_using_cross_join
    """
    name, said = ("t.name", "t.message") if in_full else ("substr(t.name, 1, 500)", "substr(t.message, 1, 2000)")
    dead = kinds.dead
    more = ", t.error, EXISTS (SELECT 1 FROM pipeloom_state s WHERE s.task_id = t.id)"
    return (
        f"SELECT t.id, t.key, {name}, {dead.status}, t.progress, {dead.message(said)}, t.started_at, "
        f"t.finished_at, {dead.elapsed}, t.rows_written, t.attempt, t.worker, t.run_id, p.name, "
        f"{', '.join(map(kinds.of_task, PARTS))}{more if in_full else ''} "
        f"FROM {f'({among}) few CROSS JOIN task_runs t ON t.id = few.id' if among else 'task_runs t'} "
        "LEFT JOIN pipeloom_pipelines p ON p.id = t.pipeline_id"
    )


# A run's failed attempts that a later run repeated; those it retried itself are not failures of it.
PAST_FAILURES: Final = (
    f"a.run_id = :run AND a.status IN {FAILED} "
    "AND NOT EXISTS (SELECT 1 FROM pipeloom_attempts b WHERE b.task_id = a.task_id AND b.run_id = :run "
    "AND b.rowid > a.rowid) AND NOT EXISTS (SELECT 1 FROM task_runs t WHERE t.id = a.task_id AND t.run_id = :run)"
)


def past(kinds: KindColumns) -> str:
    """Return ``SELECT … FROM`` for earlier attempts ``a`` as tasks, with the traceback at the end."""
    return (
        "SELECT a.task_id, t.key, substr(a.name, 1, 500), a.status, a.progress, substr(a.message, 1, 2000), "
        "a.started_at, a.finished_at, a.elapsed_s, a.rows_written, a.attempt, a.worker, a.run_id, p.name, "
        f"{', '.join(map(kinds.of_try, PARTS))}, {end_of('a.error')} "
        "FROM pipeloom_attempts a LEFT JOIN task_runs t ON t.id = a.task_id "
        "LEFT JOIN pipeloom_pipelines p ON p.id = t.pipeline_id"
    )


def all_by_status(rows: Callable[[str], list[tuple[Any, ...]]]) -> list[tuple[Any, int]]:
    """Return (status, number) of all tasks, as the file has them, without zero counts.

    Counting all rows and those in the index is several times faster than grouping all rows.

    Args:
        rows: Runs one statement, and returns all rows.
    """
    (_, everything), *others = rows(
        "SELECT NULL, COUNT(*) FROM task_runs UNION ALL "
        "SELECT * FROM (SELECT status, COUNT(*) FROM task_runs WHERE status <> 'done' GROUP BY status "
        f"LIMIT {_STATUSES})"
    )
    found = [*others, (DONE, everything - sum(number for _, number in others))]
    return [(status, number) for status, number in found if number]


def failed_counts(counts: Mapping[str, int]) -> dict[str, int]:
    """Return the counts of tasks that failed, by status, including up to 100 statuses that other programs added."""
    bad = {status: number for status, number in counts.items() if status not in (*OPEN, DONE)}
    return dict(sorted(bad.items(), key=lambda pair: pair[0] not in FAILED)[:_FAILED_STATUSES])
