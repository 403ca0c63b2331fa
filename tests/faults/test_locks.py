"""Other processes on the same file: locks, readers, second engines, dead owners. (P8, P9, P10, P12)"""

from __future__ import annotations

import os
import re
import signal
import sqlite3
import sys
from contextlib import closing
from pathlib import Path
from time import monotonic

import pytest

from faults.tools import (
    DONE,
    FAILED,
    HOSTILE,
    IN_USE,
    KILLED,
    Child,
    amount,
    heard,
    let_go,
    mistaken,
    product,
    until,
)
from faults.verdict import VERDICT, UnsoundError, acknowledged, finished


@pytest.fixture
def filled(start, tmp_path):
    """A database with a finished run of ten tasks."""
    db = tmp_path / "out.db"
    assert start(product("load", db=db, count=10)).wait()[0] == DONE
    return db


NEIGHBOUR = """
import os, random, sqlite3, sys
chance = random.Random(7)
deeds = [f"PRAGMA wal_checkpoint({mode})" for mode in ("PASSIVE", "FULL", "RESTART", "TRUNCATE", "TRUNCATE")]
deeds += ["VACUUM", "ANALYZE", "PRAGMA journal_size_limit = 4096", "PRAGMA optimize", "backup"]
done = 0
while not os.path.exists(sys.argv[2]):
    conn = sqlite3.connect(sys.argv[1], timeout=5, isolation_level=None)
    for deed in chance.sample(deeds, 3):
        try:
            if deed == "backup":
                copy = sqlite3.connect(":memory:")
                conn.backup(copy)
                copy.close()
            else:
                conn.execute(deed).fetchall()
            done += 1
        except sqlite3.OperationalError as error:
            assert "locked" in str(error), error
        if done == 12:
            print("begun", flush=True)
    conn.close()
"""


def test_legitimate_neighbours(start, tmp_path):
    """Another program checkpoints, vacuums, analyses and backs up all the time: the run does not even notice."""
    db, over = tmp_path / "out.db", tmp_path / "the run is over"
    assert start(product("load", db=db, count=10)).wait()[0] == DONE
    neighbour = start([sys.executable, "-c", NEIGHBOUR, str(db), str(over)])
    neighbour.begun()
    words = product("load", db=db, count=amount(400, 5000))
    code, out, err = start(words).wait()
    over.touch()

    assert code == DONE, out + err
    assert neighbour.wait()[0] == DONE
    VERDICT.resumed(db, words, amount(400, 5000))


def test_a_foreign_write_lock_before_the_start(start, filled, holder):
    """The run waits, says so, and then works."""
    other = holder(filled, "BEGIN IMMEDIATE")
    words = product("load", db=filled, count=40)
    child = start(words)
    heard(child, "locked by another process")
    let_go(other)
    assert child.wait()[0] == DONE
    VERDICT.resumed(filled, words, 40)


@pytest.mark.parametrize("function", ["load", "pipeline"])
def test_a_foreign_write_lock_during_the_run(start, tmp_path, holder, function):
    """Nothing is lost and nobody hangs; what was there before is there meanwhile."""
    db, acks = tmp_path / "out.db", tmp_path / "acks"
    words = product(function, db=db, acks=acks, count=400, pause_s=0.005)
    child = start(words)
    until(lambda: finished(acks), "something is done", child)
    other = until(lambda: _try_to_hold(holder, db), "the lock is free for a moment")
    heard(child, "locked by another process")
    let_go(other)
    assert child.wait()[0] == DONE
    VERDICT.sound(db, acknowledged(acks), words, 400)


