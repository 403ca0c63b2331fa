"""What the attempts of a run, past and present, add up to."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import replace

import pytest

from pipeloom.history import History
from pipeloom.history.sums import read_figures

MANY = 30_000


def test_past_tries_count_for_the_run_they_belong_to(record, figures):
    """A retry within the run, and a try that a later run has overwritten."""
    first = record(
        [
            {"id": 1, "status": "error", "past": True, "took": 1.0},
            {"id": 1, "attempt": 2, "start": 2.0, "past": True, "rows_written": 5},
        ]
    )
    second = record([{"id": 1, "start": 3.0, "rows_written": 7}])

    told = figures(first)
    assert told.attempts == {"done": 1, "error": 1}
    assert (told.again, told.recovered, told.rows_written) == (1, 1, 5)
    assert [bar.attempt for bar in told.timeline.lanes[0].bars] == [1, 2]
    assert figures(second).attempts == {"done": 1}
    assert figures(second).rows_written == 7


def test_a_run_going_on_lasts_until_now(record, db):
    """Its running attempts are open at the picture's edge; nothing of it is a duration or an end."""
    record(
        [{"start": 1.0, "took": 1.0}, {"start": 2.0, "status": "running"}, {"status": "queued", "attempt": 2}],
        status="running",
        finished_at=None,
        elapsed_s=None,
    )
    with History(db) as history, closing(sqlite3.connect(db)) as conn:
        run = history.latest_run()
        assert run.is_unclosed  # nobody holds the file
        alive = replace(run, status="running", is_unclosed=False)
        told = read_figures(lambda sql, params: conn.execute(sql, params).fetchall(), alive, "2026-01-31T12:00:20Z")
        dead = history.figures(run)

    assert told.span_s == 20.0
    assert told.attempts == {"done": 1, "running": 1}
    assert told.waiting == 1
    assert [(bar.status, bar.end_s, bar.open) for bar in told.timeline.lanes[0].bars] == [
        ("done", 2.0, False),
        ("running", 20.0, True),
    ]
    assert told.throughput.total == told.durations.total == 1
    # A process that is gone: the last sign of life is where the picture ends.
    assert dead.span_s == 2.0
    assert dead.attempts == {"done": 1, "interrupted": 1}
    assert dead.waiting == 0


def test_an_interrupted_run_ends_at_its_last_sign_of_life(record, figures):
    """Its rows say when somebody noticed, which may be days later."""
    late = "2026-02-03T08:00:00.000+00:00"
    record(
        [
            {"start": 1.0, "took": 2.0},
            {"start": 4.0, "status": "interrupted", "finished_at": late, "elapsed_s": None},
            {"start": None, "status": "interrupted", "finished_at": late, "elapsed_s": None, "attempt": 2},
        ],
        status="interrupted",
        finished_at=late,
        elapsed_s=None,
    )
    told = figures()

    assert told.span_s == 4.0
    assert told.attempts == {"done": 1, "interrupted": 1}  # the third never began
    assert told.durations.longest == 2.0
    assert told.throughput.total == 1


def test_a_run_is_read_in_windows_as_in_one(record, figures, monkeypatch):
    """Whatever numbers its tasks have, and whatever its workers' times are."""
    run = record(
        [
            {"id": 1, "took": 3.0, "worker": "a"},
            {"id": 2, "took": 1.0, "worker": "b"},
            {"id": 1 << 61, "took": 2.0, "worker": "a"},
            {"id": (1 << 63) - 1, "took": 9.0, "worker": "a"},
        ]
    )
    whole = figures(run)
    monkeypatch.setattr("pipeloom.history.sums._WINDOW", 1)

    assert figures(run) == whole
    assert (whole.durations.shortest, whole.durations.longest) == (1.0, 9.0)


def test_no_tasks_make_empty_figures(record, figures):
    """Of a run that had nothing to do."""
    record([])
    told = figures()

    assert told.attempts == {}
    assert told.timeline.lanes == ()
    assert (told.throughput.total, told.durations.total, told.slowest) == (0, 0, ())


@pytest.mark.slow
def test_tens_of_thousands_of_attempts_stay_small(record, figures):
    """However many there are, what is kept does not grow."""
    record(
        {
            "start": n * 0.0001,
            "took": 0.0008,
            "worker": f"thread-{n % 8 + 1}",
            "status": "done" if n % 997 else "error",
        }
        for n in range(MANY)
    )
    told = figures()

    assert sum(told.attempts.values()) == MANY
    assert told.throughput.total == told.durations.total == MANY
    assert sum(lane.attempts for lane in told.timeline.lanes) == MANY
    assert sum(len(lane.bars) for lane in told.timeline.lanes) == 0
    assert all(len(lane.columns) == 400 for lane in told.timeline.lanes)
    assert max(len(told.throughput.done), len(told.durations.done)) <= 96
