"""``pipeloom logs``: what a task logged, and following it while it goes on."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing

import pytest

from cli.commands import going_on

PROGRAM = """
import logging, sys, threading
from pathlib import Path
import pipeloom

def work(name):
    log = logging.getLogger("mine")
    log.warning("one of %s", name)
    while not Path("go").exists():
        threading.Event().wait(0.01)
    log.error("two of %s", name)

if __name__ == "__main__":
    pipeloom.map(work, ["a"], db="out.db", progress=False)
"""

pytestmark = pytest.mark.slow  # processes that watch processes


@pytest.fixture
def going(tmp_path):
    """A run in another process whose task has logged once, and goes on when ``go`` appears; the file's place."""
    (tmp_path / "load.py").write_text(PROGRAM)
    environment = os.environ | {"PYTHONUNBUFFERED": "1"}
    process = subprocess.Popen(
        [sys.executable, "load.py"],
        cwd=tmp_path,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=environment,
    )
    with process:
        try:
            yield tmp_path / "out.db", process
        finally:
            process.kill()


def following(db, *words):
    """Run ``pipeloom logs a --follow`` meanwhile."""
    return going_on("logs", "a", "--follow", "--db", db, *words)


def replace_by_copy(db):
    """Put another file in its place that holds all the same, what is still in the log beside it included."""
    other = db.with_name("new.db")
    with closing(sqlite3.connect(db)) as conn, closing(sqlite3.connect(other)) as copy:
        conn.backup(copy)
    other.replace(db)


def first_record(db):
    """Wait until the task's first record is in the file."""
    from time import monotonic

    from pipeloom.errors import PipeloomError
    from pipeloom.history import History

    deadline = monotonic() + 20
    while True:
        try:
            with History(db) as history:
                if history.logs(1):
                    return
        except PipeloomError:
            pass
        assert monotonic() < deadline, "it never logged"


def test_following_ends_with_the_task(going):
    """Records come as they are committed; when the task has ended and nothing more comes, so does the command."""
    db, _ = going
    first_record(db)
    with following(db) as process:
        assert "WARNING   mine  one of a" in process.stdout.readline()
        (db.parent / "go").touch()
        assert "ERROR     mine  two of a" in process.stdout.readline()
        out, err = process.communicate(timeout=20)

    assert (process.returncode, out, err) == (0, "", "")


def test_following_as_json_is_a_line_per_record_and_ends_with_ctrl_c(going):
    """Without a traceback, and with exit code 0: it was meant to."""
    db, _ = going
    first_record(db)
    with following(db, "--json") as process:
        assert json.loads(process.stdout.readline())["message"] == "one of a"
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=20)

    assert (process.returncode, out, err) == (0, "", "")


def test_following_ends_when_the_process_is_killed(going):
    """Nobody will ever say that the task has ended: the lock does."""
    db, run = going
    first_record(db)
    with following(db) as process:
        process.stdout.readline()
        run.kill()
        out, err = process.communicate(timeout=20)

    assert (process.returncode, out, err) == (0, "", "")


def test_another_file_in_its_place_ends_following(going):
    """Its task is another one."""
    db, _ = going
    first_record(db)
    with following(db) as process:
        process.stdout.readline()
        replace_by_copy(db)
        _, err = process.communicate(timeout=20)

    assert process.returncode == 3
    assert "the file was replaced by another: run the command again" in err


def test_the_last_records_of_a_task(going):
    """``-n`` of them; a task without any says so."""
    db, run = going
    (db.parent / "go").touch()
    assert run.wait(20) == 0

    def logs(*words):
        return subprocess.run(
            [sys.executable, "-m", "pipeloom", "logs", "a", "--db", str(db), *words],
            capture_output=True, text=True, timeout=30, check=True,
        ).stdout  # fmt: skip

    assert [line.split()[-3] for line in logs().splitlines()] == ["one", "two"]
    assert "two of a" in logs("-n", "1")
    assert "one of a" not in logs("-n", "1")
    assert [row["level"] for row in json.loads(logs("--json"))["logs"]] == ["WARNING", "ERROR"]
