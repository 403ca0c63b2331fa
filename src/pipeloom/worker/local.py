"""``local=``: what a worker sets up once for all of its tasks, such as a session, a connection or a model."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, AbstractContextManager, ExitStack
from typing import Any, TypeAlias

__all__ = ["Local", "WorkerLocal", "not_a_manager"]

Local: TypeAlias = "Callable[[], AbstractContextManager[Any] | AbstractAsyncContextManager[Any]]"
"""A function called once in each worker. Asynchronous context managers require an ``async def`` task function."""


def not_a_manager(returned: object) -> TypeError:
    """Return the error for a value of ``local=`` that is not a suitable context manager."""
    if hasattr(type(returned), "__aenter__"):
        return TypeError(
            f"local returned {type(returned).__name__}, an asynchronous context manager: "
            "that requires an async def function"
        )
    return TypeError(
        f"local must return a context manager, not {type(returned).__name__}: contextlib.contextmanager turns a "
        "generator function into one"
    )


class WorkerLocal:
    """The ``local=`` of one worker; used only in the worker's thread, and entered at its first task.

    Args:
        local: The function that the user passed; ``None`` if there is none.
    """

    def __init__(self, local: Local | None) -> None:
        self._local = local
        self._stack = ExitStack()
        self._value: Any = None

    def value(self) -> Any:
        """Return the value; the first call enters the context manager, and raises whatever that raises."""
        if (local := self._local) is not None:
            self._local = None
            manager: Any = local()
            if not hasattr(type(manager), "__enter__"):
                raise not_a_manager(manager)
            self._value = self._stack.enter_context(manager)
        return self._value

    def close(self) -> None:
        """Exit the context manager, if it was entered; raises whatever that raises."""
        self._local, self._value = None, None
        self._stack.close()
