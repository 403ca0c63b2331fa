"""Tasks that mistreat the worker process that they run in: what it costs them, and that it costs nobody else."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

import pipeloom
from executors import misbehaving
from executors.misbehaving import DEEDS, Behaves, DeadlyToRead, Unpicklable, Unreadable
from executors.running import is_alive

WELL = (
    "changes_its_process", "is_interrupted", "forks_and_returns", "forks_and_raises", "forks_and_exits",
    "prints_much", "starts_a_thread_that_goes_on", "runs_a_run",
)  # fmt: skip
HUNG = ("stops_itself", "hears_nothing", "holds_the_lock_of_pythons", "has_a_child")
DEAD = {
    "dies_while_it_speaks": "SIGKILL",
    "crashes": "SIGSEGV",
    "exits_at_once": "exited with 0",
    "DeadlyToRead": "exited with 7",
}


@dataclass(frozen=True)
class Misbehaved:
    """A run of all deeds, each followed by others that do nothing special."""

    report: pipeloom.RunReport
    db: Path
    notes: Path

    def rows(self, sql: str, *params: object) -> list[tuple[object, ...]]:
        with closing(sqlite3.connect(self.db)) as conn:
            return conn.execute(sql, params).fetchall()

    def status(self, name: str) -> str:
        return self.rows("SELECT status FROM task_runs WHERE key = ?", name)[0][0]

    def failure(self, name: str) -> pipeloom.Failure:
        return {failure.key: failure for failure in self.report.failures}[name]


@pytest.fixture(scope="session")
def ran(tmp_path_factory):
    """The run; none of it is tried again."""
    place = tmp_path_factory.mktemp("misbehaving")
    special = {kind.__name__: kind() for kind in (Unpicklable, Unreadable, DeadlyToRead)}
    items = [item for name in (*DEEDS, *special) for item in (special.get(name, name), *others(name))]
    report = pipeloom.map(
        Behaves(place), items, db=place / "out.db", name="misbehaving", key=misbehaving.name_of, workers=2,
        executor="processes", timeout=0.7, on_error="collect", durability="off", progress=False,
        tables={"rows": {"item": str, "attempt": int}, "floods": {"n": int, "text": str}},
    )  # fmt: skip
    return Misbehaved(report, place / "out.db", place)


def others(name):
    """The inputs behind a deed, in whose worker some of them run."""
    return [f"{n} after {name}" for n in range(3)]


def test_nobody_else_is_charged(ran):
    """Whatever stood in a chunk with a deed, or came after it in its worker, is done, at its first try."""
    names = (*DEEDS, "Unpicklable", "Unreadable", "DeadlyToRead")
    rest = [name for deed in names for name in others(deed)]
    found = ran.rows("SELECT key, status, attempt FROM task_runs WHERE key LIKE '% after %' ORDER BY key")

    assert found == sorted((name, "done", 1) for name in rest)
    assert ran.rows("SELECT COUNT(*) FROM pipeloom_attempts") == [(0,)]


def test_rows_are_stored_once_and_of_the_done_alone(ran):
    """Nothing of a child, of a late thread, or of a try that died."""
    done = [key for (key,) in ran.rows("SELECT key FROM task_runs WHERE status = 'done'")]

    assert sorted(item for (item,) in ran.rows("SELECT item FROM rows")) == sorted(done)
    assert len(done) == len(DEEDS) * 4 + 3 * 4 - ran.report.failed - ran.report.timed_out


def test_logs_are_kept_after_whatever_a_task_did(ran):
    """One line of each that is done, and none of others."""
    sql = "SELECT l.message FROM pipeloom_logs l WHERE l.logger = 'behaves'"
    done = [key for (key,) in ran.rows("SELECT key FROM task_runs WHERE status = 'done'")]

    assert sorted(message for (message,) in ran.rows(sql)) == sorted(f"done {key}" for key in done)


@pytest.mark.parametrize("name", WELL)
def test_what_is_its_own_affair(ran, name):
    """Directory, environment, handlers, children, threads, output: the task is done."""
    assert ran.status(name) == "done", ran.failure(name)


def test_forks_leave_as_what_became_of_them(ran):
    """A child is not the task: it says nothing, and ends with its own code."""
    codes = {name: (ran.notes / name).read_text() for name in ("returns", "raises", "exits")}

    assert codes == {"returns": "1", "raises": "1", "exits": "5"}


def test_a_thread_that_goes_on_is_not_heard(ran):
    """Once its task has ended."""
    assert (ran.notes / "late").read_text() == "refused"


@pytest.mark.parametrize("name", HUNG)
def test_a_call_that_hangs_is_ended(ran, name):
    """Whether it is stopped, deaf, or in C: its process is killed, with the children in its group."""
    assert ran.status(name) == "timed_out"
    assert ran.failure(name).exception == "TaskTimeoutError"
    for note in (name, *(["child"] if name == "has_a_child" else [])):
        if (ran.notes / note).exists():
            assert not is_alive(int((ran.notes / note).read_text()))


@pytest.mark.parametrize(("name", "said"), DEAD.items())
def test_a_worker_that_dies_is_told(ran, name, said):
    """As the error of the task that it was at, with how it ended."""
    assert ran.failure(name).exception == "WorkerDiedError"
    assert said in ran.failure(name).message


def test_a_crash_shows_where_it_was(ran):
    """Python's own last words: the line of the user's code."""
    assert "misbehaving.py" in ran.failure("crashes").traceback
    assert "in crashes" in ran.failure("crashes").traceback


def test_a_task_that_closes_what_is_not_its_own(ran):
    """It loses the way to its run: that is its error, in words."""
    assert ran.status("closes_what_it_does_not_own") == "error"
    assert ran.failure("closes_what_it_does_not_own").exception in ("WorkerDiedError", "WriterBrokenError")


def test_an_input_that_cannot_be_sent_or_read_fails_alone(ran):
    """It says which of the two, and why; it neither hangs nor takes a worker along."""
    sent, read = ran.failure("Unpicklable"), ran.failure("Unreadable")

    assert "cannot be sent" in sent.message
    assert "not to be sent" in sent.message + sent.traceback
    assert "cannot be read" in read.message
    assert "not to be read" in read.message + read.traceback


def test_an_exception_that_cannot_be_unpickled_is_told(ran):
    """Nothing is unpickled."""
    failure = ran.failure("raises_what_cannot_be_read")

    assert (failure.exception, failure.message) == ("RaisesWhenRead", "1 and 2")


def test_every_deed_is_judged():
    """None is forgotten here."""
    judged = {*WELL, *HUNG, *DEAD, "closes_what_it_does_not_own", "raises_what_cannot_be_read"}
    assert judged == {*DEEDS, "DeadlyToRead"}


# --- functions that have no name to be sent by ---


def test_closures_lambdas_and_local_classes(db):
    """With cloudpickle they are sent as they are."""
    pytest.importorskip("cloudpickle")
    factor = 3

    class Local:
        def times(self, n):
            return n * factor

    report = pipeloom.map(
        lambda n: Local().times(n), range(5), db=db, name="closure", executor="processes", workers=1, progress=False
    )
    assert dict(report.results()) == {n: 3 * n for n in range(5)}


def test_without_cloudpickle_they_are_refused(db, monkeypatch):
    """In a sentence, before anything happens, which says what to do."""
    monkeypatch.setitem(__import__("sys").modules, "cloudpickle", None)
    for function in (lambda n: n, partial(lambda n: n)):
        with pytest.raises(
            TypeError, match=r"cannot be sent to worker processes.*top level of a module"
        ) as refused:
            pipeloom.map(function, range(5), db=db, name="closure", executor="processes", progress=False)
        assert "cloudpickle" in str(refused.value)
    assert not db.exists()
