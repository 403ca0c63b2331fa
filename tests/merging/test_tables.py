"""The users' tables: every row once, whatever stands on them; ids that SQLite chose; rows that contradict."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest

import pipeloom

SCHEMA = (
    "CREATE TABLE plain (a, b TEXT)",
    "CREATE INDEX plain_b ON plain (b)",
    "CREATE TABLE [od'd \"name] (x INT, twice AS (x * 2), y DEFAULT 5)",
    "CREATE TABLE strict_one (n INTEGER NOT NULL, CHECK (n > 0)) STRICT",
    "CREATE TABLE pairs (a, b, n, PRIMARY KEY (a, b)) WITHOUT ROWID",
    "CREATE TABLE counted (id INTEGER PRIMARY KEY AUTOINCREMENT, v)",
    "CREATE VIEW seen_twice AS SELECT a, b FROM plain",
    "CREATE TABLE told (what)",
    "CREATE TRIGGER tell AFTER INSERT ON plain BEGIN INSERT INTO told VALUES (new.a); END",
    "CREATE TRIGGER tell_view INSTEAD OF INSERT ON seen_twice BEGIN INSERT INTO told VALUES ('view'); END",
)


CHILDREN = (
    "CREATE TABLE parent (id INTEGER PRIMARY KEY, name)",
    "CREATE TABLE child (name, parent INTEGER REFERENCES parent, other INTEGER REFERENCES Parent (id))",
    "CREATE TABLE tree (id INTEGER PRIMARY KEY AUTOINCREMENT, above INTEGER REFERENCES tree (id), name)",
)


def family(n):
    """Rows that refer to each other by ids that are the same in each file."""
    return (
        f"INSERT INTO parent (name) VALUES ('p{n}'), ('q{n}')",
        f"INSERT INTO child VALUES ('c{n}', 1, 2), ('d{n}', 2, NULL)",
        f"INSERT INTO tree (above, name) VALUES (NULL, 'root{n}'), (1, 'leaf{n}')",
    )


def filled(n):
    """Rows that differ from file to file."""
    return (
        f"INSERT INTO plain VALUES ({n}, 'b{n}'), ({n}, NULL)",
        f"INSERT INTO [od'd \"name] (x) VALUES ({n})",
        f"INSERT INTO strict_one VALUES ({n})",
        f"INSERT INTO pairs VALUES ({n}, 'x', 1), ({n}, 'y', 2)",
        f"INSERT INTO counted VALUES ({n * 10}, 'v{n}'), ({n * 10 + 9}, 'gone')",
        f"DELETE FROM counted WHERE id = {n * 10 + 9}",
    )


def rows(path, sql):
    with closing(sqlite3.connect(path)) as conn:
        return conn.execute(sql).fetchall()


def test_all_kinds_of_tables_come_with_what_stands_on_them(tmp_path, made):
    """No trigger hears of rows that it has heard of, neither in a new file nor in one that is added to."""
    paths = [made(f"{n}.db", *SCHEMA, *filled(n)) for n in (1, 2, 3)]
    out = tmp_path / "out.db"
    pipeloom.merge(out, paths[:2])
    pipeloom.merge(out, paths[2:], append=True)

    assert rows(out, "SELECT a, b FROM plain") == [(n, b) for n in (1, 2, 3) for b in (f"b{n}", None)]
    assert rows(out, "SELECT * FROM [od'd \"name]") == [(n, n * 2, 5) for n in (1, 2, 3)]
    assert rows(out, "SELECT n FROM strict_one") == [(1,), (2,), (3,)]
    assert rows(out, "SELECT a, b, n FROM pairs") == [
        (n, *rest) for n in (1, 2, 3) for rest in (("x", 1), ("y", 2))
    ]
    assert rows(out, "SELECT * FROM counted") == [(10, "v1"), (20, "v2"), (30, "v3")]
    assert rows(out, "SELECT seq FROM sqlite_sequence WHERE name = 'counted'") == [(39,)]
    assert rows(out, "SELECT what FROM told ORDER BY 1") == [(1,), (1,), (2,), (2,), (3,), (3,)]
    theirs = "SELECT type, name, sql FROM sqlite_master WHERE name NOT GLOB 'sqlite*' ORDER BY name"
    assert rows(out, theirs) == rows(paths[0], theirs)
    assert rows(out, "PRAGMA integrity_check") == [("ok",)]


def test_what_only_one_file_has_is_there(tmp_path, made):
    """A table, a view, an index that another shard has had no occasion to make."""
    one = made("1.db", "CREATE TABLE a (x)", "INSERT INTO a VALUES (1)")
    two = made("2.db", "CREATE TABLE b (y)", "CREATE INDEX b_y ON b (y)", "INSERT INTO b VALUES (2)")
    report = pipeloom.merge(tmp_path / "out.db", [one, two])

    assert report.rows == 2
    assert rows(tmp_path / "out.db", "SELECT x, y FROM a, b") == [(1, 2)]
    assert rows(tmp_path / "out.db", "SELECT 1 FROM sqlite_master WHERE name = 'b_y'") == [(1,)]


def test_columns_may_stand_in_another_order(tmp_path, made):
    """They go by their names, in capitals or not."""
    one = made("1.db", "CREATE TABLE t (a, b)", "INSERT INTO t VALUES (1, 2)")
    two = made("2.db", "CREATE TABLE T (B, a)", "INSERT INTO T VALUES (4, 3)")
    pipeloom.merge(tmp_path / "out.db", [one, two])

    assert rows(tmp_path / "out.db", "SELECT a, b FROM t") == [(1, 2), (3, 4)]


def test_types_that_followed_other_values_give_way(tmp_path, shards):
    """A table that nobody declared has a type for each file's values: together they have none, and stay."""

    def write(item, ctx):
        ctx.write("t", {"v": item, "w": "x"})

    paths = [tmp_path / f"{n}.db" for n in (1, 2)]
    for path, item in zip(paths, (7, "7"), strict=True):
        pipeloom.map(write, [item], db=path, name="write", progress=False)
    pipeloom.merge(tmp_path / "out.db", paths)

    assert rows(tmp_path / "out.db", "SELECT v, typeof(v) FROM t") == [(7, "integer"), ("7", "text")]
    assert rows(tmp_path / "out.db", "SELECT type FROM pragma_table_info('t')") == [("",), ("TEXT",)]


