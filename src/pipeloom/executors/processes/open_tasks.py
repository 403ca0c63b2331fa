"""The tasks that were sent to one worker process and have not ended; ensures that each is ended only once.

The attendant reads outcomes. The run's thread observes the running task, and may end it from outside. Only the
thread that removes a task from here reports its outcome.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from time import monotonic
from typing import Generic

from pipeloom.data import stopwatch
from pipeloom.data.clock import utc_ago
from pipeloom.data.text import storable
from pipeloom.executors.base import Desk, T, as_new
from pipeloom.executors.processes.page import Page
from pipeloom.executors.remote.forms import Ended
from pipeloom.executors.remote.outcomes import NONE, Attached, outcome_of
from pipeloom.statuses import QUEUED, RUNNING
from pipeloom.worker.perform import ended_outside

__all__ = ["OpenTasks"]


class OpenTasks(Generic[T]):
    """Tasks by the serial number under which they were sent.

    Args:
        desk: The desk that receives the outcomes.
        place: The worker's place.
    """

    def __init__(self, desk: Desk[T], place: int) -> None:
        self._desk = desk
        self._place = place
        self._label = f"process-{place + 1}"
        self._tasks: dict[int, T] = {}
        self._version = 0  # of the progress that was read last
        self.lock = threading.RLock()  # guards the end of a task against updates while it runs

    def __len__(self) -> int:
        return len(self._tasks)

    def add(self, tasks: dict[int, T]) -> None:
        """Add tasks that are about to be sent."""
        self._tasks.update(tasks)

    def get(self, serial: int) -> T | None:
        """Return a task; ``None`` if it has ended."""
        return self._tasks.get(serial)

    def serials(self) -> list[int]:
        """Return the serial numbers of all tasks; any thread."""
        return list(self._tasks)

    def serial_of(self, task: T) -> int | None:
        """Return a task's serial number; ``None`` if it has ended. Any thread."""
        return next((serial for serial, one in list(self._tasks.items()) if one is task), None)

    def see(self, page: Page) -> None:
        """Update which task is running, and its progress; the run's thread, holding the lock."""
        task = self._tasks.get(serial := page.running)
        if task is None:
            return
        if task.status == QUEUED:
            self._began(task, page.since)
        self._desk.slots[self._place] = task
        if (news := page.progress(serial, self._version)) is not None:
            task.progress, self._version = news

    def end(self, word: Ended, luggage: Attached = NONE) -> None:
        """End a task with its worker's outcome, unless it has ended; blocks while the channel is full.

        Args:
            word: The outcome.
            luggage: Its attachments.

        Raises:
            ValueError: The outcome was not written by our code.
        """
        outcome = outcome_of(word, luggage)
        with self.lock:
            task = self._tasks.pop(word.serial, None)
            if task is None:
                return  # it was given up, or this is a repetition
            task.worker = self._label
            task.started_at = word.started_at or task.started_at
            if word.name is not None:
                task.name = word.name
            if word.progress is not None:
                task.progress = word.progress
            self._desk.end(task, outcome)
            self._leaves(task)
        self._desk.hand_over(task)

    def take(self, serial: int, since: float | None = None) -> T | None:
        """Remove a task in order to end it from outside; return ``None`` if it has ended by itself.

        Args:
            serial: Its serial number.
            since: When it started, by ``time.monotonic``, in case it was never seen running.
        """
        with self.lock:
            task = self._tasks.pop(serial, None)
            if task is not None:
                if since is not None and task.status == QUEUED:
                    self._began(task, since)
                self._leaves(task)
        return task

    def end_outside(self, task: T, error: Exception, trace: str) -> None:
        """End a task that was removed; the caller must still hand it over.

        Args:
            task: The task.
            error: Why it ended.
            trace: Where it was, in the format of a traceback.
        """
        self._desk.end(task, ended_outside(task, self._desk.link, error, storable(trace)))

    def give_back(self, serials: Iterable[int]) -> None:
        """Return the tasks that have not started to the desk, reset as if they were new."""
        back = []
        with self.lock:
            for serial in sorted(serials):
                task = self._tasks.pop(serial, None)
                if task is not None:
                    if task.status == RUNNING:  # its worker had claimed it
                        as_new(task)
                        self._leaves(task)
                    back.append(task)
        if back:
            self._desk.give_back(back)

    def _began(self, task: T, since: float) -> None:
        now = monotonic()
        task.worker = self._label
        task.t0 = since + stopwatch.monotonic() - now
        if task.started_at is None:
            task.started_at = utc_ago(now - since)
        if (timeout_s := self._desk.link.brief.timeout_s) is not None:
            task.deadline = task.t0 + timeout_s
        task.status = RUNNING

    def _leaves(self, task: T) -> None:
        slots = self._desk.slots
        if slots[self._place] is task:
            slots[self._place] = None
