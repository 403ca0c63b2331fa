"""What is said in a batch, folded: it leaves what one message per transaction would leave."""

from __future__ import annotations

import queue
import sqlite3
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeloom import (
    AttemptOverError,
    LedgerError,
    MsgExecute,
    MsgTaskFinished,
    MsgTaskProgress,
    MsgTaskStarted,
    MsgWriteRows,
    SQLiteWriter,
)
from pipeloom.data.rows import Block, Shape
from pipeloom.ledger.attempt import Attempt, Spoken, StagedCheckpoint
from pipeloom.ledger.fold import fold
from pipeloom.worker.staging import Staging

AT = "2026-01-01T00:00:00+00:00"
BIG = 2**70
FINAL = ("done", "error", "cancelled")


@dataclass
class Reference:
    """What the ledger should hold, told one message at a time, in plain Python.

    ``tasks`` has a row per id, ``past`` the archived ones, ``rows`` the user's table with a UNIQUE column.
    """

    tasks: dict[int, dict[str, Any]] = field(default_factory=dict)
    past: list[tuple[Any, ...]] = field(default_factory=list)
    rows: list[int] = field(default_factory=list)

    def tell(self, message: Any) -> None:
        """Apply one message, or leave everything as it is."""
        if isinstance(message, MsgWriteRows):
            new = [row["n"] for row in message.rows]
            if all(abs(n) < 2**63 for n in new) and len({*new, *self.rows}) == len(new) + len(self.rows):
                self.rows += new
            return
        if isinstance(message, MsgExecute):
            if message.sql.startswith("DELETE"):
                self.rows = [n for n in self.rows if n != message.params[0]]
            return
        number = message.task_id
        if type(number) is not int or abs(number) >= 2**63:
            return
        if isinstance(message, MsgTaskStarted):
            self.start(number, message.name)
        elif isinstance(message, MsgTaskProgress):
            self.progress(number, message)
        else:
            self.finish(number, message)

    def start(self, number: int, name: Any) -> None:
        if name is None or "\ud800" in name:
            return
        if number in self.tasks:
            old = self.tasks[number]
            self.past.append((number, old["name"], old["status"], old["progress"], old["message"], old["result"]))
        self.tasks[number] = {"name": name, "status": "running", "progress": 0.0, "message": None, "result": None}

    def progress(self, number: int, message: MsgTaskProgress) -> None:
        task = self.tasks.get(number)
        if task is None or task["status"] != "running" or type(message.total) is str or "\ud800" in message.message:
            return
        if message.total and type(message.step) is str:
            return
        share = message.step / message.total if message.total and message.total > 0 else 0.0
        task.update(progress=min(max(share, 0.0), 1.0), message=message.message)

    def finish(self, number: int, message: MsgTaskFinished) -> None:
        task = self.tasks.setdefault(
            number,
            {"name": f"task {number}", "status": "running", "progress": 0.0, "message": None, "result": None},
        )
        if task["status"] != "running":
            return
        result = {"a": '{"a":1}', "text": "text", "none": None}.get(_kind(message.result), "bad")
        if message.status in FINAL and result != "bad":
            task.update(status=message.status, result=result, message=message.message)
            if message.status == "done":
                task["progress"] = 1.0
        else:
            task.update(status="error", message=..., result=None)


def _kind(result: Any) -> str:
    if result is None:
        return "none"
    return "a" if result == {"a": 1} else "text" if result == "text" else "bad"


numbers = st.integers(1, 4) | st.sampled_from([-1, 0, "1", None, BIG])
names = st.sampled_from(["a", "b", "[/x]", None, "\ud800"])
started = st.builds(MsgTaskStarted, numbers, names, st.just("t"))
progressed = st.builds(
    MsgTaskProgress,
    numbers,
    st.integers(-1, 5) | st.just("x"),
    st.integers(-1, 4) | st.just("y"),
    st.sampled_from(["", "half", "\ud800"]),
)
finished = st.builds(
    MsgTaskFinished,
    numbers,
    st.sampled_from(["done", "error", "cancelled", "running", "perhaps"]),
    st.just("t"),
    st.sampled_from([None, "text", {"a": 1}, 1j]),
    st.sampled_from(["", "m"]),
)
values = st.integers(0, 6)
written = st.builds(
    lambda ns: MsgWriteRows("t", [{"n": n} for n in ns]),
    st.lists(values | st.just(BIG), min_size=1, max_size=3, unique=True),
)
executed = st.builds(lambda n: MsgExecute("DELETE FROM t WHERE n = ?", (n,)), values) | st.sampled_from(
    [MsgExecute("COMMIT"), MsgExecute("nonsense"), MsgExecute("UPDATE task_runs SET status = 'done'")]
)
streams = st.lists(started | progressed | progressed | finished | written | executed, max_size=40)


