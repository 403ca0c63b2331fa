"""Programs that meet the worst: values, statements, names and neighbours; started as ``programs``."""

from __future__ import annotations

import logging
import queue
import random
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pipeloom

if not __package__:
    sys.path.insert(0, str(Path(__file__).parent.parent))

from faults.programs import TABLES

AT = "2026-01-31T12:00:00+00:00"


def late(db: str) -> pipeloom.RunReport:
    """Two tasks that do not look at their time, and speak when it is over; the others keep the run going."""
    refused: list[str] = []

    def work(task: int, ctx: pipeloom.TaskContext) -> str:
        ctx.write("items", {"task": task, "i": 0, "text": "in time"})
        if task < 2:
            time.sleep(0.6)
            for speak in (
                lambda: ctx.write("items", {"task": task, "i": 1, "text": "late"}),
                lambda: ctx.execute("INSERT INTO items VALUES (?, 2, 'late')", (task,)),
                lambda: ctx.put(pipeloom.MsgWriteRows("items", [{"task": task, "i": 3, "text": "late"}])),
                lambda: ctx.checkpoint({"stage": 1}),
                lambda: ctx.put(pipeloom.MsgTaskFinished(ctx.task_id, "done", AT)),
            ):
                try:
                    speak()
                except pipeloom.PipeloomError as error:
                    refused.append(type(error).__name__)
        else:
            time.sleep(0.1)
        return "late" if task < 2 else "in time"

    report = pipeloom.map(
        work,
        range(40),
        db=db,
        name="late",
        workers=4,
        timeout=0.3,
        tables=TABLES,
        progress=False,
        on_error="collect",
    )
    print("refused", len(refused), *sorted(set(refused)))
    return report


HOLDER = """
import sqlite3, sys
conn = sqlite3.connect(sys.argv[1], isolation_level=None)
conn.execute("BEGIN IMMEDIATE")
print("held", flush=True)
sys.stdin.readline()
conn.execute("ROLLBACK")
conn.close()
"""


def locked_for_longer(db: str) -> pipeloom.RunReport:
    """Another process holds the write lock until a checkpoint has given up, so that it meets its task's end.

    Both wait in one batch, with what a neighbour of theirs cannot store.
    """
    log = logging.getLogger("faults")
    log.setLevel(logging.INFO)
    taken, given_up = threading.Event(), threading.Event()
    pause = threading.Event().wait
    holders: list[subprocess.Popen[str]] = []

    def tasks() -> Iterator[str]:
        yield "a: before"
        holder = subprocess.Popen(
            [sys.executable, "-c", HOLDER, db], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        holders.append(holder)
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        yield from ("b: is waited with", "c: gives up", "d: is refused")
        given_up.wait()
        yield "e: lets go"

    def work(task: str, ctx: pipeloom.TaskContext) -> None:
        ctx.write("items", {"task": ord(task[0]), "i": 0, "text": task})
        if task.startswith("b"):
            ctx.put(pipeloom.MsgExecute("INSERT INTO items VALUES (0, 0, 'b')"))
            while not ctx.empty():
                pause(0.005)
            taken.set()  # by the writer, which waits for the lock now
        elif task.startswith("c"):
            taken.wait()
            log.info("before the checkpoint")
            try:
                ctx.checkpoint({"stage": 1})
            finally:
                given_up.set()
        elif task.startswith("d"):
            taken.wait()
            ctx.execute("INSERT INTO nowhere VALUES (1)")
        elif task.startswith("e"):
            while ctx.qsize() < 4:  # the ends of b, c and d, and the checkpoint of c
                pause(0.005)
            holders[0].communicate("\n")

    return pipeloom.map(
        work,
        tasks(),
        db=db,
        name="locked",
        workers=2,
        timeout=1.0,
        tables=TABLES,
        progress=False,
        on_error="collect",
    )


def blocked(db: str, producers: int, rounds: int, seed: int) -> None:
    """Let the disk fail at a random message, while many tasks talk as fast as they can; say what they heard."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    sys.dont_write_bytecode = (
        True  # Python would keep half a module under the limit, and fall over it the next time
    )
    chance = random.Random(seed)
    for number in range(rounds):
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        print(*_until_the_disk_fails(f"{db}-{number}", producers, chance.randrange(1, 3000)), flush=True)


def _until_the_disk_fails(db: str, producers: int, message: int) -> tuple[int, str, str]:
    """Return how many producers heard of it, how long after the first the last one did, and what the run raised."""
    heard: list[float] = []
    said = iter(range(1 << 40))

    def work(task: int, ctx: pipeloom.TaskContext) -> None:
        try:
            while True:
                ctx.put(pipeloom.MsgWriteRows("items", [{"task": task, "i": 0, "text": "x" * 100}]))
                if next(said) == message:
                    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, resource.RLIM_INFINITY))
        except pipeloom.WriterBrokenError:
            heard.append(time.monotonic())
            raise

    raised = "nothing"
    try:
        pipeloom.map(work, range(producers), db=db, workers=producers, tables=TABLES, progress=False)
    except pipeloom.StorageError as error:
        raised = type(error).__name__
    deadline = time.monotonic() + 2
    while len(heard) < producers and time.monotonic() < deadline:
        time.sleep(0.001)
    return len(heard), f"{max(heard) - min(heard):.3f}", raised


def blocked_on_a_plain_queue(db: str, producers: int) -> None:
    """The same with the low-level writer and a queue of the user's: it is kept moving, and says why it died."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    sys.dont_write_bytecode = True
    source: queue.Queue[pipeloom.Msg] = queue.Queue(8)
    writer = pipeloom.SQLiteWriter(Path(db), source)
    writer.start()

    def produce(first: int) -> None:
        for number in range(first, first + 200):
            source.put(pipeloom.MsgTaskStarted(number, f"task {number}", AT))

    threads = [threading.Thread(target=produce, args=(1000 * n,)) for n in range(1, producers + 1)]
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, resource.RLIM_INFINITY))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    source.put(pipeloom.SENTINEL)
    writer.join()
    print(type(writer.failure).__name__)


