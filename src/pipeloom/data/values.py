"""What a Python value becomes in a column, and a result in the ledger.

None, int, float, str and bytes are stored as they are; missing values are NULL (NaN, NaT, NA, masked); bool is 0 or
1; date, datetime, time and datetime64 are ISO text; timedelta and timedelta64 are seconds; Decimal, UUID and Path
are text; an Enum is its value; dict and list are JSON; other numpy scalars are converted by ``.item()``. Everything
else is refused with a message that names the table, column and type.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from itertools import chain
from operator import eq
from pathlib import PurePath
from typing import Any, Final
from uuid import UUID

import msgspec

from pipeloom.data.scalars import held
from pipeloom.data.text import clean, describe
from pipeloom.errors import RowRefusedError

__all__ = [
    "NUMBER_LIMIT",
    "TEXT_OR_NULL",
    "Params",
    "Storable",
    "adapt",
    "adapt_columns",
    "adapt_params",
    "adapt_rows",
    "as_json",
    "explain_unbindable",
    "sql_type",
    "text_rows",
]

Storable = None | int | float | str | bytes

Params = tuple[object, ...] | dict[str, object]
"""The parameters of one statement, as SQLite can bind them."""

NUMBER_LIMIT: Final = 1 << 62
"""The limit of task numbers: a row at the end of SQLite's 64 bits would leave no number for the next one."""

_INT64: Final = 1 << 63
TEXT_OR_NULL: Final = frozenset({str, type(None)})
"""The types that most files consist of."""
_TEXT: Final = {str}
_ROWS_AT_ONCE: Final = 1024

# The SQL type of a column declared with this Python type. Source: https://www.sqlite.org/datatype3.html
_SQL_TYPES: Final[dict[Any, str]] = {
    int: "INTEGER",
    bool: "INTEGER",
    float: "REAL",
    str: "TEXT",
    bytes: "BLOB",
    date: "TEXT",
    datetime: "TEXT",
    time: "TEXT",
    timedelta: "REAL",
    Decimal: "TEXT",
    UUID: "TEXT",
    dict: "TEXT",
    list: "TEXT",
    None: "",
}


def sql_type(declared: Any) -> str:
    """Return the SQL type of a declared Python type; ``None`` declares an untyped column.

    Raises:
        ValueError: It is not a type that a column can have.
    """
    if isinstance(declared, type) and issubclass(declared, PurePath):
        return "TEXT"
    try:
        return _SQL_TYPES[declared]
    except (KeyError, TypeError):
        raise ValueError(
            f"{clean(declared, 60)} is not a column type: use int, float, str, bytes, bool, date, datetime, time, "
            "timedelta, Decimal, UUID, Path, dict, list, or None for an untyped column"
        ) from None


def _whole(value: int) -> int:
    if -_INT64 <= value < _INT64:
        return value
    raise ValueError("an int over 64 bits cannot be stored: store str(value)")


def _real(value: float) -> float | None:
    return value if value == value else None  # noqa: PLR0124 - NaN


def _text(value: str) -> str:
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            raise ValueError(
                "a str with a lone surrogate cannot be stored: encode it, or replace those characters"
            ) from None
    return value


def _decimal(value: Decimal) -> str | None:
    return None if value.is_nan() else str(value)


def _same(value: Any) -> Any:
    return value


# Common types, by exact type; their subclasses and everything else take a longer way.
_CONVERSIONS: Final[dict[type, Callable[[Any], Storable]]] = {
    type(None): _same,
    int: _whole,
    float: _real,
    str: _text,
    bytes: _same,
    bool: int,
    date: date.isoformat,
    datetime: datetime.isoformat,
    time: time.isoformat,
    timedelta: timedelta.total_seconds,
    Decimal: _decimal,
    UUID: str,
}


