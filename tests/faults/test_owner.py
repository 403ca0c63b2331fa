"""Who owns the file, whatever lies or happens beside it: readers, links, mounts, containers. (P12, P14)"""

from __future__ import annotations

import os
import random
import re
import sqlite3
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, suppress
from itertools import pairwise
from pathlib import Path
from shutil import copyfile
from subprocess import run

import pytest
from misplaced import misplace

from faults.tools import DONE, FULL, IN_USE, STORAGE, Child, amount, children, need, need_root, product, until
from faults.verdict import VERDICT, UnsoundError, acknowledged, finished

# --- tasks that read SQLite's own files ---

WRITER = """
import os, random, sqlite3, sys, time
chance, written = random.Random(int(sys.argv[3])), 0
print("begun", flush=True)
while not os.path.exists(sys.argv[2]):
    conn = sqlite3.connect(sys.argv[1], timeout=10, isolation_level=None)
    conn.execute("CREATE TABLE IF NOT EXISTS theirs (n, body)")
    for _ in range(4):
        deed = chance.choice(["write", "write", "hold", "VACUUM", "PRAGMA wal_checkpoint(TRUNCATE)", "read"])
        try:
            if deed == "write":
                conn.execute("INSERT INTO theirs VALUES (?, ?)", (written, "x" * chance.randrange(9000)))
                written += 1
            elif deed == "hold":
                conn.execute("BEGIN IMMEDIATE")
                conn.execute("INSERT INTO theirs VALUES (?, 'held')", (written,))
                time.sleep(chance.random() / 20)
                conn.execute("COMMIT")
                written += 1
            elif deed == "read":
                conn.execute("SELECT COUNT(*) FROM theirs").fetchall()
            else:
                conn.execute(deed).fetchall()
        except sqlite3.OperationalError as error:
            if "locked" not in str(error):
                raise
            if conn.in_transaction:
                conn.execute("ROLLBACK")
        time.sleep(chance.random() / 50)
    conn.close()
print(written)
"""


def read_beside_others(start, db: Path, words: list[str], count: int) -> None:
    """Run it beside two programs that write, vacuum and checkpoint, and our own status; all of it must be there."""
    over = db.with_name("the run is over")
    child = start(words)
    child.begun()
    until(lambda: db.exists() and db.stat().st_size, "the database is made", child)
    others = [start([sys.executable, "-c", WRITER, str(db), str(over), str(seed)]) for seed in range(2)]
    for other in others:
        other.begun()
    looks = 0
    while child.process.poll() is None:
        code, _, err = start([sys.executable, "-m", "pipeloom", "status", "--db", str(db)]).wait()
        if code != DONE:
            raise UnsoundError(f"status: {err}")
        looks += 1
    over.touch()
    code, out, err = child.wait()
    written = 0
    for other in others:
        ended, said, complaint = other.wait()
        if ended != DONE:
            raise UnsoundError(f"another program: {complaint}")
        written += int(said)
    if code != DONE:
        raise UnsoundError(f"exit code {code}: {out}{err}")
    assert looks
    VERDICT.resumed(db, words, count)
    with closing(sqlite3.connect(db)) as conn:
        found = conn.execute("SELECT COUNT(*) FROM theirs").fetchone()[0]
    if found != written:
        raise UnsoundError(f"another program wrote {written} rows, and {found} are there")


@pytest.mark.parametrize("wal", [True, False], ids=["wal", "journal"])
def test_tasks_that_read_all_files_of_the_directory(start, tmp_path, wal):
    """Closing them takes back SQLite's locks in this process: nobody is let in, nothing is cut or removed."""
    words = product("reading", db=tmp_path / "out.db", count=amount(60, 3000), wal=wal)
    read_beside_others(start, tmp_path / "out.db", words, amount(60, 3000))


def test_the_harness_catches_locks_that_were_taken_back(start, tmp_path):
    """Without the second locks the run dies of SIGBUS, or the file is destroyed, sooner or later."""
    for attempt in range(10):
        (tmp_path / str(attempt)).mkdir()
        db = tmp_path / str(attempt) / "out.db"
        try:
            read_beside_others(start, db, product("unguarded", db=db, count=300), 300)
        except (UnsoundError, AssertionError, sqlite3.Error):
            return
    pytest.fail("ten times nothing happened")


# --- two runs ---


class Ways:
    """One directory by several ways: its own path, a link, another mount, another container."""

    def __init__(self, directory: Path, stack: ExitStack) -> None:
        link = directory.with_name("link")
        link.symlink_to(directory)
        self._paths = [directory, link, directory / ".." / directory.name]
        self._containers = [False]
        if os.geteuid() == 0:
            mount = directory.with_name("mount")
            mount.mkdir()
            run(["mount", "--bind", str(directory), str(mount)], check=True)
            stack.callback(run, ["umount", "--lazy", str(mount)], check=True)
            self._paths.append(mount)
            self._containers.append(True)

    def command(self, chance: random.Random, function: str, **arguments: object) -> list[str]:
        """Return how to start a program by one of the ways."""
        words = product(function, db=chance.choice(self._paths) / "out.db", **arguments)
        if chance.choice(self._containers):
            return ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", *words]
        return words


