"""One file, followed through everything that can happen to it."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from time import monotonic

import pytest

import pipeloom
from pipeloom.cli.watching.navigation import Choice
from pipeloom.cli.watching.watcher import Want, Watcher
from pipeloom.history import History

RUNNING = Want()


@pytest.fixture
def look(db):
    """Look at the file until it shows something; ``look(wanted, condition)``."""
    with Watcher(db) as watcher:

        def looking(condition=lambda _: True, want=RUNNING):
            deadline = monotonic() + 20
            while not condition(scene := watcher.look(want)):
                assert monotonic() < deadline, scene
            return scene

        looking.watcher = watcher
        yield looking


def fail(n):
    """Fail for odd numbers."""
    if n % 2:
        raise ValueError(f"no {n}")


def ended(path, items=range(4), name="load"):
    """Run to the end."""
    pipeloom.map(fail, items, db=path, name=name, on_error="collect", progress=False)


def test_it_waits_for_the_file_its_ledger_and_a_run(db, look, tmp_path):
    """And says for which of them."""
    assert look().trouble == f"the file {db} does not exist yet: check the path; waiting for it…"
    db.touch()
    assert "the file has no ledger yet" in look(lambda seen: "ledger" in seen.trouble).trouble
    ended(db)
    seen = look(lambda seen: seen.run is not None)
    assert seen.trouble is None
    assert (seen.run.run_id, seen.run.status, seen.run.done, seen.run.failed) == (1, "error", 2, 2)
    assert [task.name for task in seen.failures] in (["1", "3"], ["3", "1"])
    assert not list(tmp_path.glob("*-journal"))
    with Watcher(tmp_path / "nowhere" / "out.db") as nowhere:
        where = tmp_path / "nowhere"
        assert nowhere.look(RUNNING).trouble.startswith(
            f"the directory {where} does not exist yet: check the path;"
        )


def test_a_run_is_followed_to_its_end_and_into_the_next_one(db, look, held):
    """Its running tasks, its totals; then another pipeline's."""
    with held(range(8), fails=(2,)) as end:
        seen = look(lambda seen: len(seen.running) == 6 and all(task.progress == 0.5 for task in seen.running))
        assert seen.is_running
        assert seen.counts == {"running": 6}
        assert {task.message for task in seen.running} == {f"half way {n}" for n in range(6)}
        end()
    seen = look(lambda seen: not seen.is_running)
    assert (seen.run.status, seen.run.done, seen.run.failed) == ("error", 7, 1)
    assert seen.running == ()
    assert [task.message for task in seen.failures] == ["no 2"]
    with held(range(3), name="other") as end:
        seen = look(lambda seen: seen.is_running)
        assert (seen.run.run_id, seen.run.pipeline) == (2, "other")
        assert seen.failures == ()
        end()


def test_pages_and_opened_things_are_read_when_they_are_wanted(db, look):
    """Groups, runs, one task in full, one run, and what is not there."""
    ended(db)
    ended(db, range(4, 8))
    failure = look().failures[0]
    seen = look(want=Want("kinds", Choice("task", failure.id)))
    assert [(group.count, group.exception) for group in seen.errors] == [(2, "ValueError")]
    assert "ValueError: no" in seen.opened.task.error
    seen = look(want=Want("runs", Choice("run", 1)))
    assert [run.run_id for run in seen.runs] == [2, 1]
    assert [run.run_id for run in look(want=Want("running", Choice("run", 1))).runs] == [2, 1]
    assert look(want=Want("failures", Choice("task", 99))).opened is None


def test_a_replaced_file_is_opened_again(db, look, tmp_path):
    """And said so; what belonged to the old one is gone."""
    ended(db)
    assert look().run.pipeline == "load"
    ended(tmp_path / "new.db", range(6), name="new")
    (tmp_path / "new.db").replace(db)
    seen = look(lambda seen: seen.run.pipeline == "new")
    assert "replaced" in seen.note
    assert seen.trouble is None
    assert len(seen.failures) == 3


def test_a_removed_file_is_waited_for(db, look, tmp_path):
    """What was read last stays; then the new one is shown."""
    ended(db)
    look()
    shutil.copy(db, tmp_path / "kept.db")
    db.unlink()
    seen = look(lambda seen: seen.trouble is not None)
    assert "removed" in seen.trouble
    assert seen.run.run_id == 1
    shutil.copy(tmp_path / "kept.db", db)
    assert look(lambda seen: seen.trouble is None).run.run_id == 1


