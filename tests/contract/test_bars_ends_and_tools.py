"""The eleven faults of the described system, 7 to 11: each test would fail if we had its fault."""

from __future__ import annotations

import io
import queue
import re
import sqlite3
import threading
from dataclasses import dataclass
from pathlib import Path

import pytest
from click.testing import CliRunner
from rich.console import Console
from rich.logging import RichHandler
from rich.progress import Progress

import pipeloom
from pipeloom import (
    MsgExecute,
    MsgTaskFinished,
    MsgTaskProgress,
    MsgTaskStarted,
    MsgWriteRows,
    SQLiteWriter,
    StorageError,
    TaskDef,
    make_overall_progress,
    make_task_progress,
    rlog,
    run_pipeline,
)
from pipeloom.cli import cli

AT = "2026-01-31T12:00:00+00:00"
LATER = "2026-01-31T12:00:09+00:00"
STATUSES = "SELECT status, COUNT(*) FROM task_runs GROUP BY status"
NASTY = "path [/tmp]"


# --- 7. one commit per message, one bar per task ---


def test_7_messages_that_wait_share_a_commit(db, opened):
    """A hundred messages and more to each."""
    source = queue.Queue()
    for number in range(5_000):
        source.put(MsgTaskStarted(number, "t", AT))
        source.put(MsgTaskProgress(number, 1, 2))
        source.put(MsgTaskFinished(number, "done", LATER))
    source.put(pipeloom.SENTINEL)
    writer = SQLiteWriter(db, source)
    writer.start()
    writer.join(30)

    assert not writer.is_alive()
    assert opened[0].count("COMMIT") < 150
    assert opened[0].count("INSERT INTO TASK_RUNS") < 500


MANY = f"""
from pathlib import Path
from pipeloom import MsgTaskFinished, MsgTaskStarted, TaskDef, run_pipeline
def worker(task, msg_q):
    msg_q.put(MsgTaskStarted(task.task_id, task.name, {AT!r}))
    msg_q.put(MsgTaskFinished(task.task_id, "done", {LATER!r}))
print(run_pipeline([TaskDef(n, f"task-{{n}}") for n in range(1, 401)], Path("out.db"), worker_fn=worker))
"""


def test_7_four_hundred_tasks_on_a_terminal_are_quick(terminal, db, read):
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


def test_7_four_hundred_preregistered_bars_on_a_terminal_are_quick(terminal, db, read):
    """The described way to show tasks, by hand."""
    session = terminal(BARS, limit_s=8)

    assert session.code == 0, session.text
    assert read(db, STATUSES) == [("done", 400)]


# --- 8. the writer's time and outcome ---


@dataclass(frozen=True)
class Slow:
    """A message whose handler takes its time."""

    number: int


@pytest.mark.parametrize("where", ["handler", "close"])
def test_8_a_run_waits_for_its_writer_however_long_it_takes(db, read, monkeypatch, where):
    """Any limit it may set is over at once here; still nothing is lost and it does not leave before the end."""
    join, connect = threading.Thread.join, sqlite3.connect
    entered, go_on = threading.Event(), threading.Event()

    class SlowToClose(sqlite3.Connection):
        def close(self):
            entered.set()
            assert go_on.wait(30)
            super().close()

    def handle(conn, messages):
        if where == "handler":
            entered.set()
            assert go_on.wait(30)
        conn.execute("CREATE TABLE mine (n)")
        conn.executemany("INSERT INTO mine VALUES (?)", [(message.number,) for message in messages])

    with monkeypatch.context() as patch:
        patch.setattr(SQLiteWriter, "join", lambda self, timeout=None: join(self, timeout and 0.001))
        if where == "close":
            patch.setattr(
                sqlite3, "connect", lambda *args, **options: connect(*args, factory=SlowToClose, **options)
            )
        run = threading.Thread(
            target=run_pipeline,
            args=([1], db),
            kwargs={"worker_fn": lambda n, q: q.put(Slow(n)), "handlers": {Slow: handle}},
        )
        run.start()
        try:
            assert entered.wait(20)
            run.join(0.3)
            assert run.is_alive(), "the run did not wait for its writer"
        finally:
            go_on.set()
            run.join(20)

    assert read(db, "SELECT n FROM mine") == [(1,)]
    assert read(db, STATUSES) == [("done", 1)]


FULL = """
import resource
from pathlib import Path
from pipeloom import MsgWriteRows, StorageError, run_pipeline
resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, 400_000))
try:
    row = MsgWriteRows("mine", {"t": "x" * 9000})
    run_pipeline(range(10_000), Path("out.db"), worker_fn=lambda n, q: q.put(row))
except StorageError as error:
    print("heard of it:", error)
"""


def test_8_a_writer_that_cannot_write_ends_the_run_with_the_reason(child):
    """At once, and not as if all were well."""
    process = child("-c", FULL)
    out, err = process.communicate(timeout=20)

    assert process.returncode == 0, err
    assert re.match(r"heard of it: .*out\.db: ", out)


