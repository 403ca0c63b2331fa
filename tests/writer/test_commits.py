"""However a stream is cut into batches, and whatever is refused in them, the same is stored and told."""

from __future__ import annotations

import queue
import sqlite3
from collections import Counter, deque
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple, Self

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeloom import MsgExecute, SQLiteWriter
from pipeloom.data.rows import Block, Shape, Statement
from pipeloom.ledger.attempt import Attempt, Spoken, StagedCheckpoint
from pipeloom.ledger.runs import RunSpec
from pipeloom.wire import LogLine

TABLES = """
CREATE TABLE t (task INTEGER, n INTEGER);
CREATE TABLE once (n INTEGER UNIQUE);
CREATE TABLE lost (n INTEGER UNIQUE ON CONFLICT ROLLBACK);
INSERT INTO once VALUES (1);
INSERT INTO lost VALUES (1);
CREATE TABLE parents (n INTEGER PRIMARY KEY);
CREATE TABLE children (n INTEGER REFERENCES parents DEFERRABLE INITIALLY DEFERRED);
"""
# What is wrong with a piece: nothing; refused under its savepoint; loses the transaction; refused at COMMIT.
WRONG = {
    "good": None,
    "refused": Statement("INSERT INTO once VALUES (1)", ()),
    "loses all": Statement("INSERT INTO lost VALUES (1)", ()),
    "refused late": Statement("INSERT INTO children VALUES (7)", ()),
}


class Piece(NamedTuple):
    """Something that a task does: it logs some lines, writes some rows, and then says ``what``."""

    task: int
    logs: int
    rows: int
    what: str  # "checkpoint", "message", "done", "error", "again"
    wrong: str = "good"


pieces = st.builds(
    Piece,
    st.integers(0, 2),
    st.integers(0, 2),
    st.integers(0, 2),
    st.sampled_from(["checkpoint", "checkpoint", "message", "done", "error", "again"]),
    st.sampled_from(["good", "good", *WRONG]),
)


class Stream:
    """The items that three tasks put into the channel, and the tables that they end up in."""

    def __init__(self, db: Path) -> None:
        with closing(sqlite3.connect(db)) as conn:
            conn.executescript(TABLES)
        self.writer = SQLiteWriter(db, queue.Queue(), durability="off")
        self.writer._open()  # the writer's own code, in this thread, so that the cuts are exact
        spec = RunSpec("x", False, True, 3, "threads", 3, retrying=True)
        run = self.writer._commits.transact(lambda ledger: ledger.open_run(spec, {}))
        admitted = run.admissions.keys(["a", "b", "c"])
        self.attempts = [
            Attempt(None, number, key, key, "new") for (number, _), key in zip(admitted, "abc", strict=True)
        ]
        for attempt in self.attempts:
            attempt.status, attempt.started_at, attempt.worker = "running", "t0", "w"
        self.run, self.ended, self.lines, self.told = run, set[int](), 0, Counter[str]()
        run.board.slots[:] = self.attempts

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.writer._close()

    def item(self, piece: Piece) -> Any:
        """Do a piece of work; return what it puts into the channel, if its task has not ended yet."""
        attempt = self.attempts[piece.task]
        if piece.task in self.ended:
            return None
        for _ in range(piece.logs):
            self.lines += 1
            line = LogLine("t", "INFO", "x", f"line {self.lines}", None)
            attempt.__dict__.setdefault("logs", deque()).append(line)
        attempt.staging = attempt.staging or object()  # as if other threads of the task might write
        staged: list[Any] = []
        if piece.rows:
            staged.append(
                Block(Shape("t", ("task", "n"), "error", ()), [(piece.task, n) for n in range(piece.rows)])
            )
        if (wrong := WRONG[piece.wrong]) is not None:
            staged.append(wrong)
        if piece.what == "checkpoint":
            return StagedCheckpoint(attempt, staged, f'"{self.lines}"', piece.rows)
        if piece.what == "message":
            return Spoken(attempt, MsgExecute(wrong.sql if wrong else "INSERT INTO t VALUES (9, 9)"))
        attempt.staged, attempt.rows_written = staged or None, piece.rows
        attempt.status = "done" if piece.what == "done" else "error"
        attempt.finished_at, attempt.elapsed_s = "t1", 1.0
        if piece.what == "again":
            attempt.retry_in = 0.0
            self.attempts[piece.task] = following = attempt.next_try()
            following.status, following.started_at, following.worker = "running", "t2", "w"
            self.run.board.slots[piece.task] = following
        else:
            self.ended.add(piece.task)
        return attempt

    def send(self, pieces: list[Piece]) -> None:
        """Apply them in one batch."""
        items = [item for piece in pieces if (item := self.item(piece)) is not None]
        self.writer._write(items)
        for item in items:
            if type(item) is StagedCheckpoint:
                assert item._given.is_set()
                self.told["kept" if item._error is None else "refused"] += 1

    def outcome(self) -> dict[str, Any]:
        """End what has not ended, and return all that is on file and was told."""
        for task in range(3):
            self.send([Piece(task, 0, 0, "done")])
        counts = {status: n for status, n in self.run.board.counts.items() if n}
        with closing(sqlite3.connect(self.writer.db_path)) as conn:
            found = {sql: conn.execute(sql).fetchall() for sql in QUESTIONS}
        return {**found, "counts": counts, "told": self.told}


