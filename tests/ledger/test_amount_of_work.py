"""The work that a task's output costs grows with the output, not with its square; counted, not timed."""

from __future__ import annotations

import queue
import random
import sqlite3
from contextlib import closing

import pytest

from pipeloom import SQLiteWriter
from pipeloom.data.rows import Statement, blocks_of
from pipeloom.ledger import tables as user_tables
from pipeloom.ledger.attempt import Attempt


class Looked(list):
    """What a task has staged; counts how often it is gone through."""

    times = 0

    def __iter__(self):
        self.times += 1
        return super().__iter__()


def pairs(n):
    """Take an old row out, put the new one in, one by one."""
    for i in range(n):
        yield Statement("DELETE FROM t WHERE id = ?", (i,))
        yield from blocks_of("t", {"id": i, "v": "new"})


def optional(n):
    """Rows with optional keys, one by one."""
    chance = random.Random(7)
    for i in range(n):
        yield from blocks_of("made", {"id": i} | {f"k{j}": j for j in range(12) if chance.random() < 0.5})


def conflicting(n):
    """The same, into rows that are there."""
    for i in range(n):
        row = {"id": i // 2} | ({"a": 1} if i % 2 else {"b": 2})
        yield from blocks_of("made", row, on_conflict="update", conflict_on=["id"])


def tables(n):
    """A table of its own for each row."""
    for i in range(n):
        yield from blocks_of(f"made{i}", {"id": i})


def own_tables(n):
    """The same, made by hand."""
    for i in range(n):
        yield Statement(f"CREATE TABLE mine{i} (id)", ())
        yield from blocks_of(f"mine{i}", {"id": i})


def asked(n):
    """A statement that would change the schema, and does not, before each row."""
    for i in range(n):
        yield Statement("CREATE TABLE IF NOT EXISTS t (id)", ())
        yield from blocks_of("t", {"id": i})


# How many SQL statements each of the n pieces may take; those with optional keys go many at a time.
COSTS = {pairs: 2, optional: 0, conflicting: 1, tables: 5, own_tables: 7, asked: 2}


@pytest.mark.parametrize("work", COSTS)
def test_work_grows_with_the_output_and_not_with_its_square(db, work, monkeypatch):
    """SQL statements are counted, and how often the output is gone through; few shapes are kept in mind."""
    n = 300
    monkeypatch.setattr(user_tables, "_SHAPES", 32)
    with closing(sqlite3.connect(db)) as conn:
        conn.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, v)")
    writer = SQLiteWriter(db, queue.Queue(), durability="off")
    writer._open()  # the writer's own code, in this thread, so that it can be watched
    try:
        attempt = Attempt(None, 1, None, "a", "new")
        output = Looked(work(n))
        attempt.status, attempt.staged = "done", output
        statements = []
        writer._database.conn.set_trace_callback(statements.append)
        writer._write([attempt])
        writer._database.conn.set_trace_callback(None)
        told = [statement for statement in statements if not statement.startswith("--")]  # triggers' and the like
    finally:
        writer._close()

    assert attempt.status == "done"
    assert len(told) <= COSTS[work] * n + 30
    assert output.times <= 2
