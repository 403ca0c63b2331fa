"""B21: the outcomes of no-op tasks, read as they come, compared with a run whose outcomes are not read."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from common import Outcome, Target, Workload, main, rows, timed, verify

WORKERS = 4


def square(item: int) -> int:
    return item * item


def ours(size: int, db: Path, use: Callable[[Any], Iterable[int]]) -> Outcome:
    import pipeloom

    pipeloom.start  # noqa: B018 - the import (B9) is not measured here
    found: list[int] = []

    def work() -> None:
        with pipeloom.start(square, range(size), db=db, name="b21", workers=WORKERS, progress=False) as run:
            found.extend(use(run))

    seconds = timed(work)
    verify(rows(db, "SELECT status, COUNT(*) FROM task_runs GROUP BY 1"), [("done", size)])
    if found:
        verify((len(found), sum(found)), (size, sum(n * n for n in range(size))))
    return Outcome(size, seconds)


def nobody(size: int, db: Path) -> Outcome:
    return ours(size, db, lambda _: ())


def as_they_come(size: int, db: Path) -> Outcome:
    return ours(size, db, lambda run: (outcome.result for outcome in run.outcomes()))


def at_the_end(size: int, db: Path) -> Outcome:
    """Read most of them from the file."""

    def read(run: Any) -> Iterable[int]:
        run.wait()
        return (outcome.result for outcome in run.outcomes())

    return ours(size, db, read)


def map_(size: int, db: Path) -> Outcome:
    import pipeloom

    pipeloom.map  # noqa: B018 - as above
    seconds = timed(lambda: pipeloom.map(square, range(size), db=db, name="b21", workers=WORKERS, progress=False))
    verify(rows(db, "SELECT status, COUNT(*) FROM task_runs GROUP BY 1"), [("done", size)])
    return Outcome(size, seconds)


def joblib_generator(size: int, _db: Path) -> Outcome:
    """Results as they come, in threads; nothing is stored."""
    import joblib

    found: list[int] = []

    def work() -> None:
        parallel = joblib.Parallel(WORKERS, prefer="threads", return_as="generator_unordered")
        found.extend(parallel(joblib.delayed(square)(n) for n in range(size)))

    seconds = timed(work)
    verify((len(found), sum(found)), (size, sum(n * n for n in range(size))))
    return Outcome(size, seconds)


WORKLOAD = Workload(
    name="B21",
    what="outcomes of no-op tasks as they come",
    size=50_000,
    tiny=200,
    variants={
        "map": map_,
        "start, nobody reads": nobody,
        "start, read as they come": as_they_come,
        "start, read at the end": at_the_end,
        "joblib, generator_unordered, nothing stored": joblib_generator,
    },
    needs={"joblib, generator_unordered, nothing stored": "joblib"},
    targets=(
        Target("start, nobody reads", "map", 0.9),
        Target("start, read as they come", "joblib, generator_unordered, nothing stored", 1.5),
    ),
)

if __name__ == "__main__":
    main(WORKLOAD)
