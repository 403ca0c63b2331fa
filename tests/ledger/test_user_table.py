"""Tables of every kind that SQLite knows: what they take, how they grow, and what a declaration may say of them."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import date
from decimal import Decimal

import pytest

import pipeloom
from pipeloom import SchemaError

pytestmark = pytest.mark.usefixtures("each_path")


def prepared(db, *statements):
    """Make the user's own tables before the run."""
    with closing(sqlite3.connect(db)) as conn:
        for statement in statements:
            conn.execute(statement)
        conn.commit()


def wrote(db, *calls, **options):
    """Run one task for each (table, rows, options of write); returns key → message of those that failed."""
    report = pipeloom.map(
        lambda place, ctx: ctx.write(calls[place][0], calls[place][1], **(calls[place][2:] or ({},))[0]),
        range(len(calls)), db=db, on_error="collect", progress=False, workers=1, resume=False, **options,
    )  # fmt: skip
    return {failure.key: failure.message for failure in report.failures}


# --- tables that grow ---


def test_a_new_column_is_added_when_that_is_asked_for(db, read):
    """By the call, or for all calls by the run; typed by its values; rows that were there have NULL."""
    assert wrote(db, ("t", {"a": 1}), ("t", {"a": 2, "b": "x"}, {"alter": True}), ("t", {"b": "y"})) == {}
    assert wrote(db, ("t", {"c": 0.5}), ("t", [{"d": 1}, {"e": None}, {"d": "x"}]), alter=True) == {}

    types = {name: kind for _, name, kind, *_ in read(db, "PRAGMA table_info(t)")}
    assert types == {"a": "INTEGER", "b": "TEXT", "c": "REAL", "d": "", "e": ""}
    assert read(db, "SELECT a, b, c, d, e FROM t") == [
        (1, None, None, None, None),
        (2, "x", None, None, None),
        (None, "y", None, None, None),
        (None, None, 0.5, None, None),
        (None, None, None, 1, None),
        (None, None, None, None, None),
        (None, None, None, "x", None),
    ]


def test_without_it_a_sentence_says_what_to_do(db, read):
    """And what it advises works, also for a declared column."""
    failed = wrote(db, ("t", {"a": 1}), ("t", {"a": 2, "b": 1}))
    assert list(failed) == [1]
    assert all(words in failed[1] for words in ("table t has no column b", "alter=True"))
    with pytest.raises(SchemaError, match="without the declared column b: pass alter=True to add it"):
        wrote(db, tables={"t": {"a": int, "b": str}})
    assert wrote(db, ("t", {"b": 7}), tables={"t": {"a": int, "b": str}}, alter=True) == {}
    assert read(db, "SELECT a, b FROM t") == [(1, None), (None, "7")]


def test_many_tasks_that_meet_a_new_column_at_once(db, read):
    """Each adds what nobody has added; the same inputs give the same table in any order."""

    def fn(n, ctx):
        ctx.write("t", {"n": n, f"c{n % 50}": n}, alter=True)

    report = pipeloom.map(fn, range(500), db=db, workers=8, progress=False)
    assert report.failed == 0
    assert {name for _, name, *_ in read(db, "PRAGMA table_info(t)")} == {"n", *(f"c{n}" for n in range(50))}
    assert read(db, "SELECT COUNT(*), SUM(c7 = n), SUM(c7 IS NOT NULL) FROM t") == [(500, 10, 10)]


def test_the_users_own_tables_grow_too(db, read):
    """Of whatever kind; what cannot grow says so, and only that task fails."""
    prepared(
        db,
        "CREATE TABLE plain (a)",
        "CREATE TABLE strict (a INTEGER) STRICT",
        "CREATE TABLE keyed (a PRIMARY KEY) WITHOUT ROWID",
        "CREATE VIEW seen AS SELECT a FROM plain",
    )
    failed = wrote(
        db,
        *((table, {"a": 1, "b": None}) for table in ("plain", "strict", "keyed", "seen")),
        *(
            (table, {"a": n, "b": value})
            for table in ("plain", "strict", "keyed")
            for n, value in ((2, 0.5), (3, "x"))
        ),
        alter=True,
    )
    assert list(failed) == [3]
    assert "view" in failed[3]
    for table in ("plain", "strict", "keyed"):
        assert read(db, f"SELECT a, b, typeof(b) FROM {table}") == [
            (1, None, "null"), (2, 0.5, "real"), (3, "x", "text"),
        ]  # fmt: skip


# --- what a column takes ---


