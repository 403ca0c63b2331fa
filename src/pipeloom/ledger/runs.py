"""One run in the ledger: its row, who is already done, and its counts."""

from __future__ import annotations

import json
import os
import platform
import re
import shlex
import sqlite3
import sys
from collections import Counter
from collections.abc import Iterable, Sequence, Sized
from dataclasses import dataclass
from pathlib import PurePath
from time import monotonic
from typing import TYPE_CHECKING, Any, Final, Literal

from pipeloom import __version__
from pipeloom.data.clock import utc_now
from pipeloom.data.text import clean, kind_of, storable
from pipeloom.db.transaction import Transaction
from pipeloom.ledger.attempt import Attempt, Glimpse
from pipeloom.ledger.statements import LOOK_UP, padded
from pipeloom.ledger.tasks import TaskTable

if TYPE_CHECKING:
    from pipeloom.ledger.apply import Applied

__all__ = ["Admission", "RunLedger", "RunSpec"]

_COUNTS_S: Final = 0.1
_KEPT_FAILURES: Final = 100
_KEPT_EXCEPTIONS: Final = 20


@dataclass(frozen=True, slots=True)
class RunSpec:
    """What a run is, as its row says.

    Args:
        pipeline: The stable name, ``None`` for a run without keys.
        standalone: The name is only a label: give the run a pipeline of its own.
        resume: Skip keys that are done.
        workers: Number of workers.
        executor: Where they live.
        expected: Number of inputs when known.
        retrying: Failed tries may be followed by others.
    """

    pipeline: str | None
    standalone: bool
    resume: bool
    workers: int
    executor: str
    expected: int | None
    retrying: bool = False


Admission = tuple[int, Literal["new", "again", "provisional", "skip", "duplicate", "taken", "stateful"]]
"""The ledger's word on one input: its row's id, and what to do with it."""


