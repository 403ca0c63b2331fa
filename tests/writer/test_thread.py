"""The writer by itself: batches, refusals, its death."""

from __future__ import annotations

import os
import queue
import sqlite3
import threading
from contextlib import closing

import pytest

import pipeloom
from pipeloom import (
    SENTINEL,
    Channel,
    MsgExecute,
    MsgTaskFinished,
    MsgTaskProgress,
    MsgTaskStarted,
    MsgWriteRows,
    SQLiteWriter,
    StorageError,
    WriterBrokenError,
)

AT = "2026-01-01T00:00:00+00:00"


@pytest.fixture(params=[queue.Queue, Channel], ids=["queue.Queue", "Channel"])
def source(request):
    """Each kind of queue that a writer serves."""
    return request.param()


def write(db, source, *messages, **options):
    """Hand messages to a writer in one batch and let it end."""
    writer = SQLiteWriter(db, source, **options)
    for message in messages:
        source.put(message)
    source.put(SENTINEL)
    writer.start()
    writer.join(30)
    assert not writer.is_alive()
    return writer


def test_a_whole_life_in_one_batch(db, read, source):
    """Started, progress and finished of many tasks become their final rows; join() returns."""
    messages = []
    for number in range(1, 200):
        messages += [MsgTaskStarted(number, f"t{number}", AT), MsgTaskProgress(number, 1, 2, "half")]
        if number % 2:
            messages.append(MsgTaskFinished(number, "done", AT, "ok", "fine"))
    write(db, source, *messages)
    source.join()

    assert read(db, "SELECT status, progress, message, result, COUNT(*) FROM task_runs GROUP BY 1 ORDER BY 1") == [
        ("done", 1.0, "fine", "ok", 100),
        ("running", 0.5, "half", None, 99),
    ]


def test_the_first_finish_wins_and_late_progress_is_refused(db, read, source):
    """In one batch as over two."""
    write(
        db, source,
        MsgTaskStarted(1, "a", AT), MsgTaskFinished(1, "error", AT, None, "first"),
        MsgTaskFinished(1, "done", AT, "x", "second"), MsgTaskProgress(1, 9, 9, "late"),
    )  # fmt: skip
    write(db, source, MsgTaskFinished(1, "done", AT, "x", "third"), MsgTaskProgress(1, 9, 9, "late"))

    assert read(db, "SELECT status, message, progress FROM task_runs") == [("error", "first", 0.0)]


def test_a_new_start_resets_the_row_and_keeps_the_past(db, read, source):
    """No stale finished_at; the former attempt is in the archive."""
    write(db, source, MsgTaskStarted(1, "a", AT), MsgTaskFinished(1, "done", AT, "r", "m"))
    write(db, source, MsgTaskStarted(1, "b", AT))

    assert read(db, "SELECT name, status, progress, finished_at, result FROM task_runs") == [
        ("b", "running", 0.0, None, None)
    ]
    assert read(db, "SELECT name, status, result FROM pipeloom_attempts") == [("a", "done", "r")]


@pytest.mark.parametrize(
    "bad",
    [
        MsgTaskStarted("seven", "name", AT),
        MsgTaskStarted(7, None, AT),
        MsgTaskStarted(2**70, "name", AT),
        MsgTaskStarted(7, "\ud800", AT),
        MsgTaskProgress(1, "x", 2),
        MsgTaskFinished(7, "perhaps", AT),
        MsgTaskFinished(7, "done", AT, {1, object()}),
        MsgWriteRows("t", [{"n": 2**70}]),
        MsgWriteRows("task_runs", [{"id": 1}]),
        MsgExecute("DROP TABLE task_runs"),
        MsgExecute("COMMIT"),
        MsgExecute("no sql at all"),
    ],
    ids=lambda m: f"{type(m).__name__}-{str(next(iter(vars(m).values())))[:12]}",
)
def test_one_bad_message_spoils_nothing_else(db, read, source, bad, caplog):
    """Its neighbours in the batch stand; it is kept with why."""
    neighbours = [MsgTaskStarted(1, "a", AT), MsgTaskStarted(2, "b", AT), MsgWriteRows("t", [{"n": 1}])]
    writer = write(
        db, source, *neighbours, bad, MsgTaskFinished(1, "done", AT), MsgWriteRows("t", [{"n": 2}]),
        MsgTaskFinished(2, "done", AT),
    )  # fmt: skip

    assert writer.failure is None
    assert read(db, "SELECT id, status FROM task_runs WHERE id < 3 ORDER BY id") == [(1, "done"), (2, "done")]
    assert read(db, "SELECT n FROM t") == [(1,), (2,)]
    ((kind, error),) = read(db, "SELECT kind, error FROM pipeloom_rejected")
    assert kind == type(bad).__name__
    assert error
    assert "refused" in caplog.text


def test_a_result_that_cannot_be_stored_makes_the_task_an_error(db, read, source):
    """Rather than leave it running for ever."""
    write(db, source, MsgTaskStarted(1, "a", AT), MsgTaskFinished(1, "done", AT, object()))

    ((status, message),) = read(db, "SELECT status, message FROM task_runs")
    assert status == "error"
    assert "result" in message


def test_a_dict_result_is_stored_as_json(db, read, source):
    """Text stays as it is."""
    write(
        db, source, MsgTaskStarted(1, "a", AT), MsgTaskFinished(1, "done", AT, {"a": [1]}),
        MsgTaskStarted(2, "b", AT), MsgTaskFinished(2, "done", AT, "plain"),
    )  # fmt: skip

    assert read(db, "SELECT result FROM task_runs ORDER BY id") == [('{"a":[1]}',), ("plain",)]


