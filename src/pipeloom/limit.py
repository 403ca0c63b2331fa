"""How fast tasks may begin, and how many may run at once: of all, or for each host, account or the like."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from inspect import iscoroutinefunction
from typing import Any, TypeAlias

__all__ = ["Limit"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """How fast tasks may begin, and how many may run at once. Each try counts, from when a worker gets it.

    What waits for it holds no worker, and inputs behind it that need not wait overtake it. What is late is not
    caught up.

    Args:
        rate: So many tasks may begin in ``per_s`` seconds, or tasks of so much ``weight``. Default: no such limit.
        per_s: The seconds that ``rate`` is about: 1 for a second, 60 for a minute.
        burst: So many, or so much weight, may begin at once after a pause. 1 spaces them evenly.
        at_once: So many tasks may run at the same time, at least 1. Default: as many as there are workers.
        per: Input → whatever the limit is counted for, such as its host; any hashable. Default: one for all inputs.
            Called in the program, once for each try; any thread of it, and several at once.
        weight: Input → how much it counts against ``rate``, such as its tokens; 0 or more. Default: 1. What is
            heavier than ``burst`` leaves a debt. Called as ``per``.

    Raises:
        ValueError, TypeError: One of them makes no sense.
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
            raise ValueError("Limit: say rate= (how many may begin in per_s= seconds), at_once= or both")
        if self.rate is None and (self.weight is not None or (self.per_s, self.burst) != (1.0, 1.0)):
            raise ValueError("Limit: weight=, per_s= and burst= are about rate=, which is missing")


def _check_function(name: str, value: object) -> None:
    if value is not None and not callable(value):
        raise TypeError(f"Limit: {name} must be a function of an input, not {type(value).__name__}")
    if iscoroutinefunction(value):
        raise TypeError(f"Limit: {name} must return at once, so it cannot be an async def")


Limits: TypeAlias = "Limit | Sequence[Limit]"
"""One limit, or several that all hold."""
