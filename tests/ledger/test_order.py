"""What a task wrote is what SELECT gives, whatever the order of tasks, however they are cut into batches. (P23)"""

from __future__ import annotations

import queue
import sqlite3
from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import pipeloom
from pipeloom import SQLiteWriter
from pipeloom.data.columns import declared_types
from pipeloom.data.rows import blocks_of
from pipeloom.ledger.attempt import Attempt
from pipeloom.worker import staging
from pipeloom.worker.staging import Staging

TEXTS = (
    "007", "7", "7.0", "1e3", "-0", "+4930", " 7", "0x10", "1.10", "12345678901234567890", "nan", "", "x", "true",
    "NULL",
)  # fmt: skip
VALUES = st.one_of(
    st.none(),
    st.sampled_from([0, 1, 7, -1, 1000, 2**53 + 1, 1755555555555555555, 2**63 - 1, -(2**63)]),
    st.sampled_from([0.5, 7.0, 1000.0, 0.1 + 0.2, 1e300, float("inf"), 9007199254740994.0, 123456789.123456789]),
    st.sampled_from(TEXTS),
    st.sampled_from([b"", b"7", b"\x00\xff"]),
    st.booleans(),
    st.floats(),
    st.text(st.characters(codec="utf-8"), max_size=3),
)
ROWS = st.lists(st.dictionaries(st.sampled_from("abc"), VALUES, min_size=1), min_size=1, max_size=3)
TASKS = st.lists(ROWS, min_size=1, max_size=6)


def kind(value):
    """Return what SQLite calls the type of a value that a task writes."""
    if value is None or repr(value) == "nan":
        return "null"
    names = {bool: "integer", int: "integer", float: "real", str: "text", bytes: "blob"}
    return names[type(value)]


def staged(rows, way, declared):
    """Return what a task hands over that writes these rows, on one of the three ways; see ``each_path``."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(staging, "_ENOUGH", float("inf") if way == "tuples" else 1)
        patch.setattr(staging, "_HELD", 1 if way == "files" else staging._HELD)
        held = Staging(float("inf"), None, declared)
        for some in (rows[:1], rows[1:]):
            held.add(blocks_of("t", some, alter=True))
        return held.close(keep=True)[0]


NUMBERS = st.one_of(
    VALUES, st.from_regex(r"[ +-]?[0-9]{1,17}(\.[0-9]{0,3})?([eE][+-]?[0-9]{1,2})? ?", fullmatch=True)
)
TYPED = st.lists(st.dictionaries(st.sampled_from("irxnbdef"), NUMBERS, min_size=1), min_size=1, max_size=4)


def outcome(rows, way):
    """Have a task write rows to a table of the user's; returns what it was told, and what is in the table."""
    writer = SQLiteWriter(Path(":memory:"), queue.Queue(), store_task_status=False)
    writer._open()
    try:
        conn, tables = writer._database.conn, {"t": {"d": int, "e": float, "f": str}}
        conn.execute(
            "CREATE TABLE t (i INTEGER, r REAL, x TEXT, n NUMERIC, b, d INTEGER, e REAL, f TEXT, CHECK (i < 9))"
        )
        writer._ledger.tables.declare(tables)
        attempt = Attempt(None, 1, None, "1", "new")
        attempt.status, attempt.staged = "done", staged(rows, way, declared_types(tables))
        writer._write([attempt])
        return attempt.message, [
            (value, kind)
            for row in conn.execute("SELECT * FROM t")
            for value, kind in zip(map(repr, row), map(type, row), strict=True)
        ]
    finally:
        writer._close()


@settings(max_examples=60)
@given(TYPED)
def test_all_ways_lead_to_the_same(rows):
    """Into columns of every affinity, the user's and declared ones: the same values, or the same refusal.

    Of several values that do not fit, any may be the one that is reported.
    """
    message, values = outcome(rows, "tuples")
    for way in ("images", "files"):
        other, found = outcome(rows, way)
        assert found == values
        assert (other is None) == (message is None)
        unfit = ("cannot be stored as", "come back as", "CHECK constraint failed")
        assert other == message or all(any(words in said for words in unfit) for said in (message, other))


def stored(tasks, order, cuts, ways):
    """Apply the tasks in an order, in batches; returns column → how often each value of each type is in there."""
    writer = SQLiteWriter(Path(":memory:"), queue.Queue(), store_task_status=False)
    writer._open()
    try:
        attempts = []
        for place in order:
            attempt = Attempt(None, place, None, str(place), "new")
            attempt.status, attempt.staged = "done", staged(tasks[place], ways[place], {})
            attempts.append(attempt)
        begin = 0
        for end in [*sorted(cuts), len(attempts)]:
            if end > begin:
                writer._write(attempts[begin:end])
                begin = end
        conn = writer._database.conn
        assert conn.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert all(attempt.status == "done" for attempt in attempts), [attempt.message for attempt in attempts]
        types = {name: declared for _, name, declared, *_ in conn.execute("PRAGMA table_info(t)")}
        return types, {
            name: Counter(conn.execute(f"SELECT {name}, typeof({name}) FROM t").fetchall()) for name in types
        }
    finally:
        writer._close()