class RunLedger:
    """The writer's side of one run; changed only in the writer's thread, its counts read by anyone.

    Counts, failures and the outcome come only from what was committed.
    """

    def __init__(
        self, conn: sqlite3.Connection, transaction: Transaction, tasks: TaskTable | None, spec: RunSpec
    ) -> None:
        self._conn = conn
        self._write = transaction.write
        self._stored_at = 0.0
        self._tasks = tasks
        self.spec = spec
        self.run_id: int | None = None
        self.pipeline_id: int | None = None
        self.counts: Counter[str] = Counter()
        self.skipped = 0
        self.waiting: Sized = ()  # tries that wait for their turn, of a run that has them
        self._stored = 0  # how many ended tasks the run's row counts,
        self._storing: int | None = None  # and will once this batch has committed
        self._in_flight: set[str | int | None] = set()
        self.failures: list[Attempt] = []
        self.exceptions: list[Exception] = []
        # One place per worker for the attempt it is working on; the worker writes, the writer and the screen read.
        self.slots: list[Attempt | None] = [None] * spec.workers
        # While keys only ascend in a pipeline that began with this run, none needs to be looked up.
        self._frontier: Any = None
        self._frontier_known = False
        if tasks is not None:
            self._open(tasks)

    def _open(self, tasks: TaskTable) -> None:
        spec = self.spec
        if spec.pipeline is not None and not spec.standalone:
            self._conn.execute("INSERT OR IGNORE INTO pipeloom_pipelines (name) VALUES (?)", (spec.pipeline,))
            found = self._conn.execute("SELECT id FROM pipeloom_pipelines WHERE name = ?", (spec.pipeline,))
            self.pipeline_id = found.fetchone()[0]
        versions = {
            "pipeloom": __version__,
            "python": platform.python_version(),
            "sqlite": sqlite3.sqlite_version,
        }
        self.run_id = self._conn.execute(
            "INSERT INTO pipeloom_runs (pipeline_id, status, started_at, expected, workers, executor, host, pid, "
            "versions, command) VALUES (?, 'running', ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                self.pipeline_id,
                utc_now(),
                spec.expected,
                spec.workers,
                spec.executor,
                platform.node(),
                os.getpid(),
                json.dumps(versions),
                storable(command_of(sys.orig_argv)),
            ),
        ).lastrowid
        if spec.pipeline is not None and spec.standalone:
            label = f"{spec.pipeline} (run {self.run_id})"
            self.pipeline_id = self._conn.execute(
                "INSERT INTO pipeloom_pipelines (name) VALUES (?)", (label,)
            ).lastrowid
            self._conn.execute(
                "UPDATE pipeloom_runs SET pipeline_id = ? WHERE id = ?", (self.pipeline_id, self.run_id)
            )
        has_tasks = self._conn.execute("SELECT 1 FROM task_runs WHERE pipeline_id = ? LIMIT 1", (self.pipeline_id,))
        self._frontier_known = has_tasks.fetchone() is None
        tasks.run_id, tasks.pipeline_id = self.run_id, self.pipeline_id

    # --- admission: one chunk at a time ---

    def admit_new_keys(self, keys: Sequence[str | int]) -> list[Admission] | None:
        """Admit keys of which it is known without a look into the file that all are new; any thread."""
        if not self._are_beyond(keys):
            return None
        assert self._tasks is not None
        self._in_flight.update(keys)
        return [(number, "new") for number in self._tasks.numbers.give(len(keys))]

    def admit_keys(self, keys: Sequence[str | int]) -> list[Admission]:
        """Say for each key, in order, whether it is to be run, and as which row; the writer's thread."""
        tasks = self._tasks
        assert tasks is not None
        in_flight = self._in_flight
        known = self._look_up(keys)
        # Rows of a checkpoint cannot be taken back: running such a task from its beginning would double them.
        stateful = set() if self.spec.resume else tasks.with_state(row[0] for row in known.values())
        admissions: list[Admission] = []
        for key in keys:
            row = known.get(key)
            if key in in_flight or (row is not None and row[2] == self.run_id):
                admissions.append((0, "duplicate"))
                continue
            if row is None:
                admissions.append((tasks.numbers.give(1).start, "new"))
            elif row[0] in stateful:
                admissions.append((row[0], "stateful"))
                continue
            elif self.spec.resume and row[1] == "done":
                admissions.append((row[0], "skip"))
                self.skipped += 1
                continue
            else:
                admissions.append((row[0], "again"))
            in_flight.add(key)
        return admissions

    def _are_beyond(self, keys: Sequence[Any]) -> bool:
        """Say whether keys ascend from beyond all keys of a pipeline that began with this run: all are new then."""
        if not self._frontier_known:
            return False
        last = self._frontier
        try:
            for key in keys:
                if last is not None and not key > last:
                    break
                last = key
            else:
                self._frontier = last
                return True
        except TypeError:  # text beside numbers
            pass
        self._frontier_known = False
        return False

    def _look_up(self, keys: Sequence[str | int]) -> dict[Any, tuple[int, str, int | None]]:
        known = {}
        for size, flat in padded([(key,) for key in keys], 1):
            for key, number, status, run_id in self._conn.execute(LOOK_UP[size], (self.pipeline_id, *flat)):
                known[key] = (number, status, run_id)
        return known

    def admit_new_numbers(self, numbers: Sequence[int | None]) -> list[Admission] | None:
        """Admit tasks whose numbers, if they have any, are beyond all rows of the file; any thread."""
        tasks = self._tasks
        if tasks is None:
            return [(number if number is not None else 0, "new") for number in numbers]
        if any(number is not None and number <= tasks.ceiling for number in numbers):
            return None
        return [self._admit_number(number) for number in numbers]

    def admit_numbers(self, numbers: Sequence[int | None]) -> list[Admission]:
        """Give a stand-in to each task without a number; refuse numbers that belong to a keyed pipeline."""
        tasks = self._tasks
        assert tasks is not None
        taken_numbers = tasks.keyed_among(number for number in numbers if number is not None)
        return [
            (number, "taken") if number is not None and number in taken_numbers else self._admit_number(number)
            for number in numbers
        ]

    def _admit_number(self, number: int | None) -> Admission:
        if number is not None:
            return number, "again"
        assert self._tasks is not None
        stand_in, self._tasks.next_provisional = self._tasks.next_provisional, self._tasks.next_provisional - 1
        return stand_in, "provisional"

    # --- what a batch does to the run ---

    def live(self) -> list[Glimpse]:
        """Return running attempts that the ledger does not show yet as they are."""
        news = []
        for attempt in self.slots:
            if attempt is not None and attempt.status == "running" and attempt.refused is None:
                glimpse = attempt.glimpse()
                if (
                    attempt.recorded != (glimpse.task_id, glimpse.started_at)
                    or attempt.shown is not glimpse.cell
                    or (attempt.logs and glimpse.task_id >= 0)
                ):
                    news.append(glimpse)
        return news

    def needs_writing(self) -> bool:
        """Say whether there is news although nothing was said."""
        return self._stored != sum(self.counts.values()) + self.skipped or bool(self.live())

    def store_counts(self, finished: Sequence[Attempt], *, now: bool = False) -> None:
        """Write the counts as they will be once this batch has committed, ten times a second at most.

        Args:
            finished: Attempts that end in this batch.
            now: Whatever the time.
        """
        if self._tasks is None or not (now or monotonic() - self._stored_at >= _COUNTS_S):
            return
        self._stored_at = monotonic()
        counts = self.counts + Counter(attempt.status for attempt in finished if attempt.retry_in is None)
        self._write(
            "UPDATE pipeloom_runs SET done = ?, failed = ?, cancelled = ?, timed_out = ?, skipped = ? WHERE id = ?",
            (
                counts["done"],
                counts["error"],
                counts["cancelled"],
                counts["timed_out"],
                self.skipped,
                self.run_id,
            ),
        )
        self._storing = sum(counts.values()) + self.skipped

    def note(self, applied: Applied) -> None:
        """Note on the attempts what the ledger has of them now, before anything else of theirs is applied."""
        for attempt, number, started_at, cell in applied.live:
            attempt.recorded = (number, started_at)
            attempt.shown = cell
        for checkpoint in applied.checkpoints:
            checkpoint.attempt.rows_kept += checkpoint.rows
        for attempt, lines in applied.logged:
            assert attempt.logs is not None
            for _ in lines:
                attempt.logs.popleft()

    def lost(self, applied: Iterable[Applied]) -> None:
        """Take back what was noted: the transaction is rolled back. The attempts themselves were restored."""
        for done in applied:
            for attempt, lines in done.logged:
                assert attempt.logs is not None
                attempt.logs.extendleft(reversed(lines))
        self._storing, self._stored_at = None, 0.0

    def committed(self, applied: Applied) -> None:
        """Take what was committed, and is noted, into the counts and the report."""
        if self._storing is not None:
            self._stored, self._storing = self._storing, None
        for checkpoint in applied.checkpoints:
            checkpoint.attempt.state = checkpoint.state
        ended: Sequence[Attempt] = applied.finished
        if self.spec.retrying:
            ended = [attempt for attempt in ended if attempt.retry_in is None]
            for attempt in applied.finished:
                if attempt.retry_in is not None:
                    _drop_frames(attempt.exception)  # it may wait for an hour
        self.counts.update([attempt.status for attempt in ended])
        self._in_flight.difference_update([attempt.key for attempt in ended if attempt.row != "none"])
        for attempt in ended:
            if attempt.status != "done":
                self._keep(attempt)

    def _keep(self, attempt: Attempt) -> None:
        exception, attempt.exception = attempt.exception, None
        if exception is not None and attempt.status in ("error", "timed_out"):
            attempt.exception_type = kind_of(exception)
            _drop_frames(exception)
            if not isinstance(exception, Exception):  # SystemExit: it must not end the caller's program
                exception = RuntimeError(f"{attempt.exception_type}: {attempt.message}")
            if len(self.exceptions) < _KEPT_EXCEPTIONS:
                _add_note(exception, attempt)
                self.exceptions.append(exception)
        if len(self.failures) < _KEPT_FAILURES:
            attempt.item = None
            self.failures.append(attempt)

    def close(self, status: str, elapsed_s: float) -> None:
        """Write the run's end; inside a transaction."""
        if self._tasks is None:
            return
        self.store_counts((), now=True)
        # There are none, unless a fault of ours ended the run: a closed run has no running tasks.
        self._write(
            "UPDATE task_runs SET status = 'interrupted', finished_at = ? "
            "WHERE status <> 'done' AND status IN ('running', 'queued') AND run_id = ?",
            (utc_now(), self.run_id),
        )
        self._write(
            "UPDATE pipeloom_runs SET status = ?, finished_at = ?, elapsed_s = ? WHERE id = ?",
            (status, utc_now(), elapsed_s, self.run_id),
        )


