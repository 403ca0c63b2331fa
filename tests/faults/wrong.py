"""Programs with one mistake each, on plain sqlite3: what a harness must catch, or it checks nothing.

They keep the same tables and notes as ``programs.py``, and are started as ``python wrong.py NAME key=value …``.
"""

from __future__ import annotations

import os
import pickle
import queue
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path

if not __package__:
    sys.path.insert(0, str(Path(__file__).parent.parent))

from faults.bait import Bait
from faults.programs import Acks, rows_of

SCHEMA = """
CREATE TABLE IF NOT EXISTS task_runs (key INTEGER PRIMARY KEY, status TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS items (task INTEGER, i INTEGER, text TEXT);
CREATE TABLE IF NOT EXISTS parts (task INTEGER, i INTEGER, body BLOB);
"""


def opened(db: str, synchronous: str = "FULL", journal: str = "WAL", wait_s: float = 5) -> sqlite3.Connection:
    """Open the database in autocommit mode."""
    conn = sqlite3.connect(db, isolation_level=None, timeout=wait_s)
    conn.execute(f"PRAGMA journal_mode = {journal}")
    conn.execute(f"PRAGMA synchronous = {synchronous}")
    conn.executescript(SCHEMA)
    return conn


def todo(conn: sqlite3.Connection, count: str) -> list[int]:
    """Return what is not done yet."""
    done = {key for (key,) in conn.execute("SELECT key FROM task_runs WHERE status = 'done'")}
    return [task for task in range(int(count)) if task not in done]


def insert_rows(conn: sqlite3.Connection, task: int) -> None:
    """Write a task's rows, right away."""
    count = rows_of(task)
    conn.executemany("INSERT INTO items VALUES (?, ?, ?)", [(task, i, "x" * 50) for i in range(count["items"])])
    conn.executemany(
        "INSERT INTO parts VALUES (?, ?, ?)", [(task, i, os.urandom(1500)) for i in range(count["parts"])]
    )


def mark_done(conn: sqlite3.Connection, task: int) -> None:
    """Write its done mark."""
    conn.execute("INSERT OR REPLACE INTO task_runs VALUES (?, 'done')", (task,))


def mark_in_its_own_transaction(db: str, acks: str = "", count: str = "24", pause_s: str = "0") -> None:
    """The rows first, the done mark in a transaction of its own."""
    conn, noted = opened(db), Acks(acks)
    print("begun", flush=True)
    for task in todo(conn, count):
        conn.execute("BEGIN IMMEDIATE")
        insert_rows(conn, task)
        conn.execute("COMMIT")
        time.sleep(float(pause_s))
        mark_done(conn, task)
        noted.write([task])
    conn.close()


def noted_before_the_commit(db: str, acks: str = "", count: str = "24", pause_s: str = "0") -> None:
    """One transaction, and "saved" is said before it is committed."""
    conn, noted = opened(db), Acks(acks)
    print("begun", flush=True)
    for task in todo(conn, count):
        conn.execute("BEGIN IMMEDIATE")
        insert_rows(conn, task)
        mark_done(conn, task)
        noted.write([task])
        time.sleep(float(pause_s))
        conn.execute("COMMIT")
    conn.close()


def correct(
    db: str, acks: str = "", count: str = "24", synchronous: str = "FULL", journal: str = "WAL", pause_s: str = "0"
) -> None:
    """No mistake but the settings: with less than a sync per commit a power cut takes what was noted."""
    conn, noted = opened(db, synchronous, journal), Acks(acks)
    print("begun", flush=True)
    for task in todo(conn, count):
        conn.execute("BEGIN IMMEDIATE")
        insert_rows(conn, task)
        mark_done(conn, task)
        conn.execute("COMMIT")
        noted.write([task])
        time.sleep(float(pause_s))
    conn.close()


def rerun_from_the_start(db: str, acks: str = "", count: str = "24", pause_s: str = "0") -> None:
    """Sound at every instant, but a second call does all again."""
    conn, noted = opened(db), Acks(acks)
    print("begun", flush=True)
    for task in range(int(count)):
        conn.execute("BEGIN IMMEDIATE")
        insert_rows(conn, task)
        mark_done(conn, task)
        conn.execute("COMMIT")
        noted.write([task])
        time.sleep(float(pause_s))
    conn.close()


