"""A run without threads: what its tasks put into the channel, cut into batches exactly as a test wants them."""

from __future__ import annotations

import logging
import queue
import sqlite3
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, Final, NamedTuple, Self

from pipeloom import MsgExecute, MsgTaskFinished, MsgTaskProgress, MsgTaskStarted, MsgWriteRows, SQLiteWriter
from pipeloom.data.naming import naming_of
from pipeloom.data.rows import Block, Shape, Statement
from pipeloom.ledger.attempt import Attempt, Spoken, StagedCheckpoint
from pipeloom.ledger.runs import RunSpec
from pipeloom.wire import LogLine

NAMING: Final = naming_of(print, "x")

TASKS: Final = 3
TABLES: Final = """
CREATE TABLE t (task INTEGER, n INTEGER NOT NULL);
CREATE TABLE once (n INTEGER UNIQUE);
CREATE TABLE lost (n INTEGER UNIQUE ON CONFLICT ROLLBACK);
INSERT INTO once VALUES (1);
INSERT INTO lost VALUES (1);
CREATE TABLE parents (n INTEGER PRIMARY KEY);
CREATE TABLE children (n INTEGER REFERENCES parents DEFERRABLE INITIALLY DEFERRED);
CREATE TABLE heard (n INTEGER);
"""
# Rows of others, beyond which numbers are given out; the second one belongs to a pipeline with keys.
OTHERS: Final = """
INSERT INTO pipeloom_pipelines (id, name) VALUES (7, 'other');
INSERT INTO task_runs (id, name, status) VALUES (5, 'five', 'done');
INSERT INTO task_runs (id, name, status, pipeline_id, key) VALUES (900, 'other', 'done', 7, 'k');
"""

# What is wrong with a step: nothing; refused under its savepoint; loses the transaction; refused at COMMIT; refused
# only if another one of its kind stands, whose last one stands until COMMIT, and then not.
WRONG: Final = {
    "good": (),
    "no such table": ("INSERT INTO nowhere VALUES (1)",),
    "unique": ("INSERT INTO once VALUES (1)",),
    "null": ("INSERT INTO t VALUES (1, NULL)",),
    "loses all": ("INSERT INTO lost VALUES (1)",),
    "refused late": ("INSERT INTO children VALUES (7)",),
    "once": ("INSERT INTO once VALUES (2)",),
    "once, refused late": ("INSERT INTO once VALUES (2)", "INSERT INTO children VALUES (7)"),
}
ENDS: Final = ("done", "error", "timed_out", "cancelled", "again")
OF_TASKS: Final = ("work", "checkpoint", "message", "signal", *ENDS, "waited")
OF_OTHERS: Final = ("started", "progressed", "finished", "bare", "rows", "made", "stranger", "wrong signal")


class Step(NamedTuple):
    """What a task does: it logs some lines, stages some rows, and then says ``what``; or what somebody else says.

    ``number`` is what it calls itself from then on (in a run without keys), or whom a bare message is about.
    """

    task: int
    what: str
    logs: int = 0
    rows: int = 0
    wrong: str = "good"
    number: int | None = None


class Signal(NamedTuple):
    """A message with a handler."""

    n: int


class Stranger(NamedTuple):
    """A message without one."""

    n: int


def hear(conn: sqlite3.Connection, messages: Sequence[Signal]) -> None:
    """Store signals; not those below zero."""
    for message in messages:
        conn.execute("INSERT INTO heard VALUES (?)", (message.n,))
    if any(message.n < 0 for message in messages):
        raise ValueError("a wrong signal")