def test_columns_of_a_task_table_that_was_adopted_are_kept(tmp_path, made):
    """What another program had in it before it became the ledger's."""
    one = made("1.db")
    two = made("2.db", "ALTER TABLE task_runs ADD COLUMN owner TEXT DEFAULT 'nobody'")
    for number, path in enumerate((one, two)):
        pipeloom.map(str, [number], db=path, progress=False)
    pipeloom.merge(tmp_path / "out.db", [one, two])

    assert rows(tmp_path / "out.db", "SELECT key, owner FROM task_runs") == [(0, "nobody"), (1, "nobody")]


def test_what_else_is_in_the_file_that_is_added_to_stays(tmp_path, made):
    """A search index of its user's, say; only inputs must not have one."""
    out = made("out.db", "CREATE VIRTUAL TABLE f USING fts5(words)", "INSERT INTO f VALUES ('a word')", *CHILDREN)
    with closing(sqlite3.connect(out)) as conn:
        conn.execute("PRAGMA journal_mode = DELETE")
    pipeloom.merge(out, [made("1.db", *CHILDREN, *family(1))], append=True)

    assert rows(out, "SELECT words FROM f WHERE f MATCH 'word'") == [("a word",)]
    assert rows(out, "SELECT name FROM child") == [("c1",), ("d1",)]
    assert rows(out, "PRAGMA journal_mode") == [("delete",)]


# --- the same row twice ---


def look_up(item, ctx):
    """Store a row that other tasks store, too."""
    ctx.write("kinds", {"kind": item % 2, "name": "Name"}, on_conflict="ignore", conflict_on=("kind",))


def test_a_row_that_several_files_have_is_stored_once(tmp_path, shards):
    """If a UNIQUE says so: as ``on_conflict`` does in one file."""
    paths = shards(range(20), fn=look_up)
    report = pipeloom.merge(tmp_path / "out.db", paths)

    assert rows(tmp_path / "out.db", "SELECT kind, name FROM kinds ORDER BY 1") == [(0, "Name"), (1, "Name")]
    assert report.rows == 2


@pytest.mark.parametrize(
    "schema", ["CREATE TABLE t (a, b TEXT COLLATE NOCASE UNIQUE)", "CREATE TABLE t (a, b UNIQUE)"]
)
def test_rows_are_the_same_if_every_value_is(tmp_path, made, schema):
    """Not if the constraint alone takes them for the same."""
    one = made("1.db", schema, "INSERT INTO t VALUES (1, 'x')")
    same = made("2.db", schema, "INSERT INTO t VALUES (1, 'x'), (2, 'y')")
    other = made("3.db", schema, f"INSERT INTO t VALUES {(1, 'X') if 'NOCASE' in schema else (3, 'x')}")

    assert pipeloom.merge(tmp_path / "out.db", [one, same]).rows == 2
    with pytest.raises(
        pipeloom.RowRefusedError, match=r"the table t has b '[xX]' in .*1.db and in .*3.db, in rows that"
    ):
        pipeloom.merge(tmp_path / "other.db", [one, other])


