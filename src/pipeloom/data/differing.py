"""Names shortened by what they share: among ``/data/2013/part-0001.csv`` and its like, ``part-0001`` says most.

Pure text, measured in cells, which is what a character takes on a terminal: 0, 1 or 2. Cost: one sort, and a few
dozen comparisons per name, however long the names are.
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
_HEAD: Final = 4  # cells of a beginning that is worth keeping,
_HEAD_IN_A_WORD: Final = 8  # and of one that ends within a word
_BEFORE: Final = 3  # characters kept before a difference deep in a long word
_SEPARATORS: Final = "/\\?& "
_PART: Final = re.compile(
    r"(?<=[/\\ ?&])(?![/\\ ?&])|(?<![/\\ ?&])(?=[/\\?&])"
)  # a folder, parameter or word begins
_WORD: Final = re.compile(r"(?<![^\W_])(?=[^\W_])")  # where letters and digits begin
_NO_CELL: Final = frozenset({"Mn", "Me", "Cf"})


def cells(text: str) -> int:
    """Return how many cells text takes on a terminal."""
    return len(text) if text.isascii() else sum(map(_cells_of, text))


def _cells_of(char: str) -> int:
    if char.isascii():
        return 1
    if east_asian_width(char) in "WF":
        return 2
    return 0 if category(char) in _NO_CELL else 1


def shortened(names: Sequence[str], width: int) -> list[str]:
    """Shorten names that stand together, so that the part in which they differ stays readable.

    What all of them begin with is cut first (``/home/…/part-0001.csv``), at the beginning of a folder or a word
    where there is room, then what follows the difference. A name that differs from no other is cut in its middle.

    Args:
        names: Harmless single lines (see ``text.clean``), n of them, 0 or more; may repeat.
        width: The most cells that each may take, 1 or more.

    Returns:
        n names of at most ``width`` cells, in the same order; those that fit are as they were.
    """
    long = {name for name in names if cells(name) > width}
    if not long:
        return list(names)
    shares = _shared(names)
    short = {name: _shorten(name, shares[name], width) for name in long}
    # Cut to the last difference, names that differ twice (1/x, 2/x beside 1/y, 2/y) may have become the same.
    often = Counter(short.get(name, name) for name in shares)
    for name, cut in short.items():
        if often[cut] > 1:
            short[name] = _twice_cut(name, shares[name], width)
    return [short.get(name, name) for name in names]


class _Shared(NamedTuple):
    """How many characters a name shares: at its start with all and with the most alike one, at its end with all."""

    by_all: int
    by_next: int
    end: int


def _shared(names: Sequence[str]) -> dict[str, _Shared]:
    """Return what each of the names shares; of neighbours in order, one is the most alike."""
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
    """Return how many characters both begin with; by halving, since a slice is compared in no time."""
    most = min(len(one), len(other))
    return bisect_left(range(1, most + 1), True, key=lambda count: one[:count] != other[:count])


def _shorten(name: str, shared: _Shared, width: int) -> str:
    if shared == (0, 0, 0):
        return _alone(name, width)
    # The most that fits, from a part's beginning before the first difference up to the one before the last.
    first, last = _part_before(name, shared.by_all), _part_before(name, shared.by_next)
    least = max(first + 1, len(name) - 2 * width)  # nothing before that can fit
    begins = [first, *(match.start() for match in _PART.finditer(name, least, last + 1))]
    begins.append(_word_before(name, shared.by_next))
    for begin in begins:
        if cells(name[begin:]) + 1 <= width:
            return _with_head(name, begin, width)
    # Not even that: an end that differs, too, says most.
    least = max(shared.by_next, len(name) - 2 * width)
    for match in _WORD.finditer(name, least, len(name) - shared.end):
        if cells(name[match.start() :]) + 1 <= width:
            return _CUT + name[match.start() :]
    # Else what follows the difference is cut as well.
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
    """Cut a name that has no like: its last part says most, when that leaves room for the beginning."""
    begin = _part_before(name, len(name) - 1)
    if begin and cells(name[begin:]) + 1 + _HEAD <= width:
        return _with_head(name, begin, width)
    return _in_the_middle(name, width)


def _part_before(name: str, place: int) -> int:
    """Return where the part of a name begins in which a place is, with the separator before it."""
    begin = max(name.rfind(separator, 0, place) for separator in _SEPARATORS)
    return begin + (begin < 0 or name[begin] == " ")


def _word_before(name: str, place: int) -> int:
    """Return where the word begins in which a place is, letters and digits."""
    while place and name[place - 1].isalnum():
        place -= 1
    return place


def _with_head(name: str, begin: int, width: int) -> str:
    """Return what begins there, after as much of the beginning of the name as there is room for."""
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
    """Return as many characters of the start of text as fit."""
    if text.isascii():
        return text[: max(room, 0)]
    for place, char in enumerate(text):
        room -= _cells_of(char)
        if room < 0:
            return text[:place]
    return text