def leave_it(_: Path, __: Path) -> None:
    """Do nothing."""


def read_it(db: Path, _: Path) -> None:
    """Read everything from another process."""
    for path in db.parent.iterdir():
        if path.is_file():
            with suppress(FileNotFoundError):  # a journal, which has just been removed
                path.read_bytes()


def put_a_lock(kind: str) -> Callable[[Path, Path], None]:
    """Return how to put something where older versions had a lock file."""

    def put(db: Path, other: Path) -> None:
        lock = db.with_name("out.db-lock")
        lock.unlink(missing_ok=True)
        if kind == "file":
            lock.touch()
        else:
            misplace(kind, lock, other)

    return put


def checkpoint_it(db: Path, _: Path) -> None:
    """Do what Litestream does."""
    with closing(sqlite3.connect(db, timeout=10)) as conn:
        conn.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()


HARMLESS = [leave_it, read_it, checkpoint_it, *(put_a_lock(kind) for kind in ("pipe", "link", "hard link", "file"))]


@pytest.mark.parametrize("first", ["load", "reading", "pipeline"])
def test_one_of_two_whatever_is_done_beside_the_file(start, tmp_path, first):
    """While one run goes on, nobody else gets in, in either direction, and the first one does not notice."""
    need("unshare", "mount")
    chance, tries = random.Random(first), amount(3, 200)
    directory, other = tmp_path / "data", tmp_path / "thesis.txt"
    directory.mkdir()
    other.write_text("do not lose me")
    db, acks = directory / "out.db", tmp_path / "acks"
    with ExitStack() as stack:
        ways = Ways(directory, stack)
        words = ways.command(chance, first, acks=acks, count=100_000, pause_s=0.01)
        owner = start(words)
        until(lambda: finished(acks), "something is done", owner)
        for _ in range(tries):
            chance.choice(HARMLESS)(db, other)
            code, out, err = start(ways.command(chance, chance.choice(["load", "pipeline"]), count=5)).wait()
            assert code == IN_USE, out + err
            assert "another pipeloom run" in err
        assert owner.process.poll() is None, owner.wait()
        owner.kill()
        owner.process.wait()
        assert other.read_text() == "do not lose me"
        until(lambda: start(ways.command(chance, "load", count=5)).wait()[0] == DONE, "the file is free")
        the_rest_is_done(db, acks)


def the_rest_is_done(db: Path, acks: Path) -> None:
    """Judge what is there, and a run that does the few tasks that are left."""
    stored = VERDICT.at_rest(db, acknowledged(acks))
    count = max(stored.done) + 5
    VERDICT.resumed(db, product("load", db=db, count=count), count)


HARMFUL: dict[str, Callable[[Path], object]] = {
    "the index removed": lambda db: db.with_name("out.db-shm").unlink(),
    "the log removed": lambda db: db.with_name("out.db-wal").unlink(),
    "both removed": lambda db: [db.with_name(f"out.db-{suffix}").unlink() for suffix in ("wal", "shm")],
    "the index replaced": lambda db: _replaced(db.with_name("out.db-shm")),
    "the log linked": lambda db: _linked(db.with_name("out.db-wal")),
    "the database moved": lambda db: db.rename(db.with_name("moved.db")),
}


def _replaced(path: Path) -> None:
    copy = path.with_name("copy")
    copy.write_bytes(path.read_bytes())
    os.replace(copy, path)


def _linked(path: Path) -> None:
    path.rename(path.with_name("elsewhere"))
    path.symlink_to("elsewhere")


@pytest.mark.parametrize("deed", HARMFUL)
def test_nobody_gets_in_before_the_first_has_noticed(start, tmp_path, deed):
    """What ends the first run ends it before another one is let in: never are there two."""
    for number in range(amount(1, 20)):
        place = tmp_path / str(number)
        place.mkdir()
        db, acks = place / "out.db", place / "acks"
        owner = start(product("load", db=db, acks=acks, count=100_000, pause_s=0.005))
        until(lambda acks=acks: finished(acks), "something is done", owner)
        HARMFUL[deed](db)
        codes = [start(product("load", db=db, count=5)).wait()[0] for _ in range(2)]
        code, _, err = owner.wait()
        assert code == STORAGE, err
        assert "while in use" in err
        assert set(codes) <= {IN_USE, STORAGE, DONE}
        at = place / "moved.db" if deed == "the database moved" else db
        if deed == "the log linked":
            (place / "out.db-wal").unlink(missing_ok=True)
        with closing(sqlite3.connect(at)) as conn:
            assert conn.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
            spans = conn.execute("SELECT started_at, finished_at FROM pipeloom_runs ORDER BY id").fetchall()
        assert all(earlier[1] and earlier[1] <= later[0] for earlier, later in pairwise(spans))
        the_rest_is_done(at, acks)


