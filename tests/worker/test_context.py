"""What a task can do through its context."""

from __future__ import annotations

import contextvars
import sqlite3
import sys
import threading
from contextlib import closing
from dataclasses import dataclass

import pytest

import pipeloom
from pipeloom import (
    LedgerError,
    MsgExecute,
    MsgTaskFinished,
    MsgTaskProgress,
    MsgTaskStarted,
    MsgWriteRows,
    TaskContext,
)
from pipeloom.statuses import RUNNING
from worker.recording import RecordingLink, task_for


def test_ctx_is_passed_only_when_asked_for(db):
    """By the name ctx, or by annotation under any name; otherwise the function gets the input alone."""

    def annotated(_item, context: TaskContext):
        return context.key

    def named(_item, *, ctx):
        return ctx.key

    def neither(item, extra="default"):
        return [item, extra]

    assert dict(pipeloom.map(annotated, ["a"], db=db).results()) == {"a": "a"}
    assert dict(pipeloom.map(named, ["b"], db=db).results()) == {"b": "b"}
    assert dict(pipeloom.map(neither, ["c"], db=db).results()) == {"c": ["c", "default"]}


def test_current_task_is_there_below_the_function(db):
    """Also in a thread started with a copied context; nowhere else."""
    keys = []

    def below():
        keys.append(pipeloom.current_task().key)

    def task(_item):
        below()
        helper = threading.Thread(target=contextvars.copy_context().run, args=(below,))
        helper.start()
        helper.join()

    pipeloom.map(task, ["k"], db=db)

    assert keys == ["k", "k"]
    with pytest.raises(RuntimeError, match="no pipeloom task"):
        pipeloom.current_task()


def test_staged_rows_go_with_the_task_and_put_stays(db, read):
    """A failed task leaves nothing staged; what it put at once stands."""

    def task(number, ctx):
        ctx.write("staged", {"n": number})
        ctx.execute("INSERT INTO log VALUES (?)", ("staged",))
        ctx.put(MsgWriteRows("sent", [{"n": number}]))
        ctx.put(MsgExecute("INSERT INTO log VALUES (?)", ("sent",)))
        raise ValueError("no")

    pipeloom.map(task, [1], db=db, tables={"staged": {"n": int}, "log": {"what": str}}, on_error="collect")

    assert read(db, "SELECT COUNT(*) FROM staged") == [(0,)]
    assert read(db, "SELECT n FROM sent") == [(1,)]
    assert read(db, "SELECT what FROM log") == [("sent",)]


def test_write_and_execute_keep_their_order(db, read):
    """A statement sees the rows written before it, and not those after."""

    def task(_item, ctx):
        ctx.write("t", [{"n": 1}, {"n": 2}])
        ctx.execute("UPDATE t SET n = n * 10")
        ctx.write("t", {"n": 3})

    pipeloom.map(task, [1], db=db)

    assert read(db, "SELECT n FROM t ORDER BY rowid") == [(10,), (20,), (3,)]


def test_write_copies_at_the_call_and_stages_nothing_when_it_raises(db, read):
    """Changing a row afterwards changes nothing; a refused call leaves no part of itself."""

    def task(_item, ctx):
        row = {"n": 1, "tags": ["a"]}
        ctx.write("t", row)
        row["n"] = 2
        row["tags"].append("b")
        with pytest.raises(pipeloom.RowRefusedError, match="table t, column n"):
            ctx.write("t", [{"n": 3}, {"n": object()}])

    pipeloom.map(task, [1], db=db)

    assert read(db, "SELECT n, tags FROM t") == [(1, '["a"]')]


@dataclass
class Row:
    n: int
    word: str


def test_write_takes_mappings_dataclasses_and_sequences(db, read):
    """Missing keys are NULL where there is no DEFAULT, null= values too."""

    def task(_item, ctx):
        ctx.write("t", {"n": 1, "word": "NA"}, null=("NA",))
        ctx.write("t", (Row(n, "x") for n in (2, 3)))
        ctx.write("t", [(4, "y")], columns=("n", "word"))
        ctx.write("t", [{"n": 5}, {"word": "z"}])

    pipeloom.map(task, [1], db=db)

    assert read(db, "SELECT n, word FROM t ORDER BY rowid") == [
        (1, None), (2, "x"), (3, "x"), (4, "y"), (5, None), (None, "z"),
    ]  # fmt: skip


def test_query_sees_what_is_committed_and_cannot_write(db):
    """Not the task's own staged rows; a writing statement is refused."""

    def task(number, ctx):
        ctx.write("t", {"n": number})
        with pytest.raises(pipeloom.RowRefusedError, match="can only read"):
            ctx.query("DELETE FROM t")
        return ctx.query("SELECT COUNT(*), ? FROM t", ("x",))

    report = pipeloom.map(task, [1, 2, 3], db=db, workers=1, tables={"t": {"n": int}})

    assert [result[0][0] for _, result in report.results()] == [0, 1, 2]


