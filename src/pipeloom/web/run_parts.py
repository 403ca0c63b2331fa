"""The parts of a page that are about runs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from pipeloom.data.kinds import short
from pipeloom.data.rates import age as calm_age
from pipeloom.data.rates import duration, per_second
from pipeloom.data.text import clean
from pipeloom.data.totals import SKIPPED, totals
from pipeloom.show import fragments
from pipeloom.show.html import Html, join, tag
from pipeloom.statuses import DONE, ERROR, RUNNING
from pipeloom.web.pieces import (
    age,
    badge,
    bar,
    clock,
    empty,
    in_a_line,
    kind_of,
    long_text,
    rect,
    table,
    tasks_link,
    word_for,
)

if TYPE_CHECKING:
    from pipeloom.history import ErrorGroup, RunFigures, RunRow, TaskRow

__all__ = ["Speed", "kind_head", "kinds_list", "run_head", "runs_table", "spoken"]

_LEAST: Final = 0.4  # percent of a bar's width


class Speed(NamedTuple):
    """How fast a run is: tasks per second, and the time left in seconds, if it can be estimated."""

    per_s: float
    left_s: float | None = None


def _title_of(run: RunRow) -> str:
    return clean(run.title or "Unnamed run", 200)


def _share_of(run: RunRow) -> float | None:
    """Return the share of a run that has ended, 0..1; ``None`` if the number of inputs is unknown."""
    return min(run.ended / run.expected, 1.0) if run.expected else None


def spoken(run: RunRow) -> Html:
    """Return what a screen reader announces: steps of ten percent rather than every number."""
    text = f"Run {run.run_id} {word_for(run.status)}"
    share = _share_of(run)
    if run.status == RUNNING and share is not None:
        text += f", {int(share * 10) * 10} percent"
    if run.errors:  # a number that grows every second would be announced constantly
        text += ", with failures" if run.status == RUNNING else f", {run.errors:,} failed"
    return tag("span", text)


def run_head(run: RunRow, speed: Speed, found: RunFigures | None, *, running: int | None = None) -> Html:
    """Return a run's state: its name, its progress and its figures.

    Args:
        run: The run.
        speed: How fast it is.
        found: The figures of its attempts, as far as they are known.
        running: How many tasks are running now, if known.
    """
    share = _share_of(run)
    percent = f"{int(share * 100)} % · " if share is not None and run.status == RUNNING else ""
    kicker = tag(
        "p",
        tag("a", f"run {run.run_id}", href=f"/runs/{run.run_id}"),
        " · ",
        fragments.when(run.started_at),
        " · ",
        tasks_link("its tasks", run=run.run_id),
        " · ",
        tasks_link("the slowest", run=run.run_id, order="slowest"),
        class_="kicker",
        data_title=f"{percent}run {run.run_id}, {_title_of(run)} · pipeloom",
    )
    heading = tag("h1", _title_of(run), id="run-title")
    progress = _run_bar(run, share) if share is not None else None
    figures = tag("dl", *_figures(run, speed, found, running), class_="totals")
    return tag("section", kicker, heading, fragments.verdict(run), progress, figures, aria_labelledby="run-title")


def _figures(run: RunRow, speed: Speed, found: RunFigures | None, running: int | None) -> Iterable[Html]:
    """Return the counts, each with its name; those of the report, plus those that change while it runs."""
    alive = run.status == RUNNING
    shown: list[tuple[str, str, Any]] = [
        (kind, word.capitalize(), f"{number:,}") for kind, word, number in totals(run, always=(DONE, ERROR))
    ]
    if alive and running is not None:
        shown.append((RUNNING, "Running", f"{running:,}"))
    if run.expected is not None and (alive or run.expected != run.ended):
        shown.append(("left", "Left", f"{max(run.expected - run.ended, 0):,}"))
    shown.append(("rate", "Rate", per_second(speed.per_s)))
    shown.append(("elapsed", "So far" if alive else "Took", age(run.elapsed_s, run.started_at, running=alive)))
    if alive and run.expected is not None:  # its place is kept while it is unknown, so that nothing moves
        shown.append(("eta", "Time left", "…" if speed.left_s is None else calm_age(speed.left_s)))
    shown += _durations(run, found)
    for kind, name, value in shown:
        quiet = kind == ERROR and not run.failed
        yield tag("div", tag("dt", name), tag("dd", value), class_=None if quiet else kind, data_key=kind)


def _durations(run: RunRow, found: RunFigures | None) -> Iterable[tuple[str, str, Any]]:
    """Return how long tasks took; the places are kept while that is unknown."""
    is_known = found is not None and found.durations.total
    if run.status != RUNNING and not (run.ended - run.skipped if found is None else is_known):
        return
    took = found.durations if found is not None and is_known else None
    yield "median", "Median", duration(took.median) if took else "…"
    yield "p95", "95 % under", duration(took.p95) if took else "…"
    yield "longest", "Longest", duration(took.longest) if took else "…"


def _run_bar(run: RunRow, share: float) -> Html:
    whole = max(run.expected or 0, run.ended, 1)
    widths = {
        SKIPPED: run.skipped / whole * 100,
        DONE: run.done / whole * 100,
        "bad": max(run.errors / whole * 100, _LEAST)
        if run.errors
        else 0.0,  # one in ten thousand must still be visible
        "other": run.cancelled / whole * 100,
    }
    at = min(100.0 - sum(widths.values()), 0.0)
    rects = []
    for kind, width in widths.items():
        if width:
            rects.append(rect(kind, at, width))
            at += width
    return bar(rects, share, f"{run.ended:,} of {whole:,} inputs processed")


def runs_table(runs: Sequence[RunRow]) -> Html:
    """Return runs, latest first."""
    columns = (
        ("Run", ""),
        ("Pipeline", "name"),
        ("Status", ""),
        ("Started (UTC)", "wide"),
        ("Time", "number wide"),
        ("Done", "number"),
        ("Failed", "number"),
        ("Skipped", "number wide"),
    )
    return table("Runs", columns, map(_run_row, runs)) if runs else empty("No runs yet.")


def _run_row(run: RunRow) -> Html:
    return tag(
        "tr",
        tag("th", tag("a", run.run_id, href=f"/runs/{run.run_id}", aria_label=f"Run {run.run_id}"), scope="row"),
        tag("td", clean(run.title or "", 100), class_="name"),
        tag("td", badge(run.status)),
        tag("td", fragments.when(run.started_at, zone=False), class_="when wide"),
        tag("td", age(run.elapsed_s, run.started_at, running=run.status == RUNNING), class_="number wide"),
        tag("td", f"{run.done:,}", class_="number"),
        tag("td", f"{run.errors:,}", class_="number"),
        tag("td", f"{run.skipped:,}", class_="number wide"),
        data_key=f"r{run.run_id}",
    )


def kinds_list(groups: Sequence[ErrorGroup], run_id: int, left_out: Html | None) -> Html:
    """Return failures by kind, most frequent first; each unfolds to an example, and links to its tasks.

    Args:
        groups: The kinds to show.
        run_id: Their run.
        left_out: Says where the others are, if there are more.
    """
    if not groups:
        return empty("No failures.")
    return join(
        tag("ul", *(_kind(group, run_id) for group in groups), class_=f"folds {_width(groups[0].count)}".strip()),
        left_out,
    )


def _width(count: int) -> str:
    """Return the class of a list by its largest count, so that the texts after the counts are aligned."""
    return "few" if count < 1000 else "many" if count >= 100_000 else ""


def _kind(group: ErrorGroup, run_id: int) -> Html:
    summary = tag(
        "summary",
        tag("span", f"{group.count:,}", Html("&times;"), class_="count"),
        tag("span", *_said(group), tag("span", _where(group), class_="where"), class_="reason"),
        tag("span", "last ", clock(group.last_at), class_="at wide"),
    )
    tasks = f"All {group.count:,} tasks of this kind" if group.count > 1 else "Show the task in the list"
    link = tag("p", tasks_link(tasks, kind=group.kind, run=run_id))
    fold = tag("details", summary, tag("div", link, *_evidence(group), class_="evidence"))
    return tag("li", fold, data_key=f"g{group.status}-{group.kind}")


def kind_head(group: ErrorGroup, more: Html) -> Html:
    """Return the heading above the tasks of a kind: what it is, and an example."""
    heading = tag("h2", *_said(group), id="kind-title", class_="reason")
    count = tag("p", f"{group.count:,} {'task' if group.count == 1 else 'tasks'} ", _where(group), class_="note")
    fold = tag(
        "details", tag("summary", "An example, and its traceback"), tag("div", *_evidence(group), class_="evidence")
    )
    return tag("section", heading, count, more, fold, aria_labelledby="kind-title", class_="kind")


def _said(group: ErrorGroup) -> Iterable[Html | str]:
    name = clean(group.exception or word_for(group.status), 120)
    yield tag("b", name, class_=kind_of(group.status))
    if group.message and group.message != name:
        yield f": {clean(group.message, 400)}"


def _where(group: ErrorGroup) -> str:
    place = f"at {clean(short(group.where), 200)}" if group.where else ""
    return f"{word_for(group.status)} {place}".strip() if group.exception else place


def _evidence(group: ErrorGroup) -> Iterable[Html | None]:
    example, last = group.example, group.last
    yield tag("p", "For example, ", _named(example), f": {in_a_line(example.message, 400)}")
    if group.count > 1:
        said = f": {in_a_line(last.message, 400)}" if last.message != example.message else "."
        yield tag("p", "The last one, ", fragments.when(group.last_at), ", was ", _named(last), said)
    else:
        yield tag("p", "It ended ", fragments.when(group.last_at), ".")
    if group.where:
        yield tag("p", "Raised at ", tag("code", clean(group.where, 300)), ".")
    if group.traceback:
        yield long_text(group.traceback, f"Traceback of {clean(example.name, 100)}")


def _named(task: TaskRow) -> Html:
    return tag("a", clean(task.name, 200) or f"task {task.id}", href=f"/tasks/{task.id}")
