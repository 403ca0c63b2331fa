"""What can happen to a file that is watched."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing

import pytest

from pipeloom.db import Ownership
from pipeloom.errors import StorageError
from pipeloom.history import Follower, NoLedgerError

from .conftest import AT, tasks

GOING_ON = {"id": 1, "status": "running", "started_at": AT, "pid": os.getpid()}


class Clock:
    """A clock that is set."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def ledger(db, clock):
    with Follower(db, clock=clock) as follower:
        yield follower


def news(ledger):
    """Look, and return what has happened."""
    return ledger.look()[1]


def test_a_file_is_waited_for_opened_and_seen_to_change(db, ledger, written, change):
    """First there is none, then it is no ledger, then it is one."""
    with pytest.raises(StorageError, match="no such file"):
        ledger.look()
    assert ledger.is_missing()
    db.touch()
    with pytest.raises(NoLedgerError, match="no pipeloom ledger"):
        ledger.look()
    assert not ledger.is_missing()
    written(task_runs=tasks(1))
    assert [news(ledger), news(ledger)] == ["opened", None]
    change("UPDATE task_runs SET name = 'other'")
    assert [news(ledger), news(ledger)] == ["changed", None]


def test_another_file_in_its_place_is_opened_instead(db, ledger, written):
    """And is said to be another one."""
    written(task_runs=tasks(1))
    assert ledger.look()[0].counts() == {"done": 1}
    db.rename(db.with_name("moved.db"))
    written(task_runs=tasks(2))
    history, happened = ledger.look()
    assert (history.counts(), happened) == ({"done": 2}, "replaced")
    assert news(ledger) is None


def test_a_replacement_is_not_forgotten_while_it_cannot_be_read(db, ledger, written):
    """It has no ledger yet when it is noticed first."""
    written(task_runs=tasks(1))
    ledger.look()
    db.rename(db.with_name("moved.db"))
    db.touch()
    with pytest.raises(NoLedgerError):
        ledger.look()
    written(task_runs=tasks(2))
    assert [news(ledger), news(ledger)] == ["replaced", None]


def test_a_removed_file_is_let_go_of_and_opened_when_it_is_back(db, ledger, written):
    """It takes no other's place then."""
    written(task_runs=tasks(1))
    ledger.look()
    db.rename(db.with_name("moved.db"))
    with pytest.raises(StorageError, match="no such file"):
        ledger.look()
    db.with_name("moved.db").rename(db)
    assert news(ledger) == "opened"


def test_a_process_that_dies_is_noticed_though_the_file_stays_the_same(db, ledger, clock, written):
    """Within a second, and once."""
    written(pipeloom_runs=[GOING_ON])
    with Ownership(db):
        assert news(ledger) == "opened"
        clock.now = 5.0
        assert news(ledger) is None
    assert news(ledger) is None  # it was asked for a moment ago
    clock.now = 6.0
    assert [news(ledger), news(ledger)] == ["changed", None]
    clock.now = 7.0
    assert news(ledger) is None


def test_an_unchanged_file_costs_one_pragma(ledger, clock, written):
    """However often it is looked at, when no run is going on."""
    written(pipeloom_runs=[{**GOING_ON, "status": "done"}])
    history, _ = ledger.look()
    said = []
    history._reader._file.conn.set_trace_callback(said.append)
    for clock.now in range(5):
        assert news(ledger) is None
    assert said == ["PRAGMA data_version"] * 5


def test_what_was_closed_is_opened_again(db, ledger, written):
    """As when nobody has watched for a while; closing twice is fine."""
    written(task_runs=tasks(1))
    ledger.look()
    ledger.close()
    ledger.close()
    with closing(sqlite3.connect(db)) as conn:
        conn.execute("PRAGMA journal_mode = DELETE")  # which needs the file to itself
    assert news(ledger) == "opened"
