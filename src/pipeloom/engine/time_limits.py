"""Gives up tasks that have exceeded their time limit, so that others get their place."""

from __future__ import annotations

import logging
from typing import Final

from pipeloom.data.stopwatch import monotonic
from pipeloom.engine.intake import Intake
from pipeloom.errors import TaskCancelledError
from pipeloom.executors import Executor
from pipeloom.ledger.attempt import Attempt
from pipeloom.ledger.board import Board
from pipeloom.statuses import RUNNING

__all__ = ["TimeLimits"]

logger = logging.getLogger("pipeloom")

_PATIENCE_S: Final = 0.1  # so that tasks which call ctx.check() end by themselves


class TimeLimits:
    """Looks for tasks past their deadline; in the run's thread.

    A call that cannot be ended continues beside the worker that takes its place. Once there are more such calls
    than
    workers, nothing more is admitted: they would fill the machine.

    Args:
        timeout_s: The time limit of one attempt, in seconds; ``None`` is no limit.
        executor: Ends, or abandons, calls that are given up.
        board: Shows which task runs in which place.
        intake: Where retries wait while their earlier calls continue.
    """

    def __init__(self, timeout_s: float | None, executor: Executor[Attempt], board: Board, intake: Intake) -> None:
        self._timeout_s = timeout_s
        self._executor = executor
        self._slots = board.slots
        self._intake = intake
        self._can_kill = "kill" in executor.can
        self._going_on: list[Attempt] = []

    def look(self, at_work: set[int]) -> list[Attempt]:
        """Give up overdue tasks.

        Args:
            at_work: The places that have a worker; a place that cannot be filled again is removed.

        Returns:
            Attempts that have ended, to be handed to the writer.
        """
        if self._timeout_s is None:
            return []
        ended = []
        now = monotonic()
        for place, attempt in enumerate(self._slots):
            if attempt is not None and self._is_overdue(attempt, now) and self._executor.give_up(place, attempt):
                attempt.given_up = not self._can_kill
                ended.append(attempt)
                self._slots[place] = None
                if not self._replace(place, attempt):
                    at_work.discard(place)
                    self._intake.close()
        ended.extend(self._intake.retries.overdue())
        return ended

    def give_up_all(self) -> list[Attempt]:
        """Give up all running tasks because the program has ended; their workers are abandoned.

        Returns:
            Attempts that have ended, to be handed to the writer.
        """
        ended = []
        for place, attempt in enumerate(self._slots):
            if attempt is not None and attempt.status == RUNNING:
                error = TaskCancelledError("the program ended before the task did")
                if self._executor.give_up(place, attempt, error):
                    ended.append(attempt)
                    self._slots[place] = None
        return ended

    def _is_overdue(self, attempt: Attempt, now: float) -> bool:
        return attempt.status == RUNNING and attempt.deadline is not None and now > attempt.deadline + _PATIENCE_S

    def _replace(self, place: int, attempt: Attempt) -> bool:
        """Put another worker in a place; returns false, and warns, if none can be started."""
        if not self._can_kill:
            self._going_on = [earlier for earlier in self._going_on if not earlier.returned]
            self._going_on.append(attempt)
            if len(self._going_on) > len(self._slots):
                self._warn_of_calls_that_go_on()
                return False
        if self._executor.replace(place):
            return True
        logger.warning("no worker could be started to replace one that is still in a call past its timeout")
        return False

    def _warn_of_calls_that_go_on(self) -> None:
        if not self._intake.closed:
            logger.warning(
                "%d calls are still running past timeout=%g s, more than there are workers: nothing more is "
                "admitted; threads cannot be killed, so give the function timeouts of its own and run it again",
                len(self._going_on),
                self._timeout_s,
            )
