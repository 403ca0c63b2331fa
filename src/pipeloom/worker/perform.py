"""Call the user's function for one task, and return its outcome."""

from __future__ import annotations

import os
import sys
from types import AsyncGeneratorType, CoroutineType, FrameType, GeneratorType
from typing import Any, Final, NoReturn, TypeAlias

from pipeloom.data import finish
from pipeloom.data.clock import utc_now
from pipeloom.data.stopwatch import monotonic
from pipeloom.data.text import LONGEST_TEXT, describe, shorten, storable, tail
from pipeloom.data.tracebacks import drop_frames, stack_of, traceback_of
from pipeloom.data.values import as_json
from pipeloom.errors import RunInterruptedError, TaskCancelledError, TaskTimeoutError
from pipeloom.statuses import CANCELLED, DONE, ERROR, RUNNING, TIMED_OUT, TaskStatus
from pipeloom.wire import Brief, Failed, Outcome
from pipeloom.worker.context import TaskContext
from pipeloom.worker.current import enter
from pipeloom.worker.link import Link
from pipeloom.worker.logs import note_gap
from pipeloom.worker.retrying import LONGEST_MESSAGE, judged
from pipeloom.worker.task import Task

__all__ = ["end_of_fork", "ended_outside", "failed_before", "perform", "whereabouts"]

_OURS: Final = (os.path.dirname(__file__) + os.sep, finish.__file__)
_NOT_RUN: Final = frozenset((CoroutineType, GeneratorType, AsyncGeneratorType))


def perform(task: Task, link: Link) -> Outcome:
    """Call the function; blocks until it returns. Whatever it raises fails the task, including SystemExit.

    This does not mark the task as ended: another thread may have given it up meanwhile, and a late outcome must not
    reach the ledger.
    """
    brief = link.brief
    begin(task, brief)
    try:
        if brief.context is None:
            value = brief.function(task.item)
        elif brief.context:
            value = brief.function(task.item, **{brief.context: TaskContext(task, link)})
        else:
            value = brief.function(task.item, TaskContext(task, link))
        verdict = returned(task, brief, value)
    except BaseException as error:  # noqa: BLE001 - including SystemExit, which ends the task, not the program
        verdict = raised(task, link, error)
    return ended(task, verdict)


Verdict: TypeAlias = tuple[
    TaskStatus,
    str | None,  # message
    str | None,  # result
    Failed | None,
    str | None,  # when it finished, if its worker reported that
]
"""The result of a call before its output is closed: the first part of an :data:`~pipeloom.wire.Outcome`."""


def begin(task: Task, brief: Brief) -> None:
    """Record that a task's call starts; must be called in the context that the call runs in."""
    enter(task)
    task.started_at = utc_now()
    task.t0 = began = monotonic()
    if brief.timeout_s is not None:
        task.deadline = began + brief.timeout_s
    task.status = RUNNING


def returned(task: Task, brief: Brief, value: object) -> Verdict:
    """Return the verdict on a call that returned; raises if its value cannot be a result."""
    if value is not None and type(value) in _NOT_RUN:
        raise _not_run(value)
    message = task.progress[2] or None
    if task.said_finish is not None:
        status, message, result, finished_at = finish.judged(task.said_finish)
        return status, message, result, None, finished_at
    if value is None or not brief.keeps_results:
        return DONE, message, None, None, None
    return DONE, message, _result(value), None, None


def raised(task: Task, link: Link, error: BaseException) -> Verdict:
    """Return the verdict on a call that raised."""
    if isinstance(error, TaskCancelledError | RunInterruptedError):  # the latter from a run inside the task
        return CANCELLED, describe(error), None, None, None
    message, failed = judged(error, *_described(error), task, link)
    drop_frames(error)  # it is kept until the commit, or until a retry: perhaps an hour, with thousands of others
    return TIMED_OUT if isinstance(error, TaskTimeoutError) else ERROR, message, None, failed, None


