"""What a page keeps between two builds: rates, the places of rows, and slow answers.

Runs in the thread that builds the page.
"""

from __future__ import annotations

from collections.abc import Sequence
from time import time
from typing import TYPE_CHECKING, Final

from pipeloom.data.clock import unix_time, utc_of
from pipeloom.data.rates import Forecast, Pace, Running
from pipeloom.show.fragments import when
from pipeloom.show.html import Html, join, tag
from pipeloom.show.report_page import pictures_of
from pipeloom.show.tasks import in_place
from pipeloom.statuses import INTERRUPTED, RUNNING
from pipeloom.web import pieces, run_parts

if TYPE_CHECKING:
    from pipeloom.history import ErrorGroup, RunFigures, RunRow, TaskRow
    from pipeloom.web.answers import Answer, Memo

__all__ = ["figures", "kinds", "pictures", "slots", "speed"]

_OLD_S: Final = 10.0  # older figures are shown with their time


def speed(run: RunRow, running: Sequence[TaskRow], at_once: int, memo: Memo) -> run_parts.Speed:
    """Return the rate over the last ten seconds, or of the whole run when it is over, and the time left.

    Args:
        run: The run.
        running: Running tasks, or some of them: the progress of each counts.
        at_once: How many tasks are running in all.
        memo: The memo of the view.
    """
    ended = run.ended - run.skipped
    if run.status != RUNNING:
        return run_parts.Speed(ended / run.elapsed_s if run.elapsed_s else 0.0)
    began = unix_time(run.started_at)
    if began is None:
        return run_parts.Speed(0.0)
    if memo.kept.get("paced") != run.run_id:
        memo.kept["paced"], memo.kept["pace"] = run.run_id, (Pace(began), Forecast(began))
    pace, forecast = memo.kept["pace"]
    now, left_s = time(), None
    if run.expected is not None:
        states = [Running(task.elapsed_s or 0.0, task.progress) for task in running]
        left_s = forecast.left_s(now, ended, run.expected - run.ended, states, at_once)
    return run_parts.Speed(pace.rate(now, ended, at_once), left_s)


def slots(tasks: Sequence[TaskRow], count: int, memo: Memo) -> list[TaskRow | None]:
    """Return the running tasks, each in its place of the last build, with ``None`` for a free place.

    Args:
        tasks: The running tasks, longest-running first.
        count: The number of places, one for each worker; 0 if unknown.
        memo: The memo of the view.
    """
    by_id = {task.id: task for task in tasks}
    # A task that has ended may briefly seem to be running, beside its worker's next one.
    placed = in_place(memo.kept.get("slots", ()), list(by_id), count or len(tasks))
    memo.kept["slots"] = placed
    rows = [None if number is None else by_id[number] for number in placed]
    return rows + [None] * (count - len(rows)) if count else [task for task in rows if task is not None]


def figures(run: RunRow, memo: Memo) -> Answer[RunFigures] | None:
    """Return the figures of a run, as far as they are known; those of a finished run are read once."""
    is_over = run.status != RUNNING
    return memo.ask(
        memo.desk.figures,
        ("figures", run.run_id, run.started_at),
        lambda history: history.figures(run),
        version=(run.status, run.finished_at, run.ended) if is_over else None,
        since=0.0 if is_over else None,
    )


def pictures(run: RunRow, found: Answer[RunFigures] | None, *, with_lanes: bool = True) -> Html:
    """Return the pictures of the report, or a note that they are being prepared.

    Args:
        run: The run.
        found: Its figures.
        with_lanes: Whether to include the timeline.
    """
    if found is None:
        if not run.ended - run.skipped:
            return Html("")
        text = f"Being computed from {run.ended - run.skipped:,} tasks. They will appear here automatically."
        return pieces.headed("Figures", tag("p", text, class_="note coming", role="status"), id_="figures-title")
    drawn = pictures_of(found.value, with_lanes=with_lanes)
    if drawn and not found.is_current and time() - found.at > _OLD_S:
        drawn = join(drawn, tag("p", "The figures are from ", when(utc_of(found.at)), ".", class_="note"))
    return drawn


def kinds(run: RunRow, limit: int, rest: Html, memo: Memo) -> Html:
    """Return the failures of a run, counted by kind.

    Args:
        run: The run.
        limit: How many kinds to show.
        rest: Says where the others are, if there are more.
        memo: The memo of the view.
    """
    failed = run.not_done + (run.status == INTERRUPTED)  # a run that died left some behind
    found: Answer[list[ErrorGroup]] | None = None
    if failed:
        found = memo.ask(
            memo.desk.lists,
            ("kinds", run.run_id, run.started_at, limit),
            lambda history: history.error_groups(run_id=run.run_id, limit=limit + 1),
            version=(run.status, failed),
            since=0.0,
        )
    groups: Sequence[ErrorGroup] = found.value if found is not None else ()
    if failed and found is None:
        inside = pieces.empty(f"{failed:,} failures are being counted by kind. They will appear automatically.")
    else:
        inside = run_parts.kinds_list(groups[:limit], run.run_id, rest if len(groups) > limit else None)
    more = pieces.tasks_link("all failures", status=pieces.FAILURES, run=run.run_id) if failed else None
    return pieces.headed("Failures by kind", inside, more=more, id_="kinds-title")
