"""Takes tasks from the desk by the chunk, for executors that send them somewhere."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from pipeloom.executors.base import Desk, T
from pipeloom.statuses import QUEUED

__all__ = ["gather"]

_HEAVY: Final = 256  # slots of memory that a chunk may take


def gather(desk: Desk[T], most: int, first: Callable[[], T | None] | None) -> list[T]:
    """Take as many tasks as make a chunk. One that is tried again goes alone.

    Args:
        desk: Where they come from; what was refused at the door goes straight back to it.
        most: How many.
        first: Waits for the first one, ``None`` at the end; without it nothing is waited for.

    Returns:
        0 to ``most`` tasks.
    """
    found: list[T] = []
    weight = 0
    while len(found) < most and weight < _HEAVY:
        if first is not None and not found:
            task = first()
            some = [] if task is None else [task]
        else:
            some = desk.more(most - len(found))
        if not some:
            break
        for place, task in enumerate(some):
            if task.status != QUEUED:
                desk.hand_over(task)  # refused at the door
                continue
            if task.attempt > 1 and found:
                desk.give_back(some[place:])
                return found
            found.append(task)
            weight += task.weight
            if task.attempt > 1:
                desk.give_back(some[place + 1 :])
                return found
    return found
