"""Programs whose worker processes die, lie or outstay; started by ``pipeloom run crashing.py:NAME``.

A task ends its process in one of many ways, or arms its process to end, or to lie, at one point of what it says to
the run. What must be left follows from the tasks' numbers alone, as in ``programs``.
"""

from __future__ import annotations

import ctypes
import os
import random
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pipeloom
from faults.programs import Acks, say_begun
from faults.sabotage import POINTS, arm, lie, repeat

NAME = "crashing"
TABLES = {"items": {"task": int, "i": int, "text": str}, "said": {"task": int, "attempt": int}}
AGAIN = pipeloom.Retry(attempts=2, delay_s=0, on=pipeloom.WorkerDiedError)
# Until no worker is armed any more: the second attempt of one task's death must not meet the death of another.
LATER = pipeloom.Retry(attempts=2, delay_s=5, jitter=0, on=pipeloom.WorkerDiedError)


def rows_of(task: int) -> dict[str, int]:
    """Return how many rows a finished task leaves."""
    return {"items": 1 + task % 3, "parts": 0}


def write_rows(task: int, ctx: pipeloom.TaskContext, begin: int = 0) -> None:
    """Stage them, or the rest of them."""
    for i in range(begin, rows_of(task)["items"]):
        ctx.write("items", {"task": task, "i": i, "text": f"{task}/{i}"})


# --- workers that die ---


def die_by_signal(number: int) -> None:
    """By a signal, which nobody can stop."""
    os.kill(os.getpid(), number)
    time.sleep(60)


WAYS: dict[str, Callable[[], object]] = {
    "SIGKILL": partial(die_by_signal, signal.SIGKILL),
    "SIGSEGV": partial(ctypes.string_at, 0),
    "exit 3": partial(os._exit, 3),
    "exit 0": partial(os._exit, 0),
    "SIGABRT": os.abort,
    "SIGTERM": partial(die_by_signal, signal.SIGTERM),
    "its group": lambda: os.killpg(0, signal.SIGKILL),
}


def way_of(number: int) -> str:
    """Return how the n-th of the deadly tasks ends its worker."""
    return list(WAYS)[number % len(WAYS)]


def deadly_tasks(count: int, deadly: int, seed: int) -> list[int]:
    """Return which tasks end their worker at their first try."""
    return sorted(random.Random(seed).sample(range(count), deadly))


def dies(deadly: dict[int, str], task: int, ctx: pipeloom.TaskContext) -> int:
    """Write rows; end the process at the first try, if this task is one that does."""
    write_rows(task, ctx)
    if task in deadly and ctx.attempt == 1:
        WAYS[deadly[task]]()
    return task


def deaths(
    db: str, count: int, deadly: int, seed: int, workers: int = 2, retries: bool = True
) -> pipeloom.RunReport:
    """Tasks end their workers, in all ways, at random."""
    ways = {task: way_of(n) for n, task in enumerate(deadly_tasks(count, deadly, seed))}
    return pipeloom.map(
        partial(dies, ways), range(count), db=db, name=NAME, executor="processes", workers=workers,
        retries=AGAIN if retries else 0, tables=TABLES, on_error="collect", progress=False,
    )  # fmt: skip


def naps(noted: Acks, task: int, ctx: pipeloom.TaskContext) -> int:
    """Take a moment."""
    write_rows(task, ctx)
    time.sleep(0.002)
    noted.write([task])
    return task


def killed_from_outside(db: str, acks: str, count: int) -> pipeloom.RunReport:
    """Somebody else kills workers."""
    say_begun()
    return pipeloom.map(
        partial(naps, Acks(acks)), range(count), db=db, name=NAME, executor="processes", workers=2, retries=AGAIN,
        tables=TABLES, progress=False,
    )  # fmt: skip


def grows(task: int, ctx: pipeloom.TaskContext) -> int:
    """Take much memory, in one of them."""
    write_rows(task, ctx)
    if task == 5:
        held = bytearray()
        while True:
            held += b"x" * 2**24
            time.sleep(0.001)
    return task


def without_memory(db: str) -> pipeloom.RunReport:
    """One task leaks."""
    return pipeloom.map(
        grows, range(40), db=db, name=NAME, executor="processes", workers=2, memory_mb=300, tables=TABLES,
        on_error="collect", progress=False,
    )  # fmt: skip


# --- workers that die, lie and repeat themselves at one point of what they say ---


_at = -1  # the task that runs here, or ran last


