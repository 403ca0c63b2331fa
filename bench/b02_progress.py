"""B2: ctx.progress alone, from one thread and from four, and how soon a reader sees it."""

from __future__ import annotations

import sqlite3
import threading
from contextlib import closing
from pathlib import Path
from time import perf_counter

from common import Outcome, Target, Workload, main, rows, verify


def _progress(size: int, db: Path, workers: int) -> Outcome:
    import pipeloom

    began: list[float] = []
    ended: list[float] = []
    together = threading.Barrier(workers)

    def task(_item: int, ctx: pipeloom.TaskContext) -> None:
        together.wait()
        began.append(perf_counter())
        progress = ctx.progress
        for step in range(size // workers):
            progress(step, size)
        ended.append(perf_counter())

    pipeloom.map(task, range(workers), db=db, name="b2", workers=workers, progress=False)
    verify(rows(db, "SELECT COUNT(*) FROM task_runs WHERE status = 'done'"), [(workers,)])
    return Outcome(size // workers * workers, max(ended) - min(began))


def one_thread(size: int, db: Path) -> Outcome:
    return _progress(size, db, 1)


def four_threads(size: int, db: Path) -> Outcome:
    return _progress(size, db, 4)


def seen(size: int, db: Path) -> Outcome:
    """The worst of many delays, in seconds, from a change to the first time a reader sees it."""
    import pipeloom

    worst = 0.0

    def task(_item: int, ctx: pipeloom.TaskContext) -> None:
        nonlocal worst
        with closing(sqlite3.connect(db.absolute().as_uri() + "?mode=ro", uri=True)) as reader:
            for step in range(1, size + 1):
                ctx.progress(step, size)
                said = perf_counter()
                while reader.execute("SELECT progress FROM task_runs").fetchall() != [(step / size,)]:
                    pass
                worst = max(worst, perf_counter() - said)

    pipeloom.map(task, [1], db=db, name="b2", progress=False)
    return Outcome(size, 0.0, {"worst_s": worst, "rate": 1 / worst})


def attribute_store(size: int, db: Path) -> Outcome:  # noqa: ARG001 - all variants have this signature
    """The limit: one tuple stored in one attribute."""

    class Cell:
        __slots__ = ("cell",)

    cell = Cell()
    began = perf_counter()
    for step in range(size):
        cell.cell = (step, size, "")
    return Outcome(size, perf_counter() - began)


WORKLOAD = Workload(
    name="B2",
    what="ctx.progress alone",
    size=2_000_000,
    tiny=2_000,
    variants={
        "one thread": one_thread,
        "four threads": four_threads,
        "until a reader sees it": seen,
        "an attribute store": attribute_store,
    },
    sizes={"until a reader sees it": 1e-5},
    targets=(
        Target("one thread", None, 2_000_000),
        Target("four threads", None, 2_000_000),
        Target("until a reader sees it", None, 0.110, figure="worst_s", at_least=False),
    ),
)

if __name__ == "__main__":
    main(WORKLOAD)