@given(stream=streams, cuts=st.lists(st.integers(1, 12), max_size=20))
@settings(max_examples=120)
def test_batches_leave_what_one_message_per_transaction_would_leave(tmp_path_factory, stream, cuts):
    """All tables are compared, whatever was said and however it was cut; nonsense included."""
    reference = Reference()
    for message in stream:
        reference.tell(message)

    db = Path(tmp_path_factory.mktemp("folding")) / "out.db"
    with closing(sqlite3.connect(db)) as conn:
        conn.execute("CREATE TABLE t (n INTEGER UNIQUE)")
    writer = SQLiteWriter(db, queue.Queue(), durability="off")
    writer._open()  # the writer's own code, in this thread, so that the cuts are exact
    try:
        rest, sizes = list(stream), iter(cuts)
        while rest:
            size = next(sizes, len(rest))
            writer._write(rest[:size])
            rest = rest[size:]
    finally:
        writer._close()

    with closing(sqlite3.connect(db)) as conn:
        tasks = {
            row[0]: dict(zip(("name", "status", "progress", "message", "result"), row[1:], strict=True))
            for row in conn.execute("SELECT id, name, status, progress, message, result FROM task_runs")
        }
        past = conn.execute(
            "SELECT task_id, name, status, progress, message, result FROM pipeloom_attempts"
        ).fetchall()
        rows = conn.execute("SELECT n FROM t ORDER BY rowid").fetchall()
    for number, expected in reference.tasks.items():
        if expected["message"] is ...:  # the writer's own words
            assert tasks[number].pop("message")
            expected.pop("message")
    assert tasks == reference.tasks
    assert sorted(map(_comparable, past)) == sorted(map(_comparable, reference.past))
    assert [n for (n,) in rows] == reference.rows


def _comparable(row: tuple[Any, ...]) -> str:
    """Leave out the message of a row whose error was put into the writer's own words."""
    number, name, status, progress, message, result = row
    return repr((number, name, status, progress, None if status == "error" else message, result))


# --- messages about numbered tasks ---


def heard(*items, handled=()):
    """Return the layers of what was said: number → which words."""
    return [
        {
            number: [word for word in ("started", "progress", "finished") if getattr(words, word) is not None]
            for number, words in layer.items()
        }
        for layer in fold(items, handled).heard
    ]


def test_of_many_words_the_last_ones_count():
    """However many there are, one row is written of each task."""
    steps = [MsgTaskProgress(number, step, 10) for step in range(10) for number in (1, 2)]
    (layer,) = fold([MsgTaskStarted(1, "a", AT), *steps, MsgTaskFinished(2, "done", AT)], ()).heard

    assert sorted(layer) == [1, 2]
    assert layer[1].progress is steps[-2]
    assert layer[2].progress is steps[-1]
    assert heard(*steps[:2]) == [{1: ["progress"], 2: ["progress"]}]


def test_a_task_that_begins_again_begins_a_layer():
    """What was said before is written first, since it becomes the past."""
    again = MsgTaskStarted(1, "a", AT)

    assert heard(again, MsgTaskProgress(2, 1, 2), again, MsgTaskFinished(1, "done", AT), again) == [
        {1: ["started"], 2: ["progress"]},
        {1: ["started", "finished"]},
        {1: ["started"]},
    ]
    assert heard(MsgTaskFinished(1, "done", AT), again, MsgTaskProgress(3, 1, 2)) == [
        {1: ["finished"]},
        {1: ["started"], 3: ["progress"]},
    ]


def test_after_a_finish_nothing_counts():
    """Neither progress nor another finish: the first one wins."""
    first = MsgTaskFinished(1, "done", AT)
    late = [MsgTaskProgress(1, 1, 2), MsgTaskFinished(1, "error", AT), MsgTaskProgress(1, 2, 2)]
    (layer,) = fold([first, *late], ()).heard

    assert layer[1].finished is first
    assert layer[1].progress is None


