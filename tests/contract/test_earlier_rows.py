"""What a run or writer does with the rows that are there already: those of earlier runs, and of others."""

from __future__ import annotations

import threading

import pytest

import pipeloom
from pipeloom import MsgExecute, MsgTaskFinished, MsgTaskStarted, TaskDef, run_pipeline

AT = "2026-01-31T12:00:00+00:00"
LATER = "2026-01-31T12:00:09+00:00"
GOOD = (MsgTaskStarted(1, "good", AT), MsgTaskFinished(1, "done", LATER, "r", "m"))


def test_tasks_without_numbers_never_take_the_rows_of_an_earlier_run(db, read):
    """Every run adds its own."""
    for _ in range(3):
        run_pipeline(["a", "b"], db, worker_fn=lambda *_: None)

    assert read(db, "SELECT name, status, COUNT(DISTINCT id) FROM task_runs GROUP BY name") == [
        ("a", "done", 3),
        ("b", "done", 3),
    ]


def test_a_rerun_keeps_the_past_and_no_stale_time(db, read):
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


def test_rows_of_a_keyed_pipeline_are_not_overwritten_by_number(db, read, store):
    """Neither by a run nor by a writer of its own; both go on with the rest."""
    pipeloom.map(str.upper, ["a", "b"], db=db, name="letters")
    mine = "SELECT id, name, status, result FROM task_runs WHERE id <= 2"
    before = read(db, mine)
    store(*GOOD, MsgTaskStarted(9, "other", AT), MsgTaskFinished(9, "done", LATER))
    with pytest.raises(pipeloom.TasksFailedError):
        run_pipeline([TaskDef(1, "t"), TaskDef(8, "t")], db, worker_fn=lambda *_: None)

    assert read(db, mine) == before
    assert read(db, "SELECT id, status FROM task_runs WHERE id > 2 ORDER BY id") == [(8, "done"), (9, "done")]


def test_another_process_cannot_run_on_the_same_file(db, child, read):
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
