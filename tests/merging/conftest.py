"""Files to be merged, written by real runs; and what a file says, whatever its numbers are."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

import pipeloom
from pipeloom.data.identifiers import is_reserved

# What a number of another row stands for: that row, told by what it says.
MEANS = {
    "pipeline_id": "(SELECT p.name FROM pipeloom_pipelines p WHERE p.id = x.pipeline_id)",
    "run_id": "(SELECT r.started_at || COALESCE(r.shard, '') FROM pipeloom_runs r WHERE r.id = x.run_id)",
    "task_id": "(SELECT COALESCE(t.key, t.name) || t.name FROM task_runs t WHERE t.id = x.task_id)",
    "found_by": "(SELECT COALESCE(t.key, t.name) || t.name FROM task_runs t WHERE t.id = x.found_by)",
}
NOT_COMPARED = ("pipeloom_meta", "pipeloom_pipelines")


def work(item, ctx):
    """Store two rows for an input."""
    ctx.write("seen", [{"item": item, "part": part} for part in (1, 2)])
    return item


@pytest.fixture
def shards(tmp_path) -> Callable[..., list[Path]]:
    """Run some inputs in n shards, a file each."""

    def run(items: list[Any], count: int = 3, fn: Any = work, **options: Any) -> list[Path]:
        (tmp_path / "parts").mkdir(exist_ok=True)
        paths = [tmp_path / "parts" / f"{number}.db" for number in range(1, count + 1)]
        for number, path in enumerate(paths, 1):
            shard = {"shard": (number, count), "on_error": "collect", "durability": "off", "progress": False}
            pipeloom.map(fn, items, db=path, **(shard | options))
        return paths

    return run


@pytest.fixture
def made(tmp_path) -> Callable[..., Path]:
    """Make a file with an empty ledger, and run statements on it."""

    def make(name: str, *statements: str) -> Path:
        path = tmp_path / name
        pipeloom.map(work, [], db=path, progress=False)
        with closing(sqlite3.connect(path, isolation_level=None)) as conn:
            for statement in statements:
                conn.execute(statement)
        return path

    return make


def content(path: Path) -> dict[str, list[tuple[Any, ...]]]:
    """Return table → its rows, without their numbers, in no particular order."""
    with closing(sqlite3.connect(path)) as conn:
        names = [name for (name,) in conn.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        return {name: rows_of(conn, name) for name in names if name not in NOT_COMPARED and name[:7] != "sqlite_"}


def rows_of(conn: sqlite3.Connection, table: str) -> list[tuple[Any, ...]]:
    columns = [row[1] for row in conn.execute(f'PRAGMA table_info("{table}")')]
    if is_reserved(table):
        columns = [MEANS.get(name, f'x."{name}"') for name in columns if name != "id"]
    else:
        columns = [f'"{name}"' for name in columns]
    return sorted(conn.execute(f'SELECT {", ".join(columns)} FROM "{table}" x'), key=repr)


def together(paths: list[Path]) -> dict[str, list[tuple[Any, ...]]]:
    """Return what several files say."""
    joined: dict[str, list[tuple[Any, ...]]] = {}
    for path in paths:
        for table, rows in content(path).items():
            joined.setdefault(table, []).extend(rows)
    return {table: sorted(rows, key=repr) for table, rows in joined.items()}


def state_of(place: Path) -> dict[str, bytes]:
    """Return each file below a directory with its bytes."""
    return {str(path.relative_to(place)): path.read_bytes() for path in place.rglob("*") if path.is_file()}
