"""``local=``: what a worker enters once, for all of its tasks: a session, a connection, a model."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from typing import Any, TypeAlias

__all__ = ["Local", "WorkerLocal"]

Local: TypeAlias = "Callable[[], AbstractContextManager[Any]]"
"""What is called once in each worker."""


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
            manager = local()
            if not hasattr(type(manager), "__enter__"):
                raise TypeError(
                    f"local must return a context manager, not {type(manager).__name__}: contextlib.contextmanager "
                    "makes one of a generator function"
                )
            self._value = self._stack.enter_context(manager)
        return self._value

    def close(self) -> None:
        """Leave it, if it was entered; raises what that raises."""
        self._local, self._value = None, None
        self._stack.close()
