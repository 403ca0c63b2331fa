"""How a file gets the ledger's tables: made, adopted, or refused and left as it was; all of it or nothing."""

from __future__ import annotations

import queue
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

import pipeloom
from pipeloom.db import SCHEMA_VERSION, connect, init_schema
from pipeloom.db.schema import schema_version
from pipeloom.errors import SchemaError

# The contract of pipeloom.db: name → (declared type, NOT NULL, default, place in the primary key).
CONTRACT = {
    "id": ("INTEGER", 0, None, 1),
    "name": ("TEXT", 1, None, 0),
    "status": ("TEXT", 1, None, 0),
    "progress": ("REAL", 1, "0.0", 0),
    "message": ("TEXT", 0, None, 0),
    "started_at": ("TEXT", 0, None, 0),
    "finished_at": ("TEXT", 0, None, 0),
    "result": ("TEXT", 0, None, 0),
}
OURS = {
    "pipeline_id",
    "key",
    "run_id",
    "attempt",
    "error",
    "worker",
    "rows_written",
    "elapsed_s",
    "input",
    "version",
    "exception",
    "place",
    "message_template",
    "kind",
}
ID = "id INTEGER PRIMARY KEY"
REST = (
    "name TEXT NOT NULL, status TEXT NOT NULL, progress REAL NOT NULL DEFAULT 0.0, message TEXT, "
    "started_at TEXT, finished_at TEXT, result TEXT"
)
EIGHT = f"CREATE TABLE task_runs ({ID}, {REST})"


def columns(conn, table="task_runs"):
    """Return the columns as the contract writes them."""
    return {row[1]: (row[2], row[3], row[4], row[5]) for row in conn.execute(f"PRAGMA table_info({table})")}


def names(conn):
    """Return everything that the schema holds."""
    return {row[0] for row in conn.execute("SELECT name FROM sqlite_master")}


def made(db, *statements):
    """Make another program's database with a rollback journal, as most are."""
    with closing(sqlite3.connect(db)) as conn:
        for statement in statements:
            conn.execute(statement)
        conn.commit()
    return db


# --- fresh ---


def test_a_fresh_file_gets_the_contracts_table(db):
    """Types, NOT NULL, defaults and the key, column by column, and ours beside them."""
    with closing(connect(db)) as conn:
        init_schema(conn, store_task_status=True)
        found = columns(conn)

        assert {name: found[name] for name in CONTRACT} == CONTRACT
        assert set(found) - set(CONTRACT) == OURS
        conn.execute("INSERT INTO task_runs (id, name, status, progress) VALUES (1, 'a', 'queued', 0)")
        conn.execute("INSERT INTO task_runs (id, name, status) VALUES (2, 'b', 'queued')")
        assert conn.execute("SELECT status, COUNT(*) FROM task_runs GROUP BY status").fetchall() == [("queued", 2)]


def test_everything_else_of_ours_is_prefixed(db):
    """The file may be the user's own; neither ``user_version`` nor ``application_id`` is touched."""
    with closing(connect(db)) as conn:
        conn.execute("PRAGMA user_version = 7")
        conn.execute("PRAGMA application_id = 8")
        init_schema(conn, store_task_status=True)

        ours = {name for name in names(conn) if not name.startswith(("pipeloom_", "sqlite_"))}
        assert ours == {"task_runs"}
        assert conn.execute("PRAGMA user_version").fetchone() == (7,)
        assert conn.execute("PRAGMA application_id").fetchone() == (8,)
        assert schema_version(conn) == SCHEMA_VERSION


def test_the_views_can_be_read(db):
    """On an empty ledger as on a full one; SQLite looks at a view's columns only when it is used."""
    with closing(connect(db)) as conn:
        init_schema(conn, store_task_status=True)
        for view in ("failures", "slowest", "summary", "history"):
            assert conn.execute(f"SELECT * FROM pipeloom_{view}").fetchall() == []


