"""How a file is left behind: with the journal that it had, unless it is new or the caller says otherwise."""

from __future__ import annotations

import logging
import queue
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing

import pytest

import pipeloom
from pipeloom import SENTINEL, SQLiteWriter, connect_readonly
from pipeloom.errors import RunInterruptedError, TasksFailedError

LONG_S = 10.0
NOTED = "SELECT COUNT(*) FROM pipeloom_meta WHERE key <> 'schema_version' AND key NOT LIKE 'made table %'"


def mode(db):
    """Return the mode that the file itself says, which it has in its header."""
    return {1: "rollback", 2: "log"}[db.read_bytes()[18]]


@pytest.fixture
def plain(db):
    """A file of another program's, with a rollback journal."""
    with closing(sqlite3.connect(db)) as conn:
        conn.execute("CREATE TABLE theirs (n)")
    assert mode(db) == "rollback"
    return db


def store(db, items, **options):
    """Store a row for each item; return whether there was a log meanwhile."""

    def fn(item, ctx):
        ctx.write("t", {"n": item})
        ctx.query("SELECT 1")  # the writer has been at the file
        return (db.parent / f"{db.name}-wal").exists()

    return {found for _, found in pipeloom.map(fn, items, db=db, name="n", **options).results()}


def beside(db):
    return sorted(path.name for path in db.parent.iterdir())


def test_a_new_file_gets_a_log_and_keeps_it(db):
    """At this run and at the next ones."""
    for items in ([1], [1, 2]):
        assert store(db, items) == {True}
        assert mode(db) == "log"


def test_a_file_without_a_log_has_one_during_the_run(plain, read):
    """And is as it was afterwards: nothing lies beside it, and nothing is noted in it."""
    for items in ([1], [1, 2]):
        assert store(plain, items) == {True}
        assert mode(plain) == "rollback"
        assert beside(plain) == [plain.name]
        assert read(plain, NOTED) == [(0,)]
    assert read(plain, "SELECT n FROM t") == [(1,), (2,)]


@pytest.mark.parametrize("found", ["TRUNCATE", "PERSIST"])
def test_other_rollback_journals_are_the_same_to_a_file(plain, found):
    """They are the connection's choice, and the file does not know it."""
    with closing(sqlite3.connect(plain)) as conn:
        conn.execute(f"PRAGMA journal_mode = {found}")
        conn.execute("INSERT INTO theirs VALUES (1)")
    store(plain, [1])
    assert mode(plain) == "rollback"


def test_a_file_with_a_log_keeps_it(plain):
    """Whoever made it so."""
    with closing(sqlite3.connect(plain)) as conn:
        conn.execute("PRAGMA journal_mode = WAL")
    store(plain, [1])
    assert mode(plain) == "log"


def test_it_is_given_back_when_tasks_fail(plain):
    """As when they do not."""

    def fails(item, ctx):
        ctx.write("t", {"n": item})
        ctx.execute("nonsense")

    with pytest.raises(TasksFailedError):
        pipeloom.map(fails, [1], db=plain)
    assert mode(plain) == "rollback"


def test_it_is_given_back_when_the_run_is_interrupted(plain):
    """Somebody asks it to end."""

    def ends(item, ctx):
        pipeloom.db.cancel.request_cancel(plain, ctx.run_id, "cancel")
        while not ctx.cancelled:
            pass

    with pytest.raises(RunInterruptedError):
        pipeloom.map(ends, [1, 2], db=plain, workers=1)
    assert mode(plain) == "rollback"


@pytest.mark.parametrize("wal", [True, False, None])
@pytest.mark.parametrize("before", ["new", "rollback", "log"])
def test_what_the_caller_says_is_what_is_left(db, before, wal):
    """True and False hold for the run and for what comes after it."""
    if before != "new":
        with closing(sqlite3.connect(db)) as conn:
            conn.execute(f"PRAGMA journal_mode = {'WAL' if before == 'log' else 'DELETE'}")
            conn.execute("CREATE TABLE theirs (n)")
    assert store(db, [1], wal=wal) == {wal is not False}
    kept = {True: "log", False: "rollback", None: "rollback" if before == "rollback" else "log"}
    assert mode(db) == kept[wal]


