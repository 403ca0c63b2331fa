"""Who is let in: for each key or number, whether it is to be run, and as which row."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator

import pytest

from pipeloom.data.naming import naming_of
from pipeloom.db import connect, init_schema
from pipeloom.db.transaction import Transaction
from pipeloom.ledger.admission import Admissions
from pipeloom.ledger.attempt import Attempt
from pipeloom.ledger.runs import RunLedger, RunSpec
from pipeloom.ledger.tasks import TaskTable

NAMING = naming_of(print, "p")


class File:
    """A ledger with one open connection."""

    def __init__(self, conn: sqlite3.Connection, db) -> None:
        self.conn = conn
        self._db = db
        init_schema(conn, store_task_status=True)

    def put(
        self, number: int, key: str | int | None, status: str = "done", *, run_id: int = 99, state: bool = False
    ) -> None:
        """Store a task of the pipeline "p", or of none; from a run that has ended, unless it says another."""
        self.conn.execute("INSERT OR IGNORE INTO pipeloom_pipelines (id, name) VALUES (1, 'p')")
        self.conn.execute(
            "INSERT INTO task_runs (id, name, status, progress, pipeline_id, key, run_id) "
            "VALUES (?, 'x', ?, 0, ?, ?, ?)",
            (number, status, None if key is None else 1, key, run_id),
        )
        if state:
            self.conn.execute(
                "INSERT INTO pipeloom_state (task_id, run_id, attempt, at, state) VALUES (?, 99, 1, 't', '1')",
                (number,),
            )

    def admissions(self, *, keyed: bool = True, resume: bool = True) -> Admissions:
        """Begin a run, and return who is let in."""
        transaction = Transaction(self.conn, self._db)
        self.run = RunLedger(
            self.conn,
            transaction,
            TaskTable(self.conn, transaction),
            RunSpec(NAMING if keyed else None, resume, 1, "threads", None),
        )
        return self.run.admissions


@pytest.fixture
def file(db) -> Iterator[File]:
    """An empty ledger."""
    conn = connect(db)
    yield File(conn, db)
    conn.close()


# --- by key ---


def test_new_keys_are_let_in_with_ids_beyond_all_rows(file):
    """One each, in their order."""
    file.put(7, "old")
    assert file.admissions().keys(["a", "b"]) == [(8, "new"), (9, "new")]


def test_what_is_done_is_skipped_and_the_rest_comes_again(file):
    """As the row that it has; what is skipped is counted."""
    for number, (key, status) in enumerate(
        [("a", "done"), ("b", "error"), ("c", "interrupted"), ("d", "timed_out")], start=1
    ):
        file.put(number, key, status)
    admissions = file.admissions()

    assert admissions.keys(["d", "a", "b", "new", "c"]) == [
        (4, "again"),
        (1, "skip"),
        (2, "again"),
        (5, "new"),
        (3, "again"),
    ]
    assert file.run.board.skipped == 1


def test_without_resume_what_is_done_comes_again(file):
    """Unless it has a checkpoint, whose rows would be stored twice."""
    file.put(1, "a")
    file.put(2, "b", "error", state=True)

    assert file.admissions(resume=False).keys(["a", "b", "c"]) == [(1, "again"), (2, "stateful"), (3, "new")]
    assert file.run.board.skipped == 0


def test_with_resume_a_task_goes_on_behind_its_checkpoint(file):
    """That is what it is for."""
    file.put(2, "b", "error", state=True)
    assert file.admissions().keys(["b"]) == [(2, "again")]


def test_a_key_comes_once_in_a_run(file):
    """In one chunk or two, while its first task runs and after."""
    admissions = file.admissions()
    assert admissions.keys(["a", "a", 1, "1"]) == [(1, "new"), (0, "duplicate"), (2, "new"), (3, "new")]
    assert admissions.keys(["a", "b"]) == [(0, "duplicate"), (4, "new")]

    admissions.ended([Attempt(None, 1, "a", "a", "new")])  # and its row is on file
    file.put(1, "a", "error", run_id=file.run.run_id)
    assert admissions.keys(["a"]) == [(0, "duplicate")]


def test_one_that_was_refused_at_the_door_does_not_end_the_first(file):
    """They have the same key; only one of them has the row."""
    admissions = file.admissions()
    admissions.keys(["a"])
    admissions.ended([Attempt(None, 0, "a", "a", "none")])

    assert admissions.keys(["a"]) == [(0, "duplicate")]


def test_ascending_keys_of_a_new_pipeline_need_no_look(file):
    """While they ascend; from the first one that does not on, the writer is asked."""
    admissions = file.admissions()

    assert admissions.new_keys([1, 2, 5]) == [(1, "new"), (2, "new"), (3, "new")]
    assert admissions.new_keys([6]) == [(4, "new")]
    assert admissions.new_keys([7, 7]) is None
    assert admissions.keys([7, 7, 2]) == [(5, "new"), (0, "duplicate"), (0, "duplicate")]
    assert admissions.new_keys([100]) is None


@pytest.mark.parametrize("keys", [["a", 1], [2, 1], [1, 1]], ids=["text beside numbers", "descending", "twice"])
def test_other_keys_are_looked_up(file, keys):
    """Nothing of the chunk was let in meanwhile."""
    admissions = file.admissions()

    assert admissions.new_keys(keys) is None
    assert admissions.keys(keys)[0] == (1, "new")


def test_keys_of_a_pipeline_with_tasks_are_looked_up(file):
    """They may be among them."""
    file.put(1, "a")
    admissions = file.admissions()

    assert admissions.new_keys(["b"]) is None
    assert admissions.keys(["b"]) == [(2, "new")]


# --- by number ---


def test_tasks_without_a_number_get_stand_ins(file):
    """Negative ones, below all that are on file."""
    file.put(-4, None)
    admissions = file.admissions(keyed=False)

    assert admissions.new_numbers([None, None]) == [(-5, "provisional"), (-6, "provisional")]
    assert admissions.numbers([None]) == [(-7, "provisional")]


def test_numbers_beyond_all_rows_need_no_look(file):
    """The others may belong to somebody."""
    file.put(5, None)
    admissions = file.admissions(keyed=False)

    assert admissions.new_numbers([6, 8, 6]) == [(6, "again"), (8, "again"), (6, "again")]
    assert admissions.new_numbers([9, 5]) is None
    assert admissions.numbers([9, 5]) == [(9, "again"), (5, "again")]


def test_numbers_of_a_pipeline_with_keys_are_taken(file):
    """Their rows are not to be overwritten."""
    file.put(5, "a")
    file.put(6, None)

    assert file.admissions(keyed=False).numbers([5, 6, None]) == [(5, "taken"), (6, "again"), (-1, "provisional")]


def test_without_a_ledger_everything_is_new(file):
    """Nothing is on file, and nothing will be."""
    run = RunLedger(file.conn, Transaction(file.conn, None), None, RunSpec(None, False, 1, "threads", None))

    assert run.admissions.new_numbers([None, 7, -3]) == [(0, "new"), (7, "new"), (-3, "new")]
