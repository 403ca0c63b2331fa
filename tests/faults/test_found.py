"""A crawl is killed, or finds no room: each page is visited once, and none is missing. (P28)"""

from __future__ import annotations

import random
import sqlite3
from collections import Counter
from contextlib import closing
from pathlib import Path
from time import monotonic, sleep

import pytest

from faults import strace
from faults.crawling import has_checkpoint, links_of, rows_of
from faults.tools import DONE, HERE, JOURNALS, KILLED, STORAGE, Child, Start, amount, product, sample
from faults.verdict import UnsoundError

COUNT = 40
PROGRAM = HERE / "crawling.py"


Crawled = tuple[dict[int, str], list[tuple[int, str]], set[int], list[tuple[int, int]]]
"""Page → status; lines as (page, item); pages with a state; rows as (page, i)."""


def look(db: Path, *, at_rest: bool) -> Crawled:
    """Read one state of the file, in one transaction; all of it is empty while there is no ledger."""
    try:
        conn = sqlite3.connect(f"{db.as_uri()}?mode={'rw' if at_rest else 'ro'}", uri=True, isolation_level=None)
    except sqlite3.OperationalError:
        return {}, [], set(), []  # not there yet
    with closing(conn):
        conn.execute("BEGIN")
        if at_rest and conn.execute("PRAGMA integrity_check").fetchall() != [("ok",)]:
            raise UnsoundError("the file is damaged")
        names = {name for (name,) in conn.execute("SELECT name FROM sqlite_master")}
        if "pipeloom_found" not in names:
            return {}, [], set(), []
        tasks = "JOIN task_runs t ON t.id = x.task_id"
        return (
            dict(conn.execute("SELECT key, status FROM task_runs WHERE key IS NOT NULL").fetchall()),
            conn.execute(f"SELECT t.key, x.item FROM pipeloom_found x LEFT {tasks}").fetchall(),
            {key for (key,) in conn.execute(f"SELECT t.key FROM pipeloom_state x {tasks}")},
            conn.execute("SELECT page, i FROM pages").fetchall() if "pages" in names else [],
        )


def check(db: Path, count: int, *, at_rest: bool = True) -> set[int]:
    """Return the pages that are done.

    Raises:
        UnsoundError: A page has too many rows or too few, or a link of one that is done is not in line.
    """
    tasks, lines, states, stored = look(db, at_rest=at_rest)
    rows = Counter(page for page, _ in stored)
    if len(set(stored)) < len(stored):
        raise UnsoundError("rows are there twice")
    if any(str(key) != item for key, item in lines):
        raise UnsoundError(f"lines that are of no task, or of another one: {lines}")
    for page, status in tasks.items():
        expected, links = 0, []
        if status == "done":
            expected, links = rows_of(page), links_of(page, count)
        elif page in states:
            expected, links = rows_of(page) - 1, links_of(page, count)[:2]
        if rows.pop(page, 0) != expected:
            raise UnsoundError(f"page {page}, {status}: not {expected} rows")
        if lost := set(links) - {0, *tasks}:  # the first one may not have a row before its end
            raise UnsoundError(f"page {page}, {status}: {sorted(lost)} are lost")
        if page in states and (status == "done" or not has_checkpoint(page)):
            raise UnsoundError(f"page {page} is {status} and has a state")
    if rows:
        raise UnsoundError(f"rows of pages that nobody knows: {rows}")
    return {page for page, status in tasks.items() if status == "done"}


def command(db: Path, count: int = COUNT, **arguments: object) -> list[str]:
    """Return the command that crawls."""
    return product("crawl", program=PROGRAM, **{"db": db, "count": count, **arguments})


def finish(start: Start, db: Path, count: int = COUNT, **arguments: object) -> None:
    """Crawl to the end, and say that every page is there."""
    code, out, err = start(command(db, count, **arguments)).wait()
    assert code == DONE, out + err
    missing = set(range(count)) - check(db, count)
    if missing:
        raise UnsoundError(f"pages are missing: {sorted(missing)}")


