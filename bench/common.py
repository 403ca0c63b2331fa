"""What all workloads share: running a variant in its own process, timing, verifying and reporting it.

A workload is a script. Run directly, it runs one variant once and prints one line of JSON:

    python bench/b03_noop.py --variant map --size 20000
"""

from __future__ import annotations

import argparse
import json
import sqlite3
import tempfile
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from time import perf_counter
from typing import Any


@dataclass
class Outcome:
    """The result of one variant: ``seconds`` for ``items``, or a figure measured in another way."""

    items: int
    seconds: float
    more: dict[str, float] = field(default_factory=dict)


Variant = Callable[[int, Path], Outcome]


@dataclass(frozen=True)
class Target:
    """``variant`` should be at least, or at most, ``bound`` times ``against`` in ``figure``.

    Without ``against`` the bound is absolute; with ``difference``, it limits the difference from ``against``.
    """

    variant: str
    against: str | None
    bound: float
    figure: str = "rate"
    at_least: bool = True
    difference: bool = False


@dataclass(frozen=True)
class Workload:
    """What is measured: variants to compare, and their targets."""

    name: str
    what: str
    size: int
    tiny: int
    variants: dict[str, Variant]
    targets: tuple[Target, ...] = ()
    sizes: dict[str, float] = field(default_factory=dict)
    """Variants that run at another multiple of the size."""
    needs: dict[str, str] = field(default_factory=dict)
    """Variants that are left out if this module is not installed: peers."""

    def present(self) -> dict[str, Variant]:
        """Return the variants that can run here."""
        return {
            name: variant
            for name, variant in self.variants.items()
            if name not in self.needs or find_spec(self.needs[name]) is not None
        }


def timed(work: Callable[[], Any]) -> float:
    """Return how many seconds ``work`` takes."""
    began = perf_counter()
    work()
    return perf_counter() - began


def rows(db: Path, sql: str, *params: Any) -> list[tuple[Any, ...]]:
    """Query the database afterwards."""
    with closing(sqlite3.connect(db)) as conn:
        return conn.execute(sql, params).fetchall()


def verify(found: Any, expected: Any) -> None:
    """Refuse to print a number for work that was not done."""
    if found != expected:
        raise SystemExit(f"verification failed: found {found!r}, expected {expected!r}")


def main(workload: Workload) -> None:
    """Run one variant once, or several one after the other."""
    parser = argparse.ArgumentParser(description=workload.what)
    parser.add_argument("--variant", required=True, action="append", choices=sorted(workload.variants))
    parser.add_argument("--size", type=int, default=workload.size)
    options = parser.parse_args()
    for variant in options.variant:
        size = max(1, int(options.size * workload.sizes.get(variant, 1.0)))
        # On the disk of the checkout: a memory file system would make fsync free.
        with tempfile.TemporaryDirectory(dir=scratch()) as directory:
            outcome = workload.variants[variant](size, Path(directory) / "bench.db")
        figures = {"items": outcome.items, "seconds": outcome.seconds, **outcome.more}
        if outcome.seconds > 0:
            figures.setdefault("rate", outcome.items / outcome.seconds)
        print(json.dumps(figures), flush=True)


def scratch() -> Path:
    """Return a directory of this checkout for databases."""
    path = Path(__file__).resolve().parent.parent / ".cache" / "bench"
    path.mkdir(parents=True, exist_ok=True)
    return path
