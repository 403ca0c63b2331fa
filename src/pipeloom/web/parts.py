"""The parts of a page, as HTML: each is built from typed rows, the same for the first load and for live news."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode

from pipeloom.pace import duration, per_second, time_left
from pipeloom.text import clean
from pipeloom.web.html import Html, block, join, tag

if TYPE_CHECKING:
    from pipeloom.history import AttemptRow, ErrorGroup, LogRow, RunRow, TaskDetail, TaskRow

__all__ = [
    "Missing",
    "attempts_table",
    "badge",
    "empty",
    "failures_table",
    "groups_table",
    "link_to_tasks",
    "logs_table",
    "not_there",
    "notice",
    "run_card",
    "running_table",
    "runs_table",
    "spoken",
    "task_card",
    "tasks_table",
    "word_for",
]

_WORDS: Final = {"error": "failed", "timed_out": "timed out", "failures": "all failures"}
_BAD: Final = ("error", "timed_out")


class Missing(Exception):  # noqa: N818 - not an error of the program: a page that is not there
    """What the address names is not in the ledger."""


def notice(problem: str) -> Html:
    """Return why there is nothing new, or nothing at all; empty when there is no problem."""
    if not problem:
        return Html("")
    return tag(
        "div",
        tag("p", tag("strong", "The database cannot be read now.")),
        tag("p", problem, "."),
        tag("p", "This page looks again twice a second; anything below is from the last good look.", class_="dim"),
        class_="card notice",
    )


def not_there(text: str) -> Html:
    """Return that what the page was about is gone: another file may have taken the place of the old one."""
    return tag("div", tag("p", tag("strong", text)), class_="card notice")


def empty(text: str) -> Html:
    """Return a line that says that there is nothing."""
    return tag("p", text, class_="empty")


def word_for(status: str) -> str:
    """Return a status in words."""
    return _WORDS.get(status, clean(status, 40))


def badge(status: str) -> Html:
    """Return a status in words, with its sign and colour."""
    known = status if status.isidentifier() else ""
    return tag("span", word_for(status), class_=f"badge s-{known}")


def headed(title: str, inside: Iterable[Html] | Html, *, more: Html | None = None, id_: str) -> Html:
    """Return a card with a heading."""
    heading = tag("h2", title, id=id_)
    return tag(
        "section",
        tag("div", heading, tag("span", more, class_="more") if more else None, class_="head"),
        inside if isinstance(inside, Html) else join(inside),
        class_="card",
        aria_labelledby=id_,
    )


def table(label: str, columns: Sequence[tuple[str, str]], rows: Iterable[Html]) -> Html:
    """Return a table; a column is (title, classes)."""
    head = (tag("th", title, scope="col", class_=kind or None) for title, kind in columns)
    return tag(
        "table",
        tag("caption", label, class_="hidden-text"),
        tag("thead", tag("tr", *head)),
        tag("tbody", *rows),
    )


# --- times ---


def epoch(at: str | None) -> float | None:
    """Return seconds since 1970; ``None`` for what is no time: a worker may have sent anything."""
    try:
        return datetime.fromisoformat(at or "").timestamp()
    except (ValueError, OverflowError):
        return None


def when(at: str | None) -> Html:
    """Return an instant as people read it, in UTC."""
    if at is None:
        return Html("")
    known = epoch(at) is not None
    return tag("time", at[:19].replace("T", " ") if known else clean(at, 40), datetime=at if known else None)


def age(elapsed_s: float | None, started_at: str | None, *, running: bool) -> Html | str:
    """Return time taken; for what is running an element that the page's script lets grow."""
    since = epoch(started_at) if running else None
    text = duration(elapsed_s) if elapsed_s is not None else ""
    return tag("span", text, data_since=f"{since:.1f}") if since is not None else text


# --- links ---


def task_link(task: TaskRow) -> Html:
    """Return a task's name, leading to its page."""
    return tag("a", clean(task.name, 200) or f"task {task.id}", href=f"/tasks/{task.id}")


def link_to_tasks(text: Any, **query: Any) -> Html:
    """Return a link to the list of tasks."""
    told = urlencode({key: value for key, value in query.items() if value is not None})
    return tag("a", text, href=f"/tasks?{told}" if told else "/tasks")


# --- a run ---


def title_of(run: RunRow) -> str:
    """Return what a run is called."""
    return f"Run {run.run_id}" + (f" of {clean(run.pipeline, 100)}" if run.pipeline else "")


