"""Files that are well, damaged, tampered with, or left by a killed run."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
from contextlib import closing, contextmanager

import pytest

from pipeloom import DuplicateKeyError, TasksFailedError, run_pipeline
from pipeloom import map as pipeloom_map
from pipeloom.db.cancel import request_cancel
from pipeloom.demo import DemoTask
from pipeloom.doctor import examine
from pipeloom.errors import StorageError
from pipeloom.messages import MsgTaskFinished, MsgTaskStarted

from .conftest import alter, by_check, fill, remarkable


def snapshot(db):
    """Return every byte beside the file, and itself."""
    return {path.name: path.read_bytes() for path in db.parent.iterdir()}


@pytest.mark.parametrize("wal", [True, False])
def test_a_file_that_is_well(db, wal):
    """After runs of every kind, and not a byte is changed or a file made."""

    def sometimes(number, ctx):
        ctx.write("s", {"n": number})
        if number % 3 == 0:
            raise ValueError(number)

    def by_message(task, messages):
        messages.put(MsgTaskStarted(task.task_id, task.name, ""))
        messages.put(MsgTaskFinished(task.task_id, "done", ""))

    run_pipeline(
        range(10),
        db,
        worker_fn=lambda n, ctx: sometimes(n, ctx),
        key=int,
        name="a",
        wal=wal,
        on_error="collect",
        progress=False,
    )
    run_pipeline(
        range(10),
        db,
        worker_fn=lambda n, ctx: sometimes(n, ctx),
        key=int,
        name="a",
        wal=wal,
        on_error="collect",
        progress=False,
    )
    fill(db, 20)
    fill(db, 20, resume=False)
    with pytest.raises(TasksFailedError) as failed:
        pipeloom_map(str, ["a", "b", "a"], name="twice", db=db, progress=False)
    assert failed.group_contains(DuplicateKeyError)
    other = db.with_name("numbers.db")
    for _ in range(2):
        run_pipeline([DemoTask(n, "x") for n in range(1, 9)], other, worker_fn=by_message, wal=wal, progress=False)
    before = snapshot(db)

    assert remarkable(db) == {"rejected": "note"}
    assert remarkable(other) == {}
    assert by_check(examine(db))["rows"].text.endswith("as many as the tasks wrote")
    assert snapshot(db) == before


def test_a_file_without_a_ledger_is_looked_at_too(db):
    """Tasks that only write rows, or another program's database."""
    alter(db, "CREATE TABLE mine (a)")

    assert remarkable(db) == {"schema": "note"}


def test_a_flipped_page_is_found(db):
    """The sentence is SQLite's, cleaned."""
    fill(db, 500)
    with closing(sqlite3.connect(db)) as conn:
        (page,) = conn.execute("SELECT rootpage FROM sqlite_master WHERE name = 't'").fetchone()
    content = bytearray(db.read_bytes())
    for place in range((page - 1) * 4096, (page - 1) * 4096 + 60):
        content[place] ^= 0xFF
    db.write_bytes(content)

    found = by_check(examine(db))
    assert found["integrity"].verdict == "BAD"
    assert ".recover" in found["integrity"].advice + found["integrity"].text
    assert found["schema"].verdict == "ok"  # the rest is looked at all the same


def test_an_index_that_lost_an_entry_is_found(db):
    """Every page is sound, and yet a look-up would miss a row: only the thorough check sees it."""
    fill(db)
    alter(db, "CREATE TABLE u (n, m)", "CREATE INDEX ui ON u (n)", "INSERT INTO u VALUES (1, 10), (2, 20)")
    with closing(sqlite3.connect(db)) as conn:
        conn.execute("PRAGMA writable_schema = ON")
        conn.execute("UPDATE sqlite_master SET sql = 'CREATE INDEX ui ON u (m)' WHERE name = 'ui'")
        conn.commit()
    with closing(sqlite3.connect(db)) as conn:  # the entries are those of the other column
        assert conn.execute("PRAGMA quick_check").fetchall() == [("ok",)]
        assert conn.execute("SELECT n FROM u INDEXED BY ui WHERE m = 10").fetchall() == []

    assert by_check(examine(db))["integrity"].verdict == "BAD"


