"""Signals in a program of the user's: what is raised where, which handlers are called, and how the program ends."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import textwrap
import threading
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
            kept = []
            while len(kept) < 3:
                try:
                    run(f"{len(kept)}.db")
                except pipeloom.RunInterruptedError as error:
                    kept.append(error)
            print(sys.excepthook._around is sys.__excepthook__)
            kept.clear()
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
    assert wrong[:2] == (1, "True\n" * 5)
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


STOPPED = """
import signal, time
import pipeloom
from pipeloom.engine import signals

class Terminal:
    def pause(self):
        print("paused", flush=True)
    def resume(self):
        print("resumed", flush=True)

def task(n, ctx):
    if ctx.attempt == 1 and n == 2:
        raise ValueError
    signals._listening[0].region = Terminal()
    print("running", n, flush=True)
    for _ in ctx.track(range(20)):
        time.sleep(0.01)
    return ctx.remaining_s > 0

report = pipeloom.map(task, range(3), db="out.db", workers=1, timeout=1, retries=1, progress=False)
print(report.done, signal.getsignal(signal.SIGTSTP) is signal.SIG_DFL, report.elapsed_s)
"""


def test_time_stands_still_while_the_program_does(tmp_path):
    """After Ctrl-Z and after `kill -STOP`: no try is timed out. The terminal is given back, and taken again."""
    said = []
    with subprocess.Popen(
        [sys.executable, "-c", STOPPED], cwd=tmp_path, stdout=subprocess.PIPE, text=True, process_group=0
    ) as process:
        for n, number in enumerate((signal.SIGTSTP, signal.SIGSTOP)):
            while f"running {n}\n" not in said:
                said.append(process.stdout.readline())
                assert said[-1]
            process.send_signal(number)
            assert os.WIFSTOPPED(os.waitpid(process.pid, os.WUNTRACED)[1])
            threading.Event().wait(1.2)  # longer than a try may take
            process.send_signal(signal.SIGCONT)
        *more, last = process.stdout.read().splitlines(keepends=True)
    assert process.returncode == 0
    assert said + more == [f"{line}\n" for line in ("running 0", "paused", "resumed", "running 1", "running 2")]
    assert last.startswith("3 True ")
    assert float(last.split()[2]) < 2.4


def test_a_run_in_a_thread_stops_once_ctrl_c_has_ended_the_main_thread(programs, tmp_path):
    """Python waits for it, and it could not hear the signal itself. An error in the main thread ends no run."""
    thread = """
        def work():
            print(pipeloom.map(quick, range(100), db="out.db", workers=1).done)
        thread = threading.Thread(target=work)
        begun = threading.Event()
        def quick(n):
            begun.set()
            time.sleep(0.01)
        thread.start()
        begun.wait()
    """
    interrupted, failed = programs(
        (thread + "    os.kill(os.getpid(), signal.SIGINT)\n        thread.join()\n",),
        (thread + "    raise ValueError\n",),
    )
    assert interrupted[:2] == (-signal.SIGINT, "")
    assert "RunInterruptedError: interrupted after " in interrupted[2]
    assert failed[:2] == (1, "100\n")
    assert statuses(tmp_path / "0" / "out.db")[0] == "interrupted"


def test_a_request_of_a_web_server_that_waits_for_a_run_is_answered_before_the_server_ends(programs, tmp_path):
    """uvicorn shuts down in its own way; nobody waits for all inputs."""
    pytest.importorskip("uvicorn")
    ((code, out, err),) = programs(
        (
            """
            import socket, urllib.error, urllib.request
            import uvicorn
            from contextlib import asynccontextmanager
            from starlette.applications import Starlette
            from starlette.responses import PlainTextResponse
            from starlette.routing import Route
            def load(request):
                return PlainTextResponse(str(run()))
            @asynccontextmanager
            async def lifespan(app):
                yield
                print("down", flush=True)
            def ask(port):
                try:
                    urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=30)
                except urllib.error.HTTPError as error:
                    print(error.code, flush=True)
            listening = socket.create_server(("127.0.0.1", 0))
            threading.Thread(target=ask, args=listening.getsockname()[1:], daemon=True).start()
            app = Starlette(routes=[Route("/", load)], lifespan=lifespan)
            uvicorn.Server(uvicorn.Config(app, log_level="critical")).run(sockets=[listening])
            """,
            "SIGTERM",
        )
    )
    assert (code, sorted(out.split())) == (-signal.SIGTERM, ["500", "down"]), err
    assert statuses(tmp_path / "0" / "out.db")[0] == "interrupted"


def test_a_run_in_a_thread_of_an_asyncio_program_hears_signals_through_its_loop(programs, tmp_path):
    """The first drains it. asyncio's own handler, and those of the user's loop, do what they do without us."""
    main = """
        async def main():
            try:
                return await asyncio.to_thread(run)
            finally:
                print("finally", signal.getsignal(signal.SIGTERM) is signal.SIG_DFL)
    """
    interrupted, terminated, told, again = programs(
        (main + "    asyncio.run(main())\n", "SIGINT"),
        (main + "    asyncio.run(main())\n", "SIGTERM"),
        (
            """
            async def main():
                told = asyncio.Event()
                asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, told.set)
                done = await asyncio.gather(*[load(f"{n}.db") for n in range(3)])
                await told.wait()
                print(done)
            async def load(db):
                try:
                    await asyncio.to_thread(run, db)
                except pipeloom.RunInterruptedError as error:
                    return error.signal
            asyncio.run(main())
            """,
            "SIGTERM",
        ),
        (
            """
            async def quick():
                theirs = signal.getsignal(signal.SIGINT)
                await asyncio.to_thread(pipeloom.map, abs, range(3), db="out.db", progress=False)
                return theirs is signal.getsignal(signal.SIGINT) is not signal.default_int_handler
            print(asyncio.run(quick()))
            async def left():
                begun = asyncio.Event()
                loop = asyncio.get_running_loop()
                def waits(n):
                    loop.call_soon_threadsafe(begun.set)
                    time.sleep(0.05)
                run = lambda: pipeloom.map(waits, range(3), db="out.db", progress=False)
                loop.run_in_executor(None, run)
                await begun.wait()
            asyncio.run(left())
            print(signal.getsignal(signal.SIGINT) is signal.default_int_handler)
            print(signal.getsignal(signal.SIGTERM) is signal.SIG_DFL)
            """,
            "SIGINT",
        ),
    )
    assert interrupted[:2] == (-signal.SIGINT, "finally False\n")  # its thread goes on until it has drained
    assert interrupted[2].endswith("KeyboardInterrupt\n")
    assert terminated[:2] == (143, "finally True\n")
    assert terminated[2].startswith("pipeloom: interrupted after ")
    assert terminated[2].count("\n") == 1
    assert told == (0, "[15, 15, 15]\n", "")
    assert again == (0, "True\nTrue\nTrue\n", "")
    for number, name in (0, "out"), (1, "out"), (2, "0"), (2, "1"), (2, "2"):
        assert statuses(tmp_path / str(number) / f"{name}.db")[0] == "interrupted"
