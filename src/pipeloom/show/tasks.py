"""Rows on a terminal: figures, bars, and running tasks in columns as wide as there is room."""

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

_NAME: Final = 500  # characters of a name that are looked at
_MESSAGE: Final = 200
_WIDE: Final = 60  # columns from which a task has a bar, and its message room of its own
_BAR: Final = 24
_TIME: Final = 8  # cells of most times
_PERCENT: Final = 5
_LEAST: Final = 8


K = TypeVar("K", bound=Hashable)


def in_place(before: Sequence[K | None], now: Sequence[K], rows: int) -> list[K | None]:
    """Return which task stands in which row: what was shown keeps its row while it runs.

    Args:
        before: What stood in each row at the last look, ``None`` where there was nothing.
        now: What runs, in the order in which it takes free rows: the longest-running first.
        rows: How many rows there are.

    Returns:
        What stands in each row, as far down as there is anything; ``None`` is a free row between others.
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
        name: As the task is called.
        elapsed_s: For how long it has been running; ``None`` when that is not known.
        share: How much of it is done (0..1); ``None`` when it does not say.
        step: Its steps so far, when it does not say how many there are.
        message: What it says itself.
        remark: What is to be said of it first.
    """

    name: str
    elapsed_s: float | None
    share: float | None = None
    step: float = 0.0
    message: str | None = None
    remark: str | None = None


def bar(share: float, width: int) -> Text:
    """Return a bar of ``width`` cells, filled by ``share`` (0..1); without colours too, it shows how far it is."""
    filled = int(share * width)
    return Text().append("━" * filled, style="green").append("─" * (width - filled), style="dim")


def line_of(parts: Sequence[Part], indent: str = "  ") -> Text:
    """Return parts as one line."""
    line = Text(indent)
    for place, part in enumerate(parts):
        line.append(DOT if place else "", style="dim").append(part.text, style=part.style)
    return line


def task_rows(tasks: Sequence[ShownTask | None], width: int, room: int, total: int | None = None) -> list[Text]:
    """Return as many running tasks as fit, and how many more there are.

    Args:
        tasks: n of them, 0 or more; ``None`` is a row that is free.
        width: Columns.
        room: Rows, 0 or less for none.
        total: How many run, if there are more than those.
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
        room -= max(room // 3, 12)  # messages keep a third of what is left to both
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
    """Return a bar and a percentage, or the steps so far of a task that does not say how many there are."""
    room = bar_cells + 1 + _PERCENT if bar_cells else _PERCENT
    if task.share is None:
        return Text((f"{task.step:,.0f}" if task.step else "")[:room].rjust(room))
    percent = f"{int(task.share * 100):3d} %"
    return bar(task.share, bar_cells).append(" " + percent) if bar_cells else Text(percent)
