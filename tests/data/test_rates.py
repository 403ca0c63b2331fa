"""How fast, how long, how much longer."""

from __future__ import annotations

import pytest

from pipeloom.data.rates import Forecast, Pace, Running, age, ago, duration, per_second


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


def test_per_second():
    """A number of tasks per second, minute or hour: two digits."""
    assert per_second(1234.5) == "1,234/s"
    assert per_second(3.25) == "3.2/s"
    assert per_second(9.96) == "10/s"
    assert per_second(0.1) == "6.0/min"
    assert per_second(0.001) == "3.6/h"
    assert per_second(0.0001) == "< 0.5/h"
    assert per_second(0) == "0/s"


def test_rate_of_tasks_that_end_together_is_steady():
    """Sixteen workers, a minute each: a round that has just ended does not make the rest look short."""
    pace = Pace(0.0)
    rates = [pace.rate(look / 4, look // 240 * 16, 16) for look in range(4000)]

    assert all(rate == pytest.approx(16 / 60, rel=0.35) for rate in rates[1500:])


def test_nothing_is_foretold_too_early():
    """Neither in the first seconds nor from one task of many."""
    forecast = Forecast(0.0)
    assert forecast.left_s(1.0, 50, 50, []) is None
    assert Forecast(0.0).left_s(30.0, 1, 999, [Running(30.0, 0.0)] * 8) is None
    assert Forecast(0.0).left_s(30.0, 0, 0, []) is None
    assert forecast.left_s(10.0, 500, 500, []) == pytest.approx(10)


def test_running_tasks_count_by_their_fraction():
    """Four of ten are half done after a minute: nothing has ended, and eight tasks' worth is left."""
    left = Forecast(0.0).left_s(60.0, 0, 10, [Running(60.0, 0.5)] * 4)

    assert left == pytest.approx(240)


def test_the_longest_running_task_is_waited_for():
    """A hundred quick ones are left, and one that says it takes an hour."""
    quick = [Running(0.1, 0.0)] * 3
    left = Forecast(0.0).left_s(400.0, 4000, 100, [*quick, Running(400.0, 0.1)])

    assert left == pytest.approx(3600)


def test_the_tail_is_as_long_as_its_tasks():
    """The last ones take as long as the others did; one that takes much longer already cannot be foretold."""
    forecast = Forecast(0.0)
    for second in range(1, 101):
        forecast.left_s(second, second, 200 - second, [Running(2.0, 0.0)] * 4)

    assert forecast.left_s(101.0, 197, 3, [Running(1.0, 0.0)] * 3) == pytest.approx(3, rel=0.1)
    assert forecast.left_s(101.0, 199, 1, [Running(50.0, 0.0)]) is None
    assert forecast.left_s(101.0, 198, 2, [Running(1.0, 0.0), Running(50.0, 0.0)]) is None
    assert forecast.left_s(101.0, 199, 1, [Running(50.0, 0.25)]) == pytest.approx(150)
    assert forecast.left_s(101.0, 190, 10, [Running(1.0, 0.5)] * 2, at_once=10) is None


def test_what_goes_on_is_told_calmly():
    """No milliseconds that change four times a second."""
    assert age(0.25) == "< 1 s"
    assert age(61) == "1:01"


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
