"""The policy for retrying failed tasks."""

from __future__ import annotations

import inspect
import math
import random
from collections.abc import Callable
from dataclasses import dataclass
from types import UnionType
from typing import Any, TypeAlias, Union, get_args, get_origin

from pipeloom.data.retry_after import retry_after_of
from pipeloom.errors import LedgerError

__all__ = ["Retry"]

On: TypeAlias = type[BaseException] | tuple[type[BaseException], ...] | UnionType | Callable[[Any], bool]
Delay: TypeAlias = Callable[[Any, int], float]


@dataclass(frozen=True, slots=True)
class Retry:
    """Retry failed tasks, with increasing delays. A task that waits for a retry does not occupy a worker.

    Failures that would only recur are not retried: output that the ledger refuses (a value, a column, too many
    rows), and an ``error`` that a worker reports in a message. The functions ``on`` and ``delay`` are called where
    the task ran, in its thread or on its event loop; or in the main process, if the task's worker process died or
    was killed because the time limit expired.

    Args:
        attempts: How many attempts a task has in total, 1 or more. An attempt that raises
            ``RetryLater(..., count=False)`` does not count.
        delay_s: The delay before the second attempt, in seconds.
        factor: The factor by which each delay is longer than the one before, 1 or more.
        max_delay_s: The longest delay, in seconds; also applies to ``jitter``, ``delay`` and a ``retry_after`` of
            the exception, but not to :class:`~pipeloom.RetryLater`.
        jitter: How far a delay may randomly differ from its nominal value, as a fraction 0..1, so that tasks that
            failed together are not retried together.
        on: Which failures to retry: an exception type, a tuple or union of types, or a function that takes the
            exception and returns whether to retry. The function is called for every ``Exception``, but not for
            others such as ``SystemExit``. If it raises, the task fails with its own error and is not retried.
        delay: A function of the exception and the number of the failed attempt, counted from 1, that returns the
            seconds to wait, 0 or more. It replaces ``delay_s``, ``factor`` and ``jitter``; they apply only if it
            raises or returns something else.

    Raises:
        ValueError, TypeError: An argument is invalid.
    """

    attempts: int = 3
    delay_s: float = 0.5
    factor: float = 2.0
    max_delay_s: float = 60.0
    jitter: float = 0.1
    on: On = Exception
    delay: Delay | None = None

    def __post_init__(self) -> None:
        if isinstance(self.attempts, bool) or not isinstance(self.attempts, int):
            raise TypeError(f"Retry: attempts must be an int, not {type(self.attempts).__name__}")
        if self.attempts < 1:
            raise ValueError(
                f"Retry: attempts includes the first one, so it must be at least 1, not {self.attempts}"
            )
        for name, least, most in (
            ("delay_s", 0.0, math.inf),
            ("factor", 1.0, math.inf),
            ("max_delay_s", 0.0, math.inf),
            ("jitter", 0.0, 1.0),
        ):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise TypeError(f"Retry: {name} must be a number, not {type(value).__name__}")
            if not least <= value <= most or value == math.inf:
                raise ValueError(f"Retry: {name} must be {_range(least, most)}, not {value}")
        on: Any = self.on
        if _is_function(on):
            _check_function("on", on, "one argument, the exception", None)
        elif not _are_exception_types(on):
            raise TypeError(
                "Retry: on must be an exception type, a tuple or a union of them, or a function of the exception, "
                f"not {_in_words(on)}"
            )
        if self.delay is not None:
            if not callable(self.delay):
                raise TypeError(f"Retry: delay must be a function, not {_in_words(self.delay)}")
            _check_function("delay", self.delay, "two arguments, the exception and the attempt number", None, 1)

    def wants(self, error: BaseException | None, attempt: int) -> bool:
        """Return whether an attempt that failed is followed by another.

        Args:
            error: The exception that it raised; ``None`` if the worker reported the failure in a message.
            attempt: The number of the attempt, counted from 1.

        Returns:
            True if the task is to be retried.

        Raises:
            BaseException: Whatever ``on`` raises, if it is a function.
        """
        if error is None or attempt >= self.attempts or isinstance(error, LedgerError):
            return False
        on: Any = self.on
        if not _is_function(on):
            return isinstance(error, on)
        return isinstance(error, Exception) and bool(on(error))

    def delay_after(self, attempt: int, error: BaseException | None = None) -> float:
        """Return how long to wait after an attempt, in seconds.

        Args:
            attempt: The number of the attempt, counted from 1.
            error: The exception that it raised; without it, ``delay`` and ``retry_after`` are not considered.

        Returns:
            The delay, 0 to ``max_delay_s``.

        Raises:
            ValueError, TypeError: ``delay`` did not return a number of seconds, 0 or more.
            BaseException: Whatever ``delay`` raises.
        """
        if error is None:
            return min(self._grown(attempt), self.max_delay_s)
        wait = self._grown(attempt) if self.delay is None else _checked(self.delay(error, attempt))
        asked = retry_after_of(error)
        if asked is not None and asked > wait:
            # A random moment later, never earlier: otherwise all tasks with this `retry_after` come back together.
            wait = asked if self.delay is not None else asked * random.uniform(1, 1 + self.jitter)
        return min(wait, self.max_delay_s)

    def _grown(self, attempt: int) -> float:
        try:
            wait = min(self.delay_s * self.factor ** (attempt - 1), self.max_delay_s)
        except OverflowError:
            wait = self.max_delay_s
        return wait * random.uniform(1 - self.jitter, 1 + self.jitter)


def _checked(wait: object) -> float:
    if isinstance(wait, bool) or not isinstance(wait, int | float):
        raise TypeError(f"it returned {_in_words(wait)}, not a number of seconds")
    if not 0 <= wait < math.inf:
        raise ValueError(f"it returned {wait}, not a number of seconds, 0 or more")
    return float(wait)


def _is_function(on: object) -> bool:
    """Return whether ``on`` is a function to call; classes and unions are callable too, but are compared with."""
    return callable(on) and not isinstance(on, type) and get_origin(on) is None


def _are_exception_types(on: object) -> bool:
    if isinstance(on, tuple):
        return all(map(_are_exception_types, on))
    if get_origin(on) in (Union, UnionType):
        return all(map(_are_exception_types, get_args(on)))
    return isinstance(on, type) and get_origin(on) is None and issubclass(on, BaseException)


def _check_function(name: str, function: Callable[..., object], takes: str, *arguments: object) -> None:
    """Refuse a function now that would raise at every failure."""
    if inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(type(function).__call__):
        raise TypeError(f"Retry: {name} must be a plain function, not an async def, because nothing awaits it")
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # some builtins have no signature
        return
    try:
        signature.bind(*arguments)
    except TypeError as error:
        raise TypeError(f"Retry: {name} must be a function of {takes} ({error})") from None


def _in_words(value: object) -> str:
    return value.__qualname__ if isinstance(value, type) else type(value).__name__


def _range(least: float, most: float) -> str:
    return f"{least:g} or more" if most == math.inf else f"{least:g} to {most:g}"
