"""Disks that are full, fail or are slow: a named error, exit code 3, and the run can be resumed. (P4, P7)"""

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

from faults import strace
from faults.tools import DONE, FAILED, INTERRUPTED, STORAGE, environment, mistaken, need, product, sample, until
from faults.verdict import VERDICT, UnsoundError, acknowledged, finished

COUNT = 40


def one_sentence(err: str) -> str:
    """Return the last word of the command line; a traceback is none."""
    assert "Traceback" not in err, err
    said = [line for line in err.splitlines() if line.startswith("pipeloom: ")]
    assert len(said) == 1, err
    return said[0]


# --- full ---


def test_a_disk_that_becomes_full(start, tmp_path, small_disk):
    """It says so; after space was freed the same program does the rest."""
    db, acks = small_disk("1m") / "out.db", tmp_path / "acks"
    words = product("load", db=db, acks=acks, count=400)
    code, _, err = start(words).wait()
    assert (code, "the disk is full" in one_sentence(err)) == (STORAGE, True)

    small_disk("20m")  # before the look: opening a file for a look recovers its log, which needs room too
    assert VERDICT.at_rest(db, acknowledged(acks)).done
    VERDICT.resumed(db, words, 400)


def test_a_disk_without_room_for_what_memory_should_not_hold(start, small_disk, read):
    """It is that task's error, and the run goes on, which needs a little; with more room the next run does it."""
    place = small_disk("30m")
    db = place / "out.db"
    assert start(product("large", db=db, megabytes=30)).wait()[0] == FAILED
    ((status, message),) = read(db, "SELECT status, message FROM task_runs WHERE id = 2")
    assert status == "error"
    assert f"temporary file in {place} (No space left on device): free space there" in message
    assert read(db, "SELECT number FROM bulk") == [(0,)]

    small_disk("150m")
    assert start(product("large", db=db, megabytes=30)).wait()[0] == DONE
    assert read(db, "SELECT COUNT(*) FROM bulk WHERE number = 1") == [(30,)]


@pytest.mark.parametrize("there", ["nothing", "a database"])
def test_a_disk_that_is_full_from_the_start(start, small_disk, there):
    """Neither the shared memory nor the log can be written: a clear error, no traceback."""
    place = small_disk("1m")
    db = place / "out.db"
    words = product("load", db=db, count=10)
    if there == "a database":
        assert start(words).wait()[0] == DONE
    with (place / "filler").open("wb", buffering=0) as filler, pytest.raises(OSError, match="No space"):
        while True:
            filler.write(b"x" * 4096)
    code, _, err = start(product("load", db=db, count=20)).wait()
    assert code == STORAGE, err
    assert str(db) in one_sentence(err)

    (place / "filler").unlink()
    small_disk("20m")
    VERDICT.sound(db, set(), product("load", db=db, count=20), 20)


@pytest.mark.parametrize("function", ["load", "pipeline"])
def test_no_space_from_the_nth_write_on(start, tmp_path, function):
    """Wherever it comes, what was acknowledged is there."""
    for n in sample(list(range(1, 300, 7)), 3):
        db, acks = tmp_path / f"{n}.db", tmp_path / f"{n}.acks"
        words = product(function, db=db, acks=acks, count=COUNT)
        code, _, err = start(
            strace.injecting("pwrite64", f"error=ENOSPC:when={n}+", words, paths=strace.files_of(db))
        ).wait()
        assert code == STORAGE, (n, err)
        assert "the disk is full" in one_sentence(err), n
        VERDICT.sound(db, acknowledged(acks), words, COUNT)


def test_a_limit_on_the_size_of_files(start, tmp_path):
    """RLIMIT_FSIZE reports an I/O error rather than a full disk."""
    need("prlimit")
    db, acks = tmp_path / "out.db", tmp_path / "acks"
    words = product("load", db=db, acks=acks, count=200)
    no_half_modules = environment(PYTHONDONTWRITEBYTECODE=1)
    code, _, err = start(["prlimit", "--fsize=500000", *words], env=no_half_modules).wait()
    assert code == STORAGE, err
    assert "the disk reported an error" in one_sentence(err)
    stored = VERDICT.sound(db, acknowledged(acks), words, 200)
    assert 0 < len(stored.done) < 200


def test_the_harness_catches_errors_that_are_swallowed(start, tmp_path):
    """A program that goes on whatever SQLite says loses what it noted."""
    db, acks = tmp_path / "out.db", tmp_path / "acks"
    words = mistaken("errors_swallowed", db=db, acks=acks, count=COUNT)
    code, _, _ = start(
        strace.injecting("pwrite64", "error=ENOSPC:when=60+", words, paths=strace.files_of(db))
    ).wait()
    assert code == DONE  # which is the mistake
    with pytest.raises(UnsoundError, match="acknowledged and lost"):
        VERDICT.at_rest(db, acknowledged(acks))


# --- full of what is not bytes ---


