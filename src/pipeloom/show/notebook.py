"""A run in a notebook: one display in its cell, updated during the run, and then the run's result.

Only HTML elements and inline styles, since a notebook keeps no style sheet. Text has the colour of the page, dark
or light, and coloured text is readable on both. No scripts; untrusted text is cleaned and escaped.
"""

from __future__ import annotations

import shlex
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from time import monotonic
from typing import TYPE_CHECKING, Any, Final
from uuid import uuid4

from pipeloom.data import stopwatch
from pipeloom.data.rates import fraction
from pipeloom.data.text import clean, near
from pipeloom.data.totals import how_many, totals
from pipeloom.db.connection import MEMORY
from pipeloom.show.failures import TIMES, Told
from pipeloom.show.figures import average, ending, totals_parts
from pipeloom.show.html import Html, join, tag
from pipeloom.show.parts import DOT, Part, joined
from pipeloom.statuses import DONE, FAILED

if TYPE_CHECKING:
    from pipeloom.report import FailureKind, RunReport
    from pipeloom.show.figures import Figures, Watched

__all__ = ["NotebookScreen", "Place", "figures_seen", "is_notebook", "keep_shown", "report_seen"]

Seen = tuple[Html, str]
"""What to display: HTML, and text for front ends that cannot show it."""

_PAUSE_S: Final = 0.5
_KINDS: Final = 10
_NAME: Final = 120
_NOTES: Final = 3
# Each has a contrast of at least 4 to 1 on white and on JupyterLab's black; the words say the same.
_COLOURS: Final = {"green": "#2b8a50", "red": "#d9453b", "yellow": "#a8710d"}
_CELL: Final = "text-align: left; vertical-align: top; padding: 0.1em 1em 0.1em 0; border: 0; background: none"
_COUNT: Final = f"{_CELL}; text-align: right; white-space: nowrap"
_BAR: Final = "width: 100%; max-width: 40em"
_SOFT: Final = "opacity: 0.75"


def _shell() -> Any:
    """Return the notebook's shell, or ``None``; imports nothing."""
    ipython = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    return shell if getattr(shell, "kernel", None) is not None else None


def is_notebook() -> bool:
    """Return whether this program is the kernel of a notebook; imports nothing."""
    return _shell() is not None


@dataclass(frozen=True, slots=True)
class Place:
    """The place in a notebook where a run is shown; any thread may update it.

    Attributes:
        cell: The number of the cell in this session.
        display: The id of the display in the cell.
    """

    cell: int
    display: str

    @classmethod
    def here(cls) -> Place | None:
        """Return a new place in the current cell; ``None`` outside a notebook."""
        shell = _shell()
        return None if shell is None else cls(shell.execution_count, uuid4().hex)

    @property
    def is_here(self) -> bool:
        """Whether its cell is being executed."""
        shell = _shell()
        return shell is not None and shell.execution_count == self.cell

    def begin(self, seen: Seen) -> None:
        """Create the display, in the current cell."""
        self._show(seen, update=False)

    def show(self, seen: Seen) -> None:
        """Update the display."""
        self._show(seen, update=True)

    def _show(self, seen: Seen, *, update: bool) -> None:
        from IPython.display import publish_display_data

        html, text = seen
        data, transient = {"text/html": str(html), "text/plain": text}, {"display_id": self.display}
        publish_display_data(data, transient=transient, update=update)  # type: ignore[no-untyped-call]  # IPython's are not typed


class NotebookScreen:
    """A run in the cell that started it: one display, which stays and ends with the run's result."""

    def __init__(self, figures: Figures, place: Place) -> None:
        self._figures = figures
        self._place = place
        self._notes: list[str] = []
        self._shown_at = 0.0

    def start(self, run: Watched) -> None:
        """Begin."""
        self._figures.begin(run)
        self._place.begin(figures_seen(self._figures))
        self._shown_at = monotonic()

    def tick(self) -> None:
        """Show the progress, if it is time."""
        if monotonic() - self._shown_at >= _PAUSE_S:
            self._show()

    def note(self, text: str) -> None:
        """Show one line that stays."""
        self._notes = [*self._notes, text][-_NOTES:]
        self._show()

    def stop(self) -> None:
        """Show the result; stopping twice is fine."""
        if not self._figures.over:
            self._figures.over = True
            self._show()

    def _show(self) -> None:
        self._shown_at = monotonic()
        self._place.show(figures_seen(self._figures, self._notes))


def keep_shown(place: Place, seen: Callable[[], Seen], over: threading.Event) -> None:
    """Show something in the current cell, and refresh it twice a second until it is over; returns at once.

    Args:
        place: A new place.
        seen: Returns what to display now.
        over: Set when it no longer changes.
    """
    was_over = over.is_set()  # read first: afterwards, `seen` may already be out of date
    place.begin(seen())
    if was_over:
        return

    def keep() -> None:
        while not over.wait(_PAUSE_S):
            place.show(seen())
        place.show(seen())

    # Not in this context, which names the current cell: that cell may be over, and a display is found by its id.
    threading.Thread(target=keep, name="pipeloom-display", daemon=True).start()


