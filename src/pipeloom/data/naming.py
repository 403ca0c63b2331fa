"""The identity of a function, so that the next call recognises it, however the program is started.

A function is identified by where it is defined, its name there, and what it holds besides its code. The name that
people read is made of the first two: ``package.module:function``.
"""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable
from dataclasses import dataclass
from types import CodeType, FunctionType, ModuleType
from typing import Any, Final

from pipeloom.data.captured import digest_of_code
from pipeloom.data.origins import found_in, origin_of
from pipeloom.data.seen import OBJECT, captured_by
from pipeloom.data.text import attribute, storable

__all__ = ["Naming", "naming_of"]

_DEEPEST: Final = 50  # nested wrappers
_NOTHING: Final = "-"


@dataclass(frozen=True, slots=True)
class Naming:
    """The identity of a function.

    Attributes:
        name: The name of its pipeline: ``module:qualname``, or the name that the caller passed.
        is_given: The caller passed the name; then nothing below matters.
        function: ``module:qualname``.
        place: Where it is defined, see :func:`~pipeloom.data.origins.origin_of`.
        code: A digest of its code; ``None`` if it is not written in Python.
        captured: A digest, or another mark, of all that it holds besides its code.
        kind: What it is, for people to read, such as ``"a lambda"``.
    """

    name: str
    is_given: bool
    function: str
    place: str
    code: str | None
    captured: str
    kind: str

    @property
    def is_lasting(self) -> bool:
        """Whether another process can recognise it."""
        return not self.captured.startswith(OBJECT)

    @property
    def qualname(self) -> str:
        """Its name in its file."""
        return self.function.rpartition(":")[2]


def naming_of(fn: Callable[..., object], name: str | None = None) -> Naming:
    """Return the identity of a function; looks up where files are, and reads none.

    Args:
        fn: Any callable.
        name: The name that the caller passed, if any.
    """
    inner, held, kind = _unwrapped(fn)
    if held and found_in(str(attribute(fn, "__module__")), str(attribute(fn, "__qualname__"))) is fn:
        held, kind = [], "a function"  # what decorators hold is part of the source code
    qualname = storable(str(attribute(inner, "__qualname__")))
    owner = attribute(inner, "__objclass__")  # str.upper and similar ones have no module
    module = attribute(owner if isinstance(owner, type) else inner, "__module__")
    place, module_name = origin_of(module if isinstance(module, str) else "__main__")
    code = attribute(inner, "__code__")
    is_lambda = "<lambda>" in qualname
    whole = fn.__self__ if inspect.ismethod(fn) else fn
    captured = _NOTHING
    if held or is_lambda:
        captured = captured_by(whole, qualname, held, is_known_by_that=not is_lambda)
    function = f"{storable(module_name)}:{qualname}"
    return Naming(
        name=function if name is None else name,
        is_given=name is not None,
        function=function,
        place=storable(place),
        code=_version() + digest_of_code(code) if isinstance(code, CodeType) else None,
        captured=captured,
        kind="a lambda" if is_lambda else kind,
    )


def _version() -> str:
    """Return the Python version, within which digests of code can be compared."""
    return f"{sys.implementation.name} {sys.version_info[0]}.{sys.version_info[1]}:"


def _unwrapped(fn: Any) -> tuple[Any, list[object], str]:
    """Return the innermost function or class, what it and its wrappers hold, and what kind of thing it is."""
    held: list[object] = []
    kind = "a function"
    for _ in range(_DEEPEST):
        wrapped = attribute(fn, "__wrapped__")
        if isinstance(fn, functools.partial):
            held += [fn.args, fn.keywords]
            fn, kind = fn.func, "a partial"
        elif inspect.ismethod(fn):
            held.append(fn.__self__)
            if not isinstance(fn.__self__, type):
                kind = "a method of an object"
            fn = fn.__func__
        elif callable(wrapped):
            if isinstance(fn, FunctionType):
                around = [*_cells(fn), fn.__defaults__, fn.__kwdefaults__]
                held += [value for value in around if value is not wrapped and value is not None]
            fn = wrapped
        else:
            break
    if not isinstance(attribute(fn, "__qualname__"), str):
        return type(fn), [*held, fn], "a callable object"
    own, what = _held_by(fn)
    return fn, held + own, what if own and kind == "a function" else kind


def _held_by(fn: Any) -> tuple[list[object], str]:
    """Return what a named function or class holds besides its code, and what kind of thing that makes it."""
    if isinstance(fn, FunctionType):
        held = _cells(fn)
        if "<locals>" in fn.__qualname__:  # other functions' defaults are part of the source code
            held += [value for value in (fn.__defaults__, fn.__kwdefaults__) if value is not None]
        return held, "a function that holds values"
    if isinstance(fn, type):
        return [fn] if "<locals>" in fn.__qualname__ else [], "a class made in a function"
    owner = attribute(fn, "__self__")
    return [] if isinstance(owner, ModuleType | None) else [owner], "a method of an object"


def _cells(fn: FunctionType) -> list[object]:
    """Return the values that a function captures from enclosing functions."""
    held: list[object] = []
    for cell in fn.__closure__ or ():
        try:
            held.append(cell.cell_contents)
        except ValueError:  # not assigned yet, so nothing is known about it
            held.append(cell)
    return held
