"""What of a page is kept between two builds."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from pipeloom.data.clock import utc_of
from pipeloom.statuses import RUNNING
from pipeloom.web import remembered
from pipeloom.web.answers import Memo


def placed(memo, numbers, count):
    """The numbers of what is shown, place by place."""
    tasks = [SimpleNamespace(id=number) for number in numbers]
    return [task and task.id for task in remembered.slots(tasks, count, memo)]


def test_each_running_task_keeps_its_place():
    """The next one takes the place of one that is over; what is free stays free; no more than there are workers."""
    memo = Memo(desk=None)

    assert placed(memo, [1, 2, 3], 4) == [1, 2, 3, None]
    assert placed(memo, [2, 3], 4) == [None, 2, 3, None]
    assert placed(memo, [2, 3, 7, 8, 9], 4) == [7, 2, 3, 8]
    assert placed(memo, [], 4) == [None] * 4


def test_without_a_number_of_workers_all_are_shown():
    """Each after those that were there."""
    memo = Memo(desk=None)

    assert placed(memo, [1, 2, 3], 0) == [1, 2, 3]
    assert placed(memo, [2, 3, 4], 0) == [4, 2, 3]


def test_time_left_counts_what_running_tasks_have_done(monkeypatch):
    """As on the live screen: the last task is half done after 20 s, whatever the rate of the others was."""
    monkeypatch.setattr(remembered, "time", lambda: 1_000_100.0)
    run = SimpleNamespace(
        run_id=1, status=RUNNING, started_at=utc_of(1_000_000.0), expected=100, ended=99, skipped=0, elapsed_s=100.0
    )
    last = SimpleNamespace(elapsed_s=20.0, progress=0.5)
    speed = remembered.speed(run, [last], 1, Memo(desk=None))

    assert speed.left_s == pytest.approx(20.0)
    assert speed.per_s == pytest.approx(0.99)
