"""On a terminal: many tasks do not slow it down, and bars and log share it."""

from __future__ import annotations

import logging

from rich.logging import RichHandler

import pipeloom
from pipeloom import make_overall_progress, make_task_progress, rlog

AT = "2026-01-31T12:00:00+00:00"
LATER = "2026-01-31T12:00:09+00:00"
STATUSES = "SELECT status, COUNT(*) FROM task_runs GROUP BY status"
NASTY = "path [/tmp]"

MANY = f"""
from pathlib import Path
from pipeloom import MsgTaskFinished, MsgTaskStarted, TaskDef, run_pipeline
def worker(task, msg_q):
    msg_q.put(MsgTaskStarted(task.task_id, task.name, {AT!r}))
    msg_q.put(MsgTaskFinished(task.task_id, "done", {LATER!r}))
print(run_pipeline([TaskDef(n, f"task-{{n}}") for n in range(1, 401)], Path("out.db"), worker_fn=worker))
"""


def test_four_hundred_tasks_on_a_terminal_are_quick(terminal, db, read):
    """They take no longer than elsewhere, and the screen does not grow with them."""
    session = terminal(MANY, limit_s=15)

    assert session.code == 0, session.text
    assert read(db, STATUSES) == [("done", 400)]
    assert session.text.count("task-") < 200
    assert "400 done" in session.text


BARS = f"""
import queue
from pathlib import Path
from pipeloom import SENTINEL, MsgTaskFinished, MsgTaskProgress, MsgTaskStarted, SQLiteWriter
from pipeloom import make_task_progress, preregister_task_bars
source = queue.Queue()
with make_task_progress() as progress:
    bars = preregister_task_bars(progress, 400)
    writer = SQLiteWriter(Path("out.db"), source, task_progress=progress, task_bar_map=bars)
    writer.start()
    for n in range(1, 401):
        source.put(MsgTaskStarted(n, f"task-{{n}}", {AT!r}))
        source.put(MsgTaskProgress(n, 1, 1))
        source.put(MsgTaskFinished(n, "done", {LATER!r}))
    source.put(SENTINEL)
    writer.join()
"""


def test_four_hundred_preregistered_bars_on_a_terminal_are_quick(terminal, db, read):
    """The described way to show tasks, by hand."""
    session = terminal(BARS, limit_s=8)

    assert session.code == 0, session.text
    assert read(db, STATUSES) == [("done", 400)]


TWO = f"""
import sys
from pathlib import Path
from pipeloom import MsgTaskStarted, TaskDef, logger, run_pipeline, setup_logging
sys.setswitchinterval(1e-5)  # let the threads race
setup_logging(0)
def worker(task, msg_q):
    msg_q.put(MsgTaskStarted(task.task_id, task.name, {AT!r}))
    logger.warning("about {NASTY} %s", task.task_id)
for _ in range(20):
    run_pipeline([TaskDef(n, "{NASTY}") for n in range(1, 11)], Path("out.db"), workers=4, worker_fn=worker)
"""


def test_bars_and_log_share_the_terminal(terminal):
    """There is one console; in twenty runs, ten warnings each stay whole lines above their one bar."""
    rlog.setup_logging(0)
    consoles = {make_overall_progress().console, make_task_progress().console, pipeloom.console}
    consoles |= {handler.console for handler in logging.getLogger().handlers if isinstance(handler, RichHandler)}
    session = terminal(TWO, rows=300)

    assert consoles == {rlog.console}
    assert session.code == 0, session.text
    told = ["w" if f"about {NASTY}" in line else "b" for line in session.lines if NASTY in line or "10/10" in line]
    assert [len(warnings) for warnings in "".join(told).split("b")] == [10] * 20 + [0]
