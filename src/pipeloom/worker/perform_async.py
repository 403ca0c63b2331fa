"""Await the user's ``async def`` function for one task, and return its outcome: ``perform`` for an event loop."""

from __future__ import annotations

import asyncio
from asyncio import CancelledError
from collections.abc import Awaitable
from os import getpid
from threading import current_thread, main_thread
from types import CoroutineType
from typing import Any

from pipeloom.errors import TaskCancelledError
from pipeloom.wire import Brief, Outcome
from pipeloom.worker.async_context import AsyncTaskContext
from pipeloom.worker.link import Link
from pipeloom.worker.perform import begin, end_of_fork, ended, raised, returned
from pipeloom.worker.task import Task

__all__ = ["never_begun", "perform_async"]


async def perform_async(task: Task, link: Link) -> Outcome:
    """Await the function. Whatever it raises fails the task, including SystemExit and cancellation.

    This does not mark the task as ended, as in :func:`~pipeloom.worker.perform.perform`.
    """
    brief, pid = link.brief, getpid()
    begin(task, brief)
    try:
        verdict = returned(task, brief, await _called(task, link, brief))
    except CancelledError as error:
        verdict = raised(task, link, _reason(task, error))
    except BaseException as error:  # noqa: BLE001 - including SystemExit, which ends the task, not the program
        if isinstance(error, KeyboardInterrupt) and current_thread() is main_thread():
            # On a second Ctrl-C, asyncio's handler raises wherever its loop is. The run has seen it and is ending.
            error = TaskCancelledError("interrupted by Ctrl-C")
        verdict = raised(task, link, error)
    outcome = ended(task, verdict)
    if getpid() != pid:
        end_of_fork(outcome)
    return outcome


def never_begun(task: Task, link: Link) -> Outcome:
    """Return the outcome of a task that other code on its loop cancelled before its first line ran."""
    begin(task, link.brief)
    return ended(task, raised(task, link, _cancelled_by_others()))


def _called(task: Task, link: Link, brief: Brief) -> Awaitable[object]:
    if brief.context is None:
        value: Any = brief.function(task.item)
    elif brief.context:
        value = brief.function(task.item, **{brief.context: AsyncTaskContext(task, link)})
    else:
        value = brief.function(task.item, AsyncTaskContext(task, link))
    if type(value) is not CoroutineType and not isinstance(value, Awaitable):  # the first check is quick
        raise TypeError(
            f"the function returned {type(value).__name__}, which cannot be awaited: make it an async def, or "
            'leave out executor="asyncio"'
        )
    return value


def _reason(task: Task, cancelled: CancelledError) -> BaseException:
    """Return why a coroutine was cancelled, with the traceback of the place where it waited."""
    here = asyncio.current_task()
    if task.ending is not None:
        reason: BaseException = task.ending
    elif here is not None and here.cancelling():
        reason = _cancelled_by_others()
    else:
        return cancelled  # this task was not told to end: it awaited something that was cancelled
    return reason.with_traceback(cancelled.__traceback__)


def _cancelled_by_others() -> TaskCancelledError:
    return TaskCancelledError("the task was cancelled on its event loop, but not by pipeloom")
