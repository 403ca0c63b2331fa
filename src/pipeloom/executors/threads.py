"""Workers that are threads of this process."""

from __future__ import annotations

import logging
import threading
from collections.abc import Set as AbstractSet
from os import getpid
from typing import Final, Generic

from pipeloom.data.rates import duration
from pipeloom.data.text import describe
from pipeloom.errors import TaskTimeoutError
from pipeloom.executors.base import Desk, T, joined, telling
from pipeloom.executors.forks import orphan_in_forks
from pipeloom.statuses import QUEUED, RUNNING
from pipeloom.wire import Ability, Outcome
from pipeloom.worker.current import CallerContext
from pipeloom.worker.link import Link
from pipeloom.worker.local import Local, WorkerLocal
from pipeloom.worker.perform import end_of_fork, ended_outside, perform, whereabouts
from pipeloom.worker.task import Task

__all__ = ["ThreadExecutor", "given_up"]

logger = logging.getLogger("pipeloom")


class ThreadExecutor(Generic[T]):
    """Runs one loop per worker until there is nothing more to do.

    The threads are daemons, so a task that never ends cannot keep the interpreter from exiting. What tasks have
    sent is stored nevertheless, since the writer's thread is not a daemon.

    Args:
        workers: The number of workers, at least 1.
        local: Called once in each thread; the value is ``ctx.local``.
    """

    name: Final = "threads"
    can: Final[AbstractSet[Ability]] = frozenset({"live", "logs", "ask", "checkpoint"})

    def __init__(self, workers: int, local: Local | None = None) -> None:
        self.workers = workers
        self._local = local
        self._threads: list[threading.Thread] = []
        self._slots: list[T | None] = []
        self._pid = getpid()
        orphan_in_forks(self)
        # The attempts that have not ended. Two threads may try to end one, at a time limit and when the program
        # ends: whichever removes the entry does so. Removing is atomic; workers would contend for a lock.
        self._open: dict[int, T] = {}

    def prepare(self) -> None:
        """Do nothing: threads start quickly."""

    def look(self) -> None:
        """Do nothing: a task's state is recorded on the task itself."""

    def close(self) -> None:
        """Leave calls that are still running, since a thread cannot be stopped."""

    def start(self, desk: Desk[T]) -> set[int]:
        """Start the threads; see :class:`~pipeloom.executors.base.Executor`."""
        self._desk = desk
        self._slots = desk.slots
        self._surroundings = CallerContext(desk.link)
        for place in range(self.workers):
            thread = self._thread(place)
            try:
                thread.start()
            except RuntimeError:
                if not self._threads:
                    raise
                logger.warning("only %d of %d workers could be started", place, self.workers)
                break
            self._threads.append(thread)
        return set(range(len(self._threads)))

    def replace(self, place: int) -> bool:
        """Start another thread in place of one whose call does not return; return false if the system refuses."""
        thread = self._thread(place)
        try:
            thread.start()
        except RuntimeError:
            return False
        self._threads[place] = thread  # the other one is left running
        return True

    def _thread(self, place: int) -> threading.Thread:
        name = f"pipeloom-worker-{place + 1}"
        return threading.Thread(target=self._loop, args=(place,), name=name, daemon=True)

    def give_up(self, place: int, task: T, error: Exception | None = None) -> bool:
        """End a task from outside; its call continues, since a thread cannot be stopped."""
        if task.status != RUNNING or self._open.pop(id(task), None) is None:
            return False
        self._desk.end(task, given_up(task, self._desk.link, self._threads[place].ident, error))
        return True

    def join(self, timeout_s: float) -> int:
        """Wait for threads that are about to end."""
        return joined(self._threads, timeout_s)

    def performed(self) -> list[T]:
        """Return the running tasks; any thread."""
        return [task for task in self._slots if task is not None]

    # --- the workers' threads ---

    def _loop(self, place: int) -> None:
        """Work until there is nothing more to do or the writer has ended; then report that, whatever happened."""
        desk, is_replaced = self._desk, False
        with telling(desk):
            if self._local is None:
                is_replaced = self._work(place, None)
            else:
                is_replaced = self._surroundings.copy().run(self._work_with_local, place, self._local)
        if not is_replaced:
            desk.slots[place] = None
            desk.left(place)

    def _work_with_local(self, place: int, local: Local) -> bool:
        of_worker = WorkerLocal(local)
        try:
            return self._work(place, of_worker)
        finally:
            try:
                of_worker.close()
            except Exception as error:  # noqa: BLE001 - foreign code: what the tasks did is stored nevertheless
                logger.warning("local= raised when its worker ended: %s", describe(error))

    def _work(self, place: int, local: WorkerLocal | None) -> bool:
        """Perform one task after the other.

        Returns:
            True if another thread has taken this place, because a call here exceeded its time limit.
        """
        desk = self._desk
        link, slots, pid = desk.link, desk.slots, self._pid
        fresh, still_open = self._surroundings.copy, self._open
        worker = f"thread-{place + 1}"
        while (task := desk.next()) is not None:
            if task.status == QUEUED:
                task.worker = worker
                still_open[id(task)] = task
                slots[place] = task
                if local is not None:
                    task.local = local.value()
                outcome = fresh().run(perform, task, link)  # nothing leaks from one attempt to the next
                if getpid() != pid:
                    end_of_fork(outcome)
                if still_open.pop(id(task), None) is None:
                    desk.returned(task)
                    return True
                desk.end(task, outcome)
                del outcome  # its output may be large, and the next task may take long
                if local is not None:
                    task.local = None
            desk.hand_over(task)
            slots[place] = None
        return False


def given_up(task: Task, link: Link, thread: int | None, error: Exception | None = None) -> Outcome:
    """Return the outcome of a call that is given up but continues, since a thread cannot be stopped.

    Args:
        task: The task.
        link: Its run.
        thread: The identifier of the thread in which the call continues.
        error: Why; by default, its time limit has expired.
    """
    if error is None:
        error = TaskTimeoutError(
            f"not done after {duration(link.brief.timeout_s)}; its call continues, since a thread cannot be stopped"
        )
    return ended_outside(task, link, error, whereabouts(thread, error))
