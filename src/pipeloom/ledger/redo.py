"""What is stored about tasks that may run again: the versions of inputs, and whether their rows can be replaced."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Sequence
from typing import Any, Final

from pipeloom.data.versions import StoredVersion
from pipeloom.db.transaction import Transaction
from pipeloom.ledger.attempt import Attempt
from pipeloom.ledger.owning import Owned
from pipeloom.ledger.statements import SIZES, padded

__all__ = ["Redo", "Versions", "as_json", "is_same"]

_MARK: Final = "versions"
"""A key in ``pipeloom_meta``: tasks of this file may have versions."""

_PUT: Final = {
    size: f"WITH news (id, version) AS (VALUES {', '.join(['(?, ?)'] * size)}) "
    "UPDATE task_runs SET version = news.version FROM news WHERE task_runs.id = news.id"
    for size in SIZES
}
_LOOK_UP: Final = {
    size: f"SELECT key, version FROM task_runs WHERE pipeline_id = ? AND key IN ({', '.join('?' * size)})"
    for size in SIZES
}
_WITH_ROWS: Final = {
    size: "SELECT id, run_id FROM task_runs WHERE rows_written > 0 AND id IN ({0}) UNION ALL "
    "SELECT task_id, run_id FROM pipeloom_attempts WHERE rows_written > 0 AND task_id IN ({0})".format(
        ", ".join(f"?{place}" for place in range(1, size + 1))
    )
    for size in SIZES
}


def as_json(owned: Owned) -> str | None:
    """Return the value of ``pipeloom_runs.own_rows`` for these tables; ``None`` for none."""
    if not owned:
        return None
    return json.dumps(True if owned is True else sorted(owned))


class Versions:
    """Store for each task the version of the input that its stored rows come from; the writer's thread.

    The version changes in the same commit as the rows: with "done", or with the first checkpoint.

    Args:
        conn: The writer's connection.
        transaction: The writer's transactions.
        used: This run has ``version=``.
    """

    def __init__(self, conn: sqlite3.Connection, transaction: Transaction, *, used: bool) -> None:
        self._write = transaction.write
        self._used = used
        if used:
            conn.execute("INSERT OR IGNORE INTO pipeloom_meta VALUES (?, 1)", (_MARK,))
        marked = "SELECT 1 FROM pipeloom_meta WHERE key = ?"
        self.are_kept = used or conn.execute(marked, (_MARK,)).fetchone() is not None

    def put(self, attempts: Iterable[Attempt]) -> None:
        """Store the versions of attempts whose rows are being stored; without ``version=``, clear the old ones."""
        rows = [(attempt.task_id, attempt.version) for attempt in attempts if self._used or attempt.row != "new"]
        for size, flat in padded(rows, 2):
            self._write(_PUT[size], flat)


class Redo:
    """Look up what is stored about tasks that may run again; the writer's thread.

    Args:
        conn: The writer's connection.
        owned: In which tables rows store their task, in this run.

    Attributes:
        replaces: The rows of a task that runs again replace those that it wrote before.
    """

    def __init__(self, conn: sqlite3.Connection, owned: Owned) -> None:
        self._conn = conn
        self.replaces = bool(owned)
        self._strangers: set[int] = set()  # runs whose rows do not store their task
        if self.replaces:
            runs = conn.execute("SELECT id, own_rows FROM pipeloom_runs").fetchall()
            self._strangers = {run for run, theirs in runs if not _covers(theirs, owned)}

    def versions(self, pipeline: int | None, keys: Sequence[str | int]) -> dict[str | int, Any]:
        """Return key → version, for those keys that are in the file."""
        found: dict[str | int, Any] = {}
        for size, flat in padded([(key,) for key in keys], 1):
            found.update(self._conn.execute(_LOOK_UP[size], (pipeline, *flat)))
        return found

    def without_owner(self, numbers: Iterable[int]) -> set[int]:
        """Return those tasks that have rows without their number, which therefore cannot be replaced."""
        found: set[int] = set()
        if self._strangers:
            for size, flat in padded([(number,) for number in numbers], 1):
                rows = self._conn.execute(_WITH_ROWS[size], flat)
                found.update(number for number, run in rows if run in self._strangers)
        return found


def _covers(theirs: object, owned: Owned) -> bool:
    """Return whether an earlier run stored the task in rows of all tables for which this run does.

    Args:
        theirs: The earlier run's ``pipeloom_runs.own_rows``.
        owned: The tables of this run.
    """
    try:
        tables = json.loads(theirs) if isinstance(theirs, str) else None
    except ValueError:
        return False
    if tables is True:
        return True
    return isinstance(tables, list) and isinstance(owned, frozenset) and owned <= set(map(str, tables))


def is_same(stored: Any, version: StoredVersion | None) -> bool:
    """Return whether an input has the version that was stored."""
    return stored is not None and stored == version
