"""When a failed try is followed by another: the policy, and what a run does with it."""

from __future__ import annotations

import threading
from collections import Counter
from time import monotonic

import pytest

import pipeloom
from pipeloom import MsgTaskFinished, Retry, TasksFailedError

AT_ONCE = Retry(attempts=3, delay_s=0.0)


def failing(times, *, error=OSError, rows=()):
    """Return a function that fails so many times per input, and writes rows each time."""
    calls = Counter()

    def fn(item, ctx):
        calls[item] += 1
        for row in rows:
            ctx.write("t", {"item": item, "row": row})
        if calls[item] <= times:
            raise error(f"no {calls[item]}")
        return calls[item]

    fn.calls = calls
    return fn


def test_waits_grow_up_to_a_limit():
    """Each is longer by the factor."""
    policy = Retry(10, delay_s=1.0, factor=3.0, max_delay_s=20.0, jitter=0.0)

    assert [policy.delay_after(n) for n in (1, 2, 3, 4, 9)] == [1, 3, 9, 20, 20]
    assert Retry(9999, delay_s=1.0, factor=10.0, max_delay_s=7.0, jitter=0.0).delay_after(9000) == 7


def test_jitter_stays_within_its_share():
    """A quarter to either side."""
    waits = [Retry(delay_s=4.0, jitter=0.25).delay_after(1) for _ in range(200)]

    assert 3.0 <= min(waits) < max(waits) <= 5.0


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"attempts": 0}, ValueError),
        ({"attempts": 1.5}, TypeError),
        ({"attempts": True}, TypeError),
        ({"delay_s": -1}, ValueError),
        ({"delay_s": float("nan")}, ValueError),
        ({"delay_s": "1"}, TypeError),
        ({"factor": 0.5}, ValueError),
        ({"max_delay_s": float("inf")}, ValueError),
        ({"jitter": 1.5}, ValueError),
        ({"on": "OSError"}, TypeError),
        ({"on": (OSError, 3)}, TypeError),
    ],
)
def test_a_policy_that_makes_no_sense_is_refused(options, error):
    """One sentence that names the argument."""
    with pytest.raises(error, match=f"Retry: {next(iter(options))} must be|attempts counts"):
        Retry(**options)


@pytest.mark.parametrize("retries", [-1, 1.5, True, "3", None])
def test_retries_is_a_number_or_a_policy(db, retries):
    """Anything else is refused before anything happens."""
    with pytest.raises((ValueError, TypeError), match="retries must be"):
        pipeloom.map(str, [1], db=db, retries=retries)
    assert not db.exists()


def test_a_task_that_recovers_is_done(db, read):
    """Its past tries are kept, their rows are not."""
    fn = failing(2, rows=(1, 2))
    report = pipeloom.map(fn, ["a", "b"], db=db, retries=AT_ONCE, workers=2)

    assert (report.done, report.failed, report.total, report.failures) == (2, 0, 2, ())
    assert read(db, "SELECT key, status, attempt, result, rows_written FROM task_runs ORDER BY key") == [
        ("a", "done", 3, "3", 2),
        ("b", "done", 3, "3", 2),
    ]
    assert read(db, "SELECT item, COUNT(*) FROM t GROUP BY item") == [("a", 2), ("b", 2)]
    assert read(
        db,
        "SELECT a.attempt, a.status, a.message, a.error LIKE '%OSError: no %', a.worker LIKE 'thread-%', "
        "a.elapsed_s >= 0 FROM pipeloom_attempts a JOIN task_runs t ON t.id = a.task_id WHERE t.key = 'a' "
        "ORDER BY a.attempt",
    ) == [(1, "error", "no 1", 1, 1, 1), (2, "error", "no 2", 1, 1, 1)]
    assert read(db, "SELECT done, failed FROM pipeloom_runs") == [(2, 0)]


def test_the_last_try_counts(db, read):
    """With n retries there are n + 1 tries; the report has the last one."""
    fn = failing(99)
    report = pipeloom.map(fn, ["a"], db=db, retries=AT_ONCE, on_error="collect")

    assert fn.calls["a"] == 3
    (failure,) = report.failures
    assert (failure.attempt, failure.message, failure.exception) == (3, "no 3", "OSError")
    assert read(db, "SELECT status, attempt FROM pipeloom_history ORDER BY attempt") == [
        ("error", 1),
        ("error", 2),
        ("error", 3),
    ]


def test_other_exceptions_are_not_tried_again(db):
    """`on` says which are."""
    fn = failing(1, error=KeyError)

    with pytest.raises(TasksFailedError):
        pipeloom.map(fn, ["a"], db=db, retries=Retry(3, 0.0, on=(OSError, ValueError)))
    assert fn.calls["a"] == 1


