"""Which tasks, and in what order: the SQL of a list, always bounded, by an index wherever there is one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, get_args

from pipeloom.data.identifiers import ascii_lower
from pipeloom.data.text import LONGEST_TEXT, storable
from pipeloom.history.dead import DeadRuns
from pipeloom.statuses import DONE, FAILED, INTERRUPTED, OPEN

__all__ = [
    "BEGINNING_OF_RESULT",
    "HAS_VERSIONS",
    "PAST",
    "PAST_FAILURES",
    "RESULT",
    "VERSION",
    "Order",
    "TaskQuery",
    "all_by_status",
    "end_of",
    "failed_counts",
    "select",
]

Order = Literal["recent", "oldest", "slowest"]
"""By number, the last first; by number; by time taken, the longest first."""

_ALL_BUT_DONE: Final = "t.status <> 'done'"  # in these words, since the partial index is found by them


@dataclass(frozen=True, slots=True)
class TaskQuery:
    """What a list of tasks is to show.

    Attributes:
        limit: At most so many.
        statuses: Any of these; ``None`` for all.
        word: Part of the name or the key, in any case.
        run_id: Last tried in this run.
        slower_than_s: Took longer than this; a running one, until now.
        order: See :data:`Order`.
        after: (number, time taken) of the task after which the list goes on.
        dead: Runs whose process is gone.
        now: The present, ISO 8601.
    """

    limit: int
    statuses: tuple[str, ...] | None
    word: str | None
    run_id: int | None
    slower_than_s: float | None
    order: Order
    after: tuple[int, float | None] | None
    dead: DeadRuns
    now: str

    def __post_init__(self) -> None:
        if self.limit < 0:
            raise ValueError(f"limit must be 0 or more, not {self.limit}")
        if self.order not in get_args(Order):
            raise ValueError(f"order must be one of {', '.join(get_args(Order))}, not {self.order!r}")

    def sql(self) -> tuple[str, dict[str, Any]]:
        """Return one statement and its values.

        Each status is a bounded look into the index of its own; the rows are built only for what is shown.
        """
        params: dict[str, Any] = {"limit": self.limit, "now": self.now}
        filters = self._filters(params)
        parts = [
            f"SELECT id FROM (SELECT t.id FROM task_runs t WHERE {' AND '.join([*part, *filters]) or '1'} "
            f"ORDER BY {self._by()} LIMIT :limit)"
            for part in self._parts(params)
        ]
        return (
            f"{select(self.dead, among=' UNION ALL '.join(parts))} ORDER BY {self._by()} LIMIT :limit",
            params,
        )

    def _by(self) -> str:
        return {
            "recent": "t.id DESC",
            "oldest": "t.id",
            "slowest": f"{self.dead.elapsed} DESC, t.id DESC",
        }[self.order]

    def _parts(self, params: dict[str, Any]) -> list[list[str]]:
        """Return one condition per status, or a single empty one."""
        if self.statuses is None:
            return [[]]
        parts = []
        for place, status in enumerate(dict.fromkeys(self.statuses)):
            params[f"status{place}"] = storable(status)
            part = [f"t.status = :status{place}"]
            if status != DONE:
                part.insert(0, _ALL_BUT_DONE)
            if status in OPEN:
                part.append(self.dead.not_theirs)
            parts.append(part)
            if self.dead and status == INTERRUPTED:
                parts += [[_ALL_BUT_DONE, f"t.status = '{open_one}'", self.dead.theirs] for open_one in OPEN]
        return parts or [["0"]]

    def _filters(self, params: dict[str, Any]) -> list[str]:
        filters = []
        if self.run_id is not None:
            params["run"] = self.run_id
            filters.append("t.run_id = :run")
        if self.slower_than_s is not None:
            params["slower"] = self.slower_than_s
            filters.append(f"{self.dead.elapsed} > :slower")
        if self.word:
            params["word"] = ascii_lower(self.word) if self.word.isascii() else storable(self.word.casefold())
            fold = "lower" if self.word.isascii() else "folded"
            filters.append(f"(instr({fold}(t.name), :word) OR instr({fold}(t.key), :word))")
        if self.after is not None:
            filters.append(self._beyond(*self.after, params))
        return filters

    def _beyond(self, number: int, took_s: float | None, params: dict[str, Any]) -> str:
        params["after"] = number
        if self.order == "oldest":
            return "t.id > :after"
        if self.order == "recent":
            return "t.id < :after"
        time = self.dead.elapsed
        if took_s is None:
            return f"({time} IS NULL AND t.id < :after)"
        params["took"] = took_s
        return f"({time} < :took OR {time} IS NULL OR ({time} = :took AND t.id < :after))"


_STATUSES: Final = 1000  # there are eight; somebody may have made up more,
_FAILED_STATUSES: Final = 100  # and a question for tasks has a part for each, of which SQLite takes 500

HAS_VERSIONS: Final = "SELECT 1 FROM pipeloom_meta WHERE key = 'versions'"
VERSION: Final = (
    "SELECT IIF(typeof(version) IN ('integer', 'real'), version, substr(version, 1, 2000)) FROM task_runs "
    "WHERE id = :id"
)
RESULT: Final = "SELECT result FROM task_runs WHERE id = :id"
BEGINNING_OF_RESULT: Final = "SELECT substr(result, 1, :longest) FROM task_runs WHERE id = :id"


def end_of(column: str) -> str:
    """Return SQL for as much of a traceback as a run stores, with its ``…``: in a foreign file it may be longer."""
    return f"substr({column}, -{LONGEST_TEXT + 1})"


def select(dead: DeadRuns, *, in_full: bool = False, among: str | None = None) -> str:
    """Return ``SELECT … FROM`` for tasks ``t``, in the order of the fields of ``TaskRow``; needs ``:now``.

    ``in_full`` is for one task: names and messages as they are, its traceback, and whether a checkpoint is kept.

    ``among`` is a question for the ``id`` of few of them. They are looked up one by one whatever the statistics
    say (SQLite never reorders a CROSS JOIN): those of a small first run would make it go through the whole table.

    Source: https://www.sqlite.org/optoverview.html#manual_control_of_query_plans_using_cross_join
    """
    name, said = ("t.name", "t.message") if in_full else ("substr(t.name, 1, 500)", "substr(t.message, 1, 2000)")
    more = ", t.error, EXISTS (SELECT 1 FROM pipeloom_state s WHERE s.task_id = t.id)"
    return (
        f"SELECT t.id, t.key, {name}, {dead.status}, t.progress, {dead.message(said)}, t.started_at, "
        f"t.finished_at, {dead.elapsed}, t.rows_written, t.attempt, t.worker, t.run_id, "
        f"p.name{more if in_full else ''} "
        f"FROM {f'({among}) few CROSS JOIN task_runs t ON t.id = few.id' if among else 'task_runs t'} "
        "LEFT JOIN pipeloom_pipelines p ON p.id = t.pipeline_id"
    )


# A run's failed tries that were tried again by a later run; those it tried again itself are no failures of it.
PAST_FAILURES: Final = (
    f"a.run_id = :run AND a.status IN {FAILED} "
    "AND NOT EXISTS (SELECT 1 FROM pipeloom_attempts b WHERE b.task_id = a.task_id AND b.run_id = :run "
    "AND b.rowid > a.rowid) AND NOT EXISTS (SELECT 1 FROM task_runs t WHERE t.id = a.task_id AND t.run_id = :run)"
)
PAST: Final = (
    "SELECT a.task_id, t.key, substr(a.name, 1, 500), a.status, a.progress, substr(a.message, 1, 2000), "
    "a.started_at, a.finished_at, a.elapsed_s, a.rows_written, a.attempt, a.worker, a.run_id, p.name, "
    f"{end_of('a.error')} FROM pipeloom_attempts a LEFT JOIN task_runs t ON t.id = a.task_id "
    "LEFT JOIN pipeloom_pipelines p ON p.id = t.pipeline_id"
)
"""Past tries ``a`` as tasks, with the traceback at the end."""


def all_by_status(rows: Callable[[str], list[tuple[Any, ...]]]) -> list[tuple[Any, int]]:
    """Return (status, number) of all tasks, as the file says; only what there is at least one of.

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
    """Return those of the counts by status that did not end well, up to 100 that somebody made up included."""
    bad = {status: number for status, number in counts.items() if status not in (*OPEN, DONE)}
    return dict(sorted(bad.items(), key=lambda pair: pair[0] not in FAILED)[:_FAILED_STATUSES])
