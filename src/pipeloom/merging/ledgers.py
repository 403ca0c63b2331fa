"""Copy the ledger's own tables of an attached file into this one, under new numbers.

All numbers of a file are shifted by the same amount, so that their order and every reference between them stay
intact.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import Final

from pipeloom.data.identifiers import quoted
from pipeloom.data.shards import Shard
from pipeloom.data.values import NUMBER_LIMIT
from pipeloom.errors import LedgerError
from pipeloom.ledger.pipelines import adopt_pipelines
from pipeloom.merging.source import PART, Source

__all__ = ["SameKey", "copy_ledger", "missing_shards", "without_key_index"]

_NAMED: Final = 1000
_MOVED: Final = "temp.pipeloom_moved"
# Tables with a task's number. An input that was rejected before it had a task has the number 0, which stays 0.
_NUMBERED: Final = (
    ("task_runs", "id"),
    ("pipeloom_attempts", "task_id"),
    ("pipeloom_logs", "task_id"),
    ("pipeloom_state", "task_id"),
    ("pipeloom_found", "task_id"),
    ("pipeloom_rejected", "NULLIF(task_id, 0)"),
)


@dataclass(eq=False)
class SameKey(Exception):  # noqa: N818 - it becomes an error of ours once the files are known
    """An input of one pipeline that occurs twice.

    Attributes:
        key: The key as stored.
        here: The number of its task here.
        there: The number of the other task, which is also here, or in the attached file.
        pipeline: The pipeline's name.
    """

    key: str | int
    here: int
    there: int
    pipeline: str


def copy_ledger(conn: sqlite3.Connection, source: Source) -> tuple[int, int]:
    """Copy a whole ledger; in a transaction, with its file attached; the connection's thread.

    Returns:
        The number of the first task copied, and the offset that was added to the task numbers.

    Raises:
        LedgerError: The task numbers are too large to be shifted.
        SameKey: An input is already here.
    """
    runs, _ = _move(conn, (("pipeloom_runs", "id"),), source)
    tasks, first_task = _move(conn, _NUMBERED, source)
    conn.execute(f"CREATE TABLE IF NOT EXISTS {_MOVED} (old INTEGER PRIMARY KEY, new INTEGER NOT NULL)")
    conn.execute(f"DELETE FROM {_MOVED}")
    conn.executemany(f"INSERT INTO {_MOVED} VALUES (?, ?)", adopt_pipelines(conn, PART, runs).items())
    _adopt_columns(conn)

    run = {"run_id": f"run_id + {runs}"}
    task = {"task_id": f"task_id + {tasks}", **run}
    pipeline = {"pipeline_id": f"(SELECT new FROM {_MOVED} WHERE old = pipeline_id)"}
    _copy(conn, "pipeloom_runs", {"id": f"id + {runs}", **pipeline})
    try:
        _copy(conn, "task_runs", {"id": f"id + {tasks}", **run, **pipeline})
    except sqlite3.IntegrityError as error:
        raise _same_key(conn) or error from error
    _copy(conn, "pipeloom_attempts", task)
    _copy(conn, "pipeloom_state", task)
    _copy(conn, "pipeloom_logs", {"id": "NULL", **task})
    _copy(conn, "pipeloom_found", {"id": "NULL", "task_id": task["task_id"], "found_by": f"found_by + {tasks}"})
    _copy(conn, "pipeloom_rejected", {"id": "NULL", **run, "task_id": f"task_id + IIF(task_id = 0, 0, {tasks})"})
    conn.execute(
        f"INSERT OR IGNORE INTO main.pipeloom_meta SELECT * FROM {PART}.pipeloom_meta WHERE key <> 'schema_version'"
    )
    return first_task, tasks


@contextmanager
def without_key_index(conn: sqlite3.Connection) -> Iterator[None]:
    """Return a context for copying into an empty ledger: its index of keys is built once, at the end.

    Not inside a transaction.

    Raises:
        SameKey: Two files had an input in common.
    """
    ((sql,),) = conn.execute("SELECT sql FROM sqlite_master WHERE name = 'pipeloom_task_key'").fetchall()
    conn.execute("DROP INDEX pipeloom_task_key")
    yield
    try:
        conn.execute(sql)
    except sqlite3.IntegrityError as error:
        found = conn.execute(
            "SELECT t.key, MIN(t.id), MAX(t.id), p.name FROM task_runs t JOIN pipeloom_pipelines p "
            "ON p.id = t.pipeline_id WHERE key IS NOT NULL GROUP BY pipeline_id, key HAVING COUNT(*) > 1 LIMIT 1"
        ).fetchone()
        raise SameKey(*found) from error


def missing_shards(conn: sqlite3.Connection) -> tuple[str, ...]:
    """Return the missing shards of each sharded pipeline, as text, at most 1,000."""
    there: dict[tuple[str, int], set[int]] = {}
    for pipeline, text in conn.execute(
        "SELECT DISTINCT p.name, r.shard FROM pipeloom_runs r JOIN pipeloom_pipelines p ON p.id = r.pipeline_id "
        "WHERE r.shard IS NOT NULL AND NOT EXISTS "  # unless a later run without shards has done the rest
        "(SELECT 1 FROM pipeloom_runs a WHERE a.pipeline_id = p.id AND a.shard IS NULL AND a.status = 'done')"
    ):
        try:
            shard = Shard.read(text)
        except ValueError:
            continue  # other programs may write to the file
        there.setdefault((pipeline, shard.of), set()).add(shard.number)
    missing = (
        f"{pipeline}, shard {number}/{count}"
        for (pipeline, count), numbers in sorted(there.items())
        for number in range(1, count + 1)
        if number not in numbers
    )
    return tuple(islice(missing, _NAMED))


def _same_key(conn: sqlite3.Connection) -> SameKey | None:
    found = conn.execute(
        f"SELECT t.key, o.id, t.id, p.name FROM {PART}.task_runs t JOIN {_MOVED} m ON m.old = t.pipeline_id "
        "JOIN main.task_runs o ON o.pipeline_id = m.new AND o.key = t.key AND o.key IS NOT NULL "
        "JOIN main.pipeloom_pipelines p ON p.id = m.new LIMIT 1"
    ).fetchone()
    return None if found is None else SameKey(*found)


def _move(conn: sqlite3.Connection, columns: tuple[tuple[str, str], ...], source: Source) -> tuple[int, int]:
    """Return the offset for the numbers of the attached file, and the lowest resulting number."""
    _, highest = _bounds(conn, "main", columns)
    low, high = _bounds(conn, PART, columns)
    first = (highest or 0) + 1
    if low is None or high is None:
        return 0, first
    if first + high - low >= NUMBER_LIMIT:
        raise LedgerError(
            f"{source.shown}: its tasks have numbers that are too large to be joined with others: give tasks keys"
        )
    return first - low, first


def _bounds(
    conn: sqlite3.Connection, schema: str, columns: tuple[tuple[str, str], ...]
) -> tuple[int | None, int | None]:
    parts = " UNION ALL ".join(
        f"SELECT MIN({column}) AS low, NULL AS high FROM {schema}.{table} "
        f"UNION ALL SELECT NULL, MAX({column}) FROM {schema}.{table}"  # separate, so that each uses its index
        for table, column in columns
    )
    low, high = conn.execute(f"SELECT MIN(low), MAX(high) FROM ({parts})").fetchone()
    return low, high


def _adopt_columns(conn: sqlite3.Connection) -> None:
    """Add the columns that a user's own ``task_runs`` had before it became the ledger's."""
    here = {row[1].lower() for row in conn.execute("PRAGMA main.table_info(task_runs)")}
    for _, name, kind, _, default, _ in conn.execute(f"PRAGMA {PART}.table_info(task_runs)").fetchall():
        if name.lower() not in here:
            otherwise = "" if default is None else f" DEFAULT ({default})"
            conn.execute(f"ALTER TABLE main.task_runs ADD COLUMN {quoted(name, 'column')} {kind}{otherwise}")


def _copy(conn: sqlite3.Connection, table: str, changed: Mapping[str, str]) -> None:
    """Copy a table's rows.

    Args:
        conn: In a transaction.
        table: One of the ledger's.
        changed: Column → SQL expression that is stored instead of its value.
    """
    names = [row[1] for row in conn.execute(f"PRAGMA {PART}.table_info({table})")]
    columns = ", ".join(quoted(name, "column") for name in names)
    values = ", ".join(changed.get(name.lower(), quoted(name, "column")) for name in names)
    conn.execute(f"INSERT INTO main.{table} ({columns}) SELECT {values} FROM {PART}.{table}")