def points_of(start: Start, db: Path, words: list[str]) -> list[tuple[str, int]]:
    """Count the storage calls of an undisturbed crawl: (call, N) for each."""
    log = db.with_suffix(".log")
    code, out, err = start(strace.counting(words, paths=strace.files_of(db), log=log)).wait()
    assert code == DONE, out + err
    return [(call, n) for call, most in sorted(strace.counts(log).items()) for n in range(1, most + 1)]


@pytest.mark.parametrize("wal", JOURNALS, ids=JOURNALS.get)
def test_a_crawl_that_is_killed_at_any_storage_call(start, tmp_path, wal):
    """What a done page links to is in line, and nothing else is; the next call visits what is left."""
    db = tmp_path / "count.db"
    points = points_of(start, db, command(db, wal=wal))
    assert len(points) > 50
    hits = midway = 0
    tried = sample(points, 3)
    for call, n in tried:
        db = tmp_path / f"{call}-{n}.db"
        words = strace.injecting(call, f"signal=KILL:when={n}", command(db, wal=wal), paths=strace.files_of(db))
        code, out, err = start(words).wait()
        assert code in (DONE, KILLED), out + err
        done = check(db, COUNT)
        hits += code == KILLED
        midway += 0 < len(done) < COUNT
        finish(start, db, wal=wal)
    assert hits >= len(tried) // 2, f"only {hits} of {len(tried)} kills hit"
    assert midway, "no kill came in the middle of the crawl"


def killed_after(child: Child, seconds: float, db: Path, count: int) -> None:
    """Watch a crawl, and kill it after a while."""
    until = monotonic() + seconds
    while (left := until - monotonic()) > 0 and child.process.poll() is None:
        try:
            check(db, count, at_rest=False)
        except sqlite3.OperationalError:
            pass  # its shared memory is not there yet, or just going away
        sleep(min(left, 0.01))
    child.kill()
    child.wait()


@pytest.mark.parametrize("executor", ["threads", "processes"])
def test_a_crawl_that_is_killed_at_random_instants(start, tmp_path, executor):
    """Again and again, while another process watches."""
    db, instants = tmp_path / "out.db", random.Random(executor)
    options = {"executor": executor, "pause_s": 0.01}
    done: set[int] = set()
    for _ in range(amount(2, 150)):
        if len(done) == 200:
            db.unlink()
            done = set()
        killed_after(start(command(db, 200, **options)), instants.uniform(0.2, 0.9), db, 200)
        before, done = done, check(db, 200)
        assert done >= before
    finish(start, db, 200, **options)


def test_a_crawl_that_finds_no_room(start, tmp_path):
    """The page whose links could not be stored is not done."""
    db = tmp_path / "count.db"
    most = max(n for call, n in points_of(start, db, command(db)) if call == "pwrite64")
    for n in sample(list(range(2, most, 3)), 2):
        db = tmp_path / f"full-{n}.db"
        words = strace.injecting("pwrite64", f"error=ENOSPC:when={n}+", command(db), paths=strace.files_of(db))
        code, _, err = start(words).wait()
        assert code in (STORAGE, DONE), (n, err)
        check(db, COUNT)
        finish(start, db)


def test_the_harness_catches_a_mistake(start, tmp_path):
    """Links that are stored in a transaction behind that of "done", and such that are not stored at all."""
    with pytest.raises(UnsoundError, match="are lost"):
        finish(start, tmp_path / "forgets.db", mistake="forgets")
    db = tmp_path / "count.db"
    writes = [n for call, n in points_of(start, db, command(db, mistake="commits")) if call == "pwrite64"]
    for n in sorted(writes, key=lambda n: (n * 7919) % len(writes)):  # all over the run, until one is caught
        db = tmp_path / f"{n}.db"
        words = command(db, mistake="commits")
        start(strace.injecting("pwrite64", f"signal=KILL:when={n}", words, paths=strace.files_of(db))).wait()
        try:
            check(db, COUNT)
        except UnsoundError:
            return
    pytest.fail("this harness would let it through")
