"""Identity: what makes a task the same task in the next run, (pipeline, key); without keys, its number.

A key is stored in a column without a type, so that ``1`` and ``"1"`` stay two keys. Text is stored as it is;
other types carry a prefix (``path:a/b``, ``date:2026-01-31``), and text that happens to begin like one is
stored as ``str:…``. Compound inputs become a digest of their canonical JSON. That is stored beside the key, so that
results come back with what was given: :func:`known_as` undoes :func:`identity_of`.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import operator
import re
from collections.abc import Callable
from datetime import date, datetime
from pathlib import Path, PurePath
from typing import Any, Final
from uuid import UUID

from pipeloom.data.origins import found_in
from pipeloom.data.text import clean
from pipeloom.data.values import NUMBER_LIMIT
from pipeloom.errors import LedgerError

__all__ = ["identity_of", "key_of", "known_as", "tagged", "task_number", "untagged"]

_LIMIT: Final = 512
_INPUT_LIMIT: Final = 64 * 1024  # characters; of a larger input only the key is stored
_INT64: Final = 1 << 63
_SHORTENED: Final = re.compile(r"…sha256:[0-9a-f]{64}\Z")
_PREFIXED: Final = re.compile(r"(?:str|int|path|uuid|date|datetime|json):")


def key_of(item: object) -> str | int:
    """Return the stored key of an input, or of what ``key=`` returned for it.

    Raises:
        ValueError: As :func:`identity_of` does.
    """
    return identity_of(item)[0]


def identity_of(item: object) -> tuple[str | int, str | None]:
    """Return the stored key of an input, or of what ``key=`` returned for it, and what else is stored of it.

    Returns:
        The key; and JSON of at most 65,536 characters if the key is a digest, from which :func:`known_as` makes it
        again. ``None`` if the key says it all, or if it would be longer.

    Raises:
        ValueError: The type has no stable identity; the sentence says which type.
    """
    kind = type(item)
    if kind is int:
        number: int = item  # type: ignore[assignment]
        return (number, None) if -_INT64 <= number < _INT64 else _fitted(f"int:{_digits(number)}")
    if kind is str:
        text: str = item  # type: ignore[assignment]
        return _fitted("str:" + text if _PREFIXED.match(text) else text)
    known = tagged(item)
    if known is not None:
        return _fitted(known)
    if not isinstance(item, tuple | list | dict) and not dataclasses.is_dataclass(item):
        raise _no_key(item)
    try:
        canonical = whole = _json(_canonical(item))
        if len(canonical) <= _INPUT_LIMIT and "dataclass " in canonical:
            whole = _json(_canonical(item, with_modules=True))
    except RecursionError:
        raise ValueError("a value that contains itself cannot serve as a key") from None
    return "json:" + hashlib.sha256(canonical.encode()).hexdigest(), _kept(whole)


def known_as(key: str | int, kept: str | None = None) -> Any:
    """Return what a key was made of, as the caller knows it; the stored key itself where that is not on file.

    A dataclass comes back as one if its class is loaded in this process and is found by its name (its fields are
    set, none of its code is called), else as a dict of its fields.

    Args:
        key: As stored.
        kept: What was stored beside it, see :func:`identity_of`.
    """
    try:
        if kept is not None:
            found = json.loads(kept)
            return untagged(found) if isinstance(found, str) else _restored(found)
        return key if isinstance(key, int) or _SHORTENED.search(key) else untagged(key)
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError):
        return key  # not ours: anybody may write into the file


def _digits(number: int) -> str:
    try:
        return str(number)
    except ValueError:  # past 4,300 digits Python refuses, since it takes so long
        return hex(number)


def tagged(item: object) -> str | None:
    """Return a value of one of the small types as text with its prefix; ``None`` for all others."""
    if isinstance(item, PurePath):
        return f"path:{item}"
    if isinstance(item, datetime):
        return f"datetime:{item.isoformat()}"
    if isinstance(item, date):
        return f"date:{item.isoformat()}"
    if isinstance(item, UUID):
        return f"uuid:{item}"
    return None


def untagged(text: str) -> Any:
    """Return what a whole key was made of, or the text of ``tagged``."""
    prefix, colon, rest = text.partition(":")
    restore = _RESTORED.get(prefix) if colon else None
    return text if restore is None else restore(rest)


_RESTORED: Final[dict[str, Callable[[str], Any]]] = {
    "str": str,
    "int": lambda digits: int(digits, 0),  # may be hexadecimal
    "path": Path,
    "uuid": UUID,
    "date": date.fromisoformat,
    "datetime": datetime.fromisoformat,
}


def _fitted(text: str) -> tuple[str, str | None]:
    """Keep a key short and storable: prefix plus digest past 512 characters, or with lone surrogates."""
    if len(text) <= _LIMIT and (text.isascii() or (_encodable(text) and not _SHORTENED.search(text))):
        return text, None
    raw = text.encode("utf-8", "surrogatepass")
    head = text[:_LIMIT].encode("utf-8", "backslashreplace").decode()[: _LIMIT - 72]
    kept = _kept(_json(text)) if len(text) < _INPUT_LIMIT else None
    return f"{head}…sha256:{hashlib.sha256(raw).hexdigest()}", kept


def _kept(whole: str) -> str | None:
    return whole if len(whole) <= _INPUT_LIMIT else None


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=True, separators=(",", ":"))


def _encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _canonical(item: Any, *, with_modules: bool = False) -> Any:
    """Turn a compound of known types into JSON in which no two types look alike.

    Where dataclasses come from is no part of their identity; it is needed to find them again.
    """
    parts = functools.partial(_canonical, with_modules=True) if with_modules else _canonical
    if item is None or isinstance(item, bool | int | float | str):
        if type(item) in (bool, int, float, str, type(None)):
            return item
    elif (text := tagged(item)) is not None:
        return {"": text}
    elif isinstance(item, tuple):
        return {"": "tuple", "of": [parts(part) for part in item]}
    elif isinstance(item, list):
        return [parts(part) for part in item]
    elif isinstance(item, dict):
        pairs = [(json.dumps(parts(k), sort_keys=True), parts(v)) for k, v in item.items()]
        return {"": "dict", "of": sorted(pairs, key=lambda pair: pair[0])}
    elif dataclasses.is_dataclass(item) and not isinstance(item, type):
        fields = [[f.name, parts(getattr(item, f.name))] for f in dataclasses.fields(item)]
        place = {"in": type(item).__module__} if with_modules else {}
        return {"": f"dataclass {type(item).__qualname__}", "of": fields, **place}
    raise _no_key(item)


def _restored(value: Any) -> Any:
    """Return what canonical JSON was made of."""
    if isinstance(value, list):
        return [_restored(part) for part in value]
    if not isinstance(value, dict):
        return value
    tag, parts = value[""], value.get("of")
    if parts is None:
        return untagged(tag)
    if tag == "tuple":
        return tuple(_restored(part) for part in parts)
    if tag == "dict":
        return {_restored(json.loads(name)): _restored(part) for name, part in parts}
    fields = {name: _restored(part) for name, part in parts}
    return _dataclass(tag.removeprefix("dataclass "), value.get("in"), fields)


def _dataclass(qualname: str, module: str | None, fields: dict[str, Any]) -> Any:
    found = found_in(module or "", qualname)
    if not isinstance(found, type) or not dataclasses.is_dataclass(found):
        return fields
    if [field.name for field in dataclasses.fields(found)] != list(fields):
        return fields  # it has changed since
    item = object.__new__(found)
    for name, part in fields.items():
        object.__setattr__(item, name, part)
    return item


def _no_key(item: object) -> ValueError:
    return ValueError(f"a value of type {type(item).__name__} cannot serve as a key")


def task_number(value: Any) -> int:
    """Return a message's ``task_id`` as an int that SQLite can hold.

    Raises:
        LedgerError: It is none.
    """
    try:
        number = operator.index(value)
    except TypeError:
        raise LedgerError(f"task_id must be an int, not {type(value).__name__} {clean(value, 40)!r}") from None
    if abs(number) >= NUMBER_LIMIT:
        raise LedgerError("task_id must lie between -2**62 and 2**62")
    return number