def test_a_foreign_write_lock_that_outlives_a_checkpoint(start, tmp_path):
    """The checkpoint and the end of its task, in one batch with what is refused: all are stored once."""
    db = tmp_path / "out.db"
    code, out, err = start(product("locked_for_longer", program=HOSTILE, db=db)).wait()
    assert code == FAILED, out + err
    with closing(sqlite3.connect(db)) as conn:
        tasks = conn.execute("SELECT key, status, rows_written FROM task_runs ORDER BY key").fetchall()
        rows = conn.execute("SELECT text, COUNT(*) FROM items GROUP BY 1 ORDER BY 1").fetchall()
        lines = conn.execute("SELECT key, l.message FROM pipeloom_logs l JOIN task_runs t ON l.task_id = t.id")
        states = conn.execute("SELECT key, state FROM pipeloom_state s JOIN task_runs t ON s.task_id = t.id")
        assert tasks == [
            ("a: before", "done", 1),
            ("b: is waited with", "done", 1),
            ("c: gives up", "timed_out", 1),
            ("d: is refused", "error", 0),
            ("e: lets go", "done", 1),
        ]
        assert rows == [(text, 1) for text in ("a: before", "b", "b: is waited with", "c: gives up", "e: lets go")]
        assert lines.fetchall() == [("c: gives up", "before the checkpoint")]
        assert states.fetchall() == [("c: gives up", '{"stage":1}')]


def _try_to_hold(holder, db: Path) -> Child | None:
    try:
        return holder(db, "BEGIN IMMEDIATE")
    except AssertionError:  # a rollback journal lets nobody in for longer than its patience
        return None


def test_a_foreign_writer_that_is_stopped(start, filled, holder):
    """A stopped process holds its lock for as long as it is stopped."""
    other = holder(filled, "BEGIN IMMEDIATE")
    other.process.send_signal(signal.SIGSTOP)
    words = product("load", db=filled, count=40)
    child = start(words)
    heard(child, "locked by another process")
    other.process.send_signal(signal.SIGCONT)
    let_go(other)
    assert child.wait()[0] == DONE
    VERDICT.resumed(filled, words, 40)


def test_the_harness_catches_a_program_that_does_not_wait(start, tmp_path, holder):
    """It takes "database is locked" for an end, and calls that done."""
    db, acks = tmp_path / "own.db", tmp_path / "acks"
    assert start(mistaken("correct", db=db, count=0)).wait()[0] == DONE
    other = holder(db, "BEGIN IMMEDIATE")
    code, _, _ = start(mistaken("errors_swallowed", db=db, acks=acks, count=4, wait_s=0)).wait()
    assert code == DONE  # which is the mistake
    let_go(other)
    with pytest.raises(UnsoundError, match="acknowledged and lost"):
        VERDICT.at_rest(db, acknowledged(acks))


def test_a_stopped_writer_of_ours(start, tmp_path):
    """While a run is stopped, readers read, and a second engine is refused; then it goes on."""
    db, acks = tmp_path / "out.db", tmp_path / "acks"
    words = product("load", db=db, acks=acks, count=300, pause_s=0.005)
    child = start(words)
    until(lambda: finished(acks), "something is done", child)
    child.process.send_signal(signal.SIGSTOP)
    status = start([sys.executable, "-m", "pipeloom", "status", "--db", str(db), "-f", "json"])
    assert status.wait()[0] == DONE
    assert start(words).wait()[0] == IN_USE
    child.process.send_signal(signal.SIGCONT)
    assert child.wait()[0] == DONE
    VERDICT.sound(db, acknowledged(acks), words, 300)


# --- readers ---


def test_a_long_reader_makes_the_log_grow_and_is_named(start, filled, holder):
    """An open read transaction while 100 MB are written: the run goes on, and says how large the log has become."""
    other = holder(filled, "BEGIN")
    words = product("bulky", db=filled, megabytes=100)
    child = start(words)
    text = heard(child, "another program keeps reading")
    size = re.search(r"grown to ([\d,]+) MiB", re.sub(r"\s+", " ", text))
    assert size is not None
    assert int(size[1].replace(",", "")) >= 60
    code, _, err = child.wait()
    assert code == DONE, err
    assert filled.with_name("out.db-wal").stat().st_size > 60 << 20
    let_go(other)
    assert start(product("bulky", db=filled, megabytes=1)).wait()[0] == DONE
    assert not filled.with_name("out.db-wal").exists()  # the next run has emptied it