def share_of(run: RunRow) -> float | None:
    """Return how much of a run is dealt with, 0..1; ``None`` when the number of inputs is not known."""
    return min(run.ended / run.expected, 1.0) if run.expected else None


def spoken(run: RunRow | None) -> Html:
    """Return what a screen reader is told by itself: in steps of ten per cent, not at every number."""
    if run is None:
        return Html("")
    text = f"{title_of(run)}: {word_for(run.status)}"
    share = share_of(run)
    if run.status == "running" and share is not None:
        text += f", {int(share * 10) * 10} per cent"
    bad = run.failed + run.timed_out
    if bad:  # one, some, more: a number that grows by one every second would never let it be silent
        text += ", with failures" if run.status == "running" else f", {bad:,} failed"
    return Html(tag("span", text))


def run_card(run: RunRow, rate: float, *, running: int | None = None, level: str = "h1") -> Html:
    """Return a run's state: its name, how far it is, its figures.

    Args:
        run: The run.
        rate: Tasks per second.
        running: How many tasks are running now, when known.
        level: The heading's element.
    """
    alive = run.status == "running"
    share = share_of(run)
    percent = None if share is None else f"{share:.0%}" if share < 0.995 or not alive else f"{share:.1%}"
    browser_title = f"{percent} · {title_of(run)}" if alive and percent else title_of(run)
    head = tag(
        "div",
        tag(level, title_of(run), id="run-title"),
        badge(run.status),
        tag("span", "since " if alive else "", when(run.started_at), " UTC", class_="dim"),
        class_="head",
        data_title=f"{browser_title} · pipeloom",
    )
    figures = [_figure(f"of {run.expected:,} inputs" if run.expected else "inputs", f"{run.ended:,}")]
    if percent:
        figures.insert(0, _figure("finished", percent))
    figures.append(_figure("done", f"{run.done:,}"))
    for word, number, bad in (
        ("failed", run.failed, True),
        ("timed out", run.timed_out, True),
        ("cancelled", run.cancelled, False),
        ("skipped", run.skipped, False),
    ):
        if number or word == "failed":
            figures.append(_figure(word, f"{number:,}", bad=bad and number > 0))
    if alive and running is not None:
        figures.append(_figure("running", f"{running:,}"))
    figures.append(_figure("tasks per second", per_second(rate).removesuffix("/s")))
    figures.append(_figure("elapsed", age(run.elapsed_s, run.started_at, running=alive)))
    if alive and (left := time_left(rate, run.expected, run.ended)):
        figures.append(_figure("left, about", left.removesuffix(" left")))
    died = (
        tag("p", "Its process ended without closing it. Call the program again to do the rest.", class_="message")
        if run.is_unclosed
        else None
    )
    bar = _run_bar(run, share) if share is not None else None
    return tag(
        "section",
        head,
        died,
        bar,
        tag("dl", *figures, class_="figures"),
        class_="card",
        aria_labelledby="run-title",
    )


def _figure(word: str, value: Any, *, bad: bool = False) -> Html:
    return tag("div", tag("dt", word), tag("dd", value), class_="bad" if bad else None)


def _run_bar(run: RunRow, share: float) -> Html:
    whole = max(run.expected or 0, run.ended, 1)
    at = 0.0
    rects = []
    for kind, number in (
        ("skipped", run.skipped),
        ("done", run.done),
        ("bad", run.failed + run.timed_out),
        ("other", run.cancelled),
    ):
        if number:
            width = number / whole * 100
            rects.append(_rect(kind, at, width))
            at += width
    return _bar(rects, share, f"{run.ended:,} of {whole:,} inputs are finished", "bar")


def _rect(kind: str, left: float, width: float) -> Html:
    return Html(
        tag(
            "rect", class_=f"f-{kind}", data_key=kind, x=f"{left:.2f}%", y="0", width=f"{width:.2f}%", height="100%"
        )
        + "</rect>"
    )


def _bar(rects: Iterable[Html], share: float, label: str, kind: str) -> Html:
    return tag(
        "svg",
        *rects,
        class_=kind,
        role="progressbar",
        aria_valuemin=0,
        aria_valuemax=100,
        aria_valuenow=int(share * 100),
        aria_label=label,
    )


