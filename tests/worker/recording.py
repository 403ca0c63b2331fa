"""A link that answers at once and remembers what was asked and said."""

from __future__ import annotations

import queue
from collections.abc import Callable
from typing import Any

from pipeloom.wire import Brief, Question
from pipeloom.worker.link import Look
from pipeloom.worker.task import Task

__all__ = ["RecordingLink", "brief_for", "task_for"]


def brief_for(function: Callable[..., Any], **changes: Any) -> Brief:
    """Return the brief of a keyed run without retries or limits, but for the changes."""
    plain = Brief(
        function=function,
        context=None,
        keeps_results=True,
        retry=None,
        timeout_s=None,
        run_id=1,
        keyed=True,
        alter=False,
        max_task_bytes=1e9,
        declared={},
        spool_in=None,
        executor="recording",
        can=frozenset({"ask", "checkpoint"}),
    )
    return plain._replace(**changes)


def task_for(item: Any, number: int = 1) -> Task:
    """Return a task that is to be performed."""
    return Task(item, number, str(item), f"task {item}")


class Given:
    """A reply that is there already."""

    def __init__(self, value: Any) -> None:
        self._value = value

    def result(self, look: Look | None = None) -> Any:
        if isinstance(self._value, BaseException):
            raise self._value
        return self._value


class RecordingLink:
    """Takes everything that a worker sends.

    Attributes:
        answers: Question type → what is answered, or raised.
        room: How many messages there is room for.
    """

    def __init__(self, function: Callable[..., Any] = print, **changes: Any) -> None:
        self.brief = brief_for(function, **changes)
        self.cancelling = False
        self.answers: dict[type, Any] = {}
        self.room = 100
        self.asked: list[tuple[Task, Question]] = []
        self.said: list[Any] = []
        self.slowed: list[tuple[Task, float]] = []

    def ask(self, task: Task, question: Question, look: Look) -> Given:
        self.asked.append((task, question))
        return Given(self.answers.get(type(question)))

    def say(self, task: Task, message: Any, look: Look, *, block: bool, timeout: float | None) -> None:
        if len(self.said) >= self.room:
            raise queue.Full
        self.said.append(message)

    def slow_down(self, task: Task, seconds: float) -> None:
        self.slowed.append((task, seconds))

    def backlog(self) -> tuple[int, int]:
        return len(self.said), self.room
