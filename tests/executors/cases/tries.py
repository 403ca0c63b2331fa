"""What is worth another try, and when."""

from __future__ import annotations

import pipeloom

__all__ = [
    "BY_FUNCTION",
    "LONG_S",
    "RETRY",
    "Again",
    "AlsoAgain",
    "AsksTheDelay",
    "Busy",
    "StillAgain",
    "asks",
    "judges",
]

LONG_S = 0.2


class Again(Exception):
    """What is worth another try."""


class StillAgain(Again):
    """Its class is another, its base is the same."""


class AlsoAgain(Exception):
    """The other one of a union."""


class Busy(Again):
    """Says when to come back, as a service does: by an attribute, which never crosses to another process."""

    def __init__(self, retry_after: object) -> None:
        super().__init__("busy")
        self.retry_after = retry_after


RETRY = pipeloom.Retry(attempts=3, delay_s=0, max_delay_s=LONG_S, on=Again | AlsoAgain)


# --- functions ---


class AsksTheDelay(Exception):
    """Its wait is what it was made with, for each try; a str is none."""

    def __init__(self, *waits: object) -> None:
        super().__init__("asks")
        self.waits = waits


def is_worth_it(error: Exception) -> bool:
    """Judge an exception, unless it is one that this does not know."""
    if isinstance(error, LookupError):
        raise NotImplementedError("what of these?")
    return isinstance(error, AsksTheDelay)


def wait_of(error: AsksTheDelay, attempt: int) -> float:
    """Return what the exception says of this try."""
    return error.waits[attempt - 1]  # type: ignore[return-value]  # some say nonsense


BY_FUNCTION = pipeloom.Retry(attempts=3, delay_s=0, on=is_worth_it, delay=wait_of)


def judges(item: str, ctx: pipeloom.TaskContext) -> int:
    """Fail in every way that the functions judge."""
    if item == "not worth it":
        raise ValueError(item)
    if item == "not known":
        raise KeyError(item)
    if item == "soon" and ctx.attempt == 1:
        raise AsksTheDelay("soon")
    if item == "0, then long" and ctx.attempt < 3:
        raise AsksTheDelay(0, LONG_S)
    return ctx.attempt


def asks(item: str, ctx: pipeloom.TaskContext) -> int:
    """Ask for another try, without a policy."""
    if item == "counts" or ctx.attempt < 5:
        raise pipeloom.RetryLater(0, count=item == "counts")
    return ctx.attempt
