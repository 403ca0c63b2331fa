"""Pictures of a run as SVG text: its timeline, its throughput, and how long tasks took.

Pure functions. Every picture fills the width of its place: positions along the time axis are percentages, so text
keeps its size on any screen. Names and scales extend to the left, into a margin that the page's styles provide.
Colours, including those of patterns, come from those styles, by class; shapes convey the same information. A
picture never has more than about 1,500 shapes, whatever the number of tasks.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from html import escape
from itertools import pairwise
from typing import Final

from pipeloom.data.differing import shortened
from pipeloom.data.rates import duration
from pipeloom.data.text import clean
from pipeloom.history.figures import Bar, Durations, Lane, Throughput, Timeline
from pipeloom.show.html import Html
from pipeloom.statuses import CANCELLED, DONE, ENDED, ERROR, INTERRUPTED, RUNNING, TIMED_OUT

__all__ = ["durations_picture", "rate_unit", "throughput_picture", "timeline_picture"]

_LANE: Final = 20.0  # pixels, like all heights below
_FLAT_LANE: Final = 14.0
_DEEP: Final = 0.3  # share of a lane's height by which failures extend below its line
_PLOT: Final = 150.0
_LEAST: Final = 3.0  # for what is not done
_AXIS: Final = 28.0
_TOP: Final = 8.0
_THIN: Final = 0.004  # as shares of the width: about 4 pixels, and 1.5
_NARROWEST: Final = 0.0015
_TICKS: Final = 7
_NAME: Final = 60  # characters
_ROUND_SECONDS: Final = (
    15.0,
    30.0,
    *(60.0 * n for n in (1, 2, 5, 10, 15, 30)),
    *(3600.0 * n for n in (1, 2, 3, 6, 12)),
    *(86400.0 * n for n in (1, 2, 7, 14, 28, 91, 182, 364)),
)


def _log_tick(seconds: float) -> str:
    """Return a label of a logarithmic scale, without an uninformative zero."""
    if seconds >= 60 and math.log10(seconds).is_integer():
        return f"{seconds:,.0f} s"  # 1:40 is not a round number
    return duration(seconds).replace(".0 ", " ")


def timeline_picture(timeline: Timeline) -> Html:
    """Draw one lane per worker: a bar per attempt, or how busy it was and where attempts failed."""
    lanes, span = timeline.lanes, timeline.span_s
    height = _LANE if len(lanes) <= 24 else _FLAT_LANE
    kind = "lane" if height == _LANE else "lane flat"
    bottom = _TOP + max(1, len(lanes)) * height
    parts = [_PATTERNS, _time_axis(span, bottom)]
    deep = height * _DEEP if any(lane.failing for lane in lanes) else 0.0
    whole = [clean(bar.name, 400) for lane in lanes for bar in lane.bars]
    names = dict(zip(whole, shortened(whole, _NAME), strict=True))
    for place, lane in enumerate(lanes):
        y = _TOP + place * height
        label = f'<text x="-8" y="{y + height / 2:g}" class="{kind}">{_shown(lane.label, 15)}</text>'
        inside = (
            _bars(lane.bars, names, span, y, height)
            if timeline.drawn == "bars"
            else _density(lane, y, height, deep)
        )
        parts.append(f"<g><title>{_shown(_lane_text(lane), 160)}</title>{label}{inside}</g>")
    attempts = sum(lane.attempts for lane in lanes)
    what = "one bar per attempt" if timeline.drawn == "bars" else "how busy each lane was over time"
    description = f"{attempts:,} attempts in {len(lanes)} lanes over {duration(span)}: {what}."
    return _svg("timeline", "Timeline", description, bottom + _AXIS, parts)


def _lane_text(lane: Lane) -> str:
    text = f"{lane.label}: {lane.attempts:,} attempts, {lane.busy:.0%} of the time"
    text += f", {lane.failed:,} failed" if lane.failed else ""
    return text + (f", {lane.stopped:,} stopped" if lane.stopped else "")


def _bars(bars: Sequence[Bar], names: Mapping[str, str], span: float, y: float, height: float) -> str:
    found = []
    gap = 3 if height == _LANE else 2
    for bar in bars:
        left, width = bar.start_s / span, (bar.end_s - bar.start_s) / span
        kind, inset = _kind(bar.status), gap
        if width < _THIN:  # too narrow for an outline or a hatch: what is not done is taller instead
            left, width = min(left, 1 - _NARROWEST), max(width, _NARROWEST)
            inset = gap if kind == DONE else 0
            kind += " thin"
        took = f"{duration(bar.end_s - bar.start_s)}{' so far' if bar.status == RUNNING else ''}"
        text = f"{names[clean(bar.name, 400)]} ({bar.task_id}): {bar.status.replace('_', ' ')}"
        text += f", try {bar.attempt}" if bar.attempt > 1 else ""
        text += f", from {duration(bar.start_s)}" + (f", {took}" if bar.status != INTERRUPTED else "")
        found.append(
            f'<rect class="{kind}" x="{_percent(left)}%" y="{y + inset:g}" width="{_percent(width)}%" '
            f'height="{height - 2 * inset:g}"><title>{_shown(text, 160)}</title></rect>'
        )
    return "".join(found)


def _kind(status: str) -> str:
    """Return the class of a status; an unknown one looks like a stopped one."""
    return status if status in (RUNNING, *ENDED) else CANCELLED


def _density(lane: Lane, y: float, height: float, deep: float) -> str:
    """Return an area as high as the lane was busy, and one below its line as deep as the share that failed."""
    columns, room = lane.columns, height - 4 - deep
    base = y + 2 + room
    found = [f'<line class="base" x1="0" x2="100%" y1="{base:g}" y2="{base:g}"/>']
    if any(columns):
        levels = [max(round(share * room, 1), 1.0) if share > 0 else 0.0 for share in columns]
        found.append(_stretched(DONE, _outline(levels, room, -1), len(columns), y + 2, room))
    if lane.stops_in:
        strokes = "".join(f"M{place + 0.5:g} {room:g}v{-room / 2:g}" for place in lane.stops_in)
        found.append(_stretched("stops", strokes, len(columns), y + 2, room))
    if lane.failing:  # square root: one in a hundred must be visible, but not look like half of them
        levels = [max(round(math.sqrt(share) * deep, 1), 1.2) if share > 0 else 0.0 for share in lane.failing]
        found.append(_stretched("failures", _outline(levels, 0.0, 1), len(columns), base, deep))
    return "".join(found)


def _outline(levels: Sequence[float], base: float, sign: int) -> str:
    """Return the path around areas above a line, or below it if ``sign`` is 1; empty levels draw nothing."""
    steps, before = [], 0.0
    for place, level in enumerate([*levels, 0.0]):
        if level != before:
            steps.append(f"M{place} {base:g}" if not before else f"H{place}")
            steps.append(f"V{base + sign * level:g}" + ("" if level else "Z"))
            before = level
    return "".join(steps)


def _stretched(kind: str, path: str, columns: int, y: float, room: float) -> str:
    return (
        f'<svg x="0" y="{y:g}" width="100%" height="{room:g}" viewBox="0 0 {columns} {room:g}" '
        f'preserveAspectRatio="none"><path class="{kind}" d="{path}"/></svg>'
    )


def throughput_picture(throughput: Throughput, span_s: float) -> Html:
    """Draw how many attempts ended per second, over time; those that are not done are below the line."""
    slice_s = throughput.slice_s
    bottom = _TOP + _PLOT
    unit_s, unit = _rate_unit(throughput)
    done = [count * unit_s / slice_s for count in throughput.done]
    others = [count * unit_s / slice_s for count in throughput.others]

    def text(place: int) -> str:
        both = throughput.done[place] + throughput.others[place]
        begin, end = duration(place * slice_s), duration((place + 1) * slice_s)
        return f"{begin} to {end}: {both:,} ended" + _others_text(throughput.others[place])

    columns = [(place / len(done), 1 / len(done)) for place in range(len(done))]
    parts = [
        _columns("throughput", done, others, columns, text),
        _time_axis(span_s, bottom, lines=False),
    ]
    description = f"{throughput.total:,} attempts ended; each column stands for {duration(slice_s)}."
    return _svg("throughput", f"Attempts ended per {unit}", description, bottom + _AXIS, parts)


def _rate_unit(throughput: Throughput) -> tuple[float, str]:
    peak = max((a + b for a, b in zip(throughput.done, throughput.others, strict=True)), default=0)
    for unit_s, unit in ((1.0, "second"), (60.0, "minute")):
        if peak * unit_s / throughput.slice_s >= 1:
            return unit_s, unit
    return 3600.0, "hour"


def rate_unit(throughput: Throughput) -> str:
    """Return the unit of the throughput's scale: ``second``, ``minute`` or ``hour``."""
    return _rate_unit(throughput)[1]


