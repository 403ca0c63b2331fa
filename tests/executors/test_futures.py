"""Executors of the caller's: what they cannot do is refused; whatever they do, nothing is lost or comes twice."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import nullcontext
from functools import partial
from pathlib import Path

import pytest
from faults.tools import DONE, INTERRUPTED, KILLED, until

import pipeloom
from executors import engines, running
from executors.misbehaving import Unpicklable, Unreadable, name_of
from executors.watching import Watcher
from pipeloom.db.cancel import request_cancel
from pipeloom.executors.remote.chunks import Assignment, Done, Order, assigned, read_done
from pipeloom.executors.remote.forms import Failure, encode
from pipeloom.executors.remote.program import NotFoundError, Packed, packed
from pipeloom.executors.remote.raised import failure_of
from pipeloom.executors.remote.run_chunk import run_chunk, this_process
from pipeloom.wire import Brief

HERE = Path(__file__).parent.parent
ROWS = {"rows": {"n": int}}


def load(n, ctx):
    """Write a row."""
    ctx.write("rows", {"n": n})
    return n


def loaded(executor, db, count=200, **options):
    """Load numbers on an executor."""
    return pipeloom.map(
        load, range(count), db=db, name="load", executor=executor, workers=2, tables=ROWS, progress=False,
        durability="off", **options,
    )  # fmt: skip


def assert_all_once(read, db, count=200):
    """All are done, each row is there once, and no try failed."""
    assert read(db, "SELECT n FROM rows ORDER BY n") == [(n,) for n in range(count)]
    assert read(db, "SELECT status, attempt, COUNT(*) FROM task_runs GROUP BY 1, 2") == [("done", 1, count)]
    assert read(db, "SELECT COUNT(*) FROM pipeloom_attempts") == [(0,)]


# --- what is refused at the call ---


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (
            {"timeout": 1},
            "timeout= is not possible on a ThreadPoolExecutor: a call that runs there cannot be ended",
        ),
        (
            {"memory_mb": 100},
            "memory_mb= is not possible on a ThreadPoolExecutor: pipeloom did not start its workers",
        ),
        ({"tasks_per_worker": 5}, "tasks_per_worker= is not possible on a ThreadPoolExecutor"),
        ({"local": nullcontext}, "local= is not possible on a ThreadPoolExecutor: .* initializer="),
    ],
)
def test_what_it_cannot_is_refused_at_the_call(db, options, said):
    """In one sentence, before anything is opened."""
    with ThreadPoolExecutor(1) as pool, pytest.raises(ValueError, match=said):
        loaded(pool, db, **options)
    assert not db.exists()


@pytest.mark.parametrize(
    ("executor", "kind", "said"),
    [
        ("thread", ValueError, "an object with submit.*not 'thread'"),
        (ThreadPoolExecutor, TypeError, "the class ThreadPoolExecutor: pass ThreadPoolExecutor"),
        (object(), TypeError, "an object with submit.*not object"),
    ],
)
def test_what_is_no_executor_is_refused(db, executor, kind, said):
    """It says what one is."""
    with pytest.raises(kind, match=said):
        loaded(executor, db)
    assert not db.exists()


def test_a_submit_that_gives_no_future_is_refused(db):
    """Such as one that calls at once."""

    class Calls:
        def submit(self, fn, /, *args):
            return fn(*args)

    with pytest.raises(TypeError, match=r"submit\(\) of a Calls must return a future.*not a str"):
        loaded(Calls(), db)
    assert not db.exists()


def test_a_function_that_cannot_be_sent_is_refused(db, monkeypatch):
    """Without cloudpickle."""
    monkeypatch.setitem(sys.modules, "cloudpickle", None)
    with ThreadPoolExecutor(1) as pool, pytest.raises(TypeError, match="cannot be sent to worker processes"):
        pipeloom.map(lambda n: n, range(3), db=db, executor=pool, progress=False)
    assert not db.exists()


# --- executors that misbehave: P21 of the guarantees ---


@pytest.mark.parametrize("executor", [engines.Repeating(), engines.Forgetful()], ids=["repeating", "forgetful"])
def test_a_chunk_is_taken_once(executor, db, read):
    """However often it runs and comes, and however late: after its tasks were sent anew, and have ended."""
    report = loaded(executor, db)

    assert (report.done, report.failed) == (200, 0)
    assert_all_once(read, db)


@pytest.mark.parametrize("what", [b"", b"\x93\x00", "text", None, encode(Done(999, "w", 0.0, []))])
def test_what_cannot_be_read_is_had_again(what, db, read):
    """Nothing of it is believed; the tasks of that chunk are sent once more, each by itself."""
    report = loaded(engines.Liar(what, 1), db, count=50)

    assert report.done == 50
    assert_all_once(read, db, 50)


def test_a_task_that_is_lost_by_itself_is_charged(db):
    """The others are done; what the executor said is in the sentence."""
    report = loaded(engines.Liar(RuntimeError("a node went away"), 2), db, count=1, on_error="collect")

    (failure,) = report.failures
    assert (failure.exception, failure.attempt) == ("WorkerDiedError", 1)
    assert failure.message == "its worker did not answer: a node went away"


def test_an_executor_that_never_answers_can_be_left(db):
    """Draining waits for it, and cancelling does not: what it was given is left to the next run."""
    watcher = Watcher(db)

    def cancel():
        watcher.until("SELECT COUNT(*) FROM pipeloom_runs", [(1,)])
        request_cancel(db, 1, "cancel")

    cancelling = threading.Thread(target=cancel)
    cancelling.start()
    with pytest.raises(pipeloom.RunInterruptedError) as interrupted:
        loaded(engines.Deaf(), db, count=5)
    cancelling.join()

    report = interrupted.value.report
    assert (report.done, report.failed, report.cancelled) == (0, 0, 0)
    assert loaded(engines.Direct(), db, count=5).done == 5


def test_what_waits_is_taken_back_when_the_run_stops(db, read):
    """At the first signal: only what has begun is waited for."""
    let_go, begun = threading.Event(), threading.Event()

    def waits():
        begun.set()
        let_go.wait(running.LONG_S)

    def drain():
        Watcher(db).until("SELECT COUNT(*) FROM pipeloom_runs", [(1,)])
        request_cancel(db, 1, "drain")

    with ThreadPoolExecutor(1) as pool:
        pool.submit(waits)
        begun.wait()
        draining = threading.Thread(target=drain)
        draining.start()
        with pytest.raises(pipeloom.RunInterruptedError):
            loaded(pool, db)
        draining.join()
        let_go.set()
        assert loaded(pool, db).done == 200
    assert_all_once(read, db)


def test_an_executor_that_was_shut_down(db, read):
    """In a sentence; with another one the next call does everything."""
    pool = ThreadPoolExecutor(1)
    pool.shutdown()
    with pytest.raises(RuntimeError, match="cannot schedule new futures after shutdown"):
        loaded(pool, db)

    class ShutDownLater(engines.Direct):
        count = 0

        def submit(self, fn, /, *args):
            self.count += 1
            if self.count > 4:
                raise RuntimeError("cannot schedule new futures after shutdown")
            return super().submit(fn, *args)

    with pytest.raises(
        pipeloom.ExecutorBrokenError,
        match=r"^ShutDownLater can run nothing more \(RuntimeError: cannot schedule new futures after shutdown\): "
        "finished tasks are stored",
    ) as broken:
        loaded(ShutDownLater(), db)
    assert type(broken.value.__cause__) is RuntimeError
    assert 0 < read(db, "SELECT COUNT(*) FROM rows")[0][0] < 200

    loaded(engines.Direct(), db)
    assert_all_once(read, db)


def test_an_executor_without_pipeloom(db):
    """It is no task's fault; the module is named, whatever the executor wraps its error in."""
    wrapped = RuntimeError("cannot deserialize")
    wrapped.__cause__ = ModuleNotFoundError("No module named 'pipeloom'")
    with pytest.raises(
        pipeloom.ExecutorBrokenError,
        match=r"^Liar can run nothing more \(ModuleNotFoundError: No module named 'pipeloom'\)",
    ):
        loaded(engines.Liar(wrapped, 1), db)


