"""Tasks whose time is over: given up, so that others get their place."""

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

_PATIENCE_S: Final = 0.1  # so that tasks which look at ctx end by themselves when their time is over


class TimeLimits:
    """Looks for tasks past their deadline; in the run's thread.

    Where a call cannot be ended it goes on, beside the worker that takes its place. When more calls go on than
    there are workers, nothing more is admitted: the machine would fill with them.

    Args:
        timeout_s: How long a try may take, in seconds; ``None`` is for ever.
        executor: Ends, or leaves alone, what is given up.
        board: Which task runs in which place.
        intake: Where tries wait whose calls go on.
    """

    def __init__(self, timeout_s: float | None, executor: Executor[Attempt], board: Board, intake: Intake) -> None:
        self._timeout_s = timeout_s
        self._executor = executor
        self._slots = board.slots
        self._intake = intake
        self._can_kill = "kill" in executor.can
        self._going_on: list[Attempt] = []

    def look(self, at_work: set[int]) -> list[Attempt]:
        """Give up what is overdue.

        Args:
            at_work: The places that have a worker; one that cannot be filled again is taken out.

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
        """Give up whatever runs, since the program has ended; their workers are left to themselves.

        Returns:
            Attempts that have ended, to be handed to the writer.
        """
        ended = []
        for place, attempt in enumerate(self._slots):
            if attempt is not None and attempt.status == RUNNING:
                error = TaskCancelledError("the program ended before it did")
                if self._executor.give_up(place, attempt, error):
                    ended.append(attempt)
                    self._slots[place] = None
        return ended

    def _is_overdue(self, attempt: Attempt, now: float) -> bool:
        return attempt.status == RUNNING and attempt.deadline is not None and now > attempt.deadline + _PATIENCE_S

    def _replace(self, place: int, attempt: Attempt) -> bool:
        """Put another worker in a place; false, with a warning, when there can be none."""
        if not self._can_kill:
            self._going_on = [earlier for earlier in self._going_on if not earlier.returned]
            self._going_on.append(attempt)
            if len(self._going_on) > len(self._slots):
                self._warn_of_calls_that_go_on()
                return False
        if self._executor.replace(place):
            return True
        logger.warning("no other worker could be started in the place of one whose call goes on")
        return False

    def _warn_of_calls_that_go_on(self) -> None:
        if not self._intake.closed:
            logger.warning(
                "%d calls go on past timeout=%g s, more than there are workers: nothing more is admitted; "
                "give the function time limits of its own, since a thread cannot be ended, and run it again",
                len(self._going_on),
                self._timeout_s,
            )
