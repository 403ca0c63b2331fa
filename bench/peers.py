"""Peers to compare with: measured if they are installed, otherwise listed as left out.

    pip install aiolimiter aiometer asynciolimiter joblib mpire loky huey peewee pandas sqlite-utils polars pyarrow
    pip install adbc-driver-sqlite apsw

For peers that store nothing, the results are counted; for the others the database is read afterwards, as for ours.
"""

from __future__ import annotations

import csv
import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import BrokenExecutor, Future
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

from common import Outcome, timed, verify
from csvfiles import Shape, connection

WORKERS = 4
Load = Callable[[Shape, list[Path], Path], None]
Task = Callable[[int], Any]
Pool = Callable[[Task, Iterable[int], int], Iterator[Any]]
Submit = Callable[[Task, Iterable[int]], int]


def noop(_item: int) -> None:
    return None


def joblib_threads(size: int, _db: Path) -> Outcome:
    """No-op tasks in threads; nothing is stored."""
    import joblib

    found: list[None] = []
    seconds = timed(
        lambda: found.extend(
            joblib.Parallel(WORKERS, prefer="threads")(joblib.delayed(noop)(n) for n in range(size))
        )
    )
    verify(len(found), size)
    return Outcome(size, seconds)


def mpire_threads(size: int, _db: Path) -> Outcome:
    """No-op tasks in threads; nothing is stored."""
    from mpire import WorkerPool

    ended = 0

    def work() -> None:
        nonlocal ended
        with WorkerPool(WORKERS, start_method="threading") as pool:
            for _ in pool.imap_unordered(noop, range(size), iterable_len=size):
                ended += 1

    seconds = timed(work)
    verify(ended, size)
    return Outcome(size, seconds)


def huey_sqlite(size: int, db: Path) -> Outcome:
    """No-op tasks queued in SQLite, run by four threads of this process, with their results stored."""
    from huey import SqliteHuey

    huey = SqliteHuey(filename=str(db), fsync=True)
    ended = threading.Semaphore(0)

    @huey.task()
    def task(number: int) -> int:
        ended.release()
        return number

    def work() -> None:
        consumer = huey.create_consumer(workers=WORKERS, periodic=False, initial_delay=0.001, max_delay=0.01)
        consumer.start()
        for number in range(size):
            task(number)
        for _ in range(size):
            ended.acquire()
        consumer.stop(graceful=True)

    seconds = timed(work)
    verify(huey.pending_count(), 0)
    verify(huey.result_count(), size)
    return Outcome(size, seconds)


def peewee_queue(tasks: int, per_task: int, threads: int, at: str, table: Sequence[str], db: Path) -> float:
    """Send the same messages as in B1 through peewee's write queue, with one writing thread; return seconds."""
    from playhouse.sqliteq import SqliteQueueDatabase

    create, started, progress, finished = table
    with sqlite3.connect(db) as conn:
        conn.execute("PRAGMA journal_mode = WAL")
        conn.execute(create)
    conn.close()
    queue = SqliteQueueDatabase(str(db), autostart=True, queue_max_size=1024, pragmas={"synchronous": 1})
    steps = per_task - 2

    def produce(part: int) -> None:
        last = None
        for number in range(1 + part, tasks + 1, threads):
            queue.execute_sql(started, (number, f"task {number}", at))
            for step in range(1, steps + 1):
                queue.execute_sql(progress, (step / steps, "working", number))
            last = queue.execute_sql(finished, (at, "ok", "completed", number))
        if last is not None:
            last.rowcount  # noqa: B018 - waits until it is written, and so everything before it

    def work() -> None:
        speaking = [threading.Thread(target=produce, args=(part,)) for part in range(threads)]
        for thread in speaking:
            thread.start()
        for thread in speaking:
            thread.join()
        queue.stop()

    return timed(work)


def executor_map(workers: int) -> Pool:
    """The standard library's pool, with its default start method."""
    from concurrent.futures import ProcessPoolExecutor

    def run(task: Task, items: Iterable[int], chunk: int) -> Iterator[Any]:
        with ProcessPoolExecutor(workers) as pool:
            yield from pool.map(task, items, chunksize=chunk)

    return run


def pool_imap(workers: int) -> Pool:
    """The standard library's older pool."""
    import multiprocessing

    def run(task: Task, items: Iterable[int], chunk: int) -> Iterator[Any]:
        with multiprocessing.Pool(workers) as pool:
            yield from pool.imap_unordered(task, items, chunksize=chunk)

    return run


def loky_map(workers: int) -> Pool:
    """joblib's pool."""
    from loky import ProcessPoolExecutor

    def run(task: Task, items: Iterable[int], chunk: int) -> Iterator[Any]:
        with ProcessPoolExecutor(workers) as pool:
            yield from pool.map(task, items, chunksize=chunk)

    return run


