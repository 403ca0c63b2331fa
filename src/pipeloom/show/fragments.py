"""Parts of a page about a run, as HTML: totals, failures, slowest tasks and circumstances.

Pure functions of what ``history`` returns, for both the one-file report and the web page.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Final

from pipeloom.data.clock import utc_text
from pipeloom.data.differing import shortened
from pipeloom.data.rates import duration, per_second
from pipeloom.data.text import clean, shorten
from pipeloom.data.totals import spelled, totals
from pipeloom.show.html import Html, block, facts, join, tag
from pipeloom.statuses import CANCELLED, DONE, ERROR, FAILED, INTERRUPTED, PROCESS_ENDED, RUNNING, TIMED_OUT

if TYPE_CHECKING:
    from pipeloom.history import ErrorGroup, RunFigures, RunRow, TaskRow
    from pipeloom.history.figures import SlowTask

__all__ = ["circumstances", "failures", "slowest", "totals_list", "tries", "verdict", "when"]

_TRACEBACK_LINES = 40
_LINE = 200
_NAME = 60  # characters: two lines on a narrow page
_SIGNS: Final[Mapping[str, str]] = {DONE: "✓", ERROR: "✗", RUNNING: "▶"}


def verdict(run: RunRow) -> Html:
    """Return a sentence that says how the run ended, or that it is still in progress."""
    told = _SENTENCES.get(run.status)
    sentence = told(run) if told is not None else f"Its status is {clean(run.status, 40)}."
    sign = tag("span", _SIGNS.get(run.status, "■"), class_="sign", aria_hidden="true")
    return tag(
        "p", sign, tag("span", sentence), class_=f"verdict {run.status if run.status in _SIGNS else 'stopped'}"
    )


def _all_done(run: RunRow) -> str:
    if not run.done:
        return "Finished: nothing was left to do." if run.skipped else "Finished: there was nothing to do."
    skipped = f"; {run.skipped:,} more had already been done" if run.skipped else ""
    return f"Finished: {_counted(run.done)} done{skipped}."


def _some_failed(run: RunRow) -> str:
    if not run.errors:
        return "Failed: the run ended with an error."
    return f"Finished with failures: {run.errors:,} of {_counted(run.ended)} failed."


def _in_progress(run: RunRow) -> str:
    return f"In progress: {_processed(run)} so far{f', {run.errors:,} failed' if run.errors else ''}."


def _cut_short(run: RunRow) -> str:
    how = PROCESS_ENDED if run.is_unclosed else "it was stopped early"
    return f"Interrupted: {how}, with {_processed(run)}. Run it again to do the rest."


def _called_off(run: RunRow) -> str:
    return f"Cancelled with {_processed(run)}. Run it again to do the rest."


_SENTENCES: Final[Mapping[str, Callable[[RunRow], str]]] = {
    RUNNING: _in_progress,
    DONE: _all_done,
    ERROR: _some_failed,
    CANCELLED: _called_off,
    INTERRUPTED: _cut_short,
}


def _processed(run: RunRow) -> str:
    of = f" of {run.expected:,}" if run.expected is not None else ""
    return f"{run.ended:,}{of} tasks processed"


def _counted(count: int) -> str:
    return f"{count:,} task" if count == 1 else f"{count:,} tasks"


def totals_list(run: RunRow, figures: RunFigures | None = None) -> Html:
    """Return the run's figures, each with its name; zeros that carry no information are left out."""
    shown = [(kind, word.capitalize(), f"{number:,}") for kind, word, number in totals(run)]
    if run.expected is not None and run.expected != run.ended:
        shown.append(("left", "Left", f"{max(run.expected - run.ended, 0):,}"))
    shown += [*_speed(run, figures), *(_work(figures) if figures is not None else ())]
    cells = (tag("div", tag("dt", name), tag("dd", value), class_=kind) for kind, name, value in shown)
    return tag("dl", *cells, class_="totals")


def _speed(run: RunRow, figures: RunFigures | None) -> Iterator[tuple[str, str, str]]:
    elapsed = run.elapsed_s if run.elapsed_s is not None else figures.span_s if figures else None
    if elapsed is None:
        return
    yield "elapsed", "So far" if run.status == RUNNING else "Took", duration(elapsed)
    ended = run.ended - run.skipped
    if ended and elapsed > 0:
        yield "rate", "Rate", per_second(ended / elapsed)


def _work(figures: RunFigures) -> Iterator[tuple[str, str, str]]:
    if figures.rows_written:
        yield "rows", "Rows written", f"{figures.rows_written:,}"
    if figures.attempts:
        yield "busy", "Workers busy", f"{figures.busy:.0%}".replace("%", " %")


def failures(
    groups: Sequence[ErrorGroup], names: Mapping[str, Sequence[str]] | None = None, *, all_by: str = ""
) -> Html:
    """Return one fold per kind of failure, with its traceback inside; empty if there are none.

    Args:
        groups: The kinds.
        names: Names of some tasks of each kind, by the kind's id.
        all_by: The command that prints all of them, without ``--kind ID``.
    """
    return join(_failure(group, (names or {}).get(group.kind, ()), all_by) for group in groups)


def _failure(group: ErrorGroup, names: Sequence[str], all_by: str) -> Html:
    name = clean(group.exception or spelled(group.status), 80)
    message = clean(group.message, 400)
    summary = tag(
        "summary",
        tag("span", f"{group.count:,}", Html("&times;"), class_="count"),
        tag(
            "span",
            tag("b", name, class_=group.status if group.status in FAILED else ERROR),
            f": {message}" if message and message != name else None,
            tag("span", "at ", tag("code", clean(group.where, 160)), class_="where") if group.where else None,
            class_="reason",
        ),
    )
    traceback = block(_trimmed(group.traceback)) if group.traceback else None
    inside = [*map(_paragraph, _evidence(group)), traceback, *_some(names, group, all_by)]
    return tag("details", summary, tag("div", inside, class_="evidence"))


