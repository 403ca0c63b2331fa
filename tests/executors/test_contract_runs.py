"""Whole runs, one after the other, on every executor: what a second one finds, and what is the same on all."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing

import pytest
from faults.tools import KILLED, product, until
from faults.verdict import VERDICT, acknowledged, finished

import pipeloom
from executors import running
from executors.cases.talking import Reading, store_readings
from executors.cases.tries import RETRY
from executors.cases.work import work
from executors.conftest import KINDS, NEEDS, TABLES
from pipeloom.executors import ThreadExecutor
from pipeloom.executors.asyncio_.executor import AsyncioExecutor
from pipeloom.executors.dask_.engine import DaskEngine
from pipeloom.executors.futures import FuturesEngine
from pipeloom.executors.processes.pool import ProcessExecutor

# What of a ledger depends on the clock, or on which worker was free.
TASKS = (
    "SELECT key, name, status, round(progress, 6), message, result, attempt, rows_written, "
    # What the writer raises for a task has the writer's frames only where both are in one process, and how deep a
    # recursion comes depends on what is below it.
    "CASE WHEN key NOT IN ('checkpoint_refused', 'recursion') THEN error END FROM task_runs ORDER BY key"
)
TRIES = (
    "SELECT t.key, a.attempt, a.status, a.message, a.error, a.rows_written FROM pipeloom_attempts a "
    "JOIN task_runs t ON t.id = a.task_id ORDER BY 1, 2"
)
LOGS = (
    "SELECT t.key, l.attempt, l.level, l.logger, l.message, l.error FROM pipeloom_logs l "
    "JOIN task_runs t ON t.id = l.task_id ORDER BY t.key, l.attempt, l.id"
)
REST = "SELECT kind, content, error FROM pipeloom_rejected ORDER BY 1, 2"


# The frames through which a case is called on a loop, and from there in a thread.
BETWEEN = re.compile(
    r'^[ |]*  File "[^"]*(?:on_a_loop|/asyncio/\w+|/concurrent/futures/\w+)\.py", .*\n(?:[ |]*    .*\n)*',
    re.MULTILINE,
)


def left_by_all(kind, rows):
    """Return rows without those of cases that this executor cannot do as others do; a case is named in its rows."""
    cases = {case for case, ability in NEEDS.items() if ability not in kind.can} | set(kind.says)
    cases |= {"staged"} if "queries" in cases else set()  # by which it is known in one table
    cases |= set() if "local" in kind.takes else {"finds_what_is_local"}
    return [
        tuple(BETWEEN.sub("", value) if isinstance(value, str) else value for value in row)
        for row in rows
        if cases.isdisjoint(map(str, row))
    ]


@pytest.mark.parametrize("executor", KINDS[1:], ids=lambda kind: kind.name, indirect=True)
def test_the_same_run_leaves_the_same_tables(executor, ran_on):
    """As on threads: every row of users' tables, value by value, and the ledger but for times and workers."""
    here, there = ran_on(KINDS[0]), ran_on(executor)
    names = [name for (name,) in here.rows("SELECT name FROM sqlite_master WHERE type = 'table'")]
    users = [name for name in names if name != "task_runs" and not name.startswith(("pipeloom_", "sqlite_"))]
    assert len(users) > 10

    assert there.rows("SELECT name, sql FROM sqlite_master ORDER BY name") == here.rows(
        "SELECT name, sql FROM sqlite_master ORDER BY name"
    )
    for table in users:
        found, expected = (left_by_all(executor, ran.rows(f'SELECT * FROM "{table}"')) for ran in (there, here))
        assert sorted(found, key=repr) == sorted(expected, key=repr), table
    for sql in (TASKS, TRIES, LOGS, REST):
        assert left_by_all(executor, there.rows(sql)) == left_by_all(executor, here.rows(sql))
    results, expected = (
        sorted(key for key, _ in left_by_all(executor, ran.report.results())) for ran in (there, here)
    )
    assert results == expected

    def failures(ran):
        told = [(f.key, f.attempt, f.exception, f.message, f.status) for f in ran.report.failures]
        return sorted(left_by_all(executor, told))

    assert failures(there) == failures(here)


def test_what_each_can_do_is_declared():
    """In the table of these tests, as in the executors themselves."""
    executors = (ThreadExecutor, ProcessExecutor, AsyncioExecutor, DaskEngine)
    ours = {executor.name: executor.can for executor in executors}

    assert {kind.name: kind.can for kind in KINDS} == {
        kind.name: ours.get(kind.name, FuturesEngine.can) for kind in KINDS
    }


def test_the_run_says_where_it_ran(ran, executor):
    """In ``pipeloom_runs``, with the number of its workers; each task has a worker of its kind."""
    assert ran.rows("SELECT executor, workers, status FROM pipeloom_runs") == [(executor.name, 2, "error")]
    workers = {worker for (worker,) in ran.rows("SELECT DISTINCT worker FROM task_runs")}
    assert len(workers) == executor.workers


