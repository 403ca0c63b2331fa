"""What a column's type does to the values that go into it: it may convert a value, but must never change it.

SQLite gives each column an affinity according to its declared type, and converts what it can. Most of the time this
is what people want, but some conversions silently lose digits: a float in a TEXT column keeps 15 of them, and an
integer beyond 2**53 in a REAL column becomes a different integer. Values are therefore checked before SQLite sees
them, one column of many rows at a time.

A number in text counts as the same number if the number prints as that text, to the digits that were written.

Source: https://www.sqlite.org/datatype3.html
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from decimal import Decimal, InvalidOperation
from functools import partial
from math import isnan
from typing import Annotated, Any, Final, Literal

import msgspec

from pipeloom.data.identifiers import ascii_lower
from pipeloom.data.text import clean

__all__ = [
    "Affinity",
    "MisfitError",
    "Rule",
    "affinity_of",
    "are_numbers",
    "changes",
    "common_type",
    "fitted",
    "joined",
    "numbers_in",
    "plain_types",
]

Affinity = Literal["INTEGER", "REAL", "NUMERIC", "TEXT", "BLOB"]
Rule = Literal["declared", "inferred", "theirs"]
"""Who decided a column's type."""

_INT64: Final = 1 << 63
_EXACT: Final = 1 << 53  # every integer up to this has an exact float
_SAFE_LENGTH: Final = 15  # a number of so many characters and no exponent survives a float unchanged
_NULL: Final = type(None)
_INTEGER: Final = re.compile(r"[ \t\n\v\f\r]*[+-]?[0-9]+[ \t\n\v\f\r]*")
_NUMBER: Final = re.compile(r"[ \t\n\v\f\r]*[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?[ \t\n\v\f\r]*")
_Int64 = Annotated[int, msgspec.Meta(ge=-_INT64, le=_INT64 - 1)]
_DECODERS: Final[Mapping[str, msgspec.json.Decoder[Any]]] = {
    "INTEGER": msgspec.json.Decoder(list[_Int64 | None]),
    "REAL": msgspec.json.Decoder(list[float | None]),
}
_ALL: Final[frozenset[type]] = frozenset({int, float, str, bytes, _NULL})
_DECLARED: Final[Mapping[Affinity, frozenset[type]]] = {
    "INTEGER": frozenset({int, _NULL}),
    "REAL": frozenset({float, _NULL}),
    "NUMERIC": frozenset({int, float, bytes, _NULL}),
    "TEXT": frozenset({str, bytes, _NULL}),
    "BLOB": _ALL,
}
_THEIRS: Final[Mapping[Affinity, frozenset[type]]] = {
    **_DECLARED,
    "INTEGER": _DECLARED["NUMERIC"],
    "REAL": frozenset({float, bytes, _NULL}),
}
_INFERRED: Final[Mapping[Affinity, frozenset[type]]] = {
    **_DECLARED,
    "TEXT": frozenset({str, _NULL}),
    "BLOB": frozenset({bytes, _NULL}),
}
_PLAIN: Final[Mapping[Rule, Mapping[Affinity, frozenset[type]]]] = {
    "declared": _DECLARED,
    "inferred": _INFERRED,
    "theirs": _THEIRS,
}
_TYPES: Final = {int: "INTEGER", float: "REAL", str: "TEXT", bytes: "BLOB"}


class MisfitError(ValueError):
    """A value that a column cannot store unchanged."""


def affinity_of(declared: str) -> Affinity:
    """Return the affinity of a declared type, by SQLite's rules in SQLite's order: ``POINT`` is an INTEGER, too."""
    folded = ascii_lower(declared)
    if "int" in folded:
        return "INTEGER"
    if any(word in folded for word in ("char", "clob", "text")):
        return "TEXT"
    if not folded or "blob" in folded:
        return "BLOB"
    return "REAL" if any(word in folded for word in ("real", "floa", "doub")) else "NUMERIC"


def common_type(kinds: Iterable[type], values: Iterable[object]) -> str | None:
    """Return the SQL type that values share: ``""`` if they share none, ``None`` if all of them are NULL.

    Args:
        kinds: Their Python types.
        values: The values themselves. They are examined only to find NaN, which is a float but is stored as NULL.
    """
    found = set(kinds)
    found.discard(_NULL)
    if float in found and all(isnan(value) for value in values if type(value) is float):
        found.discard(float)
    if not found:
        return None
    return _TYPES[found.pop()] if len(found) == 1 else ""


def joined(known: str | None, fresh: str | None) -> str | None:
    """Return the type of all values, given the type of the earlier ones and of the later ones."""
    if known is None or fresh is None:
        return known if fresh is None else fresh
    return known if known == fresh else ""


def plain_types(affinity: Affinity, rule: Rule) -> AbstractSet[type]:
    """Return the types of the values that a typed column stores as they are; others must be checked."""
    return _PLAIN[rule][affinity]


def changes(column: str, affinity: Affinity) -> list[str]:
    """Return SQL conditions under which a column of the user's own table may change a value, or refuse it.

    They may match more values than necessary. For all other values SQLite does what ``fitted`` does.

    Args:
        column: The SQL expression of the value.
        affinity: That of the column that it goes to.
    """
    if affinity == "BLOB":
        return []
    if affinity == "TEXT":
        return [f"typeof({column}) = 'real'"]
    is_long = f"length({column}) > {_SAFE_LENGTH} OR {column} GLOB '*[eE]*'"
    found = [f"typeof({column}) = 'text' AND {column} GLOB '*[0-9]*' AND ({is_long})"]
    if affinity == "REAL":
        found.append(f"typeof({column}) = 'integer' AND {column} NOT BETWEEN -{_EXACT} AND {_EXACT}")
    return found