DIES = """
import os, sys, pipeloom
def dies(item, ctx):
    ctx.put(pipeloom.MsgExecute("CREATE TABLE reached (n)"))
    while not ctx.query("SELECT 1 FROM sqlite_master WHERE name = 'reached'"):
        pass
    os._exit(9)
pipeloom.map(dies, [1], db=sys.argv[1], progress=False)
"""


@pytest.fixture
def killed(plain):
    """A file that a run has borrowed the log for, and died."""
    assert subprocess.run([sys.executable, "-c", DIES, str(plain)], check=False).returncode == 9
    assert mode(plain) == "log"
    return plain


def test_the_next_run_gives_back_what_a_dead_one_could_not(killed, read):
    """It is noted in the file."""
    assert read(killed, NOTED) == [(1,)]
    store(killed, [1])
    assert mode(killed) == "rollback"
    assert read(killed, NOTED) == [(0,)]


@pytest.mark.parametrize("wal", [True, False])
def test_whoever_says_what_he_wants_after_a_death_gets_it_for_good(killed, read, wal):
    """Later runs do not come back to it."""
    for said in (wal, None):
        store(killed, [1], wal=said, resume=False)
        assert mode(killed) == ("log" if wal else "rollback")
        assert read(killed, NOTED) == [(0,)]


def test_another_connection_in_the_way_is_told_and_given_way_to(plain, read, caplog):
    """One line says how to set it back; the next run does it by itself."""
    opened, done = threading.Event(), threading.Event()

    def look():
        with closing(connect_readonly(plain)) as conn:
            conn.execute("SELECT * FROM theirs").fetchall()
            opened.set()
            done.wait(LONG_S)

    other = threading.Thread(target=look)

    def starts(item, ctx):
        other.start()
        assert opened.wait(LONG_S)

    try:
        with caplog.at_level(logging.WARNING, "pipeloom"):
            assert pipeloom.map(starts, [1], db=plain).done == 1
    finally:
        done.set()
        other.join()
    (told,) = [record.getMessage() for record in caplog.records]
    assert "PRAGMA journal_mode=DELETE" in told
    assert str(plain) in told
    assert mode(plain) == "log"

    store(plain, [1])
    assert mode(plain) == "rollback"


def test_without_a_ledger_it_is_given_back_too(plain, read):
    """Only after a crash nobody would know."""
    source = queue.Queue()
    writer = SQLiteWriter(plain, source, wal=None, store_task_status=False)
    writer.start()
    source.put(pipeloom.MsgWriteRows("theirs", {"n": 1}))
    source.put(SENTINEL)
    writer.join()

    assert mode(plain) == "rollback"
    assert read(plain, "SELECT n FROM theirs") == [(1,)]
    assert read(plain, "SELECT name FROM sqlite_master WHERE name NOT LIKE 'sqlite%'") == [("theirs",)]


def test_what_else_a_file_says_of_itself_stays(db, read):
    """Its page size, its encoding, and what other programs know it by."""
    said = {
        "page_size": 8192,
        "encoding": "UTF-16le",
        "auto_vacuum": 2,
        "user_version": 42,
        "application_id": 0x47504B47,
    }
    with closing(sqlite3.connect(db)) as conn:
        for name, value in said.items():
            conn.execute(f"PRAGMA {name} = '{value}'" if name == "encoding" else f"PRAGMA {name} = {value}")
        conn.execute("CREATE TABLE theirs (n)")
        before = {name: conn.execute(f"PRAGMA {name}").fetchone()[0] for name in said}
    for wal in (None, True, False):
        store(db, [1], wal=wal, resume=False)
        assert {name: read(db, f"PRAGMA {name}")[0][0] for name in said} == before
    assert before == said


def test_nothing_of_it_concerns_a_database_in_memory():
    """It has no file."""
    assert pipeloom.map(lambda item: item, [1], db=":memory:", wal=None).done == 1
