"""B7: the delay from a worker's finish to another process seeing it: idle, flooded, beside computing threads."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path
from time import sleep, time
from typing import Any

from common import Outcome, Target, Workload, main

# The reader records the time when it first sees each task done. Both processes read the same clock.
READER = """
import sqlite3, sys, time
path, first, last = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
conn = sqlite3.connect(path + "?mode=ro", uri=True)
print("ready", flush=True)
seen = first
while seen < last:
    found = conn.execute("SELECT id, result FROM task_runs WHERE id >= ? AND status = 'done'", (seen,)).fetchall()
    now = time.time()
    for number, said in found:
        print(now - float(said))
        seen = max(seen, number + 1)
"""
FIRST = 1_000_000


def _latencies(size: int, db: Path, beside: str) -> Outcome:
    from pipeloom import SENTINEL, Channel, MsgTaskFinished, MsgTaskProgress, MsgTaskStarted, SQLiteWriter

    source: Channel[Any] = Channel()
    writer = SQLiteWriter(db, source)
    writer.start()
    reader = subprocess.Popen(
        [sys.executable, "-c", READER, db.absolute().as_uri(), str(FIRST), str(FIRST + size)],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert reader.stdout is not None
    reader.stdout.readline()
    over = threading.Event()
    said = [0]

    def flood(number: int) -> None:
        source.put(MsgTaskStarted(number, "flood", "t"))
        while not over.is_set():
            for step in range(100):
                source.put(MsgTaskProgress(number, step, 100))
            said[0] += 100

    def compute() -> None:
        while not over.is_set():
            sum(i * i for i in range(1000))

    noise = {"idle": [], "flood": [(flood, (n,)) for n in (1, 2)], "computing": [(compute, ())] * 2}[beside]
    threads = [threading.Thread(target=target, args=args) for target, args in noise]
    began = time()
    for thread in threads:
        thread.start()
    for number in range(FIRST, FIRST + size):
        source.put(MsgTaskStarted(number, "watched", "t"))
        source.put(MsgTaskFinished(number, "done", "t", repr(time())))
        sleep(0.01)
    output = reader.communicate(timeout=60)[0]
    over.set()
    seconds = time() - began
    for thread in threads:
        thread.join()
    source.put(SENTINEL)
    writer.join()
    found = sorted(map(float, output.split()))
    if len(found) != size:
        raise SystemExit(f"verification failed: {len(found)} of {size} tasks were seen")
    more = {"p50_ms": found[size // 2] * 1000, "p99_ms": found[int(size * 0.99)] * 1000}
    return Outcome(size, seconds, {**more, "flood_rate": said[0] / seconds})


def idle(size: int, db: Path) -> Outcome:
    return _latencies(size, db, "idle")


def flood(size: int, db: Path) -> Outcome:
    return _latencies(size, db, "flood")


def computing(size: int, db: Path) -> Outcome:
    return _latencies(size, db, "computing")


WORKLOAD = Workload(
    name="B7",
    what="p99 from a worker's finish to its visibility in another process",
    size=300,
    tiny=10,
    variants={"idle": idle, "under a flood of messages": flood, "beside two computing threads": computing},
    targets=(
        Target("idle", None, 2, figure="p99_ms", at_least=False),
        Target("under a flood of messages", None, 40, figure="p99_ms", at_least=False),
        Target("beside two computing threads", None, 60, figure="p99_ms", at_least=False),
    ),
)

if __name__ == "__main__":
    main(WORKLOAD)
