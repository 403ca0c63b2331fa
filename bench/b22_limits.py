"""B22: the cost of a limit that never delays a task, and how precisely 200 starts a second are kept."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from functools import partial
from pathlib import Path
from time import monotonic, process_time
from typing import Any

from common import Outcome, Target, Workload, main, rows, timed, verify

WORKERS = 4
RATE = 200
HOSTS = 1000

starts: list[float] = []


def noop(_item: int) -> None:
    return None


def starting(_item: int) -> None:
    starts.append(monotonic())


async def starting_on_a_loop(_item: int) -> None:
    starts.append(monotonic())


def host_of(item: int) -> int:
    return item % HOSTS


def check(db: Path, size: int) -> None:
    verify(rows(db, "SELECT status, COUNT(*) FROM task_runs GROUP BY 1"), [("done", size)])


def cost(limit_of: Callable[[], Any], size: int, db: Path) -> Outcome:
    """Time no-op tasks in threads."""
    import pipeloom

    run, limit = pipeloom.map, limit_of()
    spent = process_time()
    seconds = timed(lambda: run(noop, range(size), db=db, name="b22", workers=WORKERS, limit=limit, progress=False))
    spent = process_time() - spent
    check(db, size)
    return Outcome(size, seconds, {"cpu_us": spent / size * 1e6})


def of_all() -> Any:
    import pipeloom

    return pipeloom.Limit(rate=1e9, burst=1e9, at_once=WORKERS)


def of_each() -> Any:
    import pipeloom

    return pipeloom.Limit(rate=1e9, burst=1e9, at_once=WORKERS, per=host_of)


def kept(size: int, work: Callable[[], Any]) -> Outcome:
    """Measure the starts per second: on average, and the most in any tenth of a second."""
    starts.clear()
    seconds = timed(work)
    verify(len(starts), size)
    at = sorted(starts)
    most = max(sum(first <= one < first + 0.1 for one in at[place : place + 100]) for place, first in enumerate(at))
    return Outcome(size, seconds, {"per_s": (size - 1) / (at[-1] - at[0]), "in_100_ms": most})


def ours(function: Callable[[int], Any], burst: int, size: int, db: Path) -> Outcome:
    import pipeloom

    run, limit = pipeloom.map, pipeloom.Limit(rate=RATE, burst=burst)
    outcome = kept(size, lambda: run(function, range(size), db=db, name="b22", limit=limit, progress=False))
    check(db, size)
    return outcome


def awaited(size: int, work: Callable[[], Coroutine[Any, Any, object]]) -> Outcome:
    return kept(size, lambda: asyncio.run(work()))


def aiometer_amap(size: int, _db: Path) -> Outcome:
    import aiometer  # type: ignore[import-not-found]  # a peer, if installed

    return awaited(size, lambda: aiometer.run_on_each(starting_on_a_loop, range(size), max_per_second=RATE))


def asynciolimiter_limiter(size: int, _db: Path) -> Outcome:
    from asynciolimiter import Limiter  # type: ignore[import-not-found]  # a peer, if installed

    async def work() -> None:
        limiter = Limiter(RATE)
        await asyncio.gather(*(limiter.wrap(starting_on_a_loop(n)) for n in range(size)))

    return awaited(size, work)


def aiolimiter_limiter(size: int, _db: Path) -> Outcome:
    from aiolimiter import AsyncLimiter  # type: ignore[import-not-found]  # a peer, if installed

    async def work() -> None:
        limiter = AsyncLimiter(1, 1 / RATE)

        async def limited(item: int) -> None:
            async with limiter:
                await starting_on_a_loop(item)

        await asyncio.gather(*(limited(n) for n in range(size)))

    return awaited(size, work)


WORKLOAD = Workload(
    name="B22",
    what="limits: what one costs that holds nothing up, and 200 starts a second",
    size=20_000,
    tiny=200,
    variants={
        "no limit": partial(cost, lambda: None),
        "a limit of all that holds nothing up": partial(cost, of_all),
        "a limit of each of 1,000 hosts that holds nothing up": partial(cost, of_each),
        "200 a second, threads": partial(ours, starting, 1),
        "200 a second, threads, burst 5": partial(ours, starting, 5),
        "200 a second, asyncio, burst 5": partial(ours, starting_on_a_loop, 5),
        "200 a second, aiometer": aiometer_amap,
        "200 a second, asynciolimiter": asynciolimiter_limiter,
        "200 a second, aiolimiter": aiolimiter_limiter,
    },
    needs={
        "200 a second, aiometer": "aiometer",
        "200 a second, asynciolimiter": "asynciolimiter",
        "200 a second, aiolimiter": "aiolimiter",
    },
    sizes={
        f"200 a second, {how}": 0.05
        for how in (
            "threads", "threads, burst 5", "asyncio, burst 5", "aiometer", "asynciolimiter", "aiolimiter",
        )
    },
    targets=(
        Target("a limit of all that holds nothing up", "no limit", 20, "cpu_us", at_least=False, difference=True),
        Target(
            "a limit of each of 1,000 hosts that holds nothing up", "no limit", 30, "cpu_us", at_least=False,
            difference=True,
        ),
        Target("200 a second, threads, burst 5", None, 194, "per_s"),
        Target("200 a second, threads, burst 5", None, 200, "per_s", at_least=False),
        Target("200 a second, threads", None, 21, "in_100_ms", at_least=False),
    ),
)  # fmt: skip

if __name__ == "__main__":
    main(WORKLOAD)
