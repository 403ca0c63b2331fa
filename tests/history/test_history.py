"""Every question to a ledger, and its answer."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

import pytest

import pipeloom
from pipeloom.db import Ownership
from pipeloom.statuses import NEVER_BEGAN, PROCESS_ENDED

from .conftest import AT, tasks

RUN = {"id": 1, "status": "running", "started_at": AT, "pid": os.getpid()}


def test_a_run_as_it_was(ran, opened):
    """Counts, the run's row, and how it was started."""
    with opened() as history:
        run = history.latest_run()

        assert history.counts() == {"done": 6, "error": 4} == history.counts(run.run_id)
        assert (run.pipeline, run.status, run.ended, run.done, run.failed) == ("work", "error", 10, 6, 4)
        assert run.pid == os.getpid()
        assert run.command is not None
        assert run.versions["sqlite"] == sqlite3.sqlite_version
        assert history.run(run.run_id) == run
        assert history.run(99) is history.run(1 << 70) is None


def test_runs_come_latest_first_page_by_page(written, opened):
    """``before`` is where the page before ended."""
    written(pipeloom_runs=[{"id": n, "status": "done", "started_at": AT} for n in range(1, 8)])
    with opened() as history:
        first = history.runs(3)
        second = history.runs(3, before=first[-1].run_id)

    assert [run.run_id for run in first + second] == [7, 6, 5, 4, 3, 2]


def test_everything_about_one_task(ran, opened):
    """Its result, or its traceback in full."""
    with opened() as history:
        good, bad = history.task(1), history.task(10)

    assert (good.key, good.name, good.status, good.result, good.error) == (
        "path:in/a",
        "a",
        "done",
        '{"file":"a"}',
        None,
    )
    assert (bad.status, bad.pipeline, bad.has_state, bad.attempt) == ("error", "work", False, 1)
    assert "FileNotFoundError: no such file" in bad.error


def test_tries_past_and_present(ran, opened):
    """The first one first; what failed in the first run is present in the second."""
    pipeloom.map(lambda path: 1, [Path("in/m1")], db=ran, name="work", progress=False, durability="off")
    with opened() as history:
        past, present = history.attempts(10)

        assert (past.run_id, past.status, past.is_present) == (1, "error", False)
        assert (present.run_id, present.status, present.is_present) == (2, "done", True)
        assert history.attempts(999) == history.attempts(1 << 70) == []


@pytest.mark.parametrize(
    ("word", "found"),
    [
        ("10", [10]),
        ("path:in/a", [1]),
        ("in/a", [1]),
        ("n33", [9]),
        ("N3", [9]),
        ("in/N", [9, 8, 7]),
        ("nothing like it", []),
        ("", []),
        ("\udcff", []),
        ("1" * 40, []),
    ],
    ids=[
        "number",
        "key",
        "key without prefix",
        "name",
        "part",
        "part of a key",
        "none",
        "nothing",
        "no text",
        "too large",
    ],
)
def test_a_word_finds_tasks(ran, opened, word, found):
    """By number, else by key, else by name, else by a part of these."""
    with opened() as history:
        assert [task.id for task in history.find(word)] == found


def test_a_number_is_a_number_first_and_a_key_second(written, opened):
    """Keys that are numbers can be told from the tasks' own."""
    written(
        pipeloom_pipelines=[{"id": 1, "name": "p"}],
        task_runs=[{"id": n, "name": "x", "status": "done", "pipeline_id": 1, "key": n + 1} for n in (5, 6)],
    )
    with opened() as history:
        assert [task.id for task in history.find("6")] == [6]
        assert [task.id for task in history.with_key("6")] == [5]


def test_logs_in_order_and_from_where_one_stopped(written, opened):
    """The first ones, those after a record, or the last ones."""
    written(
        task_runs=tasks(2),
        pipeloom_logs=[
            {"id": n, "task_id": 1 + n % 2, "at": AT, "level": "INFO", "message": f"m{n}", "error": None}
            for n in range(1, 11)
        ],
    )
    with opened() as history:
        assert [row.id for row in history.logs(1)] == [2, 4, 6, 8, 10]
        assert [row.id for row in history.logs(1, after_id=4, limit=2)] == [6, 8]
        assert [row.message for row in history.logs(1, limit=2, newest=True)] == ["m8", "m10"]


