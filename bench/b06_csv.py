"""B6: CSV files to SQLite: 24 files, 19 columns, 336,776 rows in all; also narrow rows and long text."""

from __future__ import annotations

import csv
import subprocess
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import peers
from common import Outcome, Target, Workload, main, timed
from csvfiles import FLIGHTS, LONG, NARROW, Shape, connection, many

Load = Callable[[Shape, list[Path], Path], Any]
WORKERS = 2


def measured(load: Load, size: int, db: Path, *, shape: Shape = FLIGHTS) -> Outcome:
    paths, total = many(shape, size)
    seconds = timed(lambda: load(shape, paths, db))
    shape.check(db, size, total)
    return Outcome(size, seconds)


def peer(prepare: Callable[[], Load], size: int, db: Path) -> Outcome:
    """Import it before timing, as ours is."""
    return measured(prepare(), size, db)


def load_tuples(path: Path, ctx: Any) -> None:
    with path.open(newline="") as file:
        reader = csv.reader(file)
        header = next(reader)
        ctx.write("flights", ctx.track(reader), columns=header)


def load_rows(path: Path, ctx: Any) -> None:
    with path.open(newline="") as file:
        for row in ctx.track(csv.DictReader(file)):
            ctx.write("flights", row)


def ours(function: Any, size: int, db: Path, *, shape: Shape = FLIGHTS, executor: Any = "threads") -> Outcome:
    import pipeloom

    run = pipeloom.map
    return measured(
        lambda shape, paths, db: run(
            function,
            paths,
            db=db,
            name="b6",
            workers=WORKERS,
            executor=executor,
            tables={"flights": shape.types},
            progress=False,
        ),
        size,
        db,
        shape=shape,
    )


def one_connection(shape: Shape, paths: list[Path], db: Path) -> None:
    """csv and executemany on one connection, one transaction per file."""
    conn = connection(shape, db)
    for source in paths:
        with source.open(newline="") as file:
            reader = csv.reader(file)
            next(reader)
            conn.execute("BEGIN")
            conn.executemany(shape.insert, reader)
            conn.execute("COMMIT")
    conn.close()


def loop_of_dicts(shape: Shape, paths: list[Path], db: Path) -> None:
    """The same row-by-row loop with plain executemany, one transaction per file."""
    named = f"INSERT INTO flights VALUES ({', '.join(':' + name for name in shape.columns)})"
    conn = connection(shape, db)
    for source in paths:
        with source.open(newline="") as file:
            found = []
            for row in csv.DictReader(file):
                found.append(row)  # noqa: PERF402 - the loop is measured
            conn.execute("BEGIN")
            conn.executemany(named, found)
            conn.execute("COMMIT")
    conn.close()


def command_line(shape: Shape, paths: list[Path], db: Path) -> None:
    """The sqlite3 program's .import, all files in one transaction."""
    lines = ["PRAGMA journal_mode = WAL;", "PRAGMA synchronous = FULL;", shape.create + ";", "BEGIN;", ".mode csv"]
    lines += [f".import --skip 1 '{source}' flights" for source in paths]
    subprocess.run(["sqlite3", str(db)], input="\n".join([*lines, "COMMIT;"]), text=True, check=True,
                   capture_output=True)  # fmt: skip


PEERS: dict[str, tuple[Callable[[], Load], str]] = {
    "pyarrow and ADBC": (peers.arrow_load, "adbc_driver_sqlite"),
    "csv and apsw's executemany": (peers.apsw_load, "apsw"),
    "pandas": (peers.pandas_load, "pandas"),
    "sqlite-utils": (peers.sqlite_utils_load, "sqlite_utils"),
}
SHAPES = {", narrow": (NARROW, 2_000_000), ", long text": (LONG, 25_000)}
SIZE = 336_776


def _variants(shape: Shape, also: str = "") -> dict[str, Callable[[int, Path], Outcome]]:
    """Return the variants for files of each shape."""
    return {
        "tuples with columns=" + also: partial(ours, load_tuples, shape=shape),
        "tuples, two processes" + also: partial(ours, load_tuples, shape=shape, executor="processes"),
        "sqlite3 .import" + also: partial(measured, command_line, shape=shape),
        "csv and executemany, one connection" + also: partial(measured, one_connection, shape=shape),
    }


WORKLOAD = Workload(
    name="B6",
    what="CSV files to SQLite, 24 files",
    size=SIZE,
    tiny=2_400,
    variants={
        **_variants(FLIGHTS),
        "row by row": partial(ours, load_rows),
        "row by row, two processes": partial(ours, load_rows, executor="processes"),
        "DictReader loop and executemany": partial(measured, loop_of_dicts),
        **{name: partial(peer, prepare) for name, (prepare, _) in PEERS.items()},
        **{
            name: variant for also, (shape, _) in SHAPES.items() for name, variant in _variants(shape, also).items()
        },
    },
    sizes={name: size / SIZE for also, (shape, size) in SHAPES.items() for name in _variants(shape, also)},
    needs={name: module for name, (_, module) in PEERS.items()},
    targets=(
        Target("tuples with columns=", "csv and executemany, one connection", 0.95),
        Target("row by row", "DictReader loop and executemany", 1.0),
        Target("tuples, two processes", "sqlite3 .import", 1.1),
        *(Target("tuples, two processes", name, 1.0) for name in PEERS),
        *(Target(f"tuples, two processes{also}", f"sqlite3 .import{also}", 1.1) for also in SHAPES),
        *(
            Target(f"tuples with columns={also}", f"csv and executemany, one connection{also}", 0.95)
            for also in SHAPES
        ),
    ),
)

if __name__ == "__main__":
    main(WORKLOAD)
