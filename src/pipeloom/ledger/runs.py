"""One run in the ledger: its row, and how each batch changes it."""

from __future__ import annotations

import json
import logging
import os
import platform
import shlex
import sqlite3
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePath
from time import monotonic
from typing import Final

from pipeloom import __version__
from pipeloom.data.clock import utc_now
from pipeloom.data.naming import Naming
from pipeloom.data.shards import Shard
from pipeloom.data.text import clean, near, storable
from pipeloom.db.schema import kind_of_interrupted, last_words
from pipeloom.db.transaction import Transaction
from pipeloom.errors import LedgerError
from pipeloom.ledger.admission import Admissions
from pipeloom.ledger.attempt import Attempt
from pipeloom.ledger.board import Board
from pipeloom.ledger.fold import Batch
from pipeloom.ledger.found import FoundInputs
from pipeloom.ledger.owning import Owned
from pipeloom.ledger.pipelines import Pipeline, pipeline_for
from pipeloom.ledger.redo import Redo, Versions, as_json
from pipeloom.ledger.tasks import TaskTable
from pipeloom.statuses import CANCELLED, DONE, ERROR, NEVER_BEGAN, TIMED_OUT, RunEnd, TaskStatus

__all__ = ["RunLedger", "RunSpec", "mark_interrupted"]

logger = logging.getLogger("pipeloom")

_COUNTS_S: Final = 0.1


@dataclass(frozen=True, slots=True)
class RunSpec:
    """The description of a run that is stored in its row.

    Args:
        naming: The identity of its function; ``None`` for a run without keys.
        resume: Skip keys that are done.
        workers: Number of workers.
        executor: The executor's name.
        expected: Number of inputs, if known.
        shard: Which shard of the inputs it runs; ``None`` for all inputs.
        owned: In which tables rows store their task.
        versioned: Inputs have versions.
    """

    naming: Naming | None
    resume: bool
    workers: int
    executor: str
    expected: int | None
    shard: Shard | None = None
    owned: Owned = False
    versioned: bool = False


