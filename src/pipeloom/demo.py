"""A simulated workload: what ``pipeloom demo`` runs, and an example of a worker that puts messages on a queue."""

from __future__ import annotations

import queue
import random
import time
from dataclasses import dataclass
from typing import Any

from pipeloom.data.clock import utc_now
from pipeloom.messages import MsgTaskFinished, MsgTaskProgress, MsgTaskStarted
from pipeloom.statuses import DONE, ERROR

__all__ = ["DemoTask", "TaskDef", "demo_worker"]


@dataclass(frozen=True)
class TaskDef:
    """A task with a fixed number of steps.

    Args:
        task_id: The ``id`` of the task's row.
        name: The display name.
        steps: The number of steps, 1 or more.
    """

    task_id: int
    name: str
    steps: int = 20


@dataclass(frozen=True)
class DemoTask(TaskDef):
    """A task of :func:`demo_worker`.

    Args:
        task_id: The ``id`` of the task's row.
        name: The display name.
        steps: The number of steps, 1 or more.
    """


def demo_worker(task: DemoTask | TaskDef, msg_q: queue.Queue[Any]) -> None:
    """Send the messages of a real worker, sleeping a random 20 to 100 ms at each step; any thread, blocks.

    Args:
        task: The task to simulate.
        msg_q: The queue that the messages are put on.
    """
    msg_q.put(MsgTaskStarted(task.task_id, task.name, utc_now()))
    try:
        for step in range(1, task.steps + 1):
            time.sleep(0.02 + random.random() * 0.08)
            msg_q.put(MsgTaskProgress(task.task_id, step, task.steps, f"step {step}/{task.steps}"))
    except Exception as error:  # noqa: BLE001 - a worker reports every failure as a message
        msg_q.put(MsgTaskFinished(task.task_id, ERROR, utc_now(), message=str(error)))
        return
    msg_q.put(MsgTaskFinished(task.task_id, DONE, utc_now(), result=f"ok:{task.name}", message="completed"))
