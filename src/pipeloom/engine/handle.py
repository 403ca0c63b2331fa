"""A run in somebody's hand: it goes on in a thread of its own, and is read, stopped and awaited from any other.

::

    start ──▶ Run, in the thread "pipeloom-run" ──▶ OutcomeLog ──▶ outcomes(), async for
                 ▲ cancel      │ its end ──▶ wait(), await
"""

from __future__ import annotations

import asyncio
import atexit
import logging
import threading
import weakref
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from contextvars import copy_context
from dataclasses import replace
from time import monotonic
from types import TracebackType
from typing import Any, Final, Self, TypeGuard

from pipeloom.data.text import describe
from pipeloom.db.connection import MEMORY
from pipeloom.engine.job import Job
from pipeloom.engine.outcomes import OutcomeLog
from pipeloom.engine.run import Run
from pipeloom.errors import RunInterruptedError, TasksFailedError
from pipeloom.report import RunCounts, RunReport, TaskOutcome
from pipeloom.show.html import Html, join, tag
from pipeloom.show.notebook import is_notebook, keep_shown
from pipeloom.statuses import CANCELLED

__all__ = ["RunHandle", "handle_of"]

logger = logging.getLogger("pipeloom")

_TICK_S: Final = 0.1


class RunHandle:
    """A run that goes on, returned by :func:`pipeloom.start`; any thread may use it, and several at once.

    As a context manager it waits for the end of the run; a block that is left by an exception cancels it first.
    ``await run`` does what :func:`pipeloom.amap` does, ``async for`` takes what :meth:`outcomes` yields, and
    ``async with`` is there too.
    """

    def __init__(self, job: Job) -> None:
        self._title, self._db = job.title, str(job.db)
        self._loop = job.loop if job.executor == "asyncio" else None
        self._log = OutcomeLog(None if self._db == MEMORY else job.db, has_items=job.key is None)
        self._run = Run(lambda: job, self._log)
        self._is_cancelled = False
        self._end = _End()
        self._is_told = False

    def __repr__(self) -> str:
        state = "over" if self.is_over else "going on"
        return f"<run of {describe(self.title, 80)}, {state}: {self.counts}>"

    def __del__(self) -> None:
        error = self._end.error
        if error is not None and not self._is_told:
            logger.error(
                "a run of %s ended, and nobody asked how: %s", describe(self.title, 80), describe(error, 500)
            )

    # --- what can be asked, and done ---

    @property
    def title(self) -> str:
        """What is run: the name given, or the function's."""
        return self._title

    @property
    def db(self) -> str:
        """The file."""
        return self._db

    @property
    def is_over(self) -> bool:
        """Whether the run has ended, and its file is closed."""
        return self._end.over.is_set()

    @property
    def counts(self) -> RunCounts:
        """How far the run is, now; never blocks."""
        return self._run.counts()

    def cancel(self, *, drain: bool = False) -> None:
        """Begin nothing more, and cancel what runs; returns at once. What is done stays.

        Tasks end when they look at their context (``ctx.check()``), wait on an event loop, or run in a process. A
        run that is over takes no notice.

        Args:
            drain: Let what runs finish.
        """
        self._is_cancelled = True
        self._run.signals.ask(1 if drain else 2)

    def wait(self, timeout: float | None = None) -> RunReport:
        """Block until the run is over.

        In the main thread, Ctrl-C and the like do meanwhile what they do in :func:`pipeloom.map`.

        Args:
            timeout: How long to wait, in seconds; ``None`` is for ever.

        Returns:
            What came of it; of one that was cancelled here, too.

        Raises:
            TimeoutError: It goes on.
            RuntimeError: The run needs the event loop that this would block: ``await`` it.
            Exception: See :func:`pipeloom.map`.
        """
        self._refuse_on_its_loop("wait()", "await run")
        if not self._wait(timeout):
            raise TimeoutError(f"the run of {describe(self.title, 80)} goes on after {timeout:g} s")
        return self._concluded()

    def outcomes(self) -> Outcomes:
        """Return what has ended, from the first on, as it is committed; ends with the run.

        Each call begins anew. Iterating blocks until there is more; ``async for`` does not block its loop. The run
        never waits for whoever reads: who is more than 16 MiB behind gets the rest from the file. Failed tasks are
        among them, inputs that were skipped are not.

        Returns:
            An iterator of :class:`TaskOutcome`, for ``for`` and for ``async for``; one thread at a time. When the
            run has ended by anything but failed tasks, such as a full disk or Ctrl-C, it raises that at its end.
        """
        return Outcomes(self)

    # --- with, await, async for ---

    def __enter__(self) -> Self:
        try:
            self._refuse_on_its_loop("with", "async with")
        except RuntimeError:
            self.cancel()
            raise
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        if error is not None:
            self.cancel()
            self._wait(None)
            self._left_by(error)
        elif not self._is_told:
            self.wait()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, _kind: type[BaseException] | None, error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        if error is not None:
            self.cancel()
            await self._ended()
            self._left_by(error)
        elif not self._is_told:
            await self

    def __await__(self) -> Generator[Any, None, RunReport]:
        return self._awaited().__await__()

    def __aiter__(self) -> AsyncIterator[TaskOutcome]:
        return self.outcomes()

    async def _awaited(self) -> RunReport:
        cancelled = await self._ended()
        if cancelled is not None and (self._end.error is None or _is_due_to_cancelling(self._end.error)):
            self._is_told = True
            raise cancelled
        return self._concluded()

    async def _ended(self) -> asyncio.CancelledError | None:
        """Wait for the end of the run, whatever happens; if this is cancelled, so is the run."""
        signals = self._run.signals
        signals.is_awaited = threading.current_thread() is threading.main_thread()
        cancelled: asyncio.CancelledError | None = None
        try:
            while not self.is_over:
                try:
                    await self._more(None)
                except asyncio.CancelledError as error:
                    cancelled = error
                    self._is_cancelled = True  # so whoever reads its outcomes beside the await is not surprised
                    signals.cancel()
                except BaseException:
                    signals.cancel()
                    raise  # this coroutine is closed, on a loop that is no more
        finally:
            signals.is_awaited = False
        return cancelled

    async def _more(self, place: int | None) -> None:
        """Wait until there is an outcome at a place, or will be none; ``None``: until the run is over."""
        loop, given = asyncio.get_running_loop(), asyncio.Event()

        def tell() -> None:
            try:
                loop.call_soon_threadsafe(given.set)
            except RuntimeError:
                pass  # the loop has been closed, and nobody waits

        self._log.when_beyond(place, tell)
        await given.wait()

    # --- for a notebook ---

    def _repr_html_(self) -> Html:
        """Return how far the run is, for a notebook."""
        counts = self.counts
        state = "over" if self.is_over else "going on"
        bar = tag("progress", value=counts.total, max=counts.expected) if counts.expected else None
        return tag("div", join(tag("b", self.title), f" ({state}): {counts} "), bar)

    def _ipython_display_(self) -> None:
        """Show the run, and keep what is shown up to date until it is over; IPython calls this."""
        keep_shown(self._repr_html_, self._end.over)

    def _begin(self) -> Self:
        # A daemon, as workers are: what was said is safe all the same, since the writer's thread is none.
        threading.Thread(
            target=copy_context().run,
            args=(_execute, self._run, self._end, self._log),
            name="pipeloom-run",
            daemon=True,
        ).start()
        _begun.add(self)
        return self

    # --- whoever waits ---

    def _refuse_on_its_loop(self, what: str, instead: str) -> None:
        if self._loop is not None and not self.is_over and asyncio._get_running_loop() is self._loop:  # noqa: SLF001 - get_running_loop() raises where there is none, as in most threads
            raise RuntimeError(f"{what} would block the event loop that the run's functions need: use {instead}")

    def _wait(self, timeout: float | None) -> bool:
        """Wait for the end of the run; false if it goes on after so many seconds."""
        until = None if timeout is None else monotonic() + timeout
        with self._run.signals.hearing() as look:
            while not self.is_over:
                left = _TICK_S if until is None else min(_TICK_S, until - monotonic())
                if left <= 0:
                    return False
                self._end.over.wait(left)
                look()
        return True

    def _wait_beyond(self, place: int) -> None:
        """Wait until there is an outcome at a place, or will be none."""
        self._refuse_on_its_loop("iterating", "async for")
        with self._run.signals.hearing() as look:
            while not self._log.has_beyond(place):
                self._log.wait_beyond(place, _TICK_S)
                look()

    def _concluded(self) -> RunReport:
        """Return what came of a run that is over, or raise it."""
        self._is_told = True
        error = self._end.error
        if error is not None:
            if self._is_cancelled and _is_due_to_cancelling(error):
                return error.report or self._nothing()
            raise error
        assert self._end.report is not None
        return self._end.report

    def _left_by(self, error: BaseException) -> None:
        """Note that a block was left by an exception: what it was told, or what it brought about, is no news."""
        own = self._end.error
        self._is_told |= own is error or isinstance(own, TasksFailedError | RunInterruptedError)

    def _raise_unless_about_tasks(self) -> None:
        """Raise what ended the run, if whoever has read all outcomes does not know it by them."""
        error = self._end.error
        if error is None or isinstance(error, TasksFailedError):
            return
        if not (self._is_cancelled and _is_due_to_cancelling(error)):
            self._is_told = True
            raise error

    def _nothing(self) -> RunReport:
        """Return the report on a run that was cancelled before it had begun."""
        return RunReport(None, CANCELLED, 0, 0, 0, 0, 0, 0, 0.0, (), None, self.db)


