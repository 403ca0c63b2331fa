"""Names shortened by what they have in common: among ``/data/2013/part-0001.csv`` and similar, keep ``part-0001``.

Pure text, measured in cells, the width of a character on a terminal: 0, 1 or 2. Cost: one sort, and a few dozen
comparisons per name, however long the names are.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from typing import Final, NamedTuple
from unicodedata import category, east_asian_width

__all__ = ["cells", "shortened"]

_CUT: Final = "…"
_HEAD: Final = 4  # the shortest beginning worth keeping, in cells
_HEAD_IN_A_WORD: Final = 8  # the same if it ends within a word
_BEFORE: Final = 3  # characters kept before a difference deep in a long word
_SEPARATORS: Final = "/\\?& "
_PART: Final = re.compile(
    r"(?<=[/\\ ?&])(?![/\\ ?&])|(?<![/\\ ?&])(?=[/\\?&])"
)  # the start of a folder, parameter or word
_WORD: Final = re.compile(r"(?<![^\W_])(?=[^\W_])")  # the start of letters and digits
_NO_CELL: Final = frozenset({"Mn", "Me", "Cf"})


def cells(text: str) -> int:
    """Return how many cells a text takes on a terminal."""
    return len(text) if text.isascii() else sum(map(_cells_of, text))


def _cells_of(char: str) -> int:
    if char.isascii():
        return 1
    if east_asian_width(char) in "WF":
        return 2
    return 0 if category(char) in _NO_CELL else 1


def shortened(names: Sequence[str], width: int) -> list[str]:
    """Shorten names that are shown together, keeping the part in which they differ readable.

    The common beginning is cut first (``/home/…/part-0001.csv``), at the start of a folder or a word if there is
    room, then the text after the difference. A name that has nothing in common with others is cut in the middle.

    Args:
        names: Harmless single lines (see ``text.clean``), n of them, 0 or more; may repeat.
        width: The most cells that each may take, 1 or more.

    Returns:
        n names of at most ``width`` cells, in the same order; names that fit are unchanged.
    """
    long = {name for name in names if cells(name) > width}
    if not long:
        return list(names)
    shares = _shared(names)
    short = {name: _shorten(name, shares[name], width) for name in long}
    # Cut to the last difference, names with two differences (1/x, 2/x beside 1/y, 2/y) may have become the same.
    often = Counter(short.get(name, name) for name in shares)
    for name, cut in short.items():
        if often[cut] > 1:
            short[name] = _twice_cut(name, shares[name], width)
    return [short.get(name, name) for name in names]


class _Shared(NamedTuple):
    """How many characters a name shares: its start with all and with the most similar name, its end with all."""

    by_all: int
    by_next: int
    end: int


def _shared(names: Sequence[str]) -> dict[str, _Shared]:
    """Return what each name shares with the others; its most similar name is a neighbour in sorted order."""
    order = sorted(set(names))
    if len(order) == 1:
        return {order[0]: _Shared(0, 0, 0)}
    after = [_common(one, other) for one, other in pairwise(order)]
    by_all = _common(order[0], order[-1])
    backwards = sorted(name[::-1] for name in order)
    end = _common(backwards[0], backwards[-1])
    return {
        name: _Shared(by_all, max(left, right), min(end, len(name) - max(left, right)))
        for name, left, right in zip(order, [0, *after], [*after, 0], strict=True)
    }


def _common(one: str, other: str) -> int:
    """Return how many leading characters are the same; bisects, since comparing slices takes almost no time."""
    most = min(len(one), len(other))
    return bisect_left(range(1, most + 1), True, key=lambda count: one[:count] != other[:count])


def _shorten(name: str, shared: _Shared, width: int) -> str:
    if shared == (0, 0, 0):
        return _alone(name, width)
    # The most that fits: from the start of a part, before the first difference or up to the last one.
    first, last = _part_before(name, shared.by_all), _part_before(name, shared.by_next)
    least = max(first + 1, len(name) - 2 * width)  # an earlier start cannot fit
    begins = [first, *(match.start() for match in _PART.finditer(name, least, last + 1))]
    begins.append(_word_before(name, shared.by_next))
    for begin in begins:
        if cells(name[begin:]) + 1 <= width:
            return _with_head(name, begin, width)
    # Otherwise drop a differing end as well and start at a word.
    least = max(shared.by_next, len(name) - 2 * width)
    for match in _WORD.finditer(name, least, len(name) - shared.end):
        if cells(name[match.start() :]) + 1 <= width:
            return _CUT + name[match.start() :]
    # Otherwise cut the text after the difference as well.
    begin = next((place for place in reversed(begins) if place <= shared.by_next), 0)
    core = name[begin : len(name) - shared.end]
    head = _CUT if begin else ""
    if cells(core) + 2 <= width:
        return _first(head + name[begin:], width)
    if cells(name[begin : shared.by_next + 1]) + 2 > width:
        begin = max(shared.by_next - min(_BEFORE, max(width - 3, 0)), 0)
        head = _CUT if begin else ""
    return _first(head + name[begin:], width)


def _twice_cut(name: str, shared: _Shared, width: int) -> str:
    """Return the first difference and the last one."""
    last = _word_before(name, shared.by_next)
    end = _first(name[last:], max(width - 2 - _BEFORE, width // 2))
    first = max(_word_before(name, shared.by_all), shared.by_all - 1)
    begin = _take(name[first:last], width - cells(end) - 1 - (first > 0))
    return _first((_CUT if first else "") + begin + _CUT + end, width)


def _alone(name: str, width: int) -> str:
    """Cut a name that has nothing in common with others: keep its last part if the beginning still has room."""
    begin = _part_before(name, len(name) - 1)
    if begin and cells(name[begin:]) + 1 + _HEAD <= width:
        return _with_head(name, begin, width)
    return _in_the_middle(name, width)


def _part_before(name: str, place: int) -> int:
    """Return where the part of a name begins that contains a position, including the separator before it."""
    begin = max(name.rfind(separator, 0, place) for separator in _SEPARATORS)
    return begin + (begin < 0 or name[begin] == " ")


def _word_before(name: str, place: int) -> int:
    """Return where the word (letters and digits) begins that contains a position."""
    while place and name[place - 1].isalnum():
        place -= 1
    return place


def _with_head(name: str, begin: int, width: int) -> str:
    """Return the name from ``begin`` on, after as much of its beginning as there is room for."""
    rest = name[begin:]
    head = _take(name[:begin], width - cells(rest) - 1)
    part = _part_before(name, len(head) + 1) + 1
    if _HEAD <= part < len(head):
        head = head[:part]
    elif len(head) < (_HEAD if part == len(head) else _HEAD_IN_A_WORD):
        head = ""
    return head + _CUT + rest


def _in_the_middle(name: str, width: int) -> str:
    if cells(name) <= width:
        return name
    end = _take(name[::-1], (width - 1) // 2)[::-1]
    while end and not cells(end[0]):
        end = end[1:]
    return _take(name, width - 1 - cells(end)) + _CUT + end


def _first(text: str, width: int) -> str:
    return text if cells(text) <= width else _take(text, width - 1) + _CUT


def _take(text: str, room: int) -> str:
    """Return as many leading characters of the text as fit."""
    if text.isascii():
        return text[: max(room, 0)]
    for place, char in enumerate(text):
        room -= _cells_of(char)
        if room < 0:
            return text[:place]
    return text
