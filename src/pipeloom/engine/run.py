"""The life of one run, in the calling thread.

::

    open: writer, which claims the file ▸ schema ▸ run row ▸ screen
    drive: inputs ─▶ intake ─▶ dispatcher ─▶ executor ─▶ channel ─▶ writer
           meanwhile: what ``engine/waiting`` looks at
    settle: what ran has ended, or is cancelled; everything said is committed
    close: run row ▸ SENTINEL ▸ last commit, statistics, checkpoint ▸ join ▸ screen ▸ report

The calling thread opens, waits, draws the screen and closes; it runs no task and no SQL.
"""

from __future__ import annotations

import logging
import queue
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from signal import SIGINT
from threading import Event as Never
from threading import current_thread
from typing import TYPE_CHECKING, Any, Final

from pipeloom.data import stopwatch, uncaught
from pipeloom.data.text import describe
from pipeloom.db import cancel
from pipeloom.db.connection import MEMORY
from pipeloom.engine import arguments
from pipeloom.engine.assembly import brief_of, intake_of
from pipeloom.engine.dispatcher import Dispatcher
from pipeloom.engine.identity import identify_found
from pipeloom.engine.job import Job
from pipeloom.engine.link import WriterLink
from pipeloom.engine.outbox import Outbox
from pipeloom.engine.report import note_of_inputs, report_of
from pipeloom.engine.signals import Signals
from pipeloom.engine.stopping import (
    CancelFile,
    interrupted_at_the_end,
    interrupted_early,
    interrupted_midway,
    left_at_once,
)
from pipeloom.engine.time_limits import TimeLimits
from pipeloom.engine.waiting import Event, Waiting
from pipeloom.errors import LedgerError, RunInterruptedError, WriterBrokenError
from pipeloom.executors import Executor, executor_of
from pipeloom.ledger import Attempt, RunSpec
from pipeloom.ledger.board import Board
from pipeloom.report import RunCounts, RunReport
from pipeloom.show.notebook import Place, report_seen
from pipeloom.show.streams import release_stderr
from pipeloom.statuses import CANCELLED, DONE, ERROR, INTERRUPTED, RUNNING, TIMED_OUT, RunEnd
from pipeloom.worker.logs import keeping_logs
from pipeloom.writer import Channel, SQLiteWriter
from pipeloom.writer.ending import program_has_ended

if TYPE_CHECKING:
    from pipeloom.engine.outcomes import OutcomeLog
    from pipeloom.show.screen import Screen

__all__ = ["Run"]

logger = logging.getLogger("pipeloom")

_TICK_S: Final = 0.1
_CAPACITY: Final = 4096  # so that workers go on while a batch is gathered
_LEAVE_S: Final = 1.0  # how long workers get to leave, and a call that was given up on to return
_TAKEN_APART_S: Final = 5.0