def test_what_the_ledger_refuses_is_permanent(db):
    """A value that cannot be stored, found by the task or by the writer, is not tried again."""
    calls = Counter()

    def fn(item, ctx):
        calls[item] += 1
        if item == "found here":
            ctx.write("t", {"n": object()})
        ctx.write("u", {"n": 1, "more": calls[item]}, on_conflict="ignore")
        if item == "found by the writer":
            ctx.execute("INSERT INTO nowhere VALUES (1)")

    report = pipeloom.map(fn, ["found here", "found by the writer"], db=db, retries=AT_ONCE, on_error="collect")

    assert report.failed == 2
    assert set(calls.values()) == {1}


def test_system_exit_is_not_tried_again(db):
    """It is no Exception."""
    fn = failing(5, error=SystemExit)

    assert pipeloom.map(fn, ["a"], db=db, retries=AT_ONCE, on_error="collect").failed == 1
    assert fn.calls["a"] == 1


def test_an_error_that_the_worker_reports_is_final(db, read):
    """It knows."""
    calls = []

    def worker(task, msg_q):
        calls.append(task)
        msg_q.put(MsgTaskFinished(task, "error", "2026-01-01T00:00:00+00:00", None, "no"))

    pipeloom.run_pipeline([1], db, worker_fn=worker, retries=AT_ONCE)

    assert calls == [1]
    assert read(db, "SELECT status, message FROM task_runs") == [("error", "no")]


@pytest.mark.parametrize("numbered", [True, False])
def test_run_pipeline_tries_again_too(db, read, numbered):
    """With numbers of its own or the ledger's: one row, and its past."""

    class Task:
        task_id = 7

    calls = []

    def worker(task, msg_q):
        calls.append(task)
        if len(calls) < 3:
            raise OSError("not yet")

    report = pipeloom.run_pipeline([Task() if numbered else "x"], db, worker_fn=worker, retries=AT_ONCE)

    assert report.done == 1
    assert read(db, "SELECT id, status, attempt FROM task_runs") == [(7 if numbered else 1, "done", 3)]
    assert read(db, "SELECT COUNT(*), COUNT(DISTINCT attempt) FROM pipeloom_attempts") == [(2, 2)]


def test_a_waiting_try_holds_no_worker(db, read):
    """One worker does all other inputs while the first waits; its row says queued, and why."""
    seen = []
    gate = threading.Event()

    def fn(item, ctx):
        if item == 0 and ctx.attempt == 1:
            raise OSError("later")
        if item == 19:
            seen.extend(ctx.query("SELECT status, attempt, message FROM task_runs WHERE key = 0"))
            gate.set()
        if item == 0:
            assert gate.is_set()

    report = pipeloom.map(fn, range(20), db=db, workers=1, retries=Retry(2, delay_s=0.3, jitter=0.0))

    assert report.done == 20
    assert seen == [("queued", 2, "waits 0.3 s for try 2: later")]


def test_a_try_waits_as_long_as_it_should(db):
    """Not shorter."""
    began = []

    def fn(item):
        began.append(monotonic())
        if len(began) < 3:
            raise OSError

    pipeloom.map(fn, ["a"], db=db, retries=Retry(3, delay_s=0.1, factor=2.0, jitter=0.0), workers=3)

    assert began[1] - began[0] >= 0.1
    assert began[2] - began[1] >= 0.2


def test_a_run_that_is_stopped_ends_waiting_tries_as_they_are(db, read):
    """With on_error="stop" nobody waits an hour for a second try."""

    def fn(item, ctx):
        if item == "waits":
            raise OSError("once")
        while not ctx.query("SELECT 1 FROM task_runs WHERE status = 'queued'"):
            pass
        raise ValueError("final")

    with pytest.raises(TasksFailedError) as caught:
        pipeloom.map(
            fn,
            ["waits", "fails"],
            db=db,
            retries=Retry(2, 3600.0, max_delay_s=3600.0, on=OSError),
            on_error="stop",
            workers=2,
        )
    report = caught.value.report

    assert (report.failed, report.total) == (2, 2)
    assert read(db, "SELECT key, status, attempt, message FROM task_runs ORDER BY key") == [
        ("fails", "error", 1, "final"),
        ("waits", "error", 1, "once"),
    ]
    assert read(db, "SELECT COUNT(*) FROM pipeloom_attempts") == [(0,)]


def test_many_failing_inputs_are_bounded(db):
    """Beyond 4,096 waiting tries new inputs wait: memory does not grow with failures."""
    pulled = 0
    most = 0
    done = 0

    def items():
        nonlocal pulled
        for n in range(20_000):
            pulled = n
            yield n

    def fn(item, ctx):
        nonlocal most, done
        if ctx.attempt == 1:
            most = max(most, pulled - done)
            raise OSError
        done += 1

    report = pipeloom.map(fn, items(), db=db, workers=2, retries=Retry(2, delay_s=0.2, jitter=0.0))

    assert report.done == 20_000
    assert most < 10_000  # and what is on its way to the ledger
