"""In a child that a task forks no task is running: what copies of their contexts are told, nobody would store."""

from __future__ import annotations

import os
import weakref
from collections.abc import Sequence
from typing import Any, Protocol

from pipeloom.worker.task import Task

__all__ = ["orphan_in_forks"]


class Performs(Protocol):
    """An executor whose tasks run in this process."""

    def performed(self) -> Sequence[Task]:
        """Return the tasks that are being performed; any thread."""


def orphan_in_forks(executor: Performs) -> None:
    """Have its tasks orphaned in every child that is forked while it is there."""
    _known.add(executor)


_known: weakref.WeakSet[Any] = weakref.WeakSet()


def _orphan_all() -> None:
    for executor in list(_known):
        for task in executor.performed():
            task.orphan()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_orphan_all)
