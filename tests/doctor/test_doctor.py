"""``pipeloom doctor`` on files that are well, damaged, tampered with, left by a killed run, or read by others."""

from __future__ import annotations

import json
import re
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing, contextmanager

import pytest

from pipeloom import DuplicateKeyError, TasksFailedError, run_pipeline
from pipeloom import map as pipeloom_map
from pipeloom.db.cancel import request_cancel
from pipeloom.demo import DemoTask
from pipeloom.doctor import examine
from pipeloom.doctor.place import in_bytes, reader_locks, sqlite_finding
from pipeloom.errors import StorageError
from pipeloom.messages import MsgTaskFinished, MsgTaskStarted


def fill(db, tasks=50, **options):
    """Run: each task writes two rows."""

    def write_two(number, ctx):
        ctx.write("t", [{"n": number, "text": "x" * 100}, {"n": -number, "text": "y" * 100}])

    return pipeloom_map(write_two, range(tasks), name="two", db=db, progress=False, **options)


def alter(db, *statements):
    """Let another program write."""
    with closing(sqlite3.connect(db)) as conn:
        for sql in statements:
            conn.execute(sql)
        conn.commit()


def by_check(found):
    """Return check → finding."""
    return {finding.check: finding for finding in found}


def remarkable(db, **options):
    """Return check → verdict of what is not ok; SQLite's version is this machine's affair."""
    return {f.check: f.verdict for f in examine(db, **options) if f.verdict != "ok" and f.check != "SQLite"}


def snapshot(db):
    """Return every byte beside the file, and itself."""
    return {path.name: path.read_bytes() for path in db.parent.iterdir()}


# --- well ---


@pytest.mark.parametrize("wal", [True, False])
def test_a_file_that_is_well(db, wal):
    """After runs of every kind, and not a byte is changed or a file made."""

    def sometimes(number, ctx):
        ctx.write("s", {"n": number})
        if number % 3 == 0:
            raise ValueError(number)

    def by_message(task, messages):
        messages.put(MsgTaskStarted(task.task_id, task.name, ""))
        messages.put(MsgTaskFinished(task.task_id, "done", ""))

    run_pipeline(
        range(10),
        db,
        worker_fn=lambda n, ctx: sometimes(n, ctx),
        key=int,
        name="a",
        wal=wal,
        on_error="collect",
        progress=False,
    )
    run_pipeline(
        range(10),
        db,
        worker_fn=lambda n, ctx: sometimes(n, ctx),
        key=int,
        name="a",
        wal=wal,
        on_error="collect",
        progress=False,
    )
    fill(db, 20)
    fill(db, 20, resume=False)
    with pytest.raises(TasksFailedError) as failed:
        pipeloom_map(str, ["a", "b", "a"], name="twice", db=db, progress=False)
    assert failed.group_contains(DuplicateKeyError)
    other = db.with_name("numbers.db")
    for _ in range(2):
        run_pipeline([DemoTask(n, "x") for n in range(1, 9)], other, worker_fn=by_message, wal=wal, progress=False)
    before = snapshot(db)

    assert remarkable(db) == {"rejected": "note"}
    assert remarkable(other) == {}
    assert by_check(examine(db))["rows"].text.endswith("as many as the tasks wrote")
    assert snapshot(db) == before


def test_a_file_without_a_ledger_is_looked_at_too(db):
    """Tasks that only write rows, or another program's database."""
    alter(db, "CREATE TABLE mine (a)")

    assert remarkable(db) == {"schema": "note"}


def test_what_on_conflict_left_out_is_explained(db):
    """A UNIQUE is there: fewer rows than were offered are as it should be."""

    def same(number, ctx):
        ctx.write("t", {"n": number % 2}, on_conflict="ignore", conflict_on=["n"])

    pipeloom_map(same, range(10), name="same", db=db, progress=False, tables={"t": {"n": int}})

    assert "2 rows in 1 table; the tasks offered 10" in by_check(examine(db))["rows"].text
    assert remarkable(db) == {}


