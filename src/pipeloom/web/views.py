"""What each page shows: which rows it asks for, and which parts they become.

A view is what its address says, frozen, so that everybody who looks at the same address shares one. It knows its
address (``path`` and ``query``), its ``heading``, the ``places`` of its parts in their order, and how long it rests
between two builds. ``build`` runs in the thread of the ``History`` that it is given.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Final, TypeAlias

from pipeloom.history import History, RunRow
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
_WAITING: Final = 8
_KINDS: Final = 5  # on the first page
_KINDS_OF_RUN: Final = 50
_GONE: Final = "This {} is not in the file."


@dataclass(frozen=True, slots=True)
class OverviewView:
    """The first page: the present run, what it is doing, what went wrong, the runs before."""

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
            text = "The first run in this file appears here by itself."
            nothing = tag("section", tag("h1", "No runs yet"), tag("p", text, class_="message"))
            return {**dict.fromkeys(self.places, ""), "run": nothing}
        run = runs[0]
        found = remembered.figures(run, memo)
        known = found.value if found is not None else None
        running, count = self._running(history, run, memo) if run.status == RUNNING else (Html(""), None)
        return {
            "spoken": run_parts.spoken(run),
            "run": run_parts.run_head(run, remembered.rate(run, memo), known, running=count),
            "failures": remembered.kinds(run, _KINDS, memo),
            "running": running,
            "pictures": remembered.pictures(run, found, with_lanes=False),
            "runs": pieces.headed(
                "Runs", run_parts.runs_table(runs[:5]), more=tag("a", "all runs", href="/runs"), id_="runs-title"
            ),
        }

    @staticmethod
    def _running(history: History, run: RunRow, memo: Memo) -> tuple[Html, int | None]:
        """Return what the run is doing, and how many tasks it is running, as far as that is known."""
        running = history.running(limit=_RUNNING + 1)
        waiting = history.tasks(limit=_WAITING, status=QUEUED, run_id=run.run_id, order="oldest")
        placed = remembered.slots(running[:_RUNNING], min(run.workers or 0, _RUNNING), memo)
        more = pieces.tasks_link("all running", status=RUNNING)
        table = task_parts.running_table(placed, waiting)
        part = pieces.headed("Running", table, more=more, id_="running-title")
        return part, len(running) if len(running) <= _RUNNING else run.workers


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
        """What it is called."""
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
            "task": task_parts.task_head(task),
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
        """The rest of its address."""
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
    """One run: its state, its pictures, what went wrong in it."""

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
        """What it is called."""
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
        return {
            "spoken": run_parts.spoken(run),
            "run": run_parts.run_head(run, remembered.rate(run, memo), found.value if found else None),
            "failures": remembered.kinds(run, _KINDS_OF_RUN, memo),
            "pictures": remembered.pictures(run, found),
            "environment": pieces.headed("Environment", fragments.circumstances(run), id_="environment-title"),
        }


AnyView: TypeAlias = OverviewView | TasksView | TaskView | RunsView | RunView
