"""The value in a numpy or pandas scalar. Neither is imported: each type is recognised by what it can do.

A missing value gives ``None``: NaN, ``NaT`` of either library, ``pandas.NA``, ``numpy.ma.masked``. A ``datetime64``
gives ISO text, the same for the same instant whatever its unit (a date if it counts days or longer units); a
``timedelta64`` gives its seconds.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any, Final

from pipeloom.data.text import attribute, kind_of

__all__ = ["ATTOSECONDS", "held", "iso_text", "seconds"]

_MISSING: Final = ("NAType", "pandas")
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_CYCLE_S: Final = 146_097 * 86_400  # 400 years, after which the calendar repeats
ATTOSECONDS: Final = {
    "W": 604_800 * 10**18,
    "D": 86_400 * 10**18,
    "h": 3_600 * 10**18,
    "m": 60 * 10**18,
    "s": 10**18,
    "ms": 10**15,
    "us": 10**12,
    "ns": 10**9,
    "ps": 10**6,
    "fs": 10**3,
    "as": 1,
}
"""The length of each unit of numpy, pandas, polars or pyarrow; months and years have no fixed length."""
_UNIT: Final = re.compile(r"timedelta64\[(\d*)([A-Za-z]+)\]")


def held(value: Any) -> Any:
    """Return the value in a foreign scalar; the scalar itself if it is not one, or if Python has no type for it.

    A numpy scalar has ``item()`` and no dimensions; an array or a frame is not a single value.

    Raises:
        ValueError: It is a duration without a fixed length.
    """
    kind = type(value)
    if (kind_of(value), str(kind.__module__).partition(".")[0]) == _MISSING:
        return None
    if isinstance(value, timedelta):  # pandas.Timedelta is more precise than its base class
        exact = attribute(value, "asm8")
        return value if exact is None else seconds(exact)
    if attribute(value, "ndim") != 0 or not callable(item := attribute(value, "item")):
        return value
    if attribute(value, "mask"):
        return None
    letter = attribute(attribute(value, "dtype"), "kind")
    if letter == "M":
        return _iso(str(value))
    if letter == "m":
        return None if str(value) == "NaT" else seconds(value)
    if letter == "f" and value != value:  # noqa: PLR0124 - NaN, also of a longdouble
        return None
    inner = item()
    return value if type(inner) is kind else inner  # the item of a numpy.longdouble is a longdouble


def seconds(value: Any) -> float:
    """Return the seconds in a ``timedelta64``, rounded once.

    Raises:
        ValueError: Its unit is a month, a year, or none.
    """
    found = _UNIT.fullmatch(str(value.dtype))
    if found is None or found[2] not in ATTOSECONDS:
        raise ValueError(
            f"a {value.dtype} has no fixed length in seconds: convert it to days or seconds before writing it"
        )
    return int(value.astype("int64")) * int(found[1] or 1) * ATTOSECONDS[found[2]] / 10**18


def _iso(text: str) -> str | None:
    """Complete numpy's text of an instant, which stops at its unit, to the format of ``isoformat``.

    An instant that is counted in days or longer units becomes a date.

    Source: https://numpy.org/doc/stable/reference/arrays.datetime.html
    """
    if text == "NaT":
        return None
    day, _, clock = text.partition("T")
    year, *rest = day[1:].split("-")  # the first sign may belong to the year
    year = f"-{year.zfill(4)}" if day[0] == "-" else day[0] + year
    day = "-".join([year, *rest, "01", "01"][:3])
    if not clock:
        return day
    clock, _, digits = clock.partition(".")
    clock = ":".join([*clock.split(":"), "00", "00"][:3])
    return f"{day}T{clock}{_fraction(digits)}"


def iso_text(count: int, unit: str, zone: tzinfo | None = None) -> str:
    """Return an instant as ISO text in the format of ``datetime.isoformat``, for any year.

    Args:
        count: The number of units since the start of 1970 in UTC.
        unit: One of :data:`ATTOSECONDS`.
        zone: The time zone to show it in, with its offset; ``None`` for no offset.
    """
    whole, rest = divmod(count * ATTOSECONDS[unit], 10**18)
    cycles = 0
    try:
        moment = (_EPOCH + timedelta(seconds=whole)).astimezone(zone or UTC)
    except OverflowError:
        cycles, whole = divmod(whole, _CYCLE_S)
        moment = (_EPOCH + timedelta(seconds=whole)).astimezone(zone or UTC)
    text = moment.isoformat()
    year = moment.year + 400 * cycles
    head = text[:19] if not cycles else f"{year:0{5 if year < 0 else 4}}{text[4:19]}"
    return head + (_fraction(f"{rest:018}") if rest else "") + (text[19:] if zone is not None else "")


def _fraction(digits: str) -> str:
    """Return the fraction of a second: none, six digits, or as many more as are needed, in groups of three."""
    while len(digits) > 6 and digits.endswith("000"):
        digits = digits[:-3]
    return "." + digits.ljust(6, "0") if digits.strip("0") else ""
