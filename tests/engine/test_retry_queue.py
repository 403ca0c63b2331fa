"""Failed tries that wait for their turn, by themselves and in a run."""

from __future__ import annotations

import threading
from collections import Counter
from math import inf
from time import monotonic

import pytest

import pipeloom
from pipeloom import MsgTaskFinished, Retry, RetryLater, TasksFailedError
from pipeloom.engine.retry_queue import RetryQueue
from pipeloom.ledger.attempt import Attempt

AT_ONCE = Retry(attempts=3, delay_s=0.0)
PATIENCE_S = 5.0


class Clock:
    """A clock that stands still until it is told."""

    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    """What the queue takes for the time."""
    clock = Clock()
    monkeypatch.setattr("pipeloom.engine.retry_queue.monotonic", clock)
    return clock


@pytest.fixture
def retries():
    """An empty queue."""
    return RetryQueue(threading.Condition(), PATIENCE_S)


def ended(name, retry_in=None, *, given_up=False):
    attempt = Attempt(name, 1, name, name, "new")
    attempt.status, attempt.retry_in, attempt.given_up = "error", retry_in, given_up
    return attempt


def names(attempts):
    return [attempt.name for attempt in attempts]


def test_tries_come_back_when_they_are_due(clock, retries):
    """The earliest first; of two at the same time the one that waited first."""
    retries.went_out(4)
    retries.settle([ended("a", 3.0), ended("b", 1.0), ended("c", 3.0), ended("done")])
    assert len(retries) == 3
    assert retries.take() is None
    assert retries.until_due_s() == 1.0

    clock.now += 3.0
    assert retries.is_due()
    assert names(retries.take() for _ in range(3)) == ["b", "a", "c"]
    assert retries.take() is None
    assert retries.until_due_s() == inf


def test_what_comes_back_is_the_next_try_of_the_same_row(clock, retries):
    """It knows the last checkpoint, and that its row is there."""
    first = ended("a", 0.0)
    first.state = "1"
    retries.went_out(1)
    retries.settle([first])
    following = retries.take()

    assert following is not first
    assert (following.attempt, following.status, following.item, following.state) == (2, "queued", "a", "1")
    assert (following.row, following.recorded, following.seen_before) == ("old", (1, None), True)


def test_it_is_over_when_nothing_can_come_back(clock, retries):
    """Neither what is out, nor what waits, nor what is held back."""
    assert retries.is_over
    retries.went_out(2)
    retries.settle([ended("done")])
    assert not retries.is_over
    retries.settle([ended("a", 0.0)])
    assert not retries.is_over
    retries.take()
    assert not retries.is_over
    retries.settle([ended("a", given_up=True)])
    assert retries.is_over
    retries.went_out(1)
    retries.settle([ended("held", 0.0, given_up=True)])
    assert not retries.is_over


def test_a_call_that_goes_on_holds_its_next_try_back(clock, retries):
    """Until it returns; from then on the wait counts."""
    stuck = ended("stuck", 1.0, given_up=True)
    retries.went_out(1)
    retries.settle([stuck])
    clock.now += 2.0
    assert (len(retries), retries.take(), retries.until_due_s()) == (1, None, inf)

    retries.returned(stuck)
    assert retries.until_due_s() == 1.0
    retries.returned(stuck)
    assert len(retries) == 1
    assert retries.overdue() == []


def test_a_call_that_had_returned_before_its_end_was_stored_holds_nothing_back(clock, retries):
    """Its try was given up on, and waits as any other."""
    back = ended("back", 1.0, given_up=True)
    back.returned = True
    retries.went_out(1)
    retries.returned(back)
    retries.settle([back])

    assert retries.until_due_s() == 1.0


def test_a_call_that_does_not_return_in_time_has_had_its_last_try(clock, retries):
    """It is put to the writer once more, as that."""
    stuck = ended("stuck", 1.0, given_up=True)
    retries.went_out(1)
    retries.settle([stuck])
    clock.now += PATIENCE_S - 0.1
    assert retries.overdue() == []
    clock.now += 0.1

    assert retries.overdue() == [stuck]
    assert (stuck.retry_in, stuck.waited) == (None, True)
    assert not retries.is_over
    retries.settle([stuck])
    assert retries.is_over


