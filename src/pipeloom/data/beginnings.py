"""The beginning of ``str(value)`` without building the rest, which may be large: an input's name needs no more.

``str`` is called for small objects, and for objects whose own class defines how they are shown. Large containers,
records, arrays and frames are written only as far as needed.
"""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Iterable
from itertools import islice
from math import prod
from types import FunctionType
from typing import Any, Final

from pipeloom.data.weights import weigh

__all__ = ["beginning_of"]

_SMALL: Final = 16 * 1024  # bytes, which take about 50 µs to format
_CELLS: Final = 1000  # of an array; numpy abbreviates larger ones itself


def beginning_of(value: object, length: int) -> str:
    """Return ``str(value)``, or more than ``length`` characters of its beginning; foreign code may raise."""
    if isinstance(value, str):
        return str(value) if len(value) <= length else value[: length + 1]
    if weigh(value) <= _SMALL:
        return str(value)
    writer = _Writer(length)
    try:
        writer.write(value, type(value).__str__)
    except _EnoughError:
        pass
    return "".join(writer.parts)


class _EnoughError(Exception):
    """Enough has been written."""


class _Writer:
    """Writes what ``repr`` would, up to a length."""

    def __init__(self, length: int) -> None:
        self.parts: list[str] = []
        self._left = length

    def say(self, text: str) -> None:
        self.parts.append(text)
        self._left -= len(text)
        if self._left < 0:
            raise _EnoughError

    def write(self, value: Any, how: object = None) -> None:
        """Write one object; ``how`` is the method that shows it, by default its ``__repr__``."""
        kind: Any = type(value)
        if isinstance(value, str | bytes | bytearray):
            self.say(repr(value[: max(self._left, 0) + 1]))
        elif issubclass(kind, BaseException) and how is not None:
            self._write_message(value, kind)
        elif (shape := _shape_of(value, kind)) is not None:
            self.say(f"<{kind.__name__} of {' x '.join(map(str, shape))}>")
        elif _is_the_callers(how or kind.__repr__, kind):
            self.say(repr(value) if how is None else str(value))
        elif issubclass(kind, list | tuple | dict | set | frozenset | deque) and not hasattr(kind, "_fields"):
            self._write_container(value, kind)
        elif weigh(value) <= _SMALL:
            self.say(repr(value) if how is None else str(value))
        else:
            self._write_fields(value, kind)

    def _write_message(self, error: BaseException, kind: Any) -> None:
        if kind.__str__ is not BaseException.__str__:
            self.say(str(error))
        elif len(error.args) == 1:
            self.say(beginning_of(error.args[0], self._left))
        else:
            self.write(error.args)

    def _write_container(self, value: Any, kind: type) -> None:
        inner = "{}" if issubclass(kind, dict | set | frozenset) else "()" if kind is tuple else "[]"
        opening, closing = inner[0], inner[1]
        if kind not in _BARE:
            opening, closing = f"{kind.__name__}({opening}", f"{closing})"
        self.say(opening)
        for place, element in enumerate(value):
            if place:
                self.say(", ")
            self.write(element)
            if issubclass(kind, dict):
                self.say(": ")
                self.write(value[element])
        self.say(closing)

    def _write_fields(self, value: Any, kind: type) -> None:
        self.say(kind.__qualname__ + "(")
        for place, name in enumerate(_fields_of(value, kind)):
            self.say(f"{', ' if place else ''}{name}=")
            self.write(getattr(value, name))
        self.say(")")


_BARE: Final = (list, tuple, dict, set)


def _shape_of(value: Any, kind: type) -> tuple[int, ...] | None:
    """Return the shape of a large array or frame; ``None`` for anything else."""
    shape = getattr(value, "shape", None) if hasattr(kind, "shape") else None
    if isinstance(shape, tuple) and all(type(side) is int for side in shape) and prod(shape) > _CELLS:
        return shape
    return None


def _is_the_callers(how: object, kind: type) -> bool:
    """Return whether the class's author wrote a method, and it was neither generated nor inherited."""
    return (
        isinstance(how, FunctionType)
        and not hasattr(how, "__wrapped__")  # as dataclasses do
        and not how.__code__.co_filename.startswith("<")  # as attrs does
        and how.__module__.partition(".")[0] == kind.__module__.partition(".")[0]
    )


def _fields_of(value: Any, kind: type) -> Iterable[str]:
    if dataclasses.is_dataclass(kind):
        return [field.name for field in dataclasses.fields(kind) if field.repr]
    for names in ("_fields", "__struct_fields__"):
        if isinstance(found := getattr(kind, names, None), tuple):
            return found
    if isinstance(found := getattr(kind, "__attrs_attrs__", None), tuple):
        return [field.name for field in found]
    return list(islice(getattr(value, "__dict__", ()), 100))
