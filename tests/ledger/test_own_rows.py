"""``own_rows=``: rows know the task that wrote them, and go when it is done again."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest

import pipeloom
from pipeloom import SchemaError


def run(fn, items, db, **options):
    """Run quietly; what fails is reported."""
    return pipeloom.map(fn, items, db=db, **{"progress": False, "on_error": "collect", "own_rows": True, **options})


def sql(db, *statements):
    """Do something to the file by hand."""
    with closing(sqlite3.connect(db, isolation_level=None)) as conn:
        for statement in statements:
            conn.execute(statement)


def why(report):
    """Return what the only failure says."""
    (failure,) = report.failures
    return failure.message


@pytest.fixture
def owners(read):
    """Return (key, number of rows) of a table, by the tasks that its rows know."""
    return lambda db, table: read(
        db,
        f"SELECT t.key, COUNT(*) FROM {table} p LEFT JOIN task_runs t ON t.id = p._task_id GROUP BY 1 ORDER BY 1",
    )


def several(item, ctx):
    """Write rows of several shapes, one by one and many at once, into two tables."""
    for n in range(item):
        ctx.write("pages", {"n": n} if n % 2 else {"n": n, "text": "x", "more": 1.5})
    ctx.write("pages", [{"n": n, "last": n} for n in range(600)])
    ctx.write("names", {"name": str(item)})


# --- who has written what ---


def test_each_row_knows_the_task_that_wrote_it(db, read, owners, each_path):
    """On each way to the writer: the column is the last one, an integer, with an index of its own."""
    assert run(several, range(1, 6), db).failures == ()

    assert owners(db, "pages") == [(n, 600 + n) for n in range(1, 6)]
    assert owners(db, "names") == [(n, 1) for n in range(1, 6)]
    assert read(db, "SELECT DISTINCT typeof(_task_id) FROM pages") == [("integer",)]
    columns = read(db, "SELECT name, type FROM pragma_table_info('names')")
    assert columns == [("name", "TEXT"), ("_task_id", "INTEGER")]
    plan = read(db, "EXPLAIN QUERY PLAN DELETE FROM pages WHERE _task_id IN (1, 2, NULL)")
    assert "pages__task_id" in plan[0][3]


def test_tasks_that_come_in_one_batch_keep_their_rows_apart(db, owners, one_batch):
    """Rows of several tasks and shapes share statements."""

    def writes(count):
        def task(ctx):
            for n in range(count):
                ctx.write("t", {"n": n} if n % 2 else {"n": n, "m": 1})

        return task

    report = one_batch(db, {name: writes(n) for n, name in enumerate("abcdef", 1)}, own_rows=True)

    assert report.done == 7
    assert owners(db, "t") == [(name, n) for n, name in enumerate("abcdef", 1)]


def test_a_declared_table_has_the_column_before_any_task_writes(db, read):
    """Made with the table."""
    run(lambda n, ctx: None, [1], db, tables={"t": {"n": int}}, name="declared")

    assert read(db, "SELECT name FROM pragma_table_info('t')") == [("n",), ("_task_id",)]


def test_only_the_tables_that_are_named_have_the_column(db, read):
    """In capitals or not."""
    run(several, [1], db, own_rows=["PAGES"])

    assert "_task_id" in str(read(db, "SELECT sql FROM sqlite_master WHERE name = 'pages'"))
    assert read(db, "SELECT name FROM pragma_table_info('names')") == [("name",)]
    assert read(db, "SELECT own_rows FROM pipeloom_runs") == [('["pages"]',)]


def test_without_own_rows_nothing_is_added(db, read):
    """Neither column, index, mark nor word on the run."""
    run(several, [1], db, own_rows=None)

    assert read(db, "SELECT name FROM pragma_table_info('names')") == [("name",)]
    assert read(db, "SELECT own_rows FROM pipeloom_runs") == [(None,)]
    assert read(db, "SELECT key FROM pipeloom_meta WHERE key LIKE 'own%' OR key = 'versions'") == []


def test_rows_of_nobody_stay_nobodys(db, read):
    """What is put or executed has no owner, and stays when the task is done again."""

    def task(n, ctx):
        ctx.write("t", {"n": n})
        ctx.put(pipeloom.MsgWriteRows("t", [{"n": 100 + n}]))
        ctx.execute("INSERT INTO t (n) VALUES (?)", (200 + n,))

    assert run(task, [1], db).failures == ()
    assert read(db, "SELECT n, _task_id FROM t ORDER BY n") == [(1, 1), (101, None), (201, None)]

    assert run(task, [1], db, resume=False).failures == ()
    assert read(db, "SELECT n, COUNT(*) FROM t GROUP BY n") == [(1, 1), (101, 2), (201, 2)]


@pytest.mark.parametrize(
    "table",
    [
        "CREATE TABLE t (n INTEGER)",
        "CREATE TABLE t (n INTEGER, m AS (n * 2))",
        "CREATE TABLE t (n INTEGER PRIMARY KEY) WITHOUT ROWID",
        pytest.param(
            "CREATE TABLE t (n INTEGER) STRICT",
            marks=pytest.mark.skipif(sqlite3.sqlite_version_info < (3, 37), reason="STRICT came with SQLite 3.37"),
        ),
    ],
)
def test_a_table_that_is_there_gets_the_column(db, read, table):
    """Its own rows are nobody's, and the index does not hold them."""
    sql(db, table, "INSERT INTO t (n) VALUES (1), (2)")

    assert run(lambda n, ctx: ctx.write("t", {"n": n}), [7, 8], db, name="n").failures == ()

    assert read(db, "SELECT n, _task_id FROM t ORDER BY n") == [(1, None), (2, None), (7, 1), (8, 2)]
    assert run(lambda n, ctx: ctx.write("t", {"n": n}), [7, 8], db, name="n", resume=False).failures == ()
    assert read(db, "SELECT n, _task_id FROM t ORDER BY n") == [(1, None), (2, None), (7, 1), (8, 2)]