def adapt(value: Any) -> Storable:
    """Return what SQLite stores for ``value``.

    Raises:
        ValueError: It cannot be stored; the message names the type.
    """
    convert = _CONVERSIONS.get(type(value))
    if convert is not None:
        return convert(value)
    try:
        return _adapt_odd(value)
    except ValueError:
        raise
    except Exception as error:  # a foreign class may answer isinstance() with anything
        raise ValueError(f"a value of type {type(value).__name__} cannot be stored: {describe(error)}") from error


def _adapt_odd(value: Any) -> Storable:
    if isinstance(value, dict | list):
        return as_json(value)
    found: Storable = _plain(value)
    if found is value:
        raise ValueError(f"a value of type {type(value).__name__} cannot be stored in a column")
    return found


def _plain(value: Any) -> Any:
    """Return the storable value that a value of another type represents; the value itself if there is none."""
    if isinstance(value, date | time):
        return value.isoformat() if value == value else None  # noqa: PLR0124 - pandas.NaT
    if isinstance(value, Enum):
        return adapt(value.value)
    if isinstance(value, int):
        return _whole(int(value))
    if isinstance(value, float):
        return _real(float(value))
    if isinstance(value, str | PurePath):
        return _text(str.__str__(value) if isinstance(value, str) else str(value))
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value)
    if (inner := held(value)) is not value:
        return adapt(inner)
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, Decimal):
        return _decimal(value)
    return str(value) if isinstance(value, UUID) else value


def text_rows(rows: list[tuple[Any, ...]], null: frozenset[Any] | None) -> list[tuple[Any, ...]] | None:
    """Return rows of only text and NULL, as in most files, in a third of the time of ``adapt_rows``.

    Args:
        rows: n tuples.
        null: Values to store as NULL.

    Returns:
        Rows that SQLite can bind; ``None`` if there are other values, or text that must be checked.
    """
    kinds = set(map(type, chain.from_iterable(rows)))
    if not kinds <= TEXT_OR_NULL:
        return None
    if null:
        rows = [row if null.isdisjoint(row) else tuple(_without(null, row)) for row in rows]
    values = chain.from_iterable(rows)
    try:
        "".join(filter(None, values) if null or type(None) in kinds else values).encode()
    except UnicodeEncodeError:
        return None
    return rows


def adapt_rows(
    rows: list[tuple[Any, ...]], table: str, columns: Sequence[str], null: frozenset[Any] | None
) -> list[tuple[Any, ...]]:
    """Return rows that SQLite can bind; the same list if nothing had to change.

    Values are checked column by column, since those of a column are usually of one type: plain ones cost about
    30 ns each. Rows are processed a thousand at a time, which fits into the processor's cache.

    Args:
        rows: n tuples of ``len(columns)`` values.
        table: For the error.
        columns: For the error.
        null: Values to store as NULL.

    Raises:
        RowRefusedError: A value cannot be stored; names the table, column and type.
    """
    if len(rows) == 1:
        row = _adapt_row(rows[0], table, columns, null)
        return rows if row is rows[0] else [row]
    adapted: list[tuple[Any, ...]] | None = None
    for begin in range(0, len(rows), _ROWS_AT_ONCE):
        part = rows[begin : begin + _ROWS_AT_ONCE]
        found = adapt_columns(list(zip(*part, strict=True)), table, columns, null)
        if found is not None:
            adapted = rows[:begin] if adapted is None else adapted
            adapted += zip(*found, strict=True)
        elif adapted is not None:
            adapted += part
    return rows if adapted is None else adapted


def adapt_columns(
    values: Sequence[Sequence[Any]], table: str, columns: Sequence[str], null: frozenset[Any] | None
) -> list[Sequence[Any]] | None:
    """Return columns of values that SQLite can bind; ``None`` if nothing had to change.

    Args:
        values: For each column, n values.
        table: For the error.
        columns: For the error.
        null: Values to store as NULL.

    Raises:
        RowRefusedError: As for :func:`adapt_rows`.
    """
    adapted: list[Sequence[Any]] | None = None
    for place, column in enumerate(values):
        try:
            found = _adapt_column(_without(null, column) if null else column)
        except ValueError as error:
            raise _refused(table, columns[place], error) from error
        if found is not column:
            adapted = list(values) if adapted is None else adapted
            adapted[place] = found
    return adapted


