"""Marks the copies of running tasks in a forked child, where nothing that they send would be stored."""

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
        """Return the running tasks; any thread."""


def orphan_in_forks(executor: Performs) -> None:
    """Mark an executor's tasks as orphans in every child process that is forked while the executor exists."""
    _known.add(executor)


_known: weakref.WeakSet[Any] = weakref.WeakSet()


def _orphan_all() -> None:
    for executor in list(_known):
        for task in executor.performed():
            task.orphan()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_orphan_all)
