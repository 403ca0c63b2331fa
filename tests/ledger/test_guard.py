"""What users' SQL and handlers may not do: only the task that tries it fails, its neighbours in the batch stand."""

from __future__ import annotations

import logging
import queue
import re
import sqlite3
import threading
from contextlib import closing, suppress
from dataclasses import dataclass
from decimal import Decimal

import pytest

import pipeloom
from pipeloom import (
    SENTINEL,
    MsgExecute,
    MsgTaskFinished,
    MsgTaskProgress,
    MsgTaskStarted,
    MsgWriteRows,
    Retry,
    SQLiteWriter,
)

AT = "2026-01-01T00:00:00+00:00"


@dataclass(frozen=True)
class Mine:
    """A message of the user's own."""

    n: int


def prepared(db, *statements):
    """Make the user's own tables before the run."""
    with closing(sqlite3.connect(db)) as conn:
        for statement in statements:
            conn.execute(statement)
        conn.commit()


def neighbour(number):
    """Return a task that does nothing wrong."""
    return lambda ctx: ctx.write("mine", {"n": number})


def assert_only_culprit_failed(report, db, read, *, rows=((1,), (2,))):
    """Look at the report, the rows, the statuses and the file."""
    assert [failure.key for failure in report.failures] == ["culprit"]
    assert (report.failed, report.done) == (1, 3)
    assert read(db, "SELECT n FROM mine ORDER BY n") == list(rows)
    assert read(db, "SELECT key, status FROM task_runs ORDER BY key") == [
        ("a", "done"),
        ("culprit", "error"),
        ("the gate", "done"),
        ("z", "done"),
    ]
    assert read(db, "PRAGMA integrity_check") == [("ok",)]
    return report.failures[0].message


def spoil(one_batch, db, culprit, **options):
    """Run a culprit between two neighbours, in one batch with them."""
    options.setdefault("tables", {"mine": {"n": int}})
    return one_batch(db, {"a": neighbour(1), "culprit": culprit, "z": neighbour(2)}, **options)


# --- statements ---

DENIED = [
    "COMMIT",
    "END TRANSACTION",
    "ROLLBACK",
    "BEGIN",
    "/* harmless */ commit",
    "SAVEPOINT pipeloom_item",
    "RELEASE pipeloom_item",
    "ROLLBACK TO pipeloom_item",
    "ATTACH ':memory:' AS other",
    "DETACH main",
    "VACUUM",
    "VACUUM INTO '/tmp/stolen.db'",
    "PRAGMA journal_mode = delete",
    "PRAGMA synchronous = off",
    "PRAGMA query_only = on",
    "PRAGMA writable_schema = on",
    "PRAGMA user_version = 7",
    "SELECT * FROM pragma_journal_mode",
    "DROP TABLE task_runs",
    "DELETE FROM Task_Runs",
    "UPDATE task_runs SET status = 'done'",
    "INSERT INTO task_runs (id, name, status) VALUES (99, 'x', 'done')",
    "INSERT OR REPLACE INTO main.pipeloom_meta VALUES ('schema_version', 9)",
    "ALTER TABLE task_runs ADD COLUMN x",
    "ALTER TABLE mine RENAME TO pipeloom_mine",
    "CREATE TABLE pipeloom_mine (n)",
    "CREATE TEMP TABLE task_runs (id)",
    "CREATE TEMP VIEW task_runs AS SELECT 1",
    "CREATE VIEW pipeloom_view AS SELECT 1",
    "CREATE INDEX mine_status ON task_runs (name)",
    "DROP INDEX pipeloom_task_open",
    "CREATE TRIGGER mine AFTER UPDATE ON task_runs BEGIN SELECT RAISE(ABORT, 'no'); END",
    "CREATE TEMP TRIGGER mine AFTER UPDATE ON main.task_runs BEGIN SELECT RAISE(ABORT, 'no'); END",
    "WITH t AS (SELECT 1) DELETE FROM pipeloom_runs",
    "UPDATE sqlite_master SET sql = ''",
]


