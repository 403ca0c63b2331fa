"""A worker that pretends: what ``pipeloom demo`` runs, and what an old-style worker looks like."""

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
    """A task of so many steps.

    Args:
        task_id: The row's ``id``.
        name: What people call it.
        steps: How many steps it takes.
    """

    task_id: int
    name: str
    steps: int = 20


@dataclass(frozen=True)
class DemoTask(TaskDef):
    """A task of :func:`demo_worker`.

    Args:
        task_id: The row's ``id``.
        name: What people call it.
        steps: How many steps it takes.
    """


def demo_worker(task: DemoTask | TaskDef, msg_q: queue.Queue[Any]) -> None:
    """Say what a real worker would say, pausing a random moment at each step; any thread.

    Args:
        task: What to simulate.
        msg_q: Where its messages go.
    """
    msg_q.put(MsgTaskStarted(task.task_id, task.name, utc_now()))
    try:
        for step in range(1, task.steps + 1):
            time.sleep(0.02 + random.random() * 0.08)
            msg_q.put(MsgTaskProgress(task.task_id, step, task.steps, f"step {step}/{task.steps}"))
    except Exception as error:  # noqa: BLE001 - a task says how it ended, whatever it raised
        msg_q.put(MsgTaskFinished(task.task_id, ERROR, utc_now(), message=str(error)))
        return
    msg_q.put(MsgTaskFinished(task.task_id, DONE, utc_now(), result=f"ok:{task.name}", message="completed"))
