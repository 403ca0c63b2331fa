"""Scenes to draw, and runs that wait to be told to go on."""

from __future__ import annotations

import threading
from contextlib import contextmanager

import pytest

import pipeloom
from pipeloom.cli.watching.scene import Opened, Scene
from pipeloom.history import AttemptRow, ErrorGroup, LogRow, RunRow, TaskDetail, TaskRow

BAD = "bad \x1b[2J [/red] \u202e \ud800 news"


def _task(number, status="running", name=None, message=None, **more):
    values = {
        "id": number, "key": None, "name": name or f"item {number}", "status": status, "progress": 0.5,
        "message": message, "started_at": "2026-11-26T11:00:00+00:00", "finished_at": None, "elapsed_s": 3.0,
        "rows_written": 0, "attempt": 1, "worker": None, "run_id": 12, "pipeline": "load",
        "exception": "ValueError" if status == "error" else None, "place": None, "kind": None,
    }  # fmt: skip
    return values | more


@pytest.fixture
def task():
    """Make a task's row."""
    return lambda number, *args, **more: TaskRow(**_task(number, *args, **more))


@pytest.fixture
def run():
    """Make a run's row."""

    def make(**more):
        values = {
            "run_id": 12, "pipeline": "load", "status": "running", "started_at": "2026-11-26T11:00:00+00:00",
            "finished_at": None, "elapsed_s": 60.0, "expected": 10_000, "done": 3_990, "failed": 10, "cancelled": 0,
            "timed_out": 0, "skipped": 0, "workers": 8, "pid": 1, "executor": "threads", "host": "there",
            "command": "python load.py", "shard": None, "versions": {}, "is_unclosed": False,
        }  # fmt: skip
        return RunRow(**(values | more))

    return make


@pytest.fixture
def scene(run, task):
    """A run in full swing, with hostile names in it."""
    failures = tuple(task(100 - n, "error", f"bad {n}", BAD) for n in range(10))
    group = ErrorGroup(
        "12345678", "ValueError", BAD, "error", 10, None, None, failures[9], failures[0], None, "load.py:7", (12,)
    )
    return Scene(
        "out.db",
        at=1000.0,
        run=run(),
        counts={"running": 40, "queued": 3},
        rate=100.0,
        left_s=60.0,
        running=tuple(task(n, message=BAD, name=f"{BAD} {n}" if n == 2 else None) for n in range(1, 41)),
        failures=failures,
        errors=(group,),
        runs=(run(), run(run_id=11, status="error", elapsed_s=5.0)),
    )


@pytest.fixture
def opened(task):
    """A task in full: two tries before, a traceback, log records."""
    detail = TaskDetail(
        **_task(99, "error", "bad 1", BAD, attempt=3),
        result=None,
        error="Traceback\n" + "\n".join(f"\tline {n} {'x' * 100}" for n in range(40)),
        has_state=False,
    )
    tries = tuple(
        AttemptRow(
            99,
            12,
            n,
            "error",
            0.0,
            f"try {n} failed",
            None,
            None,
            1.0,
            0,
            None,
            None,
            None,
            None,
            None,
            is_present=False,
        )
        for n in (1, 2)
    )
    logs = (LogRow(1, 99, 12, 1, "2026-11-26T11:00:00+00:00", "WARNING", "load", BAD + "\nmore", None),)
    return Opened(detail, tries, logs)


@pytest.fixture
def held(db):
    """Start a run whose tasks wait: ``with held(range(6)) as go_on``; it has ended afterwards."""

    @contextmanager
    def running(items, *, path=db, name="load", fails=()):
        go_on, here = threading.Event(), threading.Barrier(min(len(items), 6) + 1)

        def work(n, ctx):
            ctx.progress(1, 2, f"half way {n}")
            if n < 6:
                here.wait(20)
            go_on.wait(20)
            if n in fails:
                raise ValueError(f"no {n}")

        def call():
            pipeloom.map(
                work, items, db=path, name=name, workers=6, on_error="collect", progress=False, resume=False
            )

        thread = threading.Thread(target=call)
        thread.start()
        try:
            here.wait(20)

            def end():
                go_on.set()
                thread.join(20)

            yield end
        finally:
            go_on.set()
            thread.join(20)

    return running