def test_a_key_is_unique_in_its_pipeline_and_keeps_its_type(db):
    """``1`` and ``'1'`` are two keys; rows without a key are not compared."""
    with closing(connect(db)) as conn:
        init_schema(conn, store_task_status=True)
        insert = "INSERT INTO task_runs (name, status, pipeline_id, key) VALUES ('a', 'done', ?, ?)"
        for row in ((1, 1), (1, "1"), (2, 1), (None, None), (None, None)):
            conn.execute(insert, row)
        with pytest.raises(sqlite3.IntegrityError, match="UNIQUE"):
            conn.execute(insert, (1, 1))


def test_the_second_time_changes_nothing(db):
    """Neither the schema nor the rows; byte for byte."""
    with closing(connect(db, wal=False)) as conn:
        init_schema(conn, store_task_status=True)
        conn.execute("INSERT INTO task_runs (id, name, status) VALUES (1, 'a', 'done')")
        before = db.read_bytes()
        init_schema(conn, store_task_status=True)

    assert db.read_bytes() == before


def test_without_a_ledger_nothing_is_made(db):
    """``store_task_status=False`` leaves the database to the user's tables."""
    with closing(connect(db)) as conn:
        init_schema(conn, store_task_status=False)

        assert names(conn) == set()


def test_any_connection_will_do(db):
    """One with Python's own transactions, too; what it had open is committed."""
    with closing(sqlite3.connect(db)) as conn:
        conn.execute("CREATE TABLE mine (n)")
        conn.execute("INSERT INTO mine VALUES (1)")
        assert conn.in_transaction
        init_schema(conn, store_task_status=True)

        assert not conn.in_transaction
        assert conn.execute("SELECT n FROM mine").fetchall() == [(1,)]
        assert schema_version(conn) == SCHEMA_VERSION


def test_memory_gets_the_schema_too():
    """There is no file to ask about."""
    with closing(connect(Path(":memory:"))) as conn:
        init_schema(conn, store_task_status=True)

        assert schema_version(conn) == SCHEMA_VERSION


def test_two_that_begin_at_once_both_succeed(db):
    """The second one finds the work done when its turn comes."""
    with closing(connect(db)) as first, closing(connect(db)) as second:
        waiting = [first]

        def overtaken(sql):
            if sql.startswith("BEGIN") and waiting:
                init_schema(waiting.pop(), store_task_status=True)

        second.set_trace_callback(overtaken)  # called when a statement begins
        init_schema(second, store_task_status=True)

        assert not waiting
        assert schema_version(second) == SCHEMA_VERSION


# --- adopted ---


def test_the_contracts_eight_columns_are_adopted(db, read):
    """Ours are added, its rows stay as they were, and a run works on it."""
    made(db, EIGHT, "INSERT INTO task_runs VALUES (7, 'old', 'done', 1.0, 'm', 's', 'f', 'r')")
    with closing(connect(db)) as conn:
        init_schema(conn, store_task_status=True)
        found = columns(conn)

        assert {name: found[name] for name in CONTRACT} == CONTRACT
        assert set(found) - set(CONTRACT) == OURS
    assert pipeloom.map(str, ["new"], db=db, progress=False).done == 1
    rows = read(db, f"SELECT {', '.join(CONTRACT)} FROM task_runs")
    assert rows[0] == (7, "old", "done", 1.0, "m", "s", "f", "r")
    assert [row[1:4] for row in rows[1:]] == [("new", "done", 1.0)]


def test_what_somebodys_own_columns_of_our_names_hold_stays(db, read):
    """Only what has nothing there is told."""
    made(
        db,
        f"CREATE TABLE task_runs ({ID}, {REST}, kind TEXT, place TEXT)",
        "INSERT INTO task_runs (id, name, status, message, kind, place) VALUES "
        "(1, 'a', 'error', 'no 7', 'mine', NULL), (2, 'b', 'error', 'no 8', NULL, 'Berlin')",
    )
    with closing(connect(db)) as conn:
        init_schema(conn, store_task_status=True)

    first, second = read(db, "SELECT kind, place, message_template FROM task_runs ORDER BY id")
    assert first == ("mine", None, "no …")
    assert second[0] not in (None, "mine")
    assert second[1:] == ("Berlin", "no …")


