"""A fast path for rows of nothing but text, as in most files: one flat list, processed column by column.

Anything less plain takes the slower path, which also reports what is wrong.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from math import copysign
from typing import Any, Final, NamedTuple

from pipeloom.data.affinity import numbers_in
from pipeloom.data.columns import Declared, declared_columns
from pipeloom.data.rows import Shape

__all__ = ["Flat", "Plan", "Plans", "flattened", "has_minus_zero", "plan_for"]

_SEQUENCES: Final = frozenset({list, tuple})
_WORD: Final[set[type]] = {str}


class Plan(NamedTuple):
    """How the texts of a shape are stored.

    Attributes:
        width: The number of columns.
        integers, reals: The positions of the columns that are declared to hold such numbers.
        texts: The positions of all other columns.
    """

    width: int
    integers: list[int]
    reals: list[int]
    texts: list[int]


class Flat(NamedTuple):
    """n rows in one list.

    Attributes:
        values: Row by row.
        kinds: For each column, the types of its values.
        rows: n.
    """

    values: list[Any]
    kinds: list[set[type]]
    rows: int


def plan_for(declared: Declared, shape: Shape) -> Plan | None:
    """Return how texts are stored; ``None`` if that depends on each of them.

    Args:
        declared: From ``tables=``.
        shape: The shape of the rows.
    """
    integers: list[int] = []
    reals: list[int] = []
    for place, column in declared_columns(declared, shape):
        if column.reads_numbers:
            (integers if column.affinity == "INTEGER" else reals).append(place)
        elif not column.plain >= _WORD:
            return None
    width = len(shape.columns)
    texts = sorted(set(range(width)).difference(integers, reals))
    return Plan(width, integers, reals, texts)


class Plans(dict[Shape, Plan | None]):
    """The plan for each shape seen so far.

    Args:
        declared: From ``tables=``.
    """

    def __init__(self, declared: Declared) -> None:
        self.declared = declared

    def __missing__(self, shape: Shape) -> Plan | None:
        plan = self[shape] = plan_for(self.declared, shape)
        return plan


def flattened(rows: Sequence[Any], plan: Plan | None, absent: frozenset[Any] = frozenset()) -> Flat | None:
    """Return rows of text as their columns are declared; ``None`` if some of them must be checked one by one.

    Args:
        rows: n rows, as the caller passed them.
        plan: The plan for their shape, if there is one.
        absent: Values to store as NULL.
    """
    if plan is None or not rows or not _look_like_words(rows, plan.width):
        return None
    columns: list[Sequence[Any]] = list(zip(*rows, strict=True))
    if not set(map(type, chain(*[columns[place] for place in plan.texts]))) <= _WORD:
        return None
    kinds = [_WORD] * plan.width
    try:
        for place, column in enumerate(columns) if absent else ():
            if not absent.isdisjoint(column):
                columns[place] = [None if value in absent else value for value in column]
                kinds[place] = set(map(type, columns[place]))
    except TypeError:  # a value that is not even hashable
        return None
    count = len(rows)
    for places, kind in ((plan.integers, int), (plan.reals, float)):
        if places:
            has_nulls = any(kinds[place] is not _WORD for place in places)
            words = chain(*[columns[place] for place in places])
            numbers = numbers_in(words, "INTEGER" if kind is int else "REAL", nulls=has_nulls)
            if numbers is None or (kind is float and has_minus_zero(numbers)):
                return None
            for number, place in enumerate(places):
                columns[place] = numbers[number * count : (number + 1) * count]
                kinds[place] = set(map(type, columns[place])) if has_nulls else {kind}
    values: list[Any] = [None] * (count * plan.width)
    for place, column in enumerate(columns):
        values[place :: plan.width] = column
    return Flat(values, kinds, count)


def _look_like_words(rows: Sequence[Any], width: int) -> bool:
    """Return whether rows are plain and the first one is all text, which rules out most others cheaply."""
    first = rows[0]
    return (
        type(first) in _SEQUENCES
        and _WORD.issuperset(map(type, first))
        and _SEQUENCES.issuperset(map(type, rows))
        and set(map(len, rows)) == {width}
    )


def has_minus_zero(values: list[Any]) -> bool:
    """Return whether -0.0 is among values of any type: an untyped column keeps it, a REAL column does not."""
    return 0.0 in values and any(type(value) is float and not value and copysign(1, value) < 0 for value in values)
