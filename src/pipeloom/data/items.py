"""Inputs as text, stored until they are run: the input read back has the same types as the one that was added.

JSON in which an object says what it represents: ``{"": "tuple", "of": [...]}``. Reading it imports nothing and
calls no code of a dataclass's class. An input that would come back as something else is refused.
"""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Callable
from datetime import date, datetime
from functools import lru_cache
from pathlib import Path
from types import GeneratorType
from typing import Any, Final
from uuid import UUID

from pipeloom.data.keys import tagged, untagged
from pipeloom.data.origins import MAIN_MODULES, found_in, origin_of

__all__ = ["item_from", "kept_item"]

_ADVICE: Final = "add a str, number, path, date, UUID, or a tuple, list, dict or dataclass of those"
_DIGITS: Final = 1 << 63  # larger ints are stored as hexadecimal text, since Python refuses to parse long decimals
_PLAIN: Final = frozenset({str, float, bool, type(None)})
_TAGGED: Final = frozenset({type(Path()), UUID, date, datetime})
_SEVERAL: Final[tuple[type, ...]] = (
    set,
    frozenset,
    GeneratorType,
    map,
    filter,
    zip,
    range,
    type({}.keys()),
    type({}.values()),
)

_encode: Final[Callable[[object], str]] = json.JSONEncoder(ensure_ascii=True, separators=(",", ":")).encode


def kept_item(item: object) -> str:
    """Return an input as ASCII text.

    Raises:
        TypeError: It could not be restored from text; the message names the type.
        ValueError: It contains itself.
    """
    kind = type(item)
    if kind is str or (kind is int and -_DIGITS <= item < _DIGITS):  # type: ignore[operator]  # as most are
        return _encode(item) if kind is str else str(item)
    try:
        return _encode(_plain(item))
    except RecursionError:
        raise ValueError(
            f"a {kind.__name__} that contains itself cannot be stored as an input: {_ADVICE}"
        ) from None


def item_from(text: str) -> Any:
    """Return the input that was stored.

    Raises:
        ValueError: It cannot be restored, for example because its dataclass no longer exists.
    """
    if text[:1] == '"' and "\\" not in text:  # as most are
        return text[1:-1]
    try:
        return _restored(json.loads(text))
    except (TypeError, LookupError, AttributeError, RecursionError) as error:
        raise ValueError(f"not the text of an input ({type(error).__name__}: {error})") from error


def _plain(item: Any) -> Any:
    kind = type(item)
    if kind in _PLAIN:
        return item
    if kind is int:
        return item if -_DIGITS <= item < _DIGITS else {"": f"int:{item:#x}"}
    if kind in _TAGGED:
        return {"": tagged(item)}
    if kind is list:
        return [_plain(part) for part in item]
    if kind is tuple:
        return {"": "tuple", "of": [_plain(part) for part in item]}
    if kind is dict:
        return {"": "dict", "of": [[_plain(name), _plain(part)] for name, part in item.items()]}
    if dataclasses.is_dataclass(kind):
        _check_class(kind)
        fields = [[field.name, _plain(getattr(item, field.name))] for field in dataclasses.fields(kind)]
        return {"": "dataclass", "of": fields, "name": kind.__qualname__, "in": _module_of(kind)}
    raise _unstorable(item)


def _unstorable(item: object) -> TypeError:
    name = type(item).__name__
    if isinstance(item, _SEVERAL):
        return TypeError(f"a {name} cannot be stored as an input: to add each of its elements, write ctx.add(*...)")
    return TypeError(f"a value of type {name} cannot be stored as an input: {_ADVICE}")


def _module_of(kind: type) -> str:
    """Return the name of a class's module, the same however the program is started."""
    name = str(kind.__module__)
    return _called(name, id(sys.modules.get(name))) if name in MAIN_MODULES else name


@lru_cache(maxsize=16)
def _called(main: str, _which: int) -> str:
    """Return the program's module name; cached, since nothing else here takes as long."""
    return origin_of(main)[1]


@lru_cache(maxsize=256)
def _check_class(kind: type) -> None:
    """Refuse a dataclass that could not be found by its name, or not be created without running its code."""
    if found_in(kind.__module__, kind.__qualname__) is not kind:
        raise TypeError(
            f"a {kind.__name__} cannot be stored as an input, since its class cannot be found by its name: define "
            "the class at the top level of a module"
        )
    try:
        object.__new__(kind)
    except TypeError:
        raise TypeError(
            f"a {kind.__name__} cannot be stored as an input, since it is more than a dataclass: {_ADVICE}"
        ) from None


def _restored(value: Any) -> Any:
    if isinstance(value, list):
        return [_restored(part) for part in value]
    if not isinstance(value, dict):
        return value
    tag, parts = value[""], value.get("of")
    if parts is None:
        return untagged(tag)
    if tag == "tuple":
        return tuple([_restored(part) for part in parts])
    if tag == "dict":
        return {_restored(name): _restored(part) for name, part in parts}
    return _dataclass(value["in"], value["name"], {name: _restored(part) for name, part in parts})


def _dataclass(module: str, name: str, fields: dict[str, Any]) -> Any:
    kind = _class_of(module, name)
    if kind is None:
        raise ValueError(
            f"its class {name} is not found in the module {module}: import that before the run, or rename it back"
        )
    if [field.name for field in dataclasses.fields(kind)] != list(fields):
        raise ValueError(f"the fields of its class {name} have changed since it was added ({', '.join(fields)})")
    item = object.__new__(kind)
    for field, part in fields.items():
        object.__setattr__(item, field, part)
    return item


def _class_of(module: str, name: str) -> Any:
    """Return a dataclass by its name; the main program may be loaded under a different module name."""
    for place in (module, *MAIN_MODULES):
        if place == module or _called(place, id(sys.modules.get(place))) == module:
            kind = found_in(place, name)
            if isinstance(kind, type) and dataclasses.is_dataclass(kind):
                return kind
    return None
