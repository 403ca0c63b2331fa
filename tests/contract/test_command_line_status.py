"""``pipeloom status``, as typed."""

from __future__ import annotations

import json
import signal
import sqlite3
from contextlib import closing

import pytest

from pipeloom import MsgTaskFinished, MsgTaskProgress, MsgTaskStarted

AT = "2026-01-31T12:00:00+00:00"
LIMIT_S = 30


@pytest.fixture
def ledger(db, store):
    """A file with five tasks in four states."""
    store(
        *(MsgTaskStarted(n, f"task-{n}", AT) for n in range(1, 6)),
        MsgTaskProgress(1, 1, 4, "reading"),
        MsgTaskFinished(2, "error", AT, message="no such file"),
        MsgTaskFinished(3, "cancelled", AT),
        MsgTaskFinished(4, "done", AT, "r"),
        MsgTaskFinished(5, "done", AT, "r"),
    )
    return db


def test_status_shows_tasks_and_counts(invoked, ledger):
    """As a table, by default."""
    outcome = invoked("status", "--db", ledger)

    assert outcome.exit_code == 0
    for word in ("task-1", "task-5", "2 done", "1 error", "1 running", "1 cancelled", "no such file", "25 %"):
        assert word in outcome.output, outcome.output


@pytest.mark.parametrize("option", ["-f", "--format"])
def test_status_as_json_is_json(invoked, ledger, option):
    """Counts and tasks, nothing else on standard output."""
    outcome = invoked("status", "--db", ledger, option, "json")
    told = json.loads(outcome.stdout)

    assert told["counts"] == {"done": 2, "error": 1, "running": 1, "cancelled": 1}
    assert {task["name"]: task["status"] for task in told["tasks"]}["task-2"] == "error"


@pytest.mark.parametrize(("words", "shown"), [([], 5), (["-n", 2], 2), (["--limit", 0], 0)])
def test_limit_bounds_the_tasks_and_not_the_counts(invoked, ledger, words, shown):
    """A large file is shown as quickly as a small one."""
    told = json.loads(invoked("status", "--db", ledger, "-f", "json", *words).stdout)

    assert len(told["tasks"]) == shown
    assert sum(told["counts"].values()) == 5


def test_status_shows_rows_that_people_inserted_themselves(invoked, db):
    """With three columns and progress, into a new database."""
    assert invoked("init-db", "--db", db).exit_code == 0
    with closing(sqlite3.connect(db)) as conn:
        conn.execute("INSERT INTO task_runs (id, name, status, progress) VALUES (9, 'by-hand', 'queued', 0.5)")
        conn.commit()
    outcome = invoked("status", "--db", db)

    assert outcome.exit_code == 0
    assert "by-hand" in outcome.output


def test_status_is_a_program(typed, ledger):
    """As a shell starts it."""
    code, out, err = typed("status", "--db", ledger)

    assert (code, err) == (0, "")
    assert "task-5" in out


def test_status_of_what_is_no_ledger_is_an_error(typed, tmp_path):
    """A missing file is not created, another program's is left as it is."""
    (tmp_path / "text.db").write_text("this is not a database, but long enough to look like one" * 20)
    for name in ("missing.db", "text.db"):
        code, out, err = typed("status", "--db", name)
        assert (code, out) == (3, "")
        assert name in err
        assert "Traceback" not in err
    assert [path.name for path in tmp_path.iterdir()] == ["text.db"]


def insert(db, number):
    """Write a row as another program would."""
    with closing(sqlite3.connect(db)) as conn:
        conn.execute(
            "INSERT INTO task_runs (id, name, status) VALUES (?, ?, 'running')", (number, f"task-{number}")
        )
        conn.commit()


def test_watch_as_json_is_a_line_per_look(child, ledger):
    """What is written later appears by itself; Ctrl-C ends it without a traceback."""
    process = child("-m", "pipeloom", "status", "--db", ledger, "--watch", "--format", "json")
    assert json.loads(process.stdout.readline())["counts"]["running"] == 1
    insert(ledger, 6)
    assert json.loads(process.stdout.readline())["counts"]["running"] == 2
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=LIMIT_S)

    assert process.returncode in (0, 130)
    assert "Traceback" not in err


def test_watch_on_a_terminal_is_a_table_that_follows(terminal, ledger):
    """As above, drawn in place."""
    words = ["status", "--db", str(ledger), "--watch"]
    session = terminal(
        f"import sys; from pipeloom.cli import main; sys.argv[1:] = {words}; main()",
        steps=[
            ("task-5", lambda _: insert(ledger, 6)),
            ("task-6", lambda process: process.send_signal(signal.SIGINT)),
        ],
    )

    assert session.code in (0, 130)
    assert "Traceback" not in session.text
    assert sum("task-1" in line for line in session.lines) == 1
