"""A run's life where it goes wrong: numbers, values, directories, outputs, forks."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import textwrap
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from time import monotonic

import pytest

import pipeloom
from pipeloom import MsgTaskFinished, MsgTaskProgress, MsgTaskStarted, run_pipeline

AT = "2026-01-01T00:00:00+00:00"


def old_worker(numbers):
    """Return a worker that calls its tasks by numbers of its own, after a while in which it says nothing."""

    def worker(task, msg_q):
        msg_q.query("SELECT 1")  # the writer has seen it run meanwhile
        number = numbers(task)
        msg_q.put(MsgTaskStarted(number, f"t{number}", AT))
        msg_q.put(MsgTaskFinished(number, "done", AT, f"r{task}"))

    return worker


@pytest.mark.parametrize(
    "numbers", [lambda n: n, lambda n: 39 - n, lambda n: n * 7 % 40], ids=["0-based", "reversed", "shuffled"]
)
@pytest.mark.parametrize("workers", [1, 8])
def test_workers_may_number_their_tasks_as_they_like(db, read, numbers, workers):
    """One row each, whatever stood in for it before; a second run resets them and archives the first."""
    for count in (1, 2):
        report = run_pipeline(range(40), db, worker_fn=old_worker(numbers), workers=workers)
        assert report.done == 40
        assert read(db, "SELECT id, name, result FROM task_runs ORDER BY id") == [
            (n, f"t{n}", f"r{next(t for t in range(40) if numbers(t) == n)}") for n in range(40)
        ]
        assert read(db, "SELECT COUNT(*) FROM pipeloom_attempts") == [((count - 1) * 40,)]


class Numbered:
    def __init__(self, task_id):
        self.task_id = task_id


def test_given_numbers_keep_clear_of_explicit_ones(db, read):
    """Tasks with and without a number in one run: nobody loses a row."""
    run_pipeline([Numbered(3), "a", "b", Numbered(9), "c"], db, worker_fn=lambda *_: None, workers=1)

    assert read(db, "SELECT COUNT(*), COUNT(DISTINCT id), MIN(id) > 0 FROM task_runs") == [(5, 5, 1)]
    assert read(db, "SELECT id FROM task_runs WHERE id IN (3, 9) ORDER BY id") == [(3,), (9,)]


def test_a_silent_task_is_seen_running(db):
    """It has a row with a stand-in number until it ends."""
    seen = []

    def worker(_task, ctx):
        while not seen:
            seen.extend(ctx.query("SELECT id < 0, status FROM task_runs"))

    run_pipeline(["x"], db, worker_fn=worker)
    assert seen == [(1, "running")]


@pytest.mark.parametrize(
    "say",
    [
        lambda ctx: ctx.progress("a", 10),
        lambda ctx: ctx.progress(1, "b"),
        lambda ctx: ctx.progress("a"),
        lambda ctx: ctx.put(MsgTaskProgress(ctx.task_id, "a", 1)),
    ],
)
def test_progress_that_is_no_number_fails_its_task_only(db, read, say):
    """It has its row all the same."""
    report = pipeloom.map(lambda n, ctx: say(ctx) if n else None, [0, 1], db=db, on_error="collect")

    assert (report.done, report.failed) == (1, 1)
    assert read(db, "SELECT status FROM task_runs ORDER BY id") == [("done",), ("error",)]


def test_a_progress_message_may_be_anything(db, read):
    """It is shown as text."""
    pipeloom.map(lambda _, ctx: ctx.progress(1, 2, 5), [1], db=db)

    assert read(db, "SELECT message FROM task_runs") == [("5",)]


def test_the_outcome_counts_what_the_writer_refused_last(db, read):
    """The status is taken after the last commit, every time."""
    for _ in range(20):
        report = pipeloom.map(lambda _: object(), [1, 2], db=db, on_error="collect", name="x")
        assert report.status == "error"
    assert read(db, "SELECT DISTINCT status FROM pipeloom_runs") == [("error",)]


def test_an_error_that_a_worker_reports_has_no_exception(db):
    """Its result stays its own."""

    def worker(_task, msg_q):
        msg_q.put(MsgTaskFinished(1, "error", AT, "partial", "no luck"))

    report = run_pipeline([1], db, worker_fn=worker)
    assert [(f.exception, f.message) for f in report.failures] == [(None, "no luck")]


def test_results_that_a_worker_said_as_text_come_back_as_text(db):
    """Also from a keyed run, where results are JSON otherwise."""

    def worker(_task, msg_q):
        msg_q.put(MsgTaskFinished(1, "done", AT, "ok:x"))

    assert dict(run_pipeline(["k"], db, worker_fn=worker, key=str).results()) == {"k": "ok:x"}


def test_a_task_may_change_the_directory(tmp_path, monkeypatch):
    """A relative path means the directory in which the run began."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "elsewhere").mkdir()
    report = pipeloom.map(lambda n: os.chdir(tmp_path / "elsewhere"), range(5), db="out.db", workers=1)

    assert (tmp_path / "out.db").exists()
    assert len(list(report.results())) == 5


