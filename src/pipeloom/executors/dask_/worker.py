"""Runs a chunk in a worker of a Dask cluster, and reports its progress to the run.

A thread checks the running task ten times a second, and reports changes through the scheduler, as events of a topic
that the run has subscribed to. The scheduler keeps the last events of every topic for ever, so all runs share one
topic.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic
from typing import Any, Final

from distributed import get_worker
from distributed.utils import sync

from pipeloom.executors.remote.chunk_task import ChunkTask
from pipeloom.executors.remote.chunks import TOKEN_BYTES, read_order
from pipeloom.executors.remote.run_chunk import run_chunk
from pipeloom.wire import NO_PROGRESS, Progress

__all__ = ["TOPIC", "run"]

TOPIC: Final = "pipeloom"
_LOOK_S: Final = 0.1  # the limit for a whole worker process: its threads take turns
_LINES: Final = 100  # log lines in one report

_guard = threading.Lock()
_looking = 0


def run(assignment: bytes, order: bytes) -> bytes:
    """Perform a chunk; see :func:`~pipeloom.executors.remote.run_chunk.run_chunk`."""
    chunk = read_order(order)
    watch = _Watch(assignment[:TOKEN_BYTES], chunk.number, is_alone=len(chunk.calls) == 1)
    with watch.looking():
        return run_chunk(assignment, order, watch.worker.address, watch)


class _Watch:
    """Reports to the run which task is running, and its progress.

    Args:
        token: The token of the run.
        number: The number of the chunk.
        is_alone: Whether the chunk has a single task. If its worker dies, the run needs to know whether the task
            had started, so it does not start before the scheduler knows. With several tasks, it would remain
            unknown which one was running.
    """

    def __init__(self, token: bytes, number: int, *, is_alone: bool) -> None:
        self.worker: Any = get_worker()
        self._head = token.hex(), number
        self._is_alone = is_alone
        self._running: tuple[int, ChunkTask, float] | None = None
        self._shown: tuple[int, Progress, float] | None = None
        self._lines = 0  # how many log lines of the running task were reported

    def begins(self, place: int, task: ChunkTask) -> None:
        """Record that a task starts."""
        self._running = place, task, monotonic()
        if self._is_alone:
            event = (*self._head, place, 0.0, NO_PROGRESS, 0, (), 0.0)
            sync(self.worker.loop, self.worker.scheduler.log_event, topic=TOPIC, msg=event)

    @contextmanager
    def looking(self) -> Iterator[None]:
        """Check the running task from a separate thread inside this context."""
        global _looking  # noqa: PLW0603 - there is one limit for the whole process
        over = threading.Event()
        thread = threading.Thread(target=self._look_until, args=(over,), name="pipeloom-watch", daemon=True)
        with _guard:
            _looking += 1
        thread.start()
        try:
            yield
        finally:
            over.set()
            with _guard:
                _looking -= 1
            thread.join()

    def _look_until(self, over: threading.Event) -> None:
        while not over.wait(_LOOK_S * max(_looking, 1)):
            if (running := self._running) is not None:
                self._say_news(*running)

    def _say_news(self, place: int, task: ChunkTask, began: float) -> None:
        if self._shown is None or self._shown[0] != place:
            self._lines = 0
        lines = task.lines[self._lines : self._lines + _LINES]
        news = place, task.progress, task.slow_until
        if lines or self._shown != news:
            self._shown = news
            event = (
                *self._head, place, monotonic() - began, task.progress, self._lines, lines, task.slow_down_s
            )  # fmt: skip
            self.worker.log_event(TOPIC, event)
            self._lines += len(lines)