def durations_picture(durations: Durations) -> Html:
    """Draw how many attempts took how long."""
    bottom = _TOP + _PLOT
    edges = durations.edges
    if not edges:
        return Html("")
    place_of = _placing(durations)
    columns = [(place_of(low), place_of(high) - place_of(low)) for low, high in pairwise(edges)]

    def text(place: int) -> str:
        both = durations.done[place] + durations.others[place]
        return f"{duration(edges[place])} to {duration(edges[place + 1])}: {both:,}" + _others_text(
            durations.others[place]
        )

    if durations.scale == "log":
        marked = [(tick, _log_tick(tick)) for tick in _log_ticks(edges[0], edges[-1])]
    else:
        marked = _clocks(edges[0], edges[-1])
    marks = []
    for name, value in (("median", durations.median), ("95 %", durations.p95)):
        x = _percent(place_of(value))
        line = f'x1="{x}%" x2="{x}%" y1="{_TOP:g}" y2="{bottom:g}"'
        marks.append(
            f'<g class="quantile"><title>{name}: about {duration(value)}</title>'
            f'<line class="halo" {line}/><line class="mark" {line}/></g>'
        )
    parts = [
        _columns("durations", durations.done, durations.others, columns, text),
        _axis([(place_of(tick), label) for tick, label in marked], bottom),
        *marks,
    ]
    description = (
        f"{durations.total:,} attempts took {duration(durations.shortest)} to {duration(durations.longest)}, "
        f"half of them under about {duration(durations.median)}; {durations.scale} scale."
    )
    return _svg("durations", "How long attempts took", description, bottom + _AXIS, parts)