def test_a_second_run_does_the_rest(ran, executor, tmp_path):
    """What is done is skipped, its rows are not doubled; a checkpoint of the first run is found."""
    db = tmp_path / "again.db"
    with closing(sqlite3.connect(ran.db)) as conn:
        conn.execute("VACUUM INTO ?", (str(db),))
    cases = ["values", "shapes", "many_rows", "statements", "goes_on_in_the_next_run"]
    report = pipeloom.map(
        executor.of(work), cases, db=db, name="contract", workers=2, retries=RETRY, tables=TABLES, progress=False,
        handlers={Reading: store_readings}, durability="off", on_error="collect", **executor.options,
    )  # fmt: skip

    if "checkpoint" not in executor.can:
        assert (report.skipped, report.failed) == (4, 1)
        assert report.failures[0].message.startswith(
            ("ctx.state is not available", "ctx.checkpoint is not available")
        )
        return
    assert (report.skipped, report.done) == (4, 1)
    assert dict(report.results())["goes_on_in_the_next_run"] == ["half"]
    with closing(sqlite3.connect(db)) as conn:
        sql = "SELECT n FROM stages WHERE \"case\" = 'goes_on_in_the_next_run' ORDER BY n"
        assert conn.execute(sql).fetchall() == [(0,), (1,)]
        assert conn.execute("SELECT COUNT(*) FROM many").fetchone() == (3000,)
        assert conn.execute("SELECT COUNT(*) FROM pipeloom_state").fetchone() == (0,)


def test_a_worker_of_the_older_kind(executor, db, read):
    """Its messages are believed: name, number, result, and that it failed."""
    report = pipeloom.run_pipeline(
        map(running.Numbered, range(1, 6)), db, worker_fn=executor.of(running.older), workers=2, on_error="collect",
        progress=False, durability="off", **executor.options,
    )  # fmt: skip

    assert (report.done, report.failed) == (3, 2)
    assert read(db, "SELECT id, name, status, result, message FROM task_runs ORDER BY id") == [
        (1, "older 1", "done", "r1", "said"), (2, "older 2", "done", "r2", "said"),
        (3, "older 3", "error", None, "three"), (4, "older 4", "error", "r4", "said"),
        (5, "older 5", "done", "r5", "said"),
    ]  # fmt: skip
    assert read(db, "SELECT n FROM rows ORDER BY n") == [(n,) for n in range(1, 6)]

    report = pipeloom.run_pipeline(
        ["a", "bb", "ccc"],
        db,
        worker_fn=executor.of(running.renumbered),
        workers=2,
        progress=False,
        durability="off",
        **executor.options,
    )
    assert report.done == 3
    assert read(db, "SELECT id, name FROM task_runs WHERE id > 100 ORDER BY id") == [
        (101, "a"), (102, "bb"), (103, "ccc"),
    ]  # fmt: skip


def test_a_run_without_a_ledger(executor, db, read):
    """Only users' rows are there, and errors are raised all the same."""
    with pytest.raises(pipeloom.TasksFailedError, match="2 of 5 tasks failed"):
        pipeloom.run_pipeline(
            map(running.Numbered, range(1, 6)), db, worker_fn=executor.of(running.older), workers=2,
            store_task_status=False, progress=False, durability="off", **executor.options,
        )  # fmt: skip

    tables = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite%'"
    assert read(db, tables) == [("rows",)]
    assert read(db, "SELECT n FROM rows ORDER BY n") == [(n,) for n in range(1, 6)]


def test_a_run_that_keeps_nothing(executor):
    """In memory, where only the report is left of it."""
    report = pipeloom.map(
        executor.of(running.fails_at_fifty), range(60), db=":memory:", on_error="collect", workers=2,
        progress=False, **executor.options,
    )  # fmt: skip

    assert (report.done, [failure.key for failure in report.failures]) == (59, [50])


def test_what_is_local_may_fail(executor, db, read):
    """Where it is entered: the run ends with what it raised, and no task is charged."""
    if "local" not in executor.takes:
        return  # see ``test_futures``
    with pytest.raises((ConnectionError, pipeloom.RemoteError), match="no such session"):
        pipeloom.map(
            executor.of(running.fails_at_fifty), range(3), db=db, local=running.cannot_be_opened, workers=1,
            progress=False, name="local", durability="off", **executor.options,
        )  # fmt: skip

    assert read(db, "SELECT status FROM pipeloom_runs") == [("error",)]
    assert read(db, "SELECT key FROM task_runs WHERE status <> 'interrupted'") == []


def test_killed_and_called_again(executor, start, tmp_path):
    """The whole run by SIGKILL: nothing of it is left, and the second call does the rest, each row once."""
    if "checkpoint" not in executor.can:
        return  # which that program needs: see ``test_futures`` and ``test_dask``
    db, acks = tmp_path / "out.db", tmp_path / "acks"
    words = product("load", db=db, acks=acks, count=30, pause_s=0.01, executor=executor.name)
    child = start(words)
    until(lambda: len(finished(acks)) > 5, "some are done", child)
    child.process.kill()
    assert child.process.wait() == KILLED
    child.assert_gone()

    stored = VERDICT.at_rest(db, acknowledged(acks))
    assert 5 < len(stored.done) < 30
    VERDICT.resumed(db, words, 30)
