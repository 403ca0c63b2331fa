"""A table that fits: columns as wide as what they hold, except those that give way when the terminal is narrow.

Rich's own table shrinks every column at once, and takes a millisecond per row.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

from rich.cells import cell_len, set_cell_size
from rich.text import Text

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult

__all__ = ["Cell", "Grid"]

Cell = str | tuple[str, str] | Text
"""Harmless text; with its style; or text of several styles."""

_GAP: Final = 2
_LEAST: Final = 8  # cells of a column that gives way,
_ENOUGH: Final = 24  # and as many as it keeps while another can give


class Grid:
    """A table as a renderable; its text must have been cleaned.

    Args:
        heads: One per column; ``>`` before it aligns to the right, ``~`` lets the column give way.
        rows: n rows, each with one cell per column.
        indent: Spaces before each line.
    """

    def __init__(self, heads: Sequence[str], rows: Sequence[Sequence[Cell]], *, indent: int = 0) -> None:
        self._heads = [head.lstrip(">~") for head in heads]
        self._right = [head.startswith(">") for head in heads]
        self._gives = [head.startswith("~") for head in heads]
        self._rows = rows
        self._indent = indent

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Draw it as wide as there is room."""
        widths = self._widths(options.max_width - self._indent)
        yield self._line([(head, "dim") for head in self._heads], widths)
        for row in self._rows:
            yield self._line(row, widths)

    def _widths(self, room: int) -> list[int]:
        widths = [
            max([_width(head), *(_width(row[place]) for row in self._rows)])
            for place, head in enumerate(self._heads)
        ]
        giving = [place for place, gives in enumerate(self._gives) if gives]
        over = sum(widths) + _GAP * (len(widths) - 1) - room
        # The last one, a message, gives way before the others, which tell one row from another; then both.
        *names, message = giving or [0]
        steps = [(message, _ENOUGH), *((name, _ENOUGH) for name in names), (message, _LEAST)]
        for place, floor in [*steps, *((name, _LEAST) for name in names)] if giving else ():
            given = max(min(over, widths[place] - floor), 0)
            widths[place] -= given
            over -= given
        return widths

    def _line(self, row: Sequence[Cell], widths: Sequence[int]) -> Text:
        line = Text(" " * self._indent, no_wrap=True, overflow="ellipsis", end="\n")
        last = len(widths) - 1
        for place, (cell, width) in enumerate(zip(row, widths, strict=True)):
            for text, style in _fitted(cell, width, right=self._right[place], fill=place < last):
                line.append(text, style)
            if place < last:
                line.append(" " * _GAP)
        line.rstrip()
        return line


def _width(cell: Cell) -> int:
    if isinstance(cell, Text):
        return cell.cell_len
    text = cell if isinstance(cell, str) else cell[0]
    return len(text) if text.isascii() else cell_len(text)


def _fitted(cell: Cell, width: int, *, right: bool, fill: bool) -> Iterator[tuple[str | Text, str | None]]:
    """Yield a cell's text in exactly this width, with its style; the last column is not filled up."""
    own = _width(cell)
    if right and own < width:
        yield " " * (width - own), None
    if own > width:
        text, style = (
            (cell.plain, None) if isinstance(cell, Text) else (cell, None) if isinstance(cell, str) else cell
        )
        yield set_cell_size(text, max(width - 1, 0)).rstrip() + "…", style
        own = width
    elif isinstance(cell, Text):
        yield cell, None
    else:
        yield (cell, None) if isinstance(cell, str) else cell
    if fill and not right and own < width:
        yield " " * (width - own), None
