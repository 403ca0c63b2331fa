"""Performs a chunk of tasks wherever the executor runs it: bytes in, bytes out.

What is the same for all chunks of a run is read once per process, and kept for its later chunks.
"""

from __future__ import annotations

import contextlib
import logging
import os
import pickle
import signal
import socket
import threading
import uuid
import weakref
from collections import OrderedDict
from collections.abc import Iterator
from time import monotonic
from typing import Any, Final, Protocol

import pipeloom
from pipeloom.executors.remote.calls import Call
from pipeloom.executors.remote.chunk_task import ChunkLink, ChunkTask
from pipeloom.executors.remote.chunks import (
    TOKEN_BYTES,
    Assignment,
    Done,
    Freight,
    Left,
    Order,
    assignment_of,
    freight_of,
    read_order,
)
from pipeloom.executors.remote.engine import Ending
from pipeloom.executors.remote.forms import encode
from pipeloom.executors.remote.outcomes import ended
from pipeloom.executors.remote.program import load_there
from pipeloom.executors.remote.raised import failure_of
from pipeloom.wire import Outcome
from pipeloom.worker.current import CallerContext
from pipeloom.worker.local import WorkerLocal
from pipeloom.worker.logs import keeping_logs
from pipeloom.worker.perform import end_of_fork, failed_before, perform

__all__ = ["ChunkTask", "Watch", "hear_of_end", "leave", "run_chunk", "this_process", "this_worker"]

_HEAVY: Final = 16 * 2**20  # bytes of outcomes beyond which a chunk returns early
_RUNS: Final = 16  # how many runs are remembered: successive, concurrent or nested ones


class Watch(Protocol):
    """An observer of a chunk, in its worker."""

    def begins(self, place: int, task: ChunkTask) -> None:
        """Called before a task starts, with its place in the chunk; the task waits for the return."""


def run_chunk(assignment: bytes, order: bytes, worker: str | None = None, watch: Watch | None = None) -> bytes:
    """Perform a chunk; blocks until it is done. One thread.

    Args:
        assignment: What is the same for all chunks, see ``chunks.assigned``.
        order: The chunk.
        worker: The display name of this worker; by default, its process.
        watch: Observes each task.

    Returns:
        A ``Done``, or a ``Failure`` if this worker cannot perform any chunk.
    """
    try:
        run = _runs.of(assignment)
        local = run.local()
    except BaseException as error:  # noqa: BLE001 - foreign code: an imported module or `local=` may raise anything
        return encode(failure_of(error))
    return run.perform(read_order(order), local, worker or this_worker(run.is_home), watch)


def hear_of_end(token: bytes, how: Ending) -> None:
    """Record in a worker's process that a run is ending; any thread."""
    _runs.end(token, how)


def leave(token: bytes) -> str | None:
    """Forget a run and exit its ``local=``; return what that raised, as text. Any thread."""
    return _runs.leave(token)


_IDENTITY: Final = uuid.uuid4().hex


def this_process() -> str:
    """Return an identifier of this process that is unique across machines."""
    return f"{_IDENTITY}-{os.getpid()}"


def this_worker(is_home: bool) -> str:
    """Return this worker's display name: its thread in the run's own process, else its machine and process."""
    return threading.current_thread().name if is_home else f"{socket.gethostname()}:{os.getpid()}"


# --- a run, in a worker ---