@pytest.mark.parametrize("sql", DENIED)
def test_a_statement_that_is_not_the_users_is_denied(db, read, one_batch, sql):
    """The transaction, the settings and the ledger are the writer's; what the culprit wrote before goes with it."""

    def culprit(ctx):
        ctx.write("mine", {"n": 99})
        ctx.execute(sql)

    report = spoil(one_batch, db, culprit)

    assert_only_culprit_failed(report, db, read)
    assert read(db, "SELECT COUNT(*) FROM sqlite_master WHERE name IN ('task_runs', 'pipeloom_mine')") == [(1,)]


def test_a_run_with_a_culprit_is_no_done_run(db, read, one_batch):
    """Also when the writer finds it in the last batch, after all workers have gone home."""
    report = spoil(one_batch, db, lambda ctx: ctx.execute("COMMIT"))

    assert report.status == "error"
    assert read(db, "SELECT status FROM pipeloom_runs") == [("error",)]


@pytest.mark.parametrize("sql", ["COMMIT", "INSERT INTO child VALUES (404)"], ids=["one by one", "each alone"])
def test_a_runs_row_counts_those_that_were_applied_again(db, read, one_batch, sql):
    """What people read with SQL is what the report says."""
    prepared(
        db,
        "CREATE TABLE parent (id INTEGER PRIMARY KEY)",
        "CREATE TABLE child (parent REFERENCES parent (id) DEFERRABLE INITIALLY DEFERRED)",
    )
    report = spoil(one_batch, db, lambda ctx: ctx.execute(sql))

    assert (report.done, report.failed) == (3, 1)
    assert read(db, "SELECT done, failed FROM pipeloom_runs") == [(3, 1)]


def test_the_denial_says_why(db, read, one_batch):
    """SQLite itself would only say "not authorized"."""
    messages = {}
    for number, sql in enumerate(["COMMIT", "ATTACH 'x' AS y", "PRAGMA cache_size = 1", "DELETE FROM task_runs"]):
        file = db.with_name(f"{number}.db")
        report = spoil(one_batch, file, lambda ctx, sql=sql: ctx.execute(sql))
        messages[sql] = assert_only_culprit_failed(report, file, read)

    assert "the writer controls the transaction" in messages["COMMIT"]
    assert "one run writes one file" in messages["ATTACH 'x' AS y"]
    assert "only the writer may change the connection's settings" in messages["PRAGMA cache_size = 1"]
    assert "task_runs belongs to the ledger" in messages["DELETE FROM task_runs"]


@pytest.mark.parametrize(
    "statements",
    [
        [
            "CREATE TABLE t (a)",
            "CREATE INDEX i ON t (a)",
            "INSERT INTO t VALUES (1)",
            "DROP INDEX i",
            "DROP TABLE t",
        ],
        ["CREATE TABLE t AS SELECT id, status FROM task_runs", "INSERT INTO t SELECT run_id, name FROM task_runs"],
        ["CREATE VIEW v AS SELECT * FROM pipeloom_failures", "DROP VIEW v"],
        ["CREATE TABLE t (id INTEGER PRIMARY KEY AUTOINCREMENT)", "INSERT INTO t DEFAULT VALUES", "DROP TABLE t"],
        ["CREATE TRIGGER g AFTER INSERT ON mine BEGIN DELETE FROM mine WHERE n < 0; END", "DROP TRIGGER g"],
        ["CREATE TEMP TABLE t (a)", "INSERT INTO t VALUES (1)", "DROP TABLE t"],
        ["ALTER TABLE mine ADD COLUMN extra", "UPDATE mine SET extra = 1", "ALTER TABLE mine DROP COLUMN extra"],
        ["CREATE VIRTUAL TABLE f USING fts5 (text)", "INSERT INTO f VALUES ('word')", "DROP TABLE f"],
        ["PRAGMA table_info(mine)", "SELECT * FROM pragma_index_list('mine')", "REINDEX mine"],
    ],
    ids=lambda statements: statements[0],
)
def test_what_is_the_users_is_allowed(db, read, statements):
    """Their own tables, indexes, views, triggers and searches; and to read everything."""

    def task(_item, ctx):
        for sql in statements:
            ctx.execute(sql)

    report = pipeloom.map(task, [1], db=db, tables={"mine": {"n": int}}, on_error="collect", progress=False)
    assert report.failures == ()


