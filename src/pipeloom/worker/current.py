"""The running task, the run that it belongs to, and the caller's context variables that it runs with."""

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
    """Return the link to the run of the task that is running here; only call this where one is running."""
    return _link.get()


def running_task() -> Task | None:
    """Return the task that is running here, anywhere in the code that its function calls; ``None`` elsewhere."""
    return _task.get()


def task_in(context: Context) -> Task | None:
    """Return the task that runs in another context; ``None`` if none does."""
    return context.get(_task)


def task_here(asked: str) -> Task:
    """Return the task that is running here, anywhere in the code that its function calls.

    Args:
        asked: The name of the public function that needs it, for the error.

    Raises:
        RuntimeError: No task is running here.
    """
    task = running_task()
    if task is None:
        raise RuntimeError(f"{asked}() was called where no pipeloom task is running")
    return task


def enter_link(link: Link) -> None:
    """Set the run that code in the current context belongs to."""
    _link.set(link)


enter: Final = _task.set
"""Set the task that runs in the current context; ``None`` for no task."""


class NotGuardedError(RuntimeError):
    """The program starts a run when a worker process imports it."""


@contextmanager
def importing_program() -> Iterator[None]:
    """Mark the import of the program itself in a worker process, where starting a run would never end."""
    token = _importing.set(True)
    try:
        yield
    finally:
        _importing.reset(token)


def is_importing_program() -> bool:
    """Return whether a worker process is importing the program here."""
    return _importing.get()


class CallerContext:
    """The caller's context variables as they are now, for calls in other threads.

    Args:
        link: The run that the calls belong to; ``None`` for calls outside a run, such as reading the inputs.
    """

    def __init__(self, link: Link | None = None) -> None:
        self._base = copy_context()
        if link is not None:
            self._base.run(enter_link, link)
        # A copy of a context shares the values of its variables. By convention they are immutable, but not the
        # decimal context: `getcontext().prec = 4` would change it for the caller and for all other tasks.
        has_decimal = any(type(value) is decimal.Context for value in self._base.values())
        self._decimal = self._base.run(decimal.getcontext).copy() if has_decimal else None

    def copy(self) -> Context:
        """Return an independent copy: changes made in it are not visible in the others; any thread."""
        context = self._base.copy()
        if self._decimal is not None:
            context.run(decimal.setcontext, self._decimal.copy())
        return context