class Opaque:
    """Nothing that can be stored."""


def poison(db: str) -> pipeloom.RunReport:
    """Every second task does one thing that cannot be stored; its neighbours do the same work well."""
    cycle: dict[str, object] = {}
    cycle["itself"] = cycle
    values: dict[str, object] = {
        "large int": 2**70, "small int": -(2**63) - 1, "surrogate": "\ud800", "object": Opaque(), "set": {1, 2},
        "complex": 1j, "cycle": cycle, "huge": bytes(1_000_000_001), "function": print,
        "list with an object": [Opaque()],
    }  # fmt: skip
    deeds: dict[str, Callable[[pipeloom.TaskContext], object]] = {
        f"value: {name}": lambda ctx, value=value: ctx.write("items", {"task": 0, "i": 0, "text": value})
        for name, value in values.items()
    }
    deeds |= {
        "result: object": lambda _: Opaque(),
        "result: surrogate": lambda _: "\ud800",
        "result: cycle": lambda _: cycle,
        "said: a result that is an object": lambda ctx: ctx.put(
            pipeloom.MsgTaskFinished(ctx.task_id, "done", AT, Opaque())  # type: ignore[arg-type]
        ),
        "unknown column": lambda ctx: ctx.write("items", {"task": 0, "nope": 1}),
        "name with NUL": lambda ctx: ctx.write("a\0b", {"x": 1}),
        "name of SQLite's": lambda ctx: ctx.write("sqlite_x", {"x": 1}),
        "name of the ledger's": lambda ctx: ctx.write("task_runs", {"id": 1, "name": "x", "status": "done"}),
        "empty name": lambda ctx: ctx.write("", {"x": 1}),
        "misspelt quoted column": lambda ctx: ctx.write("items", [(1, 2)], columns=("task", '"i"')),
        "parameter": lambda ctx: ctx.execute("INSERT INTO items VALUES (?, 0, 0)", (Opaque(),)),
    }
    for sql in (
        "COMMIT", "ROLLBACK", "BEGIN", "SAVEPOINT mine", "ATTACH 'other.db' AS other", "DROP TABLE task_runs",
        "DELETE FROM pipeloom_runs", "UPDATE task_runs SET status = 'done'", "PRAGMA journal_mode = DELETE",
        "PRAGMA writable_schema = ON", "INSERT INTO items VALUES (1, 2", "INSERT OR ROLLBACK INTO once VALUES (1)",
        "ALTER TABLE task_runs RENAME TO mine", "VACUUM",
    ):  # fmt: skip
        deeds[f"sql: {sql}"] = lambda ctx, sql=sql: ctx.execute(sql)

    def work(task: str, ctx: pipeloom.TaskContext) -> object:
        number = names.index(task)
        ctx.write("items", {"task": number, "i": 1, "text": "beside it"})
        return deeds[task](ctx) if task in deeds else None

    names = [name for deed in deeds for name in (deed, f"well, after {deed}")]
    with_once = {**TABLES, "once": {"n": int}}
    pipeloom.map(
        lambda sql, ctx: ctx.execute(sql), ["CREATE UNIQUE INDEX one ON once (n)", "INSERT INTO once VALUES (1)"],
        db=db, name="prepare", workers=1, tables=with_once, progress=False,
    )  # fmt: skip
    return pipeloom.map(work, names, db=db, name="poison", workers=4, progress=False, on_error="collect")


