"""A worker's way to its run, wherever that is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from pipeloom.wire import Brief, Question
from pipeloom.worker.task import Task

__all__ = ["Link", "Look", "Reply"]

Look = Callable[[], None]
"""Called a few times a second by whoever waits for the run; raises to give up."""


class Reply(Protocol):
    """What somebody will be told.

    Attributes:
        is_abandoned: Nobody waits for it any more.
    """

    is_abandoned: bool

    def result(self, look: Look | None = None) -> Any:
        """Block until the answer is here, and return it, or raise what went wrong.

        Args:
            look: See :data:`Look`. When it raises, nobody waits for the answer any more.
        """

    def when_given(self, call: Callable[[], object]) -> None:
        """Have a function called when the answer is here, once or twice and in any thread; does not block."""


class Link(Protocol):
    """What every worker of a run holds; any thread.

    Progress, log lines and the start of a task need no call: the worker leaves them on its :class:`Task`, where the
    run looks for them.
    """

    brief: Brief

    @property
    def cancelling(self) -> bool:
        """Whether the run is being cancelled, so that tasks should end."""

    def ask(self, task: Task, question: Question, look: Look) -> Reply:
        """Send a question; blocks only while there is no room for it.

        Args:
            task: Whose question it is.
            question: What is asked.
            look: See :data:`Look`.

        Raises:
            WriterBrokenError: Nobody is there to answer.
        """

    def say(self, task: Task, message: object, look: Look, *, block: bool, timeout: float | None) -> None:
        """Send a message to be stored at once, whatever becomes of the task.

        Args:
            task: Whose message it is.
            message: Anything.
            look: See :data:`Look`.
            block: Wait while there is no room.
            timeout: How long to wait at most, in seconds; ``None`` is for ever.

        Raises:
            queue.Full: No room, and not allowed to wait, or waited long enough.
            WriterBrokenError: Nobody is there to hear it.
        """

    def slow_down(self, task: Task, seconds: float) -> None:
        """Have the run begin nothing for a while that shares a limit's value with this task; does not wait.

        Args:
            task: Who says so.
            seconds: How long, 0 or more.

        Raises:
            WriterBrokenError: Nobody is there to hear it.
        """

    def backlog(self) -> tuple[int, int]:
        """Return how much waits to be stored, and how much may."""
