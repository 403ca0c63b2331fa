"""The states of a task and of a run, and every way from one to another.

A task, as its row in ``task_runs`` says::

             ┌── a try failed, and ──┐
             │   another one follows │
             ▼                       │
    ●──▶ queued ──────────────▶ running ──▶ done           it returned, and its rows are committed
          │  ▲                       ├────▶ error          it raised, or what it wrote was refused
          │  │ another run,          ├────▶ timed_out      its time was over
          │  └ from any state        ├────▶ cancelled      it noticed that the run was being cancelled
          │    below                 └────▶ interrupted    its process ended before it did
          ├──────▶ error, timed_out                        refused at the door, such as a key that came twice;
          │                                                or its run ended while it waited for another try
          └──────▶ interrupted                             its process ended while it waited for another try

A row is written when there is something to see: that of a quick task only once, when it has ended. The states
before are passed through all the same. ``done`` is the ledger's word: what it refuses of a task that returned turns
its try from ``done`` to ``error`` before anything is committed.

A run, as its row in ``pipeloom_runs`` says::

    ●──▶ running ──▶ done            every input is done
            ├──────▶ error           some failed
            ├──────▶ interrupted     stopped early, and what ran was finished; or its process died
            └──────▶ cancelled       stopped early, and what ran was cancelled
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal, get_args

__all__ = [
    "CANCELLED",
    "DONE",
    "ENDED",
    "ERROR",
    "ERRORS",
    "FAILED",
    "INTERRUPTED",
    "NEVER_BEGAN",
    "OPEN",
    "PROCESS_ENDED",
    "QUEUED",
    "REPORTED",
    "RUNNING",
    "RUN_STATUSES",
    "RUN_TRANSITIONS",
    "STOPS",
    "TASK_STATUSES",
    "TASK_TRANSITIONS",
    "TIMED_OUT",
    "RunEnd",
    "RunStatus",
    "TaskStatus",
]

TaskStatus = Literal["queued", "running", "done", "error", "timed_out", "cancelled", "interrupted"]
RunEnd = Literal["done", "error", "cancelled", "interrupted"]
"""What a run that is over can be."""
RunStatus = Literal["running", RunEnd]

QUEUED: Final = "queued"
RUNNING: Final = "running"
DONE: Final = "done"
ERROR: Final = "error"
TIMED_OUT: Final = "timed_out"
CANCELLED: Final = "cancelled"
INTERRUPTED: Final = "interrupted"

TASK_STATUSES: Final[tuple[TaskStatus, ...]] = get_args(TaskStatus)
RUN_STATUSES: Final[tuple[RunStatus, ...]] = get_args(RunStatus)
OPEN: Final[tuple[TaskStatus, ...]] = (RUNNING, QUEUED)
"""There is more to come."""
ERRORS: Final[tuple[TaskStatus, ...]] = (ERROR, TIMED_OUT)
"""Something went wrong in the task."""
STOPS: Final[tuple[TaskStatus, ...]] = (INTERRUPTED, CANCELLED)
"""Somebody or something stopped it."""
FAILED: Final[tuple[TaskStatus, ...]] = (*ERRORS, *STOPS)
"""Ended, and not done: what people look for first comes first."""
ENDED: Final[tuple[TaskStatus, ...]] = (DONE, *FAILED)
REPORTED: Final[tuple[TaskStatus, ...]] = (DONE, ERROR, CANCELLED)
"""What a worker may say of itself in ``MsgTaskFinished``."""

PROCESS_ENDED: Final = "its process ended before it did"
NEVER_BEGAN: Final = "its run ended before its turn: the next one runs it"
"""What is said of a task or a run that its process left behind."""

TASK_TRANSITIONS: Final[Mapping[TaskStatus, tuple[TaskStatus, ...]]] = {
    QUEUED: (RUNNING, ERROR, TIMED_OUT, INTERRUPTED),
    RUNNING: (DONE, ERROR, TIMED_OUT, CANCELLED, INTERRUPTED, QUEUED),
    DONE: (QUEUED,),
    ERROR: (QUEUED,),
    TIMED_OUT: (QUEUED,),
    CANCELLED: (QUEUED,),
    INTERRUPTED: (QUEUED,),
}
"""From each state of a task, those that may follow."""
RUN_TRANSITIONS: Final[Mapping[RunStatus, tuple[RunStatus, ...]]] = {
    RUNNING: (DONE, ERROR, CANCELLED, INTERRUPTED),
    DONE: (),
    ERROR: (),
    CANCELLED: (),
    INTERRUPTED: (),
}