def test_at_the_runs_end_everything_that_waits_is_taken(clock, retries):
    """Their last tries are their last word."""
    waits, stuck = ended("waits", 60.0), ended("stuck", 60.0, given_up=True)
    retries.went_out(2)
    retries.settle([waits, stuck])

    assert retries.take_all() == [waits, stuck]
    assert all(attempt.waited and attempt.retry_in is None for attempt in (waits, stuck))
    assert len(retries) == 0


def test_beyond_so_many_new_inputs_should_wait(clock, retries):
    """Memory stays flat if all fail."""
    retries.went_out(4096)
    retries.settle([ended(str(n), 1.0) for n in range(4095)])
    assert not retries.is_full
    retries.settle([ended("last", 1.0)])
    assert retries.is_full


def test_large_inputs_that_wait_are_counted_by_their_memory(clock, retries):
    """They are held until their turn; when they have had it there is room again."""
    large = ended("large", 1.0)
    large.weight = 4096
    retries.went_out(1)
    retries.settle([large])
    assert retries.is_full
    clock.now += 1
    assert retries.take().name == "large"
    assert not retries.is_full


def test_a_wait_may_be_longer_than_a_lock_waits(clock, retries):
    """A task may ask for a million years."""
    retries.went_out(1)
    retries.settle([ended("patient", 1e15)])

    assert retries.until_due_s() == threading.TIMEOUT_MAX


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
    assert seen == [("queued", 2, "waits 300 ms for attempt 2: later")]


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
        for n in range(12_000):
            pulled = n
            yield n

    def fn(item, ctx):
        nonlocal most, done
        if ctx.attempt == 1:
            most = max(most, pulled - done)
            raise OSError
        done += 1

    retries = Retry(2, delay_s=0.2, jitter=0.0)
    report = pipeloom.map(fn, items(), db=db, workers=2, retries=retries, durability="off")

    assert report.done == 12_000
    assert most < 10_000  # and what is on its way to the ledger


# --- tries that a task asks for ---


def test_a_task_that_asks_is_tried_again_without_retries(db, read):
    """As often as it likes; its tries are numbered and kept, what it wrote in them is not."""

    def polls(job, ctx):
        ctx.write("t", {"job": job})
        if ctx.attempt < 20:
            raise RetryLater(0, count=False)
        return ctx.attempt

    report = pipeloom.map(polls, ["a", "b"], db=db, workers=2, on_error="stop")

    assert (report.done, report.failed) == (2, 0)
    assert read(db, "SELECT status, attempt, result FROM task_runs") == [("done", 20, "20")] * 2
    assert read(db, "SELECT task_id, COUNT(*) FROM pipeloom_attempts GROUP BY 1") == [(1, 19), (2, 19)]
    assert read(db, "SELECT COUNT(*) FROM t") == [(2,)]


def test_a_task_that_asks_has_its_other_tries_left(db):
    """What does not count takes none of them; what counts takes one."""
    plan = [RetryLater(0, count=False), OSError("one"), RetryLater(0, count=False), RetryLater(0), OSError("three")]
    report = pipeloom.map(_raiser_of(plan), ["a"], db=db, retries=AT_ONCE, on_error="collect")

    (failure,) = report.failures
    assert (failure.message, failure.attempt) == ("three", 5)


def _raiser_of(plan):
    left = iter(plan)

    def fn(_):
        raise next(left)

    return fn


def test_a_task_that_asks_without_a_try_left_has_failed(db, read):
    """Its message says what to do."""
    with pytest.raises(TasksFailedError):
        pipeloom.map(_raiser_of([RetryLater(30)]), ["a"], db=db)

    ((status, message),) = read(db, "SELECT status, message FROM task_runs")
    assert status == "error"
    assert message.startswith("asked to be retried in 30 s, but had no attempts left: pass retries=")


