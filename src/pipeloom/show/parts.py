"""The parts of a line on a terminal, with weights: a part that does not fit is left out as a whole."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from pipeloom.data.differing import cells

__all__ = ["DOT", "Part", "in_rows", "joined"]

DOT: Final = " · "


class Part(NamedTuple):
    """Some words of a line.

    Attributes:
        text: Text that is safe to print.
        style: A Rich style.
        weight: The lightest parts are dropped when there is no room for all; the heaviest one always stays.
    """

    text: str
    style: str = ""
    weight: int = 0


def in_rows(parts: Sequence[Part], width: int, most: int | None = None) -> list[list[Part]]:
    """Return parts in rows no wider than ``width``.

    Args:
        parts: n of them, 0 or more.
        width: In cells.
        most: The most rows, 1 or more: the lightest parts are dropped until the others fit, and at least one stays.
    """
    kept = list(parts)
    while True:
        rows = list(_rows(kept, width))
        if most is None or len(rows) <= most or len(kept) == 1:
            return rows
        kept.remove(min(kept, key=lambda part: part.weight))


def _rows(parts: Sequence[Part], width: int) -> Iterator[list[Part]]:
    row: list[Part] = []
    for part in parts:
        if row and cells(joined([*row, part])) > width:
            yield row
            row = []
        row.append(part)
    if row:
        yield row


def joined(parts: Sequence[Part]) -> str:
    """Return parts as plain text."""
    return DOT.join(part.text for part in parts)
