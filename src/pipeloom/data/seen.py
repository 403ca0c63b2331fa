"""The functions that this process has called ``map`` with: the same object is recognised as the same job.

Two functions are compared by a digest of what they hold, if there is one. Many values have none (a lock, a
connection), and a list that a function appends to changes its digest. But as long as the function itself exists and
holds the same objects as before, it is the same function.
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
"""The prefix of the mark of an object that has no digest, valid in one process only."""

_Mark = tuple[Any, Any]
_guard: Final = threading.Lock()
_seen: Final[dict[tuple[int, str], tuple[list[_Mark], str]]] = {}


if hasattr(os, "register_at_fork"):  # hold it while forking, or the child could never acquire it
    os.register_at_fork(before=_guard.acquire, after_in_parent=_guard.release, after_in_child=_guard.release)


def captured_by(whole: Any, name: str, held: Sequence[object], *, is_known_by_that: bool) -> str:
    """Return a text that identifies everything a function holds; any thread.

    Args:
        whole: The object that was passed: the function, or the object that a method is bound to.
        name: The function's own name.
        held: What it holds, n ≥ 0 values.
        is_known_by_that: A digest is sufficient; for a lambda it is not.
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
            except TypeError:  # its end cannot be observed
                return word
        _seen[place] = marks, word
    return word


def _opened(value: object) -> list[object]:
    """Return a value and, if it is an instance of a Python class, the values of its attributes."""
    attributes = getattr(value, "__dict__", None)
    if isinstance(value, type) or not isinstance(attributes, dict) or hasattr(value, "__qualname__"):
        return [value]
    return [value, *attributes.values()]


def _mark(value: object) -> _Mark:
    """Return what a value is recognised by; refers to nothing that could keep the function alive."""
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
