"""B13: tasks in processes: no-op ones, and 2 ms of computing each. Ours are stored, those of the pools are not."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from time import perf_counter, process_time, thread_time
from typing import Any

import peers
from common import Outcome, Target, Workload, main, rows, verify

WORKERS = os.cpu_count() or 2
CHUNK = 100  # a good size for no-op tasks: larger chunks gain little
Task = Callable[[int], None]


def noop(_item: int) -> None:
    return None


def computing(_item: int) -> None:
    """Use 2 ms of processor time, however busy the machine is."""
    end = thread_time() + 0.002
    while thread_time() < end:
        pass


def measured(size: int, work: Callable[[], Any]) -> Outcome:
    """Also return the processor time of this process alone, which feeds all workers, in microseconds per task."""
    began, spent = perf_counter(), process_time()
    work()
    spent, seconds = process_time() - spent, perf_counter() - began
    return Outcome(size, seconds, {"parent_us": spent / size * 1e6})


def ours(task: Task, size: int, db: Path, executor: Any = "processes") -> Outcome:
    import pipeloom

    run = pipeloom.map  # the import is not measured here
    outcome = measured(
        size,
        lambda: run(task, range(size), db=db, name="b13", workers=WORKERS, executor=executor, progress=False),
    )
    verify(
        rows(db, "SELECT status, COUNT(*), COUNT(started_at), COUNT(finished_at) FROM task_runs GROUP BY 1"),
        [("done", size, size, size)],
    )
    return outcome


def peer(pool: Callable[[int], peers.Pool], task: Task, chunk: int, size: int, _db: Path) -> Outcome:
    """A pool that stores nothing: its results are counted. Its start and its end are timed, like ours."""
    run = pool(WORKERS)
    answers: list[int] = []

    def work() -> None:
        results: Iterable[Any] = run(task, range(size), chunk)
        answers.append(sum(1 for _ in results))

    outcome = measured(size, work)
    verify(answers, [size])
    return outcome


POOLS: dict[str, tuple[Callable[[int], peers.Pool], str]] = {
    "ProcessPoolExecutor.map": (peers.executor_map, "concurrent"),
    "Pool.imap_unordered": (peers.pool_imap, "multiprocessing"),
    "loky": (peers.loky_map, "loky"),
    "mpire": (peers.mpire_imap, "mpire"),
}
OURS = {
    "processes, no-op": partial(ours, noop),
    "processes, no-op, 10 times": partial(ours, noop),
    "processes, 2 ms": partial(ours, computing),
    "threads, 2 ms": partial(ours, computing, executor="threads"),
    "processes, one task": partial(ours, noop),
}
THEIRS = {
    f"{name}, {what}": partial(peer, pool, task, chunk)
    for what, task, chunk in (
        ("no-op, chunks of 1", noop, 1),
        (f"no-op, chunks of {CHUNK}", noop, CHUNK),
        ("2 ms, chunks of 1", computing, 1),
        ("one task", noop, 1),
    )
    for name, (pool, _) in POOLS.items()
}
BARE = "ProcessPoolExecutor.map"

WORKLOAD = Workload(
    name="B13",
    what=f"tasks in {WORKERS} processes",
    size=20_000,
    tiny=100,
    variants={**OURS, **THEIRS},
    sizes={
        "processes, no-op, 10 times": 10,
        **{name: 0.25 for name in (*OURS, *THEIRS) if "2 ms" in name},
        **{name: 0.00001 for name in (*OURS, *THEIRS) if "one task" in name},
    },
    needs={
        variant: module for variant in THEIRS for name, (_, module) in POOLS.items() if variant.startswith(name)
    },
    targets=(
        Target("processes, no-op", f"{BARE}, no-op, chunks of 1", 2),
        Target("processes, no-op, 10 times", None, 8, figure="parent_us", at_least=False),
        Target("processes, 2 ms", f"{BARE}, 2 ms, chunks of 1", 1 / 1.05),
    ),
)

if __name__ == "__main__":
    main(WORKLOAD)
