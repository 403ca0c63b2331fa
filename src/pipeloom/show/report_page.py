"""The report on one run: everything about it in one file to pass on."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from pipeloom import __version__
from pipeloom.show import fragments
from pipeloom.show.html import document, text
from pipeloom.show.pictures import durations_picture, rate_unit, span_text, throughput_picture, timeline_picture

if TYPE_CHECKING:
    from pipeloom.history import ErrorGroup, RunFigures, RunRow
    from pipeloom.history.figures import Durations, Throughput, Timeline

__all__ = ["pictures_of", "run_page"]

_LEGEND = {
    "done": "done",
    "error": "error",
    "timed_out": "timed out",
    "cancelled": "cancelled",
    "interrupted": "interrupted, its end is not known",
    "running": "running",
}


def run_page(
    run: RunRow, figures: RunFigures, groups: Sequence[ErrorGroup], *, db_name: str, made_at: str, more_groups: bool
) -> str:
    """Return the page as HTML.

    Args:
        run: The run.
        figures: What its attempts add up to.
        groups: Its failures, the most frequent first.
        db_name: What its database is called; foreign text.
        made_at: The present instant.
        more_groups: Whether there are more failures than ``groups`` shows.
    """
    number = f"run {run.run_id}"
    title = run.pipeline or number.capitalize()
    kicker = ["pipeloom", *([number] if run.pipeline else []), fragments.when(run.started_at)]
    parts = [
        f'<header><p class="kicker">{" · ".join(kicker)}</p>'
        f"<h1>{text(title, 200)}</h1>{fragments.verdict(run)}</header>",
        fragments.totals(run, figures),
        pictures_of(figures),
        _failures(groups, more_groups),
        _section("Retries and timeouts", fragments.tries(figures)),
        _section("Slowest tasks", fragments.slowest(figures.slowest)),
        _section("Environment", fragments.circumstances(run)),
    ]
    foot = (
        f'<footer class="page-foot">Made by pipeloom {text(__version__)} from {text(db_name, 120)}, '
        f"{fragments.when(made_at)}. Times are UTC.</footer>"
    )
    return document(
        f"{title}, {number}" if run.pipeline else title,
        f"<main>\n{chr(10).join(filter(None, parts))}\n</main>\n{foot}",
    )


def _length(seconds: float, digits: int = 3) -> str:
    return span_text(seconds, digits).replace(" ", "&#160;")


def pictures_of(figures: RunFigures) -> str:
    """Return a run's pictures as sections: timeline, throughput and durations; "" when nothing was tried yet."""
    return _timeline(figures.timeline) + _two(figures)


def _section(title: str, inside: str, note: str = "") -> str:
    if not inside:
        return ""
    note = f'<p class="note">{note}</p>' if note else ""
    return f"<section><h2>{title}</h2>{note}{inside}</section>"


def _timeline(timeline: Timeline) -> str:
    if not timeline.lanes:
        return ""
    attempts = sum(lane.attempts for lane in timeline.lanes)
    share = max(lane.workers for lane in timeline.lanes)
    undrawn = (
        f" {timeline.undrawn:,} attempts are not drawn: their times are missing, or outside the run's."
        if timeline.undrawn
        else ""
    )
    if timeline.drawn == "bars":
        note = "One lane per worker, one bar per attempt; time runs from the start of the run."
        present = {bar.status for lane in timeline.lanes for bar in lane.bars}
        legend = _legend((kind, words) for kind, words in _LEGEND.items() if kind in present)
    else:
        lane = f"{share} workers" if share > 1 else "one worker"
        note = f"{attempts:,} attempts, too many to draw each. A lane is {lane}: the higher, the busier."
        marks = [("done", "share of the time spent in attempts")]
        marks += [("failures", "something failed here")] if any(lane.failed for lane in timeline.lanes) else []
        marks += [("stops", "something was stopped here")] if any(lane.stopped for lane in timeline.lanes) else []
        legend = _legend(marks)
    picture = f'<figure><div class="plot lanes">{timeline_picture(timeline)}</div></figure>'
    return _section("Timeline", legend + picture, note + undrawn)


def _legend(entries: Iterable[tuple[str, str]]) -> str:
    items = "".join(
        f'<li><span class="swatch {kind}" aria-hidden="true"></span>{words}</li>' for kind, words in entries
    )
    return f'<ul class="legend">{items}</ul>'


def _two(figures: RunFigures) -> str:
    parts = [_throughput(figures.throughput, figures.span_s), _durations(figures.durations)]
    return f'<div class="two">{"".join(parts)}</div>' if any(parts) else ""


def _throughput(throughput: Throughput, span_s: float) -> str:
    if not throughput.total:
        return ""
    note = f"Attempts that ended per {rate_unit(throughput)}; a column is {_length(throughput.slice_s)}."
    picture = f'<figure><div class="plot">{throughput_picture(throughput, span_s)}</div></figure>'
    return _section("Throughput", _outcomes(throughput.others) + picture, note)


def _durations(durations: Durations) -> str:
    if not durations.total:
        return ""
    note = (
        f"Attempts by the time they took: median about {_length(durations.median, 2)}, 95&#160;% under about "
        f"{_length(durations.p95, 2)}, longest {_length(durations.longest)}."
        + (" Logarithmic scale." if durations.scale == "log" else "")
    )
    picture = f'<figure><div class="plot">{durations_picture(durations)}</div></figure>'
    marks = [("quantile", "median and 95 %")]
    return _section("Durations", _outcomes(durations.others, marks) + picture, note)


def _outcomes(others: Sequence[int], more: Sequence[tuple[str, str]] = ()) -> str:
    ended = [("done", "done")] + ([("error", "not done")] if any(others) else [])
    return _legend([*ended, *more])


def _failures(groups: Sequence[ErrorGroup], more_groups: bool) -> str:
    note = "Equal failures are counted together; numbers, quoted parts and paths in their messages are shown as …"
    more = '<p class="note">There are more kinds of failure than are shown here.</p>' if more_groups else ""
    return _section("Failures", fragments.failures(groups) + more, note) if groups else ""