@pytest.mark.parametrize("declared", [False, True])
@pytest.mark.parametrize("kind", ["TEXT", "INTEGER", "INTEGER PRIMARY KEY"])
def test_a_column_of_the_users_own_is_left_alone(db, read, kind, declared):
    """Also one of the same type: it says something else. Who names the table hears of it before any task runs."""
    sql(db, f"CREATE TABLE t (n INTEGER, _Task_Id {kind})", "INSERT INTO t VALUES (1, 5)")

    if declared:
        with pytest.raises(SchemaError, match="has a column _task_id that own_rows= did not create"):
            run(lambda n, ctx: ctx.write("t", {"n": n}), [7], db, own_rows=["t"])
    else:
        assert "has a column _task_id that own_rows= did not create" in why(
            run(lambda n, ctx: ctx.write("t", {"n": n}), [7], db)
        )

    assert len(read(db, "SELECT * FROM t")) == 1


@pytest.mark.parametrize(
    ("made", "kind"),
    [
        (["CREATE TABLE base (n)", "CREATE VIEW t AS SELECT n FROM base",
          "CREATE TRIGGER i INSTEAD OF INSERT ON t BEGIN INSERT INTO base VALUES (NEW.n); END"], "a view"),
        (["CREATE VIRTUAL TABLE t USING fts5(n)"], "a virtual table"),
    ],
)  # fmt: skip
def test_what_cannot_have_the_column_is_told(db, read, made, kind):
    """Only the task that writes there fails; naming other tables lets it be written to."""
    sql(db, *made)

    assert f"t is {kind}, whose rows cannot store their task" in why(
        run(lambda n, ctx: ctx.write("t", {"n": "x"}), [1], db, name="w")
    )
    assert run(lambda n, ctx: ctx.write("t", {"n": "x"}), [1], db, name="w", own_rows=["other"]).failures == ()
    assert read(db, "SELECT n FROM t") == [("x",)]


def test_nobody_else_fills_the_column(db):
    """Neither rows nor declarations."""
    assert "own_rows= fills in the column _task_id" in why(
        run(lambda n, ctx: ctx.write("t", {"n": n, "_TASK_ID": 5}), [1], db)
    )
    with pytest.raises(SchemaError, match="take it out of tables="):
        run(several, [1], db, tables={"t": {"_task_id": int}})


