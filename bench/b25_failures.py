"""B25: the cost of failures, and how long it takes to group many failures by kind."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from time import process_time
from typing import Any

from common import Outcome, Target, Workload, main, rows, timed, verify

WORKERS = 4
LOOKS = 5


def fine(item: int) -> None:
    """Do nothing."""


def alike(item: int) -> None:
    """Fail like half of a service does."""
    raise ValueError(f"HTTP 503 for https://example.org/{item}")


def unlike(item: int) -> None:
    """Fail with a message that no other failure has."""
    raise ValueError("".join(chr(ord("g") + int(digit)) for digit in str(item)))


def fail(size: int, db: Path, function: Any = alike) -> float:
    """Run all tasks; return the processor time."""
    import pipeloom

    spent = process_time()
    report = pipeloom.map(
        function, range(size), db=db, name="b25", workers=WORKERS, on_error="collect", progress=False
    )
    spent = process_time() - spent
    verify(report.total, size)
    return spent


def failing(size: int, db: Path, *, function: Any) -> Outcome:
    """Run tasks that fail, or not."""
    spent: list[float] = []
    seconds = timed(lambda: spent.append(fail(size, db, function)))
    status = "done" if function is fine else "error"
    verify(rows(db, "SELECT status, COUNT(*) FROM task_runs GROUP BY 1"), [(status, size)])
    kinds = rows(db, "SELECT COUNT(DISTINCT kind) FROM task_runs")[0][0]
    verify(kinds, {fine: 0, alike: 1}.get(function, min(size, 51)))
    return Outcome(size, seconds, {"cpu_us": spent[0] / size * 1e6})


def looking(size: int, db: Path) -> Outcome:
    """Group them as ``pipeloom errors`` does."""
    from pipeloom.history import History

    fail(size, db)
    with History(db) as history:
        seconds = min(timed(lambda: verify(history.error_groups()[0].count, size)) for _ in range(LOOKS))
    return Outcome(size, seconds)


def asking(size: int, db: Path, *, what: str) -> Outcome:
    """Group them in SQL."""
    fail(size, db)
    sql = f"SELECT {what}, COUNT(*), MIN(id), MIN(finished_at), MAX(finished_at) FROM task_runs GROUP BY {what}"
    seconds = min(timed(lambda: verify(sum(row[-4] for row in rows(db, sql)), size)) for _ in range(LOOKS))
    return Outcome(size, seconds)


WORKLOAD = Workload(
    name="B25",
    what="tasks that fail, and a look at why",
    size=50_000,
    tiny=60,
    variants={
        "done": partial(failing, function=fine),
        "failing alike": partial(failing, function=alike),
        "failing unlike": partial(failing, function=unlike),
        "errors": looking,
        "SQL, by exception and place": partial(asking, what="exception, place"),
        "SQL, by status": partial(asking, what="status"),
    },
    targets=(
        Target("failing alike", "done", 10.0, figure="cpu_us", at_least=False),
        Target("failing unlike", "failing alike", 1.3, figure="cpu_us", at_least=False),
        Target("errors", "SQL, by exception and place", 2.0),
    ),
)

if __name__ == "__main__":
    main(WORKLOAD)
