"""Opening the file: the right pragmas, or a sentence that says what to do."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from pipeloom.db import connect, connect_readonly, wal_checkpoint
from pipeloom.db.connection import MEMORY, close_without_checkpoint
from pipeloom.errors import StorageError


def pragma(conn, name):
    """Return what a pragma is set to."""
    return conn.execute(f"PRAGMA {name}").fetchone()[0]


def filled(path, rows=100, **options):
    """Make a database with a table in it."""
    with closing(connect(path, **options)) as conn:
        conn.execute("CREATE TABLE t (n, text)")
        conn.executemany("INSERT INTO t VALUES (?, ?)", [(n, "x" * 100) for n in range(rows)])
    return path


# --- the read-write connection ---


@pytest.mark.parametrize(
    ("wal", "mode", "durability", "synchronous"),
    [
        (True, "wal", "off", 0),
        (True, "wal", "normal", 1),
        (True, "wal", "full", 2),
        (False, "delete", "off", 0),
        (False, "delete", "normal", 2),  # NORMAL could corrupt
        (False, "delete", "full", 3),  # EXTRA: the commit is the journal's removal
    ],
)
def test_a_file_is_opened_as_asked(db, wal, mode, durability, synchronous):
    """Journal mode and durability (a rollback journal needs one step more); checkpoints are the writer's."""
    with closing(connect(db, wal=wal, durability=durability)) as conn:
        assert pragma(conn, "journal_mode") == mode
        assert pragma(conn, "synchronous") == synchronous
        assert pragma(conn, "foreign_keys") == 1
        assert pragma(conn, "wal_autocheckpoint") == 0
        assert 0 < -pragma(conn, "cache_size") <= 8192  # KiB
        assert conn.isolation_level is None
        assert not conn.in_transaction


def test_the_default_is_the_safe_one(db):
    """Write-ahead log, and a commit that waits for the disk."""
    with closing(connect(db)) as conn:
        assert (pragma(conn, "journal_mode"), pragma(conn, "synchronous")) == ("wal", 2)


@pytest.mark.parametrize("wal", [True, False])
def test_memory_is_no_file(wal, tmp_path, monkeypatch):
    """As the contract says; nothing appears in the directory."""
    monkeypatch.chdir(tmp_path)
    with closing(connect(Path(MEMORY), wal=wal)) as conn:
        assert (pragma(conn, "journal_mode"), pragma(conn, "synchronous")) == ("memory", 1)
        assert pragma(conn, "foreign_keys") == 1
        conn.execute("CREATE TABLE t (n)")

    assert not list(tmp_path.iterdir())


def test_foreign_keys_are_enforced(db):
    """Not only switched on."""
    with closing(connect(db)) as conn:
        conn.execute("CREATE TABLE parent (id INTEGER PRIMARY KEY)")
        conn.execute("CREATE TABLE child (parent REFERENCES parent (id))")
        with pytest.raises(sqlite3.IntegrityError):
            conn.execute("INSERT INTO child VALUES (1)")


@pytest.mark.parametrize(
    "name", ["a b.db", "a?mode=memory", "a#b.db", "100%41.db", "ü漢.db", "it's.db", ":memory:x"]
)
def test_any_file_name_is_only_a_name(tmp_path, name):
    """For both kinds of connection: nothing in it is a URI's or SQL's."""
    path = filled(tmp_path / name, rows=3)

    assert {found.name for found in tmp_path.iterdir()} <= {name, f"{name}-wal", f"{name}-shm"}
    with closing(connect_readonly(path)) as conn:
        assert conn.execute("SELECT COUNT(*) FROM t").fetchone() == (3,)


def test_the_journal_mode_of_an_earlier_run_does_not_stick(db):
    """A file is opened as asked, whatever it was before; its rows stay."""
    filled(db, wal=True)
    for wal, mode in ((False, "delete"), (True, "wal")):
        with closing(connect(db, wal=wal)) as conn:
            assert pragma(conn, "journal_mode") == mode
            assert conn.execute("SELECT COUNT(*) FROM t").fetchone() == (100,)


