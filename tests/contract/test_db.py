"""``pipeloom.db`` and the table ``task_runs``."""

from __future__ import annotations

import inspect
import sqlite3
import threading
from contextlib import closing
from pathlib import Path

import pytest

from pipeloom.db import connect, init_schema, wal_checkpoint

MEMORY = Path(":memory:")
COLUMNS = {
    "id": ("INTEGER", 0, None, 1),
    "name": ("TEXT", 1, None, 0),
    "status": ("TEXT", 1, None, 0),
    "progress": ("REAL", 1, "0.0", 0),
    "message": ("TEXT", 0, None, 0),
    "started_at": ("TEXT", 0, None, 0),
    "finished_at": ("TEXT", 0, None, 0),
    "result": ("TEXT", 0, None, 0),
}


@pytest.fixture
def conn(db):
    """A connection to a file with the ledger's tables."""
    with closing(connect(db)) as conn:
        init_schema(conn, store_task_status=True)
        yield conn


def pragma(conn, name):
    """Return a setting's value."""
    return conn.execute(f"PRAGMA {name}").fetchone()[0]


def test_the_signatures_are_the_promised_ones():
    """Positional, keyword-only and defaults."""
    assert str(inspect.signature(connect)).startswith("(db_path: 'Path', *, wal: 'bool' = True")
    assert list(inspect.signature(init_schema).parameters) == ["conn", "store_task_status"]
    assert inspect.signature(init_schema).parameters["store_task_status"].kind is inspect.Parameter.KEYWORD_ONLY
    mode = inspect.signature(wal_checkpoint).parameters["mode"]
    assert (mode.kind, mode.default) == (inspect.Parameter.POSITIONAL_OR_KEYWORD, "TRUNCATE")


@pytest.mark.parametrize(("options", "mode"), [({}, "wal"), ({"wal": True}, "wal"), ({"wal": False}, "delete")])
def test_connect_sets_the_journal_and_foreign_keys(db, options, mode):
    """A real ``sqlite3.Connection`` to the file."""
    with closing(connect(db, **options)) as conn:
        assert isinstance(conn, sqlite3.Connection)
        assert pragma(conn, "journal_mode") == mode
        assert pragma(conn, "foreign_keys") == 1
    assert db.is_file()


@pytest.mark.parametrize("wal", [True, False])
def test_a_connection_in_memory(wal):
    """Journal in memory, synchronous NORMAL, foreign keys on, whatever ``wal`` says."""
    with closing(connect(MEMORY, wal=wal)) as conn:
        assert (pragma(conn, "journal_mode"), pragma(conn, "synchronous"), pragma(conn, "foreign_keys")) == (
            "memory",
            1,
            1,
        )


def test_foreign_keys_are_enforced(conn):
    """Not only switched on."""
    conn.execute("CREATE TABLE parent (id INTEGER PRIMARY KEY)")
    conn.execute("CREATE TABLE child (parent REFERENCES parent (id))")
    with pytest.raises(sqlite3.IntegrityError):
        conn.execute("INSERT INTO child VALUES (1)")


@pytest.mark.parametrize("path", ["file", "memory"])
def test_a_connection_is_bound_to_its_thread(db, path):
    """Another thread that uses it is told so."""
    caught = []

    def use(conn):
        try:
            conn.execute("SELECT 1")
        except sqlite3.ProgrammingError as error:
            caught.append(error)

    with closing(connect(db if path == "file" else MEMORY)) as conn:
        thread = threading.Thread(target=use, args=(conn,))
        thread.start()
        thread.join(10)
    assert len(caught) == 1


def test_init_schema_false_is_a_no_op(db):
    """On a new file, and on one that it would refuse."""
    with closing(connect(db)) as conn:
        init_schema(conn, store_task_status=False)
        assert conn.execute("SELECT COUNT(*) FROM sqlite_master").fetchone() == (0,)
        conn.execute("CREATE TABLE task_runs (of_another_program)")
        init_schema(conn, store_task_status=False)
        assert conn.execute("SELECT COUNT(*) FROM sqlite_master").fetchone() == (1,)


def test_init_schema_twice_keeps_the_rows(conn):
    """It may be called on every start."""
    conn.execute("INSERT INTO task_runs (id, name, status, progress) VALUES (1, 'a', 'queued', 0.5)")
    init_schema(conn, store_task_status=True)

    assert conn.execute("SELECT id, name, status, progress FROM task_runs").fetchall() == [(1, "a", "queued", 0.5)]


def test_init_schema_works_on_any_connection():
    """Also on one of the user's own."""
    with closing(sqlite3.connect(":memory:")) as conn:
        init_schema(conn, store_task_status=True)
        assert conn.execute("SELECT COUNT(*) FROM task_runs").fetchone() == (0,)