def test_a_temporary_table_cannot_stand_before_the_ledger(db, read, one_batch):
    """One that is renamed to ``task_runs`` would take every later row of it, and take them to its grave."""

    def culprit(ctx):
        ctx.execute("CREATE TEMP TABLE shadow AS SELECT * FROM task_runs")
        ctx.execute("CREATE UNIQUE INDEX temp.shadow_id ON shadow (id)")
        ctx.execute("ALTER TABLE shadow RENAME TO task_runs")

    assert "reserved for the ledger" in assert_only_culprit_failed(spoil(one_batch, db, culprit), db, read)


def test_a_trigger_of_the_users_cannot_write_to_the_ledger(db, read, one_batch):
    """The way round: the table is theirs, and what its trigger does is not."""
    prepared(
        db,
        "CREATE TABLE trap (n)",
        "CREATE TRIGGER snap AFTER INSERT ON trap BEGIN DELETE FROM task_runs; END",
    )
    report = spoil(one_batch, db, lambda ctx: ctx.write("trap", {"n": 1}))

    assert "belongs to the ledger" in assert_only_culprit_failed(report, db, read)
    assert read(db, "SELECT * FROM trap") == []


def test_a_search_index_that_is_out_of_step_is_no_damaged_disk(db, read, one_batch):
    """SQLite calls it malformed (SQLITE_CORRUPT_VTAB), and means a table of the user's, not the file."""
    prepared(
        db,
        "CREATE TABLE docs (id INTEGER PRIMARY KEY, text)",
        "CREATE VIRTUAL TABLE search USING fts5 (text, content='docs', content_rowid='id')",
        "INSERT INTO docs VALUES (1, 'never indexed')",
    )
    check = "INSERT INTO search (search, rank) VALUES ('integrity-check', 1)"
    report = spoil(one_batch, db, lambda ctx: ctx.execute(check))

    assert "malformed" in assert_only_culprit_failed(report, db, read)


@pytest.mark.parametrize(
    "sql",
    ["DELETE FROM mine", "DROP TABLE mine", "COMMIT", "PRAGMA query_only = OFF", "no sql", "SELECT * FROM nowhere"],
)
def test_a_query_only_reads(db, read, sql):
    """Only the task that asks for more fails; the writer goes on."""

    def task(number, ctx):
        ctx.write("mine", {"n": number})
        if number == 2:
            ctx.query(sql)

    report = pipeloom.map(
        task, [1, 2, 3], db=db, workers=1, tables={"mine": {"n": int}}, on_error="collect", progress=False
    )

    assert [failure.key for failure in report.failures] == [2]
    assert read(db, "SELECT n FROM mine ORDER BY n") == [(1,), (3,)]


# --- a transaction that is lost, or cannot be committed ---


def test_a_constraint_that_rolls_back_takes_nobody_along(db, read, one_batch):
    """``UNIQUE ON CONFLICT ROLLBACK`` ends the whole transaction, the neighbours' too: they are applied again."""
    prepared(db, "CREATE TABLE once (n UNIQUE ON CONFLICT ROLLBACK)", "INSERT INTO once VALUES (7)")
    report = spoil(one_batch, db, lambda ctx: ctx.write("once", [{"n": 6}, {"n": 7}]))

    assert "UNIQUE constraint failed: once.n" in assert_only_culprit_failed(report, db, read)
    assert read(db, "SELECT n FROM once") == [(7,)]


@pytest.mark.parametrize(
    "sql",
    ["INSERT OR ROLLBACK INTO once VALUES (7)", "INSERT INTO trap VALUES (1)", "UPDATE OR ROLLBACK once SET n = 7"],
)
def test_a_statement_that_rolls_back_takes_nobody_along(db, read, one_batch, sql):
    """In its own words, or by a trigger's ``RAISE(ROLLBACK)``."""
    prepared(
        db,
        "CREATE TABLE once (n UNIQUE)",
        "INSERT INTO once VALUES (6), (7)",
        "CREATE TABLE trap (n)",
        "CREATE TRIGGER snap BEFORE INSERT ON trap BEGIN SELECT RAISE(ROLLBACK, 'snap'); END",
    )

    def culprit(ctx):
        ctx.write("mine", {"n": 99})
        ctx.execute(sql)

    assert_only_culprit_failed(spoil(one_batch, db, culprit), db, read)
    assert read(db, "SELECT n FROM once ORDER BY n") == [(6,), (7,)]


