"""Whether a failed try is followed by another, as the worker decides that saw it fail."""

from __future__ import annotations

import pytest

from pipeloom import Retry, RetryLater
from pipeloom.wire import NO_RETRY, RetryDecision
from pipeloom.worker.current import enter
from pipeloom.worker.perform import perform
from worker.recording import RecordingLink, task_for


@pytest.fixture(autouse=True)
def no_task_is_left_current():
    """As a worker's loop does when it ends."""
    yield
    enter(None)


def failed(error, retry=None, *, attempt=1, uncounted=0, cause=None):
    """Perform a task that raises; return its message, its traceback and what was decided."""

    def fails(_):
        raise error from cause

    task = task_for(1)
    task.attempt, task.uncounted = attempt, uncounted
    status, message, _, (raised, trace, decision), staged, *_ = perform(task, RecordingLink(fails, retry=retry))
    assert (status, staged) == ("error", None)
    assert raised is error
    return message, trace, decision


def at_fault(*_):
    raise LookupError("in the\npolicy")


def leaves(*_):
    raise SystemExit(3)


# --- by the policy ---


def test_the_policy_says_whether_and_when():
    """From the exception and the number of the try, without those that do not count."""
    policy = Retry(3, on=lambda error: "yes" in str(error), delay=lambda error, n: n * 7)

    assert failed(OSError("yes"), policy, attempt=2)[2] == RetryDecision(14.0)
    assert failed(OSError("yes"), policy, attempt=6, uncounted=5)[2] == RetryDecision(7.0)
    assert failed(OSError("yes"), policy, attempt=6, uncounted=3)[2] == NO_RETRY
    assert failed(OSError("no"), policy)[2] == failed(OSError("yes"))[2] == NO_RETRY


def test_a_predicate_that_raises_leaves_the_task_its_own_error():
    """One line below its traceback says what happened to the predicate, and where; there is no other try."""
    message, trace, decision = failed(ValueError("mine"), Retry(3, on=at_fault))

    assert message == "mine"
    assert decision.after_s is None
    assert trace.splitlines()[-2:] == ["ValueError: mine", decision.complaint]
    assert decision.complaint.startswith(
        "not retried: Retry(on=at_fault) raised LookupError: in the\\npolicy (" + __file__
    )
    assert decision.complaint.endswith(" in at_fault)")


def test_a_delay_that_raises_gives_way_to_the_plain_wait():
    """Told in the same way, and as a wait that makes no sense."""
    decision = failed(ValueError("mine"), Retry(3, delay_s=2, jitter=0, delay=at_fault))[2]
    assert decision.after_s == 2
    assert "retried as if delay= were not set: Retry(delay=at_fault) raised LookupError" in decision.complaint

    _, trace, decision = failed(ValueError("mine"), Retry(3, delay_s=2, jitter=0, delay=lambda error, n: "soon"))
    assert decision.after_s == 2
    assert trace.endswith("raised TypeError: it returned str, not a number of seconds\n")


@pytest.mark.parametrize("policy", [Retry(on=leaves), Retry(delay=leaves)], ids=["on", "delay"])
def test_whatever_they_raise_ends_no_worker(policy):
    """SystemExit neither."""
    assert "SystemExit: 3" in failed(ValueError("mine"), policy)[2].complaint


# --- by the task itself ---


def test_a_task_may_ask_for_another_try():
    """Whatever the policy thinks of its exception, and however long it waits at most."""
    policy = Retry(3, on=KeyError, max_delay_s=1)
    message, _, decision = failed(RetryLater(3600), policy, attempt=2)

    assert message == "asked to be retried in 1:00:00"
    assert decision == RetryDecision(3600.0)


def test_its_tries_are_counted():
    """The last one fails; a task without `retries=` has no other."""
    message, _, decision = failed(RetryLater(30), Retry(3), attempt=5, uncounted=2)
    assert decision == NO_RETRY
    assert message == "asked to be retried in 30 s, but this was the last of its 3 attempts"

    message, _, decision = failed(RetryLater(0.5))
    assert decision == NO_RETRY
    assert message.startswith("asked to be retried in 500 ms, but had no attempts left: pass retries=")


def test_a_try_that_does_not_count_is_always_followed():
    """Also without a policy, and when there are no tries left."""
    for policy, attempt in ((None, 1), (None, 1000), (Retry(3), 3)):
        assert failed(RetryLater(5, count=False), policy, attempt=attempt)[2] == RetryDecision(5.0, counts=False)


def test_its_reason_is_told():
    """In the message, in short, and in the traceback, in full."""
    message, trace, _ = failed(RetryLater(30), Retry(3), cause=ConnectionError("reset"))

    assert message == "asked to be retried in 30 s after ConnectionError: reset"
    assert "ConnectionError: reset\n" in trace
    assert failed(RetryLater(30), cause=TimeoutError())[0].startswith(
        "asked to be retried in 30 s after TimeoutError, but had"
    )


class BusyError(RetryLater):
    """A user's own."""

    def __init__(self, host):
        super().__init__(7, count=False)
        self.host = host

    def __str__(self):
        return f"{self.host} is busy"


class ForgetfulError(RetryLater):
    """Does not say when."""

    def __init__(self, host):
        self.host = host


def test_a_class_derived_from_it_is_one():
    """With a message of its own."""
    assert failed(BusyError("a.org"))[::2] == ("a.org is busy", RetryDecision(7.0, counts=False))


def test_a_class_that_does_not_say_when_is_an_error():
    """Its message says why."""
    message, _, decision = failed(ForgetfulError("a.org"), Retry(3))

    assert decision == NO_RETRY
    assert message == "ForgetfulError has no delay: its __init__ must call super().__init__(seconds)"


@pytest.mark.parametrize(
    ("arguments", "error", "sentence"),
    [
        ((-1,), ValueError, "after_s must be seconds, 0 or more, not -1"),
        ((float("nan"),), ValueError, "after_s must be seconds"),
        ((float("inf"),), ValueError, "after_s must be seconds"),
        (("30",), TypeError, "after_s must be a number of seconds, not str"),
        ((True,), TypeError, "after_s must be a number of seconds, not bool"),
    ],
)
def test_a_wait_that_makes_no_sense_is_refused(arguments, error, sentence):
    """Where it is made, so that it is the task's own error."""
    with pytest.raises(error, match=f"RetryLater: {sentence}"):
        RetryLater(*arguments)


def test_counting_is_a_matter_of_yes_or_no():
    """Nothing else."""
    with pytest.raises(TypeError, match="RetryLater: count must be True or False, not int"):
        RetryLater(1, count=0)


def test_it_shows_as_it_is_written():
    """As in the program."""
    assert repr(RetryLater(30)) == "RetryLater(30)"
    assert repr(RetryLater(0.5, count=False)) == "RetryLater(0.5, count=False)"
    assert (RetryLater(30).after_s, RetryLater(30).count) == (30.0, True)