def test_a_journal_mode_that_cannot_be_had_is_an_error(db):
    """Rather than another one without a word: here another connection keeps the log open."""
    with closing(connect(db)) as other:
        other.execute("CREATE TABLE t (n)")
        with pytest.raises(StorageError, match="another process holds its lock"):
            connect(db, wal=False)


def test_durability_is_one_of_three(db):
    """A typing mistake is not taken for a weaker promise; no file is made."""
    with pytest.raises(ValueError, match='"full", "normal" or "off"'):
        connect(db, durability="FULL")

    assert not db.exists()


def test_a_missing_directory_is_said_in_words(tmp_path):
    """It is not made: the path may be a mistake."""
    with pytest.raises(StorageError, match="does not exist: create it first") as refused:
        connect(tmp_path / "no" / "out.db")

    assert refused.value.path == str(tmp_path / "no" / "out.db")
    assert not (tmp_path / "no").exists()


def test_a_directory_is_no_file(tmp_path):
    """The sentence says what to name instead."""
    with pytest.raises(StorageError, match=r"is a directory: name a file in it"):
        connect(tmp_path)


@pytest.mark.parametrize(
    "content", [b"this is a text file, and long enough to have a header\n" * 20, b"short", b"\0" * 4096], ids=len
)
def test_what_is_no_database_is_left_as_it_is(db, content):
    """Byte for byte, by both kinds of connection."""
    db.write_bytes(content)
    for opened in (connect, connect_readonly):
        with pytest.raises(StorageError, match="is not a SQLite database"):
            opened(db).close()

    assert db.read_bytes() == content
    assert [found.name for found in db.parent.iterdir()] == [db.name]


def test_an_empty_file_is_a_new_database(db):
    """As ``mktemp`` makes them."""
    db.touch()
    filled(db, rows=1)


PERMISSION = """
import os, sys, tempfile
from pathlib import Path
from pipeloom.db import connect
from pipeloom.errors import StorageError
if os.geteuid() == 0:
    os.setuid(65534)  # permissions do not bind root
with tempfile.TemporaryDirectory() as directory:
    db = Path(directory) / "out.db"
    if sys.argv[1] == "file":
        connect(db).close()
        db.chmod(0o444)
    else:
        Path(directory).chmod(0o555)
    try:
        connect(db)
    except StorageError as error:
        print(error)
    finally:
        Path(directory).chmod(0o755)
"""


@pytest.mark.parametrize("what", ["file", "directory"])
def test_a_missing_permission_is_said_in_words(what):
    """For the file as for its directory, which SQLite writes to as well."""
    done = subprocess.run(
        [sys.executable, "-c", PERMISSION, what], capture_output=True, text=True, timeout=30, check=True
    )

    assert "no permission to write" in done.stdout


# --- the read-only connection ---


def test_a_reader_never_writes(db):
    """Neither rows nor a checkpoint, nor a file that was not there."""
    with closing(connect(db)) as writer:
        writer.execute("CREATE TABLE t (n)")
        log = db.with_name(db.name + "-wal")
        size = log.stat().st_size
        with closing(connect_readonly(db)) as reader:
            for sql in ("INSERT INTO t VALUES (1)", "CREATE TABLE u (n)", "DROP TABLE t"):
                with pytest.raises(sqlite3.OperationalError, match="readonly"):
                    reader.execute(sql)
            assert reader.execute("SELECT COUNT(*) FROM t").fetchone() == (0,)
        assert log.stat().st_size == size > 0


def test_a_reader_makes_no_file(db):
    """A mistyped path stays a mistake."""
    with pytest.raises(StorageError, match="no such file"):
        connect_readonly(db)

    assert not list(db.parent.iterdir())


def test_a_hostile_schema_is_not_trusted(db):
    """Functions with side effects cannot hide in a view."""
    filled(db)
    with closing(connect_readonly(db)) as conn:
        assert pragma(conn, "trusted_schema") == 0


# --- checkpoints ---


