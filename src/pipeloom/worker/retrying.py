"""Decides whether a failed attempt is retried, in the process where the class of its exception is defined.

The functions of a policy are the user's, and may raise anything. What they raise never ends a worker and never
replaces the task's own error: it is added as a line below the traceback, and the run warns about it once.
"""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from pipeloom.data.text import LONGEST_TEXT, attribute, clean, describe, kind_of, shorten, storable, tail
from pipeloom.errors import RetryLater
from pipeloom.wire import NO_RETRY, Failed, RetryDecision
from pipeloom.worker.link import Link
from pipeloom.worker.task import Task

if TYPE_CHECKING:
    from pipeloom.retry import Retry

__all__ = ["LONGEST_MESSAGE", "judged"]

LONGEST_MESSAGE: Final = 2000
_OURS: Final = os.path.dirname(os.path.dirname(__file__)) + os.sep


def judged(error: BaseException, message: str, trace: str, task: Task, link: Link) -> tuple[str, Failed]:
    """Decide whether a failed task is retried; any thread. Calls the functions of the user's policy.

    Args:
        error: The exception that the task raised.
        message: Its message.
        trace: Its traceback, as it is stored.
        task: The task.
        link: Its run.

    Returns:
        The message and the rest of the failure, including the decision.
    """
    policy = link.brief.retry
    tries = task.attempt - task.uncounted
    if issubclass(type(error), RetryLater):
        message, decision = _as_asked(error, message, tries, policy)
    elif policy is None:
        decision = NO_RETRY
    else:
        decision = _by_policy(error, tries, policy)
    if decision.complaint is not None:
        trace = storable(tail(f"{trace.rstrip()}\n{decision.complaint}\n", LONGEST_TEXT))
    return message, (error, trace, decision)


def _by_policy(error: BaseException, tries: int, policy: Retry) -> RetryDecision:
    try:
        if not policy.wants(error, tries):
            return NO_RETRY
    except BaseException as broken:  # noqa: BLE001 - foreign code; the task's own error is kept
        return RetryDecision(None, complaint=f"not retried: {_complaint('on', policy.on, broken)}")
    try:
        return RetryDecision(policy.delay_after(tries, error))
    except BaseException as broken:  # noqa: BLE001 - the same
        wait = replace(policy, delay=None).delay_after(tries, error)
        complaint = f"retried as if delay= were not set: {_complaint('delay', policy.delay, broken)}"
        return RetryDecision(wait, complaint=complaint)


def _as_asked(error: BaseException, message: str, tries: int, policy: Retry | None) -> tuple[str, RetryDecision]:
    """Retry a task that raised ``RetryLater``, if it has attempts left."""
    cause = attribute(error, "__cause__")
    if cause is not None:
        message = f"{message} after {kind_of(cause)}: {describe(cause)}".removesuffix(": ")
    after_s, counts = attribute(error, "after_s"), attribute(error, "count")
    if type(after_s) is not float or type(counts) is not bool:
        return f"{kind_of(error)} has no delay: its __init__ must call super().__init__(seconds)", NO_RETRY
    most = 1 if policy is None else policy.attempts
    if counts and tries >= most:
        if most == 1:
            message += ", but had no attempts left: pass retries=, or raise it with count=False"
        else:
            message += f", but this was the last of its {most} attempts"
        return shorten(message, LONGEST_MESSAGE), NO_RETRY
    return shorten(message, LONGEST_MESSAGE), RetryDecision(after_s, counts)


def _complaint(name: str, function: object, broken: BaseException) -> str:
    """Return what a function of the policy raised, and where, in one line."""
    frame, place = broken.__traceback__, ""
    while frame is not None:
        code = frame.tb_frame.f_code
        if not code.co_filename.startswith(_OURS):
            place = f" ({code.co_filename}:{frame.tb_lineno} in {code.co_name})"
        frame = frame.tb_next
    said = describe(broken)
    what = attribute(function, "__qualname__") or kind_of(function)
    return clean(f"Retry({name}={what}) raised {kind_of(broken)}{said and ': '}{said}{place}")
