"""What the parts of a page are made of."""

from __future__ import annotations

import time

from pipeloom.web import pieces


def test_the_middle_of_a_long_text_is_left_out(monkeypatch):
    """The ends of a traceback say most; the box can be reached with the keyboard."""
    monkeypatch.setattr(pieces, "_LONGEST_BLOCK", 100)
    html = pieces.long_text("a" * 200 + "b" * 200, "Traceback")

    assert "a" * 50 + "\n… 300 characters left out …\n" + "b" * 50 in html
    assert html.startswith('<pre tabindex="0" role="group" aria-label="Traceback">')


def test_times_of_day_are_utc():
    """To the second, or the millisecond; what is no instant stays as it is."""
    at = "2026-01-31T01:00:00.250+02:00"

    assert pieces.clock(at) == f'<time datetime="{at}">23:00:00</time>'
    assert pieces.clock(at, exactly=True) == f'<time datetime="{at}">23:00:00.250</time>'
    assert pieces.clock("<soon>") == "&lt;soon&gt;"


def test_what_runs_grows_from_its_instant_in_utc(monkeypatch):
    """An instant without a zone is UTC, wherever the server is; without an instant nothing grows."""
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        assert 'data-since="10.0"' in pieces.age(5.0, "1970-01-01T00:00:10", running=True)
    finally:
        monkeypatch.undo()
        time.tzset()
    assert "data-since" not in pieces.age(5.0, "soon", running=True)