# --- damaged ---


def test_a_flipped_page_is_found(db):
    """The sentence is SQLite's, cleaned; the exit code is 1."""
    fill(db, 500)
    with closing(sqlite3.connect(db)) as conn:
        (page,) = conn.execute("SELECT rootpage FROM sqlite_master WHERE name = 't'").fetchone()
    content = bytearray(db.read_bytes())
    for place in range((page - 1) * 4096, (page - 1) * 4096 + 60):
        content[place] ^= 0xFF
    db.write_bytes(content)

    found = by_check(examine(db))
    assert found["integrity"].verdict == "BAD"
    assert ".recover" in found["integrity"].advice + found["integrity"].text
    assert found["schema"].verdict == "ok"  # the rest is looked at all the same
    done = doctor(db)
    assert (done.returncode, done.stderr) == (1, "")
    assert re.search(r"is\s*not\s*well", done.stdout)  # the line may be wrapped, as long as the path is


def test_an_index_that_lost_an_entry_is_found(db):
    """Every page is sound, and yet a look-up would miss a row: only the thorough check sees it."""
    fill(db)
    alter(db, "CREATE TABLE u (n, m)", "CREATE INDEX ui ON u (n)", "INSERT INTO u VALUES (1, 10), (2, 20)")
    with closing(sqlite3.connect(db)) as conn:
        conn.execute("PRAGMA writable_schema = ON")
        conn.execute("UPDATE sqlite_master SET sql = 'CREATE INDEX ui ON u (m)' WHERE name = 'ui'")
        conn.commit()
    with closing(sqlite3.connect(db)) as conn:  # the entries are those of the other column
        assert conn.execute("PRAGMA quick_check").fetchall() == [("ok",)]
        assert conn.execute("SELECT n FROM u INDEXED BY ui WHERE m = 10").fetchall() == []

    assert by_check(examine(db))["integrity"].verdict == "BAD"


def test_a_file_cut_off_in_its_last_page(db):
    """Which SQLite itself does not say."""
    fill(db)
    db.write_bytes(db.read_bytes()[:-1000])

    assert by_check(examine(db))["file"].verdict == "BAD"


