"""CSV files of a few shapes, and a check that a table contains all of their rows."""

from __future__ import annotations

import csv
import sqlite3
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from common import rows, scratch, verify

FILES = 24
BLOCK = 20_000  # rows that a large file repeats: making them takes longer than loading


@dataclass(frozen=True)
class Shape:
    """The shape of a row: its columns with their SQL types, and how the n-th row is made.

    The sum of the numeric column ``total`` shows whether each row is there exactly once.
    """

    columns: Mapping[str, str]
    row: Callable[[int], tuple[Any, ...]]
    total: str

    @cached_property
    def create(self) -> str:
        """The statement that creates the table, which is always called ``flights``."""
        return "CREATE TABLE flights (" + ", ".join(f"{name} {kind}" for name, kind in self.columns.items()) + ")"

    @cached_property
    def insert(self) -> str:
        return f"INSERT INTO flights VALUES ({', '.join('?' * len(self.columns))})"

    @cached_property
    def types(self) -> dict[str, type]:
        """The same for Python."""
        return {name: str if kind == "TEXT" else int for name, kind in self.columns.items()}

    def write(self, path: Path, numbers: Iterable[int]) -> int:
        """Write the rows with these numbers below a header; return the sum of ``total``."""
        place, total = list(self.columns).index(self.total), 0
        with path.open("w", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(self.columns)
            for number in numbers:
                row = self.row(number)
                total += row[place]
                writer.writerow(row)
        return total

    def check(self, db: Path, size: int, total: int) -> None:
        """Reject a table that lacks some of these rows, or has other types."""
        other = " OR ".join(f"typeof({name}) != '{kind.lower()}'" for name, kind in self.columns.items())
        found = rows(db, f"SELECT COUNT(*), SUM({self.total}), SUM({other}) FROM flights")
        verify(found, [(size, total, 0)])


def many(shape: Shape, size: int) -> tuple[list[Path], int]:
    """Return 24 files with ``size`` rows in all, and the sum of ``total``; they are kept for the next variant."""
    folder = scratch() / f"{size} rows of {len(shape.columns)} columns"
    if not folder.is_dir():
        with TemporaryDirectory(dir=scratch()) as half:
            for part in range(FILES):
                total = shape.write(Path(half) / f"{part:02d}.csv", range(part, size, FILES))
                (Path(half) / f"{part:02d}.total").write_text(str(total))
            Path(half).rename(folder)
            Path(half).mkdir()  # the context manager removes it
    totals = (int(path.read_text()) for path in folder.glob("*.total"))
    return sorted(folder.glob("*.csv")), sum(totals)


def one(shape: Shape, path: Path, size: int) -> int:
    """Write ``size`` rows into one file, in identical blocks; return the sum of ``total``."""
    whole, rest = divmod(size, BLOCK)
    total = whole * shape.write(path, range(BLOCK if whole else 0))
    lines = path.read_bytes().split(b"\n", 1)[1]
    last = path.with_suffix(".last")
    total += shape.write(last, range(rest))
    with path.open("ab") as file:
        for _ in range(whole - 1):
            file.write(lines)
        file.write(last.read_bytes().split(b"\n", 1)[1])
    last.unlink()
    return total


def connection(shape: Shape, db: Path) -> sqlite3.Connection:
    """Return a plain sqlite3 connection with the table, as durable as a run."""
    conn = sqlite3.connect(db, isolation_level=None)
    conn.execute("PRAGMA journal_mode = WAL")
    conn.execute("PRAGMA synchronous = FULL")
    conn.execute(shape.create)
    return conn


def _flight(n: int) -> tuple[Any, ...]:
    return (
        2013, n % 12 + 1, n % 28 + 1, 500 + n % 1800, 500 + n % 1790, n % 61 - 10, 700 + n % 1600,
        710 + n % 1590, n % 71 - 20, ("UA", "AA", "B6", "DL")[n % 4], n % 8000, f"N{n % 4000:05d}",
        ("EWR", "JFK", "LGA")[n % 3], ("IAH", "MIA", "BQN", "ATL", "ORD")[n % 5], 30 + n % 600,
        80 + n * 37 % 4900, n % 24, n % 60, f"2013-{n % 12 + 1:02d}-{n % 28 + 1:02d}T{n % 24:02d}:00:00Z",
    )  # fmt: skip


def _columns(text: str) -> dict[str, str]:
    """``name`` is a number, ``name:`` is text."""
    return {word.rstrip(":"): "TEXT" if word.endswith(":") else "INTEGER" for word in text.split()}


FLIGHTS = Shape(
    _columns(
        "year month day dep_time sched_dep_time dep_delay arr_time sched_arr_time arr_delay carrier: flight "
        "tailnum: origin: dest: air_time distance hour minute time_hour:"
    ),
    _flight,
    "distance",
)
NARROW = Shape(_columns("sensor: second value"), lambda n: (f"s{n % 90}", n, n * 37 % 4900), "value")
LONG = Shape(
    _columns("page title: author: body:"),
    lambda n: (
        n,
        f"Page {n}",
        ("Ann", "Ben")[n % 2],
        f"It was said, on page {n}, and said again.\n" * (60 + n % 80),
    ),
    "page",
)
