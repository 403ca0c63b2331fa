"""B18: odd shapes: statements between rows, rows with optional keys, rows that each add a column."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable
from contextlib import closing
from pathlib import Path
from random import Random
from typing import Any

from common import Outcome, Target, Workload, main, rows, timed, verify

GROWING = 1 / 40  # of the size: 500 rows of 20,000, since SQLite allows 2,000 columns
DELETE = "DELETE FROM t WHERE id = ?"

Row = dict[str, Any]


def run(db: Path, function: Callable[[Any, Any], None], items: Iterable[int] = (0,), **options: Any) -> float:
    """Run it in tasks; return the seconds from the call to the closed file."""
    from pipeloom import map as map_  # its imports belong to B9

    def work() -> None:
        report = map_(function, items, db=db, name="b18", workers=2, progress=False, **options)
        verify(report.failed, 0)

    return timed(work)


def plain(db: Path, work: Callable[[sqlite3.Connection], None]) -> float:
    """Do the same on one connection in one transaction; return the seconds from opening to closing the file."""

    def load() -> None:
        with closing(sqlite3.connect(db, isolation_level=None)) as conn:
            conn.execute("PRAGMA journal_mode = WAL")
            conn.execute("PRAGMA synchronous = FULL")
            conn.execute("BEGIN")
            work(conn)
            conn.execute("COMMIT")

    return timed(load)


def insert(conn: sqlite3.Connection, row: Row) -> None:
    sql = f"INSERT INTO t ({', '.join(row)}) VALUES ({', '.join('?' * len(row))})"
    conn.execute(sql, tuple(row.values()))


# --- alternate execute and write ---


def pairs(size: int, db: Path, load: Callable[[], float]) -> Outcome:
    """Replace the older rows of a table one by one."""
    with closing(sqlite3.connect(db)) as conn:
        conn.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT)")
        conn.executemany("INSERT INTO t VALUES (?, 'old')", ((n,) for n in range(size)))
        conn.commit()
    seconds = load()
    verify(rows(db, "SELECT v, COUNT(*), SUM(id) FROM t GROUP BY v"), [("new", size, size * (size - 1) // 2)])
    return Outcome(size, seconds)


def pairs_by_task(size: int, db: Path) -> Outcome:
    def task(_item: int, ctx: Any) -> None:
        for n in range(size):
            ctx.execute(DELETE, (n,))
            ctx.write("t", {"id": n, "v": "new"})

    return pairs(size, db, lambda: run(db, task))


def pairs_by_sql(size: int, db: Path) -> Outcome:
    def work(conn: sqlite3.Connection) -> None:
        for n in range(size):
            conn.execute(DELETE, (n,))
            insert(conn, {"id": n, "v": "new"})

    return pairs(size, db, lambda: plain(db, work))


# --- optional keys ---


def optional(size: int, keys: int) -> list[Row]:
    """Make rows with ``id`` and a random subset of the other keys: up to ``2 ** keys`` shapes, in random order."""
    draw = Random(18).random
    return [{"id": n, **{f"k{key}": n + key for key in range(keys) if draw() < 0.5}} for n in range(size)]


def with_keys(keys: int, load: Callable[[Path, list[Row], list[str]], float]) -> Callable[[int, Path], Outcome]:
    def variant(size: int, db: Path) -> Outcome:
        given = optional(size, keys)
        names = ["id", *(f"k{key}" for key in range(keys))]
        seconds = load(db, given, names)
        sums = ", ".join(f"COUNT({name}), SUM({name})" for name in names)
        expected = [
            figure
            for name in names
            for values in [[row[name] for row in given if name in row]]
            for figure in (len(values), sum(values))
        ]
        verify(rows(db, f"SELECT {sums} FROM t"), [tuple(expected)])
        return Outcome(size, seconds)

    return variant


def one_by_one(db: Path, given: list[Row], _names: list[str]) -> float:
    def task(_item: int, ctx: Any) -> None:
        for row in given:
            ctx.write("t", row)

    return run(db, task)


def in_one_call(db: Path, given: list[Row], _names: list[str]) -> float:
    return run(db, lambda _item, ctx: ctx.write("t", given))


def a_statement_each(db: Path, given: list[Row], names: list[str]) -> float:
    def work(conn: sqlite3.Connection) -> None:
        conn.execute(f"CREATE TABLE t ({', '.join(names)})")
        for row in given:
            insert(conn, row)

    return plain(db, work)


def padded(db: Path, given: list[Row], names: list[str]) -> float:
    """The limit, if all keys are known beforehand and none has a DEFAULT."""

    def work(conn: sqlite3.Connection) -> None:
        conn.execute(f"CREATE TABLE t ({', '.join(names)})")
        sql = f"INSERT INTO t VALUES ({', '.join('?' * len(names))})"
        conn.executemany(sql, (tuple(map(row.get, names)) for row in given))

    return plain(db, work)


# --- each row adds a column ---


def growing(size: int, db: Path, load: Callable[[], float]) -> Outcome:
    with closing(sqlite3.connect(db)) as conn:
        conn.execute("CREATE TABLE t (id INTEGER PRIMARY KEY)")
        conn.commit()
    seconds = load()
    counts = " + ".join(f"COUNT(c{n})" for n in range(size))
    sums = " + ".join(f"SUM(c{n})" for n in range(size))
    verify(rows(db, f"SELECT COUNT(*), {counts}, {sums} FROM t"), [(size, size, size * (size - 1) // 2)])
    return Outcome(size, seconds)


def growing_in_one_task(size: int, db: Path) -> Outcome:
    def task(_item: int, ctx: Any) -> None:
        for n in range(size):
            ctx.write("t", {"id": n, f"c{n}": n}, alter=True)

    return growing(size, db, lambda: run(db, task))


def growing_by_tasks(size: int, db: Path) -> Outcome:
    def task(n: int, ctx: Any) -> None:
        ctx.write("t", {"id": n, f"c{n}": n})

    return growing(size, db, lambda: run(db, task, range(size), alter=True))


def growing_by_sql(size: int, db: Path) -> Outcome:
    def work(conn: sqlite3.Connection) -> None:
        for n in range(size):
            conn.execute(f"ALTER TABLE t ADD COLUMN c{n} INTEGER")
            insert(conn, {"id": n, f"c{n}": n})

    return growing(size, db, lambda: plain(db, work))


AGAINST = {
    "execute and write by turns": "DELETE and INSERT by turns, sqlite3",
    "12 optional keys, row by row": "12 optional keys, sqlite3",
    "12 optional keys, one call": "12 optional keys, sqlite3",
    "1 optional key, row by row": "1 optional key, sqlite3",
    "1 optional key, one call": "1 optional key, sqlite3",
    "a new column a row, one task": "a new column a row, sqlite3",
    "a new column a row, a task each": "a new column a row, sqlite3",
}

WORKLOAD = Workload(
    name="B18",
    what="odd shapes, in one task each but the last",
    size=20_000,
    tiny=400,
    variants={
        "execute and write by turns": pairs_by_task,
        "DELETE and INSERT by turns, sqlite3": pairs_by_sql,
        "12 optional keys, row by row": with_keys(12, one_by_one),
        "12 optional keys, one call": with_keys(12, in_one_call),
        "12 optional keys, sqlite3": with_keys(12, a_statement_each),
        "12 optional keys padded, executemany": with_keys(12, padded),
        "1 optional key, row by row": with_keys(1, one_by_one),
        "1 optional key, one call": with_keys(1, in_one_call),
        "1 optional key, sqlite3": with_keys(1, a_statement_each),
        "1 optional key padded, executemany": with_keys(1, padded),
        "a new column a row, one task": growing_in_one_task,
        "a new column a row, a task each": growing_by_tasks,
        "a new column a row, sqlite3": growing_by_sql,
    },
    sizes={
        "a new column a row, one task": GROWING,
        "a new column a row, a task each": GROWING,
        "a new column a row, sqlite3": GROWING,
    },
    targets=tuple(Target(ours, theirs, 3, figure="seconds", at_least=False) for ours, theirs in AGAINST.items()),
)

if __name__ == "__main__":
    main(WORKLOAD)
