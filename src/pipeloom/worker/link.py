"""The connection from a worker to its run, in this process or another one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from pipeloom.wire import Brief, Question
from pipeloom.worker.task import Task

__all__ = ["Link", "Look", "Reply"]

Look = Callable[[], None]
"""Called a few times a second while a worker waits for the run; raises to stop waiting."""


class Reply(Protocol):
    """An answer that will arrive.

    Attributes:
        is_abandoned: Nothing waits for it any more.
    """

    is_abandoned: bool

    def result(self, look: Look | None = None) -> Any:
        """Block until the answer arrives, and return it, or raise the error that replaced it.

        Args:
            look: See :data:`Look`. If it raises, the answer is abandoned.
        """

    def when_given(self, call: Callable[[], object]) -> None:
        """Register a function that is called, once or twice and in any thread, when the answer arrives."""


class Link(Protocol):
    """A worker's side of the connection; any thread.

    Progress, log lines and the start of a task need no call: the worker records them on its :class:`Task`, from
    which the run reads them.
    """

    brief: Brief

    @property
    def cancelling(self) -> bool:
        """Whether the run is being cancelled, so that tasks should end."""

    def ask(self, task: Task, question: Question, look: Look) -> Reply:
        """Send a question; blocks only while the channel is full.

        Args:
            task: The task that asks.
            question: The question.
            look: See :data:`Look`.

        Raises:
            WriterBrokenError: The writer died, or the run is out of reach.
        """

    def say(self, task: Task, message: object, look: Look, *, block: bool, timeout: float | None) -> None:
        """Send a message that is stored at once, even if the task fails later.

        Args:
            task: The task that sends it.
            message: Any object.
            look: See :data:`Look`.
            block: Whether to wait while the channel is full.
            timeout: How long to wait at most, in seconds; ``None`` waits without limit.

        Raises:
            queue.Full: The channel was full, with ``block=False`` or until the timeout.
            WriterBrokenError: The writer died, or the run is out of reach.
        """

    def slow_down(self, task: Task, seconds: float) -> None:
        """Start no tasks for a while that share a limit's value with this one; does not wait.

        Args:
            task: The task that requests it.
            seconds: The length of the pause, 0 or more.

        Raises:
            WriterBrokenError: The writer died, or the run is out of reach.
        """

    def backlog(self) -> tuple[int, int]:
        """Return how much is waiting to be stored, and the capacity of the channel."""
