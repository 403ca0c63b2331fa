"""The programs under test, as a user would write them; started by ``pipeloom run programs.py:NAME``.

The main ones do all at once: rows for two tables in three stages, a checkpoint between them, and tasks whose first
try fails halfway through a stage and is tried again. How many rows a stage leaves follows from its number alone, so
that anybody can say what must be there.

Acknowledgements: a checkpoint that has returned is on file, and what a task hears from ``ctx.query`` is committed.
So each task notes its stages, and the tasks that are done, in a file of its own. A note must never become untrue.
"""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import pipeloom

NAME = "load"
STAGES = 3


def rows_of_stage(task: int, stage: int) -> dict[str, int]:
    """Return how many rows one stage leaves in each table; some have many, so that the log is moved in between."""
    many = task % 8 == 7 and stage == 0
    return {"items": 300 if many else 1 + (task + stage) % 2, "parts": (task + stage) % 2}


def rows_until(task: int, stage: int) -> dict[str, int]:
    """Return how many rows the stages before this one leave."""
    stages = [rows_of_stage(task, s) for s in range(stage)]
    return {table: sum(rows[table] for rows in stages) for table in ("items", "parts")}


def rows_of(task: int) -> dict[str, int]:
    """Return how many rows a finished task leaves."""
    return rows_until(task, STAGES)


def write_rows(task: int, stage: int, ctx: pipeloom.TaskContext) -> None:
    """Stage the rows of one stage; the bodies make it several pages."""
    count, first = rows_of_stage(task, stage), 1000 * stage
    for i in range(first, first + count["items"]):
        ctx.write("items", {"task": task, "i": i, "text": f"{task}/{i}" * 10})
    ctx.write(
        "parts",
        [(task, i, os.urandom(1500)) for i in range(first, first + count["parts"])],
        columns=("task", "i", "body"),
    )


