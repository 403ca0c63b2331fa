"""One engine per file: here, in another process, after its death, and after a fork."""

from __future__ import annotations

import errno
import os
import signal
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from pipeloom.db import Ownership, connect, locks, owner_of, ownership
from pipeloom.db.locks import lock
from pipeloom.db.maintenance import Maintenance
from pipeloom.db.ownership import OWNED, process_name
from pipeloom.db.place import identity
from pipeloom.errors import DatabaseInUseError, StorageError

HOLD = """
import sys
from pathlib import Path
from pipeloom.db import Ownership, owner_of
with Ownership(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
print("released", flush=True)
sys.stdin.read()
"""

TRY = """
import sys
from pathlib import Path
from pipeloom.db import Ownership, owner_of
from pipeloom.errors import DatabaseInUseError
try:
    Ownership(Path(sys.argv[1])).release()
    print("free")
except DatabaseInUseError as error:
    print(error.pid)
"""


@contextmanager
def owner_elsewhere(db):
    """Run another process that owns the file; it lets go when its input ends."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(db)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with process:
        try:
            assert process.stdout.readline() == "held\n"
            yield process
        finally:
            process.kill()


def seen_elsewhere(db):
    """Let another process try; return ``"free"``, or the owner's process id as it sees it."""
    done = subprocess.run(
        [sys.executable, "-c", TRY, str(db)], capture_output=True, text=True, timeout=30, check=True
    )
    return done.stdout.strip()


def test_the_same_process_is_refused(db):
    """A nested or parallel run on one file; the sentence and the attributes say who has it."""
    with Ownership(db):
        with pytest.raises(DatabaseInUseError, match="another run in this process") as refused:
            Ownership(db)
        assert refused.value.pid == os.getpid()
        assert refused.value.path == str(db)
    Ownership(db).release()


def test_another_process_is_refused(db):
    """It learns whose the file is; afterwards it may have it."""
    with Ownership(db):
        assert seen_elsewhere(db) == str(os.getpid())

    assert seen_elsewhere(db) == "free"


def test_the_owner_elsewhere_is_named(db):
    """By its process id, for whoever wants to look at it; when it lets go, the file is free at once."""
    with owner_elsewhere(db) as owner:
        with pytest.raises(DatabaseInUseError, match=f"process {owner.pid}") as refused:
            Ownership(db)
        assert refused.value.pid == owner.pid
        owner.stdin.close()
        assert owner.stdout.readline() == "released\n"


def test_a_killed_owner_is_no_owner(db):
    """The lock dies with its process, without a clock; the file it leaves is no lock."""
    with owner_elsewhere(db) as owner:
        owner.send_signal(signal.SIGKILL)
        owner.wait(10)
        with Ownership(db):
            assert seen_elsewhere(db) == str(os.getpid())


def test_a_stopped_owner_is_still_one(db):
    """It may go on at any moment."""
    with owner_elsewhere(db) as owner:
        owner.send_signal(signal.SIGSTOP)
        with pytest.raises(DatabaseInUseError):
            Ownership(db)


def test_releasing_twice_is_fine(db):
    """And takes nothing from whoever came after."""
    first = Ownership(db)
    first.release()
    with Ownership(db):
        first.release()
        assert seen_elsewhere(db) == str(os.getpid())
        with pytest.raises(DatabaseInUseError):
            Ownership(db)


def test_an_error_in_the_run_gives_the_file_back(db):
    """As a context manager does."""
    with pytest.raises(KeyError), Ownership(db):
        raise KeyError

    assert seen_elsewhere(db) == "free"


def test_a_refused_attempt_does_not_take_the_lock_with_it(db):
    """It opens and closes the file, which would drop a record lock of the process."""
    with Ownership(db):
        for _ in range(3):
            with pytest.raises(DatabaseInUseError):
                Ownership(db)
        assert seen_elsewhere(db) == str(os.getpid())


def test_no_descriptor_is_kept(db):
    """However many runs, on however many files."""

    def descriptors():
        return len(os.listdir("/dev/fd"))

    before = descriptors()
    for n in range(10):
        Ownership(db.with_name(f"{n}.db")).release()

    assert descriptors() == before


def test_nothing_is_made_beside_the_database(db):
    """The lock is on the file itself."""
    with Ownership(db):
        assert [path.name for path in db.parent.iterdir()] == [db.name]