def test_a_file_that_cannot_be_read_is_an_error(db):
    """Cut in half, no database at all, not there: exit code 3 and one sentence."""
    fill(db, 500)
    whole = db.read_bytes()
    for content, words in ((whole[: len(whole) // 2], "damaged"), (b"text" * 999, "is not a SQLite database")):
        db.write_bytes(content)
        with pytest.raises(StorageError, match=words):
            examine(db)
        done = doctor(db)
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (3, "", 1)
        assert db.read_bytes() == content
    db.unlink()
    assert doctor(db).returncode == 3


# --- tampered with ---


@pytest.mark.parametrize(
    ("sql", "remark"),
    [
        ("UPDATE pipeloom_runs SET done = done - 1", {"done marks": "BAD"}),
        ("UPDATE pipeloom_runs SET done = done + 1", {"done marks": "note"}),
        ("DELETE FROM task_runs WHERE id = 3", {"done marks": "note"}),
        ("DELETE FROM t WHERE n > 40", {"rows": "note"}),
        ("INSERT INTO t VALUES (1000, '')", {}),
        ("INSERT INTO pipeloom_state VALUES (999, 1, 1, '', '{}')", {"checkpoints": "note"}),
        ("UPDATE pipeloom_meta SET value = 99", {"schema": "note"}),
        ("UPDATE pipeloom_meta SET value = 'x'", {"schema": "BAD"}),
        ("UPDATE pipeloom_runs SET done = 'many'", {"done marks": "BAD"}),
        ('CREATE TABLE "a ""b""\n" (n)', {}),
        ("ALTER TABLE pipeloom_runs RENAME COLUMN done TO finished", {"schema": "BAD"}),
        ("UPDATE task_runs SET status = char(27) || '[2J' WHERE id = 1", {"done marks": "note"}),
    ],
)
def test_what_does_not_add_up_is_found(db, sql, remark):
    """And is BAD only where no run and no deleting explains it."""
    fill(db)
    alter(db, sql)

    assert remarkable(db) == remark
    assert all(finding.text.isprintable() for finding in examine(db))


# --- runs ---

KILLED = """
import os, signal, sys, threading
import pipeloom
def fn(number, ctx):
    ctx.write("t", {"n": number})
    if number == 9:
        ctx.query("SELECT 1")
        ctx.progress(1, 2)
        print("here", flush=True)
        threading.Event().wait()
pipeloom.run_pipeline(
    range(10), sys.argv[1], worker_fn=fn, key=int, name="n", workers=1, wal=sys.argv[2] == "wal", progress=False
)
"""


@contextmanager
def running(db, mode="wal"):
    """A run in another process that has done nine tasks and hangs in the tenth."""
    with subprocess.Popen(
        [sys.executable, "-c", KILLED, db, mode], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        try:
            assert child.stdout.readline() == "here\n"
            yield child
        finally:
            child.kill()


@pytest.mark.skipif(sys.platform != "linux", reason="signals and locks as Linux has them")
@pytest.mark.parametrize("mode", ["wal", "journal"])
def test_a_run_that_is_going_on_is_no_fault(db, mode):
    """It is named, and not a byte of the log's index is written."""
    with running(db, mode) as child:
        before = snapshot(db)
        found = by_check(examine(db))
        assert snapshot(db) == before
        assert "is going on, since" in found["run"].text
        assert f"process {child.pid}" in found["run"].text
        assert not {name for name, finding in found.items() if finding.verdict == "BAD"}


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL there")
def test_a_killed_run_leaves_notes(db):
    """What to do is to run it again; the log is part of the file. A request that came too late is named."""
    with running(db) as child:
        request_cancel(db, 1, "drain")
        child.send_signal(signal.SIGKILL)
        child.wait()
    before = snapshot(db)
    found = by_check(examine(db))

    assert snapshot(db) == before
    remarks = {name: finding.verdict for name, finding in found.items() if finding.verdict != "ok"}
    assert remarks.pop("SQLite", "note") == "note"
    assert remarks == {"run": "note", "log": "note", "cancel": "note", "tasks": "note"}
    assert "ended without a word" in found["run"].text
    assert doctor(db).returncode == 0


def test_a_file_that_is_written_meanwhile_is_looked_at_again(db):
    """Without a log it is read as if nobody wrote it: that must not become a finding."""
    fill(db, 300)
    wrote = []

    def write(step, seconds):
        if not wrote:
            wrote.append(step)
            alter(db, "DELETE FROM t WHERE n > 0", "VACUUM")

    found = examine(db, on_step=write)

    assert {f.check for f in found if f.verdict == "BAD"} == set()
    if wrote:
        assert by_check(found)["rows"].text.startswith("3")


READER = """
import sqlite3, sys
conn = sqlite3.connect(sys.argv[1], isolation_level=None)
conn.execute("BEGIN")
conn.execute("SELECT COUNT(*) FROM t").fetchone()
print("reading", flush=True)
sys.stdin.readline()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells who reads")
def test_who_pins_the_log_is_named(db):
    """Another process that has an open read transaction."""
    fill(db)
    with closing(sqlite3.connect(db)) as writer:
        writer.execute("PRAGMA wal_autocheckpoint = 0")
        writer.execute("INSERT INTO t VALUES (1, '')")
        writer.commit()
        with subprocess.Popen(
            [sys.executable, "-c", READER, db], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as child:
            assert child.stdout.readline() == "reading\n"
            finding = by_check(examine(db))["readers"]
            child.stdin.close()
            child.wait()
        after = by_check(examine(db))["readers"]

    assert finding.verdict == "note"
    assert f"process {child.pid} (" in finding.text
    assert after.verdict == "ok"


def test_a_check_that_takes_too_long_is_given_up(db):
    """And says how to give it more time; the other checks go on."""
    fill(db, 2000)
    finding = by_check(examine(db, deadline_s=1e-9))["integrity"]

    assert (finding.verdict, "not finished within" in finding.text) == ("note", True)


# --- the parts ---

LOCKS = """1: POSIX  ADVISORY  READ 101 fe:00:77 124 124
2: FLOCK  ADVISORY  WRITE 102 fe:00:77 0 EOF
2: -> POSIX  ADVISORY  WRITE 103 fe:00:77 124 124
3: POSIX  ADVISORY  READ 104 fe:00:77 128 128
4: POSIX  ADVISORY  WRITE 105 00:1b:77 120 120
5: OFDLCK ADVISORY  READ -1 fe:00:78 123 127
nonsense
"""


def test_locks_are_read_from_what_linux_lists():
    """By device and number; by number alone where the devices differ and only one is listed."""
    assert reader_locks(LOCKS, 77, (0xFE, 0)) == {(101, 124), (104, 128)}
    assert reader_locks(LOCKS, 77, (0, 0x1B)) == {(105, 120)}
    assert reader_locks(LOCKS, 77, (9, 9)) == set()
    assert reader_locks(LOCKS, 78, (9, 9)) == {(-1, byte) for byte in range(123, 128)}


@pytest.mark.parametrize(
    ("version", "verdict"),
    [
        ((3, 6, 23), "ok"),
        ((3, 7, 0), "note"),
        ((3, 40, 1), "note"),
        ((3, 44, 6), "ok"),
        ((3, 50, 7), "ok"),
        ((3, 51, 2), "note"),
        ((3, 51, 3), "ok"),
    ],
)
def test_versions_with_the_fault_of_the_log(version, verdict):
    """As SQLite's own page lists them."""
    assert sqlite_finding(version).verdict == verdict


def test_sizes_are_said_as_people_do():
    """In powers of 1,024."""
    assert [in_bytes(n) for n in (0, 1023, 1024, 5 << 20, 3 << 40)] == [
        "0 bytes",
        "1,023 bytes",
        "1.0 KiB",
        "5.0 MiB",
        "3.0 TiB",
    ]


# --- the command ---


def doctor(db, *options):
    """Call the command."""
    return subprocess.run(
        [sys.executable, "-m", "pipeloom", "doctor", "--db", db, *options],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def test_the_command_prints_a_line_per_check(db):
    """And as JSON the same; exit code 0."""
    fill(db)
    done = doctor(db)
    assert (done.returncode, done.stderr) == (0, "")
    assert "ok    integrity    every page and index is sound" in done.stdout
    assert re.search(r"is\s*well", done.stdout)

    found = json.loads(doctor(db, "--json").stdout)
    assert [set(finding) for finding in found] == [{"check", "verdict", "text", "advice"}] * len(found)
    assert {finding["verdict"] for finding in found} <= {"ok", "note"}


def test_wrong_options_are_usage(db):
    """Exit code 2."""
    assert doctor(db, "--deadline", "0").returncode == 2
    assert doctor(db, "--nonesuch").returncode == 2


def test_a_locked_file_is_no_damage(db):
    """Another program may hold a rollback journal's lock for a while: a note, or one sentence with exit code 3."""
    fill(db, 3)
    with closing(sqlite3.connect(db, isolation_level=None)) as other:
        other.execute("PRAGMA journal_mode = DELETE")
        other.execute("CREATE TABLE u (n)")
        other.execute("BEGIN EXCLUSIVE")
        other.execute("INSERT INTO u VALUES (1)")
        done = doctor(db)

    assert "damaged" not in done.stdout + done.stderr
    assert (done.returncode, "holds its lock" in done.stderr) == (3, True), done.stderr