def test_spelling_and_order_do_not_matter(db):
    """SQL ignores the case of names and types."""
    made(
        db,
        "CREATE TABLE Task_Runs (RESULT text, Finished_At text, started_at text, message text, "
        "progress real not null default 0.0, status text not null, name text not null, ID integer primary key)",
    )
    assert pipeloom.map(str, [1, 2], db=db, progress=False).done == 2


# --- refused ---

FOREIGN = {
    "other columns": ["CREATE TABLE task_runs (id INTEGER PRIMARY KEY, command TEXT)"],
    "one is missing": [f"CREATE TABLE task_runs ({ID}, {REST.rpartition(',')[0]})"],
    "id is no key": [f"CREATE TABLE task_runs (id INTEGER, {REST})"],
    "id is no rowid": [f"CREATE TABLE task_runs (id TEXT PRIMARY KEY, {REST})"],
    "a key of two columns": [f"CREATE TABLE task_runs (id INTEGER, {REST}, PRIMARY KEY (id, name))"],
    "a column that we cannot fill": [f"CREATE TABLE task_runs ({ID}, {REST}, owner TEXT NOT NULL)"],
    "a view": ["CREATE TABLE t (id)", "CREATE VIEW task_runs AS SELECT id FROM t"],
    "our prefix, a table": ["CREATE TABLE pipeloom_runs (a)"],
    "our prefix, a view": ["CREATE VIEW Pipeloom_failures AS SELECT 1"],
    "our prefix, an index": ["CREATE TABLE t (a)", "CREATE INDEX pipeloom_task_key ON t (a)"],
    "another program's meta": ["CREATE TABLE pipeloom_meta (a, b)"],
    "a meta without a version": ["CREATE TABLE pipeloom_meta (key, value)"],
    "a version that is no number": [
        "CREATE TABLE pipeloom_meta (key, value)",
        "INSERT INTO pipeloom_meta VALUES ('schema_version', 'abc')",
    ],
}
NEWER = {
    "a newer version": [
        EIGHT,
        "CREATE TABLE pipeloom_meta (key TEXT PRIMARY KEY, value) WITHOUT ROWID",
        f"INSERT INTO pipeloom_meta VALUES ('schema_version', {SCHEMA_VERSION + 1})",
    ]
}
refused = pytest.mark.parametrize("statements", [*FOREIGN.values(), *NEWER.values()], ids=[*FOREIGN, *NEWER])


@refused
def test_a_schema_that_does_not_fit_is_refused(db, statements):
    """In a sentence that says what to do; nothing of it has changed, no transaction is left open."""
    made(db, "CREATE TABLE mine (n)", "INSERT INTO mine VALUES (1)", *statements)
    before = db.read_bytes()
    with closing(sqlite3.connect(db, isolation_level=None)) as conn:
        with pytest.raises(SchemaError, match="use another file"):
            init_schema(conn, store_task_status=True)
        assert not conn.in_transaction

    assert db.read_bytes() == before


@refused
def test_a_run_leaves_such_a_file_byte_for_byte(db, statements):
    """Refused untouched: not even the journal mode in its header may change."""
    made(db, "CREATE TABLE mine (n)", "INSERT INTO mine VALUES (1)", *statements)
    before = db.read_bytes()
    with pytest.raises(SchemaError):
        pipeloom.map(str, [1], db=db, progress=False)
    with pytest.raises(SchemaError):
        pipeloom.SQLiteWriter(db, queue.Queue()).start()

    assert db.read_bytes() == before
    assert {found.name for found in db.parent.iterdir()} == {db.name}


