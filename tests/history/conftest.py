"""Ledgers to look at: from a real run, and rows as anybody may have written them."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

import pipeloom
from pipeloom.db import connect, init_schema
from pipeloom.history import History

AT = "2026-01-31T12:00:00.000+00:00"


@pytest.fixture
def written(db: Path) -> Callable[..., Path]:
    """Write rows into a new ledger: ``written(task_runs=[{...}], pipeloom_runs=[...])``."""

    def write(**tables: Iterable[dict[str, Any]]) -> Path:
        with closing(connect(db)) as conn:
            init_schema(conn, store_task_status=True)
            conn.execute("BEGIN")
            for table, rows in tables.items():
                for row in rows:
                    columns = ", ".join(row)
                    conn.execute(
                        f"INSERT INTO {table} ({columns}) VALUES ({', '.join('?' * len(row))})", [*row.values()]
                    )
            conn.execute("COMMIT")
        return db

    return write


@pytest.fixture
def change(db: Path) -> Callable[..., None]:
    """Change the file as another program would."""

    def execute(*statements: str) -> None:
        with closing(sqlite3.connect(db)) as conn:
            for statement in statements:
                conn.execute(statement)
            conn.commit()

    return execute


@pytest.fixture
def made_older(change: Callable[..., None]) -> Callable[[], None]:
    """Take the file back to schema 6, which did not know kinds."""
    return lambda: change(
        "DROP INDEX pipeloom_task_kind",
        *(f"DROP VIEW pipeloom_{view}" for view in ("kinds", "failures", "history")),
        *(
            f"ALTER TABLE {table} DROP COLUMN {column}"
            for table in ("task_runs", "pipeloom_attempts")
            for column in ("exception", "place", "message_template", "kind")
        ),
        "UPDATE pipeloom_meta SET value = 6 WHERE key = 'schema_version'",
    )


@pytest.fixture
def opened(db: Path) -> Callable[..., Any]:
    """Open the history of ``db``, as a context manager."""

    @contextmanager
    def opening(**options: Any) -> Iterator[History]:
        with History(db, **options) as history:
            yield history

    return opening


def work(path: Path) -> dict[str, str]:
    """Fail for some paths, in three ways."""
    if path.name.startswith("n"):
        return {"n": float(path.name)}
    if path.name.startswith("m"):
        raise FileNotFoundError(f"no such file: {str(path)!r}")
    return {"file": path.name}


@pytest.fixture
def ran(db: Path) -> Path:
    """A file after a real run of ten tasks: six done, three of one kind of failure, one of another."""
    paths = [Path("in") / name for name in ("a", "b", "c", "d", "e", "f", "n1", "n2", "n33", "m1")]
    pipeloom.map(work, paths, db=db, name="work", on_error="collect", progress=False, durability="off", workers=1)
    return db


def tasks(count: int, **columns: Any) -> list[dict[str, Any]]:
    """Return ``count`` rows of ``task_runs``."""
    return [
        {"id": number, "name": f"task-{number}", "status": "done", "progress": 1.0, **columns}
        for number in range(1, count + 1)
    ]


@pytest.fixture
def figures(db):
    """Read the figures of a run, by default the latest."""

    def reading(run_id=None, path=db):
        with History(path) as history:
            run = history.latest_run() if run_id is None else history.run(run_id)
            return history.figures(run)

    return reading
