"""The handle of a run in the background: any thread can read it, cancel it and wait for it.

::

    start ──▶ Going: a Run in a thread of its own ──▶ OutcomeLog ──▶ outcomes(), async for
                 ▲ cancel      │ its end ──▶ wait(), await, with
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from dataclasses import replace
from types import TracebackType
from typing import Any, Self

from pipeloom.data.rates import duration
from pipeloom.data.text import describe
from pipeloom.engine.arguments import checked_wait
from pipeloom.engine.going import Going, explained
from pipeloom.engine.job import Job
from pipeloom.report import RunCounts, RunReport, TaskOutcome
from pipeloom.show.figures import Figures
from pipeloom.show.html import Html
from pipeloom.show.notebook import Place, Seen, figures_seen, is_notebook, keep_shown, report_seen

__all__ = ["RunHandle", "handle_of"]

logger = logging.getLogger("pipeloom")


class RunHandle:
    """A run in progress, as returned by :func:`pipeloom.start`. Several threads may use it at once.

    As a context manager it waits for the run to end; if the block raises, the run is cancelled first. ``await run``
    behaves like :func:`pipeloom.amap`, ``async for`` iterates over :meth:`outcomes`, and ``async with`` works
    too. In a forked child, where the run does not exist, its methods raise ``RuntimeError``.
    """

    def __init__(self, going: Going) -> None:
        self._going = going
        self._figures: Figures | None = None

    def __repr__(self) -> str:
        return f"<run of {self.title}, {'over' if self.is_over else 'in progress'}: {self.counts}>"

    def __del__(self) -> None:
        # The outcome is kept outside this object: the traceback of an error would keep it alive for ever.
        error = self._going.error
        if error is not None and not self._going.is_told:
            logger.error("a run of %s failed, and its result was never read: %s", self.title, describe(error, 500))

    # --- state and control ---

    @property
    def title(self) -> str:
        """The name given with ``name=``, or the function's name."""
        return self._going.title

    @property
    def db(self) -> str:
        """The path of the database file."""
        return self._going.db

    @property
    def is_over(self) -> bool:
        """Whether the run has ended and its file is closed."""
        return self._going.is_over

    @property
    def counts(self) -> RunCounts:
        """The current counts; never blocks."""
        return self._going.run.counts()

    def cancel(self, *, drain: bool = False) -> None:
        """Start nothing more, and cancel the running tasks. Returns at once; completed work is kept.

        A running task ends when it calls ``ctx.check()``, when it awaits on an event loop, or at once in a worker
        process. Has no effect on a run that is over.

        Args:
            drain: Let running tasks finish instead of cancelling them.
        """
        self._going.cancel(drain=drain)

    def wait(self, timeout: float | None = None) -> RunReport:
        """Block until the run is over, and return its report.

        If the main thread waits, Ctrl-C and other signals act as they do in :func:`pipeloom.map`.

        Args:
            timeout: The longest time to wait, in seconds; ``None`` waits for ever.

        Returns:
            The report. A run that was cancelled by this handle has one too.

        Raises:
            TimeoutError: The run is still in progress.
            RuntimeError: Waiting here would block the event loop that the run needs: ``await`` the run instead.
            Exception: See :func:`pipeloom.map`.
        """
        timeout = checked_wait(timeout)
        self._going.refuse_on_its_loop("wait()", "await run")
        if not self._going.wait(timeout):
            raise TimeoutError(f"the run of {self.title} has not ended after {duration(timeout)}")
        return self._going.concluded()

    def outcomes(self) -> Outcomes:
        """Return an iterator over the tasks' outcomes, from the first, each as soon as it is committed.

        Every call starts again from the first outcome. Iteration blocks until the next outcome and ends with
        the run;
        ``async for`` does not block the event loop. The run never waits for a reader: a reader that is more
        than 16 MiB behind gets older outcomes from the file. Failed tasks are included, skipped inputs are not.

        Returns:
            An iterator of :class:`TaskOutcome`, for ``for`` and for ``async for``; use it in one thread at a
            time. If anything other than failed tasks ended the run, such as a full disk or Ctrl-C, it raises
            that error after the last outcome.
        """
        return Outcomes(self._going)

    # --- with, await, async for ---

    def __enter__(self) -> Self:
        try:
            self._going.refuse_on_its_loop("with", "async with")
        except RuntimeError:
            self.cancel()
            raise
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        if error is not None:
            self.cancel()
            self._going.wait(None)
            self._going.left_by(error)
        elif not self._going.is_told:
            self.wait()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, _kind: type[BaseException] | None, error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        if error is not None:
            self.cancel()
            await self._going.gone()
            self._going.left_by(error)
        elif not self._going.is_told:
            await self

    def __await__(self) -> Generator[Any, None, RunReport]:
        return self._going.awaited().__await__()

    def __aiter__(self) -> AsyncIterator[TaskOutcome]:
        return self.outcomes()

    # --- notebooks ---

    def _repr_html_(self) -> Html:
        """Return the run's progress as HTML, for a notebook."""
        return self._seen()[0]

    def _seen(self) -> Seen:
        report = self._going.report
        if report is not None:
            return report_seen(report, self.title)
        run = self._going.run
        if self._figures is None:
            self._figures = Figures(self.title, run.expected, run.began_at)
        if self._figures.run is None and run.has_begun:
            self._figures.begin(run.board)
        self._figures.over = self.is_over
        return figures_seen(self._figures)

    def _ipython_display_(self) -> None:
        """Show the run, and keep the display up to date until it is over; IPython calls this."""
        place = Place.here()
        if place is None:
            raise NotImplementedError  # IPython then shows the repr, as at any prompt
        self._going.run.place = place
        keep_shown(place, self._seen, self._going.over)


class Outcomes:
    """Iterates over the outcomes of a run; see :meth:`RunHandle.outcomes`."""

    def __init__(self, going: Going) -> None:
        self._going = going
        self._log = going.log
        self._read: list[TaskOutcome] = []  # the next one last
        self._place = 0

    def __iter__(self) -> Iterator[TaskOutcome]:
        return self

    def __next__(self) -> TaskOutcome:
        while not self._read:
            self._going.wait_beyond(self._place)
            self._take(*self._log.read(self._place))
            if not self._read and self._is_at_end():
                raise StopIteration
        return self._read.pop()

    def __aiter__(self) -> AsyncIterator[TaskOutcome]:
        return self

    async def __anext__(self) -> TaskOutcome:
        while not self._read:
            await self._going.more(self._place)
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
        self._going.raise_unless_about_tasks()
        return True


def handle_of(job_of: Callable[[], Job], *, shows_itself: bool) -> RunHandle:
    """Begin a run and return its handle; the run receives no signals until somebody waits for it.

    Args:
        job_of: Returns the job, or raises what is wrong with its arguments.
        shows_itself: Whether the user gets the handle, which then shows itself in a notebook instead of the run.
    """
    try:
        job = job_of()
    except StopIteration as error:
        raise explained(error) from error
    if shows_itself and job.progress is None and is_notebook():
        job = replace(job, progress=False)  # the handle shows itself
    going = Going(job)
    going.begin()
    return RunHandle(going)