@pytest.mark.parametrize("left", [0, 1, 2, 3])
@pytest.mark.parametrize("function", ["load", "pipeline"])
def test_no_inodes_left(start, small_disk, function, left):
    """There are bytes, and no file can be made of them: the database, its log and the log's index, its journal."""
    place = small_disk(f"20m,nr_inodes={3 + left}")  # its own directory is one, and two are taken
    fillers = [place / "one", place / "two"]
    for filler in fillers:
        filler.touch()
    words = product(function, db=place / "out.db", count=10)
    code, out, err = start(words).wait()
    if left == {"load": 3, "pipeline": 2}.get(function, 0) or left == 3:
        assert code == DONE, out + err
        return
    assert code == STORAGE, out + err
    assert "no inodes left" in one_sentence(err)

    small_disk("20m,nr_inodes=100")
    VERDICT.sound(place / "out.db", set(), words, 10)


def test_a_quota_that_is_used_up(start, tmp_path):
    """SQLite reports it as an I/O error."""
    for n in sample([5, 40, 120], 2):
        db, acks = tmp_path / f"{n}.db", tmp_path / f"{n}.acks"
        words = product("load", db=db, acks=acks, count=COUNT)
        code, _, err = start(strace.injecting("pwrite64", f"error=EDQUOT:when={n}+", words, paths=[])).wait()
        assert code == STORAGE, (n, err)
        assert "disk quota is used up" in one_sentence(err), n
        VERDICT.sound(db, acknowledged(acks), words, COUNT)


BIG = """
import sys, pipeloom
def fill(item, ctx):
    ctx.write("t", ({"n": n * 7919 % 100_003, "s": "x" * 300} for n in range(5000)))
pipeloom.map(fill, range(5), db=sys.argv[1], progress=False)
def index(item, ctx):
    ctx.execute("CREATE INDEX i ON t (s, n)")
def sort(item, ctx):
    ctx.query("SELECT s, n FROM t ORDER BY s DESC, n")
pipeloom.map({"index": index, "sort": sort}[sys.argv[2]], [1], db=sys.argv[1], progress=False)
"""


@pytest.mark.parametrize("what", ["index", "sort"])
def test_no_room_for_temporary_files(start, tmp_path, small_disk, what):
    """SQLite calls it a full disk; it is not the database's."""
    small = small_disk("100k")
    db = tmp_path / "out.db"
    run = start([sys.executable, "-c", BIG, str(db), what], env=environment(SQLITE_TMPDIR=small))
    code, _, err = run.wait()
    assert code == 1
    said = err.splitlines()[-1]
    assert said.startswith("pipeloom.errors.StorageError: ")
    assert f"did not fit into {small}" in said
    assert "the disk is full" not in said
    with closing(sqlite3.connect(db)) as conn:
        assert conn.execute("SELECT COUNT(*) FROM t").fetchone() == (25_000,)
        assert conn.execute("PRAGMA integrity_check").fetchone() == ("ok",)


NO_MEMORY = """
import sqlite3, sys, pipeloom
def fn(item, ctx):
    if item == 5:
        with open(sys.argv[2], "w"):
            sqlite3.connect(":memory:").execute("PRAGMA hard_heap_limit = 30000")
    ctx.write("t", {"n": item})
    if item < 5:
        ctx.checkpoint(item)
pipeloom.map(fn, range(2000), db=sys.argv[1], name="n", workers=1, progress=False)
"""


def test_no_memory_for_the_writer(start, tmp_path):
    """A limit for SQLite in this process, which every statement meets."""
    db, reached = tmp_path / "out.db", tmp_path / "reached"
    code, _, err = start([sys.executable, "-c", NO_MEMORY, str(db), str(reached)]).wait()
    assert reached.exists()
    assert code == 1
    assert err.splitlines()[-1].startswith(f"pipeloom.errors.StorageError: {db}: not enough memory to write: ")
    with closing(sqlite3.connect(db)) as conn:
        assert conn.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert 5 <= conn.execute("SELECT COUNT(*) FROM t").fetchone()[0] < 2000


def test_a_file_system_that_is_read_only(start, small_disk):
    """From the start, with a database and without one."""
    place = small_disk("20m")
    words = product("load", db=place / "out.db", count=5)
    assert start(words).wait()[0] == DONE
    small_disk("20m,ro")
    for name in ("out.db", "new.db"):
        code, _, err = start(product("load", db=place / name, count=10)).wait()
        assert code == STORAGE, err
        assert "mounted read-only" in one_sentence(err)
    small_disk("20m,rw")
    VERDICT.resumed(place / "out.db", words, 5)


# --- failing ---


@pytest.mark.parametrize(
    ("call", "error", "suffix", "words"),
    [("fcntl", "EINVAL", "", "has no locks of open files"), ("mmap", "ENODEV", "-shm", "wal=False")],
    ids=["locks", "shared memory"],
)
def test_a_file_system_that_lacks_what_sqlite_needs(start, tmp_path, call, error, suffix, words):
    """Each is told, with what to do instead."""
    db = tmp_path / "out.db"
    program = product("load", db=db, count=COUNT)
    command = strace.injecting(call, f"error={error}", program, paths=[Path(f"{db}{suffix}")])
    code, _, err = start(command).wait()
    assert code == STORAGE, err
    assert words in one_sentence(err)
    VERDICT.sound(db, set(), program, COUNT)


