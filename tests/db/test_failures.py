"""Which error of SQLite ends a run, says that the file is damaged, or only asks for patience; each in words."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest

from pipeloom.db import connect, connect_readonly, storage_error
from pipeloom.db.connection import MEMORY
from pipeloom.db.failures import is_busy, is_damage, is_fatal


def disk_full(db):
    """Let a real database run full."""
    with closing(connect(db)) as conn:
        conn.execute("PRAGMA max_page_count = 3")
        conn.execute("CREATE TABLE t (b)")
        conn.execute("INSERT INTO t VALUES (zeroblob(100000))")


def damaged(db):
    """Read a page that was overwritten."""
    with closing(connect(db)) as conn:
        conn.execute("CREATE TABLE t (text)")
        conn.executemany("INSERT INTO t VALUES (?)", [("x" * 100,)] * 1000)
    content = bytearray(db.read_bytes())
    content[4096:] = b"\xa5" * (len(content) - 4096)
    db.write_bytes(content)
    with closing(sqlite3.connect(db)) as conn:
        conn.execute("SELECT COUNT(text) FROM t").fetchall()


def no_database(db):
    """Read what is something else."""
    db.write_bytes(b"this is a text file, and long enough to have a header\n" * 20)
    with closing(sqlite3.connect(db)) as conn:
        conn.execute("SELECT * FROM sqlite_master")


def read_only(db):
    """Write where only reading is allowed."""
    connect(db).close()
    with closing(connect_readonly(db)) as conn:
        conn.execute("CREATE TABLE t (n)")


def locked(db):
    """Meet another connection's write lock."""
    with closing(connect(db)) as one, closing(connect(db)) as other:
        other.execute("PRAGMA busy_timeout = 0")
        one.execute("BEGIN IMMEDIATE")
        other.execute("BEGIN IMMEDIATE")


def not_there(db):
    """Open a path that leads nowhere."""
    sqlite3.connect(db / "no" / "x.db")


def no_such_table(db):
    """Make a mistake in one statement."""
    with closing(connect(db)) as conn:
        conn.execute("SELECT * FROM nowhere")


def unique(db):
    """Break a constraint."""
    with closing(connect(db)) as conn:
        conn.execute("CREATE TABLE t (n UNIQUE)")
        conn.execute("INSERT INTO t VALUES (1), (1)")


def judgements(error):
    """Return what is said of an error."""
    return {judge for judge in (is_busy, is_damage, is_fatal) if judge(error)}


@pytest.mark.parametrize(
    ("cause", "judged", "words"),
    [
        (disk_full, {is_fatal}, "the disk is full: free some space"),
        (damaged, {is_fatal, is_damage}, "is damaged"),
        (no_database, {is_fatal, is_damage}, "is not a SQLite database"),
        (read_only, {is_fatal}, "cannot be written: check the permissions"),
        (not_there, {is_fatal}, "cannot open it"),
        (locked, {is_busy}, "another process holds its lock"),
        (no_such_table, set(), "no such table: nowhere"),
        (unique, set(), "UNIQUE constraint failed"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_an_error_of_sqlite_is_put_into_words(db, cause, judged, words):
    """What happened, what to do, and SQLite's own name for it; only those of the file or machine are fatal."""
    with pytest.raises(sqlite3.Error) as raised:
        cause(db)

    told = storage_error(raised.value, db)
    assert judgements(raised.value) == judged
    assert words in str(told)
    assert raised.value.sqlite_errorname in str(told)
    assert told.path == str(db)


def test_other_exceptions_are_not_fatal():
    """An error that Python itself raises, without a code, is about one statement."""
    with closing(sqlite3.connect(MEMORY)) as conn, pytest.raises(sqlite3.ProgrammingError) as raised:
        conn.execute("SELECT ?", ())

    for error in (raised.value, OSError(28, "No space left on device")):
        assert judgements(error) == set()
    assert "ProgrammingError" in str(storage_error(raised.value, "out.db"))
