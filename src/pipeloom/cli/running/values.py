"""Convert words from the command line to the type of a parameter's annotation."""

from __future__ import annotations

import collections.abc
import datetime as dt
import decimal
import enum
import fractions
import os
import pathlib
import types
import uuid
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Final, ForwardRef, Literal, NewType, TypeVar, Union, get_args, get_origin

__all__ = ["converted", "takes_many"]

_BOOLS: Final = {
    **dict.fromkeys(("true", "yes", "on", "1"), True),
    **dict.fromkeys(("false", "no", "off", "0"), False),
}
_NONE: Final = ("none", "null")


def _bool(word: str) -> bool:
    return _BOOLS[word.lower()]


# type → (conversion, name in error sentences)
_KINDS: Final[dict[Any, tuple[Callable[[str], Any], str]]] = {
    str: (str, "text"),
    bool: (_bool, "bool: true or false"),
    int: (int, "int"),
    float: (float, "float"),
    complex: (complex, "complex number"),
    bytes: (os.fsencode, "text"),
    decimal.Decimal: (decimal.Decimal, "decimal number"),
    fractions.Fraction: (fractions.Fraction, "fraction"),
    pathlib.Path: (pathlib.Path, "path"),
    os.PathLike: (pathlib.Path, "path"),
    uuid.UUID: (uuid.UUID, "UUID"),
    dt.datetime: (dt.datetime.fromisoformat, "date and time, such as 2026-01-31T12:00"),
    dt.date: (dt.date.fromisoformat, "date, such as 2026-01-31"),
    dt.time: (dt.time.fromisoformat, "time, such as 12:00"),
}
_OPEN: Final = (
    Any,
    object,
    str,
    bytes,
    pathlib.Path,
    os.PathLike,
)  # any word converts to these: in a union, try the other types first
_ABSTRACT: Final = (collections.abc.Sequence, collections.abc.Iterable, collections.abc.Collection)
_MANY: Final = (list, tuple, set, frozenset, *_ABSTRACT, collections.abc.Set, collections.abc.MutableSequence)


def takes_many(annotation: Any) -> bool:
    """Return whether a parameter takes several words: a list, tuple, set or similar."""
    return any(_is_many(member) for member in _members(annotation))


def converted(words: Sequence[str], annotation: Any) -> Any:
    """Return the value of a parameter.

    Args:
        words: What the user typed: one word, or any number if :func:`takes_many`.
        annotation: A type, or ``Any``.

    Raises:
        ValueError: A word is not of that type; the text says what is expected.
        TypeError: Words cannot be converted to that type; the text names the type.
    """
    members = _members(annotation)
    many = [member for member in members if _is_many(member)]
    if many:
        return _collection(words, many[0])
    (word,) = words
    return _one_of(word, members)


def _members(annotation: Any) -> list[Any]:
    """Return the alternatives of a type, without ``Annotated``, ``NewType`` and other wrappers."""
    while True:
        if get_origin(annotation) is Annotated:
            annotation = get_args(annotation)[0]
        elif isinstance(annotation, NewType):
            annotation = annotation.__supertype__
        elif isinstance(annotation, TypeVar):
            annotation = annotation.__bound__ or Any
        elif type(annotation).__name__ == "TypeAliasType":  # `type X = …`, since Python 3.12
            annotation = annotation.__value__
        else:
            break
    if get_origin(annotation) in (Union, types.UnionType):
        return [member for part in get_args(annotation) for member in _members(part)]
    return [annotation]


def _bare(kind: Any) -> Any:
    """Return the type without its parameters: ``list`` for ``list[int]``."""
    origin: Any = get_origin(kind)
    return kind if origin is None else origin


def _is_many(member: Any) -> bool:
    return _bare(member) in _MANY


def _collection(words: Sequence[str], kind: Any) -> Any:
    of, parts = _bare(kind), get_args(kind)
    if of is tuple and parts and parts[-1] is not Ellipsis:
        if len(words) != len(parts):
            raise ValueError(f"{len(parts)} values, in as many --arg")
        return tuple(converted([word], part) for word, part in zip(words, parts, strict=True))
    part = parts[0] if parts else str
    values = [converted([word], part) for word in words]
    if of in (tuple, set, frozenset):
        return of(values)
    return set(values) if of is collections.abc.Set else values


def _one_of(word: str, members: Sequence[Any]) -> Any:
    if type(None) in members and word.lower() in _NONE:
        return None
    expected: list[str] = []
    for member in sorted(members, key=lambda member: _bare(member) in _OPEN):
        if member is type(None):
            continue
        try:
            return _one(word, member)
        except _NotOneError as error:
            expected.append(str(error))
    raise ValueError(" or ".join(expected))


class _NotOneError(Exception):
    """The word is not of this type; the text says what is expected."""


def _one(word: str, kind: Any) -> Any:
    if kind is Any or kind is object or isinstance(kind, ForwardRef):  # a ForwardRef is an unresolved name
        return word
    if get_origin(kind) is Literal:
        return _choice(word, {str(value): value for value in get_args(kind)})
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        by_value = {str(member.value): member for member in kind}
        return _choice(word, by_value | dict(kind.__members__), shown=kind.__members__)
    make, what = _how(_bare(kind))
    try:
        return make(word)
    except (ValueError, KeyError, ArithmeticError):
        raise _NotOneError(what) from None


def _how(kind: Any) -> tuple[Callable[[str], Any], str]:
    if kind in _KINDS:
        return _KINDS[kind]
    if isinstance(kind, type) and issubclass(kind, (str, int, float, pathlib.PurePath)):
        return kind, kind.__name__
    raise TypeError(getattr(kind, "__name__", str(kind)))


def _choice(word: str, choices: dict[str, Any], shown: Any = None) -> Any:
    if word in choices:
        return choices[word]
    known = [value for value in choices.values() if isinstance(value, bool)]
    if known and _BOOLS.get(word.lower()) in known:
        return _BOOLS[word.lower()]
    raise _NotOneError(f"one of {', '.join(shown or choices)}")
