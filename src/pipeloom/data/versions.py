"""The version of an input as stored: what ``version=`` returned, as one value that can be compared."""

from __future__ import annotations

import json
import math
from hashlib import sha256
from typing import Any, Final

from pipeloom.data.scalars import held

__all__ = ["StoredVersion", "stored_version"]

StoredVersion = str | int | float

_LONGEST: Final = 512  # characters, as for a key; longer ones are replaced by a digest
_INT64: Final = 1 << 63


def stored_version(value: object) -> StoredVersion:
    """Return the stored form of a version; equal versions give equal values.

    Args:
        value: A str, an int, a float, or a tuple or list of those, which may also contain ``None``, bools and
            further tuples or lists. A numpy scalar counts as the value that it holds.

    Raises:
        ValueError: It is something else, or NaN, which never equals the previous version.
    """
    plain = _plain(value)
    if isinstance(plain, list):
        try:
            return _fitted(json.dumps(plain, ensure_ascii=True, separators=(",", ":"), allow_nan=True))
        except RecursionError:
            raise ValueError("a version cannot contain itself") from None
    if plain is None or isinstance(plain, bool):
        raise ValueError(f"{plain} cannot serve as a version")
    return _fitted(plain) if isinstance(plain, str) else plain


def _plain(value: Any) -> Any:
    if type(value) not in (str, int, float, bool, tuple, list, type(None)):
        value = held(value)
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, int):
        number = int(value)
        return number if -_INT64 <= number < _INT64 else hex(number)
    if isinstance(value, float):
        if math.isnan(value):
            raise ValueError("NaN cannot serve as a version, since it never equals the previous one")
        return float(value)
    if isinstance(value, tuple | list):
        try:
            return [_plain(part) for part in value]
        except RecursionError:
            raise ValueError("a version cannot contain itself") from None
    raise ValueError(f"a value of type {type(value).__name__} cannot serve as a version")


def _fitted(text: str) -> str:
    """Keep a version short and storable: replace it by its digest past 512 characters, or with lone surrogates."""
    raw = text.encode("utf-8", "surrogatepass")
    is_storable = len(text) <= _LONGEST and raw.decode("utf-8", "replace") == text
    return text if is_storable else f"sha256:{sha256(raw).hexdigest()}"