def _evidence(group: ErrorGroup) -> Iterator[Html]:
    first, last = group.example, group.last
    if group.count == 1 or first.id == last.id:
        yield join("Task: ", _one(first, group.last_at))
    else:
        yield join("First: ", _one(first, group.first_at))
        yield join("Last: ", _one(last, group.last_at))


def _one(task: TaskRow, at: str | None) -> Html:
    ended = join(", ended ", when(at)) if at else None
    return join(tag("b", clean(task.name, 300)), f" (task {task.id:,}{_try(task.attempt)})", ended, ".")


def _some(names: Sequence[str], group: ErrorGroup, all_by: str) -> Iterator[Html]:
    """Yield the names of some tasks of a kind, and how many are left out."""
    if group.count == 1 or not names:
        return
    left = group.count - len(names)
    how = join(", list all with ", tag("code", f"{all_by} --kind {group.kind}")) if left > 0 and all_by else None
    yield tag("p", f"{len(names):,} of them, {left:,} not shown" if left > 0 else "All of them", how, ":")
    yield tag("ul", *(tag("li", name) for name in _names(names)), class_="keys")


def _paragraph(inside: Html) -> Html:
    return tag("p", inside)


def _try(attempt: int) -> str:
    return f", try {attempt:,}" if attempt > 1 else ""


def _trimmed(traceback: str) -> str:
    """Leave out the middle of a long traceback: its start shows where it came from, its end what it was."""
    lines = [shorten(line, _LINE) for line in traceback.rstrip().split("\n")]
    if len(lines) <= _TRACEBACK_LINES:
        return "\n".join(lines)
    half = _TRACEBACK_LINES // 2
    return "\n".join([*lines[:half], f"… {len(lines) - 2 * half:,} lines left out …", *lines[-half:]])


def slowest(tasks: Sequence[SlowTask]) -> Html:
    """Return a table of the tasks that took longest; empty if there are none."""
    if not tasks:
        return Html("")
    has_rows = any(task.rows_written for task in tasks)
    columns = [("Task", "name"), ("Number", "number spare"), ("Took", "number")]
    columns += [("Status", "short"), ("Worker", "short spare")]
    columns += [("Rows", "number")] if has_rows else []
    heads = (tag("th", heading, scope="col", class_=kind) for heading, kind in columns)
    rows = (
        tag(
            "tr",
            tag("th", name, scope="row", class_="name"),
            tag("td", task.task_id, class_="number spare"),
            tag("td", duration(task.elapsed_s), class_="number"),
            tag("td", clean(spelled(task.status), 40), _try(task.attempt), class_="short"),
            tag("td", clean(task.worker or "", 40), class_="short spare"),
            tag("td", f"{task.rows_written:,}", class_="number") if has_rows else None,
        )
        for task, name in zip(tasks, _names([task.name for task in tasks]), strict=True)
    )
    table = tag("table", tag("thead", tag("tr", *heads)), tag("tbody", *rows))
    # On a narrow screen it scrolls sideways, which must work from the keyboard too.
    return tag("div", table, class_="table", role="region", tabindex=0, aria_label="Slowest tasks")


def _names(names: Sequence[str]) -> list[Html]:
    """Return the distinguishing parts of names shown together, each with the full name as a tooltip."""
    whole = [clean(name, 400) for name in names]
    return [
        join(name) if name == short else tag("span", short, title=name)
        for name, short in zip(whole, shortened(whole, _NAME), strict=True)
    ]


def tries(figures: RunFigures) -> Html:
    """Return a table of retries and timeouts; empty if nothing was retried, timed out or is waiting."""
    attempts = sum(figures.attempts.values())
    timed_out = figures.attempts.get(TIMED_OUT, 0)
    if not (figures.again or figures.waiting or timed_out):
        return Html("")
    ordered = sorted(figures.attempts.items(), key=lambda pair: (pair[0] != DONE, -pair[1]))
    statuses = ", ".join(f"{count:,} {clean(spelled(status), 40)}" for status, count in ordered)
    return facts(
        [
            ("Attempts", f"{attempts:,} ({statuses})"),
            ("Of these, retries", f"{figures.again:,}"),
            ("Done after a retry", f"{figures.recovered:,}"),
            ("Timed out", f"{timed_out:,}"),
            ("Waiting for a retry", f"{figures.waiting:,}" if figures.waiting else None),
        ]
    )


def circumstances(run: RunRow) -> Html:
    """Return where and how the run was executed."""
    versions = ", ".join(f"{clean(name, 40)} {clean(version, 40)}" for name, version in run.versions.items())
    return facts(
        [
            ("Command", tag("code", clean(run.command, 300)) if run.command else None),
            ("Started", when(run.started_at)),
            ("Ended", when(run.finished_at)),
            ("Workers", f"{run.workers:,} ({clean(run.executor, 40)})" if run.workers and run.executor else None),
            ("Host", clean(run.host, 100) if run.host else None),
            ("Process", str(run.pid) if run.pid is not None else None),
            ("Versions", versions),
        ]
    )


def when(at: str | None, *, zone: bool = True) -> Html:
    """Return an instant of the ledger as HTML, in UTC; other text unchanged, empty if there is none.

    Args:
        at: The instant, in any time zone.
        zone: Whether to append "UTC"; not needed below a heading that says it.
    """
    shown = utc_text(at)
    if shown is None:
        return join(clean(at or "", 40))
    return tag("time", shown, " UTC" if zone else None, datetime=clean(at, 40))
