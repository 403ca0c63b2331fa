"""``local=``: what a worker enters once, for all of its tasks: a session, a connection, a model."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, AbstractContextManager, ExitStack
from typing import Any, TypeAlias

__all__ = ["Local", "WorkerLocal", "not_a_manager"]

Local: TypeAlias = "Callable[[], AbstractContextManager[Any] | AbstractAsyncContextManager[Any]]"
"""What is called once in each worker; one that ``async with`` enters is for ``async def`` functions."""


def not_a_manager(returned: object) -> TypeError:
    """Return what is wrong with what ``local=`` has returned."""
    if hasattr(type(returned), "__aenter__"):
        return TypeError(
            f"local returned {type(returned).__name__}, which async with enters: that needs an async def function"
        )
    return TypeError(
        f"local must return a context manager, not {type(returned).__name__}: contextlib.contextmanager makes one "
        "of a generator function"
    )


class WorkerLocal:
    """That of one worker, and its thread's alone. It is entered when the first task comes.

    Args:
        local: The caller's; ``None`` if there is none.
    """

    def __init__(self, local: Local | None) -> None:
        self._local = local
        self._stack = ExitStack()
        self._value: Any = None

    def value(self) -> Any:
        """Return its value; enters it at the first call, and raises what that raises."""
        if (local := self._local) is not None:
            self._local = None
            manager: Any = local()
            if not hasattr(type(manager), "__enter__"):
                raise not_a_manager(manager)
            self._value = self._stack.enter_context(manager)
        return self._value

    def close(self) -> None:
        """Leave it, if it was entered; raises what that raises."""
        self._local, self._value = None, None
        self._stack.close()