def test_a_deferred_foreign_key_that_fails_at_commit_takes_nobody_along(db, read, one_batch):
    """Nothing is wrong until COMMIT, and then with the whole batch: each task gets a transaction of its own."""
    prepared(
        db,
        "CREATE TABLE parent (id INTEGER PRIMARY KEY)",
        "INSERT INTO parent VALUES (1)",
        "CREATE TABLE child (parent INTEGER REFERENCES parent (id) DEFERRABLE INITIALLY DEFERRED)",
    )

    def good(number):
        def task(ctx):
            ctx.write("mine", {"n": number})
            ctx.write("child", {"parent": 10 + number})  # before its parent: that is what deferring is for
            ctx.write("parent", {"id": 10 + number})

        return task

    tasks = {"a": good(1), "culprit": lambda ctx: ctx.write("child", {"parent": 404}), "z": good(2)}
    report = one_batch(db, tasks, tables={"mine": {"n": int}})

    assert "FOREIGN KEY constraint failed" in assert_only_culprit_failed(report, db, read)
    assert read(db, "SELECT parent FROM child ORDER BY 1") == [(11,), (12,)]
    assert read(db, "PRAGMA foreign_key_check") == []


def test_several_culprits_of_several_kinds_in_one_batch(db, read, one_batch):
    """Each fails for its own reason; the neighbours between them stand, in their order."""
    prepared(
        db,
        "CREATE TABLE once (n UNIQUE ON CONFLICT ROLLBACK)",
        "INSERT INTO once VALUES (7)",
        "CREATE TABLE child (parent REFERENCES once (n) DEFERRABLE INITIALLY DEFERRED)",
    )
    tasks = {
        "a": neighbour(1),
        "rolls back": lambda ctx: ctx.write("once", {"n": 7}),
        "b": neighbour(2),
        "fails at commit": lambda ctx: ctx.write("child", {"parent": 404}),
        "c": neighbour(3),
        "commits": lambda ctx: ctx.execute("COMMIT"),
        "surrogate": lambda ctx: ctx.write("mine", {"n": "\ud800"}),
        "d": neighbour(4),
    }
    report = one_batch(db, tasks, tables={"mine": {"n": int}})

    assert [failure.key for failure in report.failures] == ["rolls back", "fails at commit", "commits", "surrogate"]
    assert read(db, "SELECT n FROM mine ORDER BY rowid") == [(1,), (2,), (3,), (4,)]
    assert (report.done, report.failed) == (5, 4)


# --- handlers ---


def using_with(conn):
    with conn:
        conn.execute("INSERT INTO mine VALUES (99)")


def using_with_and_failing(conn):
    with conn:
        conn.execute("INSERT INTO mine VALUES (99)")
        raise KeyError("mine")


def losing_the_transaction(conn):
    conn.execute("INSERT INTO mine VALUES (99)")
    conn.execute("INSERT OR ROLLBACK INTO once VALUES (7)")


def raising(conn):
    conn.execute("INSERT INTO mine VALUES (99)")
    raise LookupError("a mistake in the handler")


@pytest.mark.parametrize(
    "deed",
    [
        using_with,
        using_with_and_failing,
        losing_the_transaction,
        raising,
        sqlite3.Connection.commit,
        sqlite3.Connection.rollback,
        lambda conn: conn.executescript("INSERT INTO mine VALUES (99)"),
        lambda conn: conn.execute("COMMIT"),
        lambda conn: conn.execute("UPDATE task_runs SET status = 'done'"),
        lambda conn: conn.execute("INSERT INTO mine VALUES (?)", (object(),)),
        lambda conn: conn.backup(conn),
    ],
    ids=[
        "with conn",
        "with conn, failing",
        "rolled back by SQLite",
        "raising",
        "commit()",
        "rollback()",
        "executescript",
        "COMMIT",
        "ledger",
        "unbindable",
        "backup",
    ],
)
def test_a_handler_may_not_either(db, read, one_batch, deed):
    """Messages of one type come together; the one that spoils it fails its own task, the others are handled."""
    prepared(db, "CREATE TABLE once (n UNIQUE)", "INSERT INTO once VALUES (7)")

    def handle(conn, messages):
        for message in messages:
            if message.n == 0:
                deed(conn)
            conn.execute("INSERT INTO mine VALUES (?)", (message.n,))

    tasks = {
        "a": lambda ctx: ctx.put(Mine(1)),
        "culprit": lambda ctx: ctx.put(Mine(0)),
        "z": lambda ctx: ctx.put(Mine(2)),
    }
    report = one_batch(db, tasks, tables={"mine": {"n": int}}, handlers={Mine: handle})

    assert "handle" in assert_only_culprit_failed(report, db, read)
    assert read(db, "SELECT kind, content FROM pipeloom_rejected") == [("Mine", "Mine(n=0)")]