def handlers(db: str) -> pipeloom.RunReport:
    """Handlers that reach for the transaction, beside tasks that only write."""
    from dataclasses import dataclass

    @dataclass(frozen=True)
    class MsgCommit:
        task: int

    @dataclass(frozen=True)
    class MsgWith:
        task: int

    @dataclass(frozen=True)
    class MsgFine:
        task: int

    def committing(conn, messages):  # type: ignore[no-untyped-def]
        conn.execute("INSERT INTO items VALUES (-1, 0, 'committing')")
        conn.execute("COMMIT")

    def with_conn(conn, messages):  # type: ignore[no-untyped-def]
        with conn:
            conn.execute("INSERT INTO items VALUES (-2, 0, 'with')")

    def fine(conn, messages):  # type: ignore[no-untyped-def]
        for message in messages:
            conn.execute("INSERT INTO items VALUES (?, 1, 'fine')", (message.task,))

    def work(task: int, ctx: pipeloom.TaskContext) -> None:
        ctx.write("items", {"task": task, "i": 0, "text": "staged"})
        ctx.put((MsgFine, MsgCommit, MsgWith)[task % 3](task))

    return pipeloom.map(
        work, range(30), db=db, name="handlers", workers=4, tables=TABLES, progress=False, on_error="collect",
        handlers={MsgCommit: committing, MsgWith: with_conn, MsgFine: fine},
    )  # fmt: skip


HOSTILE = (
    "[red]x[/red]", "[/]", "[/nope]", "[link=https://example.org]x[/link]", ":smile:", "\x1b[2Jx",
    "\x1b]0;title\x07", "\x1b]8;;https://example.org\x1b\\x", "\x1b]52;c;eA==\x07", "\x9b2J", "a\rb", "a\nb",
    "\u202egnp.exe", "\u200bx", "a\u2028b", "a\0b", "\ud800", "\u5bbd" * 10_000, 'x"; DROP TABLE task_runs; --',
    "<script>alert(1)</script>",
)  # fmt: skip


def hostile_names(db: str) -> pipeloom.RunReport:
    """Tasks whose names, messages and errors try to drive the terminal."""

    def work(number: int, ctx: pipeloom.TaskContext) -> str:
        ctx.progress(1, 2, HOSTILE[number])
        ctx.query("SELECT 1")
        time.sleep(0.3)  # long enough to be drawn
        if number % 2:
            raise ValueError(HOSTILE[number])
        return HOSTILE[number].encode("utf-8", "replace").decode()

    def key(number: int) -> str:
        return HOSTILE[number].encode("utf-8", "replace").decode()[:500] or str(number)

    return pipeloom.map(
        work, range(len(HOSTILE)), db=db, name="[bold]x[/nope]", key=key, workers=8, on_error="collect"
    )
