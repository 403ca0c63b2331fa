"""B1, B10, B11: 200 messages per task from four threads, all durable at the end."""

from __future__ import annotations

import queue
import sqlite3
import threading
from pathlib import Path
from typing import Any

import peers
from common import Outcome, Target, Workload, main, rows, timed, verify

AT = "2026-01-01T00:00:00.000000+00:00"
PER_TASK = 200
THREADS = 4


def produce(source: Any, tasks: range) -> None:
    """Send all messages of some tasks: a start, 198 progress messages, a finish."""
    from pipeloom import MsgTaskFinished, MsgTaskProgress, MsgTaskStarted

    put = source.put
    for number in tasks:
        put(MsgTaskStarted(number, f"task {number}", AT))
        for step in range(1, PER_TASK - 1):
            put(MsgTaskProgress(number, step, PER_TASK - 2, "working"))
        put(MsgTaskFinished(number, "done", AT, "ok", "completed"))


def with_threads(source: Any, tasks: int) -> None:
    threads = [
        threading.Thread(target=produce, args=(source, range(1 + part, tasks + 1, THREADS)))
        for part in range(THREADS)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def check(db: Path, tasks: int) -> None:
    verify(
        rows(db, "SELECT status, COUNT(*), SUM(progress), SUM(id), COUNT(result) FROM task_runs GROUP BY status"),
        [("done", tasks, float(tasks), tasks * (tasks + 1) // 2, tasks)],
    )


def product(size: int, db: Path, source: Any, **options: Any) -> Outcome:
    from pipeloom import SENTINEL, SQLiteWriter

    tasks = max(1, size // PER_TASK)
    writer = SQLiteWriter(db, source, **options)
    writer.start()

    def work() -> None:
        with_threads(source, tasks)
        source.put(SENTINEL)
        writer.join()

    seconds = timed(work)
    check(db, tasks)
    return Outcome(tasks * PER_TASK, seconds)


def channel(size: int, db: Path, durability: str = "full") -> Outcome:
    from pipeloom import Channel

    return product(size, db, Channel(), durability=durability)


def channel_normal(size: int, db: Path) -> Outcome:
    return channel(size, db, "normal")


def plain_queue(size: int, db: Path) -> Outcome:
    return product(size, db, queue.Queue(1024))


def common_design(size: int, db: Path) -> Outcome:
    """One writer thread, one statement and one commit per message: the usual first version."""
    from pipeloom import SENTINEL, MsgTaskProgress, MsgTaskStarted

    tasks = max(1, size // PER_TASK)
    source: queue.Queue[Any] = queue.Queue(1024)

    def serve() -> None:
        conn = sqlite3.connect(db)
        conn.execute("PRAGMA journal_mode = WAL")
        conn.execute("PRAGMA synchronous = NORMAL")
        conn.execute(TABLE)
        while (message := source.get()) is not SENTINEL:
            if type(message) is MsgTaskStarted:
                conn.execute(STARTED, (message.task_id, message.name, message.started_at))
            elif type(message) is MsgTaskProgress:
                conn.execute(PROGRESS, (message.step / message.total, message.message, message.task_id))
            else:
                conn.execute(FINISHED, (message.finished_at, message.result, message.message, message.task_id))
            conn.commit()
        conn.close()

    writer = threading.Thread(target=serve)
    writer.start()

    def work() -> None:
        with_threads(source, tasks)
        source.put(SENTINEL)
        writer.join()

    seconds = timed(work)
    check(db, tasks)
    return Outcome(tasks * PER_TASK, seconds)


TABLE = (
    "CREATE TABLE task_runs (id INTEGER PRIMARY KEY, name TEXT NOT NULL, status TEXT NOT NULL, "
    "progress REAL NOT NULL DEFAULT 0.0, message TEXT, started_at TEXT, finished_at TEXT, result TEXT)"
)
STARTED = "INSERT INTO task_runs (id, name, status, progress, started_at) VALUES (?, ?, 'running', 0, ?)"
PROGRESS = "UPDATE task_runs SET progress = ?, message = ? WHERE id = ?"
FINISHED = (
    "UPDATE task_runs SET status = 'done', progress = 1.0, finished_at = ?, result = ?, message = ? WHERE id = ?"
)


def limit(size: int, db: Path) -> Outcome:
    """The same statements with executemany in one transaction, one thread, no queue."""
    tasks = max(1, size // PER_TASK)
    conn = sqlite3.connect(db, isolation_level=None)
    conn.execute("PRAGMA journal_mode = WAL")
    conn.execute("PRAGMA synchronous = FULL")
    conn.execute(TABLE)
    numbers = range(1, tasks + 1)
    steps = PER_TASK - 2

    def work() -> None:
        conn.execute("BEGIN")
        conn.executemany(STARTED, ((n, f"task {n}", AT) for n in numbers))
        conn.executemany(PROGRESS, ((step / steps, "working", n) for n in numbers for step in range(1, steps + 1)))
        conn.executemany(FINISHED, ((AT, "ok", "completed", n) for n in numbers))
        conn.execute("COMMIT")
        conn.close()

    seconds = timed(work)
    check(db, tasks)
    return Outcome(tasks * PER_TASK, seconds)


def peewee(size: int, db: Path) -> Outcome:
    """A peer: one commit per message, by one thread."""
    tasks = max(1, size // PER_TASK)
    seconds = peers.peewee_queue(tasks, PER_TASK, THREADS, AT, (TABLE, STARTED, PROGRESS, FINISHED), db)
    check(db, tasks)
    return Outcome(tasks * PER_TASK, seconds)


WORKLOAD = Workload(
    name="B1",
    what="200,000 messages for 1,000 tasks from 4 threads, all durable",
    size=200_000,
    tiny=2_000,
    variants={
        "channel": channel,
        "channel, durability normal": channel_normal,
        "queue.Queue(1024)": plain_queue,
        "one-transaction executemany": limit,
        "common design": common_design,
        "peewee's write queue": peewee,
        "channel, 10 times": channel,
    },
    sizes={"common design": 0.1, "peewee's write queue": 0.1, "channel, 10 times": 10},
    needs={"peewee's write queue": "peewee"},
    targets=(
        Target("channel", "common design", 40),
        Target("channel", "one-transaction executemany", 1.0),
        Target("queue.Queue(1024)", "common design", 15),
        Target("channel", "channel, durability normal", 1 / 1.5),
        Target("channel, 10 times", "channel", 1 / 1.15),
    ),
)

if __name__ == "__main__":
    main(WORKLOAD)
