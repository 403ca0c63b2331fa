"""When a failed try is followed by another one."""

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
    """Try a failed task again, a little later each time; while it waits it holds no worker.

    What can never go well is not tried again: what the ledger refuses (a value, a column, too many rows), and an
    ``error`` that a worker reported by message. The functions are called where the task ran, in its thread or on
    its event loop; in the program itself for a task whose worker process died, or was ended for its time limit.

    Args:
        attempts: Tries in all, 1 or more. One that raised ``RetryLater(..., count=False)`` is none of them.
        delay_s: The wait before the second try, in seconds.
        factor: By how much each wait is longer than the one before, 1 or more.
        max_delay_s: The longest wait, in seconds, whatever ``jitter``, ``delay`` and the exception's own
            ``retry_after`` say. A :class:`~pipeloom.RetryLater` alone may wait longer.
        jitter: How far a wait may differ from that, as a fraction 0..1, so that what failed together does not come
            back together.
        on: What is worth another try: an exception type, a tuple or a union of types, or a function of the
            exception. The function is asked about every ``Exception``, not about others such as ``SystemExit``.
            If it raises, the task fails with its own error, and is not tried again.
        delay: A function of the exception and of the number of the try, from 1: the seconds to wait, 0 or more. It
            takes the place of ``delay_s``, ``factor`` and ``jitter``; these hold if it raises or returns anything
            else.

    Raises:
        ValueError, TypeError: One of them makes no sense.
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
            raise ValueError(f"Retry: attempts counts all tries, so it is at least 1, not {self.attempts}")
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
            _check_function("delay", self.delay, "two arguments, the exception and the number of the try", None, 1)

    def wants(self, error: BaseException | None, attempt: int) -> bool:
        """Say whether a try that ended with ``error`` is followed by another.

        Args:
            error: What it raised; ``None`` when its worker itself said that it failed.
            attempt: Which of its tries it was, from 1.

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
        """Return how long to wait after this try, in seconds.

        Args:
            attempt: Which of its tries it was, from 1.
            error: What it raised; without it, neither ``delay`` is asked nor a ``retry_after`` heard.

        Raises:
            ValueError, TypeError: ``delay`` returned something else than seconds.
            BaseException: Whatever ``delay`` raises.
        """
        if error is None:
            return min(self._grown(attempt), self.max_delay_s)
        wait = self._grown(attempt) if self.delay is None else _checked(self.delay(error, attempt))
        asked = retry_after_of(error)
        if asked is not None and asked > wait:
            # A little later at random, never earlier: else all that were sent away together come back together.
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
        raise ValueError(f"it returned {wait}, not seconds, 0 or more")
    return float(wait)


def _is_function(on: object) -> bool:
    """Say whether ``on`` is asked, rather than compared with; classes and unions can be called, too."""
    return callable(on) and not isinstance(on, type) and get_origin(on) is None


def _are_exception_types(on: object) -> bool:
    if isinstance(on, tuple):
        return all(map(_are_exception_types, on))
    if get_origin(on) in (Union, UnionType):
        return all(map(_are_exception_types, get_args(on)))
    return isinstance(on, type) and get_origin(on) is None and issubclass(on, BaseException)


def _check_function(name: str, function: Callable[..., object], takes: str, *arguments: object) -> None:
    """Refuse now what would raise at each failure."""
    if inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(type(function).__call__):
        raise TypeError(f"Retry: {name} must be a plain function, since nothing awaits it, not an async def")
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # some builtins have none
        return
    try:
        signature.bind(*arguments)
    except TypeError as error:
        raise TypeError(f"Retry: {name} must be a function of {takes} ({error})") from None


def _in_words(value: object) -> str:
    return value.__qualname__ if isinstance(value, type) else type(value).__name__


def _range(least: float, most: float) -> str:
    return f"{least:g} or more" if most == math.inf else f"{least:g} to {most:g}"
