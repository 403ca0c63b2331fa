"""The workers of ``pipeloom.engine.run_pipeline``: how many, where, and what becomes of those that fail."""

from __future__ import annotations

import signal
import threading

import pytest

from pipeloom import MsgTaskFinished, MsgTaskStarted, TaskDef, TasksFailedError, run_pipeline

AT = "2026-01-31T12:00:00+00:00"
LATER = "2026-01-31T12:00:09+00:00"
STATUSES = "SELECT status, COUNT(*) FROM task_runs GROUP BY status"


def say_all(task, msg_q):
    """Work as the described system's workers do."""
    msg_q.put(MsgTaskStarted(task.task_id, task.name, AT))
    msg_q.put(MsgTaskFinished(task.task_id, "done", LATER))


def defs(count):
    """Return tasks 1 to count."""
    return [TaskDef(number, f"t{number}") for number in range(1, count + 1)]


def told(error):
    """Return every exception that reaches the caller, alone or in groups."""
    return (
        [e for part in error.exceptions for e in told(part)] if isinstance(error, BaseExceptionGroup) else [error]
    )


# --- workers ---


@pytest.mark.parametrize("workers", [0, -1])
def test_fewer_than_one_worker_is_a_value_error(db, workers):
    """Before any task runs, even when there is none."""
    for tasks in (defs(2), []):
        with pytest.raises(ValueError, match="workers"):
            run_pipeline(tasks, db, workers=workers, worker_fn=lambda *_: pytest.fail("ran"))


def test_as_many_tasks_run_at_once_as_there_are_workers(db):
    """No fewer: they all meet. No more: nobody joins them."""
    together = threading.Barrier(3)
    inside, most = [], []

    def worker(task, msg_q):
        inside.append(task)
        most.append(len(inside))
        together.wait(20)
        inside.remove(task)

    run_pipeline(range(12), db, workers=3, worker_fn=worker)

    assert max(most) <= 3


def test_one_worker_takes_the_tasks_in_order(db):
    """One after the other."""
    seen = []
    run_pipeline(range(50), db, workers=1, worker_fn=lambda task, _: seen.append(task))

    assert seen == list(range(50))


def test_no_number_of_workers_picks_a_sensible_one(db):
    """More than one task at a time, and not a thread per task."""
    threads = set()
    pair = threading.Barrier(2)

    def worker(task, msg_q):
        threads.add(threading.get_ident())
        if task < 2:
            pair.wait(20)

    run_pipeline(range(500), db, workers=None, worker_fn=worker)

    assert 2 <= len(threads) <= 64


def test_outside_the_main_thread_it_works_without_signal_handlers(db, read):
    """The program's own handlers are not touched."""
    before = (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM))
    running, go_on = threading.Event(), threading.Event()

    def worker(task, msg_q):
        running.set()
        assert go_on.wait(20)
        say_all(task, msg_q)

    thread = threading.Thread(target=run_pipeline, args=(defs(3), db), kwargs={"worker_fn": worker})
    thread.start()
    try:
        assert running.wait(20)
        assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before
    finally:
        go_on.set()
        thread.join(20)

    assert not thread.is_alive()
    assert read(db, STATUSES) == [("done", 3)]


# --- workers that fail ---


@pytest.mark.parametrize("error", [ValueError("boom"), OSError(5, "boom"), SystemExit("boom")], ids=repr)
def test_a_worker_that_raises_is_recorded_and_heard_of_once_the_others_have_finished(db, read, error):
    """Its row says error and why; the caller gets it; nothing else is lost."""
    failing = threading.Event()

    def worker(task, msg_q):
        msg_q.put(MsgTaskStarted(task.task_id, task.name, AT))
        if task.task_id == 1:
            failing.set()
            raise error
        assert failing.wait(20)  # the others go on after it
        say_all(task, msg_q)

    with pytest.raises(BaseException) as caught:
        run_pipeline(defs(20), db, workers=2, worker_fn=worker)

    assert not isinstance(caught.value, KeyboardInterrupt)
    if isinstance(error, Exception):
        assert told(caught.value) == [error]
    assert "boom" in str(caught.value)
    assert read(db, STATUSES) == [("done", 19), ("error", 1)]
    (row,) = read(db, "SELECT id, message, finished_at IS NOT NULL FROM task_runs WHERE status = 'error'")
    assert (row[0], "boom" in row[1], row[2]) == (1, True, 1)


def test_a_worker_that_reports_an_error_is_recorded_and_nothing_is_raised(db, read):
    """A worker that raises nothing has failed nobody but its task."""

    def worker(task, msg_q):
        if task.task_id % 2:
            return say_all(task, msg_q)
        msg_q.put(MsgTaskStarted(task.task_id, task.name, AT))
        return msg_q.put(MsgTaskFinished(task.task_id, "error", LATER, message="no such file"))

    report = run_pipeline(defs(10), db, worker_fn=worker)

    assert (report.done, report.failed) == (5, 5)
    assert read(db, STATUSES) == [("done", 5), ("error", 5)]
    assert read(db, "SELECT DISTINCT message, finished_at FROM task_runs WHERE status = 'error'") == [
        ("no such file", LATER)
    ]


def test_a_worker_that_reports_cancelled_is_recorded_and_nothing_is_raised(db, read):
    """The third way to finish."""
    run_pipeline(defs(2), db, worker_fn=lambda task, q: q.put(MsgTaskFinished(task.task_id, "cancelled", LATER)))

    assert read(db, STATUSES) == [("cancelled", 2)]


@pytest.mark.parametrize("workers", [1, 4])
def test_every_exception_is_recorded_and_none_is_swallowed(db, read, workers):
    """No row stays running; the caller hears of all of them."""

    def worker(task, msg_q):
        msg_q.put(MsgTaskStarted(task.task_id, task.name, AT))
        if task.task_id > 2:
            raise ValueError(f"reason {task.task_id}")
        msg_q.put(MsgTaskFinished(task.task_id, "done", LATER))

    with pytest.raises(TasksFailedError) as failed:
        run_pipeline(defs(6), db, workers=workers, worker_fn=worker)

    assert {str(error) for error in failed.value.exceptions} == {f"reason {n}" for n in (3, 4, 5, 6)}
    assert read(db, "SELECT id, status, message FROM task_runs ORDER BY id")[2:] == [
        (n, "error", f"reason {n}") for n in (3, 4, 5, 6)
    ]
    assert read(db, STATUSES) == [("done", 2), ("error", 4)]
