"""Call the user's function for one task, and say how it went."""

from __future__ import annotations

import sys
import traceback
from time import monotonic
from typing import Final

from pipeloom.data import finish
from pipeloom.data.clock import utc_now
from pipeloom.data.text import describe, shorten, storable
from pipeloom.data.values import as_json
from pipeloom.errors import TaskCancelledError, TaskTimeoutError
from pipeloom.statuses import CANCELLED, DONE, ERROR, RUNNING, TIMED_OUT, TaskStatus
from pipeloom.wire import Outcome
from pipeloom.worker.context import TaskContext
from pipeloom.worker.current import enter
from pipeloom.worker.link import Link
from pipeloom.worker.logs import note_gap
from pipeloom.worker.task import Task

__all__ = ["given_up", "perform"]

_TRACEBACK_LIMIT: Final = 20_000
_OURS: Final = (__file__, finish.__file__)


def perform(task: Task, link: Link) -> Outcome:  # noqa: C901 - flat, and each call more would cost every task
    """Call the function; blocks until it returns. Whatever it raises is the task's, SystemExit too.

    Nothing is noted on the task that says that it is over: meanwhile somebody else may have given it up, and what
    this call says late must not reach the ledger.
    """
    brief = link.brief
    enter(task)
    task.started_at = utc_now()
    task.t0 = began = monotonic()
    if brief.timeout_s is not None:
        task.deadline = began + brief.timeout_s
    task.status = RUNNING
    status: TaskStatus = DONE
    message: str | None
    raised: BaseException | None = None
    result = finished_at = failed = staged = None
    try:
        if brief.context is None:
            value = brief.function(task.item)
        elif brief.context:
            value = brief.function(task.item, **{brief.context: TaskContext(task, link)})
        else:
            value = brief.function(task.item, TaskContext(task, link))
        message = task.progress[2] or None
        if task.said_finish is not None:
            status, message, result, finished_at = finish.judged(task.said_finish)
        elif brief.keeps_results and value is not None:
            result = _result(value)
    except TaskCancelledError as error:
        status, message = CANCELLED, describe(error)
    except TaskTimeoutError as error:
        status, raised = TIMED_OUT, error
    except BaseException as error:  # noqa: BLE001 - SystemExit too: it is the task's, not the program's
        status, raised = ERROR, error
    if raised is not None:
        message, trace = _described(raised)
        failed = raised, trace, _is_worth_another_try(raised, task, link)
    if task.staging is not None:
        staged = task.staging.close(keep=status == DONE)
    if task.unkept:
        note_gap(task)
    if message is not None:
        message = storable(message)
    return status, message, result, failed, staged, finished_at or utc_now(), monotonic() - began


def given_up(task: Task, link: Link, thread: int | None) -> Outcome:
    """Return the outcome of a call whose time is over, and which goes on; any thread but its own.

    Args:
        task: Whose time is over.
        link: Its run.
        thread: Where its call goes on: the thread's identifier.
    """
    error = TaskTimeoutError(
        f"not done after {link.brief.timeout_s:g} s; its call goes on, since a thread cannot be ended"
    )
    failed = error, _whereabouts(thread, error), _is_worth_another_try(error, task, link)
    if task.staging is not None:
        task.staging.abandon()
    if task.unkept:
        note_gap(task)
    return TIMED_OUT, str(error), None, failed, None, utc_now(), monotonic() - task.t0


def _is_worth_another_try(error: BaseException, task: Task, link: Link) -> bool:
    """Say whether the policy wants another try. Asked here, where the exception's class lives."""
    retry = link.brief.retry
    return retry is not None and retry.wants(error, task.attempt)


def _result(value: object) -> str:
    try:
        return as_json(value)
    except ValueError as error:
        raise ValueError(
            f"the result cannot be stored as JSON ({error}): return plain values, or write rows with ctx.write"
        ) from error


def _described(error: BaseException) -> tuple[str, str]:
    """Return an exception's message and its traceback."""
    try:
        frame = error.__traceback__
        while frame is not None and frame.tb_frame.f_code.co_filename in _OURS:
            frame = frame.tb_next  # ours: people look for theirs
        text = "".join(traceback.format_exception(type(error), error, frame))
    except BaseException as broken:  # noqa: BLE001 - a foreign __str__ or __cause__ may do anything
        text = f"{type(error).__name__} (its traceback cannot be shown: {type(broken).__name__})"
    return shorten(describe(error, 2000) or type(error).__name__, 2000), _fitted(text)


def _whereabouts(ident: int | None, error: TaskTimeoutError) -> str:
    """Return where a thread is now, as a traceback ends."""
    frame = None if ident is None else sys._current_frames().get(ident)  # noqa: SLF001 - public, by its documentation
    places = traceback.extract_stack(frame) if frame is not None else []
    ours = [place for place, entry in enumerate(places) if entry.filename == __file__]
    stack = "".join(traceback.format_list(places[ours[-1] + 1 :] if ours else places))
    return _fitted(f"Its call was here when its time was over:\n{stack}{type(error).__name__}: {error}\n")


def _fitted(text: str) -> str:
    return storable(text if len(text) <= _TRACEBACK_LIMIT else "…" + text[-_TRACEBACK_LIMIT:])