class Run:
    """The life of one job, in the calling thread.

    Args:
        job_of: Returns what is to be done, or raises what is wrong with it.
        outcomes: Where the ends of tasks are kept, for somebody who wants them as they come.
    """

    def __init__(self, job_of: Callable[[], Job], outcomes: OutcomeLog | None = None) -> None:
        self._job_of = job_of
        self.outcomes = outcomes
        # SimpleQueue, since a signal handler puts into it: its put takes no lock that the main thread may hold.
        self.events: queue.SimpleQueue[Event] = queue.SimpleQueue()
        self.signals = Signals(self._heard)
        self.waiting: Waiting | None = None  # from when workers may be at work
        self.place: Place | None = None  # in a notebook, where it is shown
        self.began_at: float | None = None  # by the stopwatch; from the first call on, an interrupt is the run's
        self.expected: int | None = None
        self._began = False  # its row is in the ledger
        self._report: RunReport | None = None

    def execute(self) -> RunReport:
        """Open, drive, settle, close; raise or return what came of it."""
        try:
            with self.signals:
                release_stderr()
                try:
                    self._report = self._reported()
                finally:
                    release_stderr()  # its reader may have left meanwhile
            return self._conclude(self._report)
        except BaseException as error:  # noqa: BLE001 - raised, or told as what brought it about
            instead = self._instead_of(error)
            try:
                if instead is error:
                    raise
                raise instead from error
            finally:
                del instead  # its traceback holds this frame

    @property
    def has_begun(self) -> bool:
        """Whether its row is in the ledger."""
        return self._began

    def counts(self) -> RunCounts:
        """Return how far it is; any thread, at any time."""
        board: Board = getattr(self, "board", None) or Board(0)
        counts = board.counts
        expected = self.expected
        return RunCounts(
            done=counts[DONE],
            failed=counts[ERROR],
            cancelled=counts[CANCELLED],
            timed_out=counts[TIMED_OUT],
            skipped=board.skipped,
            running=sum(attempt is not None and attempt.status == RUNNING for attempt in board.slots),
            waiting=len(board.waiting) + board.held_up()[0],
            expected=None if expected is None else expected + board.beside,
        )

    def _reported(self) -> RunReport:
        stopwatch.look()
        self.began_at = began = stopwatch.monotonic()
        self.job = job = self._job_of()
        del self._job_of  # it holds the inputs, too
        # How many of all inputs are the shard's is not known before all are read.
        self.most = arguments.length_of(job.items)
        self.expected = self.most if job.shard is None else None
        with ExitStack() as stack:
            self._open(stack)
            self._drive()
            self._settle()
            status = self._status()
            elapsed_s = stopwatch.monotonic() - began
            self._close(status, elapsed_s)
            self.board.end = status
        self.job = replace(job, items=())  # this is garbage that waits to be collected; the inputs may be large
        report = report_of(self.run, status, elapsed_s, str(job.db), self.place)
        self._show_report(report)
        return report

    def _show_report(self, report: RunReport) -> None:
        """Show what came of it where the run was shown, in a notebook."""
        if self.place is None:
            return
        try:
            self.place.show(report_seen(report, self.job.title))
        except Exception as error:  # noqa: BLE001 - no fault of a display may end a run
            logger.warning("the notebook does not show the report: %s", describe(error))

    def _heard(self) -> None:
        """Begin nothing more, and wake; in a signal handler, so without a lock.

        A typed Ctrl-C ends the subprocesses of tasks as well: their workers look for the next input at once.
        """
        if self.signals.count and hasattr(self, "intake"):  # not for Ctrl-Z
            self.intake.shut()
        self.events.put(("signal", 0))

    def _instead_of(self, error: BaseException) -> BaseException:
        """Return what to raise rather than an error that an interrupt brought about; nobody else decides that."""
        interruption = self._interruption(error)
        if self.signals.raised is not None:  # by a handler of the user's, and now the run has stopped
            return self.signals.raised
        if interruption is None:
            return error
        uncaught.prepare(interruption)
        return interruption

    def _interruption(self, error: BaseException) -> RunInterruptedError | None:
        """Say what an error means if an interrupt brought it about.

        Until the run's row is in the ledger, the first signal ends everything: whatever fails then, such as the
        wait for another program's lock, fails because of it. Outside of our handlers Python raises by itself.
        """
        if isinstance(error, RunInterruptedError):
            return error
        signal = self.signals.first if self.signals.count else SIGINT  # none, when the caller cancels the run
        if not self._began and (isinstance(error, KeyboardInterrupt) or self.signals.count):
            return interrupted_early(self.job.db if hasattr(self, "job") else None, signal)
        if isinstance(error, KeyboardInterrupt):
            if self._report is not None:
                return interrupted_at_the_end(self._report, signal)
            return left_at_once(self.job.db, signal)
        return None

    # --- open ---

    def _open(self, stack: ExitStack) -> None:
        job = self.job
        stack.callback(self._clear_request)
        self.executor: Executor[Attempt] = executor_of(
            job.executor,
            # There may be more inputs than are passed, if tasks may add some.
            job.workers
            if job.workers is None or self.most is None or job.adds_none is None
            else max(1, min(job.workers, self.most)),
            at_first=self.most,
            function=job.function,
            retry=job.retry,
            kinds=job.handlers.keys(),
            keeps_logs=job.store_task_status,
            local=job.local,
            memory_mb=job.memory_mb,
            tasks_per_worker=job.tasks_per_worker,
            loop=job.loop,
        )
        stack.callback(self.executor.close)
        self.executor.prepare()
        self.workers = job.workers or self.executor.workers
        self._open_writer(stack)
        self._open_run()
        if job.store_task_status:
            stack.enter_context(keeping_logs())
        self.screen = self._open_screen()
        if self.screen is not None:
            self.signals.region = self._region
            stack.callback(self._draw, lambda screen: screen.stop())
            self._draw(lambda screen: screen.start(self.board))

    def _open_writer(self, stack: ExitStack) -> None:
        job = self.job
        self.channel: Channel[object] = Channel(_CAPACITY)
        self.writer = SQLiteWriter(
            job.db,
            self.channel,
            wal=job.wal,
            store_task_status=job.store_task_status,
            durability=job.durability,
            handlers=job.handlers,
            claims=True,
            observer=self._on_commit,
        )
        self.outbox = Outbox(self.channel, self.writer, self._look)
        stack.push(self.outbox.leave)
        self.writer.start(self._gives_up)
        if str(job.db) != MEMORY:
            cancel.clear(job.db)  # meant for a run that has ended

    def _open_run(self) -> None:
        """Put the run's row into the ledger: from here on there is something to close."""
        job = self.job
        spec = RunSpec(
            naming=job.naming,
            resume=job.resume,
            workers=self.workers,
            executor=self.executor.name,
            expected=self.expected,
            shard=job.shard,
            owned=job.owned,
            versioned=job.version is not None,
        )
        self.run = self.writer.transact(
            lambda ledger: ledger.open_run(spec, job.tables, alter=job.alter), self._gives_up
        )
        self.writer.impatient = False  # what has begun waits for its end to be stored
        self.board = self.run.board
        self.board.keeps_items = self.outcomes is not None
        self._began = True

    def _gives_up(self) -> bool:
        """While the file is being opened, which another program's lock may hold up, the first signal ends that."""
        self._look()
        self.writer.impatient = self.signals.count > 0 or (current_thread().daemon and program_has_ended())
        return self.writer.impatient

    def _open_screen(self) -> Screen | None:
        if self.job.progress is False:
            return None
        try:
            from pipeloom.rlog import console
            from pipeloom.show.screen import screen_for

            self._region: Any = getattr(console, "region", None)  # none on one of the user's
            self.place = Place.here()
            return screen_for(self.job.title, self.expected, console, self.place)
        except Exception as error:  # noqa: BLE001 - such as no file descriptor left to import it with
            logger.warning("there is no screen, the run goes on: %s", describe(error))
            return None

    def _draw(self, how: Callable[[Screen], None]) -> None:
        """Do something on the screen, if there is one: a terminal may take nothing for long."""
        if self.screen is not None:
            with self.signals.leaving():
                how(self.screen)

    # --- drive ---

    def _drive(self) -> None:
        """Bring inputs and workers together, and wait until all is done that is going to be."""
        job, run = self.job, self.run
        self.intake = intake_of(job, run, self.writer, self.workers)
        self.board.waiting = self.intake.retries
        self.board.held_up = self.intake.held_up
        self.board.is_stopping = lambda: self.intake.closed
        identify = identify_found(job.key) if job.adds_none is None else None
        brief = brief_of(job, run.run_id, self.executor)
        self.link = WriterLink(brief, self.channel, self.writer, self.intake, identify)
        self.dispatcher = Dispatcher(
            self.intake, self.link, self.board, self.channel, lambda place: self.events.put(("left", place))
        )
        self.waiting = Waiting(
            self.events,
            self.signals,
            self.writer,
            self.intake,
            self.link,
            self.outbox,
            CancelFile(job.db, run.run_id),
            self.executor,
            TimeLimits(job.timeout_s, self.executor, self.board, self.intake),
            note=lambda text: self._draw(lambda screen: screen.note(text)),
            tick=lambda: self._draw(lambda screen: screen.tick()),
        )
        if self.signals.count > 0:
            return  # it came while the file was being opened
        try:
            self.intake.start()
            self.waiting.for_workers(self.executor.start(self.dispatcher))
        finally:
            self.intake.close()
        if not self.waiting.program_ended:
            self.executor.join(_LEAVE_S)
            self.intake.join(self._look)

    def _look(self) -> None:
        """While this thread waits for the writer: is it still worth it?"""
        stopwatch.look()
        self.signals.look()
        self.writer.has_died()  # if so, whoever waits is told, this thread too

    def _on_commit(self, finished: Sequence[Attempt]) -> None:
        """Take note of what ended; the writer's thread, after a commit."""
        try:
            if self.outcomes is not None:
                self.outcomes.add(finished)
            self.intake.retries.settle(finished)
        except BaseException as error:  # noqa: BLE001 - our own fault: workers would wait for ever for what is lost here
            self.dispatcher.fail(error)
        if self.job.on_error == "stop" and (self.board.counts[ERROR] or self.board.counts[TIMED_OUT]):
            self.events.put(("stop", 0))

    # --- settle ---

    def _settle(self) -> None:
        """Wait until what the workers said is committed: the outcome is what the writer says it is."""
        self.outbox.settle()
        if left := self.intake.take_all():
            self.outbox.settle(left)  # the run ends before their turn

    def _status(self) -> RunEnd:
        stage = self.waiting.stage if self.waiting is not None else 0
        if stage or self.signals.count or self._is_left_by_the_program:
            return CANCELLED if stage == 2 else INTERRUPTED
        counts = self.board.counts
        bad = counts[ERROR] or counts[TIMED_OUT] or counts[CANCELLED]
        return ERROR if bad or self.intake.error or self.dispatcher.fault else DONE

    @property
    def _is_left_by_the_program(self) -> bool:
        return self.waiting is not None and self.waiting.program_ended

    # --- close ---

    def _close(self, status: RunEnd, elapsed_s: float) -> None:
        if not self.writer.has_died():
            try:
                self.writer.transact(lambda _: self.run.close(status, elapsed_s), self._look)
            except WriterBrokenError:
                pass  # the outbox raises the cause
        if self._is_left_by_the_program:
            logger.warning(
                "the program ended, and this run with it; what is done is stored: run it again to do the rest"
            )
        self.outbox.close()

    def _clear_request(self) -> None:
        """Remove a request that came too late for this run, and no other: the file may be another run's by now."""
        if self._began and str(self.job.db) != MEMORY:
            request = cancel.requested(self.job.db)
            if request is not None and request[0] == self.run.run_id:
                cancel.clear(self.job.db)

    def _conclude(self, report: RunReport) -> RunReport:
        """Raise what the caller must hear of, else return the report."""
        if report.status in (INTERRUPTED, CANCELLED):
            if self._is_left_by_the_program:
                Never().wait(
                    _TAKEN_APART_S
                )  # the interpreter is being taken apart, and with it whom this would reach
            raise interrupted_midway(report, self.signals.first)
        if self.signals.count:
            raise interrupted_at_the_end(report, self.signals.first)
        fault = self.dispatcher.fault
        if isinstance(fault, MemoryError):
            raise MemoryError(
                "no memory is left for the workers: use fewer, or smaller inputs, and run again"
            ) from fault
        if isinstance(fault, LedgerError):
            raise fault.with_traceback(None)  # it is about the caller's arguments
        if fault is not None:
            raise fault
        if self.intake.error is not None:
            note_of_inputs(self.intake.error, report)
            raise self.intake.error
        if self.job.on_error != "collect" and (self.job.keeps_results or report.has_exceptions):
            report.raise_for_failures()
        return report