def test_in_a_table_of_the_users_own_sqlite_converts_and_nothing_is_lost(db, read):
    """A float keeps its digits in a column of text; an integer that a float cannot hold is refused."""
    prepared(db, "CREATE TABLE t (n TEXT, x REAL, i INTEGER, d DECIMAL(10,2))")
    failed = wrote(
        db,
        ("t", {"n": 0.1 + 0.2}),
        ("t", {"x": 2**53 + 1}),
        ("t", {"i": "seven"}),
        ("t", {"i": "12345678901234567890"}),
        ("t", {"d": Decimal("1.10")}),
        ("t", {"d": Decimal("1.234567890123456789")}),
        ("t", {"x": "abc"}),
    )
    assert list(failed) == [1, 3, 5]
    assert failed[1] == (
        "table t, column x: the int 9007199254740993 would come back as 9007199254740992.0: the column holds floats"
    )
    assert read(db, "SELECT * FROM t") == [
        ("0.30000000000000004", None, None, None),
        (None, None, "seven", None),
        (None, None, None, 1.1),
        (None, "abc", None, None),
    ]


def test_what_the_table_computes_cannot_be_written(db, read):
    """The sentence says so; the table's own number of a row can."""
    prepared(
        db,
        "CREATE TABLE g (a, s GENERATED ALWAYS AS (a * 2), v AS (a + 1) STORED)",
        "CREATE TABLE r (a)",
        "CREATE TABLE w (a PRIMARY KEY, b) WITHOUT ROWID",
    )
    failed = wrote(
        db, ("g", {"a": 1, "s": 2}), ("g", {"a": 1, "v": 2}), ("g", {"a": 1}), ("r", {"rowid": 7, "a": 1}),
        ("r", {"oid": 8, "a": 2}), ("w", {"rowid": 7, "a": 1}),
    )  # fmt: skip
    assert list(failed) == [0, 1, 5]
    assert failed[0] == "table g computes its column s (GENERATED): leave it out"
    assert "no column rowid" in failed[5]
    assert read(db, "SELECT * FROM g") == [(1, 2, 2)]
    assert read(db, "SELECT rowid, a FROM r") == [(7, 1), (8, 2)]


def test_views_and_virtual_tables(db, read):
    """They take what SQLite lets them take; a view by its trigger."""
    prepared(
        db,
        "CREATE TABLE t (a INTEGER, b)",
        "CREATE VIEW v AS SELECT a, b FROM t",
        "CREATE TRIGGER into_t INSTEAD OF INSERT ON v BEGIN INSERT INTO t VALUES (new.a, new.b || '!'); END",
        "CREATE VIRTUAL TABLE words USING fts5 (body)",
        "CREATE VIEW still AS SELECT a FROM t",
    )
    failed = wrote(
        db, ("v", {"a": 1, "b": "x"}), ("words", [{"rowid": 3, "body": "one two"}, {"body": "two"}]),
        ("words", {"words": "optimize"}), ("still", {"a": 1}),
    )  # fmt: skip
    assert list(failed) == [3]
    assert read(db, "SELECT a, b FROM t") == [(1, "x!")]
    assert read(db, "SELECT rowid FROM words WHERE words MATCH 'two'") == [(3,), (4,)]


def test_the_order_is_kept_where_a_temporary_trigger_could_see_it(db, read):
    """One that a statement of this run has made."""
    prepared(db, "CREATE TABLE a (n)", "CREATE TABLE b (n)", "CREATE TABLE seen (a, b)")

    def fn(_, ctx):
        ctx.execute(
            "CREATE TEMP TRIGGER look AFTER INSERT ON a BEGIN INSERT INTO seen SELECT new.n, COUNT(*) FROM b; END"
        )
        for n in range(3):
            ctx.write("a", {"n": n})
            ctx.write("b", {"n": n})

    pipeloom.map(fn, [0], db=db, progress=False)
    assert read(db, "SELECT a, b FROM seen") == [(0, 0), (1, 1), (2, 2)]


# --- what a declaration may say ---


