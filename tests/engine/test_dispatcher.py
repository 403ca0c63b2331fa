"""Tasks out, outcomes back: what the run makes of how a try went."""

from __future__ import annotations

import queue
from collections import deque

import pytest
from worker.recording import brief_for

from pipeloom import MsgTaskProgress, Retry, run_pipeline
from pipeloom.data.rows import Block, Shape
from pipeloom.data.weights import SLOT
from pipeloom.engine.dispatcher import Dispatcher
from pipeloom.engine.intake import Intake
from pipeloom.engine.link import WriterLink
from pipeloom.ledger import Attempt, Board
from pipeloom.wire import NO_RETRY, LogLine, RetryDecision
from pipeloom.writer import Channel

AT = "2026-01-01T00:00:00+00:00"
IN_6_S = RetryDecision(6.0)


class Scene:
    """A dispatcher between an intake without inputs and a channel that nobody takes from."""

    def __init__(self, capacity: int = 100) -> None:
        self.channel = Channel(capacity)
        self.intake = Intake([], keyed=True, key=None, admit=lambda names: [], workers=1)
        self.link = WriterLink(brief_for(print), self.channel, writer=None, intake=self.intake)
        self.left: list[int] = []
        self.dispatcher = Dispatcher(self.intake, self.link, Board(1), self.channel, self.left.append)


def running(row="new"):
    attempt = Attempt("item", 7, "key", "name", row)
    attempt.status = "running"
    return attempt


def done(message=None, result=None, staged=None):
    return "done", message, result, None, staged, AT, 1.5


def failed(error, decision=NO_RETRY, status="error"):
    return status, str(error), None, (error, "trace", decision), None, AT, 1.5


def test_an_outcome_is_noted_on_the_attempt():
    """All of it; the input is let go of, which may be large."""
    attempt, output = running(), [Block(Shape("t", ("n",), "error", ()), [(n,) for n in range(80)])]
    Scene().dispatcher.end(attempt, done("m", "1", (output, 80, 100)))

    assert (attempt.status, attempt.message, attempt.result) == ("done", "m", "1")
    assert (attempt.staged, attempt.rows_written) == (output, 80)
    assert (attempt.finished_at, attempt.elapsed_s) == (AT, 1.5)
    assert (attempt.item, attempt.exception, attempt.retry_in) == (None, None, None)


@pytest.mark.parametrize(
    ("outcome", "slots"),
    [
        (done("m", "1"), 1),
        (done(result="x" * 7 * SLOT), 7),
        (done(staged=([object()], 80, 2000)), 1),
        (done(staged=([object()], 80, 5 * SLOT), result="x" * 7 * SLOT), 12),
        (failed(ValueError("x" * 9 * SLOT)), 9),
    ],
)
def test_a_large_outcome_takes_more_of_the_channel(outcome, slots):
    """By what it takes of memory: a result, rows, an exception."""
    scene, attempt = Scene(), running()
    scene.dispatcher.end(attempt, outcome)
    scene.dispatcher.hand_over(attempt)

    assert scene.channel.qsize() == slots
    assert scene.channel.take(0) == [attempt]


def test_the_log_lines_of_a_task_are_weighed_with_its_outcome():
    """They wait for the same commit."""
    attempt = running()
    attempt.logs = deque([LogLine("t", "INFO", "x", "m" * 1000, "e" * 20_000) for _ in range(100)])
    Scene().dispatcher.end(attempt, done())

    assert 500 < attempt.weight < 600


def test_a_try_that_will_follow_holds_its_input():
    """It waits with it, and with its exception; its next try has the input alone."""
    scene, attempt = Scene(), running()
    attempt.item = "x" * 20 * SLOT
    attempt.weight = 20
    scene.dispatcher.end(attempt, failed(ValueError("y" * 10 * SLOT), IN_6_S))

    assert attempt.weight == 30
    assert attempt.next_try().weight == 20


