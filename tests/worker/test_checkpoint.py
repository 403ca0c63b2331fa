"""Checkpoints: what is stored so far, and where to go on."""

from __future__ import annotations

import sqlite3
import sys
import threading
from contextlib import closing

import pytest

import pipeloom
from pipeloom import LedgerError, Retry, RowRefusedError, TasksFailedError, TaskTooLargeError
from pipeloom.db import cancel


def test_rows_and_state_commit_together(db, read):
    """They are there when the call returns; done clears the state."""
    seen = []

    def fn(item, ctx):
        assert ctx.state is None
        for n in range(3):
            ctx.write("t", {"n": n})
            ctx.checkpoint({"next": n + 1})
            rows = ctx.query("SELECT COUNT(*) FROM t")[0][0]
            state = ctx.query("SELECT state FROM pipeloom_state WHERE task_id = ?", (ctx.task_id,))[0][0]
            row = ctx.query("SELECT status, rows_written FROM task_runs")[0]
            seen.append((rows, state, row, ctx.state))
        ctx.write("t", {"n": 3})

    assert pipeloom.map(fn, ["a"], db=db).done == 1
    assert seen == [(n, f'{{"next":{n}}}', ("running", n), {"next": n}) for n in (1, 2, 3)]
    assert read(db, "SELECT n FROM t") == [(0,), (1,), (2,), (3,)]
    assert read(db, "SELECT COUNT(*) FROM pipeloom_state") == [(0,)]
    assert read(db, "SELECT status, rows_written FROM task_runs") == [("done", 4)]


def counting(fails_at=(), error=OSError):
    """Return a function that writes ten rows, with a checkpoint every two, and fails before some of them once."""
    left = list(fails_at)

    def count(item, ctx):
        for n in range((ctx.state or {"next": 0})["next"], 10):
            if n in left:
                left.remove(n)
                raise error(f"at {n}")
            ctx.write("t", {"item": item, "n": n})
            if n % 2:
                ctx.checkpoint({"next": n + 1})

    return count


def test_the_next_try_goes_on_behind_the_checkpoint(db, read):
    """Each row exactly once; the past tries say how many rows each stored."""
    report = pipeloom.map(counting(fails_at=(3, 4, 9)), ["a"], db=db, retries=Retry(5, 0.0))

    assert report.done == 1
    assert read(db, "SELECT n FROM t ORDER BY n") == [(n,) for n in range(10)]
    assert read(db, "SELECT attempt, status, rows_written FROM pipeloom_history ORDER BY attempt") == [
        (1, "error", 2),
        (2, "error", 2),
        (3, "error", 4),
        (4, "done", 2),
    ]


def test_the_next_run_goes_on_behind_the_checkpoint(db, read):
    """With resume=True, in which nothing is doubled."""
    fn = counting(fails_at=(3, 7))

    for _ in range(2):
        with pytest.raises(TasksFailedError):
            pipeloom.map(fn, ["a"], db=db, name="n")
    assert read(db, "SELECT n FROM t ORDER BY n") == [(n,) for n in range(6)]
    assert pipeloom.map(fn, ["a"], db=db, name="n").done == 1
    assert read(db, "SELECT n FROM t ORDER BY n") == [(n,) for n in range(10)]


def test_a_key_with_state_is_not_run_from_its_beginning(db, read):
    """resume=False would store its rows twice: that task is refused, the others run."""
    fn = counting(fails_at=(3,))
    with pytest.raises(TasksFailedError):
        pipeloom.map(fn, ["a", "b"], db=db, name="n", workers=1)

    report = pipeloom.map(fn, ["a", "b"], db=db, name="n", resume=False, on_error="collect")

    assert (report.done, report.failed) == (1, 1)
    assert "resume=True" in report.failures[0].message
    assert read(db, "SELECT item, COUNT(*) FROM t GROUP BY item") == [("a", 2), ("b", 20)]


def test_many_tasks_at_once(db, read):
    """Their checkpoints share commits; each has its own rows."""
    report = pipeloom.map(counting(fails_at=(2, 5, 5, 8)), range(40), db=db, workers=8, retries=Retry(9, 0.0))

    assert report.done == 40
    assert read(db, "SELECT COUNT(*), COUNT(DISTINCT item || '/' || n) FROM t") == [(400, 400)]
    assert read(db, "SELECT COUNT(*) FROM pipeloom_state") == [(0,)]


