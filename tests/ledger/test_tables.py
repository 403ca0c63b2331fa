"""The users' tables: made when missing, kept when they are there, and filled or refused as a whole."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import pytest

import pipeloom
from pipeloom import SENTINEL, Channel, MsgExecute, MsgWriteRows, SchemaError, SQLiteWriter

pytestmark = pytest.mark.usefixtures("each_path")


def prepared(db, *statements):
    """Make the user's own tables before the run."""
    with closing(sqlite3.connect(db)) as conn:
        for statement in statements:
            conn.execute(statement)
        conn.commit()


def types(read, db, table):
    """Return column → declared type, in the table's order."""
    return {name: kind for _, name, kind, *_ in read(db, f'PRAGMA table_info("{table}")')}


def run(db, *tasks, **options):
    """Run tasks one after the other, each ``fn(ctx)``; return the report."""
    options = {"on_error": "collect", "progress": False, "durability": "off", "workers": 1, **options}
    return pipeloom.map(lambda number, ctx: tasks[number](ctx), range(len(tasks)), db=db, **options)


def writing(table, rows, **options):
    """Return a task that writes these rows."""
    return lambda ctx: ctx.write(table, rows, **options)


def reasons(report):
    """Return key → message of the failures."""
    return {failure.key: failure.message for failure in report.failures}


# --- made from the declaration ---


def test_declared_tables_are_made_at_the_start(db, read):
    """With their columns in order, whether or not anything is ever written to them."""
    declared = {
        "flights": {"carrier": str, "delay": int, "km": float, "at": datetime, "raw": bytes, "any": None},
        "empty": {"price": Decimal, "late": bool, "file": Path, "extra": dict},
    }
    run(db, writing("flights", {"carrier": "UA"}), tables=declared)

    assert types(read, db, "flights") == {
        "carrier": "TEXT",
        "delay": "INTEGER",
        "km": "REAL",
        "at": "TEXT",
        "raw": "BLOB",
        "any": "",
    }
    assert types(read, db, "empty") == {"price": "TEXT", "late": "INTEGER", "file": "TEXT", "extra": "TEXT"}
    assert read(db, "SELECT COUNT(*) FROM empty") == [(0,)]


def test_a_declared_type_converts(db, read):
    """Text that is a number becomes one; what is none is that task's error."""
    rows = [{"n": "7"}, {"n": 7.0}, {"n": None}]
    report = run(db, writing("t", rows), writing("t", {"n": "seven"}), tables={"t": {"n": int}})

    assert read(db, "SELECT n, typeof(n) FROM t") == [(7, "integer"), (7, "integer"), (None, "null")]
    assert reasons(report) == {1: "table t, column n: 'seven' cannot be stored as int, the column's declared type"}


def test_a_declaration_names_types_and_the_first_output_the_rest(db, read):
    """A file may have more columns than anyone cares to declare; case does not matter, a missing key is NULL."""
    report = run(
        db,
        writing("t", [{"b": "7", "more": "x"}, {"more": "y"}]),
        writing("T", {"A": 1}),
        writing("t", {"b": 2, "typo": 3}),
        tables={"t": {"a": float, "b": int}},
    )

    assert list(reasons(report)) == [2]
    assert all(words in reasons(report)[2] for words in ("table t", "no column typo", "tables="))
    assert types(read, db, "t") == {"a": "REAL", "b": "INTEGER", "more": "TEXT"}
    assert read(db, "SELECT a, b, more FROM t") == [(None, 7, "x"), (None, None, "y"), (1.0, None, None)]


def test_a_later_run_may_declare_the_same(db, read):
    """The table is there already; its rows stay."""
    for number in range(2):
        run(db, writing("t", {"a": number}), tables={"t": {"a": int}}, name=f"run {number}")

    assert read(db, "SELECT a FROM t") == [(0,), (1,)]


def test_an_existing_table_that_contradicts_its_declaration_stops_the_run(db, read):
    """Before anything is run, with the column's name; nothing is changed."""
    prepared(db, "CREATE TABLE t (a)")
    ran = []
    with pytest.raises(SchemaError, match="table t exists without the declared column b"):
        pipeloom.map(ran.append, [1], db=db, tables={"t": {"a": int, "b": int}}, progress=False)

    assert not ran
    assert types(read, db, "t") == {"a": ""}