def test_a_row_that_the_table_does_not_take_is_refused(tmp_path, made):
    """The table is as the first file has it; it is not for us to drop what it demands."""
    one = made("1.db", "CREATE TABLE t (a INTEGER CHECK (a < 5))")
    two = made("2.db", "CREATE TABLE t (a INTEGER)", "INSERT INTO t VALUES (9)")
    said = r"2.db: a row of the table t cannot be added to the others: CHECK constraint failed"
    with pytest.raises(pipeloom.RowRefusedError, match=said):
        pipeloom.merge(tmp_path / "out.db", [one, two])


# --- ids that SQLite chose ---


def test_ids_that_sqlite_chose_can_be_chosen_anew(tmp_path, made):
    """And what refers to them by a declared foreign key follows, in the same table, too."""
    paths = [made(f"{n}.db", *CHILDREN, *family(n)) for n in (1, 2, 3)]
    out = tmp_path / "out.db"
    pipeloom.merge(out, paths[:2], renumber=["Parent", "tree"])
    pipeloom.merge(out, paths[2:], append=True, renumber=("parent", "tree"))

    assert rows(out, "SELECT id FROM parent") == [(n,) for n in range(1, 7)]
    names = (
        "SELECT c.name, p.name, o.name FROM child c JOIN parent p ON p.id = c.parent "
        "LEFT JOIN parent o ON o.id = other"
    )
    assert rows(out, names) == [
        row for n in (1, 2, 3) for row in ((f"c{n}", f"p{n}", f"q{n}"), (f"d{n}", f"q{n}", None))
    ]
    tree = "SELECT a.name, b.name FROM tree a JOIN tree b ON b.id = a.above"
    assert rows(out, tree) == [(f"leaf{n}", f"root{n}") for n in (1, 2, 3)]
    assert rows(out, "SELECT seq FROM sqlite_sequence") == [(6,)]
    assert rows(out, "PRAGMA foreign_key_check") == []


def test_only_what_refers_to_a_number_follows_it(tmp_path, made):
    """Not what refers to another column of the table, nor a table that nobody declared to refer to it."""
    schema = (
        "CREATE TABLE parent (id INTEGER PRIMARY KEY, code INTEGER UNIQUE)",
        "CREATE TABLE child (code INTEGER REFERENCES parent (code), bare INTEGER)",
    )
    paths = [
        made(f"{n}.db", *schema, f"INSERT INTO parent VALUES (1, {n})", f"INSERT INTO child VALUES ({n}, 1)")
        for n in (1, 2)
    ]
    pipeloom.merge(tmp_path / "out.db", paths, renumber=["parent"])

    assert rows(tmp_path / "out.db", "SELECT * FROM parent") == [(1, 1), (2, 2)]
    assert rows(tmp_path / "out.db", "SELECT * FROM child") == [(1, 1), (2, 1)]


def test_rows_with_the_same_number_are_not_taken_for_the_same(tmp_path, made):
    """Two events that look alike are two: SQLite begins at 1 in each file."""
    schema = "CREATE TABLE event (id INTEGER PRIMARY KEY, what)"
    paths = [made(f"{n}.db", schema, "INSERT INTO event (what) VALUES ('begun')") for n in (1, 2)]
    with pytest.raises(pipeloom.RowRefusedError, match="event has id 1 in"):
        pipeloom.merge(tmp_path / "out.db", paths)

    pipeloom.merge(tmp_path / "out.db", paths, renumber=["event"])
    assert rows(tmp_path / "out.db", "SELECT * FROM event") == [(1, "begun"), (2, "begun")]


def test_the_same_ids_in_two_files_are_refused_with_the_way_out(tmp_path, made):
    """Nobody but the user knows whether they mean something."""
    paths = [made(f"{n}.db", *CHILDREN, *family(n)) for n in (1, 2, 3)]
    said = r"the table parent has id 1 in .*1.db and in .*2.db: if SQLite has chosen these .* --renumber parent"
    with pytest.raises(pipeloom.RowRefusedError, match=said):
        pipeloom.merge(tmp_path / "out.db", paths)

    pipeloom.merge(tmp_path / "out.db", paths[:1])
    with pytest.raises(pipeloom.RowRefusedError, match=r"parent has id 1 in .*out.db and in .*2.db"):
        pipeloom.merge(tmp_path / "out.db", paths[1:2], append=True)
