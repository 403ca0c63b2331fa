"""Tasks that write more than memory should hold."""

from __future__ import annotations

import os
import resource
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing, contextmanager
from time import monotonic

import pytest
from leaks import unnamed_in

import pipeloom
from pipeloom import Retry, TaskTooLargeError, WriterBrokenError

MIB = 2**20
LONG_S = 10.0


@pytest.fixture(autouse=True)
def held(monkeypatch):
    """Half of what memory may hold otherwise."""
    monkeypatch.setattr("pipeloom.worker.staging._HELD", 8 * MIB)


def write_mib(ctx, count, begin=0):
    """Write rows of a MiB each; past eight of them they go to the file."""
    for n in range(begin, begin + count):
        ctx.write("big", {"n": n, "data": bytes([n % 256]) * MIB})


def test_rows_and_statements_are_stored_in_their_order(db, read):
    """Each statement sees what the task wrote before it, in the file or not; every value keeps its type."""
    values = [None, 1, -(2**63), 0.1 + 0.2, "007", "é", b"\xff"]

    def fn(item, ctx):
        for n in range(20):
            write_mib(ctx, 1, n)
            ctx.write("odd", {"n": n, "v": values[n % len(values)]})
            ctx.execute("INSERT INTO seen SELECT COUNT(*) FROM big")
        return ctx.task_id

    tables = {"seen": {"n": int}, "odd": {"n": int, "v": None}}
    report = pipeloom.map(fn, ["a"], db=db, tables=tables)

    assert report.done == 1
    assert read(db, "SELECT rows_written FROM task_runs") == [(40,)]
    assert read(db, "SELECT n, data FROM big ORDER BY rowid") == [(n, bytes([n]) * MIB) for n in range(20)]
    assert read(db, "SELECT n FROM seen ORDER BY rowid") == [(n + 1,) for n in range(20)]
    found = read(db, "SELECT v FROM odd ORDER BY rowid")
    assert [(type(v), v) for (v,) in found] == [(type(v), v) for v in (values * 3)[:20]]


@pytest.mark.parametrize("first", [0, 1, 20])
def test_rows_of_an_iterator_are_collected_apart(db, read, first):
    """They may be more than memory holds; what the iterator itself writes comes before them, as with a list."""

    def rows(ctx):
        for n in range(30):
            ctx.write("other", {"n": n})
            yield {"n": n, "data": bytes(MIB)}

    def fn(item, ctx):
        write_mib(ctx, first, 100)
        ctx.write("big", rows(ctx))
        ctx.write("big", iter([{"n": 50, "data": b""}]))

    pipeloom.map(fn, ["a"], db=db)
    expected = [*range(100, 100 + first), *range(30), 50]
    assert read(db, "SELECT n FROM big ORDER BY rowid") == [(n,) for n in expected]
    assert read(db, "SELECT COUNT(*) FROM other") == [(30,)]


def test_an_iterator_that_raises_stages_nothing(db, read):
    """However much had come; the task may go on."""

    def rows():
        for n in range(30):
            yield {"n": n, "data": bytes(MIB)}
        raise LookupError("the file ends here")

    def fn(item, ctx):
        ctx.write("big", {"n": -1, "data": b""})
        with pytest.raises(LookupError):
            ctx.write("big", rows())
        with pytest.raises(pipeloom.RowRefusedError, match="row 9,001"):
            ctx.write(
                "t",
                ({"k": n if n < 9000 else None} for n in range(10_000)),
                on_conflict="ignore",
                conflict_on=["k"],
            )

    pipeloom.map(fn, ["a"], db=db)
    assert read(db, "SELECT n FROM big") == [(-1,)]


def test_a_missing_table_is_made_for_all_of_it(db, read):
    """A column that comes late, and a type that comes late, are seen before the first row is stored."""

    def fn(item, ctx):
        ctx.write("t", {"code": 7})
        write_mib(ctx, 20)
        ctx.write("t", {"code": "007"})
        write_mib(ctx, 20)
        ctx.write("t", {"code": 0.5, "late": "x"})

    assert pipeloom.map(fn, ["a"], db=db).done == 1
    assert read(db, "SELECT code, typeof(code), late FROM t ORDER BY rowid") == [
        (7, "integer", None),
        ("007", "text", None),
        (0.5, "real", "x"),
    ]