@pytest.mark.parametrize("number", [None, "1", 1.0, 2**62, -(2**62)])
@pytest.mark.parametrize("kind", [MsgTaskStarted, MsgTaskProgress, MsgTaskFinished])
def test_what_names_no_task_is_refused(kind, number):
    """It is not known whose it is."""
    with pytest.raises(LedgerError, match="task_id must"):
        fold([kind(number, 1, 2)], ())


def test_numbers_of_other_types_are_the_same_number():
    """Such as those of NumPy, which know their index."""

    class Number:
        def __index__(self):
            return 7

    assert heard(MsgTaskStarted(7, "a", AT), MsgTaskProgress(Number(), 1, 2)) == [{7: ["started", "progress"]}]


class OwnProgress(MsgTaskProgress):
    """A status message of a class of the user's."""


def test_a_handler_takes_only_messages_of_a_users_own_class():
    """What is ours is the ledger's; a class without a handler counts like the one that it comes from."""
    ours, own = MsgTaskProgress(1, 1, 2), OwnProgress(1, 2, 2)
    batch = fold([ours, own], {MsgTaskProgress, OwnProgress})

    assert [action for action, _ in batch.actions] == [own]
    assert batch.heard[0][1].progress is ours
    assert fold([ours, own], ()).heard[0][1].progress is own


# --- tries that end, checkpoints, and the rest ---


def attempt(status="running", *, rows=0):
    """Return an attempt, with some rows if it is done."""
    made = Attempt(None, 1, "a", "a", "new")
    made.status = status
    made.staged = [Block(Shape("t", ("n",), "error", ()), [(n,)]) for n in range(rows)] or None
    return made


def test_actions_keep_their_order():
    """What was put at once, checkpoints and the rest of a task, in the order in which they came."""
    one, two = attempt("done", rows=2), attempt("error", rows=1)
    checkpoint = StagedCheckpoint(two, ["staged"], "1", 0)
    batch = fold([Spoken(one, "said"), checkpoint, one, "bare", two], ())

    assert [action for action, _ in batch.actions] == ["said", "staged", *one.staged, "bare"]
    assert batch.finished == [one, two]
    assert batch.checkpoints == [checkpoint]
    assert batch.actions[2][1] is batch.actions[3][1]  # both know the whole output that they are a part of


def test_a_checkpoint_behind_its_tasks_end_is_refused():
    """By its place in the batch, or because the end is committed, and however often the batch is folded."""
    late_one = attempt("done")
    late_one.staging = Staging(1e9)
    before, behind = (StagedCheckpoint(late_one, [n], "1", 0) for n in range(2))
    for _ in range(2):
        batch = fold([before, late_one, behind], ())

        assert batch.checkpoints == [before]
        assert [(refused, type(error)) for refused, error in batch.refused] == [(behind, AttemptOverError)]
        assert [action for action, _ in batch.actions] == [0]
    late_one.fenced = True
    assert fold([behind], ()).checkpoints == []


@pytest.mark.parametrize(("status", "again"), [("done", None), ("error", 1.0)], ids=["done", "to be tried again"])
def test_a_task_of_which_something_was_refused_fails_for_good(status, again):
    """Its output is not stored, and folding it changes nothing of it: the batch may be lost."""
    item = attempt(status, rows=1)
    item.refused, item.retry_in = LedgerError("no such column"), again
    before = vars(item).copy()
    batch = fold([item], ())

    assert batch.spoiled == [item]
    assert batch.actions == []
    assert vars(item) == before


def test_a_task_that_failed_anyway_keeps_its_own_error():
    """It is the better explanation."""
    item = attempt("error")
    item.refused, item.message = LedgerError("no such column"), "its own"

    assert fold([item], ()).spoiled == []


def test_whoever_waits_for_a_checkpoint_is_told():
    """Once it is on file, or with why it is not."""
    kept, refused = (StagedCheckpoint(attempt(), [], "1", 0) for _ in range(2))
    batch = fold([kept], ())
    batch.refused.append((refused, LedgerError("no")))
    batch.tell()

    assert kept.result() is None
    with pytest.raises(LedgerError, match="no"):
        refused.result()
