"""Between the run and its executor: hands out tasks, and takes back their outcomes.

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
    """What executors work with; see :class:`~pipeloom.executors.base.Desk`. Any thread.

    The worker decides whether an exception is worth a retry, and when, because the exception's class exists there.
    Whether the run still retries is decided here: nothing is retried once nothing more is admitted.

    Args:
        intake: Where tasks come from.
        link: The workers' link to the writer.
        board: Shows which task runs in which place.
        channel: To the writer.
        left: Called with a worker's place when that worker has finished.
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
        self._untold = threading.Lock()  # held once a warning about the policy was logged

    @property
    def closed(self) -> bool:
        """Whether nothing more is to start."""
        return self._intake.closed

    @property
    def is_limited(self) -> bool:
        """Whether a task counts against a limit from the moment it is taken."""
        return self._intake.is_limited

    def end(self, attempt: Attempt, outcome: Outcome) -> None:
        """Record the outcome of an attempt; the status is set last, because it marks the attempt as over."""
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
            attempt.item = None  # it may be large, and the commit may take a moment
            attempt.weight = 1 if size <= SLOT else slots_for(size)
        else:
            attempt.weight += size // SLOT
        if attempt.is_renumbered:
            attempt.row = "old"
        attempt.status = status
        if attempt.ticket is not None:
            self._intake.ended(attempt)

    def _follow(self, attempt: Attempt, decision: RetryDecision) -> None:
        """Record that a failed attempt will be retried."""
        after_s, counts, complaint = decision
        if complaint is not None and self._untold.acquire(blocking=False):
            logger.warning("%s; logged once, and stored with the traceback of each task concerned", complaint)
        if after_s is None or self._intake.closed or self.link.cancelling:
            return
        attempt.retry_in = after_s
        if not counts:
            attempt.uncounted += 1

    def hand_over(self, attempt: Attempt) -> None:
        """Put a finished task into the channel."""
        self._put(attempt, weight=attempt.weight)

    def offer(self, attempt: Attempt) -> bool:
        """Put a finished task into the channel unless that is full; does not wait."""
        try:
            self._put(attempt, block=False, weight=attempt.weight)
        except queue.Full:
            return False
        return True

    def returned(self, attempt: Attempt) -> None:
        """Note that an abandoned call has returned: its input may be retried now."""
        attempt.returned = True
        self._intake.retries.returned(attempt)

    def fail(self, error: BaseException) -> None:
        """Admit nothing more, because of an error in pipeloom itself."""
        self.fault = error
        self._intake.close()
