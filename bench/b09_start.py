"""B9: start-up times: the import and two commands, as whole processes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from statistics import median
from time import perf_counter

from common import Outcome, Target, Workload, main


def _process(*arguments: str) -> float:
    """Return the median of five calls after a warm-up call, in seconds."""

    def once() -> float:
        began = perf_counter()
        subprocess.run([sys.executable, *arguments], check=True, capture_output=True)
        return perf_counter() - began

    once()
    return median(once() for _ in range(5))


def bare(_size: int, _db: Path) -> Outcome:
    return Outcome(1, _process("-c", "pass"))


def importing(_size: int, _db: Path) -> Outcome:
    return Outcome(1, _process("-c", "import pipeloom"))


def importing_map(_size: int, _db: Path) -> Outcome:
    return Outcome(1, _process("-c", "import pipeloom; pipeloom.map"))


def version(_size: int, _db: Path) -> Outcome:
    return Outcome(1, _process("-m", "pipeloom", "--version"))


def status(size: int, db: Path) -> Outcome:
    import pipeloom

    pipeloom.map(str, range(size), db=db, name="b9", progress=False)
    return Outcome(1, _process("-m", "pipeloom", "status", "--db", str(db)))


WORKLOAD = Workload(
    name="B9",
    what="import and commands, as whole processes",
    size=100_000,
    tiny=100,
    variants={
        "python -c pass": bare,
        "import pipeloom": importing,
        "import pipeloom; pipeloom.map": importing_map,
        "pipeloom --version": version,
        "pipeloom status on 100,000 tasks": status,
    },
    targets=(
        Target("import pipeloom", "python -c pass", 0.060, figure="seconds", at_least=False, difference=True),
        Target("pipeloom --version", None, 0.200, figure="seconds", at_least=False),
        Target("pipeloom status on 100,000 tasks", None, 0.300, figure="seconds", at_least=False),
    ),
)

if __name__ == "__main__":
    main(WORKLOAD)