def test_a_row_that_is_refused_at_the_end_leaves_nothing_of_its_task(db, read):
    """Only that one fails; those beside it are stored, and told, whatever comes first."""

    def fn(item, ctx):
        if item != "bad":
            ctx.write("small", {"item": item})
            return
        write_mib(ctx, 20)
        ctx.write("big", {"n": 0, "data": b"the same again"})

    with closing(sqlite3.connect(db)) as conn:
        conn.execute("CREATE TABLE big (n INTEGER PRIMARY KEY, data)")
    report = pipeloom.map(fn, ["a", "bad", *range(50)], db=db, workers=2, on_error="collect")

    assert (report.done, report.failed) == (51, 1)
    assert "UNIQUE" in report.failures[0].message
    assert read(db, "SELECT COUNT(*) FROM big") == [(0,)]
    assert read(db, "SELECT COUNT(*) FROM small") == [(51,)]
    assert unnamed_in(db.parent) == 0


def test_the_file_is_given_back_however_the_task_ends(db):
    """Done, failed, tried again, at a checkpoint; also when somebody keeps the context."""
    kept, opened = [], []

    def fn(item, ctx):
        kept.append(ctx)
        write_mib(ctx, 10)
        if item == "checkpoint":
            ctx.checkpoint(1)
            until = monotonic() + LONG_S  # the writer answers, and then lets go of it
            while unnamed_in(db.parent) and monotonic() < until:
                pass
            opened.append(unnamed_in(db.parent))
            write_mib(ctx, 10, 10)
        if item == "again" and ctx.attempt == 1:
            raise OSError
        if item == "bad":
            raise ValueError

    for item in ("done", "checkpoint", "again", "bad"):
        report = pipeloom.map(fn, [item], db=db, retries=Retry(2, 0.0, on=OSError), on_error="collect")
        assert report.done == (item != "bad")
        assert unnamed_in(db.parent) == 0, item
    assert opened == [0]
    assert len(kept) == 5


def test_a_checkpoint_stores_it_and_the_next_try_goes_on(db, read):
    """Each row once."""

    def fn(item, ctx):
        begin = ctx.state or 0
        write_mib(ctx, 12, begin)
        ctx.checkpoint(begin + 12)
        write_mib(ctx, 12, begin + 12)
        if ctx.attempt == 1:
            raise OSError

    assert pipeloom.map(fn, ["a"], db=db, retries=Retry(2, 0.0)).done == 1
    assert read(db, "SELECT n FROM big ORDER BY rowid") == [(n,) for n in range(36)]


def test_a_call_that_was_given_up_gives_its_file_back(db, read):
    """And what it writes afterwards is refused."""
    go_on, ended = threading.Event(), threading.Event()
    said = []

    def fn(item, ctx):
        if item == "slow":
            write_mib(ctx, 10)
            go_on.wait(LONG_S)
            said.append(unnamed_in(db.parent))
            with pytest.raises(pipeloom.AttemptOverError):
                write_mib(ctx, 10)
            ended.set()

    report = pipeloom.map(fn, ["slow"], db=db, timeout=1.0, on_error="collect")
    go_on.set()
    assert ended.wait(LONG_S)

    assert report.timed_out == 1
    assert said == [0]
    assert read(db, "SELECT COUNT(*) FROM sqlite_master WHERE name = 'big'") == [(0,)]


def test_many_large_tasks_at_once(db, read):
    """More than the channel has room for, beside small ones; each row once, and every file is given back."""

    def fn(item, ctx):
        if item % 2:
            write_mib(ctx, 9, item * 100)
        else:
            ctx.write("small", {"n": item})

    assert pipeloom.map(fn, range(24), db=db, workers=6, durability="off").done == 24
    assert read(db, "SELECT COUNT(*), COUNT(DISTINCT n) FROM big") == [(108, 108)]
    assert read(db, "SELECT COUNT(*) FROM small") == [(12,)]
    assert unnamed_in(db.parent) == 0


