"""Ends per slice of time, durations by class, the slowest attempts."""

from __future__ import annotations

import pytest


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
