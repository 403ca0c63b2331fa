"""A task while it is performed: the call, and what its worker has put down on it so far.

The worker is its author while it runs. Others may look at any time: an attribute of a Python object is replaced as
a whole, so nobody sees half a value. That is how progress, log lines and the start of a task travel: as no message.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pipeloom.statuses import INTERRUPTED, QUEUED, TaskStatus
from pipeloom.wire import NO_PROGRESS, LogLine, Progress, TaskCall

if TYPE_CHECKING:
    from collections import deque

    from pipeloom.errors import PipeloomError
    from pipeloom.messages import MsgTaskFinished
    from pipeloom.worker.staging import Staging

__all__ = ["Task"]


class Task(TaskCall):
    """A call with its live state.

    Everything is a default of the class until it is set: a quick task sets little of it, and making a task is on
    the hottest path there is.
    """

    status: TaskStatus = QUEUED
    worker: str | None = None
    started_at: str | None = None
    t0: float = 0.0  # when it began, by the monotonic clock
    deadline: float | None = None  # by the same clock
    progress: Progress = NO_PROGRESS
    staging: Staging | None = None  # made when the task first writes
    logs: deque[LogLine] | None = None  # what it logged, and the run has not taken yet
    logged: int = 0  # how many records were kept
    unkept: int = 0  # how many were not, since the last one that was
    number_said: int | None = None  # the task's id as the worker itself called it, once it did
    is_renumbered: bool = False  # what the worker said is not the id that the task was given
    said_finish: MsgTaskFinished | None = None  # the worker's own, held until the function returns
    weight: int = 1  # how many slots of memory it takes: for its input until it ends, then for its outcome
    local: Any = None  # what its worker entered for all of its tasks; only while it is performed
    ending: PipeloomError | None = None  # why its coroutine was cancelled, once it was
    has_run_elsewhere: bool = False  # its run is another process, which hands its records to its own handlers
    is_orphan: bool = False  # this is the copy of a forked child: nobody looks at it

    def orphan(self) -> None:
        """End the copy of a forked child, where the forking thread alone has survived."""
        self.is_orphan = True
        self.status = INTERRUPTED
        vars(self).pop("staging", None)  # another thread of the task may have held its lock
