"""The life of one run, in the calling thread.

::

    open: ownership ▸ writer ▸ schema ▸ run row
    feed: inputs ─▶ Feed ─▶ workers (Work.loop) ─▶ channel ─▶ writer
    meanwhile: signals, requests to cancel, tries whose time is over, the screen
    drain: nothing more is admitted; what runs ends, or is cancelled
    close: run row ▸ SENTINEL ▸ last commit, statistics, checkpoint ▸ join ▸ screen ▸ ownership ▸ report

The calling thread opens, waits, draws the screen and closes; it runs no task and no SQL.
"""

from __future__ import annotations

import logging
import queue
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any, Final, Literal

from pipeloom.data.text import clean, describe, near
from pipeloom.db import Durability, Ownership, cancel
from pipeloom.db.connection import MEMORY
from pipeloom.db.place import check_file_system, check_place
from pipeloom.engine import arguments
from pipeloom.engine.dispatcher import Feed
from pipeloom.engine.report import RunReport, RunStatus, report_of
from pipeloom.engine.stopping import Signals
from pipeloom.errors import RunInterruptedError, StorageError, WriterBrokenError
from pipeloom.executors import ThreadExecutor
from pipeloom.ledger import RunLedger, RunSpec, Tables
from pipeloom.ledger.attempt import Attempt
from pipeloom.messages import SENTINEL, Handler
from pipeloom.retry import Retry
from pipeloom.show.streams import is_unread, release_stderr
from pipeloom.worker.current import Port
from pipeloom.worker.logs import keeping_logs
from pipeloom.worker.perform import Call, Work
from pipeloom.writer.channel import Channel
from pipeloom.writer.thread import SQLiteWriter

if TYPE_CHECKING:
    from pipeloom.show.screen import Screen

__all__ = ["Job", "OnError", "Run"]

logger = logging.getLogger("pipeloom")

OnError = Literal["raise", "collect", "stop"]