def test_progress_is_seen_in_the_ledger_while_the_task_runs(db):
    """Within moments, by a reader of its own; the message too."""
    seen = []

    def task(_item, ctx):
        ctx.progress(1, 4, "quarter")
        while not seen:
            seen.extend(ctx.query("SELECT status, progress, message FROM task_runs WHERE progress > 0"))

    pipeloom.map(task, ["x"], db=db)

    assert seen == [("running", 0.25, "quarter")]


def test_track_yields_all_and_counts(db):
    """Every element comes through, and the context stays usable."""

    def task(_item, ctx):
        return list(ctx.track(range(4))) + list(ctx.track(iter("ab"), total=2))

    assert dict(pipeloom.map(task, ["x"], db=db).results()) == {"x": [0, 1, 2, 3, "a", "b"]}


def test_a_context_kept_past_its_task_refuses_to_speak(db):
    """What is said too late is an error, not a silent loss."""
    kept = []
    pipeloom.map(lambda _, ctx: kept.append(ctx), [1], db=db)

    for speak in (lambda c: c.put("x"), lambda c: c.write("t", {"a": 1}), lambda c: c.execute("SELECT 1")):
        with pytest.raises(pipeloom.AttemptOverError):
            speak(kept[0])


def test_an_old_worker_is_believed_about_itself(db, read):
    """Its number, name, times, progress, result and message are the row's; nothing is counted twice."""

    def worker(task, msg_q):
        number = task + 100
        msg_q.put(MsgTaskStarted(number, f"named {task}", "2020-01-01T00:00:00+00:00"))
        msg_q.put(MsgTaskProgress(number, 1, 2, "half"))
        msg_q.put(MsgTaskFinished(number, "done", "2020-01-02T00:00:00+00:00", "r", "m"))

    report = pipeloom.run_pipeline([1, 2, 3], db, worker_fn=worker)

    assert report.done == 3
    assert read(
        db, "SELECT id, name, status, progress, started_at, result, message FROM task_runs ORDER BY id"
    ) == [(n + 100, f"named {n}", "done", 1.0, "2020-01-01T00:00:00+00:00", "r", "m") for n in (1, 2, 3)]


@pytest.mark.parametrize("said", ["done", "error"])
def test_raising_after_a_finish_is_an_error(db, read, said):
    """The worker's word counts only if its function then returns."""

    def worker(_task, msg_q):
        msg_q.put(MsgTaskFinished(1, said, "2020-01-02T00:00:00+00:00", "r"))
        raise RuntimeError("after all")

    with pytest.raises(pipeloom.TasksFailedError):
        pipeloom.run_pipeline([1], db, worker_fn=worker)

    assert read(db, "SELECT status, message, result FROM task_runs") == [("error", "after all", None)]


def test_a_foreign_number_in_a_keyed_run_cannot_take_a_keyed_row(db, read):
    """The message is refused and kept with why; the task bears it; the row stands."""
    pipeloom.map(lambda _: None, ["a", "b"], db=db, name="p")

    def worker(_task, ctx):
        ctx.put(MsgTaskStarted(99, "own", "t"))
        ctx.put(MsgTaskStarted(1, "foreign", "t"))

    report = pipeloom.run_pipeline(["c"], db, worker_fn=worker, key=str, name="q", on_error="collect")

    assert report.failed == 1
    assert "belongs to a pipeline with keys" in report.failures[0].message
    assert read(db, "SELECT name FROM task_runs WHERE id = 1") == [("a",)]
    assert read(db, "SELECT kind FROM pipeloom_rejected") == [("MsgTaskStarted",)]


class Note:
    def __init__(self, text):
        self.text = text


def test_handlers_get_runs_of_one_type_inside_the_transaction(db, read):
    """Consecutive messages come as one list; order between handlers' messages holds."""
    calls = []

    def store(conn, notes):
        calls.append([note.text for note in notes])
        conn.executemany("INSERT INTO notes VALUES (?)", [(note.text,) for note in notes])

    def task(number, ctx):
        ctx.put(Note(f"a{number}"))
        ctx.put(Note(f"b{number}"))

    pipeloom.map(task, [1, 2], db=db, handlers={Note: store}, tables={"notes": {"text": str}}, workers=1)

    assert [text for call in calls for text in call] == ["a1", "b1", "a2", "b2"]
    assert read(db, "SELECT text FROM notes") == [("a1",), ("b1",), ("a2",), ("b2",)]


