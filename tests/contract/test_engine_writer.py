"""The writer of ``pipeloom.engine.run_pipeline``: waited for, and heard when it cannot write."""

from __future__ import annotations

import re
import sqlite3
import threading
from dataclasses import dataclass

import pytest

from pipeloom import SQLiteWriter, StorageError, run_pipeline

STATUSES = "SELECT status, COUNT(*) FROM task_runs GROUP BY status"


@dataclass(frozen=True)
class Slow:
    """A message whose handler takes its time."""

    number: int


@pytest.mark.parametrize("where", ["handler", "close"])
def test_a_run_waits_for_its_writer_however_long_it_takes(db, read, monkeypatch, where):
    """Any limit it may set is over at once here; still nothing is lost and it does not leave before the end."""
    join, connect = threading.Thread.join, sqlite3.connect
    entered, go_on = threading.Event(), threading.Event()

    class SlowToClose(sqlite3.Connection):
        def close(self):
            entered.set()
            assert go_on.wait(30)
            super().close()

    def handle(conn, messages):
        if where == "handler":
            entered.set()
            assert go_on.wait(30)
        conn.execute("CREATE TABLE mine (n)")
        conn.executemany("INSERT INTO mine VALUES (?)", [(message.number,) for message in messages])

    with monkeypatch.context() as patch:
        patch.setattr(SQLiteWriter, "join", lambda self, timeout=None: join(self, timeout and 0.001))
        if where == "close":
            patch.setattr(
                sqlite3, "connect", lambda *args, **options: connect(*args, factory=SlowToClose, **options)
            )
        run = threading.Thread(
            target=run_pipeline,
            args=([1], db),
            kwargs={"worker_fn": lambda n, q: q.put(Slow(n)), "handlers": {Slow: handle}},
        )
        run.start()
        try:
            assert entered.wait(20)
            run.join(0.3)
            assert run.is_alive(), "the run did not wait for its writer"
        finally:
            go_on.set()
            run.join(20)

    assert read(db, "SELECT n FROM mine") == [(1,)]
    assert read(db, STATUSES) == [("done", 1)]


FULL = """
import resource
from pathlib import Path
from pipeloom import MsgWriteRows, StorageError, run_pipeline
resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, 400_000))
try:
    row = MsgWriteRows("mine", {"t": "x" * 9000})
    run_pipeline(range(10_000), Path("out.db"), worker_fn=lambda n, q: q.put(row))
except StorageError as error:
    print("heard of it:", error)
"""


def test_a_writer_that_cannot_write_ends_the_run_with_the_reason(child):
    """At once, and not as if all were well."""
    process = child("-c", FULL)
    out, err = process.communicate(timeout=20)

    assert process.returncode == 0, err
    assert re.match(r"heard of it: .*out\.db: ", out)


@pytest.mark.parametrize("place", ["missing/out.db", ".", "text.db"])
def test_a_file_that_cannot_be_opened_is_an_error_before_any_task(tmp_path, place):
    """And no thread is left behind."""
    (tmp_path / "text.db").write_text("certainly not a database " * 100)
    with pytest.raises(StorageError):
        run_pipeline([1], tmp_path / place, worker_fn=lambda *_: pytest.fail("ran"))