_TICK_S: Final = 0.1
_CAPACITY: Final = 4096  # so that workers go on while a batch is gathered
_LEAVE_S: Final = 1.0  # how long workers get to notice that the writer is dead
_LOOK_S: Final = 0.5  # how often to look for a request to cancel
_PATIENCE_S: Final = 0.1  # so that tasks which look at ctx end by themselves when their time is over


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One run as asked for, every argument checked."""

    call: Call
    title: str
    items: Iterable[Any]
    db: Path
    pipeline: str | None
    standalone: bool
    keyed: bool
    key: Callable[[Any], Any] | None
    workers: int
    wal: bool = True
    store_task_status: bool = True
    resume: bool
    on_error: OnError
    durability: Durability
    retry: Retry | None = None
    timeout_s: float | None = None
    max_task_bytes: float
    tables: Tables = field(default_factory=dict)
    handlers: Mapping[type, Handler] = field(default_factory=dict)
    progress: bool | None
    keeps_results: bool = False


class Run:
    """The life of one job, in the calling thread."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.expected = arguments.length_of(job.items)
        # SimpleQueue, since a signal handler puts into it: its put takes no lock that the main thread may hold.
        self.events: queue.SimpleQueue[tuple[str, int]] = queue.SimpleQueue()
        self.began = monotonic()
        self.stopping: Literal[0, 1, 2] = 0  # nothing more is admitted; and what runs is cancelled
        self._looked_at = self.began
        self._stuck = 0  # calls that go on although they were given up on
        self._outbox: deque[Attempt] = deque()  # what this thread has for the writer: it must not wait for room

    def execute(self) -> RunReport:
        """Open, run, close; raise or return what came of it."""
        job = self.job
        self.signals = Signals(lambda count: self.events.put(("signal", count)))
        release_stderr()
        try:
            with self.signals, ExitStack() as stack:
                if str(job.db) != MEMORY:
                    check_place(job.db)
                    check_file_system(job.db, wal=job.wal)
                    stack.callback(self._give_back, Ownership(job.db))
                    cancel.clear(job.db)  # meant for a run that has ended
                    stack.callback(cancel.clear, job.db)  # came too late for this one
                self._open_writer(stack)
                run = self._open_run()
                if job.store_task_status:
                    stack.enter_context(keeping_logs())
                self.screen = self._open_screen()
                if self.screen is not None:
                    stack.callback(self.screen.stop)
                    self.screen.start(run)
                self._feed_and_drain(run)
                self._settle()
                status = self._status(run)
                elapsed_s = monotonic() - self.began
                self._close(run, status, elapsed_s)
            report = report_of(run, status, elapsed_s, job.pipeline, str(job.db))
        finally:
            release_stderr()  # its reader may have left meanwhile
            self.signals.pass_on()
        return self._conclude(report)

    # --- open ---

    def _open_writer(self, stack: ExitStack) -> None:
        job = self.job
        self.channel: Channel[Any] = Channel(_CAPACITY)
        self.writer = SQLiteWriter(
            job.db,
            self.channel,
            wal=job.wal,
            store_task_status=job.store_task_status,
            durability=job.durability,
            handlers=job.handlers,
            owned=True,
            observer=self._on_commit if job.on_error == "stop" or job.retry is not None else None,
        )
        stack.push(self._leave)
        try:
            self.writer.start(give_up=lambda: self.signals.count > 0)
        except StorageError:
            self._look_for_interrupt()
            raise

    def _open_run(self) -> RunLedger:
        job = self.job
        spec = RunSpec(
            pipeline=job.pipeline,
            standalone=job.standalone,
            resume=job.resume,
            workers=job.workers,
            executor=ThreadExecutor.name,
            expected=self.expected,
            retrying=job.retry is not None,
        )
        run: RunLedger = self.writer.transact(
            lambda ledger: ledger.open_run(spec, job.tables), self._look_for_interrupt
        )
        self.run = run
        return run

    def _look_for_interrupt(self) -> None:
        """While the file is being opened, which another program's lock may hold up, the first signal ends it."""
        if self.signals.count:
            raise RunInterruptedError(f"interrupted before anything was begun ({clean(near(str(self.job.db)))})")

    def _open_screen(self) -> Screen | None:
        if self.job.progress is False:
            return None
        try:
            from pipeloom.rlog import console
            from pipeloom.show.screen import screen_for

            return screen_for(self.job.title, self.expected, console)
        except Exception as error:  # such as no file descriptor left to import it with
            logger.warning("there is no screen, the run goes on: %s", describe(error))
            return None

    # --- feed and drain ---

    def _feed_and_drain(self, run: RunLedger) -> None:
        job = self.job
        self.port = Port(
            self.channel, self.writer.request, run.run_id, keyed=job.keyed, max_task_bytes=job.max_task_bytes
        )
        at_once, admit = (
            (run.admit_new_keys, run.admit_keys) if job.keyed else (run.admit_new_numbers, run.admit_numbers)
        )
        self.feed = Feed(
            job.items,
            keyed=job.keyed,
            key=job.key,
            # Keys that are admitted and not committed yet are known to the run: no need to wait for a commit.
            admit=lambda names: at_once(names) or self.writer.request(lambda _: admit(names), early=True),
            workers=job.workers,
            patience_s=None if job.retry is None else max(job.timeout_s or 0.0, _LEAVE_S),
        )
        if self.feed.waiting is not None:
            run.waiting = self.feed.waiting
        self.work = work = Work(
            job.call,
            self.feed,
            self.port,
            run.slots,
            keeps_results=job.keeps_results,
            retry=job.retry,
            timeout_s=job.timeout_s,
            ended=lambda place: self.events.put(("ended", place)),
            returned=lambda: self.events.put(("returned", 0)),
        )
        self.executor = executor = ThreadExecutor(job.workers)
        try:
            self.feed.start()
            if self.signals.count:
                self.feed.close()  # while the file was being opened
            self._wait(set(range(executor.start(work.loop))))
        finally:
            self.feed.close()
        executor.join(_LEAVE_S)
        self.feed.join(0.0 if self.signals.count else _TICK_S)

    def _wait(self, at_work: set[int]) -> None:
        """Wait until every worker's loop has returned; draw meanwhile."""
        deadline: float | None = None
        while at_work:
            try:
                event, value = self.events.get(timeout=_TICK_S)
            except queue.Empty:
                event, value = "tick", 0
            if event == "ended":
                at_work.discard(value)
            elif event == "returned":
                self._stuck -= 1
            elif event == "signal":
                self._stop(1 if value == 1 else 2, "press Ctrl-C again")
            elif event == "stop":
                self.feed.close()
            if is_unread(sys.__stderr__):
                release_stderr()  # before more tasks print to it
            self._look_for_request()
            self._look_for_overdue(at_work)
            self._send()
            if self.writer.failure is not None:
                self.feed.close()
                self.port.cancelling = True
                deadline = deadline or monotonic() + _LEAVE_S
                if monotonic() > deadline:
                    return
            if self.screen is not None:
                self.screen.tick()

    def _stop(self, stage: Literal[1, 2], how: str) -> None:
        """Admit nothing more; at the second stage, ask what runs to end."""
        self.feed.close()
        if stage <= self.stopping:
            return
        self.stopping = stage
        if stage == 1:
            self._note(f"stopping: running tasks finish; {how} to cancel them")
        else:
            self.port.cancelling = True
            self._note("cancelling: tasks that look at ctx end now; press Ctrl-C again to leave at once")

    def _look_for_request(self) -> None:
        """See whether another process asked this run to stop."""
        now = monotonic()
        if now - self._looked_at < _LOOK_S or str(self.job.db) == MEMORY:
            return
        self._looked_at = now
        request = cancel.requested(self.job.db)
        if request is not None:
            cancel.clear(self.job.db)
            if request[0] == self.run.run_id:
                self._stop(1 if request[1] == "drain" else 2, "pipeloom cancel, or press Ctrl-C,")

    def _look_for_overdue(self, at_work: set[int]) -> None:
        """Give up on calls whose time is over; another thread takes the place of each."""
        if self.job.timeout_s is None:
            return
        now = monotonic()
        for place, attempt in enumerate(self.run.slots):
            if attempt is None or attempt.status != "running" or attempt.deadline is None:
                continue
            if now > attempt.deadline + _PATIENCE_S and self.work.give_up(place, attempt):
                self.run.slots[place] = None
                self._outbox.append(attempt)
                self._stuck += 1
                if self._stuck > self.job.workers or not self.executor.replace(self.work.loop, place):
                    at_work.discard(place)
                    self._too_many_stuck()
        if self.feed.waiting is not None:
            self._outbox.extend(self.feed.waiting.overdue())

    def _too_many_stuck(self) -> None:
        if not self.feed.closed:
            logger.warning(
                "%d calls go on past timeout=%g s, more than there are workers: nothing more is admitted; "
                "give the function time limits of its own, since a thread cannot be ended, and run it again",
                self._stuck,
                self.job.timeout_s,
            )
            self.feed.close()

    def _send(self, *, block: bool = False) -> None:
        """Put what this thread has for the writer."""
        try:
            while self._outbox:
                attempt = self._outbox[0]
                self.channel.put(attempt, block=block, weight=attempt.weight)
                self._outbox.popleft()
        except queue.Full:
            pass  # at the next tick
        except WriterBrokenError:
            self._outbox.clear()  # _stop_writer raises the cause

    def _note(self, text: str) -> None:
        if self.screen is not None:
            self.screen.note(text)

    def _on_commit(self, finished: Sequence[Attempt]) -> None:
        """Take note of what ended; the writer's thread, after a commit."""
        if self.feed.waiting is not None:
            try:
                self.feed.waiting.settle(finished)
            except BaseException as error:  # our own fault: workers would wait for ever for what is lost here
                self.work.fault = error
                self.feed.close()
        if self.job.on_error == "stop" and (self.run.counts["error"] or self.run.counts["timed_out"]):
            self.events.put(("stop", 0))

    # --- close ---

    def _give_back(self, ownership: Ownership) -> None:
        """Let others have the file once the writer is done with it: one that was left at once may not be."""
        writer = getattr(self, "writer", None)

        def give_back() -> None:
            if writer is not None and writer.ident is not None:
                writer.join()
            ownership.release()

        if writer is not None and writer.is_alive():
            threading.Thread(target=give_back, name="pipeloom-release", daemon=True).start()
        else:
            give_back()

    def _settle(self) -> None:
        """Wait until what the workers said is committed: the outcome is what the writer says it is."""
        try:
            self._send(block=True)
            self.writer.flush()
            if self.feed.waiting is not None and (left := self.feed.waiting.take_all()):
                self._outbox.extend(left)  # the run ends before their turn
                self._send(block=True)
                self.writer.flush()
        except WriterBrokenError:
            pass  # _stop_writer raises the cause

    def _status(self, run: RunLedger) -> RunStatus:
        if self.stopping or self.signals.count:
            return "cancelled" if self.stopping == 2 else "interrupted"
        bad = run.counts["error"] or run.counts["timed_out"] or run.counts["cancelled"]
        return "error" if bad or self.feed.error or self.work.fault else "done"

    def _close(self, run: RunLedger, status: RunStatus, elapsed_s: float) -> None:
        if self.writer.failure is None:
            try:
                self.writer.transact(lambda _: run.close(status, elapsed_s))
            except WriterBrokenError:
                pass  # _stop_writer raises the cause
        self._stop_writer()

    def _leave(self, _kind: object, error: BaseException | None, _traceback: object) -> None:
        """On the way out: wait for the writer, unless the third Ctrl-C, or the like, says to leave at once."""
        if isinstance(error, KeyboardInterrupt | SystemExit):
            self.channel.close()
            self.writer.abandon()
            if self.writer.ident is not None:
                self.writer.join(_LEAVE_S)
        elif self.writer.ident is not None:
            self._stop_writer()

    def _stop_writer(self) -> None:
        """Say the last word, wait for the last commit, and raise what went wrong; calling twice is fine."""
        writer = self.writer
        if not self.channel.end:
            try:
                self.channel.put(SENTINEL)
            except WriterBrokenError:
                pass
            self.channel.close()
        writer.join()
        failure, writer.failure = writer.failure, None
        if failure is not None:
            if isinstance(failure, StorageError):
                raise failure
            raise WriterBrokenError(f"the writer died: {clean(failure)}") from failure

    def _conclude(self, report: RunReport) -> RunReport:
        if report.status in ("interrupted", "cancelled"):
            raise RunInterruptedError(
                f"interrupted after {report.done:,} done: run it again to do the rest ({clean(near(report.db))})",
                report,
            )
        if self.signals.count:
            raise RunInterruptedError(
                f"interrupted at its very end, with {report.done:,} done and stored ({clean(near(report.db))})",
                report,
            )
        if self.work.fault is not None:
            raise self.work.fault
        if self.feed.error is not None:
            note = (
                f"pipeloom: raised by the inputs after {report.total:,} of them; those are stored, run again to do "
                "the rest"
            )
            try:
                self.feed.error.add_note(note)
            except Exception:  # a frozen dataclass takes no notes
                logger.warning("%s", note)
            raise self.feed.error
        if self.job.on_error != "collect" and (self.job.keeps_results or report.has_exceptions):
            report.raise_for_failures()
        return report
