"""B24: rows that store their task, the cost of checking versions, and running changed inputs again."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from time import process_time
from typing import Any

from common import Outcome, Target, Workload, main, rows, timed, verify

ROWS = 20  # per task
LARGE = 14_000  # per task when there are few tasks, as in B6
WORKERS = 4

present = {"generation": 0}  # the version of all inputs


def load(item: int, ctx: Any) -> None:
    """Store some rows of five columns."""
    _write(item, ROWS, ctx)


def load_many(item: int, ctx: Any) -> None:
    """Store as many rows as a CSV file has."""
    _write(item, LARGE, ctx)


def _write(item: int, count: int, ctx: Any) -> None:
    ctx.write(
        "measured",
        [(item, row, f"sensor-{row}", row * 0.5, present["generation"]) for row in range(count)],
        columns=("item", "row", "sensor", "value", "generation"),
    )


def version_of(_item: int) -> int:
    return present["generation"]


def run(size: int, db: Path, function: Any = load, **options: Any) -> Outcome:
    """Load all inputs; a task has the generation that was current when its input was read."""
    import pipeloom

    call = partial(
        pipeloom.map, function, range(size), db=db, name="b24", workers=WORKERS, progress=False, **options
    )
    spent = process_time()
    seconds = timed(call)
    return Outcome(size, seconds, {"cpu_us": (process_time() - spent) / size * 1e6})


def check(size: int, db: Path, count: int) -> None:
    """Check that every task is done, and has one generation of rows, the current one."""
    verify(rows(db, "SELECT status, COUNT(*) FROM task_runs GROUP BY 1"), [("done", size)])
    verify(
        rows(db, "SELECT generation, COUNT(*), COUNT(DISTINCT item) FROM measured GROUP BY 1"),
        [(present["generation"], size * count, size)],
    )


def loading(size: int, db: Path, *, few: bool = False, **options: Any) -> Outcome:
    size = max(2, size // 400) if few else size
    outcome = run(size, db, load_many if few else load, **options)
    check(size, db, LARGE if few else ROWS)
    return outcome


def skipping(size: int, db: Path, **options: Any) -> Outcome:
    """Run inputs that are already done."""
    run(size, db, **options)
    outcome = run(size, db, **options)
    check(size, db, ROWS)
    return outcome


def again(size: int, db: Path, **options: Any) -> Outcome:
    """Run inputs that have all changed."""
    run(size, db, version=version_of)
    present["generation"] += 1
    outcome = run(size, db, **options)
    check(size, db, ROWS)
    return outcome


WORKLOAD = Workload(
    name="B24",
    what=f"tasks of {ROWS} rows that know them, and are done again",
    size=10_000,
    tiny=60,
    variants={
        "loading": loading,
        "loading, rows store their task": partial(loading, own_rows=True),
        "loading, with versions": partial(loading, version=version_of),
        "large files": partial(loading, few=True),
        "large files, rows store their task": partial(loading, few=True, own_rows=True),
        "skipping": skipping,
        "skipping, with versions": partial(skipping, version=version_of),
        "all have changed": partial(again, version=version_of),
    },
    targets=(
        Target("loading, rows store their task", "loading", 1.25, figure="cpu_us", at_least=False),
        Target("large files, rows store their task", "large files", 1.5, figure="cpu_us", at_least=False),
        Target("skipping, with versions", "skipping", 2.0, figure="cpu_us", at_least=False),
        Target("all have changed", "loading, with versions", 2.0, figure="cpu_us", at_least=False),
    ),
)

if __name__ == "__main__":
    main(WORKLOAD)