def test_update_moves_a_row_to_the_task_that_wrote_last_and_ignore_leaves_it(db, read):
    """And when that is done again, the row goes with it."""

    def task(item, ctx):
        name, way = item
        ctx.write("t", {"k": 1, "who": name}, on_conflict=way, conflict_on=["k"])

    items = [("a", "ignore"), ("b", "ignore"), ("c", "update")]
    for item in items:
        assert run(task, [item], db, key=lambda item: item[0], name="k").failures == ()
    assert read(db, "SELECT who, key FROM t JOIN task_runs r ON r.id = _task_id") == [("c", "c")]

    def silent(item, ctx):
        pass

    assert run(silent, [items[0]], db, key=lambda item: item[0], name="k", resume=False).failures == ()
    assert read(db, "SELECT who FROM t") == [("c",)]
    assert run(silent, [items[2]], db, key=lambda item: item[0], name="k", resume=False).failures == ()
    assert read(db, "SELECT who FROM t") == []


def test_a_table_that_was_dropped_or_lost_the_column_gets_it_again(db, owners):
    """The mark on file may be older than the table."""
    assert run(several, [1], db).failures == ()
    sql(db, "DROP TABLE names", "DROP INDEX pages__task_id", "ALTER TABLE pages DROP COLUMN _task_id")
    assert run(several, [2], db).failures == ()
    assert owners(db, "names") == [(2, 1)]
    assert owners(db, "pages") == [(None, 601), (2, 602)]


def test_the_name_of_the_index_may_be_taken(db, read):
    """By an index on another table."""
    sql(db, "CREATE TABLE other (n)", "CREATE INDEX pages__task_id ON other (n)")
    assert run(several, [1], db).failures == ()
    assert (
        "USING INDEX pages__task_id_" in read(db, "EXPLAIN QUERY PLAN DELETE FROM pages WHERE _task_id = 1")[0][3]
    )


# --- done again ---


def test_what_is_done_again_replaces_its_rows_in_all_tables(db, owners, each_path):
    """Others' stay; one that writes nothing any more leaves nothing."""
    assert run(several, range(1, 6), db, name="s").failures == ()

    def other(item, ctx):
        if item != 4:
            ctx.write("pages", [{"n": n, "last": item} for n in range(3)])

    assert run(other, [3, 4, 5], db, name="s", resume=False).failures == ()

    assert owners(db, "pages") == [(1, 601), (2, 602), (3, 3), (5, 3)]
    assert owners(db, "names") == [(1, 1), (2, 1)]


def test_a_try_that_fails_leaves_the_old_rows_until_one_is_done(db, read, owners):
    """Its task is in error meanwhile, and the next call does it again without being told."""

    def fails(item, ctx):
        ctx.write("pages", {"n": -1})
        raise ValueError

    assert run(several, [1], db, name="s").failures == ()
    assert run(fails, [1], db, name="s", resume=False, retries=pipeloom.Retry(attempts=2, delay_s=0)).failed == 1
    assert owners(db, "pages") == [(1, 601)]
    assert read(db, "SELECT status FROM task_runs") == [("error",)]

    assert run(lambda item, ctx: ctx.write("pages", {"n": 5}), [1], db, name="s").failures == ()
    assert read(db, "SELECT n FROM pages") == [(5,)]
    assert read(db, "SELECT * FROM names") == []


def test_a_try_that_is_done_at_last_replaces_the_rows_once(db, read):
    """A retry of one that began anew begins anew, too."""
    assert run(lambda item, ctx: ctx.write("t", {"n": 1}), [1], db, name="t").failures == ()
    states = []

    def second(item, ctx):
        states.append(ctx.state)
        ctx.write("t", {"n": 2})
        if ctx.attempt < 3:
            raise ValueError

    assert (
        run(second, [1], db, name="t", resume=False, retries=pipeloom.Retry(attempts=3, delay_s=0)).failures == ()
    )
    assert read(db, "SELECT n FROM t") == [(2,)]
    assert states == [None] * 3


