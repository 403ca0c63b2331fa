"""The progress that is stored of a task: within 0 and 1, and left where it was."""

from __future__ import annotations

import pytest

import pipeloom
from pipeloom import MsgTaskFinished, MsgTaskProgress, MsgTaskStarted, run_pipeline

AT = "2026-01-31T12:00:00+00:00"
LATER = "2026-01-31T12:00:09+00:00"


@pytest.mark.parametrize(
    ("step", "total", "share"), [(7, 4, 1.0), (-3, 4, 0.0), (3, 0, 0.0), (3, -4, 0.0), (10**400, 1, None)]
)
def test_progress_stays_within_0_and_1(db, read, store, step, total, share):
    """By a writer as in a run."""
    messages = (MsgTaskStarted(1, "t", AT), MsgTaskProgress(1, step, total))
    store(*messages)
    stored = read(db, "SELECT progress FROM task_runs")
    with_error = (*messages, MsgTaskFinished(1, "error", LATER))
    try:
        run_pipeline([1], db, worker_fn=lambda _, q: [q.put(message) for message in with_error])
    except pipeloom.TasksFailedError:
        assert share is None

    for ((found,),) in (stored, read(db, "SELECT progress FROM task_runs")):
        assert 0.0 <= found <= 1.0
        assert share is None or found == share


@pytest.mark.parametrize("end", ["reports", "raises", "cancelled"])
def test_a_failure_leaves_progress_where_it_was(db, read, end):
    """How far it came is worth knowing."""

    def worker(task, msg_q):
        msg_q.put(MsgTaskStarted(task, "t", AT))
        msg_q.put(MsgTaskProgress(task, 3, 4))
        if end == "raises":
            raise ValueError("no")
        msg_q.put(MsgTaskFinished(task, "error" if end == "reports" else "cancelled", LATER))

    run_pipeline([1], db, worker_fn=worker, on_error="collect")

    assert read(db, "SELECT progress FROM task_runs") == [(0.75,)]
