"""A file that changes under the run: noticed, what was committed saved, and nothing of others' touched."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing

import pytest

import pipeloom
from pipeloom.db import connect
from pipeloom.db.maintenance import Maintenance
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
        maintenance = Maintenance(conn, db, wal=wal)
        maintenance.after_batch()
        conn.execute("INSERT INTO t VALUES (7)")
        maintenance.after_batch()
        yield conn, maintenance
        maintenance.release()


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
    opened[1].release()
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
    opened[1].release()
    opened[0].close()
    assert rows(db) == [(7,)]


@pytest.mark.parametrize("wal", [True], indirect=True)
def test_a_log_that_was_cut_off_is_noticed(db, opened):
    """What was committed to it is lost: the run must not go on as if it were not."""
    opened[1].look()
    os.truncate(db.with_name(db.name + "-wal"), 0)

    with pytest.raises(StorageError, match=f"was truncated while in use.*`pipeloom doctor --db {db}`"):
        opened[1].look()


@pytest.mark.parametrize("wal", [True], indirect=True)
@pytest.mark.parametrize("left", ["nothing", "a half"])
def test_a_log_whose_pages_were_moved_and_that_was_cut_off_is_noticed(db, opened, left):
    """SQLite still counts its frames, and would write the next one behind a hole."""
    conn, maintenance = opened
    for n in range(50):
        conn.execute("INSERT INTO t VALUES (?)", (n,))
    conn.execute("PRAGMA wal_checkpoint(PASSIVE)")
    maintenance.look()
    log = db.with_name(db.name + "-wal")
    os.truncate(log, 0 if left == "nothing" else log.stat().st_size // 2)

    with pytest.raises(StorageError, match="was truncated while in use"):
        maintenance.look()


@pytest.mark.parametrize("wal", [True], indirect=True)
@pytest.mark.parametrize("left", [0, 5000, 41_200])
def test_a_log_that_was_cut_off_and_has_grown_again_is_noticed_before_it_is_moved(db, opened, left):
    """The next commit writes behind the hole: the length tells nothing, and a checkpoint would copy zeros."""
    conn, maintenance = opened
    for n in range(50):
        conn.execute("INSERT INTO t VALUES (?)", (n,))
    maintenance.look()
    os.truncate(db.with_name(db.name + "-wal"), left)
    for n in range(3000):  # more than a checkpoint waits for
        conn.execute("INSERT INTO t VALUES (?)", (n,))

    with pytest.raises(StorageError, match="was truncated while in use"):
        maintenance.after_batch()


@pytest.mark.parametrize("wal", [True], indirect=True)
@pytest.mark.parametrize("how", ["removed", "replaced"])
def test_an_index_that_goes_away_is_noticed(db, opened, how):
    """The next program would make another one, and the two would know nothing of each other."""
    index = db.with_name(db.name + "-shm")
    if how == "replaced":
        index.with_name("copy").write_bytes(index.read_bytes())
        os.replace(index.with_name("copy"), index)
    else:
        index.unlink()

    with pytest.raises(StorageError, match=r"out\.db-shm: was replaced or removed while in use"):
        opened[1].look()
    opened[1].release()
    opened[0].close()
    assert rows(db) == [(7,)]


@pytest.mark.parametrize("wal", [True], indirect=True)
@pytest.mark.parametrize("mode", ["PASSIVE", "FULL", "RESTART", "TRUNCATE"])
def test_a_checkpoint_of_another_program_is_none_of_our_business(db, opened, mode):
    """SQLite allows it at any time, and nothing is lost: with TRUNCATE the log is empty, or short, afterwards."""
    conn, maintenance = opened
    with closing(connect(db)) as other:
        for n in range(60):
            conn.execute("INSERT INTO t VALUES (?)", (n,))
            if n % 2:
                maintenance.look()
            if n % 3 == 2:
                assert other.execute(f"PRAGMA wal_checkpoint({mode})").fetchone()[0] == 0
            if n % 5 == 4:
                maintenance.look()

    assert [n for (n,) in conn.execute("SELECT n FROM t")] == [7, *range(60)]


@pytest.mark.parametrize("wal", [True], indirect=True)
def test_a_log_that_another_program_limits_is_none_of_our_business(db, opened):
    """Its own writes cut the log to `journal_size_limit` when it begins again."""
    conn, maintenance = opened
    for n in range(200):
        conn.execute("INSERT INTO t VALUES (?)", (n,))
    maintenance.look()
    conn.execute("PRAGMA wal_checkpoint(PASSIVE)")
    log = db.with_name(db.name + "-wal")
    long = log.stat().st_size
    with closing(connect(db)) as other:
        other.execute("PRAGMA journal_size_limit = 20000")
        other.execute("INSERT INTO t VALUES ('theirs')")

        assert 0 < log.stat().st_size < long
        maintenance.look()
        conn.execute("INSERT INTO t VALUES ('ours')")
        maintenance.look()


def test_a_file_that_was_emptied_in_the_middle_of_a_transaction_is_told_as_that(opened):
    """It has grown again; what is left to see is that the ledger's own tables are gone."""
    conn, maintenance = opened
    with pytest.raises(sqlite3.OperationalError) as gone:
        conn.execute("SELECT * FROM pipeloom_rejected")
    with pytest.raises(StorageError, match="was emptied by another program while in use"):
        maintenance.explain(gone.value)
    with pytest.raises(sqlite3.OperationalError) as theirs:
        conn.execute("SELECT * FROM their_own")
    maintenance.explain(theirs.value)


def test_statistics_are_for_some_tables_only_where_there_are_thousands(db, opened):
    """Each ANALYZE takes longer the more tables there are."""
    conn, maintenance = opened
    tables = [f"t{n:03}" for n in range(300)]
    for table in tables:
        conn.execute(f"CREATE TABLE {table} (n)")
    asked = []
    conn.set_trace_callback(asked.append)
    maintenance.at_close(tables)
    conn.set_trace_callback(None)

    assert sum(sql.startswith("ANALYZE ") for sql in asked) == 200


def test_a_table_that_cannot_be_analysed_does_not_keep_the_log_from_being_emptied(db, opened, wal):
    """It may be gone by now, or have a name that SQLite keeps for itself."""
    conn, maintenance = opened
    maintenance.at_close(["nowhere", "nul\0", "t"])

    assert [table for (table,) in conn.execute("SELECT DISTINCT tbl FROM sqlite_stat1")] == ["t"]
    if wal:
        assert db.with_name(db.name + "-wal").stat().st_size == 0


def test_a_run_whose_file_is_emptied_ends(db):
    """Within a moment, rather than with all of it done and the file empty."""

    def fn(item, ctx):
        os.truncate(db, 0)
        while True:
            ctx.query("SELECT 1")  # until the writer has noticed

    with pytest.raises(StorageError, match="was emptied by another program"):
        pipeloom.map(fn, range(20), db=db, name="n", workers=1)
