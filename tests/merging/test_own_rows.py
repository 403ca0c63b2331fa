"""Rows that know their task, in files that become one: they know it there, too."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest

import pipeloom
from pipeloom import SchemaError


def load(item, ctx):
    """Store an input, and something that all of them store."""
    ctx.write("pages", [{"item": item, "part": part} for part in (1, 2)])
    ctx.write("kinds", {"kind": "page"}, on_conflict="ignore", conflict_on=["kind"])


def owners(db, read):
    """Return (key of the task, item) of all pages, once each."""
    return read(
        db, "SELECT DISTINCT t.key, p.item FROM pages p LEFT JOIN task_runs t ON t.id = p._task_id ORDER BY 2"
    )


@pytest.fixture
def versions():
    """The versions of the inputs."""
    return {}


@pytest.fixture
def parts(shards, versions):
    """Three shards, each with rows that know their task, and the same row of a third table."""
    return shards(range(12), fn=load, version=lambda item: versions.get(item, 1), name="load")


def test_rows_follow_their_tasks_and_are_replaced_in_the_merged_file(tmp_path, parts, read, versions):
    """What all shards had in common is one row, of the first of them; what has changed is done again, once."""
    out = tmp_path / "out.db"
    pipeloom.merge(out, parts)
    assert owners(out, read) == [(n, n) for n in range(12)]
    assert read(out, "SELECT kind FROM kinds") == [("page",)]

    versions |= {3: 2, 7: 2}

    def again(item, ctx):
        ctx.write("pages", {"item": item, "part": "new"})

    report = pipeloom.map(
        again, range(12), db=out, version=lambda item: versions.get(item, 1), name="load", progress=False
    )
    assert (report.done, report.skipped, report.failed) == (2, 10, 0)
    assert owners(out, read) == [(n, n) for n in range(12)]
    assert read(out, "SELECT item, COUNT(*) FROM pages GROUP BY 1") == [
        (n, 1 if n in versions else 2) for n in range(12)
    ]


def test_a_file_that_is_added_keeps_its_owners(tmp_path, parts, read):
    """With --append the numbers move twice."""
    out = tmp_path / "out.db"
    pipeloom.merge(out, parts[:1])
    pipeloom.merge(out, parts[1:], append=True)
    assert owners(out, read) == [(n, n) for n in range(12)]


def test_a_shard_without_owners_is_told_from_one_with_them(tmp_path, shards, read):
    """The sentence says what to add; its rows are nobody's then."""
    first, second = shards(range(4), fn=load, count=2, name="load")
    for path in (second,):
        path.unlink()
    pipeloom.map(load, range(4), db=second, shard=(2, 2), own_rows=True, progress=False, name="load")
    with pytest.raises(SchemaError, match="has a column _task_id in"):
        pipeloom.merge(tmp_path / "out.db", [first, second])

    with closing(sqlite3.connect(first)) as conn:
        for table in ("pages", "kinds"):
            conn.execute(f"ALTER TABLE {table} ADD COLUMN _task_id INTEGER")
    pipeloom.merge(tmp_path / "out.db", [first, second])
    assert {key is None for key, _ in owners(tmp_path / "out.db", read)} == {True, False}
