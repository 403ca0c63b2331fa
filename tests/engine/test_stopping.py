"""A run that another process asks to stop."""

from __future__ import annotations

import threading

import pytest

import pipeloom
from pipeloom import RunInterruptedError
from pipeloom.db import cancel


def test_a_drain_lets_running_tasks_finish(db, read):
    """Nothing more is admitted; the request is gone afterwards; the next call does the rest."""

    def fn(item, ctx):
        if item == 0:
            cancel.request_cancel(db, ctx.run_id, "drain")
            while cancel.cancel_path(db).exists():
                pass
            assert not ctx.cancelled

    with pytest.raises(RunInterruptedError) as caught:
        pipeloom.map(fn, iter(range(10**9)), db=db, name="n", workers=2)
    report = caught.value.report

    assert report.status == "interrupted"
    assert report.done == report.total > 0
    assert read(db, "SELECT status FROM pipeloom_runs") == [("interrupted",)]
    assert not cancel.cancel_path(db).exists()
    assert pipeloom.map(lambda item: None, range(3), db=db, name="n").skipped >= 1


def test_a_cancel_asks_running_tasks_to_stop(db, read):
    """`ctx.check` raises; their rows say cancelled."""

    def fn(item, ctx):
        if item == 0:
            cancel.request_cancel(db, ctx.run_id, "cancel")
        while True:
            ctx.check()

    with pytest.raises(RunInterruptedError) as caught:
        pipeloom.map(fn, range(100), db=db, name="n", workers=2)

    assert caught.value.report.status == "cancelled"
    assert caught.value.report.cancelled == 2
    assert read(db, "SELECT status, COUNT(*) FROM task_runs GROUP BY status") == [("cancelled", 2)]


@pytest.mark.parametrize("content", ["999 cancel\n", "1 destroy\n", "", "x" * 10_000])
def test_a_request_for_another_run_or_nonsense_is_left_aside(db, content):
    """A request that an earlier run did not live to see must not stop this one."""
    cancel.cancel_path(db).write_text(content)

    def fn(item, ctx):
        if item == 0:
            cancel.cancel_path(db).write_text(content)
        return item

    assert pipeloom.map(fn, range(20), db=db, name="n").done == 20


def test_a_call_that_waits_hears_of_a_cancel(db):
    """A query that the writer cannot answer yet does not hold its task."""

    class Hangs:
        pass

    def handler(conn, messages):
        while cancel.cancel_path(db).exists():
            pass
        handler.go.wait()

    handler.go = threading.Event()

    def fn(item, ctx):
        cancel.request_cancel(db, ctx.run_id, "cancel")
        ctx.put(Hangs())
        try:
            ctx.query("SELECT 1")
        finally:
            handler.go.set()

    with pytest.raises(RunInterruptedError) as caught:
        pipeloom.map(fn, [1], db=db, name="n", handlers={Hangs: handler})
    assert caught.value.report.cancelled == 1
