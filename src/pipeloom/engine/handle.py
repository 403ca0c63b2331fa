"""A run in somebody's hand: it goes on by itself, and is read, stopped and awaited from any thread.

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
    """A run that goes on, returned by :func:`pipeloom.start`; any thread may use it, and several at once.

    As a context manager it waits for the end of the run; a block that is left by an exception cancels it first.
    ``await run`` does what :func:`pipeloom.amap` does, ``async for`` takes what :meth:`outcomes` yields, and
    ``async with`` is there too. In a child that is forked, where no run goes on, it raises ``RuntimeError``.
    """

    def __init__(self, going: Going) -> None:
        self._going = going
        self._figures: Figures | None = None

    def __repr__(self) -> str:
        return f"<run of {self.title}, {'over' if self.is_over else 'going on'}: {self.counts}>"

    def __del__(self) -> None:
        # What came of the run is kept apart from this: the traceback of an error would hold it for ever.
        error = self._going.error
        if error is not None and not self._going.is_told:
            logger.error("a run of %s ended, and nobody asked how: %s", self.title, describe(error, 500))

    # --- what can be asked, and done ---

    @property
    def title(self) -> str:
        """What is run: the name given, or the function's."""
        return self._going.title

    @property
    def db(self) -> str:
        """The file."""
        return self._going.db

    @property
    def is_over(self) -> bool:
        """Whether the run has ended, and its file is closed."""
        return self._going.is_over

    @property
    def counts(self) -> RunCounts:
        """How far the run is, now; never blocks."""
        return self._going.run.counts()

    def cancel(self, *, drain: bool = False) -> None:
        """Begin nothing more, and cancel what runs; returns at once. What is done stays.

        Tasks end when they look at their context (``ctx.check()``), wait on an event loop, or run in a process. A
        run that is over takes no notice.

        Args:
            drain: Let what runs finish.
        """
        self._going.cancel(drain=drain)

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
        timeout = checked_wait(timeout)
        self._going.refuse_on_its_loop("wait()", "await run")
        if not self._going.wait(timeout):
            raise TimeoutError(f"the run of {self.title} goes on after {duration(timeout)}")
        return self._going.concluded()

    def outcomes(self) -> Outcomes:
        """Return what has ended, from the first on, as it is committed; ends with the run.

        Each call begins anew. Iterating blocks until there is more; ``async for`` does not block its loop. The run
        never waits for whoever reads: who is more than 16 MiB behind gets the rest from the file. Failed tasks are
        among them, inputs that were skipped are not.

        Returns:
            An iterator of :class:`TaskOutcome`, for ``for`` and for ``async for``; one thread at a time. When the
            run has ended by anything but failed tasks, such as a full disk or Ctrl-C, it raises that at its end.
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

    # --- for a notebook ---

    def _repr_html_(self) -> Html:
        """Return how far the run is, for a notebook."""
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
        """Show the run, and keep what is shown up to date until it is over; IPython calls this."""
        place = Place.here()
        if place is None:
            raise NotImplementedError  # IPython shows its repr, as at any prompt
        self._going.run.place = place
        keep_shown(place, self._seen, self._going.over)


class Outcomes:
    """Iterates the outcomes of a run; see :meth:`RunHandle.outcomes`."""

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
    """Begin a run, and return it; it hears no signal until somebody waits for it.

    Args:
        job_of: Returns what is to be done, or raises what is wrong with it.
        shows_itself: Whether somebody gets the handle, who may show it in a notebook, instead of the run.
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