@pytest.mark.parametrize(
    ("stored", "declared", "fits"),
    [
        ("INTEGER", int, True), ("INTEGER PRIMARY KEY", int, True), ("BIGINT", bool, True), ("TEXT", str, True),
        ("TEXT", date, True), ("VARCHAR(20)", str, True), ("DOUBLE", float, True), ("BOOLEAN", bool, True),
        ("DECIMAL(10,2)", Decimal, True), ("DATETIME", date, True), ("", int, True), ("", str, True),
        ("BLOB", bytes, True), ("TEXT", bytes, True), ("TEXT", int, False), ("INTEGER", str, False),
        ("REAL", int, False), ("INTEGER", float, False), ("STRING", str, False), ("TEXT", float, False),
        ("INTEGER", None, False), ("m AS (1)", int, False),
    ],
)  # fmt: skip
def test_a_declaration_is_checked_against_the_table(db, read, stored, declared, fits):
    """One that contradicts ends the run before anything runs."""
    prepared(db, f"CREATE TABLE t (n {stored})" if " AS " not in stored else "CREATE TABLE t (m, n AS (m))")
    ran = []
    if fits:
        pipeloom.map(ran.append, [1], db=db, tables={"t": {"n": declared}}, progress=False)
        return
    with pytest.raises(SchemaError, match=r"table t (has the|computes its) column n"):
        pipeloom.map(ran.append, [1], db=db, tables={"t": {"n": declared}}, progress=False)
    assert not ran


def test_a_declared_column_of_an_untyped_table_converts_all_the_same(db, read):
    """The declaration is the run's word, whatever the schema says."""
    prepared(db, "CREATE TABLE t (n, s)")
    assert wrote(db, ("t", {"n": "7", "s": 7}), tables={"t": {"n": int, "s": str}}) == {}
    assert read(db, "SELECT n, s FROM t") == [(7, "7")]


def test_a_declared_table_that_was_dropped_comes_back_as_declared(db, read):
    """Names that differ in case only are one column."""
    calls = [("t", {"A": "1", "more": "x"})]
    assert wrote(db, tables={"t": {"a": int}}) == {}

    def fn(_, ctx):
        ctx.execute("DROP TABLE t")
        ctx.write(*calls[0])

    pipeloom.map(fn, [0], db=db, tables={"t": {"a": int}}, progress=False)
    assert read(db, "SELECT * FROM t") == [(1, "x")]


def test_what_is_declared_as_bytes_loses_nothing_in_a_typed_column(db, read):
    """Bytes fit into each column. What else comes is treated as without the declaration."""
    prepared(db, "CREATE TABLE t (a TEXT, b REAL)")
    declared = {"t": {"a": bytes, "b": bytes}}
    failed = wrote(db, ("t", {"a": 0.1 + 0.2, "b": b"x"}), ("t", {"b": 2**53 + 1}), tables=declared)

    assert read(db, "SELECT a, b FROM t") == [("0.30000000000000004", b"x")]
    assert "the int 9007199254740993 would come back as 9007199254740992.0" in failed[1]


# --- what others do to the schema meanwhile ---


def test_another_program_changes_a_table_between_two_batches(db, read):
    """What is known of a table is looked at again."""

    def fn(n, ctx):
        if n == 1:
            with closing(sqlite3.connect(db, timeout=10)) as other:
                other.execute("DROP TABLE t")
                other.execute("CREATE TABLE t (v TEXT)")
                other.commit()
        ctx.write("t", {"v": 0.1 + 0.2})
        ctx.checkpoint(n)

    pipeloom.map(fn, [0, 1], db=db, workers=1, progress=False)
    assert read(db, "SELECT v FROM t") == [("0.30000000000000004",)]


def test_an_inferred_type_is_found_again_under_other_names(db, read):
    """The mark goes with the column through renaming, by the user's own hand or in quotes of any kind."""
    assert wrote(db, ("t", {"v": 1, 'a "b"': 1, "INTEGER /* inferred */": 1}), name="a") == {}
    prepared(
        db,
        "ALTER TABLE t RENAME COLUMN v TO [w x]",
        "ALTER TABLE t RENAME TO u",
        "ALTER TABLE u ADD COLUMN z INTEGER",
    )
    row = {"w x": "007", 'a "b"': "007", "INTEGER /* inferred */": "007", "z": "007"}
    assert wrote(db, ("u", row), name="b") == {}
    assert read(db, "SELECT * FROM u") == [(1, 1, 1, None), ("007", "007", "007", 7)]


@pytest.mark.parametrize("name", ["\N{RIGHTWARDS ARROW}", "a\N{NO-BREAK SPACE}b", "n\N{EN DASH}1", "$".join("ab")])
def test_an_inferred_type_is_found_under_a_name_without_quotes(db, read, name):
    """As in a table that was made anew by hand: SQL takes all characters beyond ASCII for letters."""
    prepared(db, f"CREATE TABLE t ({name} INTEGER /* inferred */, integer TEXT /* inferred */)")
    assert wrote(db, ("t", {name: 1, "integer": "x"}), ("t", {name: "007", "integer": 2})) == {}

    assert read(db, "SELECT * FROM t") == [(1, "x"), ("007", 2)]


