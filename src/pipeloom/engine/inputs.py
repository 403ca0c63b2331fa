"""Lets go of inputs that a run leaves unread: generators are closed in their own thread, nothing else is."""

from __future__ import annotations

import gc
import itertools
import sys
from collections.abc import Generator
from typing import Any, Final

__all__ = ["close_generators"]

_LAZY: Final = (enumerate, filter, map, zip)


def close_generators(inputs: object) -> None:
    """Close the generator that the inputs come from, if nobody else can continue it. May raise what that raises.

    This includes a generator behind ``enumerate``, ``map``, ``itertools`` and similar if nothing else refers to
    it: it would otherwise be closed in whichever thread collects it. A generator that the caller still holds
    stays open. Any other iterator with a ``close``, such as an open file or a cursor, is left for its owner to
    close.
    """
    if isinstance(inputs, Generator):
        inputs.close()
    elif _is_lazy(inputs) or type(inputs) is tuple:  # zip and map keep their iterators in a tuple
        for inner, references in _referents(inputs):
            if references <= _ALONE:
                close_generators(inner)


def _is_lazy(iterator: object) -> bool:
    return type(iterator) in _LAZY or type(iterator).__module__ == itertools.__name__


def _referents(holder: object) -> list[tuple[Any, int]]:
    """Return the objects that an object refers to, each with its reference count as seen here."""
    return [(inner, sys.getrefcount(inner)) for inner in gc.get_referents(holder)]


_ALONE: Final = _referents(filter(None, (_ for _ in range(0))))[0][1]
"""The reference count of a generator that only its holder refers to; it differs between versions of Python."""
