"""The chunks that were sent to an engine; each result is taken only once, however often or late it arrives."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from time import monotonic
from typing import Final, Generic

from pipeloom.data import stopwatch
from pipeloom.data.clock import utc_ago
from pipeloom.executors.base import Desk, T, as_new
from pipeloom.executors.remote.chunks import Done, Left, Spoken, unloaded
from pipeloom.executors.remote.engine import Note
from pipeloom.executors.remote.forms import Line
from pipeloom.executors.remote.messages import message_of
from pipeloom.executors.remote.outcomes import outcome_of
from pipeloom.statuses import QUEUED, RUNNING
from pipeloom.wire import LogLine
from pipeloom.worker.logs import keep_line
from pipeloom.worker.perform import ended_outside

__all__ = ["Sent", "SentChunks"]

_TICK_S: Final = 0.1


class Sent(Generic[T]):
    """A chunk that was sent.

    Attributes:
        number: Its number.
        tasks: The tasks that were sent.
        left: The tasks that have not ended.
        at: When it was sent, by ``time.monotonic``.
        is_counted: Whether its tasks count against a limit from the moment they were taken.
        slot: The slot on the desk that shows its running task, if any.
        lines: Place of a task in the chunk → how many of its log lines have been kept.
    """

    slot: int | None = None

    def __init__(self, number: int, tasks: list[T], *, is_counted: bool) -> None:
        self.number = number
        self.tasks = tasks
        self.left = tasks
        self.is_counted = is_counted
        self.at = monotonic()
        self.lines: dict[int, int] = {}


class SentChunks(Generic[T]):
    """Chunks by number. The feeder adds them, the collector takes their results, the run's thread takes them back.

    Args:
        desk: Receives outcomes, and the tasks that have not started.
        kinds: The message classes that have handlers, as ``module:qualname``.

    Attributes:
        returned: From how many chunks tasks went back to the desk.
    """

    def __init__(self, desk: Desk[T], kinds: Mapping[str, type]) -> None:
        self._desk = desk
        self._kinds = kinds
        self._open: dict[int, Sent[T]] = {}
        self._taken: int | None = None  # the chunk that the collector is processing
        self._count = 0
        self.returned = 0
        self._moved = threading.Condition()

    def __len__(self) -> int:
        return len(self._open)

    def numbers(self, *, uncounted: bool = False) -> list[int]:
        """Return the numbers of chunks that have no result yet.

        Args:
            uncounted: Only chunks that were sent while no limit applied.
        """
        return [chunk.number for chunk in list(self._open.values()) if not (uncounted and chunk.is_counted)]

    # --- the feeder ---

    def add(self, tasks: list[T]) -> int:
        """Add tasks that are about to be sent; return the number of their chunk."""
        with self._moved:
            self._count += 1
            self._open[self._count] = Sent(self._count, tasks, is_counted=self._desk.is_limited)
            return self._count

    def await_room(self, window: Callable[[], int]) -> bool:
        """Wait until another chunk may be sent; return false if no further task may start."""
        with self._moved:
            while not self._desk.closed:
                if len(self._open) < window():
                    return True
                self._moved.wait(_TICK_S)
        return False

    def await_return(self, before: int) -> bool:
        """Wait until tasks go back to the desk, to be sent again; return false once none can any more.

        Args:
            before: The value of ``returned`` when there was nothing left to send.
        """
        with self._moved:
            while self._open and not self._desk.closed and self.returned == before:
                self._moved.wait(_TICK_S)
            return self.returned != before and not self._desk.closed

    # --- the collector ---

    @contextmanager
    def taking(self, number: int) -> Iterator[Sent[T] | None]:
        """Process the result of a chunk in this context, unless it was processed; unfinished tasks go back."""
        with self._moved:
            chunk = self._open.get(number)
            self._taken = None if chunk is None else number
        if chunk is None:
            yield None  # it arrives twice, or late
            return
        try:
            yield chunk
        finally:
            with self._moved:
                self._taken = None
            self._close(chunk)

    def end(self, chunk: Sent[T], done: Done) -> None:
        """End the tasks of a chunk with their worker's outcomes; blocks while the channel is full.

        Raises:
            ValueError: The result was not written by our code; the tasks before the fault have ended.
        """
        if done.number != chunk.number or len(done.tasks) > len(chunk.tasks):
            raise ValueError("of another chunk")
        for place, left in enumerate(done.tasks):
            if left.ended.serial != place:
                raise ValueError("of another task")
            self._end(chunk, place, left, done.worker)
            chunk.left = chunk.tasks[place + 1 :]

    def see(self, note: Note) -> None:
        """Show a report about a running task."""
        chunk = self._open.get(note.number)
        if chunk is None or not note.place < len(chunk.tasks):
            return  # its result has arrived meanwhile
        task, slots = chunk.tasks[note.place], self._desk.slots
        if task.status == QUEUED:
            self._began(task, note.since_s)
            task.status = RUNNING
        task.progress = note.progress
        if note.slow_down_s:
            self._desk.link.slow_down(task, note.slow_down_s)
        self._keep(chunk, note.place, note.first, note.lines)
        if chunk.slot is None and None in slots:  # otherwise more tasks run than there were workers at the start
            chunk.slot = slots.index(None)
        if chunk.slot is not None:
            slots[chunk.slot] = task

    def _began(self, task: T, since_s: float) -> None:
        task.t0 = stopwatch.monotonic() - since_s
        task.started_at = utc_ago(since_s)

    def _keep(self, chunk: Sent[T], place: int, first: int, lines: Sequence[tuple[Line, bool]]) -> None:
        """Keep the log lines of a task that are new."""
        kept = chunk.lines.get(place, 0)
        if first <= kept:
            news = lines[kept - first :]
            chunk.lines[place] = kept + len(news)
            for line, was_heard in news:
                keep_line(chunk.tasks[place], LogLine(*line), was_heard=was_heard)

    def _end(self, chunk: Sent[T], place: int, left: Left, worker: str) -> None:
        desk, task, word = self._desk, chunk.tasks[place], left.ended
        with unloaded(left.freight, desk.link.brief.spool_in) as luggage:
            outcome = outcome_of(word, luggage)
        task.worker = worker
        task.started_at = word.started_at or task.started_at
        if word.name is not None:
            task.name = word.name
        if word.progress is not None:
            task.progress = word.progress
        if left.number is not None:
            task.number_said, is_another = left.number
            if is_another:
                task.task_id, task.is_renumbered = left.number[0], True
        if left.slow_down_s:
            desk.link.slow_down(task, left.slow_down_s)
        for spoken in left.spoken:
            self._say(task, spoken)
        self._keep(chunk, place, 0, left.lines)
        desk.end(task, outcome)
        desk.hand_over(task)

    def _say(self, task: T, spoken: Spoken) -> None:
        link = self._desk.link
        with unloaded(spoken.freight, link.brief.spool_in) as luggage:
            message = message_of(spoken.said, luggage, self._kinds)
        link.say(task, message, lambda: None, block=True, timeout=None)

    def charge(self, chunk: Sent[T], error: Exception, trace: str) -> None:
        """Fail the single task of a chunk that was lost.

        Args:
            chunk: The chunk.
            error: Why it was lost.
            trace: The traceback to store.
        """
        (task,) = chunk.left
        if task.status == QUEUED:
            self._began(task, monotonic() - chunk.at)
        self._desk.end(task, ended_outside(task, self._desk.link, error, trace))
        self._desk.hand_over(task)
        chunk.left = []

    # --- the run's thread, and the feeder ---

    def take_back(self, number: int) -> None:
        """Take back a chunk that is not running, unless its result is being processed."""
        with self._moved:
            chunk = None if number == self._taken else self._open.get(number)
        if chunk is not None:
            self._close(chunk)

    def take_back_all(self) -> None:
        """Take back all chunks, whose results are no longer needed."""
        for number in self.numbers():
            self.take_back(number)

    def _close(self, chunk: Sent[T]) -> None:
        slots = self._desk.slots
        if chunk.slot is not None and slots[chunk.slot] in chunk.tasks:
            slots[chunk.slot] = None
        if chunk.left:
            for task in chunk.left:
                as_new(task)
            self._desk.give_back(chunk.left)
        with self._moved:
            self._open.pop(chunk.number, None)
            self.returned += bool(chunk.left)
            self._moved.notify_all()