class Warnings(logging.Handler):
    """What the writer warns of."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []
        self.deed: Callable[[], object] = list  # what is done about it

    def emit(self, record: logging.LogRecord) -> None:
        """Hear one."""
        self.texts.append(record.getMessage())
        self.deed()


class Stream:
    """A run of three tasks on a file of its own, and all that is told of it.

    Args:
        db: The file, which does not exist yet.
        keyed: Its tasks have keys, and may come to checkpoints; otherwise they get numbers, or say them.
        wal: With a write-ahead log.
    """

    def __init__(self, db: Path, *, keyed: bool = True, wal: bool = True) -> None:
        self.keyed = keyed
        self.writer = SQLiteWriter(
            db, queue.Queue(), wal=wal, durability="off", handlers={Signal: hear}, observer=self._on_commit
        )
        self.writer._open()  # the writer's own code, in this thread, so that the cuts are exact
        self.ledger = self.writer._ledger
        with closing(sqlite3.connect(db)) as conn:
            conn.executescript(TABLES + ("" if keyed else OTHERS))
        if not keyed:  # of what it found when it opened the file
            self.ledger.tasks.__init__(self.writer._database.conn, self.writer._database.transaction)
        spec = RunSpec(NAMING if keyed else None, True, TASKS, "threads", TASKS)
        self.run = self.writer._commits.transact(lambda ledger: ledger.open_run(spec, {}))
        names = "abc"[:TASKS]
        admissions = self.run.admissions
        admitted = admissions.keys(names) if keyed else admissions.numbers([None] * TASKS)
        self.attempts = [
            Attempt(None, number, name if keyed else None, name, "new" if keyed else "provisional")
            for (number, _), name in zip(admitted, names, strict=True)
        ]
        self.state = ["running"] * TASKS  # or "ended", or "waits"
        for attempt in self.attempts:
            _begin(attempt, "t0")
        self.run.board.slots[:] = self.attempts
        self.lines = 0
        self.checkpoints: list[StagedCheckpoint] = []
        self.finished: list[tuple[str, int, str, str | None]] = []
        self.warnings = Warnings()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.writer._close()

    # --- what is put into the channel ---

    def items(self, steps: Sequence[Step]) -> list[Any]:
        """Do these steps; return what they put into the channel, 0 to n items."""
        return [item for step in steps if (item := self._item(step)) is not None]

    def _item(self, step: Step) -> Any:
        if step.what in OF_OTHERS:
            return self._bare(step)
        attempt, state = self.attempts[step.task], self.state[step.task]
        if state == "waits":
            if step.what == "waited":  # the run ends before its turn
                attempt.retry_in, attempt.waited = None, True
                self.state[step.task] = "ended"
                return attempt
            attempt = self.attempts[step.task] = self.run.board.slots[step.task] = attempt.next_try()
            _begin(attempt, "t2")
            state = self.state[step.task] = "running"
        if state == "running":
            self._work(attempt, step)
        staged = _staged(step)
        if step.what == "checkpoint" and self.keyed:  # behind its end, if that has come: it is late
            checkpoint = StagedCheckpoint(attempt, staged, f'"{self.lines}"', step.rows)
            self.checkpoints.append(checkpoint)
            return checkpoint
        wrong = WRONG[step.wrong]
        if step.what == "message":
            return Spoken(attempt, MsgExecute(wrong[0] if wrong else "INSERT INTO t VALUES (9, 9)"))
        if step.what == "signal":
            return Spoken(attempt, Signal(step.task))
        if step.what in ENDS and state == "running":
            self.state[step.task] = "ended"  # or it waits, once that is committed
            return _end(attempt, step.what, staged, step.rows)
        return None

    def _work(self, attempt: Attempt, step: Step) -> None:
        for _ in range(step.logs):
            self.lines += 1
            line = LogLine("t", "INFO", "x", f"line {self.lines}", None)
            attempt.__dict__.setdefault("logs", deque()).append(line)
        attempt.progress = (float(step.rows), 2.0, f"of {step.rows}")
        if step.number is not None and not self.keyed and attempt.number_said is None:
            # Two that run at the same time must not have one number: the last one to be looked at would win.
            is_last_word = step.what in ENDS and step.what != "again"
            number = step.number if is_last_word or step.number == 900 else 10 + step.task
            attempt.number_said = attempt.task_id = number
            attempt.is_renumbered = True

    def _bare(self, step: Step) -> Any:
        number, wrong = 50 if step.number is None else step.number, WRONG[step.wrong]
        bad = "\ud800" if wrong else "some"
        if step.what == "started":
            return MsgTaskStarted(number, bad, "t0")
        if step.what == "progressed":
            return MsgTaskProgress(number, step.rows, 2, "some")  # of several in a batch only the last is looked at
        if step.what == "finished":
            return MsgTaskFinished(number, "done", "t1", {"n": step.rows} if not wrong else object(), None)
        if step.what == "bare":
            return MsgExecute(wrong[0] if wrong else "INSERT INTO t VALUES (8, 8)")
        if step.what == "rows":
            return MsgWriteRows("t", [{"task": 7, "n": n} for n in range(step.rows)])
        if step.what == "made":  # a table that is made, may get a column while it is empty, and then may not
            columns = ("n", "more")[: 1 + step.logs % 2]
            return MsgWriteRows("made", [dict.fromkeys(columns, n) for n in range(step.rows)])
        if step.what == "stranger":
            return Stranger(1)
        return Signal(-1)

    # --- how it is written ---

    def write(self, items: list[Any]) -> None:
        """Have the writer write these in one batch."""
        logger = logging.getLogger("pipeloom")
        logger.addHandler(self.warnings)
        self.writer._write(items)
        logger.removeHandler(self.warnings)
        conn = self.writer._database.conn
        assert not self.writer._database.transaction._undo
        assert not conn.in_transaction
        assert conn.execute(STORED, (self.run.run_id,)).fetchone() == (self.run._stored,)

    def lose(self, items: list[Any], steps: int) -> None:
        """Apply these, and lose them: broken off after so many of SQLite's steps, or rolled back at the end."""
        left = iter(range(steps))
        transaction = self.writer._database.transaction
        transaction.begin()
        self.writer._database.conn.set_progress_handler(lambda: next(left, None) is None, 5)
        try:
            self.ledger.apply(items)
        except Exception:  # noqa: BLE001 - whatever it was, the batch is lost
            pass
        finally:
            self.writer._database.conn.set_progress_handler(None, 0)
            transaction.roll_back()

    def _on_commit(self, finished: Sequence[Attempt]) -> None:
        for attempt in finished:
            self.finished.append((attempt.name, attempt.attempt, attempt.status, attempt.message))
            assert not attempt.logs or attempt.row == "none"
            if attempt.retry_in is not None:
                self.state[self.attempts.index(attempt)] = "waits"

    # --- what came of it ---

    def found(self) -> dict[str, Any]:
        """Return all that is on file, and all that was told."""
        board = self.run.board
        with closing(sqlite3.connect(self.writer.db_path)) as conn:
            on_file = {sql: sorted(conn.execute(sql), key=repr) for sql in QUESTIONS}
            if conn.execute("SELECT 1 FROM sqlite_master WHERE name = 'made'").fetchone():
                on_file["made"] = conn.execute("SELECT * FROM made").fetchall()
        return {
            **on_file,
            "counts": {status: count for status, count in board.counts.items() if count},
            "failures": [(failed.name, failed.status, failed.message, failed.error) for failed in board.failures],
            "exceptions": [(type(error), str(error)) for error in board.exceptions],
            "finished": self.finished,
            "answers": [_answer(checkpoint) for checkpoint in self.checkpoints],
            "warnings": sorted(self.warnings.texts),
        }

    def end(self) -> None:
        """End what has not ended, and the run."""
        self.write(self.items([Step(task, "waited") for task in range(TASKS)]))
        self.write(self.items([Step(task, "done") for task in range(TASKS)]))
        self.writer._commits.transact(lambda _: self.run.close("done", 1.0))


