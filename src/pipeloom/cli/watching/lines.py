"""Fit lines of text to a width in cells; a character takes 0, 1 or 2 cells on the screen."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import Final

from rich.cells import chop_cells
from rich.text import Text

__all__ = ["fit", "folded", "joined", "wrapped"]

_DOT: Final = Text(" · ", style="dim")


def fit(line: Text, width: int) -> Text:
    """Cut a line to a width, marking the cut with ``…``. Changes the line in place and returns it."""
    line.truncate(max(width, 0), overflow="ellipsis")
    return line


def joined(parts: Sequence[Text], width: int, between: Text = _DOT) -> Text:
    """Return one line with as many parts as fit, at least the first."""
    return next(_filled(parts, width, between), Text())


def wrapped(parts: Sequence[Text], width: int, most: int, between: Text = _DOT) -> list[Text]:
    """Return parts on as many lines as needed, at most ``most``; the last one is cut if necessary."""
    lines = list(_filled(parts, width, between))
    if len(lines) > most:
        lines = [*lines[: most - 1], fit(Text(between.plain).join(lines[most - 1 :]), width)]
    return lines


def _filled(parts: Sequence[Text], width: int, between: Text) -> Iterator[Text]:
    line = Text()
    for part in parts:
        if line.cell_len and line.cell_len + between.cell_len + part.cell_len > width:
            yield line
            line = Text()
        if line.cell_len:
            line.append_text(between)
        line.append_text(fit(part.copy(), width))
    if line.cell_len:
        yield line


def folded(text: str | Text, width: int, style: str = "", indent: str = "") -> list[Text]:
    """Fold cleaned text, which may have line breaks, into lines of at most this width; nothing is cut."""
    room = max(width - len(indent), 1)
    lines = []
    for line in (Text(text, style=style) if isinstance(text, str) else text).split("\n", allow_blank=True):
        ends = accumulate(map(len, chop_cells(line.plain, room)))
        pieces = line.divide([end for end in ends if end < len(line)])
        lines += [Text(indent).append_text(piece) for piece in pieces]
    return lines