def test_a_handler_that_swallows_the_denial_has_changed_nothing(db, read, one_batch):
    """The transaction goes on, and commits as a whole."""

    def handle(conn, messages):
        for message in messages:
            with suppress(sqlite3.Error):
                conn.commit()
            with suppress(sqlite3.Error):
                conn.rollback()
            conn.execute("INSERT INTO mine VALUES (?)", (message.n,))

    tasks = {str(n): lambda ctx, n=n: ctx.put(Mine(n)) for n in range(3)}
    report = one_batch(db, tasks, tables={"mine": {"n": int}}, handlers={Mine: handle})

    assert report.status == "done"
    assert read(db, "SELECT n FROM mine") == [(0,), (1,), (2,)]


def as_dict(cursor, row):
    """Return a row as a dict: the recipe in the documentation of ``sqlite3``."""
    return {column[0]: value for column, value in zip(cursor.description, row, strict=True)}


@pytest.mark.parametrize(
    ("attribute", "value"), [("row_factory", as_dict), ("row_factory", sqlite3.Row), ("text_factory", bytes)]
)
def test_a_handler_that_changes_the_connection_disturbs_nobody(db, read, attribute, value):
    """It likes its rows as dicts; the ledger and other tasks' queries do not hear of it."""
    asked = []

    def handle(conn, messages):
        setattr(conn, attribute, value)
        conn.execute("SELECT n FROM mine").fetchall()

    def task(number, ctx):
        ctx.put(Mine(number))
        ctx.write("mine", {"n": number})
        asked.append(ctx.query("SELECT 1, 'text'"))

    report = pipeloom.map(
        task, range(20), db=db, workers=2, tables={"mine": {"n": int}}, handlers={Mine: handle}, progress=False
    )

    assert report.done == 20
    assert read(db, "SELECT COUNT(*) FROM mine") == [(20,)]
    assert asked == [[(1, "text")]] * 20


def test_a_full_disk_in_a_handler_is_still_a_full_disk(db, read):
    """A rule of the writer: it stops the run with a StorageError, and is no bad message."""

    def handle(conn, messages):
        conn.executemany("INSERT INTO blobs VALUES (zeroblob(?))", [(message.n,) for message in messages])

    writer = SQLiteWriter(db, pipeloom.Channel(), handlers={Mine: handle})
    writer.start()
    writer.transact(lambda ledger: ledger.conn.execute("CREATE TABLE blobs (b)"))
    pages = writer.ask(lambda ledger: ledger.conn.execute("PRAGMA page_count").fetchone()[0])
    writer.ask(lambda ledger: ledger.conn.execute(f"PRAGMA max_page_count = {pages + 2}").fetchone())
    writer._source.put(Mine(1_000_000))
    with suppress(pipeloom.WriterBrokenError):
        writer._source.put(SENTINEL)
    writer.join(10)

    assert isinstance(writer.failure, pipeloom.StorageError)
    assert "disk is full" in str(writer.failure)
    assert read(db, "SELECT * FROM pipeloom_rejected") == []


# --- messages on a queue of the user's, in one batch ---


def write(db, *messages, **options):
    """Hand messages to a writer in one batch and let it end."""
    source = queue.Queue()
    for message in (*messages, SENTINEL):
        source.put(message)
    writer = SQLiteWriter(db, source, **options)
    writer.start()
    writer.join(30)
    assert not writer.is_alive()
    source.join()
    return writer


