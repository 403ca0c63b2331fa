"""The fast path equals the slow one: batches leave what one message per transaction would leave."""

from __future__ import annotations

import queue
import sqlite3
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from pipeloom import MsgExecute, MsgTaskFinished, MsgTaskProgress, MsgTaskStarted, MsgWriteRows, SQLiteWriter

BIG = 2**70
FINAL = ("done", "error", "cancelled")


@dataclass
class Reference:
    """What the ledger should hold, told one message at a time, in plain Python.

    ``tasks`` has a row per id, ``past`` the archived ones, ``rows`` the user's table with a UNIQUE column.
    """

    tasks: dict[int, dict[str, Any]] = field(default_factory=dict)
    past: list[tuple[Any, ...]] = field(default_factory=list)
    rows: list[int] = field(default_factory=list)

    def tell(self, message: Any) -> None:
        """Apply one message, or leave everything as it is."""
        if isinstance(message, MsgWriteRows):
            new = [row["n"] for row in message.rows]
            if all(abs(n) < 2**63 for n in new) and len({*new, *self.rows}) == len(new) + len(self.rows):
                self.rows += new
            return
        if isinstance(message, MsgExecute):
            if message.sql.startswith("DELETE"):
                self.rows = [n for n in self.rows if n != message.params[0]]
            return
        number = message.task_id
        if type(number) is not int or abs(number) >= 2**63:
            return
        if isinstance(message, MsgTaskStarted):
            self.start(number, message.name)
        elif isinstance(message, MsgTaskProgress):
            self.progress(number, message)
        else:
            self.finish(number, message)

    def start(self, number: int, name: Any) -> None:
        if name is None or "\ud800" in name:
            return
        if number in self.tasks:
            old = self.tasks[number]
            self.past.append((number, old["name"], old["status"], old["progress"], old["message"], old["result"]))
        self.tasks[number] = {"name": name, "status": "running", "progress": 0.0, "message": None, "result": None}

    def progress(self, number: int, message: MsgTaskProgress) -> None:
        task = self.tasks.get(number)
        if task is None or task["status"] != "running" or type(message.total) is str or "\ud800" in message.message:
            return
        if message.total and type(message.step) is str:
            return
        share = message.step / message.total if message.total and message.total > 0 else 0.0
        task.update(progress=min(max(share, 0.0), 1.0), message=message.message)

    def finish(self, number: int, message: MsgTaskFinished) -> None:
        task = self.tasks.setdefault(
            number,
            {"name": f"task {number}", "status": "running", "progress": 0.0, "message": None, "result": None},
        )
        if task["status"] != "running":
            return
        result = {"a": '{"a":1}', "text": "text", "none": None}.get(_kind(message.result), "bad")
        if message.status in FINAL and result != "bad":
            task.update(status=message.status, result=result, message=message.message)
            if message.status == "done":
                task["progress"] = 1.0
        else:
            task.update(status="error", message=..., result=None)


def _kind(result: Any) -> str:
    if result is None:
        return "none"
    return "a" if result == {"a": 1} else "text" if result == "text" else "bad"


numbers = st.integers(1, 4) | st.sampled_from([-1, 0, "1", None, BIG])
names = st.sampled_from(["a", "b", "[/x]", None, "\ud800"])
started = st.builds(MsgTaskStarted, numbers, names, st.just("t"))
progressed = st.builds(
    MsgTaskProgress,
    numbers,
    st.integers(-1, 5) | st.just("x"),
    st.integers(-1, 4) | st.just("y"),
    st.sampled_from(["", "half", "\ud800"]),
)
finished = st.builds(
    MsgTaskFinished,
    numbers,
    st.sampled_from(["done", "error", "cancelled", "running", "perhaps"]),
    st.just("t"),
    st.sampled_from([None, "text", {"a": 1}, 1j]),
    st.sampled_from(["", "m"]),
)
values = st.integers(0, 6)
written = st.builds(
    lambda ns: MsgWriteRows("t", [{"n": n} for n in ns]),
    st.lists(values | st.just(BIG), min_size=1, max_size=3, unique=True),
)
executed = st.builds(lambda n: MsgExecute("DELETE FROM t WHERE n = ?", (n,)), values) | st.sampled_from(
    [MsgExecute("COMMIT"), MsgExecute("nonsense"), MsgExecute("UPDATE task_runs SET status = 'done'")]
)
streams = st.lists(started | progressed | progressed | finished | written | executed, max_size=40)


@given(stream=streams, cuts=st.lists(st.integers(1, 12), max_size=20))
@settings(max_examples=200)
def test_batches_leave_what_one_message_per_transaction_would_leave(tmp_path_factory, stream, cuts):
    """All tables are compared, whatever was said and however it was cut; nonsense included."""
    reference = Reference()
    for message in stream:
        reference.tell(message)

    db = Path(tmp_path_factory.mktemp("folding")) / "out.db"
    with closing(sqlite3.connect(db)) as conn:
        conn.execute("CREATE TABLE t (n INTEGER UNIQUE)")
    writer = SQLiteWriter(db, queue.Queue(), durability="off")
    writer._open()  # the writer's own code, in this thread, so that the cuts are exact
    try:
        rest, sizes = list(stream), iter(cuts)
        while rest:
            size = next(sizes, len(rest))
            writer._write(rest[:size])
            rest = rest[size:]
    finally:
        writer._close()

    with closing(sqlite3.connect(db)) as conn:
        tasks = {
            row[0]: dict(zip(("name", "status", "progress", "message", "result"), row[1:], strict=True))
            for row in conn.execute("SELECT id, name, status, progress, message, result FROM task_runs")
        }
        past = conn.execute(
            "SELECT task_id, name, status, progress, message, result FROM pipeloom_attempts"
        ).fetchall()
        rows = conn.execute("SELECT n FROM t ORDER BY rowid").fetchall()
    for number, expected in reference.tasks.items():
        if expected["message"] is ...:  # the writer's own words
            assert tasks[number].pop("message")
            expected.pop("message")
    assert tasks == reference.tasks
    assert sorted(map(_comparable, past)) == sorted(map(_comparable, reference.past))
    assert [n for (n,) in rows] == reference.rows


def _comparable(row: tuple[Any, ...]) -> str:
    """Leave out the message of a row whose error was put into the writer's own words."""
    number, name, status, progress, message, result = row
    return repr((number, name, status, progress, None if status == "error" else message, result))
