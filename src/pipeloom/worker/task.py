"""A task while it runs: the call, and what its worker has recorded on it so far.

Only the worker writes to it while it runs; other threads may read it at any time. Setting an attribute is atomic in
Python, so a reader never sees half a value. Progress, log lines and the start of a task are passed this way,
without a message.
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

    The defaults are class attributes: a quick task sets few of them, and creating tasks is on the hottest path.
    """

    status: TaskStatus = QUEUED
    worker: str | None = None
    started_at: str | None = None
    t0: float = 0.0  # start, on the monotonic clock
    deadline: float | None = None  # on the same clock
    progress: Progress = NO_PROGRESS
    staging: Staging | None = None  # created when the task first writes
    logs: deque[LogLine] | None = None  # records that the run has not collected yet
    logged: int = 0  # number of records kept
    unkept: int = 0  # number of records dropped since the last one that was kept
    number_said: int | None = None  # the task id that the worker itself used in a message
    is_renumbered: bool = False  # the worker used a different id from the one that the task was given
    said_finish: MsgTaskFinished | None = None  # the worker's own message, held until the function returns
    weight: int = 1  # slots of memory: for its input until it ends, then for its outcome
    local: Any = None  # the value of `local=` in its worker; only while the task runs
    ending: PipeloomError | None = None  # why its coroutine was cancelled
    has_run_elsewhere: bool = False  # its run is in another process, which passes the records to its own handlers
    is_orphan: bool = False  # this is the copy in a forked child, which is never collected

    def orphan(self) -> None:
        """End the copy in a forked child, where only the forking thread has survived."""
        self.is_orphan = True
        self.status = INTERRUPTED
        vars(self).pop("staging", None)  # another thread may have held its lock during the fork