def test_a_checkpoint_of_a_new_try_replaces_the_rows_and_what_goes_on_from_there_keeps_them(db, read):
    """In one run and in the next."""
    assert run(lambda item, ctx: ctx.write("t", [{"n": 1}] * 5), [1], db, name="t").failures == ()
    seen = []

    def staged(stop):
        def task(item, ctx):
            for step in range(ctx.state or 0, 4):
                seen.append(step)
                ctx.write("t", {"n": 20 + step})
                ctx.checkpoint(step + 1)
                if step == stop or (step == 0 and ctx.attempt == 1 and stop is not None):
                    raise ValueError
            ctx.write("t", {"n": 30})

        return task

    retries = pipeloom.Retry(attempts=2, delay_s=0)
    assert run(staged(2), [1], db, name="t", resume=False, retries=retries).failed == 1
    assert read(db, "SELECT n FROM t ORDER BY n") == [(20,), (21,), (22,)]
    assert run(staged(None), [1], db, name="t").failures == ()
    assert read(db, "SELECT n FROM t ORDER BY n") == [(20,), (21,), (22,), (23,), (30,)]
    assert seen == [0, 1, 2, 3]
    assert read(db, "SELECT * FROM pipeloom_state") == []


def test_a_task_with_a_checkpoint_may_be_begun_anew(db, read):
    """Its state is dropped with its rows, and not before: until then the next call goes on from there."""
    states = []

    def fails(at):
        def task(item, ctx):
            states.append(ctx.state)
            if at == "end":
                ctx.write("t", {"n": 1})
                ctx.checkpoint("old")
            if at != "never":
                raise ValueError
            ctx.write("t", {"n": 2})

        return task

    assert run(fails("end"), [1], db, name="t").failed == 1
    assert run(fails("begin"), [1], db, name="t", resume=False).failed == 1
    assert read(db, "SELECT n FROM t") == [(1,)]
    assert run(fails("begin"), [1], db, name="t").failed == 1
    assert run(fails("never"), [1], db, name="t", resume=False).failures == ()
    assert read(db, "SELECT n FROM t") == [(2,)]
    assert states == [None, None, "old", None]
    assert read(db, "SELECT * FROM pipeloom_state") == []


def test_without_own_rows_a_task_with_a_checkpoint_is_refused(db):
    """As before."""

    def task(item, ctx):
        ctx.write("t", {"n": 1})
        ctx.checkpoint(1)
        raise ValueError

    run(task, [1], db, own_rows=None, name="t")
    assert "has a checkpoint, and resume=False would store its rows twice" in why(
        run(task, [1], db, own_rows=None, name="t", resume=False)
    )


@pytest.mark.parametrize("refers", ["REFERENCES parents", "REFERENCES parents DEFERRABLE INITIALLY DEFERRED"])
def test_rows_that_are_referred_to_may_come_back_in_the_same_commit(db, read, refers):
    """Those of another task refer to them; without them they cannot go, and only that task fails."""
    sql(db, "CREATE TABLE parents (id INTEGER PRIMARY KEY)", f"CREATE TABLE children (of INTEGER {refers})")

    def task(item, ctx):
        table, ids = item
        ctx.write(table, [{"id" if table == "parents" else "of": n} for n in ids])

    def again(items):
        return run(task, items, db, key=lambda item: item[0] + str(item[1][0]), name="f", resume=False)

    assert again([("parents", [1, 2])]).failures == ()
    assert again([("children", [1, 1])]).failures == ()
    assert again([("parents", [1, 3])]).failures == ()
    assert read(db, "SELECT id FROM parents") == [(1,), (3,)]

    sql(db, "PRAGMA foreign_keys = ON", "INSERT INTO children (of) VALUES (3)")
    report = again([("parents", [1, 4]), ("children", [1, 1, 1]), ("parents", [50])])
    assert report.done == 2
    assert "FOREIGN KEY" in why(report)
    assert read(db, "SELECT id FROM parents") == [(1,), (3,), (50,)]
    assert read(db, "SELECT COUNT(*) FROM children") == [(4,)]