@pytest.mark.parametrize(
    "index",
    [
        "g",  # which is computed
        "x = '2'",
        "x) WHERE (x = '2'",
    ],
)
def test_a_type_is_taken_off_where_an_index_depends_on_it(db, read, index):
    """The index is filled anew before it is used: otherwise SQLite takes the file for damaged."""
    assert wrote(db, ("t", [{"x": 1.0}, {"x": 2.0}, {"x": 2.5}])) == {}
    with closing(sqlite3.connect(db)) as conn:
        conn.execute("ALTER TABLE t ADD COLUMN g AS (x = '2')")
        conn.execute(f"CREATE INDEX i ON t ({index})")
        assert conn.execute("SELECT x FROM t WHERE g").fetchall() == [(2.0,)]
    assert wrote(db, ("t", {"x": "2"})) == {}

    assert read(db, "SELECT x, typeof(x) FROM t WHERE g") == [("2", "text")]
    assert read(db, "SELECT typeof(x) FROM t") == [("real",)] * 3 + [("text",)]
    assert read(db, "PRAGMA integrity_check") == [("ok",)]


def test_a_primary_key_keeps_its_type_in_a_table_that_was_made_anew_with_the_marks(db, read):
    """It may be the rowid, which holds nothing but integers."""
    prepared(db, "CREATE TABLE t (x INTEGER /* inferred */ PRIMARY KEY, y REAL /* inferred */)")
    failed = wrote(db, ("t", {"x": 1, "y": 1.0}), ("t", {"x": "a"}), ("t", {"x": "2", "y": "b"}))

    assert list(failed) == [1]
    assert "datatype mismatch" in failed[1]
    assert read(db, "SELECT x, y, typeof(y) FROM t") == [(1, 1.0, "real"), (2, "b", "text")]
    assert read(db, "PRAGMA integrity_check") == [("ok",)]


def test_a_column_called_like_the_rows_number(db, read):
    """With alter= it is a column like any other, whatever comes first."""
    for first, second in (({"a": 1}, {"a": 2, "rowid": "x"}), ({"a": 1, "rowid": "x"}, {"a": 2})):
        table = f"t{len(first)}"
        assert wrote(db, (table, first), (table, second), alter=True) == {}
        assert sorted(read(db, f"SELECT a, rowid FROM {table}"), key=str) in (
            [(1, "x"), (2, None)],
            [(1, None), (2, "x")],
        )


# --- rows of several shapes ---


@pytest.mark.parametrize("default", ["", " DEFAULT 'd'"])
@pytest.mark.parametrize(
    "on_conflict", [{}, {"on_conflict": "ignore"}, {"on_conflict": "update", "conflict_on": ["a"]}]
)
def test_rows_with_optional_keys_stay_in_order_and_write_what_they_have(db, read, default, on_conflict):
    """One by one, in one call, across tasks; NULL is told from what is left out where there is a default."""
    prepared(db, f"CREATE TABLE t (id INTEGER PRIMARY KEY, a UNIQUE, b{default}, B2, c)")
    rows = [
        {
            "a": n,
            **({"b": n} if n % 2 else {}),
            **({"C": None} if n % 3 else {"b2": n}),
            **({"c": 1} if n % 9 == 0 else {}),
        }
        for n in range(40)
    ]
    rows[7] = {"b": None, "a": 7}

    def fn(part, ctx):
        if part == 0:
            for row in rows[:20]:
                ctx.write("t", row, **on_conflict)
        else:
            ctx.write("t", rows[20:], **on_conflict)

    pipeloom.map(fn, [0, 1], db=db, workers=1, progress=False)
    expected = []
    for number, row in enumerate(rows, 1):
        folded = {name.lower(): value for name, value in row.items()}
        b = folded.get("b", "d" if default else None)
        expected.append((number, folded["a"], b, folded.get("b2"), folded.get("c")))
    assert read(db, "SELECT * FROM t ORDER BY id") == expected


def test_the_only_column_of_rows_may_be_spelt_in_several_ways(db, read):
    """One call, and one by one: what rows are padded to has one column, too."""

    def fn(part, ctx):
        rows = [{"Name": part}, {"name": part + 1}, {"Name": part + 2}, {"NAME": part + 3}]
        for some in [rows] if part else rows:
            ctx.write("t", some)

    pipeloom.map(fn, [0, 4], db=db, workers=1, progress=False)
    assert read(db, "SELECT Name FROM t ORDER BY rowid") == [(n,) for n in range(8)]
