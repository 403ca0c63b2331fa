"""One row of any type: its column names and values. Types are recognised by what they have, without any import.

Mappings, dataclasses, named tuples, attrs, pydantic, ``msgspec.Struct``, ``sqlite3.Row``, and any type with
``keys()`` and ``[]``.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from operator import attrgetter
from typing import Any, Final, TypeAlias

import msgspec

__all__ = ["Reader", "reader_for"]

Reader: TypeAlias = Callable[[Any], tuple[tuple[str, ...], Iterable[Any]]]
"""Returns the names in a row, and equally many values."""


def _read_mapping(row: Mapping[str, Any]) -> tuple[tuple[str, ...], Iterable[Any]]:
    return tuple(row), row.values()


def _read_struct(row: msgspec.Struct) -> tuple[tuple[str, ...], Iterable[Any]]:
    names, values = row.__struct_fields__, [getattr(row, name) for name in row.__struct_fields__]
    if msgspec.UNSET in values:  # the row lacks it
        kept = [(name, value) for name, value in zip(names, values, strict=True) if value is not msgspec.UNSET]
        return tuple(name for name, _ in kept), [value for _, value in kept]
    return names, values


def _read_model(row: Any) -> tuple[tuple[str, ...], Iterable[Any]]:
    return _read_mapping(row.model_dump() if hasattr(row, "model_dump") else row.dict())


def _read_named(row: Any) -> tuple[tuple[str, ...], Iterable[Any]]:
    return tuple(row._fields), row


def _read_row(row: Any) -> tuple[tuple[str, ...], Iterable[Any]]:
    return tuple(row.keys()), row


def _read_items(row: Any) -> tuple[tuple[str, ...], Iterable[Any]]:
    pairs = list(row.items())
    return tuple(name for name, _ in pairs), [value for _, value in pairs]


def _read_keys(row: Any) -> tuple[tuple[str, ...], Iterable[Any]]:
    names = tuple(row.keys())
    return names, [row[name] for name in names]


def _reading_fields(names: tuple[str, ...]) -> Reader:
    if len(names) < 2:  # attrgetter returns a bare value for one name, and needs at least one
        return lambda row: (names, [getattr(row, name) for name in names])
    get = attrgetter(*names)
    return lambda row: (names, get(row))


_PLAIN: Final = (str, bytes, bytearray, memoryview, type)


def reader_for(row: object) -> Reader | None:
    """Return the function that reads rows of this type; ``None`` if it is not a row."""
    return _reader_of(type(row))  # type: ignore[arg-type]  # mypy takes the type's own __hash__ for its instances'


@lru_cache(maxsize=256)
def _reader_of(kind: type) -> Reader | None:
    if issubclass(kind, Mapping):
        return _read_mapping
    if issubclass(kind, _PLAIN):
        return None
    if dataclasses.is_dataclass(kind):
        return _reading_fields(tuple(field.name for field in dataclasses.fields(kind)))
    if issubclass(kind, msgspec.Struct):
        return _read_struct
    if hasattr(kind, "__attrs_attrs__"):
        return _reading_fields(tuple(field.name for field in kind.__attrs_attrs__))
    if hasattr(kind, "__pydantic_fields__") or hasattr(kind, "__fields__"):
        return _read_model
    if hasattr(kind, "_fields") and issubclass(kind, Sequence):
        return _read_named
    if not hasattr(kind, "keys") or not hasattr(kind, "__getitem__"):
        return None
    if issubclass(kind, Sequence):  # sqlite3.Row: a name may occur several times, which must be detected
        return _read_row
    return _read_items if hasattr(kind, "items") else _read_keys