# --- made from the first output ---


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([1, 2], "INTEGER"),
        ([True, False], "INTEGER"),
        ([1.5], "REAL"),
        ([1, 2.5], ""),
        ([None, 1], "INTEGER"),
        ([None, 2.5, 1], ""),
        ([float("nan"), "x"], "TEXT"),
        ([1, float("nan")], "INTEGER"),
        (["7", "8"], "TEXT"),
        ([date(2026, 1, 31)], "TEXT"),
        ([b"x"], "BLOB"),
        ([[1], {"a": 1}], "TEXT"),
        ([None, None], ""),
        ([1, "x"], ""),
        ([1.5, "x"], ""),
        (["x", b"x"], ""),
    ],
    ids=repr,
)
def test_a_type_is_inferred_from_all_values(db, read, values, kind):
    """What they all share; mixed or all None is untyped; text is never guessed into numbers."""
    channel = Channel()
    writer = SQLiteWriter(db, channel, durability="off")
    writer.start()
    channel.put(MsgWriteRows("t", [{"c": value} for value in values]))
    channel.put(SENTINEL)
    writer.join(10)

    assert types(read, db, "t") == {"c": kind}
    stored = [row[0] for row in read(db, "SELECT c FROM t")]
    assert len(stored) == len(values)
    for value, got in zip(values, stored, strict=True):
        if value is None or repr(value) == "nan":
            assert got is None
        elif isinstance(value, int | float | str | bytes):
            assert got == value
            assert type(got) is type(value) or isinstance(value, bool)


def test_the_first_tasks_whole_output_makes_the_table(db, read):
    """All of its calls, before any statement in between sees it: every column, each type from all of its values."""

    def first(ctx):
        ctx.write("t", {"a": 1})
        ctx.write("other", {"x": 1})
        ctx.write("t", [{"a": 2.5, "b": "x"}, {"c": None}])

    report = run(db, first, writing("t", {"c": "late", "a": 3}))

    assert reasons(report) == {}
    assert types(read, db, "t") == {"a": "", "b": "TEXT", "c": "TEXT"}
    assert read(db, "SELECT a, b, c FROM t") == [
        (1, None, None),
        (2.5, "x", None),
        (None, None, None),
        (3, None, "late"),
    ]


def test_afterwards_the_columns_are_settled(db, read):
    """A later task with a new one fails, and is told how to declare it; the others go on."""
    report = run(db, writing("t", {"a": 1}), writing("t", {"a": 2, "b": 2}), writing("t", {"a": 3}))

    assert list(reasons(report)) == [1]
    assert all(words in reasons(report)[1] for words in ("no column b", "tables="))
    assert read(db, "SELECT a FROM t") == [(1,), (3,)]


def test_a_table_is_made_by_a_task_that_commits(db, read, one_batch):
    """The first one in the batch fails and leaves no table; the next one's output makes it."""
    tasks = {
        "culprit": writing("t", {"wrong": "\ud800"}),
        "a": writing("t", {"n": 1}),
        "z": writing("t", {"n": 2}),
    }
    report = one_batch(db, tasks)

    assert list(reasons(report)) == ["culprit"]
    assert "table t, column wrong" in reasons(report)["culprit"]
    assert types(read, db, "t") == {"n": "INTEGER"}
    assert read(db, "SELECT n FROM t") == [(1,), (2,)]


@pytest.mark.parametrize(
    "first",
    [
        lambda ctx: ctx.write("t", []),
        lambda ctx: ctx.write("t", iter(())),
        lambda ctx: ctx.write("t", [], columns=("x", "y")),
    ],
    ids=["list", "iterator", "columns"],
)
def test_no_rows_leave_no_trace(db, read, first):
    """A file without a line is no error, and says nothing about the table that the next rows make."""

    def task(ctx):
        first(ctx)
        ctx.write("t", {"n": 1})
        first(ctx)

    report = run(db, first, task)

    assert reasons(report) == {}
    assert types(read, db, "t") == {"n": "INTEGER"}
    assert read(db, "SELECT n FROM t") == [(1,)]