@pytest.mark.parametrize("mode", ["PASSIVE", "FULL", "RESTART", "TRUNCATE"])
def test_a_checkpoint_commits_first(db, mode):
    """What was in the open transaction is in the database file afterwards."""
    with closing(connect(db)) as conn:
        conn.execute("CREATE TABLE t (n)")
        conn.execute("BEGIN")
        conn.execute("INSERT INTO t VALUES (7)")
        wal_checkpoint(conn, mode)
        assert not conn.in_transaction
        log = db.with_name(db.name + "-wal")
        assert (log.stat().st_size == 0) == (mode == "TRUNCATE")
        copied = db.with_name("copy.db")
        copied.write_bytes(db.read_bytes())  # without the log
        with closing(sqlite3.connect(copied)) as copy:
            assert copy.execute("SELECT n FROM t").fetchall() == [(7,)]


def test_a_checkpoint_empties_the_log_by_default(db):
    """And is harmless where there is none."""
    with closing(connect(db)) as conn:
        conn.execute("CREATE TABLE t (n)")
        wal_checkpoint(conn)
        assert db.with_name(db.name + "-wal").stat().st_size == 0
    with closing(connect(Path(MEMORY))) as conn:
        wal_checkpoint(conn)


@pytest.mark.parametrize("mode", ["truncate", "", "PASSIVE); DROP TABLE t; --", None])
def test_other_checkpoint_modes_are_refused(db, mode):
    """The mode is part of the SQL."""
    with closing(connect(db)) as conn, pytest.raises(ValueError, match="mode must be"):
        wal_checkpoint(conn, mode)


def test_a_hostile_path_is_shown_harmlessly(tmp_path):
    """It comes from the command line, or from a file's name."""
    with pytest.raises(StorageError) as refused:
        connect_readonly(tmp_path / "\x1b[2J\u202e.db")

    assert str(refused.value).isprintable()


# --- after the disk has failed ---


def test_closing_after_a_failure_leaves_the_log(db):
    """Byte for byte, and the database too; the next open finds everything, and the open transaction is gone."""
    conn = connect(db)
    conn.execute("CREATE TABLE t (n)")
    conn.execute("INSERT INTO t VALUES (7)")
    conn.execute("BEGIN IMMEDIATE")
    conn.execute("INSERT INTO t VALUES (8)")
    log = db.with_name(db.name + "-wal")
    before = db.read_bytes(), log.read_bytes()

    close_without_checkpoint(conn, db)

    assert (db.read_bytes(), log.read_bytes()) == before
    with pytest.raises(sqlite3.ProgrammingError):
        conn.execute("SELECT 1")
    with closing(connect(db)) as again:
        assert again.execute("SELECT n FROM t").fetchall() == [(7,)]
    assert not log.exists()  # closed as usual


def test_closing_after_a_failure_closes_in_any_case(db):
    """The file may be gone, the connection in memory, or closed already."""
    conn = connect(db)
    db.unlink()
    for one in (conn, conn, connect(Path(MEMORY))):
        close_without_checkpoint(one, db)
        with pytest.raises(sqlite3.ProgrammingError):
            one.execute("SELECT 1")


NO_DESCRIPTOR = """
import os, resource, sys
from pipeloom import connect_readonly
resource.setrlimit(resource.RLIMIT_NOFILE, (32, 32))
taken = []
try:
    while True:
        taken.append(os.open(os.devnull, os.O_RDONLY))
except OSError:
    pass
try:
    connect_readonly(sys.argv[1])
except Exception as error:
    told = type(error).__name__, error
for descriptor in taken:
    os.close(descriptor)
print(*told)
"""


def test_a_reader_without_a_descriptor_imports_nothing(tmp_path):
    """From Python 3.13 on, making a URI of a path imports a module: that must have happened before."""
    db = filled(tmp_path / "x.db")
    done = subprocess.run([sys.executable, "-c", NO_DESCRIPTOR, db], capture_output=True, text=True, check=True)
    assert done.stdout.startswith(f"StorageError {db}: this process may open no more files")
