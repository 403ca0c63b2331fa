"""The functions that this process has called ``map`` with: one and the same object is the same job again.

Whether two functions are the same is told by a digest of what they hold, where there is one. Of many there is none
(a lock, a connection), and a list that a function appends to changes its digest. But while the function itself is
there and holds the same objects as before, it is the function of before.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Sequence
from typing import Any, Final
from uuid import uuid4

from pipeloom.data.captured import PLAIN, digest_of

__all__ = ["OBJECT", "captured_by"]

OBJECT: Final = "object:"
"""Begins what stands for one object of one process, of which there is no digest."""

_Mark = tuple[Any, Any]
_guard: Final = threading.Lock()
_seen: Final[dict[tuple[int, str], tuple[list[_Mark], str]]] = {}


if hasattr(os, "register_at_fork"):  # nobody forks while it is held: the child could never take it
    os.register_at_fork(before=_guard.acquire, after_in_parent=_guard.release, after_in_child=_guard.release)


def captured_by(whole: Any, name: str, held: Sequence[object], *, is_known_by_that: bool) -> str:
    """Return what stands for all that a function holds; any thread.

    Args:
        whole: The object that was passed: the function, or the one that a method is bound to.
        name: The function's own name.
        held: What it holds, n ≥ 0 values.
        is_known_by_that: A digest says all there is to say; that of a lambda says nothing.
    """
    parts = [part for value in held for part in _opened(value) if part is not whole]
    marks = [_mark(part) for part in parts]
    digest = digest_of(held) if is_known_by_that else None
    place = id(whole), name
    with _guard:
        before = _seen.get(place)
        if before is not None and len(before[0]) == len(parts) and all(map(_is_same, before[0], marks)):
            return before[1]
        word = digest or OBJECT + uuid4().hex
        if before is None:
            try:
                weakref.finalize(whole, _seen.pop, place, None).atexit = False
            except TypeError:  # nothing tells of its end
                return word
        _seen[place] = marks, word
    return word


def _opened(value: object) -> list[object]:
    """Return a value and, if it is an object of a class in Python, what its attributes are."""
    attributes = getattr(value, "__dict__", None)
    if isinstance(value, type) or not isinstance(attributes, dict) or hasattr(value, "__qualname__"):
        return [value]
    return [value, *attributes.values()]


def _mark(value: object) -> _Mark:
    """Return what a value is known again by; holds nothing that could hold the function."""
    if type(value) in PLAIN:
        return type(value), value
    try:
        return weakref.ref, weakref.ref(value)
    except TypeError:
        return id, id(value)


def _is_same(one: _Mark, other: _Mark) -> bool:
    if one[0] is weakref.ref and other[0] is weakref.ref:
        return one[1]() is other[1]()
    return one[0] is other[0] and bool(one[1] == other[1])