@pytest.mark.parametrize("place", ["missing/out.db", ".", "text.db"])
def test_8_a_file_that_cannot_be_opened_is_an_error_before_any_task(tmp_path, place):
    """And no thread is left behind."""
    (tmp_path / "text.db").write_text("certainly not a database " * 100)
    with pytest.raises(StorageError):
        run_pipeline([1], tmp_path / place, worker_fn=lambda *_: pytest.fail("ran"))


# --- 9. commands that never worked: see also test_command_line ---


def test_9_status_and_run_work(child, db, tmp_path, store):
    """As separate programs, on what a writer stored and on a user's module."""
    store(MsgTaskStarted(1, "good", AT), MsgTaskFinished(1, "done", LATER))
    (tmp_path / "mine.py").write_text("def main(word):\n    return word + '!'\n")
    status = child("-m", "pipeloom", "status", "--db", db)
    run = child("-m", "pipeloom", "run", "mine:main", "--arg", "word=works")

    out, err = status.communicate(timeout=20)
    assert (status.returncode, err) == (0, "")
    assert "good" in out
    assert run.communicate(timeout=20) == ("works!\n", "")
    assert run.returncode == 0


# --- 10. markup in names, two consoles ---


@pytest.mark.parametrize("markup", [True, False], ids=["Rich's own columns", "ours"])
def test_10_a_name_like_markup_is_shown_as_it_is(serve, markup):
    """On bars that anybody made, the writer never makes Rich raise."""
    output = io.StringIO()
    progress = make_task_progress()
    screen = Console(file=output, force_terminal=True, width=100)
    shown = Progress(
        *(Progress.get_default_columns() if markup else progress.columns), console=screen, auto_refresh=False
    )
    bar = shown.add_task("waiting", total=None)
    with serve(task_progress=shown, task_bar_map={1: bar}) as (writer, source):
        source.put(MsgTaskStarted(1, NASTY, AT))
        source.put(MsgTaskProgress(1, 1, 2, NASTY))
        source.join()
        screen.print(shown.get_renderable())

    assert writer.failure is None
    assert markup or NASTY in output.getvalue()


def test_10_a_name_like_markup_is_shown_by_status_and_report(db):
    """In the table, in the report, in the log."""

    def worker(task, msg_q):
        raise ValueError(f"no {NASTY}")

    report = run_pipeline([TaskDef(1, NASTY)], db, worker_fn=worker, on_error="collect")
    shown = CliRunner().invoke(cli, ["status", "--db", str(db)])
    console = Console(file=io.StringIO(), width=100)
    console.print(report)

    assert shown.exit_code == 0
    assert NASTY in shown.output
    assert f"no {NASTY}" in console.file.getvalue()


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


def test_10_bars_and_log_share_the_terminal(terminal):
    """There is one console; in twenty runs, ten warnings each stay whole lines above their one bar."""
    rlog.setup_logging(0)
    consoles = {make_overall_progress().console, make_task_progress().console, pipeloom.console}
    consoles |= {handler.console for handler in rlog.logger.handlers if isinstance(handler, RichHandler)}
    session = terminal(TWO, rows=300)

    assert consoles == {rlog.console}
    assert session.code == 0, session.text
    told = ["w" if f"about {NASTY}" in line else "b" for line in session.lines if NASTY in line or "10/10" in line]
    assert [len(warnings) for warnings in "".join(told).split("b")] == [10] * 20 + [0]


# --- 11. extending it, second connections ---


@dataclass(frozen=True)
class MsgMine:
    """A message of the user's own."""

    number: int


def test_11_a_new_kind_of_message_needs_no_change_to_the_writer_and_no_second_connection(db, read, opened):
    """A handler, rows, statements and questions all go through the one connection."""

    def handle(conn, messages):
        conn.executemany("INSERT INTO mine VALUES (?)", [(message.number,) for message in messages])

    def worker(task, msg_q):
        msg_q.put(MsgMine(task))
        msg_q.put(MsgWriteRows("rows", {"n": task}))
        msg_q.put(MsgExecute("INSERT INTO mine VALUES (?)", (task + 100,)))
        msg_q.write("rows", {"n": task + 100})
        msg_q.query("SELECT COUNT(*) FROM mine")

    run_pipeline(range(10), db, worker_fn=worker, handlers={MsgMine: handle}, tables={"mine": {"n": int}})

    assert [(conn.opened_in.name, conn.read_only) for conn in opened] == [("pipeloom-writer", False)]
    assert opened[0].used_in == {opened[0].opened_in}
    wanted = [*range(10), *range(100, 110)]
    for table in ("mine", "rows"):
        assert read(db, f"SELECT n FROM {table} ORDER BY n") == [(n,) for n in wanted]


def test_11_the_examples_open_no_second_connection():
    """None of them can write but through the run."""
    folder = Path(pipeloom.__file__).parent / "examples"
    sources = {path.name: path.read_text() for path in folder.glob("*.py")}

    assert len(sources) >= 2
    for name, source in sources.items():
        assert "import sqlite3" not in source, name
        assert "connect(" not in source, name
