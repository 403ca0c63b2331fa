"""The processes that a process has started: which they are, their memory, whether they are alive (Linux)."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PROC = Path("/proc")


def descendants(pid: int) -> set[int]:
    """Return all descendants of a process, as the kernel lists them."""
    found: set[int] = set()
    for children in PROC.glob(f"{pid}/task/*/children"):
        try:
            below = {int(word) for word in children.read_text().split()}
        except OSError:  # a thread that has ended in the meantime
            continue
        found |= below.union(*map(descendants, below))
    return found


def alive(pid: int) -> bool:
    """Return whether a process is running; a zombie is not."""
    try:
        return (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def peak(pid: int) -> float:
    """Return the peak memory of a process so far, in MiB; 0 if it is gone."""
    try:
        lines = (PROC / str(pid) / "status").read_text().splitlines()
    except OSError:
        return 0.0
    return sum(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))


@contextmanager
def peaks() -> Iterator[dict[int, float]]:
    """Fill a dictionary of process → peak memory in MiB, for this process and all its descendants.

    They are checked twenty times a second, since the memory of a process cannot be read after its end.
    """
    found: dict[int, float] = {}
    ended = threading.Event()

    def look() -> None:
        for pid in {os.getpid(), *descendants(os.getpid())}:
            found[pid] = max(found.get(pid, 0.0), peak(pid))

    def watch() -> None:
        while not ended.wait(0.05):
            look()

    watching = threading.Thread(target=watch)
    watching.start()
    try:
        yield found
        look()
    finally:
        ended.set()
        watching.join()