class _Run:
    """What a process knows of a run.

    Args:
        assignment: The assignment of the run.
    """

    def __init__(self, assignment: Assignment) -> None:
        function, retry, self._local = load_there(assignment.packed)
        self.is_home = assignment.home == this_process()
        self.link = ChunkLink(assignment.brief._replace(function=function, retry=retry), assignment.kinds)
        self._assignment = assignment
        self._surroundings = CallerContext(self.link)
        self._locals: dict[int, WorkerLocal] = {}
        self.is_ending = False  # no further task may start

    def local(self) -> Any:
        """Return the value of ``local=`` in this thread; raises whatever that raises."""
        if self._local is None:
            return None
        thread = threading.get_ident()
        of_worker = self._locals.get(thread)
        if of_worker is None:
            of_worker = self._locals[thread] = WorkerLocal(self._local)
        return of_worker.value()

    def leave(self) -> str | None:
        """Exit ``local=`` in all threads; return the first exception that was raised, as text."""
        first = None
        while self._locals:
            try:
                self._locals.popitem()[1].close()
            except Exception as error:  # noqa: BLE001 - foreign code: what the tasks did is stored nevertheless
                first = first or f"{type(error).__name__}: {error}"
        return first

    def perform(self, order: Order, local: Any, worker: str, watch: Watch | None) -> bytes:
        """Perform a chunk, or only its first tasks if they should return early."""
        began = monotonic()
        found: list[Left] = []
        size = 0
        with self._hearing():
            for place, call in enumerate(order.calls):
                if self.is_ending or (found and (monotonic() - began > order.patience_s or size > _HEAVY)):
                    break
                if found and found[-1].slow_down_s:
                    break  # the run must know first, since it decides what starts
                left = self._perform(place, call, local, watch)
                size += _size_of(left)
                found.append(left)
        return encode(Done(order.number, worker, monotonic() - began, found))

    @contextlib.contextmanager
    def _hearing(self) -> Iterator[None]:
        """Keep the log records of tasks, and ignore Ctrl-C, which would fail a task; the run handles it."""
        with contextlib.ExitStack() as stack:
            if self._assignment.keeps_logs:
                stack.enter_context(keeping_logs())
            if not self.is_home:
                stack.enter_context(_levels.at(self._assignment.level))
                if threading.current_thread() is threading.main_thread():
                    stack.enter_context(_deaf())
            yield

    def _perform(self, place: int, call: Call, local: Any, watch: Watch | None) -> Left:
        link = self.link
        item, task_id, key, name, attempt, uncounted, seen_before, state = call
        task = ChunkTask(item, task_id, key, name, is_elsewhere=not self.is_home)
        task.attempt, task.uncounted, task.seen_before, task.state = attempt, uncounted, seen_before, state
        task.local = local
        if watch is not None:
            watch.begins(place, task)
        pid = os.getpid()
        _running.add(task)
        try:
            if type(item) is bytes:
                task.item = pickle.loads(item)
        except BaseException as error:  # noqa: BLE001 - foreign code
            outcome = failed_before(task, link, error, "the input cannot be read by a worker")
        else:
            outcome = self._surroundings.copy().run(perform, task, link)
        if os.getpid() != pid:
            end_of_fork(outcome)
        _running.discard(task)
        return _left(task, place, name, outcome)


def _left(task: ChunkTask, place: int, name: str, outcome: Outcome) -> Left:
    word, luggage = ended(task, place, 0, name, outcome)
    number = None if task.number_said is None else (task.number_said, task.is_renumbered)
    return Left(word, freight_of(luggage), task.spoken, task.lines, number, task.slow_down_s)


def _size_of(left: Left) -> int:
    """Return about how many bytes sending it takes."""
    size = _weight(left.freight) + sum(_weight(spoken.freight) for spoken in left.spoken)
    if left.ended.output is not None:
        size += len(left.ended.output.parts)
    return size + len(left.ended.result or "") + sum(len(line[3]) for line, _ in left.lines)


def _weight(freight: Freight) -> int:
    return sum(map(len, freight.images)) + sum(map(len, freight.file))


# --- what exists once per process ---


class _Runs:
    """The runs that this process knows; any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._found: OrderedDict[bytes, _Run] = OrderedDict()
        self._ending: OrderedDict[bytes, None] = OrderedDict()

    def of(self, assignment: bytes) -> _Run:
        """Return the run of an assignment, which is read only once."""
        token = assignment[:TOKEN_BYTES]
        run = self._found.get(token)
        if run is None:
            fresh = _Run(assignment_of(assignment, pipeloom.__version__))  # outside the lock: imports may take long
            with self._lock:
                run = self._found.setdefault(token, fresh)
                run.is_ending = run.is_ending or token in self._ending
                while len(self._found) > _RUNS:
                    self._found.popitem(last=False)[1].leave()
        return run

    def end(self, token: bytes, how: Ending) -> None:
        """Record that a run is ending; its assignment may arrive here later."""
        with self._lock:
            self._ending[token] = None
            while len(self._ending) > _RUNS:
                self._ending.popitem(last=False)
            if (run := self._found.get(token)) is not None:
                run.is_ending = True
                run.link.cancelling = how == "end"

    def leave(self, token: bytes) -> str | None:
        with self._lock:
            run = self._found.pop(token, None)
        return None if run is None else run.leave()


class _Levels:
    """The root logger's level, while chunks that need a lower one are running; any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._wanted: list[int] = []
        self._before = logging.NOTSET

    @contextlib.contextmanager
    def at(self, level: int) -> Iterator[None]:
        """Set the level to ``level`` or lower inside this context."""
        root = logging.getLogger()
        with self._lock:
            if not self._wanted:
                self._before = root.level
            self._wanted.append(level)
            root.setLevel(min(self._before, *self._wanted))
        try:
            yield
        finally:
            with self._lock:
                self._wanted.remove(level)
                root.setLevel(min([self._before, *self._wanted]))


@contextlib.contextmanager
def _deaf() -> Iterator[None]:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        if before is not None:  # otherwise it was not set from Python
            signal.signal(signal.SIGINT, before)


_runs = _Runs()
_levels = _Levels()
_running: weakref.WeakSet[ChunkTask] = weakref.WeakSet()


def _after_fork() -> None:
    """Reset the state in a forked child, where no task runs: a pool may fork its workers at any time."""
    global _runs, _levels
    for task in list(_running):
        task.orphan()
    _runs, _levels = _Runs(), _Levels()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
