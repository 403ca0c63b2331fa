"""B20: shards of the inputs in separate processes, then merged, compared with one run; and merging alone."""

from __future__ import annotations

import multiprocessing
import os
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

from common import Outcome, Target, Workload, main, rows, timed, verify

PROCESSES = os.cpu_count() or 2
FILES = 16
ROWS = 20  # per task


def load(item: int, ctx: Any) -> None:
    """Store some rows of five columns."""
    ctx.write(
        "measured",
        [(item, row, f"sensor-{row}", row * 0.5, "ok") for row in range(ROWS)],
        columns=("item", "row", "sensor", "value", "state"),
    )


def run(size: int, db: Path, **options: Any) -> None:
    import pipeloom

    pipeloom.map(load, range(size), db=db, name="b20", progress=False, **options)


def run_shard(size: int, db: Path, number: int, count: int, durability: str = "full") -> None:
    run(size, db, shard=(number, count), workers=1, durability=durability)


def check(size: int, db: Path) -> None:
    """Check that every task is done, and every row is stored once."""
    verify(
        rows(db, "SELECT status, COUNT(*), COUNT(DISTINCT key) FROM task_runs GROUP BY 1"), [("done", size, size)]
    )
    verify(
        rows(db, "SELECT COUNT(*), COUNT(DISTINCT item * 100 + row), SUM(item), SUM(value) FROM measured"),
        [(size * ROWS, size * ROWS, sum(range(size)) * ROWS, size * sum(range(ROWS)) * 0.5)],
    )


def one_run(size: int, db: Path, executor: str) -> Outcome:
    workers = PROCESSES if executor == "processes" else 1  # two threads would take turns
    seconds = timed(lambda: run(size, db, executor=executor, workers=workers))
    check(size, db)
    return Outcome(size, seconds)


def in_shards(size: int, db: Path) -> Outcome:
    """One process per core, like the jobs of an array, including their start and the merge."""
    import pipeloom

    paths = [db.with_name(f"{number}.db") for number in range(1, PROCESSES + 1)]

    def work() -> None:
        context = multiprocessing.get_context("spawn")
        jobs = [
            context.Process(target=run_shard, args=(size, path, number, PROCESSES))
            for number, path in enumerate(paths, 1)
        ]
        for job in jobs:
            job.start()
        for job in jobs:
            job.join()
        pipeloom.merge(db, paths)

    seconds = timed(work)
    check(size, db)
    return Outcome(size, seconds)


def _shards(size: int, db: Path) -> list[Path]:
    paths = [db.with_name(f"{number}.db") for number in range(1, FILES + 1)]
    for number, path in enumerate(paths, 1):
        run_shard(size, path, number, FILES, durability="off")
    return paths


def merged(size: int, db: Path) -> Outcome:
    import pipeloom

    paths = _shards(size, db)
    seconds = timed(lambda: pipeloom.merge(db, paths))
    check(size, db)
    return Outcome(size, seconds)


def by_sql(size: int, db: Path) -> Outcome:
    """The limit: tasks and rows alone, in SQL, into a file that is synced once and has no index on keys."""
    paths = _shards(size, db)
    seconds = timed(partial(_by_sql, paths, db))
    check(size, db)
    return Outcome(size, seconds)


def _by_sql(paths: Sequence[Path], db: Path) -> None:
    with closing(sqlite3.connect(db, isolation_level=None)) as conn:
        conn.execute("PRAGMA synchronous = OFF")
        for place, path in enumerate(paths):
            conn.execute("ATTACH ? AS part", (str(path),))
            if not place:
                for name in ("task_runs", "measured"):
                    ((sql,),) = conn.execute("SELECT sql FROM part.sqlite_master WHERE name = ?", (name,))
                    conn.execute(sql)
            names = [row[1] for row in conn.execute("PRAGMA part.table_info(task_runs)")]
            last = conn.execute("SELECT COALESCE(MAX(id), 0) FROM main.task_runs").fetchone()[0]
            values = ", ".join(f"id + {last}" if name == "id" else name for name in names)
            if place == len(paths) - 1:
                conn.execute("PRAGMA main.synchronous = FULL")
            conn.execute("BEGIN")
            conn.execute(f"INSERT INTO main.task_runs SELECT {values} FROM part.task_runs")
            conn.execute("INSERT INTO main.measured SELECT * FROM part.measured")
            conn.execute("COMMIT")
            conn.execute("DETACH part")


WORKLOAD = Workload(
    name="B20",
    what=f"tasks of {ROWS} rows, in shards that are merged",
    size=30_000,
    tiny=60,
    variants={
        "one run": partial(one_run, executor="threads"),
        f"one run, {PROCESSES} processes": partial(one_run, executor="processes"),
        f"{PROCESSES} shards, and merge": in_shards,
        f"merge of {FILES} shards": merged,
        f"the same rows of {FILES} shards by SQL": by_sql,
    },
    targets=(
        Target(f"{PROCESSES} shards, and merge", "one run", 1.2),
        Target(f"merge of {FILES} shards", f"the same rows of {FILES} shards by SQL", 0.5),
        Target(f"merge of {FILES} shards", None, 1.0, figure="seconds", at_least=False),
    ),
)

if __name__ == "__main__":
    main(WORKLOAD)
