"""Takes tasks back, with the rows that know them: all of it in one transaction, or nothing is changed.

A task is gone as if its input had never been passed: the next call that passes it runs it again. An input that a
task has found stays in line, and the next call runs it from there.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Final

from pipeloom.data.identifiers import quoted
from pipeloom.data.text import clean
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
    """What goes when tasks are taken back.

    Attributes:
        tasks: How many.
        pipelines: The names of theirs, in order.
        rows: (table, how many), of the rows that go.
        staying: How many of the tasks have, or may have, rows that do not know their task, and so stay.
        seen: Tells whether the tasks are still as they were.
    """

    tasks: int
    pipelines: tuple[str, ...]
    rows: tuple[tuple[str, int], ...]
    staying: int
    seen: str

    @property
    def all_rows(self) -> int:
        """How many rows go."""
        return sum(rows for _, rows in self.rows)


def loss_of(db: Path, tasks: Sequence[int]) -> Loss:
    """Return what would go with n tasks; reads only.

    Raises:
        DatabaseInUseError: A run is using the file.
        StorageError: It is not there, or cannot be read.
    """
    _check_idle(db)
    with _told(db), closing(connect_readonly(db)) as conn:
        conn.execute("BEGIN")
        return _loss(conn, tasks)


def forget(db: Path, tasks: Sequence[int], expected: Loss) -> None:
    """Take n tasks back, with the rows that know them; blocks on the disk.

    Args:
        db: The file; nobody can run anything on it meanwhile.
        tasks: Their numbers.
        expected: What the caller has agreed to.

    Raises:
        LedgerError: The tasks have changed since.
        RowRefusedError: A constraint or a trigger keeps rows.
        DatabaseInUseError: A run is using the file.
        StorageError: It is not there, or cannot be written.
    """
    _check_idle(db)
    with _opened(db) as database:
        conn = database.conn
        found = _loss(conn, tasks)
        if found != expected:
            raise LedgerError(
                f"{clean(db)}: tasks have changed since it was said what goes, and nothing is taken back: ask again"
            )
        try:
            Owning(conn, Guard(conn), False).remove(tasks)
        except sqlite3.Error as error:
            if is_fatal(error):
                raise
            raise _kept(db, error) from error
        _remove(conn, tasks)


def _kept(db: Path, error: sqlite3.Error) -> RowRefusedError:
    return RowRefusedError(f"{clean(db)}: {reason_of(error)}: nothing was taken back")


def _remove(conn: sqlite3.Connection, tasks: Sequence[int]) -> None:
    in_line = "SELECT task_id FROM pipeloom_found"
    for marks, flat in _some(tasks):
        for table in _OF_TASK:
            conn.execute(f"DELETE FROM {table} WHERE task_id IN ({marks})", flat)
        conn.execute(f"UPDATE task_runs SET {_BACK_IN_LINE} WHERE id IN ({marks}) AND id IN ({in_line})", flat)
        conn.execute(f"DELETE FROM task_runs WHERE id IN ({marks}) AND id NOT IN ({in_line})", flat)


# --- what there is ---


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
            # What is open is so no more once the file is opened: its run is not there.
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
    """Return the runs that had rows know their task in some tables only, or in none."""
    columns = {row[1] for row in conn.execute("PRAGMA table_info(pipeloom_runs)")}
    where = "WHERE own_rows IS NOT 'true'" if "own_rows" in columns else ""  # none in a file of an older version
    return {number for (number,) in conn.execute(f"SELECT id FROM pipeloom_runs {where}")}


def _some(tasks: Sequence[int]) -> Iterator[tuple[str, list[object]]]:
    """Cut n numbers into statements' worth: placeholders, and what stands for them."""
    for size, flat in padded([(number,) for number in tasks], 1):
        assert size in SIZES
        yield ", ".join("?" * size), flat


# --- the file ---


@contextmanager
def _opened(db: Path) -> Iterator[Database]:
    """Open a file as a run does, which no run can use then; in a transaction, committed at the end."""
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
        if isinstance(error, sqlite3.IntegrityError):  # a foreign key, which is looked at in the end
            raise _kept(db, error) from error
        if isinstance(error, sqlite3.Error):
            raise database.cause_of(error) from error
        raise
    finally:
        database.close((), has_failed=failed)


def _beginning(database: Database) -> Callable[[], None]:
    """Return what brings the ledger up to date: its tables, and tasks of runs whose process is gone."""

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
            "or stop it with `pipeloom cancel`",
            path=db,
            pid=owner.pid or None,
        )


@contextmanager
def _told(db: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise storage_error(error, db) from error
