"""About how many bytes of memory an object takes, so that waiting objects can be bounded. Any thread.

It is an estimate at a bounded cost: large containers are sampled, and objects are examined only a few levels deep.
No code of a foreign object is called, except to ask arrays and frames for their size.
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
"""Bytes. Waiting objects are counted in slots: one for each object, or more if it is larger than this."""

_PLAIN: Final = frozenset({str, bytes, bytearray, int, float, bool, complex, type(None)})
_CONTAINERS: Final = (list, tuple, dict, set, frozenset, deque)
_SMALL: Final = frozenset({"builtins", "datetime", "decimal", "enum", "fractions", "pathlib", "uuid"})
_MEMBER: Final = MemberDescriptorType  # the descriptor of one attribute in ``__slots__``
_LOOKS: Final = 256  # objects examined for one estimate
_DEPTH: Final = 8
_SAMPLE: Final = 16  # elements of a container that are examined
_CELL: Final = 8  # bytes per value in a frame
_OBJECT: Final = 64


def slots_for(size: int) -> int:
    """Return how many slots that many bytes take, at least 1."""
    return 1 if size <= SLOT else size // SLOT


def weigh(value: object) -> int:
    """Return about how many bytes an object takes, including what it refers to."""
    kind = type(value)
    if kind in _PLAIN:
        return getsizeof(value)
    if (kind is tuple or kind is list or kind is dict) and len(value) <= _SAMPLE:  # type: ignore[arg-type]
        # Many inputs are like this; a fifth of the time.
        parts: Any = value if kind is not dict else [*value, *value.values()]  # type: ignore[misc, attr-defined]
        if _PLAIN.issuperset(map(type, parts)):
            return getsizeof(value) + sum(map(getsizeof, parts))
    try:
        return int(_Scales().weight_of(value, 0))
    except Exception:  # noqa: BLE001 - a foreign class may do anything: rather not weigh it than fail
        return _OBJECT


class _Scales:
    """One estimate."""

    def __init__(self) -> None:
        self._looks = _LOOKS
        self._seen: set[int] = set()

    def weight_of(self, value: Any, depth: int) -> float:
        """Return the weight of an object; 0 if it was already counted, or is too deep."""
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
        if _PLAIN.issuperset(map(type, found)):  # as most are; this runs for each input
            parts: float = sum(map(getsizeof, found))
        else:
            parts = sum(
                [getsizeof(each) if type(each) in _PLAIN else self.weight_of(each, depth + 1) for each in found]
            )
        return own + parts * max(count / len(found), 1)


class _Kind(NamedTuple):
    """How objects of a class are weighed."""

    says: str | None  # the attribute with the size of an array or a frame
    has_plain_size: bool  # the size of an object itself is cheap to determine
    is_container: bool
    is_small: bool  # all have the same size, and refer to nothing of their own
    slots: tuple[Any, ...]  # the attributes that are not in their ``__dict__``


@lru_cache(maxsize=256)
def _kind_of(kind: type) -> _Kind:
    # Looked up on the class: neither attributes that an instance creates on demand nor a Python `__sizeof__` count.
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
    """Return a sample of a container's contents, and how many there are."""
    if issubclass(kind, list | tuple):
        count = len(value)
        return (value, count) if count <= _SAMPLE else (value[:: count // _SAMPLE], count)
    if issubclass(kind, dict):
        pairs = list(islice(dict.items(value), _SAMPLE))
        return list(chain.from_iterable(pairs)), 2 * dict.__len__(value)
    return list(islice(value, _SAMPLE)), len(value)


def _attributes_of(value: Any, kind: _Kind) -> list[Any]:
    """Return the attributes of an object, without calling any code of its own."""
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
    """Return the size that an array or a frame reports; ``None`` for anything else."""
    said = getattr(value, name)
    if name == "nbytes":
        return said if type(said) is int else None
    return prod(said) * _CELL if isinstance(said, tuple) and all(type(side) is int for side in said) else None
