"""B19: whole frames to SQLite: the rows of B6 as one frame of pandas, polars or pyarrow."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Any

import peers
from common import Outcome, Target, Workload, main, rows, timed, verify
from csvfiles import FLIGHTS

Load = Callable[[Any, Path], None]
Make = Callable[[dict[str, list[Any]]], Any]


def columns_of(size: int, dated: bool) -> dict[str, list[Any]]:
    """Return the rows of B6 by column; ``time_hour`` is text, or a datetime without a time zone."""
    found = dict(zip(FLIGHTS.columns, map(list, zip(*map(FLIGHTS.row, range(size)), strict=True)), strict=True))
    if dated:
        found["time_hour"] = [datetime.fromisoformat(text[:-1]) for text in found["time_hour"]]
    return found


def variant(make: Make, load: Load, *, dated: bool) -> Callable[[int, Path], Outcome]:
    """Return a variant that makes a frame and loads it into a file in WAL mode; only the loading is timed."""

    def measured(size: int, db: Path) -> Outcome:
        columns = columns_of(size, dated)
        frame = make(columns)
        with closing(sqlite3.connect(db)) as conn:
            conn.execute("PRAGMA journal_mode = WAL")
        seconds = timed(lambda: load(frame, db))
        hours = columns["time_hour"]
        sql = (
            "SELECT COUNT(*), SUM(distance), COUNT(DISTINCT time_hour), MIN(substr(time_hour, 1, 10)) FROM flights"
        )
        first = str(min(hours))[:10]
        verify(rows(db, sql), [(size, sum(columns["distance"]), len(set(hours)), first)])
        types = "SELECT DISTINCT typeof(year), typeof(distance), typeof(carrier), typeof(time_hour) FROM flights"
        verify(rows(db, types), [("integer", "integer", "text", "text")])
        return Outcome(size, seconds)

    return measured


def ours(frame: Any, db: Path) -> None:
    import pipeloom

    report = pipeloom.map(
        lambda _item, ctx: ctx.write("flights", frame), [0], db=db, name="b19", workers=1, progress=False
    )
    verify(report.done, 1)


def executemany(tuples: Any, db: Path) -> None:
    """Plain sqlite3, one transaction; ISO text is what its own adapter would make of a datetime."""
    with closing(sqlite3.connect(db, isolation_level=None)) as conn:
        conn.execute("PRAGMA synchronous = FULL")
        conn.execute(FLIGHTS.create)
        conn.execute("BEGIN")
        conn.executemany(FLIGHTS.insert, tuples)
        conn.execute("COMMIT")


def ready(columns: dict[str, list[Any]]) -> list[tuple[Any, ...]]:
    """The limit, with datetimes too: tuples that SQLite accepts unchanged."""
    return list(zip(*columns.values(), strict=True))


MAKE: dict[str, Make] = {"pandas": peers.pandas_frame, "polars": peers.polars_frame, "pyarrow": peers.arrow_table}
THEIRS: dict[str, tuple[str, Load, str]] = {
    "DataFrame.to_sql": ("pandas", peers.pandas_to_sql, "pandas"),
    "polars rows() and executemany": (
        "polars",
        lambda frame, db: executemany(map(peers.bindable, frame.iter_rows()), db),
        "polars",
    ),
    "polars write_database by ADBC": ("polars", peers.polars_by_adbc, "adbc_driver_sqlite"),
    "pyarrow to_pylist() and executemany": (
        "pyarrow",
        lambda table, db: executemany(map(peers.bindable, map(dict.values, table.to_pylist())), db),
        "pyarrow",
    ),
    "pyarrow by ADBC": ("pyarrow", peers.arrow_by_adbc, "adbc_driver_sqlite"),
}
AGAINST = {
    "pandas": "DataFrame.to_sql",
    "polars": "polars rows() and executemany",
    "pyarrow": "pyarrow to_pylist() and executemany",
}


def _variants(dated: bool) -> dict[str, Callable[[int, Path], Outcome]]:
    also = ", with datetimes" if dated else ""
    found = {f"{kind} frame{also}": variant(make, ours, dated=dated) for kind, make in MAKE.items()}
    for name, (kind, load, _) in THEIRS.items():
        found[name + also] = variant(MAKE[kind], load, dated=dated)
    return found


def _each(names: dict[str, str]) -> dict[str, str]:
    return {name + also: value for also in ("", ", with datetimes") for name, value in names.items()}


WORKLOAD = Workload(
    name="B19",
    what="one frame to SQLite, 19 columns",
    size=336_776,
    tiny=600,
    variants={
        **_variants(False),
        **_variants(True),
        "executemany of ready tuples": variant(ready, executemany, dated=False),
    },
    needs=_each(
        {**{f"{kind} frame": kind for kind in MAKE}, **{name: module for name, (_, _, module) in THEIRS.items()}}
    ),
    targets=tuple(
        Target(f"{kind} frame{also}", against, bound)
        for also in ("", ", with datetimes")
        for kind, theirs in AGAINST.items()
        for against, bound in ((theirs + also, 1.0), ("executemany of ready tuples", 0.5))
    ),
)

if __name__ == "__main__":
    main(WORKLOAD)
