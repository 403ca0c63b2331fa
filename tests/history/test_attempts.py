"""The attempts of a run as the file has them, with times made complete."""

from __future__ import annotations

from pipeloom.history.attempts import is_time


def test_whatever_a_column_holds_is_survived(record, figures):
    """People write rows by hand: no text, no time, no number is what it should be."""
    record(
        [
            {"started_at": "yesterday", "finished_at": b"\xff\x00", "elapsed_s": "long", "worker": b"\xfe"},
            {"started_at": 7, "finished_at": None, "elapsed_s": -1.0, "attempt": "two", "rows_written": "many"},
            {"started_at": "9999-12-31T23:59:59+23:59", "elapsed_s": 9e999, "status": "<b>\u202e"},
            {"started_at": "2025-01-01T00:00:00", "finished_at": "2025-01-01T00:00:01", "name": "\x1b[31m"},
            {"start": 2.0, "worker": 5},
        ]
    )
    told = figures()

    assert sum(told.attempts.values()) == 5
    assert told.timeline.undrawn == 4
    assert all(text.isprintable() for text in told.attempts)
    assert all(task.name.isprintable() for task in told.slowest)


def test_a_length_of_time_is_finite_and_not_negative():
    """Anything else in its column is none."""
    assert [is_time(value) for value in (0, 1.5, -1, "1", None, float("inf"))] == [True, True] + [False] * 4