@given(TASKS, st.data())
def test_order_and_batches_never_change_data(tasks, data):
    """Each value comes back as itself, with its type; and the columns have the type that all their values share.

    Whether the rows come as tuples, in images or in a file changes none of it.
    """
    rows = [row for task in tasks for row in task]
    names = {name for row in rows for name in row}
    written = {
        name: Counter((None if kind(row.get(name)) == "null" else row[name], kind(row.get(name))) for row in rows)
        for name in names
    }
    shared = {"integer": "INTEGER", "real": "REAL", "text": "TEXT", "blob": "BLOB"}
    expected = {}
    for name in names:
        kinds = {what for _, what in written[name]} - {"null"}
        expected[name] = shared[kinds.pop()] if len(kinds) == 1 else ""
    for _ in range(2):
        order = data.draw(st.permutations(range(len(tasks))))
        cuts = data.draw(st.sets(st.integers(1, len(tasks))))
        ways = data.draw(
            st.lists(st.sampled_from(["tuples", "images", "files"]), min_size=len(tasks), max_size=len(tasks))
        )
        types, found = stored(tasks, order, cuts, ways)
        assert found == written
        assert types == expected


def test_types_follow_the_values_through_runs(db, read):
    """Each run reads from the schema which types are its own to change; one warning says each change."""
    for number, value in enumerate([None, 42, None, "007", 7.0, b"x", 42]):
        pipeloom.map(
            lambda value, ctx: ctx.write("t", {"v": value}),
            [value],
            db=db,
            key=str,
            name=f"{number}",
            progress=False,
        )

    assert read(db, "SELECT v, typeof(v) FROM t") == [
        (None, "null"), (42, "integer"), (None, "null"), ("007", "text"), (7.0, "real"), (b"x", "blob"),
        (42, "integer"),
    ]  # fmt: skip
    assert read(db, "PRAGMA table_info(t)")[0][2] == ""


def test_a_type_that_is_taken_off_is_said_once(db, caplog):
    """With the table, the column, and what to do."""
    values = [1, "x", 2, "y", 0.5]
    pipeloom.map(lambda value, ctx: ctx.write("t", {"v": value}), values, db=db, key=str, workers=1, progress=False)

    said = [record.getMessage() for record in caplog.records]
    assert len(said) == 1
    assert all(words in said[0] for words in ("table t, column v", "no longer INTEGER", "tables="))


def test_whole_numbers_of_a_real_column_stay_real(db, read):
    """SQLite keeps them as integers there; triggers of the user's hear nothing of their being rewritten."""
    write = lambda value, ctx: ctx.write("t", {"v": value})  # noqa: E731
    pipeloom.map(write, [1.0, 2.0, 0.5], db=db, key=str, name="a", progress=False)
    with closing(sqlite3.connect(db)) as conn:
        conn.execute("CREATE TABLE seen (v)")
        conn.execute("CREATE TRIGGER look AFTER UPDATE ON t BEGIN INSERT INTO seen VALUES (new.v); END")
        conn.execute("CREATE INDEX some ON t (v) WHERE v > '1'")
        conn.commit()
    pipeloom.map(write, ["x"], db=db, name="b", progress=False)

    assert sorted(read(db, "SELECT typeof(v), v FROM t")) == [
        ("real", 0.5),
        ("real", 1.0),
        ("real", 2.0),
        ("text", "x"),
    ]
    assert read(db, "SELECT * FROM seen") == []
    assert read(db, "PRAGMA integrity_check") == [("ok",)]
    assert read(db, "SELECT COUNT(*) FROM sqlite_master WHERE name = 'look'") == [(1,)]


@pytest.mark.parametrize("at_fault", ["first", "last"])
def test_a_refused_task_leaves_no_type_behind(db, read, one_batch, at_fault):
    """It would have taken the type off; the batch is applied again without it."""

    def culprit(ctx):
        ctx.write("t", {"v": "x"})
        ctx.execute("INSERT INTO nowhere VALUES (1)")

    good = {f"good {n}": (lambda ctx, n=n: ctx.write("t", {"v": n})) for n in range(3)}
    tasks = {"bad": culprit, **good} if at_fault == "first" else {**good, "bad": culprit}
    report = one_batch(db, tasks)

    assert [failure.key for failure in report.failures] == ["bad"]
    assert read(db, "SELECT sql FROM sqlite_master WHERE name = 't'") == [
        ('CREATE TABLE "t" ("v" INTEGER /* inferred */)',)
    ]
    assert sorted(read(db, "SELECT v FROM t")) == [(0,), (1,), (2,)]