def test_files_do_not_disturb_each_other(tmp_path):
    """Two databases in one directory are two owners' business."""
    with Ownership(tmp_path / "a.db"), Ownership(tmp_path / "b.db"):
        assert seen_elsewhere(tmp_path / "c.db") == "free"


def links(db):
    """Return other ways to say the same file."""
    db.touch()
    (db.parent / "elsewhere").symlink_to(db.parent)
    symbolic, hard = db.parent / "symbolic.db", db.parent / "hard.db"
    symbolic.symlink_to(db)
    os.link(db, hard)
    return {
        "relative": Path(os.path.relpath(db)),
        "dotted": db.parent / "." / "elsewhere" / ".." / db.parent.name / db.name,
        "through a directory": db.parent / "elsewhere" / db.name,
        "symbolic link": symbolic,
        "hard link": hard,
    }


@pytest.mark.parametrize("way", ["relative", "dotted", "through a directory", "symbolic link", "hard link"])
def test_one_file_has_one_owner_by_whatever_name(db, way):
    """The registry knows the file itself, not how it was called."""
    other = links(db)[way]

    with Ownership(db), pytest.raises(DatabaseInUseError):
        Ownership(other)


def test_reading_the_file_frees_nothing(db):
    """A task hashes it, or copies it: that drops the record locks of this process, and not this one."""
    with Ownership(db):
        db.read_bytes()
        with db.open("r+b"):
            pass
        assert seen_elsewhere(db) == str(os.getpid())
        assert owner_seen_elsewhere(db) == str(os.getpid())


def test_connections_of_the_program_itself_do_not_disturb(db):
    """The program may have the file open before, during and after; SQLite keeps some descriptors back."""
    with closing(sqlite3.connect(db)) as before, closing(sqlite3.connect(db)) as another:
        before.execute("CREATE TABLE t (n)")
        before.execute("BEGIN IMMEDIATE")
        another.close()  # SQLite keeps its descriptor for the next one that opens the file
        with Ownership(db):
            with closing(sqlite3.connect(db)) as during:
                assert during.execute("SELECT * FROM t").fetchall() == []
            assert seen_elsewhere(db) == str(os.getpid())
            before.execute("INSERT INTO t VALUES (1)")
            assert seen_elsewhere(db) == str(os.getpid())
        before.execute("COMMIT")
        assert seen_elsewhere(db) == "free"


def test_a_database_beside_another_ones_log_is_refused(db):
    """Somebody moved a database away while a run has it open, and begins another under its name."""
    with Ownership(db), closing(connect(db)) as conn:
        conn.execute("CREATE TABLE t (n)")
        maintenance = Maintenance(conn, db, wal=True, owned=True)
        try:
            os.rename(db, db.with_name("moved.db"))
            assert seen_elsewhere(db) == str(os.getpid())
            with pytest.raises(DatabaseInUseError, match="that was moved away or replaced"):
                Ownership(db)
        finally:
            maintenance.release()


def test_a_place_that_cannot_have_a_database_is_said_in_words(tmp_path):
    """Its directory is missing."""
    with pytest.raises(StorageError, match="its directory does not exist"):
        Ownership(tmp_path / "no" / "out.db")


def test_a_system_without_such_locks_is_refused_in_words(db, monkeypatch):
    """A sandbox may know none: what cannot be guarded is not begun."""

    def none(*_arguments, **_options):
        raise OSError(errno.EINVAL, "Invalid argument")

    monkeypatch.setattr(ownership, "lock", none)
    with pytest.raises(StorageError, match="has no locks of open files"):
        Ownership(db)


def test_a_system_that_does_not_list_descriptors(db, monkeypatch):
    """Without /proc they are looked at one by one."""
    monkeypatch.setattr(locks, "_LISTS", ("/nowhere",))
    with Ownership(db):
        assert seen_elsewhere(db) == str(os.getpid())


def test_of_many_that_try_at_once_one_wins(db):
    """Threads that race for the file: one has it, the others are told."""
    go, won, refused = threading.Barrier(16), [], []

    def run():
        go.wait(10)
        try:
            won.append(Ownership(db))
        except DatabaseInUseError as error:
            refused.append(error)

    threads = [threading.Thread(target=run) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)

    assert (len(won), len(refused)) == (1, 15)
    won[0].release()


