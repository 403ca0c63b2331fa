"""Starts and ends worker processes: each is a new Python interpreter that leads its own process group.

They are never forked: a fork while another thread holds a lock leaves a child in which it is held for ever. Having
its own group keeps a typed Ctrl-C from a worker, and allows killing it together with everything that it has
started.
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
# The program's own `__main__` replaces this one, so this code must not define any names.
_CODE: Final = (
    "__import__('sys').path.append({home!r}); "
    "__import__('pipeloom.executors.processes.child', fromlist=['run']).run({fds}, {parent})"
)
_STDERR: Final = 2
_LAST_WORDS: Final = 16 * 1024  # bytes
_WHERE_S: Final = 0.05  # how long a worker has to write down where it is
_GLANCE_S: Final = 0.002
_PAGE: Final = os.sysconf("SC_PAGE_SIZE")


class WorkerProcess:
    """One worker process; owned by one thread, but any thread may kill it.

    Raises:
        OSError: The system refuses: out of memory, file descriptors or processes.
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
        """Close the copies in a forked child of the run: a worker lives as long as any process holds those ends."""
        if not self._is_closed:
            os.close(self._alive)
            self.pipe.close()
            self._is_closed = True

    def has_ended(self) -> bool:
        """Return whether it has ended; its process id stays reserved until ``close``, so that it is not reused."""
        if self._process.returncode is not None:
            return True
        if not hasattr(os, "waitid"):  # macOS before Python 3.13
            return self._process.poll() is not None
        try:
            return os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
        except ChildProcessError:  # other code in this program waits for all child processes
            return True

    def wait(self, patience_s: float) -> bool:
        """Wait for its end, at most ``patience_s`` seconds; return whether it has ended."""
        until = monotonic() + patience_s
        while not self.has_ended():
            if monotonic() > until:
                return False
            sleep(_GLANCE_S)
        return True

    def kill(self) -> None:
        """Kill it and everything in its process group; any thread. Has no effect once it is closed."""
        with self._ending:
            if not self._is_closed:
                try:
                    os.killpg(self.pid, signal.SIGKILL)
                except (ProcessLookupError, PermissionError):
                    pass  # it has ended by itself

    def size_mb(self) -> float:
        """Return how much memory it takes, in MiB; 0 if the system does not provide that."""
        try:
            with open(f"/proc/{self.pid}/statm", encoding="ascii") as file:
                return int(file.read().split()[1]) * _PAGE / 2**20
        except (OSError, IndexError, ValueError):
            return 0.0

    def where(self) -> str:
        """Return where its task is, as written by faulthandler; any thread, before ``close``. Waits up to 50 ms."""
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
        """Return what faulthandler has written: empty unless the process crashed or ``where`` was called."""
        return os.pread(self._last_words, _LAST_WORDS, 0).split(b"\0", 1)[0].decode(errors="replace")

    def close(self, patience_s: float) -> int:
        """Wait for its end, kill what is left, and release its resources; the owner's thread.

        Args:
            patience_s: How long it has to end by itself, in seconds.

        Returns:
            Its exit code, or, below 0, minus the number of the signal that ended it.
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
    """Reserve the numbers of standard streams that the program was started without; yield those numbers.

    Otherwise a pipe or file opened in here could get such a number, and whatever code writes to that stream would
    go to a worker, or into its memory.
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
    """Return the options that this interpreter was started with, such as -W and -X, as multiprocessing does."""
    return list(subprocess._args_from_interpreter_flags())  # type: ignore[attr-defined]  # noqa: SLF001
