"""Every way from one state to another that the code takes is in the table, and every one in the table is taken."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing, suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import pipeloom
from pipeloom import (
    Retry,
    RunInterruptedError,
    TaskCancelledError,
    TaskContext,
    TasksFailedError,
    TaskTimeoutError,
)
from pipeloom.db import connect, init_schema
from pipeloom.db.cancel import request_cancel
from pipeloom.statuses import (
    ENDED,
    OPEN,
    QUEUED,
    RUN_STATUSES,
    RUN_TRANSITIONS,
    TASK_STATUSES,
    TASK_TRANSITIONS,
)

# What a row was, what it became, and whether that was in another run than the one that wrote it last.
WATCHES = """
CREATE TABLE seen (what TEXT, was TEXT, became TEXT, in_another_run INTEGER);
CREATE TABLE once (n INTEGER UNIQUE);
INSERT INTO once VALUES (1);
CREATE TRIGGER see_task AFTER UPDATE ON task_runs BEGIN
    INSERT INTO seen VALUES ('task', OLD.status, NEW.status, OLD.run_id IS NOT NEW.run_id);
END;
CREATE TRIGGER see_new_task AFTER INSERT ON task_runs BEGIN
    INSERT INTO seen VALUES ('task', 'queued', NEW.status, 0);
END;
CREATE TRIGGER see_run AFTER UPDATE ON pipeloom_runs BEGIN
    INSERT INTO seen VALUES ('run', OLD.status, NEW.status, 0);
END;
"""


@pytest.fixture
def db(tmp_path: Path) -> Path:
    """A file that notes every change of state."""
    path = tmp_path / "out.db"
    with closing(connect(path)) as conn:
        init_schema(conn, store_task_status=True)
        conn.executescript(WATCHES)
    return path


def changes(db: Path, what: str) -> set[tuple[str, str, bool]]:
    """Return what became of what, and whether it was in another run."""
    with closing(sqlite3.connect(db)) as conn:
        rows = conn.execute(
            "SELECT was, became, in_another_run FROM seen WHERE what = ? AND was <> became", (what,)
        )
        return {(was, became, bool(another)) for was, became, another in rows}


def until(ctx: TaskContext, sql: str, *params: object) -> None:
    """Wait until there is a row."""
    while not ctx.query(sql, params):
        pass


def work(item: str, ctx: TaskContext) -> None:
    """End as the input says, once the row says that the task runs."""
    until(ctx, "SELECT 1 FROM task_runs WHERE id = ? AND status = 'running'", ctx.task_id)
    if item == "fails":
        raise ValueError(item)
    if item == "late":
        raise TaskTimeoutError(item)
    if item == "cancelled":
        raise TaskCancelledError(item)
    if item == "refused":
        ctx.write("once", {"n": 1})


def waiting(db: Path, item: str, ctx: TaskContext) -> None:
    """Fail, and wait for another try; one of them stops the run meanwhile, or ends its process."""
    if item in ("fails", "late"):
        work(item, ctx)
    until(ctx, "SELECT 1 FROM task_runs WHERE id = ? AND status = 'running'", ctx.task_id)
    until(ctx, "SELECT 1 FROM task_runs WHERE status = 'queued' GROUP BY 1 HAVING COUNT(*) = 2")
    if item == "dies":
        os._exit(7)
    request_cancel(db, ctx.run_id, item)


def runs(db: Path, fn: Callable[..., None], inputs: list[str], **options: Any) -> None:
    """Make a run that may fail, or be stopped."""
    with suppress(TasksFailedError, RunInterruptedError):
        pipeloom.map(fn, inputs, db=db, workers=4, progress=False, **options)


LATER = Retry(2, delay_s=60.0)


def take_every_way(db: Path) -> None:
    """Bring tasks and runs into every state, and on from there."""
    inputs = ["good", "fails", "late", "cancelled", "refused"]
    runs(db, work, inputs, name="a")
    runs(db, work, inputs, name="a")  # what was not done
    runs(db, work, inputs, name="a", resume=False)  # all of them
    runs(db, work, ["good"], name="good")
    runs(db, work, ["twice", "twice"], name="twice")
    runs(db, work, inputs, name="again", retries=Retry(2, delay_s=0.0))
    runs(db, partial(waiting, db), ["fails", "late", "drain"], name="drained", retries=LATER)
    runs(db, partial(waiting, db), ["fails", "late", "cancel"], name="cancelled", retries=LATER)
    subprocess.run([sys.executable, __file__, db], check=False, timeout=50)
    runs(db, work, ["fails", "late", "dies"], name="killed")


def is_a_way(was: str, became: str, *, in_another_run: bool) -> bool:
    """Say whether the table leads there, past states in which nothing needed to be written."""
    if in_another_run:
        was = QUEUED
    elif was in ENDED:
        return False
    return became in TASK_TRANSITIONS[was] or any(
        became in TASK_TRANSITIONS[between] for between in TASK_TRANSITIONS[was] if between in OPEN
    )


def test_the_code_takes_the_ways_of_the_table_and_no_other(db):
    """Seen by triggers on the tables themselves, in runs that succeed, fail, are stopped, and are killed."""
    take_every_way(db)

    tasks = changes(db, "task")
    assert {change for change in tasks if not is_a_way(*change[:2], in_another_run=change[2])} == set()
    taken = {(was, QUEUED if another else became) for was, became, another in tasks}
    assert taken >= {(was, became) for was, ways in TASK_TRANSITIONS.items() for became in ways}
    assert {change[:2] for change in changes(db, "run")} == {
        (was, became) for was, ways in RUN_TRANSITIONS.items() for became in ways
    }


def test_the_tables_name_every_state():
    """None is missing, and a state leads only to states."""
    assert set(TASK_TRANSITIONS) == set(TASK_STATUSES) == {*OPEN, *ENDED}
    assert set(RUN_TRANSITIONS) == set(RUN_STATUSES)
    assert {state for ways in TASK_TRANSITIONS.values() for state in ways} == set(TASK_STATUSES)


if __name__ == "__main__":
    path = Path(sys.argv[1])
    runs(path, partial(waiting, path), ["fails", "late", "dies"], name="killed", retries=LATER)
