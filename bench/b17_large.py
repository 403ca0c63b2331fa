"""B17: one task loads 1 GB of CSV: its memory in all processes, and its speed."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import b06_csv
from common import Outcome, Target, Workload, main, timed, verify
from csvfiles import FLIGHTS, one
from family import peaks


def large(executor: Any, size: int, db: Path) -> Outcome:
    """``peak_mib`` adds up each process's peak, and so counts shared memory more than once."""
    import pipeloom

    run, source = pipeloom.map, db.parent / "large.csv"
    total = one(FLIGHTS, source, size)
    megabytes = source.stat().st_size / 1e6
    with peaks() as found:
        seconds = timed(
            lambda: run(
                b06_csv.load_tuples,
                [source],
                db=db,
                name="b17",
                workers=1,
                executor=executor,
                tables={"flights": FLIGHTS.types},
                progress=False,
            )
        )
    FLIGHTS.check(db, size, total)
    verify(bool(found), True)
    return Outcome(size, seconds, {"megabytes": megabytes, "peak_mib": sum(found.values())})


SIZE = 10_800_000
SMALL = ("24 files, threads", "24 files, processes")
LARGE = ("one file, threads", "one file, processes")

WORKLOAD = Workload(
    name="B17",
    what="one task loads 1 GB of CSV",
    size=SIZE,
    tiny=30_000,
    variants={
        LARGE[0]: partial(large, "threads"),
        LARGE[1]: partial(large, "processes"),
        SMALL[0]: partial(b06_csv.ours, b06_csv.load_tuples),
        SMALL[1]: partial(b06_csv.ours, b06_csv.load_tuples, executor="processes"),
    },
    sizes=dict.fromkeys(SMALL, b06_csv.SIZE / SIZE),
    targets=(
        *(Target(name, None, 200, figure="peak_mib", at_least=False) for name in LARGE),
        *(Target(name, against, 0.9) for name, against in zip(LARGE, SMALL, strict=True)),
    ),
)

if __name__ == "__main__":
    main(WORKLOAD)
