"""The link of a worker process to its run: messages on the pipe, and the shared memory."""

from __future__ import annotations

import itertools
import queue
from collections.abc import Callable
from functools import partial
from time import monotonic
from typing import Any, Final

from pipeloom.errors import WriterBrokenError
from pipeloom.executors.processes.page import Page
from pipeloom.executors.processes.pipe import Pipe
from pipeloom.executors.processes.words import (
    Abandoned,
    Asked,
    CheckpointAsked,
    Logged,
    Numbered,
    QueryAsked,
    SlowedDown,
    StateAsked,
)
from pipeloom.executors.remote.forms import Line, encode
from pipeloom.executors.remote.messages import said
from pipeloom.executors.remote.outcomes import NONE, Luggage, parcel_of
from pipeloom.wire import Brief, Checkpoint, LogLine, Progress, Query, Question
from pipeloom.worker.answer import LOOK_S, Answer
from pipeloom.worker.link import Look
from pipeloom.worker.logs import is_heard_here
from pipeloom.worker.task import Task

__all__ = ["PipeLink", "SentTask"]


_SHOW_S: Final = 0.05


class PipeLink:
    """The link of the tasks in a worker process; see :class:`~pipeloom.worker.link.Link`.

    Args:
        pipe: The pipe to the run.
        page: The memory shared with the run.
    """

    brief: Brief
    kinds: frozenset[str] = frozenset()  # names of the message classes that have handlers
    cancelling = False  # a copy of what the page says, since tasks check this at every row

    def __init__(self, pipe: Pipe, page: Page) -> None:
        self.page = page
        self.said = 0  # number of words sent
        self._pipe = pipe
        self._numbers = itertools.count(1)
        self._open: dict[int, PipeAnswer] = {}

    def send(self, word: object, luggage: Luggage = NONE) -> None:
        """Send a word and its attachments; blocks while the run does not read.

        Raises:
            WriterBrokenError: The run has ended.
        """
        try:
            self.said += 1
            self._pipe.send(encode(word), *luggage)
        except OSError as error:
            raise WriterBrokenError("the run has ended, so nothing more can be stored") from error

    def ask(self, task: Task, question: Question, look: Look) -> Answer[Any]:  # noqa: ARG002 - the pipe is always read
        """Send a question."""
        assert isinstance(task, SentTask)
        number = next(self._numbers)
        answer = PipeAnswer(self, number)
        if isinstance(question, Checkpoint):
            answer.then = partial(setattr, task, "state", question.state)
        self._open[number] = answer
        asked, luggage = _asked(question)
        self.send(Asked(number, task.serial, asked), luggage)
        return answer

    def answered(self, number: int, is_error: bool, value: Any) -> None:
        """Provide an answer; the receiving thread."""
        answer = self._open.pop(number, None)
        if answer is not None:
            if is_error:
                answer.fail(value)
            else:
                answer.then()
                answer.give(value)

    def say(self, task: Task, message: object, look: Look, *, block: bool, timeout: float | None) -> None:
        """Send a message that is stored at once."""
        assert isinstance(task, SentTask)
        until = None if timeout is None else monotonic() + timeout
        wait_s = LOOK_S if block else 0
        while not self._pipe.has_room(wait_s if until is None else max(0.0, min(wait_s, until - monotonic()))):
            if not block or (until is not None and monotonic() >= until):
                raise queue.Full
            look()
        self.send(*said(task.serial, message, self.kinds))

    def slow_down(self, task: Task, seconds: float) -> None:
        """Send a request to pause other tasks."""
        assert isinstance(task, SentTask)
        self.send(SlowedDown(task.serial, seconds))

    def backlog(self) -> tuple[int, int]:
        """Return how much is waiting for the writer, and the capacity of the channel."""
        return self.page.backlog


class PipeAnswer(Answer[Any]):
    """An answer that arrives over the pipe; the run is notified if it is abandoned."""

    __slots__ = ("_link", "_number", "then")

    def __init__(self, link: PipeLink, number: int) -> None:
        super().__init__()
        self.then: Callable[[], object] = lambda: None  # called when it arrives, unless it is an error
        self._link = link
        self._number = number

    def result(self, look: Callable[[], object] | None = None) -> Any:
        """Block until it arrives; see :class:`~pipeloom.worker.answer.Answer`."""
        try:
            return super().result(look)
        finally:
            if self.is_abandoned:
                self._link.send(Abandoned(self._number))


class SentTask(Task):
    """A task in a worker process; what the run should see while it runs is sent at once.

    Args:
        serial: The number under which it was sent.
        link: The link to the run.
    """

    has_run_elsewhere = True

    def __init__(
        self, item: object, task_id: int, key: str | int | None, name: str, serial: int, link: PipeLink
    ) -> None:
        super().__init__(item, task_id, key, name)
        self.serial = serial
        self._link = link
        self._shown: Progress = Task.progress
        self._show_at = 0.0
        self._number_said: int | None = None

    @property
    def progress(self) -> Progress:
        """Its progress; written to the shared memory within 0.05 s rather than sent as a message."""
        said: Progress = vars(self).get("progress", Task.progress)
        return said

    @progress.setter
    def progress(self, progress: Progress) -> None:
        vars(self)["progress"] = progress  # `track` sets it here, too
        # At once if none was written for a while: C code that lets no other thread run may follow.
        if monotonic() > self._show_at:
            self.show_progress()

    def show_progress(self) -> None:
        """Write its progress to the shared memory if it has changed; any thread."""
        if (progress := self.progress) is not self._shown:
            self._shown = progress
            self._show_at = monotonic() + _SHOW_S
            self._link.page.show(self.serial, self._shown)

    @property
    def number_said(self) -> int | None:
        """The task id that the worker itself used in a message."""
        return self._number_said

    @number_said.setter
    def number_said(self, number: int | None) -> None:
        assert number is not None
        self._number_said = number
        self._link.send(Numbered(self.serial, number, is_another=number != self.task_id))

    @property
    def logs(self) -> SentLines:  # type: ignore[override]
        """The list-like object that its log lines are appended to."""
        return SentLines(self.serial, self._link)


class SentLines:
    """Sends log lines as they arrive; always empty."""

    def __init__(self, serial: int, link: PipeLink) -> None:
        self._serial = serial
        self._link = link

    def __len__(self) -> int:
        return 0

    def append(self, line: LogLine) -> None:
        """Send a line."""
        plain: Line = (line.at, line.level, line.logger, line.message, line.error)
        self._link.send(Logged(self._serial, plain, is_heard_here(line.logger)))


def _asked(question: Question) -> tuple[QueryAsked | StateAsked | CheckpointAsked, Luggage]:
    if isinstance(question, Query):
        return QueryAsked(question.sql, question.params), NONE
    if isinstance(question, Checkpoint):
        parcel, luggage = parcel_of(question.output, question.rows, question.size)
        return CheckpointAsked(question.state, parcel), luggage
    return StateAsked(question.task_id), NONE