def errors_swallowed(db: str, acks: str = "", count: str = "24", wait_s: str = "5") -> None:
    """Whatever SQLite says, the program goes on and ends well; the note is written all the same."""
    noted = Acks(acks)
    try:
        conn = opened(db, wait_s=float(wait_s))
    except sqlite3.Error:
        return
    for task in range(int(count)):
        try:
            conn.execute("BEGIN IMMEDIATE")
            insert_rows(conn, task)
            mark_done(conn, task)
            conn.execute("COMMIT")
        except sqlite3.Error:
            if conn.in_transaction:
                conn.execute("ROLLBACK")
        noted.write([task])


def interrupt_taken_for_the_end(db: str, acks: str = "", count: str = "24", pause_s: str = "0") -> None:
    """Ctrl-C ends the loop, and the program ends as if all were done."""
    conn, noted = opened(db), Acks(acks)
    stop: list[int] = []
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda got, _: stop.append(got))
    print("begun", flush=True)
    for task in todo(conn, count):
        if stop:
            break
        conn.execute("BEGIN IMMEDIATE")
        insert_rows(conn, task)
        mark_done(conn, task)
        conn.execute("COMMIT")
        noted.write([task])
        time.sleep(float(pause_s))
    conn.close()


def deaf(db: str, count: str = "24") -> None:
    """It waits for its end where no signal is looked at."""
    opened(db).close()
    signal.signal(signal.SIGINT, lambda *_: None)
    signal.signal(signal.SIGTERM, lambda *_: None)
    print("begun", flush=True)
    threading.Event().wait()


def consumer_dies(producers: str = "24") -> None:
    """The common design: a bounded queue, and nobody who takes from it any more."""
    items: queue.Queue[int] = queue.Queue(8)

    def consume() -> None:
        items.get()  # and dies

    def produce() -> None:
        for i in range(100):
            items.put(i)

    threads = [threading.Thread(target=produce) for _ in range(int(producers))]
    consumer = threading.Thread(target=consume)
    for thread in (consumer, *threads):
        thread.start()
    for thread in threads:
        thread.join()


def orphan() -> None:
    """A worker process that does not look whether its parent is still there."""
    subprocess.Popen([sys.executable, "-c", "import time; time.sleep(30)"], process_group=0)
    print("begun", flush=True)
    time.sleep(30)


def unpickles(bait: str) -> None:
    """Whatever a worker says is loaded."""
    reading, writing = os.pipe()
    if os.fork() == 0:
        os.write(writing, pickle.dumps(("answer", Bait(bait))))
        os._exit(0)
    pickle.loads(os.read(reading, 65536))
    os.wait()


def chunk_again(db: str) -> None:
    """A worker stores its tasks one by one; when it dies, its chunk is done again from the start."""
    opened(db).close()
    for dies in (True, False):
        if (child := os.fork()) == 0:
            conn = opened(db)
            for task in range(8):
                if dies and task == 5:
                    os.kill(os.getpid(), signal.SIGKILL)
                store_outcome(conn, task)
            os._exit(0)
        os.waitpid(child, 0)


def taken_twice(db: str) -> None:
    """An outcome is stored as often as it comes."""
    conn = opened(db)
    for task in (0, 1, 2, 1):
        store_outcome(conn, task)
    conn.close()


def store_outcome(conn: sqlite3.Connection, task: int) -> None:
    """Store a task's rows with its done mark."""
    conn.execute("BEGIN IMMEDIATE")
    rows = [(task, i, "") for i in range(1 + task % 3)]
    conn.executemany("INSERT INTO items VALUES (?, ?, ?)", rows)
    mark_done(conn, task)
    conn.execute("COMMIT")


if __name__ == "__main__":
    globals()[sys.argv[1]](**dict(word.split("=", 1) for word in sys.argv[2:]))