def mpire_imap(workers: int) -> Pool:
    from mpire import WorkerPool

    def run(task: Task, items: Iterable[int], chunk: int) -> Iterator[Any]:
        listed = list(items)
        with WorkerPool(workers) as pool:
            yield from pool.imap_unordered(task, listed, iterable_len=len(listed), chunk_size=chunk)

    return run


def executor_submit(workers: int) -> Submit:
    """Return a function that submits all tasks, and counts the completed ones."""
    from concurrent.futures import ProcessPoolExecutor

    return lambda task, items: _answered(ProcessPoolExecutor(workers), task, items)


def loky_submit(workers: int) -> Submit:
    from loky import ProcessPoolExecutor

    return lambda task, items: _answered(ProcessPoolExecutor(workers), task, items)


def _answered(pool: Any, task: Task, items: Iterable[int]) -> int:
    futures: list[Future[Any]] = []
    with pool, suppress(BrokenExecutor):  # a broken pool accepts nothing more
        futures += (pool.submit(task, item) for item in items)
    return sum(future.exception() is None for future in futures)


def pandas_load() -> Load:
    """Read and append file by file."""
    import pandas as pd

    def load(shape: Shape, paths: list[Path], db: Path) -> None:
        connection(shape, db).close()
        with closing(sqlite3.connect(db)) as conn:  # pandas commits, a file at a time
            for path in paths:
                pd.read_csv(path).to_sql("flights", conn, if_exists="append", index=False)

    return load


def sqlite_utils_load() -> Load:
    """Insert dictionaries, file by file."""
    import sqlite_utils

    def load(shape: Shape, paths: list[Path], db: Path) -> None:
        with closing(sqlite3.connect(db)) as conn:
            database = sqlite_utils.Database(conn)
            database.enable_wal()
            table = database.table("flights")
            table.create(dict(shape.types))
            for path in paths:
                with path.open(newline="") as file:
                    table.insert_all(csv.DictReader(file), batch_size=1000)

    return load


def arrow_load() -> Load:
    """pyarrow reads a file with all cores; a C driver copies its columns, one transaction per file."""
    import pyarrow as pa
    from adbc_driver_sqlite import dbapi
    from pyarrow import csv as reader

    def load(shape: Shape, paths: list[Path], db: Path) -> None:
        connection(shape, db).close()  # the file stays in WAL mode, and each connection syncs fully by default
        kinds = {name: pa.string() if kind is str else pa.int64() for name, kind in shape.types.items()}
        options = reader.ConvertOptions(column_types=kinds)
        with dbapi.connect(str(db)) as conn, conn.cursor() as cursor:
            for path in paths:
                cursor.adbc_ingest("flights", reader.read_csv(path, convert_options=options), mode="append")
                conn.commit()

    return load


def apsw_load() -> Load:
    """csv and executemany with the other Python binding of SQLite, which bundles a newer version."""
    import apsw

    def load(shape: Shape, paths: list[Path], db: Path) -> None:
        conn = apsw.Connection(str(db))
        conn.execute("PRAGMA journal_mode = WAL")
        conn.execute("PRAGMA synchronous = FULL")
        conn.execute(shape.create)
        for path in paths:
            with path.open(newline="") as file, conn:
                reader = csv.reader(file)
                next(reader)
                conn.executemany(shape.insert, reader)
        conn.close()

    return load


def pandas_frame(columns: dict[str, list[Any]]) -> Any:
    import pandas as pd

    return pd.DataFrame(columns)


def polars_frame(columns: dict[str, list[Any]]) -> Any:
    import polars as pl

    return pl.DataFrame(columns)


def arrow_table(columns: dict[str, list[Any]]) -> Any:
    import pyarrow as pa

    return pa.table(columns)


def pandas_to_sql(frame: Any, db: Path) -> None:
    """The writer of pandas itself."""
    conn = sqlite3.connect(db)
    frame.to_sql("flights", conn, if_exists="append", index=False)
    conn.close()


def polars_by_adbc(frame: Any, db: Path) -> None:
    """The writer of polars, with a C driver."""
    frame.write_database("flights", f"sqlite:///{db}", engine="adbc")


def arrow_by_adbc(table: Any, db: Path) -> None:
    """The same driver, used directly."""
    from adbc_driver_sqlite import dbapi

    with dbapi.connect(str(db)) as conn, conn.cursor() as cursor:
        cursor.adbc_ingest("flights", table)
        conn.commit()


def bindable(values: Iterable[Any]) -> tuple[Any, ...]:
    """Values that sqlite3 accepts without its deprecated adapters: the last one, a datetime, as text."""
    *plain, last = values
    return (*plain, last if isinstance(last, str) else last.isoformat())
