"""Tasks as they are sent to where they are performed."""

from __future__ import annotations

import pickle
from typing import Any, Final, TypeAlias

from pipeloom.worker.task import Task

__all__ = ["Call", "call_of"]

Call: TypeAlias = tuple[
    Any,  # the input: a plain value, or bytes, which are a pickle of it
    int,  # task_id
    str | int | None,  # key
    str,  # name
    int,  # attempt
    bool,  # seen_before
    str | None,  # state
]
"""A task as it is sent. Inputs are pickled one by one, so that one that cannot be read fails alone."""


_INT64: Final = 1 << 63


def call_of(task: Task) -> Call:
    """Return a task as it is sent; raises whatever pickling its input raises."""
    item = task.item
    kind = type(item)
    is_plain = (kind is int and -_INT64 <= item < _INT64) or (kind is str and item.isascii())  # type: ignore[operator, attr-defined]
    if not is_plain:
        item = pickle.dumps(item, pickle.HIGHEST_PROTOCOL)
    return item, task.task_id, task.key, task.name, task.attempt, task.seen_before, task.state