def _adapt_column(values: Sequence[Any]) -> Sequence[Storable]:
    kinds = set(map(type, values))
    kinds.discard(type(None))
    if len(kinds) != 1:
        return list(map(adapt, values)) if kinds else values
    (kind,) = kinds
    if kind is str:
        if not all(map(str.isascii, filter(None, values))):
            for value in filter(None, values):
                _text(value)
        return values
    if kind is float:
        if all(map(eq, values, values)):
            return values
        return [value if value == value else None for value in values]  # noqa: PLR0124 - NaN
    if kind is int:
        numbers = list(filter(None, values))
        if numbers:
            _whole(min(numbers))
            _whole(max(numbers))
        return values
    return values if kind is bytes else list(map(adapt, values))


def _without(null: frozenset[Any], values: Sequence[Any]) -> Sequence[Any]:
    try:
        if null.isdisjoint(values):
            return values
    except TypeError:  # an unhashable value, such as a list that becomes JSON
        pass
    return [None if _is_in(value, null) else value for value in values]


def _is_in(value: Any, null: frozenset[Any]) -> bool:
    try:
        return value in null
    except TypeError:  # unhashable, such as a list
        return False


def _adapt_row(
    row: tuple[Any, ...], table: str, columns: Sequence[str], null: frozenset[Any] | None
) -> tuple[Storable, ...]:
    """Return the row itself if nothing had to change."""
    adapted: list[Storable] | None = None
    if not null and set(map(type, row)) == _TEXT and "".join(row).isascii():  # as in most files
        return row
    for place, value in enumerate(_without(null, row) if null else row):
        kind = type(value)  # common types are handled here, since this runs for each row that is written alone
        is_plain = value is None or (kind is int and -_INT64 <= value < _INT64) or (kind is str and value.isascii())
        if is_plain and value is row[place]:
            continue
        try:
            found = adapt(value)
        except ValueError as error:
            raise _refused(table, columns[place], error) from error
        if found is not row[place]:
            adapted = list(row) if adapted is None else adapted
            adapted[place] = found
    return row if adapted is None else tuple(adapted)


def _refused(table: str, column: str, error: ValueError) -> RowRefusedError:
    return RowRefusedError(f"table {clean(table, 60)}, column {clean(column, 60)}: {error}")


def explain_unbindable(rows: Iterable[Sequence[object]], table: str, columns: Sequence[str]) -> str | None:
    """Find the value that SQLite could not bind although its type was fine; ``None`` if there is none."""
    for row in rows:
        for column, value in zip(columns, row, strict=False):
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
    if type(params) is tuple:  # checking an abstract class would take longer than adapting a few values
        try:
            return tuple(map(adapt, params))
        except ValueError:
            pass  # the loop below determines which one
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
    found = _plain(value)
    if found is value:
        raise TypeError(f"a value of type {type(value).__name__} cannot be converted to JSON")
    return found


_encoder: Final = msgspec.json.Encoder(enc_hook=_encode_foreign)


def as_json(value: object) -> str:
    """Return ``value`` as JSON text.

    Raises:
        ValueError: It cannot be converted to JSON, or contains itself; the message names the type.
    """
    try:
        return _encoder.encode(value).decode()
    except RecursionError:
        raise ValueError(f"a {type(value).__name__} that contains itself cannot be converted to JSON") from None
    except UnicodeEncodeError:
        raise ValueError("text with a lone surrogate cannot be converted to JSON") from None
    except Exception as error:  # msgspec's own errors, or whatever a foreign class raises
        raise ValueError(describe(error)) from error
