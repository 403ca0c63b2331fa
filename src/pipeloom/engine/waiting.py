"""What the calling thread does while workers work: it waits for events, and looks around ten times a second.

::

    signals, workers that leave, failures that stop a run ── events ─▶ ┐
    requests to cancel, time limits, the run around this one,          ├─▶ Waiting ─▶ stop · give up · draw
    the end of the program, the writer's death ───────────── looks ──▶ ┘
"""

from __future__ import annotations

import queue
import sys
import threading
from collections.abc import Callable
from signal import SIGINT
from time import monotonic
from typing import Final, Literal

from pipeloom.data import stopwatch
from pipeloom.engine.intake import Intake
from pipeloom.engine.link import WriterLink
from pipeloom.engine.outbox import Outbox
from pipeloom.engine.signals import Signals
from pipeloom.engine.stopping import CancelFile, Stage
from pipeloom.engine.time_limits import TimeLimits
from pipeloom.executors import Executor
from pipeloom.ledger.attempt import Attempt
from pipeloom.show.streams import is_unread, release_stderr
from pipeloom.worker.current import present_link, running_task
from pipeloom.worker.link import Link
from pipeloom.writer import SQLiteWriter
from pipeloom.writer.ending import main_was_interrupted, program_has_ended

__all__ = ["Event", "Waiting"]

_TICK_S: Final = 0.1
_LEAVE_S: Final = 1.0  # how long workers get to notice that the writer died or the program ended

Event = tuple[Literal["signal", "left", "stop"], int]
"""An event that wakes the calling thread; for a worker that left, its place."""


class Waiting:
    """The wait for one run's workers, in its calling thread.

    Args:
        events: The events; a ``SimpleQueue``, because a signal handler puts into it.
        signals: The signals that have come.
        writer: May die.
        intake: Closed when nothing more is to start.
        link: Tells tasks to end.
        outbox: For attempts that are given up.
        cancel_file: Requests from other processes.
        executor: Knows what is running.
        time_limits: Gives up attempts, at their time limit or when the program ends.
        note: Shows one line.
        tick: Draws.

    Attributes:
        stage: How far the run is being stopped.
    """

    def __init__(
        self,
        events: queue.SimpleQueue[Event],
        signals: Signals,
        writer: SQLiteWriter,
        intake: Intake,
        link: WriterLink,
        outbox: Outbox,
        cancel_file: CancelFile,
        executor: Executor[Attempt],
        time_limits: TimeLimits,
        note: Callable[[str], None],
        tick: Callable[[], None],
    ) -> None:
        self.stage: Stage = 0
        self._events = events
        self._signals = signals
        self._writer = writer
        self._intake = intake
        self._link = link
        self._outbox = outbox
        self._cancel_file = cancel_file
        self._executor = executor
        self._time_limits = time_limits
        self._note = note
        self._tick = tick
        self._around: Link | None = present_link() if running_task() is not None else None
        self._leave_at: float | None = None
        # At exit, Python waits for other threads but not for daemons, however busy they are.
        self._may_be_left = threading.current_thread().daemon
        self.program_ended = False

    def for_workers(self, at_work: set[int]) -> None:
        """Wait until every worker has left; ``at_work`` is the result of ``Executor.start``."""
        while at_work:
            self._take_note(at_work)
            stopwatch.look()
            if is_unread(sys.__stderr__):
                release_stderr()  # before more tasks print to it
            self._look_around()
            self._executor.look()
            self._outbox.send(self._time_limits.look(at_work))
            if self._writer.has_died():
                self._intake.close()
                self._link.cancelling = True
                if self._is_time_to_leave():
                    return
            if self.program_ended and self._is_time_to_leave():
                self._link.cancelling = True
                self._outbox.send(self._time_limits.give_up_all())
                return
            self._tick()

    def _take_note(self, at_work: set[int]) -> None:
        """Wait a moment for something to happen."""
        try:
            event, place = self._events.get(timeout=_TICK_S)
        except queue.Empty:
            return
        if event == "left":
            at_work.discard(place)
        elif event == "signal":
            self._signals.look()
            if self._signals.count:
                self._stop(1 if self._signals.count == 1 else 2, "" if self._is_asked else "press Ctrl-C again")
        elif event == "stop":
            self._intake.close()

    def _look_around(self) -> None:
        """Check whether anyone who cannot send an event wants the run to stop."""
        if (stage := self._cancel_file.look()) != 0:
            self._stop(stage, "pipeloom cancel, or press Ctrl-C,")
        if self._around is not None and self._around.cancelling:
            self._stop(2, "")  # stopped by the outer run, whose task called this one
        if self._may_be_left and not self.program_ended and program_has_ended():
            self.program_ended = True
            self._intake.close()
        if not self._may_be_left and not self._signals.count and main_was_interrupted():
            self._signals.hear(SIGINT)  # in a thread that Python waits for, and no handler can reach

    def _is_time_to_leave(self) -> bool:
        if self._leave_at is None:
            self._leave_at = monotonic() + _LEAVE_S
        return monotonic() > self._leave_at

    def _stop(self, stage: Stage, how: str) -> None:
        """Admit nothing more; at the second stage, also ask running tasks to end."""
        self._intake.close()
        if stage <= self.stage:
            return
        self.stage = stage
        if stage == 1:
            self._note("stopping: running tasks finish" + (f"; {how} to cancel them" if how else ""))
        else:
            self._link.cancelling = True
            more = "" if self._is_asked else "; press Ctrl-C again to leave at once"
            self._note(f"cancelling: tasks that look at ctx end now{more}")

    @property
    def _is_asked(self) -> bool:
        """Whether the program stops its run itself, through the handle or by cancelling what awaits it."""
        return self._signals.count > 0 and self._signals.first is None