# --- what lies where SQLite has its files ---


KINDS = ["link", "dangling link", "hard link", "pipe", "directory", "device", "socket"]

# One after the other in one process, which must not wait for the second either.
READERS = """
import sys
from pipeloom.cli import main
for command in ("status", "doctor"):
    sys.argv = ["pipeloom", command, "--db", sys.argv[-1]]
    try:
        main()
    except SystemExit as left:
        print("left with", left.code, file=sys.stderr)
"""


@pytest.fixture(scope="module")
def finished_file(tmp_path_factory) -> Path:
    """The file of a run of five tasks, which has ended."""
    db = tmp_path_factory.mktemp("finished") / "out.db"
    with children() as starting:
        assert starting(product("load", db=db, count=5)).wait()[0] == DONE
    return db


SUFFIXES = ["-wal", "-shm", "-journal", "-lock", "-cancel"]
MISPLACED = [
    pytest.param(suffix, kind, id=f"{suffix}-{kind}")
    for s, suffix in enumerate(SUFFIXES)
    for k, kind in enumerate(KINDS)
    if FULL or (s + k) % 2 == 0
]


@pytest.mark.parametrize(("suffix", "kind"), MISPLACED)
def test_what_lies_where_sqlite_has_its_files(start, tmp_path, monkeypatch, finished_file, suffix, kind):
    """Nobody writes through it, truncates it, or waits for it: refused, or not looked at; readers as well."""
    monkeypatch.chdir(tmp_path)
    db, target = tmp_path / "out.db", tmp_path / "thesis.txt"
    target.write_text("do not lose me")
    copyfile(finished_file, db)
    beside = tmp_path / f"out.db{suffix}"
    if kind == "device":
        need_root()
    misplace(kind, beside, target)
    is_sqlites = suffix in ("-wal", "-shm", "-journal")
    code, _, err = start(product("load", db=db, count=8)).wait()
    if is_sqlites:
        assert code == STORAGE, err
        assert re.search(rf"out\.db{suffix} beside it (is a|has 2 names)", err), err
    else:
        assert code == DONE, err
    code, _, err = start([sys.executable, "-c", READERS, str(db)]).wait()
    codes = [int(number) for number in re.findall(r"^left with (\d+)$", err, re.MULTILINE)]
    assert (code, len(codes)) == (DONE, 2), err
    assert set(codes) <= ({STORAGE, DONE} if is_sqlites else {DONE}), err
    assert target.read_text() == "do not lose me"
    assert not (tmp_path / "nowhere").exists()


# --- a file that is a mount point ---


@pytest.fixture
def bound(tmp_path) -> Iterator[Path]:
    """A database that is itself bound into another directory, as `docker run -v $PWD/out.db:/data/out.db` does."""
    need_root()
    need("mount", "umount")
    (tmp_path / "host").mkdir()
    (tmp_path / "container").mkdir()
    for place in ("host", "container"):
        (tmp_path / place / "out.db").touch()
    outside, inside = tmp_path / "host" / "out.db", tmp_path / "container" / "out.db"
    run(["mount", "--bind", str(outside), str(inside)], check=True)
    yield inside
    run(["umount", "--lazy", str(inside)], check=True)


def test_a_database_that_is_a_mount_point(start, tmp_path, bound):
    """The log would lie beside another name: refused, and nothing is made; from outside it works."""
    code, _, err = start(product("load", db=bound, count=5)).wait()
    assert code == STORAGE, err
    assert "is itself a mount point" in err
    assert [path.name for path in bound.parent.iterdir()] == ["out.db"]
    assert bound.stat().st_size == 0
    assert start(product("load", db=tmp_path / "host" / "out.db", count=5)).wait()[0] == DONE


def test_a_reader_of_a_mount_point_during_a_run(start, tmp_path, bound):
    """It could not see the log, and would read half a checkpoint: it says so; afterwards it reads."""
    outside, acks = tmp_path / "host" / "out.db", tmp_path / "acks"
    owner: Child = start(product("load", db=outside, acks=acks, count=100_000, pause_s=0.01))
    until(lambda: finished(acks), "something is done", owner)
    look = [sys.executable, "-m", "pipeloom", "status", "--db", str(bound)]
    code, _, err = start(look).wait()
    assert code == STORAGE, err
    assert "is itself a mount point" in err
    owner.kill()
    owner.process.wait()
    assert start(product("load", db=outside, count=5)).wait()[0] == DONE
    assert start(look).wait()[0] == DONE
