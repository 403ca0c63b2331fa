"""Task functions that are watched, stopped or killed while they run, and those of the older kind.

Worker processes import this module, so it imports little.
"""

from __future__ import annotations

import logging
import os
import queue
import sys
import threading
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from time import sleep
from typing import NoReturn

import pipeloom

LONG_S = 20.0
LET_GO = threading.Event()
"""What a call waits for that looks at nothing. Only a thread of the test's own process ever hears it."""

logger = logging.getLogger("contract")


def waits(item: str | int, ctx: pipeloom.TaskContext) -> str | None:
    """Say all there is to say, then wait to be cancelled."""
    if item == "checks":
        ctx.progress(3, 10, "three of ten")
        logger.info("heard at once")
        ctx.put(pipeloom.MsgWriteRows("heard", {"said": "put"}))
        while True:
            ctx.check()
            sleep(0.002)
    if item == "looks":
        while not ctx.cancelled:
            sleep(0.002)
        return "saw it"
    return None


def overruns(notes: str, item: str, ctx: pipeloom.TaskContext) -> None:
    """Take longer than allowed, each in its way."""
    assert 0 < ctx.remaining_s <= 0.25
    if item in ("quick", "after"):
        return
    ctx.write("left", {"item": item})
    if item == "does not look":
        (Path(notes) / item).write_text(str(os.getpid()))
        LET_GO.wait(LONG_S)
    elif item == "checks":
        while not ctx.cancelled:
            sleep(0.002)
        assert ctx.remaining_s == 0
        ctx.check()
    elif item == "tracks":
        for _ in ctx.track(range(100_000)):
            sleep(0.002)
    else:
        while True:
            ctx.query("SELECT 1")


def in_time_the_second_time(_item: int, ctx: pipeloom.TaskContext) -> None:
    """Overrun once."""
    while ctx.attempt == 1:
        ctx.check()
        sleep(0.002)


def is_alive(pid: int) -> bool:
    """Say whether a process is there, and not only a zombie."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] not in "ZX"


def says_where(n: int, ctx: pipeloom.TaskContext) -> int:
    """Write a row, and return in which process."""
    ctx.write("rows", {"n": n})
    return os.getpid()


def fails_at_fifty(n: int) -> None:
    """Fail once."""
    if n == 50:
        raise ValueError("fifty")


def fails_at_fifty_and_asks(n: int, ctx: pipeloom.TaskContext) -> None:
    """Fail once; no other task gets past a failure that is not committed."""
    fails_at_fifty(n)
    ctx.query("SELECT 1")


def cannot_be_opened() -> NoReturn:
    """Be a ``local=`` that fails."""
    raise ConnectionError("no such session")


def notes_itself(notes: str, n: int) -> None:
    """Take a moment, and say so."""
    sleep(0.02)
    (Path(notes) / str(n)).touch()


@dataclass(frozen=True)
class Numbered:
    """A task of the older kind."""

    task_id: int


def older(task: Numbered, q: queue.Queue[pipeloom.Msg]) -> None:
    """A worker as they were: it puts messages, and says its own number."""
    number, at = task.task_id, "2026-01-31T12:00:00+00:00"
    q.put(pipeloom.MsgTaskStarted(number, f"older {number}", at))
    for step in range(3):
        q.put(pipeloom.MsgTaskProgress(number, step, 3, "on its way"))
    q.put(pipeloom.MsgWriteRows("rows", [{"n": number}]))
    if number == 3:
        raise ValueError("three")
    q.put(
        pipeloom.MsgTaskFinished(
            number, "error" if number == 4 else "done", at, result=f"r{number}", message="said"
        )
    )


def renumbered(item: str, q: queue.Queue[pipeloom.Msg]) -> None:
    """One whose tasks have no number but what it says."""
    q.put(pipeloom.MsgTaskStarted(100 + len(item), item, "2026-01-31T12:00:00+00:00"))
    q.put(pipeloom.MsgWriteRows("rows", [{"n": len(item)}]))


def notes_itself_and_writes(notes: str, n: int, ctx: pipeloom.TaskContext) -> None:
    """Write a row, too."""
    ctx.write("rows", {"n": n})
    notes_itself(notes, n)


if __name__ == "__main__":
    how, db, notes = sys.argv[1:]
    if how == "processes":
        pipeloom.map(
            partial(notes_itself, notes), range(2000), db=db, name="interrupted", executor="processes", workers=2,
            progress=False,
        )  # fmt: skip
    else:
        from concurrent.futures import ProcessPoolExecutor

        with ProcessPoolExecutor(2) as pool:
            pipeloom.map(
                partial(notes_itself_and_writes, notes), range(120), db=db, name="interrupted", workers=2,
                executor=pool if how == "pool" else how, progress=False,
            )  # fmt: skip
