"""Performs tasks in chunks, on an engine that takes a function and bytes, and returns bytes.

::

    desk ── next, more ─▶ feeder (a thread) ─▶ order ─▶ engine ─▶ run_chunk, wherever that is
      ▲                                                    │
      └── end, hand over, give back ◀── collector (a thread) ◀── what it returned, or raised

The number of chunks that the engine has at once is limited. Each chunk has a number, and its result is taken only
once: if the engine runs a chunk again, silently or late, nothing changes.
"""

from __future__ import annotations

import logging
import queue
import threading
import uuid
from collections.abc import Callable
from collections.abc import Set as AbstractSet
from typing import Any, Final, Generic

import msgspec

import pipeloom
from pipeloom.data.text import describe, storable
from pipeloom.errors import ExecutorBrokenError, WorkerDiedError
from pipeloom.executors.base import ALL, Desk, T, joined, telling
from pipeloom.executors.gathering import gather
from pipeloom.executors.pace import Pace
from pipeloom.executors.remote.calls import Call, call_of
from pipeloom.executors.remote.chunks import Assignment, Order, assigned, read_done
from pipeloom.executors.remote.engine import Ending, Engine, Note, missing_module
from pipeloom.executors.remote.forms import Failure, encode
from pipeloom.executors.remote.messages import name_of
from pipeloom.executors.remote.program import in_words, packed
from pipeloom.executors.remote.raised import reason_of
from pipeloom.executors.remote.run_chunk import this_process
from pipeloom.executors.remote.sent import Sent, SentChunks
from pipeloom.retry import Retry
from pipeloom.wire import Ability
from pipeloom.worker.local import Local
from pipeloom.worker.perform import failed_before

__all__ = ["ChunkExecutor"]

logger = logging.getLogger("pipeloom")

_TICK_S: Final = 0.1
_PATIENCE: Final = 4  # a chunk that takes this many times too long returns the tasks that have not started
_NOTHING: Final = 0  # no chunk has this number
_LOSSES: Final = 2
"""How many chunks of a task may be lost before it fails, if it is unknown whether it had started."""


