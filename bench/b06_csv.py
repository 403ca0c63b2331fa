"""B6: CSV files to SQLite: 24 files, 19 columns, 336,776 rows in all at full size."""

from __future__ import annotations

import csv
import sqlite3
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import peers
from common import Outcome, Target, Workload, main, rows, timed, verify

FILES = 24
COLUMNS = [
    "year", "month", "day", "dep_time", "sched_dep_time", "dep_delay", "arr_time", "sched_arr_time", "arr_delay",
    "carrier", "flight", "tailnum", "origin", "dest", "air_time", "distance", "hour", "minute", "time_hour",
]  # fmt: skip
TEXT = {"carrier", "tailnum", "origin", "dest", "time_hour"}
TYPES = {name: str if name in TEXT else int for name in COLUMNS}
CREATE = "CREATE TABLE flights (" + ", ".join(n + (" TEXT" if n in TEXT else " INTEGER") for n in COLUMNS) + ")"
INSERT = f"INSERT INTO flights VALUES ({', '.join('?' * len(COLUMNS))})"


def flight(n: int) -> tuple[Any, ...]:
    """Return a row like those of the flights of 2013."""
    return (
        2013, n % 12 + 1, n % 28 + 1, 500 + n % 1800, 500 + n % 1790, n % 61 - 10, 700 + n % 1600,
        710 + n % 1590, n % 71 - 20, ("UA", "AA", "B6", "DL")[n % 4], n % 8000, f"N{n % 4000:05d}",
        ("EWR", "JFK", "LGA")[n % 3], ("IAH", "MIA", "BQN", "ATL", "ORD")[n % 5], 30 + n % 600,
        80 + n * 37 % 4900, n % 24, n % 60, f"2013-{n % 12 + 1:02d}-{n % 28 + 1:02d}T{n % 24:02d}:00:00Z",
    )  # fmt: skip


def make_files(directory: Path, size: int) -> tuple[list[Path], list[tuple[int, int]]]:
    """Write the files; returns their paths, and (rows, sum of distance)."""
    directory.mkdir()
    paths, total = [], 0
    for part in range(FILES):
        path = directory / f"{part:02d}.csv"
        with path.open("w", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(COLUMNS)
            for n in range(part, size, FILES):
                row = flight(n)
                total += row[COLUMNS.index("distance")]
                writer.writerow(row)
        paths.append(path)
    return paths, [(size, total)]


def measured(size: int, db: Path, load: Callable[[list[Path], Path], Any]) -> Outcome:
    paths, expected = make_files(db.parent / "files", size)
    seconds = timed(lambda: load(paths, db))
    verify(rows(db, "SELECT COUNT(*), SUM(distance) FROM flights"), expected)
    verify(rows(db, "SELECT DISTINCT typeof(year), typeof(carrier) FROM flights"), [("integer", "text")])
    return Outcome(size, seconds)


def load_tuples(path: Path, ctx: Any) -> None:
    with path.open(newline="") as file:
        reader = csv.reader(file)
        header = next(reader)
        ctx.write("flights", ctx.track(reader), columns=header)


def load_rows(path: Path, ctx: Any) -> None:
    with path.open(newline="") as file:
        for row in ctx.track(csv.DictReader(file)):
            ctx.write("flights", row)


def _map(function: Any, size: int, db: Path, workers: int) -> Outcome:
    import pipeloom

    return measured(
        size,
        db,
        lambda paths, path: pipeloom.map(
            function, paths, db=path, name="b6", workers=workers, tables={"flights": TYPES}, progress=False
        ),
    )


def tuples(size: int, db: Path) -> Outcome:
    return _map(load_tuples, size, db, 2)


def row_by_row(size: int, db: Path) -> Outcome:
    return _map(load_rows, size, db, 2)


def _connection(db: Path) -> sqlite3.Connection:
    conn = sqlite3.connect(db, isolation_level=None)
    conn.execute("PRAGMA journal_mode = WAL")
    conn.execute("PRAGMA synchronous = FULL")
    conn.execute(CREATE)
    return conn


def one_connection(size: int, db: Path) -> Outcome:
    """csv and executemany on one connection, one transaction per file."""

    def load(paths: list[Path], path: Path) -> None:
        conn = _connection(path)
        for source in paths:
            with source.open(newline="") as file:
                reader = csv.reader(file)
                next(reader)
                conn.execute("BEGIN")
                conn.executemany(INSERT, reader)
                conn.execute("COMMIT")
        conn.close()

    return measured(size, db, load)


def loop_of_dicts(size: int, db: Path) -> Outcome:
    """The same row-by-row loop with plain executemany, one transaction per file."""
    named = f"INSERT INTO flights VALUES ({', '.join(':' + name for name in COLUMNS)})"

    def load(paths: list[Path], path: Path) -> None:
        conn = _connection(path)
        for source in paths:
            with source.open(newline="") as file:
                found = []
                for row in csv.DictReader(file):
                    found.append(row)  # noqa: PERF402 - the loop is what is measured
                conn.execute("BEGIN")
                conn.executemany(named, found)
                conn.execute("COMMIT")
        conn.close()

    return measured(size, db, load)


def command_line(size: int, db: Path) -> Outcome:
    """The sqlite3 program's .import, all files in one transaction."""

    def load(paths: list[Path], path: Path) -> None:
        lines = ["PRAGMA journal_mode = WAL;", "PRAGMA synchronous = FULL;", CREATE + ";", "BEGIN;", ".mode csv"]
        lines += [f".import --skip 1 '{source}' flights" for source in paths]
        subprocess.run(["sqlite3", str(path)], input="\n".join([*lines, "COMMIT;"]), text=True, check=True,
                       capture_output=True)  # fmt: skip

    return measured(size, db, load)


WORKLOAD = Workload(
    name="B6",
    what="CSV files to SQLite, 19 columns, 24 files",
    size=336_776,
    tiny=2_400,
    variants={
        "tuples with columns=": tuples,
        "row by row": row_by_row,
        "sqlite3 .import": command_line,
        "csv and executemany, one connection": one_connection,
        "DictReader loop and executemany": loop_of_dicts,
        "pandas": lambda size, db: measured(size, db, peers.pandas_load),
        "sqlite-utils": lambda size, db: measured(
            size, db, lambda paths, path: peers.sqlite_utils_load(paths, path, TYPES)
        ),
    },
    needs={"pandas": "pandas", "sqlite-utils": "sqlite_utils"},
    targets=(
        Target("tuples with columns=", "sqlite3 .import", 0.6),
        Target("row by row", "DictReader loop and executemany", 0.9),
    ),
)

if __name__ == "__main__":
    main(WORKLOAD)
