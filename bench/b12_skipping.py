"""B12: a second call over keys that are all done."""

from __future__ import annotations

import resource
import sqlite3
from contextlib import closing
from pathlib import Path
from time import perf_counter

from common import Outcome, Target, Workload, main, verify


def noop(_item: str) -> None:
    return None


def _keys(size: int) -> list[str]:
    return [f"key-{n:09d}" for n in range(size)]


def _all_done(size: int, db: Path) -> None:
    import pipeloom

    report = pipeloom.map(noop, _keys(size), db=db, name="b12", workers=4, progress=False, durability="off")
    verify(report.done, size)


def second_call(size: int, db: Path) -> Outcome:
    import pipeloom

    _all_done(size, db)
    keys = iter(_keys(size))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    began = perf_counter()
    report = pipeloom.map(noop, keys, db=db, name="b12", workers=4, progress=False)
    seconds = perf_counter() - began
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    verify((report.done, report.skipped), (0, size))
    return Outcome(size, seconds, {"grown_mib": grown})


def by_sql(size: int, db: Path) -> Outcome:
    """The limit: the same look-ups, 512 keys at a time, in plain SQL."""
    _all_done(size, db)
    keys = _keys(size)
    sql = f"SELECT key, id, status, run_id FROM task_runs WHERE pipeline_id = 1 AND key IN ({', '.join('?' * 512)})"
    found = 0
    with closing(sqlite3.connect(db)) as conn:
        began = perf_counter()
        for begin in range(0, size, 512):
            part = keys[begin : begin + 512]
            found += len(conn.execute(sql, part + [None] * (512 - len(part))).fetchall())
        seconds = perf_counter() - began
    verify(found, size)
    return Outcome(size, seconds)


WORKLOAD = Workload(
    name="B12",
    what="map over keys that are all done",
    size=1_000_000,
    tiny=1_000,
    variants={"second call": second_call, "the look-ups by SQL alone": by_sql},
    targets=(
        Target("second call", None, 100_000),
        Target("second call", None, 10, figure="grown_mib", at_least=False),
    ),
)

if __name__ == "__main__":
    main(WORKLOAD)
