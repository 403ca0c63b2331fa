"""The parts of a page that are about tasks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from pipeloom.data.text import clean
from pipeloom.show import fragments
from pipeloom.show.html import Html, facts, tag
from pipeloom.statuses import RUNNING
from pipeloom.web.pieces import (
    ONE_LINE,
    age,
    badge,
    clock,
    empty,
    in_two_lines,
    long_text,
    names_of,
    said_by,
    small_bar,
    table,
    tasks_link,
)

if TYPE_CHECKING:
    from pipeloom.history import AttemptRow, LogRow, TaskDetail, TaskRow

__all__ = ["attempts_table", "logs_table", "running_table", "task_head", "tasks_table"]


def running_table(placed: Sequence[TaskRow | None], waiting: Sequence[TaskRow]) -> Html:
    """Return what is running, each task in its place, and what is waiting for a retry."""
    columns = (("Task", "name"), ("Progress", ""), ("Message", "message wide"), ("Time", "number"))
    tasks = [*placed, *waiting]
    known = [task for task in tasks if task is not None]
    names = names_of(known)
    free = _FREE_OF_TWO if any(len(task.name) > ONE_LINE for task in known) else _FREE
    rows = (_running_row(task, names) if task is not None else free for task in tasks)
    return table("Running tasks", columns, rows) if tasks else empty("Nothing is running at the moment.")


# These keep the rows below in their places until the next task starts.
_FREE: Final = tag("tr", tag("td", Html("&#160;"), colspan=4), class_="free", aria_hidden="true")
_FREE_OF_TWO: Final = tag("tr", tag("td", Html("&#160;<br>&#160;"), colspan=4), class_="free", aria_hidden="true")


def _running_row(task: TaskRow, names: Mapping[int, Html]) -> Html:
    running = task.status == RUNNING
    return tag(
        "tr",
        tag("th", names[task.id], scope="row", class_="name"),
        tag("td", small_bar(task) if running else "waiting", class_="when"),
        tag("td", in_two_lines(said_by(None, task.message)), class_="message wide"),
        tag("td", age(task.elapsed_s, task.started_at, running=True) if running else None, class_="number"),
        data_key=f"t{task.id}",
    )


def tasks_table(tasks: Sequence[TaskRow]) -> Html:
    """Return tasks as a list."""
    has_rows = any(task.rows_written for task in tasks)
    columns = [("Task", "name"), ("Number", "number wide"), ("Status", ""), ("Message", "message wide")]
    columns += [("Rows", "number wide")] if has_rows else []
    columns += [("Time", "number")]
    names = names_of(tasks)
    return table("Tasks", columns, (_task_row(task, names[task.id], has_rows=has_rows) for task in tasks))


def _task_row(task: TaskRow, name: Html, *, has_rows: bool) -> Html:
    running = task.status == RUNNING
    said = said_by(task.exception, task.message)
    below = tag("span", said, class_="two-lines below") if said else None
    return tag(
        "tr",
        tag("th", name, below, scope="row", class_="name"),
        tag("td", task.id, class_="number wide"),
        tag("td", badge(task.status), (" ", small_bar(task)) if running else None, class_="status"),
        tag("td", in_two_lines(said), class_="message wide"),
        tag("td", f"{task.rows_written:,}", class_="number wide") if has_rows else None,
        tag("td", age(task.elapsed_s, task.started_at, running=running), class_="number"),
        data_key=f"t{task.id}",
    )


def task_head(task: TaskDetail, *, is_first: bool) -> Html:
    """Return everything about one task except its attempts and log; ``is_first``: it has had one attempt."""
    running = task.status == RUNNING
    told: list[tuple[str, Any]] = [
        ("Message", said_by(task.exception, task.message, 2_000)),
        ("Progress", small_bar(task) if running else None),
        ("Took" if not running else "So far", age(task.elapsed_s, task.started_at, running=running)),
        ("Started", fragments.when(task.started_at)),
        ("Ended", fragments.when(task.finished_at)),
        ("Rows written", f"{task.rows_written:,}{'' if is_first else ' in this attempt'}"),
        ("Try", task.attempt),
        ("Run", None if task.run_id is None else tag("a", task.run_id, href=f"/runs/{task.run_id}")),
        ("Pipeline", task.pipeline),
        (
            "Kind of failure",
            task.kind and tasks_link(("all tasks of kind ", tag("code", task.kind)), kind=task.kind),
        ),
        ("Raised at", task.place and tag("code", clean(task.place, 300))),
        ("Key", None if task.key is None else tag("code", clean(task.key, 2_000))),
        ("Worker", task.worker),
        ("Checkpoint", "stored: the next try continues from it" if task.has_state else None),
    ]
    name = clean(task.name, 300) or f"task {task.id}"
    kicker = tag("p", f"task {task.id} · ", badge(task.status), class_="kicker", data_title=f"{name} · pipeloom")
    heading = tag("h1", name, id="task-title")
    table_of_facts = facts((word, tag("span", value)) for word, value in told if value not in (None, ""))
    return tag("section", kicker, heading, table_of_facts, aria_labelledby="task-title")


def attempts_table(attempts: Sequence[AttemptRow]) -> Html:
    """Return the attempts of one task."""
    has_rows = any(attempt.rows_written for attempt in attempts)
    columns = [("Try", ""), ("Run", "number"), ("Status", ""), ("Message", "message"), ("Started (UTC)", "wide")]
    columns += [("Rows", "number")] if has_rows else []
    columns += [("Time", "number")]
    return table("Tries", columns, (_attempt_row(attempt, has_rows=has_rows) for attempt in attempts))


def _attempt_row(attempt: AttemptRow, *, has_rows: bool) -> Html:
    said = said_by(attempt.exception, attempt.message, 300) or Html("")
    if attempt.error and not attempt.is_present:  # the current one's is shown in full on the same page
        traceback = long_text(attempt.error, f"Traceback of try {attempt.attempt}")
        said = tag("details", tag("summary", said or "traceback"), tag("div", traceback, class_="evidence"))
    return tag(
        "tr",
        tag("th", attempt.attempt, scope="row"),
        tag("td", attempt.run_id, class_="number"),
        tag("td", badge(attempt.status)),
        tag("td", said, class_="message"),
        tag("td", fragments.when(attempt.started_at, zone=False), class_="when wide"),
        tag("td", f"{attempt.rows_written:,}", class_="number") if has_rows else None,
        tag("td", age(attempt.elapsed_s, attempt.started_at, running=attempt.status == RUNNING), class_="number"),
        data_key=f"a{attempt.run_id}-{attempt.attempt}-{attempt.is_present}",
    )


def logs_table(logs: Sequence[LogRow]) -> Html:
    """Return log records in the order in which they were logged."""
    columns = (("At (UTC)", ""), ("Level", ""), ("Logger", "wide"), ("Message", "name"))
    inside = table("Log records", columns, map(_log_row, logs))
    return tag("div", inside, class_="log", data_follow=True, tabindex=0, role="region", aria_label="Log records")


def _log_row(log: LogRow) -> Html:
    level = log.level.lower() if log.level.isidentifier() else ""
    message: Html | str = clean(log.message, 2_000)
    if log.error:
        traceback = long_text(log.error, "Traceback of a log record")
        message = tag("details", tag("summary", message), tag("div", traceback, class_="evidence"))
    return tag(
        "tr",
        tag("td", clock(log.at, exactly=True), class_="when"),
        tag("td", clean(log.level, 20), class_=f"l-{level}"),
        tag("td", clean(log.logger or "", 60), class_="note wide"),
        tag("td", message, class_="name"),
        data_key=f"l{log.id}",
    )
