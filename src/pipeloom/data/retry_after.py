"""How long a service asks its clients to wait, according to the exceptions that they raise."""

from __future__ import annotations

import math
import re
import time
from datetime import UTC, timedelta
from typing import Any, Final

from pipeloom.data.text import attribute, pass_on_interrupt

__all__ = ["retry_after_of"]

_HEADER: Final = "Retry-After"
_NUMBER: Final = re.compile(r"[0-9]{1,12}(?:\.[0-9]{1,12})?")


def retry_after_of(error: BaseException) -> float | None:
    """Return the seconds that an exception asks to wait, 0 or more; ``None`` if it says nothing usable.

    Checked in this order: its attribute ``retry_after``, the header ``Retry-After`` in its ``response.headers``
    (httpx, requests, and clients built on them), and the same header in its ``headers`` (urllib, aiohttp). Each may
    be a number of seconds, such a number as text, a ``timedelta`` or an HTTP-date. Whatever raises is ignored.

    Source: https://www.rfc-editor.org/rfc/rfc9110#section-10.2.3
    """
    found = _seconds(attribute(error, "retry_after"))
    for holder in (attribute(error, "response"), error):
        if found is None:
            found = _seconds(_header(attribute(holder, "headers")))
    return found


def _header(headers: Any) -> Any:
    """Return the header in a mapping; in a plain dict it may be spelled in any case."""
    get = attribute(headers, "get")
    for name in (_HEADER, _HEADER.lower()):
        try:
            value = get(name)
        except BaseException as error:  # noqa: BLE001 - foreign code may raise anything
            pass_on_interrupt(error)
            return None
        if value is not None:
            return value
    return None


def _seconds(value: object) -> float | None:
    try:
        if isinstance(value, timedelta):
            value = value.total_seconds()
        elif isinstance(value, str):
            value = float(value) if _NUMBER.fullmatch(value := value.strip()) else _until(value)
        if isinstance(value, bool) or not isinstance(value, int | float):
            return None
        seconds = float(value)
    except BaseException as error:  # noqa: BLE001 - a foreign class, or not a date
        pass_on_interrupt(error)
        return None
    return seconds if 0 <= seconds < math.inf else None


def _until(date: str) -> float:
    """Return the seconds until an HTTP-date, 0 if it is past; raises ValueError if it is not one."""
    from email.utils import parsedate_to_datetime  # importing it takes longer than most workers need to start

    at = parsedate_to_datetime(date)
    if at.tzinfo is None:  # "-0000" means UTC, too
        at = at.replace(tzinfo=UTC)
    return max(0.0, at.timestamp() - time.time())
