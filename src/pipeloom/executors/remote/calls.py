"""Tasks in the form in which they are sent to workers."""

from __future__ import annotations

from typing import Any, Final, TypeAlias

from pipeloom.executors.remote.program import Main, pickled
from pipeloom.worker.task import Task

__all__ = ["Call", "call_of"]

Call: TypeAlias = tuple[
    Any,  # the input: a plain value, or its pickle as bytes
    int,  # task_id
    str | int | None,  # key
    str,  # name
    int,  # attempt
    int,  # uncounted
    bool,  # seen_before
    str | None,  # state
]
"""A task as it is sent. Inputs are pickled one by one, so that only a task whose input cannot be read fails."""


_INT64: Final = 1 << 63


def call_of(task: Task, main: Main = "imported") -> Call:
    """Return a task in the form in which it is sent; raises whatever pickling its input raises.

    Args:
        task: The task.
        main: How workers get the program itself, which may define the class of an input.
    """
    item: Any = task.item
    kind = type(item)
    is_plain = (kind is int and -_INT64 <= item < _INT64) or (kind is str and item.isascii())
    if not is_plain:
        item = pickled(item, main)
    return item, task.task_id, task.key, task.name, task.attempt, task.uncounted, task.seen_before, task.state