@pytest.mark.parametrize("what", ["ABORT", "FAIL", "ROLLBACK"])
def test_a_trigger_that_keeps_old_rows_fails_only_their_task(db, read, one_batch, what):
    """They stay, and what the task wrote now is not stored."""

    def write(n):
        return lambda ctx: ctx.write("t", {"n": n})

    assert one_batch(db, {"a": write(1), "b": write(2), "c": write(3)}, own_rows=True, name="t").failures == ()
    sql(
        db,
        "CREATE TRIGGER keep BEFORE DELETE ON t WHEN OLD.n = 2 "
        f"BEGIN SELECT RAISE({what}, 'two is kept'); END",
    )  # fmt: skip

    report = one_batch(db, {"a": write(11), "b": write(12), "c": write(13)}, own_rows=True, resume=False, name="t")

    assert report.done == 3
    assert "two is kept" in why(report)
    assert read(db, "SELECT n FROM t ORDER BY n") == [(2,), (11,), (13,)]
    assert read(db, "SELECT key FROM task_runs WHERE status = 'error'") == [("b",)]


def test_a_trigger_cannot_reach_the_ledger_when_rows_go(db, read):
    """As when they come."""
    assert run(several, [1], db, name="s").failures == ()
    sql(db, "CREATE TRIGGER evil AFTER DELETE ON names BEGIN DELETE FROM task_runs; END")
    assert "belongs to the ledger" in why(run(several, [1], db, name="s", resume=False))
    assert read(db, "SELECT COUNT(*) FROM names") == [(1,)]


def test_a_redo_beside_one_that_spoils_the_batch_is_applied_once_more_the_same(db, read, one_batch):
    """What was noted of the first time is taken back with it."""

    def write(n):
        return lambda ctx: ctx.write("t", {"n": n}, on_conflict="error")

    sql(db, "CREATE TABLE t (n INTEGER UNIQUE)")
    assert one_batch(db, {"a": write(1), "b": write(2), "c": write(3)}, own_rows=True, name="t").failures == ()
    report = one_batch(db, {"a": write(11), "b": write(11), "c": write(13)}, own_rows=True, resume=False, name="t")
    assert report.failed == 1
    assert read(db, "SELECT n FROM t ORDER BY n") == [(2,), (11,), (13,)]


# --- rows of before ---


@pytest.mark.parametrize(
    ("before", "now", "refused"),
    [(None, True, True), (["pages"], True, True), (["pages"], ["pages", "names"], True), (True, ["pages"], False),
     (["pages", "names"], ["pages"], False), (True, True, False), (None, None, False)],
)  # fmt: skip
def test_rows_that_do_not_know_their_task_are_not_doubled(db, read, before, now, refused):
    """The input fails by itself, and says what to do; those that wrote nothing are done again."""

    def task(item, ctx):
        if item != "silent":
            ctx.write("pages", {"item": item})
        return item

    assert run(task, ["a", "silent"], db, own_rows=before, name="t").failures == ()
    report = run(task, ["a", "silent", "new"], db, own_rows=now, name="t", resume=False)

    assert report.failed == refused
    if refused:
        assert "'a' was stored without version= or own_rows=, so its rows cannot be replaced: pass" in why(report)
        assert f"run: pipeloom forget 1 --db {db}" in why(report)
        assert read(db, "SELECT item FROM pages ORDER BY 1") == [("a",), ("new",)]
        assert read(db, "SELECT status FROM task_runs WHERE key = 'a'") == [("done",)]


def test_rows_of_an_earlier_try_count_as_well(db):
    """A checkpoint without own_rows, a try under it: none of its rows can be taken back by a third."""

    def task(item, ctx):
        ctx.write("t", {"n": 1})
        ctx.checkpoint(1)
        if ctx.attempt == 1 and item == "fails":
            raise ValueError

    run(task, ["fails"], db, own_rows=None, name="t")
    assert run(lambda item, ctx: ctx.write("t", {"n": 2}), ["fails"], db, name="t").failures == ()
    assert "cannot be replaced" in why(run(task, ["fails"], db, name="t", resume=False))