def run(code, tmp_path, **options):
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=50,
        **options,
    )


def test_a_child_that_a_task_forks_leaves_the_run_to_its_parent(tmp_path, read):
    """It ends where its task ends, and the parent goes on."""
    code = """
        import os, pipeloom
        def task(n):
            child = os.fork()
            if child == 0:
                return None
            return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        report = pipeloom.map(task, range(6), db="out.db", name="x", workers=2)
        print(sorted(report.results()))
    """
    done = run(code, tmp_path)
    assert done.stdout.strip() == str([(n, 0) for n in range(6)])
    assert read(tmp_path / "out.db", "SELECT COUNT(*) FROM task_runs") == [(6,)]


def test_a_run_waits_for_a_lock_at_its_beginning(db, caplog):
    """Another program's write transaction delays it, visibly; nothing is lost."""
    pipeloom.logger.propagate = True
    with closing(sqlite3.connect(db, isolation_level=None)) as other:
        other.execute("PRAGMA journal_mode = WAL")
        other.execute("CREATE TABLE theirs (n)")
        other.execute("BEGIN IMMEDIATE")
        other.execute("INSERT INTO theirs VALUES (1)")
        with ThreadPoolExecutor(1) as pool:
            run = pool.submit(pipeloom.map, abs, [1, 2], db=db, name="n")
            deadline = monotonic() + 30
            while "is locked by another process" not in caplog.text and monotonic() < deadline:
                assert not run.done()
            other.execute("COMMIT")
            assert run.result(30).done == 2
        assert other.execute("SELECT COUNT(*) FROM theirs").fetchone() == (1,)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_run_that_waits_for_a_lock_can_be_interrupted(tmp_path, db, number):
    """One signal is enough while nothing has begun; the exit code is the promised one."""
    (tmp_path / "job.py").write_text("import pipeloom\ndef main(): pipeloom.map(abs, [1], db='out.db', name='n')\n")
    with closing(sqlite3.connect(db, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        with subprocess.Popen(
            [sys.executable, "-m", "pipeloom", "run", "job.py"], cwd=tmp_path, stderr=subprocess.PIPE, text=True
        ) as process:
            assert "WARNING" in process.stderr.readline()  # that it waits
            process.send_signal(number)
            rest = process.stderr.read()
            assert "interrupted before anything started" in rest
            assert "Traceback" not in rest
        assert process.returncode == 128 + number


def test_the_third_interrupt_leaves_although_another_program_holds_the_lock(tmp_path):
    """At once, and the file is sound."""
    code = """
        import os, signal, sqlite3, threading, pipeloom
        def task(n, ctx):
            if n == 0:
                other = sqlite3.connect("out.db", isolation_level=None, check_same_thread=False)
                other.execute("BEGIN IMMEDIATE")
                for _ in range(3):
                    os.kill(os.getpid(), signal.SIGINT)
                    threading.Event().wait(0.2)
        try:
            pipeloom.map(task, range(100), db="out.db", name="x", workers=2)
        except KeyboardInterrupt as error:
            print(type(error).__name__, flush=True)
            os._exit(130)
    """
    done = run(code, tmp_path)
    assert (done.returncode, done.stdout.strip()) == (130, "RunInterruptedError")


def test_an_interrupted_command_says_what_is_done_and_how_to_go_on(tmp_path):
    """One sentence, exit code 130."""
    (tmp_path / "job.py").write_text(
        textwrap.dedent("""
        import os, signal, pipeloom
        def task(n):
            if n == 0:
                os.kill(os.getpid(), signal.SIGINT)
        def main():
            return pipeloom.map(task, range(100_000), db="out.db", workers=1)
        """)
    )
    command = [sys.executable, "-m", "pipeloom", "run", "job.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=50)

    assert done.returncode == 130
    assert "done: run it again to do the rest" in done.stderr


def test_a_number_at_the_end_of_what_fits_is_refused(db, read):
    """A row there would leave no number for the tasks of later runs; that task fails, the file stays usable."""

    def worker(task, msg_q):
        msg_q.put(MsgTaskStarted(task, "n", AT))
        msg_q.put(MsgTaskFinished(task, "done", AT))

    with pytest.raises(pipeloom.TasksFailedError, match="between"):
        run_pipeline([1, 2**63 - 1, -(2**63), 5], db, worker_fn=worker)

    assert read(db, "SELECT COUNT(*) FROM task_runs WHERE status = 'done'") == [(2,)]
    assert pipeloom.map(abs, range(20), db=db, name="n").done == 20


def test_a_file_that_has_such_rows_can_be_used(db, read):
    """Another program may have put them there."""
    run_pipeline([], db, worker_fn=lambda *_: None)
    with closing(sqlite3.connect(db)) as conn, conn:
        conn.execute("INSERT INTO task_runs (id, name, status) VALUES (9223372036854775807, 'last', 'done')")
        conn.execute("INSERT INTO task_runs (id, name, status) VALUES (-9223372036854775808, 'first', 'done')")

    assert pipeloom.map(abs, range(20), db=db, name="n").done == 20
    assert run_pipeline(range(3), db, worker_fn=lambda *_: None).done == 3
    assert read(db, "SELECT COUNT(*) FROM task_runs") == [(25,)]


def test_a_lock_that_forbids_reading_is_waited_for_too(db, caplog):
    """With a rollback journal an exclusive lock stops look-ups, queries and batches; none of them fails."""
    pipeloom.logger.propagate = True
    with closing(sqlite3.connect(db, isolation_level=None, check_same_thread=False)) as other:
        other.execute("CREATE TABLE theirs (n)")
        locked = threading.Event()

        def worker(task, ctx):
            if task == 3 and not locked.is_set():
                other.execute("BEGIN EXCLUSIVE")
                locked.set()
            if locked.wait(30):
                ctx.query("SELECT COUNT(*) FROM theirs")

        with ThreadPoolExecutor(1) as pool:
            options = {"wal": False, "durability": "off", "workers": 4, "key": str, "name": "n"}
            run = pool.submit(run_pipeline, iter(range(2000)), db, worker_fn=worker, **options)
            assert locked.wait(30)
            deadline = monotonic() + 30
            while "is locked by another process" not in caplog.text and monotonic() < deadline:
                assert not run.done()
                threading.Event().wait(0.01)
            other.execute("COMMIT")
            assert run.result(60).done == 2000


def test_a_number_that_comes_twice_makes_a_past_of_the_first(db, read):
    """In one batch as in two."""
    run_pipeline([Numbered(1), Numbered(1), Numbered(1)], db, worker_fn=lambda *_: None, workers=1)

    assert read(db, "SELECT COUNT(*) FROM task_runs") == [(1,)]
    assert read(db, "SELECT COUNT(*) FROM pipeloom_attempts") == [(2,)]


def test_a_task_that_cancels_itself_is_not_done(db):
    """So the call raises, as for any other task that did not end well."""

    def fn(item):
        raise pipeloom.TaskCancelledError("enough")

    with pytest.raises(pipeloom.TasksFailedError, match="1 of 1"):
        pipeloom.map(fn, [1], db=db, name="n")


def test_leaving_at_once_wakes_who_waits_and_keeps_the_file(tmp_path):
    """The third Ctrl-C, while another program's lock holds everything up: no thread is left waiting."""
    code = """
        import os, signal, sqlite3, threading, time
        import pipeloom
        other = sqlite3.connect("out.db", isolation_level=None, check_same_thread=False)
        other.execute("PRAGMA journal_mode = WAL")
        other.execute("CREATE TABLE theirs (n)")
        def task(n, ctx):
            if n == 5:
                other.execute("BEGIN IMMEDIATE")
                ctx.put(pipeloom.MsgWriteRows("t", {"n": 1}))
                for _ in range(3):
                    os.kill(os.getpid(), signal.SIGINT)
                    time.sleep(0.05)
            if n >= 5:
                ctx.query("SELECT 1")
        try:
            pipeloom.map(task, range(100), db="out.db", name="x", workers=4, progress=False)
        except KeyboardInterrupt as error:
            print(type(error).__name__)
        deadline = time.monotonic() + 10
        while any(t.name.startswith("pipeloom") for t in threading.enumerate()) and time.monotonic() < deadline:
            time.sleep(0.01)
        print([t.name for t in threading.enumerate() if t.name.startswith("pipeloom")])
        other.execute("COMMIT")
        print(pipeloom.map(task, range(3), db="out.db", name="x", progress=False).done >= 0)
    """
    done = run(code, tmp_path)
    assert done.stdout.split("\n")[:3] == ["RunInterruptedError", "[]", "True"]
