"""How fast, how long, how much longer."""

from __future__ import annotations

import pytest

from pipeloom.data.rates import Pace, ago, duration, per_second, time_left


def test_rate_is_that_of_the_last_ten_seconds():
    """What was long ago does not count; a burst just now does."""
    pace = Pace(0.0)
    for second in range(1, 101):
        pace.rate(second, 10 * second)

    assert pace.rate(101, 1000 + 5) == pytest.approx(9.5)  # nine seconds of ten tasks, one of five
    for second in range(102, 162):
        rate = pace.rate(second, 1005)
    assert rate < 0.3  # a minute without a task


def test_rate_of_slow_tasks_is_steady():
    """Tasks that take half a minute each: their rate does not jump between none and many."""
    pace = Pace(0.0)
    rates = [pace.rate(look / 4, int(look / 4 / 9)) for look in range(2000)]

    assert all(rate == pytest.approx(1 / 9, rel=0.25) for rate in rates[400:])
    assert len(pace._samples) < 20


def test_rate_is_since_the_beginning_while_that_is_all_there_is():
    """Whoever looks for the first time at a run that began a minute ago sees its mean so far."""
    pace = Pace(-60.0)

    assert pace.rate(0.0, 600) == pytest.approx(10)
    assert pace.rate(0.25, 600) == pytest.approx(600 / 60.25)
    assert Pace(5.0).rate(5.0, 3) == 0.0


def test_rate_does_not_grow_without_end():
    """Ten thousand looks keep ten seconds of them."""
    pace = Pace(0.0)
    for look in range(10_000):
        pace.rate(look / 4, look)

    assert len(pace._samples) <= 42


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-1, "0 s"),
        (0.0, "0 s"),
        (0.00000123, "1.2 µs"),
        (0.00085, "850 µs"),
        (0.0009996, "1.0 ms"),
        (0.0123, "12 ms"),
        (0.5, "500 ms"),
        (0.9996, "1.0 s"),
        (3.21, "3.2 s"),
        (9.96, "10 s"),
        (59.4, "59 s"),
        (59.96, "1:00"),
        (245, "4:05"),
        (3723, "1:02:03"),
        (172_800 + 3600 * 4, "2 d 4 h"),
        (float("inf"), "?"),
        (float("nan"), "?"),
    ],
)
def test_duration(seconds, text):
    """Two digits at least, one unit, and never negative."""
    assert duration(seconds) == text


def test_per_second_and_time_left():
    """A number of tasks per second, and what that means for the rest, when it can be known."""
    assert per_second(1234.5) == "1,234/s"
    assert per_second(3.25) == "3.2/s"
    assert per_second(9.96) == "10/s"
    assert per_second(0.1) == "6.0/min"
    assert per_second(0.001) == "3.6/h"
    assert per_second(0.0001) == "< 0.5/h"
    assert per_second(0) == "0/s"
    assert time_left(10, 1000, 500) == "50 s left"
    assert time_left(0, 1000, 500) is None
    assert time_left(10, None, 500) is None
    assert time_left(10, 500, 500) is None


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "just now"),
        (2, "2 s ago"),
        (59.9, "59 s ago"),
        (60, "1 min ago"),
        (3599, "59 min ago"),
        (3600, "1 h ago"),
        (48 * 3600 - 1, "47 h ago"),
        (48 * 3600, "2 d ago"),
        (5000 * 86400, "5,000 d ago"),
    ],
)
def test_an_age_in_words(seconds, words):
    """One unit, rounded down."""
    assert ago(seconds) == words
