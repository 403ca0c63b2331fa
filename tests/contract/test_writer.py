"""``pipeloom.writer``; its bars are in ``test_writer_bars``."""

from __future__ import annotations

import inspect
import queue
import sqlite3
import threading
from contextlib import closing
from pathlib import Path

import pytest

from pipeloom import SENTINEL, Channel, MsgTaskFinished, MsgTaskProgress, MsgTaskStarted, MsgWriteRows, SQLiteWriter

AT = "2026-01-31T12:00:00+00:00"
LATER = "2026-01-31T12:00:09+00:00"
ROW = "SELECT name, status, progress, message, started_at, finished_at, result FROM task_runs"
LIFE = (
    MsgTaskStarted(1, "load", AT),
    MsgTaskProgress(1, 1, 4, "a quarter"),
    MsgTaskFinished(1, "done", LATER, "ok:load", "completed"),
)


@pytest.fixture(params=[queue.Queue, lambda: queue.Queue(2), Channel], ids=["Queue", "Queue(2)", "Channel"])
def source(request):
    """A user's queue, a user's small queue, our own channel."""
    return request.param()


def tables(read, db):
    """Return the names of everything in the file that SQLite did not make for itself."""
    return {name for (name,) in read(db, "SELECT name FROM sqlite_master") if not name.startswith("sqlite_")}


# --- the thread and its connection ---


def test_the_signature_is_the_promised_one():
    """A Thread; what is ours follows, keyword-only, with defaults."""
    parameters = list(inspect.signature(SQLiteWriter).parameters.values())
    promised = {"wal": True, "store_task_status": True, "task_progress": None, "task_bar_map": None}

    assert issubclass(SQLiteWriter, threading.Thread)
    assert [(p.name, p.kind) for p in parameters[:2]] == [
        ("db_path", inspect.Parameter.POSITIONAL_OR_KEYWORD),
        ("msg_q", inspect.Parameter.POSITIONAL_OR_KEYWORD),
    ]
    assert {p.name: p.default for p in parameters[2:6]} == promised
    assert all(p.kind is p.KEYWORD_ONLY and p.default is not p.empty for p in parameters[2:])


def test_the_one_connection_lives_in_the_writers_thread(db, opened, serve):
    """Opened, used and closed there; no other one can write."""
    with serve() as (writer, source):
        for message in LIFE:
            source.put(message)
        source.join()

    assert len([conn for conn in opened if not conn.read_only]) == 1
    (conn,) = opened
    assert (conn.opened_in, conn.closed_in) == (writer, writer)
    assert conn.used_in == {writer}
    assert Path(conn.database) == db


def test_a_database_in_memory_is_accepted(serve, tmp_path, monkeypatch):
    """Messages are taken, and no file appears."""
    monkeypatch.chdir(tmp_path)
    with serve(path=Path(":memory:")) as (_, source):
        for message in LIFE:
            source.put(message)
        source.join()

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("before", [None, "wal", "delete"])
@pytest.mark.parametrize(("wal", "mode"), [(True, "wal"), (False, "delete")])
def test_wal_chooses_the_journal(db, read, store, before, wal, mode):
    """Whatever the file had before; without a log there never is a -wal file."""
    if before:
        with closing(sqlite3.connect(db)) as conn:
            conn.execute(f"PRAGMA journal_mode = {before}")
            conn.execute("CREATE TABLE mine (n)")
    store(*LIFE, wal=wal)

    assert read(db, "PRAGMA journal_mode") == [(mode,)]
    assert read(db, "SELECT status FROM task_runs") == [("done",)]


def test_a_write_ahead_log_is_the_default(db, serve):
    """It is there while the writer runs."""
    with serve() as (_, source):
        source.put(LIFE[0])
        source.join()
        assert db.with_name(db.name + "-wal").exists()


# --- task_runs or not ---


def test_task_runs_is_there_although_nothing_was_said(db, read, store):
    """Created at once, empty."""
    store()

    assert read(db, "SELECT COUNT(*) FROM task_runs") == [(0,)]


def test_without_task_status_there_is_no_table_of_ours(db, read, store):
    """Messages are taken and lead nowhere; a user's rows are stored all the same."""
    writer = store(*LIFE, MsgWriteRows("mine", [{"n": 1}, {"n": 2}]), store_task_status=False)

    assert writer.failure is None
    assert tables(read, db) == {"mine"}
    assert read(db, "SELECT n FROM mine ORDER BY n") == [(1,), (2,)]


def test_without_task_status_a_users_task_runs_is_left_alone(db, read, store):
    """Even a table that is called like ours."""
    with closing(sqlite3.connect(db)) as conn:
        conn.execute("CREATE TABLE task_runs (whatever TEXT)")
        conn.execute("INSERT INTO task_runs VALUES ('mine')")
        conn.commit()
    store(*LIFE, store_task_status=False)

    assert read(db, "SELECT * FROM task_runs") == [("mine",)]
    assert tables(read, db) == {"task_runs"}


# --- the queue ---


def test_task_done_is_called_once_per_item_taken(db, store):
    """The sentinel included."""

    class Counting(queue.Queue):
        taken = done = 0

        def get(self, *args, **options):
            item = super().get(*args, **options)
            self.taken += 1
            return item

        def task_done(self):
            self.done += 1
            super().task_done()

    source = Counting()
    store(*LIFE, "a stranger", MsgTaskStarted("no number", "x", AT), source=source)

    assert source.taken == source.done == 6
    assert source.unfinished_tasks == 0


def test_join_on_the_queue_returns_once_all_is_stored(db, read, serve, source):
    """While the writer goes on, and again after its end."""
    with serve(source) as (writer, _):
        for message in LIFE:
            source.put(message)
        source.join()
        assert read(db, "SELECT status FROM task_runs") == [("done",)]
        assert writer.is_alive()
    source.join()