def command_of(words: Sequence[str]) -> str:
    """Return how a program was started, up to its script or target: what follows may hold secrets.

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


def _add_note(exception: Exception, attempt: Attempt) -> None:
    """Say whose exception it is, and where it was raised: its frames are gone."""
    key = attempt.key if attempt.key is not None else attempt.task_id
    places = _PLACE.findall(attempt.error or "")
    where = f", {places[-1][0]}:{places[-1][1]} in {places[-1][2]}" if places else ""
    try:
        BaseException.add_note(exception, clean(f"pipeloom: task {key}{where}", 300))
    except Exception:
        pass  # a frozen dataclass takes none


_PLACE: Final = re.compile(r'^ *File "(.+)", line (\d+), in (.+)$', re.MULTILINE)


def _drop_frames(exception: BaseException | None) -> None:
    """Free what the frames of a kept exception hold; its traceback is in the ledger as text."""
    seen: set[int] = set()
    waiting = [exception]
    while waiting:
        exception = waiting.pop()
        if exception is not None and id(exception) not in seen:
            seen.add(id(exception))
            # Past what a foreign class makes of these attributes: a frozen dataclass lets nobody set them.
            BaseException.with_traceback(exception, None)
            waiting += (_CAUSE(exception), _CONTEXT(exception))


_CAUSE: Final = vars(BaseException)["__cause__"].__get__
_CONTEXT: Final = vars(BaseException)["__context__"].__get__


def mark_interrupted(conn: sqlite3.Connection) -> int:
    """Close the books of runs whose process died; the caller owns the file, so no run can be alive.

    Returns:
        How many task rows became ``interrupted``.
    """
    dead = "SELECT id FROM pipeloom_runs WHERE status = 'running'"
    now = utc_now()
    changed = conn.execute(
        "UPDATE task_runs SET status = 'interrupted', finished_at = ?, "
        "message = 'its process ended before it did' || COALESCE('; it said last: ' || NULLIF(message, ''), '') "
        f"WHERE status <> 'done' AND status IN ('running', 'queued') AND run_id IN ({dead})",
        (now,),
    ).rowcount
    _count_again(conn)
    conn.execute(
        "UPDATE pipeloom_runs SET status = 'interrupted', finished_at = ? WHERE status = 'running'", (now,)
    )
    return changed


def _count_again(conn: sqlite3.Connection) -> None:
    """Bring the counts of dead runs up to their last commit: a run stores them only ten times a second."""
    if conn.execute("SELECT 1 FROM pipeloom_runs WHERE status = 'running' LIMIT 1").fetchone() is None:
        return
    found: dict[int, Counter[str]] = {}
    for run_id, status, tasks in conn.execute(
        "SELECT run_id, status, COUNT(*) FROM task_runs WHERE run_id IN "
        "(SELECT id FROM pipeloom_runs WHERE status = 'running') GROUP BY run_id, status"
    ):
        found.setdefault(run_id, Counter())[status] = tasks
    for run_id, counts in found.items():
        conn.execute(
            "UPDATE pipeloom_runs SET done = ?, failed = ?, cancelled = ?, timed_out = ? WHERE id = ?",
            (counts["done"], counts["error"], counts["cancelled"], counts["timed_out"], run_id),
        )