def test_a_task_that_asks_waits_as_long_as_it_asked(db):
    """The policy's maximum is about the policy's waits."""
    began = []

    def fn(_):
        began.append(monotonic())
        if len(began) == 1:
            raise RetryLater(0.2)

    pipeloom.map(fn, ["a"], db=db, retries=Retry(2, delay_s=0, max_delay_s=0))

    assert began[1] - began[0] >= 0.2


def test_a_task_that_waits_as_it_asked_says_so(db):
    """In its row, with the reason."""
    found = []

    def fn(item, ctx):
        if item == "looks":
            while not found:
                found.extend(ctx.query("SELECT status, attempt, message FROM task_runs WHERE status = 'queued'"))
        elif not found:
            raise RetryLater(0.3, count=False) from ConnectionError("reset")

    pipeloom.map(fn, ["asks", "looks"], db=db, workers=2)

    ((status, attempt, message),) = found
    assert status == "queued"
    why = "asked to be retried in 300 ms after ConnectionError: reset"
    assert message == f"waits 300 ms for attempt {attempt}: {why}"


def test_a_task_goes_on_from_its_checkpoint_when_it_asks(db, read):
    """What it has committed stays."""

    def fn(_, ctx):
        step = ctx.state or 0
        ctx.write("t", {"step": step})
        if step < 3:
            ctx.checkpoint(step + 1)
            ctx.write("t", {"step": -1})
            raise RetryLater(0, count=False)

    assert pipeloom.map(fn, ["a"], db=db).done == 1
    assert read(db, "SELECT step FROM t ORDER BY 1") == [(0,), (1,), (2,), (3,)]


def test_a_task_that_waits_as_it_asked_ends_with_a_run_that_is_stopped(db, read):
    """Nobody waits for it: it is an error, and the next call runs it."""

    def fn(item, ctx):
        if item == "waits":
            raise RetryLater(3600, count=False)
        while not ctx.query("SELECT 1 FROM task_runs WHERE status = 'queued'"):
            pass
        raise ValueError("final")

    with pytest.raises(TasksFailedError):
        pipeloom.map(fn, ["waits", "fails"], db=db, name="stopped", on_error="stop", workers=2)
    assert read(db, "SELECT key, status, attempt, message FROM task_runs ORDER BY key") == [
        ("fails", "error", 1, "final"),
        ("waits", "error", 1, "asked to be retried in 1:00:00"),
    ]
    assert pipeloom.map(str, ["waits", "fails"], db=db, name="stopped").done == 2


def test_older_workers_ask_as_well(db, read):
    """With run_pipeline; numbers of the ledger's."""

    def worker(task, msg_q):
        if msg_q.attempt == 1:
            raise RetryLater(0, count=False)

    assert pipeloom.run_pipeline([1], db, worker_fn=worker).done == 1
    assert read(db, "SELECT status, attempt FROM task_runs") == [("done", 2)]


# --- a policy of functions ---


def test_a_policy_that_goes_wrong_is_told_once(db, caplog):
    """Each task keeps its own error; the run warns of the first."""

    def broken(error):
        raise NameError("name 'oops' is not defined")

    report = pipeloom.map(_raises, range(5), db=db, retries=Retry(on=broken), on_error="collect", workers=2)

    assert {failure.message for failure in report.failures} == {"mine"}
    assert all("Retry(on=" in failure.traceback for failure in report.failures)
    (warning,) = [record.getMessage() for record in caplog.records]
    assert "broken) raised NameError: name 'oops' is not defined" in warning


def _raises(_):
    raise ValueError("mine")


def test_a_service_that_says_when_is_asked_then(db):
    """Not before; the attempts have grown less than that."""
    began = []

    def fn(_):
        began.append(monotonic())
        if len(began) == 1:
            error = OSError("503")
            error.retry_after = "0.2"
            raise error

    pipeloom.map(fn, ["a"], db=db, retries=Retry(2, delay_s=0))

    assert began[1] - began[0] >= 0.2
