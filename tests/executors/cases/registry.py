"""The cases of the contract suite: what one run does on every executor, one case an input."""

from __future__ import annotations

from collections.abc import Callable

import pipeloom

__all__ = ["CASES", "case"]

Case = Callable[[pipeloom.TaskContext], object]
CASES: dict[str, Case] = {}


def case(function: Case) -> Case:
    """Make a function one of the cases, under its own name."""
    CASES[function.__name__] = function
    return function