def test_a_checkpoint_with_nothing_staged_is_fine(db):
    """The state alone is worth it."""

    def fn(item, ctx):
        if ctx.attempt == 1:
            ctx.checkpoint([1, "two"])
            raise OSError
        return ctx.state

    report = pipeloom.map(fn, ["a"], db=db, retries=Retry(2, 0.0), name="n")

    assert dict(report.results()) == {"a": [1, "two"]}


@pytest.mark.parametrize("state", [object(), {"n": object()}, "\ud800"])
def test_a_state_that_is_not_json_is_refused(db, state):
    """One sentence, and nothing is taken from what is staged."""

    def fn(item, ctx):
        ctx.write("t", {"n": 1})
        with pytest.raises(RowRefusedError, match="state of a checkpoint must be JSON"):
            ctx.checkpoint(state)

    assert pipeloom.map(fn, ["a"], db=db).done == 1


def test_what_cannot_be_stored_fails_the_task(db, read):
    """Also when the task swallows the error: its rows before are gone, so it is not done."""

    def fn(item, ctx):
        if item == "bad":
            ctx.execute("INSERT INTO nowhere VALUES (1)")
        ctx.write("t", {"item": item})
        try:
            ctx.checkpoint(1)
        except Exception:  # noqa: BLE001 - as careless tasks do
            assert item == "bad"

    report = pipeloom.map(fn, ["bad", "good"], db=db, workers=2, on_error="collect")

    assert (report.done, report.failed) == (1, 1)
    assert "nowhere" in report.failures[0].message
    assert read(db, "SELECT item FROM t") == [("good",)]
    assert read(db, "SELECT COUNT(*) FROM pipeloom_state") == [(0,)]


def test_runs_without_keys_have_no_checkpoints(db):
    """No later try would find the state."""

    def worker(task, ctx):
        with pytest.raises(LedgerError, match="needs tasks with keys"):
            ctx.checkpoint(1)

    assert pipeloom.run_pipeline([1], db, worker_fn=worker).done == 1


def test_a_cancelled_task_keeps_its_checkpoint(db, read):
    """It hears of the cancel only once the checkpoint is on file."""

    def fn(item, ctx):
        cancel.request_cancel(db, ctx.run_id, "cancel")
        while not ctx.cancelled:
            pass
        ctx.write("t", {"n": 1})
        ctx.checkpoint("on file")

    with pytest.raises(pipeloom.RunInterruptedError) as caught:
        pipeloom.map(fn, ["a"], db=db, name="n")

    assert caught.value.report.cancelled == 1
    assert read(db, "SELECT state FROM pipeloom_state") == [('"on file"',)]
    assert read(db, "SELECT COUNT(*) FROM t") == [(1,)]
    assert read(db, "SELECT status, rows_written FROM task_runs") == [("cancelled", 1)]


def test_a_task_may_not_stage_without_end(db, read):
    """It is told to use checkpoints; with them it may go on for ever."""

    def hoarding(item, ctx):
        while True:
            ctx.write("t", {"text": "x" * 1000})

    def in_blocks(item, ctx):
        while True:
            ctx.write("t", [("x" * 1000,)] * 500, columns=("text",))

    def in_statements(item, ctx):
        while True:
            ctx.execute("INSERT INTO t VALUES (?)", ("x" * 1000,))

    def careful(item, ctx):
        for n in range(4000):
            ctx.write("t", {"text": "x" * 1000})
            if n % 500 == 499:
                ctx.checkpoint(n)

    for fn in (hoarding, in_blocks, in_statements):
        report = pipeloom.map(fn, ["a"], db=db, max_task_mb=1, on_error="collect")
        assert report.failures[0].exception == "TaskTooLargeError"
        assert "ctx.checkpoint" in report.failures[0].message
    assert pipeloom.map(careful, ["a"], db=db, max_task_mb=1).done == 1
    assert read(db, "SELECT COUNT(*) FROM t") == [(4000,)]


def test_a_call_that_would_stage_too_much_stages_nothing(db, read):
    """What was staged before stays."""

    def fn(item, ctx):
        ctx.write("t", {"n": 1})
        with pytest.raises(TaskTooLargeError):
            ctx.write("t", [(b"x" * 700_000,)] * 2, columns=("n",))
        ctx.write("t", {"n": 2})

    assert pipeloom.map(fn, ["a"], db=db, max_task_mb=1).done == 1
    assert read(db, "SELECT n FROM t") == [(1,), (2,)]


