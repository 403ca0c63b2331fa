"""What ``SQLiteWriter`` does at its end: statistics, checkpoint, close, whatever happened before."""

from __future__ import annotations

import queue
import sqlite3
from contextlib import closing

import pytest

from pipeloom import SENTINEL, MsgExecute, MsgTaskFinished, MsgTaskStarted, MsgWriteRows, SQLiteWriter

AT = "2026-01-31T12:00:00+00:00"


@pytest.fixture
def grown(db):
    """A file with two of the user's tables and their indexes, that nobody has analysed."""
    with closing(sqlite3.connect(db)) as conn:
        for table in ("mine", "other"):
            conn.execute(f"CREATE TABLE {table} (n INTEGER)")
            conn.execute(f"CREATE INDEX {table}_n ON {table} (n)")
            # The first thousand values are distinct, the rest is all the same.
            conn.executemany(f"INSERT INTO {table} VALUES (?)", ((min(number, 1000),) for number in range(15_000)))
        conn.commit()
    return db


def analysed(read, db):
    """Return the tables that have statistics."""
    if not read(db, "SELECT 1 FROM sqlite_master WHERE name = 'sqlite_stat1'"):
        return set()
    return {table for (table,) in read(db, "SELECT DISTINCT tbl FROM sqlite_stat1")}


@pytest.mark.parametrize(
    "message",
    [MsgWriteRows("mine", {"n": 1}), MsgExecute("INSERT INTO mine VALUES (1)")],
    ids=["rows", "a statement"],
)
def test_tables_that_were_written_get_statistics_and_no_others(grown, read, store, message):
    """The user's other tables are left as they are."""
    store(message, store_task_status=False)

    assert analysed(read, grown) == {"mine"}


def test_task_runs_gets_statistics_when_tasks_were_stored(db, read, store):
    """So that queries on a large ledger find their index."""
    store(*(MsgTaskStarted(number, "t", AT) for number in range(100)))

    assert "task_runs" in analysed(read, db)


def test_a_writer_that_wrote_nothing_analyses_nothing(grown, read, store):
    """Neither the user's tables nor its own."""
    store(MsgTaskStarted(1, "t", AT))
    with closing(sqlite3.connect(grown)) as conn:
        conn.execute("DELETE FROM sqlite_stat1")
        conn.commit()
    store()

    assert analysed(read, grown) == set()


def test_statistics_are_bounded(grown, read, store):
    """They do not scan a large table as a full ANALYZE does."""
    store(MsgWriteRows("mine", {"n": 1}), store_task_status=False)
    (quick,) = read(grown, "SELECT stat FROM sqlite_stat1 WHERE idx = 'mine_n'")
    with closing(sqlite3.connect(grown)) as conn:
        conn.execute("ANALYZE mine")
        (full,) = conn.execute("SELECT stat FROM sqlite_stat1 WHERE idx = 'mine_n'").fetchall()

    assert quick != full


@pytest.fixture
def visitor(db):
    """A connection of somebody else's that keeps the log from being removed, not from being emptied."""
    with closing(sqlite3.connect(db)) as conn:
        conn.execute("PRAGMA journal_mode = WAL")
        conn.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()
        yield conn


def test_the_log_is_truncated_at_the_end(db, store, visitor):
    """All is in the file itself, and the log is empty."""
    store(MsgTaskStarted(1, "t", AT), MsgTaskFinished(1, "done", AT))

    assert db.with_name(db.name + "-wal").stat().st_size == 0
    assert visitor.execute("SELECT status FROM task_runs").fetchone() == ("done",)


class Breaking(queue.Queue):
    """A user's queue that fails once, when told to."""

    broken = False

    def get(self, block=True, timeout=None):
        item = super().get(block, timeout)
        if self.broken:
            self.broken = False
            raise RuntimeError("the queue broke")
        return item


def test_whatever_happened_it_checkpoints_and_closes(db, visitor, opened):
    """A writer that dies of a foreign fault leaves an empty log and no open connection."""
    source = Breaking()
    writer = SQLiteWriter(db, source)
    writer.start()
    source.put(MsgTaskStarted(1, "t", AT))
    source.join()
    source.broken = True
    source.put(MsgTaskFinished(1, "done", AT))
    source.put(SENTINEL)
    writer.join(10)

    assert not writer.is_alive()
    assert opened[0].closed_in is writer
    assert visitor.execute("SELECT status FROM task_runs").fetchone() == ("running",)
    assert db.with_name(db.name + "-wal").stat().st_size == 0
    assert opened[0].count("ANALYZE") >= 1


def test_it_closes_in_the_middle_of_everything(db, read, opened, serve):
    """Nothing that was put before the sentinel is lost, nothing stays open."""
    with serve() as (writer, source):
        for number in range(500):
            source.put(MsgTaskStarted(number, "t", AT))
            source.put("a stranger")
            source.put(MsgTaskFinished(number, "no such status", AT))

    assert read(db, "SELECT status, COUNT(*) FROM task_runs GROUP BY status") == [("error", 500)]
    assert opened[0].closed_in is writer
    assert writer.failure is None