FORK = """
import os, sys
from pathlib import Path
from pipeloom.db import Ownership, owner_of
from pipeloom.errors import DatabaseInUseError

db = Path(sys.argv[1])
ours = Ownership(db)

def in_child(what):
    child = os.fork()
    if child == 0:
        try:
            what()
        finally:
            sys.stdout.flush()
            os._exit(0)
    os.waitpid(child, 0)

def take():
    try:
        Ownership(db).release()
        print("child took it")
    except DatabaseInUseError as error:
        print("child refused, owner is", "the parent" if error.pid == os.getppid() else error.pid)

def release():
    ours.release()
    ours.release()

sys.stdout.flush()
in_child(take)
in_child(release)
in_child(take)
ours.release()
in_child(take)
"""


def test_a_forked_child_neither_owns_nor_frees_the_file(db):
    """It inherits open files and objects, not the right: the parent's lasts until the parent gives it back."""
    done = subprocess.run(
        [sys.executable, "-c", FORK, str(db)], capture_output=True, text=True, timeout=30, check=True
    )

    assert done.stdout.splitlines() == [
        "child refused, owner is the parent",
        "child refused, owner is the parent",
        "child took it",
    ]
    assert seen_elsewhere(db) == "free"


def test_a_writer_beside_owns_nothing(db):
    """Of a bare writer the log does not say that it is a run's: a run may write beside it."""
    with closing(connect(db)) as conn:
        maintenance = Maintenance(conn, db, wal=True)
        assert seen_elsewhere(db) == "free"
        Ownership(db).release()
        maintenance.release()


def test_many_runs_beside_an_open_transaction(db):
    """SQLite closes nothing meanwhile; which descriptor is locked is known, and there are not more and more."""
    with closing(sqlite3.connect(db, isolation_level=None)) as mine:
        mine.execute("CREATE TABLE t (n)")
        mine.execute("BEGIN IMMEDIATE")
        counts = []
        for _ in range(150):
            with Ownership(db):
                pass
            counts.append(len(os.listdir("/dev/fd")))
        assert counts[5:] == counts[5:6] * 145
        with Ownership(db):
            assert seen_elsewhere(db) == str(os.getpid())
        assert seen_elsewhere(db) == "free"
        mine.execute("COMMIT")
    with Ownership(db):
        pass
    assert locks.descriptors_of(identity(db)) == []


def test_a_reader_that_comes_and_goes_meanwhile_is_not_taken_for_the_run(db):
    """It closes the file, SQLite gets that very number for the run, and the reader opens the file anew."""
    with closing(sqlite3.connect(db)) as conn:
        conn.execute("CREATE TABLE t (n)")
    readers = [sqlite3.connect(f"{db.as_uri()}?mode=ro", uri=True)]

    def between_the_two():
        readers.pop().close()
        conn = sqlite3.connect(db, isolation_level=None)
        readers.append(sqlite3.connect(f"{db.as_uri()}?mode=ro", uri=True))
        return conn

    with Ownership(db, between_the_two) as ours, closing(ours.conn):
        readers.pop().close()
        assert seen_elsewhere(db) == str(os.getpid())


def test_a_file_that_can_only_be_read_is_refused_as_such_beside_a_reader(db):
    """No descriptor is open for writing then; the reader's is still not taken for the run's."""
    with closing(sqlite3.connect(db)) as conn:
        conn.execute("CREATE TABLE t (n)")

    def only_to_read():
        return sqlite3.connect(f"{db.as_uri()}?mode=ro", uri=True, isolation_level=None)

    with closing(only_to_read()), pytest.raises(StorageError, match=r"cannot be locked .* run as the user"):
        Ownership(db, only_to_read)


def test_the_lock_outlives_the_descriptor_it_was_on(db):
    """SQLite gave the run one that it had kept back, and what was locked was another connection's, now closed."""
    with Ownership(db) as ours, closing(sqlite3.connect(db)) as other:
        other.execute("CREATE TABLE t (n)")
        ours.conn.close()  # as if it had been the other one's
        ours.renew()
        assert seen_elsewhere(db) == str(os.getpid())
        ours.renew()
        assert seen_elsewhere(db) == str(os.getpid())


def test_who_is_refused_keeps_nothing(db):
    """SQLite leaves a file open as long as another connection of the process has locks on it."""
    with closing(connect(db)) as conn:
        conn.execute("CREATE TABLE t (n)")
        log = db.with_name(db.name + "-wal")
        with log.open("r+b") as file:
            lock(file.fileno(), OWNED, process_name(), kind="shared")
            with pytest.raises(DatabaseInUseError, match="belongs to a run"):
                Ownership(db)
        assert seen_elsewhere(db) == "free"


