"""How incoming rows fit the columns of a user's table.

A column's type has one of three origins. If it is in ``tables=``, it is *declared*: values are converted to it, and
values that cannot be converted are refused. If we created the column without a declaration, it is *inferred*: it
has a type as long as all its values share one, and loses the type before that would change a value, so the order of
tasks makes no difference. All other columns are *theirs*, the user's own: SQLite converts as usual, unless that
would lose something.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from itertools import chain
from operator import itemgetter
from typing import Any, Final

from pipeloom.data.affinity import (
    Affinity,
    MisfitError,
    Rule,
    affinity_of,
    are_numbers,
    common_type,
    fitted,
    joined,
    numbers_in,
    plain_types,
)
from pipeloom.data.identifiers import ascii_lower
from pipeloom.data.rows import Shape
from pipeloom.data.text import clean
from pipeloom.data.values import sql_type
from pipeloom.errors import RowRefusedError

__all__ = [
    "Column",
    "Declared",
    "Row",
    "Watched",
    "declared_columns",
    "declared_types",
    "fit_declared",
    "fit_rows",
]

Row = tuple[object, ...]

Declared = Mapping[str, Mapping[str, str]]
"""Table → column → SQL type, all names case-folded."""

_UNTYPED: Final = ("", "ANY")  # types that convert nothing; "ANY" only in a STRICT table


class Column:
    """One column.

    Args:
        name: As spelled in the schema.
        type: The SQL type; ``""`` for none.
        rule: Who decided the type.
        affinity: What values are fitted to. Default: the affinity of the type.
        key: Its position in the primary key, from 1; 0 if it is not in it.
        is_generated: The table computes it.
    """

    __slots__ = (
        "affinity",
        "has_default",
        "is_generated",
        "is_settled",
        "key",
        "name",
        "reads_numbers",
        "rule",
        "type",
    )

    def __init__(
        self,
        name: str,
        type: str,  # noqa: A002 - SQL's own word
        rule: Rule,
        affinity: Affinity | None = None,
        key: int = 0,
        is_generated: bool = False,
    ) -> None:
        self.name = name
        self.type = type
        stored = affinity_of(type)
        self.affinity: Affinity = affinity or stored
        self.rule = rule
        # The column is declared to hold numbers, and SQLite itself converts text to numbers there.
        self.reads_numbers = rule == "declared" and stored in ("INTEGER", "REAL") and self.affinity == stored
        self.key = key
        self.is_generated = is_generated
        self.has_default = False
        # An inferred column without a type holds values of several types, or only NULL; that is looked up once.
        self.is_settled = rule != "inferred" or type not in _UNTYPED

    @property
    def plain(self) -> AbstractSet[type]:
        """The Python types of the values that the column stores as they are."""
        if self.rule == "inferred" and self.type in _UNTYPED:
            return frozenset()
        return plain_types(self.affinity, self.rule)

    @property
    def is_watched(self) -> bool:
        """Whether incoming values must be checked."""
        if self.rule == "inferred":
            return self.type not in _UNTYPED or not self.is_settled
        return self.affinity != "BLOB"


Watched = tuple[int, Column]
"""The position of a column's value in a row, and the column."""


def fit_rows(rows: list[Row], watched: Sequence[Watched], seen: dict[Column, str | None]) -> list[Row]:
    """Return rows as their columns store them: the same list if nothing had to change.

    Args:
        rows: n rows of storable values.
        watched: The columns to check, each with its position in a row.
        seen: Inferred column → SQL type that its values share; updated.

    Raises:
        RowRefusedError: A value does not fit its column; names the column.
    """
    looked_at = [pair for pair in watched if not pair[1].reads_numbers]
    for affinity in ("INTEGER", "REAL"):
        words = [pair for pair in watched if pair[1].reads_numbers and pair[1].affinity == affinity]
        if words:  # mostly columns of a CSV file: SQLite converts these itself
            values = _picked(rows, words)
            if not are_numbers(values if len(words) == 1 else chain.from_iterable(values), affinity):
                looked_at += words
    misfits = [pair for pair in _odd(rows, looked_at, seen) if pair[1].rule != "inferred"]
    if not misfits:
        return rows
    columns: list[Sequence[object]] = list(zip(*rows, strict=True))
    for place, column in misfits:
        columns[place] = _fit_column(column, columns[place])
    return list(zip(*columns, strict=True))


