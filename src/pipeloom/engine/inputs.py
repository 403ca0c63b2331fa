"""The end of inputs that a run leaves early: a generator is closed where it ran, and nothing else is."""

from __future__ import annotations

import gc
import itertools
import sys
from collections.abc import Generator
from typing import Any, Final

__all__ = ["close_generators"]

_LAZY: Final = (enumerate, filter, map, zip)


def close_generators(inputs: object) -> None:
    """Close the generator that inputs come from, if they do: nobody else goes on with it. May raise what it raises.

    So is one behind ``enumerate``, ``map``, ``itertools`` and the like, if only that refers to it: it would be
    closed wherever that is collected. One that the caller holds, to go on with it, stays as it is. Another iterator
    with a ``close``, such as an open file or a cursor, is its owner's to close.
    """
    if isinstance(inputs, Generator):
        inputs.close()
    elif _is_lazy(inputs) or type(inputs) is tuple:  # zip and map keep theirs in a tuple
        for inner, references in _referents(inputs):
            if references <= _ALONE:
                close_generators(inner)


def _is_lazy(iterator: object) -> bool:
    return type(iterator) in _LAZY or type(iterator).__module__ == itertools.__name__


def _referents(holder: object) -> list[tuple[Any, int]]:
    """Return what an object refers to, each with the number of references to it, as counted here."""
    return [(inner, sys.getrefcount(inner)) for inner in gc.get_referents(holder)]


_ALONE: Final = _referents(filter(None, (_ for _ in range(0))))[0][1]
"""What is counted for a generator that its holder alone refers to; it differs between versions of Python."""