def test_an_emptied_table_of_ours_may_grow(db, read):
    """Made by us and without a row: nothing is there that a new column could contradict. The user's never grows."""
    prepared(db, "CREATE TABLE theirs (a)")
    report = run(db, writing("ours", {"a": 1}), lambda ctx: ctx.execute("DELETE FROM ours"), name="first")
    assert reasons(report) == {}
    report = run(db, writing("ours", {"a": 1, "b": "x"}), writing("theirs", {"a": 1, "b": 2}), name="second")

    assert list(reasons(report)) == [1]
    assert types(read, db, "ours") == {"a": "INTEGER", "b": "TEXT"}
    assert types(read, db, "theirs") == {"a": ""}


@pytest.mark.parametrize(
    "name", ['x"; drop table bystander; --', "a b", "é", "select", "[x]", "`x`", "'", "%s", "x" * 200], ids=len
)
def test_awkward_names_are_only_names(db, read, name):
    """Of a table, of a column, and of the constraint that is made for them."""
    prepared(db, "CREATE TABLE bystander (a)")
    rows = [{name: 1, "b": "old"}, {name: 1, "b": "new"}]
    report = run(db, writing(name, rows, on_conflict="update", conflict_on=[name]))

    assert reasons(report) == {}
    assert read(db, "SELECT name FROM sqlite_master WHERE name IN (?, 'bystander')", name) == [
        ("bystander",),
        (name,),
    ]
    quoted = '"' + name.replace('"', '""') + '"'
    assert read(db, f"SELECT {quoted}, b FROM {quoted}") == [(1, "new")]


def test_names_that_sql_tells_apart_are_two(db, read):
    """SQLite ignores the case of the letters A to Z only: these are three tables, and two columns."""
    prepared(db, "CREATE TABLE GRÖSSE (a)", "CREATE TABLE t (ss)")
    report = run(
        db,
        writing("größe", {"b": 1}),
        writing("grösse", {"c": 2}),
        writing("GRöSSE", {"d": 3}),
        writing("gRÖsse", {"A": 4}),
        writing("t", {"ß": 5}),
    )

    assert list(reasons(report)) == [2, 4]
    assert all("tables=" in reason for reason in reasons(report).values())
    assert [read(db, f"SELECT * FROM {name}") for name in ("größe", "grösse", "GRÖSSE")] == [[(1,)], [(2,)], [(4,)]]


def test_many_rows_and_wide_ones_arrive_whole(db, read, each_path, monkeypatch):
    """Statements have fixed sizes: every count and every width, also past SQLite's limit of variables."""
    if each_path == "files":  # as elsewhere, with an image for each row, it would take half a minute
        monkeypatch.setattr("pipeloom.worker.staging._HELD", 2_000_000)
    counts = [1, 2, 3, 4, 5, 15, 16, 17, 63, 64, 65, 255, 256, 257, 1000, 1237]

    def rows(number, count, width):
        return [(number, place, *range(width)) for place in range(count)]

    def task(number, ctx):
        width = 0 if number < len(counts) else 1500
        names = ["number", "place", *(f"c{n}" for n in range(width))]
        count = counts[number] if number < len(counts) else 300
        ctx.write("wide" if width else "narrow", rows(number, count, width), columns=names)

    report = pipeloom.map(task, range(len(counts) + 1), db=db, durability="off", progress=False)

    assert report.status == "done"
    assert read(db, "SELECT number, COUNT(*), COUNT(DISTINCT place) FROM narrow GROUP BY 1 ORDER BY 1") == [
        (number, count, count) for number, count in enumerate(counts)
    ]
    assert read(db, "SELECT COUNT(*), SUM(c1499) FROM wide") == [(300, 300 * 1499)]


def test_constraints_whose_columns_spell_the_same_are_two(db, read):
    """``a_b``, and ``a`` with ``b``: each gets an index of its own."""
    row = {"a": 1, "b": 2, "a_b": 3}

    def fn(ctx):
        ctx.write("t", row, on_conflict="ignore", conflict_on=["a", "b"])
        ctx.write("u", row, on_conflict="ignore", conflict_on=["a_b"])

    def both(ctx):
        ctx.execute("DELETE FROM t")

    assert reasons(run(db, fn, both, name="first")) == {}
    assert reasons(run(db, writing("t", row, on_conflict="ignore", conflict_on=["a_b"]), name="second")) == {}
    assert read(db, "SELECT COUNT(*) FROM pragma_index_list('t')") == [(2,)]


