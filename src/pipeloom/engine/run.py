"""The life of one run, in the calling thread.

::

    open: writer, which claims the file ▸ schema ▸ run row ▸ screen
    drive: inputs ─▶ intake ─▶ dispatcher ─▶ executor ─▶ channel ─▶ writer
           meanwhile: signals, requests to cancel, tries whose time is over, the screen
    settle: what ran has ended, or is cancelled; everything said is committed
    close: run row ▸ SENTINEL ▸ last commit, statistics, checkpoint ▸ join ▸ screen ▸ report

The calling thread opens, waits, draws the screen and closes; it runs no task and no SQL.
"""

from __future__ import annotations

import logging
import os
import queue
import sys
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from time import monotonic
from typing import TYPE_CHECKING, Final, Literal

from pipeloom.data.text import clean, describe
from pipeloom.db import cancel
from pipeloom.db.connection import MEMORY
from pipeloom.engine import arguments
from pipeloom.engine.dispatcher import Dispatcher
from pipeloom.engine.intake import Intake
from pipeloom.engine.job import Job
from pipeloom.engine.link import WriterLink
from pipeloom.engine.report import note_of_inputs, report_of
from pipeloom.engine.stopping import (
    CancelFile,
    Signals,
    Stage,
    interrupted_at_the_end,
    interrupted_early,
    interrupted_midway,
)
from pipeloom.engine.time_limits import TimeLimits
from pipeloom.errors import DatabaseInUseError, LedgerError, RunInterruptedError, StorageError, WriterBrokenError
from pipeloom.executors import Executor, executor_of
from pipeloom.ledger import Attempt, RunSpec
from pipeloom.messages import SENTINEL
from pipeloom.report import RunReport
from pipeloom.show.streams import is_unread, release_stderr
from pipeloom.statuses import CANCELLED, DONE, ERROR, INTERRUPTED, TIMED_OUT, RunEnd
from pipeloom.wire import Brief
from pipeloom.worker.logs import keeping_logs
from pipeloom.writer import Channel, SQLiteWriter
from pipeloom.writer.requests import EarlyRequest

if TYPE_CHECKING:
    from pipeloom.show.screen import Screen

__all__ = ["Run"]

logger = logging.getLogger("pipeloom")

_TICK_S: Final = 0.1
_CAPACITY: Final = 4096  # so that workers go on while a batch is gathered
_LEAVE_S: Final = 1.0  # how long workers get to notice that the writer is dead

Event = tuple[Literal["signal", "left", "stop", "tick"], int]
"""What the calling thread wakes for, with the number of signals, or a worker's place."""


