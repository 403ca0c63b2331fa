"""The list of tasks: with any filters that an address can express, in pages.

Its contents come from the server's answers: a search may have to look at millions of tasks.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, TypeVar

from pipeloom.data.text import clean
from pipeloom.history import History
from pipeloom.show.html import Html, join, tag
from pipeloom.web import filter_parts, pieces, run_parts, task_parts
from pipeloom.web.answers import Memo
from pipeloom.web.task_filter import TaskFilter

if TYPE_CHECKING:
    from pipeloom.history import ErrorGroup, TaskRow

__all__ = ["TasksView"]

T = TypeVar("T")

_PAGE: Final = 100
_KINDS: Final = 1000  # in which to look for one


@dataclass(frozen=True, slots=True)
class TasksView:
    """The list of tasks: which ones, and after which id."""

    which: TaskFilter
    after: int | None = None

    path = "/tasks"
    is_list = True
    places = ("filters", "kind", "tasks")
    rest_s = 1.0

    @property
    def query(self) -> Mapping[str, Any]:
        """The query of its address."""
        return self.which.query(after=self.after)

    @property
    def heading(self) -> str:
        """Its heading."""
        return "Tasks" if self.which.run_id is None else f"Tasks of run {self.which.run_id}"

    def build(self, history: History, memo: Memo) -> Mapping[str, str]:
        """Return its parts."""
        which = self.which
        owner = history.running_owner()  # if a run's process dies, its tasks change status in an unchanged file

        def ask(key: tuple[Any, ...], question: Callable[[History], T]) -> T | None:
            found = memo.ask(memo.desk.lists, key, question, version=owner)
            return found.value if found is not None else None

        tasks = ask(("tasks", self), self._tasks)
        kind = ask(("kind", which.kind, which.run_id), self._kind) if which.kind else None
        counts = ask(("counts", which.run_id), lambda history: history.counts(which.run_id)) or {}
        total = ask(("total", replace(which, slowest=False)), self._total)
        return {
            "filters": join(
                filter_parts.statuses(which, counts),
                filter_parts.more(which),
                filter_parts.active(which),
            ),
            "kind": self._kind_told(kind, history) if kind else "",
            "tasks": self._told(tasks, total),
        }

    # --- what to ask ---

    def _tasks(self, history: History) -> list[TaskRow]:
        order: Any = "slowest" if self.which.slowest else "recent"
        return history.tasks(limit=_PAGE + 1, after_id=self.after, order=order, **self.which.asked(history))

    def _total(self, history: History) -> int:
        return history.count_tasks(**self.which.asked(history))

    def _kind(self, history: History) -> ErrorGroup | None:
        wanted = history.kinds_named(self.which.kind or "")
        groups = history.error_groups(self.which.run_id, limit=_KINDS)
        return next((group for group in groups if group.kind in wanted), None)

    # --- what to show ---

    def _kind_told(self, group: ErrorGroup, history: History) -> Html:
        command = f"pipeloom errors --kind {group.kind} --db {shlex.quote(history.path.name)}"
        said = tag("p", "On the command line: ", tag("code", clean(command, 300)), class_="note")
        return run_parts.kind_head(group, said)

    def _told(self, tasks: list[TaskRow] | None, total: int | None) -> Html:
        if tasks is None:
            text = "The ledger is being searched. The results will appear here automatically."
            return tag("section", tag("p", text, class_="note", role="status"), aria_label="Tasks")
        shown, links = tasks[:_PAGE], []
        if self.after is not None:
            links.append(pieces.tasks_link("First page", **self.which.query()))
        if len(tasks) > _PAGE:
            links.append(pieces.tasks_link("Next page", **self.which.query(after=shown[-1].id)))
        return tag(
            "section",
            tag("p", self._counted(shown, total, is_all=not links), class_="note count"),
            task_parts.tasks_table(shown) if shown else pieces.empty("No such tasks."),
            pieces.pages(links),
            aria_label="Tasks",
        )

    def _counted(self, shown: list[TaskRow], total: int | None, *, is_all: bool) -> str:
        order = ", slowest first" if self.which.slowest else ", latest first"
        if not shown and is_all:
            return ""
        if is_all:
            return f"{len(shown):,} task{'s' if len(shown) != 1 else ''}{order if len(shown) > 1 else ''}."
        return f"{len(shown):,} of {'… (being counted)' if total is None else f'{total:,}'} tasks{order}."
