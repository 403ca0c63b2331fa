"""The report on one run: everything about it in one file that can be passed on."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from pipeloom import __version__
from pipeloom.data.rates import duration
from pipeloom.data.text import clean
from pipeloom.data.totals import spelled
from pipeloom.show import fragments
from pipeloom.show.failures import more_kinds
from pipeloom.show.html import Html, document, join, tag
from pipeloom.show.pictures import durations_picture, rate_unit, throughput_picture, timeline_picture
from pipeloom.statuses import CANCELLED, DONE, ERROR, INTERRUPTED, RUNNING, TIMED_OUT

if TYPE_CHECKING:
    from pipeloom.history import ErrorGroup, RunFigures, RunRow
    from pipeloom.history.figures import Durations, Timeline

__all__ = ["Failures", "pictures_of", "run_page"]

_OPEN: Final = 8  # kinds that are shown at first

_LEGEND: Final[Mapping[str, str]] = {
    **{status: spelled(status) for status in (DONE, ERROR, TIMED_OUT, CANCELLED)},
    INTERRUPTED: "interrupted (end unknown)",
    RUNNING: spelled(RUNNING),
}


@dataclass(frozen=True, slots=True)
class Failures:
    """What failed in a run, by kind.

    Attributes:
        groups: The kinds with the most tasks, most frequent first.
        names: Names of some tasks of each kind, by the kind's id.
        more_kinds: The number of kinds beyond those.
        more_tasks: The number of tasks of those further kinds.
    """

    groups: Sequence[ErrorGroup]
    names: Mapping[str, Sequence[str]]
    more_kinds: int = 0
    more_tasks: int = 0


def run_page(run: RunRow, figures: RunFigures, failures: Failures, *, db_name: str, made_at: str) -> Html:
    """Return the page as HTML.

    Args:
        run: The run.
        figures: The figures of its attempts.
        failures: Its failures.
        db_name: The name of its database; untrusted text.
        made_at: The current instant.
    """
    number = f"run {run.run_id}"
    title = run.title or number.capitalize()
    kicker = ("pipeloom · ", f"{number} · " if run.title else None, fragments.when(run.started_at))
    parts = [
        tag("header", tag("p", *kicker, class_="kicker"), tag("h1", clean(title, 200)), fragments.verdict(run)),
        fragments.totals_list(run, figures),
        _failures(failures, f"pipeloom errors --keys --run {run.run_id} --db {clean(shlex.quote(db_name), 120)}"),
        pictures_of(figures),
        _section("Retries and timeouts", fragments.tries(figures)),
        _section("Slowest tasks", fragments.slowest(figures.slowest)),
        _section("Environment", fragments.circumstances(run)),
    ]
    foot = tag(
        "footer",
        f"Made by pipeloom {__version__} from {clean(db_name, 120)}, ",
        fragments.when(made_at),
        ". Times are UTC.",
        class_="page-foot",
    )
    return document(
        f"{title}, {number}" if run.title else title, tag("main", Html("\n".join(filter(None, parts)))), foot
    )


def pictures_of(figures: RunFigures, *, with_lanes: bool = True) -> Html:
    """Return a run's pictures as sections; empty if there were no attempts.

    Args:
        figures: What to draw: throughput and durations.
        with_lanes: Whether to draw the timeline first.
    """
    beside = [part for part in (_throughput(figures), _durations(figures.durations)) if part]
    lanes = _timeline(figures.timeline) if with_lanes else None
    return join(lanes, tag("div", *beside, class_="two") if beside else None)


def _section(title: str, inside: Html, *note: Any) -> Html:
    if not inside:
        return Html("")
    return tag("section", tag("h2", title), tag("p", *note, class_="note") if any(note) else None, inside)


def _figure(picture: Html, kind: str = "plot") -> Html:
    return tag("figure", tag("div", picture, class_=kind))


def _timeline(timeline: Timeline) -> Html:
    if not timeline.lanes:
        return Html("")
    note, marks = _bars_explained(timeline) if timeline.drawn == "bars" else _density_explained(timeline)
    if timeline.undrawn:
        note += f" {timeline.undrawn:,} attempts are not drawn: their times are missing or outside the run."
    return _section("Timeline", join(_legend(marks), _figure(timeline_picture(timeline), "plot lanes")), note)


def _bars_explained(timeline: Timeline) -> tuple[str, list[tuple[str, str]]]:
    present = {bar.status for lane in timeline.lanes for bar in lane.bars}
    return (
        "One lane per worker, one bar per attempt; time runs from the start of the run.",
        [(kind, words) for kind, words in _LEGEND.items() if kind in present],
    )


def _density_explained(timeline: Timeline) -> tuple[str, list[tuple[str, str]]]:
    attempts = sum(lane.attempts for lane in timeline.lanes)
    share = max(lane.workers for lane in timeline.lanes)
    workers = f"{share} workers" if share > 1 else "one worker"
    marks = [(DONE, "share of the time spent in attempts")]
    if any(lane.failed for lane in timeline.lanes):
        marks.append(("failures", "below the line: failed (deeper: more)"))
    if any(lane.stopped for lane in timeline.lanes):
        marks.append(("stops", "attempts were stopped here"))
    return f"{attempts:,} attempts, too many to draw each. A lane is {workers}; higher means busier.", marks


def _legend(entries: Iterable[tuple[str, str]]) -> Html:
    items = (tag("li", tag("span", class_=f"swatch {kind}", aria_hidden="true"), words) for kind, words in entries)
    return tag("ul", *items, class_="legend")


def _throughput(figures: RunFigures) -> Html:
    throughput = figures.throughput
    if not throughput.total:
        return Html("")
    picture = _figure(throughput_picture(throughput, figures.span_s))
    return _section(
        "Throughput",
        join(_outcomes(throughput.others), picture),
        f"Attempts that ended per {rate_unit(throughput)}; a column is ",
        _length(throughput.slice_s),
        ".",
    )


def _durations(durations: Durations) -> Html:
    if not durations.total:
        return Html("")
    marks = _outcomes(durations.others, [("quantile", "median and 95 %")])
    return _section(
        "Durations",
        join(marks, _figure(durations_picture(durations))),
        "Attempts by the time they took: median about ",
        _length(durations.median),
        ", ",
        _unbroken("95 %"),
        " under about ",
        _length(durations.p95),
        ", longest ",
        _length(durations.longest),
        ".",
        " Logarithmic scale." if durations.scale == "log" else None,
    )


def _length(seconds: float) -> Html:
    return _unbroken(duration(seconds))


def _unbroken(text: str) -> Html:
    """Return text that stays on one line."""
    return Html(join(text).replace(" ", "&#160;"))


def _outcomes(others: Sequence[int], more: Sequence[tuple[str, str]] = ()) -> Html:
    ended = [(DONE, _LEGEND[DONE])] + ([("failures", "below the line: not done")] if any(others) else [])
    return _legend([*ended, *more])


def _failures(failures: Failures, all_by: str) -> Html:
    if not failures.groups:
        return Html("")
    first, others = failures.groups[:_OPEN], failures.groups[_OPEN:]
    parts = [fragments.failures(first, failures.names, all_by=all_by)]
    if others:
        count = sum(group.count for group in others)
        told = tag("summary", f"{more_kinds(len(others))}, {_tasks(count)}")
        rest = tag("div", fragments.failures(others, failures.names, all_by=all_by), class_="evidence")
        parts.append(tag("details", told, rest, class_="more"))
    if failures.more_kinds:
        kinds = "one more kind" if failures.more_kinds == 1 else f"{failures.more_kinds:,} more kinds"
        parts.append(tag("p", f"Not shown: {kinds}, {_tasks(failures.more_tasks)}.", class_="note"))
    note = "A kind shares an exception, the place it was raised and a message; parts that differ are shown as …"
    return _section("Failures", join(parts), note)


def _tasks(count: int) -> str:
    return "one task" if count == 1 else f"{count:,} tasks"
