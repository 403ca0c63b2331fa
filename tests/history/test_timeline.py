"""The figures of a run: what its attempts, past and present, add up to."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import replace

import pytest

from pipeloom.history import History
from pipeloom.history.attempts import is_time
from pipeloom.history.sums import read_figures

MANY = 100_000


@pytest.fixture
def figures(db):
    """Read the figures of a run, by default the latest."""

    def reading(run_id=None, path=db):
        with History(path) as history:
            run = history.latest_run() if run_id is None else history.run(run_id)
            return history.figures(run)

    return reading


def test_each_attempt_is_a_bar_in_its_workers_lane(record, figures):
    """From its start to its end, in seconds since the run began; lanes in the order people count."""
    record(
        [
            {"start": 1.0, "took": 2.0, "worker": "thread-10"},
            {"start": 0.5, "took": 0.25, "worker": "thread-9", "status": "error"},
        ]
    )
    nine, ten = figures().timeline.lanes

    assert (nine.label, ten.label) == ("thread-9", "thread-10")
    assert (nine.failed, nine.attempts, ten.failed) == (1, 1, 0)
    assert [(b.task_id, b.status, b.start_s, b.end_s, b.open) for b in nine.bars] == [
        (2, "error", 0.5, 0.75, False)
    ]
    assert [(b.task_id, b.status, b.start_s, b.end_s, b.open) for b in ten.bars] == [(1, "done", 1.0, 3.0, False)]
    assert (nine.busy, ten.busy) == (0.025, 0.2)


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


def test_a_crowd_is_shown_by_how_busy_each_lane_was(record, figures):
    """Two thousand attempts that fill the first half of the time; what failed is marked where it ended."""
    attempts = [{"start": n * 0.0025, "took": 0.0025} for n in range(2000)]
    attempts[1000] |= {"status": "timed_out"}
    attempts[0] |= {"status": "cancelled"}
    record(attempts)
    timeline = figures().timeline
    (lane,) = timeline.lanes

    assert timeline.drawn == "density"
    assert lane.bars == ()
    assert lane.busy == pytest.approx(0.5)
    assert lane.columns[:200] == pytest.approx([1.0] * 200, abs=0.01)
    assert lane.columns[200:] == pytest.approx([0.0] * 200, abs=0.01)
    assert (lane.failures_in, lane.stops_in) == ((100,), (0,))


def test_an_attempt_over_many_columns_fills_them_all(record, figures):
    """Its first and last in part."""
    record([{"start": 1.010, "took": 5.005}] + [{"took": 0.0}] * 1300)
    (lane,) = figures().timeline.lanes

    assert lane.columns[40] == pytest.approx(0.6, abs=1e-4)
    assert set(lane.columns[41:240]) == {1.0}
    assert lane.columns[240] == pytest.approx(0.6, abs=1e-4)
    assert sum(lane.columns) * 0.025 == pytest.approx(5.005)


def test_many_workers_share_lanes(record, figures):
    """Neighbours do, and the label says which; their busy share is an average."""
    record([{"worker": f"thread-{n}", "took": 5.0} for n in range(1, 121)], workers=120)
    timeline = figures().timeline

    assert len(timeline.lanes) == 40
    assert timeline.lanes[0].label == "thread-1…3"
    assert timeline.lanes[-1].workers == 3
    assert timeline.lanes[0].busy == pytest.approx(0.5)


def test_throughput_counts_every_end_once(record, figures):
    """The run's last instant included."""
    record([{"start": n, "took": 1.0, "status": "done" if n % 2 else "error"} for n in range(10)])
    throughput = figures().throughput

    assert throughput.slice_s * len(throughput.done) == pytest.approx(10.0)
    assert (sum(throughput.done), sum(throughput.others)) == (5, 5)
    assert throughput.done[-1] == 1


@pytest.mark.parametrize(
    ("took", "scale"), [([0.9, 1.0, 1.1, 2.0], "linear"), ([0.001, 0.01, 0.1, 10.0], "log"), ([0.0, 0.0], "linear")]
)
def test_durations_are_on_a_scale_that_fits(record, figures, took, scale):
    """Logarithmic when they are spread; every one is in a class, within its edges."""
    record([{"took": length} for length in took])
    durations = figures().durations

    assert durations.scale == scale
    assert durations.total == len(took)
    assert (durations.shortest, durations.longest) == (min(took), max(took))
    assert durations.edges[0] <= durations.shortest or scale == "log"
    assert durations.edges[-1] > durations.longest
    assert len(durations.edges) == len(durations.done) + 1
    for length in took:
        place = next(n for n, edge in enumerate(durations.edges[1:]) if length < edge)
        assert durations.done[place] > 0


def test_the_median_is_near(record, figures):
    """Within two and a half percent, as is the 95 % mark."""
    record([{"took": 0.001 * n} for n in range(1, 1001)])
    durations = figures().durations

    assert durations.median == pytest.approx(0.5, rel=0.025)
    assert durations.p95 == pytest.approx(0.95, rel=0.025)


def test_slowest_tasks_are_the_slowest(record, figures):
    """Ten of them, longest first; of equal ones the lower number."""
    record([{"took": 0.1 * (n % 20)} for n in range(60)])
    slowest = figures().slowest

    assert len(slowest) == 10
    assert [round(task.elapsed_s, 6) for task in slowest] == [1.9] * 3 + [1.8] * 3 + [1.7] * 3 + [1.6]
    assert [task.task_id for task in slowest[:3]] == [20, 40, 60]


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


def test_no_tasks_make_empty_figures(record, figures):
    """Of a run that had nothing to do."""
    record([])
    told = figures()

    assert told.attempts == {}
    assert told.timeline.lanes == ()
    assert (told.throughput.total, told.durations.total, told.slowest) == (0, 0, ())


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


@pytest.mark.slow
def test_a_hundred_thousand_attempts_stay_small(record, figures):
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


def test_a_length_of_time_is_finite_and_not_negative():
    """Anything else in its column is none."""
    assert [is_time(value) for value in (0, 1.5, -1, "1", None, float("inf"))] == [True, True] + [False] * 4
