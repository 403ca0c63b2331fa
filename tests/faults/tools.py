"""How many of each, which tools this machine has, and child processes that never outlive their test."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic, sleep
from typing import Any, Final, NoReturn

import pytest

FULL: Final = os.environ.get("PIPELOOM_FAULTS") == "full"
"""``make faults``: everything, rather than a sample that fits into ``make test``."""

LIMIT_S: Final = 60 if FULL else 40  # for one child process
GONE_S: Final = 10  # no process is left alive after this
HERE: Final = Path(__file__).parent
PROGRAMS: Final = HERE / "programs.py"
HOSTILE: Final = HERE / "hostile.py"
WRONG: Final = HERE / "wrong.py"

DONE, FAILED, USAGE, STORAGE, IN_USE, INTERRUPTED = 0, 1, 2, 3, 4, 130
KILLED: Final = -signal.SIGKILL


JOURNALS: Final = {True: "write-ahead log"} | ({False: "rollback journal"} if FULL else {})
"""``wal=`` → what it is, for faults that do not differ between the two: in ``make test`` the default alone."""


def amount(quick: int, full: int) -> int:
    """Return how many to try: a few in ``make test``, all of them in ``make faults``."""
    return full if FULL else quick


def sample(points: list[Any], quick: int) -> list[Any]:
    """Return all points in a full run, else about ``quick`` of them, spread evenly, the first and last included."""
    if FULL or len(points) <= quick:
        return points
    return [points[round(i * (len(points) - 1) / max(1, quick - 1))] for i in range(quick)]


def unable(reason: str) -> NoReturn:
    """Skip with the reason, or fail where every tool must be there."""
    if os.environ.get("CI"):
        pytest.fail(f"{reason}: in CI this must be possible", pytrace=False)
    pytest.skip(reason)


def need(*tools: str) -> None:
    """Skip, or fail in CI, unless these programs are installed."""
    missing = [tool for tool in tools if shutil.which(tool) is None]
    if missing:
        unable(f"not installed: {', '.join(missing)}")


def need_root() -> None:
    """Skip unless we may mount and change users."""
    if os.geteuid() != 0:
        pytest.skip("not root")


def product(function: str, *, program: Path = PROGRAMS, **arguments: object) -> list[str]:
    """Return the command that calls one of the programs as a user would."""
    words = [f"--arg={name}={value}" for name, value in arguments.items()]
    return [sys.executable, "-m", "pipeloom", "run", f"{program}:{function}", *words]


def mistaken(function: str, **arguments: object) -> list[str]:
    """Return the command that calls one of the wrong programs."""
    return [sys.executable, str(WRONG), function, *(f"{name}={value}" for name, value in arguments.items())]


def environment(**more: object) -> dict[str, str]:
    """Return our environment and more."""
    return os.environ | {name: str(value) for name, value in more.items()}


_MARK: Final = "PIPELOOM_TEST_CHILD"


class Child:
    """A process with its descendants, in a group of its own; they are known by a mark in their environment."""

    def __init__(self, command: list[str], **options: Any) -> None:
        self._mark = f"{_MARK}={uuid.uuid4()}"
        options = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | options
        options["env"] = dict(options.get("env") or os.environ) | dict([self._mark.split("=")])
        self.process: subprocess.Popen[str] = subprocess.Popen(
            command, text=True, start_new_session=True, **options
        )

    def wait(self, limit_s: float = LIMIT_S) -> tuple[int, str, str]:
        """Return exit code, output and errors; fail when it, or anything it started, is still there in time."""
        try:
            out, err = self.process.communicate(timeout=limit_s)
        except subprocess.TimeoutExpired:
            self.kill()
            out, err = self.process.communicate()
            raise AssertionError(f"still running after {limit_s} s:\n{out}\n{err}") from None
        self.assert_gone()
        return self.process.returncode, out or "", err or ""

    def assert_gone(self, limit_s: float = GONE_S) -> None:
        """Fail when a descendant, in whatever group, is still alive so long after its end."""
        deadline = monotonic() + limit_s
        while (left := self.descendants()) or _group_alive(self.process.pid):
            if monotonic() > deadline:
                self.kill()
                raise AssertionError(f"a process outlived the run by {limit_s} s: {left}")
            sleep(0.01)

    def descendants(self) -> dict[int, str]:
        """Return the processes that it has started, and theirs: number → command; Linux says so."""
        found = {}
        mark = self._mark.encode()
        for place in Path("/proc").glob("[0-9]*"):
            try:
                if mark in (place / "environ").read_bytes().split(b"\0"):
                    found[int(place.name)] = (place / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            except OSError:
                continue  # gone, a zombie, or somebody else's
        found.pop(self.process.pid, None)
        return found

    def begun(self) -> int:
        """Wait until the program says that it begins; returns its process id, which is not ours under strace."""
        assert self.process.stdout is not None
        word, _, number = self.process.stdout.readline().partition(" ")
        assert word.strip() == "begun", self.wait()
        return int(number or self.process.pid)

    def kill(self) -> None:
        """Kill it with all its descendants."""
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        for pid in self.descendants():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass

    def close(self) -> None:
        """End it, whatever it does, and close its pipes."""
        with self.process:
            self.kill()


def _group_alive(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


Start = Callable[..., Child]


@contextmanager
def children() -> Iterator[Start]:
    """Start processes that do not outlive the block."""
    started: list[Child] = []

    def start(command: list[str], **options: Any) -> Child:
        child = Child(command, **options)
        started.append(child)
        return child

    try:
        yield start
    finally:
        for child in started:
            child.close()


def until(question: Callable[[], Any], what: str, child: Child | None = None, limit_s: float = LIMIT_S) -> Any:
    """Ask again and again until the answer is true; fail when it never is, or when ``child`` ends before."""
    deadline = monotonic() + limit_s
    while not (answer := question()):
        assert child is None or child.process.poll() is None, f"ended before: {what}\n{child.wait()}"
        assert monotonic() < deadline, f"not in {limit_s} s: {what}"
        sleep(0.005)
    return answer


HOLDER = """
import sqlite3, sys, time
conn = sqlite3.connect(sys.argv[1], isolation_level=None)
conn.execute(sys.argv[2])
if sys.argv[2] == "BEGIN":
    conn.execute("SELECT COUNT(*) FROM sqlite_master").fetchall()
print("begun", flush=True)
sys.stdin.readline()
conn.execute("ROLLBACK")
conn.close()
"""


def let_go(child: Child) -> None:
    """Tell the holder to end its transaction."""
    assert child.process.stdin is not None
    child.process.stdin.write("\n")
    child.process.stdin.close()
    child.process.stdin = None
    assert child.wait()[0] == DONE


def heard(child: Child, words: str) -> str:
    """Read what the program complains of until these words come, however they are broken into lines."""
    assert child.process.stderr is not None
    text = ""
    while words not in re.sub(r"\s+", " ", text):
        line = child.process.stderr.readline()
        assert line, f"it ended without saying {words!r}:\n{text}"
        text += line
    return text