def test_our_readers_neither_pin_nor_checkpoint(start, tmp_path):
    """``status`` again and again during a run: the log is emptied at the end, and the readers wrote nothing."""
    db, acks = tmp_path / "out.db", tmp_path / "acks"
    words = product("load", db=db, acks=acks, count=300, pause_s=0.005)
    child = start(words)
    until(lambda: finished(acks), "something is done", child)
    looks = 0
    while child.process.poll() is None:
        assert start([sys.executable, "-m", "pipeloom", "status", "--db", str(db)]).wait()[0] == DONE
        looks += 1
    assert looks > 1
    assert child.wait()[0] == DONE
    log = db.with_name("out.db-wal")
    assert not log.exists() or log.stat().st_size == 0  # a reader that is the last to leave cannot remove it
    VERDICT.sound(db, acknowledged(acks), words, 300)


# --- a second engine ---


def test_a_second_engine_elsewhere_is_refused_at_once(start, tmp_path):
    """Exit code 4, with the owner's number; the first one is not disturbed."""
    db, acks = tmp_path / "out.db", tmp_path / "acks"
    words = product("load", db=db, acks=acks, count=200, pause_s=0.01)
    first = start(words)
    number = first.begun()
    until(lambda: finished(acks), "something is done", first)
    began = monotonic()
    code, _, err = start(words).wait()
    assert code == IN_USE, err
    assert f"process {number}" in err
    assert monotonic() - began < 5
    assert first.wait()[0] == DONE
    VERDICT.sound(db, acknowledged(acks), words, 200)


def test_a_second_engine_in_the_same_process_is_refused(start, tmp_path):
    """Also from inside a task."""
    db = tmp_path / "out.db"
    code, out, err = start(product("nested", db=db)).wait()
    assert code == DONE, err
    assert "DatabaseInUseError" in out


def test_a_dead_owner_is_known_without_a_clock(start, tmp_path):
    """After kill -9 the next run begins at once, and what ran is ``interrupted`` until it runs again."""
    db, acks = tmp_path / "out.db", tmp_path / "acks"
    words = product("load", db=db, acks=acks, count=200, pause_s=0.01)
    child = start(words)
    until(lambda: finished(acks), "something is done", child)
    until(lambda: _running(db), "a task is seen running", child)
    child.kill()
    assert child.wait()[0] == KILLED
    assert start(product("load", db=db, count=0)).wait()[0] == DONE
    with closing(sqlite3.connect(db)) as conn:
        statuses = {status for (status,) in conn.execute("SELECT DISTINCT status FROM task_runs")}
        runs = conn.execute("SELECT status FROM pipeloom_runs ORDER BY id").fetchall()
    assert statuses == {"done", "interrupted"}
    assert runs == [("interrupted",), ("done",)]
    VERDICT.sound(db, acknowledged(acks), words, 200)


def _running(db: Path) -> bool:
    with closing(sqlite3.connect(f"{db.as_uri()}?mode=ro", uri=True)) as conn:
        return bool(conn.execute("SELECT COUNT(*) FROM task_runs WHERE status = 'running'").fetchone()[0])


def test_a_child_that_outlives_the_owner_does_not_own(start, tmp_path):
    """A forked child inherits descriptors, not locks: after the owner's death the file is free."""
    db, acks = tmp_path / "out.db", tmp_path / "acks"
    owner = start(product("forking", db=db, acks=acks, stays=True))
    until(lambda: acks.exists() and acknowledged(acks), "it has forked", owner)
    number = int(acknowledged(acks).pop())
    os.kill(owner.process.pid, signal.SIGKILL)
    owner.process.wait()
    os.kill(number, 0)  # the child is still there
    assert start(product("load", db=db, count=10)).wait()[0] == DONE
    owner.kill()