def arms(noted: Acks, step: int, task: int, ctx: pipeloom.TaskContext) -> int:
    """Say everything that there is to say; the first tasks first arm their process to end at one point."""
    global _at
    _at = task
    begin = 0 if ctx.state is None else ctx.state
    points = POINTS[::step]
    if task % 8 == 0 and task // 8 < len(points) and ctx.attempt == 1:
        point = points[task // 8]
        arm(point, lambda: noted.write([f"{_at}:{point[0]}"]))
    ctx.progress(1, 2, f"task {task}")
    ctx.put(pipeloom.MsgWriteRows("said", {"task": task, "attempt": ctx.attempt}))
    ctx.query("SELECT 1")
    if begin == 0:
        ctx.write("items", {"task": task, "i": 0, "text": f"{task}/0"})
        ctx.checkpoint(1)
    write_rows(task, ctx, 1)
    if task % 16 == 8:
        ctx.write("padding", {"task": task, "body": bytes(200_000)})
    return task


def points(db: str, acks: str, step: int) -> pipeloom.RunReport:
    """Workers end at every point of what they say, or at each so many-th."""
    return pipeloom.map(
        partial(arms, Acks(acks), step), range(8 * len(POINTS[::step]) + 40), db=db, name=NAME,
        executor="processes", workers=2, retries=LATER, tables=TABLES, on_error="collect", progress=False,
    )  # fmt: skip


def lies(bait: str, armed: int, task: int, ctx: pipeloom.TaskContext) -> int:
    """Say all there is to say; the first tasks first arm their process to damage what it says."""
    if task % 4 == 0 and task // 4 < armed:
        lie(task, bait)
    ctx.progress(1, 2, f"task {task}")
    ctx.put(pipeloom.MsgWriteRows("said", {"task": task, "attempt": ctx.attempt}))
    ctx.query("SELECT 1")
    ctx.write("many", [{"task": task, "n": n, "text": f"{n}" * 9} for n in range(400 * (task % 3))])
    write_rows(task, ctx)
    return task


def lying(db: str, bait: str, armed: int, seed: int) -> pipeloom.RunReport:
    """Workers say what is damaged, made up, or a trap."""
    first = seed * armed * 4
    return pipeloom.map(
        partial(lies, bait, first // 4 + armed), range(first, first + armed * 4 + 20), db=db, name=NAME,
        executor="processes", workers=2, tables=TABLES, on_error="collect", timeout=3, progress=False,
    )  # fmt: skip


def repeats(task: int, ctx: pipeloom.TaskContext) -> int:
    """Say each thing twice, and old things again."""
    repeat()
    if task % 10 == 3 and ctx.attempt == 1:
        raise pipeloom.WorkerDiedError("so that it is tried anew")
    write_rows(task, ctx)
    return task


def repeating(db: str, count: int = 200) -> pipeloom.RunReport:
    """Every outcome comes twice, at once and late."""
    return pipeloom.map(
        repeats, range(count), db=db, name=NAME, executor="processes", workers=2, retries=AGAIN, tables=TABLES,
        progress=False,
    )  # fmt: skip


# --- workers that would outlive their run ---


def stays(noted: Acks, what: str, _ctx: pipeloom.TaskContext) -> None:
    """Never end, and hear nothing."""
    if what == "deaf":
        for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
            try:
                signal.signal(number, signal.SIG_IGN)
            except OSError:
                pass
    if what == "parent":
        code = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'import time; time.sleep(60)'])"
        subprocess.Popen([sys.executable, "-c", code])
    if what == "forking" and os.fork() == 0:
        time.sleep(60)
        os._exit(0)
    noted.write([what.replace(" ", "-")])
    if what == "computing":
        while True:
            sum(range(1000))
    elif what == "in C":
        ctypes.CDLL(None).sleep(60)
    elif what == "in C, with the lock of Python's":
        ctypes.PyDLL(None).sleep(60)
    elif what == "in a regular expression":
        re.match(r"(a+)+$", "a" * 60 + "b")
    elif what == "stopped":
        os.kill(os.getpid(), signal.SIGSTOP)
    time.sleep(60)


STAYING = (
    "in C, with the lock of Python's", "parent", "in a regular expression", "sleeping", "deaf", "forking",
    "computing", "in C", "stopped",
)  # fmt: skip
"""What they do; the hardest to end come first."""


def staying(db: str, acks: str, count: int, forks: bool = False) -> pipeloom.RunReport:
    """Workers that do all that; perhaps beside a fork of the run's process, which has copies of all that it has."""
    say_begun()
    if forks:
        threading.Thread(target=fork_later, args=(acks, count), daemon=True).start()
    return pipeloom.map(
        partial(stays, Acks(acks)), STAYING[:count], db=db, name=NAME, executor="processes", workers=count,
        progress=False,
    )  # fmt: skip


def fork_later(acks: str, count: int) -> None:
    """Fork once all have begun, and note that."""
    while not os.path.exists(acks) or len(Path(acks).read_text().split()) < count:
        time.sleep(0.01)
    if (child := os.fork()) == 0:
        time.sleep(60)
        os._exit(0)
    Acks(acks).write([f"fork:{child}"])


def children_of(pid: int) -> list[int]:
    """Return the processes that another one has started and that have not ended; Linux says so."""
    found: list[int] = []
    for thread in Path(f"/proc/{pid}/task").iterdir():
        try:
            found += map(int, (thread / "children").read_text().split())
        except OSError:
            continue
    return found
