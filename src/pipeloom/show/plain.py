"""A run without a terminal: a plain line every few seconds, for logs and pipes."""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING, Final

from rich.text import Text

from pipeloom.data import stopwatch
from pipeloom.data.text import clean
from pipeloom.show.failures import TIMES, in_words, more_kinds
from pipeloom.show.figures import told_of
from pipeloom.show.parts import joined

if TYPE_CHECKING:
    from rich.console import Console

    from pipeloom.show.figures import Figures, Watched

__all__ = ["LineScreen"]

_LINE_S: Final = 5.0
_FIRST_S: Final = 1.0  # a shorter run prints nothing: its report or its exception says everything
_NEW: Final = 10  # kinds of failure that are printed when they first occur
_KINDS: Final = 10
_NAME: Final = 200


class LineScreen:
    """A plain line every five seconds, one for each new kind of failure, and all kinds at the end."""

    def __init__(self, figures: Figures, console: Console) -> None:
        self._figures = figures
        self._console = console
        self._said_at = self._looked_at = monotonic()
        self._said = False
        self._told: set[str] = set()

    def start(self, run: Watched) -> None:
        """Begin."""
        self._figures.begin(run)

    def tick(self) -> None:
        """Print a line if it is time."""
        now = monotonic()
        if now - self._looked_at >= _FIRST_S:
            self._looked_at = now
            self._tell_new_kinds()
        if now - self._said_at >= _LINE_S:
            self._say()

    def note(self, text: str) -> None:
        """Print one line that stays."""
        self._print(text)

    def stop(self) -> None:
        """Print how the run ended, if anything has been printed; stopping twice is fine."""
        self._figures.over = True
        if self._said:
            self._say()
            self._tell_all_kinds()
        self._said = False

    def _say(self) -> None:
        self._said_at = monotonic()
        figures = self._figures
        of = f"/{figures.expected:,}" if figures.expected is not None else ""
        self._said = True
        self._print(f"{figures.title}: {figures.seen:,}{of} · {joined(figures.summary(stopwatch.monotonic()))}")

    def _tell_new_kinds(self) -> None:
        if len(self._told) >= _NEW or self._figures.run is None:
            return
        for found in self._figures.run.kinds:
            if found.kind.id not in self._told and len(self._told) < _NEW:
                self._told.add(found.kind.id)
                self._said = True
                more = " (further kinds are listed at the end)" if len(self._told) == _NEW else ""
                told = told_of(found, found.example)
                name = clean(told.name, _NAME)
                self._print(f"{self._figures.title}: ✗ first failure of its kind: {name}: {in_words(told)}{more}")

    def _tell_all_kinds(self) -> None:
        kinds = self._figures.kinds()
        for told in kinds[:_KINDS]:
            self._print(f"  ✗ {told.number:,} {TIMES} {in_words(told)}; last {clean(told.name, _NAME)}")
        if len(kinds) > _KINDS:
            self._print(f"  … and {more_kinds(len(kinds) - _KINDS)}")

    def _print(self, text: str) -> None:
        self._console.print(Text(text), soft_wrap=True)
