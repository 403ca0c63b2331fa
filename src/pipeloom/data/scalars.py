"""What one value of numpy or pandas holds. Neither is imported: each is known by what it can do.

A value that is missing holds ``None``: NaN, ``NaT`` of either library, ``pandas.NA``, ``numpy.ma.masked``. A
``datetime64`` is ISO text, the same for the same instant whatever its unit (in days or longer ones it is a date); a
``timedelta64`` is its seconds.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any, Final

from pipeloom.data.text import attribute, kind_of

__all__ = ["ATTOSECONDS", "held", "iso_text", "seconds"]

_MISSING: Final = ("NAType", "pandas")
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_CYCLE_S: Final = 146_097 * 86_400  # 400 years, after which the calendar repeats itself
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
"""How long a unit of numpy, pandas, polars or pyarrow is; months and years have no fixed length."""
_UNIT: Final = re.compile(r"timedelta64\[(\d*)([A-Za-z]+)\]")


def held(value: Any) -> Any:
    """Return what a foreign scalar holds; the value itself when it is not one, or Python has no type for it.

    A numpy scalar has ``item()`` and no dimensions; an array or a frame is not one value.

    Raises:
        ValueError: It is a length of time that is not fixed.
    """
    kind = type(value)
    if (kind_of(value), str(kind.__module__).partition(".")[0]) == _MISSING:
        return None
    if isinstance(value, timedelta):  # pandas.Timedelta is finer than what it derives from
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
    if letter == "f" and value != value:  # noqa: PLR0124 - NaN, of a longdouble too
        return None
    inner = item()
    return value if type(inner) is kind else inner  # numpy.longdouble holds itself


def seconds(value: Any) -> float:
    """Return the seconds in a ``timedelta64``, rounded once.

    Raises:
        ValueError: Its unit is a month, a year, or none.
    """
    found = _UNIT.fullmatch(str(value.dtype))
    if found is None or found[2] not in ATTOSECONDS:
        raise ValueError(
            f"a {value.dtype} is no fixed number of seconds: convert it to days or seconds before it is written"
        )
    return int(value.astype("int64")) * int(found[1] or 1) * ATTOSECONDS[found[2]] / 10**18


def _iso(text: str) -> str | None:
    """Complete what numpy says of an instant, which stops at its unit, to what ``isoformat`` says of it.

    One that is counted in days, or longer units, is a date.

    Source: https://numpy.org/doc/stable/reference/arrays.datetime.html
    """
    if text == "NaT":
        return None
    day, _, clock = text.partition("T")
    year, *rest = day[1:].split("-")  # the first sign may be the year's
    year = f"-{year.zfill(4)}" if day[0] == "-" else day[0] + year
    day = "-".join([year, *rest, "01", "01"][:3])
    if not clock:
        return day
    clock, _, digits = clock.partition(".")
    clock = ":".join([*clock.split(":"), "00", "00"][:3])
    return f"{day}T{clock}{_fraction(digits)}"


def iso_text(count: int, unit: str, zone: tzinfo | None = None) -> str:
    """Return an instant as ISO text, as ``datetime.isoformat`` has it, in any year.

    Args:
        count: How many units after 1970 began, in UTC.
        unit: One of :data:`ATTOSECONDS`.
        zone: What it is told in, with its offset; ``None`` for no offset.
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
    """Return the fraction of a second: none, six digits, or as many more as are needed, by threes."""
    while len(digits) > 6 and digits.endswith("000"):
        digits = digits[:-3]
    return "." + digits.ljust(6, "0") if digits.strip("0") else ""
