"""Workers that are processes on this machine: they use every core, and a crash of one only fails its task.

::

    run ── desk ─▶ Attendant (a thread) ─▶ Shift ─▶ pipe, shared memory ─▶ worker process: perform(task, link)
                   one for each place       one for each process

Workers share nothing with each other, and no lock, queue or semaphore that one of them could hold for ever. The run
never unpickles anything that a worker sends.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from collections.abc import Set as AbstractSet
from threading import Event
from typing import Any, Final, Generic

from pipeloom.executors.base import Desk, T, joined
from pipeloom.executors.processes.attendant import Attendant
from pipeloom.executors.processes.launch import WorkerProcess
from pipeloom.executors.processes.orders import Orders
from pipeloom.executors.processes.parcels import Boot, to_be_told
from pipeloom.executors.processes.spare import Spare
from pipeloom.executors.remote.messages import name_of
from pipeloom.executors.remote.program import Packed, in_words, packed, present_program
from pipeloom.retry import Retry
from pipeloom.wire import Ability

__all__ = ["ProcessExecutor"]

logger = logging.getLogger("pipeloom")

_TAIL_S: Final = 0.02  # at the end of a run, between two checks for tasks that another worker may return
_CLOSE_S: Final = 2.0


class ProcessExecutor(Generic[T]):
    """Runs tasks in processes.

    Args:
        function: The user's function.
        retry: The retry policy, which is applied in the workers.
        workers: The number of processes, at least 1.
        at_first: How many of them have tasks at the start; the others are started when there are more tasks.
        kinds: The message classes that have handlers.
        keeps_logs: Whether the log records of tasks are stored.
        memory_mb: The memory limit of a process, in MiB; one that exceeds it is killed, and its task fails.
        tasks_per_worker: Replace a process after this many tasks.
        local: Called once in each process; the value is ``ctx.local``.

    Raises:
        TypeError: The function, or something that goes with it, cannot be sent to another process.
    """

    name: Final = "processes"
    can: Final[AbstractSet[Ability]] = frozenset({"live", "logs", "ask", "checkpoint", "kill"})

    def __init__(
        self,
        function: Callable[..., object],
        retry: Retry | None,
        workers: int,
        *,
        at_first: int | None = None,
        kinds: AbstractSet[type] = frozenset(),
        keeps_logs: bool = True,
        memory_mb: float | None = None,
        tasks_per_worker: int | None = None,
        local: Callable[[], Any] | None = None,
    ) -> None:
        self.workers = workers
        self._at_first = workers if at_first is None else max(1, at_first)
        self._packed = _packed(function, retry, local)
        self._keeps_logs = keeps_logs
        self._memory_mb = memory_mb
        self._attendants: list[Attendant[T]] = []
        self._spare = Spare()
        self._tail = Event()  # never set; used to sleep
        self._orders = Orders({name_of(kind): kind for kind in kinds}, tasks_per_worker)

    # --- the run's thread ---

    def prepare(self) -> None:
        """Start the processes that have tasks; they boot while the run opens its file."""
        for place in range(self.workers):
            try:
                worker = WorkerProcess() if place < self._at_first else None
                self._attendants.append(Attendant(self._orders, self._next, self._spare.replacement, place, worker))
            except OSError:
                if not self._attendants:
                    raise
                logger.warning("only %d of %d workers could be started", place, self.workers)
                break

    def start(self, desk: Desk[T]) -> set[int]:
        """Put the processes to work; see :class:`~pipeloom.executors.base.Executor`."""
        self._desk = desk
        brief = desk.link.brief._replace(function=len, retry=None)  # these two are sent separately
        boot = Boot(
            present_program(),
            brief,
            self._packed,
            self._keeps_logs,
            logging.getLogger().level,
            frozenset(self._orders.kinds),
        )
        self._orders.boot = to_be_told(boot)
        for attendant in self._attendants:
            attendant.start(desk)
        return set(range(len(self._attendants)))

    def look(self) -> None:
        """Update what is known of the running tasks, and check the memory of their processes."""
        for attendant in self._attendants:
            shift = attendant.shift
            if shift is not None:
                shift.look()
                if self._memory_mb is not None:
                    shift.check_memory(self._memory_mb)

    def give_up(self, place: int, task: T, error: Exception | None = None) -> bool:
        """End a task from outside, with its process."""
        shift = self._attendants[place].shift
        return shift is not None and shift.give_up(task, error)

    def replace(self, place: int) -> bool:  # noqa: ARG002 - the attendant of the place starts another process
        """Return true: the place always gets another worker."""
        return True

    def join(self, timeout_s: float) -> int:
        """Wait for workers that are about to end."""
        return joined([attendant.thread for attendant in self._attendants], timeout_s)

    def close(self) -> None:
        """Kill the remaining workers; may be called twice."""
        self._spare.close()
        for attendant in self._attendants:
            attendant.discard()
        for attendant in self._attendants:
            if attendant.thread.ident is not None:
                attendant.thread.join(_CLOSE_S)

    # --- an attendant's thread ---

    def _next(self) -> T | None:
        """Return the next task; ``None`` at the end, when no worker has a task that it may still return."""
        while (task := self._desk.next()) is None:
            if self._desk.closed or not any(attendant.has_more for attendant in self._attendants):
                return None
            self._tail.wait(_TAIL_S)
        return task


def _packed(function: Callable[..., object], retry: Retry | None, local: Callable[[], Any] | None) -> Packed:
    for what, thing in (("local", local), ("retries", retry)):
        if thing is not None:
            packed(what, thing)  # so that an error names it
    return packed(in_words(function), (function, retry, local))
