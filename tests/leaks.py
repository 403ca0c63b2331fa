"""What a test leaves behind: threads, processes, connections and open files."""

from __future__ import annotations

import functools
import gc
import os
import sqlite3
import threading
from pathlib import Path
from time import monotonic, sleep
from typing import Any, Final

__all__ = ["Leaks", "unnamed_in"]

_PATIENCE_S: Final = 5.0
_DESCRIPTORS: Final = Path("/proc/self/fd")  # Linux's
_THREADS: Final = Path("/proc/self/task")

# Connections are noted as they are opened: to look for them among all objects takes a tenth of a second, twice a
# test. They are held, since no weak reference to one can be made; so one that is dropped without being closed is
# found, too. An audit hook would see them as well, but with one Python 3.11 fails to start traced threads ("Cannot
# install a trace function while another trace function is being installed"), and coverage traces.
_opened: Final[list[sqlite3.Connection]] = []
_connect: Final = sqlite3.connect


@functools.wraps(_connect)
def _noting(*arguments: Any, **options: Any) -> sqlite3.Connection:
    conn = _connect(*arguments, **options)
    _opened.append(conn)
    return conn


sqlite3.connect = _noting


class Leaks:
    """Tells what is there now and was not when it was made."""

    def __init__(self) -> None:
        self._threads = set(threading.enumerate())
        self._descriptors = _descriptors()
        self._children = set(_children())
        self._opened_before = len(_opened)

    def found(self) -> list[str]:
        """Name what is left; waits up to five seconds for what is about to end."""
        deadline = monotonic() + _PATIENCE_S
        for thread in set(threading.enumerate()) - self._threads:
            thread.join(max(0.0, deadline - monotonic()))
        opened = _opened[self._opened_before :]
        del _opened[self._opened_before :]
        return [
            *(f"the thread {thread.name}" for thread in set(threading.enumerate()) - self._threads),
            *(f"the process {command}" for command in self._left_children(deadline)),
            *("an open connection" for conn in opened if _is_open(conn)),
            *(f"descriptor {number}, {target}" for number, target in self._left_descriptors(deadline)),
        ]

    def _left_children(self, deadline: float) -> list[str]:
        """A process that was told to leave takes a moment."""
        while (left := _children()) and left.keys() - self._children and monotonic() < deadline:
            sleep(0.01)
        return [command for pid, command in left.items() if pid not in self._children]

    def _left_descriptors(self, deadline: float) -> list[tuple[int, str]]:
        """A server in this process closes a connection when it hears that the client has, a moment later."""
        if _descriptors() - self._descriptors:
            gc.collect()  # what only a cycle still holds, Python closes and warns of, which fails the test as well
        while (left := _descriptors() - self._descriptors) and monotonic() < deadline:
            sleep(0.01)
        return sorted(left)


def _is_open(conn: sqlite3.Connection) -> bool:
    try:
        _ = conn.in_transaction
    except sqlite3.ProgrammingError:
        return False
    return True


def unnamed_in(directory: Path) -> int:
    """Return how many files without a name this process has open in a directory; Linux says so."""
    return sum(target.startswith(f"{directory}/") and target.endswith(" (deleted)") for _, target in _descriptors())


def _descriptors() -> set[tuple[int, str]]:
    """Return what is open, with its number; nothing where the system does not say."""
    found = set()
    for name in os.listdir(_DESCRIPTORS) if _DESCRIPTORS.exists() else ():
        try:
            target = os.readlink(_DESCRIPTORS / name)
        except OSError:  # the one that read the directory
            continue
        found.add((int(name), target))
    return found


def _children() -> dict[int, str]:
    """Return the processes that this one has started and that run; nothing where the system does not say."""
    found = {}
    for thread in os.listdir(_THREADS) if _THREADS.exists() else ():
        try:
            numbers = (_THREADS / thread / "children").read_text().split()
        except OSError:  # the thread has ended, or this kernel does not list them
            continue
        for number in numbers:
            place = Path("/proc", number)
            try:
                state = place.joinpath("stat").read_text().rpartition(")")[2].split()[0]
                command = place.joinpath("cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue
            if state not in "ZX":  # a zombie: whoever started it is about to ask how it ended
                found[int(number)] = f"{number} {command}"
    return found