# --- rows that meet a constraint ---

UNIQUE = "CREATE TABLE t (id INTEGER PRIMARY KEY, a, b NOT NULL DEFAULT 'b', UNIQUE (a))"


def test_a_conflict_is_an_error_unless_said_otherwise(db, read):
    """That task's, naming the constraint; nothing of it is stored."""
    prepared(db, UNIQUE, "INSERT INTO t VALUES (1, 'x', 'old')")
    report = run(db, writing("t", [{"a": "y"}, {"a": "x"}]), writing("t", {"a": "z"}))

    assert list(reasons(report)) == [0]
    assert "UNIQUE constraint failed: t.a" in reasons(report)[0]
    assert read(db, "SELECT a FROM t") == [("x",), ("z",)]


@pytest.mark.parametrize("conflict_on", [(), ("a",)])
def test_ignored_conflicts_leave_the_old_row(db, read, conflict_on):
    """Of any constraint, or of the one that is meant; within one call as against the table."""
    prepared(db, UNIQUE, "INSERT INTO t VALUES (1, 'x', 'old')")
    rows = [{"a": "x", "b": "new"}, {"a": "y", "b": "first"}, {"a": "y", "b": "second"}]
    report = run(db, writing("t", rows, on_conflict="ignore", conflict_on=conflict_on))

    assert reasons(report) == {}
    assert read(db, "SELECT id, a, b FROM t WHERE a = 'x'") == [(1, "x", "old")]
    assert read(db, "SELECT b FROM t WHERE a = 'y'") == [("first",)]


def test_ignoring_is_about_unique_only(db, read):
    """Another constraint is still an error, and so is a conflict with another UNIQUE than the one that is meant."""
    prepared(db, UNIQUE, "INSERT INTO t VALUES (1, 'x', 'old')")
    report = run(
        db,
        writing("t", {"a": "y", "b": None}, on_conflict="ignore"),
        writing("t", {"id": 1, "a": "y"}, on_conflict="ignore", conflict_on=("a",)),
        writing("t", {"id": 1, "a": "y"}, on_conflict="ignore"),
    )

    assert list(reasons(report)) == [0, 1]
    assert "NOT NULL" in reasons(report)[0]
    assert read(db, "SELECT id, a, b FROM t") == [(1, "x", "old")]


def test_updated_conflicts_take_the_new_values(db, read):
    """Only of the columns that were written; the row itself stays, with what else it has; the last one wins."""
    prepared(
        db,
        "CREATE TABLE t (id INTEGER PRIMARY KEY, a, b, kept DEFAULT 'kept', UNIQUE (a))",
        "INSERT INTO t VALUES (1, 'x', 'old', 'mine')",
    )
    rows = [{"a": "x", "b": "new"}, {"a": "y", "b": "first"}, {"a": "y", "b": "second"}]
    report = run(db, writing("t", rows, on_conflict="update", conflict_on=("a",)))

    assert reasons(report) == {}
    assert read(db, "SELECT id, a, b, kept FROM t WHERE a = 'x'") == [(1, "x", "new", "mine")]
    assert read(db, "SELECT b, kept FROM t WHERE a = 'y'") == [("second", "kept")]


def test_updating_nothing_but_the_key_changes_nothing(db, read):
    """There is no column left to overwrite."""
    prepared(db, UNIQUE, "INSERT INTO t VALUES (1, 'x', 'old')")
    report = run(db, writing("t", [{"a": "x"}, {"a": "y"}], on_conflict="update", conflict_on=("a",)))

    assert reasons(report) == {}
    assert read(db, "SELECT a, b FROM t") == [("x", "old"), ("y", "b")]