def test_a_handler_that_raises_fails_the_task_that_sent_the_message(db, read):
    """Its neighbours stand."""

    def store(conn, notes):
        for note in notes:
            if note.text == "bad":
                raise KeyError("missing")
            conn.execute("INSERT INTO notes VALUES (?)", (note.text,))

    def task(text, ctx):
        ctx.put(Note(text))

    report = pipeloom.map(
        task, ["x", "bad", "y"], db=db, handlers={Note: store}, tables={"notes": {"t": str}}, on_error="collect"
    )

    assert (report.done, report.failed) == (2, 1)
    assert "KeyError" in report.failures[0].message
    assert sorted(read(db, "SELECT t FROM notes")) == [("x",), ("y",)]


def test_an_unknown_message_is_a_warning(db, caplog):
    """It is kept with why, and nobody fails."""
    with caplog.at_level("WARNING", logger="pipeloom"):
        report = pipeloom.map(lambda _, ctx: ctx.put(Note("x")), [1], db=db)

    assert report.done == 1
    assert "unknown type Note" in caplog.text


def test_without_a_ledger_rows_are_still_written(db, read):
    """store_task_status=False makes no table of ours; resuming is refused up front."""

    def worker(task, ctx):
        ctx.write("t", {"n": task})

    report = pipeloom.run_pipeline([1, 2], db, worker_fn=worker, store_task_status=False)

    assert report.done == 2
    assert read(db, "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite%'") == [("t",)]
    with pytest.raises(ValueError, match="resume"):
        pipeloom.run_pipeline([1], db, worker_fn=worker, store_task_status=False, resume=True, key=str)


def test_values_that_write_themselves_do_not_hang(db, read):
    """Foreign code runs while a row is turned into values, and may call the context again."""

    class Chatty:
        ndim = 0

        def __init__(self, ctx):
            self.ctx = ctx

        def item(self):
            self.ctx.write("t", {"n": -1})
            return 7

    def fn(item, ctx):
        for n in range(3):
            ctx.write("t", {"n": n})
            ctx.write("t", {"n": Chatty(ctx)})

    assert pipeloom.map(fn, [1], db=db, name="n").done == 1
    assert sorted(n for (n,) in read(db, "SELECT n FROM t")) == [-1, -1, -1, 0, 1, 2, 7, 7, 7]


def test_rows_of_several_threads_stay_in_their_own_tables(db, read):
    """Each thread of a task writes to a table of its own, row by row."""

    def fn(item, ctx):
        def writing(table):
            for n in range(3000):
                ctx.write(table, {"n": n, "who": table})

        threads = [threading.Thread(target=writing, args=(f"t{n}",)) for n in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        assert pipeloom.map(fn, range(2), db=db, name="n", workers=2).done == 2
    finally:
        sys.setswitchinterval(before)
    for table in ("t0", "t1", "t2"):
        assert read(db, f"SELECT who, COUNT(*) FROM {table} GROUP BY who") == [(table, 6000)]


def test_a_progress_message_is_short(db, read):
    """It is written anew whenever it changes."""
    pipeloom.map(lambda item, ctx: ctx.progress(1, 2, "x" * 1_000_000), [1], db=db, name="n")

    assert read(db, "SELECT length(message) FROM task_runs") == [(2000,)]


@pytest.mark.parametrize("place", ["first", "second"])
@pytest.mark.parametrize("wrong", [{"conflict_on": ["a"]}, {"null": ""}, {"on_conflict": "replace"}, {"alter": 1}])
def test_a_wrong_option_is_refused_whatever_was_written_before(db, place, wrong):
    """A row of the shape of the one before takes a shorter way, but past no check."""

    def task(_item, ctx):
        if place == "second":
            ctx.write("t", {"a": 1})
        ctx.write("t", {"a": 2}, **wrong)

    report = pipeloom.map(task, [0], db=db, on_error="collect")

    assert report.failures[0].exception == "RowRefusedError"


def test_what_a_row_leaves_out_is_left_to_the_table(db, read):
    """Its DEFAULT, or what an older row has: whatever the neighbours in the call have, and one by one alike."""
    with closing(sqlite3.connect(db)) as conn:
        conn.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, name, note, state DEFAULT 'open')")
        conn.execute("INSERT INTO t VALUES (1, 'A', 'kept', 'x'), (2, 'B', 'kept', 'x')")
        conn.commit()
    rows = [{"id": 1, "name": "A2"}, {"id": 2, "note": None}, {"id": 3}, {"id": 4, "state": "new"}]

    def at_once(_item, ctx):
        ctx.write("t", rows, on_conflict="update", conflict_on=["id"])

    def one_by_one(_item, ctx):
        for row in rows:
            ctx.write("t", row, on_conflict="update", conflict_on=["id"])

    def message(_item, ctx):
        ctx.put(MsgWriteRows("t", rows, on_conflict="update", conflict_on=["id"]))

    for task in (at_once, one_by_one, message):
        pipeloom.map(task, [1], db=db)
        assert read(db, "SELECT * FROM t") == [
            (1, "A2", "kept", "x"), (2, "B", None, "x"), (3, None, None, "open"), (4, None, None, "new"),
        ]  # fmt: skip
        with closing(sqlite3.connect(db)) as conn:
            conn.execute("DELETE FROM t WHERE id > 2")
            conn.execute("UPDATE t SET name = 'B', note = 'kept' WHERE id = 2")
            conn.commit()