def are_numbers(words: Iterable[object], affinity: Affinity) -> bool:
    """Return whether these are text or NULL, and SQLite reads each text as that number: see ``numbers_in``."""
    return numbers_in(words, affinity) is not None


def numbers_in(words: Iterable[object], affinity: Affinity, *, nulls: bool = True) -> list[Any] | None:
    """Return the numbers that SQLite reads from texts; ``None`` if each value must be checked. NULL stays NULL.

    CSV files mostly consist of such values. JSON allows fewer spellings than int() and float(), and is much faster.

    Args:
        words: n values.
        affinity: "INTEGER" or "REAL".
        nulls: Whether NULL may be among them.
    """
    listed = list(words)
    count = 0
    try:
        try:
            text = rest = ",".join(listed)  # type: ignore[arg-type]  # raises if one is not text
        except TypeError:
            if not nulls:
                return None
            count = listed.count(None)
            text = ",".join(["null" if word is None else word for word in listed])  # type: ignore[misc]  # likewise
            rest = text.replace("null", "")
        if "e" in rest or "E" in rest or (affinity == "INTEGER" and "." in rest) or (not count and "null" in rest):
            return None
        if affinity == "REAL" and max(map(len, text.split(","))) > _SAFE_LENGTH:
            return None
        numbers: list[Any] = _DECODERS[affinity].decode(f"[{text}]")
        return numbers if len(numbers) == len(listed) and (not count or numbers.count(None) == count) else None
    except (TypeError, msgspec.DecodeError, UnicodeEncodeError):  # not text, or not plain enough
        return None


def fitted(values: Sequence[Any], affinity: Affinity, *, declared: bool) -> list[Any]:
    """Return values as a column stores them.

    Args:
        values: n storable values, possibly with NULLs.
        affinity: The column's.
        declared: The run declares the column's type: a value of another type that cannot be converted is a misfit.
            In a table of the user's own it is stored as it is, as SQLite does.

    Raises:
        MisfitError: A value would come back as a different one, or is not of the declared type.
    """
    convert: Callable[[Any], Any]
    if affinity == "BLOB":
        return list(values)
    if affinity == "TEXT":
        convert = _text
    elif not declared or affinity == "NUMERIC":
        convert = partial(_their_number, is_real=affinity == "REAL")
    else:
        convert = _float if affinity == "REAL" else _integer
    return [None if value is None else convert(value) for value in values]


def _text(value: object) -> object:
    if type(value) is int:
        return str(value)
    if type(value) is not float:
        return value
    return None if isnan(value) else repr(value)


def _integer(value: Any) -> int | None:
    if type(value) is int:
        return value
    if type(value) is float:
        if isnan(value):
            return None
        if value.is_integer() and -_INT64 <= value < _INT64:
            return int(value)
    elif type(value) is str:
        if _INTEGER.fullmatch(value):
            number = int(value) if len(value) < 100 else _INT64
            if -_INT64 <= number < _INT64:
                return number
            raise MisfitError(f"{_shown(value)} is over 64 bits: declare it as str")
        exact = _exact(value) if _NUMBER.fullmatch(value) else None
        if exact is not None and exact.adjusted() < 19 and exact == exact.to_integral_value():
            number = int(exact)
            if -_INT64 <= number < _INT64:
                return number
    raise MisfitError(f"{_shown(value)} cannot be stored as int, the column's declared type")


def _float(value: Any) -> float:
    if type(value) is float:
        return value
    if type(value) is int:
        return _float_of_int(value)
    if type(value) is str and _NUMBER.fullmatch(value):
        return _float_of_text(value)
    raise MisfitError(f"{_shown(value)} cannot be stored as float, the column's declared type")


def _float_of_int(value: int) -> float:
    if -_EXACT <= value <= _EXACT or int(float(value)) == value:
        return float(value)
    raise MisfitError(f"the int {value} would come back as {float(value)!r}: the column holds floats")


def _float_of_text(text: str) -> float:
    number = float(text)
    if (len(text) <= _SAFE_LENGTH and "e" not in text and "E" not in text) or repr(number) == text:
        return number
    exact = _exact(text)
    if exact is not None and abs(number) != float("inf"):
        digits = max(len(exact.as_tuple().digits), 1)
        if Decimal(f"{Decimal(number):.{digits - 1}e}") == exact:
            return number
    raise MisfitError(f"{_shown(text)} would come back as {number!r}: the column holds floats")


def _exact(text: str) -> Decimal | None:
    """Return the number in a text; ``None`` if its exponent is too large for Decimal."""
    try:
        return Decimal(text.strip())
    except InvalidOperation:
        return None


def _their_number(value: Any, *, is_real: bool) -> Any:
    if type(value) is int and is_real:
        return _float_of_int(value)
    if type(value) is not str or not _NUMBER.fullmatch(value):
        return value
    if not is_real and _INTEGER.fullmatch(value) and len(value) < 100 and -_INT64 <= int(value) < _INT64:
        return int(value)
    return _float_of_text(value)


def _shown(value: object) -> str:
    return clean(repr(value), 60)