def _others_text(others: int) -> str:
    return f", {others:,} not done" if others else ""


def _placing(durations: Durations) -> Callable[[float], float]:
    first, last = durations.edges[0], durations.edges[-1]
    if durations.scale == "linear":
        return lambda value: min(1.0, max(0.0, (value - first) / (last - first)))
    whole = math.log(last / first)
    return lambda value: min(1.0, max(0.0, math.log(max(value, first) / first) / whole))


def _columns(
    name: str,
    done: Sequence[float],
    others: Sequence[float],
    places: Sequence[tuple[float, float]],
    text: Callable[[int], str],
) -> str:
    """Return columns with their scale at the left: done above a line, not done below it, on the same scale.

    ``places`` are (left, width) as fractions.
    """
    above, below = max(done, default=0.0), max(others, default=0.0)
    step = _nice(max(above + below, 1e-9) / 3)
    ceiling = max(step * math.ceil(above / step - 1e-9), 0.0 if below else step)
    scale = (_PLOT - _LEAST) / (ceiling + below) if below else _PLOT / ceiling
    base = _TOP + ceiling * scale
    found = []
    for number in range(-math.floor(below / step + 1e-9), round(ceiling / step) + 1):
        y = base - number * step * scale
        found.append(f'<line class="{"grid" if number else "axis"}" x1="0" x2="100%" y1="{y:.1f}" y2="{y:.1f}"/>')
        found.append(f'<text class="lane" x="-8" y="{y:.1f}">{_amount(abs(number) * step, ceiling)}</text>')
    for place, (up, down) in enumerate(zip(done, others, strict=True)):
        if not up and not down:
            continue
        left, width = places[place]
        found.append(f"<g><title>{_shown(text(place), 160)}</title>")
        for value, kind, least in ((up, DONE, 1.5), (down, "others", _LEAST)):
            if value:
                size = max(value * scale, least)  # one in ten thousand must still be visible
                found.append(
                    f'<rect class="{kind} {name}" x="{_percent(left)}%" width="{_percent(width)}%" '
                    f'y="{base - size if kind == DONE else base:.1f}" height="{size:.1f}"/>'
                )
        found.append("</g>")
    return "".join(found)


def _time_axis(span: float, bottom: float, *, lines: bool = True) -> str:
    return _axis([(tick / span, label) for tick, label in _clocks(0.0, span)], bottom, lines=lines)


