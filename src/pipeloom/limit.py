"""Limits on how fast tasks may start and how many may run at once, overall or per host, account and so on."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from inspect import iscoroutinefunction
from typing import Any, TypeAlias

__all__ = ["Limit"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """Limit how fast tasks start, how many run at once, or both.

    Every attempt counts, from the moment a worker receives it. A task that waits for a limit does not tie up a
    worker, and later inputs that need not wait run ahead of it. Unused capacity does not accumulate beyond
    ``burst``.

    Args:
        rate: How many tasks, or how much total ``weight``, may start in ``per_s`` seconds. Default: no limit.
        per_s: The period that ``rate`` refers to, in seconds: 1 for per second, 60 for per minute.
        burst: How many tasks, or how much weight, may start at once after a pause; 1 spaces them evenly.
        at_once: How many tasks may run at the same time, at least 1. Default: as many as there are workers.
        per: A function from an input to the value that the limit is counted for, such as its host; any hashable
            value. Default: one limit for all inputs. Called once per attempt, in any thread of the main process,
            possibly in several at once.
        weight: A function from an input to what it counts against ``rate``, such as its tokens; 0 or more. Default:
            1. An input heavier than ``burst`` may start, and delays those after it accordingly. Called like
            ``per``.

    Raises:
        ValueError, TypeError: An argument is invalid.
    """

    rate: float | None = None
    per_s: float = 1.0
    burst: float = 1.0
    at_once: int | None = None
    per: Callable[[Any], Hashable] | None = None
    weight: Callable[[Any], float] | None = None

    def __post_init__(self) -> None:
        for name in ("rate", "per_s", "burst"):
            value = getattr(self, name)
            if value is None and name == "rate":
                continue
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise TypeError(f"Limit: {name} must be a number, not {type(value).__name__}")
            if not 0 < value < math.inf:
                raise ValueError(f"Limit: {name} must be above 0, not {value}")
        if self.at_once is not None:
            if isinstance(self.at_once, bool) or not isinstance(self.at_once, int):
                raise TypeError(f"Limit: at_once must be an int, not {type(self.at_once).__name__}")
            if self.at_once < 1:
                raise ValueError(f"Limit: at_once must be at least 1, not {self.at_once}")
        _check_function("per", self.per)
        _check_function("weight", self.weight)
        if self.rate is None and self.at_once is None:
            raise ValueError("Limit: pass rate= (how many may begin in per_s= seconds), at_once= or both")
        if self.rate is None and (self.weight is not None or (self.per_s, self.burst) != (1.0, 1.0)):
            raise ValueError("Limit: weight=, per_s= and burst= have no effect without rate=: pass rate= as well")


def _check_function(name: str, value: object) -> None:
    if value is not None and not callable(value):
        raise TypeError(f"Limit: {name} must be a function of an input, not {type(value).__name__}")
    if iscoroutinefunction(value):
        raise TypeError(f"Limit: {name} must return at once, so it cannot be an async def")


Limits: TypeAlias = "Limit | Sequence[Limit]"
"""One limit, or several that all apply."""
