"""Rows on a terminal: figures, bars, and running tasks in columns that fit the width."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from itertools import islice
from typing import Final, NamedTuple, TypeVar

from rich.text import Text

from pipeloom.data.differing import cells, shortened
from pipeloom.data.rates import age
from pipeloom.data.text import clean
from pipeloom.show.parts import DOT, Part

__all__ = ["ShownTask", "bar", "in_place", "line_of", "task_rows"]

_NAME: Final = 500  # characters of a name that are considered
_MESSAGE: Final = 200
_WIDE: Final = 60  # columns from which a task has a bar, and its message a column of its own
_BAR: Final = 24
_TIME: Final = 8  # cells of most times
_PERCENT: Final = 5
_LEAST: Final = 8


K = TypeVar("K", bound=Hashable)


def in_place(before: Sequence[K | None], now: Sequence[K], rows: int) -> list[K | None]:
    """Return which task is in which row: a task that is shown keeps its row while it runs.

    Args:
        before: What was in each row at the last look; ``None`` for a free row.
        now: What runs, in the order in which it takes free rows: longest-running first.
        rows: The number of rows.

    Returns:
        What is in each row, down to the last one in use; ``None`` is a free row between others.
    """
    runs = set(now)
    placed = [key if key in runs else None for key in before[:rows]]
    known = {key for key in placed if key is not None}
    fresh = iter([key for key in now if key not in known])
    placed = [key if key is not None else next(fresh, None) for key in placed]
    placed += islice(fresh, rows - len(placed))
    while placed and placed[-1] is None:
        placed.pop()
    return placed


class ShownTask(NamedTuple):
    """A running task.

    Attributes:
        name: Its name.
        elapsed_s: How long it has been running; ``None`` if unknown.
        share: The share that is done (0..1); ``None`` if it does not report one.
        step: Its steps so far, if it does not report their total.
        message: Its own message.
        remark: A remark to show before the message.
    """

    name: str
    elapsed_s: float | None
    share: float | None = None
    step: float = 0.0
    message: str | None = None
    remark: str | None = None


def bar(share: float, width: int) -> Text:
    """Return a bar of ``width`` cells, filled by ``share`` (0..1); it can be read without colours."""
    filled = int(share * width)
    return Text().append("━" * filled, style="green").append("─" * (width - filled), style="dim")


def line_of(parts: Sequence[Part], indent: str = "  ") -> Text:
    """Return parts as one line."""
    line = Text(indent)
    for place, part in enumerate(parts):
        line.append(DOT if place else "", style="dim").append(part.text, style=part.style)
    return line


def task_rows(tasks: Sequence[ShownTask | None], width: int, room: int, total: int | None = None) -> list[Text]:
    """Return as many running tasks as fit, and a count of the rest.

    Args:
        tasks: n of them, 0 or more; ``None`` is a free row.
        width: Columns.
        room: Rows; 0 or less for none.
        total: How many tasks run, if more than those.
    """
    total = max(total or 0, sum(task is not None for task in tasks))
    if room <= 0 or not total:
        return []
    shown = tasks[: room if total <= room else room - 1]
    known = [task for task in shown if task is not None]
    has_progress = any(task.share is not None or task.step for task in known)
    bar_cells = max(min(width // 5, _BAR), 4) if has_progress and width >= _WIDE else 0
    room = width - 4 - 2 - _TIME - (bar_cells + 1 if bar_cells else 0) - (_PERCENT + 2 if has_progress else 0)
    if width >= _WIDE and any(task.message for task in known):
        room -= max(room // 3, 12)  # messages keep a third of the remaining width
    names = shortened([clean(task.name, _NAME) for task in known], max(room, _LEAST))
    name_cells = max(map(cells, names), default=0)
    times = ["" if task.elapsed_s is None else age(task.elapsed_s) for task in known]
    time_cells = max(map(len, times), default=0)
    rows = []
    for task, name, time in zip(known, names, times, strict=True):
        line = Text().append("  ▸ ", style="cyan").append(name)
        line.append(" " * (name_cells - cells(name) + 2))
        if has_progress:
            line.append_text(_progress(task, bar_cells)).append("  ")
        line.append(time.rjust(time_cells), style="dim")
        if task.remark:
            line.append("  " + task.remark, style="yellow")
        if task.message and line.cell_len + _LEAST < width:
            line.append("  " + clean(task.message, _MESSAGE))
        line.truncate(width, overflow="ellipsis")
        rows.append(line)
    found = iter(rows)
    rows = [Text() if task is None else next(found) for task in shown]
    if total > len(known):
        rows.append(Text(f"  … and {total - len(known):,} more running"))
    return rows


def _progress(task: ShownTask, bar_cells: int) -> Text:
    """Return a bar and a percentage, or the steps so far of a task that does not report their total."""
    room = bar_cells + 1 + _PERCENT if bar_cells else _PERCENT
    if task.share is None:
        return Text((f"{task.step:,.0f}" if task.step else "")[:room].rjust(room))
    percent = f"{int(task.share * 100):3d} %"
    return bar(task.share, bar_cells).append(" " + percent) if bar_cells else Text(percent)