class Proxy:
    """Fails whatever is asked of it, even by isinstance, like a proxy of a web framework outside of a request."""

    def __getattribute__(self, name):
        raise RuntimeError("working outside of request context")


class CutOff:
    """Rows that can be read from the beginning, but not to the end."""

    def __iter__(self):
        yield {"n": 99}
        raise KeyError("column")


@pytest.mark.parametrize(
    "bad",
    [
        MsgExecute("COMMIT"),
        MsgExecute("INSERT OR ROLLBACK INTO once VALUES (7)"),
        MsgExecute("INSERT INTO child VALUES (404)"),
        MsgExecute("INSERT INTO mine VALUES (?)", [object()]),
        MsgExecute(None),
        MsgExecute("SELECT ?", {"wrong": 1}),
        MsgExecute("SELECT 1; SELECT 2"),
        MsgExecute("INSERT INTO mine VALUES (:n)", {"n": Proxy()}),
        MsgWriteRows("mine", CutOff()),
        MsgWriteRows("mine", [Proxy()]),
        MsgWriteRows("mine", {"n": Proxy()}),
        MsgWriteRows("mine", [(1,), (2, 3)], ["n"]),
        MsgWriteRows(None, {"n": 1}),
        MsgTaskProgress(1, 1, Decimal("NaN")),
        MsgTaskFinished(404, "done", AT, Proxy()),
        MsgTaskStarted(Proxy(), "name", AT),
    ],
    ids=lambda m: (
        f"{type(m).__name__}({', '.join(type(v).__name__ if v is not None else 'None' for v in vars(m).values())})"
    ),
)
def test_a_bad_message_is_not_a_broken_writer(db, read, bad):
    """Whatever it raises while it is read or applied: its neighbours stand, and it is kept with why."""
    prepared(
        db,
        "CREATE TABLE mine (n)",
        "CREATE TABLE once (n UNIQUE)",
        "INSERT INTO once VALUES (7)",
        "CREATE TABLE child (parent REFERENCES once (n) DEFERRABLE INITIALLY DEFERRED)",
    )
    writer = write(
        db,
        MsgTaskStarted(1, "a", AT),
        MsgWriteRows("mine", {"n": 1}),
        bad,
        MsgExecute("INSERT INTO mine VALUES (2)"),
        MsgTaskFinished(1, "done", AT),
    )

    assert writer.failure is None
    assert read(db, "SELECT n FROM mine") == [(1,), (2,)]
    assert read(db, "SELECT status FROM task_runs WHERE id = 1") == [("done",)]
    ((kind, error),) = read(db, "SELECT kind, error FROM pipeloom_rejected")
    assert kind == type(bad).__name__
    assert error


def test_rows_of_an_iterator_are_there_when_the_batch_is_applied_again(db, read):
    """It can be read only once, and the culprit behind it makes the writer begin anew."""
    prepared(db, "CREATE TABLE mine (n)")
    writer = write(db, MsgWriteRows("mine", ({"n": n} for n in range(3))), MsgExecute("COMMIT"))

    assert writer.failure is None
    assert read(db, "SELECT n FROM mine") == [(0,), (1,), (2,)]


def test_running_neighbours_of_many_culprits_stand(db, read):
    """Their rows are shown while the culprits are looked for; they end as if nothing had been."""

    def fn(item, ctx):
        ctx.write("t", {"n": item})
        if item % 5 == 2:
            ctx.execute("INSERT INTO nowhere VALUES (1)")
        for _ in range(3):  # the writer comes by while it runs
            ctx.query("SELECT 1")

    report = pipeloom.map(fn, range(200), db=db, workers=8, on_error="collect", name="n", tables={"t": {"n": int}})

    assert (report.done, report.failed) == (160, 40)
    assert {failure.key % 5 for failure in report.failures} == {2}
    assert read(db, "SELECT COUNT(*) FROM t") == [(160,)]


def test_a_handler_may_speak_to_another_file_that_fails(db):
    """That is its own trouble, not this file's."""

    def handler(conn, messages):
        with closing(sqlite3.connect("/dev/full")) as other:
            other.execute("CREATE TABLE t (n)")

    report = pipeloom.map(
        lambda item, ctx: ctx.put(Mine(1)) if item == 1 else None,
        range(3),
        db=db,
        name="n",
        handlers={Mine: handler},
        on_error="collect",
    )
    assert (report.done, report.failed) == (2, 1)


