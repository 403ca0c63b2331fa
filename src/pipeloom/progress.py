"""Progress bars of Rich for people who drive a writer themselves; a run's own screen is in ``screen``."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from pipeloom.data.text import clean
from pipeloom.show.console import console
from pipeloom.show.streams import same_terminal
from pipeloom.statuses import DONE

if TYPE_CHECKING:
    from pipeloom.ledger import Said

_MOST_SHOWN: Final = 16

__all__ = ["make_overall_progress", "make_task_progress", "preregister_task_bars"]


def make_overall_progress() -> Progress:
    """Return bars for whole runs on the shared console; they stay on screen when they end."""
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=False,
        redirect_stdout=same_terminal(sys.stdout, console.file),
    )


def make_task_progress() -> Progress:
    """Return bars for single tasks on the shared console; they are cleared when they end."""
    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        console=console,
        transient=True,
        redirect_stdout=same_terminal(sys.stdout, console.file),
    )


def preregister_task_bars(task_progress: Progress, num_tasks: int) -> dict[int, TaskID]:
    """Add a bar for each of the tasks 1 to ``num_tasks``.

    Rich draws every visible bar at every refresh. So bars are hidden until their task starts, and a writer shows
    sixteen at most at a time.

    Args:
        task_progress: Where to add them.
        num_tasks: n, 0 or more.

    Returns:
        Task id → bar, n entries.
    """
    return {
        number: task_progress.add_task(f"Task {number}", total=None, visible=False)
        for number in range(1, num_tasks + 1)
    }


class TaskBars:
    """Drives a writer's bars; the writer's thread, after the commit.

    Args:
        progress: The bars.
        bars: Task id → bar; a task without one is no error. A bar may be number 0.
    """

    def __init__(self, progress: Progress, bars: dict[int, TaskID]) -> None:
        self._progress = progress
        self._bars = bars
        self._shown: set[int] = set()
        # A user's own columns may read markup, which a task's name must not be.
        self._markup = any(
            isinstance(column, TextColumn) and column.markup and "description" in column.text_format
            for column in progress.columns
        )

    def show(self, said: Mapping[int, Said]) -> None:
        """Bring the bars to what a batch said."""
        for number, words in said.items():
            bar = self._bars.get(number)
            if bar is None:
                continue
            if words.finished is not None:
                self._finish(number, bar, words)
                continue
            if words.started is not None:
                if len(self._shown) < _MOST_SHOWN:
                    self._shown.add(number)
                name = clean(words.started.name, 60)
                self._progress.update(
                    bar,
                    description=escape(name) if self._markup else name,
                    completed=0,
                    visible=number in self._shown,
                )
            if words.progress is not None:
                self._progress.update(bar, completed=words.progress.step, total=words.progress.total)

    def _finish(self, number: int, bar: TaskID, words: Said) -> None:
        if words.finished is not None and words.finished.status == DONE:
            known = next((task.total for task in self._progress.tasks if task.id == bar), None)
            total = words.progress.total if words.progress is not None else known or 1
            self._progress.update(bar, total=total, completed=total)
        self._progress.remove_task(bar)
        self._shown.discard(number)
        del self._bars[number]
