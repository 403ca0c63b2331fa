"""Admission: decide for each input whether it runs, and under which row."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal

from pipeloom.data.commands import typed
from pipeloom.data.text import clean, near
from pipeloom.data.versions import StoredVersion
from pipeloom.errors import DuplicateKeyError, LedgerError
from pipeloom.ledger.attempt import Attempt
from pipeloom.ledger.board import Board
from pipeloom.ledger.ids import IdSeries
from pipeloom.ledger.pipelines import Doubts
from pipeloom.ledger.redo import Redo, is_same
from pipeloom.ledger.statements import LOOK_UP, LOOK_UP_FOUND, padded
from pipeloom.ledger.tasks import TaskTable, taken
from pipeloom.statuses import DONE

__all__ = ["Admission", "Admissions", "Key", "Known", "refusal_of"]

Admission = tuple[
    int,
    Literal[
        "new", "found", "again", "redo", "provisional", "skip", "aside", "duplicate", "taken", "stateful", "unowned"
    ],
]
"""The ledger's decision on one input: the id of its row, and what to do with the input.

"again" continues from a checkpoint if the task has one. "redo" starts from the beginning, and its rows replace the
task's earlier rows. "aside": the input is already queued in the file and runs from there."""


Verdict = Literal["skip", "again", "redo", "stateful", "unowned"]
Key = str | int
Known = tuple[int, str, int | None, int | None]
"""The id, status and run of a row, and its place in the queue if it has one, see ``ledger/found``."""


def refusal_of(verdict: str, attempt: Attempt, *, chosen: bool, db: str) -> LedgerError:
    """Return the error for an input that is not admitted.

    Args:
        verdict: ``"duplicate"``, ``"stateful"``, ``"unowned"`` or ``"taken"``.
        attempt: The input, with its key, and the id of the row that conflicts with it.
        chosen: The key was returned by ``key=``.
        db: The path of the database file.
    """
    known = attempt.known_as
    key = repr(clean(known, 80)) if isinstance(known, str) else clean(known, 80)
    if verdict == "duplicate":
        reason = (
            f"key= returned {key} for more than one input of this run: return a unique key for each input"
            if chosen
            else f"the input {key} occurs twice in this run: remove one of them, or pass key= to distinguish them"
        )
        return DuplicateKeyError(reason, key=attempt.key)
    if verdict == "stateful":
        return LedgerError(
            f"the key {key} has a checkpoint, and resume=False would store its rows twice: use resume=True, or "
            f"first delete those rows and its row in pipeloom_state (task_id {attempt.task_id})"
        )
    if verdict == "unowned":
        return LedgerError(
            f"{key} was stored without version= or own_rows=, so its rows cannot be replaced: pass "
            "own_rows=False to keep them, use another file, or delete them and run: "
            f"{typed('forget', near(db), attempt.task_id)}"
        )
    return LedgerError(taken(attempt.task_id))


