"""Identity: what makes a task the same task in the next run, (pipeline, key); without keys, its number.

Keys are stored in a column without a type, so ``1`` and ``"1"`` remain two keys. Text is stored as it is; other
types get a prefix (``path:a/b``, ``date:2026-01-31``), and text that happens to begin like one is stored as
``str:…``. For a compound input the key is a digest of its canonical JSON. The JSON is stored beside the key, so
that results come back with the original input: :func:`known_as` reverses :func:`identity_of`.
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
_INPUT_LIMIT: Final = 64 * 1024  # characters; for a larger input only the key is stored
_INT64: Final = 1 << 63
_SHORTENED: Final = re.compile(r"…sha256:[0-9a-f]{64}\Z")
_PREFIXED: Final = re.compile(r"(?:str|int|path|uuid|date|datetime|json):")


def key_of(item: object) -> str | int:
    """Return the stored key of an input, or of the value that ``key=`` returned for it.

    Raises:
        ValueError: As for :func:`identity_of`.
    """
    return identity_of(item)[0]


def identity_of(item: object) -> tuple[str | int, str | None]:
    """Return the stored key of an input, or of the value that ``key=`` returned for it, and what restores it.

    Returns:
        The key; and, if the key is a digest, JSON of at most 65,536 characters from which :func:`known_as` restores
        the original. ``None`` if the key is enough by itself, or if the JSON would be longer.

    Raises:
        ValueError: The type has no stable identity; the message names the type.
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
    """Return the value that a key was made from; the stored key itself if that value is not on file.

    A dataclass is restored if its class is loaded in this process and can be found by its name (its fields are set,
    none of its code is called); otherwise a dict of its fields is returned.

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
        return key  # not written by us: anyone may write to the file


def _digits(number: int) -> str:
    try:
        return str(number)
    except ValueError:  # Python refuses to convert more than 4,300 digits, since that takes so long
        return hex(number)


def tagged(item: object) -> str | None:
    """Return a value of one of the small types as text with its prefix; ``None`` for all other types."""
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
    """Return the value that a whole key, or the result of ``tagged``, was made from."""
    prefix, colon, rest = text.partition(":")
    restore = _RESTORED.get(prefix) if colon else None
    return text if restore is None else restore(rest)


_RESTORED: Final[dict[str, Callable[[str], Any]]] = {
    "str": str,
    "int": lambda digits: int(digits, 0),  # the digits may be hexadecimal
    "path": Path,
    "uuid": UUID,
    "date": date.fromisoformat,
    "datetime": datetime.fromisoformat,
}


def _fitted(text: str) -> tuple[str, str | None]:
    """Keep a key short and storable: a prefix and digest past 512 characters, or if it has lone surrogates."""
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
    """Return a compound of known types as JSON in which any two types differ.

    The module of a dataclass is not part of its identity; it is needed to find the class again.
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
    """Return the value that canonical JSON was made from."""
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
        return fields  # the class has changed since
    item = object.__new__(found)
    for name, part in fields.items():
        object.__setattr__(item, name, part)
    return item


def _no_key(item: object) -> ValueError:
    return ValueError(f"a value of type {type(item).__name__} cannot serve as a key")


def task_number(value: Any) -> int:
    """Return a message's ``task_id`` as an int that SQLite can store.

    Raises:
        LedgerError: It is not one.
    """
    try:
        number = operator.index(value)
    except TypeError:
        raise LedgerError(f"task_id must be an int, not {type(value).__name__} {clean(value, 40)!r}") from None
    if abs(number) >= NUMBER_LIMIT:
        raise LedgerError("task_id must lie between -2**62 and 2**62")
    return number