def test_a_name_of_the_ledgers_is_refused_after_a_rolled_back_change_too(db, read):
    """A rollback gives the schema its old number back, which the next change makes the same again."""

    def fn(item, ctx):
        if item == 0:
            ctx.execute("ALTER TABLE mine RENAME TO yours")
            ctx.execute("INSERT INTO nowhere VALUES (1)")
        else:
            ctx.execute("ALTER TABLE mine RENAME TO pipeloom_mine")

    with closing(sqlite3.connect(db)) as conn:
        conn.execute("CREATE TABLE mine (n)")
    report = pipeloom.map(fn, range(2), db=db, name="n", workers=1, on_error="collect", progress=False)

    assert report.failed == 2
    assert read(db, "SELECT name FROM sqlite_master WHERE name LIKE '%mine' OR name = 'yours'") == [("mine",)]


# --- our own statements, word for word ---


@dataclass(frozen=True)
class Replay:
    """A statement for a handler."""

    sql: str
    way: str


def replayed(conn, messages):
    """Run it in each of the ways that a handler has."""
    for message in messages:
        params = (None,) * message.sql.count("?")
        if message.way == "connection":
            conn.execute(message.sql, params)
        elif message.way == "cursor":
            conn.cursor().execute(message.sql, params)
        else:
            sqlite3.Cursor(conn).execute(message.sql, params)
        replayed.passed.append(message.sql)


@pytest.fixture
def recorded(monkeypatch):
    """What is prepared, word for word: Python finds it again by its text."""
    texts = []

    class Recording(sqlite3.Connection):
        def execute(self, sql, *params):
            texts.append(sql)
            return super().execute(sql, *params)

    connect = sqlite3.connect
    monkeypatch.setattr(sqlite3, "connect", lambda *a, **options: connect(*a, factory=Recording, **options))
    return texts


@pytest.mark.parametrize("way", ["execute", "query", "connection", "cursor", "a cursor of its own"])
def test_our_own_statements_do_not_let_users_through(db, recorded, way):
    """They lie in Python's statement cache, prepared while nothing was denied."""
    ended, replays = threading.Event(), []
    replayed.passed = passed = []

    def inputs():
        yield from range(40)
        ended.wait(30)
        replays.extend(dict.fromkeys(recorded))
        yield from (f"replay {place}" for place in range(len(replays)))

    def fn(item, ctx):
        if isinstance(item, str):
            sql = replays[int(item.split()[1])]
            params = (None,) * sql.count("?")
            if way == "execute":
                ctx.execute(sql, params)
            elif way == "query":
                ctx.query(sql, params)
                passed.append(sql)
            else:
                ctx.put(Replay(sql, way))
        elif item == 39:
            ctx.query("SELECT 1")
            ended.set()
        else:
            logging.getLogger("mine").warning("said")
            if ctx.attempt == 1 and item % 5 == 0:
                raise ValueError(item)
            ctx.write("mine", {"n": item})
            ctx.checkpoint({"n": item})
            if item == 7:
                ctx.put(MsgExecute("INSERT INTO nowhere VALUES (1)"))

    pipeloom.map(
        fn, inputs(), db=db, name="n", workers=1, retries=Retry(attempts=2, delay_s=0), on_error="collect",
        handlers={Replay: replayed},
    )  # fmt: skip

    if way == "execute":
        with closing(sqlite3.connect(db)) as conn:
            done = conn.execute(
                "SELECT key FROM task_runs WHERE status = 'done' AND key LIKE 'replay %'"
            ).fetchall()
        passed.extend(replays[int(key.split()[1])] for (key,) in done)
    assert sum("pipeloom_" in sql or "task_runs" in sql for sql in replays) > 15
    assert passed, "questions are allowed"
    harmless = re.compile(
        r"(/\*.*\*/ )?(SELECT |PRAGMA (table_x?info|index_list)|INSERT INTO \"mine\"|WITH RECURSIVE)"
    )
    assert [sql for sql in passed if not harmless.match(sql)] == []
