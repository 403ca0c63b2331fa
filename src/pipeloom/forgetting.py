"""Forgets tasks together with the rows that store their task: in one transaction, or not at all.

A forgotten task looks as if its input had never been passed: the next call that passes the input runs it again. An
input that was added by a task stays queued, and the next call runs it from there.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Final

from pipeloom.data.commands import typed
from pipeloom.data.identifiers import quoted
from pipeloom.data.text import clean, near
from pipeloom.db import check_schema, init_schema
from pipeloom.db.connection import connect_readonly
from pipeloom.db.database import Database
from pipeloom.db.failures import is_fatal, storage_error
from pipeloom.db.ownership import owner_seen
from pipeloom.db.place import check_file
from pipeloom.errors import DatabaseInUseError, LedgerError, RowRefusedError, StorageError
from pipeloom.ledger import mark_interrupted
from pipeloom.ledger.guard import Guard
from pipeloom.ledger.owning import OWNER, Owning, known_tables
from pipeloom.ledger.rejections import reason_of
from pipeloom.ledger.statements import SIZES, padded
from pipeloom.statuses import INTERRUPTED, OPEN

__all__ = ["Loss", "forget", "loss_of"]

_OF_TASK: Final = ("pipeloom_attempts", "pipeloom_logs", "pipeloom_state", "pipeloom_rejected")
_BACK_IN_LINE: Final = (
    "status = 'queued', progress = 0.0, attempt = 1, rows_written = 0, message = NULL, started_at = NULL, "
    "finished_at = NULL, elapsed_s = NULL, result = NULL, error = NULL, worker = NULL, version = NULL, "
    "exception = NULL, place = NULL, message_template = NULL, kind = NULL"
)


@dataclass(frozen=True, slots=True)
class Loss:
    """What is deleted when tasks are forgotten.

    Attributes:
        tasks: The number of tasks.
        pipelines: The names of their pipelines, sorted.
        rows: (table, number of rows) for the rows that are deleted.
        staying: How many of the tasks have, or may have, rows that do not store their task and therefore stay.
        seen: A digest of the tasks, which shows whether they have changed since.
    """

    tasks: int
    pipelines: tuple[str, ...]
    rows: tuple[tuple[str, int], ...]
    staying: int
    seen: str

    @property
    def all_rows(self) -> int:
        """The total number of rows that are deleted."""
        return sum(rows for _, rows in self.rows)


def loss_of(db: Path, tasks: Sequence[int]) -> Loss:
    """Return what would be deleted with n tasks; only reads the file.

    Args:
        db: The file.
        tasks: The ids of the tasks.

    Raises:
        DatabaseInUseError: A run is using the file.
        StorageError: The file does not exist or cannot be read.
    """
    _check_idle(db)
    with _told(db), closing(connect_readonly(db)) as conn:
        conn.execute("BEGIN")
        return _loss(conn, tasks)


def forget(db: Path, tasks: Sequence[int], expected: Loss) -> None:
    """Forget n tasks, and delete the rows that store them; blocks on the disk.

    Args:
        db: The file; no run can use it meanwhile.
        tasks: The ids of the tasks.
        expected: What the caller has agreed to delete.

    Raises:
        LedgerError: The tasks have changed since.
        RowRefusedError: A constraint or a trigger prevents the deletion.
        DatabaseInUseError: A run is using the file.
        StorageError: The file does not exist or cannot be written.
    """
    _check_idle(db)
    with _opened(db) as database:
        conn = database.conn
        found = _loss(conn, tasks)
        if found != expected:
            raise LedgerError(
                f"{clean(db)}: the tasks have changed since you were asked, so nothing was deleted: run it again"
            )
        try:
            Owning(conn, Guard(conn), False).remove(tasks)
        except sqlite3.Error as error:
            if is_fatal(error):
                raise
            raise _kept(db, error) from error
        _remove(conn, tasks)


def _kept(db: Path, error: sqlite3.Error) -> RowRefusedError:
    return RowRefusedError(f"{clean(db)}: {reason_of(error)}: nothing was deleted")


def _remove(conn: sqlite3.Connection, tasks: Sequence[int]) -> None:
    in_line = "SELECT task_id FROM pipeloom_found"
    for marks, flat in _some(tasks):
        for table in _OF_TASK:
            conn.execute(f"DELETE FROM {table} WHERE task_id IN ({marks})", flat)
        conn.execute(f"UPDATE task_runs SET {_BACK_IN_LINE} WHERE id IN ({marks}) AND id IN ({in_line})", flat)
        conn.execute(f"DELETE FROM task_runs WHERE id IN ({marks}) AND id NOT IN ({in_line})", flat)


# --- what would be deleted ---


def _loss(conn: sqlite3.Connection, tasks: Sequence[int]) -> Loss:
    known = known_tables(conn)
    rows = dict.fromkeys(known, 0)
    pipelines: set[str] = set()
    staying: set[int] = set()
    digest = sha256()
    count = 0
    strangers = _strangers(conn)
    for marks, flat in _some(tasks):
        for number, status, run, attempt, name in conn.execute(
            "SELECT t.id, t.status, t.run_id, t.attempt, p.name FROM task_runs t "
            f"LEFT JOIN pipeloom_pipelines p ON p.id = t.pipeline_id WHERE t.id IN ({marks}) ORDER BY t.id",
            flat,
        ):
            # Tasks of a dead run are marked as interrupted when the file is opened, so they must match that.
            digest.update(repr((number, INTERRUPTED if status in OPEN else status, run, attempt)).encode())
            count += 1
            if name is not None:
                pipelines.add(str(name))
        for table in known:
            sql = f"SELECT COUNT(*) FROM {quoted(table)} WHERE {OWNER} IN ({marks})"
            rows[table] += conn.execute(sql, flat).fetchone()[0]
        for column, table in (("id", "task_runs"), ("task_id", "pipeloom_attempts")):
            sql = f"SELECT {column}, run_id FROM {table} WHERE rows_written > 0 AND {column} IN ({marks})"
            staying.update(number for number, run in conn.execute(sql, flat) if run is None or run in strangers)
    return Loss(
        count,
        tuple(sorted(pipelines)),
        tuple(sorted((table, number) for table, number in rows.items() if number)),
        len(staying),
        digest.hexdigest(),
    )


def _strangers(conn: sqlite3.Connection) -> set[int]:
    """Return the runs in which only some tables, or none, stored the task of each row."""
    columns = {row[1] for row in conn.execute("PRAGMA table_info(pipeloom_runs)")}
    where = "WHERE own_rows IS NOT 'true'" if "own_rows" in columns else ""  # missing in files of older versions
    return {number for (number,) in conn.execute(f"SELECT id FROM pipeloom_runs {where}")}


def _some(tasks: Sequence[int]) -> Iterator[tuple[str, list[object]]]:
    """Cut n ids into pieces for one statement each: its placeholders, and their values."""
    for size, flat in padded([(number,) for number in tasks], 1):
        assert size in SIZES
        yield ", ".join("?" * size), flat


# --- the file ---


@contextmanager
def _opened(db: Path) -> Iterator[Database]:
    """Open a file as a run does, so that no run can use it, in a transaction that is committed at the end."""
    check_file(db)
    database = Database(
        db, wal=None, durability="full", has_ledger=True, claims=True, owned=True, gives_up=lambda: False
    )
    database.open(check_schema, _beginning(database))
    failed = True
    try:
        with database.maintenance.at_work():
            database.transaction.open()
            yield database
            database.transaction.commit()
        failed = False
    except BaseException as error:
        failed = isinstance(error, StorageError) or (isinstance(error, sqlite3.Error) and is_fatal(error))
        if not failed:
            database.transaction.roll_back()
        if isinstance(error, sqlite3.IntegrityError):  # a deferred foreign key, checked at the commit
            raise _kept(db, error) from error
        if isinstance(error, sqlite3.Error):
            raise database.cause_of(error) from error
        raise
    finally:
        database.close((), has_failed=failed)


def _beginning(database: Database) -> Callable[[], None]:
    """Return the function that updates the ledger: its schema, and the tasks of runs whose process has died."""

    def begin() -> None:
        init_schema(database.conn, store_task_status=True)
        database.transaction.open()
        mark_interrupted(database.conn)
        database.transaction.commit()

    return begin


def _check_idle(db: Path) -> None:
    owner = owner_seen(db)
    if owner is not None:
        raise DatabaseInUseError(
            f"{clean(db)}: a run{f' ({owner})' if owner.pid else ''} is using this file: wait until it has ended, "
            f"or stop it with `{typed('cancel', near(str(db)))}`",
            path=db,
            pid=owner.pid or None,
        )


@contextmanager
def _told(db: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise storage_error(error, db) from error
