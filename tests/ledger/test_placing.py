"""An error names the row: the first of the task's that is refused, whatever way its rows came on."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest

import pipeloom
from pipeloom.ledger.placing import Placing

pytestmark = pytest.mark.usefixtures("each_path")

TABLES = """
    CREATE TABLE parents (id INTEGER PRIMARY KEY);
    INSERT INTO parents VALUES (1);
    CREATE TABLE kept (n NOT NULL, u UNIQUE, c CHECK (c < 100), p REFERENCES parents, x);
    CREATE TABLE failing (u UNIQUE ON CONFLICT FAIL);
    CREATE TABLE back (u UNIQUE ON CONFLICT ROLLBACK);
    CREATE TABLE twice (u UNIQUE, x, CHECK (x < 100));
    CREATE TRIGGER look BEFORE INSERT ON kept WHEN new.x = 'bad' BEGIN SELECT RAISE(ABORT, 'not that one'); END;
"""


def good(count, begin=0):
    return [{"n": n, "u": n, "c": 1, "p": 1, "x": "x"} for n in range(begin, begin + count)]


def test_the_row_is_named(db, read, monkeypatch):
    """By its number among those that the task wrote to the table; the same for all constraints and all ways."""
    monkeypatch.setattr("pipeloom.worker.staging._HELD", 20_000)
    with closing(sqlite3.connect(db)) as conn:
        conn.executescript(TABLES)

    def bad(**values):
        def fn(ctx):
            ctx.write("kept", [*good(1500), good(1, 1500)[0] | values, *good(3, 2000)])

        return fn

    def in_parts(ctx):
        ctx.write("kept", good(16))
        ctx.write("twice", [{"u": n} for n in range(5)])
        ctx.execute("DELETE FROM kept WHERE n < 10")
        for row in good(4, 16):
            ctx.write("kept", row)
        ctx.write("kept", [{"n": 1}, {"n": 2, "x": "y"}, {"x": "z"}])

    def upsert(ctx):
        rows = [{"u": n % 7, "x": n} for n in range(101)]
        ctx.write("twice", rows, on_conflict="update", conflict_on=["u"])

    tasks = {
        "null": bad(n=None),
        "unique": bad(u=700),
        "check": bad(c=100),
        "parent": bad(p=2),
        "trigger": bad(x="bad"),
        "parts": in_parts,
        "fail": lambda ctx: ctx.write("failing", [{"u": n % 600} for n in range(900)]),
        "rollback": lambda ctx: ctx.write("back", [{"u": n % 6} for n in range(9)]),
        "upsert": upsert,
        "put": lambda ctx: ctx.write("kept", good(1)),
    }
    report = pipeloom.map(
        lambda key, ctx: tasks[key](ctx), tasks, db=db, on_error="collect", workers=1, progress=False, name="n"
    )
    messages = {failure.key: failure.message for failure in report.failures}

    assert messages == {
        "null": "table kept, row 1,501: NOT NULL constraint failed: kept.n",
        "unique": "table kept, row 1,501: UNIQUE constraint failed: kept.u",
        "check": "table kept, row 1,501: CHECK constraint failed: c < 100",
        "parent": "table kept, row 1,501: FOREIGN KEY constraint failed",
        "trigger": "table kept, row 1,501: not that one",
        "parts": "table kept, row 23: NOT NULL constraint failed: kept.n",
        "fail": "table failing, row 601: UNIQUE constraint failed: failing.u",
        "rollback": "table back: UNIQUE constraint failed: back.u",
        "upsert": "table twice, row 101: CHECK constraint failed: x < 100",
    }
    assert {failure.exception for failure in report.failures} == {"IntegrityError"}
    assert read(db, "SELECT n FROM kept") == [(0,)]
    assert read(db, "SELECT (SELECT COUNT(*) FROM twice) + (SELECT COUNT(*) FROM failing)") == [(0,)]


def test_a_batch_costs_no_savepoints(db, monkeypatch, one_batch):
    """It is applied again item by item when a row is refused: only then is one looked for, and once."""
    searched = []
    place = Placing._place
    monkeypatch.setattr(Placing, "_place", lambda self, *args: searched.append(args[0]) or place(self, *args))
    with closing(sqlite3.connect(db)) as conn:
        conn.executescript(TABLES)
    tasks = {str(n): lambda ctx, n=n: ctx.write("twice", [{"u": n % 4}]) for n in range(5)}
    report = one_batch(db, tasks)

    assert report.done == 5
    assert [failure.message for failure in report.failures] == [
        "table twice, row 1: UNIQUE constraint failed: twice.u"
    ]
    assert searched == [1]