class Admissions:
    """Admit the inputs of one run, one chunk at a time.

    Args:
        conn: The writer's connection.
        tasks: The tasks in the file; ``None`` without ledger tables.
        board: Where skipped inputs are counted.
        resume: Skip keys that are done.

        doubts: The other pipelines in which an input may already be done.
        redo: What is stored about tasks that may run again; ``None`` without ledger tables.


    Attributes:
        met: The ids of all inputs that were admitted or skipped, in the order of the inputs.
        is_in_line: Place in the queue, or ``None`` → whether the input runs from the queue in the file. Set once
            the queue may hold inputs, see ``ledger/found``.
    """

    def __init__(
        self,
        conn: sqlite3.Connection,
        tasks: TaskTable | None,
        board: Board,
        *,
        resume: bool,
        doubts: Doubts | None = None,
        redo: Redo | None = None,
    ) -> None:
        self._conn = conn
        self._table = tasks
        self._board = board
        self._resume = resume
        self._doubts = doubts
        self._redo = redo
        # Chunks are admitted one after another; in between, the writer looks up the inputs that tasks find.
        self._lock = threading.Lock()
        self.met = IdSeries()
        self.is_in_line: Callable[[int | None], bool] | None = None
        self._in_flight: set[str | int | None] = set()
        # As long as the keys ascend in a pipeline that began with this run, none has to be looked up.
        self._frontier: Any = None
        self._frontier_known = False
        if tasks is not None and doubts is None:
            has_tasks = "SELECT 1 FROM task_runs WHERE pipeline_id = ? LIMIT 1"
            self._frontier_known = conn.execute(has_tasks, (tasks.pipeline_id,)).fetchone() is None

    @property
    def _tasks(self) -> TaskTable:
        assert self._table is not None  # keys need the ledger
        return self._table

    def ended(self, attempts: Iterable[Attempt]) -> None:
        """Note that these attempts have ended; the writer's thread."""
        self._in_flight.difference_update([attempt.key for attempt in attempts if attempt.row != "none"])

    # --- by key ---

    def new_keys(self, keys: Sequence[str | int]) -> list[Admission] | None:
        """Admit keys if they are known to be new without looking in the file, else return ``None``; any thread."""
        with self._lock:
            if not self._are_beyond(keys):
                return None
            self._in_flight.update(keys)
            numbers = self._tasks.ids.give(len(keys))
            self.met.extend(numbers)
        return [(number, "new") for number in numbers]

    def keys(
        self, keys: Sequence[str | int], versions: Sequence[StoredVersion | None] | None = None
    ) -> list[Admission]:
        """Decide for each key, in order, whether it runs, and under which row; the writer's thread.

        Args:
            keys: n keys.
            versions: The n versions of the inputs; ``None`` in a run without ``version=``.
        """
        tasks, in_flight = self._tasks, self._in_flight
        known = self.look_up(keys)
        verdicts = self._verdicts(known, keys, versions)
        waits = self.is_in_line
        if self._doubts is not None:
            self._doubts.check([key for key in keys if key not in known or known[key][1] != DONE])
        admissions: list[Admission] = []
        for key in keys:
            row = known.get(key)
            if row is not None and waits is not None and waits(row[3]):
                self._board.beside -= 1  # it is counted there
                admissions.append((0, "aside"))
            elif key in in_flight or (row is not None and row[2] == tasks.run_id):
                admissions.append((0, "duplicate"))
            elif row is None:
                in_flight.add(key)
                admissions.append((tasks.ids.give(1).start, "new"))
            else:
                admissions.append((row[0], verdicts[key]))
                if verdicts[key] == "skip":
                    self._board.skipped += 1
                elif verdicts[key] in ("again", "redo"):
                    in_flight.add(key)
        self.met.extend(number for number, _ in admissions if number)
        return admissions

    def _verdicts(
        self, known: Mapping[Key, Known], keys: Sequence[Key], versions: Sequence[StoredVersion | None] | None
    ) -> dict[Key, Verdict]:
        """Decide what to do with keys that are in the file, regardless of this run's other inputs."""
        redo, resume = self._redo, self._resume
        replaces = redo is not None and redo.replaces
        with_state = self._tasks.with_state(row[0] for row in known.values()) if replaces or not resume else set()
        changed: set[Key] = set()
        if redo is not None and versions is not None:
            stored = redo.versions(self._tasks.pipeline_id, list(known))
            changed = {
                key for key, version in zip(keys, versions, strict=True) if not is_same(stored.get(key), version)
            }
        found: dict[Key, Verdict] = {}
        for key, (number, status, *_) in known.items():
            if resume and status == DONE and key not in changed:
                found[key] = "skip"
            elif replaces and not (resume and number in with_state and key not in changed):
                found[key] = "redo"
            elif number in with_state and not resume:
                found[key] = "stateful"  # its rows cannot be removed, and would be stored twice
            else:
                found[key] = "again"
        if redo is not None and replaces:
            strange = redo.without_owner(known[key][0] for key, verdict in found.items() if verdict == "redo")
            found.update((key, "unowned") for key in found if known[key][0] in strange)
        return found

    def _are_beyond(self, keys: Sequence[Any]) -> bool:
        """Return whether the keys ascend and exceed all keys of a pipeline that began with this run, so are new."""
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
        except TypeError:  # text and numbers mixed
            pass
        self._frontier_known = False
        return False

    def look_up(self, keys: Sequence[Key]) -> dict[Key, Known]:
        """Return what the file holds of those keys that it knows; the writer's thread."""
        statements = LOOK_UP if self.is_in_line is None else LOOK_UP_FOUND
        known = {}
        for size, flat in padded([(key,) for key in keys], 1):
            for key, number, status, run_id, place in self._conn.execute(
                statements[size], (self._tasks.pipeline_id, *flat)
            ):
                known[key] = (number, status, run_id, place)
        return known

    # --- inputs that tasks find ---

    def of_found(self, keys: Iterable[Key]) -> dict[Key, Known | None]:
        """Return those found keys that this run has not admitted yet, each with what the file holds of it.

        From now on every key is looked up, since the file may hold any of them. The writer's thread.
        """
        if self._frontier_known:
            with self._lock:  # keys that are being admitted without a lookup are in flight after this
                self._frontier_known = False
        others = [key for key in keys if key not in self._in_flight]
        known = self.look_up(others)
        return {key: known.get(key) for key in others}

    def in_line(
        self, known: Mapping[Key, Known], versions: Sequence[StoredVersion | None] | None
    ) -> list[Admission]:
        """Decide what to do with inputs from the head of the queue; the writer's thread.

        Args:
            known: What the file holds of n keys.
            versions: The n versions of the inputs; ``None`` in a run without ``version=``.
        """
        earlier = {key: row for key, row in known.items() if row[2] != self._tasks.run_id}
        if versions is not None:
            versions = [version for key, version in zip(known, versions, strict=True) if key in earlier]
        verdicts = self._verdicts(earlier, list(earlier), versions)
        self._board.skipped += sum(verdict == "skip" for verdict in verdicts.values())
        self.met.extend(row[0] for row in known.values())
        return [(row[0], verdicts.get(key, "found")) for key, row in known.items()]

    # --- by number ---

    def new_numbers(self, numbers: Sequence[int | None]) -> list[Admission] | None:
        """Admit tasks if their numbers, where they have one, exceed all ids of the file; any thread.

        Returns ``None`` if a number may already have a row.
        """
        tasks = self._table
        if tasks is None:
            return [(number if number is not None else 0, "new") for number in numbers]
        if any(number is not None and number <= tasks.ceiling for number in numbers):
            return None
        return [self._admit_number(number) for number in numbers]

    def numbers(self, numbers: Sequence[int | None]) -> list[Admission]:
        """Give a provisional id to each task without a number; refuse numbers that belong to a keyed pipeline."""
        taken = self._tasks.keyed_among(number for number in numbers if number is not None)
        return [
            (number, "taken") if number is not None and number in taken else self._admit_number(number)
            for number in numbers
        ]

    def _admit_number(self, number: int | None) -> Admission:
        return (number, "again") if number is not None else (self._tasks.next_stand_in(), "provisional")
