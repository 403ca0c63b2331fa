"""When a failed try is followed by another: the policy."""

from __future__ import annotations

import functools
import operator
from typing import Union

import pytest

from pipeloom import Retry, RowRefusedError, TaskTimeoutError


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
    with pytest.raises(error, match=f"Retry: {next(iter(options))} must be|attempts includes"):
        Retry(**options)


@pytest.mark.parametrize(
    ("error", "attempt", "wanted"),
    [
        (OSError(), 1, True),
        (OSError(), 2, True),
        (OSError(), 3, False),
        (TaskTimeoutError(), 1, True),
        (SystemExit(), 1, False),
        (RowRefusedError(), 1, False),
        (None, 1, False),
    ],
)
def test_exceptions_are_worth_another_try_while_there_is_one(error, attempt, wanted):
    """But not what the ledger refuses, nor what its worker itself reported."""
    assert Retry(3).wants(error, attempt) is wanted


def test_other_exceptions_are_not_worth_one():
    """Only those named."""
    assert Retry(3, on=(KeyError, OSError)).wants(FileNotFoundError(), 1)
    assert not Retry(3, on=(KeyError, OSError)).wants(ValueError(), 1)
    assert Retry(3, on=BaseException).wants(SystemExit(), 1)


# --- what is worth another try ---


@pytest.mark.parametrize(
    "on",
    [
        OSError | KeyError,
        Union[OSError, KeyError],  # noqa: UP007 - the older spelling is what is tried here
        (OSError, KeyError),
        (OSError, KeyError | ValueError),
        lambda error: isinstance(error, OSError | KeyError),
        functools.partial(lambda kinds, error: isinstance(error, kinds), (OSError, KeyError)),
    ],
    ids=["union", "typing.Union", "tuple", "union in a tuple", "function", "partial"],
)
def test_what_is_worth_another_try_is_said_in_many_ways(on):
    """Subclasses are meant, too."""
    policy = Retry(3, on=on)

    assert policy.wants(FileNotFoundError(), 1) is True
    assert policy.wants(KeyError(), 2) is True
    assert policy.wants(KeyError(), 3) is False
    assert policy.wants(TypeError(), 1) is False


def test_a_function_is_asked_about_exceptions_only():
    """Not whether a task that called sys.exit should: ``not isinstance(...)`` would say yes. Nor what is final."""
    asked = []

    def always(error):
        asked.append(type(error))
        return 1

    policy = Retry(3, on=always)

    assert policy.wants(TaskTimeoutError(), 1) is True
    assert not any(policy.wants(error, 1) for error in (SystemExit(), KeyboardInterrupt(), RowRefusedError(), None))
    assert policy.wants(OSError(), 3) is False
    assert asked == [TaskTimeoutError]


class AwaitedCall:
    """What nobody awaits would say yes to everything."""

    async def __call__(self, error):
        return False


async def awaited(error):
    return False


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (
            {"on": "OSError"},
            "on must be an exception type, a tuple or a union of them, or a function of the except",
        ),
        ({"on": (OSError, 3)}, "on must be an exception type.* not tuple"),
        ({"on": OSError | None}, "on must be an exception type"),
        ({"on": int}, "on must be an exception type.* not int"),
        ({"on": list[int]}, "on must be an exception type"),
        ({"on": OSError()}, "on must be an exception type.* not OSError"),
        ({"on": lambda: True}, r"on must be a function of one argument, the exception \(too many"),
        ({"on": awaited}, "on must be a plain function, not an async def"),
        ({"on": AwaitedCall()}, "on must be a plain function"),
        ({"delay": 3}, "delay must be a function, not int"),
        (
            {"delay": lambda attempt: 2**attempt},
            "delay must be a function of two arguments, the exception and the at",
        ),
        ({"delay": awaited}, "delay must be a plain function"),
    ],
)
def test_functions_that_make_no_sense_are_refused(options, sentence):
    """Now, rather than at each failure."""
    with pytest.raises(TypeError, match=f"Retry: {sentence}"):
        Retry(**options)


def test_a_function_without_a_signature_is_taken_at_its_word():
    """Some of those in C have none."""
    assert Retry(on=operator.attrgetter("strerror")).wants(OSError(1, "text"), 1) is True


# --- how long to wait ---


def busy(seconds):
    error = OSError("busy")
    error.retry_after = seconds
    return error


def test_a_function_says_how_long_to_wait():
    """In the place of growth and jitter; the maximum holds."""
    policy = Retry(9, delay_s=100, jitter=1, max_delay_s=10, delay=lambda error, n: error.args[0] * n)

    assert [policy.delay_after(n, OSError(3)) for n in (1, 2, 3, 4)] == [3, 6, 9, 10]


@pytest.mark.parametrize("wait", [-1, float("nan"), float("inf"), "1", None, True])
def test_a_function_that_says_nonsense_is_told(wait):
    """In words; without the exception it is not asked."""
    policy = Retry(delay_s=2, jitter=0, delay=lambda error, n: wait)

    with pytest.raises((ValueError, TypeError), match="it returned"):
        policy.delay_after(1, OSError())
    assert policy.delay_after(1) == 2


def test_a_service_is_left_alone_as_long_as_it_wants():
    """At least, and up to the maximum; a wait that is longer by itself stays as it is."""
    policy = Retry(9, delay_s=2, factor=2, jitter=0, max_delay_s=60)

    assert policy.delay_after(1, busy(30)) == 30
    assert policy.delay_after(5, busy(30)) == 32
    assert policy.delay_after(1, busy(3600)) == 60
    assert policy.delay_after(1, busy("soon")) == 2
    assert Retry(delay=lambda error, n: 1, jitter=1).delay_after(1, busy(30)) == 30


def test_those_who_were_sent_away_together_come_back_one_by_one():
    """By the jitter, never too early."""
    waits = {Retry(jitter=0.5).delay_after(1, busy(20)) for _ in range(50)}

    assert len(waits) > 1
    assert 20 <= min(waits) <= max(waits) <= 30


def test_the_longest_wait_is_the_longest():
    """After jitter, too."""
    assert {Retry(delay_s=5, max_delay_s=5, jitter=1).delay_after(n) <= 5 for n in range(1, 200)} == {True}
