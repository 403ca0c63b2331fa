"""Signals in a program of the user's: what is raised where, which handlers are called, and how the program ends."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
import textwrap
from contextlib import closing

import pytest

LIMIT_S = 50

TASK = """
import asyncio, atexit, os, signal, sys, threading, time
import pipeloom

def task(n, ctx):
    if n == 5:
        os.kill(os.getpid(), getattr(signal, sys.argv[1]))
        while not ctx._link._writer.is_alive():
            pass
    if n > 50:
        time.sleep(0.01)
    return n

def run(db="out.db", **options):
    return pipeloom.map(task, range(100_000), db=db, name="n", workers=2, progress=False, **options)
"""


@pytest.fixture
def programs(tmp_path):
    """Start all programs of a test at once; return, for each, its exit code, stdout and stderr."""

    def started(*each):
        running = []
        for number, (code, *words) in enumerate(each):
            place = tmp_path / str(number)
            place.mkdir()
            (place / "program.py").write_text(TASK + textwrap.dedent(code))
            running.append(
                subprocess.Popen(
                    [sys.executable, "program.py", *words],
                    cwd=place,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    text=True,
                )
            )
        ended = []
        for process in running:
            try:
                out, err = process.communicate(timeout=LIMIT_S)
            finally:
                process.kill()
            ended.append((process.returncode, out, err))
        return ended

    return started


def statuses(db):
    """Return the status of the run, and of its tasks."""
    with closing(sqlite3.connect(db)) as conn:
        (run,) = conn.execute("SELECT status FROM pipeloom_runs ORDER BY id DESC LIMIT 1").fetchone()
        return run, dict(conn.execute("SELECT status, COUNT(*) FROM task_runs GROUP BY status"))


def test_a_script_that_does_not_catch_it_ends_with_one_line_and_the_code_of_the_signal(programs, tmp_path):
    """By way of `finally` and `atexit`; a hook of the user's speaks instead of ours, and has all other errors."""
    ends = """
        atexit.register(print, "atexit")
        try:
            run()
        finally:
            print("finally")
    """
    hook = """
        def theirs(kind, error, where):
            print("theirs", kind.__name__, error.signal, error.report.done > 0)
        sys.excepthook = theirs
    """
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    *plain, hooked, wrong = programs(
        *[(ends, number.name) for number in numbers],
        (hook + ends, "SIGTERM"),
        (
            """
            try:
                run()
            except pipeloom.RunInterruptedError:
                print(sys.excepthook is not sys.__excepthook__)
            print(sys.excepthook is sys.__excepthook__)
            print(signal.getsignal(signal.SIGTERM) is signal.SIG_DFL)
            raise ValueError("another")
            """,
            "SIGTERM",
        ),
    )
    for number, (code, out, err) in zip(numbers, plain, strict=True):
        assert (code, out) == (128 + number, "finally\natexit\n"), err
        assert err.startswith("pipeloom: interrupted after ")
        assert err.endswith(" done: run it again to do the rest (out.db)\n")
        assert err.count("\n") == 1
    assert hooked == (143, "finally\ntheirs RunInterruptedError 15 True\natexit\n", "")
    assert wrong[:2] == (1, "True\nTrue\nTrue\n")
    assert wrong[2].endswith("ValueError: another\n")
    assert statuses(tmp_path / "0" / "out.db")[0] == "interrupted"


def test_handlers_of_the_users_are_called_at_once_and_what_they_raise_is_raised_by_map(programs):
    """What is ignored stays so, and what the user sets meanwhile stays."""
    kept, raising = programs(
        (
            """
            heard = []
            theirs = lambda number, frame: heard.append(number)
            signal.signal(signal.SIGTERM, theirs)
            try:
                run()
            except pipeloom.RunInterruptedError as error:
                print(error.signal, error.exit_code, heard, signal.getsignal(signal.SIGTERM) is theirs)
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            print(pipeloom.map(task, range(6), db="ignored.db", progress=False).done)
            def once(number, frame):
                signal.signal(number, signal.SIG_IGN)
            signal.signal(signal.SIGTERM, once)
            try:
                run("third.db")
            except pipeloom.RunInterruptedError:
                print(signal.getsignal(signal.SIGTERM) is signal.SIG_IGN)
            """,
            "SIGTERM",
        ),
        (
            """
            class Stopped(Exception):
                pass
            def theirs(number, frame):
                raise Stopped(number)
            signal.signal(signal.SIGINT, theirs)
            try:
                run()
            except Stopped as error:
                print(error, type(error.__cause__).__name__, error.__cause__.report.done > 0)
            """,
            "SIGINT",
        ),
    )
    assert kept == (0, "15 143 [15] True\n6\nTrue\n", "")
    assert raising == (0, "2 RunInterruptedError True\n", "")


def test_every_run_of_the_program_hears_of_it(programs, tmp_path):
    """One in the main thread, one in a task of it, and one in another thread: none goes on for hours."""
    ((code, out, err),) = programs(
        (
            """
            def inner(n):
                time.sleep(0.01)
            def outer(n):
                if n:
                    while not os.path.exists("inner.db"):
                        time.sleep(0.01)
                    while not signalled.is_set():
                        time.sleep(0.01)
                else:
                    pipeloom.map(slow, range(10_000), db="inner.db", workers=1, progress=False)
            def slow(n):
                if n == 3:
                    os.kill(os.getpid(), signal.SIGTERM)
                    signalled.set()
                time.sleep(0.01)
            signalled = threading.Event()
            def in_a_thread():
                try:
                    pipeloom.map(inner, range(10_000), db="thread.db", workers=1, progress=False)
                except pipeloom.RunInterruptedError as error:
                    print("thread", error.signal)
            thread = threading.Thread(target=in_a_thread)
            thread.start()
            try:
                pipeloom.map(outer, range(2), db="outer.db", workers=2, progress=False)
            except pipeloom.RunInterruptedError as error:
                print("main", error.report.done, error.report.cancelled, error.report.failed)
            thread.join()
            """,
            "SIGTERM",
        )
    )
    assert (code, sorted(out.splitlines()), err) == (0, ["main 1 1 0", "thread 15"], "")
    assert statuses(tmp_path / "0" / "inner.db")[0] == "interrupted"