STORED: Final = "SELECT done + failed + cancelled + timed_out + skipped FROM pipeloom_runs WHERE id = ?"
SHARED: Final = "name, status, progress, message, started_at, attempt, error, worker, rows_written, elapsed_s"
QUESTIONS: Final = (
    "SELECT * FROM t",
    "SELECT * FROM once",
    "SELECT * FROM lost",
    "SELECT * FROM children",
    "SELECT * FROM heard",
    f"SELECT id, result, key, run_id, {SHARED} FROM task_runs",
    f"SELECT task_id, run_id, {SHARED} FROM pipeloom_attempts",
    "SELECT task_id, attempt, message, COUNT(*) FROM pipeloom_logs GROUP BY 1, 2, 3",
    "SELECT task_id, attempt, state FROM pipeloom_state",
    "SELECT task_id, kind, error FROM pipeloom_rejected",
    "SELECT key FROM pipeloom_meta WHERE key LIKE 'made%'",
    "PRAGMA integrity_check",
)


def _begin(attempt: Attempt, at: str) -> None:
    attempt.status, attempt.started_at, attempt.worker = "running", at, "w"


def _staged(step: Step) -> list[Any]:
    staged: list[Any] = []
    if step.rows:
        staged.append(Block(Shape("t", ("task", "n"), "error", ()), [(step.task, n) for n in range(step.rows)]))
    return staged + [Statement(sql, ()) for sql in WRONG[step.wrong]]


def _end(attempt: Attempt, how: str, staged: list[Any], rows: int) -> Attempt:
    """Note the outcome as the dispatcher would."""
    if how == "done":
        attempt.staged, attempt.rows_written, attempt.result = staged or None, rows, "1"
    elif how != "cancelled":
        attempt.exception, attempt.message, attempt.error = ValueError("its own"), "its own", "its own trace"
    if how == "again":
        attempt.retry_in = 0.0
    if attempt.is_renumbered:
        attempt.row = "old"
    attempt.finished_at, attempt.elapsed_s = "t1", 1.0
    attempt.status = "error" if how == "again" else how  # type: ignore[assignment]
    return attempt


def _answer(checkpoint: StagedCheckpoint) -> str:
    assert checkpoint._given.is_set()
    return "kept" if checkpoint._error is None else f"{type(checkpoint._error).__name__}: {checkpoint._error}"
