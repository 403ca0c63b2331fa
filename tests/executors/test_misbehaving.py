"""Tasks that mistreat the worker process that they run in: what it costs them, and that it costs nobody else."""

from __future__ import annotations

import os
import sys
import threading
from functools import partial

import pytest

import pipeloom
from executors.misbehaving import DEEDS, HUNG
from executors.running import is_alive
from executors.test_peers_bugs import DEAD

WELL = (
    "changes_its_process", "is_interrupted", "forks_and_returns", "forks_and_raises", "forks_and_exits",
    "prints_much", "starts_a_thread_that_goes_on", "runs_a_run", "logs_without_end",
    "has_processes_of_its_own", "reads_the_file_itself",
)  # fmt: skip


def test_logs_are_kept_after_whatever_a_task_did(misbehaved):
    """One line of each that is done."""
    sql = (
        "SELECT l.message FROM pipeloom_logs l JOIN task_runs t ON t.id = l.task_id "
        "WHERE t.status = 'done' AND l.logger = 'behaves' AND t.key <> 'logs_without_end'"
    )
    done = {key for (key,) in misbehaved.rows("SELECT key FROM task_runs WHERE status = 'done'")}
    done.discard("logs_without_end")

    assert sorted(message for (message,) in misbehaved.rows(sql)) == sorted(f"done {key}" for key in done)


def test_a_flood_of_log_records_is_bounded(misbehaved):
    """What is kept and what is said not to have been kept are all that there was."""
    sql = "SELECT l.logger, l.message FROM pipeloom_logs l JOIN task_runs t ON t.id = l.task_id WHERE t.key = ?"
    found = misbehaved.rows(sql, "logs_without_end")
    kept = sum(logger == "flood" for logger, _ in found)
    gaps = [int(message.split()[0].replace(",", "")) for logger, message in found if logger == "pipeloom"]

    assert 0 < kept <= 1500
    assert kept + sum(gaps) in (1500, 1501)  # with or without the line that every task logs at its end


@pytest.mark.parametrize("name", WELL)
def test_what_is_its_own_affair(misbehaved, name):
    """Directory, environment, handlers, children, threads, output: the task is done."""
    assert misbehaved.task(name) == ("done",), misbehaved.failure(name)


def test_forks_leave_as_what_became_of_them(misbehaved):
    """A child is not the task: it says nothing, and ends with its own code."""
    codes = {name: (misbehaved.db.parent / name).read_text() for name in ("returns", "raises", "exits")}

    assert codes == {"returns": "1", "raises": "1", "exits": "5"}


def test_a_thread_that_goes_on_is_not_heard(misbehaved):
    """Once its task has ended."""
    assert (misbehaved.db.parent / "late").read_text() == "refused"


@pytest.mark.parametrize("name", HUNG)
def test_a_call_that_hangs_is_ended(misbehaved, name):
    """Whether it is stopped, deaf, or in C: its process is killed, with the children in its group."""
    assert misbehaved.task(name) == ("timed_out",)
    assert misbehaved.failure(name).exception == "TaskTimeoutError"
    for note in (name, *(["child"] if name == "has_a_child" else [])):
        if (misbehaved.db.parent / note).exists():
            assert not is_alive(int((misbehaved.db.parent / note).read_text()))


def test_a_crash_shows_where_it_was(misbehaved):
    """Python's own last words: the line of the user's code."""
    assert "misbehaving.py" in misbehaved.failure("crashes").traceback
    assert "in crashes" in misbehaved.failure("crashes").traceback


def test_a_task_that_closes_what_is_not_its_own(misbehaved):
    """It loses the way to its run: that is its error, in words."""
    assert misbehaved.task("closes_what_it_does_not_own") == ("error",)
    assert misbehaved.failure("closes_what_it_does_not_own").exception in ("WorkerDiedError", "WriterBrokenError")


def test_every_deed_is_judged():
    """None is forgotten here, or in ``test_peers_bugs``."""
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


def test_a_policy_of_lambdas(db):
    """As a function; they are called in the worker."""
    pytest.importorskip("cloudpickle")
    policy = pipeloom.Retry(
        2, on=lambda error: "no 0" in str(error), delay=lambda error, attempt: 0.0 if os.getpid() != here else 1e9
    )
    here = os.getpid()
    report = pipeloom.map(
        fails_first, range(2), db=db, retries=policy, executor="processes", workers=1, on_error="collect",
        progress=False,
    )  # fmt: skip

    assert dict(report.results()) == {0: 2}
    assert [(failure.message, failure.attempt) for failure in report.failures] == [("no 1", 1)]


def fails_first(n, ctx):
    if ctx.attempt == 1:
        raise ValueError(f"no {n}")
    return ctx.attempt


def test_without_cloudpickle_a_policy_of_lambdas_is_refused(db, monkeypatch):
    """The sentence names the argument."""
    monkeypatch.setitem(sys.modules, "cloudpickle", None)
    policy = pipeloom.Retry(on=lambda error: True)
    with pytest.raises(TypeError, match=r"^retries cannot be sent to worker processes.*top level of a module"):
        pipeloom.map(fails_first, range(5), db=db, retries=policy, executor="processes", progress=False)
    assert not db.exists()


class Holds:
    """A function with a value that cannot be sent."""

    def __init__(self):
        self.lock = threading.Lock()

    def __call__(self, item):
        return item

    def called(self, item):
        return item


def has_a_lock(item, lock):
    return item


@pytest.mark.parametrize(
    ("function", "what"),
    [
        (Holds(), "the Holds object"),
        (Holds().called, "the function Holds.called"),
        (partial(has_a_lock, lock=threading.Lock()), "the partial of the function has_a_lock"),
        (partial(Holds()), "the partial of the Holds object"),
    ],
)
@pytest.mark.parametrize("has_cloudpickle", [True, False])
def test_a_value_that_cannot_be_sent_is_named(db, monkeypatch, function, what, has_cloudpickle):
    """The definition is at the top level of a module, so the error does not ask for that."""
    if has_cloudpickle:
        pytest.importorskip("cloudpickle")
    else:
        monkeypatch.setitem(sys.modules, "cloudpickle", None)
    with pytest.raises(TypeError) as refused:
        pipeloom.map(function, range(5), db=db, name="held", executor="processes", progress=False)

    assert str(refused.value).startswith(f"{what} cannot be sent to worker processes, because of a value in it (")
    assert "cannot pickle '_thread.lock' object" in str(refused.value)
    assert "top level" not in str(refused.value)
    assert not db.exists()


def test_a_value_of_a_closure_that_cannot_be_sent_is_named(db):
    """With cloudpickle a closure can be sent; what it holds is the reason."""
    pytest.importorskip("cloudpickle")
    lock = threading.Lock()
    with pytest.raises(TypeError, match=r"because of a value in it \(cannot pickle '_thread.lock' object\)"):
        pipeloom.map(lambda n: lock, range(5), db=db, name="held", executor="processes", progress=False)


def test_without_cloudpickle_they_are_refused(db, monkeypatch):
    """In a sentence, before anything happens, which says what to do."""
    monkeypatch.setitem(sys.modules, "cloudpickle", None)
    for function in (lambda n: n, partial(lambda n: n)):
        with pytest.raises(
            TypeError, match=r"cannot be sent to worker processes.*top level of a module"
        ) as refused:
            pipeloom.map(function, range(5), db=db, name="closure", executor="processes", progress=False)
        assert "cloudpickle" in str(refused.value)
    assert not db.exists()
