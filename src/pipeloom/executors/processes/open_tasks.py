"""The tasks that one worker process has been sent and that have not ended: who says how one ends, and only once.

Its attendant reads outcomes. The run's thread looks at the task that runs, and may end it from outside. Whoever
takes a task out of here says how it ended, and nobody else does.
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
        desk: Where outcomes go.
        place: The worker's.
    """

    def __init__(self, desk: Desk[T], place: int) -> None:
        self._desk = desk
        self._place = place
        self._label = f"process-{place + 1}"
        self._tasks: dict[int, T] = {}
        self._version = 0  # of the progress that was seen last
        self.lock = threading.RLock()  # between a task's end, and what is seen of it while it runs

    def __len__(self) -> int:
        return len(self._tasks)

    def add(self, tasks: dict[int, T]) -> None:
        """Take in tasks that are about to be sent."""
        self._tasks.update(tasks)

    def get(self, serial: int) -> T | None:
        """Return a task, if it has not ended."""
        return self._tasks.get(serial)

    def serials(self) -> list[int]:
        """Return the numbers of all; any thread."""
        return list(self._tasks)

    def serial_of(self, task: T) -> int | None:
        """Return a task's number, if it has not ended; any thread."""
        return next((serial for serial, one in list(self._tasks.items()) if one is task), None)

    def see(self, page: Page) -> None:
        """See which one runs, and how far it is; the run's thread, with the lock."""
        task = self._tasks.get(serial := page.running)
        if task is None:
            return
        if task.status == QUEUED:
            self._began(task, page.since)
        self._desk.slots[self._place] = task
        if (news := page.progress(serial, self._version)) is not None:
            task.progress, self._version = news

    def end(self, word: Ended, luggage: Attached = NONE) -> None:
        """End a task as its worker says, unless it has ended; blocks while there is no room for it.

        Args:
            word: What it says.
            luggage: What came with that.

        Raises:
            ValueError: Nothing of ours has said it.
        """
        outcome = outcome_of(word, luggage)
        with self.lock:
            task = self._tasks.pop(word.serial, None)
            if task is None:
                return  # it was given up, or this is said twice
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
        """Take out a task, to end it otherwise than its worker says; ``None`` if it has ended by itself.

        Args:
            serial: Which one.
            since: When it began, by ``time.monotonic``, if nobody may have seen it running.
        """
        with self.lock:
            task = self._tasks.pop(serial, None)
            if task is not None:
                if since is not None and task.status == QUEUED:
                    self._began(task, since)
                self._leaves(task)
        return task

    def end_outside(self, task: T, error: Exception, trace: str) -> None:
        """End a task that was taken out; it is still to be handed over.

        Args:
            task: Which one.
            error: Why.
            trace: Where it was.
        """
        self._desk.end(task, ended_outside(task, self._desk.link, error, storable(trace)))

    def give_back(self, serials: Iterable[int]) -> None:
        """Return those of these tasks that have not begun to the desk: they are as new."""
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
