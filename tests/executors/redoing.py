"""A task function that is done again; worker processes import this module, so it imports little."""

from __future__ import annotations

from typing import NamedTuple

import pipeloom


class Input(NamedTuple):
    """What a task is to do.

    Attributes:
        key: What it is known by.
        version: Which of its generations.
        rows: How many it writes.
        deed: "fails" at its first try, comes to a "checkpoint" and fails, or nothing.
    """

    key: int
    version: int
    rows: int
    deed: str = ""


def writes(item: Input, ctx: pipeloom.TaskContext) -> None:
    """Write rows that say which generation they are of."""
    row = {"key": item.key, "version": item.version}
    began = 0 if item.deed != "checkpoint" else ctx.state or 0
    ctx.write("generations", [row | {"n": n} for n in range(began, item.rows)])
    if item.deed == "checkpoint" and ctx.attempt == 1:
        ctx.checkpoint(item.rows)
    if item.deed and ctx.attempt == 1:
        raise ValueError(item.deed)
