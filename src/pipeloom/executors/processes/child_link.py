"""A worker process's way to its run: words on the pipe, and what stands in the shared memory."""

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
    """What the tasks of a worker process hold; see :class:`~pipeloom.worker.link.Link`.

    Args:
        pipe: To the run.
        page: Shared with it.
    """

    brief: Brief
    kinds: frozenset[str] = frozenset()  # of messages that somebody handles
    cancelling = False  # as of the last look at the page: tasks ask at each row

    def __init__(self, pipe: Pipe, page: Page) -> None:
        self.page = page
        self.said = 0  # words that were sent
        self._pipe = pipe
        self._numbers = itertools.count(1)
        self._open: dict[int, PipeAnswer] = {}

    def send(self, word: object, luggage: Luggage = NONE) -> None:
        """Send a word, and what is attached to it; blocks while the run does not read.

        Raises:
            WriterBrokenError: The run has gone.
        """
        try:
            self.said += 1
            self._pipe.send(encode(word), *luggage)
        except OSError as error:
            raise WriterBrokenError("the run has gone, and nobody stores what its tasks say") from error

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
        """Hand an answer over; the thread that receives."""
        answer = self._open.pop(number, None)
        if answer is not None:
            if is_error:
                answer.fail(value)
            else:
                answer.then()
                answer.give(value)

    def say(self, task: Task, message: object, look: Look, *, block: bool, timeout: float | None) -> None:
        """Send a message to be stored at once."""
        assert isinstance(task, SentTask)
        until = None if timeout is None else monotonic() + timeout
        wait_s = LOOK_S if block else 0
        while not self._pipe.has_room(wait_s if until is None else max(0.0, min(wait_s, until - monotonic()))):
            if not block or (until is not None and monotonic() >= until):
                raise queue.Full
            look()
        self.send(*said(task.serial, message, self.kinds))

    def slow_down(self, task: Task, seconds: float) -> None:
        """Send how long others are to wait."""
        assert isinstance(task, SentTask)
        self.send(SlowedDown(task.serial, seconds))

    def backlog(self) -> tuple[int, int]:
        """Return how much waits for the writer, and how much may."""
        return self.page.backlog


class PipeAnswer(Answer[Any]):
    """An answer that comes over the pipe; the run is told when nobody waits for it any more."""

    __slots__ = ("_link", "_number", "then")

    def __init__(self, link: PipeLink, number: int) -> None:
        super().__init__()
        self.then: Callable[[], object] = lambda: None  # called once it is here, and no error
        self._link = link
        self._number = number

    def result(self, look: Callable[[], object] | None = None) -> Any:
        """Block until it is here; see :class:`~pipeloom.worker.answer.Answer`."""
        try:
            return super().result(look)
        finally:
            if self.is_abandoned:
                self._link.send(Abandoned(self._number))


class SentTask(Task):
    """A task in a worker process: what its run should see of it while it runs goes there at once.

    Args:
        serial: The number under which it was sent.
        link: To the run.
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
        """How far it is; is in the shared memory a twentieth of a second later, and so is no message."""
        said: Progress = vars(self).get("progress", Task.progress)
        return said

    @progress.setter
    def progress(self, progress: Progress) -> None:
        vars(self)["progress"] = progress  # where `track` puts it, too
        # At once, if none was shown for a while: C code may follow that lets no thread run.
        if monotonic() > self._show_at:
            self.show_progress()

    def show_progress(self) -> None:
        """Put into the shared memory how far it is, if that is news; any thread."""
        if (progress := self.progress) is not self._shown:
            self._shown = progress
            self._show_at = monotonic() + _SHOW_S
            self._link.page.show(self.serial, self._shown)

    @property
    def number_said(self) -> int | None:
        """The task's id as the worker itself called it."""
        return self._number_said

    @number_said.setter
    def number_said(self, number: int | None) -> None:
        assert number is not None
        self._number_said = number
        self._link.send(Numbered(self.serial, number, is_another=number != self.task_id))

    @property
    def logs(self) -> SentLines:  # type: ignore[override]
        """Where its log lines go."""
        return SentLines(self.serial, self._link)


class SentLines:
    """Log lines that are sent as they come: nothing waits here."""

    def __init__(self, serial: int, link: PipeLink) -> None:
        self._serial = serial
        self._link = link

    def __len__(self) -> int:
        return 0

    def append(self, line: LogLine) -> None:
        """Send one."""
        plain: Line = (line.at, line.level, line.logger, line.message, line.error)
        self._link.send(Logged(self._serial, plain, is_heard_here(line.logger)))


def _asked(question: Question) -> tuple[QueryAsked | StateAsked | CheckpointAsked, Luggage]:
    if isinstance(question, Query):
        return QueryAsked(question.sql, question.params), NONE
    if isinstance(question, Checkpoint):
        parcel, luggage = parcel_of(question.output, question.rows, question.size)
        return CheckpointAsked(question.state, parcel), luggage
    return StateAsked(question.task_id), NONE
