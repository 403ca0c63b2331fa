"""The life of one run, in the calling thread.

::

    open: writer, which claims the file ▸ schema ▸ run row ▸ screen
    drive: inputs ─▶ intake ─▶ dispatcher ─▶ executor ─▶ channel ─▶ writer
           meanwhile: the checks of ``engine/waiting``
    settle: running tasks have ended or are cancelled; everything sent is committed
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
_CAPACITY: Final = 4096  # so that workers stay busy while the writer gathers a batch
_LEAVE_S: Final = 1.0  # how long workers get to leave, and abandoned calls to return
_TAKEN_APART_S: Final = 5.0


class Run:
    """The life of one job, in the calling thread.

    Args:
        job_of: Returns the job, or raises what is wrong with its arguments.
        outcomes: Collects the outcomes of tasks as they are committed; ``None`` if nobody wants them.
    """

    def __init__(self, job_of: Callable[[], Job], outcomes: OutcomeLog | None = None) -> None:
        self._job_of = job_of
        self.outcomes = outcomes
        # A SimpleQueue, because a signal handler puts into it: its put takes no lock that the main thread may hold.
        self.events: queue.SimpleQueue[Event] = queue.SimpleQueue()
        self.signals = Signals(self._heard)
        self.waiting: Waiting | None = None  # set before workers start
        self.place: Place | None = None  # in a notebook, where it is shown
        self.began_at: float | None = None  # by the stopwatch; an interrupt from here on belongs to the run
        self.expected: int | None = None
        self._began = False  # its row is in the ledger
        self._report: RunReport | None = None

    def execute(self) -> RunReport:
        """Open, drive, settle, close; return the report or raise the run's error."""
        try:
            with self.signals:
                release_stderr()
                try:
                    self._report = self._reported()
                finally:
                    release_stderr()  # its reader may have closed it meanwhile
            return self._conclude(self._report)
        except BaseException as error:  # noqa: BLE001 - raised, or replaced by its cause
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
        """Return the current counts; any thread, at any time."""
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
        # How many inputs belong to the shard is only known once all are read.
        self.most = arguments.length_of(job.items)
        self.expected = self.most if job.shard is None else None
        with ExitStack() as stack:
            self._open(stack)
            try:
                self._drive()
                self._settle()
                status = self._status()
                elapsed_s = stopwatch.monotonic() - began
                self._close(status, elapsed_s)
            except KeyboardInterrupt:
                self.board.was_left = True
                raise
            self.board.end, self.board.took_s = status, elapsed_s
        self.job = replace(job, items=())  # do not keep the inputs alive: they may be large
        report = report_of(self.run, status, elapsed_s, str(job.db), self.place)
        self._show_report(report)
        return report

    def _show_report(self, report: RunReport) -> None:
        """Show the report where the run was shown, in a notebook."""
        if self.place is None:
            return
        try:
            self.place.show(report_seen(report, self.job.title))
        except Exception as error:  # noqa: BLE001 - an error of the display must not end a run
            logger.warning("the notebook cannot show the report: %s", describe(error))

    def _heard(self) -> None:
        """Start nothing more, and wake the run; called in a signal handler, so it takes no lock.

        A typed Ctrl-C also ends the subprocesses of tasks, so their workers ask for the next input at once.
        """
        if self.signals.count and hasattr(self, "intake"):  # not for Ctrl-Z
            self.intake.shut()
        self.events.put(("signal", 0))

    def _instead_of(self, error: BaseException) -> BaseException:
        """Return what to raise for an error that an interrupt may have caused; this is only decided here."""
        interruption = self._interruption(error)
        if self.signals.raised is not None:  # by a handler of the user's; the run has stopped now
            return self.signals.raised
        if interruption is None:
            return error
        uncaught.prepare(interruption)
        return interruption

    def _interruption(self, error: BaseException) -> RunInterruptedError | None:
        """Return the interruption that caused an error, if one did.

        Until the run's row is in the ledger, the first signal ends everything: any error after it, such as from
        waiting for another program's lock, is due to the signal. Before our handlers are set, Python raises by
        itself.
        """
        if isinstance(error, RunInterruptedError):
            return error
        signal = self.signals.first if self.signals.count else SIGINT  # none if the caller cancels the run
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
            # There may be more inputs than were passed, if tasks may add some.
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
            cancel.clear(job.db)  # a request for an earlier run

    def _open_run(self) -> None:
        """Put the run's row into the ledger: from now on the run has to be closed."""
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
        self.writer.impatient = False  # from now on, wait until the end is stored
        self.board = self.run.board
        self.board.keeps_items = self.outcomes is not None
        self._began = True

    def _gives_up(self) -> bool:
        """Return whether a signal came while the file is being opened, which another program's lock may delay."""
        self._look()
        self.writer.impatient = self.signals.count > 0 or (current_thread().daemon and program_has_ended())
        return self.writer.impatient

    def _open_screen(self) -> Screen | None:
        if self.job.progress is False:
            return None
        try:
            from pipeloom.rlog import console
            from pipeloom.show.screen import screen_for

            self._region: Any = getattr(console, "region", None)  # a console of the user's has none
            self.place = Place.here()
            return screen_for(self.job.title, self.expected, console, self.place, self.began_at)
        except Exception as error:  # noqa: BLE001 - such as no file descriptor left for the import
            logger.warning("the run continues without a progress display: %s", describe(error))
            return None

    def _draw(self, how: Callable[[Screen], None]) -> None:
        """Draw on the screen, if there is one: a terminal may accept no output for a long time."""
        if self.screen is not None:
            with self.signals.leaving():
                how(self.screen)

    # --- drive ---

    def _drive(self) -> None:
        """Bring inputs and workers together, and wait until all that will be done is done."""
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
            return  # a signal came while the file was being opened
        try:
            self.intake.start()
            self.waiting.for_workers(self.executor.start(self.dispatcher))
        finally:
            self.intake.close()
        if not self.waiting.program_ended:
            self.executor.join(_LEAVE_S)
            self.intake.join(self._look)

    def _look(self) -> None:
        """Check, while this thread waits for the writer, whether to keep waiting."""
        stopwatch.look()
        self.signals.look()
        self.writer.has_died()  # if so, this raises, and wakes all that wait

    def _on_commit(self, finished: Sequence[Attempt]) -> None:
        """Take note of the tasks that ended; the writer's thread, after a commit."""
        try:
            if self.outcomes is not None:
                self.outcomes.add(finished)
            self.intake.retries.settle(finished)
        except BaseException as error:  # noqa: BLE001 - our own bug: workers would wait for ever for what is lost here
            self.dispatcher.fail(error)
        if self.job.on_error == "stop" and (self.board.counts[ERROR] or self.board.counts[TIMED_OUT]):
            self.events.put(("stop", 0))

    # --- settle ---

    def _settle(self) -> None:
        """Wait until everything that workers sent is committed: the outcome is what the writer committed."""
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
                "the run stopped because the program ended; completed work is stored: run it again to do the rest"
            )
        self.outbox.close()

    def _clear_request(self) -> None:
        """Remove a request that came too late for this run, and no other: another run may own the file by now."""
        if self._began and str(self.job.db) != MEMORY:
            request = cancel.requested(self.job.db)
            if request is not None and request[0] == self.run.run_id:
                cancel.clear(self.job.db)

    def _conclude(self, report: RunReport) -> RunReport:
        """Return the report, or raise what the caller must know."""
        if report.status in (INTERRUPTED, CANCELLED):
            if self._is_left_by_the_program:
                Never().wait(_TAKEN_APART_S)  # the interpreter is shutting down, and nothing can receive this
            raise interrupted_midway(report, self.signals.first)
        if self.signals.count:
            raise interrupted_at_the_end(report, self.signals.first)
        fault = self.dispatcher.fault
        if isinstance(fault, MemoryError):
            raise MemoryError(
                "the workers ran out of memory: use fewer workers or smaller inputs, and run again"
            ) from fault
        if isinstance(fault, LedgerError):
            raise fault.with_traceback(None)  # it concerns the caller's arguments
        if fault is not None:
            raise fault
        if self.intake.error is not None:
            note_of_inputs(self.intake.error, report)
            raise self.intake.error
        if self.job.on_error != "collect" and (self.job.keeps_results or report.has_exceptions):
            report.raise_for_failures()
        return report
