"""B16: tasks of 20 ms on two workers, with rows: on Dask beside ``Client.map`` and ``gather``, which store nothing.

The cluster is there before, on both sides. A pool of the standard library stands beside them, alone and with us.
"""

from __future__ import annotations

import logging
import multiprocessing
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import cache, partial
from pathlib import Path
from time import thread_time
from typing import Any

from common import Outcome, Target, Workload, main, rows, timed, verify

WORKERS = 2
TASK_S = 0.02
ROWS = 10


def computed(item: int) -> list[dict[str, Any]]:
    """Use 20 ms of processor time, however busy the machine is, and return some rows."""
    end = thread_time() + TASK_S
    while thread_time() < end:
        pass
    return [{"item": item, "n": n, "share": n / ROWS} for n in range(ROWS)]


def written(item: int, ctx: Any) -> None:
    ctx.write("results", computed(item))


@cache  # for all variants of one process; closed when the process ends
def client() -> Any:
    from distributed import Client, LocalCluster

    cluster = LocalCluster(
        n_workers=WORKERS, threads_per_worker=1, dashboard_address=":0", silence_logs=logging.CRITICAL
    )
    return Client(cluster)


@cache
def pool() -> ProcessPoolExecutor:
    found = ProcessPoolExecutor(WORKERS, mp_context=multiprocessing.get_context("spawn"))
    list(found.map(computed, range(2 * WORKERS)))
    return found


def stored(executor: Any, size: int, db: Path) -> Outcome:
    import pipeloom

    run = partial(pipeloom.map, executor=executor, workers=WORKERS, progress=False)
    run(written, range(4 * WORKERS), db=":memory:", name="warm")  # now both sides have the functions
    seconds = timed(lambda: run(written, range(size), db=db, name="b16"))
    verify(rows(db, "SELECT COUNT(*), COUNT(DISTINCT item) FROM results"), [(size * ROWS, size)])
    return Outcome(size, seconds)


def through_dask(size: int, db: Path) -> Outcome:
    return stored(client(), size, db)


def gathered(size: int, _db: Path) -> Outcome:
    dask = client()
    dask.gather(dask.map(computed, range(-2 * WORKERS, 0), pure=False))
    results: list[Any] = []
    seconds = timed(lambda: results.extend(dask.gather(dask.map(computed, range(size), pure=False))))
    verify(sum(map(len, results)), size * ROWS)
    return Outcome(size, seconds)


def through_pool(size: int, db: Path) -> Outcome:
    return stored(pool(), size, db)


def mapped(size: int, _db: Path) -> Outcome:
    results: list[Any] = []
    seconds = timed(lambda: results.extend(pool().map(computed, range(size))))
    verify(sum(map(len, results)), size * ROWS)
    return Outcome(size, seconds)


VARIANTS: dict[str, Callable[[int, Path], Outcome]] = {
    "pipeloom on Dask": through_dask,
    "Client.map and gather": gathered,
    "pipeloom on ProcessPoolExecutor": through_pool,
    "ProcessPoolExecutor.map": mapped,
}

WORKLOAD = Workload(
    name="B16",
    what=f"tasks of {TASK_S * 1000:g} ms with {ROWS} rows each on {WORKERS} workers",
    size=500,
    tiny=8,
    variants=VARIANTS,
    needs=dict.fromkeys(("pipeloom on Dask", "Client.map and gather"), "distributed"),
    targets=(
        Target("pipeloom on Dask", "Client.map and gather", 1.02, figure="seconds", at_least=False),
        Target(
            "pipeloom on ProcessPoolExecutor", "ProcessPoolExecutor.map", 1.05, figure="seconds", at_least=False
        ),
    ),
)

if __name__ == "__main__":
    main(WORKLOAD)