# --- task_runs ---


def test_task_runs_has_the_promised_columns(conn):
    """With their types, defaults and constraints; ours have defaults or may be NULL."""
    found = {name: (kind, strict, default, key) for _, name, kind, strict, default, key in conn.execute(
        "PRAGMA table_info(task_runs)"
    )}  # fmt: skip

    assert {name: found[name] for name in COLUMNS} == COLUMNS
    assert all(default is not None or not strict for name, (_, strict, default, _) in found.items()
               if name not in COLUMNS)  # fmt: skip


@pytest.mark.parametrize("status", ["queued", "running", "done", "error", "cancelled"])
def test_a_row_needs_only_id_name_status_and_progress(conn, status):
    """People insert such rows themselves, with every known status."""
    conn.execute("INSERT INTO task_runs (id, name, status, progress) VALUES (?, ?, ?, ?)", (1, "a", status, 0.5))
    conn.execute("INSERT INTO task_runs (id, name, status) VALUES (?, ?, ?)", (2, "b", status))

    found = conn.execute("SELECT status, progress, message, started_at, finished_at, result FROM task_runs")
    assert found.fetchall() == [(status, 0.5, None, None, None, None), (status, 0.0, None, None, None, None)]


def test_a_row_without_a_name_or_a_status_is_refused(conn):
    """NOT NULL means it; an id comes once."""
    for row in ((1, None, "done"), (1, "a", None)):
        with pytest.raises(sqlite3.IntegrityError):
            conn.execute("INSERT INTO task_runs (id, name, status) VALUES (?, ?, ?)", row)
    conn.execute("INSERT INTO task_runs (id, name, status) VALUES (1, 'a', 'done')")
    with pytest.raises(sqlite3.IntegrityError):
        conn.execute("INSERT INTO task_runs (id, name, status) VALUES (1, 'b', 'done')")


def test_a_table_made_by_the_described_system_is_taken_over(db, read, store):
    """Its eight columns and its rows stay what they were."""
    with closing(sqlite3.connect(db)) as conn:
        conn.execute(
            "CREATE TABLE task_runs (id INTEGER PRIMARY KEY, name TEXT NOT NULL, status TEXT NOT NULL, "
            "progress REAL NOT NULL DEFAULT 0.0, message TEXT, started_at TEXT, finished_at TEXT, result TEXT)"
        )
        conn.execute("INSERT INTO task_runs (id, name, status, progress) VALUES (5, 'old', 'done', 1.0)")
        conn.commit()
    store()

    assert read(db, "SELECT status, COUNT(*) FROM task_runs GROUP BY status") == [("done", 1)]
    assert read(db, "SELECT name, progress FROM task_runs WHERE id = 5") == [("old", 1.0)]


# --- checkpoints ---


@pytest.mark.parametrize("mode", ["PASSIVE", "FULL", "RESTART", "TRUNCATE"])
def test_a_checkpoint_moves_the_log_into_the_file(db, conn, mode):
    """In every mode: the file alone, without its log, has the row."""
    conn.execute("CREATE TABLE mine (n)")
    conn.execute("INSERT INTO mine VALUES (7)")
    assert wal_checkpoint(conn, mode) is None
    copy = db.with_name("copy.db")
    copy.write_bytes(db.read_bytes())

    with closing(sqlite3.connect(copy)) as other:
        assert other.execute("SELECT n FROM mine").fetchall() == [(7,)]


def test_the_default_mode_empties_the_log(db, conn):
    """TRUNCATE: the log is zero bytes long."""
    log = db.with_name(db.name + "-wal")
    assert log.stat().st_size > 0
    wal_checkpoint(conn)

    assert log.stat().st_size == 0


@pytest.mark.parametrize("begin", ["ours", "pythons"])
def test_a_checkpoint_commits_first(db, read, conn, begin):
    """Whether the transaction was begun in SQL or by Python's own module."""
    conn.execute("CREATE TABLE mine (n)")
    if begin == "ours":
        conn.execute("BEGIN")
    else:
        conn.isolation_level = "DEFERRED"
    conn.execute("INSERT INTO mine VALUES (7)")
    assert conn.in_transaction
    wal_checkpoint(conn, mode="TRUNCATE")

    assert not conn.in_transaction
    assert read(db, "SELECT n FROM mine") == [(7,)]


def test_a_checkpoint_without_a_log_is_harmless():
    """In memory there is nothing to move."""
    with closing(connect(MEMORY)) as conn:
        assert wal_checkpoint(conn) is None


def test_another_mode_is_refused(conn):
    """Rather than put into SQL."""
    with pytest.raises(ValueError, match="TRUNCATE"):
        wal_checkpoint(conn, "TRUNCATE); DROP TABLE task_runs; --")
