"""The eleven faults of the described system, 1 to 6: each test would fail if we had its fault.

Fault 3, which needs processes and signals, is in ``test_interrupted``; 7 to 11 are in ``test_faults_from_7_on``.
"""

from __future__ import annotations

import json
import queue
import threading
import weakref

import pytest

import pipeloom
from pipeloom import (
    MsgExecute,
    MsgTaskFinished,
    MsgTaskProgress,
    MsgTaskStarted,
    TaskDef,
    run_pipeline,
)

AT = "2026-01-31T12:00:00+00:00"
LATER = "2026-01-31T12:00:09+00:00"
COUNT = 20_000  # tasks, where their number matters
STATUSES = "SELECT status, COUNT(*) FROM task_runs GROUP BY status"
GOOD = (MsgTaskStarted(1, "good", AT), MsgTaskFinished(1, "done", LATER, "r", "m"))


# --- 1. a value that cannot be bound ---

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
def test_1_a_value_that_cannot_be_bound_does_not_kill_the_writer(read, db, serve, bad):
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


def test_1_a_dict_result_is_stored(db, read, store):
    """As JSON, by a writer as in a run."""
    store(MsgTaskStarted(1, "t", AT), MsgTaskFinished(1, "done", LATER, {"rows": [1, None]}))
    run_pipeline([2], db, worker_fn=lambda n, q: q.put(MsgTaskFinished(n, "done", LATER, {"rows": [1, None]})))

    found = read(db, "SELECT status, result FROM task_runs ORDER BY id")
    assert [(status, json.loads(result)) for status, result in found] == [("done", {"rows": [1, None]})] * 2


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD)
def test_1_in_a_run_it_is_stored_or_fails_its_own_task_and_the_caller_knows(db, read, bad):
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


# --- 2. a worker that raises ---


@pytest.mark.parametrize("workers", [1, 4])
def test_2_every_exception_is_recorded_and_none_is_swallowed(db, read, workers):
    """No row stays running; the caller hears of all of them."""

    def worker(task, msg_q):
        msg_q.put(MsgTaskStarted(task.task_id, task.name, AT))
        if task.task_id > 2:
            raise ValueError(f"reason {task.task_id}")
        msg_q.put(MsgTaskFinished(task.task_id, "done", LATER))

    with pytest.raises(pipeloom.TasksFailedError) as failed:
        run_pipeline([TaskDef(n, f"t{n}") for n in range(1, 7)], db, workers=workers, worker_fn=worker)

    assert {str(error) for error in failed.value.exceptions} == {f"reason {n}" for n in (3, 4, 5, 6)}
    assert read(db, "SELECT id, status, message FROM task_runs ORDER BY id")[2:] == [
        (n, "error", f"reason {n}") for n in (3, 4, 5, 6)
    ]
    assert read(db, STATUSES) == [("done", 2), ("error", 4)]


# --- 4. rows of others ---


def test_4_tasks_without_numbers_never_take_the_rows_of_an_earlier_run(db, read):
    """Every run adds its own."""
    for _ in range(3):
        run_pipeline(["a", "b"], db, worker_fn=lambda *_: None)

    assert read(db, "SELECT name, status, COUNT(DISTINCT id) FROM task_runs GROUP BY name") == [
        ("a", "done", 3),
        ("b", "done", 3),
    ]


def test_4_a_rerun_keeps_the_past_and_no_stale_time(db, read):
    """While task 1 runs again its row is new from end to end; what it was before is in the history."""
    seen = []

    def worker(task, msg_q):
        msg_q.put(MsgTaskStarted(task.task_id, task.name, LATER if seen else AT))
        msg_q.put(MsgExecute("CREATE TABLE IF NOT EXISTS sign (n)"))  # goes through the writer: the start did too
        seen.append(msg_q.query("SELECT status, progress, finished_at, result FROM task_runs WHERE id = 1"))
        msg_q.put(MsgTaskFinished(task.task_id, "done", LATER, f"result {len(seen)}"))

    for _ in range(2):
        run_pipeline([TaskDef(1, "t")], db, workers=1, worker_fn=worker)

    assert seen[1] == [("running", 0.0, None, None)]
    assert read(db, "SELECT started_at, result FROM task_runs") == [(LATER, "result 2")]
    assert ("result 1",) in read(db, "SELECT result FROM pipeloom_history WHERE task_id = 1")