def test_a_message_with_a_part_that_is_refused_is_refused_whole(db, read):
    """However many kinds of rows it has."""
    with closing(sqlite3.connect(db)) as conn:
        conn.execute("CREATE TABLE t (a NOT NULL, b)")

    def task(_item, ctx):
        ctx.put(MsgWriteRows("t", [{"a": 1}, {"b": 2}]))

    report = pipeloom.map(task, [1], db=db, on_error="collect")

    assert "NOT NULL" in report.failures[0].message
    assert read(db, "SELECT * FROM t") == []


@pytest.mark.parametrize(("of_run", "of_call", "meant"), [
    (False, None, False), (True, None, True), (True, False, False), (False, True, True),
])  # fmt: skip
def test_a_call_alters_as_the_run_was_told_unless_it_says_otherwise(of_run, of_call, meant):
    """The first row of a shape, one that joins it, and a message alike."""
    task, link = task_for("a"), RecordingLink(alter=of_run)
    task.status = RUNNING
    ctx = TaskContext(task, link)
    for n in range(3):
        ctx.write("t", {"n": n}, alter=of_call)
    ctx.put(MsgWriteRows("t", {"n": 1}, alter=of_call))

    (block,) = task.staging.take()[0]
    assert [row for block in [block, *link.said[0]] for row in block.rows] == [(0,), (1,), (2,), (1,)]
    assert [block.shape.alter for block in [block, *link.said[0]]] == [meant, meant]


def test_rows_that_alter_do_not_join_those_that_do_not():
    """They are two shapes, in their order."""
    task = task_for("a")
    task.status = RUNNING
    ctx = TaskContext(task, RecordingLink())
    for alter in (None, True, True, False):
        ctx.write("t", {"n": 1}, alter=alter)

    assert [(block.shape.alter, len(block.rows)) for block in task.staging.take()[0]] == [
        (False, 1), (True, 2), (False, 1),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "use", [lambda ctx: ctx.query("SELECT 1"), lambda ctx: ctx.checkpoint(1), lambda ctx: ctx.state]
)
def test_what_an_executor_cannot_do_is_refused_in_a_sentence(use):
    """A task that has no way to the ledger before it ends is told so, rather than left to wait."""
    task = task_for("a")
    task.status, task.seen_before = RUNNING, True
    ctx = TaskContext(task, RecordingLink(executor="clouds", can=frozenset()))

    with pytest.raises(LedgerError, match="is not available on clouds: a task there cannot reach the ledger"):
        use(ctx)


@pytest.mark.parametrize("kind", [TaskContext, pipeloom.AsyncTaskContext])
def test_others_are_slowed_down_for_a_number_of_seconds(kind):
    """Sent at once; whatever is no such number is refused in a sentence, and nothing is sent."""
    link, task = RecordingLink(), task_for("item")
    task.status = RUNNING
    ctx = kind(task, link)
    ctx.slow_down(30)
    ctx.slow_down(0)
    ctx.slow_down(10**400)
    assert link.slowed == [(task, 30.0), (task, 0.0), (task, 1e9)]

    with pytest.raises(TypeError, match=r"^ctx.slow_down: seconds must be a number, not str$"):
        ctx.slow_down("30")
    with pytest.raises(TypeError, match="not bool"):
        ctx.slow_down(True)
    for wrong in (-1, float("nan"), float("inf")):
        with pytest.raises(ValueError, match=r"^ctx.slow_down: seconds must be 0 or more, and finite, not "):
            ctx.slow_down(wrong)
    assert len(link.slowed) == 3


def test_nobody_is_slowed_down_by_a_task_that_has_ended():
    """Its run may be over."""
    link, task = RecordingLink(), task_for("item")
    task.status = "done"
    with pytest.raises(pipeloom.AttemptOverError):
        TaskContext(task, link).slow_down(1)
    assert link.slowed == []
