"""B3, B10, B11: no-op tasks, each started and finished in the ledger."""

from __future__ import annotations

import random
import threading
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any

import peers
from common import Outcome, Target, Workload, main, rows, timed, verify

WORKERS = 4


def noop(_item: int) -> None:
    return None


def noop_worker(_item: int, _queue: Any) -> None:
    return None


def check(db: Path, size: int) -> None:
    verify(
        rows(db, "SELECT status, COUNT(*), COUNT(started_at), COUNT(finished_at) FROM task_runs GROUP BY 1"),
        [("done", size, size, size)],
    )


def _map(size: int, db: Path, durability: Any = "full", items: Any = None) -> Outcome:
    import pipeloom

    inputs = range(size) if items is None else items
    pipeloom.map  # noqa: B018 - the import (B9) is not measured here
    seconds = timed(
        lambda: pipeloom.map(noop, inputs, db=db, name="b3", workers=WORKERS, progress=False, durability=durability)
    )
    check(db, size)
    return Outcome(size, seconds)


def map_(size: int, db: Path) -> Outcome:
    return _map(size, db)


def map_normal(size: int, db: Path) -> Outcome:
    return _map(size, db, "normal")


def _unsorted(size: int) -> list[str]:
    keys = [f"key-{n:09d}" for n in range(size)]
    random.Random(1).shuffle(keys)
    return keys


def map_unsorted(size: int, db: Path) -> Outcome:
    return _map(size, db, items=_unsorted(size))


def run_pipeline(size: int, db: Path) -> Outcome:
    import pipeloom

    pipeloom.run_pipeline  # noqa: B018
    seconds = timed(
        lambda: pipeloom.run_pipeline(range(size), db, worker_fn=noop_worker, workers=WORKERS, progress=False)
    )
    check(db, size)
    return Outcome(size, seconds)


def bare_pool(size: int, _db: Path) -> Outcome:
    """Submit and as_completed; nothing is stored."""

    ThreadPoolExecutor(1).shutdown()  # its module is imported on first use

    def work() -> None:
        with ThreadPoolExecutor(WORKERS) as pool:
            for future in as_completed([pool.submit(noop, n) for n in range(size)]):
                future.result()

    return Outcome(size, timed(work))


def locked_iterator(size: int, _db: Path) -> Outcome:
    """Four threads on one iterator: the most that threads can do."""
    lock, items = threading.Lock(), iter(range(size))

    def loop() -> None:
        while True:
            with lock:
                item = next(items, None)
            if item is None:
                return
            noop(item)

    def work() -> None:
        threads = [threading.Thread(target=loop) for _ in range(WORKERS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    return Outcome(size, timed(work))


def indexed_insert(size: int, db: Path) -> Outcome:
    """Unsorted keys with executemany into the same table and indexes, in one transaction."""
    from pipeloom.db import connect, init_schema

    keys = _unsorted(size)
    conn = connect(db)
    init_schema(conn, store_task_status=True)
    at = "2026-01-01T00:00:00.000000+00:00"
    sql = (
        "INSERT INTO task_runs (id, name, status, progress, started_at, finished_at, pipeline_id, key, run_id, "
        "attempt, worker, rows_written, elapsed_s) VALUES (?, ?, 'done', 1.0, ?, ?, 1, ?, 1, 1, 'thread-1', 0, 0.0)"
    )

    def work() -> None:
        conn.execute("BEGIN")
        conn.executemany(sql, ((n, key, at, at, key) for n, key in enumerate(keys, 1)))
        conn.execute("COMMIT")
        conn.close()

    seconds = timed(work)
    check(db, size)
    return Outcome(size, seconds)


WORKLOAD = Workload(
    name="B3",
    what="no-op tasks, each started and finished in the ledger",
    size=20_000,
    tiny=200,
    variants={
        "map": map_,
        "map, durability normal": map_normal,
        "run_pipeline": run_pipeline,
        "bare ThreadPoolExecutor": bare_pool,
        "four threads on a locked iterator": locked_iterator,
        "joblib, threads, nothing stored": peers.joblib_threads,
        "mpire, threads, nothing stored": peers.mpire_threads,
        "Huey on SQLite": peers.huey_sqlite,
        "map, 10 times": map_,
        "run_pipeline, 10 times": run_pipeline,
        "bare ThreadPoolExecutor, 10 times": bare_pool,
        "map, unsorted keys, 10 times": map_unsorted,
        "indexed insert, 10 times": indexed_insert,
        "map, 100 times": map_,
    },
    needs={
        "joblib, threads, nothing stored": "joblib",
        "mpire, threads, nothing stored": "mpire",
        "Huey on SQLite": "huey",
    },
    sizes={
        "Huey on SQLite": 0.1,
        "map, 10 times": 10,
        "run_pipeline, 10 times": 10,
        "bare ThreadPoolExecutor, 10 times": 10,
        "map, unsorted keys, 10 times": 10,
        "indexed insert, 10 times": 10,
        "map, 100 times": 100,
    },
    targets=(
        Target("map", "bare ThreadPoolExecutor", 2),
        Target("run_pipeline", "bare ThreadPoolExecutor", 2),
        Target("map, 10 times", "bare ThreadPoolExecutor, 10 times", 2),
        Target("run_pipeline, 10 times", "bare ThreadPoolExecutor, 10 times", 2),
        Target("map, unsorted keys, 10 times", "indexed insert, 10 times", 0.8),
        Target("map", "map, durability normal", 1 / 1.5),
        Target("map, 100 times", "map, 10 times", 1 / 1.15),
    ),
)

if __name__ == "__main__":
    main(WORKLOAD)
