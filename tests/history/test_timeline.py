"""Who did what when: the lanes of a run's workers."""

from __future__ import annotations

import pytest


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
    assert [place for place, share in enumerate(lane.failing) if share] == [200 * 1000 // 2000]
    assert lane.failing[100] == pytest.approx(1 / 10)
    assert lane.stops_in == (0,)


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
