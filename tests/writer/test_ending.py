"""Programs that end under a run, or under a writer that nobody has told to stop: the same at any pace."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from contextlib import closing
from time import monotonic

LIMIT_S = 50

RUN = """
import atexit, sys, threading, time
import pipeloom
pace, how = float(sys.argv[1]), sys.argv[2]
begun = threading.Event()
def task(n, ctx):
    if n > 20:
        begun.set()
    ctx.write("rows", {"n": n})
    if n > 20 and how == "looks":
        for _ in ctx.track(range(10**9)):
            time.sleep(0.01)
    elif n > 20 and pace:
        time.sleep(pace)
def work():
    pipeloom.map(task, range(10**9), db="out.db", name="n", workers=3, progress=False)
    print("it must not come here")
threading.Thread(target=work, daemon=how != "waits").start()
begun.wait()
atexit.register(print, "atexit")
if how == "exits":
    sys.exit(3)
if how == "raises":
    raise ValueError("theirs")
"""

WRITERS = """
import queue, sys, threading, time
from pathlib import Path
import pipeloom
at = "2026-01-31T12:00:00+00:00"
many = threading.Barrier(5)
def produce(source, begin, pace):
    for number in range(begin, begin + 10**9, 2):
        source.put(pipeloom.MsgTaskStarted(number, f"task {number}", at))
        source.put(pipeloom.MsgTaskFinished(number, "done", at))
        if number == begin + 2 * 10:
            many.wait()
        if pace:
            time.sleep(pace)
for name, source in ("plain", queue.Queue(1000)), ("channel", pipeloom.Channel(1000)):
    pipeloom.SQLiteWriter(Path(f"{name}.db"), source).start()
    for begin, pace in (1, 0.0), (2, 0.02):
        threading.Thread(target=produce, args=(source, begin, pace), daemon=True).start()
many.wait()
"""


def test_a_run_in_a_daemon_thread_ends_with_its_program_whatever_its_pace(tmp_path):
    """Nothing more begins, the books are closed, and a task that takes an hour is not waited for."""
    ways = [
        ("0", "falls"),
        ("0.001", "exits"),
        ("0.03", "raises"),
        ("0.4", "falls"),
        ("3600", "falls"),
        ("3600", "looks"),
    ]
    began, running = monotonic(), []
    for number, words in enumerate(ways):
        place = tmp_path / str(number)
        place.mkdir()
        running.append(
            subprocess.Popen(
                [sys.executable, "-c", RUN, *words],
                cwd=place,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
        )
    for number, ((pace, how), process) in enumerate(zip(ways, running, strict=True)):
        out, err = process.communicate(timeout=LIMIT_S)
        assert (process.returncode, out) == ({"exits": 3, "raises": 1}.get(how, 0), "atexit\n"), err
        assert "the run stopped because the program ended" in err
        assert ("ValueError: theirs" in err) == ("Traceback" in err) == (how == "raises")
        with closing(sqlite3.connect(tmp_path / str(number) / "out.db")) as conn:
            assert conn.execute("SELECT status FROM pipeloom_runs").fetchall() == [("interrupted",)]
            counts = dict(conn.execute("SELECT status, COUNT(*) FROM task_runs GROUP BY status"))
            assert conn.execute("SELECT COUNT(*) FROM rows").fetchall() == [(counts.pop("done"),)]
            assert counts == ({"cancelled": 3} if pace == "3600" else {})
    assert monotonic() - began < LIMIT_S / 2


def test_writers_that_nobody_closes_end_with_their_program_whatever_is_being_said(tmp_path):
    """Two of them do not wait for each other, nor for daemons that never stop; what was said before is stored."""
    done = subprocess.run(
        [sys.executable, "-c", WRITERS],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    for name in ("plain", "channel"):
        with closing(sqlite3.connect(tmp_path / f"{name}.db")) as conn:
            assert conn.execute("SELECT COUNT(*) FROM task_runs WHERE id <= 22 AND status = 'done'").fetchone() == (
                22,
            )
            assert conn.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert not (tmp_path / f"{name}.db-wal").exists()
