"""What each page shows: which rows it reads, and which parts they become.

A view is what its address says, frozen, so that all viewers of one address share a view. It knows its address
(``path`` and ``query``), its ``heading``, the ``places`` of its parts in order, and how long it rests between two
builds. ``build`` runs in the thread of the ``History`` that it is given.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final, TypeAlias

from pipeloom.history import History, RunRow, TaskRow
from pipeloom.show import fragments
from pipeloom.show.html import Html, tag
from pipeloom.statuses import QUEUED, RUNNING
from pipeloom.web import pieces, remembered, run_parts, task_parts
from pipeloom.web.answers import Memo
from pipeloom.web.tasks_view import TasksView

__all__ = ["AnyView", "OverviewView", "RunView", "RunsView", "TaskView"]

_PAGE: Final = 100
_LOGS: Final = 500
_RUNNING: Final = 16
_FORETELLING: Final = 64  # how many running tasks to consider, with their progress, for the time left
_WAITING: Final = 8
_KINDS: Final = 5  # on the first page
_KINDS_OF_RUN: Final = 50
_MORE_KINDS: Final = "There are more kinds than these: pipeloom errors -n 0 lists all of them."
_GONE: Final = "This {} is not in the file."


@dataclass(frozen=True, slots=True)
class OverviewView:
    """The first page: the current run, its tasks and failures, and earlier runs."""

    path = "/"
    query: ClassVar[Mapping[str, Any]] = {}
    heading = "Overview"
    is_list = False
    places = ("run", "failures", "running", "pictures", "runs", "spoken")
    rest_s = 0.0

    def build(self, history: History, memo: Memo) -> Mapping[str, str]:
        """Return its parts."""
        runs = history.runs(limit=6)
        if not runs:
            text = "The first run in this file will appear here automatically."
            nothing = tag("section", tag("h1", "No runs yet"), tag("p", text, class_="message"))
            return {**dict.fromkeys(self.places, ""), "run": nothing}
        run = runs[0]
        found = remembered.figures(run, memo)
        known = found.value if found is not None else None
        working, at_once = _working(history, run)
        speed = remembered.speed(run, working, at_once, memo)
        all_kinds = tag("a", "Show all kinds", href=f"/runs/{run.run_id}#kinds-title")
        return {
            "spoken": run_parts.spoken(run),
            "run": run_parts.run_head(run, speed, known, running=at_once),
            "failures": remembered.kinds(run, _KINDS, tag("p", all_kinds, class_="note more-kinds"), memo),
            "running": self._running(history, run, working, at_once, memo) if run.status == RUNNING else "",
            "pictures": remembered.pictures(run, found, with_lanes=False),
            "runs": pieces.headed(
                "Runs", run_parts.runs_table(runs[:5]), more=tag("a", "all runs", href="/runs"), id_="runs-title"
            ),
        }

    @staticmethod
    def _running(history: History, run: RunRow, working: Sequence[TaskRow], at_once: int, memo: Memo) -> Html:
        """Return the running and waiting tasks of a run."""
        waiting = history.tasks(limit=_WAITING, status=QUEUED, run_id=run.run_id, order="oldest")
        shown = working if run.workers else working[:_RUNNING]
        placed = remembered.slots(shown, min(run.workers or 0, _RUNNING), memo)
        is_all = at_once <= len(placed)
        more = pieces.tasks_link("all running" if is_all else f"all {at_once:,} running", status=RUNNING)
        return pieces.headed("Running", task_parts.running_table(placed, waiting), more=more, id_="running-title")


def _working(history: History, run: RunRow) -> tuple[list[TaskRow], int]:
    """Return running tasks, longest-running first, and their total."""
    if run.status != RUNNING:
        return [], 0
    working = history.running(limit=_FORETELLING)
    full = len(working) == _FORETELLING
    return working, history.open_counts().get(RUNNING, 0) if full else len(working)


@dataclass(frozen=True, slots=True)
class TaskView:
    """Everything about one task."""

    task_id: int

    query: ClassVar[Mapping[str, Any]] = {}
    is_list = False
    places = ("task", "error", "result", "attempts", "logs")
    rest_s = 0.0

    @property
    def path(self) -> str:
        """Its address."""
        return f"/tasks/{self.task_id}"

    @property
    def heading(self) -> str:
        """Its heading."""
        return f"Task {self.task_id}"

    def build(self, history: History, memo: Memo) -> Mapping[str, str]:  # noqa: ARG002 - the protocol
        """Return its parts.

        Raises:
            pieces.Missing: There is no such task.
        """
        task = history.task(self.task_id, longest=pieces.LONGEST_RESULT + 1)
        if task is None:
            raise pieces.Missing(_GONE.format("task"))
        attempts = history.attempts(self.task_id)
        logs = history.logs(self.task_id, limit=_LOGS, newest=True)
        return {
            "task": task_parts.task_head(task, is_first=len(attempts) < 2),
            "error": pieces.headed("Traceback", pieces.long_text(task.error, "Traceback"), id_="error-title")
            if task.error
            else "",
            "result": pieces.headed("Result", pieces.beginning(task.result, "Result"), id_="result-title")
            if task.result
            else "",
            "attempts": pieces.headed(
                "Tries",
                task_parts.attempts_table(sorted(attempts, key=_by_age, reverse=True)),
                id_="attempts-title",
            )
            if len(attempts) > 1
            else "",
            "logs": pieces.headed(
                "Log" if len(logs) < _LOGS else f"Log: the last {_LOGS} records",
                task_parts.logs_table(logs),
                id_="logs-title",
            )
            if logs
            else "",
        }


def _by_age(attempt: Any) -> tuple[bool, int, int]:
    return attempt.is_present, attempt.run_id or 0, attempt.attempt


@dataclass(frozen=True, slots=True)
class RunsView:
    """The list of runs."""

    before: int | None = None

    path = "/runs"
    heading = "Runs"
    is_list = True
    places = ("runs",)
    rest_s = 0.0

    @property
    def query(self) -> Mapping[str, Any]:
        """The query of its address."""
        return {} if self.before is None else {"before": self.before}

    def build(self, history: History, memo: Memo) -> Mapping[str, str]:  # noqa: ARG002 - the protocol
        """Return its parts."""
        runs = history.runs(limit=_PAGE + 1, before=self.before)
        pages = []
        if self.before is not None:
            pages.append(tag("a", "First page", href="/runs"))
        if len(runs) > _PAGE:
            pages.append(tag("a", "Next page", href=f"/runs?before={runs[_PAGE - 1].run_id}"))
        return {
            "runs": tag(
                "section",
                run_parts.runs_table(runs[:_PAGE]),
                pieces.pages(pages),
                aria_label="Runs",
            )
        }


@dataclass(frozen=True, slots=True)
class RunView:
    """One run: its state, its pictures and its failures."""

    run_id: int

    query: ClassVar[Mapping[str, Any]] = {}
    is_list = False
    places = ("run", "failures", "pictures", "environment", "spoken")
    rest_s = 2.0

    @property
    def path(self) -> str:
        """Its address."""
        return f"/runs/{self.run_id}"

    @property
    def heading(self) -> str:
        """Its heading."""
        return f"Run {self.run_id}"

    def build(self, history: History, memo: Memo) -> Mapping[str, str]:
        """Return its parts.

        Raises:
            pieces.Missing: There is no such run.
        """
        run = history.run(self.run_id)
        if run is None:
            raise pieces.Missing(_GONE.format("run"))
        found = remembered.figures(run, memo)
        working, at_once = _working(history, run)
        speed = remembered.speed(run, working, at_once, memo)
        return {
            "spoken": run_parts.spoken(run),
            "run": run_parts.run_head(run, speed, found.value if found else None, running=at_once),
            "failures": remembered.kinds(run, _KINDS_OF_RUN, pieces.empty(_MORE_KINDS), memo),
            "pictures": remembered.pictures(run, found),
            "environment": pieces.headed("Environment", fragments.circumstances(run), id_="environment-title"),
        }


AnyView: TypeAlias = OverviewView | TasksView | TaskView | RunsView | RunView
