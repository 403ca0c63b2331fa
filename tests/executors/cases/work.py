"""The function of the run of all cases. It lives in a module, so that a worker in another process finds it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pipeloom
from executors.cases import talking, writing
from executors.cases.raising import RAISES
from executors.cases.registry import CASES

__all__ = ["every_case", "opened", "talking", "work", "writing"]  # the cases are there once they are imported


def work(name: str, ctx: pipeloom.TaskContext) -> object:
    """Perform one case."""
    if name in RAISES:
        ctx.write("left", {"case": name})  # goes with the try
        raised = RAISES[name]()
        raise raised
    return CASES[name](ctx)


def every_case() -> list[str]:
    """Return the inputs of the run."""
    return [*CASES, *RAISES]


@contextmanager
def opened(path: str) -> Iterator[dict[str, int]]:
    """A ``local=``: says in a file when it is entered and left."""
    with open(path, "a") as file:
        file.write("entered\n")
    yield {"value": 42}
    with open(path, "a") as file:
        file.write("left\n")
