"""A table that fits the terminal: columns are as wide as their content, and marked ones shrink when space is short.

Rich's own table shrinks all columns at once, and takes a millisecond per row.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

from rich.cells import cell_len, set_cell_size
from rich.segment import Segment
from rich.text import Text

from pipeloom.data.differing import shortened

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderableType, RenderResult

__all__ = ["Cell", "Grid", "Trimmed"]

Cell = str | tuple[str, str] | Text
"""Cleaned text, cleaned text with its style, or text with several styles."""

_MARKS: Final = ">~?+"
_GAP: Final = 2
_STEPS: Final = (60, 36, 28, 20)  # cells that a shrinking column keeps while another can still shrink
_PLENTY: Final = 32
_LEAST: Final = 8  # cells that it always keeps


class Grid:
    """A table as a Rich renderable; its text must already be cleaned.

    Args:
        heads: One per column, with optional marks in front. ``>`` aligns right. ``~`` lets the column shrink; all
            such columns but the last hold names, which are cut to the part that differs. ``?`` drops the column
            when the others would have too little room, ``+`` when they would not have plenty.
        rows: n rows, each with one cell per column.
        indent: Spaces before each line.
    """

    def __init__(self, heads: Sequence[str], rows: Sequence[Sequence[Cell]], *, indent: int = 0) -> None:
        self._heads = [head.lstrip(_MARKS) for head in heads]
        marks = [head[: len(head) - len(name)] for head, name in zip(heads, self._heads, strict=True)]
        self._right = [">" in mark for mark in marks]
        self._giving = [place for place, mark in enumerate(marks) if "~" in mark]
        # Columns that may be dropped, and the room each shrinking column must have for them to stay.
        self._spare = {
            place: _PLENTY if "+" in mark else _STEPS[-1]
            for place, mark in enumerate(marks)
            if "?" in mark or "+" in mark
        }
        self._rows = rows
        self._indent = indent

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Draw the table in the available width."""
        room = options.max_width - self._indent
        widths = self._natural()
        below = self._below(widths, room)
        self._fit(widths, room, [place for place in self._giving if place != below])
        names = {place: self._shortened(place, widths[place]) for place in self._giving[:-1] if widths[place]}
        self._use_up(widths, names, room)
        heads = [head if place != below else "" for place, head in enumerate(self._heads)]
        yield self._line([(head, "dim") for head in heads], widths)
        for number, row in enumerate(self._rows):
            cells = list(row)
            for place, short in names.items():
                cells[place] = short[number]
            yield self._line(cells, widths)
            if below is not None and _width(row[below]):
                start = widths[0] + _GAP
                yield Text(" " * (self._indent + start), no_wrap=True, overflow="ellipsis", end="\n").append_text(
                    _joined(_fitted(row[below], room - start, right=False, fill=False))
                )

    def _natural(self) -> list[int]:
        """Return the full width of each column; 0 for an empty column that may be dropped."""
        widths = [max((_width(row[place]) for row in self._rows), default=0) for place in range(len(self._heads))]
        return [
            width and max(width, _width(head)) if self._spare.get(place) == _PLENTY else max(width, _width(head))
            for place, (width, head) in enumerate(zip(widths, self._heads, strict=True))
        ]

    def _below(self, widths: list[int], room: int) -> int | None:
        """Return the column to put on its own line below each row on a narrow terminal: the last one, or none."""
        if len(self._giving) < 2 or not self._rows:
            return None
        wanted = sum(min(widths[place], _STEPS[-1]) + _GAP for place in self._giving) - _GAP
        self._spare_some(widths, room, self._giving, plenty=True)
        if self._room(widths, room) >= wanted or not widths[0]:
            return None
        widths[self._giving[-1]] = 0
        return self._giving[-1]

    def _room(self, widths: list[int], room: int) -> int:
        """Return the room left for the shrinking columns."""
        return room - sum(width + _GAP for place, width in enumerate(widths) if width and place not in self._giving)

    def _shortened(self, place: int, width: int) -> list[Cell]:
        """Return the names in a column, cut to the part that differs."""
        cells = [row[place] for row in self._rows]
        texts = [
            cell if isinstance(cell, str) else cell.plain if isinstance(cell, Text) else cell[0] for cell in cells
        ]
        short = shortened(texts, width)
        return [
            (text, cell[1]) if isinstance(cell, tuple) else text for cell, text in zip(cells, short, strict=True)
        ]

    def _fit(self, widths: list[int], room: int, giving: list[int]) -> None:
        """Shrink columns and drop spare ones until the row fits; 0 means dropped."""
        self._spare_some(widths, room, giving, plenty=False)
        over = sum(width + _GAP for width in widths if width) - _GAP - room
        for floor in (*_STEPS, _LEAST):  # the widest first, then all equally
            for place in sorted(giving, key=lambda column: -widths[column]):
                given = max(min(over, widths[place] - floor), 0)
                widths[place] -= given
                over -= given

    def _spare_some(self, widths: list[int], room: int, giving: list[int], *, plenty: bool) -> None:
        """Drop spare columns that leave the shrinking ones too little room."""
        for place, least in reversed(self._spare.items()):
            wanted = sum(min(widths[name], least) + _GAP for name in giving) - _GAP
            if (least == _PLENTY) == plenty and self._room(widths, room) < wanted:
                widths[place] = 0

    def _use_up(self, widths: list[int], names: dict[int, list[Cell]], room: int) -> None:
        """Give the last column the room that shortened names free up."""
        for place, cells in names.items():
            widths[place] = max([_width(self._heads[place]), *map(_width, cells)])
        last = self._giving[-1] if self._giving else 0
        if names and widths[last]:
            over = sum(width + _GAP for width in widths if width) - _GAP - room
            widths[last] = min(max(widths[last] - over, _LEAST), self._natural()[last])

    def _line(self, row: Sequence[Cell], widths: Sequence[int]) -> Text:
        line = Text(" " * self._indent, no_wrap=True, overflow="ellipsis", end="\n")
        shown = [place for place, width in enumerate(widths) if width]
        for place in shown:
            is_last = place == shown[-1]
            for text, style in _fitted(row[place], widths[place], right=self._right[place], fill=not is_last):
                line.append(text, style)
            if not is_last:
                line.append(" " * _GAP)
        line.rstrip()
        return line


class Trimmed:
    """Another renderable without the spaces at the end of its lines, with which Rich fills its tables."""

    def __init__(self, part: RenderableType) -> None:
        self._part = part

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Draw the other one, line by line."""
        for line in Segment.split_lines(console.render(self._part, options)):
            while line and not line[-1].text.strip(" "):
                line.pop()
            if line:
                text, style, control = line.pop()
                line.append(Segment(text.rstrip(" "), style, control))
            yield from line
            yield Segment.line()


def _joined(parts: Iterator[tuple[str | Text, str | None]]) -> Text:
    line = Text()
    for text, style in parts:
        line.append(text, style)
    return line


def _width(cell: Cell) -> int:
    if isinstance(cell, Text):
        return cell.cell_len
    text = cell if isinstance(cell, str) else cell[0]
    return len(text) if text.isascii() else cell_len(text)


def _fitted(cell: Cell, width: int, *, right: bool, fill: bool) -> Iterator[tuple[str | Text, str | None]]:
    """Yield a cell's text at exactly this width, with its style; the last column is not padded."""
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
