"""Rows from images: each is read as itself, a bad one costs its own task only, and nothing of it stays."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest

import pipeloom
from pipeloom.data.image import Image
from pipeloom.worker import stage, staging


@pytest.fixture(autouse=True)
def images(monkeypatch):
    """All rows go through images."""
    monkeypatch.setattr(staging, "_ENOUGH", 1)


def run(db, *tasks, **options):
    """Run tasks one after the other, each ``fn(ctx)``; return the report."""
    options = {"on_error": "collect", "progress": False, "durability": "off", "workers": 1, **options}
    return pipeloom.map(lambda number, ctx: tasks[number](ctx), range(len(tasks)), db=db, name="n", **options)


def test_images_that_look_alike_are_told_apart(db, read, one_batch):
    """SQLite finds a prepared statement by its text: it must not read where an earlier image had its rows."""

    def first(ctx):
        ctx.write("u", {"b": 1})
        ctx.write("t", [{"a": 1}, {"a": 2}])

    def second(ctx):
        ctx.write("t", [{"a": 3}])
        ctx.write("u", {"b": 2})

    report = one_batch(db, {"a": first, "b": second, "c": first})
    assert report.done == 4
    assert sorted(read(db, "SELECT a FROM t")) == [(1,), (1,), (2,), (2,), (3,)]
    assert sorted(read(db, "SELECT b FROM u")) == [(1,), (1,), (2,)]


def test_statements_and_rows_of_one_image_keep_their_order(db, read):
    """Each statement sees what was written before it."""

    def fn(ctx):
        for n in range(5):
            ctx.write("t", [{"n": n}, {"n": n}])
            ctx.execute("INSERT INTO seen SELECT COUNT(*) FROM t")

    assert run(db, fn, tables={"seen": {"n": int}, "t": {"n": int}}).done == 1
    assert read(db, "SELECT n FROM seen ORDER BY rowid") == [(2,), (4,), (6,), (8,), (10,)]


def test_a_damaged_image_is_its_tasks_error(db, read, monkeypatch, one_batch):
    """The file and the other tasks in the batch hear nothing of it."""

    def damaged(ctx):
        ctx.write("t", [{"n": n, "x": "damaged"} for n in range(100)])

    def seal(image, data, seal=Image.seal):
        seal(image, data)
        if b"damaged" in data:
            place = data.index(b"damaged")
            image.data = data[:place] + b"D" + data[place + 1 :]

    monkeypatch.setattr(Image, "seal", seal)
    rows = [{"n": 1, "x": "sound"}] * 3
    report = one_batch(
        db, {"a": lambda ctx: ctx.write("t", rows), "b": damaged, "c": lambda ctx: ctx.write("t", rows)}
    )

    assert (report.done, report.failed) == (3, 1)
    (failure,) = report.failures
    assert failure.key == "b"
    assert failure.exception == "RowRefusedError"
    assert failure.message == "the task's output was damaged on its way to the file: none of it was stored"
    assert read(db, "SELECT n, x FROM t") == [(1, "sound")] * 6
    assert read(db, "PRAGMA integrity_check") == [("ok",)]


@pytest.mark.parametrize(
    "statements",
    [
        ["CREATE TRIGGER evil AFTER INSERT ON pipeloom_staged_0 BEGIN SELECT 1; END"],
        ["DROP TABLE pipeloom_staged_0", "CREATE VIEW pipeloom_staged_0 AS SELECT key AS c0 FROM pipeloom_meta"],
        ["PRAGMA writable_schema = ON", "UPDATE sqlite_master SET rootpage = 77"],
        ["PRAGMA writable_schema = ON", "UPDATE sqlite_master SET sql = 'nonsense'"],
    ],
    ids=["a trigger", "a view", "a page that is not there", "nonsense"],
)
def test_a_hostile_schema_is_refused(db, read, monkeypatch, statements):
    """Though it says that it is sound: only the told tables are read, and nothing of the image's is run."""

    def seal(image, data, seal=Image.seal):
        with closing(sqlite3.connect(":memory:", isolation_level=None)) as conn:
            conn.deserialize(data)
            for statement in statements:
                conn.execute(statement)
            seal(image, conn.serialize())

    monkeypatch.setattr(Image, "seal", seal)
    report = run(db, lambda ctx: ctx.write("t", {"n": 1}), lambda ctx: ctx.execute("SELECT 1"))

    assert (report.done, report.failed) == (1, 1)
    assert "damaged on its way" in report.failures[0].message
    assert read(db, "PRAGMA integrity_check") == [("ok",)]


