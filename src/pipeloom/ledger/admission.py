"""Who is let in: for each input, whether it is to be run, and as which row."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal

from pipeloom.data.text import clean
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
"""The ledger's word on one input: its row's id, and what to do with it. "again" goes on from a checkpoint, if there
is one; "redo" begins anew, and what it writes takes the place of what its task wrote before. "aside": it is run
from its line in the file."""


Verdict = Literal["skip", "again", "redo", "stateful", "unowned"]
Key = str | int
Known = tuple[int, str, int | None, int | None]
"""The id, the status and the run of a row, and the number of its line if it has one, see ``ledger/found``."""


def refusal_of(verdict: str, attempt: Attempt, *, chosen: bool) -> LedgerError:
    """Return why an input is not let in.

    Args:
        verdict: ``"duplicate"``, ``"stateful"``, ``"unowned"`` or ``"taken"``.
        attempt: The input, with its key, and the row that is in the way.
        chosen: The key is what ``key=`` returned.
    """
    known = attempt.known_as
    key = repr(clean(known, 80)) if isinstance(known, str) else clean(known, 80)
    if verdict == "duplicate":
        reason = (
            f"key= returned {key} for another input of this run too: return something unique for each"
            if chosen
            else f"the input {key} came twice in this run: leave one out, or pass key= to tell them apart"
        )
        return DuplicateKeyError(reason, key=attempt.key)
    if verdict == "stateful":
        return LedgerError(
            f"the key {key} has a checkpoint, whose rows resume=False would store twice: use resume=True, or "
            f"delete those rows and its row in pipeloom_state (task_id {attempt.task_id}) first"
        )
    if verdict == "unowned":
        return LedgerError(
            f"{key} was done without own_rows=, so its rows cannot be replaced: delete them and call `pipeloom "
            f"forget {attempt.task_id}`, use another file, or pass own_rows=False to have the new ones beside them"
        )
    return LedgerError(taken(attempt.task_id))


class Admissions:
    """Admits the inputs of one run, a chunk at a time.

    Args:
        conn: The writer's connection.
        tasks: What is on file; ``None`` without ledger tables.
        board: Where skipped inputs are counted.
        resume: Skip keys that are done.
        doubts: Where else the work of an input may be done.
        redo: What is known of tasks that may be done again; ``None`` without ledger tables.

    Attributes:
        met: The rows of all keys that were let in or skipped, in the order of the inputs.
        is_in_line: Says by the number of its line, ``None`` without one, whether an input is run from its line in
            the file; set when there may be such lines, see ``ledger/found``.
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
        # Chunks are asked about one after the other; in between the writer looks at what tasks find.
        self._lock = threading.Lock()
        self.met = IdSeries()
        self.is_in_line: Callable[[int | None], bool] | None = None
        self._in_flight: set[str | int | None] = set()
        # While keys only ascend in a pipeline that began with this run, none needs to be looked up.
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
        """Note that these are through; the writer's thread."""
        self._in_flight.difference_update([attempt.key for attempt in attempts if attempt.row != "none"])

    # --- by key ---

    def new_keys(self, keys: Sequence[str | int]) -> list[Admission] | None:
        """Admit keys of which it is known without a look into the file that all are new; any thread."""
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
        """Say for each key, in order, whether it is to be run, and as which row; the writer's thread.

        Args:
            keys: n keys.
            versions: Those of the inputs, n; ``None`` in a run without ``version=``.
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
        """Say what is to be done about keys that are on file, whatever else comes in this run."""
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
                found[key] = "stateful"  # its rows cannot be taken back, and would be there twice
            else:
                found[key] = "again"
        if redo is not None and replaces:
            strange = redo.without_owner(known[key][0] for key, verdict in found.items() if verdict == "redo")
            found.update((key, "unowned") for key in found if known[key][0] in strange)
        return found

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

    def look_up(self, keys: Sequence[Key]) -> dict[Key, Known]:
        """Return what is on file of those keys that are; the writer's thread."""
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
        """Return, of keys that were found, those that this run has not let in yet, with what is on file of them.

        From now on each key is looked up: the file may have any. The writer's thread.
        """
        if self._frontier_known:
            with self._lock:  # what is being let in without a look is known after this
                self._frontier_known = False
        others = [key for key in keys if key not in self._in_flight]
        known = self.look_up(others)
        return {key: known.get(key) for key in others}

    def in_line(
        self, known: Mapping[Key, Known], versions: Sequence[StoredVersion | None] | None
    ) -> list[Admission]:
        """Say what is to be done about inputs whose turn has come; the writer's thread.

        Args:
            known: What is on file of n keys.
            versions: Those of the inputs, n; ``None`` in a run without ``version=``.
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
        """Admit tasks whose numbers, if they have any, are beyond all rows of the file; any thread."""
        tasks = self._table
        if tasks is None:
            return [(number if number is not None else 0, "new") for number in numbers]
        if any(number is not None and number <= tasks.ceiling for number in numbers):
            return None
        return [self._admit_number(number) for number in numbers]

    def numbers(self, numbers: Sequence[int | None]) -> list[Admission]:
        """Give a stand-in to each task without a number; refuse numbers that belong to a keyed pipeline."""
        taken = self._tasks.keyed_among(number for number in numbers if number is not None)
        return [
            (number, "taken") if number is not None and number in taken else self._admit_number(number)
            for number in numbers
        ]

    def _admit_number(self, number: int | None) -> Admission:
        return (number, "again") if number is not None else (self._tasks.next_stand_in(), "provisional")
