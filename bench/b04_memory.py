"""B4: peak memory at 10,000 and at 1,000,000 no-op tasks from a generator."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from pathlib import Path
from time import perf_counter

from common import Outcome, Target, Workload, main, rows, verify


def noop(_item: int) -> None:
    return None


def numbers(size: int) -> Iterator[int]:
    yield from range(size)


def peak(size: int, db: Path) -> Outcome:
    import pipeloom

    began = perf_counter()
    pipeloom.map(noop, numbers(size), db=db, name="b4", workers=4, progress=False)
    seconds = perf_counter() - began
    # Read before verifying, since a reader's own pages are not the run's.
    mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    verify(rows(db, "SELECT COUNT(*) FROM task_runs WHERE status = 'done'"), [(size,)])
    return Outcome(size, seconds, {"peak_mib": mib})


WORKLOAD = Workload(
    name="B4",
    what="peak memory of no-op tasks from a generator",
    size=10_000,
    tiny=100,
    variants={"10,000 tasks": peak, "1,000,000 tasks": peak},
    sizes={"1,000,000 tasks": 100},
    targets=(Target("1,000,000 tasks", "10,000 tasks", 10, figure="peak_mib", at_least=False, difference=True),),
)

if __name__ == "__main__":
    main(WORKLOAD)
