"""A run's row."""

from __future__ import annotations

from contextlib import closing

import pytest

from pipeloom.db import connect, init_schema
from pipeloom.ledger.runs import command_of, mark_interrupted


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        (["/usr/bin/python3", "load.py"], "python3 load.py"),
        (["/usr/bin/python3", "load.py", "--token", "s3cret"], "python3 load.py …"),
        (
            ["python", "/opt/bin/pipeloom", "run", "load.py:main", "--arg", "t=s3cret"],
            "pipeloom run load.py:main …",
        ),
        (["python", "-m", "pipeloom", "demo", "--db", "x.db"], "python -m pipeloom demo …"),
        (["python", "-m", "mine.loader", "s3cret"], "python -m mine.loader …"),
        (["python", "-c", "s3cret"], "python -c …"),
        (["python"], "python"),
        (["python", "my file.py"], "python 'my file.py'"),
    ],
)
def test_how_a_run_was_started_is_kept_without_arguments(words, shown):
    """Arguments may hold passwords, and the file may be passed on."""
    assert command_of(words) == shown


def test_a_dead_runs_counts_are_those_of_its_tasks(db):
    """It stored them ten times a second, and died in between."""
    with closing(connect(db)) as conn:
        init_schema(conn, store_task_status=True)
        conn.execute("INSERT INTO pipeloom_runs (id, status, started_at, done) VALUES (1, 'done', '2026', 7)")
        conn.execute("INSERT INTO pipeloom_runs (id, status, started_at, done) VALUES (2, 'running', '2026', 1)")
        states = ["done"] * 3 + ["error", "running", "queued"]
        conn.executemany("INSERT INTO task_runs (name, status, run_id) VALUES ('t', ?, 2)", [(s,) for s in states])

        assert mark_interrupted(conn) == 2
        assert conn.execute("SELECT status, done, failed FROM pipeloom_runs ORDER BY id").fetchall() == [
            ("done", 7, 0),
            ("interrupted", 3, 1),
        ]
        assert mark_interrupted(conn) == 0
