"""The link from workers in this process to the writer."""

from __future__ import annotations

import queue
from collections.abc import Callable
from time import monotonic
from typing import cast

from pipeloom.data.found import ENTRY_BYTES, Found, Identify
from pipeloom.data.spool import Spool
from pipeloom.data.weights import slots_for, weigh
from pipeloom.engine.intake import Intake
from pipeloom.ledger.attempt import Attempt, Spoken, StagedCheckpoint
from pipeloom.wire import Brief, Checkpoint, Output, Query, Question
from pipeloom.worker.answer import LOOK_S
from pipeloom.worker.link import Look, Reply
from pipeloom.worker.task import Task
from pipeloom.writer import Channel, SQLiteWriter
from pipeloom.writer.requests import Request

__all__ = ["WriterLink"]


class WriterLink:
    """Asks the ledger, and puts messages into the channel; see :class:`~pipeloom.worker.link.Link`.

    Args:
        brief: The settings that all tasks of the run share.
        channel: To the writer.
        writer: Answers questions.
        intake: Starts nothing for a while if it is told to slow down.
        identify: Identifies the inputs that a task has added; ``None`` if tasks may not add any.
    """

    def __init__(
        self,
        brief: Brief,
        channel: Channel[object],
        writer: SQLiteWriter,
        intake: Intake,
        identify: Identify | None = None,
    ) -> None:
        self.brief = brief
        self.cancelling = False
        self._identify = identify
        self._channel = channel
        self._writer = writer
        self._intake = intake

    def ask(self, task: Task, question: Question, look: Look) -> Reply:
        """Send a question to the ledger."""
        if isinstance(question, Checkpoint):
            attempt = cast("Attempt", task)  # every task that a run hands out is one
            size = question.size + self.identify(attempt, question.output)
            checkpoint = StagedCheckpoint(attempt, question.output, question.state, question.rows)
            if attempt.refused is not None:  # it cannot succeed any more
                checkpoint.fail(attempt.refused)
                return checkpoint
            # Under the channel's lock: a task waits for it, so it must not be lost behind the channel's end.
            self._put(self._channel.put_surely, checkpoint, slots_for(size), look)
            return checkpoint
        if isinstance(question, Query):
            request: Request[list[tuple[object, ...]]] = Request(
                lambda ledger: ledger.query(question.sql, question.params, lambda: request.is_abandoned)
            )
            return self._writer.submit(request)
        return self._writer.request(lambda ledger: ledger.state_of(question.task_id))

    def identify(self, attempt: Attempt, output: Output) -> int:
        """Identify the inputs that a task's output adds, if any; if one has no key, refuse the whole output.

        Returns:
            How many more bytes the output takes.
        """
        if self._identify is None or not output:
            return 0
        last, first = output[-1], output[0]
        try:
            if type(first) is Spool and first.has_inputs:
                first.identify(self._identify)
            if type(last) is not Found:
                return 0
            last.entries = self._identify(last.items)
        except Exception as error:  # noqa: BLE001 - whatever it is, such as a full disk, the task must get it
            attempt.refused = error
            return 0
        return ENTRY_BYTES * len(last.items)

    def say(self, task: Task, message: object, look: Look, *, block: bool, timeout: float | None) -> None:
        """Send a message to be stored at once."""
        spoken = Spoken(cast("Attempt", task), message)
        self._put(self._channel.put, spoken, slots_for(weigh(message)), look, block, timeout)

    def slow_down(self, task: Task, seconds: float) -> None:
        """Make the intake hold back attempts that share a limit's value with this task."""
        self._intake.slow_down(cast("Attempt", task), seconds)

    def backlog(self) -> tuple[int, int]:
        """Return how much waits for the writer, and the most that may wait."""
        return self._channel.qsize(), self._channel.maxsize

    def _put(
        self,
        put: Callable[..., None],
        item: object,
        weight: int,
        look: Look,
        block: bool = True,
        timeout: float | None = None,
    ) -> None:
        """Put an item; waits for room only while the task continues."""
        try:
            put(item, block=False, weight=weight)
            return
        except queue.Full:
            if not block:
                raise
        until = None if timeout is None else monotonic() + timeout
        while True:
            left = LOOK_S if until is None else min(LOOK_S, max(0.0, until - monotonic()))
            try:
                put(item, timeout=left, weight=weight)
                return
            except queue.Full:
                if until is not None and monotonic() >= until:
                    raise
            look()
