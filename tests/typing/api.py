"""How typed programs use pipeloom; only type-checked, never run."""

from __future__ import annotations

import queue
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pipeloom
from pipeloom import Msg, MsgTaskFinished, MsgTaskStarted, RunReport, TaskContext


@dataclass(frozen=True)
class Reading:
    value: float


def with_context(path: Path, ctx: TaskContext) -> dict[str, int]:
    for row in ctx.track([{"a": 1}], total=1):
        ctx.write("t", row, null=("",), on_conflict="ignore", alter=True)
    rows: list[tuple[object, ...]] = ctx.query("SELECT 1 WHERE ? = 1", (1,))
    ctx.put(Reading(1.0))
    return {"rows": len(rows), "length": len(path.name)}


def is_busy(error: OSError) -> bool:
    return error.errno == 11


def as_long_as(error: Exception, attempt: int) -> float:
    return 2.0**attempt


def tried_again(path: Path) -> int:
    try:
        return len(path.read_bytes())
    except FileNotFoundError as error:
        raise pipeloom.RetryLater(30, count=False) from error


POLICIES = [
    pipeloom.Retry(on=OSError),
    pipeloom.Retry(on=(OSError, TimeoutError)),
    pipeloom.Retry(on=OSError | TimeoutError),
    pipeloom.Retry(on=is_busy, delay=as_long_as),
    pipeloom.Retry(on=lambda error: "busy" in str(error), delay=lambda error, attempt: attempt),
]


def store(conn: sqlite3.Connection, readings: list[Reading]) -> None:
    conn.executemany("INSERT INTO readings VALUES (?)", [(reading.value,) for reading in readings])


def inputs() -> Iterator[Path]:
    yield Path("a")


report = pipeloom.map(
    with_context,
    inputs(),
    db="out.db",
    workers=2,
    on_error="collect",
    durability="normal",
    wal=None,
    tables={"t": {"a": int}},
    alter=True,
    handlers={Reading: store},
    progress=False,
)
done: int = report.done
for key, result in report.results():
    print(key, result)
failed_keys: list[str | int] = [failure.key for failure in report.failures]


def old_worker(task: int, msg_q: queue.Queue[Msg]) -> None:
    msg_q.put(MsgTaskStarted(task, "name", "2026-01-01T00:00:00+00:00"))
    msg_q.put(MsgTaskFinished(task, "done", "2026-01-01T00:00:00+00:00"))


def new_worker(task: int, ctx: TaskContext) -> None:
    ctx.progress(task, 10)


pipeloom.run_pipeline([1, 2], Path("out.db"), worker_fn=old_worker)
pipeloom.run_pipeline([1, 2], worker_fn=new_worker, key=str, resume=True)

pipeloom.map(len, ["a", "b"], db="1.db", shard=(1, 2))
merged: pipeloom.MergeReport = pipeloom.merge("out.db", [Path("1.db"), "2.db"], append=True, renumber=["t"])
done_there: int = merged.tasks["done"]

try:
    report.raise_for_failures()
except pipeloom.TasksFailedError as error:
    first: Exception = error.exceptions[0]

with closing(pipeloom.connect_readonly("out.db")) as conn:
    counted: list[tuple[object, ...]] = conn.execute("SELECT COUNT(*) FROM task_runs").fetchall()
conn = pipeloom.connect_readonly(Path("out.db"), untouched=True)

source: queue.Queue[Msg] = queue.Queue()
writer = pipeloom.SQLiteWriter(Path(":memory:"), source, wal=False)


with pipeloom.start(with_context, inputs(), db="out.db", own_rows=["t"], limit=[pipeloom.Limit(at_once=2)]) as run:
    for outcome in run.outcomes():
        print(outcome.key, outcome.item, outcome.attempt, outcome.error)
        run.cancel(drain=run.counts.failed > 3)
    waited: RunReport = run.wait(timeout=5)
