"""Tries that wait, run over, are cancelled or fork; producers that nobody listens to. (P5, P11, P15, P17)"""

from __future__ import annotations

import os
import signal
import sqlite3
import sys
from contextlib import closing
from pathlib import Path
from time import monotonic

import pytest

from faults.tools import DONE, FAILED, HOSTILE, INTERRUPTED, KILLED, amount, mistaken, product, until
from faults.verdict import VERDICT, acknowledged, finished


def asked(db: Path, sql: str) -> list[tuple]:
    """Ask a database that may be in use."""
    if not db.exists():
        return []
    try:
        with closing(sqlite3.connect(f"{db.as_uri()}?mode=ro", uri=True)) as conn:
            return conn.execute(sql).fetchall()
    except sqlite3.OperationalError:
        return []


QUEUED = "SELECT id FROM task_runs WHERE status = 'queued'"


# --- tries that wait ---


def test_killed_while_a_try_waits(start, tmp_path):
    """Its first try is in the history; its checkpoint holds; the next run tries it again."""
    db, acks = tmp_path / "out.db", tmp_path / "acks"
    child = start(product("waiting", db=db, acks=acks, delay_s=30))
    waiting = until(lambda: len(asked(db, QUEUED)) == 2 and asked(db, QUEUED), "two tasks wait", child)
    child.kill()
    assert child.wait()[0] == KILLED
    stored = VERDICT.at_rest(db, acknowledged(acks))
    assert {3, 8} <= set(stored.stages)
    assert len(waiting) == 2
    VERDICT.resumed(db, product("waiting", db=db, acks=acks, delay_s=0.01), 12)
    tries = asked(
        db, "SELECT COUNT(*) FROM pipeloom_history WHERE task_id IN (SELECT id FROM task_runs WHERE key = 3)"
    )
    assert tries[0][0] >= 3


def test_interrupted_while_a_try_waits(start, tmp_path):
    """A wait of half a minute holds nobody up; nothing is left queued."""
    db, acks = tmp_path / "out.db", tmp_path / "acks"
    child = start(product("waiting", db=db, acks=acks, delay_s=30))
    until(lambda: len(asked(db, QUEUED)) == 2, "two tasks wait", child)
    began = monotonic()
    child.process.send_signal(signal.SIGINT)
    code, _, err = child.wait()
    assert code == INTERRUPTED, err
    assert monotonic() - began < 5
    assert asked(db, QUEUED) == []
    VERDICT.sound(db, acknowledged(acks), product("waiting", db=db, acks=acks, delay_s=0.01), 12)


# --- tries that run over ---


def test_a_call_that_ran_over_is_not_heard_any_more(start, tmp_path):
    """It is ``timed_out`` at once; what it says or returns late is refused, and its staged rows are gone."""
    db = tmp_path / "out.db"
    code, out, err = start(product("late", program=HOSTILE, db=db)).wait()
    assert code == FAILED, err
    assert "refused 10 AttemptOverError" in out
    assert asked(db, "SELECT status, COUNT(*) FROM task_runs GROUP BY status") == [("done", 38), ("timed_out", 2)]
    assert asked(db, "SELECT COUNT(*), COUNT(DISTINCT task), MIN(task), MAX(i) FROM items") == [(38, 38, 2, 0)]


# --- cancelled from elsewhere ---


@pytest.mark.parametrize("how", ["cancel", "drain"])
def test_cancelled_from_another_terminal(start, tmp_path, how):
    """The file beside the database stops the run within a second or two; the rest is done by the next call."""
    db, acks = tmp_path / "out.db", tmp_path / "acks"
    words = product("load", db=db, acks=acks, count=3000, pause_s=0.01)
    child = start(words)
    until(lambda: finished(acks), "something is done", child)
    began = monotonic()
    cancel = [sys.executable, "-m", "pipeloom", "cancel", "--db", str(db)]
    assert start([*cancel, *(["--drain"] if how == "drain" else [])]).wait()[0] == DONE
    code, _, err = child.wait()
    assert code == INTERRUPTED, err
    assert monotonic() - began < 8
    assert not (tmp_path / "out.db-cancel").exists()
    stored = VERDICT.at_rest(db, acknowledged(acks))
    assert 0 < len(stored.done) < 3000
    assert asked(db, "SELECT id FROM task_runs WHERE status IN ('running', 'queued')") == []


@pytest.mark.parametrize("content", [b"999 cancel\n", b"\xff" * 1000, "a directory", "a pipe"])
def test_a_cancel_file_that_means_nothing(start, tmp_path, content):
    """Of another run, nonsense, or no file at all: the run goes on."""
    db, acks = tmp_path / "out.db", tmp_path / "acks"
    words = product("load", db=db, acks=acks, count=60, pause_s=0.02)
    child = start(words)
    until(lambda: finished(acks), "something is done", child)
    request = tmp_path / "out.db-cancel"
    if content == "a directory":
        request.mkdir()
    elif content == "a pipe":
        os.mkfifo(request)
    else:
        request.write_bytes(content)
    code, _, err = child.wait()
    assert code == DONE, err
    if request.is_dir():
        request.rmdir()
    VERDICT.sound(db, acknowledged(acks), words, 60)


# --- forks ---


def test_tasks_that_fork(start, tmp_path):
    """Children that leave, or come back as if they were the task: the run is the parent's."""
    db, acks = tmp_path / "out.db", tmp_path / "acks"
    words = product("forking", db=db, acks=acks)
    code, out, err = start(words).wait()
    assert code == DONE, out + err
    stored = VERDICT.at_rest(db)
    assert stored.done == set(range(12))
    VERDICT.resumed(db, words, 12)


# --- nobody listens any more ---


@pytest.mark.parametrize("producers", [24, 64])
def test_the_writer_dies_with_blocked_producers(start, tmp_path, producers):
    """At a random message: every one of them hears of it within a second, and the run raises why."""
    rounds = amount(6, 100)
    child = start(
        product(
            "blocked", program=HOSTILE, db=tmp_path / "out.db", producers=producers, rounds=rounds, seed=producers
        )
    )
    code, out, err = child.wait(30 + rounds)
    assert code == DONE, err
    heard = [line.split() for line in out.splitlines()]
    assert len(heard) == rounds, out
    for count, seconds, error in heard:
        assert (int(count), error) == (producers, "StorageError")
        assert float(seconds) < 1
    longest = max(float(seconds) for _, seconds, _ in heard)
    print(f"{rounds} times {producers} producers: none hung, the last heard {longest} s after the first")


def test_a_plain_queue_is_kept_moving(start, tmp_path):
    """On the user's own queue nobody can be told: everything is taken and dropped, and the writer says why."""
    code, out, err = start(
        product("blocked_on_a_plain_queue", program=HOSTILE, db=tmp_path / "out.db", producers=24)
    ).wait(20)
    assert (code, out.strip()) == (DONE, "StorageError"), err


def test_the_harness_catches_producers_that_hang(start):
    """The common design, a bounded queue and a dead consumer, hangs for ever."""
    with pytest.raises(AssertionError, match="still running"):
        start(mistaken("consumer_dies")).wait(2)
