"""Takes tasks from the desk in chunks, for executors that send them to other processes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from pipeloom.executors.base import Desk, T
from pipeloom.statuses import QUEUED

__all__ = ["gather"]

_HEAVY: Final = 256  # memory slots that a chunk may take


def gather(desk: Desk[T], most: int, first: Callable[[], T | None] | None) -> list[T]:
    """Take tasks for one chunk. A task that is being retried goes alone.

    Args:
        desk: The source of the tasks; a task that was refused before it started goes straight back to it.
        most: The maximum number of tasks.
        first: Waits for the first task and returns it, or ``None`` at the end. Without it, this does not wait.

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
                desk.hand_over(task)  # refused before it started
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
