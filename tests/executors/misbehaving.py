"""What tasks do to the worker process that they run in, and what they say of themselves."""

from __future__ import annotations

import ctypes
import logging
import multiprocessing
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pipeloom
from executors.cases.registry import Case

LONG_S = 60
DEEDS: dict[str, Case] = {}
HUNG = ("stops_itself", "hears_nothing", "holds_the_lock_of_pythons", "has_a_child")


def deed(function: Case) -> Case:
    """Make a function one of the deeds, under its own name."""
    DEEDS[function.__name__] = function
    return function


def name_of(item: object) -> str:
    """Return the key of an input."""
    return item if isinstance(item, str) else type(item).__name__


class Behaves:
    """The function: do what the input says, and leave a row, a log line and a result.

    Args:
        notes: A directory in which a deed may leave what it knows.
    """

    def __init__(self, notes: Path) -> None:
        self.notes = notes

    def __call__(self, item: Any, ctx: pipeloom.TaskContext) -> dict[str, Any]:
        name = name_of(item)
        ctx.write("rows", {"item": name, "attempt": ctx.attempt})
        if name in DEEDS:
            self.ctx = ctx
            DEEDS[name](self)  # type: ignore[arg-type]
        logging.getLogger("behaves").warning("done %s", name)
        return {"pid": os.getpid(), "committed": ctx.query("SELECT COUNT(*) > -1 FROM rows")[0][0]}


class Unpicklable:
    """An input that cannot be sent."""

    def __reduce__(self) -> Any:
        raise RuntimeError("not to be sent")


class Unreadable:
    """An input that cannot be read where it arrives."""

    def __reduce__(self) -> Any:
        return _unreadable, ()


def _unreadable() -> None:
    raise LookupError("not to be read")


class DeadlyToRead:
    """An input that ends the process in which it is read."""

    def __reduce__(self) -> Any:
        return os._exit, (7,)


# --- deeds that end well ---


@deed
def changes_its_process(self: Any) -> None:
    """Directory, environment, arguments, streams, signal handlers, log levels."""
    os.chdir("/")
    os.environ.clear()
    sys.stdout = sys.stderr = None  # type: ignore[assignment]
    sys.argv.clear()
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGUSR1, lambda *_: None)
    logging.getLogger("behaves").setLevel(logging.WARNING)


@deed
def is_interrupted(self: Any) -> None:
    """By itself, as by somebody who types Ctrl-C: a worker leaves that to its run."""
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(0.01)


@deed
def forks_and_returns(self: Any) -> None:
    """The child comes back as if it were the task; there it asks, which fails."""
    if (child := os.fork()) != 0:
        _, status = os.waitpid(child, 0)
        (self.notes / "returns").write_text(str(os.waitstatus_to_exitcode(status)))


@deed
def forks_and_raises(self: Any) -> None:
    """The child raises in the task's stead."""
    if (child := os.fork()) == 0:
        raise ValueError("in the child")
    _, status = os.waitpid(child, 0)
    (self.notes / "raises").write_text(str(os.waitstatus_to_exitcode(status)))


@deed
def forks_and_exits(self: Any) -> None:
    """The child leaves, having tried to say something."""
    if (child := os.fork()) == 0:
        try:
            self.ctx.write("rows", {"item": "from the child", "attempt": 0})
        except pipeloom.WriterBrokenError:
            sys.exit(5)
        sys.exit(6)
    _, status = os.waitpid(child, 0)
    (self.notes / "exits").write_text(str(os.waitstatus_to_exitcode(status)))


@deed
def prints_much(self: Any) -> None:
    """A thousand lines, from Python and from C."""
    for n in range(1000):
        print(f"line {n} of many")
    ctypes.CDLL(None).write(1, b"from C\n", 7)


@deed
def starts_a_thread_that_goes_on(self: Any) -> None:
    """And speaks for the task when that has ended."""

    def late() -> None:
        ctx = self.ctx
        try:
            while True:
                ctx.query("SELECT 1")
                time.sleep(0.001)
        except pipeloom.AttemptOverError:
            try:
                ctx.write("rows", {"item": "late", "attempt": 0})
            except pipeloom.AttemptOverError:
                (self.notes / "late").write_text("refused")

    threading.Thread(target=late, daemon=True).start()


@deed
def runs_a_run(self: Any) -> None:
    """In a file of its own."""
    report = pipeloom.map(abs, [-1, 2], db=self.notes / "nested.db", name="nested", workers=1, progress=False)
    assert dict(report.results()) == {-1: 1, 2: 2}


@deed
def logs_without_end(self: Any) -> None:
    """More than is kept in a moment."""
    for n in range(1500):
        logging.getLogger("flood").warning("line %d", n)


@deed
def has_processes_of_its_own(self: Any) -> None:
    """By the standard library."""
    process = multiprocessing.get_context("fork").Process(target=(self.notes / "process").touch)
    process.start()
    process.join()


@deed
def reads_the_file_itself(self: Any) -> None:
    """With a connection of its own, as any program may."""
    with closing(sqlite3.connect(self.notes / "out.db")) as conn:
        assert conn.execute("SELECT COUNT(*) FROM task_runs").fetchone()[0] >= 0


# --- deeds that cost a try ---


@deed
def closes_what_it_does_not_own(self: Any) -> None:
    os.closerange(3, 100)


@deed
def stops_itself(self: Any) -> None:
    os.killpg(0, signal.SIGSTOP)


@deed
def hears_nothing(self: Any) -> None:
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGALRM, signal.SIGXCPU):
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    _note_and_sleep(self, "hears_nothing")


@deed
def holds_the_lock_of_pythons(self: Any) -> None:
    ctypes.PyDLL(None).sleep(LONG_S)


@deed
def has_a_child(self: Any) -> None:
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    (self.notes / "child").write_text(str(child.pid))
    _note_and_sleep(self, "has_a_child")


def _note_and_sleep(self: Any, name: str) -> None:
    (self.notes / name).write_text(str(os.getpid()))
    time.sleep(LONG_S)


@deed
def dies_while_it_speaks(self: Any) -> None:
    """The lock of its pipe is held, and half a message under way."""

    def speak() -> None:
        while True:
            self.ctx.put(pipeloom.MsgWriteRows("floods", [{"n": n, "text": "x" * 500} for n in range(1000)]))

    for _ in range(3):
        threading.Thread(target=speak, daemon=True).start()
    time.sleep(0.05)
    os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(LONG_S)


@deed
def crashes(self: Any) -> None:
    ctypes.string_at(0)


@deed
def exits_at_once(self: Any) -> None:
    os._exit(0)


# --- results and exceptions that a naive pool hangs on ---


class RaisesWhenRead(Exception):
    """Pickled without a word; raises where it is unpickled."""

    def __init__(self, one: int, two: int) -> None:
        super().__init__(f"{one} and {two}")


@deed
def raises_what_cannot_be_read(self: Any) -> None:
    raise RaisesWhenRead(1, 2)