def runs_table(runs: Sequence[RunRow]) -> Html:
    """Return runs, the latest first."""
    columns = (
        ("run", "number"),
        ("pipeline", ""),
        ("status", ""),
        ("started (UTC)", "wide"),
        ("time", "number"),
        ("done", "number"),
        ("failed", "number"),
        ("skipped", "number wide"),
    )
    return table("Runs", columns, map(_run_row, runs)) if runs else empty("No runs yet.")


def _run_row(run: RunRow) -> Html:
    return tag(
        "tr",
        tag(
            "td", tag("a", run.run_id, href=f"/runs/{run.run_id}", aria_label=f"run {run.run_id}"), class_="number"
        ),
        tag("td", clean(run.pipeline or "", 100), class_="name"),
        tag("td", badge(run.status)),
        tag("td", when(run.started_at), class_="when wide"),
        tag("td", age(run.elapsed_s, run.started_at, running=run.status == "running"), class_="number"),
        tag("td", f"{run.done:,}", class_="number"),
        tag("td", f"{run.failed + run.timed_out:,}", class_="number"),
        tag("td", f"{run.skipped:,}", class_="number wide"),
        data_key=f"r{run.run_id}",
    )


# --- tasks ---


def running_table(tasks: Sequence[TaskRow]) -> Html:
    """Return what runs now."""
    columns = (("task", ""), ("progress", ""), ("message", "wide"), ("for", "number"))
    return table("Running tasks", columns, map(_running_row, tasks)) if tasks else empty("Nothing is running.")


def _progress(task: TaskRow) -> Html:
    bar = _bar([_rect("done", 0, task.progress * 100)], task.progress, "progress", "bar small-bar")
    return Html(f"{bar}{tag('span', f'{task.progress:.0%}')}")


def _running_row(task: TaskRow) -> Html:
    return tag(
        "tr",
        tag("td", task_link(task), class_="name"),
        tag("td", _progress(task), class_="when"),
        tag("td", clean(task.message or "", 200), class_="message wide"),
        tag("td", age(task.elapsed_s, task.started_at, running=True), class_="number"),
        data_key=f"t{task.id}",
    )


def tasks_table(tasks: Sequence[TaskRow]) -> Html:
    """Return tasks as a list."""
    columns = (
        ("id", "number wide"),
        ("task", ""),
        ("status", ""),
        ("message", "wide"),
        ("rows", "number wide"),
        ("time", "number"),
    )
    return table("Tasks", columns, map(_task_row, tasks))


def _task_row(task: TaskRow) -> Html:
    running = task.status == "running"
    return tag(
        "tr",
        tag("td", task.id, class_="number wide"),
        tag("td", task_link(task), class_="name"),
        tag("td", badge(task.status), Html(f" {_progress(task)}") if running else None),
        tag("td", clean(task.message or "", 200), class_="message wide"),
        tag("td", f"{task.rows_written:,}" if task.rows_written else "", class_="number wide"),
        tag("td", age(task.elapsed_s, task.started_at, running=running), class_="number"),
        data_key=f"t{task.id}",
    )


def failures_table(tasks: Sequence[TaskDetail]) -> Html:
    """Return failed tasks; each opens to its traceback."""
    columns = (("task", ""), ("what went wrong", ""), ("at (UTC)", "wide"))
    return table("Failed tasks", columns, map(_failure_row, tasks)) if tasks else empty("No failures.")


def _failure_row(task: TaskDetail) -> Html:
    return tag(
        "tr",
        tag("td", task_link(task), class_="name"),
        tag("td", _opening(task.message, task.error, task.status, f"Traceback of {task.name}"), class_="message"),
        tag("td", when(task.finished_at), class_="when wide"),
        data_key=f"f{task.id}-{task.attempt}",
    )


def _opening(message: str | None, traceback: str | None, status: str, label: str) -> Html:
    """Return a message that opens to its traceback, where there is one."""
    text = clean(message or word_for(status), 300)
    word = Html("") if status == "error" else Html(f"{badge(status)} ")
    if not traceback:
        return tag("span", word, text)
    return tag("details", tag("summary", word, text), block(traceback, aria_label=clean(label, 100)))


def groups_table(groups: Sequence[ErrorGroup]) -> Html:
    """Return failures that are the same one, the most frequent first."""
    columns = (("tasks", "number"), ("error", ""), ("for example", "wide"))
    return table("Errors by kind", columns, map(_group_row, groups)) if groups else empty("No errors.")