_begun: weakref.WeakSet[RunHandle] = weakref.WeakSet()


@atexit.register
def _tell_of_those_left() -> None:
    """Say so if the program ends before a run of its own has come to its first step; later, the run itself does."""
    for handle in list(_begun):
        if not (handle.is_over or handle._run.has_begun):  # noqa: SLF001 - of the class above
            logger.warning(
                "the program ended before its run of %s could begin: wait for it, by wait() or a with block",
                describe(handle.title, 80),
            )


class _End:
    """What has come of a run. Apart from the handle: the traceback of an error holds it, and all that it holds."""

    def __init__(self) -> None:
        self.over = threading.Event()
        self.report: RunReport | None = None
        self.error: BaseException | None = None


def _execute(run: Run, end: _End, log: OutcomeLog) -> None:
    """Execute a run, in its thread."""
    try:
        end.report = run.execute()
    except BaseException as error:  # noqa: BLE001 - raised where the run is waited for
        end.error = _explained(error)
    end.over.set()
    log.end()


def _explained(error: BaseException) -> BaseException:
    """Return what is raised for an error of a run: itself, unless no coroutine and no iterator can raise it."""
    if not isinstance(error, StopIteration):
        return error
    instead = RuntimeError("the inputs raised StopIteration where they should end")
    instead.__cause__ = error
    return instead


