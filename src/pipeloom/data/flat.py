"""Rows of nothing but words, as most files have them: in one list, gone through column by column.

Whatever is not as plain as that takes the longer way, which says what is wrong with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from math import copysign
from typing import Any, Final, NamedTuple

from pipeloom.data.affinity import numbers_in
from pipeloom.data.columns import Declared, declared_columns
from pipeloom.data.rows import Shape

__all__ = ["Flat", "Plan", "flattened", "has_minus_zero", "plan_for"]

_SEQUENCES: Final = frozenset({list, tuple})
_WORD: Final[set[type]] = {str}


class Plan(NamedTuple):
    """What becomes of the words of a shape.

    Attributes:
        width: How many columns there are.
        integers, reals: The places of the columns that are declared to have such numbers.
    """

    width: int
    integers: list[int]
    reals: list[int]


class Flat(NamedTuple):
    """n rows.

    Attributes:
        values: Row by row.
        kinds: For each column, the types of its values.
        rows: n.
    """

    values: list[Any]
    kinds: list[set[type]]
    rows: int


def plan_for(declared: Declared, shape: Shape) -> Plan | None:
    """Return what becomes of words; ``None`` when that depends on each of them.

    Args:
        declared: In ``tables=``.
        shape: Of rows.
    """
    plan = Plan(len(shape.columns), [], [])
    for place, column in declared_columns(declared, shape):
        if column.reads_numbers:
            (plan.integers if column.affinity == "INTEGER" else plan.reals).append(place)
        elif not column.plain >= _WORD:
            return None
    return plan


def flattened(rows: Sequence[Any], plan: Plan, absent: frozenset[Any]) -> Flat | None:
    """Return rows of words as their columns are declared; ``None`` when something about them has to be looked at.

    Args:
        rows: n rows, at least 1, as the caller gives them.
        plan: For their shape.
        absent: Values to store as NULL.
    """
    count, width = len(rows), plan.width
    if not _SEQUENCES.issuperset(map(type, rows)) or set(map(len, rows)) != {width}:
        return None
    values: list[Any] = list(chain.from_iterable(rows))
    if set(map(type, values)) != _WORD:
        return None
    has_nulls = bool(absent) and not absent.isdisjoint(values)
    if has_nulls:
        values = [None if value in absent else value for value in values]
    kinds: list[set[type]] = [_WORD] * width
    for places, kind in ((plan.integers, int), (plan.reals, float)):
        if places:
            words = chain.from_iterable([values[place::width] for place in places])
            numbers = numbers_in(words, "INTEGER" if kind is int else "REAL")
            if numbers is None or (kind is float and has_minus_zero(numbers)):
                return None
            for number, place in enumerate(places):
                values[place::width] = numbers[number * count : (number + 1) * count]
                kinds[place] = {kind}
    if has_nulls:
        kinds = [{type(value) for value in values[place::width]} for place in range(width)]
    return Flat(values, kinds, count)


def has_minus_zero(values: list[Any]) -> bool:
    """Say whether -0.0 is among values of any kind: it stays so without a type, and not in a REAL column."""
    return 0.0 in values and any(type(value) is float and not value and copysign(1, value) < 0 for value in values)