@pytest.mark.parametrize(
    ("unique", "conflict_on", "good"),
    [
        ("CREATE TABLE t (a PRIMARY KEY, b)", ["a"], True),
        ("CREATE TABLE t (a, b, PRIMARY KEY (a, b))", ["b", "a"], True),
        ("CREATE TABLE t (a UNIQUE, b)", ["A"], True),
        ("CREATE TABLE t (a, b); CREATE UNIQUE INDEX i ON t (a, b)", ["a", "b"], True),
        ("CREATE TABLE t (a, b)", ["a"], False),
        ("CREATE TABLE t (a, b); CREATE INDEX i ON t (a)", ["a"], False),
        ("CREATE TABLE t (a, b); CREATE UNIQUE INDEX i ON t (a) WHERE b > 0", ["a"], False),
        ("CREATE TABLE t (a, b); CREATE UNIQUE INDEX i ON t (a, b)", ["a"], False),
        ("CREATE TABLE t (a, b); CREATE UNIQUE INDEX i ON t (lower(a))", ["a"], False),
    ],
)
@pytest.mark.parametrize("on_conflict", ["update", "ignore"])
def test_conflict_on_needs_a_unique_constraint(db, read, unique, conflict_on, good, on_conflict):
    """Of exactly these columns; an existing table without one is refused, and does not get one."""
    prepared(db, *unique.split("; "))
    before = read(db, "SELECT name, sql FROM sqlite_master WHERE tbl_name = 't'")
    row = {"A" if conflict_on == ["A"] else "a": 1, "b": 2}
    report = run(db, writing("t", [row, row], on_conflict=on_conflict, conflict_on=conflict_on))

    if good:
        assert reasons(report) == {}
        assert read(db, "SELECT a, b FROM t") == [(1, 2)]
    else:
        assert "no UNIQUE constraint on" in reasons(report)[0]
        assert read(db, "SELECT * FROM t") == []
    assert read(db, "SELECT name, sql FROM sqlite_master WHERE tbl_name = 't'") == before


@pytest.mark.parametrize("tables", [None, {"t": {"a": str, "b": int}}], ids=["from output", "declared"])
def test_a_table_that_we_make_gets_the_constraint(db, read, tables):
    """A later run finds it there, and rows of earlier ones are overwritten."""
    for value in (1, 2):
        rows = [{"a": "x", "b": 0}, {"a": "x", "b": value}, {"a": f"only {value}", "b": value}]
        report = run(
            db, writing("t", rows, on_conflict="update", conflict_on=["a"]), tables=tables, name=f"run {value}"
        )
        assert reasons(report) == {}

    assert read(db, "SELECT a, b FROM t ORDER BY a") == [("only 1", 1), ("only 2", 2), ("x", 2)]
    with closing(sqlite3.connect(db)) as conn, pytest.raises(sqlite3.IntegrityError, match=r"t\.a"):
        conn.execute("INSERT INTO t VALUES ('x', 9)")


def test_a_filled_table_of_ours_does_not_get_the_constraint_later(db, read):
    """Its rows may contradict it: the task is told to make a unique index."""
    report = run(
        db, writing("t", [{"a": 1}, {"a": 1}]), writing("t", {"a": 1}, on_conflict="update", conflict_on=["a"])
    )

    assert "create a unique index" in reasons(report)[1]
    assert read(db, "SELECT a FROM t") == [(1,), (1,)]


# --- the user's own tables ---


def test_existing_tables_are_kept(db, read):
    """Rows, types, defaults, indexes and triggers stay; new rows come after the old ones, and fire the triggers."""
    schema = [
        "CREATE TABLE t (id INTEGER PRIMARY KEY, n INTEGER CHECK (n < 100), made TEXT DEFAULT 'by default')",
        "CREATE INDEX t_n ON t (n)",
        "CREATE TABLE log (n)",
        "CREATE TRIGGER logging AFTER INSERT ON t BEGIN INSERT INTO log VALUES (new.n); END",
    ]
    prepared(db, *schema, "INSERT INTO t (n, made) VALUES (1, 'before')")
    report = run(db, writing("t", [{"n": "2"}, {"n": 3}]), writing("t", {"n": 100}), tables={"t": {"n": int}})

    assert list(reasons(report)) == [1]
    assert "CHECK constraint failed" in reasons(report)[1]
    assert read(db, "SELECT * FROM t") == [(1, 1, "before"), (2, 2, "by default"), (3, 3, "by default")]
    assert read(db, "SELECT n FROM log") == [(1,), (2,), (3,)]
    assert read(db, "SELECT sql FROM sqlite_master WHERE tbl_name IN ('t', 'log')") == [(sql,) for sql in schema]


