"""The time of day as the ledger writes it."""

from __future__ import annotations

from datetime import UTC, datetime
from time import time

__all__ = ["instant", "seconds_since", "utc_now"]

# (millisecond, its text). Formatting takes 2 µs, finding the last one again 0.1 µs, and quick tasks share their
# milliseconds. The pair is replaced as one object, so threads that race here only format the same one twice.
_last: tuple[int, str] = (0, "1970-01-01T00:00:00.000+00:00")


def utc_now() -> str:
    """Return the present instant as ISO-8601 UTC with milliseconds; any thread, never blocks."""
    global _last  # noqa: PLW0603 - a cache of one value
    now = int(time() * 1000)
    cached, text = _last
    if now != cached:
        text = datetime.fromtimestamp(now / 1000, UTC).isoformat(timespec="milliseconds")
        _last = (now, text)
    return text


def instant(text: str | None) -> datetime | None:
    """Return the instant that a text of the ledger names; ``None`` for none, or what somebody made up."""
    try:
        found = datetime.fromisoformat(text or "")
        return found.astimezone(UTC) if found.tzinfo is not None else found.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        return None


def seconds_since(text: str | None) -> float | None:
    """Return how long ago that was, in seconds, never negative; ``None`` if it is no instant."""
    found = instant(text)
    return None if found is None else max(time() - found.timestamp(), 0.0)
