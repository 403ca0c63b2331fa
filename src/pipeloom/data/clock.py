"""The time of day as the ledger writes it."""

from __future__ import annotations

from datetime import UTC, datetime
from time import time

__all__ = ["instant", "seconds_since", "unix_time", "utc_ago", "utc_now", "utc_of", "utc_text"]

# (millisecond, its text). Formatting takes 2 µs, finding the last one again 0.1 µs, and quick tasks share their
# milliseconds. The pair is replaced as one object, so threads that race here only format the same one twice.
_last: tuple[int, str] = (0, "1970-01-01T00:00:00.000+00:00")


def utc_now() -> str:
    """Return the present instant as ISO-8601 UTC with milliseconds; any thread, never blocks."""
    global _last  # noqa: PLW0603 - a cache of one value
    now = int(time() * 1000)
    cached, text = _last
    if now != cached:
        text = utc_of(now / 1000)
        _last = (now, text)
    return text


def utc_ago(seconds: float) -> str:
    """Return the instant so many seconds ago, as ``utc_now`` does."""
    return utc_of(time() - seconds)


def utc_of(unix_s: float) -> str:
    """Return the instant so many seconds after 1970 began, as ``utc_now`` does."""
    return datetime.fromtimestamp(unix_s, UTC).isoformat(timespec="milliseconds")


def instant(value: object) -> datetime | None:
    """Return the instant that a value of the ledger names, UTC where it does not say; ``None`` if it names none.

    A column holds whatever somebody wrote into it: any value is fine.
    """
    try:
        found = datetime.fromisoformat(value)  # type: ignore[arg-type]
        return found.astimezone(UTC) if found.tzinfo is not None else found.replace(tzinfo=UTC)
    except (TypeError, ValueError, OverflowError):
        return None


def unix_time(value: object) -> float | None:
    """Return that instant in seconds since 1970."""
    found = instant(value)
    return None if found is None else found.timestamp()


def utc_text(value: object) -> str | None:
    """Return that instant as people read it, in UTC: ``2026-01-31 12:00:00``."""
    found = instant(value)
    return None if found is None else found.isoformat(" ", "seconds").removesuffix("+00:00")


def seconds_since(value: object) -> float | None:
    """Return how long ago that was, in seconds, never negative."""
    then = unix_time(value)
    return None if then is None else max(time() - then, 0.0)
