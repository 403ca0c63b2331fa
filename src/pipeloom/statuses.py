"""The statuses of tasks and runs, and every transition between them.

The status of a task, as stored in ``task_runs``::

             ┌─ attempt failed, ─────┐
             │  retry is scheduled   │
             ▼                       │
    ●──▶ queued ──────────────▶ running ──▶ done           it returned, and its rows are committed
          │  ▲                       ├────▶ error          it raised, or its output was refused
          │  │ another run,          ├────▶ timed_out      its time limit expired
          │  └ from any status       ├────▶ cancelled      it noticed that the run was being cancelled
          │    below                 └────▶ interrupted    its process ended first
          ├──────▶ error, timed_out                        refused before it started, such as a duplicate key; or
          │                                                its run ended while it waited for a retry
          └──────▶ interrupted                             its process ended while it waited for a retry

A row is written only when there is something to show: the row of a quick task is written once, when the task ends.
The task still passes through the earlier statuses. The ledger decides on ``done``: if it refuses the output of a
task that returned, the attempt changes from ``done`` to ``error`` before anything is committed.

The status of a run, as stored in ``pipeloom_runs``::

    ●──▶ running ──▶ done            every input is done
            ├──────▶ error           some failed
            ├──────▶ interrupted     stopped early, and running tasks finished; or its process died
            └──────▶ cancelled       stopped early, and running tasks were cancelled
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
"""The final statuses of a run."""
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
"""Not over yet."""
ERRORS: Final[tuple[TaskStatus, ...]] = (ERROR, TIMED_OUT)
"""Something went wrong in the task."""
STOPS: Final[tuple[TaskStatus, ...]] = (INTERRUPTED, CANCELLED)
"""The task was stopped from outside."""
FAILED: Final[tuple[TaskStatus, ...]] = (*ERRORS, *STOPS)
"""Ended without being done; the statuses that people look for first come first."""
ENDED: Final[tuple[TaskStatus, ...]] = (DONE, *FAILED)
REPORTED: Final[tuple[TaskStatus, ...]] = (DONE, ERROR, CANCELLED)
"""The statuses that a worker may report in ``MsgTaskFinished``."""

PROCESS_ENDED: Final = "its process ended before it did"
NEVER_BEGAN: Final = "its run ended before its turn: the next one runs it"
"""The messages of tasks and runs whose process ended."""

TASK_TRANSITIONS: Final[Mapping[TaskStatus, tuple[TaskStatus, ...]]] = {
    QUEUED: (RUNNING, ERROR, TIMED_OUT, INTERRUPTED),
    RUNNING: (DONE, ERROR, TIMED_OUT, CANCELLED, INTERRUPTED, QUEUED),
    DONE: (QUEUED,),
    ERROR: (QUEUED,),
    TIMED_OUT: (QUEUED,),
    CANCELLED: (QUEUED,),
    INTERRUPTED: (QUEUED,),
}
"""For each status of a task, the statuses that may follow."""
RUN_TRANSITIONS: Final[Mapping[RunStatus, tuple[RunStatus, ...]]] = {
    RUNNING: (DONE, ERROR, CANCELLED, INTERRUPTED),
    DONE: (),
    ERROR: (),
    CANCELLED: (),
    INTERRUPTED: (),
}