@pytest.mark.parametrize("limit", [0, -1, "1", True, float("nan")])
def test_the_limit_is_a_number(db, limit):
    """Anything else is refused before anything happens."""
    with pytest.raises((ValueError, TypeError), match="max_task_mb must be"):
        pipeloom.map(str, [1], db=db, max_task_mb=limit)


def test_other_threads_of_a_task_may_come_to_a_checkpoint(db, read):
    """The context is good in any thread until the task ends."""

    def fn(item, ctx):
        def inner():
            ctx.write("t", {"n": 1})
            ctx.checkpoint("inner")

        thread = threading.Thread(target=inner)
        thread.start()
        thread.join()
        assert ctx.state == "inner"

    assert pipeloom.map(fn, ["a"], db=db).done == 1
    assert read(db, "SELECT n FROM t") == [(1,)]


@pytest.fixture
def quick_switches():
    """Threads take turns a thousand times as often: what can go wrong between two lines does."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def test_writes_of_one_thread_beside_checkpoints_of_another(db, read, quick_switches):
    """Every row that was written is stored once."""

    def fn(item, ctx):
        def writing(thread):
            for n in range(200):
                ctx.write("t", {"item": item, "thread": thread, "n": n})

        threads = [threading.Thread(target=writing, args=(n,)) for n in range(3)]
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            ctx.checkpoint("on")

    assert pipeloom.map(fn, range(4), db=db, workers=2).done == 4
    assert read(db, "SELECT COUNT(*), COUNT(DISTINCT item || '/' || thread || '/' || n) FROM t") == [(2400, 2400)]
    assert read(db, "SELECT SUM(rows_written) FROM task_runs") == [(2400,)]


def held_up(db, fn, **options):
    """Run a task during whose first try another program holds the lock; returns the report."""
    ended = threading.Event()

    def task(item, ctx):
        if ctx.attempt > 1:
            return fn(item, ctx)
        other.execute("BEGIN IMMEDIATE")
        unlock.start()
        try:
            return fn(item, ctx)
        finally:
            ended.set()

    with closing(sqlite3.connect(db, isolation_level=None, check_same_thread=False)) as other:
        other.execute("PRAGMA journal_mode = WAL")
        other.execute("CREATE TABLE theirs (n)")
        unlock = threading.Thread(target=lambda: (ended.wait(30), other.execute("COMMIT")))
        try:
            return pipeloom.map(task, ["a"], db=db, name="n", on_error="collect", **options)
        finally:
            unlock.join()


def test_a_checkpoint_that_waits_when_its_task_ends_is_stored(db, read):
    """The task heard that it should end, and went on to be done: its rows are there all the same."""

    def fn(item, ctx):
        cancel.request_cancel(db, ctx.run_id, "cancel")
        for n in range(3):
            ctx.write("t", {"n": n})
            with pytest.raises(pipeloom.TaskCancelledError):
                ctx.checkpoint(n)

    with pytest.raises(pipeloom.RunInterruptedError) as caught:
        held_up(db, fn)

    assert caught.value.report.done == 1
    assert read(db, "SELECT n FROM t ORDER BY n") == [(0,), (1,), (2,)]
    assert read(db, "SELECT status, rows_written FROM task_runs") == [("done", 3)]
    assert read(db, "SELECT COUNT(*) FROM pipeloom_state") == [(0,)]


def test_the_next_try_goes_on_from_a_checkpoint_whose_answer_nobody_awaited(db, read):
    """What is on file counts, not what the task heard of it."""
    seen = []

    def fn(item, ctx):
        seen.append(ctx.state)
        if ctx.attempt == 1:
            ctx.write("t", {"n": 1})
            ctx.checkpoint("one")
        ctx.write("t", {"n": 2})

    report = held_up(db, fn, timeout=0.4, retries=Retry(2, 0.0))

    assert report.done == 1
    assert seen == [None, "one"]
    assert read(db, "SELECT n FROM t ORDER BY n") == [(1,), (2,)]


def test_a_further_try_is_seen_running(db):
    """Its row does not go on saying that it waits."""

    def fn(item, ctx):
        if ctx.attempt == 1:
            raise OSError
        while not (found := ctx.query("SELECT attempt FROM task_runs WHERE status = 'running'")):
            pass
        return found[0][0]

    assert dict(pipeloom.map(fn, ["a"], db=db, name="n", retries=Retry(2, 0.0)).results()) == {"a": 2}