QUESTIONS = [
    "SELECT task, n, COUNT(*) FROM t GROUP BY 1, 2",
    "SELECT * FROM once",
    "SELECT * FROM lost",
    "SELECT * FROM children",
    "SELECT key, status, attempt, rows_written, started_at, finished_at, error FROM task_runs ORDER BY key",
    "SELECT task_id, attempt, status, rows_written, error FROM pipeloom_attempts ORDER BY 1, 2",
    "SELECT task_id, attempt, message FROM pipeloom_logs ORDER BY message",
    "SELECT task_id, state FROM pipeloom_state ORDER BY 1",
    "SELECT task_id, kind, error FROM pipeloom_rejected ORDER BY 1, 2, 3",
    "PRAGMA integrity_check",
]


@given(stream=st.lists(pieces, max_size=14), cuts=st.lists(st.integers(1, 8), max_size=8))
@settings(max_examples=150)
def test_however_a_stream_is_cut_the_same_is_stored_and_told(tmp_path_factory, stream, cuts):
    """Checkpoints, logs, retries and ends of the same tasks, with refusals of three kinds between them."""
    folder = Path(tmp_path_factory.mktemp("commits"))
    with Stream(folder / "a.db") as one_by_one, Stream(folder / "b.db") as in_batches:
        for piece in stream:
            one_by_one.send([piece])
        rest, sizes = list(stream), iter(cuts)
        while rest:
            size = next(sizes, len(rest))
            in_batches.send(rest[:size])
            rest = rest[size:]

        assert in_batches.outcome() == one_by_one.outcome()


@pytest.mark.parametrize("wrong", [kind for kind in WRONG if kind != "good"])
def test_two_items_of_a_task_beside_one_that_is_refused(db, read, wrong):
    """Its checkpoint and its end: its log lines come once, its rows are counted, its state goes."""
    checkpoints = [Piece(0, 2, 1, "checkpoint"), Piece(0, 1, 2, "checkpoint")]
    with Stream(db) as stream:
        stream.send([*checkpoints, Piece(0, 0, 1, "done"), Piece(1, 0, 0, "done", wrong)])
        stream.outcome()

    assert read(db, "SELECT message FROM pipeloom_logs") == [("line 1",), ("line 2",), ("line 3",)]
    assert read(db, "SELECT status, rows_written FROM task_runs ORDER BY id LIMIT 2") == [("done", 4), ("error", 0)]
    assert read(db, "SELECT COUNT(*) FROM t") == [(4,)]
    assert read(db, "SELECT * FROM pipeloom_state") == []


class Signal:
    """A message whose handler is where the test steps in."""


@pytest.mark.parametrize("deed", ["stages", "ends"])
def test_what_a_worker_does_while_its_message_is_applied_stays(db, read, deed):
    """A batch is applied twice and lost in between, and the task goes on meanwhile: nothing of it is undone."""
    with Stream(db) as stream:
        attempt, calls = stream.attempts[0], []

        def step_in(_conn, _messages):
            calls.append(1)
            if len(calls) == 2:  # under its savepoint, in the transaction that will be lost
                attempt.staged = [Block(Shape("t", ("task", "n"), "error", ()), [(0, 7)])]
                attempt.rows_written = 1
                if deed == "ends":
                    attempt.status, attempt.result, attempt.finished_at = "done", '"result"', "t1"

        stream.writer._ledger._handlers[Signal] = step_in
        spoiler = MsgExecute(WRONG["loses all"].sql)
        stream.writer._write([Spoken(attempt, Signal()), Spoken(stream.attempts[1], spoiler)])
        assert len(calls) == 3
        if deed == "stages":
            attempt.status, attempt.result, attempt.finished_at = "done", '"result"', "t1"
        stream.ended.add(0)
        stream.writer._write([attempt])
        stream.outcome()

    assert read(db, "SELECT key, status, result, rows_written FROM task_runs ORDER BY id LIMIT 2") == [
        ("a", "done", '"result"', 1),
        ("b", "error", None, 0),
    ]
    assert read(db, "SELECT task, n FROM t") == [(0, 7)]