def test_a_finish_without_a_start_is_kept(db, read, source):
    """Nothing that was said is lost."""
    write(db, source, MsgTaskFinished(5, "done", AT, "r", "m"))

    assert read(db, "SELECT id, status, progress, result FROM task_runs") == [(5, "done", 1.0, "r")]


def test_what_follows_the_sentinel_is_left_in_the_queue(db):
    """It belongs to whoever reads the queue next."""
    source = queue.Queue()
    for item in ("before", SENTINEL, "after", "after that"):
        source.put(item)
    writer = SQLiteWriter(db, source)
    writer.start()
    writer.join(10)

    assert [source.get_nowait(), source.get_nowait()] == ["after", "after that"]
    assert source.unfinished_tasks == 2


def test_start_raises_why_it_cannot(tmp_path, source):
    """The thread is gone, and the sentence says what to do."""
    with pytest.raises(StorageError, match="does not exist"):
        SQLiteWriter(tmp_path / "no" / "x.db", source).start()


def test_a_dead_writer_wakes_everybody(db):
    """24 producers blocked on a full channel raise within moments; later puts raise at once."""
    channel = Channel(4)
    writer = SQLiteWriter(db, channel)
    writer.start()
    woken = []
    hold, held = threading.Event(), threading.Event()

    def produce(number):
        try:
            for _ in range(1000):
                channel.put(MsgTaskProgress(number, 1, 2))
        except WriterBrokenError as error:
            woken.append(error)

    def die(_ledger):
        held.set()
        hold.wait(10)
        raise sqlite3.OperationalError("broken on purpose")

    request = writer.request(die)
    assert held.wait(10)
    producers = [threading.Thread(target=produce, args=(n,)) for n in range(24)]
    for producer in producers:
        producer.start()
    writer._ledger.apply = die_at_once  # the next batch finds the disk gone
    hold.set()
    with pytest.raises(sqlite3.OperationalError, match="on purpose"):
        request.result()
    for producer in producers:
        producer.join(5)
    writer.join(5)

    assert len(woken) == 24
    assert isinstance(writer.failure, StorageError)
    assert "disk" in str(woken[0].__cause__)
    with pytest.raises(WriterBrokenError):
        channel.put("late")
    with pytest.raises(WriterBrokenError):
        writer.ask(lambda _: None)


def die_at_once(_items, **_options):
    error = sqlite3.OperationalError("disk I/O error")
    error.sqlite_errorcode, error.sqlite_errorname = sqlite3.SQLITE_IOERR, "SQLITE_IOERR"
    raise error


def test_a_dead_writer_keeps_a_plain_queue_moving(db):
    """Producers of a user's own bounded queue never hang."""
    source = queue.Queue(2)
    writer = SQLiteWriter(db, source)
    writer.start()
    writer._ledger.apply = die_at_once
    for number in range(100):
        source.put(MsgTaskStarted(number, "x", AT), timeout=10)
    source.put(SENTINEL, timeout=10)
    source.join()
    writer.join(10)

    assert isinstance(writer.failure, StorageError)


def test_a_file_that_is_replaced_is_noticed(db):
    """Within two seconds, rather than written to a file that nobody can find."""
    channel = Channel()
    writer = SQLiteWriter(db, channel)
    writer.start()
    channel.put(MsgTaskStarted(1, "a", AT))
    writer.flush()
    os.rename(db, db.with_name("moved.db"))
    db.write_bytes(b"")
    writer.join(5)

    assert isinstance(writer.failure, StorageError)
    assert "replaced or removed" in str(writer.failure)
    assert db.read_bytes() == b""


def test_another_processs_lock_is_waited_for(db, read, caplog):
    """Visibly, and nothing is lost."""
    channel = Channel()
    writer = SQLiteWriter(db, channel)
    writer.start()
    with closing(sqlite3.connect(db, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        channel.put(MsgTaskStarted(1, "a", AT))
        while "locked by another process" not in caplog.text:
            assert writer.is_alive()
            threading.Event().wait(0.05)
        other.execute("COMMIT")
    channel.put(SENTINEL)
    writer.join(10)

    assert read(db, "SELECT id FROM task_runs") == [(1,)]


def test_at_the_end_the_log_is_empty_and_statistics_are_there(db, read, source):
    """TRUNCATE checkpoint; ANALYZE of the tables that were written, of no others."""
    with closing(sqlite3.connect(db)) as conn:
        conn.executescript(
            "CREATE TABLE other (a); CREATE INDEX other_a ON other (a); INSERT INTO other VALUES (1)"
        )
    write(db, source, MsgTaskStarted(1, "a", AT), MsgExecute("CREATE TABLE u (a)"), MsgWriteRows("u", {"a": 1}))

    assert not db.with_name(db.name + "-wal").exists()
    assert {table for (table,) in read(db, "SELECT tbl FROM sqlite_stat1")} == {"task_runs", "u"}


def test_few_large_rows_do_not_make_a_log_without_end(db):
    """300 rows of 1 MiB: the log is moved into the file as it grows, not only by the number of rows."""
    largest = []

    def fn(item, ctx):
        ctx.write("t", {"n": item, "body": b"x" * 2**20})
        largest.append(db.with_name(db.name + "-wal").stat().st_size)

    assert pipeloom.map(fn, range(300), db=db, workers=2, name="n", durability="off").done == 300
    assert max(largest) < 150 * 2**20
