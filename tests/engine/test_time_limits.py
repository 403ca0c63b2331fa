"""Time limits: who looks ends by himself, who does not is given up on, and what he says late is refused."""

from __future__ import annotations

import queue
import threading
from time import monotonic

import pytest

import pipeloom
from pipeloom import AttemptOverError, Retry, TasksFailedError, TaskTimeoutError


@pytest.fixture
def released():
    """An event for calls that hang; set at the end, whatever happens, so that no thread is left."""
    event = threading.Event()
    yield event
    event.set()


@pytest.mark.parametrize("timeout", [0, -1, float("nan"), float("inf"), "5", True])
def test_a_timeout_is_a_number_of_seconds(db, timeout):
    """Anything else is refused before anything happens."""
    with pytest.raises((ValueError, TypeError), match="timeout must be a number of seconds"):
        pipeloom.map(str, [1], db=db, timeout=timeout)


def test_a_task_that_looks_ends_by_itself(db, read):
    """`check` raises once the time is over; the row says timed_out, and nothing staged is stored."""

    def fn(item, ctx):
        ctx.write("t", {"item": item})
        assert 0 < ctx.remaining_s <= 0.1
        assert not ctx.cancelled
        while True:
            ctx.check()

    report = pipeloom.map(fn, ["a"], db=db, timeout=0.1, on_error="collect")

    assert (report.timed_out, report.failed, report.total) == (1, 0, 1)
    assert report.failures[0].exception == "TaskTimeoutError"
    assert "in fn" in report.failures[0].traceback
    assert read(db, "SELECT status, message, elapsed_s BETWEEN 0.1 AND 5 FROM task_runs") == [
        ("timed_out", "not done after 100 ms", 1)
    ]
    assert read(db, "SELECT COUNT(*) FROM sqlite_master WHERE name = 't'") == [(0,)]


def test_track_and_cancelled_look_too(db):
    """So does a loop over `ctx.track`, or until `ctx.cancelled`."""

    def tracking(item, ctx):
        for _ in ctx.track(iter(int, 1)):
            pass

    def looking(item, ctx):
        while not ctx.cancelled:
            pass
        assert ctx.remaining_s == 0
        return "gave up in time"

    assert pipeloom.map(tracking, ["a"], db=db, timeout=0.05, on_error="collect").timed_out == 1
    assert pipeloom.map(looking, ["a"], db=db, timeout=0.05).done == 1


def test_a_task_without_a_limit_has_all_the_time(db):
    """`remaining_s` says None."""
    assert pipeloom.map(lambda item, ctx: ctx.remaining_s, ["a"], db=db, progress=False).done == 1


def test_a_call_that_hangs_is_given_up_on(db, read, released):
    """The run goes on without it; where it was is kept; what it says late is refused."""
    late = queue.Queue()

    def fn(item, ctx):
        ctx.write("t", {"item": item})
        if item == 3:
            released.wait()
            for word in (lambda: ctx.write("t", {"item": 99}), lambda: ctx.put("x"), lambda: ctx.checkpoint(1)):
                try:
                    word()
                except Exception as error:  # noqa: BLE001 - looked at below
                    late.put(error)
            ctx.progress(1, 2)
            raise ValueError("late")
        return item

    began = monotonic()
    with pytest.raises(TasksFailedError) as caught:
        pipeloom.map(fn, range(8), db=db, timeout=0.2, workers=2)
    report = caught.value.report
    released.set()

    assert monotonic() - began < 10
    assert (report.done, report.timed_out) == (7, 1)
    assert "released.wait()" in report.failures[0].traceback
    assert isinstance(caught.value.exceptions[0], TaskTimeoutError)
    assert [type(late.get(timeout=10)) for _ in range(3)] == [AttemptOverError] * 3
    assert read(db, "SELECT status, COUNT(*) FROM task_runs GROUP BY status") == [("done", 7), ("timed_out", 1)]
    assert read(db, "SELECT item FROM t ORDER BY item") == [(n,) for n in (0, 1, 2, 4, 5, 6, 7)]


def test_calls_that_wait_for_the_writer_wake(db, released):
    """A query that is not answered, since a handler hangs, does not hold its task beyond its time."""
    woke = queue.Queue()

    def handler(conn, messages):
        released.wait()

    def fn(item, ctx):
        ctx.put(Hangs())
        try:
            ctx.query("SELECT 1")
        except TaskTimeoutError as error:
            woke.put(error)
            released.set()
            raise

    class Hangs:
        pass

    report = pipeloom.map(fn, ["a"], db=db, timeout=0.2, handlers={Hangs: handler}, on_error="collect")

    assert isinstance(woke.get_nowait(), TaskTimeoutError)
    assert report.timed_out == 1


def test_as_many_calls_as_workers_may_hang(db, caplog, released):
    """Past that nothing more is admitted; the run ends, and says why."""
    admitted = []

    def fn(item):
        admitted.append(item)
        released.wait()

    pipeloom.logger.propagate = True
    report = pipeloom.map(fn, range(100), db=db, timeout=0.05, workers=2, on_error="collect")

    assert report.timed_out == len(admitted) == report.total
    assert 3 <= len(admitted) <= 4
    assert report.status == "error"
    assert "nothing more is admitted" in caplog.text


def test_a_timed_out_try_is_followed_by_another(db, read):
    """When it looked, at once; its past is kept."""

    def fn(item, ctx):
        if ctx.attempt == 1:
            while True:
                ctx.check()

    report = pipeloom.map(fn, ["a"], db=db, timeout=0.05, retries=Retry(2, 0.0))

    assert report.done == 1
    assert read(db, "SELECT attempt, status FROM pipeloom_history ORDER BY attempt") == [
        (1, "timed_out"),
        (2, "done"),
    ]


def test_a_call_that_hung_is_tried_again_once_it_has_returned(db, read):
    """Two calls for one input never run at the same time."""
    inside = []
    overlaps = []

    gate = threading.Event()

    def hanging(item, ctx):
        overlaps.extend(inside)
        inside.append(ctx.attempt)
        if ctx.attempt == 1:
            gate.wait()
        inside.remove(ctx.attempt)

    opener = threading.Timer(0.6, gate.set)
    opener.start()
    report = pipeloom.map(hanging, ["a"], db=db, timeout=0.2, retries=Retry(2, 0.0), workers=2)
    opener.join()

    assert report.done == 1
    assert overlaps == []
    assert read(db, "SELECT attempt, status FROM pipeloom_history ORDER BY attempt") == [
        (1, "timed_out"),
        (2, "done"),
    ]


def test_a_call_that_never_returns_does_not_hold_the_run(db, read, released):
    """After another while it is not tried again."""
    report = pipeloom.map(
        lambda item: released.wait(), ["a"], db=db, name="n", timeout=0.1, retries=3, on_error="collect"
    )

    assert report.timed_out == 1
    assert read(db, "SELECT status, attempt FROM pipeloom_history") == [("timed_out", 1)]


def test_a_question_without_end_is_given_up_with_its_task(db, read):
    """The writer does not go on computing what nobody awaits: the other tasks end."""
    endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT COUNT(*) FROM n"

    def fn(item, ctx):
        if item == 1:
            ctx.query(endless)

    report = pipeloom.map(fn, range(20), db=db, name="n", timeout=0.3, workers=2, on_error="collect")

    assert (report.done, report.timed_out) == (19, 1)
