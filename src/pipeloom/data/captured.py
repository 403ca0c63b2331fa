"""What a function holds besides its code: the only way to decide whether two functions of one factory are the same.

Only values that do the same if they are equal are accepted: plain values and compounds of them. For everything else
the answer is "unknown", and the caller must not treat two functions as one.
"""

from __future__ import annotations

import dataclasses
import enum
import functools
import hashlib
import logging
import re
from collections.abc import Iterator, Sequence
from datetime import date, time, timedelta, tzinfo
from decimal import Decimal
from fractions import Fraction
from pathlib import PurePath
from types import CodeType, FunctionType, ModuleType
from typing import Any, Final
from uuid import UUID

from pipeloom.data.origins import found_in, origin_of

__all__ = ["PLAIN", "digest_of", "digest_of_code"]

_MOST: Final = 10_000
"""Values: larger tables that a function holds are not read, since that would take more than some milliseconds."""
_LONGEST: Final = 1 << 20  # characters or bytes of one value
_OTHER_STATE: Final = ("__getstate__", "__reduce__", "__reduce_ex__")  # it has state besides its attributes
PLAIN: Final = (str, bytes, int, float, complex, bool, type(None), type(Ellipsis), range, slice)
_TELLING: Final = (PurePath, date, time, timedelta, tzinfo, Decimal, Fraction, UUID, re.Pattern)


class _UnknownError(Exception):
    """Nothing is known about one of the values."""


def digest_of(values: object) -> str | None:
    """Return a digest of what a function holds; ``None`` if there is no reliable one."""
    digest = hashlib.sha256()
    try:
        for count, word in enumerate(_words(values, ())):
            if count > _MOST:
                return None
            digest.update(word.encode("utf-8", "surrogatepass") + b"\0")
    except Exception:  # noqa: BLE001 - a foreign __repr__, __iter__ or property may do anything
        return None
    return digest.hexdigest()[:32]


def _words(value: Any, around: tuple[int, ...]) -> Iterator[str]:
    """Yield what distinguishes a value from every other one; ``around`` lists the ids of its containers."""
    if id(value) in around:  # a recursive function holds itself
        yield f"around {around.index(id(value))}"
        return
    word = _plain(value)
    if word is not None:
        yield word
        return
    kind, parts = _taken_apart(value)
    yield f"{kind} {len(parts)}"
    inside = (*around, id(value))
    for part in sorted(parts, key=lambda part: [*_words(part, inside)]) if kind.endswith("set") else parts:
        yield from _words(part, inside)


def _plain(value: Any) -> str | None:
    """Return the digest text of a value without parts or of a named object; ``None`` for others."""
    kind = type(value)
    if kind in PLAIN:
        if kind in (str, bytes) and len(value) > _LONGEST:
            raise _UnknownError
        return f"{kind.__name__} {value!r}"
    if isinstance(value, _TELLING):
        return f"{_name(kind)} {value!r}"
    if isinstance(value, enum.Enum):
        return f"enum {_name(kind)} {value.name}"
    if isinstance(value, type):
        return f"class {_name(value)}"
    if isinstance(value, ModuleType):
        return f"module {value.__name__}"
    if isinstance(value, logging.Logger):
        return f"logger {value.name}"
    return None


def _taken_apart(value: Any) -> tuple[str, Sequence[object]]:
    """Return the kind of a compound and its parts."""
    kind = type(value)
    if kind in (tuple, list, set, frozenset) or (isinstance(value, tuple) and hasattr(kind, "_fields")):
        return _name(kind), tuple(value)
    if kind is dict:
        return "dict", tuple(value.items())
    if isinstance(value, functools.partial):
        return "partial", (value.func, value.args, value.keywords)
    if dataclasses.is_dataclass(value):
        return _name(kind), [(field.name, getattr(value, field.name)) for field in dataclasses.fields(value)]
    if hasattr(value, "__qualname__"):
        return f"function {_name(value)}", _held(value)
    if _is_plain_object(value):
        return _name(kind), tuple(vars(value).items())
    raise _UnknownError


def _name(of: Any) -> str:
    """Return where a class or function is defined; raises if a class cannot be found there."""
    if isinstance(of, type) and found_in(of.__module__, of.__qualname__) is not of:
        raise _UnknownError
    return f"{origin_of(of.__module__)[1]}:{of.__qualname__}"


def _held(function: Any) -> list[object]:
    """Return what distinguishes a held function from others of its name; lambdas of one place share a name."""
    held = [cell.cell_contents for cell in getattr(function, "__closure__", None) or ()]
    if "<locals>" in function.__qualname__:
        held += [getattr(function, name, None) for name in ("__defaults__", "__kwdefaults__")]
    if "<lambda>" in function.__qualname__:
        held.append(digest_of_code(function.__code__))
    if told := vars(function) if isinstance(function, FunctionType) else {}:
        held.append({name: value for name, value in told.items() if name != "__wrapped__"})
    owner = getattr(function, "__self__", None)
    return held if owner is None or isinstance(owner, ModuleType) else [*held, owner]


def _is_plain_object(value: object) -> bool:
    """Return whether an object consists of its attributes: its class is in Python and has no other bases."""
    kind = type(value)
    return (
        hasattr(value, "__dict__")
        and kind.__basicsize__ == _Plain.__basicsize__
        and not any(name in vars(base) for base in kind.__mro__[:-1] for name in _OTHER_STATE)
    )


class _Plain:
    """Has the size of every object that has nothing but attributes."""


def digest_of_code(code: CodeType) -> str:
    """Return a digest of what a function does, independent of where it is: no file names or lines.

    Digests can be compared within one Python version only.
    """
    digest = hashlib.sha256(code.co_code)
    for constant in code.co_consts:
        text = digest_of_code(constant) if isinstance(constant, CodeType) else _constant(constant)
        digest.update(text.encode("utf-8", "surrogatepass") + b"\0")
    digest.update(repr((code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars)).encode())
    return digest.hexdigest()[:32]


def _constant(value: object) -> str:
    return repr(sorted(map(repr, value))) if isinstance(value, frozenset) else repr(value)
