"""One run's life: ``map``, ``run_pipeline`` and the engine they share.

::

    open: ownership ▸ writer ▸ schema ▸ run row
    feed: inputs ─▶ Feed ─▶ workers (Work.loop) ─▶ channel ─▶ writer
    drain: nothing more is admitted; what runs ends, or is cancelled
    close: run row ▸ SENTINEL ▸ last commit, statistics, checkpoint ▸ join ▸ screen ▸ ownership ▸ report

The calling thread opens, waits, draws the screen and closes; it runs no task and no SQL.
"""

from __future__ import annotations

import os
import queue
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any, Final, Literal, TypeVar, cast

from pipeloom import arguments
from pipeloom.channel import Channel
from pipeloom.context import Port, TaskContext
from pipeloom.db import Durability, Ownership
from pipeloom.db.connection import MEMORY, check_place
from pipeloom.errors import RunInterruptedError, StorageError, WriterBrokenError
from pipeloom.executors import ThreadExecutor
from pipeloom.feed import Feed
from pipeloom.keys import pipeline_name
from pipeloom.ledger import RunLedger, RunSpec, Tables
from pipeloom.messages import SENTINEL, Handler, Msg
from pipeloom.report import RunReport, RunStatus, report_of
from pipeloom.signals import Signals
from pipeloom.text import clean
from pipeloom.work import Call, Work, calling
from pipeloom.writer import SQLiteWriter

if TYPE_CHECKING:
    from pipeloom.screen import Screen

__all__ = ["map", "run_pipeline"]

T = TypeVar("T")

OnError = Literal["raise", "collect", "stop"]

_TICK_S: Final = 0.1
_LEAVE_S: Final = 1.0  # how long workers get to notice that the writer is dead


def map(  # noqa: A001 - the field's own word
    fn: Callable[..., Any],
    items: Iterable[Any],
    *,
    db: str | os.PathLike[str],
    name: str | None = None,
    key: Callable[[Any], Any] | None = None,
    workers: int | None = None,
    resume: bool = True,
    on_error: OnError = "raise",
    durability: Durability = "full",
    tables: Tables | None = None,
    handlers: Mapping[type, Handler] | None = None,
    progress: bool | None = None,
) -> RunReport:
    """Call ``fn`` on every input, concurrently, and keep everything that comes out in one SQLite file.

    Blocks until all is done. Call it again with the same inputs and only the rest is done.

    Args:
        fn: A plain function of one input; gets a :class:`TaskContext` too when a parameter is named ``ctx`` or
            annotated so. What it returns is stored as JSON. Runs in worker threads.
        items: The inputs; any iterable, also endless. It is advanced lazily, in a thread of its own.
        db: The file, created when missing; ``":memory:"`` keeps nothing.
        name: The pipeline's name. Default: the function's module and name. A lambda, a partial or a function
            typed at a prompt has none: its run stands alone.
        key: Input → str, int, Path, UUID or date that identifies it. Default: the input itself.
        workers: Number of threads, at least 1. Default: cores + 4, at most 32.
        resume: Skip inputs that are done under this name.
        on_error: ``"raise"``: finish everything, then raise; ``"collect"``: only report; ``"stop"``: admit nothing
            more, finish what runs, raise.
        durability: ``"full"``: what is committed survives a power cut. ``"normal"``: the last tasks may be redone
            after one. ``"off"``: a power cut may destroy the file.
        tables: Table → column → type, for tables to be created: ``{"flights": {"distance": int}}``.
        handlers: Message type → ``fn(conn, messages)``, for messages of your own sent with ``ctx.put``.
        progress: Show what happens. Default: live on a terminal, a line every few seconds elsewhere.

    Returns:
        Counts, failures, and ``results()``.

    Raises:
        TasksFailedError: Some tasks failed (``on_error`` ``"raise"`` or ``"stop"``); has ``.report``.
        RunInterruptedError: Ctrl-C or SIGTERM; has ``.report``.
        DatabaseInUseError: Another run is using the file.
        StorageError: The file cannot be opened or written.
        ValueError, TypeError: An argument is wrong.
    """
    arguments.check_function(fn)
    arguments.check_choices(name=name, key=key, on_error=on_error, resume=resume, durability=durability)
    stable = name if name is not None else pipeline_name(fn)
    job = Job(
        call=calling(fn),
        items=arguments.checked_items(items),
        db=arguments.checked_db(db),
        pipeline=stable if stable is not None else getattr(fn, "__name__", type(fn).__name__),
        standalone=stable is None,
        keyed=True,
        key=key,
        workers=arguments.checked_workers(workers),
        resume=resume,
        on_error=on_error,
        durability=durability,
        tables=arguments.checked_tables(tables),
        handlers=arguments.checked_handlers(handlers),
        progress=progress,
        keeps_results=True,
    )
    return _Run(job).execute()


