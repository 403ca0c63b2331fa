"""What a run shows while it runs: a section of the live region on a terminal, a plain line now and then elsewhere.

Both are made by the thread that waits for the run, a few times a second, from the committed counts and the workers'
slots: the cost depends on what fits on the screen, not on the number of tasks. The region has a thread that draws.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterator, Sequence, Sized
from time import monotonic
from typing import TYPE_CHECKING, Final, Protocol

from rich.cells import cell_len
from rich.errors import LiveError
from rich.segment import Segment
from rich.text import Text

from pipeloom.data import stopwatch
from pipeloom.data.rates import Pace, duration, fraction, per_second, time_left
from pipeloom.data.text import clean, describe
from pipeloom.data.totals import SKIPPED, totals_of
from pipeloom.show.console import SharedConsole
from pipeloom.statuses import QUEUED, RUNNING, TaskStatus

if TYPE_CHECKING:
    from rich.console import Console

    from pipeloom.ledger import Attempt

__all__ = ["Screen", "Watched", "bar", "screen_for"]

logger = logging.getLogger("pipeloom")

_REDRAW_S: Final = 0.25
_LINE_S: Final = 5.0
_MAX_RUNNING: Final = 16
_MAX_FAILURES: Final = 3


class Watched(Protocol):
    """What there is to see of a run."""

    counts: Counter[TaskStatus]
    skipped: int
    beside: int
    waiting: Sized
    held_up: Callable[[], tuple[int, float]]
    slots: list[Attempt | None]
    failures: list[Attempt]


class Screen(Protocol):
    """Shows a run; used in one thread."""

    def start(self, run: Watched) -> None:
        """Begin."""

    def tick(self) -> None:
        """Draw if it is time."""

    def note(self, text: str) -> None:
        """Say one line that stays."""

    def stop(self) -> None:
        """Draw the last state and let go of the terminal; stopping twice is fine."""


def screen_for(title: str, expected: int | None, console: Console) -> Screen:
    """Choose a screen: a section of the live region on a terminal, plain lines elsewhere."""
    figures = Figures(clean(title, 60), expected)
    lines = LineScreen(figures, console)
    if isinstance(console, SharedConsole) and console.has_region:
        return SafeScreen(LiveScreen(figures, console), lines)
    return SafeScreen(lines)


class SafeScreen:
    """A screen that never fails a run: what goes wrong is logged once, and the screen dropped.

    Args:
        screen: What shows the run.
        instead: What shows it where there is no terminal to draw on.
    """

    def __init__(self, screen: Screen, instead: Screen | None = None) -> None:
        self._screen: Screen | None = screen
        self._instead = instead

    def start(self, run: Watched) -> None:
        self._safely(lambda screen: self._start(screen, run))

    def _start(self, screen: Screen, run: Watched) -> None:
        try:
            screen.start(run)
        except LiveError:
            if self._instead is None:
                raise
            self._screen = self._instead
            self._screen.start(run)

    def tick(self) -> None:
        self._safely(lambda screen: screen.tick())

    def note(self, text: str) -> None:
        self._safely(lambda screen: screen.note(text))

    def stop(self) -> None:
        self._safely(lambda screen: screen.stop())

    def _safely(self, draw: Callable[[Screen], None]) -> None:
        if self._screen is not None:
            try:
                draw(self._screen)
            except Exception as error:  # noqa: BLE001 - no fault of a screen may end a run
                self._screen = None
                logger.warning("the screen failed and is dropped, the run goes on: %s", describe(error))


class Figures:
    """The numbers of a run as text."""

    def __init__(self, title: str, expected: int | None) -> None:
        self.title = title
        self._given = expected
        self.run: Watched | None = None
        self.over = False
        self.began = stopwatch.monotonic()
        self._pace = Pace(self.began)

    def begin(self, run: Watched) -> None:
        self.run = run

    @property
    def ended(self) -> int:
        """Tasks that ended in this run."""
        return sum(self.run.counts.values()) if self.run else 0

    @property
    def found(self) -> int:
        """Inputs beside those that were passed: tasks may find more at any time."""
        return self.run.beside if self.run else 0

    @property
    def expected(self) -> int | None:
        """How many inputs there are, as far as is known; ``None`` if not even that is."""
        return None if self._given is None else self._given + self.found

    @property
    def seen(self) -> int:
        """Inputs dealt with, skipped ones included."""
        return self.ended + (self.run.skipped if self.run else 0)

    def summary(self, now: float) -> str:
        """Return counts, rate and time in one line."""
        run = self.run
        if run is None:
            return "opening"
        counts: dict[str, int] = dict([*run.counts.items(), (SKIPPED, run.skipped)])
        parts = [f"{total.number:,} {total.word}" for total in totals_of(counts)]
        if waiting := len(run.waiting):
            parts.append(f"{waiting:,} waiting for a retry")
        held_up, paused_s = run.held_up()
        if held_up:
            parts.append(f"{held_up:,} waiting for a limit")
        if paused_s and not self.over:
            parts.append(f"slowed down for {duration(paused_s)} more")
        rate = self._pace.rate(now, self.ended)
        parts += [per_second(rate), duration(now - self.began)]
        if not self.over and not self.found and (left := time_left(rate, self.expected, self.seen)):
            parts.append(left)
        return " · ".join(parts)


class LiveScreen:
    """A section of the live region: the overall bar, the running tasks that fit, the last failures."""

    def __init__(self, figures: Figures, console: SharedConsole) -> None:
        self._figures = figures
        self._console = console
        self._made_at = 0.0
        self.frame: Sequence[Segment] = ()

    def start(self, run: Watched) -> None:
        self._figures.begin(run)
        self._make_frame()
        self._console.region.join(self, waits=True)

    def tick(self) -> None:
        now = monotonic()
        if now - self._made_at >= _REDRAW_S:
            self._made_at = now
            self._make_frame()

    def note(self, text: str) -> None:
        # Not printed: a task may hold the console's lock while it waits for the terminal, and this thread must not.
        note = list(self._console.render(Text(text, style="yellow")))
        self._console.region.say(self._console.encode(note))

    def stop(self) -> None:
        if not self._figures.over:
            self._figures.over = True
            self._make_frame()
            self._console.region.leave(self, self.frame)

    def _make_frame(self) -> None:
        width, height = self._console.region.size
        frame: list[Segment] = []
        for line in self._lines(width, height):
            line.truncate(width, overflow="ellipsis")
            line.end = ""
            frame += self._console.render(line, self._console.options.update_width(width))
            frame.append(Segment.line())
        self.frame = frame

    def _lines(self, width: int, height: int) -> Iterator[Text]:
        figures, now = self._figures, stopwatch.monotonic()
        yield self._overall(width)
        run = figures.run
        if run is None or (height < 2 and not figures.over):
            return
        yield Text("  " + figures.summary(now), style="dim")
        if figures.over:
            yield from _failure_lines(run.failures, _MAX_FAILURES)
            return
        room = height - 2
        running = [attempt for attempt in run.slots if attempt is not None and attempt.status != QUEUED]
        failures = min(len(run.failures), _MAX_FAILURES, max(room - 1, 0))  # one of them, at least, where both fit
        rows = min(room - min(failures, 1), _MAX_RUNNING + 1)
        shown = running if len(running) <= min(rows, _MAX_RUNNING) else running[: max(rows - 1, 0)]
        names = [clean(attempt.name, 80) for attempt in shown]
        name_width = min(max(map(cell_len, names), default=0), max(width // 3, 8), 40)
        for attempt, name in zip(shown, names, strict=True):
            yield _running_line(attempt, name, name_width, now, width)
        if len(running) > len(shown) and rows > 0:
            yield Text(f"  … and {len(running) - len(shown)} more running", style="dim")
            room -= 1
        yield from _failure_lines(run.failures, min(room - len(shown), failures))

    def _overall(self, width: int) -> Text:
        figures = self._figures
        seen, expected = figures.seen, figures.expected
        line = Text().append(figures.title, style="bold")
        if expected is None:
            return line.append(f"  {seen:,}", style="bold cyan")
        share = fraction(seen, expected) if expected else 1.0
        tail = f" {seen:,}/{expected:,} " + ("so far" if figures.found else f"{int(share * 100):3d} %")
        room = max(min(width - line.cell_len - len(tail) - 3, 60), 0)
        line.append("  ")
        line.append_text(bar(share, room))
        return line.append(tail, style="bold")


class LineScreen:
    """A plain line every five seconds, for logs and pipes."""

    def __init__(self, figures: Figures, console: Console) -> None:
        self._figures = figures
        self._console = console
        self._said_at = monotonic()
        self._said = False

    def start(self, run: Watched) -> None:
        self._figures.begin(run)

    def tick(self) -> None:
        if monotonic() - self._said_at >= _LINE_S:
            self._say()

    def note(self, text: str) -> None:
        self._print(text)

    def stop(self) -> None:
        if self._said:
            self._say()
            self._said = False

    def _say(self) -> None:
        self._said_at = monotonic()
        figures = self._figures
        of = f"/{figures.expected:,}" if figures.expected is not None else ""
        self._said = True
        self._print(f"{figures.title}: {figures.seen:,}{of} · {figures.summary(stopwatch.monotonic())}")

    def _print(self, text: str) -> None:
        self._console.print(Text(text), soft_wrap=True)


def bar(share: float, width: int) -> Text:
    """Return a bar of ``width`` cells, filled by ``share`` (0..1)."""
    filled = int(share * width)
    return Text("━" * filled, style="green").append("━" * (width - filled), style="bright_black")


def _running_line(attempt: Attempt, shown_name: str, name_width: int, now: float, width: int) -> Text:
    step, total, message = attempt.progress
    line = Text().append("  ▸ ", style="cyan")
    name = Text(shown_name)
    name.truncate(name_width, overflow="ellipsis", pad=True)
    line.append_text(name).append("  ")
    share = fraction(step, total)
    if total:
        line.append_text(bar(share, max(min(width // 5, 24), 4))).append(f" {int(share * 100):3d} %")
    elif step:
        line.append(f"{step:,.0f}")
    line.append(f"  {duration(now - attempt.t0)}", style="dim")
    if attempt.status != RUNNING:
        line.append("  waits to be stored", style="dim")
    elif message:
        line.append("  " + clean(message, 80), style="dim")
    return line


def _failure_lines(failures: Sequence[Attempt], room: int) -> Iterator[Text]:
    for attempt in failures[-room:] if room > 0 else ():
        why = clean(attempt.message or attempt.status, 120)
        yield Text().append("  ✗ ", style="red").append(clean(attempt.name, 40)).append(f"  {why}", style="red")