def test_rejected_messages_latest_first(written, opened):
    """Of all tasks, or of one."""
    row = {"at": AT, "kind": "MsgMine", "content": "c", "error": "e"}
    written(pipeloom_rejected=[{"id": n, "task_id": n % 2, **row} for n in range(1, 5)])
    with opened() as history:
        assert [row.id for row in history.rejected(3)] == [4, 3, 2]
        assert [row.id for row in history.rejected(3, task_id=0)] == [4, 2]


def test_overview_shows_what_matters_first(written, opened):
    """Running, bad, queued, done; also a status that nobody knows."""
    states = ["done", "queued", "odd", "running", "error"]
    written(task_runs=[{"id": n, "name": "t", "status": status} for n, status in enumerate(states)])
    with opened() as history:
        overview = history.overview(4)

    assert [task.status for task in overview.tasks][0::3] == ["running", "queued"]
    assert {task.status for task in overview.tasks[1:3]} == {"odd", "error"}
    assert sum(overview.counts.values()) == 5


def test_a_run_of_this_process_is_alive(db, written, opened):
    """While it owns the file; a look must not make it lose the lock."""
    written(pipeloom_runs=[RUN], task_runs=tasks(1, status="running", run_id=1, started_at=AT))
    with Ownership(db), opened() as history:
        run = history.latest_run()

        assert (run.status, run.is_unclosed) == ("running", False)
        assert run.elapsed_s > 0
        assert history.is_alive(run)
        assert history.running_owner() == os.getpid()
        assert [task.elapsed_s > 0 for task in history.running(5)] == [True]


def test_a_run_whose_process_is_gone_is_interrupted(written, opened):
    """So are its tasks, in every list and count; others that are running are not."""
    written(
        pipeloom_runs=[RUN],
        task_runs=[
            {"id": 1, "name": "a", "status": "running", "run_id": 1},
            {"id": 2, "name": "b", "status": "queued", "run_id": 1},
            {"id": 3, "name": "c", "status": "running"},
            {"id": 4, "name": "d", "status": "done", "run_id": 1},
        ],
    )
    with opened() as history:
        run = history.latest_run()

        assert (run.status, run.is_unclosed, history.is_alive(run)) == ("interrupted", True, False)
        assert history.counts() == {"interrupted": 2, "running": 1, "done": 1}
        assert history.counts(1) == {"interrupted": 2, "done": 1}
        assert [task.id for task in history.running(9)] == [3]
        assert {task.id for task in history.tasks(limit=9, status="interrupted")} == {1, 2}
        assert {task.id: task.status for task in history.tasks(limit=9)}[2] == "interrupted"
        assert history.task(1).status == "interrupted"
        assert {group.message for group in history.error_groups()} == {PROCESS_ENDED, NEVER_BEGAN}


def test_a_file_of_schema_1_lacks_columns_and_is_read(written, change, opened):
    """What it does not have is unknown; it is not migrated by a look."""
    written(
        pipeloom_runs=[{"id": 1, "status": "done", "started_at": AT}],
        pipeloom_logs=[{"id": 1, "task_id": 1, "at": AT, "level": "INFO", "message": "m"}],
    )
    change(
        "ALTER TABLE pipeloom_logs DROP COLUMN error",
        "ALTER TABLE pipeloom_runs DROP COLUMN command",
        "ALTER TABLE pipeloom_runs DROP COLUMN shard",
        "UPDATE pipeloom_meta SET value = 1 WHERE key = 'schema_version'",
    )
    with opened() as history:
        assert history.latest_run().command is None
        assert history.latest_run().shard is None
        assert history.logs(1)[0].error is None


@pytest.mark.parametrize("ask", ["tasks", "runs", "failures", "logs", "rejected", "error_groups"])
def test_a_negative_limit_is_refused(ran, opened, ask):
    """SQLite would take it for none."""
    with opened() as history, pytest.raises(ValueError, match="limit must be 0 or more"):
        history.logs(1, limit=-1) if ask == "logs" else getattr(history, ask)(limit=-1)
