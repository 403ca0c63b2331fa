"""Starts worker processes, and ends them: each a Python of its own, which leads its own process group.

They are started anew, never forked: a fork beside a thread that holds a lock leaves a child in which it is held for
ever. A group of its own keeps a typed Ctrl-C from them, and lets a worker be ended with all that it has started.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import weakref
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from time import monotonic, sleep
from typing import Final

import pipeloom
from pipeloom.executors.processes.page import WHERE, Page, new_file
from pipeloom.executors.processes.pipe import Pipe

__all__ = ["WorkerProcess"]

_HOME: Final = str(Path(pipeloom.__file__).parent.parent)
# The program's own `__main__` takes the place of this one, so it must have no names that could be taken for its.
_CODE: Final = (
    "__import__('sys').path.append({home!r}); "
    "__import__('pipeloom.executors.processes.child', fromlist=['run']).run({fds}, {parent})"
)
_STDERR: Final = 2
_LAST_WORDS: Final = 16 * 1024  # bytes
_WHERE_S: Final = 0.05  # how long a worker gets to say where it is
_GLANCE_S: Final = 0.002
_PAGE: Final = os.sysconf("SC_PAGE_SIZE")


class WorkerProcess:
    """One worker process; owned by one thread, but any thread may kill it.

    Raises:
        OSError: The system refuses: no memory, no descriptors, no more processes.
    """

    def __init__(self) -> None:
        with ExitStack() as on_failure, ExitStack() as after:
            missing = after.enter_context(_standard_streams_kept_free())
            ours, theirs = socket.socketpair()
            on_failure.callback(ours.close)
            after.callback(theirs.close)
            memory = new_file()
            after.callback(os.close, memory)
            self._last_words = new_file()
            on_failure.callback(os.close, self._last_words)
            self.page = Page(memory)
            on_failure.callback(self.page.close)
            theirs_alive, self._alive = os.pipe()  # see `child`: its other end is closed when this process ends
            after.callback(os.close, theirs_alive)
            on_failure.callback(os.close, self._alive)
            fds = theirs.fileno(), memory, self._last_words, theirs_alive
            code = _CODE.format(home=_HOME, fds=", ".join(map(str, fds)), parent=os.getpid())
            self._process = subprocess.Popen(
                [sys.executable, *_flags(), "-P", "-c", code],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL if sys.__stdout__ is None or 1 in missing else None,
                stderr=subprocess.DEVNULL if sys.__stderr__ is None or 2 in missing else None,
                pass_fds=fds,
                process_group=0,
            )
            on_failure.pop_all()
        self.pid = self._process.pid
        self.pipe = Pipe(ours)
        self._ending = threading.Lock()
        _known.add(self)
        self._is_closed = False

    def let_go(self) -> None:
        """Close what a forked child of the run has of it: a worker lives as long as anybody holds those ends."""
        if not self._is_closed:
            os.close(self._alive)
            self.pipe.close()
            self._is_closed = True

    def has_ended(self) -> bool:
        """Say whether it has; its process number is kept until ``close``, so that nobody else can have it."""
        if self._process.returncode is not None:
            return True
        if not hasattr(os, "waitid"):  # macOS before Python 3.13
            return self._process.poll() is not None
        try:
            return os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
        except ChildProcessError:  # somebody waits for all children of this program
            return True

    def wait(self, patience_s: float) -> bool:
        """Wait for its end, at most so many seconds; says whether it has ended."""
        until = monotonic() + patience_s
        while not self.has_ended():
            if monotonic() > until:
                return False
            sleep(_GLANCE_S)
        return True

    def kill(self) -> None:
        """End it at once, and what it has started in its group; any thread. Once it is closed this does nothing."""
        with self._ending:
            if not self._is_closed:
                try:
                    os.killpg(self.pid, signal.SIGKILL)
                except (ProcessLookupError, PermissionError):
                    pass  # it has ended by itself

    def size_mb(self) -> float:
        """Return how much memory it takes, in MiB; 0 where the system does not say."""
        try:
            with open(f"/proc/{self.pid}/statm", encoding="ascii") as file:
                return int(file.read().split()[1]) * _PAGE / 2**20
        except (OSError, IndexError, ValueError):
            return 0.0

    def where(self) -> str:
        """Return where its task is, as Python's faulthandler says it; any thread, before ``close``. Waits 50 ms."""
        before = self.last_words()
        try:
            os.kill(self.pid, WHERE)
        except OSError:
            return ""
        until = monotonic() + _WHERE_S
        found = before
        while monotonic() < until:
            sleep(_GLANCE_S)
            said = self.last_words()
            if said != before and said == found:
                break
            found = said
        return found[len(before) :]

    def last_words(self) -> str:
        """Return what Python has said of how it was ended: empty, unless it crashed, or was asked."""
        return os.pread(self._last_words, _LAST_WORDS, 0).split(b"\0", 1)[0].decode(errors="replace")

    def close(self, patience_s: float) -> int:
        """Wait for its end, kill what is left, and let go of all that belongs to it; its owner.

        Args:
            patience_s: How long it gets to end by itself, in seconds.

        Returns:
            How it ended: what it exited with, or, less than 0, minus the number of the signal.
        """
        self.wait(patience_s)
        self.kill()
        with self._ending:
            self._is_closed = True
            code = self._process.wait()
        self.pipe.close()
        self.page.close()
        os.close(self._last_words)
        os.close(self._alive)
        return code


_known: weakref.WeakSet[WorkerProcess] = weakref.WeakSet()


def _let_go_of_all() -> None:
    for worker in list(_known):
        worker.let_go()


os.register_at_fork(after_in_child=_let_go_of_all)


@contextmanager
def _standard_streams_kept_free() -> Iterator[list[int]]:
    """Let nothing that is opened in here get the number of a standard stream that the program was started without.

    What somebody writes to such a number would be written to a worker, or into its memory. Gives those numbers.
    """
    missing: list[int] = []
    try:
        while (number := os.open(os.devnull, os.O_RDWR)) <= _STDERR:
            missing.append(number)
        os.close(number)
        yield missing
    finally:
        for number in missing:
            os.close(number)


def _flags() -> list[str]:
    """Return the options with which this interpreter was started, such as -W and -X; as multiprocessing does."""
    return list(subprocess._args_from_interpreter_flags())  # type: ignore[attr-defined]  # noqa: SLF001