def _group_row(group: ErrorGroup) -> Html:
    kind = f"{group.exception}: " if group.exception else ""
    text = tag(
        "span",
        badge(group.status) if group.status not in _BAD[:1] else None,
        " " if group.status not in _BAD[:1] else None,
        tag("strong", kind) if kind else None,
        clean(group.message, 300),
    )
    where = tag("div", tag("code", clean(group.where, 200)), class_="dim") if group.where else None
    return tag(
        "tr",
        tag("td", f"{group.count:,}", class_="number"),
        tag("td", text, where, class_="name"),
        tag("td", task_link(group.example), class_="name wide"),
        data_key=f"g{group.status}-{group.exception}-{group.message}"[:300],
    )


# --- one task ---


def task_card(task: TaskDetail) -> Html:
    """Return everything about one task but its tries and logs."""
    running = task.status == "running"
    facts: list[tuple[str, Any]] = [
        ("message", clean(task.message, 2_000) if task.message else None),
        ("progress", _progress(task) if running else None),
        ("time", age(task.elapsed_s, task.started_at, running=running) or None),
        ("started", Html(f"{when(task.started_at)} UTC") if task.started_at else None),
        ("finished", Html(f"{when(task.finished_at)} UTC") if task.finished_at else None),
        ("rows written", f"{task.rows_written:,}"),
        ("try", task.attempt),
        ("run", None if task.run_id is None else tag("a", task.run_id, href=f"/runs/{task.run_id}")),
        ("pipeline", task.pipeline),
        ("key", None if task.key is None else tag("code", clean(task.key, 2_000))),
        ("worker", task.worker),
        ("checkpoint", "kept: the next try goes on from it" if task.has_state else None),
    ]
    told = [
        Html(tag("dt", word) + tag("dd", value, aria_label=None))
        for word, value in facts
        if value not in (None, "")
    ]
    name = clean(task.name, 300) or f"task {task.id}"
    head = tag(
        "div",
        tag("h1", name, id="task-title"),
        badge(task.status),
        tag("span", f"task {task.id}", class_="dim"),
        class_="head",
        data_title=f"{clean(task.name, 60)} · pipeloom",
    )
    return tag("section", head, tag("dl", *told, class_="facts"), class_="card", aria_labelledby="task-title")


def attempts_table(attempts: Sequence[AttemptRow]) -> Html:
    """Return the tries of one task, the latest first."""
    columns = (
        ("try", "number"),
        ("run", "number"),
        ("status", ""),
        ("what it said", ""),
        ("started (UTC)", "wide"),
        ("time", "number"),
    )
    return table("Tries", columns, map(_attempt_row, attempts))


def _attempt_row(attempt: AttemptRow) -> Html:
    label = f"Traceback of try {attempt.attempt}"
    error = None if attempt.is_present else attempt.error  # the present one's is shown in full on the same page
    return tag(
        "tr",
        tag("td", attempt.attempt, class_="number"),
        tag("td", attempt.run_id, class_="number"),
        tag("td", badge(attempt.status)),
        tag(
            "td",
            _opening(attempt.message, error, "error", label) if attempt.message or error else None,
            class_="message",
        ),
        tag("td", when(attempt.started_at), class_="when wide"),
        tag("td", age(attempt.elapsed_s, attempt.started_at, running=attempt.status == "running"), class_="number"),
        data_key=f"a{attempt.run_id}-{attempt.attempt}",
    )


def logs_table(logs: Sequence[LogRow]) -> Html:
    """Return log records in the order in which they came."""
    columns = (("at (UTC)", ""), ("level", ""), ("logger", "wide"), ("message", ""))
    inside = table("Log records", columns, map(_log_row, logs))
    return tag("div", inside, class_="log log-pane", data_follow=True, tabindex=0, role="region", aria_label="Log")


def _log_row(log: LogRow) -> Html:
    level = log.level.lower() if log.level.isidentifier() else ""
    message = tag("span", clean(log.message, 2_000))
    if log.error:
        message = tag(
            "details", tag("summary", clean(log.message, 2_000)), block(log.error, aria_label="Traceback")
        )
    return tag(
        "tr",
        tag("td", tag("time", clean(log.at[11:23], 12)), class_="when mono"),
        tag("td", log.level, class_=f"l-{level}"),
        tag("td", clean(log.logger or "", 60), class_="dim wide"),
        tag("td", message, class_="name"),
        data_key=f"l{log.id}",
    )
