"""Which task is running here, to which run it belongs, and in what surroundings: the caller's context variables."""

from __future__ import annotations

import decimal
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import Context, ContextVar, copy_context
from typing import Final

from pipeloom.worker.link import Link
from pipeloom.worker.task import Task

__all__ = [
    "CallerContext",
    "NotGuardedError",
    "enter",
    "enter_link",
    "importing_program",
    "is_importing_program",
    "present_link",
    "running_task",
    "task_here",
    "task_in",
]

_task: ContextVar[Task | None] = ContextVar("pipeloom_task", default=None)
_link: ContextVar[Link] = ContextVar("pipeloom_link")
_importing: ContextVar[bool] = ContextVar("pipeloom_importing_program", default=False)


def present_link() -> Link:
    """Return the way to the run that the task here belongs to; only where one is running."""
    return _link.get()


def running_task() -> Task | None:
    """Return the task that is running here, anywhere below its function; ``None`` elsewhere."""
    return _task.get()


def task_in(context: Context) -> Task | None:
    """Return the task that runs in another context; ``None`` where none does."""
    return context.get(_task)


def task_here(asked: str) -> Task:
    """Return the task that is running here, anywhere below its function.

    Args:
        asked: The function that asks for it.

    Raises:
        RuntimeError: None is.
    """
    task = running_task()
    if task is None:
        raise RuntimeError(f"{asked}() was called where no pipeloom task is running")
    return task


def enter_link(link: Link) -> None:
    """Make this the run of what runs in the current context."""
    _link.set(link)


enter: Final = _task.set
"""Make a task, or ``None``, the one that runs in the current context."""


class NotGuardedError(RuntimeError):
    """The program begins a run when a worker process imports it."""


@contextmanager
def importing_program() -> Iterator[None]:
    """Import the program itself in here, in a worker process: a run that it begins would never end."""
    token = _importing.set(True)
    try:
        yield
    finally:
        _importing.reset(token)


def is_importing_program() -> bool:
    """Say whether a worker process is importing the program here."""
    return _importing.get()


class CallerContext:
    """The context variables of whoever makes this, as they are now, for calls in other threads.

    Args:
        link: The run that the calls belong to; ``None`` for calls that belong to none, such as the caller's inputs.
    """

    def __init__(self, link: Link | None = None) -> None:
        self._base = copy_context()
        if link is not None:
            self._base.run(enter_link, link)
        # A copy of a context shares what its variables hold. By custom that is replaced as a whole, but not the
        # standard library's own: `getcontext().prec = 4` would change it for the caller and for all other tasks.
        has_decimal = any(type(value) is decimal.Context for value in self._base.values())
        self._decimal = self._base.run(decimal.getcontext).copy() if has_decimal else None

    def copy(self) -> Context:
        """Return a context in which nothing is seen of what happens in another one; any thread."""
        context = self._base.copy()
        if self._decimal is not None:
            context.run(decimal.setcontext, self._decimal.copy())
        return context