class RunLedger:
    """The writer's side of one run; changed only in the writer's thread.

    Attributes:
        run_id: Its number; ``None`` without ledger tables.
        pipeline: The pipeline that it continues; ``None`` for a run without keys.
        board: Its state for other threads, readable at any time.
        admissions: Decides which inputs run.
        versions: Stores the versions of inputs; ``None`` without ledger tables.
        found: The inputs that tasks find; ``None`` for a run without keys.
    """

    def __init__(
        self, conn: sqlite3.Connection, transaction: Transaction, tasks: TaskTable | None, spec: RunSpec
    ) -> None:
        self._conn = conn
        self._write, self._note = transaction.write, transaction.note
        self._tasks = tasks
        self.spec = spec
        self.run_id: int | None = None
        self.pipeline: Pipeline | None = None
        self.board = Board(spec.workers)
        self._stored_at = 0.0
        self._stored = 0  # how many ended tasks the run's row counts
        self.versions: Versions | None = None
        redo: Redo | None = None
        if tasks is not None:
            self.pipeline = self._open(tasks)
            self.versions = Versions(conn, transaction, used=spec.versioned)
            redo = Redo(conn, spec.owned)
        doubts = None if self.pipeline is None else self.pipeline.doubts
        self.admissions = Admissions(conn, tasks, self.board, resume=spec.resume, doubts=doubts, redo=redo)
        self.found: FoundInputs | None = None
        if tasks is not None and self.pipeline is not None:
            self.found = FoundInputs(
                conn,
                transaction,
                tasks,
                self.admissions,
                self.board,
                resume=spec.resume and spec.shard is None,
                versioned=spec.versioned,
            )

    def _open(self, tasks: TaskTable) -> Pipeline | None:
        spec = self.spec
        versions = {
            "pipeloom": __version__,
            "python": platform.python_version(),
            "sqlite": sqlite3.sqlite_version,
        }
        self.run_id = self._conn.execute(
            "INSERT INTO pipeloom_runs (status, started_at, expected, workers, executor, host, pid, "
            "versions, command, shard, own_rows) VALUES ('running', ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                utc_now(),
                spec.expected,
                spec.workers,
                spec.executor,
                platform.node(),
                os.getpid(),
                json.dumps(versions),
                storable(command_of(sys.orig_argv)),
                None if spec.shard is None else str(spec.shard),
                as_json(spec.owned),
            ),
        ).lastrowid
        tasks.run_id = self.run_id
        if spec.naming is None:
            return None
        pipeline = pipeline_for(self._conn, spec.naming, self.run_id, resume=spec.resume)
        _check_shard(self._conn, pipeline, spec.shard)
        self._conn.execute("UPDATE pipeloom_runs SET pipeline_id = ? WHERE id = ?", (pipeline.id, self.run_id))
        tasks.pipeline_id = pipeline.id
        return pipeline

    @property
    def pipeline_id(self) -> int | None:
        """The number of its pipeline; ``None`` for a run without keys."""
        return None if self.pipeline is None else self.pipeline.id

    # --- how a batch changes the run ---

    def needs_writing(self) -> bool:
        """Return whether live state or counts have to be written although no item arrived."""
        return self._stored != self.board.dealt_with or bool(self.board.news())

    def store_counts(self, finished: Sequence[Attempt], *, now: bool = False) -> None:
        """Write the counts as of this batch's commit, at most ten times a second.

        Args:
            finished: Attempts that end in this batch.
            now: Write them regardless of the time.
        """
        if self._tasks is None or not (now or monotonic() - self._stored_at >= _COUNTS_S):
            return
        board = self.board
        counts = board.counts + Counter(attempt.status for attempt in finished if attempt.retry_in is None)
        self._write(
            "UPDATE pipeloom_runs SET done = ?, failed = ?, cancelled = ?, timed_out = ?, skipped = ?, "
            "expected = ? + ? WHERE id = ?",
            (*_columns_of(counts), board.skipped, self.spec.expected, board.beside, self.run_id),
        )
        self._note(self, _stored=sum(counts.values()) + board.skipped, _stored_at=monotonic())

    def committed(self, batch: Batch) -> None:
        """Update the counts and the report with a batch that has committed."""
        for attempt in batch.logged:
            _drop_kept_lines(attempt)
        for checkpoint in batch.checkpoints:
            checkpoint.attempt.state = checkpoint.state
        ended = [each for each in batch.finished if each.retry_in is None]
        self.admissions.ended(ended)
        self.board.count(ended)
        if self.found is not None:
            self.found.committed()

    def close(self, status: RunEnd, elapsed_s: float) -> None:
        """Write the run's end; inside a transaction."""
        if self._tasks is None:
            return
        self.store_counts((), now=True)
        # Inputs that were found and have not begun; no others are open, unless a bug of ours ended the run.
        self._write(
            "UPDATE task_runs SET status = 'interrupted', finished_at = ?, "
            "message = CASE WHEN status = 'queued' AND message IS NULL THEN ? ELSE message END, "
            f"{kind_of_interrupted('message')} "
            "WHERE status <> 'done' AND status IN ('running', 'queued') AND run_id = ?",
            (utc_now(), NEVER_BEGAN, self.run_id),
        )
        self._write(
            "UPDATE pipeloom_runs SET status = ?, finished_at = ?, elapsed_s = ? WHERE id = ?",
            (status, utc_now(), elapsed_s, self.run_id),
        )


