"""A run on a terminal: a section of the live region, with the overall bar, running tasks and failures by kind.

The thread that waits for the run makes the frames; the region's own thread draws them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from time import monotonic
from typing import TYPE_CHECKING, Final

from rich.segment import Segment
from rich.text import Text

from pipeloom.data import stopwatch
from pipeloom.data.differing import shortened
from pipeloom.data.rates import fraction
from pipeloom.show.failures import kind_rows, rows_of_kind
from pipeloom.show.parts import in_rows
from pipeloom.show.tasks import ShownTask, bar, in_place, line_of, task_rows
from pipeloom.statuses import RUNNING

if TYPE_CHECKING:
    from pipeloom.ledger import Attempt
    from pipeloom.show.console import SharedConsole
    from pipeloom.show.figures import Figures, Watched

__all__ = ["LiveScreen"]

_REDRAW_S: Final = 0.25
_KINDS_AT_THE_END: Final = 10
_OVERALL: Final = 60


class LiveScreen:
    """A run's section of the live region."""

    def __init__(self, figures: Figures, console: SharedConsole) -> None:
        self._figures = figures
        self._console = console
        self._made_at = 0.0
        self._placed: list[int | None] = []
        self.frame: Sequence[Segment] = ()

    def start(self, run: Watched) -> None:
        """Begin."""
        self._figures.begin(run)
        self._make_frame()
        self._console.region.join(self, waits=True)

    def tick(self) -> None:
        """Draw if it is time."""
        now = monotonic()
        if now - self._made_at >= _REDRAW_S:
            self._made_at = now
            self._make_frame()

    def note(self, text: str) -> None:
        """Print one line that stays."""
        # Not printed: a task may hold the console's lock while it waits for the terminal, and this thread must not
        # wait.
        note = list(self._console.render(Text(text, style="yellow")))
        self._console.region.say(self._console.encode(note))

    def stop(self) -> None:
        """Draw the final state, which stays; stopping twice is fine."""
        if not self._figures.over:
            self._figures.over = True
            self._make_frame()
            self._console.region.leave(self, self.frame)

    def _make_frame(self) -> None:
        width, height = self._console.region.size
        frame: list[Segment] = []
        for line in self._last(width) if self._figures.over else self._lines(width, height):
            line.truncate(width, overflow="ellipsis")
            line.end = ""
            frame += line.render(self._console)
            frame.append(Segment.line())
        self.frame = frame

    def _lines(self, width: int, height: int) -> Iterator[Text]:
        figures, now = self._figures, stopwatch.monotonic()
        yield self._overall(width)
        if figures.run is None or height < 2:
            return
        yield from map(line_of, in_rows(figures.summary(now), width - 2, 1))
        room = height - 2
        running, kinds = figures.running(), figures.kinds()
        # Failures get a third of the room, and at least one row, if there are more running tasks than fit.
        kept = min(len(kinds) * rows_of_kind(width), max(room - len(running), room // 3, min(room - 1, 1)))
        free = room - len(kind_rows(kinds, width, kept))  # they may take less: only whole kinds are shown
        rows = task_rows(self._in_place(running, free, now), width, free, len(running))
        yield from rows
        yield from kind_rows(kinds, width, room - len(rows))

    def _in_place(self, running: Sequence[Attempt], room: int, now: float) -> list[ShownTask | None]:
        """Return the tasks to show, each in its row while it runs; if not all fit, the longest-running ones."""
        rows = room if len(running) <= room else room - 1
        if len(running) > rows:
            running = sorted(running, key=lambda attempt: attempt.t0)
        known = {id(attempt): attempt for attempt in running}
        self._placed = in_place(self._placed, list(known), max(rows, 0))
        return [None if key is None else _shown(known[key], now) for key in self._placed]

    def _last(self, width: int) -> Iterator[Text]:
        """Yield the lines that stay: no figures are left out."""
        yield self._overall(width)
        yield from map(line_of, in_rows(self._figures.summary(stopwatch.monotonic()), width - 2))
        yield from kind_rows(self._figures.kinds(), width, 2 * _KINDS_AT_THE_END)

    def _overall(self, width: int) -> Text:
        figures = self._figures
        if figures.expected is None:
            return _overall(figures.title, None, f"{figures.seen:,}", width)
        share = fraction(figures.seen, figures.expected) if figures.expected else 1.0
        tail = "so far" if figures.found else f"{int(share * 100):3d} %"
        return _overall(figures.title, share, f"{figures.seen:,}/{figures.expected:,} {tail}", width)


def _overall(title: str, share: float | None, tail: str, width: int) -> Text:
    """Return a title, a bar and the progress; the title is shortened first, then the bar.

    Args:
        title: Text that is safe to print.
        share: How much of the bar is filled (0..1); ``None`` for no bar.
        tail: The last words, never cut.
        width: Columns.
    """
    room = width - len(tail) - 2
    least = 10 if share is not None and room >= 20 else 0
    (name,) = shortened([title], max(room - least, 1))
    line = Text(name, style="bold").append("  ")
    space = min(width - line.cell_len - len(tail) - 1, _OVERALL)
    if share is not None and space >= 4:
        line.append_text(bar(share, space)).append(" ")
    return line.append(tail, style="bold" if share is not None else "bold cyan")


def _shown(attempt: Attempt, now: float) -> ShownTask:
    step, total, message = attempt.progress
    return ShownTask(
        attempt.name,
        now - attempt.t0,
        fraction(step, total) if total else None,
        step,
        message,
        None if attempt.status == RUNNING else "waiting to be stored",
    )