@pytest.mark.parametrize("worst", [None, "7e1", "00000000000000001", 0.5])
def test_rows_are_read_back_only_where_a_column_would_change_one(db, read, monkeypatch, worst):
    """SQLite makes numbers of short words just as we would: then the writer looks at no row."""
    with closing(sqlite3.connect(db)) as conn:
        conn.execute("CREATE TABLE t (n INTEGER, r REAL, x TEXT)")
        conn.commit()
    read_back = []
    blocks = Image.blocks
    monkeypatch.setattr(Image, "blocks", lambda self, *args: read_back.append(1) or blocks(self, *args))
    rows = [("007", "1.5", 7), (" 8", 2, "y"), ("many", "", b"z"), (worst, 0.5, worst)]
    report = run(db, lambda ctx: ctx.write("t", rows, columns=["n", "r", "x"]))

    assert report.done == 1
    assert bool(read_back) == (worst is not None)
    number = {None: None, "7e1": 70, "00000000000000001": 1, 0.5: 0.5}[worst]
    assert read(db, "SELECT * FROM t") == [
        (7, 1.5, "7"), (8, 2.0, "y"), ("many", "", b"z"), (number, 0.5, None if worst is None else str(worst))
    ]  # fmt: skip


def test_users_sql_changes_nothing_of_what_is_staged(db, read):
    """Nor does it make anything beside it; and after the task's end there is nothing to be read."""

    def writing(sql):
        def fn(ctx):
            ctx.write("t", {"n": 1})
            ctx.execute(sql)
            ctx.write("t", {"n": 2})

        return fn

    report = run(
        db,
        writing("UPDATE pipeloom_staged_0 SET c0 = 666"),
        writing("DROP TABLE pipeloom_staged.pipeloom_staged_0"),
        writing("CREATE TABLE pipeloom_staged.mine (x)"),
        writing("INSERT INTO pipeloom_staged.sqlite_master VALUES (1, 2, 3, 4, 5)"),
        writing("SELECT 1"),
        lambda ctx: ctx.execute("SELECT * FROM pipeloom_staged_0"),
    )
    assert report.done == 1
    messages = [failure.message for failure in report.failures]
    assert all("belongs to the ledger" in message or "may not be modified" in message for message in messages[:4])
    assert "no such table: pipeloom_staged_0" in messages[4]
    assert read(db, "SELECT n FROM t") == [(1,), (2,)]


def test_a_handler_finds_nothing_of_what_was_staged_before(db, read):
    """It has the connection."""
    found = []

    class Look:
        pass

    def look(conn, messages):
        found.extend(conn.execute("SELECT name FROM pipeloom_staged.sqlite_master").fetchall())

    def fn(ctx):
        ctx.write("t", {"n": 1})

    assert run(db, fn, lambda ctx: ctx.put(Look()), handlers={Look: look}).done == 2
    assert found == []


def test_a_file_of_another_encoding_takes_rows_too(db, read):
    """All that is attached to it would have to have it as well."""
    with closing(sqlite3.connect(db)) as conn:
        conn.execute("PRAGMA encoding = 'UTF-16le'")
        conn.execute("CREATE TABLE t (n INTEGER, x TEXT)")
        conn.commit()
    assert run(db, lambda ctx: ctx.write("t", [{"n": n, "x": "é"} for n in range(3000)])).done == 1
    assert read(db, "SELECT COUNT(*), SUM(n), MIN(x) FROM t") == [(3000, 2999 * 1500, "é")]
    assert read(db, "PRAGMA encoding") == [("UTF-16le",)]


def test_without_images_rows_take_the_other_way(db, read, monkeypatch):
    """As where this build of SQLite cannot make them."""
    monkeypatch.setattr(staging, "CAN_STAGE", False)
    monkeypatch.setattr(stage, "Stage", None)
    assert run(db, lambda ctx: ctx.write("t", [{"n": n} for n in range(3000)])).done == 1
    assert read(db, "SELECT COUNT(*) FROM t") == [(3000,)]