def test_a_file_that_is_no_database_is_said_to_be_none(db, look):
    """Once a second is asked again; a database in its place is shown."""
    db.write_text("hello, this is only text\n" * 100)
    assert "cannot read the file" in look().trouble
    assert "not a SQLite database" in look().trouble
    db.unlink()
    ended(db)
    assert look(lambda seen: seen.trouble is None).run.run_id == 1


@pytest.mark.slow
def test_a_locked_file_is_said_to_be_locked(db, look):
    """As long as it is, which SQLite waits for; afterwards it is read."""
    ended(db)
    with closing(sqlite3.connect(db, isolation_level=None)) as conn:
        conn.execute("PRAGMA journal_mode = DELETE")
        conn.execute("BEGIN EXCLUSIVE")
        assert "lock" in look().trouble
        conn.execute("COMMIT")
    assert look(lambda seen: seen.trouble is None).run.run_id == 1


def test_a_dead_run_is_told_from_a_slow_one(db, look):
    """Nothing is committed any more: it is asked for all the same."""
    ended(db)
    with closing(sqlite3.connect(db, isolation_level=None)) as conn:
        conn.execute("UPDATE pipeloom_runs SET status = 'running', finished_at = NULL, pid = 1")
        seen = look(lambda seen: seen.run.is_unclosed)
    assert seen.run.status == "interrupted"


def test_a_file_without_runs_shows_its_tasks(db, look):
    """As a writer of its own leaves it."""
    ended(db)
    with closing(sqlite3.connect(db, isolation_level=None)) as conn:
        conn.execute("DELETE FROM pipeloom_runs")
    seen = look()
    assert seen.run is None
    assert seen.counts == {"done": 2, "error": 2}


def test_an_unchanged_file_costs_one_pragma(db, look):
    """Nothing is read again until something was committed."""
    ended(db)
    look()
    said = []
    look.watcher._follower._history._reader._file.conn.set_trace_callback(said.append)
    for _ in range(5):
        look.watcher._not_before = 0.0
        look()
    assert said == ["PRAGMA data_version"] * 5


def test_no_question_goes_through_all_tasks(db, look, held):
    """While a run goes on, each one finds what it needs by an index or by its number."""
    ended(db)  # whose statistics say that there are four tasks
    with held(range(6), name="other") as end:
        look(lambda seen: seen.is_running)
        said = []
        look.watcher._follower._history._reader._file.conn.set_trace_callback(said.append)
        look(want=Want("failures", Choice("task", 1)))
        look(want=Want("runs", Choice("run", 1)))
        assert len(said) > 10
        with closing(sqlite3.connect(db)) as conn:
            conn.create_function("failure", 4, lambda *_: None)
            for statement in said:
                if "task_runs" in statement and not statement.startswith(("PRAGMA", "--")):
                    plan = [row[3] for row in conn.execute(f"EXPLAIN QUERY PLAN {statement}")]
                    scans = [step for step in plan if step.startswith(("SCAN task_runs", "SCAN t"))]
                    assert not [step for step in scans if "pipeloom_task_open" not in step], statement
        end()


def test_no_read_transaction_stays_open(db, look):
    """A writer can empty the log between two looks."""
    ended(db)
    look()
    with closing(sqlite3.connect(db, isolation_level=None)) as conn:
        conn.execute("UPDATE task_runs SET message = 'x'")
        look()
        assert conn.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone() == (0, 0, 0)


def test_reading_takes_a_tenth_of_the_time_at_most(db):
    """After a look that took a second, the next one is ten seconds later; what is newly wanted is read at once."""
    ended(db)
    now = [0.0]
    with Watcher(db, clock=lambda: now[0]) as watcher:
        watcher.look(RUNNING)
        read = []
        original = watcher._read

        def slow(history: History, want: Want, at: float) -> None:
            read.append(at)
            original(history, want, at)

        watcher._read = slow
        watcher._not_before = 10.0
        for second in range(12):
            now[0] = float(second)
            with closing(sqlite3.connect(db, isolation_level=None)) as conn:
                conn.execute("UPDATE task_runs SET message = ?", (second,))
            watcher.look(RUNNING)
        assert read == [10.0, 11.0]
        watcher._not_before = 100.0
        watcher.look(Want("runs"))
        assert read == [10.0, 11.0, 11.0]
