"""When a failed try is followed by another: the policy."""

from __future__ import annotations

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
    with pytest.raises(error, match=f"Retry: {next(iter(options))} must be|attempts counts"):
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
