"""The time of day as the ledger writes it."""

from __future__ import annotations

import re
import threading
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeloom.data import clock

FORM = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}(\d{3})?\+00:00")
GRAIN = timedelta(milliseconds=1)


def bounded():
    """Return an instant between two readings of the system's clock, as a datetime."""
    before = datetime.now(UTC)
    instant = datetime.fromisoformat(clock.utc_now())
    after = datetime.now(UTC)
    assert before - GRAIN <= instant <= after
    return instant


def test_it_is_now_in_iso_8601_utc():
    """With an explicit offset, to a millisecond at least, whatever the machine's time zone is."""
    assert FORM.fullmatch(clock.utc_now())
    assert bounded().utcoffset() == timedelta(0)


def test_what_is_cached_is_never_stale():
    """Many threads that race for it all tell the right time."""
    wrong, go = [], threading.Barrier(8)

    def read():
        go.wait(10)
        try:
            for _ in range(2000):
                bounded()
        except AssertionError as error:
            wrong.append(error)

    threads = [threading.Thread(target=read) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)

    assert not wrong


# A clock that is set, since nobody can wait for the year 2100: the text must not depend on what came before.
@given(st.lists(st.floats(0, 4_102_444_800), min_size=1, max_size=5))
@settings(database=None, deadline=None, max_examples=100)
def test_any_instant_is_told_to_the_millisecond(instants):
    """Forwards as backwards, over seconds, days and leap days."""
    with pytest.MonkeyPatch.context() as patch:
        for instant in instants:
            patch.setattr(clock, "time", lambda instant=instant: instant)
            told = clock.utc_now()
            assert FORM.fullmatch(told)
            exact = datetime.fromtimestamp(int(instant), UTC) + timedelta(seconds=instant - int(instant))
            assert abs(datetime.fromisoformat(told) - exact) <= GRAIN


def test_instants_sort_as_text():
    """So that ``ORDER BY started_at`` is the order of time."""
    with pytest.MonkeyPatch.context() as patch:
        told = []
        for instant in (0.0, 0.9995, 1.0, 59.5, 951_782_399.9995, 951_782_400.0, 1_767_225_600.0):
            patch.setattr(clock, "time", lambda instant=instant: instant)
            told.append(clock.utc_now())

    assert told == sorted(set(told))
    assert len(set(map(len, told))) == 1
    assert told[4].startswith("2000-02-28T23:59:59.999")
    assert told[5].startswith("2000-02-29T00:00:00.000")


@pytest.mark.parametrize(
    ("text", "instant_utc"),
    [
        ("2026-01-31T12:00:00.500+00:00", "2026-01-31T12:00:00.500000+00:00"),
        ("2026-01-31T12:00:00+02:00", "2026-01-31T10:00:00+00:00"),
        ("2026-01-31 12:00:00", "2026-01-31T12:00:00+00:00"),
        ("yesterday", None),
        ("0001-01-01T00:00:00+14:00", None),
        ("", None),
        (None, None),
        (7, None),
        (b"2026-01-31", None),
    ],
)
def test_an_instant_is_read_back_whoever_wrote_it(text, instant_utc):
    """Workers stamp their own; without a zone it is UTC, and what is no instant is none."""
    found = clock.instant(text)

    assert (None if found is None else found.isoformat()) == instant_utc
    assert clock.unix_time(text) == (None if found is None else found.timestamp())
    assert clock.utc_text(text) == (None if instant_utc is None else instant_utc[:19].replace("T", " "))


def test_seconds_since_is_never_negative():
    """Clocks of two machines differ."""
    assert clock.seconds_since("2999-01-01T00:00:00+00:00") == 0.0
    assert clock.seconds_since("1970-01-01T00:00:10+00:00") > 1e9
    assert clock.seconds_since("soon") is None
