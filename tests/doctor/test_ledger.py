"""Checks of the ledger."""

from __future__ import annotations

import pytest

from pipeloom import map as pipeloom_map
from pipeloom.doctor import examine

from .conftest import alter, by_check, fill, remarkable


def test_what_on_conflict_left_out_is_explained(db):
    """A UNIQUE is there: fewer rows than were offered are as it should be."""

    def same(number, ctx):
        ctx.write("t", {"n": number % 2}, on_conflict="ignore", conflict_on=["n"])

    pipeloom_map(same, range(10), name="same", db=db, progress=False, tables={"t": {"n": int}})

    assert "2 rows in 1 table; the tasks wrote 10, the others conflicted" in by_check(examine(db))["rows"].text
    assert remarkable(db) == {}


@pytest.mark.parametrize(
    ("sql", "remark"),
    [
        ("UPDATE pipeloom_runs SET done = done - 1", {"done marks": "BAD"}),
        ("UPDATE pipeloom_runs SET done = done + 1", {"done marks": "note"}),
        ("DELETE FROM task_runs WHERE id = 3", {"done marks": "note"}),
        ("DELETE FROM t WHERE n > 40", {"rows": "note"}),
        ("INSERT INTO t VALUES (1000, '')", {}),
        ("INSERT INTO pipeloom_state VALUES (999, 1, 1, '', '{}')", {"checkpoints": "note"}),
        ("UPDATE pipeloom_meta SET value = 99", {"schema": "note"}),
        ("UPDATE pipeloom_meta SET value = 'x'", {"schema": "BAD"}),
        ("UPDATE pipeloom_runs SET done = 'many'", {"done marks": "BAD"}),
        ('CREATE TABLE "a ""b""\n" (n)', {}),
        ("ALTER TABLE pipeloom_runs RENAME COLUMN done TO finished", {"schema": "BAD"}),
        ("UPDATE task_runs SET status = char(27) || '[2J' WHERE id = 1", {"done marks": "note"}),
    ],
)
def test_what_does_not_add_up_is_found(db, sql, remark):
    """And is BAD only where no run and no deleting explains it."""
    fill(db)
    alter(db, sql)

    assert remarkable(db) == remark
    assert all(finding.text.isprintable() for finding in examine(db))


def test_rows_that_were_replaced_are_no_surprise(db):
    """The tries before wrote as many as are not there any more; what is deleted by hand is a note still."""

    def load(number, ctx):
        ctx.write("t", {"n": number})

    options = {"name": "load", "db": db, "progress": False, "own_rows": True}
    pipeloom_map(load, range(10), **options)
    alter(db, "DELETE FROM t WHERE n = 3")
    assert remarkable(db) == {"rows": "note"}

    pipeloom_map(load, range(10), resume=False, **options)
    assert (
        "10 rows in 1 table; the tasks wrote 20, and a task that runs again replaces"
        in by_check(examine(db))["rows"].text
    )
    assert remarkable(db) == {}