def test_what_follows_the_sentinel_is_not_taken(db, read):
    """It stays in the queue, unfinished; what came before is stored."""
    source = queue.Queue()
    for item in (*LIFE, SENTINEL, MsgTaskStarted(2, "late", AT), "later"):
        source.put(item)
    writer = SQLiteWriter(db, source)
    writer.start()
    writer.join(10)

    assert not writer.is_alive()
    assert [source.get_nowait(), source.get_nowait()] == [MsgTaskStarted(2, "late", AT), "later"]
    assert source.unfinished_tasks == 2
    assert read(db, "SELECT id FROM task_runs") == [(1,)]


def test_many_producers_share_a_small_queue(db, read, serve):
    """Nobody hangs, every task ends as it said."""
    source = queue.Queue(maxsize=2)

    def produce(first):
        for number in range(first, 200, 4):
            source.put(MsgTaskStarted(number, f"t{number}", AT))
            source.put(MsgTaskProgress(number, 1, 2))
            source.put(MsgTaskFinished(number, "done", LATER))

    with serve(source):
        producers = [threading.Thread(target=produce, args=(first,)) for first in range(4)]
        for producer in producers:
            producer.start()
        for producer in producers:
            producer.join(20)

    assert read(db, "SELECT status, COUNT(*), MIN(progress) FROM task_runs GROUP BY status") == [("done", 200, 1.0)]


# --- what the messages do ---


def test_started_inserts_a_running_row(db, read, store, source):
    """Progress 0, nothing else yet."""
    store(MsgTaskStarted(1, "load", AT), source=source)

    assert read(db, ROW) == [("load", "running", 0.0, None, AT, None, None)]


@pytest.mark.parametrize("status", ["done", "error", "cancelled"])
@pytest.mark.parametrize("together", [True, False], ids=["in one batch", "by a later writer"])
def test_started_resets_a_row_that_is_there(db, read, store, status, together):
    """Nothing of the former life is left in it."""
    former = (LIFE[0], LIFE[1], MsgTaskFinished(1, status, LATER, "old result", "old message"))
    again = MsgTaskStarted(1, "load again", LATER)
    if together:
        store(*former, again)
    else:
        store(*former)
        store(again)

    assert read(db, ROW) == [("load again", "running", 0.0, None, LATER, None, None)]


@pytest.mark.parametrize(("step", "total", "share"), [(0, 4, 0.0), (1, 4, 0.25), (4, 4, 1.0), (1, 3, 1 / 3)])
def test_progress_stores_the_fraction_and_the_message(db, read, store, source, step, total, share):
    """As step/total within 0..1; the row goes on running."""
    store(LIFE[0], MsgTaskProgress(1, step, total, "so far"), source=source)

    assert read(db, ROW) == [("load", "running", pytest.approx(share), "so far", AT, None, None)]


def test_progress_is_there_while_the_task_runs(db, read, serve):
    """Another connection sees it before the task ends."""
    with serve() as (_, source):
        source.put(LIFE[0])
        source.put(MsgTaskProgress(1, 1, 2, "half"))
        source.join()
        assert read(db, "SELECT status, progress, message FROM task_runs") == [("running", 0.5, "half")]


@pytest.mark.parametrize(("status", "share"), [("done", 1.0), ("error", 0.25), ("cancelled", 0.25)])
def test_finished_stores_status_time_result_and_message(db, read, store, source, status, share):
    """Progress is 1 when done, and stays where it was otherwise."""
    store(LIFE[0], LIFE[1], MsgTaskFinished(1, status, LATER, "r", "m"), source=source)

    assert read(db, ROW) == [("load", status, share, "m", AT, LATER, "r")]


@pytest.mark.parametrize(("status", "share"), [("done", 1.0), ("error", 0.25), ("cancelled", 0.25)])
def test_each_message_in_its_own_batch_comes_to_the_same(db, read, serve, status, share):
    """However the queue is emptied."""
    with serve() as (_, source):
        for message in (*LIFE[:2], MsgTaskFinished(1, status, LATER, "r", "m")):
            source.put(message)
            source.join()

    assert read(db, ROW) == [("load", status, share, "m", AT, LATER, "r")]


STRANGERS = {
    "text": "text",
    "None": None,
    "an int": 5,
    "an empty tuple": (),
    "a tuple of one": (1,),
    "a pair": ("task", "done"),
    "a pair with a message": ("task", LIFE[2]),
    "a dict": {"task_id": 1},
    "an object": object(),
    "an exception": Exception("no"),
    "a class": MsgTaskStarted,
}


@pytest.mark.parametrize("stranger", STRANGERS.values(), ids=STRANGERS)
def test_a_message_of_unknown_type_is_a_warning(db, read, store, caplog, stranger):
    """And the rest of the conversation is stored."""
    writer = store(LIFE[0], stranger, *LIFE[1:])

    assert writer.failure is None
    assert any(record.levelname == "WARNING" and record.name == "pipeloom" for record in caplog.records)
    assert read(db, "SELECT status FROM task_runs") == [("done",)]


# --- batches ---


def test_messages_that_wait_share_a_commit(db, opened):
    """A hundred messages and more to each."""
    source = queue.Queue()
    for number in range(5_000):
        source.put(MsgTaskStarted(number, "t", AT))
        source.put(MsgTaskProgress(number, 1, 2))
        source.put(MsgTaskFinished(number, "done", LATER))
    source.put(SENTINEL)
    writer = SQLiteWriter(db, source)
    writer.start()
    writer.join(30)

    assert not writer.is_alive()
    assert opened[0].count("COMMIT") < 150
    assert opened[0].count("INSERT INTO TASK_RUNS") < 500
