"""What a Python value becomes in a column, and a result in the ledger.

None, int, float, str and bytes pass; NaN is NULL, since SQL has none; bool is 0 or 1; date, datetime and time
are ISO text; Decimal, UUID and Path are text; an Enum is its value; dict and list are JSON; numpy scalars go
through ``.item()``. Everything else is refused with a sentence that names table, column and type.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime, time
from decimal import Decimal
from enum import Enum
from itertools import chain
from pathlib import PurePath
from typing import Any, Final
from uuid import UUID

import msgspec

from pipeloom.data.text import attribute, clean, describe
from pipeloom.errors import RowRefusedError

__all__ = ["Params", "Storable", "adapt", "adapt_params", "adapt_rows", "as_json", "explain_unbindable", "sql_type"]

Storable = None | int | float | str | bytes

Params = tuple[object, ...] | dict[str, object]
"""The parameters of one statement, as SQLite can bind them."""

_PLAIN: Final = frozenset({type(None), float, str, bytes})
_PLAIN_OR_INT: Final = _PLAIN | {int}
_INT64: Final = 1 << 63

# What a column declared with this Python type is in SQL. Source: https://www.sqlite.org/datatype3.html
_SQL_TYPES: Final[dict[Any, str]] = {
    int: "INTEGER",
    bool: "INTEGER",
    float: "REAL",
    str: "TEXT",
    bytes: "BLOB",
    date: "TEXT",
    datetime: "TEXT",
    time: "TEXT",
    Decimal: "TEXT",
    UUID: "TEXT",
    dict: "TEXT",
    list: "TEXT",
    None: "",
}


def sql_type(declared: Any) -> str:
    """Return the SQL type of a declared Python type; ``None`` declares an untyped column.

    Raises:
        ValueError: It is no type that a column can have.
    """
    if isinstance(declared, type) and issubclass(declared, PurePath):
        return "TEXT"
    try:
        return _SQL_TYPES[declared]
    except (KeyError, TypeError):
        raise ValueError(
            f"{clean(declared, 60)} is no column type: use int, float, str, bytes, bool, date, datetime, time, "
            "Decimal, UUID, Path, dict, list, or None for an untyped column"
        ) from None


def adapt(value: Any) -> Storable:
    """Return what SQLite stores for ``value``.

    Raises:
        ValueError: It cannot be stored; the sentence names the type.
    """
    if type(value) in _PLAIN:
        return value  # type: ignore[no-any-return]
    try:
        return _adapt_odd(value)
    except ValueError:
        raise
    except Exception as error:  # a foreign class may answer isinstance() as it likes
        raise ValueError(f"a value of type {type(value).__name__} cannot be stored: {describe(error)}") from error


def _adapt_odd(value: Any) -> Storable:
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, Enum):
        return adapt(value.value)
    if isinstance(value, int):
        if -_INT64 <= value < _INT64:
            return int(value)
        raise ValueError("an int over 64 bits cannot be stored: store str(value)")
    if isinstance(value, float | str | bytes):
        return (
            float(value)
            if isinstance(value, float)
            else str.__str__(value)
            if isinstance(value, str)
            else bytes(value)
        )
    if isinstance(value, date | time):
        return value.isoformat()
    if isinstance(value, Decimal | UUID | PurePath):
        return str(value)
    if isinstance(value, bytearray | memoryview):
        return bytes(value)
    if isinstance(value, dict | list):
        return as_json(value)
    if (scalar := _scalar(value)) is not None:
        return adapt(scalar)
    raise ValueError(f"a value of type {type(value).__name__} cannot be stored in a column")


def _scalar(value: Any) -> Any:
    """Return what a numpy scalar holds: it has item() and no dimensions. An array or a frame is not one value."""
    if attribute(value, "ndim") != 0 or not callable(item := attribute(value, "item")):
        return None
    held = item()
    return None if type(held) is type(value) else held  # numpy.longdouble holds itself: Python has no type for it


def adapt_rows(
    rows: list[tuple[Any, ...]], table: str, columns: Sequence[str], null: frozenset[Any] | None
) -> list[tuple[Any, ...]]:
    """Return rows that SQLite can bind; the same list when nothing had to change.

    The check is one pass over the types of all values, so a block of plain values costs about 20 ns each.

    Args:
        rows: n tuples of ``len(columns)`` values.
        table: For the error.
        columns: For the error.
        null: Values to store as NULL.

    Raises:
        RowRefusedError: A value cannot be stored; names table, column and type.
    """
    if null:
        rows = [row if _disjoint(null, row) else _with_nulls(row, null) for row in rows]
    kinds = set(map(type, chain.from_iterable(rows)))
    if kinds <= _PLAIN or (kinds <= _PLAIN_OR_INT and _ints_fit(rows)):
        return rows
    return [_adapt_row(row, table, columns) for row in rows]


def _ints_fit(rows: Iterable[tuple[Any, ...]]) -> bool:
    return all(-_INT64 <= v < _INT64 for row in rows for v in row if type(v) is int)


def _disjoint(null: frozenset[Any], row: tuple[Any, ...]) -> bool:
    try:
        return null.isdisjoint(row)
    except TypeError:  # an unhashable value, such as a list that becomes JSON
        return False


def _with_nulls(row: tuple[Any, ...], null: frozenset[Any]) -> tuple[Any, ...]:
    return tuple(None if _is_in(value, null) else value for value in row)


def _is_in(value: Any, null: frozenset[Any]) -> bool:
    try:
        return value in null
    except TypeError:  # unhashable, such as a list
        return False


def _adapt_row(row: tuple[Any, ...], table: str, columns: Sequence[str]) -> tuple[Storable, ...]:
    adapted = []
    for column, value in zip(columns, row, strict=True):
        try:
            adapted.append(adapt(value))
        except ValueError as error:
            raise RowRefusedError(f"table {clean(table, 60)}, column {clean(column, 60)}: {error}") from error
    return tuple(adapted)


def explain_unbindable(rows: Iterable[Sequence[object]], table: str, columns: Sequence[str]) -> str | None:
    """Find the value that SQLite could not bind although its type was fine; ``None`` when there is none."""
    for row in rows:
        for column, value in zip(columns, row, strict=False):
            if isinstance(value, str):
                try:
                    value.encode()
                except UnicodeEncodeError:
                    return (
                        f"table {clean(table, 60)}, column {clean(column, 60)}: a str with a lone surrogate "
                        "cannot be stored: encode it, or replace those characters"
                    )
            if isinstance(value, str | bytes) and len(value) > 999_000_000:
                kind = type(value).__name__
                return (
                    f"table {clean(table, 60)}, column {clean(column, 60)}: a {kind} of {len(value):,} "
                    "is over SQLite's limit of 1,000,000,000 bytes"
                )
    return None


def adapt_params(params: Sequence[Any] | Mapping[str, Any]) -> Params:
    """Return a copy of one statement's parameters that SQLite can bind.

    Raises:
        RowRefusedError: A value cannot be stored; names the parameter and its type.
    """
    if not isinstance(params, Mapping) and (isinstance(params, str) or not isinstance(params, Sequence)):
        raise RowRefusedError(f"params must be a sequence or a mapping, not {type(params).__name__}")
    named = params.items() if isinstance(params, Mapping) else enumerate(params, 1)
    adapted = {}
    for name, value in named:
        try:
            adapted[name] = adapt(value)
        except ValueError as error:
            raise RowRefusedError(f"parameter {clean(name, 60)}: {error}") from error
    if isinstance(params, Mapping):
        return {str(name): value for name, value in adapted.items()}
    return tuple(adapted.values())


def _encode_foreign(value: Any) -> Any:
    if isinstance(value, PurePath):
        return str(value)
    if (scalar := _scalar(value)) is not None:
        return scalar
    raise TypeError(f"a value of type {type(value).__name__} is not JSON")


_encoder: Final = msgspec.json.Encoder(enc_hook=_encode_foreign)


def as_json(value: object) -> str:
    """Return ``value`` as JSON text.

    Raises:
        ValueError: It is not JSON, or contains itself; the sentence names the type.
    """
    try:
        return _encoder.encode(value).decode()
    except RecursionError:
        raise ValueError(f"a {type(value).__name__} that contains itself is not JSON") from None
    except UnicodeEncodeError:
        raise ValueError("text with a lone surrogate is not JSON") from None
    except Exception as error:  # msgspec's own, or whatever a foreign class raises
        raise ValueError(describe(error)) from error
