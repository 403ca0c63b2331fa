"""One reader for all viewers: what it sees, and whom it tells."""

from __future__ import annotations

import os
import sqlite3
import threading
from contextlib import ExitStack, closing
from time import monotonic
from typing import Any, cast

import pytest

import pipeloom
from pipeloom.web.hub import Hub

from .serving import Stream, wait_until

ITEMS = ["a.csv", "b.csv", "c.csv"]


def test_a_run_is_followed_from_its_first_task_to_its_end(serve, gated, db):
    """Running, failed with its traceback, finished; on one stream that began before there was a file."""
    with Stream(serve(db)) as stream:
        stream.until("notice", "no such file")
        run = gated(db, ITEMS, failing=["b.csv"])
        stream.until("running", lambda html: all(f"reading {item}" in html for item in ITEMS))
        assert stream.parts["notice"] == ""
        run.let_go("b.csv")
        failures = stream.until("failures", "line 7 of b.csv is bad")
        run.finish()
        stream.until("run", "1 of 3 tasks failed")

        assert "Traceback (most recent call last)" in failures
        assert stream.until("spoken", "failed") == "<span>Run 1 failed, 1 failed</span>"


def test_what_waits_for_its_next_try_is_shown(serve, gated, db):
    """With why it waits."""
    gated(db, ITEMS)
    with Stream(serve(db)) as stream:
        stream.until("running", lambda html: all(f"reading {item}" in html for item in ITEMS))
        with closing(sqlite3.connect(db)) as conn:
            conn.execute(
                "INSERT INTO task_runs (id, name, status, run_id, attempt, message) "
                "VALUES (90, 'later', 'queued', 1, 2, 'try 2 of 4 in 1.0 s: no answer')"
            )
            conn.commit()
        stream.until("running", lambda html: "waiting" in html and "try 2 of 4 in 1.0 s: no answer" in html)


def test_the_next_run_follows_on_the_same_stream(serve, gated, db):
    """The page need not be loaded again."""
    gated(db, ["a.csv"]).finish()
    with Stream(serve(db)) as stream:
        stream.until("run", "run 1<")
        run = gated(db, ["a.csv", "d.csv"])
        stream.until("run", "run 2<")
        run.finish()
        stream.until("run", lambda html: "run 2<" in html and "Finished" in html)


def test_a_replaced_file_is_noticed(serve, db, tmp_path):
    """The page goes on with the new one; while there is none it says so."""
    pipeloom.map(str, range(3), db=db, progress=False, name="old")
    other = tmp_path / "other.db"
    pipeloom.map(str, range(4), db=other, progress=False, name="new")
    with Stream(serve(db)) as stream:
        stream.until("run", ">old<")
        os.rename(db, tmp_path / "away.db")
        stream.until("notice", "no such file")
        os.rename(other, db)
        stream.until("run", ">new<")
        stream.until("notice", lambda html: html == "")


def test_a_task_page_follows_its_task_and_its_log(serve, gated, db):
    """Progress, log records, result."""
    run = gated(db, ["a.csv"])
    with Stream(serve(db), "/events/tasks/1") as stream:
        stream.until("task", "reading a.csv")
        with closing(sqlite3.connect(db)) as conn:
            conn.execute(
                "INSERT INTO pipeloom_logs (task_id, run_id, attempt, at, level, message) "
                "VALUES (1, 1, 1, '2026-01-31T12:00:00.000+00:00', 'INFO', 'half way')"
            )
            conn.commit()
        stream.until("logs", "half way")
        run.finish()
        stream.until("result", "a.csv")


@pytest.mark.slow
@pytest.mark.parametrize("path", ["/events/tasks?status=done", "/events/runs", "/events/runs/1"])
def test_the_other_pages_follow_too(serve, gated, db, path):
    """Lists and pictures."""
    run = gated(db, ITEMS)
    wait_until(lambda: db.exists())
    with Stream(serve(db), path) as stream:
        part = "tasks" if "tasks" in path else "runs" if path.endswith("runs") else "pictures"
        run.finish()
        stream.until(part, {"tasks": "c.csv", "runs": "s-done", "pictures": "throughput-title"}[part])


def test_a_run_whose_process_died_is_seen_to_be_dead(serve, db):
    """Its death changes no byte of the file."""
    pipeloom.map(str, range(3), db=db, progress=False)
    with closing(sqlite3.connect(db)) as conn:
        conn.execute("UPDATE pipeloom_runs SET status = 'running', finished_at = NULL, pid = 1")
        conn.commit()
    with Stream(serve(db)) as stream:
        stream.until("run", "its process ended before it did")


def test_viewers_share_one_look(serve, db):
    """However many watch, each part is built once; when nobody does, nothing is read."""
    pipeloom.map(str, range(3), db=db, progress=False)
    server = serve(db)
    with ExitStack() as stack:
        streams = [stack.enter_context(Stream(server)) for _ in range(10)]
        for stream in streams:
            stream.until("runs", "1")
        ids = {stream.last_id for stream in streams}
        assert len(server.hub._views) == 1
        assert len(ids) == 1
    wait_until(lambda: server.hub.viewers == 0)
    looks = server.hub.looks
    threading.Event().wait(0.7)  # two looks' time: there is no other way to see that something does not come

    assert server.hub.looks <= looks + 1


def test_who_comes_back_gets_what_is_new(serve, gated, db):
    """By the id of the last event; what was seen is not sent again."""
    run = gated(db, ITEMS)
    server = serve(db)
    with Stream(server) as first, Stream(server) as other:
        first.until("running", lambda html: all(item in html for item in ITEMS))
        first.until("runs", "gated")
        seen = first.last_id
        run.let_go("a.csv")
        other.until("run", ">1</dd>")
        with Stream(server, Last_Event_ID=seen) as again:
            again.until("run", ">1</dd>")
            assert "notice" not in again.parts
        with Stream(server, Last_Event_ID="of-another-server") as fresh:
            fresh.until("notice", lambda html: html == "")


def test_parts_are_sent_in_the_order_of_their_ids(db):
    """A viewer whose connection breaks between two of them comes back with an id that skips neither."""
    hub, view = Hub(db), cast("Any", object())
    first = hub.join(view)
    watched = hub._views[view]
    hub._deliver(watched, {"run": (1, b"1"), "runs": (2, b"2")})
    hub._deliver(watched, {"run": (3, b"3")})

    assert first.take() == b"23"
    assert hub.join(view).take() == b"23"


def test_the_end_of_the_server_ends_the_streams(serve, db):
    """At once, however many are open."""
    server = serve(db)
    with ExitStack() as stack:
        streams = [stack.enter_context(Stream(server)) for _ in range(5)]
        for stream in streams:
            stream.until("notice", "no such file")
        began = monotonic()
        server.stop()
        for stream in streams:
            with pytest.raises(EOFError):
                while True:
                    stream.take()

        assert monotonic() - began < 2


def test_a_hub_that_never_started_can_be_stopped(db):
    """Closing what was not opened is no error."""
    import asyncio

    asyncio.run(Hub(db).stop())
