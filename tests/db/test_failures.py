"""Which error of SQLite ends a run, says that the file is damaged, or only asks for patience; each in words."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing

import pytest

from pipeloom.db import connect, connect_readonly, storage_error
from pipeloom.db.connection import MEMORY
from pipeloom.db.failures import is_busy, is_damage, is_fatal
from pipeloom.errors import StorageError


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


def test_a_disk_without_room_for_shared_memory_is_full():
    """SQLite calls it an I/O error of the -shm file."""
    error = sqlite3.OperationalError("disk I/O error")
    error.sqlite_errorcode, error.sqlite_errorname = sqlite3.SQLITE_IOERR_SHMSIZE, "SQLITE_IOERR_SHMSIZE"

    assert "the disk is full and has no room for the -shm file" in str(storage_error(error, "out.db"))


# --- readers ---


def test_a_commit_that_was_cut_short_is_said_to_readers(db):
    """A reader may not take it back, and the journal must not be lost until somebody does."""
    left = db.with_name("left.db")
    with closing(connect(db, wal=False)) as conn:
        conn.execute("CREATE TABLE t (text)")
        conn.execute("PRAGMA cache_spill = 1")
        conn.execute("BEGIN")
        conn.executemany("INSERT INTO t VALUES (?)", [("x" * 1000,)] * 10_000)  # more than the cache holds
        shutil.copy(db, left)
        shutil.copy(f"{db}-journal", f"{left}-journal")
        conn.execute("ROLLBACK")

    with pytest.raises(StorageError, match="died during a commit") as refused:
        connect_readonly(left)
    assert "keep the -journal" in str(refused.value)
    with closing(connect(left)) as conn:  # which takes it back
        assert conn.execute("SELECT COUNT(*) FROM t").fetchone() == (0,)
    connect_readonly(left).close()


READING = """
import os, resource, sys, tempfile, urllib.parse  # Python 3.13 imports the last one when it is too late
from contextlib import closing
from pathlib import Path
from pipeloom.db import connect, connect_readonly
from pipeloom.errors import StorageError
if os.geteuid() == 0:
    os.setuid(65534)  # permissions do not bind root
with tempfile.TemporaryDirectory() as directory:
    db = Path(directory) / "out.db"
    with closing(connect(db)) as conn:
        conn.execute("CREATE TABLE t (n)")
        log = Path(f"{db}-wal").read_bytes()
    taken = []
    if sys.argv[1] == "file":
        db.chmod(0)
    elif sys.argv[1] == "directory":
        Path(f"{db}-wal").write_bytes(log)
        Path(directory).chmod(0o555)
    else:
        resource.setrlimit(resource.RLIMIT_NOFILE, (32, 32))
        try:
            while True:
                taken.append(os.open(os.devnull, os.O_RDONLY))
        except OSError:
            pass
    try:
        connect_readonly(db).close()
    except StorageError as error:
        print(error)
    finally:
        for descriptor in taken:
            os.close(descriptor)
        Path(directory).chmod(0o755)
"""


@pytest.mark.parametrize(
    ("lacking", "words"),
    [
        ("file", "no permission to read it: ask its owner"),
        ("directory", "SQLite must write a -shm file beside it to read it"),
        ("descriptors", "this process may open no more files"),
    ],
)
def test_what_a_reader_lacks_is_said_in_words(lacking, words):
    """SQLite only says that it cannot open the file."""
    done = subprocess.run(
        [sys.executable, "-c", READING, lacking], capture_output=True, text=True, timeout=30, check=True
    )

    assert words in done.stdout
