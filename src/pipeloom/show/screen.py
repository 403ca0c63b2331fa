"""How a run is shown while it runs: a section of the live region on a terminal, plain lines elsewhere.

The thread that waits for the run makes both, a few times a second, from the committed counts and the workers'
slots: the cost depends on what fits on the screen, not on the number of tasks.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from rich.errors import LiveError

from pipeloom.data.text import clean, describe
from pipeloom.show.console import SharedConsole
from pipeloom.show.figures import Figures
from pipeloom.show.live import LiveScreen
from pipeloom.show.notebook import NotebookScreen
from pipeloom.show.plain import LineScreen

if TYPE_CHECKING:
    from rich.console import Console

    from pipeloom.show.figures import Watched
    from pipeloom.show.notebook import Place

__all__ = ["Screen", "screen_for"]

logger = logging.getLogger("pipeloom")


class Screen(Protocol):
    """Shows a run; used in one thread."""

    def start(self, run: Watched) -> None:
        """Begin."""

    def tick(self) -> None:
        """Draw if it is time."""

    def note(self, text: str) -> None:
        """Print one line that stays."""

    def stop(self) -> None:
        """Draw the final state and release the terminal; stopping twice is fine."""


def screen_for(
    title: str, expected: int | None, console: Console, place: Place | None = None, began: float | None = None
) -> Screen:
    """Choose a screen: a display in a notebook, a section of the live region on a terminal, else plain lines.

    Args:
        title: What is run.
        expected: How many inputs were passed; ``None`` if unknown.
        console: Where to print.
        place: The current notebook cell, if there is one.
        began: When the run began, by ``stopwatch.monotonic``. Default: now.
    """
    figures = Figures(clean(title, 60), expected, began)
    if place is not None:
        return SafeScreen(NotebookScreen(figures, place))
    lines = LineScreen(figures, console)
    if isinstance(console, SharedConsole) and console.has_region:
        return SafeScreen(LiveScreen(figures, console), lines)
    return SafeScreen(lines)


class SafeScreen:
    """A screen that never fails a run: its first error is logged, and the screen is dropped.

    Args:
        screen: Shows the run.
        instead: Shows the run if there is no terminal to draw on.
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
            except Exception as error:  # noqa: BLE001 - a fault of a screen must not end a run
                self._screen = None
                logger.warning("the screen failed and was dropped, the run continues: %s", describe(error))
