"""About how many bytes of memory an object takes, so that what waits can be bounded. Any thread.

It is an estimate, and its cost is bounded: large containers are sampled, objects are looked into a few levels deep.
A foreign object's own code is asked for nothing but the size that arrays and frames say they have.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from functools import lru_cache
from itertools import chain, islice
from math import prod
from sys import getsizeof
from types import FunctionType, MemberDescriptorType
from typing import Any, Final, NamedTuple

__all__ = ["SLOT", "slots_for", "weigh"]

SLOT: Final = 4 * 1024
"""Bytes. What waits is counted in slots: one for each thing, and as many as it takes if it is larger than that."""

_PLAIN: Final = frozenset({str, bytes, bytearray, int, float, bool, complex, type(None)})
_CONTAINERS: Final = (list, tuple, dict, set, frozenset, deque)
_SMALL: Final = frozenset({"builtins", "datetime", "decimal", "enum", "fractions", "pathlib", "uuid"})
_MEMBER: Final = MemberDescriptorType  # where a class with ``__slots__`` keeps one attribute
_LOOKS: Final = 256  # at objects, for one estimate
_DEPTH: Final = 8
_SAMPLE: Final = 16  # elements of a container
_CELL: Final = 8  # bytes of a value in a frame
_OBJECT: Final = 64


def slots_for(size: int) -> int:
    """Return how many slots so many bytes take, at least 1."""
    return 1 if size <= SLOT else size // SLOT


def weigh(value: object) -> int:
    """Return about how many bytes an object takes, with what it refers to."""
    kind = type(value)
    if kind in _PLAIN:
        return getsizeof(value)
    if (kind is tuple or kind is list or kind is dict) and len(value) <= _SAMPLE:  # type: ignore[arg-type]
        # As many inputs are: in a fifth of the time.
        parts: Any = value if kind is not dict else [*value, *value.values()]  # type: ignore[misc, attr-defined]
        if _PLAIN.issuperset(map(type, parts)):
            return getsizeof(value) + sum(map(getsizeof, parts))
    try:
        return int(_Scales().weight_of(value, 0))
    except Exception:  # noqa: BLE001 - a foreign class may do anything: it is not weighed, rather than in the way
        return _OBJECT


class _Scales:
    """One estimate."""

    def __init__(self) -> None:
        self._looks = _LOOKS
        self._seen: set[int] = set()

    def weight_of(self, value: Any, depth: int) -> float:
        """Return the weight of an object; 0 when it was counted before, or lies too deep."""
        self._looks -= 1
        if self._looks < 0 or depth > _DEPTH or id(value) in self._seen:
            return 0
        self._seen.add(id(value))
        kind = _kind_of(type(value))  # type: ignore[arg-type]  # as in data/records
        if kind.says and (size := _said_by(value, kind.says)) is not None:
            return size
        own = getsizeof(value, _OBJECT) if kind.has_plain_size else _OBJECT
        found, count = _parts_of(value, type(value)) if kind.is_container else (_attributes_of(value, kind), 0)
        if not found:
            return own
        if _PLAIN.issuperset(map(type, found)):  # as most are: this is asked for each input
            parts: float = sum(map(getsizeof, found))
        else:
            parts = sum(
                [getsizeof(each) if type(each) in _PLAIN else self.weight_of(each, depth + 1) for each in found]
            )
        return own + parts * max(count / len(found), 1)


class _Kind(NamedTuple):
    """How objects of a class are weighed."""

    says: str | None  # the attribute that has the size of an array or a frame
    has_plain_size: bool  # the size of an object itself is cheap to ask for
    is_container: bool
    is_small: bool  # one is as large as another, and refers to nothing of its own
    slots: tuple[Any, ...]  # where they keep what is not in their ``__dict__``


@lru_cache(maxsize=256)
def _kind_of(kind: type) -> _Kind:
    # Of the class: what an instance makes up on demand is not asked, nor is a `__sizeof__` written in Python.
    slots: list[Any] = [slot for base in kind.__mro__ for slot in vars(base).values() if type(slot) is _MEMBER]
    is_error = issubclass(kind, BaseException)
    return _Kind(
        says=next((name for name in ("nbytes", "shape") if hasattr(kind, name)), None),
        has_plain_size=not isinstance(getattr(kind, "__sizeof__", None), FunctionType),
        is_container=issubclass(kind, _CONTAINERS),
        is_small=kind.__module__ in _SMALL and not is_error,
        slots=(*slots, vars(BaseException)["args"]) if is_error else tuple(slots),
    )


def _parts_of(value: Any, kind: type) -> tuple[Sequence[Any], int]:
    """Return a sample of what is in a container, and how much there is."""
    if issubclass(kind, list | tuple):
        count = len(value)
        return (value, count) if count <= _SAMPLE else (value[:: count // _SAMPLE], count)
    if issubclass(kind, dict):
        pairs = list(islice(dict.items(value), _SAMPLE))
        return list(chain.from_iterable(pairs)), 2 * dict.__len__(value)
    return list(islice(value, _SAMPLE)), len(value)


def _attributes_of(value: Any, kind: _Kind) -> list[Any]:
    """Return the attributes of an object, without calling anything of its own."""
    if kind.is_small:
        return []
    try:
        found = list(islice(object.__getattribute__(value, "__dict__").values(), _SAMPLE))
    except AttributeError:
        found = []
    for slot in kind.slots:
        try:
            found.append(slot.__get__(value))
        except AttributeError:
            pass  # not set
    return found


def _said_by(value: Any, name: str) -> int | None:
    """Return the size that an array or a frame says it has; ``None`` for anything else."""
    said = getattr(value, name)
    if name == "nbytes":
        return said if type(said) is int else None
    return prod(said) * _CELL if isinstance(said, tuple) and all(type(side) is int for side in said) else None