class Run:
    """The life of one job, in the calling thread."""

    def __init__(self, job_of: Callable[[], Job]) -> None:
        self._job_of = job_of
        # SimpleQueue, since a signal handler puts into it: its put takes no lock that the main thread may hold.
        self.events: queue.SimpleQueue[Event] = queue.SimpleQueue()
        self.signals = Signals(lambda count: self.events.put(("signal", count)))
        self.stage: Stage = 0
        self._began = False  # its row is in the ledger
        self._report: RunReport | None = None
        self._outbox: deque[Attempt] = deque()  # what this thread has for the writer: it must not wait for room

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
        except BaseException as error:
            instead = self._interruption(error)
            if instead is None:
                raise
            raise instead from error

    def _reported(self) -> RunReport:
        began = monotonic()
        self.job = job = self._job_of()
        self.expected = arguments.length_of(job.items)
        with ExitStack() as stack:
            self._open(stack)
            self._drive()
            self._settle()
            status = self._status()
            elapsed_s = monotonic() - began
            self._close(status, elapsed_s)
        return report_of(self.run, status, elapsed_s, str(job.db))

    def _interruption(self, error: BaseException) -> RunInterruptedError | None:
        """Return what to raise rather than an error that an interrupt brought about; nobody else decides that.

        Until the run's row is in the ledger, the first signal ends everything: whatever fails then, such as the
        wait for another program's lock, fails because of it. Outside of our handlers Python raises by itself.
        """
        if isinstance(error, RunInterruptedError):
            return None
        if isinstance(error, KeyboardInterrupt) and self._report is not None:
            return interrupted_at_the_end(self._report)
        if not self._began and (isinstance(error, KeyboardInterrupt) or self.signals.count):
            return interrupted_early(self.job.db if hasattr(self, "job") else None)
        return None

    # --- open ---

    def _open(self, stack: ExitStack) -> None:
        job = self.job
        stack.callback(self._clear_request)
        self.executor: Executor[Attempt] = executor_of(job.workers)
        self._open_writer(stack)
        self._open_run()
        if job.store_task_status:
            stack.enter_context(keeping_logs())
        self.screen = self._open_screen()
        if self.screen is not None:
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
            observer=self._on_commit if job.on_error == "stop" or job.retry is not None else None,
        )
        stack.push(self._leave)
        self.writer.start(self._gives_up)
        if str(job.db) != MEMORY:
            cancel.clear(job.db)  # meant for a run that has ended

    def _open_run(self) -> None:
        """Put the run's row into the ledger: from here on there is something to close."""
        job = self.job
        spec = RunSpec(
            naming=job.naming,
            resume=job.resume,
            workers=job.workers,
            executor=self.executor.name,
            expected=self.expected,
            retrying=job.retry is not None,
        )
        self.run = self.writer.transact(
            lambda ledger: ledger.open_run(spec, job.tables, alter=job.alter), self._gives_up
        )
        self.writer.impatient = False  # what has begun waits for its end to be stored
        self.board = self.run.board
        self._began = True

    def _gives_up(self) -> bool:
        """While the file is being opened, which another program's lock may hold up, the first signal ends that."""
        self._look()
        self.writer.impatient = self.signals.count > 0
        return self.writer.impatient

    def _open_screen(self) -> Screen | None:
        if self.job.progress is False:
            return None
        try:
            from pipeloom.rlog import console
            from pipeloom.show.screen import screen_for

            return screen_for(self.job.title, self.expected, console)
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
        brief = Brief(
            function=job.function,
            context=job.context,
            keeps_results=job.keeps_results,
            retry=job.retry,
            timeout_s=job.timeout_s,
            run_id=run.run_id,
            keyed=job.keyed,
            alter=job.alter,
            max_task_bytes=job.max_task_bytes,
            spool_in=None if str(job.db) == MEMORY else os.path.dirname(os.path.realpath(job.db)),
            executor=self.executor.name,
            can=self.executor.can,
        )
        admissions = run.admissions
        at_once, admit = (
            (admissions.new_keys, admissions.keys) if job.keyed else (admissions.new_numbers, admissions.numbers)
        )
        self.intake = Intake(
            job.items,
            keyed=job.keyed,
            key=job.key,
            # Keys that are admitted and not committed yet are known to the run: no need to wait for a commit.
            admit=lambda names: at_once(names) or self.writer.submit(EarlyRequest(lambda _: admit(names))),
            workers=job.workers,
            patience_s=None if job.retry is None else max(job.timeout_s or 0.0, _LEAVE_S),
        )
        if self.intake.retries is not None:
            self.board.waiting = self.intake.retries
        self.link = WriterLink(brief, self.channel, self.writer)
        self.dispatcher = Dispatcher(
            self.intake, self.link, self.board, self.channel, lambda place: self.events.put(("left", place))
        )
        self.cancel_file = CancelFile(job.db, run.run_id)
        self.time_limits = (
            TimeLimits(job.timeout_s, self.executor, self.board, self.intake) if job.timeout_s is not None else None
        )
        if self.signals.count > 0:
            return  # it came while the file was being opened
        try:
            self.intake.start()
            self._wait(set(range(self.executor.start(self.dispatcher))))
        finally:
            self.intake.close()
        self.executor.join(_LEAVE_S)
        self.intake.join(0.0 if self.signals.count else _TICK_S)

    def _wait(self, at_work: set[int]) -> None:
        """Wait until every worker has left; draw meanwhile."""
        deadline: float | None = None
        while at_work:
            self._take_note(at_work)
            if is_unread(sys.__stderr__):
                release_stderr()  # before more tasks print to it
            if (stage := self.cancel_file.look()) != 0:
                self._stop(stage, "pipeloom cancel, or press Ctrl-C,")
            if self.time_limits is not None:
                self._outbox.extend(self.time_limits.look(at_work))
            self._send()
            if self.writer.has_died():
                self.intake.close()
                self.link.cancelling = True
                deadline = deadline or monotonic() + _LEAVE_S
                if monotonic() > deadline:
                    return
            self._draw(lambda screen: screen.tick())

    def _take_note(self, at_work: set[int]) -> None:
        """Wait a moment for something to happen."""
        try:
            event, value = self.events.get(timeout=_TICK_S)
        except queue.Empty:
            return
        if event == "left":
            at_work.discard(value)
        elif event == "signal":
            self.signals.look()
            self._stop(1 if value == 1 else 2, "press Ctrl-C again")
        elif event == "stop":
            self.intake.close()

    def _stop(self, stage: Stage, how: str) -> None:
        """Admit nothing more; at the second stage, ask what runs to end."""
        self.intake.close()
        if stage <= self.stage:
            return
        self.stage = stage
        if stage == 1:
            self._note(f"stopping: running tasks finish; {how} to cancel them")
        else:
            self.link.cancelling = True
            self._note("cancelling: tasks that look at ctx end now; press Ctrl-C again to leave at once")

    def _send(self, *, block: bool = False) -> None:
        """Put what this thread has for the writer."""
        try:
            while self._outbox:
                attempt = self._outbox[0]
                if block:
                    self._put(attempt, attempt.weight)
                else:
                    self.channel.put(attempt, block=False, weight=attempt.weight)
                self._outbox.popleft()
        except queue.Full:
            pass  # at the next tick
        except WriterBrokenError:
            self._outbox.clear()  # _stop_writer raises the cause

    def _put(self, item: object, weight: int = 1) -> None:
        """Wait for room; the writer may be waiting for another program."""
        while True:
            try:
                self.channel.put(item, timeout=_TICK_S, weight=weight)
                return
            except queue.Full:
                self._look()

    def _look(self) -> None:
        """While this thread waits for the writer: is it still worth it?"""
        self.signals.look()
        self.writer.has_died()  # if so, whoever waits is told, this thread too

    def _note(self, text: str) -> None:
        self._draw(lambda screen: screen.note(text))

    def _on_commit(self, finished: Sequence[Attempt]) -> None:
        """Take note of what ended; the writer's thread, after a commit."""
        if self.intake.retries is not None:
            try:
                self.intake.retries.settle(finished)
            except BaseException as error:  # noqa: BLE001 - our own fault: workers would wait for ever for what is lost here
                self.dispatcher.fail(error)
        if self.job.on_error == "stop" and (self.board.counts[ERROR] or self.board.counts[TIMED_OUT]):
            self.events.put(("stop", 0))

    # --- settle ---

    def _settle(self) -> None:
        """Wait until what the workers said is committed: the outcome is what the writer says it is."""
        retries = self.intake.retries
        try:
            self._send(block=True)
            self.writer.ask(lambda _: None, self._look)
            if retries is not None and (left := retries.take_all()):
                self._outbox.extend(left)  # the run ends before their turn
                self._send(block=True)
                self.writer.ask(lambda _: None, self._look)
        except WriterBrokenError:
            pass  # _stop_writer raises the cause

    def _status(self) -> RunEnd:
        if self.stage or self.signals.count:
            return CANCELLED if self.stage == 2 else INTERRUPTED
        counts = self.board.counts
        bad = counts[ERROR] or counts[TIMED_OUT] or counts[CANCELLED]
        return ERROR if bad or self.intake.error or self.dispatcher.fault else DONE

    # --- close ---

    def _close(self, status: RunEnd, elapsed_s: float) -> None:
        if not self.writer.has_died():
            try:
                self.writer.transact(lambda _: self.run.close(status, elapsed_s), self._look)
            except WriterBrokenError:
                pass  # _stop_writer raises the cause
        self._stop_writer()

    def _leave(self, _kind: object, error: BaseException | None, _traceback: object) -> None:
        """On the way out: wait for the writer, unless the third Ctrl-C, or the like, says to leave at once."""
        at_once = isinstance(error, KeyboardInterrupt | SystemExit)
        try:
            if not at_once and self.writer.ident is not None:
                self._stop_writer()
        except KeyboardInterrupt:
            at_once = True
            raise
        finally:
            if at_once:
                self.channel.close()
                self.writer.abandon()
                if self.writer.ident is not None:
                    self.writer.join(_LEAVE_S)

    def _stop_writer(self) -> None:
        """Say the last word, wait for the last commit, and raise what went wrong; calling twice is fine."""
        writer = self.writer
        if not self.channel.end:
            try:
                self._put(SENTINEL)
            except WriterBrokenError:
                pass
            self.channel.close()
        while writer.is_alive():
            writer.join(_TICK_S)
            if writer.is_alive():
                self.signals.look()
        failure, writer.failure = writer.failure, None
        if failure is not None:
            if isinstance(failure, StorageError | DatabaseInUseError):
                raise failure
            raise WriterBrokenError(f"the writer died: {clean(failure)}") from failure

    def _clear_request(self) -> None:
        """Remove a request that came too late for this run, and no other: the file may be another run's by now."""
        if self._began and str(self.job.db) != MEMORY:
            request = cancel.requested(self.job.db)
            if request is not None and request[0] == self.run.run_id:
                cancel.clear(self.job.db)

    def _conclude(self, report: RunReport) -> RunReport:
        """Raise what the caller must hear of, else return the report."""
        if report.status in (INTERRUPTED, CANCELLED):
            raise interrupted_midway(report)
        if self.signals.count:
            raise interrupted_at_the_end(report)
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
