"""What an attempt counts for, by the user's own functions: its values of ``per``, and its weights."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from math import inf
from typing import Any, Final, NoReturn

from pipeloom.data.text import clean, describe, kind_of
from pipeloom.engine.buckets import Ticket
from pipeloom.engine.identity import Unidentified, raised
from pipeloom.ledger.attempt import Attempt
from pipeloom.limit import Limit

__all__ = ["Tickets", "UncountedError"]

_HEAVIEST: Final = 1e300


class UncountedError(Exception):
    """An attempt that cannot be counted: it fails, and the run continues.

    Attributes:
        why: The user's error, and the message for people.
    """

    def __init__(self, why: Unidentified) -> None:
        super().__init__(why.message)
        self.why = why


class Tickets:
    """Makes tickets; calls the user's functions in the calling thread.

    Args:
        limits: Of the run.
    """

    def __init__(self, limits: Sequence[Limit]) -> None:
        self._pers = [limit.per for limit in limits if limit.per is not None]
        self._weighers = [limit.weight for limit in limits]
        self._ones = (1.0,) * len(self._weighers)
        self._has_weights = any(self._weighers)

    def of(self, attempt: Attempt) -> Ticket:
        """Return the ticket of an attempt.

        Raises:
            UncountedError: A function raised, or returned a value that cannot be counted.
        """
        values = tuple([_value(per, attempt) for per in self._pers])
        if not self._has_weights:
            return Ticket(values, self._ones)
        return Ticket(values, tuple([1.0 if one is None else _weight(one, attempt) for one in self._weighers]))

    def unequal(self, attempt: Attempt, error: Exception) -> UncountedError:
        """Return the error for values that cannot be compared."""
        return UncountedError(raised(error, "limit=: comparing what per returned", _which(attempt)))


def _which(attempt: Attempt) -> str:
    return f"the input {clean(attempt.name, 80)}"


def _value(per: Callable[[Any], Hashable], attempt: Attempt) -> Hashable:
    try:
        value = per(attempt.item)
    except Exception as error:
        raise UncountedError(raised(error, "limit=: per", _which(attempt))) from error
    try:
        hash(value)
        is_itself = bool(value == value)  # noqa: PLR0124 - NaN is not: each would be a separate value
    except Exception as error:  # noqa: BLE001 - a foreign __hash__ or __eq__ may do anything
        _refuse(
            "per", value, attempt, f"{kind_of(error)}: {describe(error, 200)}; return a str, a number or a tuple"
        )
    if not is_itself:
        _refuse("per", value, attempt, "which is not equal to itself; return a str, a number or a tuple")
    return value


def _weight(weigh: Callable[[Any], float], attempt: Attempt) -> float:
    try:
        value = weigh(attempt.item)
    except Exception as error:
        raise UncountedError(raised(error, "limit=: weight", _which(attempt))) from error
    advice = "return a number, 0 or more"
    if isinstance(value, bool | str):
        _refuse("weight", value, attempt, advice)
    try:
        weight = float(value)
    except OverflowError:
        weight = inf
    except Exception:  # noqa: BLE001 - a foreign __float__ may do anything
        _refuse("weight", value, attempt, advice)
    if not 0 <= weight < inf:
        _refuse("weight", value, attempt, advice)
    return min(weight, _HEAVIEST)


def _refuse(what: str, value: object, attempt: Attempt, why: str) -> NoReturn:
    message = f"limit=: {what} returned {clean(value, 80)} for {_which(attempt)}: {why}"
    error = ValueError(message)
    raise UncountedError(Unidentified(error, message, f"ValueError: {message}"))
