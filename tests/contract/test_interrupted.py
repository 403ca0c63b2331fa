"""A run that is interrupted or killed, with real processes and signals.

It gives the handlers back, records what ran, leaves no row running; a second call does the rest.
"""

from __future__ import annotations

import signal

import pytest

COUNT = 60

# Task 1 says that it runs, then waits for the signal to have come (Python writes its number into a pipe). The
# others take a moment each, so that most of them are still to be done when the run has heard of it.
PROGRAM = f"""
import os, signal, time
from pathlib import Path
from pipeloom import MsgTaskFinished, MsgTaskStarted, MsgWriteRows, TaskDef, run_pipeline

arrived, end = os.pipe()
os.set_blocking(end, False)
NAMES = ("SIGINT", "SIGTERM")

def before(number, frame):
    print("handler", flush=True)

def worker(task, msg_q):
    msg_q.put(MsgTaskStarted(task.task_id, task.name, "2026-01-31T12:00:00+00:00"))
    if os.environ.get("WAIT"):
        if task.task_id == 1:
            deadline = time.monotonic() + 20
            while not msg_q.query("SELECT 1 FROM task_runs WHERE name = 'task-1' AND status = 'running'"):
                assert time.monotonic() < deadline, "its row does not say that it runs"
            print("running", flush=True)
            os.read(arrived, 1)
        time.sleep(0.02)
    msg_q.write("mine", {{"n": task.task_id}})
    msg_q.put(MsgTaskFinished(task.task_id, "done", "2026-01-31T12:00:01+00:00", "ok"))

def call(**options):
    signal.set_wakeup_fd(end)
    tasks = [TaskDef(n, f"task-{{n}}") for n in range(1, {COUNT} + 1)]
    return run_pipeline(tasks, Path("out.db"), workers=2, worker_fn=worker, **options)

def main():
    given = {{name: signal.getsignal(getattr(signal, name)) for name in NAMES}}
    try:
        return call(key=lambda task: task.task_id, resume=True)
    finally:
        found = {{name: signal.getsignal(getattr(signal, name)) for name in NAMES}}
        print("restored" if found == given else "changed", flush=True)

def numbered():
    return call()

def own():
    signal.signal(signal.SIGINT, before)
    signal.signal(signal.SIGTERM, before)
    try:
        main()
    except KeyboardInterrupt:
        print("interrupted", flush=True)
    os.kill(os.getpid(), signal.SIGINT)
"""

TASKS = "SELECT status, COUNT(*) FROM task_runs GROUP BY status"


@pytest.fixture
def interrupt(child, tmp_path, monkeypatch):
    """Call a function of the program, send a signal while task 1 runs, wait for the end."""
    (tmp_path / "program.py").write_text(PROGRAM)

    def interrupting(function, *signals):
        with monkeypatch.context() as patch:
            patch.setenv("WAIT", "1")
            process = child("-m", "pipeloom", "run", f"program.py:{function}")
        assert process.stdout.readline() == "running\n", process.stderr.read()
        for number in signals:
            process.send_signal(number)
        out, err = process.communicate(timeout=20)
        return process.returncode, out, err

    return interrupting


@pytest.fixture
def again(child):
    """Call it once more, and let it end."""

    def calling(function):
        process = child("-m", "pipeloom", "run", f"program.py:{function}")
        out, err = process.communicate(timeout=20)
        assert process.returncode == 0, err
        return out

    return calling


def check_sound(db, read):
    """Nothing is left running, what ran is recorded, rows and done marks agree; returns how many are done."""
    counts = dict(read(db, TASKS))
    done = counts.get("done", 0)
    assert read(db, "PRAGMA integrity_check") == [("ok",)]
    assert "running" not in counts
    assert "queued" not in counts
    assert 1 <= done < COUNT
    assert ("done",) in read(db, "SELECT status FROM task_runs WHERE name = 'task-1'")
    assert read(db, "SELECT COUNT(*) FROM mine") == [(done,)]
    assert read(db, "SELECT COUNT(*) FROM task_runs WHERE finished_at IS NULL") == [(0,)]
    assert read(db, "SELECT COUNT(*) FROM pipeloom_runs WHERE status = 'running'") == [(0,)]
    return done


def check_complete(db, read):
    """Every task is done and every row is there once."""
    assert read(db, TASKS) == [("done", COUNT)]
    assert read(db, "SELECT COUNT(*), COUNT(DISTINCT n) FROM mine") == [(COUNT, COUNT)]


def test_sigint_ends_the_run_soundly_and_a_second_call_does_the_rest(interrupt, again, db, read):
    """Exit code 130, handlers restored, the running tasks recorded."""
    code, out, err = interrupt("main", signal.SIGINT)
    done = check_sound(db, read)

    assert code == 130, err
    assert "restored" in out
    assert "Traceback" not in err
    assert f"{COUNT - done:,} done" in again("main")
    check_complete(db, read)


def test_sigterm_ends_the_run_soundly_and_then_the_process(interrupt, again, db, read):
    """It dies of the signal, as without us, but not before all is recorded."""
    code, _, err = interrupt("main", signal.SIGTERM)
    check_sound(db, read)

    assert code in (-signal.SIGTERM, 128 + signal.SIGTERM), err
    again("main")
    check_complete(db, read)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["SIGINT", "SIGTERM"])
def test_a_run_by_numbers_is_recorded_too(interrupt, again, db, read, number):
    """Without keys a second call runs all again: the same rows, none left over."""
    code, _, err = interrupt("numbered", number)
    check_sound(db, read)

    assert code != 0, err
    again("numbered")
    assert read(db, TASKS) == [("done", COUNT)]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["SIGINT", "SIGTERM"])
def test_the_programs_own_handlers_come_back(interrupt, db, read, number):
    """They are the ones in force after the run, and hear of later signals."""
    code, out, err = interrupt("own", number)
    check_sound(db, read)

    assert code == 0, err
    told = out.split()
    assert told.index("restored") < told.index("interrupted")
    assert told[-1] == "handler"


def test_a_killed_run_leaves_no_row_running_for_ever(interrupt, again, db, read):
    """The next run on the file closes its books, and does the rest."""
    code, _, _ = interrupt("main", signal.SIGKILL)
    assert code == -signal.SIGKILL
    again("main")

    check_complete(db, read)
    assert read(db, "SELECT status FROM pipeloom_runs ORDER BY id") == [("interrupted",), ("done",)]


def test_a_killed_run_is_closed_by_a_run_of_other_tasks_too(interrupt, child, db, read):
    """Its rows become interrupted; they are not running, and not lost."""
    interrupt("main", signal.SIGKILL)
    assert "running" in dict(read(db, TASKS))
    other = child("-m", "pipeloom", "demo", "--db", db, "-n", "0")
    other.communicate(timeout=20)

    counts = dict(read(db, TASKS))
    assert "running" not in counts
    assert counts["interrupted"] >= 1