def test_rows_come_in_the_order_in_which_they_were_written(db, read):
    """Also between tables, when a trigger could see it."""
    prepared(
        db,
        "CREATE TABLE a (n)",
        "CREATE TABLE b (n)",
        "CREATE TABLE seen (a, b)",
        "CREATE TRIGGER look AFTER INSERT ON a BEGIN INSERT INTO seen SELECT new.n, COUNT(*) FROM b; END",
    )

    def task(ctx):
        for number in range(5):
            ctx.write("b", {"n": number})
            ctx.write("a", {"n": number})

    run(db, task)

    assert read(db, "SELECT a, b FROM seen") == [(number, number + 1) for number in range(5)]


def test_a_view_or_a_generated_column_cannot_be_written(db, read):
    """It is that task's error, in SQLite's words or ours; the others go on."""
    prepared(db, "CREATE TABLE t (a, twice AS (a * 2))", "CREATE VIEW v AS SELECT a FROM t")
    report = run(db, writing("v", {"a": 1}), writing("t", {"twice": 1}), writing("t", {"a": 1}))

    assert list(reasons(report)) == [0, 1]
    assert read(db, "SELECT a, twice FROM t") == [(1, 2)]


def test_a_table_dropped_between_tasks_is_made_anew(db, read):
    """What was known of the schema is forgotten when users' SQL may have changed it."""

    def drop(ctx):
        ctx.execute("DROP TABLE t")
        ctx.write("t", {"b": "x"})

    report = run(db, writing("t", {"a": 1}), drop, writing("t", {"b": "y"}))

    assert reasons(report) == {}
    assert types(read, db, "t") == {"b": "TEXT"}
    assert read(db, "SELECT b FROM t") == [("x",), ("y",)]


# --- values that only SQLite refuses ---


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("a\ud800b", "column bad: a str with a lone surrogate"),
        (Path("a\udcff"), "column bad: a str with a lone surrogate"),
        (bytes(1_000_000_001), "column bad: a bytes of 1,000,000,001"),
        ({"deep": "\ud800"}, "column bad: text with a lone surrogate"),
    ],
    ids=["surrogate", "file name", "too long", "JSON"],
)
def test_a_value_that_cannot_be_bound_is_named(db, read, one_batch, value, words):
    """Table, column and type; the neighbours in the batch stand."""
    tasks = {
        "a": writing("t", {"n": 1, "bad": "fine"}),
        "culprit": writing("t", [{"n": 9, "bad": "fine"}, {"n": 9, "bad": value}]),
        "z": writing("t", {"n": 2, "bad": "fine"}),
    }
    report = one_batch(db, tasks)

    assert list(reasons(report)) == ["culprit"]
    assert "table t" in reasons(report)["culprit"]
    assert words in reasons(report)["culprit"]
    assert read(db, "SELECT n FROM t") == [(1,), (2,)]


def test_values_come_back_as_they_are_stored(db, read):
    """NaN is NULL, infinity is a number, an instant is text: in one wide row through the whole writer."""
    row = {
        "nan": float("nan"),
        "inf": float("inf"),
        "big": 2**63 - 1,
        "at": datetime(2026, 1, 31, 12, tzinfo=UTC),
        "nul": "a\0b",
        "json": {"a": [1, None]},
    }
    run(db, writing("t", row))

    assert read(db, "SELECT * FROM t") == [
        (None, float("inf"), 2**63 - 1, "2026-01-31T12:00:00+00:00", "a\0b", '{"a":[1,null]}')
    ]


# --- without a ledger, and at once ---


