"""Observes an event loop from another thread: what blocks it, and where a coroutine waits.

Nothing runs on the loop for this. The run's thread inspects the loop's thread ten times a second: if the same step
of the loop is running at two consecutive inspections, nothing else has run there in between.
"""

from __future__ import annotations

import asyncio
import inspect
import linecache
import logging
import os
import sys
from contextvars import Context
from time import monotonic
from types import FrameType
from typing import Any, Final

from pipeloom.data.clock import utc_now
from pipeloom.data.text import clean, describe, shorten
from pipeloom.data.tracebacks import stack_of
from pipeloom.statuses import RUNNING
from pipeloom.wire import LogLine
from pipeloom.worker.current import task_in
from pipeloom.worker.logs import keep_line
from pipeloom.worker.perform_async import perform_async
from pipeloom.worker.task import Task

__all__ = ["LoopWatch", "where_it_waits"]

logger = logging.getLogger("pipeloom")

_LONG_S: Final = 0.5
"""How long one line may block the loop in total, as far as observed, before it is reported."""
_STEP: Final = asyncio.Handle._run.__code__  # noqa: SLF001 - only compared with; if it changes, no step is recognised
_ASYNC: Final = inspect.CO_COROUTINE | inspect.CO_ASYNC_GENERATOR | inspect.CO_ITERABLE_COROUTINE


class LoopWatch:
    """Reports the lines that block an event loop, each once; used by a single thread, not the loop's.

    Args:
        thread: The identifier of the loop's thread.
    """

    def __init__(self, thread: int) -> None:
        self.thread = thread
        self._step: tuple[FrameType, int] | None = None
        self._since = 0.0
        self._kept_s: dict[tuple[str, int], float] = {}
        self._named: set[tuple[str, int]] = set()

    def look(self) -> None:
        """Check what runs on the loop; call this several times a second."""
        now = monotonic()
        frames = _frames_of(self.thread)
        step = _step_in(frames)
        if step is not None and step == self._step:
            self._blocked(step[0], frames, now - self._since)
        self._step, self._since = step, now

    def _blocked(self, step: FrameType, frames: list[FrameType], for_s: float) -> None:
        inside = frames[frames.index(step) + 1 :] or [step]
        # The innermost frame that could have awaited something is the one to change.
        frame = next((frame for frame in reversed(frames) if frame.f_code.co_flags & _ASYNC), inside[-1])
        place = frame.f_code.co_filename, frame.f_lineno
        self._kept_s[place] = self._kept_s.get(place, 0.0) + for_s
        if self._kept_s[place] >= _LONG_S and place not in self._named:
            self._named.add(place)
            _name(_task_of(step, frames), frame, place)


def _step_in(frames: list[FrameType]) -> tuple[FrameType, int] | None:
    """Return what identifies the current step of a loop; ``None`` while the loop waits.

    This is the frame of its handle. A loop that is not written in Python has none: there it is the innermost frame,
    as long as it stays at the same instruction.
    """
    for frame in frames:
        if frame.f_code is _STEP:
            return frame, 0
    if any(frame.f_code is perform_async.__code__ for frame in frames):
        return frames[-1], frames[-1].f_lasti
    return None


def _task_of(step: FrameType, frames: list[FrameType]) -> Task | None:
    """Return which of our tasks a step of the loop belongs to, directly or through something that it started."""
    for frame in frames:
        if frame.f_code is perform_async.__code__:
            found: Task | None = frame.f_locals.get("task")
            return found
    context = getattr(step.f_locals.get("self"), "_context", None)  # of its handle
    return task_in(context) if isinstance(context, Context) else None


def _name(task: Task | None, frame: FrameType, place: tuple[str, int]) -> None:
    """Log what blocks the loop: with the task, if it is one of ours, otherwise in the program's log."""
    path, line = place
    source = shorten(linecache.getline(path, line).strip(), 100)
    where = f"{os.path.basename(path)}, line {line}, in {frame.f_code.co_name}" + (f": {source}" if source else "")
    who = "the program" if task is None else f"task {describe(task.name, 80)}"
    said = clean(
        f"{who} blocks the event loop for all other tasks ({where}): await slow operations, or run them in a "
        "thread with asyncio.to_thread",
        400,
    )
    if task is not None and task.status == RUNNING:
        keep_line(task, LogLine(utc_now(), "WARNING", logger.name, said, None), was_heard=False)
    else:
        logger.warning("%s", said)


def where_it_waits(running: asyncio.Task[Any], thread: int | None, error: Exception) -> str:
    """Return where a coroutine is now, in the format of a traceback; any thread.

    Args:
        running: The asyncio task that runs it.
        thread: The identifier of its loop's thread; ``None`` if unknown.
        error: The error that ends the call.
    """
    frames = [] if thread is None else _frames_of(thread)
    begin = next((place for place, frame in enumerate(frames) if frame.f_code is perform_async.__code__), None)
    if begin is not None and frames[begin] is getattr(running.get_coro(), "cr_frame", None):
        frames = frames[begin + 1 :]  # it is running at this moment, and perhaps blocks the loop
    else:
        frames = _awaited_by(running.get_coro())[1:]
    return f"The coroutine was here when its time ran out:\n{stack_of(frames)}{type(error).__name__}: {error}\n"


def _frames_of(thread: int) -> list[FrameType]:
    """Return the frames of a thread, the outermost first."""
    frames: list[FrameType] = []
    frame = sys._current_frames().get(thread)  # noqa: SLF001 - public, by its documentation
    while frame is not None:
        frames.append(frame)
        frame = frame.f_back
    return frames[::-1]


def _awaited_by(coroutine: object) -> list[FrameType]:
    """Return the frames of a waiting coroutine, and of those that it awaits."""
    frames: list[FrameType] = []
    while coroutine is not None:
        for frame, awaited in (("cr_frame", "cr_await"), ("ag_frame", "ag_await"), ("gi_frame", "gi_yieldfrom")):
            if hasattr(coroutine, frame):
                found = getattr(coroutine, frame)
                if found is not None:
                    frames.append(found)
                coroutine = getattr(coroutine, awaited)
                break
        else:
            break
    return frames
