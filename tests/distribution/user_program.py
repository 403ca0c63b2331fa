"""A user's program: it runs against the installed wheel, and no type checker has anything to say about it."""

from __future__ import annotations

import queue
import sqlite3
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pipeloom
from pipeloom import (
    SENTINEL,
    Failure,
    Msg,
    MsgTaskFinished,
    MsgTaskStarted,
    MsgWriteRows,
    Retry,
    RunReport,
    SQLiteWriter,
    TaskContext,
)


@dataclass(frozen=True)
class Reading:
    """A message of the user's own."""

    station: str
    celsius: float


def stations() -> Iterator[str]:
    """Inputs may be a generator."""
    yield from ("north", "south")


def measure(station: str, ctx: TaskContext) -> dict[str, int]:
    """Use most of what a task's context offers."""
    first: int = ctx.state or 0
    for hour in ctx.track(range(first, 24), total=24):
        ctx.write("hours", {"station": station, "hour": hour}, null=("", "NA"))
    ctx.checkpoint(24)
    ctx.put(Reading(station, 21.5))
    ctx.put(MsgWriteRows("notes", [(station, "measured")], columns=("station", "note")))
    rows: list[tuple[object, ...]] = ctx.query("SELECT hour FROM hours WHERE station = ?", (station,))
    return {"rows": len(rows), "attempt": pipeloom.current_task().attempt}


def store(conn: sqlite3.Connection, readings: list[Reading]) -> None:
    """Handle the user's own messages."""
    conn.executemany("INSERT INTO readings VALUES (?, ?)", [(r.station, r.celsius) for r in readings])


def half(number: int) -> float:
    """Work without a context, and refuse some inputs."""
    if number % 2:
        raise ValueError(f"{number} is odd")
    return number / 2


def old_worker(task: int, messages: queue.Queue[Msg]) -> None:
    """Speak by messages only."""
    messages.put(MsgTaskStarted(task, f"task {task}", "2026-01-31T12:00:00+00:00"))
    messages.put(MsgTaskFinished(task, "done", "2026-01-31T12:00:01+00:00"))


def new_worker(task: int, ctx: TaskContext) -> None:
    """Say how far it is."""
    ctx.progress(task, 10, "on the way")


def main(folder: Path) -> None:
    """Call everything once."""
    report: RunReport = pipeloom.map(
        measure,
        stations(),
        db=folder / "out.db",
        workers=2,
        retries=Retry(attempts=2, delay_s=0.1, on=(OSError, TimeoutError)),
        timeout=60,
        on_error="collect",
        durability="normal",
        tables={"readings": {"station": str, "celsius": float}},
        handlers={Reading: store},
        progress=False,
    )
    results: dict[str | int, object] = dict(report.results())
    print(report.status, report.done, results["north"])

    try:
        pipeloom.map(half, [1, 2], db=str(folder / "out.db"), key=str, progress=False)
    except pipeloom.TasksFailedError as error:
        failures: tuple[Failure, ...] = error.report.failures if error.report is not None else ()
        for failure, exception in zip(failures, error.exceptions, strict=True):
            print(failure.key, failure.exception, exception)
    except pipeloom.PipeloomError as error:
        sys.exit(str(error))

    old = pipeloom.run_pipeline([1, 2], folder / "old.db", worker_fn=old_worker, workers=1, progress=False)
    new = pipeloom.run_pipeline([3], folder / "new.db", worker_fn=new_worker, key=str, resume=True, progress=False)
    print(old.done, new.done)

    source: queue.Queue[Msg] = queue.Queue()
    writer = SQLiteWriter(folder / "by hand.db", source)
    writer.start()
    source.put(MsgTaskStarted(1, "by hand", "2026-01-31T12:00:00+00:00"))
    source.put(SENTINEL)
    writer.join()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
