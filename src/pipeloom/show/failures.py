"""Failures by kind, as lines on a terminal and as plain text: count, type, place, message and a task's name."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

from pipeloom.data.differing import cells, shortened
from pipeloom.data.kinds import short
from pipeloom.data.text import clean
from pipeloom.data.totals import spelled
from pipeloom.statuses import ERROR

if TYPE_CHECKING:
    from rich.text import Text

__all__ = ["TIMES", "Told", "in_words", "kind_lines", "kind_rows", "more_kinds", "rows_of_kind"]

TIMES: Final = "\N{MULTIPLICATION SIGN}"
_NAME: Final = 500
_MESSAGE: Final = 300
_ONE_ROW: Final = 110  # columns from which a kind's type, place, message and last task fit in one row
_TWO_ROWS: Final = 60  # columns from which they fit in two
_ENOUGH: Final = 24  # cells of a message that take precedence over a name


class Told(NamedTuple):
    """One kind of failure.

    Attributes:
        number: How many tasks failed in this way, 1 or more.
        status: Their final status.
        exception: The exception's type, as a traceback names it; ``None`` if there was none.
        place: ``file:line in function``; ``None`` if unknown.
        message: The common part of their messages.
        name: The name of one such task: the last one on a screen, the first one when the kind is new.
    """

    number: int
    status: str
    exception: str | None
    place: str | None
    message: str
    name: str

    @property
    def what(self) -> str:
        """The type without its module, or the status if there was no exception."""
        if self.exception is None:
            return clean(spelled(self.status), 60)
        name = clean(self.exception.rpartition(".")[2], 60)
        return name if self.status == ERROR else f"{name} ({clean(spelled(self.status), 20)})"

    @property
    def where(self) -> str:
        """The place without the directory of its file."""
        return clean(short(self.place), 120) if self.place else ""


def more_kinds(number: int) -> str:
    """Return how many kinds are left out, in words."""
    return f"{number:,} more {'kind' if number == 1 else 'kinds'} of failure"


def in_words(told: Told) -> str:
    """Return a kind as one plain line without its count: ``ValueError at load.py:14 in parse: bad number``."""
    at = f" at {told.where}" if told.where else ""
    why = f": {clean(told.message, _MESSAGE)}" if told.message else ""
    return f"{told.what}{at}{why}"


def rows_of_kind(width: int) -> int:
    """Return how many rows a kind takes on a terminal of this width, if there is room."""
    return 1 if width >= _ONE_ROW else 2 if width >= _TWO_ROWS else 3


def kind_rows(kinds: Sequence[Told], width: int, rows: int) -> list[Text]:
    """Return rows no wider than ``width``: as many kinds as fit, in fewer rows each if there is little room.

    Args:
        kinds: The kinds, most important first.
        width: Columns.
        rows: The most rows to return, 0 or more.
    """
    from rich.text import Text

    if not kinds or rows <= 0:
        return []
    each = next((most for most in range(rows_of_kind(width), 0, -1) if most * len(kinds) <= rows), 1)
    shown = kinds if each * len(kinds) <= rows else kinds[: max(rows - 1, 1)]  # one row says how many are left out
    found = [line for lines in kind_lines(shown, width, each) for line in lines]
    if len(shown) < len(kinds) and len(found) < rows:
        more = Text(f"  … and {more_kinds(len(kinds) - len(shown))}", style="red")
        more.truncate(width, overflow="ellipsis")
        found.append(more)
    return found


def kind_lines(kinds: Sequence[Told], width: int, each: int) -> list[list[Text]]:
    """Return the rows of each kind, at most ``each`` of them."""
    digits = max((len(f"{told.number:,}") for told in kinds), default=1)
    room = max(width - digits - 9, 1) if each == 3 else max(width // (5 - each), 12)
    names = shortened([clean(told.name, _NAME) for told in kinds], room)
    found = []
    for told, name in zip(kinds, names, strict=True):
        lines = list((_one_row if each == 1 else _more_rows)(told, name, digits, width, each))
        for line in lines:
            line.truncate(width, overflow="ellipsis")
        found.append(lines)
    return found


def _head(told: Told, digits: int) -> Text:
    from rich.text import Text

    return Text().append(f"  ✗ {told.number:>{digits},} {TIMES} ", style="red").append(told.what, style="bold red")


def _one_row(told: Told, name: str, digits: int, width: int, _each: int) -> Iterator[Text]:
    line = _head(told, digits)
    message = clean(told.message, _MESSAGE)
    room = width - line.cell_len - (min(cells(message), _ENOUGH) + 2 if message else 0)
    place, last = f"  {told.where}" if told.where else "", f"  last {name}"
    shows_place = 0 < cells(place) <= room
    room -= cells(place) if shows_place else 0
    shows_last = cells(last) <= room
    line.append(place if shows_place else "")
    if message:
        cut = _cut(message, width - line.cell_len - 2 - (cells(last) if shows_last else 0))
        line.append(f"  {cut}", style="red")
    yield line.append(last) if shows_last else line


def _more_rows(told: Told, name: str, digits: int, width: int, each: int) -> Iterator[Text]:
    from rich.text import Text

    line = _head(told, digits)
    room = width - line.cell_len - 2
    where = next((where for where in (told.where, told.where.partition(" in ")[0]) if cells(where) <= room), "")
    yield line.append(f"  {where}") if where else line
    indent, message, last = " " * (digits + 4), clean(told.message, _MESSAGE), f"last {name}"
    room = width - len(indent)
    beside = room - cells(last) - 2  # room for a message in the same row as the name
    if not message:
        yield Text(indent + last)
    elif each == 3:
        yield Text(indent).append(_cut(message, room), style="red")
        yield Text(indent + last)
    elif beside >= min(cells(message), _ENOUGH):
        yield Text(indent).append(_cut(message, beside), style="red").append("  " + last)
    else:
        yield Text(indent).append(_cut(message, room), style="red")


def _cut(text: str, room: int) -> str:
    from rich.text import Text

    cut = Text(text)
    cut.truncate(max(room, 1), overflow="ellipsis")
    return cut.plain