def test_without_a_ledger_a_foreign_table_is_no_matter(db, read):
    """``store_task_status=False`` touches no table of ours, so it may be another program's."""
    made(db, *FOREIGN["other columns"])
    pipeloom.run_pipeline(
        [1], db, worker_fn=lambda n, ctx: ctx.write("mine", {"n": n}), store_task_status=False, progress=False
    )

    assert read(db, "SELECT n FROM mine") == [(1,)]
    assert read(db, "SELECT * FROM task_runs") == []


# --- all or nothing ---


@pytest.mark.parametrize(
    "before", [[], [EIGHT, "INSERT INTO task_runs (id, name, status) VALUES (1, 'a', 'done')"]]
)
def test_a_migration_that_fails_leaves_nothing(db, before):
    """The disk runs full at every possible page, one after the other: no half a schema, and it can go on."""
    made(db, "CREATE TABLE mine (n)", *before)
    with closing(connect(db)) as conn:
        whole = list(conn.iterdump())
        failures = 0
        for pages in range(conn.execute("PRAGMA page_count").fetchone()[0], 100):
            conn.execute(f"PRAGMA max_page_count = {pages}")
            try:
                init_schema(conn, store_task_status=True)
                break
            except sqlite3.OperationalError as error:
                failures += error.sqlite_errorcode == sqlite3.SQLITE_FULL
            assert not conn.in_transaction
            assert list(conn.iterdump()) == whole

        assert failures > 5  # the disk was full that often
        assert schema_version(conn) == SCHEMA_VERSION
        assert list(conn.execute("PRAGMA integrity_check")) == [("ok",)]


def test_failures_of_an_older_file_are_told_by_kind(db, read):
    """Of tasks and of past tries, whatever stands in their columns; what is no failure has none."""
    with closing(connect(db)) as conn:
        init_schema(conn, store_task_status=True)
        conn.execute("DROP INDEX pipeloom_task_kind")
        for view in ("kinds", "failures", "history"):
            conn.execute(f"DROP VIEW pipeloom_{view}")
        for table in ("task_runs", "pipeloom_attempts"):
            for column in ("exception", "place", "message_template", "kind"):
                conn.execute(f"ALTER TABLE {table} DROP COLUMN {column}")
        conn.execute("UPDATE pipeloom_meta SET value = 6 WHERE key = 'schema_version'")
        error = 'Traceback\n  File "/a/load.py", line 3, in f\nValueError: no 7'
        rows = [
            (1, "error", "no 7", error),
            (2, "error", b"\xff", 5),
            (3, "done", "no 7", None),
            (4, "error", None, None),
        ]
        conn.executemany("INSERT INTO task_runs (id, name, status, message, error) VALUES (?, 't', ?, ?, ?)", rows)
        conn.executemany(
            "INSERT INTO pipeloom_attempts (task_id, attempt, status, message, error) VALUES (?, 1, ?, ?, ?)", rows
        )
    pipeloom.map(str, ["x"], db=db, progress=False)

    for table, number in (("task_runs", "id"), ("pipeloom_attempts", "task_id")):
        told = read(
            db, f"SELECT {number}, exception, place, message_template, kind IS NULL FROM {table} ORDER BY 1 LIMIT 4"
        )
        assert told == [
            (1, "ValueError", "/a/load.py:3 in f", "no …", 0),
            (2, None, None, "…", 0),
            (3, None, None, None, 1),
            (4, None, None, "", 0),
        ]


def test_a_failed_migration_can_be_repeated_by_a_run(db, read):
    """Once there is space, the next run finds a file as good as new."""
    with closing(connect(db)) as conn:
        conn.execute("PRAGMA max_page_count = 5")
        with pytest.raises(sqlite3.OperationalError):
            init_schema(conn, store_task_status=True)

    assert pipeloom.map(str, [1], db=db, progress=False).done == 1
    assert read(db, "PRAGMA integrity_check") == [("ok",)]