def test_a_task_that_forks_keeps_its_own_output(db, read):
    """The child has the same file, and is refused."""

    def fn(item, ctx):
        write_mib(ctx, 12)
        child = os.fork()
        if not child:
            try:
                write_mib(ctx, 20, 100)
            except WriterBrokenError:
                os._exit(7)
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
        write_mib(ctx, 12, 12)

    assert pipeloom.map(fn, ["a"], db=db, workers=1).done == 1
    assert read(db, "SELECT n, substr(data, -1) FROM big ORDER BY rowid") == [(n, bytes([n])) for n in range(24)]


def test_in_memory_and_without_a_ledger(tmp_path, read):
    """The file is somewhere else, or nobody keeps the tasks' rows."""
    db = tmp_path / "out.db"
    assert pipeloom.map(lambda item, ctx: write_mib(ctx, 10), ["a"], db=":memory:").done == 1
    pipeloom.run_pipeline([1], db, worker_fn=lambda task, ctx: write_mib(ctx, 10), store_task_status=False)
    assert read(db, "SELECT COUNT(*) FROM big") == [(10,)]


@contextmanager
def limited(kind, soft):
    """Let this process have less of something."""
    before = resource.getrlimit(kind)
    resource.setrlimit(kind, (soft, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(kind, before)


def test_a_file_that_may_not_grow_is_the_tasks_error(db, read):
    """As a full disk is; the run and the others go on, and nothing of its own is stored."""

    def fn(item, ctx):
        if item == "large":
            with limited(resource.RLIMIT_FSIZE, 4 * MIB):
                write_mib(ctx, 20)
        else:
            ctx.write("small", {"item": item})

    report = pipeloom.map(fn, ["a", "large", "b"], db=db, workers=1, on_error="collect")

    assert (report.done, report.failed) == (2, 1)
    (failure,) = report.failures
    assert failure.exception == TaskTooLargeError.__name__
    assert f"temporary file in {db.parent} (File too large): free space there" in failure.message
    assert read(db, "SELECT item FROM small ORDER BY item") == [("a",), ("b",)]


def test_no_descriptor_is_the_tasks_error(db):
    """When all are taken."""

    def fn(item, ctx):
        write_mib(ctx, 7)
        opened = []
        try:
            while True:
                opened.append(os.open(os.devnull, os.O_RDONLY))
        except OSError:
            pass
        try:
            write_mib(ctx, 7)
        finally:
            for number in opened:
                os.close(number)

    with limited(resource.RLIMIT_NOFILE, 256):
        report = pipeloom.map(fn, ["a"], db=db, workers=1, on_error="collect")
    assert "(Too many open files)" in report.failures[0].message


PROGRAM = """
import sys, pipeloom
def fn(megabytes, ctx):
    for n in range(megabytes * 1000):
        if n % 100:
            ctx.write("t", {"n": n, "text": f"{n:0900}"})
        else:
            ctx.execute("INSERT INTO t VALUES (?, ?)", (n, f"{n:0900}"))
tables = {"t": {"n": int, "text": str}}
pipeloom.map(fn, [int(sys.argv[2])], db=sys.argv[1], tables=tables, progress=False)
for line in open("/proc/self/status"):
    if line.startswith("VmHWM"):
        print(line.split()[1])
"""


@pytest.mark.slow
def test_memory_does_not_grow_with_what_a_task_writes(db, read):
    """200 MB of rows and statements take a program of 40 MiB to about 80, as 100 or 800 do."""
    command = [sys.executable, "-c", PROGRAM, str(db), "200"]
    peak = subprocess.run(command, check=True, capture_output=True, text=True).stdout

    assert int(peak) / 1024 < 160
    assert read(db, "SELECT COUNT(*), SUM(n = rowid - 1), SUM(CAST(text AS INTEGER) = n) FROM t") == [
        (200_000,) * 3
    ]
