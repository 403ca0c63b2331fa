"""What "sound" means after any fault.

- ``PRAGMA integrity_check`` says ok;
- what was acknowledged is stored;
- there is no half task: its rows are all there if and only if it is done (or, up to a stage, covered by its
  checkpoint);
- the same program, called again, ends with code 0, every task done, each row exactly once, no process left.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from faults import programs
from faults.tools import DONE, LIMIT_S, Child

Rows = dict[str, int]


class UnsoundError(AssertionError):
    """The promise that was broken, in words."""


@dataclass
class Stored:
    """What one look at a database, in one transaction, saw of our tables."""

    done: set[int] = field(default_factory=set)
    rows: dict[int, Rows] = field(default_factory=dict)
    doubled: list[tuple[str, int, int]] = field(default_factory=list)
    stages: dict[int, int] = field(default_factory=dict)  # task → stages that its checkpoint covers


def look(conn: sqlite3.Connection) -> Stored:
    """Read one state; tables that are not there yet are empty."""
    conn.execute("BEGIN")
    try:
        there = {name for (name,) in conn.execute("SELECT name FROM sqlite_master")}
        stored = Stored()
        if "task_runs" in there:
            stored.done = {key for (key,) in conn.execute("SELECT key FROM task_runs WHERE status = 'done'")}
        if "pipeloom_state" in there:
            for key, state in conn.execute(
                "SELECT t.key, s.state FROM pipeloom_state s JOIN task_runs t ON t.id = s.task_id"
            ):
                stored.stages[key] = json.loads(state)["stage"]
        for table in {"items", "parts"} & there:
            for task, count in conn.execute(f"SELECT task, COUNT(*) FROM {table} GROUP BY task"):
                stored.rows.setdefault(task, {})[table] = count
            stored.doubled += [
                (table, task, i)
                for task, i in conn.execute(f"SELECT task, i FROM {table} GROUP BY task, i HAVING COUNT(*) > 1")
            ]
    finally:
        conn.execute("ROLLBACK")
    return stored


def check_whole(stored: Stored, rows_of: Callable[[int], Rows], rows_until: Callable[[int, int], Rows]) -> None:
    """Say that no task is half there.

    Raises:
        UnsoundError: One is.
    """
    if stored.doubled:
        raise UnsoundError(f"rows are there twice: {stored.doubled[:5]}")
    for task in stored.done | set(stored.rows) | set(stored.stages):
        found = stored.rows.get(task, {})
        if task in stored.done:
            expected, why = rows_of(task), "done"
        else:
            stage = stored.stages.get(task, 0)
            expected, why = rows_until(task, stage), f"not done, checkpoint {stage}"
        if {table: n for table, n in expected.items() if n} != found:
            raise UnsoundError(f"task {task} is half there: {why}, rows {found}, expected {expected}")


def acknowledged(path: Path) -> set[str]:
    """Read what was noted: task numbers, or ``number:stage``; an unfinished last line is no note."""
    if not path.exists():
        return set()
    whole, _, _ = path.read_text().rpartition("\n")
    return set(whole.split())


def finished(path: Path) -> set[str]:
    """Return the noted tasks that are done."""
    return {ack for ack in acknowledged(path) if ":" not in ack}


def check_acknowledged(stored: Stored, acks: set[str]) -> None:
    """Say that nothing acknowledged is missing.

    Raises:
        UnsoundError: Something is.
    """
    missing = []
    for ack in acks:
        task, _, stage = ack.partition(":")
        covered = int(stage or 0) and stored.stages.get(int(task), 0) >= int(stage)
        if int(task) not in stored.done and not covered:
            missing.append(ack)
    if missing:
        raise UnsoundError(f"acknowledged and lost: {sorted(missing)[:10]}, {len(missing)} in all")


@dataclass(frozen=True)
class Verdict:
    """Judges the databases of one program.

    Args:
        rows_of: Task → its rows when it is done.
        rows_until: (task, stage) → its rows when a checkpoint covers that many stages.
    """

    rows_of: Callable[[int], Rows]
    rows_until: Callable[[int, int], Rows]

    def at_rest(self, db: Path, acks: set[str] = frozenset()) -> Stored:  # type: ignore[assignment]
        """Judge a file that nobody uses, without the resume; opening it recovers it.

        Raises:
            UnsoundError: It is not sound.
        """
        if not db.exists():
            check_acknowledged(Stored(), acks)
            return Stored()
        try:
            with closing(sqlite3.connect(db, isolation_level=None)) as conn:
                verdict = conn.execute("PRAGMA integrity_check").fetchone()[0]
                if verdict != "ok":
                    raise UnsoundError(f"integrity_check: {verdict}")
                stored = look(conn)
        except sqlite3.DatabaseError as error:
            raise UnsoundError(f"cannot be read: {error}") from error
        check_whole(stored, self.rows_of, self.rows_until)
        check_acknowledged(stored, acks)
        return stored

    def resumed(self, db: Path, command: list[str], count: int) -> None:
        """Call the program again and judge what it leaves.

        Raises:
            UnsoundError: Something is missing or too much.
        """
        child = Child(command)
        try:
            code, out, err = child.wait(LIMIT_S)
        finally:
            child.close()
        if code != DONE:
            raise UnsoundError(f"the resumed run ended with {code}:\n{out}{err}")
        stored = self.at_rest(db)
        if stored.done != set(range(count)):
            missing = sorted(set(range(count)) - stored.done)
            raise UnsoundError(
                f"not done after a resume: {missing[:10]}; unexpected: {stored.done - set(range(count))}"
            )

    def sound(self, db: Path, acks: set[str], command: list[str], count: int) -> Stored:
        """Judge a file at rest, then after a resume; returns what was there before it."""
        stored = self.at_rest(db, acks)
        self.resumed(db, command, count)
        return stored


VERDICT = Verdict(programs.rows_of, programs.rows_until)
"""Of the programs under test, and of the wrong ones, which leave the same rows."""