# --- real pools ---


def dies_once(notes, n, ctx):
    """End the worker process, the first time."""
    ctx.write("rows", {"n": n})
    if n == 20 and not (Path(notes) / "died").exists():
        (Path(notes) / "died").touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return n


def test_a_pool_that_breaks(db, read, tmp_path):
    """One worker dies, and it can run nothing more: nothing is charged, and the next run does the rest."""

    def run():
        with ProcessPoolExecutor(2) as pool:
            return pipeloom.map(
                partial(dies_once, str(tmp_path)), range(60), db=db, name="dies", executor=pool, tables=ROWS,
                progress=False, durability="off",
            )  # fmt: skip

    with pytest.raises(pipeloom.ExecutorBrokenError, match=r"^ProcessPoolExecutor can run nothing more"):
        run()
    assert read(db, "SELECT COUNT(*) FROM task_runs WHERE status = 'error'") == [(0,)]
    assert read(db, "SELECT status, executor FROM pipeloom_runs") == [("error", "ProcessPoolExecutor")]

    report = run()
    assert report.done > 0
    assert_all_once(read, db, 60)


def test_inputs_that_cannot_be_sent_or_read_fail_alone(db, tmp_path):
    """With what they raised."""
    items = [Unpicklable(), *range(5), Unreadable(), *range(5, 10)]
    with ProcessPoolExecutor(1) as pool:
        report = pipeloom.map(
            name_of_any, items, db=db, name="items", key=name_of_any, executor=pool, on_error="collect",
            progress=False, durability="off",
        )  # fmt: skip
    failed = {failure.key: failure.message for failure in report.failures}

    assert report.done == 10
    assert "cannot be sent to a worker (RuntimeError: not to be sent)" in failed["Unpicklable"]
    assert "cannot be read by a worker (LookupError: not to be read)" in failed["Unreadable"]


