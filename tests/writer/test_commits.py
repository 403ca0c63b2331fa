"""However a stream is cut into batches, and whatever is lost of them, the same is stored and told."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from faults.tools import amount
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pipeloom import MsgExecute
from pipeloom.data.rows import Block, Shape, Statement
from pipeloom.data.spool import Spool
from pipeloom.ledger.attempt import Attempt, Spoken, StagedCheckpoint
from pipeloom.writer.commits import batches_of
from writer.stream import OF_OTHERS, OF_TASKS, TASKS, WRONG, Signal, Step, Stream

wrongs = st.sampled_from([*["good"] * 8, *WRONG, "once"])
steps_of_tasks = st.builds(
    Step,
    st.integers(0, TASKS - 1),
    st.sampled_from([*OF_TASKS, "checkpoint", "checkpoint", "done"]),
    st.integers(0, 2),
    st.integers(0, 2),
    wrongs,
    # What a task calls itself: nothing, a row that is there, one of its own, one that belongs to a key.
    st.sampled_from([None, None, None, 5, 6, 900]),
)
others = st.builds(
    Step,
    st.just(0),
    st.sampled_from(OF_OTHERS),
    st.integers(0, 1),
    st.integers(0, 2),
    wrongs,
    st.sampled_from([50, 51, 900, 2**70]),
)
steps = st.integers(0, 3).flatmap(lambda chance: steps_of_tasks if chance else others)
batches = st.lists(st.lists(steps, min_size=3, max_size=8), min_size=1, max_size=4)
# It lets nobody of its kind stand beside it, and then does not stand itself.
LATE = Step(0, "done", wrong="once, refused late")
AS_IT_IS, NOT_LOST = [(None, 0)], [None]
# What spoils a batch, so that it is applied under savepoints, or in a transaction each.
spoilers = st.sampled_from([None, "unique", "loses all", "refused late"])


@given(
    stream=batches,
    keyed=st.booleans(),
    spoiled=st.lists(st.tuples(spoilers, st.integers(0, 6)), min_size=5, max_size=5),
    losses=st.lists(st.none() | st.integers(0, 400), min_size=5, max_size=5),
)
@example([[LATE, Step(1, "done", wrong="once")]], True, AS_IT_IS, NOT_LOST)
@example([[LATE, Step(1, "message", wrong="once"), Step(1, "done", rows=1)]], True, AS_IT_IS, NOT_LOST)
@example([[LATE, Step(1, "checkpoint", wrong="once"), Step(1, "again")]], True, AS_IT_IS, NOT_LOST)
@example([[Step(0, "done", logs=1, number=5), Step(1, "done", logs=1, number=5)]], False, AS_IT_IS, NOT_LOST)
@settings(max_examples=amount(30, 10_000))
@pytest.mark.timeout(amount(300, 3600))
def test_however_a_stream_is_cut_the_same_is_stored_and_told(tmp_path_factory, stream, keyed, spoiled, losses):
    """One item per transaction is what it should be; each batch may be spoiled, and lost before, anywhere."""
    folder = Path(tmp_path_factory.mktemp("commits"))
    with Stream(folder / "a.db", keyed=keyed) as plain, Stream(folder / "b.db", keyed=keyed) as tried:
        for batch, (wrong, place), lost_after in zip(stream, spoiled, losses, strict=False):
            if wrong is not None:
                batch = [*batch[:place], Step(0, "bare", wrong=wrong), *batch[place:]]
            for item in plain.items(batch) or [None]:
                plain.write([item] if item is not None else [])
            items = tried.items(batch)
            if lost_after is not None:
                tried.lose(items, lost_after)
            tried.write(items)

            assert tried.found() == plain.found()
        plain.end()
        tried.end()

        assert tried.found() == plain.found()


@pytest.mark.parametrize("wrong", [kind for kind in WRONG if not kind.startswith(("good", "once"))])
def test_two_items_of_a_task_beside_one_that_is_refused(db, read, wrong):
    """Its checkpoints and its end: its log lines come once, its rows are counted, its state goes."""
    checkpoints = [Step(0, "checkpoint", 2, 1), Step(0, "checkpoint", 1, 2)]
    with Stream(db) as stream:
        stream.write(stream.items([*checkpoints, Step(0, "done", 0, 1), Step(1, "done", wrong=wrong)]))
        stream.end()

    assert read(db, "SELECT message FROM pipeloom_logs") == [("line 1",), ("line 2",), ("line 3",)]
    assert read(db, "SELECT status, rows_written FROM task_runs ORDER BY id LIMIT 2") == [("done", 4), ("error", 0)]
    assert read(db, "SELECT COUNT(*) FROM t") == [(4,)]
    assert read(db, "SELECT * FROM pipeloom_state") == []


@pytest.mark.parametrize("deed", ["stages", "ends"])
def test_what_a_worker_does_while_its_message_is_applied_stays(db, read, deed):
    """A batch is applied twice and lost in between, and the task goes on meanwhile: nothing of it is undone."""
    with Stream(db) as stream:
        attempt, calls = stream.attempts[0], []

        def step_in(_conn: Any, _messages: Any) -> None:
            calls.append(1)
            if len(calls) == 2:  # under its savepoint, in the transaction that will be lost
                attempt.staged = [Block(Shape("t", ("task", "n"), "error", ()), [(0, 7)])]
                attempt.rows_written = 1
                if deed == "ends":
                    attempt.status, attempt.result, attempt.finished_at = "done", '"result"', "t1"

        stream.ledger._handlers[Signal] = step_in
        spoiler = MsgExecute(WRONG["loses all"][0])
        stream.write([Spoken(attempt, Signal(1)), Spoken(stream.attempts[1], spoiler)])
        assert len(calls) == 3
        if deed == "stages":
            attempt.status, attempt.result, attempt.finished_at = "done", '"result"', "t1"
        stream.state[0] = "ended"
        stream.write([attempt])
        stream.end()

    assert read(db, "SELECT key, status, result, rows_written FROM task_runs ORDER BY id LIMIT 2") == [
        ("a", "done", '"result"', 1),
        ("b", "error", None, 0),
    ]
    assert read(db, "SELECT task, n FROM t") == [(0, 7)]


def test_a_lock_between_two_tries_is_nobodys_fault(db, read):
    """With a rollback journal another program's lock is in the way of reading too: it is waited for."""
    with Stream(db, keyed=False, wal=False) as stream, closing(sqlite3.connect(db)) as other:
        calls = []

        def step_in(_conn: Any, _messages: Any) -> None:
            calls.append(1)
            if len(calls) == 2:  # under its savepoint; the lock is taken once the transaction is lost
                stream.writer._database.transaction.if_lost(lambda: other.execute("BEGIN EXCLUSIVE"))

        stream.ledger._handlers[Signal] = step_in
        stream.writer._database.conn.execute("PRAGMA busy_timeout = 0")
        stream.warnings.deed = other.rollback  # as soon as the writer says that it waits
        end = Step(0, "done", rows=1, number=5)  # whose row is there: what it was is read
        stream.write(stream.items([end, Step(1, "signal"), Step(0, "bare", wrong="loses all")]))
        stream.end()

        assert "locked by another process" in stream.warnings.texts[0]
    assert read(db, "SELECT name, status FROM task_runs WHERE id = 5") == [("a", "done")]