def run_pipeline(
    tasks: Iterable[T],
    db_path: str | os.PathLike[str] = Path("./pipeloom.db"),
    *,
    workers: int | None = None,
    wal: bool = True,
    store_task_status: bool = True,
    worker_fn: Callable[[T, queue.Queue[Msg]], None] | Callable[[T, TaskContext], None],
    name: str | None = None,
    key: Callable[[T], Any] | None = None,
    resume: bool = False,
    on_error: OnError = "raise",
    durability: Durability = "full",
    tables: Tables | None = None,
    handlers: Mapping[type, Handler] | None = None,
    progress: bool | None = None,
) -> RunReport:
    """Call ``worker_fn(task, queue)`` on every task, concurrently; the same engine as :func:`map`.

    The queue is the task's :class:`TaskContext`: workers that only ``put`` messages work unchanged. Without
    ``key=``, a task's number is its ``task_id`` if it has one, else the first number its worker says.

    Args:
        tasks: Any objects, any iterable; advanced lazily, in a thread of its own.
        db_path: The file, created when missing; ``":memory:"`` keeps nothing.
        workers: Number of threads, at least 1. Default: cores + 4, at most 32.
        wal: Write-ahead log rather than a rollback journal.
        store_task_status: Keep the ledger; otherwise only users' rows are written, and nothing resumes.
        worker_fn: Called in worker threads. An exception is recorded, and raised once the others have finished;
            an ``error`` that the worker reports by message is recorded.
        name: See :func:`map`; used with ``key``.
        key: Task → key, as in :func:`map`; tasks then resume by key.
        resume: Skip tasks whose key is done; needs ``key``.
        on_error: See :func:`map`.
        durability: See :func:`map`.
        tables: See :func:`map`.
        handlers: See :func:`map`.
        progress: See :func:`map`.

    Returns:
        Counts and failures.

    Raises:
        TasksFailedError: Some workers raised.
        RunInterruptedError, DatabaseInUseError, StorageError, ValueError, TypeError: See :func:`map`.
    """
    arguments.check_function(worker_fn, "worker_fn")
    arguments.check_choices(name=name, key=key, on_error=on_error, resume=resume, durability=durability)
    if resume and not store_task_status:
        raise ValueError("resume=True needs the ledger: keep store_task_status=True")
    if key is None and (resume or name is not None):
        raise ValueError(f"{'resume=True' if resume else 'name='} needs key=, which says what identifies a task")
    stable = name if name is not None else pipeline_name(worker_fn)
    keyed = key is not None and store_task_status
    job = Job(
        call=cast("Call", worker_fn),
        items=arguments.checked_items(tasks, "tasks"),
        db=arguments.checked_db(db_path),
        pipeline=(stable or getattr(worker_fn, "__name__", "worker_fn")) if keyed else None,
        standalone=stable is None,
        keyed=keyed,
        key=key,
        workers=arguments.checked_workers(workers),
        wal=wal,
        store_task_status=store_task_status,
        resume=resume,
        on_error=on_error,
        durability=durability,
        tables=arguments.checked_tables(tables),
        handlers=arguments.checked_handlers(handlers),
        progress=progress,
    )
    return _Run(job).execute()


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One run as asked for, every argument checked."""

    call: Call
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
    tables: Tables = field(default_factory=dict)
    handlers: Mapping[type, Handler] = field(default_factory=dict)
    progress: bool | None
    keeps_results: bool = False


class _Run:
    """The life of one job, in the calling thread."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.expected = arguments.length_of(job.items)
        # SimpleQueue, since a signal handler puts into it: its put takes no lock that the main thread may hold.
        self.events: queue.SimpleQueue[tuple[str, int]] = queue.SimpleQueue()
        self.began = monotonic()
        self.cancelled = False

    def execute(self) -> RunReport:
        """Open, run, close; raise or return what came of it."""
        job = self.job
        with Signals(lambda count: self.events.put(("signal", count))) as self.signals:
            with ExitStack() as stack:
                if str(job.db) != MEMORY:
                    check_place(job.db)
                    stack.callback(Ownership(job.db).release)
                self.writer = self._open_writer()
                stack.callback(self._stop_writer)
                run = self._open_run()
                self.screen = self._open_screen()
                if self.screen is not None:
                    stack.callback(self.screen.stop)
                    self.screen.start(run)
                self._feed_and_drain(run)
                status = self._status(run)
                elapsed_s = monotonic() - self.began
                self._close(run, status, elapsed_s)
            report = report_of(run, status, elapsed_s, job.pipeline, str(job.db))
        return self._conclude(report)

    # --- open ---

    def _open_writer(self) -> SQLiteWriter:
        job = self.job
        self.channel: Channel[Any] = Channel()
        writer = SQLiteWriter(
            job.db,
            self.channel,
            wal=job.wal,
            store_task_status=job.store_task_status,
            durability=job.durability,
            handlers=job.handlers,
            owned=True,
            observer=self._on_commit if job.on_error == "stop" else None,
        )
        writer.start()
        return writer

    def _open_run(self) -> RunLedger:
        job = self.job
        spec = RunSpec(
            pipeline=job.pipeline,
            standalone=job.standalone,
            resume=job.resume,
            workers=job.workers,
            executor=ThreadExecutor.name,
            expected=self.expected,
        )
        run: RunLedger = self.writer.transact(lambda ledger: ledger.open_run(spec, job.tables))
        self.run = run
        return run

    def _open_screen(self) -> Screen | None:
        if self.job.progress is False:
            return None
        from pipeloom.rlog import console
        from pipeloom.screen import screen_for

        title = str(self.job.pipeline or getattr(self.job.call, "__name__", "run"))
        return screen_for(title.rpartition(":")[2], self.expected, self.job.progress, console)

    # --- feed and drain ---

    def _feed_and_drain(self, run: RunLedger) -> None:
        job = self.job
        self.port = Port(self.channel, self.writer.ask, run.run_id, keyed=job.keyed)
        admit = run.admit_keys if job.keyed else run.admit_numbers
        self.feed = Feed(
            job.items,
            keyed=job.keyed,
            key=job.key,
            admit=lambda names: self.writer.request(lambda _: admit(names)),
            workers=job.workers,
        )
        work = Work(
            job.call,
            self.feed,
            self.port,
            run.slots,
            keeps_results=job.keeps_results,
            ended=lambda place: self.events.put(("ended", place)),
        )
        executor = ThreadExecutor(job.workers)
        self.feed.start()
        executor.start(work.loop)
        self._wait(set(range(job.workers)))
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
            elif event == "signal":
                self._on_signal(value)
            elif event == "stop":
                self.feed.close()
            if self.writer.failure is not None:
                self.feed.close()
                self.port.cancelling = True
                deadline = deadline or monotonic() + _LEAVE_S
                if monotonic() > deadline:
                    return
            if self.screen is not None:
                self.screen.tick()

    def _on_signal(self, count: int) -> None:
        self.feed.close()
        if count == 1:
            self._note("stopping: running tasks finish; press Ctrl-C again to cancel them")
        else:
            self.cancelled = True
            self.port.cancelling = True
            self._note("cancelling: tasks that look at ctx end now; press Ctrl-C again to leave at once")

    def _note(self, text: str) -> None:
        if self.screen is not None:
            self.screen.note(text)

    def _on_commit(self) -> None:
        """With on_error="stop"; the writer's thread, after a commit."""
        if self.run.counts["error"] or self.run.counts["timed_out"]:
            self.events.put(("stop", 0))

    # --- close ---

    def _status(self, run: RunLedger) -> RunStatus:
        if self.signals.count:
            return "cancelled" if self.cancelled else "interrupted"
        bad = run.counts["error"] or run.counts["timed_out"] or run.counts["cancelled"]
        return "error" if bad or self.feed.error is not None else "done"

    def _close(self, run: RunLedger, status: RunStatus, elapsed_s: float) -> None:
        if self.writer.failure is None:
            try:
                self.writer.transact(lambda _: run.close(status, elapsed_s))
            except WriterBrokenError:
                pass  # _stop_writer raises the cause
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
        self.signals.pass_on()
        if self.signals.count:
            raise RunInterruptedError(
                f"interrupted after {report.done:,} done: run it again to do the rest ({clean(report.db)})",
                report,
            )
        if self.feed.error is not None:
            self.feed.error.add_note(
                f"pipeloom: raised by the inputs after {report.total:,} of them; those are stored, run again "
                "to do the rest"
            )
            raise self.feed.error
        if self.job.on_error != "collect" and (self.job.keeps_results or report.has_exceptions):
            report.raise_for_failures()
        return report