def test_a_file_cut_off_in_its_last_page(db):
    """Which SQLite itself does not say."""
    fill(db)
    db.write_bytes(db.read_bytes()[:-1000])

    assert by_check(examine(db))["file"].verdict == "BAD"


def test_a_file_that_cannot_be_read_is_an_error(db):
    """Cut in half, or no database at all; it stays as it is."""
    fill(db, 500)
    whole = db.read_bytes()
    for content, words in ((whole[: len(whole) // 2], "damaged"), (b"text" * 999, "is not a SQLite database")):
        db.write_bytes(content)
        with pytest.raises(StorageError, match=words):
            examine(db)
        assert db.read_bytes() == content


KILLED = """
import os, signal, sys, threading
import pipeloom
def fn(number, ctx):
    ctx.write("t", {"n": number})
    if number == 9:
        ctx.progress(1, 2)
        stored = "SELECT (SELECT progress FROM task_runs WHERE id = ?), (SELECT done FROM pipeloom_runs)"
        while ctx.query(stored, (ctx.task_id,)) != [(0.5, 9)]:
            pass  # from then on there is nothing to write any more
        print("here", flush=True)
        threading.Event().wait()
pipeloom.run_pipeline(
    range(10), sys.argv[1], worker_fn=fn, key=int, name="n", workers=1, wal=sys.argv[2] == "wal", progress=False
)
"""


@contextmanager
def running(db, mode="wal"):
    """A run in another process that has done nine tasks and hangs in the tenth."""
    with subprocess.Popen(
        [sys.executable, "-c", KILLED, db, mode], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        try:
            assert child.stdout.readline() == "here\n"
            yield child
        finally:
            child.kill()


@pytest.mark.skipif(sys.platform != "linux", reason="signals and locks as Linux has them")
@pytest.mark.parametrize("mode", ["wal", "journal"])
def test_a_run_that_is_going_on_is_no_fault(db, mode):
    """It is named, and not a byte of the log's index is written."""
    with running(db, mode) as child:
        before = snapshot(db)
        found = by_check(examine(db))
        assert snapshot(db) == before
        assert "is in progress, since" in found["run"].text
        assert f"process {child.pid}" in found["run"].text
        assert not {name for name, finding in found.items() if finding.verdict == "BAD"}


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL there")
def test_a_killed_run_leaves_notes(db):
    """What to do is to run it again; the log is part of the file. A request that came too late is named."""
    with running(db) as child:
        request_cancel(db, 1, "drain")
        child.send_signal(signal.SIGKILL)
        child.wait()
    before = snapshot(db)
    found = by_check(examine(db))

    assert snapshot(db) == before
    remarks = {name: finding.verdict for name, finding in found.items() if finding.verdict != "ok"}
    assert remarks.pop("SQLite", "note") == "note"
    assert remarks == {"run": "note", "log": "note", "cancel": "note", "tasks": "note"}
    assert "ended unexpectedly" in found["run"].text


def test_a_file_that_is_written_meanwhile_is_looked_at_again(db):
    """Without a log it is read as if nobody wrote it: that must not become a finding."""
    fill(db, 300)
    wrote = []

    def write(step, seconds):
        if not wrote:
            wrote.append(step)
            alter(db, "DELETE FROM t WHERE n > 0", "VACUUM")

    found = examine(db, on_step=write)

    assert {f.check for f in found if f.verdict == "BAD"} == set()
    if wrote:
        assert by_check(found)["rows"].text.startswith("3")


def test_a_check_that_takes_too_long_is_given_up(db):
    """And says how to give it more time; the other checks go on."""
    fill(db, 2000)
    finding = by_check(examine(db, deadline_s=1e-9))["integrity"]

    assert (finding.verdict, "not finished within" in finding.text) == ("note", True)
