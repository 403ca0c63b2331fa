"""The programs under test, as a user would write them; started by ``pipeloom run programs.py:NAME``.

Every task writes rows to two tables, in an amount that follows from its number alone, so that anybody can say
what must be there. Acknowledgements: what a task hears from ``ctx.query`` is committed, so each task notes the
tasks that are done in a file of its own; an end of the run notes all. What is noted must never be missing later.
"""

from __future__ import annotations

import os
import time

import pipeloom

NAME = "load"


def rows_of(task: int) -> dict[str, int]:
    """Return how many rows a finished task leaves in each table; some have many, so that checkpoints come."""
    return {"items": 300 if task % 8 == 7 else 1 + task % 4, "parts": task % 3}


def write_rows(task: int, ctx: pipeloom.TaskContext) -> None:
    """Stage a task's rows; the bodies make it several pages."""
    count = rows_of(task)
    for i in range(count["items"]):
        ctx.write("items", {"task": task, "i": i, "text": f"{task}/{i}" * 10})
    ctx.write("parts", [(task, i, os.urandom(1500)) for i in range(count["parts"])], columns=("task", "i", "body"))


class Acks:
    """A file that is only appended to, in one write per note; one number a line."""

    def __init__(self, path: str) -> None:
        self._fd = os.open(path or os.devnull, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)

    def note(self, ctx: pipeloom.TaskContext) -> None:
        """Note what the ledger says is done."""
        self.write([key for (key,) in ctx.query("SELECT key FROM task_runs WHERE status = 'done'")])

    def write(self, tasks: list[int]) -> None:
        """Note these."""
        if tasks:
            os.write(self._fd, ("".join(f"{task}\n" for task in tasks)).encode())


TABLES = {"items": {"task": int, "i": int, "text": str}, "parts": {"task": int, "i": int, "body": bytes}}


def load(
    db: str, acks: str = "", count: int = 24, workers: int = 2, durability: str = "full", pause_s: float = 0.0
) -> pipeloom.RunReport:
    """``map`` with rows for two tables."""
    noted = Acks(acks)

    def work(task: int, ctx: pipeloom.TaskContext) -> dict[str, int]:
        write_rows(task, ctx)
        if acks:
            noted.note(ctx)
        if pause_s:
            time.sleep(pause_s)
        return {"task": task}

    print("begun", os.getpid(), flush=True)
    report = pipeloom.map(
        work, range(count), db=db, name=NAME, workers=workers, durability=durability, tables=TABLES, progress=False
    )
    noted.write(list(range(count)))
    return report


def pipeline(
    db: str, acks: str = "", count: int = 24, workers: int = 2, durability: str = "full", wal: bool = False
) -> pipeloom.RunReport:
    """``run_pipeline`` with keys, by default on a rollback journal."""
    noted = Acks(acks)

    def work(task: int, ctx: pipeloom.TaskContext) -> None:
        write_rows(task, ctx)
        if acks:
            noted.note(ctx)

    print("begun", os.getpid(), flush=True)
    report = pipeloom.run_pipeline(
        range(count), db, worker_fn=work, name=NAME, key=int, resume=True, workers=workers, wal=wal,
        durability=durability, tables=TABLES, progress=False,
    )  # fmt: skip
    noted.write(list(range(count)))
    return report