def _check_shard(conn: sqlite3.Connection, pipeline: Pipeline, shard: Shard | None) -> None:
    """Refuse a file that holds another shard of the pipeline; warn if it holds one and the run is not sharded.

    Files can be merged only if no input is in two of them, so each holds one shard; a merged file holds several.

    Raises:
        LedgerError: The file holds another shard.
    """
    there = [
        text
        for (text,) in conn.execute(
            "SELECT DISTINCT shard FROM pipeloom_runs WHERE pipeline_id = ? AND shard IS NOT NULL", (pipeline.id,)
        )
    ]
    path = clean(near(conn.execute("PRAGMA database_list").fetchone()[2]))
    what = f"{path} holds {_in_words(there)} of {clean(pipeline.name, 80)}"
    if shard is None and len(there) == 1 and there != ["1/1"]:
        logger.warning(
            "%s, and this call runs all inputs: to continue only that shard, pass shard=",
            what,
        )
    elif shard is not None and set(there) - {str(shard)}:
        raise LedgerError(
            f"{what}, and this call is for shard {shard}: use a separate file for each shard, or leave out shard= "
            "to run all inputs that are not done in this file"
        )


def _in_words(shards: Sequence[str]) -> str:
    if len(shards) > 1:
        return f"{len(shards):,} shards"
    return f"shard {clean(shards[0], 40)}" if shards else "no shard"


def command_of(words: Sequence[str]) -> str:
    """Return the command that started the program, up to its script or target: the rest may contain secrets.

    Args:
        words: As in ``sys.orig_argv``, n ≥ 1.
    """
    program, *rest = words
    shown = [PurePath(program).name]
    while rest:
        word = rest.pop(0)
        if word == "-c":
            return f"{shown[0]} -c …"
        name = PurePath(word).name
        shown = ["pipeloom"] if name == "pipeloom" and "-m" not in shown else [*shown, word]
        if not word.startswith("-") and name not in ("pipeloom", "run"):
            break
    return shlex.join(shown) + (" …" if rest else "")


def _drop_kept_lines(attempt: Attempt) -> None:
    """Drop the log lines that are stored, from the front; its worker may append at the other end meanwhile."""
    assert attempt.logs is not None
    for _ in range(attempt.lines_kept):
        attempt.logs.popleft()
    attempt.lines_kept = 0


def _columns_of(counts: Counter[TaskStatus]) -> tuple[int, int, int, int]:
    """Return the counts in the order of the columns of a run's row: done, failed, cancelled, timed out."""
    return counts[DONE], counts[ERROR], counts[CANCELLED], counts[TIMED_OUT]


def mark_interrupted(conn: sqlite3.Connection) -> int:
    """Mark runs whose process died as interrupted; the caller owns the file, so no run can be in progress.

    Returns:
        How many task rows became ``interrupted``.
    """
    dead = "SELECT id FROM pipeloom_runs WHERE status = 'running'"
    now = utc_now()
    changed = conn.execute(
        "UPDATE task_runs SET status = 'interrupted', finished_at = ?, "
        f"message = {last_words('message')}, {kind_of_interrupted('message')} "
        f"WHERE status <> 'done' AND status IN ('running', 'queued') AND run_id IN ({dead})",
        (now,),
    ).rowcount
    _count_again(conn)
    conn.execute(
        "UPDATE pipeloom_runs SET status = 'interrupted', finished_at = ? WHERE status = 'running'", (now,)
    )
    return changed


def _count_again(conn: sqlite3.Connection) -> None:
    """Update the counts of dead runs to their last commit: a run stores them only ten times a second."""
    if conn.execute("SELECT 1 FROM pipeloom_runs WHERE status = 'running' LIMIT 1").fetchone() is None:
        return
    found: dict[int, Counter[TaskStatus]] = {}
    for run_id, status, tasks in conn.execute(
        "SELECT run_id, status, COUNT(*) FROM task_runs WHERE run_id IN "
        "(SELECT id FROM pipeloom_runs WHERE status = 'running') GROUP BY run_id, status"
    ):
        found.setdefault(run_id, Counter())[status] = tasks
    for run_id, counts in found.items():
        conn.execute(
            "UPDATE pipeloom_runs SET done = ?, failed = ?, cancelled = ?, timed_out = ? WHERE id = ?",
            (*_columns_of(counts), run_id),
        )