class Outcomes:
    """Iterates the outcomes of a run; see :meth:`RunHandle.outcomes`."""

    def __init__(self, handle: RunHandle) -> None:
        self._handle = handle
        self._log = handle._log  # noqa: SLF001 - of the class above, whose other half this is
        self._read: list[TaskOutcome] = []  # the next one last
        self._place = 0

    def __iter__(self) -> Iterator[TaskOutcome]:
        return self

    def __next__(self) -> TaskOutcome:
        while not self._read:
            self._handle._wait_beyond(self._place)  # noqa: SLF001 - as above
            self._take(*self._log.read(self._place))
            if not self._read and self._is_at_end():
                raise StopIteration
        return self._read.pop()

    def __aiter__(self) -> AsyncIterator[TaskOutcome]:
        return self

    async def __anext__(self) -> TaskOutcome:
        while not self._read:
            await self._handle._more(self._place)  # noqa: SLF001 - as above
            if self._log.is_at_hand(self._place):
                self._take(*self._log.read(self._place))
            else:
                self._take(*await asyncio.to_thread(self._log.read, self._place))
            if not self._read and self._is_at_end():
                raise StopAsyncIteration
        return self._read.pop()

    def _take(self, found: list[TaskOutcome], place: int) -> None:
        self._read = found[::-1]
        self._place = place

    def _is_at_end(self) -> bool:
        if not self._log.is_at_end(self._place):
            return False
        self._handle._raise_unless_about_tasks()  # noqa: SLF001 - as above
        return True


def handle_of(job_of: Callable[[], Job]) -> RunHandle:
    """Begin a run, and return it; it hears no signal until somebody waits for it.

    Args:
        job_of: Returns what is to be done, or raises what is wrong with it.
    """
    try:
        job = job_of()
    except StopIteration as error:
        raise _explained(error) from error
    if job.progress is None and is_notebook():
        job = replace(job, progress=False)  # the handle shows itself
    return RunHandle(job)._begin()  # noqa: SLF001 - of the class above, and for nobody else to call


def _is_due_to_cancelling(error: BaseException) -> TypeGuard[RunInterruptedError]:
    """Say whether a run ended because its caller, rather than a signal, wanted that."""
    return isinstance(error, RunInterruptedError) and error.signal is None
