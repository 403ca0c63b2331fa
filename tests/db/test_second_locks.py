"""Tasks that open SQLite's files: what they take back, others still see; what gets by is noticed."""

from __future__ import annotations

import ctypes
import logging
import os
import sqlite3
import subprocess
import sys
import threading
from contextlib import ExitStack, closing

import pytest

from pipeloom.db import connect, second_locks
from pipeloom.db.locks import descriptors_of
from pipeloom.db.maintenance import Maintenance
from pipeloom.db.place import identity
from pipeloom.db.second_locks import SecondLocks
from pipeloom.db.transaction import Transaction
from pipeloom.errors import StorageError

pytestmark = pytest.mark.skipif(
    second_locks._is_traced(), reason="no hook where somebody traces: see test_untraced"
)

STRANGER = """
import sqlite3, sys
conn = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=0)
for sql in sys.argv[2:]:
    try:
        print(conn.execute(sql).fetchall())
    except sqlite3.Error as error:
        print(error)
conn.close()
"""

READER = """
import sqlite3, sys
conn = sqlite3.connect(sys.argv[1])
print(conn.execute("SELECT * FROM t").fetchall(), flush=True)
sys.stdin.read()
"""


def elsewhere(db, *statements):
    """Have another process open the database, run these, and close it."""
    done = subprocess.run(
        [sys.executable, "-c", STRANGER, str(db), *statements],
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    return done.stdout.splitlines()


def beside(db, suffix):
    """Return a file beside the database."""
    return db.with_name(db.name + suffix)


@pytest.fixture
def opened(db):
    """A connection with a row in the log, and its second locks."""
    with closing(connect(db)) as conn:
        conn.execute("CREATE TABLE t (n)")
        conn.execute("INSERT INTO t VALUES (1)")
        locks = SecondLocks(db, wal=True)
        yield conn, locks
        locks.release()


def read_all(db):
    """Do what a task does that backs up a directory."""
    for path in db.parent.iterdir():
        path.read_bytes()


def open_past_the_hook(path):
    """Open and close a file as a library written in C does: the interpreter hears nothing of it."""
    libc = ctypes.CDLL(None, use_errno=True)
    descriptor = libc.open(os.fsencode(path), os.O_RDONLY)
    assert descriptor >= 0
    assert libc.close(descriptor) == 0


def test_a_reader_does_not_begin_the_index_anew(db, opened):
    """Which it does when it takes itself for the first: it cuts the file under the writer, who dies of SIGBUS."""
    conn, _ = opened
    read_all(db)
    size = beside(db, "-shm").stat().st_size

    assert elsewhere(db, "SELECT * FROM t") == ["[(1,)]"]
    assert beside(db, "-shm").stat().st_size == size
    conn.execute("INSERT INTO t VALUES (2)")
    assert elsewhere(db, "SELECT COUNT(*) FROM t") == ["[(2,)]"]


def test_the_last_reader_does_not_remove_the_log(db, opened):
    """Which it does when nobody else seems to have the database open."""
    conn, _ = opened
    read_all(db)

    assert elsewhere(db, "INSERT INTO t VALUES (2)") == ["[]"]
    assert beside(db, "-wal").exists()
    conn.execute("INSERT INTO t VALUES (3)")
    assert elsewhere(db, "SELECT n FROM t") == ["[(1,), (2,), (3,)]"]


def test_they_are_given_back_before_the_end(db, opened):
    """The last connection that closes empties the log and removes both files."""
    conn, locks = opened
    locks.release()
    conn.close()

    assert [path.name for path in db.parent.iterdir()] == [db.name]
    with closing(sqlite3.connect(db)) as other:
        assert other.execute("PRAGMA journal_mode = DELETE").fetchone() == ("delete",)


SPELLINGS = [
    "absolute",
    "relative",
    "bytes",
    "descriptor",
    "os.open",
    "another name",
    "a directory's descriptor",
    "a directory's descriptor and another name",
    "a descriptor's name",
]


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_whoever_opens_the_index_waits_for_the_batch(db, opened, spelling, monkeypatch):
    """In the middle of a transaction it would let another program in."""
    conn, locks = opened
    monkeypatch.chdir(db.parent)
    index = beside(db, "-shm")
    (db.parent / "alias").symlink_to(index)
    directory = os.open(db.parent, os.O_RDONLY)
    number = descriptors_of(identity(index))[0]
    open_it = {
        "absolute": lambda: index.open("rb").close(),
        "relative": lambda: open(index.name, "rb").close(),
        "bytes": lambda: open(os.fsencode(index), "rb").close(),
        "descriptor": lambda: os.fdopen(os.open(index, os.O_RDONLY), "rb").close(),
        "os.open": lambda: os.close(os.open(index, os.O_RDONLY)),
        "another name": lambda: (db.parent / "alias").open("rb").close(),
        "a directory's descriptor": lambda: os.close(os.open(index.name, os.O_RDONLY, dir_fd=directory)),
        "a directory's descriptor and another name": lambda: os.close(
            os.open("alias", os.O_RDONLY, dir_fd=directory)
        ),
        "a descriptor's name": lambda: open(f"/dev/fd/{number}", "rb").close(),
    }[spelling]
    if spelling.startswith("a directory"):
        monkeypatch.chdir("/")
    has_closed = threading.Event()

    def task():
        open_it()
        has_closed.set()

    thread = threading.Thread(target=task)
    with locks:
        conn.execute("BEGIN IMMEDIATE")
        thread.start()
        assert not has_closed.wait(0.1)
        assert elsewhere(db, "BEGIN IMMEDIATE") == ["database is locked"]
        conn.execute("COMMIT")
    assert has_closed.wait(10)
    thread.join(10)
    with locks:
        conn.execute("BEGIN IMMEDIATE")
        locks.check()
        assert elsewhere(db, "BEGIN IMMEDIATE") == ["database is locked"]
        conn.execute("COMMIT")
    os.close(directory)


def test_the_writers_own_thread_is_refused(db, opened):
    """A handler runs in the middle of a transaction, and cannot wait for its end."""
    conn, locks = opened
    with locks:
        conn.execute("BEGIN IMMEDIATE")
        with pytest.raises(OSError, match=r"a handler, which is in the middle of a transaction, must not open it"):
            beside(db, "-shm").read_bytes()
        assert elsewhere(db, "BEGIN IMMEDIATE") == ["database is locked"]
        conn.execute("COMMIT")
        locks.check()


def test_who_waits_for_too_long_is_refused(db, opened, monkeypatch):
    """Rather than let in, since that would let another program in."""
    monkeypatch.setattr(second_locks, "_SLICES", 2)
    conn, locks = opened
    said = []

    def task():
        with pytest.raises(OSError, match="in the middle of a long transaction") as caught:
            beside(db, "-shm").read_bytes()
        said.append(caught.value.filename)

    with locks:
        conn.execute("BEGIN IMMEDIATE")
        thread = threading.Thread(target=task)
        thread.start()
        thread.join(10)
        assert elsewhere(db, "BEGIN IMMEDIATE") == ["database is locked"]
        conn.execute("COMMIT")
    assert said == [str(beside(db, "-shm"))]
    beside(db, "-shm").read_bytes()


def test_who_waits_is_let_in_while_another_programs_lock_is_waited_for(db):
    """That may take minutes, and nothing is locked meanwhile that counts."""
    with closing(connect(db)) as conn, closing(sqlite3.connect(db, isolation_level=None)) as other:
        conn.execute("PRAGMA busy_timeout = 10")
        transaction, maintenance = Transaction(conn, db), Maintenance(conn, db, wal=True)
        transaction.pause = maintenance.pause
        other.execute("BEGIN IMMEDIATE")

        def task():
            beside(db, "-shm").read_bytes()
            transaction.abandoned = True

        thread = threading.Thread(target=task)
        with maintenance.at_work():
            thread.start()
            with pytest.raises(sqlite3.OperationalError, match="locked"):
                transaction.open()
            maintenance.look()
        thread.join(10)
        maintenance.release()


def test_the_writer_waits_until_it_is_closed(db, opened):
    """It is closing the file that drops the locks."""
    conn, locks = opened
    index = beside(db, "-shm").open("rb")
    has_begun = threading.Event()

    def work():
        with locks:
            has_begun.set()

    thread = threading.Thread(target=work)
    thread.start()
    assert not has_begun.wait(0.3)
    index.close()
    thread.join(10)
    assert has_begun.is_set()
    assert conn.execute("SELECT * FROM t").fetchall() == [(1,)]


def test_files_of_that_name_elsewhere_are_nobodys_business(db, opened, tmp_path):
    """Only the watched file itself."""
    (tmp_path / "elsewhere").mkdir()
    other = tmp_path / "elsewhere" / f"{db.name}-shm"
    other.write_bytes(b"x")
    with opened[1]:
        thread = threading.Thread(target=other.read_bytes)
        thread.start()
        thread.join(10)
        assert not thread.is_alive()


def test_what_gets_by_is_noticed(db, opened, caplog):
    """A library in C opens and closes the index: nothing is lost while nobody else has the database open."""
    _, locks = opened
    with locks:
        locks.check()
        open_past_the_hook(beside(db, "-shm"))
        with caplog.at_level(logging.WARNING):
            locks.check()
        assert "something in this process has opened and closed it" in caplog.text
        caplog.clear()
        locks.check()
    assert caplog.text == ""


def test_what_gets_by_beside_another_program_is_the_end(db, opened):
    """It may have written in the middle of a transaction, and nobody can tell."""
    _, locks = opened
    with subprocess.Popen(
        [sys.executable, "-c", READER, str(db)], stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout.readline() == "[(1,)]\n"
        with locks:
            open_past_the_hook(beside(db, "-shm"))
            with pytest.raises(StorageError, match=r"opened and closed out\.db-shm, which drops SQLite's locks"):
                locks.check()
        other.communicate("")


@pytest.mark.parametrize("suffix", ["", "-wal"])
def test_reading_the_other_files_makes_nobody_wait(db, opened, suffix):
    """The database's lock is one that says it is open, and there are none on the log."""
    with opened[1] as locks:
        thread = threading.Thread(target=beside(db, suffix).read_bytes)
        thread.start()
        thread.join(10)
        assert not thread.is_alive()
        locks.check()


def test_without_a_log_it_is_the_database_that_nobody_opens_meanwhile(db):
    """SQLite locks the database itself then, and another writer would find the journal, and take it back."""
    with closing(connect(db, wal=False)) as conn:
        conn.execute("CREATE TABLE t (n)")
        locks = SecondLocks(db, wal=False)
        with locks:
            conn.execute("BEGIN IMMEDIATE")
            conn.execute("INSERT INTO t VALUES (1)")
            thread = threading.Thread(target=db.read_bytes)
            thread.start()
            thread.join(0.1)
            assert thread.is_alive()
            assert elsewhere(db, "INSERT INTO t VALUES (2)") == ["database is locked"]
            conn.execute("COMMIT")
        thread.join(10)
        assert not thread.is_alive()
        locks.release()
        assert elsewhere(db, "SELECT * FROM t", "INSERT INTO t VALUES (3)") == ["[(1,)]", "[]"]


@pytest.mark.parametrize("wal", [True, False], ids=["wal", "journal"])
def test_another_connection_of_this_process_that_is_closed(db, wal):
    """Its descriptors' numbers become other files', which are nobody's business here, nor in a child."""
    with closing(connect(db, wal=wal)) as other, closing(connect(db, wal=wal)) as conn:
        conn.execute("CREATE TABLE t (n)")
        other.execute("SELECT * FROM t").fetchall()
        locks = SecondLocks(db, wal=wal)
        other.close()
        with ExitStack() as stack:
            files = [stack.enter_context((db.parent / f"log{n}").open("wb")) for n in range(8)]
            child = os.fork()
            if child == 0:
                try:
                    for file in files:
                        os.write(file.fileno(), b"of the child")
                finally:
                    os._exit(0)
            os.waitpid(child, 0)
            assert [(db.parent / f"log{n}").read_bytes() for n in range(8)] == [b"of the child"] * 8
        read_all(db)
        with locks:
            conn.execute("INSERT INTO t VALUES (1)")
            locks.check()
        locks.release()


def test_two_writers_of_one_process(db, opened):
    """SQLite has the index open once for both: the first to leave takes nothing from the other."""
    conn, locks = opened
    with closing(connect(db)):
        others = SecondLocks(db, wal=True)
        others.release()
    read_all(db)
    assert elsewhere(db, "INSERT INTO t VALUES (2)") == ["[]"]
    assert beside(db, "-wal").exists()
    with locks:
        thread = threading.Thread(target=beside(db, "-shm").read_bytes)
        thread.start()
        thread.join(0.1)
        assert thread.is_alive()
        conn.execute("INSERT INTO t VALUES (3)")
    thread.join(10)
    assert elsewhere(db, "SELECT n FROM t") == ["[(1,), (2,), (3,)]"]


CHILD = """
import os, sqlite3, sys
from pathlib import Path
from pipeloom.db import connect, second_locks
from pipeloom.db.second_locks import SecondLocks
db = Path(sys.argv[1])
conn = connect(db)
conn.execute("CREATE TABLE t (n)")
locks = SecondLocks(db, wal=True)
child = os.fork()
if child == 0:
    own = sqlite3.connect(db, timeout=1, isolation_level=None)
    own.execute("INSERT INTO t VALUES (1)")
    own.execute("BEGIN IMMEDIATE")
    print(own.execute("SELECT * FROM t").fetchall(), flush=True)
    sys.stdin.read()
    os._exit(0)
os.waitpid(child, 0)
"""


def test_a_child_may_open_the_database_itself(db):
    """SQLite goes on with the parent's index there, which has to be one that can be locked, and is."""
    with subprocess.Popen(
        [sys.executable, "-c", CHILD, str(db)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as owner:
        assert owner.stdout.readline() == "[(1,)]\n"
        assert elsewhere(db, "BEGIN IMMEDIATE") == ["database is locked"]
        owner.communicate("")
    assert elsewhere(db, "SELECT * FROM t", "PRAGMA journal_mode = DELETE") == ["[(1,)]", "[('delete',)]"]


ORPHAN = """
import os, signal, sys
from pathlib import Path
from pipeloom.db import connect
from pipeloom.db.second_locks import SecondLocks
db = Path(sys.argv[1])
conn = connect(db)
conn.execute("CREATE TABLE t (n)")
conn.execute("INSERT INTO t VALUES (1)")
locks = SecondLocks(db, wal=True)
if os.fork() == 0:
    os.close(1)
    if sys.argv[2] == "closes":
        conn.close()
    sys.stdin.read()
    os._exit(0)
print("forked", flush=True)
signal.pause()
"""


@pytest.mark.parametrize("child", ["closes", "sleeps"])
def test_a_child_keeps_nothing_and_removes_nothing(db, child):
    """It shares the open files, and lets go of them; closing what it inherited must not look like the last one."""
    with subprocess.Popen(
        [sys.executable, "-c", ORPHAN, str(db), child], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as owner:
        assert owner.stdout.readline() == "forked\n"
        assert elsewhere(db, "SELECT * FROM t") == ["[(1,)]"]
        assert beside(db, "-wal").exists()
        owner.kill()
        owner.wait(10)
        assert elsewhere(db, "SELECT * FROM t", "PRAGMA journal_mode = DELETE") == ["[(1,)]", "[('delete',)]"]