def _axis(ticks: Iterable[tuple[float, str]], bottom: float, *, lines: bool = False) -> str:
    """Return the lower axis; every second label is marked, so that a narrow page can omit it."""
    found = [f'<line class="axis" x1="0" x2="100%" y1="{bottom:g}" y2="{bottom:g}"/>']
    for number, (place, label) in enumerate(ticks):
        x = _percent(place)
        top = _TOP if lines else bottom
        found.append(
            f'<g class="tick{" odd" if number % 2 else ""}"><line x1="{x}%" x2="{x}%" y1="{top:g}" '
            f'y2="{bottom + 5:g}"/><text x="{x}%" y="{bottom + 20:g}">{label}</text></g>'
        )
    return "".join(found)


def _nice(rough: float) -> float:
    """Return the next round number that is not smaller: 1, 2 or 5 times a power of ten."""
    unit = 10.0 ** math.floor(math.log10(rough))
    return next(unit * factor for factor in (1, 2, 5, 10) if unit * factor >= rough * 0.999999)


def _even_ticks(low: float, high: float) -> list[float]:
    rough = (high - low) / _TICKS
    step = _nice(rough) if rough <= 10 else next((s for s in _ROUND_SECONDS if s >= rough), _nice(rough))
    first = math.ceil(low / step - 1e-9)
    return [number * step for number in range(first, math.floor(high / step + 1e-9) + 1)]


def _clocks(low: float, high: float) -> list[tuple[float, str]]:
    """Return even ticks with their labels, all in the unit that suits their distance."""
    ticks = _even_ticks(low, high)
    step = ticks[1] - ticks[0] if len(ticks) > 1 else high - low
    return [(tick, _clock(tick, step)) for tick in ticks]


def _log_ticks(low: float, high: float) -> list[float]:
    first, last = math.ceil(math.log10(low) - 1e-9), math.floor(math.log10(high) + 1e-9)
    tens = [10.0**power for power in range(first, last + 1)]
    for factors in ((1, 2, 5), (1, 3)):
        fine = (10.0**power * factor for power in range(first - 1, last + 1) for factor in factors)
        ticks = [value for value in fine if low * 0.999 <= value <= high * 1.001]
        if len(ticks) <= _TICKS:
            return ticks
    return tens[:: math.ceil(len(tens) / _TICKS)]


def _clock(seconds: float, step: float) -> str:
    """Return the label of a tick on an even axis; ``step`` is the distance to the next."""
    if seconds == 0:
        return "0"
    if step >= 86400:
        return f"{seconds / 86400:g} d"
    if step >= 1:
        return duration(seconds).replace(".0 ", " ")
    factor, unit = (1, "s") if step >= 0.1 else (1e3, "ms") if step >= 1e-4 else (1e6, "µs")
    return f"{seconds * factor:.6g} {unit}"


def _amount(value: float, most: float) -> str:
    """Return a label of a scale, in the unit of its highest value."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value and most >= size * 10:
            return f"{value / size:g} {letter}"
    return f"{value:,.0f}" if value >= 1000 else f"{value:g}"


def _percent(share: float) -> str:
    return f"{share * 100:.3f}".rstrip("0").rstrip(".")


def _shown(text: str, limit: int) -> str:
    return escape(clean(text, limit))


def _svg(name: str, title: str, description: str, height: float, parts: Sequence[str]) -> Html:
    return Html(
        f'<svg xmlns="http://www.w3.org/2000/svg" class="picture" role="img" width="100%" height="{height:g}" '
        f'aria-labelledby="{name}-title {name}-desc"><title id="{name}-title">{escape(title)}</title>'
        f'<desc id="{name}-desc">{escape(description)}</desc>{"".join(parts)}</svg>'
    )


def _hatch(name: str, kind: str, angle: int, gap: int = 5) -> str:
    return (
        f'<pattern id="{name}" class="hatch {kind}" width="{gap}" height="{gap}" patternUnits="userSpaceOnUse" '
        f'patternTransform="rotate({angle})"><rect width="{gap}" height="{gap}"/>'
        f'<line x1="0" y1="0" x2="0" y2="{gap}"/></pattern>'
    )


_PATTERNS: Final = (
    f"<defs>{_hatch('timeline-error', ERROR, 45)}{_hatch('timeline-timed-out', TIMED_OUT, 90, 4)}"
    f"{_hatch('timeline-running', RUNNING, -45, 6)}</defs>"
)
