"""Every read-only look at a ledger, in one place, with typed results.

Opens the file ``mode=ro``, reads briefly, leaves no cursor open: it never writes, checkpoints or holds up a run.
A ``History`` is used in the thread that made it.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from pipeloom.db import SCHEMA_VERSION, connect_readonly, storage_error
from pipeloom.db.schema import schema_version
from pipeloom.errors import SchemaError
from pipeloom.text import clean

__all__ = ["History", "Overview", "RunRow", "TaskRow"]

_TASK = "id, key, name, status, progress, message, started_at, finished_at, elapsed_s, rows_written, attempt"


@dataclass(frozen=True, slots=True)
class RunRow:
    """One invocation, as its row says."""

    run_id: int
    pipeline: str | None
    status: str
    started_at: str
    finished_at: str | None
    elapsed_s: float | None
    expected: int | None
    done: int
    failed: int
    cancelled: int
    timed_out: int
    skipped: int
    workers: int | None
    pid: int | None


@dataclass(frozen=True, slots=True)
class TaskRow:
    """One task's latest state; ``progress`` is a fraction 0..1."""

    task_id: int
    key: str | int | None
    name: str
    status: str
    progress: float
    message: str | None
    started_at: str | None
    finished_at: str | None
    elapsed_s: float | None
    rows_written: int
    attempt: int


@dataclass(frozen=True, slots=True)
class Overview:
    """What ``pipeloom status`` shows."""

    counts: dict[str, int]
    run: RunRow | None
    tasks: list[TaskRow]


class History:
    """Read-only access to one ledger; a context manager.

    Args:
        db_path: The file.

    Raises:
        StorageError: No such file, or no database.
        SchemaError: A database without a ledger, or with a newer one.
    """

    def __init__(self, db_path: Path) -> None:
        self._path = Path(db_path)
        self._conn = connect_readonly(self._path)
        try:
            version = schema_version(self._conn)
            if version == 0:
                raise SchemaError(
                    f"{clean(db_path)}: this database has no pipeloom ledger: name one that a run has written",
                    path=db_path,
                )
            if version > SCHEMA_VERSION:
                raise SchemaError(
                    f"{clean(db_path)}: written by a newer pipeloom (schema {version}): upgrade to read it",
                    path=db_path,
                )
        except BaseException:
            self._conn.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the file; closing twice is fine."""
        self._conn.close()

    def _rows(self, sql: str, *params: Any) -> list[tuple[Any, ...]]:
        try:
            with closing(self._conn.execute(sql, params)) as cursor:
                return cursor.fetchall()
        except sqlite3.Error as error:
            raise storage_error(error, self._path) from error

    def overview(self, limit: int) -> Overview:
        """Return counts, the latest run, and up to ``limit`` tasks: running ones, then bad ones, then the rest."""
        return Overview(self.counts(), self.latest_run(), self.tasks(limit))

    def counts(self) -> dict[str, int]:
        """Return status → number of tasks."""
        return dict(self._rows("SELECT status, COUNT(*) FROM task_runs GROUP BY status"))

    def latest_run(self) -> RunRow | None:
        """Return the run that began last."""
        found = self._rows(
            "SELECT r.id, p.name, r.status, r.started_at, r.finished_at, r.elapsed_s, r.expected, "
            "r.done, r.failed, r.cancelled, r.timed_out, r.skipped, r.workers, r.pid FROM pipeloom_runs r "
            "LEFT JOIN pipeloom_pipelines p ON p.id = r.pipeline_id ORDER BY r.id DESC LIMIT 1"
        )
        return RunRow(*found[0]) if found else None

    def tasks(self, limit: int) -> list[TaskRow]:
        """Return up to ``limit`` tasks; each part is one index look-up or the end of the table."""
        found: list[tuple[Any, ...]] = []
        for where in (
            "status <> 'done' AND status = 'running'",
            "status <> 'done' AND status NOT IN ('running', 'queued')",
            "status <> 'done' AND status = 'queued'",
            "status = 'done'",
        ):
            if (left := limit - len(found)) > 0:
                sql = f"SELECT {_TASK} FROM task_runs WHERE {where} ORDER BY id DESC LIMIT ?"
                found += self._rows(sql, left)
        return [TaskRow(*row) for row in found]