ORPHAN = """
import os, sys, time
from pathlib import Path
from pipeloom.db import Ownership, owner_of
ours = Ownership(Path(sys.argv[1]))
if os.fork() == 0:
    os.close(1)
    sys.stdin.read()
    os._exit(0)
print("forked", flush=True)
os.kill(os.getpid(), 9)
"""


def test_a_surviving_child_does_not_keep_a_dead_owners_file(db):
    """A lock of an open file would live on in the child, which lets go of it."""
    with subprocess.Popen(
        [sys.executable, "-c", ORPHAN, str(db)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as owner:
        assert owner.stdout.readline() == "forked\n"
        owner.wait(10)
        assert seen_elsewhere(db) == "free"
        Ownership(db).release()


# --- who owns it: a question that changes nothing ---

WHO = """
import sys
from pathlib import Path
from pipeloom.db import owner_of
print(owner_of(Path(sys.argv[1])))
"""


def owner_seen_elsewhere(db):
    """Let another process ask."""
    done = subprocess.run(
        [sys.executable, "-c", WHO, str(db)], capture_output=True, text=True, timeout=30, check=True
    )
    return done.stdout.strip()


def test_asking_for_the_owner_does_not_cost_the_lock(db):
    """Here the registry answers, elsewhere the lock."""
    with Ownership(db):
        assert owner_of(db) == os.getpid()
        assert owner_seen_elsewhere(db) == str(os.getpid())
        assert seen_elsewhere(db) == str(os.getpid())

    assert owner_of(db) is None
    assert owner_seen_elsewhere(db) == "None"


def test_the_owner_elsewhere_is_seen_until_it_is_gone(db):
    """Killed or not."""
    with owner_elsewhere(db) as owner:
        assert owner_of(db) == owner.pid
        owner.send_signal(signal.SIGKILL)
        owner.wait(10)
        assert owner_of(db) is None
    Ownership(db).release()


def test_asking_makes_no_file_and_takes_no_lock(db):
    """Not even for a moment: an engine that starts meanwhile must not be refused."""
    assert owner_of(db) is None
    assert not any(db.parent.iterdir())
    with owner_elsewhere(db) as owner:
        owner.stdin.close()
        assert owner.stdout.readline() == "released\n"
        before = len(os.listdir("/dev/fd"))
        assert owner_of(db) is None
        assert len(os.listdir("/dev/fd")) == before
        assert seen_elsewhere(db) == "free"


def test_an_owner_is_seen_by_a_process_that_has_the_file_open(db):
    """Its own connection's descriptor is asked: opening and closing another would drop that connection's locks."""
    with owner_elsewhere(db) as owner, closing(sqlite3.connect(db)) as conn:
        conn.execute("CREATE TABLE t (n)")
        conn.execute("BEGIN IMMEDIATE")
        assert owner_of(db) == owner.pid
        assert seen_elsewhere(db) == str(owner.pid)
        conn.execute("INSERT INTO t VALUES (1)")
        conn.execute("COMMIT")


ASK_FROM_AFAR = """
import sys
from pathlib import Path
from pipeloom.db.ownership import owner_seen
print(owner_seen(Path(sys.argv[1])))
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root makes namespaces")
def test_the_owner_in_another_namespace_is_told_apart(db):
    """In another container the same number is another process, which nobody must be told to kill."""
    with Ownership(db):
        words = ["unshare", "--pid", "--fork", "--mount-proc", sys.executable, "-c", ASK_FROM_AFAR, str(db)]
        done = subprocess.run(words, capture_output=True, text=True, timeout=30, check=True)

    assert done.stdout == f"process {os.getpid()} in another container\n"


def test_an_owner_that_cannot_be_told_is_one(db):
    """Another program's lock in that place, or a file that may not be opened: better one run too few."""
    with closing(sqlite3.connect(db)) as conn:
        conn.execute("CREATE TABLE t (n)")
        (descriptor,) = locks.descriptors_of(identity(db))
        assert locks.lock(descriptor, ownership.OWNED - 5, 100, kind="exclusive")
        assert owner_seen_elsewhere(db) == "0"
        with pytest.raises(DatabaseInUseError, match="another pipeloom run is using this file"):
            Ownership(db)
