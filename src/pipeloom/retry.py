"""When a failed try is followed by another one."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass

from pipeloom.errors import LedgerError

__all__ = ["Retry"]


@dataclass(frozen=True, slots=True)
class Retry:
    """Try a failed task again, a little later each time; while it waits it holds no worker.

    What can never go well is not tried again: what the ledger refuses (a value, a column, too many rows), and an
    ``error`` that a worker reported by message.

    Args:
        attempts: Tries in all, 1 or more.
        delay_s: The wait before the second try, in seconds.
        factor: By how much each wait is longer than the one before, 1 or more.
        max_delay_s: The longest wait, in seconds.
        jitter: How far a wait may differ from that, as a fraction 0..1, so that what failed together does not come
            back together.
        on: The exception type, or a tuple of types, worth another try.

    Raises:
        ValueError, TypeError: One of them makes no sense.
    """

    attempts: int = 3
    delay_s: float = 0.5
    factor: float = 2.0
    max_delay_s: float = 60.0
    jitter: float = 0.1
    on: type[BaseException] | tuple[type[BaseException], ...] = Exception

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
        kinds: tuple[object, ...] = self.on if isinstance(self.on, tuple) else (self.on,)
        if not all(isinstance(kind, type) and issubclass(kind, BaseException) for kind in kinds):
            raise TypeError("Retry: on must be an exception type, or a tuple of them")

    def wants(self, error: BaseException | None, attempt: int) -> bool:
        """Say whether a try that ended with ``error`` is followed by another.

        Args:
            error: What it raised; ``None`` when its worker itself said that it failed.
            attempt: Which try it was, from 1.
        """
        return (
            error is not None
            and attempt < self.attempts
            and isinstance(error, self.on)
            and not isinstance(error, LedgerError)
        )

    def delay_after(self, attempt: int) -> float:
        """Return how long to wait after this try, in seconds."""
        try:
            wait = min(self.delay_s * self.factor ** (attempt - 1), self.max_delay_s)
        except OverflowError:
            wait = self.max_delay_s
        return wait * random.uniform(1 - self.jitter, 1 + self.jitter)


def _range(least: float, most: float) -> str:
    return f"{least:g} or more" if most == math.inf else f"{least:g} to {most:g}"