class ChunkExecutor(Generic[T]):
    """Runs tasks on an engine.

    Args:
        engine: The engine; the executor becomes its owner.
        function: The user's function.
        retry: The retry policy, which is applied in the workers.
        kinds: The message classes that have handlers.
        keeps_logs: Whether the log records of tasks are stored.
        local: Called once in each worker; the value is ``ctx.local``.

    Raises:
        TypeError: The function, or something that goes with it, cannot be sent.
    """

    def __init__(
        self,
        engine: Engine,
        function: Callable[..., object],
        retry: Retry | None,
        *,
        kinds: AbstractSet[type] = frozenset(),
        keeps_logs: bool = True,
        local: Local | None = None,
    ) -> None:
        self.name = engine.name
        self.can: AbstractSet[Ability] = engine.can
        self._engine = engine
        for what, thing in (("local", local), ("retries", retry)):
            if thing is not None:
                packed(what, thing, engine.main)  # so that an error names it
        self._packed = packed(in_words(function), (function, retry, local), engine.main)
        self._kinds = {name_of(kind): kind for kind in kinds}
        self._keeps_logs = keeps_logs
        self._pace = Pace(engine.chunk_s)
        self._threads: list[threading.Thread] = []
        self._inbox: queue.SimpleQueue[tuple[int, object]] = queue.SimpleQueue()
        self._losses: dict[T, int] = {}  # how many chunks with this task were lost
        self._is_fed = False
        self._told: dict[Ending, bool] = {}

    # --- the run's thread ---

    @property
    def workers(self) -> int:
        """How many tasks run at once; only known after ``prepare``."""
        return self._engine.workers

    def prepare(self) -> None:
        """Prepare the engine, while the run opens its file."""
        self._engine.prepare()

    def start(self, desk: Desk[T]) -> set[int]:
        """Start feeding the engine; see :class:`~pipeloom.executors.base.Executor`."""
        self._desk = desk
        self._sent = SentChunks(desk, self._kinds)
        assignment = Assignment(
            this_process(),
            desk.link.brief._replace(function=len, retry=None, spool_in=None),  # the first two are sent separately
            self._packed,
            self._keeps_logs,
            logging.getLogger().level,
            frozenset(self._kinds),
        )
        token = uuid.uuid4().bytes
        self._assignment = assigned(token, pipeloom.__version__, assignment)
        self._engine.start(token, lambda note: self._inbox.put((note.number, note)))
        for name, loop in (("feeder", self._feed), ("collector", self._collect)):
            thread = threading.Thread(target=loop, name=f"pipeloom-{name}", daemon=True)
            thread.start()
            self._threads.append(thread)
        return {ALL}

    def look(self) -> None:
        """When no further task may start, take back those that have not; tell the rest to end if they should."""
        self._engine.look()
        if self._desk.closed:
            self._tell("begin nothing more")
        if self._desk.closed or self._desk.is_limited:
            for number in self._sent.numbers(uncounted=not self._desk.closed):
                if self._engine.withdraw(number):
                    self._sent.take_back(number)
        if self._desk.link.cancelling and not self._tell("end"):
            self._sent.take_back_all()  # workers that cannot be told are not waited for

    def _tell(self, how: Ending) -> bool:
        """Tell the workers, only once, and return whether they could be told."""
        if how not in self._told:
            self._told[how] = self._engine.tell(how)
        return self._told[how]

    def give_up(self, place: int, task: T, error: Exception | None = None) -> bool:  # noqa: ARG002 - as all executors have it
        """Return false: a running task cannot be ended from here, and its outcome still counts."""
        return False

    def replace(self, place: int) -> bool:  # noqa: ARG002 - no task is given up
        """Return true: the engine continues."""
        return True

    def join(self, timeout_s: float) -> int:
        """Wait for the two threads."""
        return joined(self._threads, timeout_s)

    def close(self) -> None:
        """Stop waiting for results, and close the engine; may be called twice."""
        if self._threads:
            self._sent.take_back_all()
        self._engine.close()

    # --- the feeder's thread ---

    def _feed(self) -> None:
        desk = self._desk
        try:
            with telling(desk):
                while self._has_room():
                    returned = self._sent.returned
                    tasks = gather(desk, self._pace.chunk_size(), desk.next)
                    if not tasks and not self._sent.await_return(returned):
                        break
                    for chunk in self._chunks(tasks):
                        if self._has_room():
                            self._send(chunk)
                        else:
                            desk.give_back(chunk)
        finally:
            self._is_fed = True
            self._inbox.put((_NOTHING, None))  # wakes the collector

    def _has_room(self) -> bool:
        return self._sent.await_room(self._window)

    def _window(self) -> int:
        """Return how many chunks the engine may have; under a limit none that waits, as its tasks would count."""
        engine = self._engine
        return min(engine.window, engine.workers) if self._desk.is_limited else engine.window

    def _chunks(self, tasks: list[T]) -> list[list[T]]:
        """Return tasks as one chunk, except that each task from a lost chunk is sent alone."""
        alone = [[task] for task in tasks if task in self._losses]
        together = [task for task in tasks if task not in self._losses]
        return [together, *alone] if together else alone

    def _send(self, tasks: list[T]) -> None:
        desk = self._desk
        sent: list[T] = []
        calls: list[Call] = []
        for task in tasks:
            try:
                calls.append(call_of(task, self._engine.main))
            except Exception as error:  # noqa: BLE001 - foreign code
                desk.end(task, failed_before(task, desk.link, error, "the input cannot be sent to a worker"))
                desk.hand_over(task)
            else:
                sent.append(task)
        if not sent:
            return
        number = self._sent.add(sent)
        order = encode(Order(number, self._engine.chunk_s * _PATIENCE, calls))
        try:
            self._engine.submit(number, self._assignment, order, lambda answer: self._inbox.put((number, answer)))
        except Exception as error:  # noqa: BLE001 - foreign code
            self._sent.take_back(number)
            self._breaks(error)

    # --- the collector's thread ---

    def _collect(self) -> None:
        desk = self._desk
        with telling(desk):
            while not (self._is_fed and not len(self._sent)):
                try:
                    number, answer = self._inbox.get(timeout=_TICK_S)
                except queue.Empty:
                    continue
                if isinstance(answer, Note):
                    self._sent.see(answer)
                    continue
                with self._sent.taking(number) as chunk:
                    if chunk is not None:
                        self._take(chunk, answer)
        desk.left(ALL)

    def _take(self, chunk: Sent[T], answer: Any) -> None:
        """Process the result of a chunk."""
        if isinstance(answer, BaseException):
            self._lose(chunk, answer)
            return
        try:
            if not isinstance(answer, bytes):
                raise ValueError("not bytes")
            done = read_done(answer)
            if isinstance(done, Failure):
                self._desk.fail(reason_of(done, f"a worker of {self.name}"))
                return
            self._sent.end(chunk, done)
        except (ValueError, msgspec.DecodeError) as error:
            self._lose(chunk, WorkerDiedError(f"its worker sent data that cannot be read: {describe(error, 100)}"))
            return
        self._pace.note(len(done.tasks), done.took_s)
        for task in chunk.tasks:
            self._losses.pop(task, None)

    def _lose(self, chunk: Sent[T], error: BaseException) -> None:
        """Decide about the tasks of a lost chunk.

        If it is unknown which of them was at fault, each is sent again alone, which shows it.
        """
        is_alone = len(chunk.tasks) == 1
        loss = self._engine.judge(chunk.number, error, is_alone=is_alone)
        if loss == "broken":
            self._breaks(error)
        elif loss != "innocent":
            losses = 1 + max(self._losses.get(task, 0) for task in chunk.left)
            if is_alone and (loss == "begun" or losses >= _LOSSES):
                if not isinstance(error, WorkerDiedError):
                    error = WorkerDiedError(f"its worker did not answer: {describe(error, 1000)}")
                self._losses.pop(chunk.tasks[0], None)
                self._sent.charge(chunk, error, storable(f"{type(error).__name__}: {error}\n"))
            else:
                self._losses.update(dict.fromkeys(chunk.left, losses))

    def _breaks(self, error: BaseException) -> None:
        """End the run, only once: outcomes that have arrived are stored, and the rest is left to the next run."""
        if not self._desk.closed:
            error = missing_module(error) or error
            what = f"{type(error).__name__}: {describe(error, 300)}".rstrip(": .")
            broken = ExecutorBrokenError(
                f"{self.name} can run nothing more ({what}): finished tasks are stored; run it again with "
                "a working executor to do the rest"
            )
            broken.__cause__ = error
            self._desk.fail(broken)
