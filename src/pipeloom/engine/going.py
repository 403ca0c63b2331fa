"""A run in a thread of its own, and everyone who waits for it, in a thread or on an event loop."""

from __future__ import annotations

import asyncio
import atexit
import logging
import os
import threading
import weakref
from contextvars import copy_context
from time import monotonic
from typing import Final, TypeGuard

from pipeloom.data.text import describe
from pipeloom.db.connection import MEMORY
from pipeloom.engine.job import Job
from pipeloom.engine.outcomes import OutcomeLog
from pipeloom.engine.run import Run
from pipeloom.errors import RunInterruptedError, TasksFailedError
from pipeloom.report import RunReport
from pipeloom.statuses import CANCELLED

__all__ = ["Going", "explained"]

logger = logging.getLogger("pipeloom")

_TICK_S: Final = 0.1


class Going:
    """One run, in the thread ``pipeloom-run``; used from any thread.

    Args:
        job: What to do.

    Attributes:
        title: The run's name, for people.
        log: The tasks that have ended.
        is_over: Whether the run has ended and its file is closed.
        error: What the run raised, once it is over.
        is_told: Whether somebody has received the result or the error.
    """

    def __init__(self, job: Job) -> None:
        self.title = describe(job.title, 80)
        self.db = str(job.db)
        self.log = OutcomeLog(None if self.db == MEMORY else job.db, has_items=job.key is None)
        self.run = Run(lambda: job, self.log)
        self.error: BaseException | None = None
        self.is_told = False
        self.is_orphan = False  # a copy in a forked child
        self.over = threading.Event()
        self._report: RunReport | None = None
        self._is_cancelled = False
        self._loop = job.loop if job.executor == "asyncio" else None
        self._guard: asyncio.Task[object] | None = None

    def begin(self) -> None:
        """Start the run, and return at once."""
        if self._loop is not None:
            # Not through the loop, whose task factory may be eager and would start it here.
            self._guard = asyncio.Task(self.until_over(), loop=self._loop, name="pipeloom-guard")
        # A daemon, as workers are. Messages are safe all the same: the writer's thread is not a daemon.
        threading.Thread(target=copy_context().run, args=(self._execute,), name="pipeloom-run", daemon=True).start()
        _going.add(self)

    def _execute(self) -> None:
        try:
            self._report = self.run.execute()
        except BaseException as error:  # noqa: BLE001 - raised to whoever waits for the run
            self.error = explained(error)
        self.over.set()
        self.log.end()

    @property
    def report(self) -> RunReport | None:
        """The run's report, once it is known, even if the run raises it with an error."""
        return self._report or getattr(self.error, "report", None)

    @property
    def is_over(self) -> bool:
        """Whether the run has ended and its file is closed."""
        return self.over.is_set()

    def cancel(self, *, drain: bool) -> None:
        """Start nothing more, and cancel running tasks unless they may finish; does not wait."""
        self._refuse_in_a_child()
        self._is_cancelled = True
        self.run.signals.ask(1 if drain else 2)

    # --- waiting ---

    def wait(self, timeout: float | None) -> bool:
        """Wait for the end; return false if the run has not ended after this many seconds."""
        self._refuse_in_a_child()
        until = None if timeout is None else monotonic() + timeout
        with self.run.signals.hearing() as look:
            while not self.is_over:
                left = _TICK_S if until is None else min(_TICK_S, until - monotonic())
                if left <= 0:
                    return False
                self.over.wait(left)
                look()
        return True

    def wait_beyond(self, place: int) -> None:
        """Wait until there is an outcome at a place, or certainly none will come."""
        if self.log.has_beyond(place):
            return
        self._refuse_in_a_child()
        self.refuse_on_its_loop("a plain for", "async for")
        with self.run.signals.hearing() as look:
            while not self.log.has_beyond(place):
                self.log.wait_beyond(place, _TICK_S)
                look()

    async def until_over(self) -> asyncio.CancelledError | None:
        """Wait for the end, whatever happens; if this is cancelled, cancel the run and return the error."""
        cancelled: asyncio.CancelledError | None = None
        while not self.is_over:
            try:
                await self.more(None)
            except asyncio.CancelledError as error:
                cancelled = error
                self._called_off()
            except BaseException:
                self._called_off()
                raise  # this coroutine is being closed, after its loop has gone
        return cancelled

    async def gone(self) -> asyncio.CancelledError | None:
        """Do what ``until_over`` does, and leave nothing of the run on its loop."""
        cancelled = await self.until_over()
        if self._guard is not None and asyncio.get_running_loop() is self._loop:
            await asyncio.wait([self._guard])
        return cancelled

    def _called_off(self) -> None:
        """Cancel the run along with its awaiter, unless a signal has come, which then decides how far to stop."""
        self._is_cancelled = True
        self.run.signals.cancel()

    async def awaited(self) -> RunReport:
        """Implement ``await``: wait for the end, and return or raise the outcome of the run."""
        signals = self.run.signals
        signals.is_awaited = threading.current_thread() is threading.main_thread()
        try:
            cancelled = await self.gone()
        finally:
            signals.is_awaited = False
        if cancelled is not None and (self.error is None or _is_due_to_cancelling(self.error)):
            self.is_told = True
            raise cancelled
        return self.concluded()

    async def more(self, place: int | None) -> None:
        """Wait until there is an outcome at a place, or will be none; ``None``: until it is over."""
        if self.log.has_beyond(place):
            return
        self._refuse_in_a_child()
        loop, given = asyncio.get_running_loop(), asyncio.Event()

        def tell() -> None:
            try:
                loop.call_soon_threadsafe(given.set)
            except RuntimeError:
                pass  # the loop has been closed, so nobody waits

        self.log.when_beyond(place, tell)
        await given.wait()

    def refuse_on_its_loop(self, what: str, instead: str) -> None:
        """Refuse to block the event loop that the run's functions need: the run would never end.

        Raises:
            RuntimeError: The call would block that loop.
        """
        if self._loop is not None and not self.is_over and asyncio._get_running_loop() is self._loop:  # noqa: SLF001 - get_running_loop() raises if there is none, as in most threads
            raise RuntimeError(f"{what} would block the event loop that the run's functions need: use {instead}")

    def _refuse_in_a_child(self) -> None:
        if self.is_orphan:
            raise RuntimeError("a forked child has no run: use the handle in the process that started it")

    # --- the outcome ---

    def concluded(self) -> RunReport:
        """Return the report of a run that is over, or raise its error."""
        self.is_told = True
        error = self.error
        if error is not None:
            if self._is_cancelled and _is_due_to_cancelling(error):
                return error.report or RunReport(None, CANCELLED, 0, 0, 0, 0, 0, 0, 0.0, (), None, self.db)
            raise error
        assert self._report is not None
        return self._report

    def raise_unless_about_tasks(self) -> None:
        """Raise the error that ended the run, unless the outcomes have already told the reader about it."""
        error = self.error
        if error is None or isinstance(error, TasksFailedError):
            return
        if not (self._is_cancelled and _is_due_to_cancelling(error)):
            self.is_told = True
            raise error

    def left_by(self, error: BaseException) -> None:
        """Note that an exception left the block: if it is the run's error or its cause, the user knows about it."""
        self.is_told |= self.error is error or isinstance(self.error, TasksFailedError | RunInterruptedError)


def explained(error: BaseException) -> BaseException:
    """Return what to raise for an error of a run: itself, unless coroutines and iterators cannot raise it."""
    if not isinstance(error, StopIteration):
        return error
    instead = RuntimeError("the inputs raised StopIteration: return from the generator instead")
    instead.__cause__ = error
    return instead


def _is_due_to_cancelling(error: BaseException) -> TypeGuard[RunInterruptedError]:
    """Return whether a run ended because its caller, rather than a signal, cancelled it."""
    return isinstance(error, RunInterruptedError) and error.signal is None


_going: weakref.WeakSet[Going] = weakref.WeakSet()


@atexit.register
def _tell_of_those_left() -> None:
    """Warn if the program ends before a run has taken its first step; later, the run itself warns."""
    for going in list(_going):
        if not (going.is_over or going.is_orphan or going.run.has_begun):
            logger.warning(
                "the program ended before its run of %s could begin: wait for it with wait() or a with block",
                going.title,
            )


def _orphan_all() -> None:
    for going in list(_going):
        going.is_orphan = not going.is_over


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_orphan_all)
