"""``pipeloom cancel``: whom it asks, what it leaves on the disk, how long it waits."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import contextmanager

import pytest

from pipeloom import map as pipeloom_map
from pipeloom.db.cancel import cancel_path, requested

# A run as others see it: the lock, and a row that says "running". Ends when it is told to.
RUN = """
import os, sys
from pathlib import Path
from pipeloom.db import Ownership, connect, init_schema
db = Path(sys.argv[1])
with Ownership(db):
    conn = connect(db)
    init_schema(conn, store_task_status=True)
    conn.execute(
        "INSERT INTO pipeloom_runs (id, status, started_at, pid) VALUES (7, 'running', ?, ?)",
        ("2026-01-01T00:00:00+00:00", os.getpid()),
    )
    print("ready", flush=True)
    sys.stdin.readline()
    conn.execute("UPDATE pipeloom_runs SET status = 'cancelled', done = 3, cancelled = 2")
    conn.close()
"""


@contextmanager
def going_on(db):
    """A run in another process."""
    with subprocess.Popen(
        [sys.executable, "-c", RUN, db], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        try:
            assert child.stdout.readline() == "ready\n"
            yield child
        finally:
            child.kill()


REAL = """
import sys, threading
from pathlib import Path
import pipeloom
asked = Path(sys.argv[1] + "-cancel")
def fn(number, ctx):
    ctx.write("t", {"n": number})
    if number == 2:
        print("ready", flush=True)
        while sys.argv[2] == "cancel":
            ctx.check()
            threading.Event().wait(0.01)
        while not asked.exists():
            threading.Event().wait(0.01)
        while asked.exists():  # the run takes it away when it has read it
            threading.Event().wait(0.01)
try:
    pipeloom.map(fn, range(100_000_000), name="n", db=sys.argv[1], workers=1, progress=False)
except pipeloom.RunInterruptedError as interrupted:
    print(interrupted.report.done, interrupted.report.cancelled)
"""


def cancel(db, *options):
    """Call the command; return its exit code and all it said."""
    done = subprocess.run(
        [sys.executable, "-m", "pipeloom", "cancel", "--db", db, *options],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize(("options", "stage"), [((), "cancel"), (("--drain",), "drain")])
def test_the_run_that_is_going_on_is_asked(db, options, stage):
    """By its number, in one line beside the file."""
    with going_on(db):
        code, said = cancel(db, "--no-wait", *options)

        assert (code, requested(db)) == (0, (7, stage))
        assert "asked run 7 to stop" in said
        assert cancel_path(db).read_text() == f"7 {stage}\n"


def test_it_waits_until_the_run_has_ended(db):
    """And says how."""
    with going_on(db) as child:
        waiting = subprocess.Popen(
            [sys.executable, "-m", "pipeloom", "cancel", "--db", db], stdout=subprocess.PIPE, text=True
        )
        with waiting:
            assert "asked run 7" in waiting.stdout.readline()
            assert waiting.poll() is None
            child.stdin.write("\n")
            child.stdin.flush()
            assert waiting.stdout.read() == "run 7 has ended: cancelled, 3 done, 2 cancelled\n"

    assert waiting.returncode == 0


def test_a_run_that_dies_has_ended_too(db):
    """Without a word of its own."""
    with (
        going_on(db) as child,
        subprocess.Popen(
            [sys.executable, "-m", "pipeloom", "cancel", "--db", db], stdout=subprocess.PIPE, text=True
        ) as waiting,
    ):
        assert "asked run 7" in waiting.stdout.readline()
        child.kill()
        child.wait()
        assert waiting.stdout.read() == "run 7 has ended: interrupted, 0 done\n"


def test_it_does_not_wait_for_ever(db):
    """The sentence names the process, for the impatient."""
    with going_on(db) as child:
        code, said = cancel(db, "--timeout", "0")

        assert code == 1
        assert "did not end within 0 s" in said
        assert f"kill process {child.pid}" in said


@pytest.mark.skipif(os.geteuid() != 0, reason="only root makes namespaces")
def test_a_process_of_another_container_is_not_named(db):
    """Its number is another process's here, and nobody must kill that."""
    apart = ["unshare", "--pid", "--fork", "--mount-proc"]
    with going_on(db):
        words = [*apart, sys.executable, "-m", "pipeloom", "cancel", "--db", str(db), "--timeout", "0"]
        done = subprocess.run(words, capture_output=True, text=True, timeout=30, check=False)

    assert done.returncode == 1
    assert done.stderr.endswith(
        "it stops when its running tasks end; to stop it at once, kill it on its own machine\n"
    )


def test_with_no_run_there_is_nothing_to_stop(db):
    """Neither after a run that ended, nor after one that was killed; nothing is left beside the file."""
    pipeloom_map(str, [1], name="n", db=db, progress=False)
    assert cancel(db) == (1, f"pipeloom: {db}: no run is in progress, so there is nothing to stop\n")

    dead = db.with_name("dead.db")
    with going_on(dead) as child:
        child.kill()
        child.wait()
        assert cancel(dead)[0] == 1
    assert not cancel_path(db).exists()
    assert not cancel_path(dead).exists()


def test_no_file_is_a_matter_of_storage(db):
    """Exit code 3, as with the other commands."""
    assert cancel(db) == (
        3,
        f"pipeloom: {db}: no such file: check the path, or start a run first, which creates it\n",
    )


def test_a_request_that_cannot_be_written_is_one_sentence(db):
    """Here something else has the name."""
    with going_on(db):
        cancel_path(db).mkdir()
        code, said = cancel(db)

    assert code == 3
    assert "cannot write out.db-cancel beside it" in said
    assert said.count("\n") == 1


@pytest.mark.slow
@pytest.mark.parametrize(("stage", "counts"), [("cancel", "2 1"), ("drain", "3 0")])
def test_a_real_run_stops(db, stage, counts):
    """Cancelled, the running task leaves nothing; drained, it finishes. The request is gone afterwards."""
    with subprocess.Popen(
        [sys.executable, "-c", REAL, db, stage], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as child:
        try:
            assert child.stdout.readline() == "ready\n"
            code, said = cancel(db, *(["--drain"] if stage == "drain" else []))
            assert child.stdout.read() == f"{counts}\n"
            assert child.wait(10) == 0
        finally:
            child.kill()

    assert code == 0, said
    assert "run 1 of n has ended" in said
    assert not cancel_path(db).exists()