class Acks:
    """A file that is only appended to, in one write per note; one task, or ``task:stage``, a line.

    Sent to another process, it is opened there again.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._fd = os.open(path or os.devnull, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)

    def __reduce__(self) -> tuple[type[Acks], tuple[str]]:
        return Acks, (self._path,)

    def note(self, ctx: pipeloom.TaskContext) -> None:
        """Note what the ledger says is done."""
        self.write([key for (key,) in ctx.query("SELECT key FROM task_runs WHERE status = 'done'")])

    def write(self, tasks: list[int] | list[str]) -> None:
        """Note these."""
        if tasks:
            os.write(self._fd, "".join(f"{task}\n" for task in tasks).encode())


def say_begun() -> None:
    """Tell whoever waits for it our process id, if anybody listens."""
    try:
        print("begun", os.getpid(), flush=True)
    except OSError:
        pass


class FirstTryError(Exception):
    """What every fifth task meets at its first try of a run."""


class Working:
    """The task function; an object, so that it can be sent to another process.

    Args:
        noted: Where a task notes its stages.
        asks: It notes as well what the ledger says is done.
        pause_s: How long each stage takes.
    """

    __name__ = "work"

    def __init__(self, noted: Acks, asks: bool, pause_s: float) -> None:
        self._noted, self._asks, self._pause_s = noted, asks, pause_s

    def __call__(self, task: int, ctx: pipeloom.TaskContext) -> dict[str, int]:
        begin = 0 if ctx.state is None else ctx.state["stage"]
        for stage in range(begin, STAGES):
            write_rows(task, stage, ctx)
            if self._asks:
                self._noted.note(ctx)
            if self._pause_s:
                time.sleep(self._pause_s)
            if task % 5 == 3 and stage == 1 and ctx.attempt == 1:
                raise FirstTryError(f"task {task}")
            if stage + 1 < STAGES:
                ctx.checkpoint({"stage": stage + 1})
                self._noted.write([f"{task}:{stage + 1}"])
        return {"task": task}


class Awaiting(Working):
    """The same on an event loop."""

    async def __call__(self, task: int, ctx: pipeloom.AsyncTaskContext) -> dict[str, int]:
        from asyncio import sleep  # only here: the other programs should start as fast as they can

        state = await ctx.state()
        for stage in range(0 if state is None else state["stage"], STAGES):
            write_rows(task, stage, ctx)
            if self._asks:
                done = await ctx.query("SELECT key FROM task_runs WHERE status = 'done'")
                self._noted.write([key for (key,) in done])
            await sleep(self._pause_s)
            if task % 5 == 3 and stage == 1 and ctx.attempt == 1:
                raise FirstTryError(f"task {task}")
            if stage + 1 < STAGES:
                await ctx.checkpoint({"stage": stage + 1})
                self._noted.write([f"{task}:{stage + 1}"])
        return {"task": task}


RETRY = pipeloom.Retry(attempts=3, delay_s=0.02, on=FirstTryError)

TABLES = {"items": {"task": int, "i": int, "text": str}, "parts": {"task": int, "i": int, "body": bytes}}


def load(
    db: str, acks: str = "", count: int = 24, workers: int = 2, durability: str = "full", pause_s: float = 0.0,
    executor: str = "threads",
) -> pipeloom.RunReport:  # fmt: skip
    """``map``."""
    noted = Acks(acks)
    working = Awaiting if executor == "asyncio" else Working

    say_begun()
    report = pipeloom.map(
        working(noted, bool(acks), pause_s), range(count), db=db, name=NAME, workers=workers, retries=RETRY,
        durability=durability, tables=TABLES, executor=executor, progress=False,
    )  # fmt: skip
    noted.write(list(range(count)))
    return report


def pipeline(
    db: str, acks: str = "", count: int = 24, workers: int = 2, durability: str = "full", wal: bool = False,
    pause_s: float = 0.0,
) -> pipeloom.RunReport:  # fmt: skip
    """``run_pipeline`` with keys, by default on a rollback journal."""
    noted = Acks(acks)

    say_begun()
    report = pipeloom.run_pipeline(
        range(count), db, worker_fn=Working(noted, bool(acks), pause_s), name=NAME, key=int, resume=True,
        workers=workers, wal=wal, retries=RETRY, durability=durability, tables=TABLES, progress=False,
    )  # fmt: skip
    noted.write(list(range(count)))
    return report


def reading(
    db: str, acks: str = "", count: int = 24, workers: int = 4, wal: bool = True, pause_s: float = 0.0
) -> pipeloom.RunReport:
    """Tasks that back up the directory in which the database lies: they open, read and close every file of it."""
    noted, here = Acks(acks), Path(db).parent
    work = Working(noted, bool(acks), pause_s)

    def reads(task: int, ctx: pipeloom.TaskContext) -> dict[str, int]:
        result = work(task, ctx)
        for path in here.iterdir():
            try:
                path.read_bytes()
            except OSError:
                pass  # somebody else's, gone by now
        return result

    say_begun()
    report = pipeloom.run_pipeline(
        range(count), db, worker_fn=reads, name=NAME, key=int, resume=True, workers=workers, wal=wal, retries=RETRY,
        tables=TABLES, progress=False,
    )  # fmt: skip
    noted.write(list(range(count)))
    return report


def unguarded(db: str, acks: str = "", count: int = 24) -> pipeloom.RunReport:
    """The same with a mistake: SQLite's locks are not said a second time."""
    from pipeloom.db.second_locks import SecondLocks

    def nothing(self: SecondLocks) -> SecondLocks:
        self.release()
        return self

    SecondLocks.__enter__ = nothing  # type: ignore[method-assign]
    SecondLocks.__exit__ = lambda *_: None  # type: ignore[method-assign, assignment]
    return reading(db, acks, count)


def bulky(db: str, megabytes: int) -> pipeloom.RunReport:
    """Write much, to a table of its own."""

    def work(number: int, ctx: pipeloom.TaskContext) -> None:
        ctx.write("bulk", ({"number": number, "body": bytes(10_000)} for _ in range(100)))

    return pipeloom.map(work, range(megabytes), db=db, workers=2, name="bulky", resume=False, progress=False)