def test_a_failed_try_is_followed_by_another():
    """After the wait that its worker says; its input is kept for that."""
    error = OSError("no")
    attempt = running()
    Scene().dispatcher.end(attempt, failed(error, IN_6_S))

    assert (attempt.status, attempt.exception, attempt.error) == ("error", error, "trace")
    assert attempt.retry_in == 6.0
    assert attempt.item == "item"
    assert attempt.next_try().uncounted == 0


def test_a_try_that_does_not_count_is_noted():
    """On the task, and on those that follow; one that counts leaves that as it is."""
    scene, attempt = Scene(), running()
    scene.dispatcher.end(attempt, failed(OSError("no"), RetryDecision(0.0, counts=False)))
    second = attempt.next_try()
    scene.dispatcher.end(second, failed(OSError("no"), IN_6_S))

    assert (second.attempt, second.uncounted) == (2, 1)
    assert (second.next_try().attempt, second.next_try().uncounted) == (3, 1)


def test_a_policy_that_goes_wrong_is_complained_of_once(caplog):
    """Whether or not there is another try."""
    scene = Scene()
    for after_s in (None, 1.0, None):
        scene.dispatcher.end(running(), failed(OSError("no"), RetryDecision(after_s, complaint="raised")))

    assert [record.getMessage().partition(";")[0] for record in caplog.records] == ["raised"]


@pytest.mark.parametrize("why_not", ["not worth it", "nothing more is admitted", "cancelling"])
def test_a_failed_try_is_the_last_one_when(why_not):
    """The worker says that it is not worth another, or the run is being stopped."""
    scene, attempt = Scene(), running()
    if why_not == "nothing more is admitted":
        scene.intake.close()
    scene.link.cancelling = why_not == "cancelling"
    scene.dispatcher.end(attempt, failed(OSError("no"), NO_RETRY if why_not == "not worth it" else IN_6_S))

    assert attempt.retry_in is None
    assert attempt.item is None


def test_a_call_that_returns_late_lets_its_input_be_tried_again():
    """Not before: two calls for one input must not run at the same time."""
    scene, attempt = Scene(), running()
    scene.dispatcher.end(attempt, failed(OSError("no"), RetryDecision(0.0), status="timed_out"))
    attempt.given_up = True
    scene.intake.retries.went_out(1)
    scene.intake.retries.settle([attempt])
    assert scene.intake.retries.take() is None

    scene.dispatcher.returned(attempt)
    assert attempt.returned
    assert scene.intake.retries.take().attempt == 2


def test_a_fault_closes_the_intake():
    """The run raises it in the end."""
    scene, fault = Scene(), ZeroDivisionError()
    scene.dispatcher.fail(fault)

    assert scene.dispatcher.fault is fault
    assert scene.intake.closed
    assert scene.dispatcher.next() is None


def test_workers_that_leave_are_told_by_their_place():
    """For the run to know when all have."""
    scene = Scene()
    scene.dispatcher.left(0)

    assert scene.left == [0]


def test_a_worker_that_calls_its_task_by_the_stand_in_gets_a_number_all_the_same(db, read):
    """It said nothing new: ``task_id`` is what it had been told."""

    def worker(task, ctx):
        ctx.put(MsgTaskProgress(ctx.task_id, 1, 2, "half"))

    run_pipeline(["a", "b"], db, worker_fn=worker, workers=1)

    assert read(db, "SELECT id, name, message FROM task_runs ORDER BY id") == [(1, "a", "half"), (2, "b", "half")]


@pytest.mark.parametrize("number", [5, -5])
def test_a_number_of_the_workers_own_is_its_row(db, read, number):
    """Positive or negative, also in a try that follows."""
    tries = queue.SimpleQueue()

    def worker(task, ctx):
        ctx.put(MsgTaskProgress(number, 1, 2))
        tries.put(ctx.attempt)
        if ctx.attempt == 1:
            raise OSError

    run_pipeline(["a"], db, worker_fn=worker, retries=Retry(2, 0.0))

    assert [tries.get_nowait(), tries.get_nowait()] == [1, 2]
    assert read(db, "SELECT id, status, attempt FROM task_runs") == [(number, "done", 2)]
    assert read(db, "SELECT task_id, attempt, status FROM pipeloom_attempts") == [(number, 1, "error")]