def test_4_rows_of_a_keyed_pipeline_are_not_overwritten_by_number(db, read, store):
    """Neither by a run nor by a writer of its own; both go on with the rest."""
    pipeloom.map(str.upper, ["a", "b"], db=db, name="letters")
    mine = "SELECT id, name, status, result FROM task_runs WHERE id <= 2"
    before = read(db, mine)
    store(*GOOD, MsgTaskStarted(9, "other", AT), MsgTaskFinished(9, "done", LATER))
    with pytest.raises(pipeloom.TasksFailedError):
        run_pipeline([TaskDef(1, "t"), TaskDef(8, "t")], db, worker_fn=lambda *_: None)

    assert read(db, mine) == before
    assert read(db, "SELECT id, status FROM task_runs WHERE id > 2 ORDER BY id") == [(8, "done"), (9, "done")]


def test_4_another_process_cannot_run_on_the_same_file(db, child, read):
    """It is refused at once, and no row of ours is touched."""
    running, go_on = threading.Event(), threading.Event()

    def worker(task, msg_q):
        running.set()
        assert go_on.wait(30)

    run = threading.Thread(target=run_pipeline, args=([TaskDef(1, "ours")], db), kwargs={"worker_fn": worker})
    run.start()
    try:
        assert running.wait(20)
        other = child("-m", "pipeloom", "demo", "--db", db, "-n", "1")
        _, err = other.communicate(timeout=20)
    finally:
        go_on.set()
        run.join(20)

    assert other.returncode == 4, err
    assert read(db, "SELECT id, name, status FROM task_runs") == [(1, "ours", "done")]


# --- 5. progress ---


@pytest.mark.parametrize(
    ("step", "total", "share"), [(7, 4, 1.0), (-3, 4, 0.0), (3, 0, 0.0), (3, -4, 0.0), (10**400, 1, None)]
)
def test_5_progress_stays_within_0_and_1(db, read, store, step, total, share):
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
def test_5_a_failure_leaves_progress_where_it_was(db, read, end):
    """How far it came is worth knowing."""

    def worker(task, msg_q):
        msg_q.put(MsgTaskStarted(task, "t", AT))
        msg_q.put(MsgTaskProgress(task, 3, 4))
        if end == "raises":
            raise ValueError("no")
        msg_q.put(MsgTaskFinished(task, "error" if end == "reports" else "cancelled", LATER))

    run_pipeline([1], db, worker_fn=worker, on_error="collect")

    assert read(db, "SELECT progress FROM task_runs") == [(0.75,)]


# --- 6. the whole iterable first, a future per task ---


def test_6_tasks_are_taken_as_they_are_needed_and_let_go(db):
    """While the first ones run, few are waiting; never are many alive at once."""
    alive, most, made = weakref.WeakSet(), [], []
    started, go_on = threading.Event(), threading.Event()

    class Item:
        pass

    def items():
        for _ in range(COUNT):
            item = Item()
            alive.add(item)
            made.append(None)
            yield item

    def worker(item, msg_q):
        if not started.is_set():
            started.set()
            assert go_on.wait(30)
        most.append(len(alive))

    run = threading.Thread(target=run_pipeline, args=(items(), db), kwargs={"worker_fn": worker, "workers": 1})
    run.start()
    try:
        assert started.wait(20)
        ahead = len(made)
    finally:
        go_on.set()
        run.join(30)

    assert len(most) == COUNT
    assert ahead < 2_000
    assert max(most) < COUNT / 2  # what waits for the writer is bounded; the number of tasks is not
