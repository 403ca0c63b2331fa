"""Identity: what makes a task the same task in the next run, (pipeline, key); without keys, its number.

A key is stored in a column without a type, so that ``1`` and ``"1"`` stay two keys. Text is stored as it is;
other types carry a prefix (``path:a/b``, ``date:2026-01-31``), and text that happens to begin like one is
stored as ``str:…``. Compound inputs become a digest of their canonical JSON.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import operator
import re
from datetime import date, datetime
from pathlib import PurePath
from typing import Any, Final
from uuid import UUID

from pipeloom.data.text import clean
from pipeloom.errors import LedgerError

__all__ = ["NUMBER_LIMIT", "key_of", "task_number"]

NUMBER_LIMIT: Final = 1 << 62
"""Task numbers stay within this: a row at the end of SQLite's 64 bits would leave no number for the next one."""

_LIMIT: Final = 512
_INT64: Final = 1 << 63
_SHORTENED: Final = re.compile(r"…sha256:[0-9a-f]{64}\Z")
_PREFIXED: Final = re.compile(r"(?:str|int|path|uuid|date|datetime|json):")


def key_of(item: object) -> str | int:
    """Return the stored key of an input, or of what ``key=`` returned for it.

    Raises:
        ValueError: The type has no stable identity; the sentence says to pass ``key=``.
    """
    kind = type(item)
    if kind is int:
        return item if -_INT64 <= item < _INT64 else _fitted(f"int:{item}")  # type: ignore[operator, return-value]
    if kind is str:
        text: str = item  # type: ignore[assignment]
        return _fitted("str:" + text if _PREFIXED.match(text) else text)
    tagged = _tagged(item)
    if tagged is not None:
        return _fitted(tagged)
    if not isinstance(item, tuple | list | dict) and not dataclasses.is_dataclass(item):
        raise _no_key(item)
    try:
        canonical = json.dumps(_canonical(item), ensure_ascii=True, separators=(",", ":"))
    except RecursionError:
        raise ValueError("an input that contains itself has no key: pass key=") from None
    return "json:" + hashlib.sha256(canonical.encode()).hexdigest()


def _tagged(item: object) -> str | None:
    if isinstance(item, PurePath):
        return f"path:{item}"
    if isinstance(item, datetime):
        return f"datetime:{item.isoformat()}"
    if isinstance(item, date):
        return f"date:{item.isoformat()}"
    if isinstance(item, UUID):
        return f"uuid:{item}"
    return None


def _fitted(text: str) -> str:
    """Keep a key short and storable: prefix plus digest past 512 characters, or with lone surrogates."""
    if len(text) <= _LIMIT and (text.isascii() or (_encodable(text) and not _SHORTENED.search(text))):
        return text
    raw = text.encode("utf-8", "surrogatepass")
    head = text.encode("utf-8", "backslashreplace").decode()[: _LIMIT - 72]
    return f"{head}…sha256:{hashlib.sha256(raw).hexdigest()}"


def _encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _canonical(item: Any) -> Any:
    """Turn a compound of known types into JSON in which no two types look alike."""
    if item is None or isinstance(item, bool | int | float | str):
        if type(item) in (bool, int, float, str, type(None)):
            return item
    elif (tagged := _tagged(item)) is not None:
        return {"": tagged}
    elif isinstance(item, tuple):
        return {"": "tuple", "of": [_canonical(part) for part in item]}
    elif isinstance(item, list):
        return [_canonical(part) for part in item]
    elif isinstance(item, dict):
        pairs = [(json.dumps(_canonical(k), sort_keys=True), _canonical(v)) for k, v in item.items()]
        return {"": "dict", "of": sorted(pairs, key=lambda pair: pair[0])}
    elif dataclasses.is_dataclass(item) and not isinstance(item, type):
        fields = [[f.name, _canonical(getattr(item, f.name))] for f in dataclasses.fields(item)]
        return {"": f"dataclass {type(item).__qualname__}", "of": fields}
    raise _no_key(item)


def _no_key(item: object) -> ValueError:
    return ValueError(
        f"an input of type {type(item).__name__} has no key of its own: pass key=, "
        "a function from input to str, int, Path, UUID or date"
    )


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