# --- what is displayed ---


def figures_seen(figures: Figures, notes: Sequence[str] = ()) -> Seen:
    """Return the current state of a run.

    Args:
        figures: Its figures.
        notes: The lines printed during the run.
    """
    parts = figures.summary(stopwatch.monotonic())
    share = None if figures.over or figures.expected is None else fraction(figures.seen, figures.expected)
    of = f"{figures.seen:,}" + (f" of {figures.expected:,}" if figures.expected is not None else "")
    head = [*([] if figures.over else [Part(of)]), *parts]
    kinds = [(told, f"last {clean(told.name, _NAME)}") for told in figures.kinds()]
    html = _run(figures.title, head, kinds, share=share, below=[clean(note, 300) for note in notes])
    return html, f"{figures.title}: {joined(head)}"


def report_seen(report: RunReport, title: str | None = None) -> Seen:
    """Return the result of a run, with commands that show more.

    Args:
        report: The run's report.
        title: What was run, instead of its pipeline.
    """
    bad = how_many(report, FAILED)
    parts = [
        ending(report.status, 0, bad),
        *totals_parts(totals(report, always=(DONE,))),
        *average(report.total - report.skipped, report.elapsed_s),
    ]
    kinds = [(_told(kind), _which(kind)) for kind in report.kinds]
    return _run(title or report.pipeline or "run", parts, kinds, share=None, below=list(_further(report))), str(
        report
    )


def _told(kind: FailureKind) -> Told:
    message = kind.first.message if kind.count == 1 else kind.message
    return Told(kind.count, kind.status, kind.exception, kind.place, message, str(kind.last))


def _which(kind: FailureKind) -> str:
    first, last = clean(kind.first.key, _NAME), clean(kind.last, _NAME)
    return first if kind.count == 1 else f"first {first}, last {last}"


def _further(report: RunReport) -> Iterator[Html]:
    """Yield the commands to type next, if something failed."""
    if not report.kinds or report.run_id is None or report.db == MEMORY:
        return
    db = clean(shlex.quote(near(report.db)))
    first = tag("code", f"!pipeloom errors --kind {report.kinds[0].id} --db {db}")
    yield join("the first kind, with its traceback and keys: ", first)
    every = tag("code", f"!pipeloom errors --run {report.run_id} --db {db}")
    yield join("all failures: ", every, "; in Python: ", tag("code", "report.kinds"))


def _run(
    title: str,
    parts: Sequence[Part],
    kinds: Sequence[tuple[Told, str]],
    *,
    share: float | None,
    below: Sequence[Any],
) -> Html:
    """Return a run as HTML.

    Args:
        title: What is run.
        parts: Its figures in words.
        kinds: Its kinds of failure, most frequent first, each with the names of some tasks.
        share: The share that is done, 0..1, if it is shown.
        below: Lines to add below.
    """
    bar = None if share is None else tag("progress", value=f"{share:.4f}", max=1, style=_BAR)
    lines = (tag("div", line, style=_SOFT) for line in below)
    return tag(
        "div",
        tag("div", tag("b", clean(title, 80)), *(join(DOT, _styled(part)) for part in parts)),
        None if bar is None else tag("div", bar),
        _kinds(kinds),
        *lines,
        style="margin: 0.2em 0; overflow-wrap: anywhere",
    )


def _styled(part: Part) -> Html:
    *weight, colour = part.style.split() or [""]
    style = [f"color: {_COLOURS[colour]}"] if colour in _COLOURS else []
    style += ["font-weight: bold"] if weight else []
    return tag("span", part.text, style="; ".join(style)) if style else join(part.text)


def _kinds(kinds: Sequence[tuple[Told, str]]) -> Html | None:
    if not kinds:
        return None
    rows = list(map(_row, *zip(*kinds[:_KINDS], strict=True)))
    if left := kinds[_KINDS:]:
        told = f"… and {sum(told.number for told, _ in left):,} more, of {len(left):,} other kinds"
        rows.append(tag("tr", tag("td", style=_COUNT), tag("td", told, colspan=3, style=f"{_CELL}; {_SOFT}")))
    return tag("table", tag("tbody", *rows), style="margin: 0.3em 0; border: 0; border-collapse: collapse")


def _row(told: Told, which: str) -> Html:
    reason = [tag("b", told.what, style=f"color: {_COLOURS['red']}")]
    message = clean(told.message, 300)
    return tag(
        "tr",
        tag("td", f"✗ {told.number:,} {TIMES}", style=_COUNT),
        tag("td", *reason, f": {message}" if message else None, style=_CELL),
        tag("td", told.where, style=_CELL),
        tag("td", which, style=f"{_CELL}; {_SOFT}"),
    )