def ended(task: Task, verdict: Verdict) -> Outcome:
    """Close the task's staging area and return the outcome."""
    status, message, result, failed, finished_at = verdict
    staged = None if task.staging is None else task.staging.close(keep=status == DONE)
    if task.unkept:
        note_gap(task)
    if message is not None:
        message = storable(message)
    return status, message, result, failed, staged, finished_at or utc_now(), monotonic() - task.t0


def ended_outside(task: Task, link: Link, error: Exception, trace: str) -> Outcome:
    """Return the outcome of a call that was ended or abandoned from outside; any thread but its own.

    Args:
        task: The task.
        link: Its run.
        error: Why: a :class:`TaskTimeoutError` if its time limit expired, a :class:`TaskCancelledError` if the run
            is being cancelled.
        trace: Where the call was, in the format of a traceback.
    """
    status: TaskStatus = ERROR
    message, failed = str(error), None
    if isinstance(error, TaskTimeoutError):
        status = TIMED_OUT
    if isinstance(error, TaskCancelledError):
        status = CANCELLED
    else:
        message, failed = judged(error, message, storable(tail(trace, LONGEST_TEXT)), task, link)
    if task.staging is not None:
        task.staging.abandon()
    if task.unkept:
        note_gap(task)
    return status, message, None, failed, None, utc_now(), monotonic() - task.t0


def failed_before(task: Task, link: Link, error: BaseException, what: str) -> Outcome:
    """Return the outcome of a task whose input could not be passed to the function.

    Args:
        task: The task.
        link: Its run.
        error: The exception that the input's own code raised.
        what: What could not be done with the input.
    """
    task.started_at = utc_now()
    task.t0 = monotonic()
    message, trace = _described(error)
    instead = TypeError(f"{what} ({type(error).__name__}: {message})")
    message, failed = judged(instead, str(instead), trace, task, link)
    return ERROR, message, None, failed, None, utc_now(), 0.0


def end_of_fork(outcome: Outcome) -> NoReturn:
    """Exit a child process that a task forked and whose call returned: the run belongs to the parent process.

    Args:
        outcome: The outcome of the call in the child.
    """
    status, failed = outcome[0], outcome[3]
    code = failed[0].code if failed is not None and isinstance(failed[0], SystemExit) else None
    os._exit(code if isinstance(code, int) else status != DONE)


def whereabouts(thread: int | None, error: Exception) -> str:
    """Return where a call is now, in the format of a traceback; any thread but its own.

    Args:
        thread: The identifier of its thread; ``None`` if unknown.
        error: The error that ends the call.
    """
    frame = None if thread is None else sys._current_frames().get(thread)  # noqa: SLF001 - public, by its documentation
    frames: list[FrameType] = []
    while frame is not None and frame.f_code is not perform.__code__:
        frames.append(frame)
        frame = frame.f_back
    return f"The call was here when its time ran out:\n{stack_of(frames[::-1])}{type(error).__name__}: {error}\n"


def _not_run(value: Any) -> TypeError:
    """Return the error for a result that is a coroutine or generator, none of whose code has run."""
    advice = "return a list, or write rows with ctx.write"
    if isinstance(value, CoroutineType):
        value.close()  # otherwise Python would warn that it was never awaited
        advice = "make the function an async def, and await it there"
    return TypeError(f"the function returned a {type(value).__name__} whose code has not run: {advice}")


def _result(value: object) -> str:
    try:
        return as_json(value)
    except ValueError as error:
        raise ValueError(
            f"the result cannot be stored as JSON ({error}): return plain values, or write rows with ctx.write"
        ) from error


def _described(error: BaseException) -> tuple[str, str]:
    """Return the message and the traceback of an exception."""
    try:
        frame = error.__traceback__
        while frame is not None and frame.tb_frame.f_code.co_filename.startswith(_OURS):
            frame = frame.tb_next  # skip our own frames: users look for theirs
        text = traceback_of(error, frame)
    except BaseException as broken:  # noqa: BLE001 - a foreign __str__ or __cause__ may raise anything
        text = f"{type(error).__name__} (its traceback cannot be shown: {type(broken).__name__})"
    said = describe(error, LONGEST_MESSAGE) or type(error).__name__
    return shorten(said, LONGEST_MESSAGE), storable(tail(text, LONGEST_TEXT))
