"""A file that changes under the run: noticed, what was committed saved, and nothing of others' touched."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing

import pytest

import pipeloom
from pipeloom.db import connect
from pipeloom.db.upkeep import Upkeep
from pipeloom.errors import StorageError


@pytest.fixture(params=[True, False], ids=["wal", "journal"])
def wal(request):
    """Both journal modes."""
    return request.param


@pytest.fixture
def opened(db, wal):
    """A connection that has committed a row, and who looks after it."""
    with closing(connect(db, wal=wal)) as conn:
        conn.execute("CREATE TABLE t (n)")
        upkeep = Upkeep(conn, db, wal=wal)
        upkeep.after_batch()
        conn.execute("INSERT INTO t VALUES (7)")
        upkeep.after_batch()
        yield conn, upkeep


def rows(path):
    """What another program finds in a file."""
    with closing(sqlite3.connect(path)) as conn:
        return conn.execute("SELECT * FROM t").fetchall()


def test_a_file_that_was_moved_has_everything(db, opened):
    """At the next batch, not a second later: it may be the last one."""
    moved = db.with_name("moved.db")
    os.rename(db, moved)

    with pytest.raises(StorageError, match="replaced or removed while in use"):
        opened[1].look()
    assert rows(moved) == [(7,)]


def test_a_file_that_took_the_place_is_left_alone(db, opened):
    """A log that stayed beside it would be applied to it at its next open."""
    other = db.with_name("other.db")
    with closing(sqlite3.connect(other)) as conn:
        conn.execute("CREATE TABLE t (their)")
        conn.execute("INSERT INTO t VALUES ('theirs')")
        conn.commit()
    content = other.read_bytes()
    os.replace(other, db)

    with pytest.raises(StorageError, match="replaced or removed while in use"):
        opened[1].look()
    opened[0].close()
    assert db.read_bytes() == content
    assert rows(db) == [("theirs",)]


def test_a_removed_file_is_noticed(db, opened):
    """SQLite itself would go on writing into nothing."""
    db.unlink()

    with pytest.raises(StorageError, match="replaced or removed while in use"):
        opened[1].look()


@pytest.mark.parametrize("wal", [True], indirect=True)
def test_a_removed_log_is_saved(db, opened):
    """Only this connection still has it."""
    db.with_name(db.name + "-wal").unlink()

    with pytest.raises(StorageError, match=r"out\.db-wal: was replaced or removed"):
        opened[1].look()
    opened[0].close()
    assert rows(db) == [(7,)]


@pytest.mark.parametrize("wal", [True], indirect=True)
def test_a_log_that_was_cut_off_is_noticed(db, opened):
    """What was committed to it is lost: the run must not go on as if it were not."""
    opened[1].look()
    os.truncate(db.with_name(db.name + "-wal"), 0)

    with pytest.raises(StorageError, match="was cut off while in use"):
        opened[1].look()


def test_a_run_whose_file_is_emptied_ends(db):
    """Within a moment, rather than with all of it done and the file empty."""

    def fn(item, ctx):
        os.truncate(db, 0)
        while True:
            ctx.query("SELECT 1")  # until the writer has noticed

    with pytest.raises(StorageError, match="was emptied by another program"):
        pipeloom.map(fn, range(20), db=db, name="n", workers=1)