def test_tables_are_made_without_a_ledger_too(db, read):
    """``store_task_status=False``: users' tables, and nothing else."""
    pipeloom.run_pipeline(
        range(3),
        db,
        worker_fn=lambda n, ctx: ctx.write("t", {"n": n}, on_conflict="update", conflict_on=["n"]),
        store_task_status=False,
        tables={"d": {"x": int}},
        progress=False,
    )

    assert read(
        db, "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite%' ORDER BY 1"
    ) == [
        ("d",),
        ("t",),
    ]
    assert read(db, "SELECT COUNT(*) FROM t") == [(3,)]


def test_rows_said_at_once_follow_the_same_rules(db, read):
    """``MsgWriteRows`` makes tables, takes conflict rules, and keeps its place among statements."""
    channel = Channel()
    writer = SQLiteWriter(db, channel)
    writer.start()
    channel.put(MsgWriteRows("t", [{"k": 1, "v": "a"}], on_conflict="update", conflict_on=["k"]))
    channel.put(MsgExecute("UPDATE t SET v = v || '!'"))
    channel.put(MsgWriteRows("t", [(1, "b"), (2, "NA")], ["k", "v"], ["NA"], "update", ["k"]))
    channel.put(SENTINEL)
    writer.join(10)

    assert read(db, "SELECT k, v FROM t ORDER BY k") == [(1, "b"), (2, None)]
    assert read(db, "SELECT error FROM pipeloom_rejected") == []


def test_rows_keep_their_order_where_a_foreign_key_sees_it(db, read):
    """Child, parent, child of one task: the second child refers to the parent before it."""
    with closing(sqlite3.connect(db)) as conn, conn:
        conn.execute("CREATE TABLE p (id INTEGER PRIMARY KEY)")
        conn.execute("CREATE TABLE c (id INTEGER PRIMARY KEY, p REFERENCES p (id))")
        conn.execute("INSERT INTO p VALUES (1)")

    def fn(item, ctx):
        ctx.write("c", {"id": 10 * item, "p": 1})
        ctx.write("p", {"id": item + 1})
        ctx.write("c", {"id": 10 * item + 1, "p": item + 1})

    assert pipeloom.map(fn, range(1, 8), db=db, name="n", workers=2).done == 7
    assert read(db, "SELECT COUNT(*) FROM c") == [(14,)]


def test_a_table_that_comes_and_goes_by_the_same_words(db, read):
    """Statements of users are prepared once: what they do to the schema is noticed every time."""

    def fn(item, ctx):
        for n in range(3):
            ctx.execute("DROP TABLE IF EXISTS t")
            ctx.write("t", {f"c{n}": item})
            ctx.execute("CREATE TEMP TABLE IF NOT EXISTS s (old)")
            ctx.write("s", {"old": n})
            ctx.execute("DROP TABLE temp.s")
            ctx.write("s", {"new": n})
            ctx.execute("DROP TABLE main.s")
        if item == 2:
            ctx.execute("INSERT INTO nowhere VALUES (1)")  # all of it is rolled back

    report = pipeloom.map(fn, range(4), db=db, name="n", workers=1, on_error="collect", progress=False)

    assert (report.done, report.failed) == (3, 1), report.failures
    assert read(db, "SELECT * FROM t") == [(None, None, 3)]
    assert types(read, db, "s") == {}


def test_a_temporary_table_that_was_in_the_way(db, read):
    """Once it is dropped, rows go to the table behind it, which is made if it is missing."""

    def fn(ctx):
        ctx.execute("CREATE TEMP TABLE t (n)")
        ctx.write("t", {"n": 1})
        ctx.execute("DROP TABLE temp.t")
        ctx.write("t", {"n": 2})

    report = run(db, fn)

    assert report.done == 1, reasons(report)
    assert read(db, "SELECT n FROM t") == [(2,)]


def test_tables_and_columns_of_one_output_are_one_whatever_their_case(db, read):
    """As SQL has it; the first spelling stays."""

    def fn(ctx):
        ctx.write("T", {"X": 1})
        ctx.write("t", {"x": 2, "Y": 3})
        ctx.write("T", {"y": 4})

    report = run(db, fn)

    assert report.done == 1, reasons(report)
    assert types(read, db, "t") == {"X": "INTEGER", "Y": "INTEGER"}
    assert read(db, "SELECT x, y FROM t") == [(1, None), (2, 3), (None, 4)]
