"""Between the run and its executor: tasks go out here, and come back with their outcomes.

::

    intake, retry queue ── next ─▶ executor ─▶ worker
                                      │
    channel to the writer ◀── end, hand over
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from pipeloom.engine.intake import Intake
from pipeloom.engine.link import WriterLink
from pipeloom.ledger.attempt import Attempt
from pipeloom.ledger.board import Board
from pipeloom.wire import Outcome
from pipeloom.worker.task import Task
from pipeloom.writer import Channel

__all__ = ["Dispatcher"]


class Dispatcher:
    """The desk that executors work with; see :class:`~pipeloom.executors.base.Desk`. Any thread.

    The worker says whether an exception is to be retried, since its class lives there. When, and whether at all, is
    said here: nothing is tried again once nothing more is admitted.

    Args:
        intake: Where tasks come from.
        link: What workers hold.
        board: Where it stands which task runs in which place.
        channel: To the writer.
        left: Called with a worker's place when it does nothing more.
    """

    def __init__(
        self, intake: Intake, link: WriterLink, board: Board, channel: Channel[Any], left: Callable[[int], None]
    ) -> None:
        self.link = link
        self.slots = cast("list[Task | None]", board.slots)
        self.next = intake.next
        self.left = left
        self.fault: BaseException | None = None
        self._intake = intake
        self._put = channel.put

    def end(self, task: Task, outcome: Outcome) -> None:
        """Note how a task's try went."""
        retry_in = None
        if outcome[5] and not self._intake.closed and not self.link.cancelling:
            policy = self.link.brief.retry
            retry_in = None if policy is None else policy.delay_after(task.attempt)
        cast("Attempt", task).end(outcome, retry_in)

    def hand_over(self, task: Task) -> None:
        """Put a task that has ended into the channel."""
        attempt = cast("Attempt", task)
        self._put(attempt, weight=attempt.weight)

    def returned(self, task: Task) -> None:
        """Take note that a call that was given up on has returned: its input may be tried again."""
        attempt = cast("Attempt", task)
        attempt.returned = True
        if self._intake.retries is not None:
            self._intake.retries.returned(attempt)

    def fail(self, error: BaseException) -> None:
        """Admit nothing more, since something of ours went wrong."""
        self.fault = error
        self._intake.close()
