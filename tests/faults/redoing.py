"""A program whose inputs change: what was done is done again, and what it wrote before goes in the same commit.

Started by ``pipeloom run redoing.py:changed``. Two of three inputs have the version that it is called with, the
others never change. What a task leaves follows from its number and the version, so that anybody can say which
generation of rows is there. Some tasks come to a checkpoint halfway, some fail at their first try.
"""

from __future__ import annotations

import os
import time

import pipeloom

NAME = "redo"
Rows = dict[str, int]


def version_of(task: int, generation: int) -> int:
    """Return the version of an input in a generation."""
    return generation if task % 3 else 0


def has_checkpoint(task: int) -> bool:
    """Say whether a task stores its first half by itself."""
    return task % 4 == 1


def rows_of(task: int, version: int, *, half: bool = False) -> Rows:
    """Return how many rows a done task leaves in each table, or its first half."""
    first = {"items": 250 if task % 8 == 7 else 1 + (task + version) % 3, "parts": 0}
    return first if half else {"items": first["items"] + 1, "parts": (task + version) % 2}


class Working:
    """The task function; an object, so that it can be sent to another process."""

    __name__ = "work"

    def __init__(self, generation: int, pause_s: float) -> None:
        self._generation, self._pause_s = generation, pause_s

    def __call__(self, task: int, ctx: pipeloom.TaskContext) -> None:
        version = version_of(task, self._generation)
        first, all_rows = rows_of(task, version, half=True), rows_of(task, version)
        if ctx.state is None:
            row = {"task": task, "version": version, "text": f"{task}/{version}" * 20}
            ctx.write("items", [row | {"i": i} for i in range(first["items"])])
            if has_checkpoint(task):
                ctx.checkpoint("half")
        time.sleep(self._pause_s)
        ctx.write("items", {"task": task, "version": version, "text": "", "i": first["items"]})
        if all_rows["parts"]:
            ctx.write("parts", {"task": task, "version": version, "body": os.urandom(1500)})
        if task % 5 == 3 and ctx.attempt == 1:
            raise OSError(f"task {task}")


def changed(
    db: str,
    count: int,
    generation: int,
    executor: str = "threads",
    pause_s: float = 0.0,
    wal: bool = True,
    mistake: str = "",
) -> pipeloom.RunReport:
    """Run all inputs in a generation."""
    if mistake:
        make(mistake)
    return pipeloom.map(
        Working(generation, pause_s), range(count), db=db, name=NAME, wal=wal, workers=3, executor=executor,  # type: ignore[arg-type] # one of two
        version=Versions(generation), retries=pipeloom.Retry(attempts=2, delay_s=0), progress=False,
    )  # fmt: skip


class Versions:
    """``version=`` of a generation."""

    def __init__(self, generation: int) -> None:
        self._generation = generation

    def __call__(self, task: int) -> int:
        return version_of(task, self._generation)


# --- mistakes that the harness has to find ---


def make(mistake: str) -> None:
    """Make a mistake in this process."""
    from pipeloom.ledger.tables import UserTables

    real = UserTables.take_back

    def forgets(self: UserTables, tasks: list[int]) -> None:
        """The old rows stay."""

    def commits(self: UserTables, tasks: list[int]) -> None:
        """The old rows go in a transaction of their own."""
        real(self, tasks)
        self._conn.execute("COMMIT")
        self._conn.execute("BEGIN IMMEDIATE")

    UserTables.take_back = {"forgets": forgets, "commits": commits}[mistake]  # type: ignore[method-assign,assignment] # a mistake
