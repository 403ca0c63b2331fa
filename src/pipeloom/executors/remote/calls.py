"""Tasks as they are sent to where they are performed."""

from __future__ import annotations

from typing import Any, Final, TypeAlias

from pipeloom.executors.remote.program import Main, pickled
from pipeloom.worker.task import Task

__all__ = ["Call", "call_of"]

Call: TypeAlias = tuple[
    Any,  # the input: a plain value, or bytes, which are a pickle of it
    int,  # task_id
    str | int | None,  # key
    str,  # name
    int,  # attempt
    int,  # uncounted
    bool,  # seen_before
    str | None,  # state
]
"""A task as it is sent. Inputs are pickled one by one, so that one that cannot be read fails alone."""


_INT64: Final = 1 << 63


def call_of(task: Task, main: Main = "imported") -> Call:
    """Return a task as it is sent; raises whatever pickling its input raises.

    Args:
        task: Which one.
        main: How workers come by the program itself, where the class of an input may live.
    """
    item: Any = task.item
    kind = type(item)
    is_plain = (kind is int and -_INT64 <= item < _INT64) or (kind is str and item.isascii())
    if not is_plain:
        item = pickled(item, main)
    return item, task.task_id, task.key, task.name, task.attempt, task.uncounted, task.seen_before, task.state