def declared_types(tables: Mapping[str, Mapping[str, Any]]) -> Declared:
    """Return the columns that ``tables=`` declares.

    Args:
        tables: Table → column → Python type.
    """
    return {
        ascii_lower(table): {ascii_lower(column): sql_type(kind) for column, kind in columns.items()}
        for table, columns in tables.items()
    }


def declared_columns(declared: Declared, shape: Shape) -> list[Watched]:
    """Return the declared columns of a shape whose values must be checked.

    Args:
        declared: From ``tables=``.
        shape: The shape of the rows.
    """
    types = declared.get(ascii_lower(shape.table), {})
    return [
        (place, column)
        for place, name in enumerate(shape.columns)
        if (kind := types.get(ascii_lower(name))) is not None
        and (column := Column(name, kind, "declared")).is_watched
    ]


def fit_declared(
    watched: Sequence[Watched], rows: list[Row], kinds: list[set[type]]
) -> tuple[list[Row], list[set[type]]]:
    """Return rows as their declared columns store them, as far as that is known without the table.

    Args:
        watched: The ``declared_columns`` of the rows' shape.
        rows: n rows of storable values, at least 1.
        kinds: For each column, the types of its values.

    Returns:
        The rows and the types of their values. Both are unchanged if nothing had to change, or if a value does not
        fit: the code that stores the rows reports that.
    """
    odd = [pair for pair in watched if not kinds[pair[0]] <= pair[1].plain]
    if not odd:
        return rows, kinds
    columns: list[Sequence[object]] = list(zip(*rows, strict=True))
    try:
        for affinity in ("INTEGER", "REAL"):
            words = [place for place, column in odd if column.reads_numbers and column.affinity == affinity]
            # Mostly columns of a CSV file: convert all of them at once.
            if words and (numbers := numbers_in(chain(*[columns[place] for place in words]), affinity)) is not None:
                for number, place in enumerate(words):
                    columns[place] = numbers[number * len(rows) : (number + 1) * len(rows)]
                odd = [pair for pair in odd if pair[0] not in words]
        for place, column in odd:
            numbers = numbers_in(columns[place], column.affinity) if column.reads_numbers else None
            columns[place] = _fit_column(column, columns[place]) if numbers is None else numbers
    except RowRefusedError:
        return rows, kinds
    fitting = list(kinds)
    for place, _ in watched:
        fitting[place] = set(map(type, columns[place]))
    return list(zip(*columns, strict=True)), fitting


def _odd(rows: list[Row], looked_at: list[Watched], seen: dict[Column, str | None]) -> list[Watched]:
    """Return the columns that have values of other types than their own; updates ``seen``."""
    if not looked_at:
        return []
    picked = list(_picked(rows, looked_at))
    if len(looked_at) == 1:
        kinds: list[set[type]] = [set(map(type, picked))]
    else:
        if len(together := set(map(type, chain.from_iterable(picked))) - {type(None)}) == 1 and all(
            together <= column.plain for _, column in looked_at
        ):
            return []
        # Few combinations of types occur among rows, so this is faster than a pass over each column.
        kinds = list(map(set, zip(*{tuple(map(type, row)) for row in picked}, strict=True)))
    odd = []
    for (place, column), found in zip(looked_at, kinds, strict=True):
        if column.rule == "inferred":
            values = picked if len(looked_at) == 1 else map(itemgetter(place), rows)
            seen[column] = joined(seen.get(column), common_type(found, values))
        if not found <= column.plain:
            odd.append((place, column))
    return odd


def _fit_column(column: Column, values: Sequence[object]) -> Sequence[object]:
    try:
        return fitted(values, column.affinity, declared=column.rule == "declared")
    except MisfitError as error:
        raise RowRefusedError(f"column {clean(column.name, 60)}: {error}") from None


def _picked(rows: list[Row], columns: Sequence[Watched]) -> Iterator[Any]:
    """Return the values of these columns, row by row: bare values if there is only one column."""
    return map(itemgetter(*(place for place, _ in columns)), rows)