def test_a_table_that_was_made_and_lost_is_not_ours(db, read):
    """Somebody else made it after that: it gets no columns of ours."""
    rows = [Block(Shape("made", ("n", "more"), "error", ()), [(1, 2)])]
    with Stream(db) as stream:
        lost, other, late = stream.items([Step(0, "done"), Step(1, "done"), Step(2, "done")])
        lost.staged = [Block(Shape("made", ("n",), "error", ()), [(1,)]), Statement(*WRONG["unique"], ())]
        other.staged = [Statement("CREATE TABLE made (n)", ())]
        late.staged = rows
        for item in (lost, other, late):
            stream.write([item])

    assert read(db, "SELECT status FROM task_runs ORDER BY id") == [("error",), ("done",), ("error",)]
    assert read(db, "SELECT * FROM made") == []


def test_a_task_of_which_something_was_refused_is_still_shown(db, read):
    """It goes on, and may yet explain itself."""
    with Stream(db) as stream:
        stream.write(stream.items([Step(0, "message", wrong="unique"), Step(0, "work", logs=1, rows=1)]))

        assert read(db, "SELECT status, message FROM task_runs WHERE key = 'a'") == [("running", "of 1")]
        assert read(db, "SELECT message FROM pipeloom_logs") == [("line 1",)]


def test_a_number_that_was_taken_leaves_no_row_behind(db, read):
    """Nor does the stand-in that the task had before it said the number."""
    with Stream(db, keyed=False) as stream:
        stream.write([])
        assert read(db, "SELECT COUNT(*) FROM task_runs WHERE id < 0") == [(3,)]
        stream.write(stream.items([Step(0, "done", number=900)]))

        assert read(db, "SELECT name FROM task_runs WHERE id < 0") == [("c",), ("b",)]
        assert read(db, "SELECT task_id, kind FROM pipeloom_rejected") == [(900, "input")]


def test_a_large_output_is_a_batch_of_its_own(tmp_path):
    """What comes before it is committed first, and what comes behind it is not applied again with it."""
    shape = Shape("t", ("n",), "error", ())

    def attempt(output):
        made = Attempt(None, 1, None, "a", "new")
        made.staged = output
        return made

    spool = Spool(str(tmp_path))
    small, none = attempt([Block(shape, [(1,)])]), attempt(None)
    large, also = attempt([spool, Block(shape, [(2,)])]), StagedCheckpoint(none, [spool], "1", 0)
    message = MsgExecute("SELECT 1")

    assert list(batches_of([])) == [[]]
    assert list(batches_of([small, message, none])) == [[small, message, none]]
    assert list(batches_of([large])) == [[large]]
    assert list(batches_of([small, large, also, message, none])) == [[small], [large], [also], [message, none]]