def name_of_any(item):
    """Name an input."""
    return str(item) if isinstance(item, int) else name_of(item)


@pytest.mark.parametrize("signal_name", ["SIGINT", "SIGKILL"])
def test_stopped_and_called_again(signal_name, db, read, start, tmp_path):
    """A typed Ctrl-C, which its workers hear as well, or the end of the run's process: each row once in the end."""
    words = [sys.executable, "-m", "executors.running", "pool", str(db), str(tmp_path)]
    child = start(words, cwd=HERE)
    until(lambda: len([name for name in os.listdir(tmp_path) if name.isdigit()]) > 20, "some are done", child)
    if signal_name == "SIGINT":
        os.killpg(child.process.pid, signal.SIGINT)
        assert child.wait()[0] == INTERRUPTED
    else:
        os.killpg(child.process.pid, signal.SIGKILL)  # with the pool's workers, which would not notice
        assert child.process.wait() == KILLED
    assert read(db, "SELECT COUNT(*) FROM task_runs WHERE status NOT IN ('done', 'interrupted')") == [(0,)]
    assert 0 < read(db, "SELECT COUNT(*) FROM task_runs WHERE status = 'done'")[0][0] < 120

    assert start(words, cwd=HERE).wait()[0] == DONE
    assert read(db, "SELECT COUNT(*), COUNT(DISTINCT n) FROM rows") == [(120, 120)]
    assert read(db, "SELECT status, COUNT(*) FROM task_runs GROUP BY 1") == [("done", 120)]


# --- a chunk, by itself ---

BRIEF = Brief(
    function=len, context=None, keeps_results=True, retry=None, timeout_s=None, run_id=1, keyed=True, alter=False,
    max_task_bytes=float("inf"), declared=None, spool_in=None, executor="test", can=frozenset(),
)  # fmt: skip


def performed(function, calls, *, version=pipeloom.__version__, patience_s=10.0):
    """Perform a chunk here."""
    parts = function if isinstance(function, Packed) else packed("the function", (function, None, None))
    assignment = Assignment(this_process(), BRIEF, parts, True, logging.WARNING, frozenset())
    order = Order(7, patience_s, [(n, n, n, str(n), 1, 0, False, None) for n in calls])
    return read_done(run_chunk(assigned(os.urandom(16), version, assignment), encode(order)))


def test_what_a_chunk_gives_back():
    """How each task ended, in their order."""
    done = performed(running.fails_at_fifty, [49, 50, 51])

    assert (done.number, done.worker) == (7, threading.current_thread().name)
    assert [left.ended.status for left in done.tasks] == ["done", "error", "done"]
    assert done.tasks[1].ended.raised.name == "ValueError"


def test_a_chunk_that_takes_long_comes_back_early():
    """With what is done of it."""
    assert len(performed(running.fails_at_fifty, range(10), patience_s=0.0).tasks) == 1


def returns_much(n):
    """Return 6 MB."""
    return "x" * 6_000_000


def test_a_chunk_that_becomes_heavy_comes_back_early():
    """Past 16 MiB."""
    assert len(performed(returns_much, range(10)).tasks) == 3


def test_a_worker_with_another_version_says_so():
    """Rather than misunderstand."""
    failure = performed(running.fails_at_fifty, [1], version="0.0.1")

    assert isinstance(failure, Failure)
    assert (
        failure.why
        == f"the run has pipeloom 0.0.1, but its worker has {pipeloom.__version__}: install the same version"
    )


def test_a_worker_that_lacks_a_module_says_so():
    """And what to do; no task is charged."""
    failure = performed(Packed(b"(cwent_away\nfunction\nNNt.", None), [1])

    assert isinstance(failure, Failure)
    assert failure.why.startswith("it cannot import what the run sends (No module named 'went_away'): install")


def test_a_worker_that_cannot_begin_ends_the_run(db, read):
    """With its sentence."""
    failure = encode(failure_of(NotFoundError("it cannot import what the run sends")))
    with pytest.raises(pipeloom.RemoteError, match=r"^a worker of Liar could not start: it cannot import what"):
        loaded(engines.Liar(failure, 1), db)

    assert read(db, "SELECT COUNT(*) FROM task_runs WHERE status = 'error'") == [(0,)]