def large(db: str, megabytes: int, stays: bool = False) -> pipeloom.RunReport:
    """Write more in one task than memory should hold, beside a small one; say so before it is stored."""

    def work(number: int, ctx: pipeloom.TaskContext) -> None:
        for n in range(megabytes if number else 1):
            ctx.write("bulk", {"number": number, "n": n, "body": bytes(1_000_000)})
        if number:
            while not ctx.query("SELECT 1 FROM sqlite_master WHERE name = 'bulk'"):
                time.sleep(0.001)  # the small one is not on file yet
            say_begun()
            while stays:
                time.sleep(1)

    return pipeloom.map(work, range(2), db=db, workers=1, name="large", on_error="collect", progress=False)


def nested(db: str) -> pipeloom.RunReport:
    """Start a second run on the same file from inside a task."""

    def work(_: int) -> str:
        try:
            pipeloom.map(str, [1], db=db, progress=False)
        except pipeloom.DatabaseInUseError as error:
            return type(error).__name__
        return "was let in"

    report = pipeloom.map(work, [0], db=db, name="nested", progress=False)
    print(dict(report.results()))
    return report


def forking(db: str, acks: str = "", stays: bool = False, count: int = 12) -> pipeloom.RunReport:
    """Tasks that fork: the children leave, come back as if they were the task, or outlive everybody."""
    noted = Acks(acks)

    def work(task: int, ctx: pipeloom.TaskContext) -> int:
        for stage in range(STAGES):
            write_rows(task, stage, ctx)
        child = os.fork()
        if child == 0:
            if stays:
                time.sleep(60)
                os._exit(0)
            try:
                ctx.write("items", {"task": task, "i": -1, "text": "from the child"})
            finally:
                if task % 2:
                    os._exit(0)
            return -1  # comes back, as if it were the task
        if stays:
            noted.write([child])
        os.waitpid(child, 0)
        return task

    return pipeloom.map(work, range(count), db=db, name=NAME, workers=2, tables=TABLES, progress=False)


def doing(db: str, acks: str, what: str) -> pipeloom.RunReport:
    """Tasks that do one thing for long."""
    noted, never = Acks(acks), threading.Event()

    def work(task: int, ctx: pipeloom.TaskContext) -> None:
        noted.write([task])
        if what == "sleeping":
            time.sleep(1)
        elif what == "computing":
            until = time.monotonic() + 1
            while time.monotonic() < until:
                sum(range(10_000))
        elif what == "asking":
            while True:
                ctx.query("SELECT COUNT(*) FROM task_runs")
                ctx.check()
        elif what == "looking":
            for _ in ctx.track(range(10_000)):
                time.sleep(0.01)
        elif what == "waiting":
            never.wait(1)  # a C call
        elif what == "stuck":
            never.wait()

    say_begun()
    return pipeloom.map(work, range(1000), db=db, name="doing", workers=4, progress=False)


def in_a_thread(db: str, acks: str, count: int, dies: bool = False) -> None:
    """A run in a thread of its own; the main thread waits, or dies once the run is under way."""
    thread = threading.Thread(target=load, args=(db, acks, count), kwargs={"pause_s": 0.01})
    thread.start()
    if dies:
        # Since 3.12 no thread can be started any more once the main thread has ended.
        while thread.is_alive() and not (os.path.exists(acks) and os.path.getsize(acks)):
            time.sleep(0.001)
        raise RuntimeError("the main thread dies")
    thread.join()


def unclosed_writer(db: str) -> None:
    """The low-level writer, without its SENTINEL."""
    import queue
    from pathlib import Path

    source: queue.Queue[pipeloom.Msg] = queue.Queue()
    pipeloom.SQLiteWriter(Path(db), source).start()
    at = "2026-01-31T12:00:00+00:00"
    for number in range(1, 5001):
        source.put(pipeloom.MsgTaskStarted(number, f"task {number}", at))
        source.put(pipeloom.MsgTaskFinished(number, "done", at))


def waiting(db: str, acks: str, delay_s: float) -> pipeloom.RunReport:
    """The same work, but whoever fails waits long for the next try."""
    noted = Acks(acks)
    say_begun()
    return pipeloom.map(
        Working(noted, bool(acks), 0), range(12), db=db, name=NAME, workers=2, tables=TABLES, progress=False,
        retries=pipeloom.Retry(attempts=3, delay_s=delay_s, jitter=0, on=FirstTryError),
    )  # fmt: skip
