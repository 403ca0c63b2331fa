"""A value that SQLite cannot store: neither the writer nor another task suffers from it."""

from __future__ import annotations

import json
import queue

import pytest

import pipeloom
from pipeloom import MsgTaskFinished, MsgTaskProgress, MsgTaskStarted, TaskDef, run_pipeline

AT = "2026-01-31T12:00:00+00:00"
LATER = "2026-01-31T12:00:09+00:00"
GOOD = (MsgTaskStarted(1, "good", AT), MsgTaskFinished(1, "done", LATER, "r", "m"))

BAD = {
    "a dict result": MsgTaskFinished(2, "done", LATER, {"rows": 5}),
    "an object as result": MsgTaskFinished(2, "done", LATER, object()),
    "a message that is a list": MsgTaskFinished(2, "done", LATER, None, ["no"]),
    "a string id that starts": MsgTaskStarted("two", "t", AT),
    "a string id that moves": MsgTaskProgress("two", 1, 2),
    "a string id that finishes": MsgTaskFinished("two", "done", LATER),
    "no id that finishes": MsgTaskFinished(None, "done", LATER),
    "an id that is a list": MsgTaskFinished([2], "done", LATER),
    "an id of 70 bits": MsgTaskFinished(2**70, "done", LATER),
    "a name that is a dict": MsgTaskStarted(2, {"n": 1}, AT),
    "no name": MsgTaskStarted(2, None, AT),
    "half a character": MsgTaskStarted(2, "\ud800", AT),
    "a time that is a dict": MsgTaskFinished(2, "done", {"at": 1}),
    "a step that is text": MsgTaskProgress(1, "one", "two"),
    "an unknown status": MsgTaskFinished(2, "finished", LATER),
}


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD)
def test_a_value_that_cannot_be_bound_does_not_kill_the_writer(read, db, serve, bad):
    """What was said before, with and after it is stored; a small queue never blocks for good."""
    source = queue.Queue(maxsize=1)
    with serve(source) as (writer, _):
        for message in (GOOD[0], bad, GOOD[1], bad, MsgTaskStarted(3, "after", AT)):
            source.put(message, timeout=10)
        source.join()

    assert writer.failure is None
    assert read(db, "SELECT id, status, result FROM task_runs WHERE id IN (1, 3) ORDER BY id") == [
        (1, "done", "r"),
        (3, "running", None),
    ]


def test_a_dict_result_is_stored(db, read, store):
    """As JSON, by a writer as in a run."""
    store(MsgTaskStarted(1, "t", AT), MsgTaskFinished(1, "done", LATER, {"rows": [1, None]}))
    run_pipeline([2], db, worker_fn=lambda n, q: q.put(MsgTaskFinished(n, "done", LATER, {"rows": [1, None]})))

    found = read(db, "SELECT status, result FROM task_runs ORDER BY id")
    assert [(status, json.loads(result)) for status, result in found] == [("done", {"rows": [1, None]})] * 2


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD)
def test_in_a_run_it_is_stored_or_fails_its_own_task_and_the_caller_knows(db, read, bad):
    """The run neither hangs nor returns as if nothing were; no other task is touched."""

    def worker(task, msg_q):
        msg_q.put(MsgTaskStarted(task.task_id, task.name, AT))
        if task.task_id == 2:
            msg_q.put(bad)
        msg_q.put(MsgTaskFinished(task.task_id, "done", LATER, "r"))

    try:
        report = run_pipeline([TaskDef(n, f"t{n}") for n in range(1, 21)], db, workers=2, worker_fn=worker)
        raised = False
    except pipeloom.TasksFailedError as error:
        report, raised = error.report, True

    assert (report.done, report.failed) == ((19, 1) if raised else (20, 0))
    assert read(db, "SELECT COUNT(*) FROM task_runs WHERE status = 'done' AND result = 'r' AND id <> 2") == [(19,)]
    assert read(db, "SELECT status FROM task_runs WHERE id = 2") == [("error" if raised else "done",)]