@pytest.mark.parametrize("call", ["fdatasync", "pwrite64"])
def test_an_io_error_at_the_nth_call(start, tmp_path, call):
    """The writer stops and does not try again. Whether that batch is there is unknown; resume is right."""
    most = 30 if call == "fdatasync" else 150
    for n in sample(list(range(1, most, 2)), 3):
        db, acks = tmp_path / f"{n}.db", tmp_path / f"{n}.acks"
        words = product("load", db=db, acks=acks, count=COUNT)
        code, _, err = start(strace.injecting(call, f"error=EIO:when={n}", words, paths=strace.files_of(db))).wait()
        assert code == STORAGE, (n, err)
        assert "the disk reported an error" in one_sentence(err), n
        VERDICT.sound(db, acknowledged(acks), words, COUNT)


def test_an_error_when_reading(start, tmp_path):
    """On a database that is there; the second read is the first that matters."""
    db = tmp_path / "out.db"
    assert start(product("load", db=db, count=10)).wait()[0] == DONE
    words = product("load", db=db, count=20)
    for n in (1, 2, 3, 5):
        log = tmp_path / "strace.log"
        child = start(strace.injecting("pread64", f"error=EIO:when={n}", words, paths=[db], log=log))
        code, _, err = child.wait()
        assert strace.injected(log) == 1
        assert code == STORAGE, (n, err)
        one_sentence(err)
    VERDICT.sound(db, {str(task) for task in range(10)}, words, 20)


# --- only the checkpoint ---


def test_a_checkpoint_that_fails_alone(start, tmp_path):
    """The log can be written and the database cannot: commits go on, and a warning says so."""
    db, acks = tmp_path / "out.db", tmp_path / "acks"
    words = product("load", db=db, acks=acks, count=200)
    paths, log = [db], tmp_path / "strace.log"
    code, _, err = start(strace.injecting("pwrite64", "error=ENOSPC:when=2+", words, paths=paths, log=log)).wait()
    assert strace.injected(log) > 0
    assert code == DONE, err
    assert "checkpoint failed, commits continue" in re.sub(r"\s+", " ", err)
    VERDICT.sound(db, acknowledged(acks), words, 200)


# --- slow ---


def test_a_slow_disk_and_an_interrupt(start, tmp_path):
    """Each sync takes 0.2 s; an interrupt is heard all the same, and what runs is recorded."""
    db, acks = tmp_path / "out.db", tmp_path / "acks"
    words = product("load", db=db, acks=acks, count=2000, pause_s=0.01)
    child = start(strace.injecting("fdatasync", "delay_enter=200000", words, paths=strace.files_of(db)))
    number = child.begun()
    until(lambda: finished(acks), "it works, slowly", child)
    began = monotonic()
    os.kill(number, signal.SIGINT)
    code, _, err = child.wait()
    assert code == INTERRUPTED, err
    assert monotonic() - began < 5
    stored = VERDICT.at_rest(db, acknowledged(acks))
    assert 0 < len(stored.done) < 2000


@pytest.mark.parametrize("call", [8, 14])
def test_a_failed_sync_is_not_papered_over(start, tmp_path, call):
    """After it nothing is copied from the log to the database: its pages may be gone, only recovery checks them.

    Some of these calls make the ledger's tables, others store tasks.
    """
    db, log = tmp_path / "out.db", tmp_path / "strace.log"
    words = product("load", db=db, count=COUNT)
    command = strace.injecting("fdatasync", f"error=EIO:when={call}", words, paths=strace.files_of(db), log=log)
    command[command.index("trace=fdatasync")] = "trace=fdatasync,pwrite64,unlink,ftruncate"
    assert start(command).wait()[0] == STORAGE
    after = log.read_text().partition("(INJECTED)")[2].splitlines()[1:]
    assert after == []


def test_the_writes_are_those_of_one_thread(start, tmp_path):
    """What ``when=`` counts by; and only SQLite opens the database. (P14)"""
    strace.usable()
    db, log = tmp_path / "out.db", tmp_path / "strace.log"
    words = product("load", db=db, count=COUNT)
    child = start(
        ["strace", "-f", "-qq", "-o", str(log), "-e", "trace=openat,pwrite64,close", "-P", str(db), *words]
    )
    assert child.wait()[0] == DONE
    lines = log.read_text().splitlines()
    assert len({line.split()[0] for line in lines if "pwrite64(" in line}) == 1
    opened = [line for line in lines if "openat(" in line and "ENOENT" not in line]
    assert len([line for line in opened if "O_EXCL" not in line]) == 1, opened
    assert Path(db).stat().st_size
