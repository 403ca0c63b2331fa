"""What a function holds beside its code: whether two of one factory are the same job is told by this alone.

Only values whose equality says that they do the same are taken: plain values, and compounds of them. For everything
else the answer is "unknown", and whoever asks must not take two for one.
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
"""Values: a table that a function holds is not looked through for longer than this takes, some milliseconds."""
_LONGEST: Final = 1 << 20  # characters, or bytes, of one
_OTHER_STATE: Final = ("__getstate__", "__reduce__", "__reduce_ex__")  # its attributes are not all there is
PLAIN: Final = (str, bytes, int, float, complex, bool, type(None), type(Ellipsis), range, slice)
_TELLING: Final = (PurePath, date, time, timedelta, tzinfo, Decimal, Fraction, UUID, re.Pattern)


class _UnknownError(Exception):
    """There is a value among them of which nothing is known."""


def digest_of(values: object) -> str | None:
    """Return a digest of what a function holds; ``None`` when that cannot be told."""
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
    """Yield what tells a value from every other one; ``around`` is what it lies in."""
    if id(value) in around:  # a function that calls itself holds itself
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
    """Return what tells a value without parts, or a thing that is known by its name; ``None`` for others."""
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
    """Return where a class or function is defined; a class that is not found there is not known by that."""
    if isinstance(of, type) and found_in(of.__module__, of.__qualname__) is not of:
        raise _UnknownError
    return f"{origin_of(of.__module__)[1]}:{of.__qualname__}"


def _held(function: Any) -> list[object]:
    """Return what tells a function that is held from others of its name; lambdas of one place share it."""
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
    """Say whether an object is what its attributes are: of a class in Python, without other bases."""
    kind = type(value)
    return (
        hasattr(value, "__dict__")
        and kind.__basicsize__ == _Plain.__basicsize__
        and not any(name in vars(base) for base in kind.__mro__[:-1] for name in _OTHER_STATE)
    )


class _Plain:
    """As large as every object that has nothing but attributes."""


def digest_of_code(code: CodeType) -> str:
    """Return a digest of what a function does, wherever it stands: no names of files, no lines.

    The digests of one Python version are comparable, those of two are not.
    """
    digest = hashlib.sha256(code.co_code)
    for constant in code.co_consts:
        text = digest_of_code(constant) if isinstance(constant, CodeType) else _constant(constant)
        digest.update(text.encode("utf-8", "surrogatepass") + b"\0")
    digest.update(repr((code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars)).encode())
    return digest.hexdigest()[:32]


def _constant(value: object) -> str:
    return repr(sorted(map(repr, value))) if isinstance(value, frozenset) else repr(value)
