"""B15: no-op ``async def`` tasks, 100 and 10,000 at once: ours are stored, those of the peers only counted."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from functools import partial
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

from common import Outcome, Target, Workload, main, rows, verify

FEW, MANY = 100, 10_000


async def noop(_item: int) -> None:
    return None


def measured(size: int, work: Callable[[], Any]) -> Outcome:
    """Also return the processor time of all threads, in microseconds per task."""
    began, spent = perf_counter(), process_time()
    work()
    spent, seconds = process_time() - spent, perf_counter() - began
    return Outcome(size, seconds, {"cpu_us": spent / size * 1e6, "wall_us": seconds / size * 1e6})


def ours(at_once: int, size: int, db: Path) -> Outcome:
    import pipeloom

    run = pipeloom.map  # the import is not measured here
    outcome = measured(size, lambda: run(noop, range(size), db=db, name="b15", workers=at_once, progress=False))
    verify(
        rows(db, "SELECT status, COUNT(*), COUNT(started_at), COUNT(finished_at) FROM task_runs GROUP BY 1"),
        [("done", size, size, size)],
    )
    return outcome


def awaited(size: int, work: Callable[[], Coroutine[Any, Any, int]]) -> Outcome:
    """Time a coroutine that returns how many tasks have ended."""
    found: list[int] = []
    outcome = measured(size, lambda: found.append(asyncio.run(work())))
    verify(found, [size])
    return outcome


def task_group(at_once: int, size: int, _db: Path) -> Outcome:
    """As in asyncio's documentation: a task for each input, and a semaphore."""

    async def work() -> int:
        limit, ended = asyncio.Semaphore(at_once), 0

        async def limited(item: int) -> None:
            nonlocal ended
            async with limit:
                await noop(item)
            ended += 1

        async with asyncio.TaskGroup() as group:
            for n in range(size):
                group.create_task(limited(n))
        return ended

    return awaited(size, work)


def aiometer_amap(at_once: int, size: int, _db: Path) -> Outcome:
    import aiometer  # type: ignore[import-not-found]  # a peer, if installed

    async def work() -> int:
        ended = 0
        async with aiometer.amap(noop, range(size), max_at_once=at_once) as results:
            async for _ in results:
                ended += 1
        return ended

    return awaited(size, work)


def variants() -> dict[str, Callable[[int, Path], Outcome]]:
    return {
        f"{name}, {at_once:,} at once": partial(variant, at_once)
        for at_once in (FEW, MANY)
        for name, variant in (("map", ours), ("TaskGroup", task_group), ("aiometer", aiometer_amap))
    }


WORKLOAD = Workload(
    name="B15",
    what="no-op tasks on an event loop",
    size=20_000,
    tiny=200,
    variants=variants(),
    needs={name: "aiometer" for name in variants() if name.startswith("aiometer")},
    targets=(
        Target("map, 100 at once", None, 10, figure="cpu_us", at_least=False),
        Target("map, 10,000 at once", None, 20, figure="cpu_us", at_least=False),
        Target("map, 100 at once", "TaskGroup, 100 at once", 10 / 9.2, figure="cpu_us", at_least=False),
        Target("map, 100 at once", "aiometer, 100 at once", 1, figure="cpu_us", at_least=False),
    ),
)

if __name__ == "__main__":
    main(WORKLOAD)
