"""What each page shows: which rows it asks for, and which parts they become.

A view is what its address says, frozen, so that everybody who looks at the same address shares one. ``build`` runs
in the thread of the ``History`` that it is given.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from time import monotonic, time
from typing import TYPE_CHECKING, Any, Final

from pipeloom.data.rates import Pace
from pipeloom.history import History
from pipeloom.show import fragments
from pipeloom.show.html import Html, tag
from pipeloom.show.report_page import pictures_of
from pipeloom.statuses import ENDED, FAILED, INTERRUPTED, OPEN, QUEUED, RUNNING
from pipeloom.web import pieces, run_parts, task_parts

if TYPE_CHECKING:
    from pipeloom.history import RunRow, TaskDetail

__all__ = ["OverviewView", "RunView", "RunsView", "TaskView", "TasksView"]

_PAGE: Final = 100
_LOGS: Final = 500
_SELDOM_S: Final = 1.0
_DUTY: Final = 10
_MAX_GROUPED: Final = 200_000  # a second or two
_MAX_DRAWN_LIVE: Final = 300_000
_MAX_DRAWN: Final = 2_000_000
_GONE: Final = "This {} is not in the file."


def _rate(run: RunRow, memo: dict[str, Any]) -> float:
    """Return tasks per second: over the last ten seconds, or the whole run when it is over."""
    ended = run.ended - run.skipped
    if run.status != RUNNING:
        return ended / run.elapsed_s if run.elapsed_s else 0.0
    began = pieces.epoch(run.started_at)
    if began is None:
        return 0.0
    if memo.get("paced") != run.run_id:
        memo["paced"], memo["pace"] = run.run_id, Pace(began)
    rate: float = memo["pace"].rate(time(), ended)
    return rate


def _failures(history: History, run: RunRow, limit: int, memo: dict[str, Any]) -> list[TaskDetail]:
    """Return the last failures of a run with their tracebacks; read again only when there are others."""
    key = (run.run_id, _failed(run))
    if memo.get("failures_of") != key:
        found = (history.task(task.id) for task in history.failures(limit, run.run_id)) if _failed(run) else ()
        memo["failures_of"], memo["failures"] = key, [task for task in found if task is not None]
    failures: list[TaskDetail] = memo["failures"]
    return failures


def _seldom(memo: dict[str, Any], name: str, key: tuple[Any, ...], make: Callable[[], str]) -> str:
    """Return what costs a look at every task or failure: again only for another ``key``, and not too soon.

    Args:
        memo: The view's.
        name: What it is.
        key: The run's number first, then whatever it depends on.
        make: Builds it.
    """
    before = memo.get(name)
    began = monotonic()
    if before is not None:
        old_key, rests_until, html = before
        if old_key == key:
            return str(html)
        if old_key[0] == key[0] and began < rests_until:
            memo["again"] = True
            return str(html)
    html = make()
    done = monotonic()
    memo[name] = (key, done + max(_SELDOM_S, (done - began) * _DUTY), html)
    return html


def _groups(history: History, run: RunRow, memo: dict[str, Any]) -> str:
    """Return the failures of a run, equal ones counted together."""
    failures = _failed(run)

    def make() -> str:
        if failures > _MAX_GROUPED:
            text = f"{failures:,} failures are too many to group while you wait: pipeloom errors does it."
            return pieces.headed("Failures by kind", pieces.empty(text), id_="groups-title")
        groups = history.error_groups(run_id=run.run_id, limit=10) if failures else []
        if not groups:
            return ""
        return pieces.headed("Failures by kind", run_parts.groups_list(groups), id_="groups-title")

    return _seldom(memo, "groups", (run.run_id, failures), make)


def _pictures(history: History, run: RunRow, memo: dict[str, Any]) -> str:
    """Return the pictures of the report."""

    def make() -> str:
        if run.ended - run.skipped > (_MAX_DRAWN_LIVE if run.status == RUNNING else _MAX_DRAWN):
            text = "This run has too many tasks to draw it here: pipeloom report does it."
            return pieces.headed("Timeline", pieces.empty(text), id_="pictures-title")
        return pictures_of(history.figures(run))

    # A run that goes on is drawn anew with every change, until "now".
    return _seldom(memo, "pictures", (run.run_id, run.ended, run.status), make)


def _failed(run: RunRow) -> int:
    """Return how many tasks did not end well; a run that died counts as one more, for those that it left behind."""
    return run.failed + run.timed_out + run.cancelled + (run.status == INTERRUPTED)


@dataclass(frozen=True, slots=True)
class OverviewView:
    """The first page: the present run, what it is doing, what went wrong, the runs before."""

    path = "/"
    rest_s = 0.0

    def build(self, history: History, memo: dict[str, Any]) -> Mapping[str, str]:
        """Return its parts."""
        runs = history.runs(limit=6)
        if not runs:
            return {
                "spoken": "",
                "run": tag("section", tag("h1", "No runs yet"), tag("p", "The first run in this file appears here "
                           "by itself.", class_="message")),
                "running": "", "failures": "", "groups": "", "runs": "",
            }  # fmt: skip
        run = runs[0]
        alive = run.status == RUNNING
        running = history.running(limit=17) if alive else []
        waiting = history.tasks(limit=8, status=QUEUED, run_id=run.run_id, order="oldest") if alive else []
        count = None if not alive else len(running) if len(running) < 17 else run.workers
        failures = _failures(history, run, 8, memo)
        more = pieces.tasks_link("all running", status=RUNNING)
        all_failures = pieces.tasks_link("all failures", status=pieces.FAILURES, run=run.run_id)
        return {
            "spoken": run_parts.spoken(run),
            "run": run_parts.run_head(run, _rate(run, memo), running=count),
            "running": pieces.headed(
                "Running", task_parts.running_table([*running[:16], *waiting]), more=more, id_="running-title"
            )
            if alive
            else "",
            "failures": pieces.headed(
                "Last failures",
                run_parts.failures_list(failures),
                more=all_failures if failures else None,
                id_="failures-title",
            ),
            "groups": _groups(history, run, memo),
            "runs": pieces.headed(
                "Runs", run_parts.runs_table(runs[:5]), more=tag("a", "all runs", href="/runs"), id_="runs-title"
            ),
        }


@dataclass(frozen=True, slots=True)
class TasksView:
    """The list of tasks: filtered, searched, in pages."""

    status: str | None = None
    word: str | None = None
    run_id: int | None = None
    slowest: bool = False
    after: int | None = None

    path = "/tasks"
    rest_s = 1.0

    def query(self, **other: Any) -> dict[str, Any]:
        """Return this view as the query of an address, with changes; from its first page on."""
        told = {
            "status": self.status,
            "q": self.word,
            "run": self.run_id,
            "order": "slowest" if self.slowest else None,
        }
        return {key: value for key, value in {**told, **other}.items() if value is not None}

    def build(self, history: History, memo: dict[str, Any]) -> Mapping[str, str]:  # noqa: ARG002 - the protocol
        """Return its parts."""
        tasks = history.tasks(
            limit=_PAGE + 1,
            after_id=self.after,
            status=FAILED if self.status == pieces.FAILURES else self.status,
            name=self.word,
            run_id=self.run_id,
            order="slowest" if self.slowest else "recent",
        )
        shown = tasks[:_PAGE]
        pages = []
        if self.after is not None:
            pages.append(pieces.tasks_link("First page", **self.query()))
        if len(tasks) > _PAGE:
            pages.append(pieces.tasks_link("Next page", **self.query(after=shown[-1].id)))
        return {
            "filters": self._filters(history.counts(self.run_id)),
            "tasks": tag(
                "section",
                task_parts.tasks_table(shown) if shown else pieces.empty("No such tasks."),
                pieces.pages(pages),
                aria_label="Tasks",
            ),
        }

    def _filters(self, counts: Mapping[str, int]) -> Html:
        items: list[tuple[str | None, str, int]] = [(None, "all", sum(counts.values()))]
        known = (*OPEN, *ENDED)
        foreign = sorted(counts.keys() - known)
        items += [
            (status, pieces.word_for(status), counts[status]) for status in (*known, *foreign) if counts.get(status)
        ]
        failures = [counts[status] for status in FAILED if counts.get(status)]
        if len(failures) > 1 or self.status == pieces.FAILURES:
            items.append((pieces.FAILURES, pieces.word_for(pieces.FAILURES), sum(failures)))
        elif self.status is not None and self.status not in counts:
            items.append((self.status, pieces.word_for(self.status), 0))
        links = []
        for status, word, count in items:
            link = pieces.tasks_link((word, " ", tag("span", f"{count:,}")), **{**self.query(), "status": status})
            if status == self.status:
                link = Html(link.replace("<a ", '<a aria-current="page" ', 1))
            links.append(tag("li", link, data_key=f"s{word}"))
        return tag("nav", tag("ul", *links, class_="filters"), aria_label="Status")


@dataclass(frozen=True, slots=True)
class TaskView:
    """Everything about one task."""

    task_id: int

    rest_s = 0.0

    @property
    def path(self) -> str:
        """Its address."""
        return f"/tasks/{self.task_id}"

    def build(self, history: History, memo: dict[str, Any]) -> Mapping[str, str]:  # noqa: ARG002 - the protocol
        """Return its parts.

        Raises:
            pieces.Missing: There is no such task.
        """
        task = history.task(self.task_id)
        if task is None:
            raise pieces.Missing(_GONE.format("task"))
        attempts = history.attempts(self.task_id)
        logs = history.logs(self.task_id, limit=_LOGS, newest=True)
        return {
            "task": task_parts.task_head(task),
            "error": pieces.headed("Traceback", pieces.long_text(task.error, "Traceback"), id_="error-title")
            if task.error
            else "",
            "result": pieces.headed("Result", pieces.long_text(task.result, "Result"), id_="result-title")
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
    rest_s = 0.0

    def build(self, history: History, memo: dict[str, Any]) -> Mapping[str, str]:  # noqa: ARG002 - the protocol
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

    rest_s = 2.0

    @property
    def path(self) -> str:
        """Its address."""
        return f"/runs/{self.run_id}"

    def build(self, history: History, memo: dict[str, Any]) -> Mapping[str, str]:
        """Return its parts.

        Raises:
            pieces.Missing: There is no such run.
        """
        run = history.run(self.run_id)
        if run is None:
            raise pieces.Missing(_GONE.format("run"))
        failures = _failures(history, run, 20, memo)
        more = pieces.tasks_link("all failures", status=pieces.FAILURES, run=self.run_id)
        return {
            "spoken": run_parts.spoken(run),
            "run": run_parts.run_head(run, _rate(run, memo)),
            "pictures": _pictures(history, run, memo),
            "groups": _groups(history, run, memo),
            "failures": pieces.headed(
                "Last failures",
                run_parts.failures_list(failures),
                more=more if failures else None,
                id_="failures-title",
            ),
            "environment": pieces.headed("Environment", fragments.circumstances(run), id_="environment-title"),
        }
