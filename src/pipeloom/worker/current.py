"""Which task is running here, and to which run it belongs."""

from __future__ import annotations

from contextvars import ContextVar
from typing import Final

from pipeloom.worker.link import Link
from pipeloom.worker.task import Task

__all__ = ["enter", "enter_link", "present_link", "running_task"]

_task: ContextVar[Task | None] = ContextVar("pipeloom_task", default=None)
_link: ContextVar[Link] = ContextVar("pipeloom_link")


def present_link() -> Link:
    """Return the way to the run that the task here belongs to; only where one is running."""
    return _link.get()


def running_task() -> Task | None:
    """Return the task that is running here, anywhere below its function; ``None`` elsewhere."""
    return _task.get()


def enter_link(link: Link) -> None:
    """Make this the run of the calling worker."""
    _link.set(link)


enter: Final = _task.set
"""Make a task, or ``None``, the current one of the calling worker."""
