"""Between the run and its executor: tasks go out here, and come back with their outcomes.

::

    intake, retry queue ── next ─▶ executor ─▶ worker
                                      │
    channel to the writer ◀── end, hand over
"""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable
from sys import getsizeof

from pipeloom.data.weights import SLOT, slots_for, weigh
from pipeloom.engine.intake import Intake
from pipeloom.engine.link import WriterLink
from pipeloom.ledger.attempt import Attempt
from pipeloom.ledger.board import Board
from pipeloom.wire import NO_RETRY, Outcome, RetryDecision
from pipeloom.writer import Channel

__all__ = ["Dispatcher"]

logger = logging.getLogger("pipeloom")


class Dispatcher:
    """The desk that executors work with; see :class:`~pipeloom.executors.base.Desk`. Any thread.

    The worker says whether an exception is to be retried, and when, since its class lives there. Whether at all is
    said here: nothing is tried again once nothing more is admitted.

    Args:
        intake: Where tasks come from.
        link: What workers hold.
        board: Where it stands which task runs in which place.
        channel: To the writer.
        left: Called with a worker's place when it does nothing more.
    """

    def __init__(
        self, intake: Intake, link: WriterLink, board: Board, channel: Channel[object], left: Callable[[int], None]
    ) -> None:
        self.link = link
        self.slots = board.slots
        self._keeps_items = board.keeps_items
        self.next = intake.next
        self.more = intake.more
        self.give_back = intake.give_back
        self.left = left
        self.fault: BaseException | None = None
        self._intake = intake
        self._put = channel.put
        self._untold = threading.Lock()  # held once the policy's functions were complained of

    @property
    def closed(self) -> bool:
        """Whether nothing more is to begin."""
        return self._intake.closed

    @property
    def is_limited(self) -> bool:
        """Whether a task counts from when it is taken."""
        return self._intake.is_limited

    def end(self, attempt: Attempt, outcome: Outcome) -> None:
        """Note how a task's try went; the status last, since it says that the try is over."""
        status, message, result, failed, staged, attempt.finished_at, attempt.elapsed_s = outcome
        if message is not None:
            attempt.message = message
        size = 0
        if result is not None:
            attempt.result = result
            size = getsizeof(result)
        if staged is not None:
            attempt.staged, attempt.rows_written, held = staged
            size += held + self.link.identify(attempt, attempt.staged)
        if failed is not None:
            attempt.exception, attempt.error, decision = failed
            size += weigh(attempt.exception)
            if decision is not NO_RETRY:
                self._follow(attempt, decision)
        if attempt.logs:
            size += weigh(list(attempt.logs))
        if attempt.retry_in is None and not self._keeps_items:
            attempt.item = None  # it may be large, and the outcome may wait a moment for its commit
            attempt.weight = 1 if size <= SLOT else slots_for(size)
        else:
            attempt.weight += size // SLOT
        if attempt.is_renumbered:
            attempt.row = "old"
        attempt.status = status
        if attempt.ticket is not None:
            self._intake.ended(attempt)

    def _follow(self, attempt: Attempt, decision: RetryDecision) -> None:
        """Note when a failed try is followed by another."""
        after_s, counts, complaint = decision
        if complaint is not None and self._untold.acquire(blocking=False):
            logger.warning("%s; said once, and with the traceback of each task that it was about", complaint)
        if after_s is None or self._intake.closed or self.link.cancelling:
            return
        attempt.retry_in = after_s
        if not counts:
            attempt.uncounted += 1

    def hand_over(self, attempt: Attempt) -> None:
        """Put a task that has ended into the channel."""
        self._put(attempt, weight=attempt.weight)

    def offer(self, attempt: Attempt) -> bool:
        """Put a task that has ended into the channel, unless that is full; does not wait."""
        try:
            self._put(attempt, block=False, weight=attempt.weight)
        except queue.Full:
            return False
        return True

    def returned(self, attempt: Attempt) -> None:
        """Take note that a call that was given up on has returned: its input may be tried again."""
        attempt.returned = True
        self._intake.retries.returned(attempt)

    def fail(self, error: BaseException) -> None:
        """Admit nothing more, since something of ours went wrong."""
        self.fault = error
        self._intake.close()
