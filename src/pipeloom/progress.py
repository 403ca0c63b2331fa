"""Rich progress bars for programs that drive a writer themselves; a run's own display is in ``screen``."""

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
    """Return progress bars for whole runs on the shared console; finished bars stay on screen."""
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
    """Return progress bars for single tasks on the shared console; finished bars are removed."""
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
    """Add a hidden bar for each of the tasks 1 to ``num_tasks``.

    Rich draws every visible bar at every refresh, so each bar is hidden until its task starts, and a writer shows
    at most 16 at a time.

    Args:
        task_progress: The progress display to add the bars to.
        num_tasks: How many bars, 0 or more.

    Returns:
        A mapping from task id to bar, with ``num_tasks`` entries.
    """
    return {
        number: task_progress.add_task(f"Task {number}", total=None, visible=False)
        for number in range(1, num_tasks + 1)
    }


class TaskBars:
    """Updates the bars of a writer; called in the writer's thread, after each commit.

    Args:
        progress: The display that holds the bars.
        bars: Task id → bar. Tasks without a bar are ignored. Note that 0 is a valid bar id.
    """

    def __init__(self, progress: Progress, bars: dict[int, TaskID]) -> None:
        self._progress = progress
        self._bars = bars
        self._shown: set[int] = set()
        # The user's own columns may interpret markup; a task's name must be shown literally.
        self._markup = any(
            isinstance(column, TextColumn) and column.markup and "description" in column.text_format
            for column in progress.columns
        )

    def show(self, said: Mapping[int, Said]) -> None:
        """Update the bars from the messages of one batch."""
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
